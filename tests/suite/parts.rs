//! A store of several servers, of which one is away: what concerns its queues waits, and the others
//! go on.

use std::sync::Arc;
use std::time::Duration;

use shiftwork::{JobState, QueueName};
use tokio::time::sleep;

use crate::faulty::{Away, Faulty};
use crate::support::*;
use shiftwork::prelude::*;

#[job(queue = "here", every = "10s")]
async fn here(notes: State<Notes>) {
    notes.add_at("here");
}

#[job(queue = "there", every = "10s")]
async fn there(notes: State<Notes>) {
    notes.add_at("there");
}

/// A process whose schedules are in two parts of its store, and the notes of what they ran.
async fn process(world: &World) -> (Jobs, Arc<Faulty>, Notes) {
    let store = Faulty::on(world.store.clone());
    let notes = Notes::new(world);
    let process = world.process_on(store.clone(), []).state(notes.clone());
    let process = process.register(here::definition()).register(there::definition());
    (process.start().await.unwrap(), store, notes)
}

/// When jobs of a name ran, in seconds.
fn ran(notes: &Notes, name: &str) -> Vec<u64> {
    let of = |note: &String| {
        let at: f64 = note.strip_prefix(&format!("{name} at "))?.parse().ok()?;
        Some(at as u64)
    };
    notes.all().iter().filter_map(of).collect()
}

#[tokio::test(start_paused = true)]
async fn schedules_of_other_queues_fire_on_time_while_one_part_of_the_store_is_known_to_be_away() {
    let world = World::new().await;
    let (jobs, store, notes) = process(&world).await;
    sleep(seconds(15)).await;
    store.part_is(Some((QueueName::new("there").unwrap(), Away::Known)));
    sleep(seconds(40)).await;
    assert_eq!(ran(&notes, "here"), [10, 20, 30, 40, 50]);
    assert_eq!(ran(&notes, "there"), [10]);
    let health = jobs.health().await;
    assert!(health.to_string().contains("clock"), "{health}");
    assert!(jobs.scheduled_jobs().await.is_err(), "nobody is told that there are fewer");

    store.part_is(None);
    sleep(seconds(20)).await;
    assert_eq!(ran(&notes, "here"), [10, 20, 30, 40, 50, 60, 70]);
    // It is noticed within the pause between two tries. Of what came meanwhile, one run makes the
    // others overlap.
    let there = ran(&notes, "there");
    assert!(matches!(there[..], [10, 55..=65, 60, 70] | [10, 55..=65, 70]), "{there:?}");
    assert!(jobs.health().await.healthy, "{}", jobs.health().await);
}

#[tokio::test(start_paused = true)]
async fn firing_in_a_part_that_does_not_answer_holds_up_no_other() {
    let world = World::new().await;
    let (_jobs, store, notes) = process(&world).await;
    sleep(seconds(15)).await;
    store.part_is(Some((QueueName::new("there").unwrap(), Away::Silent)));
    sleep(seconds(61)).await;
    assert_eq!(ran(&notes, "here"), [10, 20, 30, 40, 50, 60, 70]);
    assert_eq!(ran(&notes, "there"), [10]);
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_that_one_part_does_not_answer_renews_the_leases_of_the_others() {
    #[job(queue = "here", timeout = "5m")]
    async fn long() {
        sleep(Duration::from_secs(60)).await;
    }
    #[job(queue = "there", timeout = "5m")]
    async fn far() {
        sleep(Duration::from_secs(60)).await;
    }
    let world = World::new().await;
    let store = Faulty::on(world.store.clone());
    let process = world.process_on(store.clone(), []);
    let process = process.register(long::definition()).register(far::definition());
    let jobs = process.start().await.unwrap();
    let long = jobs.enqueue(long::job()).await.unwrap();
    jobs.enqueue(far::job()).await.unwrap();
    sleep(seconds(1)).await;
    store.part_is(Some((QueueName::new("there").unwrap(), Away::Known)));
    sleep(seconds(30)).await;
    let health = jobs.health().await;
    assert!(health.to_string().contains("heart"), "{health}");
    assert!(health.to_string().contains("there"), "{health}");
    sleep(seconds(40)).await;
    let record = jobs.job(long.id()).await.unwrap();
    // It is completed, and not kept.
    assert!(record.is_none_or(|record| record.state == JobState::Completed && record.crashes == 0));
    let counts = jobs.counts("here").await.unwrap();
    assert_eq!(counts.active + counts.waiting, 0, "{counts:?}");
}
