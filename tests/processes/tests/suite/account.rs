//! The account of many jobs: what the journal says that ran, against what the store says of each.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use shiftwork::{Counts, Find, JobId, JobRecord, JobState, Jobs};
use shiftwork_process_tests::journal::{Entry, Event};

use crate::world::{World, until};

/// How the jobs of a test came to their end.
#[derive(Debug, Default)]
pub struct Account {
    jobs: usize,
    runs: usize,
    /// How many jobs ran more than once, and how many times one did at most.
    repeated: usize,
    most: usize,
    /// How many claims were lost with their workers.
    crashes: usize,
}

impl Account {
    fn add(&mut self, runs: &[Entry]) {
        self.runs += runs.len();
        self.repeated += usize::from(runs.len() > 1);
        self.most = self.most.max(runs.len());
    }

    #[track_caller]
    fn expect_none(&self, faults: &[String]) {
        let shown: Vec<_> = faults.iter().take(10).map(String::as_str).collect();
        assert!(faults.is_empty(), "{} faults; {self}\n{}", faults.len(), shown.join("\n"));
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { jobs, runs, repeated, most, crashes } = self;
        write!(
            f,
            "{jobs} jobs in {runs} runs; {repeated} ran more than once, at most {most} times; \
             {crashes} claims lost"
        )
    }
}

/// Counts of a queue in which nothing is left to do.
pub fn is_settled(counts: &Counts) -> bool {
    counts.waiting + counts.delayed + counts.active == 0
}

/// Waits until nothing of a queue is left to do.
pub async fn settled(web: &Jobs, queue: &str, within: Duration) -> Counts {
    until(&format!("all jobs of queue {queue} are settled"), within, async || {
        match web.counts(queue).await {
            Ok(counts) if is_settled(&counts) => Ok(counts),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

/// All jobs of a queue that the store knows.
pub async fn records(web: &Jobs, queue: &str) -> HashMap<JobId, JobRecord> {
    let mut find = Find::new().limit(1000);
    let mut records = HashMap::new();
    loop {
        let page = web.find(queue, &find).await.unwrap();
        records.extend(page.jobs.into_iter().map(|job| (job.spec.id, job)));
        match page.next {
            Some(next) => find = find.after(next),
            None => return records,
        }
    }
}

/// Checks that these jobs, and no others, ran and completed: each of them was settled once, in its
/// first attempt; ran at most once for each claim, of which all but the last are counted as
/// crashes; and each run but the settled one was of a process that `died`, or that lost its lease.
///
/// Processes that may still hold a job that others have finished must have ended by now.
pub async fn completed<S>(
    world: &World<S>,
    web: &Jobs,
    queue: &str,
    ids: &[JobId],
    died: impl Fn(&str) -> bool,
) -> Account {
    let records = records(web, queue).await;
    let mut runs = runs(world);
    let mut account = Account { jobs: ids.len(), ..Account::default() };
    let mut lost_lease = HashMap::new();
    let mut faults = Vec::new();
    for id in ids {
        let Some(record) = records.get(id) else {
            faults.push(format!("{id} is not known; it ran: {:?}", runs.get(id)));
            continue;
        };
        let of_job = runs.remove(id).unwrap_or_default();
        account.add(&of_job);
        account.crashes += record.crashes as usize;
        let claims_differ = have_claims_of_their_own(&of_job);
        let settled = of_job.last().map(|run| run.crashes);
        let is_fine = (record.state, record.attempts) == (JobState::Completed, 1)
            && claims_differ
            && settled == Some(record.crashes);
        if !is_fine {
            faults.push(format!("{id} is {record:?}; it ran: {of_job:?}"));
        }
        for run in of_job.iter().rev().skip(1) {
            let process = run.process.as_str();
            let lost = lost_lease
                .entry(process.to_owned())
                .or_insert_with(|| has_lost_lease(&world.log(process)));
            if !died(process) && !*lost {
                faults.push(format!("{id} ran again, and {process} was well: {of_job:?}"));
            }
        }
    }
    let known: HashSet<_> = ids.iter().collect();
    let strangers = records.keys().filter(|id| !known.contains(id));
    faults.extend(strangers.map(|id| format!("{id} was not enqueued, and is known")));
    faults.extend(runs.keys().map(|id| format!("{id} was not enqueued, and ran")));
    faults.extend(disagreements(world));
    account.expect_none(&faults);
    account
}

/// Checks that these jobs, and no others, ran, where the store keeps none: at most once for each
/// claim, but for those that `may_repeat`.
pub fn ran<S>(world: &World<S>, ids: &[JobId], may_repeat: &HashSet<JobId>) -> Account {
    let mut runs = runs(world);
    let mut account = Account { jobs: ids.len(), ..Account::default() };
    let mut faults = Vec::new();
    for id in ids {
        let of_job = runs.remove(id).unwrap_or_default();
        account.add(&of_job);
        account.crashes += of_job.last().map_or(0, |run| run.crashes as usize);
        if of_job.is_empty() {
            faults.push(format!("{id} never ran"));
        }
        if !have_claims_of_their_own(&of_job) && !may_repeat.contains(id) {
            faults.push(format!("{id} ran again under one claim: {of_job:?}"));
        }
    }
    faults.extend(runs.keys().map(|id| format!("{id} was not enqueued, and ran")));
    faults.extend(disagreements(world));
    account.expect_none(&faults);
    account
}

/// Where store and worker did not agree on what the worker held, or had ended, while its lease was
/// good. That heals; but as long as the store loses nothing, it does not happen.
fn disagreements<S>(world: &World<S>) -> Vec<String> {
    let disagrees =
        |line: &&str| line.contains("disagreed") || line.contains("settlement was refused");
    let of_log = |(process, log): (String, String)| -> Vec<String> {
        log.lines().filter(disagrees).map(|line| format!("{process}: {line}")).collect()
    };
    world.logs().into_iter().flat_map(of_log).collect()
}

/// The runs of each job, by their claims: the handler of a process that stood still may begin after
/// the one that took its place.
fn runs<S>(world: &World<S>) -> HashMap<JobId, Vec<Entry>> {
    let mut runs: HashMap<JobId, Vec<Entry>> = HashMap::new();
    // Questions are asked beside it, and answered where they are asked.
    let counts = |entry: &Entry| entry.event == Event::Start && entry.job != "whereabouts";
    for entry in world.journal().into_iter().filter(counts) {
        runs.entry(entry.id).or_default().push(entry);
    }
    runs.values_mut().for_each(|of_job| of_job.sort_by_key(|run| run.crashes));
    runs
}

/// Whether each of them was told of another number of crashes.
fn have_claims_of_their_own(runs: &[Entry]) -> bool {
    runs.windows(2).all(|pair| pair[0].crashes < pair[1].crashes)
}

/// Whether the store took a process for gone, as its log says: while attempts of it ran, or when
/// none ran any more.
fn has_lost_lease(log: &str) -> bool {
    log.contains("lost the lease") || log.contains("begins a new incarnation")
}
