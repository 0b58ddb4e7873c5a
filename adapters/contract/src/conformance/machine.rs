//! The model-based test: makes up sequences of calls, makes them, and lets the [model] judge
//! every answer and, after every step, all that the store knows.
//!
//! A step names its jobs, workers and schedules by number among those there are when it is made,
//! so that a failing sequence stays meaningful while proptest takes steps out of it.
//!
//! [model]: super::model

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::sample::Index;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};
use proptest_state_machine::ReferenceStateMachine;

mod steps;

use self::steps::{Definition, Delivery, Fate, Fence, Run, SCHEDULES, Step, Steps, Turn, Wanted};
use super::kit::{ENDLESS, held_by, name};
use super::model::{Model, Span, Verdict};
use super::run::runtime;
use super::schedules::id as schedule_id;
use super::{Factory, Kit, Time};
use crate::{
    AdapterError, AttemptReport, Beat, Exchange, ExchangeReply, Find, Firing, Incarnation,
    JobAdapter, JobId, JobSpec, JobTemplate, Outcome, Payload, Retention, Rewind, Schedule,
    ScheduleRecord, Settlement, Timestamp, Timing, Trigger, TriggerOverlap,
};

/// How many sequences are tried where `PROPTEST_CASES` does not say: under simulated time some
/// seconds' worth; under the world's, where each of them sleeps, as many as one has patience for.
const fn default_cases(time: Time) -> u32 {
    match time {
        Time::Simulated => 256,
        Time::Real { .. } => 4,
    }
}

const WORKERS: usize = 3;
const SCHEDULE_IDS: [&str; SCHEDULES] = ["first", "second"];

/// Runs the model-based test: random sequences of calls, after each of which the store has to be
/// as the model says.
///
/// `PROPTEST_CASES` says how many sequences, `PROPTEST_RNG_SEED` which.
///
/// # Panics
/// Where the store differs from the model, with the shortest sequence found that shows it, and
/// the seed that repeats it.
pub fn run_model(factory: impl Factory) {
    let factory: Arc<dyn Factory> = Arc::new(factory);
    let time = factory.time();
    let mut config = Config::default();
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = default_cases(time);
    }
    let seed = match config.rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => std::hash::BuildHasher::hash_one(
            &std::collections::hash_map::RandomState::new(),
            Timestamp::now(),
        ),
    };
    config.rng_seed = RngSeed::Fixed(seed);
    // The seed is told below; a file of failures beside an adapter's tests helps nobody.
    config.failure_persistence = None;
    let length = if time == Time::Simulated { 1..150 } else { 1..25 };

    let sequences = Steps::sequential_strategy(length);
    let tried = TestRunner::new(config).run(&sequences, |((), steps, seen)| {
        let run = play(factory.clone(), steps, seen);
        runtime(time).block_on(run).map_err(TestCaseError::fail)
    });
    if let Err(error) = tried {
        panic!("{error}\nrepeat it with PROPTEST_RNG_SEED={seed}");
    }
}

/// Makes the calls of one sequence in a fresh store.
async fn play(
    factory: Arc<dyn Factory>,
    steps: Vec<Step>,
    seen: Option<Arc<AtomicUsize>>,
) -> Verdict {
    let mut player = Player::new(factory).await;
    for (place, step) in steps.iter().enumerate() {
        if let Some(seen) = &seen {
            seen.fetch_add(1, Ordering::SeqCst);
        }
        let played = player.step(step).await.map_err(Wrong::into_text);
        played.map_err(|wrong| format!("step {place}, {step:?}: {wrong}"))?;
        let looked = player.look().await.map_err(Wrong::into_text);
        looked.map_err(|wrong| format!("after step {place}, {step:?}: {wrong}"))?;
    }
    Ok(())
}

