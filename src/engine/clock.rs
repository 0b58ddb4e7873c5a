//! Fires due schedules.
//!
//! 1. Ask the store which queues have schedules, at first and whenever they change.
//! 2. Look into each queue [a moment before](LEAD) something there is due: what is due by then, and
//!    [soon](AHEAD) after it.
//! 3. For each schedule, compute what to fire then and what comes next: [`plan`], a pure function.
//! 4. When its time has come, by the difference to the store's time, fire it, in batches: each a
//!    compare-and-set in the store, so that any number of processes may do so, and what was planned
//!    is fired only if nobody has changed the schedule since. Each queue's by themselves: one whose
//!    part of the store is away holds up no other.
//!
//! So all that takes its time is done before the time of many has come, and what comes in between is
//! fired no later for it.
//!
//! Before all that, and whenever it may have changed which releases are live, the schedules of the
//! code are [reconciled](crate::schedule::release): nothing is fired that the code no longer declares.
//!
//! Where the store's clock was set back, and when this begins, schedules that are further than they
//! can be are taken [back](crate::schedule::remaining).
//!
//! Nothing is kept of schedules that are not soon due: ten thousand of them cost it no more than one.
//! Definitions are read from the store, never from code: a process that ticks need not know the
//! jobs. A definition that this program cannot read is told once and left to others.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::future::poll_fn;
use std::iter;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use shiftwork_adapter::{
    AdapterError, DueInQueue, ErrorKind, Fired, Firing, FiringOf, JobAdapter, MISFIRE_ALL_BOUND,
    Misfire, QueueName, ScheduleId, ScheduleRecord, Ticket, Timestamp, Wakeups, Watch,
};
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, error, info, warn};

use super::pulse::Pulse;
use super::{Engine, retry};
use crate::schedule::remaining::{self, Remaining};
use crate::schedule::{Cadences, Occurrences};
use crate::shared::Shared;

/// An occurrence noticed later than this is a misfire.
pub(crate) const MISFIRE_AFTER: Duration = Duration::from_secs(60);

/// How often to look where the news of a change may be lost: seldom, since it is rare that one is,
/// and nothing but a schedule that somebody has just changed fires later for it.
const POLL: Duration = Duration::from_secs(30);

/// By how much a clock must be behind what it said before for that to be more than the way there.
const SET_BACK: Duration = Duration::from_secs(1);

/// How long a queue is left alone after something was fired or read there: what is due one after the
/// other is fired together.
const GATHERED: Duration = Duration::from_millis(5);

/// How far ahead of their time occurrences are read and planned.
const AHEAD: Duration = Duration::from_secs(2);

/// How long before something is due its queue is looked into: enough to read very many.
const LEAD: Duration = Duration::from_millis(500);

/// How many schedules of a queue are read at once.
const MOST: usize = 20_000;

/// How many occurrences are fired in one call.
const BATCH: usize = 250;

/// How many batches of a queue are on their way at once, so that the store need not wait for the next.
const AT_ONCE: usize = 3;

/// How many occurrences of one schedule are fired before it is read anew: who catches up on a
/// thousand need not read them a thousand times, and holds the others up no longer than this takes.
const IN_A_ROW: usize = 100;

/// Runs until the engine drains.
pub(crate) async fn run(engine: Arc<Engine>, pulse: Arc<Pulse>) {
    let mut clock = Clock::new(engine.clone(), pulse);
    while !engine.draining.is_cancelled() {
        match clock.tick().await {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Closed => return,
            Err(error) => clock.fail(&error),
        }
        clock.rest().await;
    }
    while let Some(Ok((queue, came))) = clock.under_way.join_next().await {
        clock.take(queue, came);
    }
    if let Some(release) = engine.release() {
        let Shared { adapter, settings, .. } = &*engine.shared;
        release.withdraw(&**adapter, settings).await;
    }
}

/// What the loop knows between two rounds.
struct Clock {
    engine: Arc<Engine>,
    pulse: Arc<Pulse>,
    /// The queues that have schedules.
    queues: BTreeMap<QueueName, Line>,
    /// What is asked of the store for them.
    under_way: JoinSet<(QueueName, Came)>,
    /// What was seen when all were asked; `None`: ask all.
    seen: Option<Ticket>,
    /// Whether it may have changed which releases are live.
    must_announce: bool,
    /// How often in a row the store failed that was asked for all, and until when it is left alone.
    failures: u32,
    retry: Option<Instant>,
    /// When all were asked last.
    asked_all: Instant,
    /// The store's time in each queue then, and when that was known.
    told: (BTreeMap<QueueName, Timestamp>, Instant),
    /// Looks whether schedules are further than they can be.
    rewinding: JoinSet<()>,
    /// What of schedules was read before.
    read: Arc<Read>,
}

