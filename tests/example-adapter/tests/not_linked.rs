//! A program whose Cargo.toml names the example adapter's crate, and whose code does not: that is
//! not linked, and the error says so. No line of this file may name the crate.

use shiftwork::ErrorKind;
use shiftwork::prelude::*;

#[tokio::test]
async fn an_adapter_that_no_code_names_is_unknown_and_the_error_says_how_to_link_it() {
    let vars = [("JOBS_PROVIDER", "example"), ("JOBS_EXAMPLE_PATH", "journal")];
    let error = Jobs::from_vars(vars).start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let message = error.to_string();
    let seen = "JOBS_PROVIDER is \"example\", and this program has memory";
    assert!(message.starts_with(seen), "{message}");
    for remedy in ["`use shiftwork_example", " as _;`", ".provider("] {
        assert!(message.contains(remedy), "{message}");
    }
}