/// Makes the steps' calls, and has the model judge them.
struct Player {
    kit: Kit,
    model: Model,
    /// Two processes: the workers are in the one or the other.
    processes: [Arc<dyn JobAdapter>; 2],
    workers: Vec<Hand>,
    /// Incarnations that are no worker's any more.
    ghosts: Vec<Incarnation>,
    enqueued: Vec<JobSpec>,
    /// Schedules as they were seen at some time.
    views: Vec<ScheduleRecord>,
    fired: Vec<Firing>,
    triggered: Vec<Trigger>,
    /// Claims that were settled or lost.
    old: Vec<(JobId, u64)>,
    /// Counts occurrences, so that no two are of the same millisecond.
    occurrences: u64,
}

/// A worker as it knows itself.
struct Hand {
    incarnation: Incarnation,
    number: u64,
    held: BTreeMap<JobId, u64>,
    unanswered: Option<Exchange>,
}

/// Why a sequence fails.
enum Wrong {
    /// By the model.
    Judged(String),
    /// The store did not do it at all.
    Failed(AdapterError),
}

impl Wrong {
    fn into_text(self) -> String {
        match self {
            Self::Judged(wrong) => wrong,
            Self::Failed(error) => format!("the store failed: {error}"),
        }
    }
}

impl From<String> for Wrong {
    fn from(wrong: String) -> Self {
        Self::Judged(wrong)
    }
}

impl From<AdapterError> for Wrong {
    fn from(error: AdapterError) -> Self {
        Self::Failed(error)
    }
}

type Played = Result<(), Wrong>;

impl Player {
    async fn new(factory: Arc<dyn Factory>) -> Self {
        let kit = Kit::open(factory).await;
        let (short, long) = (kit.units(6), kit.units(12));
        let kit = kit
            .with(|settings| {
                settings.keep_completed = Retention { age: short, count: 5 };
                settings.keep_dead = Retention { age: long, count: 4 };
            })
            .await;
        let model = Model::new(kit.queue.clone(), kit.settings, kit.reckoned());
        let processes = [kit.another().await, kit.another().await];
        let workers = (0..WORKERS).map(|_| Hand::new(&kit)).collect();
        Self {
            kit,
            model,
            processes,
            workers,
            ghosts: Vec::new(),
            enqueued: Vec::new(),
            views: Vec::new(),
            fired: Vec::new(),
            triggered: Vec::new(),
            old: Vec::new(),
            occurrences: 0,
        }
    }

    async fn step(&mut self, step: &Step) -> Played {
        match step {
            Step::Enqueue(wanted) => self.enqueue_wanted(wanted).await,
            Step::EnqueueAgain(from, count) => self.enqueue_again(*from, *count).await,
            Step::Exchange(worker, turn) => self.exchange(worker.index(WORKERS), turn).await,
            Step::Late(worker) => self.late(worker.index(WORKERS)).await,
            Step::Beat(worker) => self.beat(worker.index(WORKERS)).await,
            Step::Crash(worker) => {
                self.replace(worker.index(WORKERS));
                Ok(())
            }
            Step::Pass(units) => self.sweep_for(*units).await,
            Step::Sleep(units) => {
                self.kit.pass(*units).await;
                self.sweep().await.map(|_| ())
            }
            Step::JumpForward(units) => {
                let now = self.kit.ping().await?.now;
                self.kit.set_clock(now + self.kit.units(*units));
                self.sweep().await.map(|_| ())
            }
            Step::JumpBack(units) => {
                let from = self.now().await?;
                if self.kit.set_clock(from - self.kit.units(*units)) {
                    self.model.set_back(from, self.now().await?);
                }
                Ok(())
            }
            Step::Cancel(job) => self.cancel_job(*job).await,
            Step::Replay(job) => self.replay(*job).await,
            Step::Discard(job) => self.discard(*job).await,
            Step::Pause => {
                let changed = self.kit.pause(&self.kit.queue).await?;
                Ok(self.model.pause(true, changed)?)
            }
            Step::Resume => {
                let changed = self.kit.resume(&self.kit.queue).await?;
                Ok(self.model.pause(false, changed)?)
            }
            Step::Define(which, definition) => self.define(SCHEDULE_IDS[*which], definition).await,
            Step::CancelSchedule(which) => {
                let id = schedule_id(SCHEDULE_IDS[*which]);
                let existed = self.kit.cancel(&id).await?;
                Ok(self.model.cancel(&id, existed)?)
            }
            Step::PauseSchedule(which) => {
                let id = schedule_id(SCHEDULE_IDS[*which]);
                let changed = self.kit.pause_schedule(&id).await?;
                Ok(self.model.halt(&id, true, None, changed)?)
            }
            Step::ResumeSchedule(which) => {
                let id = schedule_id(SCHEDULE_IDS[*which]);
                let next = Some(self.occurrence(1).await?);
                let changed = self.kit.resume_schedule(&id, next).await?;
                Ok(self.model.halt(&id, false, next, changed)?)
            }
            Step::Rewind(view, by) => self.rewind(*view, *by).await,
            Step::Fire(view, run) => self.fire(*view, *run).await,
            Step::FireAgain(which) => match pick(&self.fired, *which) {
                Some(firing) => self.fire_one(firing.clone()).await,
                None => Ok(()),
            },
            Step::Trigger(which, forced) => {
                let keep = self.kit.units(5);
                let mut trigger =
                    Trigger::new(schedule_id(SCHEDULE_IDS[*which]), self.kit.by_hand_id(), keep);
                if *forced {
                    trigger.overlap = TriggerOverlap::Allow;
                }
                self.triggered.push(trigger.clone());
                self.trigger(trigger).await
            }
            Step::TriggerAgain(which) => match pick(&self.triggered, *which) {
                Some(trigger) => self.trigger(trigger.clone()).await,
                None => Ok(()),
            },
        }
    }