/// What was read of schedules.
#[derive(Default)]
struct Read {
    cadences: Mutex<Cadences>,
    /// Those that cannot be read, each with the revision of which that was told.
    unreadable: Mutex<HashMap<ScheduleId, u64>>,
}

/// What is known of a queue that has schedules.
#[derive(Default)]
struct Line {
    /// What is to be fired, and when, in that order.
    planned: VecDeque<(Instant, Firing)>,
    /// When to look into it, after the look that is under way, if one is; `None`: not before schedules
    /// change.
    look: Option<Instant>,
    /// Since when it is looked into, and since when some are fired.
    looking: Option<Instant>,
    firing: Option<Instant>,
    /// What has been sent since it was last looked into: an answer of then has it as it was before.
    sent: HashSet<(ScheduleId, Timestamp)>,
    /// Until when it is left alone.
    rests: Option<Instant>,
    /// How often in a row it failed.
    failures: u32,
}

/// What came of a queue.
enum Came {
    Seen(shiftwork_adapter::Result<Outlook>),
    /// Some were fired; whether all were found as they were read.
    Fired(shiftwork_adapter::Result<bool>),
}

/// What is to come in a queue.
#[derive(Default)]
struct Outlook {
    planned: Vec<(Instant, Firing)>,
    /// When to look again for what is not among it.
    look: Option<Instant>,
}

impl Line {
    /// When to fire what is planned.
    fn fires(&self) -> Option<Instant> {
        let (at, _) = self.planned.front().filter(|_| self.firing.is_none())?;
        Some(self.rests.map_or(*at, |rests| rests.max(*at)))
    }

    /// When to look into it: what is due is fired before that.
    fn looks(&self, now: Instant) -> Option<Instant> {
        let look = self.look.filter(|_| self.looking.is_none() && self.firing.is_none())?;
        let goes_first = self.planned.front().is_some_and(|(at, _)| *at <= look.max(now));
        (!goes_first).then_some(look)
    }

    /// Takes out what is due.
    fn take_due(&mut self, now: Instant) -> VecDeque<(Instant, Firing)> {
        let count = self.planned.partition_point(|(at, _)| *at <= now);
        let due = match count == self.planned.len() {
            true => std::mem::take(&mut self.planned),
            false => self.planned.drain(..count).collect(),
        };
        if self.looking.is_some() {
            let sent = due.iter().map(|(_, firing)| (firing.schedule.clone(), firing.occurrence));
            self.sent.extend(sent);
        }
        due
    }

    fn look_by(&mut self, at: Instant) {
        self.look = Some(self.look.map_or(at, |look| look.min(at)));
    }

    fn see(&mut self, outlook: Outlook, now: Instant) {
        let Outlook { mut planned, look } = outlook;
        planned.retain(|(_, firing)| {
            self.sent.is_empty()
                || !self.sent.contains(&(firing.schedule.clone(), firing.occurrence))
        });
        self.planned = planned.into();
        self.sent = HashSet::new();
        (self.looking, self.failures) = (None, 0);
        // Beside what was asked for meanwhile.
        self.look = self.look.into_iter().chain(look.map(|at| at.max(now + GATHERED))).min();
    }
}

impl Clock {
    fn new(engine: Arc<Engine>, pulse: Arc<Pulse>) -> Self {
        Self {
            engine,
            pulse,
            queues: BTreeMap::new(),
            under_way: JoinSet::new(),
            seen: None,
            must_announce: false,
            failures: 0,
            retry: None,
            asked_all: Instant::now(),
            told: (BTreeMap::new(), Instant::now()),
            rewinding: JoinSet::new(),
            read: Arc::default(),
        }
    }

    /// Begins to fire what is due, and to look into queues where something will be soon: into each
    /// by itself, so that what holds one up does not hold up the others. An error is that of asking
    /// for all; what is known is fired all the same.
    async fn tick(&mut self) -> shiftwork_adapter::Result<()> {
        let now = Instant::now();
        let asked = match self.retry {
            Some(retry) if now < retry => Ok(()),
            _ => self.ask_all(now).await,
        };
        let now = Instant::now();
        for (queue, line) in &mut self.queues {
            let (adapter, queue) = (self.engine.shared.adapter.clone(), queue.clone());
            if line.fires().is_some_and(|at| at <= now) {
                let due = line.take_due(now);
                line.firing = Some(now);
                let fired = fire(adapter, due);
                self.under_way.spawn(async move { (queue, Came::Fired(fired.await)) });
            } else if line.looks(now).is_some_and(|at| at <= now) {
                (line.looking, line.look) = (Some(now), None);
                let seen = look(adapter, self.read.clone(), queue.clone());
                self.under_way.spawn(async move { (queue, Came::Seen(seen.await)) });
            }
        }
        asked
    }

