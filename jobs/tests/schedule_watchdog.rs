//! The job `schedule-watchdog` as an application has it: processes on one store, under a paused clock.

#![allow(clippy::unwrap_used)] // In tests, also in what they share.
#![allow(clippy::disallowed_methods, reason = "tests let time pass")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shiftwork::adapter::{
    Capabilities, Clock, Connection, JobAdapter, JobTemplate, Namespace, Provider, Schedule,
    TestClock, Timing, Wakeups,
};
use shiftwork::prelude::*;
use shiftwork::{
    ErrorKind, JobDefinition, JobName, JobState, JobsBuilder, Overlap, Payload, QueueName,
    ScheduleId, Timestamp,
};
use shiftwork_jobs::data_retention::RetentionTargets;
use shiftwork_jobs::schedule_watchdog::{
    Late, LateSchedule, ScheduleWatch, ScheduleWatchdog, WatchdogReport, check,
};
use tokio::time::sleep;

#[allow(dead_code, unreachable_pub)] // It can do more than is asked of it here.
#[path = "../../tests/suite/faulty.rs"]
mod faulty;

use faulty::{Away, Faulty};

/// 2026-11-22T00:00:00Z.
const START: Timestamp = Timestamp::from_millis(1_795_305_600_000);

/// One store with its clock, for any number of processes.
struct World {
    clock: Arc<TestClock>,
    store: Arc<Faulty>,
}

impl World {
    async fn new() -> Self {
        let clock = Arc::new(TestClock::new(START));
        let memory = Provider::linked().into_iter().find(|it| it.name == "memory").unwrap();
        let mut connection = Connection::new(Namespace::new("test").unwrap(), clock.clone());
        connection.settings.keep_completed.age = hours(24);
        let store = Faulty::on((memory.connect)(connection).await.unwrap());
        store.shared_by_processes();
        Self { clock, store }
    }

    /// A process that knows the watchdog, and `report` in a queue of its own.
    fn process<const N: usize>(&self, vars: [(&str, &str); N]) -> JobsBuilder {
        let shared = [("JOBS_PROVIDER", SHARED.name), ("JOBS_KEEP_COMPLETED", "24h")];
        let mut all = HashMap::from([("JOBS_ATTEMPTS", "1"), ("WORKER_ROLE", "worker")]);
        all.extend(shared);
        all.extend(vars);
        Jobs::from_vars(all)
            .without_linked_jobs()
            .provider(SHARED)
            .register(JobDefinition::of::<ScheduleWatchdog>())
            .register(report::definition())
            .adapter(self.store.clone())
            .clock(self.clock.clone())
    }

    async fn start<const N: usize>(&self, vars: [(&str, &str); N]) -> Jobs {
        self.process(vars).start().await.unwrap()
    }

    fn elapsed(&self) -> Duration {
        self.clock.now().since(START)
    }
}

/// The memory adapter, of which is said that processes share it.
const SHARED: Provider = Provider {
    name: "shared",
    summary: "jobs in this process, as if others saw them",
    capabilities: Capabilities {
        survives_restart: false,
        many_processes: true,
        wakeups: Wakeups::Certain,
    },
    variables: &[],
    connect: |_| Box::pin(async { unreachable!("each process is given the store") }),
};

/// What a schedule of these tests enqueues: it takes as long as the schedule says, or fails.
#[job(queue = "reports", timeout = "2d")]
async fn report(takes_s: Option<u64>) -> Result<(), JobError> {
    match takes_s {
        None => Err("there is nothing to report".into()),
        Some(takes_s) => {
            sleep(seconds(takes_s)).await;
            Ok(())
        }
    }
}

/// The watchdog is triggered by hand: on its own it does not run in these processes.
const BY_HAND: (&str, &str) = ("JOBS_SCHEDULE_WATCHDOG_ENABLED", "false");
/// A process that runs jobs, and fires no schedules.
const ASYNC: (&str, &str) = ("WORKER_ROLE", "async");
const CRON: (&str, &str) = ("WORKER_ROLE", "cron");
const WEB: (&str, &str) = ("WORKER_ROLE", "web");
const LEAVES_REPORTS: (&str, &str) = ("JOBS_QUEUES", "*,!reports");

fn hourly(takes_s: Option<u64>) -> NewSchedule {
    NewSchedule::cron("hourly", "0 * * * *", report::job(takes_s))
}

