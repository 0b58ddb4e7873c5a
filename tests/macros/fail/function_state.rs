//! States that cannot be handed to a handler.

use std::rc::Rc;

use shiftwork::{State, job};

struct NotClone;

#[job]
async fn not_clone(state: State<NotClone>) {
    let _ = state;
}

#[job]
fn not_sync(State(state): State<Rc<u8>>) {
    let _ = state;
}

fn main() {}
