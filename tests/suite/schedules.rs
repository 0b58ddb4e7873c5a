//! Schedules, in code and made at run time, as the engine fires them.

use std::sync::Arc;
use std::time::Duration;

use shiftwork::adapter::{Clock, JobAdapter, TestClock, Timestamp, Timing};
use shiftwork::{JobState, Overlap};
use tokio::time::sleep;

use crate::faulty::{Fault, Faulty};
use crate::support::*;
use shiftwork::prelude::*;

const YEAR: u64 = 365 * 24;

#[tokio::test(start_paused = true)]
async fn a_simulated_year_of_every_five_minutes_fires_as_often_as_counted_by_hand() {
    #[job(cron = "*/5 * * * *")]
    async fn five_minutes() {}
    let world =
        World::with(|settings| settings.keep_completed.age = std::time::Duration::ZERO).await;
    let jobs = world.worker([("JOBS_KEEP_COMPLETED", "0")], [five_minutes::definition()]).await;
    sleep(hours(YEAR) + seconds(1)).await;
    let schedule = &jobs.scheduled_jobs().await.unwrap()[0];
    assert_eq!(schedule.fired, YEAR * 12);
    assert_eq!((schedule.missed, schedule.overlapped), (0, 0));
    assert_eq!(schedule.next.unwrap(), START + hours(YEAR) + minutes(5));
}

