//! Incarnations: who speaks, which turn it is, what they hold and until when.
//!
//! ```text
//!            exchange 1                     lease passed        grace passed
//!  unknown ─────────────▶ alive ──────────────────▶ suspected ─────────────▶ lapsed
//!                           ▲ exchange, heartbeat       │                       │
//!                           └───────────────────────────┘      jobs taken back, │
//!  unknown ◀────────────────────────────────────────────── then, an hour later ─┘
//! ```
//!
//! An incarnation that holds nothing has no lease and cannot lapse. It is remembered for an hour,
//! so that whatever it sent and was delayed on its way is known for what it is.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use shiftwork_adapter::{ExchangeAnswer, Incarnation, JobId, StoreSettings, Ticket, Timestamp};

/// How long an incarnation that holds nothing is remembered: far longer than any message is late.
const REMEMBERED: Duration = Duration::from_secs(60 * 60);

/// The incarnations that speak to a queue.
pub(crate) struct Incarnations {
    lives: HashMap<Incarnation, Life>,
    lease: Duration,
    grace: Duration,
    /// No lease ends before this. Renewals leave it behind; the sweep catches up.
    soonest: Option<Timestamp>,
}

/// What the store knows of one incarnation.
pub(crate) struct Life {
    /// The last exchange that was applied.
    number: u64,
    /// What it was answered, but for the jobs claimed.
    answer: ExchangeAnswer,
    /// The jobs it claimed. All of them are still held when the exchange is sent again, since
    /// nothing but a later exchange settles them.
    claimed: Vec<JobId>,
    pub(crate) held: BTreeMap<JobId, Hold>,
    /// The held jobs that somebody asked to cancel.
    pub(crate) cancelled: BTreeSet<JobId>,
    lease_end: Timestamp,
    suspect_until: Option<Timestamp>,
    pub(crate) lapsed: bool,
    heard_at: Timestamp,
}

/// One job in an incarnation's hands.
#[derive(Clone, Copy)]
pub(crate) struct Hold {
    /// Under which it was claimed.
    pub(crate) generation: u64,
    /// It was claimed to run alone.
    pub(crate) solo: bool,
}

/// What is to be done with an exchange, going by its number.
pub(crate) enum Turn<'a> {
    /// To be applied; `lost_writes` where numbers between are missing.
    Apply { life: &'a mut Life, lost_writes: bool },
    /// Was applied; to be answered as before.
    Repeat(&'a mut Life),
    /// Was answered long ago.
    Refuse,
    /// The incarnation is no more.
    Expired,
}

impl Incarnations {
    pub(crate) fn new(settings: &StoreSettings) -> Self {
        Self { lives: HashMap::new(), lease: settings.lease, grace: settings.grace, soonest: None }
    }

    /// Whose turn it is.
    pub(crate) fn turn(&mut self, who: Incarnation, number: u64, now: Timestamp) -> Turn<'_> {
        let life = match self.lives.entry(who) {
            Entry::Vacant(vacant) if number == 1 => {
                let life = vacant.insert(Life::new(now));
                return Turn::Apply { life, lost_writes: false };
            }
            Entry::Vacant(_) => return Turn::Expired,
            Entry::Occupied(known) => known.into_mut(),
        };
        if life.lapsed {
            Turn::Expired
        } else if number < life.number {
            Turn::Refuse
        } else if number == life.number {
            Turn::Repeat(life)
        } else {
            let lost_writes = number - life.number > 1;
            Turn::Apply { life, lost_writes }
        }
    }

    /// Takes a sign of life: the lease is good for its whole length from `now`.
    pub(crate) fn renew(&mut self, who: Incarnation, now: Timestamp) {
        // Who has lapsed comes too late: its jobs are being taken back.
        let Some(life) = self.lives.get_mut(&who).filter(|life| !life.lapsed) else { return };
        life.heard_at = now;
        life.suspect_until = None;
        if !life.held.is_empty() {
            life.lease_end = now + self.lease;
            self.soonest = Some(self.soonest.map_or(life.lease_end, |at| at.min(life.lease_end)));
        }
    }

    /// An incarnation that is not lapsed.
    pub(crate) fn alive(&self, who: Incarnation) -> Option<&Life> {
        self.lives.get(&who).filter(|life| !life.lapsed)
    }

    /// Asks whoever holds `job` to cancel it. Its cost grows with workers, not with jobs.
    pub(crate) fn request_cancel(&mut self, job: JobId) {
        if let Some(life) = self.lives.values_mut().find(|life| life.held.contains_key(&job)) {
            life.cancelled.insert(job);
        }
    }

    /// Suspects those whose lease has passed, marks as lapsed those suspected for longer than the
    /// grace, and forgets those that were not heard for long.
    pub(crate) fn look_after(&mut self, now: Timestamp) {
        let Self { lives, lease, grace, .. } = self;
        lives.retain(|_, life| !life.held.is_empty() || now.since(life.heard_at) < REMEMBERED);
        for life in lives.values_mut().filter(|life| !life.held.is_empty() && !life.lapsed) {
            life.look_after(now, *lease, *grace);
        }
    }

    /// Catches up with renewals and recoveries.
    pub(crate) fn recount_deadline(&mut self) {
        self.soonest = self.lives.values().filter_map(Life::deadline).min();
    }

    /// Those that lapsed and whose jobs are not all taken back.
    pub(crate) fn lapsed(&mut self) -> impl Iterator<Item = &mut Life> {
        self.lives.values_mut().filter(|life| life.lapsed && !life.held.is_empty())
    }

    /// When [`look_after`](Self::look_after) is needed, at the earliest.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.soonest
    }
}

