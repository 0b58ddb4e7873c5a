//! Every form of a job that is a function, in a crate that is strict about itself.
#![deny(warnings, missing_docs, unreachable_pub, unsafe_code, private_interfaces)]

use shiftwork::{State, job};

/// A payload.
#[derive(serde::Serialize, serde::Deserialize)]
struct Email {
    user_id: u64,
}

/// A state.
#[derive(Clone)]
struct Mailer;

#[derive(Clone)]
struct Clock(u8);

// No payload, no arguments, no output.
#[job]
async fn bare() {}

// All together, in any order, with patterns.
#[job(
    name = "mail.welcome-2",
    queue = "notifications",
    attempts = 5,
    timeout = "30s",
    priority = "high",
    backoff = "exponential(500ms)",
    redact = shown
)]
async fn welcome_email(
    State(mailer): State<Mailer>,
    email: Email,
    mut ctx: shiftwork::JobContext,
    _clock: shiftwork::State<Clock>,
) -> Result<u64, shiftwork::JobError> {
    let _: Mailer = mailer;
    ctx = ctx.clone();
    Ok(email.user_id + u64::from(ctx.attempt()))
}

fn shown(email: &Email) -> String {
    format!("user {}", email.user_id)
}

// A function that may block.
#[job(backoff = "fixed(2s)")]
fn resize(path: String, State(Clock(_hour)): State<Clock>) -> Result<String, String> {
    Ok(path)
}

// Schedules.
#[job(cron = "0 3 * * *", timezone = "Europe/Berlin", overlap = "allow", misfire = "skip")]
async fn nightly(_ctx: shiftwork::JobContext) -> shiftwork::JobResult {
    shiftwork::JobResult::success()
}

#[job(every = "1d", overlap = "allow", misfire = "all")]
fn daily() {}

#[job(every = "1h 30m", misfire = "once", overlap = "skip",)]
fn often(since: Option<Email>) -> Result<(), std::io::Error> {
    let _ = since;
    Ok(())
}

// A keyword as name, a visibility, attributes on either side.
#[allow(clippy::unused_async)]
#[job]
#[deprecated]
/// Documented.
pub(crate) async fn r#type(words: Vec<String>) {
    let _ = words;
}

// States that nobody need give, beside a payload that is none of them, on a schedule.
#[job(every = "1h")]
async fn optional(
    mailer: Option<State<Mailer>>,
    since: Option<u64>,
    clock: std::option::Option<shiftwork::State<Clock>>,
) {
    let _: (Option<State<Mailer>>, Option<u64>, Option<u8>) =
        (mailer, since, clock.map(|clock| clock.0.0));
}

// A payload that needs patterns; a state that is a reference; a tuple.
#[job]
async fn tuple((a, b): (u8, u8), config: State<&'static str>) -> Result<u8, String> {
    Ok(a + b + config.len() as u8)
}

// Where the names of the generated code are taken by others.
mod shadowed {
    #![allow(dead_code, non_camel_case_types, non_upper_case_globals)]

    struct Result;
    struct Option;
    struct String;
    struct Handler;
    mod core {}
    mod std {}

    #[shiftwork::job]
    pub(super) fn definition(payload: u8) {
        let _ = payload;
    }

    #[shiftwork::job]
    pub(super) fn payload(payload: u8, context: shiftwork::JobContext) {
        let _ = (payload, context);
    }

    #[shiftwork::job]
    pub(super) fn context() {}

    #[shiftwork::job]
    pub(super) fn job() {}
}

#[cfg(any())]
#[job]
async fn not_here() {}

#[job]
#[cfg(any())]
async fn nor_here(missing: Missing) {}

macro_rules! made {
    ($name:ident, $payload:ty, $key:literal) => {
        #[job(queue = $key)]
        async fn $name(payload: $payload) {
            let _ = payload;
        }
    };
}
made!(made_by_a_macro, Vec<u8>, "made");

fn main() {
    // Both namespaces, here and from elsewhere.
    let _ = bare::job();
    let _ = bare();
    let _ = welcome_email::job(Email { user_id: 7 }).attempts(2);
    let _ = resize(String::from("cat.png"), State(Clock(1)));
    let _ = often::job(None);
    let _ = optional::job(Some(7));
    let _ = r#type::job(Vec::new());
    let _ = shadowed::definition::job(1);
    let _ = shadowed::job::job();
    shadowed::job();
    assert_eq!(welcome_email::NAME, "mail.welcome-2");
    assert_eq!(r#type::NAME, "type");
    assert_eq!(made_by_a_macro::definition().name(), "made_by_a_macro");

    // Within a function.
    #[job]
    async fn inner(email: Email) {
        let _ = email.user_id;
    }
    assert_eq!(inner::definition().name(), "inner");
    let _ = inner::job(Email { user_id: 1 });
}