    /// Asks which queues have schedules, and when there is something to fire, where that may not be
    /// known.
    async fn ask_all(&mut self, now: Instant) -> shiftwork_adapter::Result<()> {
        self.announce().await?;
        if self.seen.is_none() {
            let due = self.engine.shared.adapter.due(None, Duration::ZERO, 1).await?;
            let told = Instant::now();
            self.seen = Some(due.ticket);
            self.asked_all = now;
            let has_any: HashSet<_> = due.queues.iter().map(|here| here.queue.clone()).collect();
            for (queue, error) in &due.unread {
                self.fail_in(queue, error);
            }
            self.compare_clocks(&due.queues, now);
            for here in due.queues {
                let next = here.next.map(|next| next.since(here.now));
                let line = self.queues.entry(here.queue).or_default();
                // Also where a look is under way, which may not have seen what has changed.
                if !here.records.is_empty() || next.is_some_and(|next| next <= AHEAD) {
                    line.look_by(told.max(line.rests.unwrap_or(told)));
                } else {
                    line.planned.clear();
                    line.look = next.map(|next| told + (next - LEAD));
                }
            }
            let failed: HashSet<_> = due.unread.into_iter().map(|(queue, _)| queue).collect();
            self.queues.retain(|queue, line| {
                if has_any.contains(queue) || failed.contains(queue) {
                    return true;
                }
                line.planned.clear();
                line.look = None;
                line.looking.is_some() || line.firing.is_some()
            });
        }
        self.retry = None;
        self.failures = 0;
        Ok(())
    }

    /// Where the store's clock was set back since all were asked before, or may have been while
    /// nobody asked, looks for schedules that are further than they can be.
    fn compare_clocks(&mut self, told: &[DueInQueue], asked: Instant) {
        let (before, known) = &mut self.told;
        // At least so much has passed, however long the answers took.
        let passed = asked.duration_since(*known);
        let back = |due: &DueInQueue| {
            let expected = *before.get(&due.queue)? + passed;
            Some(expected.since(due.now)).filter(|back| *back > SET_BACK)
        };
        let back = told.iter().filter_map(back).max();
        let is_first = before.is_empty();
        before.extend(told.iter().map(|due| (due.queue.clone(), due.now)));
        *known = Instant::now();
        if let Some(back) = back {
            warn!(
                ?back,
                "the store's clock was set back: what was passed over is fired when its time comes \
                again, and what has had its job is not"
            );
        }
        if back.is_some() || (is_first && !told.is_empty()) {
            self.rewinding = JoinSet::new();
            self.rewinding.spawn(rewind(self.engine.clone(), self.read.clone()));
        }
    }

    /// Takes in what came of a queue.
    fn take(&mut self, queue: QueueName, came: Came) {
        let now = Instant::now();
        let line = self.queues.entry(queue.clone()).or_default();
        let error = match came {
            Came::Seen(Ok(outlook)) => {
                line.see(outlook, now);
                return;
            }
            Came::Fired(Ok(as_read)) => {
                (line.firing, line.rests, line.failures) = (None, Some(now + GATHERED), 0);
                if !as_read {
                    line.look_by(now + GATHERED);
                }
                return;
            }
            Came::Seen(Err(error)) => {
                line.looking = None;
                error
            }
            Came::Fired(Err(error)) => {
                line.firing = None;
                error
            }
        };
        self.fail_in(&queue, &error);
    }

    /// A queue could not be asked: it is looked into anew, after a while.
    fn fail_in(&mut self, queue: &QueueName, error: &AdapterError) {
        let line = self.queues.entry(queue.clone()).or_default();
        line.failures += 1;
        self.engine.store.failed(self.pulse.what(), error, line.failures);
        let again = Instant::now() + retry::delay(line.failures, &self.engine.shared.random);
        line.planned.clear();
        (line.look, line.rests) = (Some(again), Some(again));
    }

    /// The store could not be asked.
    fn fail(&mut self, error: &AdapterError) {
        self.failures += 1;
        self.engine.store.failed(self.pulse.what(), error, self.failures);
        let delay = retry::delay(self.failures, &self.engine.shared.random);
        self.retry = Some(Instant::now() + delay);
    }

