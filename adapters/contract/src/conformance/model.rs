//! The model: a store in plain collections, slow and obviously right, that judges the answers of
//! a real one.
//!
//! It is told each call with its answer and with the span of the store's time in which it was
//! made, checks the answer against what it knows, and changes as the contract says. Between
//! calls it compares all that the store knows with what it knows itself. What an adapter may
//! decide for itself, such as how many jobs one claim gives, it takes from the answer.
//!
//! What it insists on:
//! - P1: every job whose enqueue was acknowledged is there, in the state that the calls have
//!   brought it into, or was finished and need not be kept any more.
//! - P2: at most one incarnation holds a job, and only who holds it settles it.
//! - P3: an occurrence of a schedule makes at most one job.
//! - P5: attempts and crashes are exactly those that were settled and recovered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::{
    AttemptReport, CancelJob, Counts, Due, Enqueued, FailureKind, Firing, Incarnation, JobId,
    JobRecord, JobSpec, JobState, Operated, QueueName, Retention, ScheduleId, ScheduleRecord,
    StoreSettings, Timestamp,
};

mod exchange;
mod place;
mod schedules;
mod sweep;

use exchange::Life;
use place::Place;

/// What the model thinks of an answer: an error says what is wrong with it.
pub(super) type Verdict = Result<(), String>;

macro_rules! ensure {
    ($holds:expr, $($why:tt)+) => {
        if !$holds {
            return Err(format!($($why)+));
        }
    };
}

pub(super) use ensure;

/// The span of the store's time in which something happened: under a simulated clock, a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
}

impl Span {
    pub(super) fn at(moment: Timestamp) -> Self {
        Self { from: moment, to: moment }
    }

    fn contains(self, moment: Timestamp) -> bool {
        self.from <= moment && moment <= self.to
    }

    fn after(self, delay: Duration) -> Self {
        Self { from: self.from + delay, to: self.to + delay }
    }
}

/// A store in plain collections, of one queue.
#[derive(Debug)]
pub(super) struct Model {
    queue: QueueName,
    /// How much earlier than it did the store may say that it accepted a job.
    reckoned: Duration,
    settings: StoreSettings,
    jobs: BTreeMap<JobId, Job>,
    lives: BTreeMap<Incarnation, Life>,
    schedules: BTreeMap<ScheduleId, ScheduleRecord>,
    /// The firing that made a schedule's last job.
    made_by: BTreeMap<ScheduleId, Firing>,
    /// Every occurrence that ever made a job.
    ran: BTreeSet<(ScheduleId, Timestamp)>,
    paused: bool,
    /// Counts what became waiting, for its order.
    arrivals: u64,
}

/// A job as the model knows it.
#[derive(Debug)]
struct Job {
    spec: Arc<JobSpec>,
    state: JobState,
    attempts: u32,
    crashes: u32,
    cancel_requested: bool,
    /// Triggered, and not fired or enqueued.
    by_hand: bool,
    said: Said,
    /// As last seen, if it was.
    generation: Option<u64>,
    /// Whether it went from one state to another since that was seen.
    moved: bool,
    /// Whether it has become due since: a transition that a store may count or not.
    became_due: bool,
    enqueued: Span,
    due: Span,
    finished: Option<Span>,
    /// While it waits: which others it goes ahead of.
    place: Place,
    /// While it is active: who holds it.
    holder: Option<Holder>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Holder {
    incarnation: Incarnation,
    generation: u64,
    solo: bool,
}

/// What the store should know of a job's last attempt.
#[derive(Clone, Debug)]
enum Said {
    /// Just this.
    Exactly(Option<Arc<AttemptReport>>),
    /// This, or nothing any more.
    Perhaps(Option<Arc<AttemptReport>>),
    /// That its workers vanished too often.
    Crash,
}

impl Model {
    pub(super) fn new(queue: QueueName, settings: StoreSettings, reckoned: Duration) -> Self {
        Self {
            queue,
            reckoned,
            settings,
            jobs: BTreeMap::new(),
            lives: BTreeMap::new(),
            schedules: BTreeMap::new(),
            made_by: BTreeMap::new(),
            ran: BTreeSet::new(),
            paused: false,
            arrivals: 0,
        }
    }

