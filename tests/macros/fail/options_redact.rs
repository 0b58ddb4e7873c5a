//! A function that cannot redact the payload.

use shiftwork::job;

fn of_a_number(number: &u64) -> String {
    number.to_string()
}

#[job(redact = of_a_number)]
async fn takes_another(text: String) {
    let _ = text;
}

#[job(redact = of_a_number)]
async fn no_payload() {}

fn main() {}
