//! Parameters that a job cannot have.

use std::borrow::Cow;

use shiftwork::{JobContext, State, job};

#[job]
async fn borrowed(text: &str) {
    let _ = text;
}

#[job]
async fn borrowed_context(ctx: &JobContext) {
    let _ = ctx;
}

#[job]
async fn borrowed_within(text: Option<Cow<'_, str>>, state: State<&u8>) {
    let _ = (text, state);
}

#[job]
async fn lifetime<'a>(text: Cow<'a, str>) {
    let _ = text;
}

#[job]
async fn any_display(text: impl std::fmt::Display) {
    let _ = text.to_string();
}

#[job]
async fn two_payloads(user_id: u64, subject: String, ctx: JobContext, retries: u8) {
    let _ = (user_id, subject, ctx, retries);
}

#[job]
async fn too_many(
    _1: State<u8>,
    _2: State<u8>,
    _3: State<u8>,
    _4: State<u8>,
    _5: State<u8>,
    _6: State<u8>,
    _7: State<u8>,
    _8: State<u8>,
    _9: State<u8>,
) {
}

fn main() {}
