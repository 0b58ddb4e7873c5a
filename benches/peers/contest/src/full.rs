//! Everything, under each setting of persistence where there is a server.

use crate::entry::{Entries, Entry};
use crate::goals;
use crate::machine::Cores;
use crate::rounds::{self, Results};
use crate::server::Persistence;
use crate::workloads::{Threads, Way, Workload};

/// A rate that every contender can keep up with, so that their delays can be compared.
const SAME_RATE: f64 = 2000.0;

/// Measures everything, table by table.
pub(crate) fn measure(
    entries: &Entries,
    cores: &Cores,
    rounds: usize,
    settings: &[Persistence],
    mut each: impl FnMut(&Results),
) {
    let alone = [
        (Workload::InProcess { threads: Threads::One }, entries.in_process()),
        (Workload::InProcess { threads: Threads::Two }, entries.in_process()),
        (Workload::Timers, entries.timers()),
    ];
    for (workload, entries) in alone {
        each(&rounds::run(workload, &entries, rounds, cores, Persistence::Off));
    }
    for &persistence in settings {
        let mut all: Vec<Entry> =
            [entries.shiftwork()].into_iter().chain(entries.peers()).collect();
        let limit = entries.limit();
        let mut run = |workload, entries: &[Entry], rounds| {
            let found = rounds::run(workload, entries, rounds, cores, persistence);
            each(&found);
            found
        };
        let with = |all: &[Entry], limits: Vec<Entry>| {
            all.iter().cloned().chain(limits).collect::<Vec<_>>()
        };

        for concurrency in [10, 100, 500] {
            for keep in [false, true] {
                let limits = if keep { Vec::new() } else { goals::cycles(entries) };
                run(Workload::Drain { concurrency, keep }, &with(&all, limits), rounds);
            }
        }
        let bulk = vec![
            limit.tuned("limit, script", &[]),
            limit.tuned("limit, bare RPUSH", &[("bare", 1)]),
        ];
        run(Workload::Enqueue { way: Way::Bulk }, &with(&all, bulk), rounds);
        let ping = vec![limit.tuned("limit, PING", &[])];
        run(Workload::Enqueue { way: Way::OneByOne }, &with(&all, ping), rounds);
        run(Workload::Enqueue { way: Way::Tasks }, &all, rounds);
        run(Workload::Idle, &with(&all, goals::idle(entries)), rounds);

        let both = run(Workload::Both, &all, rounds);
        for entry in &mut all {
            entry.capacity = both.median(entry.name, "rate");
        }
        run(Workload::Open { rate: SAME_RATE }, &all, rounds);
        for percent in [20, 50, 80] {
            run(Workload::Share { percent }, &all, rounds);
        }
        run(Workload::Delayed, &all, 1);
        run(Workload::Retried, &all, 1);
        run(Workload::Crash, &all, 1);
        if persistence == Persistence::Off {
            run(Workload::Nothing, &all, 1);
            for jobs in [10_000, 100_000, 131_073] {
                run(Workload::Memory { jobs }, &all, 1);
            }
            let reliable: Vec<Entry> = vec![entries.shiftwork(), entries.bullmq_official()];
            run(Workload::Cost, &reliable, rounds);
        }
    }
}
