//! Many threads on one store: no wake-up is lost and no job runs twice.

#![allow(clippy::unwrap_used)] // In tests, also in what they share.

mod kit;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kit::{Worker, connection, id, queue, settled, specs};
use shiftwork_adapter::{JobAdapter, Outcome, Ticket, Watch};
use shiftwork_memory::MemoryAdapter;
use tokio::time::timeout;

const JOBS: u64 = 20_000;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(future)
}

/// Works until all jobs ran. It polls nothing: a lost wake-up leaves it waiting for ever.
async fn work(adapter: &MemoryAdapter, mut worker: Worker, ran: &Mutex<HashSet<u64>>) {
    let mut finished = Vec::new();
    let mut ticket = Ticket::default();
    let all_ran = || ran.lock().unwrap().len() == usize::try_from(JOBS).unwrap();
    while !all_ran() {
        let answer = worker.exchange(adapter, std::mem::take(&mut finished), 3).await;
        assert!(answer.refused.is_empty() && !answer.reconcile);
        for job in &answer.claimed {
            let number = u64::from_be_bytes(job.spec.id.as_bytes()[8..].try_into().unwrap());
            assert!(ran.lock().unwrap().insert(number), "job {number} ran twice");
        }
        finished = settled(&answer.claimed, Outcome::Complete);
        // Asked again: whoever ran the last job may have rung before this exchange.
        if finished.is_empty() && !answer.more && !all_ran() {
            // One wait in three is dropped half-way, as a select does.
            let wait = adapter.wait(Watch::Work(queue(), ticket));
            let _ = timeout(Duration::from_micros(50), wait).await;
            adapter.wait(Watch::Work(queue(), answer.ticket)).await.unwrap();
        }
        ticket = answer.ticket;
    }
    worker.exchange(adapter, finished, 0).await;
    // The others wait for work that will not come.
    adapter.pause(&queue()).await.unwrap();
    adapter.resume(&queue()).await.unwrap();
}

#[test]
fn workers_that_only_wait_drain_what_others_enqueue() {
    let adapter = block_on(async { Arc::new(MemoryAdapter::new(connection()).unwrap()) });
    let ran = Mutex::new(HashSet::new());
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (adapter, ran) = (&*adapter, &ran);
            scope.spawn(move || block_on(work(adapter, Worker::new(number), ran)));
        }
        for part in 0..2 {
            let adapter = &*adapter;
            scope.spawn(move || {
                block_on(async {
                    let (from, to) = (part * JOBS / 2, (part + 1) * JOBS / 2);
                    for number in from..to {
                        adapter.enqueue(&queue(), specs(number..number + 1)).await.unwrap();
                    }
                })
            });
        }
    });
    assert_eq!(block_on(adapter.counts(&queue())).unwrap().total(), 0);
}

#[test]
fn all_who_await_a_job_are_told_of_its_end() {
    let adapter = block_on(async { Arc::new(MemoryAdapter::new(connection()).unwrap()) });
    block_on(adapter.enqueue(&queue(), specs(0..1))).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let adapter = &*adapter;
            scope.spawn(move || {
                let hour = Duration::from_secs(3600);
                // Not kept: what is known of it then is that it is no more.
                assert_eq!(block_on(adapter.await_finish(&queue(), id(0), hour)).unwrap(), None);
            });
        }
        std::thread::sleep(Duration::from_millis(20));
        block_on(async {
            let mut worker = Worker::new(1);
            let claimed = worker.claim(&*adapter, 1).await;
            worker.exchange(&*adapter, settled(&claimed, Outcome::Complete), 0).await;
        });
    });
}