    /// Compares all that the store knows with the model.
    async fn look(&mut self) -> Played {
        let from = self.kit.ping().await?.now;
        let jobs = self.kit.find_all(Find::new()).await;
        let counts = self.kit.counts(&self.kit.queue).await?;
        let schedules = self.kit.scheduled_jobs().await?.records;
        let to = self.kit.ping().await?.now;
        self.model.look(&jobs, counts, Span { from, to })?;
        self.model.look_at_schedules(&schedules)?;
        let workers = self.workers.iter().filter(|worker| worker.number > 0);
        let workers = workers.map(|worker| worker.incarnation);
        for incarnation in workers.chain(self.ghosts.iter().copied()) {
            let (held, expired) = held_by(&*self.kit.adapter, &self.kit.queue, incarnation).await;
            self.model.holds(incarnation, &held, expired)?;
        }
        Ok(())
    }

    async fn enqueue_wanted(&mut self, wanted: &[Wanted]) -> Played {
        let mut batch = Vec::new();
        for wanted in wanted {
            let mut spec = match wanted.delay {
                0 => self.kit.new_job(),
                units => self.kit.after(units),
            };
            spec.priority = wanted.priority;
            spec.keep_result = wanted.keep_result.map(|units| self.kit.units(units));
            batch.push(spec);
        }
        self.enqueued.extend(batch.iter().cloned());
        self.enqueue(batch).await
    }

    async fn enqueue_again(&mut self, from: Index, count: usize) -> Played {
        if self.enqueued.is_empty() {
            return Ok(());
        }
        let from = from.index(self.enqueued.len());
        let batch = self.enqueued.iter().skip(from).take(count).cloned().collect();
        self.enqueue(batch).await
    }

    async fn enqueue(&mut self, batch: Vec<JobSpec>) -> Played {
        let from = self.now().await?;
        let answers = self.kit.enqueue(&self.kit.queue, batch.clone()).await?;
        let when = self.since(from).await?;
        Ok(self.model.enqueue(&batch, &answers, when)?)
    }

    async fn exchange(&mut self, worker: usize, turn: &Turn) -> Played {
        if let Some(unanswered) = self.workers[worker].unanswered.clone() {
            // Before it may say anything else, it has to know what became of that.
            if self.send(worker, &unanswered, true).await?.is_none() {
                return Ok(());
            }
        }
        let exchange = self.compose(worker, turn);
        let answered = turn.delivery == Delivery::Answered;
        if self.send(worker, &exchange, answered).await?.is_some()
            && turn.delivery == Delivery::Twice
        {
            self.send(worker, &exchange, true).await?;
        }
        Ok(())
    }

