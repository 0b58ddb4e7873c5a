//! Fields that cannot be states.

use std::rc::Rc;

use shiftwork::FromRef;

#[derive(Clone, FromRef)]
struct Same {
    base_url: String,
    token: String,
}

struct NotClone;

#[derive(FromRef)]
struct Whole {
    part: NotClone,
}

#[derive(Clone, FromRef)]
struct NotSync {
    part: Rc<u8>,
}

fn main() {}
