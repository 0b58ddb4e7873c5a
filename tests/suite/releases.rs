//! The schedules in code, over rollouts and rollbacks: what is there follows the release that was
//! first seen latest, and goes when no live release declares it.

use shiftwork::{JobDefinition, Reconciliation, ScheduleId};
use tokio::time::sleep;

use crate::support::*;
use shiftwork::prelude::*;

#[job(cron = "0 1 * * *")]
async fn kept() {}

#[job(cron = "0 2 * * *")]
async fn old() {}

#[job(cron = "0 3 * * *")]
async fn new() {}

/// What two releases declare otherwise.
#[job(name = "changed", cron = "0 4 * * *")]
async fn changed_v1() {}

#[job(name = "changed", cron = "0 5 * * *")]
async fn changed_v2() {}

fn v1() -> [JobDefinition; 3] {
    [kept::definition(), old::definition(), changed_v1::definition()]
}

fn v2() -> [JobDefinition; 3] {
    [kept::definition(), new::definition(), changed_v2::definition()]
}

async fn start(world: &World, jobs: [JobDefinition; 3]) -> Jobs {
    world.worker([("JOBS_APP", "shop")], jobs).await
}

/// `id next-hour`, of each schedule.
async fn there(jobs: &Jobs) -> Vec<String> {
    let all = jobs.scheduled_jobs().await.unwrap();
    let tell = |record: &shiftwork::ScheduleRecord| {
        let hours = record.next.unwrap().since(START).as_secs() / 3600 % 24;
        format!("{} {hours}", record.schedule.id)
    };
    all.iter().map(tell).collect()
}

fn ids(ids: &[ScheduleId]) -> Vec<&str> {
    ids.iter().map(ScheduleId::as_str).collect()
}

const V1: [&str; 3] = ["changed 4", "kept 1", "old 2"];
const V2: [&str; 3] = ["changed 5", "kept 1", "new 3"];
const BOTH: [&str; 4] = ["changed 5", "kept 1", "new 3", "old 2"];

#[tokio::test(start_paused = true)]
async fn what_was_done_at_the_start_is_told() {
    let world = World::new().await;
    let first = start(&world, v1()).await;
    let done = first.reconciliation().unwrap();
    assert!(done.rules && done.live == 1);
    assert_eq!(ids(&done.added), ["changed", "kept", "old"]);
    assert_eq!(there(&first).await, V1);
    first.shutdown().await.unwrap();

    let second = start(&world, v2()).await;
    let done = second.reconciliation().unwrap();
    assert_eq!((ids(&done.added), ids(&done.replaced)), (vec!["new"], vec!["changed"]));
    assert_eq!((ids(&done.removed), ids(&done.untouched)), (vec!["old"], vec!["kept"]));
    assert_eq!(there(&second).await, V2);
    let third = start(&world, v2()).await;
    let Reconciliation { added, replaced, removed, untouched, .. } =
        third.reconciliation().unwrap();
    assert_eq!((added.len(), replaced.len(), removed.len(), untouched.len()), (0, 0, 0, 3));
}