async fn run(jobs: &Jobs) -> JobResult {
    let run = jobs.trigger(ScheduleWatchdog.job()).await.unwrap();
    run.result(minutes(1)).await.unwrap().finished().unwrap()
}

fn report_of(result: &JobResult) -> WatchdogReport {
    result.data().unwrap().unwrap()
}

async fn look(jobs: &Jobs) -> WatchdogReport {
    let result = run(jobs).await;
    assert!(result.success, "{result:?}");
    report_of(&result)
}

/// What is late, and since how many minutes after the start.
fn late(report: &WatchdogReport) -> Vec<(&str, Late, u64)> {
    let minutes = |late: &LateSchedule| late.since.since(START).as_secs() / 60;
    report.late.iter().map(|late| (late.schedule.as_str(), late.late, minutes(late))).collect()
}

#[tokio::test(start_paused = true)]
async fn a_schedule_that_no_process_fires_is_overdue_until_one_does() {
    let world = World::new().await;
    let worker = world.start([ASYNC]).await;
    worker.schedule(hourly(Some(1))).await.unwrap();
    sleep(minutes(64)).await;
    assert_eq!(late(&look(&worker).await), []);
    sleep(minutes(2)).await;
    let report = look(&worker).await;
    assert_eq!(late(&report), [("hourly", Late::Overdue, 60)]);
    assert_eq!((report.schedules, report.now), (1, START + minutes(66)));
    let overdue = &report.late[0];
    assert_eq!((overdue.last_run, overdue.job, overdue.state), (None, None, None));
    assert_eq!((overdue.timing.as_str(), overdue.queue.as_str()), ("0 * * * * (UTC)", "reports"));

    let cron = world.start([CRON, BY_HAND]).await;
    sleep(minutes(1)).await;
    assert_eq!(late(&look(&worker).await), []);
    // And it stays so, hour by hour.
    sleep(hours(5)).await;
    let record = worker.scheduled_job("hourly").await.unwrap().unwrap();
    assert_eq!(record.fired, 6);
    assert_eq!(late(&look(&worker).await), []);
    cron.shutdown().await.unwrap();
    worker.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_schedule_that_no_process_can_read_is_overdue_and_the_others_are_not() {
    let world = World::new().await;
    let jobs = world.start([BY_HAND]).await;
    jobs.schedule(hourly(Some(1))).await.unwrap();
    let timing = Timing::Cron { pattern: "at full moon".into(), timezone: "UTC".into() };
    let template = JobTemplate::new(JobName::new("report").unwrap(), Payload::none());
    let (id, queue) = (ScheduleId::new("tides").unwrap(), QueueName::new("reports").unwrap());
    let schedule = Schedule::new(id, queue, timing, template);
    world.store.schedule(schedule, Some(START + minutes(30))).await.unwrap();
    sleep(minutes(34)).await;
    assert_eq!(late(&look(&jobs).await), []);
    sleep(minutes(32)).await;
    let report = look(&jobs).await;
    assert_eq!(late(&report), [("tides", Late::Overdue, 30)]);
    assert_eq!(report.late[0].timing, "at full moon (UTC)");
    jobs.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_run_that_no_worker_begins_is_reported_until_one_does() {
    let world = World::new().await;
    let jobs = world.start([BY_HAND, LEAVES_REPORTS]).await;
    jobs.schedule(hourly(Some(1)).overlap(Overlap::Skip)).await.unwrap();
    sleep(minutes(74)).await;
    assert_eq!(late(&look(&jobs).await), []);
    sleep(minutes(2)).await;
    let report = look(&jobs).await;
    assert_eq!(late(&report), [("hourly", Late::Waiting, 60)]);
    let record = jobs.scheduled_job("hourly").await.unwrap().unwrap();
    let waiting = &report.late[0];
    assert_eq!(waiting.job, record.last.map(|last| last.job));
    assert_eq!(waiting.last_run, Some(START + minutes(60)));
    assert_eq!(waiting.state, Some(JobState::Waiting));

    let other = world.start([ASYNC]).await;
    sleep(minutes(1)).await;
    assert_eq!(late(&look(&jobs).await), []);
    other.shutdown().await.unwrap();
    jobs.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_run_in_a_queue_that_is_paused_is_reported_until_it_is_resumed() {
    let world = World::new().await;
    let jobs = world.start([BY_HAND]).await;
    jobs.schedule(hourly(Some(1))).await.unwrap();
    jobs.pause("reports").await.unwrap();
    sleep(minutes(76)).await;
    assert_eq!(late(&look(&jobs).await), [("hourly", Late::Waiting, 60)]);
    jobs.resume("reports").await.unwrap();
    sleep(minutes(1)).await;
    assert_eq!(late(&look(&jobs).await), []);
    jobs.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_made_up_for_waits_since_it_was_made_and_not_since_its_occurrence() {
    let world = World::new().await;
    let web = world.start([WEB]).await;
    web.schedule(NewSchedule::cron("daily", "0 1 * * *", report::job(Some(1)))).await.unwrap();
    sleep(hours(9)).await;
    let jobs = world.start([BY_HAND, LEAVES_REPORTS]).await;
    sleep(minutes(14)).await;
    let record = jobs.scheduled_job("daily").await.unwrap().unwrap();
    assert_eq!(record.last.unwrap().occurrence, START + hours(1));
    assert_eq!(late(&look(&jobs).await), []);
    sleep(minutes(2)).await;
    assert_eq!(late(&look(&jobs).await), [("daily", Late::Waiting, 9 * 60)]);
    jobs.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_run_that_takes_long_is_reported_only_beyond_what_it_may_take() {
    let world = World::new().await;
    let jobs = world.start([BY_HAND]).await;
    // It overlaps all that come while it runs; they are skipped, as its policy says.
    jobs.schedule(hourly(Some(8 * 3600))).await.unwrap();
    sleep(minutes(60 + 355)).await;
    let record = jobs.scheduled_job("hourly").await.unwrap().unwrap();
    assert_eq!((record.fired, record.overlapped), (1, 5));
    assert_eq!(late(&look(&jobs).await), []);
    sleep(minutes(10)).await;
    let report = look(&jobs).await;
    assert_eq!(late(&report), [("hourly", Late::Running, 60)]);
    assert_eq!(report.late[0].state, Some(JobState::Active));
    let patient = ScheduleWatch::new().may_run(hours(8));
    assert_eq!(late(&check(&jobs, &patient).await.unwrap()), []);
    sleep(hours(2)).await;
    let last = jobs.scheduled_job("hourly").await.unwrap().unwrap().last.unwrap();
    assert_ne!(last.occurrence, START + hours(1), "it came to an end, and the next is running");
    assert_eq!(late(&look(&jobs).await), []);
    jobs.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_run_that_failed_for_good_is_reported_until_it_is_replayed_or_run_again() {
    let world = World::new().await;
    let jobs = world.start([BY_HAND]).await;
    jobs.schedule(NewSchedule::cron("daily", "0 1 * * *", report::job(None))).await.unwrap();
    sleep(hours(2)).await;
    let report = look(&jobs).await;
    assert_eq!(late(&report), [("daily", Late::Failed, 60)]);
    let dead = report.late[0].job.unwrap();
    // It cannot do better, and one look finds it while it is held up.
    jobs.pause("reports").await.unwrap();
    jobs.replay(dead).await.unwrap();
    sleep(minutes(10)).await;
    assert_eq!(late(&look(&jobs).await), []);
    jobs.resume("reports").await.unwrap();
    sleep(minutes(1)).await;
    assert_eq!(late(&look(&jobs).await), [("daily", Late::Failed, 130)]);
    // Whoever forgets the dead letter has not run the schedule.
    jobs.discard(dead).await.unwrap();
    assert_eq!(late(&look(&jobs).await), [("daily", Late::Failed, 130)]);
    // Somebody mends it, and runs it by hand.
    jobs.schedule(NewSchedule::cron("daily", "0 1 * * *", report::job(Some(1)))).await.unwrap();
    jobs.trigger("daily").await.unwrap().result(minutes(1)).await.unwrap().finished().unwrap();
    let last = jobs.scheduled_job("daily").await.unwrap().unwrap().last.unwrap();
    assert_eq!(last.state, Some(JobState::Dead), "it is the run by hand that counts");
    assert_eq!(late(&look(&jobs).await), []);
    jobs.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_schedule_that_somebody_stopped_is_not_reported_and_neither_is_one_just_resumed() {
    let world = World::new().await;
    let jobs = world.start([ASYNC]).await;
    let every_hour =
        |id, enabled| NewSchedule::cron(id, "0 * * * *", report::job(Some(1))).enabled(enabled);
    for (id, enabled) in [("paused", true), ("disabled", false), ("fired by nobody", true)] {
        jobs.schedule(every_hour(id.replace(' ', "-"), enabled)).await.unwrap();
    }
    let once = NewSchedule::once("once", START + minutes(30), report::job(Some(1)));
    jobs.schedule(once).await.unwrap();
    jobs.pause_schedule("paused").await.unwrap();
    sleep(minutes(90)).await;
    let both = [("fired-by-nobody", Late::Overdue, 60), ("once", Late::Overdue, 30)];
    assert_eq!(late(&look(&jobs).await), both);
    // What comes next for it lies ahead.
    assert!(jobs.resume_schedule("paused").await.unwrap());
    jobs.cancel("once").await.unwrap();
    assert_eq!(late(&look(&jobs).await), both[..1]);
    sleep(minutes(36)).await;
    let report = look(&jobs).await;
    assert_eq!(late(&report), [both[0], ("paused", Late::Overdue, 120)]);
    jobs.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_schedule_that_has_ended_is_not_reported() {
    let world = World::new().await;
    let jobs = world.start([BY_HAND]).await;
    jobs.schedule(hourly(None).limit(1)).await.unwrap();
    jobs.schedule(
        NewSchedule::every("brief", minutes(10), report::job(Some(1))).ends(START + hours(1)),
    )
    .await
    .unwrap();
    sleep(hours(24)).await;
    let records = jobs.scheduled_jobs().await.unwrap();
    let ended = records.iter().filter(|record| record.next.is_none() && record.fired > 0);
    assert_eq!(ended.count(), 2);
    assert_eq!(late(&look(&jobs).await), []);
    jobs.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn its_own_schedule_is_looked_at_by_other_processes_and_not_by_itself() {
    let world = World::new().await;
    let cron = world.start([CRON]).await;
    sleep(minutes(7)).await;
    cron.shutdown().await.unwrap();
    // Its last run waits, and nobody fires the next.
    sleep(minutes(10)).await;
    let web = world.start([WEB]).await;
    let report = check(&web, &ScheduleWatch::new()).await.unwrap();
    assert_eq!(late(&report), [("schedule-watchdog", Late::Overdue, 10)]);
    assert_eq!(report.schedules, 1);
    let worker = world.start([ASYNC]).await;
    let report = look(&worker).await;
    assert_eq!((report.schedules, report.late), (0, vec![]));
    worker.shutdown().await.unwrap();
    web.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_process_of_any_role_can_check_and_nobody_is_notified() {
    let world = World::new().await;
    let told = Told::default();
    for role in ["web", "async", "cron", "worker"] {
        let jobs = world.start([("WORKER_ROLE", role), BY_HAND, LEAVES_REPORTS]).await;
        jobs.schedule(hourly(Some(1))).await.unwrap();
        sleep(minutes(76)).await;
        let report = check(&jobs, &told.watch()).await.unwrap();
        let fires = matches!(role, "cron" | "worker");
        let expected = if fires { Late::Waiting } else { Late::Overdue };
        assert_eq!(report.late.len(), 1, "{role}");
        assert_eq!(report.late[0].late, expected, "{role}");
        jobs.cancel("hourly").await.unwrap();
        jobs.shutdown().await.unwrap();
    }
    assert_eq!(told.all(), [""; 0]);
}

/// Who is notified, and what of.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn watch(&self) -> ScheduleWatch {
        self.watch_but("")
    }

    /// Fails at this schedule.
    fn watch_but(&self, fails_at: &'static str) -> ScheduleWatch {
        let told = self.clone();
        ScheduleWatch::new().notify(move |late| {
            let told = told.clone();
            async move {
                told.0.lock().unwrap().push(late.key());
                if late.schedule == fails_at {
                    return Err("the pager is off".into());
                }
                Ok(())
            }
        })
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

#[tokio::test(start_paused = true)]
async fn it_runs_every_five_minutes_and_notifies_of_the_same_trouble_by_the_same_key() {
    let world = World::new().await;
    let told = Told::default();
    let process = world.process([LEAVES_REPORTS]);
    let jobs = process.state(told.watch()).start().await.unwrap();
    jobs.schedule(hourly(Some(1))).await.unwrap();
    sleep(minutes(60 + 26)).await;
    let key = format!("hourly/waiting/{}", (START + hours(1)).as_millis());
    // At 1:15 it has waited for 15 minutes, and not for longer.
    assert_eq!(told.all(), [key.clone(), key]);
    let record = jobs.scheduled_job("schedule-watchdog").await.unwrap().unwrap();
    assert_eq!(record.fired, world.elapsed().as_secs() / 300);
    let last = record.last.unwrap();
    assert_eq!(last.state, Some(JobState::Completed), "it has done its work");
    let job = jobs.job(last.job).await.unwrap().unwrap();
    let message = job.last_attempt.as_ref().unwrap().message.clone();
    assert_eq!(message.as_deref(), Some("late schedules: 1 of 1: hourly (waiting)"));
    jobs.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_state_of_an_application_says_how_late_is_late() {
    let world = World::new().await;
    let watch = ScheduleWatch::new().tolerance(hours(3));
    let jobs = world.process([ASYNC]).state(watch.clone()).start().await.unwrap();
    jobs.schedule(hourly(Some(1))).await.unwrap();
    sleep(hours(4)).await;
    assert_eq!(late(&look(&jobs).await), []);
    assert_eq!(check(&jobs, &ScheduleWatch::new()).await.unwrap().late.len(), 1);
    sleep(minutes(1)).await;
    assert_eq!(late(&look(&jobs).await), [("hourly", Late::Overdue, 60)]);
    jobs.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_notice_fails_tells_the_others_and_fails_with_its_report() {
    let world = World::new().await;
    let told = Told::default();
    let process = world.process([ASYNC, ("JOBS_ATTEMPTS", "2"), ("JOBS_BACKOFF_DELAY", "1s")]);
    let jobs = process.state(told.watch_but("a")).start().await.unwrap();
    for id in ["a", "b"] {
        let schedule = NewSchedule::cron(id, "0 * * * *", report::job(Some(1)));
        jobs.schedule(schedule).await.unwrap();
    }
    sleep(hours(2)).await;
    let result = run(&jobs).await;
    assert!(!result.success);
    let message = "not all could be notified of: a: the pager is off";
    assert_eq!(result.error.as_ref().unwrap().to_string(), message);
    assert_eq!((report_of(&result).late.len(), result.attempts), (2, 2));
    let schedules: Vec<_> = told.all().iter().map(|key| key[..1].to_owned()).collect();
    assert_eq!(schedules, ["a", "b", "a", "b"]);
    jobs.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn where_a_part_of_the_store_cannot_be_read_nothing_is_said_to_be_well() {
    let world = World::new().await;
    let jobs = world.start([ASYNC, ("JOBS_ATTEMPTS", "3"), ("JOBS_BACKOFF_DELAY", "1s")]).await;
    jobs.schedule(hourly(Some(1))).await.unwrap();
    world.store.part_is(Some((QueueName::new("reports").unwrap(), Away::Known)));
    let error = check(&jobs, &ScheduleWatch::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store);
    assert!(error.is_retryable());
    let result = run(&jobs).await;
    assert_eq!((result.success, result.attempts), (false, 3));
    let error = result.error.unwrap().to_string();
    assert!(error.contains("it is away") && error.contains("reports"), "{error}");
    world.store.part_is(None);
    assert_eq!(look(&jobs).await.schedules, 1);
    jobs.shutdown().await.unwrap();
}

#[tokio::test]
async fn it_is_scheduled_by_being_linked_unless_variables_say_otherwise() {
    for (set, timing, enabled) in [
        ([].as_slice(), Timing::Every { period_ms: 300_000 }, true),
        (
            &[("JOBS_SCHEDULE_WATCHDOG_SCHEDULE", "* * * * *")],
            Timing::Cron { pattern: "* * * * *".into(), timezone: "UTC".into() },
            true,
        ),
        (
            &[("JOBS_SCHEDULE_WATCHDOG_ENABLED", "false")],
            Timing::Every { period_ms: 300_000 },
            false,
        ),
    ] {
        let vars = set.iter().copied().chain([("JOBS_PROVIDER", "memory")]);
        // Of its own state, nothing is said.
        let jobs = Jobs::from_vars(vars).state(RetentionTargets::new()).start().await.unwrap();
        let record = jobs.scheduled_job("schedule-watchdog").await.unwrap().unwrap();
        assert_eq!((record.schedule.timing.clone(), record.schedule.enabled), (timing, enabled));
        jobs.shutdown().await.unwrap();
    }
}
