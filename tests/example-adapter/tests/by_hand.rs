//! A program can give the example adapter's provider to its builder.

use shiftwork::prelude::*;
use shiftwork_example_adapter::PROVIDER;

#[job]
async fn greet() {}

#[tokio::test]
async fn a_provider_that_is_registered_by_hand_can_be_chosen() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let vars = [("JOBS_PROVIDER", "example"), ("JOBS_EXAMPLE_PATH", path.to_str().unwrap())];
    let jobs = Jobs::from_vars(vars).provider(PROVIDER).start().await.unwrap();
    let run = jobs.trigger(greet::job()).await.unwrap();
    assert!(run.result(minutes(1)).await.unwrap().finished().unwrap().success);
    jobs.shutdown().await.unwrap();
    assert!(std::fs::read_to_string(path).unwrap().starts_with("enqueue default: greet\n"));
}
