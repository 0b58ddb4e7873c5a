//! What is due is read and planned ahead of its time, and fired as it is when that has come.

use std::time::Duration;

use shiftwork::{Misfire, Overlap};
use tokio::time::sleep;

use crate::faulty::Faulty;
use crate::support::*;
use shiftwork::prelude::*;

/// Shortly before something is due: by then it is planned.
const SHORTLY: Duration = Duration::from_millis(100);

#[job]
async fn note(what: String, notes: State<Notes>) {
    notes.add_at(&what);
}

#[tokio::test(start_paused = true)]
async fn what_is_due_at_one_instant_is_read_before_it_and_then_fired_in_few_calls() {
    const COUNT: usize = 1100;
    let world = World::new().await;
    let notes = Notes::new(&world);
    let store = Faulty::on(world.store.clone());
    let process = world.process_on(store.clone(), []).state(notes);
    let jobs = process.register(note::definition()).start().await.unwrap();
    for n in 0..COUNT {
        let each = NewSchedule::every(format!("n{n}"), minutes(1), note::job("n".into()));
        jobs.schedule(each.overlap(Overlap::Allow)).await.unwrap();
    }
    sleep(minutes(1) - SHORTLY).await;
    store.take_calls();
    sleep(2 * SHORTLY).await;
    let calls = store.take_calls();
    assert_eq!(calls["fire"], COUNT.div_ceil(250), "{calls:?}");
    assert!(!calls.contains_key("due"), "all was read before: {calls:?}");
    let schedules = jobs.scheduled_jobs().await.unwrap();
    assert!(schedules.iter().all(|schedule| schedule.fired == 1));
}

#[tokio::test(start_paused = true)]
async fn a_schedule_that_changes_shortly_before_its_time_is_fired_as_it_is_then() {
    let world = World::new().await;
    let notes = Notes::new(&world);
    let process = world.process([]).state(notes.clone()).register(note::definition());
    let jobs = process.start().await.unwrap();
    let each = |what: &str| NewSchedule::every("each", minutes(1), note::job(what.into()));
    jobs.schedule(each("first")).await.unwrap();
    sleep(minutes(1) - SHORTLY).await;
    jobs.schedule(each("changed")).await.unwrap();
    sleep(minutes(1)).await;
    assert_eq!(notes.all(), ["changed at 60"]);
    jobs.pause_schedule("each").await.unwrap();
    sleep(minutes(1)).await;
    jobs.resume_schedule("each").await.unwrap();
    assert_eq!(notes.all().len(), 1, "it was paused when its time came");
    let sooner = NewSchedule::once("sooner", START + seconds(180), note::job("sooner".into()));
    jobs.schedule(sooner).await.unwrap();
    sleep(minutes(1)).await;
    assert_eq!(notes.all().len(), 3, "both, though one was planned before the other was there");
    jobs.cancel("each").await.unwrap();
    sleep(minutes(1)).await;
    assert_eq!(notes.all().len(), 3, "it was gone when its time came");
}

#[tokio::test(start_paused = true)]
async fn what_was_planned_before_a_machine_slept_follows_its_policy_when_that_is_awake() {
    for misfire in [Misfire::Skip, Misfire::Once] {
        let world = World::new().await;
        let notes = Notes::new(&world);
        let process = world.process([]).state(notes.clone()).register(note::definition());
        let jobs = process.start().await.unwrap();
        let hourly = NewSchedule::every("hourly", hours(1), note::job("hourly".into()));
        jobs.schedule(hourly.misfire(misfire)).await.unwrap();
        sleep(hours(1) - SHORTLY).await;
        world.clock.set(START + hours(30) + minutes(10));
        sleep(minutes(5)).await;
        let schedule = jobs.scheduled_jobs().await.unwrap().remove(0);
        let made_up = u64::from(misfire == Misfire::Once);
        assert_eq!((schedule.fired, schedule.missed), (made_up, 30 - made_up), "{misfire:?}");
        let run = schedule.last.map(|last| last.occurrence);
        assert_eq!(run, (made_up == 1).then_some(START + hours(30)), "the latest stands for all");
    }
}

#[tokio::test(start_paused = true)]
async fn several_occurrences_of_one_schedule_are_planned_at_once_and_each_fires_at_its_time() {
    let world = World::new().await;
    let notes = Notes::new(&world);
    let store = Faulty::on(world.store.clone());
    let process = world.process_on(store.clone(), []).state(notes.clone());
    let jobs = process.register(note::definition()).start().await.unwrap();
    let often = NewSchedule::every("often", Duration::from_millis(250), note::job("often".into()));
    jobs.schedule(often.overlap(Overlap::Allow)).await.unwrap();
    store.take_calls();
    sleep(seconds(60) + SHORTLY).await;
    let calls = store.take_calls();
    let schedule = jobs.scheduled_jobs().await.unwrap().remove(0);
    assert_eq!((schedule.fired, schedule.missed, schedule.overlapped), (240, 0, 0));
    assert_eq!(notes.all().len(), 240);
    assert!(calls["fire"] <= 245 && calls["due"] <= 50, "{calls:?}");
}
