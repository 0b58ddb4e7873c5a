//! What is particular to the example adapter: what it says when its journal cannot be written.
#![cfg(target_os = "linux")]

use std::sync::Arc;

use shiftwork_adapter::{
    Connection, Effect, JobAdapter, JobId, JobName, JobSpec, Namespace, Payload, QueueName,
    SystemClock,
};
use shiftwork_example_adapter::ExampleAdapter;

#[tokio::test]
async fn what_is_stored_and_not_in_the_journal_is_said_to_be_stored() {
    let mut connection = Connection::new(Namespace::new("test").unwrap(), Arc::new(SystemClock));
    // A disk without room.
    connection.variables.insert("JOBS_EXAMPLE_PATH", "/dev/full".into());
    let adapter = ExampleAdapter::new(connection).unwrap();
    let (queue, id) = (QueueName::new("mail").unwrap(), JobId::from_bytes([7; 16]));
    let job = JobSpec::new(id, JobName::new("greet").unwrap(), Payload::none());
    let error = adapter.enqueue(&queue, vec![job]).await.unwrap_err();
    assert_eq!(error.effect(), Effect::Stored);
    let told = "enqueue: the journal cannot be written; what was asked is done nevertheless";
    assert_eq!(error.to_string(), told);
    assert!(adapter.job(&queue, id).await.unwrap().is_some());
}