    /// What a worker says next.
    fn compose(&self, worker: usize, turn: &Turn) -> Exchange {
        let hand = &self.workers[worker];
        let number = hand.number + 1 + u64::from(turn.gap && hand.number > 0);
        let mut exchange = Exchange::new(self.kit.queue.clone(), hand.incarnation, number);
        for (which, fate, fence) in &turn.settle {
            let from: Vec<(JobId, u64)> = match fence {
                Fence::Right => pairs(&hand.held),
                Fence::Old => self.old.clone(),
                Fence::Foreign => pairs(&self.workers[(worker + 1) % WORKERS].held),
            };
            if let Some(&(job, generation)) = pick(&from, *which) {
                let settlement = Settlement::new(job, generation, self.outcome(*fate));
                exchange.settlements.push(settlement.with_report(report(*fate)));
            }
        }
        let settled = |(job, generation): (&JobId, &u64)| {
            exchange.settlements.iter().any(|s| s.job == *job && s.generation == *generation)
        };
        exchange.held = hand.held.iter().filter(|&held| !settled(held)).count();
        exchange.solo = turn.solo && exchange.held == 0;
        exchange.held += turn.overstate;
        exchange.claim = turn.claim;
        exchange
    }

    /// Sends an exchange. Answers nothing where the incarnation is no more.
    async fn send(
        &mut self,
        worker: usize,
        exchange: &Exchange,
        told: bool,
    ) -> Result<Option<()>, Wrong> {
        let from = self.now().await?;
        let reply = self.process_of(worker).exchange(exchange).await?;
        let when = self.since(from).await?;
        self.model.exchange(exchange, &reply, when)?;
        match reply {
            ExchangeReply::Answered(_) if !told => {
                let hand = &mut self.workers[worker];
                (hand.number, hand.unanswered) = (exchange.number, Some(exchange.clone()));
            }
            ExchangeReply::Answered(answer) => {
                let hand = &mut self.workers[worker];
                (hand.number, hand.unanswered) = (exchange.number, None);
                for settlement in &exchange.settlements {
                    if hand.held.get(&settlement.job) == Some(&settlement.generation) {
                        hand.held.remove(&settlement.job);
                        self.old.push((settlement.job, settlement.generation));
                    }
                }
                hand.held.extend(answer.claimed.iter().map(|job| (job.spec.id, job.generation)));
            }
            ExchangeReply::Expired => {
                self.replace(worker);
                return Ok(None);
            }
            ExchangeReply::Refused => return Ok(None),
        }
        Ok(Some(()))
    }

    async fn late(&mut self, worker: usize) -> Played {
        let hand = &self.workers[worker];
        if hand.number < 2 {
            return Ok(());
        }
        let mut exchange = Exchange::new(self.kit.queue.clone(), hand.incarnation, hand.number - 1);
        exchange.claim = 3;
        let settlements = hand.held.iter();
        exchange.settlements = settlements
            .map(|(&job, &generation)| Settlement::new(job, generation, Outcome::Complete))
            .collect();
        let from = self.now().await?;
        let reply = self.process_of(worker).exchange(&exchange).await?;
        let when = self.since(from).await?;
        Ok(self.model.exchange(&exchange, &reply, when)?)
    }

    async fn beat(&mut self, worker: usize) -> Played {
        let hand = &self.workers[worker];
        let beat = Beat::new(self.kit.queue.clone(), hand.incarnation, hand.held.len());
        let from = self.now().await?;
        let replies = self.process_of(worker).heart().await?.beat(&[beat]).await?;
        let when = self.since(from).await?;
        let [reply] = replies.as_slice() else {
            return Err(format!("one beat was answered {replies:?}").into());
        };
        Ok(self.model.beat(hand.incarnation, reply, when)?)
    }

