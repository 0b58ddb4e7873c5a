//! Up to a thousand queues. A process serves those that its jobs declare, and a job's name is part of
//! its type, so there is a type for each queue. None of these is ever enqueued: the job that is
//! enqueued is sent to their queues.
//!
//! They are made as `#[job]` makes those of functions, but with one handler for all: a thousand
//! handlers take minutes to compile.

use shiftwork::__private::JobFunction;
use shiftwork::{JobDefinition, JobsBuilder};

/// A job that declares the queue of its number, and does nothing else.
struct Declares<const NUMBER: usize>;

impl<const NUMBER: usize> Declares<NUMBER> {
    const BYTES: [u8; 12] = {
        let mut bytes = *b"declares-000";
        bytes[9] += (NUMBER / 100) as u8;
        bytes[10] += (NUMBER / 10 % 10) as u8;
        bytes[11] += (NUMBER % 10) as u8;
        bytes
    };
}

impl<const NUMBER: usize> JobFunction for Declares<NUMBER> {
    const NAME: &'static str = match str::from_utf8(&Self::BYTES) {
        Ok(name) => name,
        Err(_) => panic!("these are letters and digits"),
    };
    type Payload = ();
    type Output = ();
}

/// Declares the queues of a run with several; the one of all others is declared by its job.
pub(crate) fn queues(mut jobs: JobsBuilder, count: u64) -> JobsBuilder {
    if count > 1 {
        let declared = all().into_iter().enumerate().take(count as usize);
        for (number, definition) in declared {
            jobs = jobs.register(definition.queue(format!("contest-{number:03}")));
        }
    }
    jobs
}

/// The definitions of all, by number.
fn all() -> Vec<JobDefinition> {
    let mut all = Vec::new();
    let handler = Declares::<0>::asynchronous(|(), _| Ok(async {}));
    macro_rules! ones {
        ($tens:expr) => { ones!($tens, 0 1 2 3 4 5 6 7 8 9) };
        ($tens:expr, $($one:literal)*) => {
            $(all.push(Declares::<{ $tens + $one }>::definition(
                handler.clone(),
                |_| {},
                file!(),
                line!(),
            ));)*
        };
    }
    macro_rules! tens {
        ($hundreds:expr) => { tens!($hundreds, 0 10 20 30 40 50 60 70 80 90) };
        ($hundreds:expr, $($ten:literal)*) => { $(ones!($hundreds + $ten);)* };
    }
    macro_rules! hundreds {
        ($($hundred:literal)*) => { $(tens!($hundred);)* };
    }
    hundreds!(0 100 200 300 400 500 600 700 800 900);
    all
}
