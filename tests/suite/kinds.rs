//! What a schedule can be: once, within bounds, so often, spread, queued, paused, by hand.

use std::collections::BTreeSet;
use std::time::Duration;

use shiftwork::adapter::{Clock, Timestamp};
use shiftwork::{ErrorKind, JobState, Misfire, Overlap, ScheduleRecord};
use tokio::time::sleep;

use crate::support::*;
use shiftwork::prelude::*;

#[job]
async fn note(what: String, notes: State<Notes>) {
    notes.add_at(&what);
}

/// A process with that job, and what it notes.
async fn process() -> (World, Notes, Jobs) {
    let world = World::new().await;
    let notes = Notes::new(&world);
    let process = world.process([]).state(notes.clone()).register(note::definition());
    let jobs = process.start().await.unwrap();
    (world, notes, jobs)
}

async fn only(jobs: &Jobs) -> ScheduleRecord {
    let mut all = jobs.scheduled_jobs().await.unwrap();
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

#[tokio::test(start_paused = true)]
async fn once_runs_once_at_its_instant_with_its_payload_and_is_gone() {
    let (_world, notes, jobs) = process().await;
    let once =
        |payload: &str| NewSchedule::once("launch", START + hours(5), note::job(payload.into()));
    jobs.schedule(once("first thought")).await.unwrap();
    jobs.schedule(once("launched")).await.unwrap();
    assert_eq!(only(&jobs).await.next, Some(START + hours(5)));
    sleep(hours(48)).await;
    assert_eq!(notes.all(), ["launched at 18000"]);
    assert!(jobs.scheduled_jobs().await.unwrap().is_empty());
    assert!(!jobs.is_scheduled("launch").await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn an_instant_that_has_just_passed_is_now_and_one_long_past_is_refused() {
    let (_world, notes, jobs) = process().await;
    sleep(hours(1)).await;
    let once = |at: Timestamp| NewSchedule::once("late", at, note::job("late".into()));
    jobs.schedule(once(START + hours(1) - seconds(30))).await.unwrap();
    assert_eq!(notes.reach(1).await, ["late at 3600"]);
    let error = jobs.schedule(once(START)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let told = error.to_string();
    assert!(told.contains("2026-11-22T00:00:00.000Z, has passed: it is 2026-11-22T01"), "{told}");
    assert!(told.contains("enqueue its job instead"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn between_start_and_end_it_fires_and_an_interval_counts_from_the_start() {
    let (_world, notes, jobs) = process().await;
    let every = NewSchedule::every("every", minutes(10), note::job("every".into()));
    jobs.schedule(every.starts(START + seconds(67)).ends(START + seconds(1867))).await.unwrap();
    let cron = NewSchedule::cron("cron", "*/15 * * * *", note::job("cron".into()));
    jobs.schedule(cron.starts(START + minutes(30)).ends(START + minutes(60))).await.unwrap();
    sleep(hours(24)).await;
    assert_eq!(
        notes.all(),
        [
            "every at 67",
            "every at 667",
            "every at 1267",
            "cron at 1800",
            "every at 1867",
            "cron at 2700",
            "cron at 3600"
        ]
    );
    let ended = jobs.scheduled_jobs().await.unwrap();
    assert!(ended.iter().all(|record| record.next.is_none()), "both stay, and have ended");
}

#[tokio::test(start_paused = true)]
async fn an_interval_neither_drifts_nor_begins_anew_with_the_process() {
    let (world, notes, jobs) = process().await;
    let every = || NewSchedule::every("every", minutes(7), note::job("every".into()));
    jobs.schedule(every()).await.unwrap();
    sleep(minutes(10)).await;
    jobs.shutdown().await.unwrap();
    sleep(seconds(17)).await;
    let process = world.process([]).state(notes.clone()).register(note::definition());
    let jobs = process.start().await.unwrap();
    jobs.schedule(every()).await.unwrap();
    sleep(minutes(20)).await;
    let of_epoch = |note: &String| {
        let seconds: i64 = note.strip_prefix("every at ").unwrap().parse().unwrap();
        (START + Duration::from_secs(seconds.unsigned_abs())).as_millis() % 420_000
    };
    let notes = notes.all();
    assert_eq!(notes.len(), 4, "{notes:?}");
    assert!(notes.iter().map(of_epoch).all(|rest| rest == 0), "{notes:?}");
}

#[tokio::test(start_paused = true)]
async fn after_as_many_runs_as_its_limit_it_fires_no_more() {
    let (_world, notes, jobs) = process().await;
    let limited = NewSchedule::every("limited", minutes(1), note::job("run".into())).limit(3);
    jobs.schedule(limited).await.unwrap();
    sleep(hours(1)).await;
    assert_eq!(notes.all(), ["run at 60", "run at 120", "run at 180"]);
    let record = only(&jobs).await;
    assert_eq!((record.fired, record.next, record.missed), (3, None, 0));
}

#[tokio::test(start_paused = true)]
async fn jitter_spreads_occurrences_and_is_the_same_in_every_process() {
    #[job(cron = "0 * * * *", jitter = "10m")]
    async fn spread(notes: State<Notes>, ctx: JobContext) {
        let at = ctx.scheduled_at().since(START).as_secs();
        notes.add_at(&format!("{at}"));
    }
    let mut all = Vec::new();
    for _ in 0..2 {
        let world = World::new().await;
        let notes = Notes::new(&world);
        let process = world.process([]).state(notes.clone()).register(spread::definition());
        let _jobs = process.start().await.unwrap();
        sleep(hours(24) + minutes(59)).await;
        all.push(notes.all());
    }
    assert_eq!(all[0], all[1]);
    let mut late = BTreeSet::new();
    for (hour, note) in all[0].iter().enumerate() {
        let (at, ran) = note.split_once(" at ").unwrap();
        let (at, ran): (f64, f64) = (at.parse().unwrap(), ran.parse().unwrap());
        assert_eq!(at, 3600.0 * (hour as f64 + 1.0), "the occurrence is the full hour");
        assert!((0.0..600.0).contains(&(ran - at)), "{note}");
        late.insert(((ran - at) / 120.0) as u64);
    }
    assert_eq!(all[0].len(), 24);
    assert!(late.len() >= 4, "they are spread: {:?}", all[0]);
}

#[tokio::test(start_paused = true)]
async fn one_occurrence_is_queued_behind_a_run_and_makes_its_job_when_that_ends() {
    #[job(every = "1m", overlap = "queue", timeout = "1h")]
    async fn slow(notes: State<Notes>, ctx: JobContext) {
        notes.add_at(&format!("for {}", ctx.scheduled_at().since(START).as_secs()));
        sleep(seconds(155)).await;
    }
    let world = World::new().await;
    let notes = Notes::new(&world);
    let process = world.process([]).state(notes.clone()).register(slow::definition());
    let jobs = process.start().await.unwrap();
    sleep(seconds(590)).await;
    // Each is followed at once by the first that came while it ran; the others were skipped.
    assert_eq!(notes.all(), ["for 60 at 60", "for 120 at 215", "for 240 at 370", "for 420 at 525"]);
    let record = only(&jobs).await;
    assert_eq!((record.fired, record.overlapped), (4, 4));
    assert_eq!(record.queued, Some(START + minutes(9)));
}

#[tokio::test(start_paused = true)]
async fn what_the_window_of_its_misfire_policy_does_not_reach_is_missed() {
    let world = World::new().await;
    let notes = Notes::new(&world);
    let process = || world.process([]).state(notes.clone()).register(note::definition());
    let jobs = process().start().await.unwrap();
    let nightly = |id: &str| NewSchedule::cron(id, "0 3 * * *", note::job(id.into()));
    jobs.schedule(nightly("soon").misfire_within(hours(2))).await.unwrap();
    jobs.schedule(nightly("whenever")).await.unwrap();
    jobs.schedule(nightly("never").misfire(Misfire::Skip)).await.unwrap();
    sleep(hours(1)).await;
    jobs.shutdown().await.unwrap();
    // Nobody is there at three, nor at five.
    sleep(hours(5)).await;
    let jobs = process().start().await.unwrap();
    sleep(hours(1)).await;
    assert_eq!(notes.all(), ["whenever at 21600"]);
    for record in jobs.scheduled_jobs().await.unwrap() {
        let missed = u64::from(record.schedule.id != "whenever");
        assert_eq!(record.missed, missed, "{}", record.schedule.id);
        assert_eq!(record.next, Some(START + hours(27)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_paused_schedule_rests_until_it_is_resumed_and_makes_up_for_nothing() {
    let (world, notes, jobs) = process().await;
    let hourly = || NewSchedule::cron("hourly", "0 * * * *", note::job("ran".into()));
    jobs.schedule(hourly()).await.unwrap();
    sleep(minutes(90)).await;
    assert!(jobs.pause_schedule("hourly").await.unwrap());
    assert!(!jobs.pause_schedule("hourly").await.unwrap(), "it is paused already");
    assert!(!jobs.pause_schedule("nothing").await.unwrap());
    sleep(hours(5)).await;
    // Neither a start of the program nor the same definition again resumes it.
    jobs.shutdown().await.unwrap();
    let process = world.process([]).state(notes.clone()).register(note::definition());
    let jobs = process.start().await.unwrap();
    jobs.schedule(hourly()).await.unwrap();
    sleep(hours(1)).await;
    let record = only(&jobs).await;
    assert!(record.paused && record.schedule.enabled);
    // By hand it runs all the same.
    jobs.trigger("hourly").await.unwrap();
    assert_eq!(notes.reach(2).await, ["ran at 3600", "ran at 27000"]);

    assert!(jobs.resume_schedule("hourly").await.unwrap());
    assert!(!jobs.resume_schedule("hourly").await.unwrap());
    sleep(hours(1)).await;
    assert_eq!(notes.all(), ["ran at 3600", "ran at 27000", "ran at 28800"]);
    assert_eq!(only(&jobs).await.missed, 0);
}

#[tokio::test(start_paused = true)]
async fn a_trigger_beside_a_run_is_refused_unless_it_is_forced() {
    #[job(cron = "0 1 * * *", timeout = "1h")]
    async fn nightly(notes: State<Notes>) {
        notes.add_at("ran");
        sleep(minutes(10)).await;
    }
    let world = World::new().await;
    let notes = Notes::new(&world);
    let process = world.process([]).state(notes.clone()).register(nightly::definition());
    let jobs = process.start().await.unwrap();
    sleep(minutes(61)).await;
    let running = only(&jobs).await.last.unwrap();
    let error = jobs.trigger("nightly").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    let told = error.to_string();
    assert!(told.contains(&running.job.to_string()) && told.contains("trigger_forced"), "{told}");

    let forced = jobs.trigger_forced("nightly").await.unwrap();
    assert_eq!(notes.reach(2).await, ["ran at 3600", "ran at 3660"]);
    finished(&jobs, forced.id()).await;
    let run = jobs.trigger("nightly").await.unwrap();
    assert_eq!(finished(&jobs, run.id()).await.state, JobState::Completed);
    let record = only(&jobs).await;
    assert_eq!((record.fired, record.next), (1, Some(START + hours(25))), "apart from its cadence");
}

#[tokio::test(start_paused = true)]
async fn an_occurrence_that_comes_while_a_run_by_hand_is_under_way_is_skipped() {
    #[job(cron = "0 1 * * *", timeout = "1h")]
    async fn nightly() {
        sleep(minutes(10)).await;
    }
    let world = World::new().await;
    let jobs = world.worker([], [nightly::definition()]).await;
    sleep(minutes(59)).await;
    jobs.trigger("nightly").await.unwrap();
    sleep(minutes(5)).await;
    let record = only(&jobs).await;
    assert_eq!((record.fired, record.overlapped), (0, 1));
    assert_eq!(record.by_hand.unwrap().state, Some(JobState::Active));
}

#[tokio::test(start_paused = true)]
async fn a_schedule_tells_all_that_a_person_asks() {
    #[job(cron = "0 3 * * *", timezone = "Europe/Berlin")]
    async fn failing() -> Result<(), JobError> {
        Err(JobError::permanent("no"))
    }
    // Nothing is kept of jobs that completed, and how they ended is known all the same.
    let world = World::with(|settings| settings.keep_completed.age = Duration::ZERO).await;
    let notes = Notes::new(&world);
    let vars = [("JOBS_APP", "shop"), ("JOBS_KEEP_COMPLETED", "0")];
    let process = world.process(vars).state(notes).register(note::definition());
    let jobs = process.register(failing::definition()).start().await.unwrap();
    let hourly = NewSchedule::cron("hourly", "0 * * * *", note::job("ran".into()));
    jobs.schedule(hourly.enabled(true)).await.unwrap();
    sleep(hours(5) + seconds(1)).await;

    let failing = jobs.scheduled_job("failing").await.unwrap().unwrap();
    assert_eq!(failing.schedule.timing.to_string(), "0 3 * * * (Europe/Berlin)");
    assert_eq!(format!("{:?}", failing.schedule.origin), r#"Code { app: "shop" }"#);
    // Three in Berlin is two in winter.
    assert_eq!(failing.next, Some(START + hours(26)));
    let last = failing.last.unwrap();
    assert_eq!((last.occurrence, last.state), (START + hours(2), Some(JobState::Dead)));
    assert_eq!(last.finished_at, Some(START + hours(2)));

    let hourly = jobs.scheduled_job("hourly").await.unwrap().unwrap();
    let last = hourly.last.unwrap();
    assert_eq!((last.occurrence, last.state), (START + hours(5), Some(JobState::Completed)));
    assert!(last.finished_at >= Some(START + hours(5)));
    assert_eq!(jobs.job(last.job).await.unwrap(), None, "the job itself is forgotten");
    assert_eq!(format!("{:?}", hourly.schedule.origin), "RunTime");
    assert!(hourly.is_active() && (hourly.fired, hourly.missed, hourly.overlapped) == (5, 0, 0));
    assert_eq!(jobs.scheduled_job("nothing").await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_meant_is_refused_with_what_is_wrong() {
    let (_world, _notes, jobs) = process().await;
    let every = || NewSchedule::every("a", minutes(10), note::job("a".into()));
    let once = || NewSchedule::once("a", START + hours(1), note::job("a".into()));
    for (schedule, fault) in [
        (every().jitter(minutes(10)), "its jitter of 600s is no less than the 600s between"),
        (every().starts(START + hours(1)).ends(START), "before it starts"),
        (every().timezone("UTC"), "is an interval and has a time zone"),
        (once().timezone("UTC"), "is due once and has a time zone"),
        (once().limit(2), "it is due once"),
    ] {
        let error = jobs.schedule(schedule).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(fault), "{error}");
    }
    assert!(jobs.scheduled_jobs().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn bounds_and_policies_can_stand_beside_a_handler() {
    #[job(
        every = "1h",
        starts = "2026-11-22T02:30:00Z",
        ends = "2026-11-22T06:00:00Z",
        limit = 2,
        jitter = "1m",
        overlap = "queue",
        misfire = "all",
        misfire_within = "6h"
    )]
    async fn bounded() {}
    #[job(cron = "@daily", starts = "tomorrow")]
    async fn vague() {}
    let world = World::new().await;
    let jobs = world.worker([], [bounded::definition()]).await;
    let schedule = only(&jobs).await.schedule;
    assert_eq!(schedule.starts, Some(START + minutes(150)));
    assert_eq!(schedule.ends, Some(START + hours(6)));
    assert_eq!((schedule.limit.unwrap().get(), schedule.jitter), (2, Some(minutes(1))));
    assert_eq!((schedule.overlap, schedule.misfire), (Overlap::Queue, Misfire::All));
    assert_eq!(schedule.misfire_within, Some(hours(6)));
    sleep(hours(24)).await;
    let record = only(&jobs).await;
    assert_eq!((record.fired, record.next), (2, None));
    assert_eq!(record.last.unwrap().occurrence, START + minutes(210));

    let error = world.process([]).register(vague::definition()).start().await.unwrap_err();
    let told = error.to_string();
    assert!(told.contains("its start is \"tomorrow\", which is no instant"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_and_failing_handlers_hold_up_no_schedule() {
    #[job(queue = "full")]
    async fn long() {
        sleep(hours(3)).await;
    }
    #[job(queue = "full", every = "10m", overlap = "allow")]
    async fn behind() {}
    #[job(every = "10m", overlap = "allow", attempts = 1)]
    async fn failing() -> Result<(), JobError> {
        Err("always".into())
    }
    #[job(every = "10m", overlap = "allow", attempts = 1)]
    async fn panicking() {
        panic!("always");
    }
    let world = World::new().await;
    let jobs = [long::definition(), behind::definition(), failing::definition()];
    let vars = [("JOBS_QUEUE_FULL_CONCURRENCY", "1"), ("JOBS_TIMEOUT", "4h")];
    let jobs = world.worker(vars, jobs.into_iter().chain([panicking::definition()])).await;
    for _ in 0..100 {
        jobs.enqueue(long::job()).await.unwrap();
    }
    sleep(hours(24) + seconds(1)).await;
    for record in jobs.scheduled_jobs().await.unwrap() {
        assert_eq!((record.fired, record.missed, record.overlapped), (144, 0, 0));
    }
    assert!(world.clock.now() > START + hours(24));
}
