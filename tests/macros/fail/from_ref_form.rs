//! What `#[derive(FromRef)]` cannot take apart.

use shiftwork::FromRef;

#[derive(FromRef)]
struct Tuple(u8, u16);

#[derive(FromRef)]
struct Unit;

#[derive(FromRef)]
enum Either {
    This { number: u8 },
}

#[derive(FromRef)]
struct Generic<T> {
    value: T,
}

#[derive(FromRef)]
struct WrongOption {
    #[from_ref(ignore)]
    first: u8,
    #[from_ref]
    second: u16,
    #[from_ref(skip = true)]
    third: u32,
}

fn main() {}
