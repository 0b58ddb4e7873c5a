//! Return types that are no result.

use shiftwork::job;

struct NotSerializable;

struct NotAnError;

#[job]
async fn a_number() -> u64 {
    7
}

#[job]
async fn cannot_be_written() -> Result<NotSerializable, std::io::Error> {
    Ok(NotSerializable)
}

#[job]
fn no_error() -> Result<(), NotAnError> {
    Ok(())
}

fn main() {}
