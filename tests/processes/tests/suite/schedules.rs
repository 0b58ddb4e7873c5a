//! A schedule that many processes fire, of which some die and two have clocks that are wrong.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use shiftwork::JobId;
use shiftwork_process_tests::jobs::TICKS;
use shiftwork_process_tests::journal::{Entry, Event, now_us};
use tokio::time::{Instant, sleep};

use crate::account::settled;
use crate::process::Process;
use crate::world::{LONG, World, report};

/// For so many occurrences, one each second. `SHIFTWORK_SCHEDULE_SECONDS` says another number.
const SECONDS: u64 = 60;

/// Eight processes. The first two have clocks that are hours off, and are not killed.
const ROLES: [&str; 8] = ["worker", "worker", "cron", "worker", "async", "cron", "worker", "cron"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_occurrence_makes_one_job_while_processes_die_and_clocks_are_hours_off() {
    let world = World::new([("JOBS_LEASE", "1s"), ("JOBS_MAX_CRASHES", "1000")]);
    let mut chance = world.chance();
    let seconds = std::env::var("SHIFTWORK_SCHEDULE_SECONDS")
        .map_or(SECONDS, |seconds| seconds.parse().expect("it is a number"));
    let web = world.web([]).await;
    let start = |place: usize| -> Process {
        let queues = ("JOBS_QUEUES", TICKS);
        match place {
            0 => world.process(ROLES[0], [queues, ("PROGRAM_CLOCK_OFF_S", "18000")]),
            1 => world.process(ROLES[1], [queues, ("PROGRAM_CLOCK_OFF_S", "-18000")]),
            _ => world.process(ROLES[place], [queues]),
        }
    };
    let mut processes: Vec<_> = (0..ROLES.len()).map(start).collect();
    world.until_events(Event::Start, "tick", 1).await;

    let began = Instant::now();
    let mut killed = 0;
    while began.elapsed() < Duration::from_secs(seconds) {
        // When it fires, just before or after that; or at any other moment.
        let until_ms = match chance.bool() {
            true => 990 + chance.u64(..25),
            false => chance.u64(..1000),
        };
        sleep(Duration::from_millis(until_ms - (now_us() / 1000 % 1000).min(until_ms))).await;
        let place = chance.usize(2..ROLES.len());
        processes[place].kill();
        processes[place] = start(place);
        killed += 1;
        // At most some in a second.
        sleep(Duration::from_millis(200)).await;
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