    /// Says that this process is there where it is time to, and reconciles what the code declares.
    async fn announce(&mut self) -> shiftwork_adapter::Result<()> {
        let Shared { adapter, settings, .. } = &*self.engine.shared;
        let Some(release) = self.engine.release() else { return Ok(()) };
        let is_due = release.due(&**adapter, settings).is_some_and(|due| due <= Instant::now());
        if self.must_announce || is_due || !release.is_reconciled() {
            // An adapter keeps to its own limit; that one does not is seen by the loop being late.
            release.reconcile(&**adapter, settings, Duration::MAX).await?;
            self.must_announce = false;
        }
        Ok(())
    }

    /// Waits until something is due, changes, or was fired; or, where the store failed, until it is
    /// asked again.
    async fn rest(&mut self) {
        self.get_round();
        let engine = self.engine.clone();
        let Shared { adapter, settings, clock, .. } = &*engine.shared;
        let now = Instant::now();
        let certain = adapter.capabilities().wakeups == Wakeups::Certain;
        let asked = settings.store.idle_poll.unwrap_or_default();
        let poll = (!certain).then(|| self.asked_all + POLL.max(asked));
        let next = |line: &Line| line.fires().into_iter().chain(line.looks(now)).min();
        let next = self.queues.values().filter_map(next).min();
        // The clock may be set while one sleeps, of which no timer knows.
        let longest = clock.longest_sleep().filter(|_| next.is_some());
        let anew = longest.map(|longest| self.asked_all + longest);
        let renewal = engine.release().and_then(|release| release.due(&**adapter, settings));
        // Where the store could not be asked for all, it is asked again by then.
        let others = match self.retry {
            Some(retry) => Some(retry),
            None => poll.into_iter().chain(anew).chain(renewal).min(),
        };
        let until = next.into_iter().chain(others).min();
        let seen = self.seen.filter(|_| self.retry.is_none());
        let (mut woken, mut came) = (None, None);
        let under_way = &mut self.under_way;
        let is_busy = !under_way.is_empty();
        let news = async {
            tokio::select! {
                biased;
                answered = under_way.join_next(), if is_busy => came = answered,
                news = adapter.wait(Watch::Schedules(seen.unwrap_or_default())), if seen.is_some() => {
                    woken = Some(news);
                }
                () = sleep_until(until.unwrap_or(now)), if until.is_some() => {}
            }
        };
        // Who waits for an answer of the store does not get round.
        match is_busy {
            true => engine.unless_draining(news).await,
            false => self.pulse.answering(engine.unless_draining(news)).await,
        }
        match came {
            Some(Ok((queue, came))) => self.take(queue, came),
            // It was cut off: what it was about is found by asking all.
            Some(Err(_)) => (self.seen, self.queues) = (None, BTreeMap::new()),
            None => {}
        }
        let now = Instant::now();
        if let Some(Err(_)) = woken {
            // Whoever cannot wait asks, and not all the time.
            self.retry = Some(now + retry::delay(4, &engine.shared.random));
        }
        if woken.is_some() || poll.into_iter().chain(anew).any(|at| at <= now) {
            self.seen = None;
            self.must_announce |= woken.is_some();
        }
    }

    /// Tells that the loop gets round and the store answers, where that is so.
    fn get_round(&self) {
        let lease = self.engine.shared.settings.store.lease;
        let mut lines = self.queues.values();
        let mut busy =
            self.queues.values().flat_map(|line| line.looking.iter().chain(&line.firing));
        if busy.all(|began| began.elapsed() < lease) {
            self.pulse.round();
        }
        if self.retry.is_none() && self.under_way.is_empty() && lines.all(|line| line.failures == 0)
        {
            self.engine.store.answered(self.pulse.what());
        }
    }
}

/// Takes schedules back that are further than they can be, where there is something to go back to.
async fn rewind(engine: Arc<Engine>, read: Arc<Read>) {
    let Shared { adapter, random, .. } = &*engine.shared;
    for failures in 1.. {
        let Err(error) = rewind_all(&**adapter, &read).await else { return };
        debug!(%error, "it could not be seen whether schedules are further than they can be");
        let again = Instant::now() + retry::delay(failures, random);
        engine.unless_draining(sleep_until(again)).await;
        if error.kind() == ErrorKind::Closed || engine.draining.is_cancelled() {
            return;
        }
    }
}

async fn rewind_all(adapter: &dyn JobAdapter, read: &Read) -> shiftwork_adapter::Result<()> {
    let schedules = adapter.scheduled_jobs().await?;
    for record in schedules.records.iter().filter(|record| record.passed.is_some()) {
        let Some(occurrences) = read.occurrences(record) else { continue };
        let Some(rewind) = remaining::rewind(record, &occurrences, schedules.now) else { continue };
        let (schedule, next, earlier) = (rewind.schedule.clone(), rewind.next, rewind.earlier);
        if adapter.rewind(rewind).await? {
            info!(%schedule, %next, %earlier, "rewound: the store's clock was set back");
        }
    }
    // What could not be read is looked at with the next call.
    match schedules.unread.into_iter().next() {
        Some((_, error)) => Err(error),
        None => Ok(()),
    }
}