    /// The worker is no more; a new one takes its place.
    fn replace(&mut self, worker: usize) {
        let gone = std::mem::replace(&mut self.workers[worker], Hand::new(&self.kit));
        if gone.number > 0 {
            self.ghosts.push(gone.incarnation);
        }
        self.old.extend(gone.held);
    }

    /// Lets time pass and sweeps whenever the store asks for it.
    async fn sweep_for(&mut self, units: u32) -> Played {
        let end = tokio::time::Instant::now() + self.kit.units(units);
        loop {
            let next = self.sweep().await?;
            let left = end.duration_since(tokio::time::Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            tokio::time::sleep(next.map_or(left, |next| next.min(left))).await;
        }
    }

    async fn sweep(&mut self) -> Result<Option<Duration>, Wrong> {
        let from = self.now().await?;
        let mut answers = Vec::new();
        loop {
            let answer = self.kit.sweep(&self.kit.queue).await?;
            let next = answer.next;
            answers.push(answer);
            if next != Some(Duration::ZERO) {
                break;
            }
            if answers.len() == ENDLESS {
                return Err("there is always more to sweep at once".to_owned().into());
            }
        }
        let when = self.since(from).await?;
        self.model.sweep(&answers, when)?;
        self.look().await?;
        let last = &answers[answers.len() - 1];
        self.model.trimmed(last.now)?;
        Ok(last.next)
    }

    async fn cancel_job(&mut self, job: Index) -> Played {
        let Some(job) = self.any_job(job) else { return Ok(()) };
        let from = self.now().await?;
        let answer = self.kit.cancel_job(&self.kit.queue, job).await?;
        let when = self.since(from).await?;
        Ok(self.model.cancel_job(job, answer, when)?)
    }

    async fn replay(&mut self, job: Index) -> Played {
        let Some(job) = self.any_job(job) else { return Ok(()) };
        let from = self.now().await?;
        let answer = self.kit.replay(&self.kit.queue, job).await?;
        let when = self.since(from).await?;
        Ok(self.model.replay(job, answer, when)?)
    }

    async fn discard(&mut self, job: Index) -> Played {
        let Some(job) = self.any_job(job) else { return Ok(()) };
        let from = self.now().await?;
        let answer = self.kit.discard(&self.kit.queue, job).await?;
        let when = self.since(from).await?;
        Ok(self.model.discard(job, answer, when)?)
    }

    async fn define(&mut self, which: &str, definition: &Definition) -> Played {
        let id = schedule_id(which);
        let payload = Payload::from_json_bytes(vec![b'0' + definition.payload]);
        let template = JobTemplate::new(name("scheduled_job"), payload);
        let timing = match definition.once {
            true => Timing::Once { at: Timestamp::EPOCH },
            false => Timing::Every { period_ms: 60_000 },
        };
        let mut schedule = Schedule::new(id.clone(), self.kit.queue.clone(), timing, template);
        (schedule.overlap, schedule.enabled) = (definition.overlap, definition.enabled);
        schedule.limit = definition.limit.and_then(std::num::NonZeroU64::new);
        let stored = self.model.scheduled().into_iter().find(|record| record.schedule.id == id);
        let next = match (definition.next, stored) {
            (None, Some(stored)) => stored.next,
            (units, _) => Some(self.occurrence(units.unwrap_or(0)).await?),
        };
        let answer = self.kit.schedule(schedule.clone(), next).await?;
        Ok(self.model.define(schedule, next, answer)?)
    }

    /// Mostly one of the latest views, sometimes one from long ago.
    fn view(&mut self, view: Index) -> Option<ScheduleRecord> {
        self.views.extend(self.model.scheduled());
        let recent = self.views.len().saturating_sub(4);
        let views = if view.index(4) == 0 { &self.views[..] } else { &self.views[recent..] };
        pick(views, view).cloned()
    }

    async fn rewind(&mut self, view: Index, by: u64) -> Played {
        let Some(record) = self.view(view) else { return Ok(()) };
        let end = record.passed.map(|passed| passed.upto).or(record.next);
        let earlier = end.map(|end| end - Duration::from_millis(by));
        let rewind = earlier.and_then(|earlier| Rewind::new(&record, earlier));
        let Some(rewind) = rewind else { return Ok(()) };
        let answer = self.kit.rewind(rewind.clone()).await?;
        Ok(self.model.rewind(&rewind, answer)?)
    }

    async fn fire(&mut self, view: Index, run: Run) -> Played {
        let Some(record) = self.view(view) else { return Ok(()) };
        if let (Run::Queued, Some(queued)) = (run, record.queued) {
            let firing = Firing::of_queued(&record, queued);
            self.fired.push(firing.clone());
            return self.fire_one(firing).await;
        }
        let Some(occurrence) = record.next else { return Ok(()) };
        let next = self.occurrence(2).await?;
        // What is due once has no other.
        let next = Some(next).filter(|_| !matches!(record.schedule.timing, Timing::Once { .. }));
        let mut firing = Firing::new(&record, occurrence, next);
        match run {
            Run::InTime | Run::Queued => {}
            Run::Late => {
                firing.run = Some(self.occurrence(0).await?);
                firing.missed = 2;
            }
            Run::Missed => (firing.run, firing.missed) = (None, 3),
        }
        self.fired.push(firing.clone());
        self.fire_one(firing).await
    }

    async fn fire_one(&mut self, firing: Firing) -> Played {
        let from = self.now().await?;
        let process = self.process_of(self.fired.len());
        let fired = process.fire(std::slice::from_ref(&firing)).await?;
        let when = self.since(from).await?;
        let [fired] = fired[..] else {
            return Err(format!("one firing was answered {fired:?}").into());
        };
        Ok(self.model.fire(&firing, fired, when)?)
    }

    async fn trigger(&mut self, trigger: Trigger) -> Played {
        let from = self.now().await?;
        let answer = self.kit.trigger(trigger.clone()).await?;
        let when = self.since(from).await?;
        Ok(self.model.trigger(&trigger, &answer, when)?)
    }

    fn process_of(&self, worker: usize) -> &dyn JobAdapter {
        &*self.processes[worker % self.processes.len()]
    }

    /// A moment in so many units, different from all others.
    async fn occurrence(&mut self, units: u32) -> Result<Timestamp, Wrong> {
        self.occurrences += 1;
        let apart = Duration::from_millis(self.occurrences);
        Ok(self.now().await? + self.kit.units(units) + apart)
    }

    async fn now(&self) -> Result<Timestamp, Wrong> {
        Ok(self.kit.ping().await?.now)
    }

    async fn since(&self, from: Timestamp) -> Result<Span, Wrong> {
        Ok(Span { from, to: self.now().await? })
    }

    fn any_job(&self, which: Index) -> Option<JobId> {
        pick(&self.model.ids(), which).copied()
    }

    fn outcome(&self, fate: Fate) -> Outcome {
        match fate {
            Fate::Complete => Outcome::Complete,
            Fate::Retry(units) => Outcome::Retry(self.kit.units(units)),
            Fate::Dead => Outcome::Dead,
            Fate::Cancel => Outcome::Cancel,
            Fate::Release(units) => Outcome::Release(self.kit.units(units)),
        }
    }
}

impl Hand {
    fn new(kit: &Kit) -> Self {
        Self { incarnation: kit.incarnation(), number: 0, held: BTreeMap::new(), unanswered: None }
    }
}

/// Most outcomes come with a report, some without.
fn report(fate: Fate) -> Option<Arc<AttemptReport>> {
    let mut report = AttemptReport::default();
    match fate {
        Fate::Complete => report.message = Some("completed".into()),
        Fate::Retry(units) => report.message = Some(format!("again in {units}")),
        Fate::Dead => report.message = Some("dead".into()),
        Fate::Cancel | Fate::Release(_) => return None,
    }
    Some(Arc::new(report))
}

fn pairs(held: &BTreeMap<JobId, u64>) -> Vec<(JobId, u64)> {
    held.iter().map(|(&job, &generation)| (job, generation)).collect()
}

fn pick<T>(from: &[T], which: Index) -> Option<&T> {
    (!from.is_empty()).then(|| which.get(from))
}
