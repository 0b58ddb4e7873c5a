//! A schedule is stored in two places, what changes and what is defined, and read as one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::*;

#[tokio::test]
async fn a_schedule_that_is_defined_anew_while_it_is_read_is_read_as_one() {
    let world = World::new();
    let (writer, reader) = (world.adapter(), world.other());
    let payload = |revision: u64| Payload::from_json_bytes(revision.to_string());
    let define = async |revision| {
        let mut definition = schedule("nightly", &work());
        definition.template.payload = payload(revision);
        writer.schedule(definition, Some(Timestamp::EPOCH)).await.unwrap();
    };
    define(1).await;
    let is_over = AtomicBool::new(false);
    let writing = async {
        for revision in 2..=300 {
            define(revision).await;
        }
        is_over.store(true, Ordering::SeqCst);
    };
    let reading = async {
        let mut read = Vec::new();
        while !is_over.load(Ordering::SeqCst) {
            let due = reader.due(None, Duration::ZERO, 10).await.unwrap();
            assert_eq!((due.queues.len(), due.unread.len()), (1, 0));
            read.extend(due.queues.into_iter().flat_map(|queue| queue.records));
            read.extend(reader.scheduled_jobs().await.unwrap().records);
        }
        read
    };
    let ((), read) = tokio::join!(writing, reading);
    assert!(read.len() > 20, "it was read meanwhile");
    for record in &read {
        assert_eq!(record.schedule.template.payload, payload(record.revision));
    }
    let found = read.windows(2).filter(|pair| pair[0].revision != pair[1].revision).count();
    assert!(found > 5, "it was defined anew in between");
}