/// Looks into a queue, and plans what is to be fired there.
async fn look(
    adapter: Arc<dyn JobAdapter>,
    read: Arc<Read>,
    queue: QueueName,
) -> shiftwork_adapter::Result<Outlook> {
    let mut due = adapter.due(Some(std::slice::from_ref(&queue)), AHEAD, MOST).await?;
    let told = Instant::now();
    match (due.queues.pop(), due.unread.pop()) {
        (_, Some((_, error))) => Err(error),
        (Some(due), None) => Ok(read.outlook(&due, told)),
        (None, None) => Ok(Outlook::default()),
    }
}

/// Fires what is due in a queue; answers whether all was as it was read. While one batch is on its
/// way, the next are sent; all by one task, since a store in this process would else go from one
/// processor's cache to another's and back.
async fn fire(
    adapter: Arc<dyn JobAdapter>,
    due: VecDeque<(Instant, Firing)>,
) -> shiftwork_adapter::Result<bool> {
    let mut as_read = true;
    let mut on_their_way = VecDeque::new();
    let mut firings = due.into_iter().map(|(_, firing)| firing);
    while firings.len() > 0 {
        let batch = firings.by_ref().take(BATCH).collect();
        let mut next = Box::pin(fire_batch(adapter.clone(), batch));
        match poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx))).await {
            Poll::Ready(fired) => as_read &= fired?,
            Poll::Pending => on_their_way.push_back(next),
        }
        if on_their_way.len() >= AT_ONCE
            && let Some(first) = on_their_way.pop_front()
        {
            as_read &= first.await?;
        }
        // Others are to have their turn.
        yield_now().await;
    }
    for next in on_their_way {
        as_read &= next.await?;
    }
    Ok(as_read)
}

async fn fire_batch(
    adapter: Arc<dyn JobAdapter>,
    batch: Vec<Firing>,
) -> shiftwork_adapter::Result<bool> {
    let fired = adapter.fire(&batch).await?;
    Ok(batch.iter().zip(fired).fold(true, |all, (firing, fired)| all & tell(firing, fired)))
}

impl Read {
    /// What is to come of schedules, as the store told it at `told`.
    fn outlook(&self, due: &DueInQueue, told: Instant) -> Outlook {
        let when = |at: Timestamp| told + at.since(due.now);
        let mut planned = Vec::with_capacity(due.records.len());
        let mut next = due.next;
        for record in &due.records {
            let Some(occurrences) = self.occurrences(record) else { continue };
            let (plan, following) = plan_ahead(record, due.now, due.now + AHEAD, &occurrences);
            let prepared = |firing: Firing| firing.prepared(&record.schedule);
            planned.extend(plan.into_iter().map(|(at, firing)| (when(at), prepared(firing))));
            next = next.into_iter().chain(following).min();
        }
        let mut look = next.map(|next| when(next).checked_sub(LEAD).unwrap_or(told));
        // There may be more, which is looked for once these are fired; but where this program cannot
        // read any of them, it would ask for the same again and again.
        if due.records.len() >= MOST && !planned.is_empty() {
            let last = due.records.last().and_then(ScheduleRecord::due).map_or(told, when);
            look = look.into_iter().chain([last]).min();
        }
        planned.sort_by_key(|(at, _)| *at);
        Outlook { planned, look }
    }

    fn occurrences(&self, record: &ScheduleRecord) -> Option<Arc<Occurrences>> {
        let known =
            self.cadences.lock().unwrap_or_else(PoisonError::into_inner).of(&record.schedule);
        let fault = match known {
            Ok(occurrences) => return Some(occurrences),
            Err(fault) => fault,
        };
        let id = &record.schedule.id;
        let mut told = self.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        if told.insert(id.clone(), record.revision) != Some(record.revision) {
            error!(schedule = %id, %fault,
                "a stored schedule cannot be read by this program and is not fired by it");
        }
        None
    }
}

/// What to fire of a schedule up to `by`, each with when; and when it is due after that.
fn plan_ahead(
    record: &ScheduleRecord,
    now: Timestamp,
    by: Timestamp,
    occurrences: &Occurrences,
) -> (Vec<(Timestamp, Firing)>, Option<Timestamp>) {
    if !record.is_active() {
        return (Vec::new(), None);
    }
    let remaining = Remaining::of(record, occurrences);
    let mut planned: Vec<_> =
        plan(record, now, occurrences).into_iter().map(|firing| (now, firing)).collect();
    let last = planned.iter().rev().find(|(_, firing)| firing.of == FiringOf::Next);
    let mut next = last.map_or(record.next, |(_, last)| last.next);
    while let Some(at) = next {
        let due = record.schedule.due(at);
        if due <= now || due > by || planned.len() >= IN_A_ROW {
            return (planned, Some(due));
        }
        let firing = as_it_is(record, at, now, &remaining);
        next = firing.next;
        planned.push((due, firing));
    }
    (planned, None)
}

