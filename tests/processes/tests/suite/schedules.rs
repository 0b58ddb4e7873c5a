//! A schedule that many processes fire, of which some die and one has a clock that is wrong.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use shiftwork::JobId;
use shiftwork_process_tests::jobs::TICKS;
use shiftwork_process_tests::journal::{Entry, Event};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::account::settled;
use crate::process::Process;
use crate::world::{LONG, World, report};

/// For so many occurrences, one each second. `SHIFTWORK_SCHEDULE_SECONDS` says another number.
const SECONDS: u64 = 30;

/// How often a process is killed.
const PACE: Duration = Duration::from_millis(700);

/// Eight processes. The first has a clock that is hours ahead, and is not killed.
const ROLES: [&str; 8] = ["worker", "worker", "cron", "worker", "async", "cron", "worker", "cron"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_occurrence_makes_one_job_while_processes_die_and_a_clock_is_hours_ahead() {
    let world = World::new([("JOBS_LEASE", "1s"), ("JOBS_MAX_CRASHES", "1000")]);
    let mut chance = world.chance();
    let seconds = std::env::var("SHIFTWORK_SCHEDULE_SECONDS")
        .map_or(SECONDS, |seconds| seconds.parse().expect("it is a number"));
    let web = world.web([]).await;
    let start = |place: usize| -> Process {
        let queues = ("JOBS_QUEUES", TICKS);
        match place {
            0 => world.process(ROLES[0], [queues, ("PROGRAM_CLOCK_AHEAD_S", "18000")]),
            _ => world.process(ROLES[place], [queues]),
        }
    };
    let mut processes: Vec<_> = (0..ROLES.len()).map(start).collect();
    world.until_events(Event::Start, "tick", 1).await;

    let began = Instant::now();
    let mut killed = 0;
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while began.elapsed() < Duration::from_secs(seconds) {
        pace.tick().await;
        let place = chance.usize(1..ROLES.len());
        processes[place].kill();
        processes[place] = start(place);
        killed += 1;
    }
    // No more of them, and nobody who comes later and declares the schedule anew. What is made by
    // now runs to its end.
    for process in &processes {
        process.started().await;
    }
    assert!(web.cancel("tick").await.unwrap(), "there is such a schedule");
    settled(&web, TICKS, LONG).await;

    let mut occurrences: BTreeMap<i64, HashMap<JobId, Vec<Entry>>> = BTreeMap::new();
    for run in world.events(Event::Start, "tick") {
        let of_occurrence = occurrences.entry(run.scheduled_at.as_millis()).or_default();
        of_occurrence.entry(run.id).or_default().push(run);
    }
    let (first, last) = (*occurrences.keys().min().unwrap(), *occurrences.keys().max().unwrap());
    let expected: Vec<_> = (first..=last).step_by(1000).collect();
    assert_eq!(occurrences.keys().copied().collect::<Vec<_>>(), expected, "each second has one");
    assert!(expected.len() as u64 >= seconds, "{} occurrences", expected.len());
    for (occurrence, jobs) in &occurrences {
        assert_eq!(jobs.len(), 1, "the jobs of {occurrence}: {jobs:?}");
        // A second job of the same id would have begun like the first: without a crash.
        let mut crashes: Vec<_> = jobs.values().flatten().map(|run| run.crashes).collect();
        crashes.sort_unstable();
        crashes.dedup();
        let runs: usize = jobs.values().map(Vec::len).sum();
        assert_eq!(crashes.len(), runs, "the runs of {occurrence}: {jobs:?}");
    }
    let runs: usize = occurrences.values().flat_map(HashMap::values).map(Vec::len).sum();
    report(
        "schedules",
        format_args!(
            "{} occurrences, a job each, in {runs} runs; {killed} processes killed",
            occurrences.len()
        ),
    );
}