#[tokio::test(start_paused = true)]
async fn who_fires_no_schedules_reconciles_none() {
    let world = World::new().await;
    let store = crate::faulty::Faulty::on(world.store.clone());
    store.shared_by_processes();
    let process = world.process_on(store, [("WORKER_ROLE", "async")]);
    let jobs = process.register(kept::definition()).start().await.unwrap();
    assert_eq!(jobs.reconciliation(), None);
    assert!(jobs.scheduled_jobs().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_rollout_follows_the_newer_release_and_removes_nothing_of_the_older_before_it_is_gone() {
    let world = World::new().await;
    let old = [start(&world, v1()).await, start(&world, v1()).await];
    let new = start(&world, v2()).await;
    assert_eq!(there(&new).await, BOTH);
    // Another of the older one, which comes late: nothing flaps.
    let late = start(&world, v1()).await;
    let done = late.reconciliation().unwrap();
    assert!(!done.rules);
    assert_eq!((ids(&done.left), done.replaced.len()), (vec!["changed"], 0));
    sleep(minutes(10)).await;
    assert_eq!(there(&new).await, BOTH);
    for jobs in old.into_iter().chain([late]) {
        sleep(minutes(1)).await;
        assert_eq!(there(&new).await, BOTH);
        jobs.shutdown().await.unwrap();
    }
    sleep(seconds(1)).await;
    assert_eq!(there(&new).await, V2);
    assert_eq!(ids(&new.reconciliation().unwrap().removed), ["old"]);
}

#[tokio::test(start_paused = true)]
async fn a_rollback_follows_the_older_release_once_the_newer_one_is_gone() {
    let world = World::new().await;
    let old = start(&world, v1()).await;
    let new = start(&world, v2()).await;
    let back = start(&world, v1()).await;
    sleep(minutes(5)).await;
    assert_eq!(there(&old).await, BOTH, "the newer one rules as long as it is live");
    new.shutdown().await.unwrap();
    sleep(seconds(1)).await;
    assert_eq!(there(&old).await, V1);
    let done = [&old, &back].map(|jobs| jobs.reconciliation().unwrap());
    assert!(done.iter().all(|done| done.rules && done.live == 1), "{done:?}");
    // And forward again.
    let again = start(&world, v2()).await;
    assert_eq!(there(&again).await, BOTH);
    old.shutdown().await.unwrap();
    back.shutdown().await.unwrap();
    sleep(seconds(1)).await;
    assert_eq!(there(&again).await, V2);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_vanishes_counts_as_there_for_a_while() {
    let world = World::new().await;
    let store = crate::faulty::Faulty::on(world.store.clone());
    store.shared_by_processes();
    let process = |jobs: [JobDefinition; 3]| {
        let vars = [("JOBS_APP", "shop"), ("WORKER_ROLE", "cron")];
        let process = world.process_on(store.clone(), vars);
        jobs.into_iter().fold(process, shiftwork::JobsBuilder::register)
    };
    let old = process(v1()).start().await.unwrap();
    let new = process(v2()).start().await.unwrap();
    sleep(minutes(3)).await;
    assert_eq!(there(&new).await, BOTH);
    // Gone without a word: its shutdown does not reach the store.
    store.method("withdraw", crate::faulty::Fault::Fail);
    old.shutdown().await.unwrap();
    sleep(seconds(50)).await;
    assert_eq!(there(&new).await, BOTH, "it may only be slow");
    sleep(seconds(80)).await;
    assert_eq!(there(&new).await, V2);
}

#[tokio::test(start_paused = true)]
async fn a_changed_pattern_keeps_no_stale_next_run() {
    let world = World::new().await;
    let first = start(&world, v1()).await;
    assert_eq!(there(&first).await, V1);
    first.shutdown().await.unwrap();
    let vars = [
        ("JOBS_APP", "shop"),
        ("JOBS_KEPT_SCHEDULE", "30 17 * * *"),
        ("JOBS_OLD_ENABLED", "false"),
    ];
    let second = world.worker(vars, v1()).await;
    let records = second.scheduled_jobs().await.unwrap();
    let kept = records.iter().find(|record| record.schedule.id == "kept").unwrap();
    assert_eq!(kept.next, Some(START + hours(17) + minutes(30)));
    assert_eq!(ids(&second.reconciliation().unwrap().replaced), ["kept", "old"]);
    sleep(hours(24)).await;
    let records = second.scheduled_jobs().await.unwrap();
    let count = |id: &str| records.iter().find(|r| r.schedule.id == *id).unwrap().fired;
    assert_eq!((count("kept"), count("old"), count("changed")), (1, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_schedule_made_at_run_time_is_left_alone_by_one_of_its_id_in_code() {
    let world = World::new().await;
    let first = start(&world, v1()).await;
    first.cancel("old").await.unwrap();
    first.schedule(NewSchedule::cron("old", "0 22 * * *", old::job())).await.unwrap();
    first.shutdown().await.unwrap();
    let second = start(&world, v1()).await;
    assert_eq!(ids(&second.reconciliation().unwrap().left), ["old"]);
    assert_eq!(there(&second).await, ["changed 4", "kept 1", "old 22"]);
    // It survives the code's, too.
    second.shutdown().await.unwrap();
    let third = start(&world, v2()).await;
    assert!(third.is_scheduled("old").await.unwrap());
    // Once it is cancelled, the one in code comes back.
    third.cancel("old").await.unwrap();
    third.shutdown().await.unwrap();
    assert_eq!(there(&start(&world, v1()).await).await, V1);
}

#[tokio::test(start_paused = true)]
async fn schedules_declared_at_start_follow_the_code_with_payload_and_environment() {
    #[job]
    async fn report(region: String, notes: State<Notes>) {
        notes.add_at(&region);
    }
    let world = World::new().await;
    let notes = Notes::new(&world);
    let process = |vars: [(&str, &str); 2], ids: &[&str]| {
        let process = world.process(vars).state(notes.clone()).register(report::definition());
        ids.iter().fold(process, |process, id| {
            let job = report::job((*id).into());
            process.schedule(NewSchedule::cron(*id, "0 6 * * *", job))
        })
    };
    let vars = [("JOBS_APP", "shop"), ("JOBS_REPORT_US_SCHEDULE", "0 12 * * *")];
    let first = process(vars, &["report-eu", "report-us"]).start().await.unwrap();
    sleep(hours(24)).await;
    assert_eq!(notes.all(), ["report-eu at 21600", "report-us at 43200"]);
    first.shutdown().await.unwrap();
    let vars = [("JOBS_APP", "shop"), ("JOBS_REPORT_EU_ENABLED", "false")];
    let second = process(vars, &["report-eu"]).start().await.unwrap();
    assert_eq!(ids(&second.reconciliation().unwrap().removed), ["report-us"]);
    sleep(hours(24)).await;
    assert_eq!(notes.all().len(), 2);
    second.shutdown().await.unwrap();

    let twice = process([("JOBS_APP", "shop"), ("JOBS_LAZY", "false")], &["same", "same"]);
    let told = twice.start().await.unwrap_err().to_string();
    assert!(told.contains("two schedules in code have the id \"same\""), "{told}");
    let bad = world.process([]).register(report::definition());
    let bad = bad.schedule(NewSchedule::cron("bad", "61 * * * *", report::job("x".into())));
    let told = bad.start().await.unwrap_err().to_string();
    assert!(told.contains("the schedule bad (from the code)"), "{told}");
}