/// The firing of an occurrence as it is: for as long as it is noticed in time, or, where it has been
/// decided that it makes a job though it was not, at any.
fn as_it_is(
    record: &ScheduleRecord,
    at: Timestamp,
    now: Timestamp,
    occurrences: &Remaining<'_>,
) -> Firing {
    let mut firing = Firing::new(record, at, occurrences.after(at));
    firing.until = Some(record.schedule.due(at) + MISFIRE_AFTER).filter(|until| *until >= now);
    firing
}

/// What to fire at `now`, of a schedule that is due: one firing after the other, of which each finds
/// the schedule as the one before it leaves it.
///
/// What is queued goes first. An occurrence noticed in time fires as it is. One noticed late is taken
/// together with all that are due: by the policy, the latest of them makes one job for all, or the
/// latest make one each, or none does; the others are counted as missed, and so are those that the
/// policy's window no longer reaches.
pub(crate) fn plan(
    record: &ScheduleRecord,
    now: Timestamp,
    occurrences: &Occurrences,
) -> Vec<Firing> {
    if !record.is_active() {
        return Vec::new();
    }
    let due = |at: Timestamp| record.schedule.due(at);
    let remaining = Remaining::of(record, occurrences);
    let queued = record.queued.map(|queued| Firing::of_queued(record, queued));
    let plain = |at| as_it_is(record, at, now, &remaining);
    let noticed = |at| {
        let late = now.since(due(at)) > MISFIRE_AFTER;
        if late { make_up(record, at, now, &remaining) } else { plain(at) }
    };
    let first = record.next.filter(|&at| due(at) <= now).map(noticed);
    // Of what comes now, nothing is beyond a policy's bound: what was has been left out. Only after
    // a rewinding there may be another stretch.
    let next = |before: &Firing| {
        let next = before.next.filter(|&next| due(next) <= now)?;
        Some(if remaining.is_beyond(next) { noticed(next) } else { plain(next) })
    };
    queued.into_iter().chain(iter::successors(first, next).take(IN_A_ROW)).collect()
}

/// The firing of an occurrence that was noticed late.
fn make_up(
    record: &ScheduleRecord,
    at: Timestamp,
    now: Timestamp,
    occurrences: &Remaining<'_>,
) -> Firing {
    let schedule = &record.schedule;
    let most = if schedule.misfire == Misfire::All { MISFIRE_ALL_BOUND } else { 1 };
    let (mut run, mut before) = occurrences.latest(at, now, most);
    // Of an occurrence whose time has come, the jitter may not have passed.
    if schedule.due(run) > now && run > at {
        let earlier = run - Duration::from_millis(1);
        (run, before) = occurrences.latest(at, earlier, most);
    }
    let is_late = |run: Timestamp| now.since(schedule.due(run)) > MISFIRE_AFTER;
    let is_too_late = |run: Timestamp| match schedule.misfire {
        Misfire::Once | Misfire::All => {
            schedule.misfire_within.is_some_and(|window| now.since(schedule.due(run)) > window)
        }
        _ => true,
    };
    // Those that the window no longer reaches are missed too.
    while is_late(run) && is_too_late(run) {
        match occurrences.after(run).filter(|&next| schedule.due(next) <= now) {
            Some(next) => (run, before) = (next, before + 1),
            None => break,
        }
    }
    let mut firing = Firing::new(record, at, occurrences.after(run));
    firing.run = (!is_late(run) || !is_too_late(run)).then_some(run);
    firing.missed = before + u64::from(firing.run.is_none());
    firing
}

/// Tells of a firing; answers whether it was as it was read. By the store's clock it may not be due
/// yet, or somebody else was quicker.
fn tell(firing: &Firing, fired: Fired) -> bool {
    let (schedule, occurrence) = (&firing.schedule, firing.occurrence);
    let moved_on = !matches!(fired, Fired::Early | Fired::Stale);
    if firing.missed > 0 && moved_on {
        warn!(%schedule, %occurrence, missed = firing.missed, "occurrences were noticed too late");
    }
    match fired {
        Fired::Job(job) => info!(%schedule, %occurrence, job.id = %job, "schedule fired"),
        Fired::Queued => {
            info!(%schedule, %occurrence, "queued: the previous run is not settled");
        }
        Fired::Overlapped => {
            info!(%schedule, %occurrence, "skipped: the previous run is not settled");
        }
        _ => debug!(%schedule, %occurrence, ?fired, "not fired"),
    }
    match fired {
        // Its turn comes with the end of the run before it, which wakes this loop.
        Fired::Early => firing.of == FiringOf::Queued,
        _ => fired != Fired::Stale,
    }
}