    pub(super) fn enqueue(
        &mut self,
        batch: &[JobSpec],
        answers: &[Enqueued],
        when: Span,
    ) -> Verdict {
        ensure!(answers.len() == batch.len(), "{} answers for {} jobs", answers.len(), batch.len());
        for (spec, answer) in batch.iter().zip(answers) {
            let known = self.jobs.contains_key(&spec.id);
            let may_be_new = !known || self.may_be_forgotten(spec.id, when);
            match answer {
                Enqueued::Existing => ensure!(known, "{} is not known, and answered so", spec.id),
                Enqueued::New => {
                    ensure!(may_be_new, "{} is known, and was taken for new", spec.id);
                    self.add(Arc::new(spec.clone()), when);
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, spec: Arc<JobSpec>, when: Span) {
        let accepted = Span { from: when.from - self.reckoned, to: when.to };
        let due = match spec.due {
            Due::Now => accepted,
            due => Span { from: due.at(when.from), to: due.at(when.to) },
        };
        let state = if due.to > when.to { JobState::Delayed } else { JobState::Waiting };
        let place = self.behind(when);
        let job = Job {
            spec: spec.clone(),
            state,
            attempts: 0,
            crashes: 0,
            cancel_requested: false,
            by_hand: false,
            said: Said::Exactly(None),
            generation: None,
            moved: true,
            became_due: false,
            enqueued: accepted,
            due,
            finished: None,
            place,
            holder: None,
        };
        self.jobs.insert(spec.id, job);
    }

    pub(super) fn cancel_job(&mut self, id: JobId, answer: CancelJob, when: Span) -> Verdict {
        let forgotten = self.may_be_forgotten(id, when);
        let Some(job) = self.jobs.get_mut(&id) else {
            ensure!(answer == CancelJob::NotFound, "{id} is not there: {answer:?}");
            return Ok(());
        };
        let expected = match job.state {
            JobState::Waiting | JobState::Delayed => CancelJob::Cancelled,
            JobState::Active => CancelJob::Requested,
            finished => CancelJob::Finished(finished),
        };
        let fits = answer == expected || forgotten && answer == CancelJob::NotFound;
        ensure!(fits, "{id} is {}: {answer:?}", job.state);
        match answer {
            CancelJob::Cancelled => job.finish(JobState::Cancelled, when),
            CancelJob::Requested => job.cancel_requested = true,
            CancelJob::Finished(_) | CancelJob::NotFound => {}
        }
        Ok(())
    }

    pub(super) fn replay(&mut self, id: JobId, answer: Operated, when: Span) -> Verdict {
        let can = |state| matches!(state, JobState::Dead | JobState::Cancelled);
        self.operate(id, answer, when, can)?;
        if answer == Operated::Done {
            let place = self.behind(when);
            let job = self.known(id)?;
            job.state = JobState::Waiting;
            (job.attempts, job.crashes, job.cancel_requested) = (0, 0, false);
            if let Said::Exactly(said) = &job.said {
                job.said = Said::Perhaps(said.clone());
            }
            (job.moved, job.finished, job.place) = (true, None, place);
            job.due = Span { from: job.due.from.min(when.from), to: job.due.to.max(when.to) };
        }
        Ok(())
    }

    pub(super) fn discard(&mut self, id: JobId, answer: Operated, when: Span) -> Verdict {
        self.operate(id, answer, when, JobState::is_finished)?;
        if answer == Operated::Done {
            self.jobs.remove(&id);
        }
        Ok(())
    }

    fn operate(
        &self,
        id: JobId,
        answer: Operated,
        when: Span,
        can: impl Fn(JobState) -> bool,
    ) -> Verdict {
        let expected = match self.jobs.get(&id) {
            None => Operated::NotFound,
            Some(job) if can(job.state) => Operated::Done,
            // A job that is due may have been let wait meanwhile.
            Some(job) if job.is_due(when.to) && answer == Operated::Refused(JobState::Waiting) => {
                answer
            }
            Some(job) => Operated::Refused(job.state),
        };
        let forgotten = answer == Operated::NotFound && self.may_be_forgotten(id, when);
        ensure!(answer == expected || forgotten, "{id}: {answer:?} instead of {expected:?}");
        Ok(())
    }

    pub(super) fn pause(&mut self, paused: bool, changed: bool) -> Verdict {
        ensure!(changed == (self.paused != paused), "paused: {paused}, changed: {changed}");
        self.paused = paused;
        Ok(())
    }

    /// Compares the jobs, and learns what only the store decides: generations and exact times.
    pub(super) fn look(&mut self, seen: &[JobRecord], counts: Counts, when: Span) -> Verdict {
        for record in seen {
            let id = record.spec.id;
            ensure!(record.queue == self.queue, "{id} is in queue {}", record.queue);
            let place = self.behind(when);
            let job = self.jobs.get_mut(&id).ok_or(format!("{id} came from nowhere"))?;
            if job.is_due(when.to) && record.state == JobState::Waiting {
                // The store has let it wait in another step than a sweep.
                job.wait_since_due(place.behind_due(job.due.from));
            }
            job.compare(record)?;
        }
        let seen: BTreeMap<_, _> = seen.iter().map(|record| (record.spec.id, record)).collect();
        let gone: Vec<_> = self.jobs.keys().filter(|&id| !seen.contains_key(id)).copied().collect();
        for &id in &gone {
            let job = &self.jobs[&id];
            ensure!(self.may_be_forgotten(id, when), "{id} is lost; it was {}", job.state);
        }
        self.jobs.retain(|id, _| !gone.contains(id));

        let mut expected = Counts { paused: self.paused, ..Counts::default() };
        let mut least = expected;
        for (&id, record) in &seen {
            *expected.of_mut(record.state) += 1;
            // One may be found, and forgotten before they are counted.
            let stays = when.from == when.to || !self.may_be_forgotten(id, when);
            *least.of_mut(record.state) += u64::from(stays);
        }
        let counted = |&state| (least.of(state)..=expected.of(state)).contains(&counts.of(state));
        ensure!(
            counts.paused == expected.paused && JobState::ALL.iter().all(counted),
            "counted {counts:?} where {expected:?} are found"
        );
        Ok(())
    }

    /// Compares what an incarnation holds.
    pub(super) fn holds(
        &self,
        incarnation: Incarnation,
        jobs: &[(JobId, u64)],
        expired: bool,
    ) -> Verdict {
        let lapsed = self.lives.get(&incarnation).is_some_and(|life| life.lapsed);
        ensure!(expired == lapsed, "{incarnation} lapsed: {lapsed}, answered: {expired}");
        let expected: Vec<_> = self.held_by(incarnation).collect();
        ensure!(jobs == expected, "{incarnation} holds {expected:?}, answered: {jobs:?}");
        Ok(())
    }

    fn held_by(&self, incarnation: Incarnation) -> impl Iterator<Item = (JobId, u64)> {
        let held =
            move |holder: Holder| (holder.incarnation == incarnation).then_some(holder.generation);
        self.jobs.iter().filter_map(move |(&id, job)| Some((id, held(job.holder?)?)))
    }

    fn known(&mut self, id: JobId) -> Result<&mut Job, String> {
        self.jobs.get_mut(&id).ok_or_else(|| format!("{id} is not known"))
    }

    /// Whether the store need not keep the job any more.
    fn may_be_forgotten(&self, id: JobId, when: Span) -> bool {
        let Some(job) = self.jobs.get(&id) else { return true };
        let Some(finished) = job.finished else { return false };
        let retention = self.retention(job.state);
        let result_is_kept =
            job.spec.keep_result.is_some_and(|keep| finished.from + keep > when.to);
        let later = |other: &Job| {
            self.shares_count(job, other) && other.finished.is_some_and(|f| f.to >= finished.from)
        };
        let later = self.jobs.values().filter(|other| later(other)).count();
        // It counts itself.
        let too_many = later > retention.count;
        !result_is_kept && (too_many || finished.from + retention.age <= when.to)
    }

    /// What a finished job is still there for after a sweep, if anything.
    fn must_be_forgotten(&self, job: &Job, now: Timestamp) -> bool {
        let Some(finished) = job.finished else { return false };
        let age = self.retention(job.state).age;
        let keep = job.spec.keep_result.map_or(age, |keep| age.max(keep));
        finished.to + keep < now
    }

    fn retention(&self, state: JobState) -> Retention {
        if state == JobState::Dead { self.settings.keep_dead } else { self.settings.keep_completed }
    }

    fn shares_count(&self, job: &Job, other: &Job) -> bool {
        let is_dead = |job: &Job| job.state == JobState::Dead;
        other.finished.is_some()
            && is_dead(job) == is_dead(other)
            && other.spec.keep_result.is_none()
    }

    /// The ids of the jobs there are.
    pub(super) fn ids(&self) -> Vec<JobId> {
        self.jobs.keys().copied().collect()
    }
}

impl Job {
    fn finish(&mut self, state: JobState, when: Span) {
        self.state = state;
        self.moved = true;
        self.finished = Some(when);
        self.holder = None;
        self.due.to = self.due.to.max(when.to);
    }

    fn is_due(&self, now: Timestamp) -> bool {
        self.state == JobState::Delayed && self.due.from <= now
    }

    fn wait_since_due(&mut self, place: Place) {
        self.state = JobState::Waiting;
        self.became_due = true;
        self.place = place;
    }

    fn compare(&mut self, seen: &JobRecord) -> Verdict {
        let id = self.spec.id;
        self.learn_when_triggered(&seen.spec);
        ensure!(seen.spec == self.spec, "{id} was enqueued as something else");
        ensure!(seen.state == self.state, "{id} is {}, not {}", seen.state, self.state);
        let counted = (self.attempts, self.crashes);
        let seen_counted = (seen.attempts, seen.crashes);
        ensure!(
            seen_counted == counted,
            "{id} has {seen_counted:?} attempts, crashes; {counted:?}"
        );
        let requested = seen.cancel_requested;
        if self.state == JobState::Active || requested {
            ensure!(requested == self.cancel_requested, "{id} cancel requested: {requested}");
        }
        self.follows(seen.generation)?;
        ensure!(self.enqueued.contains(seen.enqueued_at), "{id} accepted at {}", seen.enqueued_at);
        ensure!(self.due.contains(seen.due_at), "{id} due at {}, not {:?}", seen.due_at, self.due);
        let finished = match (self.finished, seen.finished_at) {
            (None, None) => true,
            (Some(span), Some(moment)) => span.contains(moment),
            _ => false,
        };
        ensure!(finished, "{id} ended at {:?}, not {:?}", seen.finished_at, self.finished);
        ensure!(self.said.fits(seen), "{id} says {:?}, not {:?}", seen.last_attempt, self.said);

        (self.generation, self.moved, self.became_due) = (Some(seen.generation), false, false);
        self.enqueued = Span::at(seen.enqueued_at);
        self.due = Span::at(seen.due_at);
        self.finished = seen.finished_at.map(Span::at);
        self.said = Said::Exactly(seen.last_attempt.clone());
        Ok(())
    }
}

impl Job {
    /// A generation rises with every transition that somebody brings about, and with nothing else.
    fn follows(&self, generation: u64) -> Verdict {
        let fits = match self.generation {
            None => true,
            Some(last) if self.moved => generation > last,
            Some(last) if self.became_due => generation >= last,
            Some(last) => generation == last,
        };
        let (id, last, moved) = (self.spec.id, self.generation, self.moved);
        ensure!(fits, "{id} went from generation {last:?} to {generation}; moved: {moved}");
        Ok(())
    }

    /// A job triggered by hand says when that was; the store's clock alone knows.
    fn learn_when_triggered(&mut self, seen: &JobSpec) {
        let Some(by) = seen.provenance.as_ref().and_then(|seen| seen.schedule.as_ref()) else {
            return;
        };
        if self.by_hand && self.enqueued.contains(by.occurrence) {
            let known = &mut Arc::make_mut(&mut self.spec).provenance_mut().schedule;
            if let Some(known) = known {
                known.occurrence = by.occurrence;
            }
        }
    }
}

impl Said {
    fn fits(&self, seen: &JobRecord) -> bool {
        let seen = &seen.last_attempt;
        match self {
            Self::Exactly(said) => seen == said,
            Self::Perhaps(said) => seen == said || seen.is_none(),
            Self::Crash => seen
                .as_ref()
                .and_then(|report| report.failure.as_ref())
                .is_some_and(|failure| failure.kind == FailureKind::Crash),
        }
    }
}
