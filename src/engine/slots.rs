//! Who may run next: a process's free slots go round its queues by weight.
//!
//! A slot is the right to run one job. A queue that believes it has work *wants* slots; free ones
//! are dealt to the wanting queues, by the [handful](HANDFUL), and each handful to the one that was
//! served least for its weight (stride scheduling). So a queue with a backlog uses the whole process
//! while it is alone, and once another queue wants slots, the next that are freed go to that other.
//!
//! 1. [`Seat::take`]: slots dealt to this queue, a [share](SHARED_FROM) of them where they are many;
//!    it wants more.
//! 2. It claims at most so many jobs, and returns with [`Seat::give_back`] those it had no job
//!    for, and each when its job has ended; and all of them while the store does not answer, so
//!    that one queue whose store is away holds up no other.
//! 3. [`Seat::rest`]: it found no more work and wants none until it asks again.
//!
//! A job that is one crash short of the limit runs alone in its process: a queue that has one
//! [asks](Seat::take_solo) for all slots at once, and nothing is dealt until it has them.
//!
//! An answer that comes after all may bring jobs for slots that others have by now. These are
//! [taken all the same](Seat::take_anyway): for the moment more jobs run than there are slots, and
//! none is dealt until fewer do.
//!
//! **Always:** dealt and free slots together are as many as there are, where slots that are taken
//! beyond that count as free ones less than none; no queue is dealt more than its own limit; while
//! one has the process for itself, none of the others takes any.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// A queue that is dealt as many takes no more than half of them at once, so that one half runs
/// while the store settles and claims the other. Of fewer it takes all: in a small batch, what the
/// round trip itself costs outweighs what is gained by halves.
pub(crate) const SHARED_FROM: usize = 200;

/// The slots of a process.
#[derive(Debug)]
pub(crate) struct Slots {
    inner: Mutex<Inner>,
    seats: Vec<Notify>,
}

#[derive(Debug)]
struct Inner {
    total: isize,
    /// Less than none: so many run beyond what there is.
    free: isize,
    queues: Vec<Queue>,
    /// Which queues wish for the process for themselves, in turn.
    solo: VecDeque<usize>,
    /// The first of them has it.
    solo_granted: bool,
    /// The pass at which a queue was served last: where a queue that comes back starts, so that it
    /// goes ahead of one that has just been served, and does not catch up on what it did not want.
    clock: u64,
    /// Who was dealt a slot last.
    served: usize,
}

#[derive(Debug)]
struct Queue {
    weight: u64,
    limit: usize,
    /// Dealt: taken or to be taken.
    dealt: usize,
    /// Dealt and not yet taken.
    offered: usize,
    wants: bool,
    pass: u64,
}

/// So many slots that are freed one right after the other go to one queue, or a quarter of all, if
/// that is less: it claims for all of them at once, where it would claim one job and the next queue
/// another. Nobody waits for a handful to be full.
const HANDFUL: usize = 16;

/// How far one slot moves the pass of a queue of weight 1.
const STRIDE: u64 = 1 << 20;

impl Slots {
    /// `total` slots for queues of these weights (at least 1) and limits.
    pub(crate) fn new(total: usize, queues: impl IntoIterator<Item = (u32, usize)>) -> Arc<Self> {
        let queues: Vec<_> = queues
            .into_iter()
            .map(|(weight, limit)| Queue {
                weight: u64::from(weight.max(1)),
                limit,
                dealt: 0,
                offered: 0,
                wants: false,
                pass: 0,
            })
            .collect();
        Arc::new(Self {
            seats: queues.iter().map(|_| Notify::new()).collect(),
            inner: Mutex::new(Inner {
                total: signed(total),
                free: signed(total),
                queues,
                solo: VecDeque::new(),
                solo_granted: false,
                clock: 0,
                served: 0,
            }),
        })
    }