#[cfg(test)]
mod tests {
    use shiftwork_adapter::{JobName, JobTemplate, Payload, Schedule, Timing};

    use super::*;

    const PERIOD: u64 = 10;

    fn at(second: u64) -> Timestamp {
        Timestamp::EPOCH + Duration::from_secs(second)
    }

    /// What is fired at `now`, in seconds, of a schedule of every ten that is at `next`.
    fn planned(misfire: Misfire, next: u64, now: u64) -> Vec<Firing> {
        planned_every(PERIOD, misfire, next, now)
    }

    fn planned_every(period: u64, misfire: Misfire, next: u64, now: u64) -> Vec<Firing> {
        let timing = Timing::Every { period_ms: period * 1000 };
        let occurrences = Occurrences::parse(&timing).unwrap();
        let template = JobTemplate::new(JobName::new("job").unwrap(), Payload::none());
        let (id, queue) = (ScheduleId::new("id").unwrap(), QueueName::new("queue").unwrap());
        let mut schedule = Schedule::new(id, queue, timing, template);
        schedule.misfire = misfire;
        let record = ScheduleRecord::new(schedule, 7, Some(at(next)));
        let plan = plan(&record, at(now), &occurrences);
        let follow = plan.windows(2).all(|pair| pair[0].next == Some(pair[1].occurrence));
        assert!(follow, "each finds what the one before leaves: {plan:?}");
        assert!(plan.iter().all(|firing| firing.revision == 7));
        assert_eq!(plan[0].occurrence, at(next));
        plan
    }

    fn runs(plan: &[Firing]) -> Vec<Option<Timestamp>> {
        plan.iter().map(|firing| firing.run).collect()
    }

    #[test]
    fn occurrences_noticed_in_time_fire_one_after_the_other_under_every_policy() {
        for misfire in [Misfire::Skip, Misfire::Once, Misfire::All] {
            let plan = planned(misfire, 100, 160);
            let expected: Vec<_> = (100..=160).step_by(10).map(|second| Some(at(second))).collect();
            assert_eq!(runs(&plan), expected);
            assert!(plan.iter().all(|firing| firing.missed == 0));
            assert_eq!(plan.last().unwrap().next, Some(at(170)));
        }
    }

    #[test]
    fn of_occurrences_noticed_late_the_latest_makes_a_job_for_all() {
        let plan = planned(Misfire::Once, 100, 505);
        assert_eq!(runs(&plan), [Some(at(500))]);
        assert_eq!((plan[0].missed, plan[0].next), (40, Some(at(510))));
    }

    #[test]
    fn occurrences_noticed_late_are_skipped_but_for_a_latest_that_is_in_time() {
        let plan = planned(Misfire::Skip, 100, 505);
        assert_eq!((runs(&plan), plan[0].missed), (vec![Some(at(500))], 40));
        let plan = planned_every(100, Misfire::Skip, 100, 390);
        assert_eq!((runs(&plan), plan[0].missed), (vec![None], 3));
        assert_eq!(plan[0].next, Some(at(400)));
    }

    #[test]
    fn under_all_each_occurrence_noticed_late_makes_a_job_of_its_own() {
        let plan = planned(Misfire::All, 100, 505);
        let expected: Vec<_> = (100..=500).step_by(10).map(|second| Some(at(second))).collect();
        assert_eq!(runs(&plan), expected);
        assert!(plan.iter().all(|firing| firing.missed == 0));
    }

    #[test]
    fn under_all_those_before_the_latest_thousand_are_missed() {
        // 1500 are due; the first that makes a job is number 501.
        let now = 100 + 1499 * PERIOD;
        let plan = planned(Misfire::All, 100, now);
        assert_eq!(plan.len(), IN_A_ROW);
        let first = at(100 + 500 * PERIOD);
        assert_eq!((plan[0].run, plan[0].missed), (Some(first), 500));
        assert!(plan[1..].iter().all(|firing| firing.missed == 0));
        assert_eq!(plan[1].run, Some(first + Duration::from_secs(PERIOD)));

        // Tick by tick, a thousand jobs in all, and then nothing is due.
        let (mut made, mut missed, mut next) = (0, 0, 100);
        while next <= now {
            let plan = planned(Misfire::All, next, now);
            made += plan.iter().filter(|firing| firing.run.is_some()).count();
            missed += plan.iter().map(|firing| firing.missed).sum::<u64>();
            next = plan.last().unwrap().next.unwrap().since(Timestamp::EPOCH).as_secs();
        }
        assert_eq!((made, missed), (MISFIRE_ALL_BOUND, 500));
    }

