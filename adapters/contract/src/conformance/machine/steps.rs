//! What may happen to a store, made up at random.

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::BoxedStrategy;
use proptest_state_machine::ReferenceStateMachine;

use crate::{Overlap, Priority};

/// How many schedules there may be.
pub(super) const SCHEDULES: usize = 2;

/// What may happen. Which of several steps is possible does not depend on those before, so there
/// is no state to it: [`Index`]es are resolved when the step is made.
pub(super) struct Steps;

impl ReferenceStateMachine for Steps {
    type State = ();
    type Transition = Step;

    fn init_state() -> BoxedStrategy<()> {
        Just(()).boxed()
    }

    fn transitions((): &()) -> BoxedStrategy<Step> {
        any_step().boxed()
    }

    fn apply((): (), _: &Step) {}
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Enqueue(Vec<Wanted>),
    /// Some of what was ever enqueued, once more.
    EnqueueAgain(Index, usize),
    Exchange(Index, Turn),
    /// An exchange with a number long answered comes late.
    Late(Index),
    Beat(Index),
    /// A worker vanishes; another takes its place.
    Crash(Index),
    Pass(u32),
    /// Time passes and nobody sweeps before it has.
    Sleep(u32),
    JumpForward(u32),
    /// The clock is set back, and nobody sweeps at once.
    JumpBack(u32),
    Cancel(Index),
    Replay(Index),
    Discard(Index),
    Pause,
    Resume,
    Define(usize, Definition),
    CancelSchedule(usize),
    PauseSchedule(usize),
    ResumeSchedule(usize),
    /// Takes a schedule back, as it is now or as somebody saw it before, by so many milliseconds from
    /// the end of what it passed over.
    Rewind(Index, u64),
    /// Fires a schedule as it is now, or as somebody saw it before.
    Fire(Index, Run),
    /// A firing that was sent before, once more.
    FireAgain(Index),
    /// By hand; where it is said, beside whatever runs.
    Trigger(usize, bool),
    TriggerAgain(Index),
}

#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) priority: Priority,
    pub(super) delay: u32,
    pub(super) keep_result: Option<u32>,
}