#[tokio::test(start_paused = true)]
async fn a_simulated_year_in_berlin_fires_each_day_by_the_clock_there_and_an_interval_as_it_passes()
{
    #[job(cron = "30 2 * * *", timezone = "Europe/Berlin")]
    async fn nightly(notes: State<Notes>, ctx: JobContext) {
        notes.add(ctx.scheduled_at().to_string());
    }
    #[job(cron = "*/5 * * * *", timezone = "Europe/Berlin")]
    async fn five_minutes() {}
    let world =
        World::with(|settings| settings.keep_completed.age = std::time::Duration::ZERO).await;
    let notes = Notes::new(&world);
    let process = world.process([("JOBS_KEEP_COMPLETED", "0")]).state(notes.clone());
    let process = process.register(nightly::definition()).register(five_minutes::definition());
    let jobs = process.start().await.unwrap();
    sleep(hours(YEAR) + seconds(1)).await;
    let schedules = jobs.scheduled_jobs().await.unwrap();
    let fired = |id: &str| {
        let schedule = schedules.iter().find(|schedule| schedule.schedule.id.as_str() == id);
        let schedule = schedule.expect("it is there");
        assert_eq!((schedule.missed, schedule.overlapped), (0, 0));
        schedule.fired
    };
    // An hour is skipped in spring, and there twice in autumn.
    assert_eq!(fired("five_minutes"), YEAR * 12);
    assert_eq!(fired("nightly"), 365);
    let notes = notes.all();
    for expected in [
        "2027-01-15T01:30:00.000Z",
        // 2:30 is skipped: at 3:00, which comes right after 1:59:59.
        "2027-03-28T01:00:00.000Z",
        "2027-03-29T00:30:00.000Z",
        "2027-07-15T00:30:00.000Z",
        // 2:30 comes twice: the first time.
        "2027-10-31T00:30:00.000Z",
        "2027-11-01T01:30:00.000Z",
    ] {
        assert!(notes.iter().any(|at| at == expected), "{expected}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pattern_that_names_no_time_zone_is_in_that_of_the_environment() {
    #[job(cron = "0 3 * * *")]
    async fn there() {}
    #[job(cron = "0 3 * * *", timezone = "UTC")]
    async fn here() {}
    let world = World::new().await;
    let vars = [("JOBS_TIMEZONE", "Asia/Tokyo")];
    let jobs = world.worker(vars, [there::definition(), here::definition()]).await;
    jobs.schedule(NewSchedule::cron("by-hand", "0 3 * * *", there::job())).await.unwrap();
    let zones: Vec<_> = jobs
        .scheduled_jobs()
        .await
        .unwrap()
        .into_iter()
        .map(|record| record.schedule.timing.to_string())
        .collect();
    let tokyo = "0 3 * * * (Asia/Tokyo)";
    assert_eq!(zones, [tokyo, "0 3 * * * (UTC)", tokyo]);
}

#[tokio::test(start_paused = true)]
async fn an_occurrence_fires_when_it_is_due_and_its_job_knows_for_what() {
    #[job(cron = "30 */2 * * * *")]
    async fn half_past(notes: State<Notes>, ctx: JobContext) {
        let at = ctx.scheduled_at().since(START).as_secs();
        notes.add_at(&format!("{} for {at}", ctx.actor().unwrap()));
    }
    let world = World::new().await;
    let notes = Notes::new(&world);
    let process = world.process([]).state(notes.clone()).register(half_past::definition());
    let _jobs = process.start().await.unwrap();
    let expected = ["system for 30 at 30", "system for 150 at 150", "system for 270 at 270"];
    assert_eq!(notes.reach(3).await, expected);
}

#[tokio::test(start_paused = true)]
async fn however_many_processes_tick_an_occurrence_makes_one_job() {
    #[job(every = "10s")]
    async fn ten_seconds(notes: State<Notes>, ctx: JobContext) {
        notes.add(ctx.scheduled_at().to_string());
    }
    let world = World::new().await;
    let notes = Notes::new(&world);
    let mut processes = Vec::new();
    for _ in 0..8 {
        let process = world.process([]).state(notes.clone()).register(ten_seconds::definition());
        processes.push(process.start().await.unwrap());
    }
    sleep(seconds(601)).await;
    let mut all = notes.all();
    assert_eq!(all.len(), 60);
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 60);
}

#[tokio::test(start_paused = true)]
async fn an_occurrence_that_comes_while_the_last_run_is_not_settled_is_skipped_or_not() {
    #[job(every = "1m", timeout = "1h")]
    async fn skipping() {
        sleep(seconds(150)).await;
    }
    #[job(every = "1m", timeout = "1h", overlap = "allow")]
    async fn allowing() {
        sleep(seconds(150)).await;
    }
    let world = World::new().await;
    let jobs = world.worker([], [skipping::definition(), allowing::definition()]).await;
    sleep(seconds(12 * 60 + 1)).await;
    let schedules = jobs.scheduled_jobs().await.unwrap();
    let [allowing, skipping] = &schedules[..] else { panic!("there are two") };
    assert_eq!(allowing.schedule.overlap, Overlap::Allow);
    assert_eq!((allowing.fired, allowing.overlapped), (12, 0));
    // Runs from minutes 1, 4, 7 and 10; two are skipped during each.
    assert_eq!((skipping.fired, skipping.overlapped), (4, 8));
}

#[tokio::test(start_paused = true)]
async fn a_retrying_run_still_overlaps() {
    #[job(every = "1m", attempts = 2, backoff = "fixed(90s)")]
    async fn failing() -> Result<(), JobError> {
        Err("closed".into())
    }
    let world = World::new().await;
    let jobs = world.worker([], [failing::definition()]).await;
    sleep(seconds(4 * 60 + 1)).await;
    let schedule = &jobs.scheduled_jobs().await.unwrap()[0];
    // From 1:00 to 2:30, and from 3:00 to 4:30.
    assert_eq!((schedule.fired, schedule.overlapped), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn after_a_night_asleep_the_latest_occurrence_makes_one_job_for_all() {
    #[job(cron = "0 * * * *")]
    async fn hourly(notes: State<Notes>, ctx: JobContext) {
        notes.add(ctx.scheduled_at().to_string());
    }
    let world = World::new().await;
    let notes = Notes::new(&world);
    let clock = Arc::new(Laptop(world.clock.clone()));
    let process = world.process([]).clock(clock).state(notes.clone());
    let jobs = process.register(hourly::definition()).start().await.unwrap();
    sleep(seconds(3601)).await;
    // The lid is closed at 01:00:01, and opened at 09:30. Timers do not notice.
    world.clock.set(START + hours(9) + minutes(30));
    sleep(hours(1)).await;
    assert_eq!(
        notes.all(),
        ["2026-11-22T01:00:00.000Z", "2026-11-22T09:00:00.000Z", "2026-11-22T10:00:00.000Z",]
    );
    let schedule = &jobs.scheduled_jobs().await.unwrap()[0];
    assert_eq!((schedule.fired, schedule.missed), (3, 7));
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_goes_forward_is_noticed_though_another_schedule_fires_all_the_time() {
    #[job(cron = "0 12 * * *")]
    async fn noon(notes: State<Notes>) {
        notes.add_at("noon");
    }
    #[job(queue = "other", every = "1s", overlap = "allow")]
    async fn each_second() {}
    let world = World::new().await;
    let notes = Notes::new(&world);
    let clock = Arc::new(Laptop(world.clock.clone()));
    let process = world.process([]).clock(clock).state(notes.clone());
    let process = process.register(noon::definition()).register(each_second::definition());
    let _jobs = process.start().await.unwrap();
    sleep(seconds(100)).await;
    world.clock.set(START + hours(12) - seconds(1));
    sleep(seconds(31)).await;
    let noted = notes.all();
    let at: f64 = noted[0].strip_prefix("noon at ").unwrap().parse().unwrap();
    assert!((43_200.0..=43_230.0).contains(&at), "{noted:?}");
    assert_eq!(noted.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn after_a_night_asleep_each_missed_occurrence_makes_a_job_where_all_shall() {
    #[job(cron = "0 * * * *", misfire = "all", overlap = "allow")]
    async fn hourly(notes: State<Notes>, ctx: JobContext) {
        notes.add(ctx.scheduled_at().to_string());
    }
    let world = World::new().await;
    let notes = Notes::new(&world);
    let clock = Arc::new(Laptop(world.clock.clone()));
    let process = world.process([("JOBS_CONCURRENCY", "1")]).clock(clock).state(notes.clone());
    let jobs = process.register(hourly::definition()).start().await.unwrap();
    sleep(seconds(3601)).await;
    world.clock.set(START + hours(9) + minutes(30));
    sleep(hours(1)).await;
    let expected: Vec<_> = (1..=10).map(|hour| (START + hours(hour)).to_string()).collect();
    assert_eq!(notes.all(), expected);
    let schedule = &jobs.scheduled_jobs().await.unwrap()[0];
    assert_eq!((schedule.fired, schedule.missed, schedule.overlapped), (10, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn no_more_than_a_thousand_missed_occurrences_are_made_up_for_and_with_few_calls() {
    #[job(every = "1m", misfire = "all", overlap = "allow")]
    async fn each_minute() {}
    let world = World::new().await;
    let clock = Arc::new(Laptop(world.clock.clone()));
    let store = Faulty::on(world.store.clone());
    let process = world.process_on(store.clone(), []).clock(clock);
    let jobs = process.register(each_minute::definition()).start().await.unwrap();
    sleep(seconds(61)).await;
    store.take_calls();
    // Two days: 2880 occurrences.
    world.clock.set(START + hours(48) + seconds(61));
    sleep(seconds(31)).await;
    let schedule = &jobs.scheduled_jobs().await.unwrap()[0];
    assert_eq!((schedule.fired, schedule.missed), (1 + 1000, 1880));
    assert_eq!(schedule.last.unwrap().occurrence, START + hours(48) + minutes(1));
    let calls = store.take_calls();
    assert!(calls["due"] <= 13 && calls["fire"] <= 11, "{calls:?}");
}

/// Looked at anew every half a minute, as the system's clock is.
#[derive(Debug)]
struct Laptop(Arc<TestClock>);

impl Clock for Laptop {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn longest_sleep(&self) -> Option<Duration> {
        Some(Duration::from_secs(30))
    }

    fn is_simulated(&self) -> bool {
        true
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_goes_backward_doubles_nothing() {
    #[job(every = "10m")]
    async fn ten_minutes(notes: State<Notes>, ctx: JobContext) {
        notes.add(ctx.scheduled_at().to_string());
    }
    let world = World::new().await;
    let notes = Notes::new(&world);
    let process = world.process([]).state(notes.clone()).register(ten_minutes::definition());
    let _jobs = process.start().await.unwrap();
    sleep(minutes(35)).await;
    world.clock.set(START + minutes(5));
    sleep(minutes(60)).await;
    let mut all = notes.all();
    let count = all.len();
    all.dedup();
    assert_eq!(all.len(), count, "an occurrence ran twice");
    assert_eq!(all.last().unwrap(), "2026-11-22T01:00:00.000Z");
    assert!(world.clock.now() >= START + hours(1));
}

#[job(every = "10m", overlap = "allow")]
async fn each_ten_minutes(notes: State<Notes>, ctx: JobContext) {
    notes.add(ctx.scheduled_at().to_string());
}

/// A process that fires it, and that looks at its clock as a laptop does.
fn each_ten_minutes_on(
    world: &World,
    store: Arc<dyn JobAdapter>,
    notes: &Notes,
) -> shiftwork::JobsBuilder {
    let process = world.process_on(store, []).clock(Arc::new(Laptop(world.clock.clone())));
    process.state(notes.clone()).register(each_ten_minutes::definition())
}

/// Every ten minutes, from the first on, up to the last.
fn slots(last: Duration) -> Vec<String> {
    let minutes = (10..=last.as_secs() / 60).step_by(10);
    minutes.map(|minute| (START + Duration::from_secs(minute * 60)).to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn of_a_clock_that_was_a_day_ahead_and_is_set_right_nothing_stops_and_nothing_doubles() {
    let world = World::new().await;
    let notes = Notes::new(&world);
    let jobs = each_ten_minutes_on(&world, world.store.clone(), &notes).start().await.unwrap();
    sleep(minutes(35)).await;
    // Three have run. Of the day, one is made up for; two more run while the clock is wrong.
    world.clock.set(START + hours(24) + minutes(35));
    sleep(minutes(21)).await;
    let ahead = jobs.scheduled_jobs().await.unwrap().remove(0);
    assert_eq!((ahead.fired, ahead.missed), (3 + 1 + 2, 24 * 6 - 1));
    world.clock.set(START + minutes(56));
    sleep(minutes(5)).await;
    let back = jobs.scheduled_jobs().await.unwrap().remove(0);
    assert_eq!((back.fired, back.next), (7, Some(START + minutes(70))), "the next has its turn");
    // Up to what had its job, and beyond.
    sleep(hours(24)).await;
    let mut ran = notes.all();
    ran.sort();
    let mut expected = slots(hours(25));
    // From 35 to 56 minutes the clock was elsewhere.
    expected
        .retain(|at| !["2026-11-22T00:40:00.000Z", "2026-11-22T00:50:00.000Z"].contains(&&**at));
    assert_eq!(ran, expected);
    assert_eq!(jobs.scheduled_jobs().await.unwrap()[0].passed, None);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_set_right_while_nobody_looked_is_found_out_by_who_starts() {
    let world = World::new().await;
    let notes = Notes::new(&world);
    let start =
        async || each_ten_minutes_on(&world, world.store.clone(), &notes).start().await.unwrap();
    let jobs = start().await;
    sleep(minutes(15)).await;
    world.clock.set(START + hours(5) + minutes(15));
    sleep(minutes(1)).await;
    jobs.shutdown().await.unwrap();
    world.clock.set(START + minutes(16));
    let jobs = start().await;
    sleep(minutes(30)).await;
    let record = jobs.scheduled_jobs().await.unwrap().remove(0);
    assert_eq!((record.fired, record.next), (1 + 1 + 3, Some(START + minutes(50))));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_when_the_clock_was_set_right_is_asked_again_and_holds_up_nothing() {
    #[job(every = "1m")]
    async fn each_minute() {}
    let world = World::new().await;
    let notes = Notes::new(&world);
    let store = Faulty::on(world.store.clone());
    let process = each_ten_minutes_on(&world, store.clone(), &notes);
    let jobs = process.register(each_minute::definition()).start().await.unwrap();
    sleep(minutes(15)).await;
    world.clock.set(START + hours(5) + minutes(15));
    sleep(minutes(1)).await;
    world.clock.set(START + minutes(16));
    // One that was never ahead has its turn meanwhile.
    let late = NewSchedule::every("late", minutes(1), each_minute::job());
    jobs.schedule(late).await.unwrap();
    store.method("rewind", Fault::Fail);
    sleep(minutes(3) + seconds(1)).await;
    let record = async |id| jobs.scheduled_job(id).await.unwrap().unwrap();
    assert_eq!(record("late").await.fired, 3);
    assert_eq!(record("each_ten_minutes").await.passed.unwrap().resume, None);
    store.method("rewind", Fault::LoseReplies);
    sleep(minutes(1)).await;
    store.method("rewind", Fault::None);
    sleep(minutes(26)).await;
    let record = record("each_ten_minutes").await;
    assert_eq!((record.fired, record.next), (1 + 1 + 3, Some(START + minutes(50))));
}

#[tokio::test(start_paused = true)]
async fn a_process_that_sleeps_over_what_it_went_back_to_doubles_nothing() {
    let world = World::new().await;
    let notes = Notes::new(&world);
    let jobs = each_ten_minutes_on(&world, world.store.clone(), &notes).start().await.unwrap();
    sleep(minutes(15)).await;
    world.clock.set(START + hours(5) + minutes(15));
    sleep(minutes(21)).await;
    world.clock.set(START + minutes(36));
    sleep(minutes(5)).await;
    // The laptop is closed, and opened after all of that.
    world.clock.set(START + hours(9) + minutes(1));
    sleep(minutes(31)).await;
    let ran = notes.all();
    let mut once = ran.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), ran.len(), "an occurrence ran twice: {ran:?}");
    let record = jobs.scheduled_jobs().await.unwrap().remove(0);
    assert_eq!(record.next, Some(START + hours(9) + minutes(40)));
    // The latest of both stretches were made up for.
    let at = |minute: u64| (START + minutes(minute)).to_string();
    for minute in [300, 540] {
        assert!(ran.contains(&at(minute)), "{minute}: {ran:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_goes_backward_before_several_are_fired_is_waited_for() {
    #[job(every = "1s")]
    async fn each_second() {}
    let world = World::new().await;
    let store = Faulty::on(world.store.clone());
    store.list_ahead(seconds(10));
    let process = world.process_on(store.clone(), []).register(each_second::definition());
    let jobs = process.start().await.unwrap();
    sleep(seconds(20) + Duration::from_millis(500)).await;
    let schedule = &jobs.scheduled_jobs().await.unwrap()[0];
    assert_eq!((schedule.fired, schedule.missed), (20, 0));
    // It looks again each millisecond, and not without a pause.
    let calls = store.take_calls()["due"];
    assert!(calls < 21_000, "{calls}");
}

#[tokio::test(start_paused = true)]
async fn the_environment_overrides_pattern_and_switch_of_a_job() {
    #[job(name = "nightly-report", cron = "0 3 * * *")]
    async fn nightly() {}
    #[job(name = "off", cron = "0 3 * * *")]
    async fn off() {}
    let world = World::new().await;
    let vars = [("JOBS_NIGHTLY_REPORT_SCHEDULE", "*/20 * * * *"), ("JOBS_OFF_ENABLED", "false")];
    let jobs = world.worker(vars, [nightly::definition(), off::definition()]).await;
    sleep(hours(24) + seconds(1)).await;
    let schedules = jobs.scheduled_jobs().await.unwrap();
    let fired = |id: &str| schedules.iter().find(|s| s.schedule.id == *id).unwrap().fired;
    assert_eq!(fired("nightly-report"), 72);
    assert_eq!(fired("off"), 0);
    // By hand it runs all the same.
    let run = jobs.trigger("off").await.unwrap();
    assert_eq!(finished(&jobs, run.id()).await.state, JobState::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_schedule_can_be_made_changed_and_cancelled_while_the_program_runs() {
    #[job]
    async fn digest(account: u64, notes: State<Notes>) {
        notes.add_at(&format!("account {account}"));
    }
    let world = World::new().await;
    let notes = Notes::new(&world);
    let process = world.process([]).state(notes.clone()).register(digest::definition());
    let jobs = process.start().await.unwrap();
    let schedule = |pattern: &str| NewSchedule::cron("digest-17", pattern, digest::job(17));
    jobs.schedule(schedule("30 * * * *")).await.unwrap();
    assert!(jobs.is_scheduled("digest-17").await.unwrap());
    sleep(hours(1)).await;
    jobs.schedule(schedule("45 * * * *")).await.unwrap();
    sleep(hours(1)).await;
    assert!(jobs.cancel("digest-17").await.unwrap());
    assert!(!jobs.cancel("digest-17").await.unwrap());
    assert!(!jobs.is_scheduled("digest-17").await.unwrap());
    sleep(hours(5)).await;
    assert_eq!(notes.all(), ["account 17 at 1800", "account 17 at 6300"]);
}

#[tokio::test(start_paused = true)]
async fn a_bad_schedule_is_refused_with_what_is_wrong() {
    #[job]
    async fn digest(account: u64) {
        let _ = account;
    }
    let world = World::new().await;
    let jobs = world.worker([], [digest::definition()]).await;
    for (schedule, fault) in [
        (NewSchedule::cron("d", "0 25 * * *", digest::job(1)), "hour is \"25\""),
        (NewSchedule::cron("d", "0 0 30 2 *", digest::job(1)), "it never comes"),
        (NewSchedule::cron("d:1", "0 0 * * *", digest::job(1)), "contains ':'"),
        (NewSchedule::every("d", std::time::Duration::ZERO, digest::job(1)), "interval of 0"),
        (NewSchedule::cron("d", "@daily", NewJob::new("digets", &1)), "did you mean \"digest\"?"),
        (NewSchedule::cron("d", "@daily", NewJob::new("digest", &())), "needs a payload"),
        (
            NewSchedule::cron("d", "@daily", digest::job(1)).timezone("Mars/Olympus"),
            "there is no time zone \"Mars/Olympus\"",
        ),
    ] {
        let error = jobs.schedule(schedule).await.unwrap_err();
        assert_eq!(error.kind(), shiftwork::ErrorKind::Invalid);
        assert!(error.to_string().contains(fault), "{error}");
    }
    assert!(jobs.scheduled_jobs().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_code_declares_no_more_is_removed_and_what_was_made_at_run_time_stays() {
    #[job(cron = "@daily")]
    async fn old() {}
    #[job(cron = "@hourly")]
    async fn kept() {}
    let world = World::new().await;
    let first = world.worker([("JOBS_APP", "shop")], [old::definition(), kept::definition()]).await;
    first.schedule(NewSchedule::cron("by-hand", "@daily", kept::job())).await.unwrap();
    first.shutdown().await.unwrap();
    // Another application's start leaves them alone.
    let other = world.worker([("JOBS_APP", "office")], [kept_by_office()]).await;
    other.shutdown().await.unwrap();
    let second = world.worker([("JOBS_APP", "shop")], [kept::definition()]).await;
    let schedules = second.scheduled_jobs().await.unwrap();
    let ids: Vec<_> = schedules.iter().map(|record| record.schedule.id.as_str()).collect();
    assert_eq!(ids, ["by-hand", "kept", "office-only"]);
}

fn kept_by_office() -> shiftwork::JobDefinition {
    #[job(name = "office-only", every = "1h")]
    async fn office() {}
    office::definition()
}

#[tokio::test(start_paused = true)]
async fn one_stored_schedule_that_cannot_be_read_does_not_stop_the_others() {
    #[job(every = "1m")]
    async fn good() {}
    let world = World::new().await;
    let jobs = world.worker([], [good::definition()]).await;
    let mut strange = (*jobs.scheduled_jobs().await.unwrap()[0].schedule).clone();
    strange.id = shiftwork::ScheduleId::new("from-the-future").unwrap();
    strange.origin = shiftwork::adapter::Origin::RunTime;
    strange.timing = Timing::Cron { pattern: "every full moon".into(), timezone: "UTC".into() };
    world.store.schedule(strange, Some(START)).await.unwrap();
    sleep(minutes(5) + seconds(1)).await;
    let schedules = jobs.scheduled_jobs().await.unwrap();
    let fired: Vec<_> = schedules.iter().map(|record| record.fired).collect();
    assert_eq!(fired, [0, 5]);
}

#[tokio::test(start_paused = true)]
async fn more_than_a_page_of_schedules_that_cannot_be_read_are_not_asked_for_again_and_again() {
    #[job]
    async fn known() {}
    let world = World::new().await;
    let store = Faulty::on(world.store.clone());
    let process = world.process_on(store.clone(), []).register(known::definition());
    let jobs = process.start().await.unwrap();
    jobs.schedule(NewSchedule::cron("model", "@daily", known::job())).await.unwrap();
    let mut strange = (*jobs.scheduled_jobs().await.unwrap()[0].schedule).clone();
    strange.timing = Timing::Cron { pattern: "every full moon".into(), timezone: "UTC".into() };
    for number in 0..1001 {
        strange.id = shiftwork::ScheduleId::new(format!("strange-{number}")).unwrap();
        world.store.schedule(strange.clone(), Some(START)).await.unwrap();
    }
    store.take_calls();
    // Time stands still, so that a loop without a pause would go on all the while.
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    let calls = store.take_calls();
    assert!(calls["due"] <= 5, "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn pages_of_schedules_due_at_once_fire_once_each_by_few_calls_of_several_processes() {
    #[job(queue = "crowd")]
    async fn crowded() {}
    const COUNT: u64 = 3500;
    let world = World::new().await;
    let store = Faulty::on(world.store.clone());
    let start = async || {
        let process = world.process_on(store.clone(), []).register(crowded::definition());
        process.start().await.unwrap()
    };
    let (jobs, others) = (start().await, [start().await, start().await]);
    jobs.pause("crowd").await.unwrap();
    for number in 0..COUNT {
        let id = format!("s-{number}");
        let each_minute = NewSchedule::every(id, minutes(1), crowded::job());
        jobs.schedule(each_minute).await.unwrap();
    }
    store.take_calls();
    sleep(seconds(60) + Duration::from_millis(500)).await;
    let schedules = jobs.scheduled_jobs().await.unwrap();
    assert!(schedules.iter().all(|schedule| (schedule.fired, schedule.missed) == (1, 0)));
    assert_eq!(jobs.counts("crowd").await.unwrap().total(), COUNT);
    // Of each process at most 14 batches, four pages, and a look around.
    let calls = store.take_calls();
    assert!(calls["fire"] <= 3 * 14 && calls["due"] <= 3 * 6, "{calls:?}");
    for jobs in others {
        jobs.shutdown().await.unwrap();
    }
}