    /// The seat of the queue that was named at this position.
    pub(crate) fn seat(self: &Arc<Self>, index: usize) -> Seat {
        Seat { slots: self.clone(), index }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing under this lock can panic between two changes.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One queue's place at the [`Slots`].
#[derive(Debug, Clone)]
pub(crate) struct Seat {
    slots: Arc<Slots>,
    index: usize,
}

impl Seat {
    /// Takes slots that this queue may use now, and wants more.
    pub(crate) fn take(&self) -> usize {
        let mut inner = self.slots.lock();
        inner.want(self.index);
        inner.deal(&self.slots.seats);
        inner.queues[self.index].take()
    }

    /// Takes slots that [`take`](Self::take) has left, and wants no more than that.
    pub(crate) fn take_left(&self) -> usize {
        self.slots.lock().queues[self.index].take()
    }

    /// How many slots [`take`](Self::take) has left.
    pub(crate) fn left(&self) -> usize {
        self.slots.lock().queues[self.index].offered
    }

    /// Waits until [`take`](Self::take) or [`take_solo`](Self::take_solo) may find more. May
    /// return early.
    pub(crate) async fn dealt(&self) {
        self.slots.seats[self.index].notified().await;
    }

    /// Takes slots that were returned and are needed after all, whether there are any or not.
    /// Answers whether it did: not where another worker has the process for itself. `alone`: this one
    /// has.
    pub(crate) fn take_anyway(&self, count: usize, alone: bool) -> bool {
        let mut inner = self.slots.lock();
        if inner.solo_granted && !alone {
            return false;
        }
        inner.free -= signed(count);
        let queue = &mut inner.queues[self.index];
        queue.dealt += count;
        // It was served, as others are.
        queue.pass =
            queue.pass.saturating_add((STRIDE / queue.weight).saturating_mul(count as u64));
        true
    }

    /// Returns slots that were taken.
    pub(crate) fn give_back(&self, count: usize) {
        if count == 0 {
            return;
        }
        let mut inner = self.slots.lock();
        inner.release(self.index, count);
        inner.deal(&self.slots.seats);
    }

    /// Wants no more until it [takes](Self::take) again.
    pub(crate) fn rest(&self) {
        let mut inner = self.slots.lock();
        let queue = &mut inner.queues[self.index];
        queue.wants = false;
        let offered = std::mem::take(&mut queue.offered);
        inner.release(self.index, offered);
        inner.deal(&self.slots.seats);
    }

    /// Asks for the whole process, and whether it has it now: in turn, and as soon as every slot is
    /// back. Until [`end_solo`](Self::end_solo), nothing is dealt to anyone. One slot counts as
    /// taken then.
    pub(crate) fn take_solo(&self) -> bool {
        let mut inner = self.slots.lock();
        if !inner.solo.contains(&self.index) {
            inner.solo.push_back(self.index);
        }
        inner.withdraw_offers(self.index);
        let in_turn = inner.solo.front() == Some(&self.index) && !inner.solo_granted;
        if !in_turn || inner.free < inner.total {
            return false;
        }
        inner.solo_granted = true;
        inner.free -= 1;
        inner.queues[self.index].dealt += 1;
        true
    }

    /// Has the whole process no longer, or wishes for it no longer. The slot is returned apart. The
    /// others have their turn before the next who wishes to be alone.
    pub(crate) fn end_solo(&self) {
        let mut inner = self.slots.lock();
        let Some(place) = inner.solo.iter().position(|index| *index == self.index) else { return };
        inner.solo.remove(place);
        if place == 0 {
            inner.solo_granted = false;
        }
        if !inner.solo_granted {
            inner.deal_all(&self.slots.seats);
            // Who wishes for it may be the next.
            inner.solo.iter().for_each(|index| self.slots.seats[*index].notify_one());
        }
    }
}

impl Inner {
    fn want(&mut self, index: usize) {
        let clock = self.clock;
        let queue = &mut self.queues[index];
        if !queue.wants {
            queue.wants = true;
            queue.pass = queue.pass.max(clock);
        }
    }

    fn release(&mut self, index: usize, count: usize) {
        let queue = &mut self.queues[index];
        queue.dealt -= count.min(queue.dealt);
        self.free = (self.free + signed(count)).min(self.total);
    }

    fn deal(&mut self, seats: &[Notify]) {
        match self.solo.front() {
            None => self.deal_all(seats),
            Some(index) if self.free == self.total => seats[*index].notify_one(),
            Some(_) => {}
        }
    }

    fn deal_all(&mut self, seats: &[Notify]) {
        while self.free > 0 {
            let Some(index) = self.next() else { return };
            let queue = &mut self.queues[index];
            queue.dealt += 1;
            queue.offered += 1;
            self.clock = self.clock.max(queue.pass);
            queue.pass += STRIDE / queue.weight;
            self.free -= 1;
            if queue.offered == 1 {
                seats[index].notify_one();
            }
            self.served = index;
        }
    }

    /// Whose turn it is: that of the one that was served last, until it has a handful or has taken
    /// what it has; then that of the one that was served least.
    fn next(&self) -> Option<usize> {
        let handful = (signed(HANDFUL).min(self.total / 4)).max(1).unsigned_abs();
        if let Some(last) = self.queues.get(self.served)
            && (1..handful).contains(&last.offered)
            && last.may_have()
        {
            return Some(self.served);
        }
        let wanting = self.queues.iter().enumerate().filter(|(_, queue)| queue.may_have());
        wanting.min_by_key(|(_, queue)| queue.pass).map(|(index, _)| index)
    }

    fn withdraw_offers(&mut self, index: usize) {
        self.queues[index].wants = false;
        let offered = std::mem::take(&mut self.queues[index].offered);
        self.release(index, offered);
    }
}

/// As many as that, to be counted with.
fn signed(count: usize) -> isize {
    isize::try_from(count).unwrap_or(isize::MAX)
}

impl Queue {
    fn may_have(&self) -> bool {
        self.wants && self.dealt < self.limit
    }

    fn take(&mut self) -> usize {
        let most = if self.dealt < SHARED_FROM { self.dealt } else { self.dealt.div_ceil(2) };
        let taken = self.offered.min(most);
        self.offered -= taken;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_is_alone_has_all_slots() {
        let slots = Slots::new(16, [(1, 100), (1, 100)]);
        assert_eq!(slots.seat(0).take(), 16);
    }

    #[test]
    fn the_next_free_slot_goes_to_the_queue_that_has_none() {
        let slots = Slots::new(16, [(1, 100), (1, 100)]);
        let (busy, late) = (slots.seat(0), slots.seat(1));
        assert_eq!(busy.take(), 16);
        assert_eq!(busy.take(), 0);
        assert_eq!(late.take(), 0);
        busy.give_back(1);
        assert_eq!(busy.take(), 0);
        assert_eq!(late.take(), 1);
    }

    #[test]
    fn slots_that_are_freed_together_are_dealt_by_the_handful() {
        let slots = Slots::new(100, [(1, 100), (1, 100), (1, 100)]);
        let [busy, a, b] = [0, 1, 2].map(|index| slots.seat(index));
        assert_eq!(busy.take(), 100);
        assert_eq!((a.take(), b.take()), (0, 0));
        (0..40).for_each(|_| busy.give_back(1));
        assert_eq!([a.take(), b.take()], [HANDFUL; 2]);
        assert_eq!(a.take() + b.take() + busy.take(), 40 - 2 * HANDFUL);
        // Few slots are dealt one at a time: a handful would be all there is.
        let slots = Slots::new(4, [(1, 100), (1, 100), (1, 100)]);
        let [busy, a, b] = [0, 1, 2].map(|index| slots.seat(index));
        assert_eq!(busy.take(), 4);
        assert_eq!((a.take(), b.take()), (0, 0));
        (0..2).for_each(|_| busy.give_back(1));
        assert_eq!((a.take(), b.take()), (1, 1));
    }

    #[test]
    fn contended_slots_are_shared_by_weight() {
        let slots = Slots::new(1, [(3, 100), (1, 100)]);
        let seats = [slots.seat(0), slots.seat(1)];
        let mut served = [0; 2];
        seats.iter().for_each(|seat| {
            let taken = seat.take();
            seat.give_back(taken);
        });
        for _ in 0..400 {
            for (seat, served) in seats.iter().zip(&mut served) {
                let taken = seat.take();
                *served += taken;
                seat.give_back(taken);
            }
        }
        assert!((2.5..3.5).contains(&(f64::from(served[0] as u32) / f64::from(served[1] as u32))));
    }

    #[test]
    fn a_queue_does_not_catch_up_on_what_it_did_not_want() {
        let slots = Slots::new(1, [(1, 100), (1, 100)]);
        let (busy, late) = (slots.seat(0), slots.seat(1));
        for _ in 0..1000 {
            let taken = busy.take();
            busy.give_back(taken);
        }
        let mut late_in_a_row = 0;
        while late.take() == 1 {
            late.give_back(1);
            late_in_a_row += 1;
            assert!(late_in_a_row < 3, "the late queue has taken over");
        }
    }

    #[test]
    fn no_queue_has_more_than_its_limit() {
        let slots = Slots::new(16, [(1, 2), (1, 100)]);
        assert_eq!(slots.seat(0).take(), 2);
        assert_eq!(slots.seat(1).take(), 14);
    }

    #[test]
    fn a_resting_queue_leaves_its_offers_to_others() {
        let slots = Slots::new(4, [(1, 100), (1, 100)]);
        let (a, b) = (slots.seat(0), slots.seat(1));
        assert_eq!(a.take(), 4);
        assert_eq!(b.take(), 0);
        a.give_back(4);
        b.rest();
        assert_eq!(a.take(), 4);
    }

    #[test]
    fn many_slots_are_taken_by_halves_and_the_second_half_by_whoever_comes() {
        let slots = Slots::new(500, [(1, 1000), (1, 1000)]);
        let (queue, other) = (slots.seat(0), slots.seat(1));
        assert_eq!((queue.take(), queue.left()), (250, 250));
        assert_eq!((queue.take_left(), queue.left()), (250, 0));
        queue.give_back(250);
        assert_eq!(queue.take_left(), 250, "still wanted");
        queue.give_back(250);
        queue.rest();
        assert_eq!((queue.left(), queue.take_left()), (0, 0), "no longer wanted");
        assert_eq!((other.take(), other.left()), (125, 125));
    }

    #[test]
    fn a_solo_job_waits_for_all_slots_and_keeps_them() {
        let slots = Slots::new(4, [(1, 100), (1, 100)]);
        let (a, b) = (slots.seat(0), slots.seat(1));
        assert_eq!(b.take(), 4);
        assert!(!a.take_solo());
        b.give_back(3);
        assert_eq!(b.take(), 0);
        assert!(!a.take_solo());
        b.give_back(1);
        assert!(a.take_solo());
        assert!(!a.take_solo());
        assert!(!b.take_solo());
        assert_eq!(b.take(), 0);
        a.give_back(1);
        a.end_solo();
        assert_eq!(b.take(), 4);
    }

    #[test]
    fn those_who_wish_to_be_alone_have_their_turns_and_the_others_theirs_between() {
        let slots = Slots::new(2, [(1, 100), (1, 100), (1, 100)]);
        let [a, b, c] = [0, 1, 2].map(|index| slots.seat(index));
        assert!(a.take_solo());
        assert!(!b.take_solo());
        assert_eq!(c.take(), 0);
        a.give_back(1);
        a.end_solo();
        // The third has waited for slots, and the second comes before the first has it again.
        assert!(!a.take_solo());
        assert!(!b.take_solo());
        assert_eq!(c.take(), 2);
        c.give_back(2);
        assert!(!a.take_solo());
        assert!(b.take_solo());
    }

    #[test]
    fn what_is_taken_beyond_what_there_is_is_worked_off_before_any_is_dealt() {
        let slots = Slots::new(2, [(1, 100), (1, 100)]);
        let (late, other) = (slots.seat(0), slots.seat(1));
        assert_eq!(late.take(), 2);
        // Its store does not answer.
        late.give_back(2);
        late.rest();
        assert_eq!(other.take(), 2);
        // And then it does.
        assert!(late.take_anyway(2, false));
        assert_eq!((late.take(), other.take()), (0, 0));
        late.give_back(1);
        other.give_back(1);
        assert_eq!((late.take(), other.take()), (0, 0), "two still run");
        late.give_back(1);
        other.give_back(1);
        assert_eq!(late.take() + other.take(), 2);
    }

    #[test]
    fn what_is_taken_anyway_counts_against_the_queues_limit_and_its_turn() {
        let slots = Slots::new(8, [(1, 2), (1, 100)]);
        let (narrow, wide) = (slots.seat(0), slots.seat(1));
        assert!(narrow.take_anyway(3, false));
        assert_eq!(narrow.take(), 0);
        narrow.give_back(2);
        assert_eq!(narrow.take(), 1);
        assert_eq!(wide.take(), 6);
    }

    #[test]
    fn nothing_is_taken_anyway_while_another_has_the_process_for_itself() {
        let slots = Slots::new(4, [(1, 100), (1, 100)]);
        let (alone, late) = (slots.seat(0), slots.seat(1));
        assert!(alone.take_solo());
        assert!(!late.take_anyway(1, false));
        assert!(!alone.take_anyway(1, false), "its queue's other worker is another");
        assert!(alone.take_anyway(1, true), "its own do not disturb it");
        alone.give_back(2);
        alone.end_solo();
        assert!(late.take_anyway(1, false));
        // And whoever wishes to be alone waits for it.
        assert!(!alone.take_solo());
        late.give_back(1);
        assert!(alone.take_solo());
    }

    #[test]
    fn a_wish_to_be_alone_that_is_withdrawn_holds_nobody_up() {
        let slots = Slots::new(2, [(1, 100), (1, 100)]);
        let (a, b) = (slots.seat(0), slots.seat(1));
        assert_eq!(b.take(), 2);
        assert!(!a.take_solo());
        b.give_back(1);
        assert_eq!(b.take(), 0);
        a.end_solo();
        assert_eq!(b.take(), 1);
    }
}