    /// A schedule of every ten seconds that is at `next`, changed.
    fn record(next: u64, change: impl FnOnce(&mut Schedule)) -> ScheduleRecord {
        let timing = Timing::Every { period_ms: PERIOD * 1000 };
        let template = JobTemplate::new(JobName::new("job").unwrap(), Payload::none());
        let (id, queue) = (ScheduleId::new("id").unwrap(), QueueName::new("queue").unwrap());
        let mut schedule = Schedule::new(id, queue, timing, template);
        change(&mut schedule);
        ScheduleRecord::new(schedule, 7, Some(at(next)))
    }

    fn planned_of(record: &ScheduleRecord, now: u64) -> Vec<Firing> {
        plan(record, at(now), &Occurrences::of(&record.schedule).unwrap())
    }

    #[test]
    fn what_the_window_of_a_policy_no_longer_reaches_is_missed() {
        let within = |misfire, seconds| {
            record(100, |schedule| {
                schedule.misfire = misfire;
                schedule.misfire_within = Some(Duration::from_secs(seconds));
            })
        };
        // Of 100 to 500, those from 385 on are in time to be made up for.
        let plan = planned_of(&within(Misfire::All, 120), 505);
        let expected: Vec<_> = (390..=500).step_by(10).map(|second| Some(at(second))).collect();
        assert_eq!((runs(&plan), plan[0].missed), (expected, 29));
        // Those that are no misfires at all make a job in any case.
        let plan = planned_of(&within(Misfire::All, 0), 505);
        let expected: Vec<_> = (450..=500).step_by(10).map(|second| Some(at(second))).collect();
        assert_eq!((runs(&plan), plan[0].missed), (expected, 35));
        let rare = |seconds| {
            let mut record = within(Misfire::Once, seconds);
            Arc::make_mut(&mut record.schedule).timing = Timing::Every { period_ms: 1_000_000 };
            record.next = Some(at(1000));
            record
        };
        assert_eq!(runs(&planned_of(&rare(900), 1900)), [Some(at(1000))]);
        let plan = planned_of(&rare(900), 1901);
        assert_eq!((runs(&plan), plan[0].missed, plan[0].next), (vec![None], 1, Some(at(2000))));
    }

    #[test]
    fn an_occurrence_whose_jitter_has_not_passed_is_not_fired() {
        let record = record(100, |schedule| schedule.jitter = Some(Duration::from_millis(9_900)));
        let due = |second| record.schedule.due(at(second));
        for now in 100..400 {
            let plan = planned_of(&record, now);
            let expected = (100..=now).step_by(10).filter(|&second| due(second) <= at(now)).count();
            let counted: u64 = plan.iter().map(|f| f.missed + u64::from(f.run.is_some())).sum();
            assert_eq!(counted, expected as u64, "at {now}: {plan:?}");
            assert!(
                plan.iter().filter_map(|f| f.run).all(|run| record.schedule.due(run) <= at(now))
            );
            let next = plan.last().map_or(Some(at(100)), |last| last.next).unwrap();
            assert!(record.schedule.due(next) > at(now), "at {now}: {plan:?}");
        }
    }

    #[test]
    fn what_is_queued_goes_first_also_where_nothing_else_is_due() {
        let mut record = record(100, |_| {});
        record.queued = Some(at(90));
        let plan = planned_of(&record, 95);
        assert_eq!((plan.len(), plan[0].of, plan[0].occurrence), (1, FiringOf::Queued, at(90)));
        let plan = planned_of(&record, 101);
        assert_eq!((plan.len(), plan[0].of, plan[1].occurrence), (2, FiringOf::Queued, at(100)));
    }

    #[test]
    fn what_is_not_active_is_not_fired() {
        let off = record(100, |schedule| schedule.enabled = false);
        assert_eq!(planned_of(&off, 101), []);
        let mut paused = record(100, |_| {});
        paused.paused = true;
        assert_eq!(planned_of(&paused, 101), []);
    }

    #[test]
    fn the_last_occurrence_before_an_end_leaves_none() {
        let record = record(100, |schedule| schedule.ends = Some(at(115)));
        let plan = planned_of(&record, 5000);
        assert_eq!((runs(&plan), plan[0].missed, plan[0].next), (vec![Some(at(110))], 1, None));
    }
}
