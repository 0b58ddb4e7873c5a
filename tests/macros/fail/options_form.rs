//! Options that are not written as `key = value`, each once.

use shiftwork::job;

#[job(queue)]
async fn no_value() {}

#[job(queue("mail"))]
async fn parentheses() {}

#[job("mail")]
async fn no_key() {}

#[job(queue = "mail" attempts = 3)]
async fn no_comma() {}

#[job(queue = "mail", attempts = 3, queue = "other")]
async fn twice() {}

fn main() {}
