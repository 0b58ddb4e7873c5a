//! Runs cases: each as a test of its own through [`conformance!`](crate::conformance!), or all of
//! them through [`run_all`].

use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;
use tokio::time::timeout;

use super::{Factory, Kit, Time};

/// Makes a test of every case of the suite, and of the model-based test, for the
/// [`Factory`](crate::conformance::Factory) that the expression makes.
///
/// It stands once in a test file of the adapter, and makes a module `conformance` there.
#[macro_export]
macro_rules! conformance {
    ($factory:expr) => {
        mod conformance {
            #[allow(unused_imports)]
            use super::*;

            fn run(subject: &str, case: &str) {
                $crate::conformance::run($factory, subject, case);
            }

            $crate::__conformance_subjects! {
                cancel: __conformance_cancel,
                claims: __conformance_claims,
                clock: __conformance_clock,
                dead_letters: __conformance_dead_letters,
                delays: __conformance_delays,
                due: __conformance_due,
                enqueue: __conformance_enqueue,
                fencing: __conformance_fencing,
                firing: __conformance_firing,
                inspect: __conformance_inspect,
                leases: __conformance_leases,
                order: __conformance_order,
                pause: __conformance_pause,
                payloads: __conformance_payloads,
                recovery: __conformance_recovery,
                releases: __conformance_releases,
                resend: __conformance_resend,
                results: __conformance_results,
                rewinding: __conformance_rewinding,
                schedules: __conformance_schedules,
                settle: __conformance_settle,
                shutdown: __conformance_shutdown,
                trigger: __conformance_trigger,
                wakeups: __conformance_wakeups,
            }

            mod model {
                #[test]
                fn whatever_is_asked_the_store_does_as_the_model() {
                    super::run_model();
                }
            }

            fn run_model() {
                $crate::conformance::run_model($factory);
            }

            #[test]
            fn every_case_of_the_suite_is_a_test() {
                let cases: usize = COUNTS.iter().sum();
                assert_eq!(cases, $crate::conformance::cases().count());
            }
        }
    };
}

/// The subjects as modules, each filled by the macro that its list of cases made.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_subjects {
    ($($subject:ident: $list:ident,)+) => {
        $(mod $subject {
            $crate::$list!();
        })+

        const COUNTS: &[usize] = &[$($subject::COUNT),+];
    };
}

/// The one list of a subject's cases: makes `CASES` of it, and a macro that makes tests of it.
macro_rules! case_list {
    ($subject:literal, $list:ident: $($case:ident,)+) => {
        pub(super) const CASES: &[$crate::conformance::run::Case] = &[
            $($crate::conformance::run::Case {
                subject: $subject,
                name: stringify!($case),
                run: |kit| Box::pin($case(kit)),
            },)+
        ];

        #[doc(hidden)]
        #[macro_export]
        macro_rules! $list {
            () => {
                pub(super) const COUNT: usize = [$(stringify!($case)),+].len();
                $(#[test]
                fn $case() {
                    super::run($subject, stringify!($case));
                })+
            };
        }
    };
}

pub(super) use case_list;

/// One behaviour, and how it is shown.
#[derive(Clone, Copy)]
pub(super) struct Case {
    pub(super) subject: &'static str,
    pub(super) name: &'static str,
    pub(super) run: fn(Kit) -> Pin<Box<dyn Future<Output = ()>>>,
}

/// The subjects' lists, one after the other.
const SUBJECTS: &[&[Case]] = &[
    super::cancel::CASES,
    super::claims::CASES,
    super::clock::CASES,
    super::dead_letters::CASES,
    super::delays::CASES,
    super::due::CASES,
    super::enqueue::CASES,
    super::fencing::CASES,
    super::firing::CASES,
    super::inspect::CASES,
    super::leases::CASES,
    super::order::CASES,
    super::pause::CASES,
    super::payloads::CASES,
    super::recovery::CASES,
    super::releases::CASES,
    super::resend::CASES,
    super::results::CASES,
    super::rewinding::CASES,
    super::schedules::CASES,
    super::settle::CASES,
    super::shutdown::CASES,
    super::trigger::CASES,
    super::wakeups::CASES,
];

fn all() -> impl Iterator<Item = &'static Case> {
    SUBJECTS.iter().copied().flatten()
}

/// Subject and name of every case.
pub fn cases() -> impl Iterator<Item = (&'static str, &'static str)> {
    all().map(|case| (case.subject, case.name))
}

/// Runs one case on a runtime of its own.
///
/// # Panics
/// Where the case fails, with what was expected; or where there is no such case.
pub fn run(factory: impl Factory, subject: &str, case: &str) {
    let found = all().find(|found| found.subject == subject && found.name == case);
    let case = found.unwrap_or_else(|| panic!("the suite has no case {subject}::{case}"));
    runtime(factory.time()).block_on(run_here(Arc::new(factory), case));
}

/// Runs every case, one after the other, and reports by name. The model-based test is apart:
/// [`run_model`](super::run_model).
///
/// A factory of [`Time::Simulated`] needs a runtime whose time is paused.
pub async fn run_all(factory: Arc<dyn Factory>) -> Report {
    let tasks = LocalSet::new();
    let mut failed = Vec::new();
    for case in all() {
        // A task of its own, so that a panic ends the case and not the suite.
        let ended = tasks.spawn_local(run_here(factory.clone(), case));
        if let Err(error) = tasks.run_until(ended).await {
            let why = error.try_into_panic().map_or_else(|error| error.to_string(), message);
            failed.push((format!("{}::{}", case.subject, case.name), why));
        }
    }
    Report { cases: all().count(), failed }
}

/// What became of the cases.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// How many cases ran.
    pub cases: usize,
    /// The names of those that failed, and why.
    pub failed: Vec<(String, String)>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} cases, {} failed", self.cases, self.failed.len())?;
        self.failed.iter().try_for_each(|(case, why)| writeln!(f, "{case}: {why}"))
    }
}

async fn run_here(factory: Arc<dyn Factory>, case: &'static Case) {
    // Simulated time passes at once when nothing else can happen, so that a call which never
    // returns ends here without anybody waiting.
    let longest = match factory.time() {
        Time::Simulated => Duration::from_hours(24 * 365),
        Time::Real { .. } => Duration::from_mins(2),
    };
    let run = async { (case.run)(Kit::open(factory).await).await };
    assert!(timeout(longest, run).await.is_ok(), "{} did not end", case.name);
}

pub(super) fn runtime(time: Time) -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .start_paused(time == Time::Simulated)
        .build()
        .expect("a runtime of one thread can be made")
}

fn message(panic: Box<dyn Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(panic) => panic
            .downcast::<&str>()
            .map_or("a panic without message".into(), |message| (*message).into()),
    }
}