impl Life {
    fn new(now: Timestamp) -> Self {
        Self {
            number: 0,
            answer: ExchangeAnswer::new(now, Ticket(0)),
            claimed: Vec::new(),
            held: BTreeMap::new(),
            cancelled: BTreeSet::new(),
            lease_end: now,
            suspect_until: None,
            lapsed: false,
            heard_at: now,
        }
    }

    /// Remembers a turn that was applied.
    pub(crate) fn remember(&mut self, number: u64, answer: &ExchangeAnswer) {
        self.number = number;
        self.claimed.clear();
        self.claimed.extend(answer.claimed.iter().map(|claimed| claimed.spec.id));
        let mut without_claimed = ExchangeAnswer::new(answer.now, answer.ticket);
        without_claimed.refused.clone_from(&answer.refused);
        without_claimed.cancelled.clone_from(&answer.cancelled);
        without_claimed.reconcile = answer.reconcile;
        without_claimed.more = answer.more;
        without_claimed.solo_waiting = answer.solo_waiting;
        self.answer = without_claimed;
    }

    /// What the last turn was answered but for the jobs claimed, and those.
    pub(crate) fn last_answer(&self) -> (ExchangeAnswer, &[JobId]) {
        (self.answer.clone(), &self.claimed)
    }

    /// Lets go of `job`, if it is held under that generation.
    pub(crate) fn let_go(&mut self, job: JobId, generation: u64) -> bool {
        let is_held = match self.held.entry(job) {
            std::collections::btree_map::Entry::Occupied(hold)
                if hold.get().generation == generation =>
            {
                hold.remove();
                true
            }
            _ => false,
        };
        if is_held && !self.cancelled.is_empty() {
            self.cancelled.remove(&job);
        }
        is_held
    }

    fn look_after(&mut self, now: Timestamp, lease: Duration, grace: Duration) {
        // A clock that was set back would leave the jobs of a dead worker in its hands for hours.
        self.lease_end = self.lease_end.min(now + lease);
        if now < self.lease_end {
            return;
        }
        let suspect_until = self.suspect_until.map_or(now + grace, |at| at.min(now + grace));
        self.suspect_until = Some(suspect_until);
        self.lapsed = now >= suspect_until;
    }

    /// When something is due with it: the end of its lease, or of its grace.
    fn deadline(&self) -> Option<Timestamp> {
        (!self.held.is_empty()).then(|| self.suspect_until.unwrap_or(self.lease_end))
    }
}
