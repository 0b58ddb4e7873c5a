//! A program is rolled out, and rolled back, process by process: its schedules follow, and what the
//! other release has neither goes nor changes back and forth.

use std::time::Duration;

use shiftwork::{Jobs, ScheduleRecord};
use shiftwork_process_tests::jobs::TICKS;
use shiftwork_process_tests::journal::Event;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::process::Process;
use crate::world::{LONG, World, until};

/// What is there, as `id hour`, in the order in which it was seen; each once.
type Seen = Vec<Vec<String>>;

const FIRST: [&str; 3] = ["changed 4", "kept 0", "old 2"];
const SECOND: [&str; 3] = ["changed 5", "kept 0", "new 3"];
const FORWARD: [&str; 4] = ["changed 5", "kept 0", "new 3", "old 2"];
const BACKWARD: [&str; 4] = ["changed 4", "kept 0", "new 3", "old 2"];

fn tell(record: &ScheduleRecord) -> Option<String> {
    let timing = record.schedule.timing.to_string();
    let hour = timing.strip_suffix(" 1 1 * (UTC)")?.strip_prefix("0 ")?.to_owned();
    Some(format!("{} {hour}", record.schedule.id))
}

async fn there(web: &Jobs) -> Vec<String> {
    web.scheduled_jobs().await.unwrap().iter().filter_map(tell).collect()
}

/// Looks again and again, and once more when it is told to stop; tells what it has seen.
async fn watch(web: Jobs, stop: watch::Receiver<bool>) -> Seen {
    let mut seen = Seen::new();
    loop {
        let is_last = *stop.borrow();
        let now = there(&web).await;
        if seen.last() != Some(&now) {
            seen.push(now);
        }
        if is_last {
            return seen;
        }
        sleep(Duration::from_millis(5)).await;
    }
}

async fn until_there(web: &Jobs, expected: &[&str]) {
    until(&format!("{expected:?}"), LONG, async || {
        let now = there(web).await;
        if now == expected { Ok(()) } else { Err(format!("{now:?}")) }
    })
    .await;
}

async fn gone(mut process: Process) {
    process.terminate();
    assert!(process.end(LONG).await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schedules_follow_a_rollout_and_its_rollback_without_going_back_and_forth() {
    let world = World::new([("JOBS_APP", "shop")]);
    let web = world.web([]).await;
    let start = async |role: &str, release: &str| {
        let variables = [("JOBS_QUEUES", TICKS), ("PROGRAM_RELEASE", release)];
        world.started(role, variables).await
    };
    let roles = ["worker", "cron", "worker"];
    let mut old = Vec::new();
    for role in roles {
        old.push(start(role, "1").await);
    }
    until_there(&web, &FIRST).await;
    let (stop, stopped) = watch::channel(false);
    let watching = tokio::spawn(watch(web.clone(), stopped));
    world.until_events(Event::Start, "tick", 1).await;

    // Rolled out: one comes, then one goes.
    let mut new = Vec::new();
    for (role, before) in roles.into_iter().zip(old) {
        new.push(start(role, "2").await);
        until_there(&web, &FORWARD).await;
        gone(before).await;
    }
    until_there(&web, &SECOND).await;
    // And back.
    let mut back = Vec::new();
    for (role, before) in roles.into_iter().zip(new) {
        back.push(start(role, "1").await);
        until_there(&web, &BACKWARD).await;
        gone(before).await;
    }
    until_there(&web, &FIRST).await;

    stop.send_replace(true);
    let seen = watching.await.unwrap();
    // Where one changes and another comes, either may be seen first.
    let steps: [&[&str]; 5] = [&FIRST, &FORWARD, &SECOND, &BACKWARD, &FIRST];
    let is_step = |now: &Vec<String>| steps.iter().any(|step| now == step);
    let (whole, between): (Vec<_>, Vec<_>) = seen.iter().partition(|now| is_step(now));
    assert_eq!(whole, steps, "nothing flaps: {seen:?}");
    // Adding and changing are two calls for each of two transitions.
    assert!(between.len() <= 4, "{between:?}");
    for now in &between {
        assert!(now.iter().any(|schedule| schedule == "kept 0"), "{now:?}");
    }
    // Meanwhile, what both declare has fired each second, once.
    for process in back {
        gone(process).await;
    }
    let ticks = world.events(Event::Start, "tick");
    let mut occurrences: Vec<_> = ticks.iter().map(|tick| tick.scheduled_at.as_millis()).collect();
    occurrences.sort_unstable();
    let (first, last) = (occurrences[0], *occurrences.last().unwrap());
    let expected: Vec<_> = (first..=last).step_by(1000).collect();
    assert_eq!(occurrences, expected, "each second has one run");
}
