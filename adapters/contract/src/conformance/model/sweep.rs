//! Judges sweeps: what is due waits, who has lapsed loses its jobs, and nobody else does.

use std::time::Duration;

use super::exchange::Life;
use super::{Model, Said, Span, Verdict, ensure};
use crate::{Incarnation, JobState, Recovered, SweepAnswer, Timestamp};

impl Model {
    /// `answers` are those of one sweep after the other, until there was no more to do at once.
    pub(in super::super) fn sweep(&mut self, answers: &[SweepAnswer], when: Span) -> Verdict {
        let last = answers.last().ok_or("nobody swept")?;
        ensure!(answers.iter().all(|answer| when.contains(answer.now)), "swept at {}", last.now);
        self.promoted(answers)?;
        for answer in answers {
            for recovered in &answer.recovered {
                // In a step of its own, for all one knows.
                self.recovered(recovered, Span { from: when.from, to: answer.now })?;
            }
            self.suspect(answer.now);
        }
        self.nobody_else_has_lapsed(last.now)?;
        for job in self.jobs.values_mut() {
            if job.holder.is_some_and(|h| self.lives.get(&h.incarnation).is_some_and(|l| l.lapsed))
            {
                return Err(format!("{} was left in the hands of a lapsed worker", job.spec.id));
            }
        }
        self.comes_again_in_time(last)?;
        let waiting = self.waiting(false);
        if waiting > 0 || self.waiting(true) == 0 {
            let claimable = waiting > 0 && !self.paused;
            ensure!(last.claimable == claimable, "claimable: {}", last.claimable);
        }
        Ok(())
    }

    /// The clock was set back: a lease may be cut to its length, and so may the grace of who is
    /// suspected; neither has to be.
    pub(in super::super) fn set_back(&mut self, from: Timestamp, to: Timestamp) {
        for life in self.lives.values_mut() {
            let Some(lease) = &mut life.lease else { continue };
            lease.from = lease.from.min(to + self.settings.lease);
            if let (Some(may), must) = &mut life.suspected {
                *may = (*may).min(to);
                if must.is_none() {
                    // Suspected or not, it has until then.
                    lease.to = lease.to.max(from + self.settings.grace);
                }
            }
        }
    }

    /// After a sweep that left nothing to do, no finished job is there that need not be kept.
    pub(in super::super) fn trimmed(&self, now: Timestamp) -> Verdict {
        for job in self.jobs.values() {
            ensure!(!self.must_be_forgotten(job, now), "{} is still kept", job.spec.id);
            let count = self.retention(job.state).count;
            let kept = self.jobs.values().filter(|other| self.shares_count(job, other)).count();
            ensure!(job.finished.is_none() || kept <= count, "{kept} are kept, not {count}");
        }
        Ok(())
    }

    fn promoted(&mut self, answers: &[SweepAnswer]) -> Verdict {
        let (first, last) = (&answers[0], &answers[answers.len() - 1]);
        let place = self.behind(Span::at(last.now));
        let (mut least, mut most) = (0, 0);
        for job in self.jobs.values_mut().filter(|job| job.is_due(last.now)) {
            most += 1;
            least += usize::from(job.due.to <= first.now);
            job.wait_since_due(place.behind_due(job.due.from));
        }
        let promoted = answers.iter().map(|answer| answer.promoted).sum::<usize>();
        let fits = least <= promoted && promoted <= most;
        ensure!(fits, "{promoted} jobs were let wait where {least} to {most} were due");
        Ok(())
    }

    fn recovered(&mut self, recovered: &Recovered, when: Span) -> Verdict {
        let id = recovered.spec.id;
        let (limit, grace) = (self.settings.max_crashes, self.settings.grace);
        let place = self.behind(when).in_front();
        let job = self.known(id)?;
        let holder = job.holder.ok_or(format!("{id} was taken back from nobody"))?;
        job.crashes += 1;
        if job.cancel_requested {
            job.finish(JobState::Cancelled, when);
        } else if holder.solo && job.crashes >= limit {
            job.finish(JobState::Dead, when);
            job.said = Said::Crash;
        } else {
            (job.state, job.moved, job.holder) = (JobState::Waiting, true, None);
            (job.place, job.due.to) = (place, job.due.to.max(when.to));
        }
        ensure!(recovered.spec == job.spec, "{id} was taken back as something else");
        let (told, expected) = ((recovered.crashes, recovered.state), (job.crashes, job.state));
        ensure!(told == expected, "{id} was taken back as {told:?}, not {expected:?}");

        let life = self.lives.get_mut(&holder.incarnation).ok_or("its holder is known")?;
        let since = life.suspected.0.map(|since| since + grace);
        let lapsed = life.lapsed || since.is_some_and(|end| end <= when.to);
        ensure!(lapsed, "{id} was taken from a worker with time to live: {life:?}");
        life.lapsed = true;
        Ok(())
    }

    /// Suspects whose lease has lapsed by a sweep at `now`.
    fn suspect(&mut self, now: Timestamp) {
        for life in self.lives.values_mut() {
            let Some(lease) = life.lease else { continue };
            if lease.from <= now {
                life.suspected.0.get_or_insert(now);
            }
            if lease.to < now {
                life.suspected.1.get_or_insert(now);
            }
        }
    }

    /// Whoever is suspected for longer than the grace has lost its jobs.
    fn nobody_else_has_lapsed(&self, now: Timestamp) -> Verdict {
        let late = |(_, life): &(&Incarnation, &Life)| {
            let since = life.suspected.1;
            !life.lapsed && since.is_some_and(|since| since + self.settings.grace < now)
        };
        match self.lives.iter().find(late) {
            Some((incarnation, life)) => {
                Err(format!("{incarnation} is not taken for dead: {life:?}"))
            }
            None => Ok(()),
        }
    }

    /// The next sweep is needed no later than the next thing is due.
    fn comes_again_in_time(&self, last: &SweepAnswer) -> Verdict {
        let delayed = self.jobs.values().filter(|job| job.state == JobState::Delayed);
        let dues = delayed.map(|job| job.due.to);
        let leases = self.lives.values().filter(|life| !life.lapsed).filter_map(|life| {
            let given_up = |since: Timestamp| since + self.settings.grace;
            match life.suspected {
                (_, Some(since)) => Some(given_up(since)),
                // Whether it is suspected is not certain, nor whether since this very sweep.
                (Some(_), None) => Some(given_up(last.now).max(life.lease?.to)),
                (None, None) => Some(life.lease?.to),
            }
        });
        // A moment more, for who takes "longer than" by its word.
        let needed = dues.chain(leases).min().map(|at| at + Duration::from_millis(1));
        let Some(needed) = needed else { return Ok(()) };
        let in_time = last.next.is_some_and(|next| last.now + next <= needed);
        ensure!(in_time, "the next sweep is in {:?}, needed at {needed}", last.next);
        Ok(())
    }
}