#[derive(Clone, Debug)]
pub(super) struct Turn {
    pub(super) settle: Vec<(Index, Fate, Fence)>,
    pub(super) claim: usize,
    pub(super) solo: bool,
    pub(super) delivery: Delivery,
    /// Says that it holds so many more than it does.
    pub(super) overstate: usize,
    /// Skips a number.
    pub(super) gap: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    Complete,
    Retry(u32),
    Dead,
    Cancel,
    Release(u32),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fence {
    /// As it was claimed.
    Right,
    /// A claim that was settled or lost before, by whomever.
    Old,
    /// A job that another worker holds.
    Foreign,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Delivery {
    Answered,
    /// The answer is lost and the exchange sent again at once.
    Twice,
    /// The answer is lost, and the worker goes on only the next time.
    Lost,
}

#[derive(Clone, Debug)]
pub(super) struct Definition {
    pub(super) overlap: Overlap,
    pub(super) enabled: bool,
    pub(super) once: bool,
    pub(super) limit: Option<u64>,
    pub(super) payload: u8,
    /// In so many units; `None`: as it is.
    pub(super) next: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Run {
    InTime,
    Late,
    Missed,
    Queued,
}

fn any_step() -> impl Strategy<Value = Step> {
    let index = any::<Index>;
    prop_oneof![
        8 => prop::collection::vec(any_wanted(), 1..5).prop_map(Step::Enqueue),
        2 => (index(), 1..4_usize).prop_map(|(from, count)| Step::EnqueueAgain(from, count)),
        20 => (index(), any_turn()).prop_map(|(worker, turn)| Step::Exchange(worker, turn)),
        1 => index().prop_map(Step::Late),
        3 => index().prop_map(Step::Beat),
        3 => index().prop_map(Step::Crash),
        6 => (0..7_u32).prop_map(Step::Pass),
        1 => (1..12_u32).prop_map(Step::Sleep),
        1 => (1..12_u32).prop_map(Step::JumpForward),
        1 => (1..12_u32).prop_map(Step::JumpBack),
        3 => index().prop_map(Step::Cancel),
        3 => index().prop_map(Step::Replay),
        1 => index().prop_map(Step::Discard),
        1 => Just(Step::Pause),
        2 => Just(Step::Resume),
        2 => (0..SCHEDULES, any_definition()).prop_map(|(which, what)| Step::Define(which, what)),
        1 => (0..SCHEDULES).prop_map(Step::CancelSchedule),
        1 => (0..SCHEDULES).prop_map(Step::PauseSchedule),
        2 => (0..SCHEDULES).prop_map(Step::ResumeSchedule),
        2 => (index(), 0..4_u64).prop_map(|(view, by)| Step::Rewind(view, by)),
        6 => (index(), any_run()).prop_map(|(view, run)| Step::Fire(view, run)),
        1 => index().prop_map(Step::FireAgain),
        2 => (0..SCHEDULES, prop::bool::weighted(0.3)).prop_map(|(which, forced)| Step::Trigger(which, forced)),
        1 => index().prop_map(Step::TriggerAgain),
    ]
}

fn any_wanted() -> impl Strategy<Value = Wanted> {
    let priority =
        prop_oneof![Just(Priority::Normal), prop::sample::select(Priority::ALL.to_vec()),];
    let delay = prop_oneof![3 => Just(0), 2 => 1..6_u32];
    let keep_result = prop_oneof![4 => Just(None), 1 => (1..15_u32).prop_map(Some)];
    (priority, delay, keep_result).prop_map(|(priority, delay, keep_result)| Wanted {
        priority,
        delay,
        keep_result,
    })
}

fn any_turn() -> impl Strategy<Value = Turn> {
    let fate = prop_oneof![
        3 => Just(Fate::Complete),
        2 => (1..4_u32).prop_map(Fate::Retry),
        1 => Just(Fate::Dead),
        1 => Just(Fate::Cancel),
        2 => Just(Fate::Release(0)),
        1 => (1..4_u32).prop_map(Fate::Release),
    ];
    let fence =
        prop_oneof![6 => Just(Fence::Right), 1 => Just(Fence::Old), 1 => Just(Fence::Foreign)];
    let settle = prop::collection::vec((any::<Index>(), fate, fence), 0..5);
    let delivery = prop_oneof![
        4 => Just(Delivery::Answered),
        1 => Just(Delivery::Twice),
        1 => Just(Delivery::Lost),
    ];
    let rarely = || prop::bool::weighted(0.04);
    (settle, 0..5_usize, any::<bool>(), delivery, rarely(), rarely()).prop_map(
        |(settle, claim, solo, delivery, overstate, gap)| Turn {
            settle,
            claim,
            solo,
            delivery,
            overstate: usize::from(overstate),
            gap,
        },
    )
}

fn any_definition() -> impl Strategy<Value = Definition> {
    let overlap = prop_oneof![Just(Overlap::Skip), Just(Overlap::Allow), Just(Overlap::Queue)];
    let next = prop_oneof![3 => (0..6_u32).prop_map(Some), 1 => Just(None)];
    let limit = prop_oneof![3 => Just(None), 1 => (1..4_u64).prop_map(Some)];
    let rarely = || prop::bool::weighted(0.15);
    (overlap, rarely(), rarely(), limit, 0..2_u8, next).prop_map(
        |(overlap, disabled, once, limit, payload, next)| Definition {
            overlap,
            enabled: !disabled,
            once,
            limit,
            payload,
            next,
        },
    )
}

fn any_run() -> impl Strategy<Value = Run> {
    prop_oneof![
        4 => Just(Run::InTime),
        1 => Just(Run::Late),
        1 => Just(Run::Missed),
        2 => Just(Run::Queued),
    ]
}
