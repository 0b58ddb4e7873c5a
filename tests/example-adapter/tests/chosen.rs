//! A program that links the example adapter, by naming its crate once, can choose it.

use shiftwork::ErrorKind;
use shiftwork::prelude::*;
use shiftwork_example_adapter as _;

#[job]
async fn greet(name: String) -> Result<String, JobError> {
    Ok(format!("Hello, {name}!"))
}

async fn start(path: Option<&str>) -> shiftwork::Result<Jobs> {
    let path = path.map(|path| ("JOBS_EXAMPLE_PATH", path));
    Jobs::from_vars([("JOBS_PROVIDER", "example")].into_iter().chain(path)).start().await
}

#[tokio::test]
async fn a_job_runs_on_it_and_the_journal_tells_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let jobs = start(path.to_str()).await.unwrap();
    assert_eq!(jobs.health().await.provider, "example");
    let run = jobs.trigger(greet::job("Ada".into())).await.unwrap();
    let result = run.result(minutes(1)).await.unwrap().finished().unwrap();
    assert_eq!(result.data::<String>().unwrap().as_deref(), Some("Hello, Ada!"));
    jobs.shutdown().await.unwrap();
    let journal = std::fs::read_to_string(path).unwrap();
    let lines: Vec<_> = journal.lines().collect();
    let story = [
        "enqueue default: greet",
        "exchange default: settled 0, claimed greet",
        "exchange default: settled 1, claimed nothing",
    ];
    assert_eq!(lines, story);
}

#[tokio::test]
async fn a_variable_of_its_own_that_is_missing_or_wrong_is_named() {
    let error = start(None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let message = error.to_string();
    assert!(message.contains("JOBS_EXAMPLE_PATH is not set; it says the file"), "{message}");
    for unwritable in ["/nowhere/journal", "/"] {
        let message = start(Some(unwritable)).await.unwrap_err().to_string();
        let told = format!("JOBS_EXAMPLE_PATH is {unwritable:?}, which cannot be written (");
        assert!(message.contains(&told), "{message}");
    }
}

#[tokio::test]
async fn a_slip_in_the_name_of_its_variable_is_told() {
    let vars = [("JOBS_PROVIDER", "example"), ("JOBS_EXAMPLE_PTAH", "journal")];
    let message = Jobs::from_vars(vars).start().await.unwrap_err().to_string();
    let told = "there is no variable JOBS_EXAMPLE_PTAH; did you mean JOBS_EXAMPLE_PATH?";
    assert!(message.contains(told), "{message}");
}
