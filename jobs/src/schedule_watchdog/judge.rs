//! Whether a schedule is late: a pure function of what the store says, the time, and the limits.
//!
//! 1. What a schedule's record says is enough for what is overdue or failed.
//! 2. It does not say since when a job waits: an occurrence that was made up for makes its job much
//!    later. So the job itself is looked at, but only of a [`suspect`], whose occurrence is longer ago
//!    than its job may wait.
//! 3. [`judge`] tells the first thing that is wrong.

use shiftwork::adapter::LastRun;
use shiftwork::{JobId, JobRecord, JobState, ScheduleRecord, Timestamp};

use super::{Late, LateSchedule, ScheduleWatch};

/// The job that has to be looked at to judge a schedule.
pub(super) fn suspect(
    record: &ScheduleRecord,
    now: Timestamp,
    watch: &ScheduleWatch,
) -> Option<JobId> {
    let limit = watch.may_wait.min(watch.may_run);
    let last = record.last.filter(|_| record.is_active())?;
    let is_old = now.since(last.occurrence) > limit;
    (is_old && last.state.is_some_and(|state| !state.is_finished())).then_some(last.job)
}

/// In which way a schedule is late at `now`, if it is. `job` is that of its last run, of a
/// [`suspect`].
pub(super) fn judge(
    record: &ScheduleRecord,
    job: Option<&JobRecord>,
    now: Timestamp,
    watch: &ScheduleWatch,
) -> Option<LateSchedule> {
    if !record.is_active() {
        return None;
    }
    let overdue = unfired(record)
        .filter(|&since| now.since(since) > watch.tolerance)
        .map(|since| (Late::Overdue, since));
    let (late, since) = overdue
        .or_else(|| job.and_then(|job| unsettled(job, now, watch)))
        .or_else(|| failed(record).map(|since| (Late::Failed, since)))?;
    let schedule = &record.schedule;
    Some(LateSchedule {
        schedule: schedule.id.clone(),
        queue: schedule.queue.clone(),
        timing: schedule.timing.to_string(),
        late,
        since,
        last_run: record.last.map(|last| last.occurrence),
        job: record.last.map(|last| last.job),
        state: record.last.and_then(|last| last.state),
    })
}

/// Since when it could have fired, or will be able to.
fn unfired(record: &ScheduleRecord) -> Option<Timestamp> {
    record.due().into_iter().chain(freed(record)).min()
}

/// Of an occurrence that is queued behind a run, when that run ended.
fn freed(record: &ScheduleRecord) -> Option<Timestamp> {
    let queued = record.queued?;
    let runs: Vec<&LastRun> = record.last.iter().chain(&record.by_hand).collect();
    // A job that is no longer known holds up nothing, and it is not known since when.
    if runs.iter().any(|run| run.state.is_some_and(|state| !state.is_finished())) {
        return None;
    }
    let ended = runs.iter().filter_map(|run| run.finished_at).max()?;
    Some(ended.max(record.schedule.due(queued)))
}

/// A job that waits, or is held, for longer than it may.
fn unsettled(job: &JobRecord, now: Timestamp, watch: &ScheduleWatch) -> Option<(Late, Timestamp)> {
    // A replay, a retry, or the crash of a worker makes it due anew.
    let since = job.due_at;
    let (late, limit) = match job.state {
        // One that is to be tried again is due later than now, and so is not late.
        JobState::Waiting | JobState::Delayed => (Late::Waiting, watch.may_wait),
        JobState::Active => (Late::Running, watch.may_run),
        _ => return None,
    };
    (now.since(since) > limit).then_some((late, since))
}

/// When the last run ended as a dead letter, where there is another to come and no run by hand has
/// ended well since.
fn failed(record: &ScheduleRecord) -> Option<Timestamp> {
    // Nothing would ever end the report of one that has ended.
    record.next?;
    let last = record.last.filter(|last| last.state == Some(JobState::Dead))?;
    let since = last.finished_at.unwrap_or(last.occurrence);
    let is_made_good = record.by_hand.is_some_and(|run| {
        run.state == Some(JobState::Completed) && run.finished_at.is_some_and(|at| at >= since)
    });
    (!is_made_good).then_some(since)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;
    use std::sync::Arc;
    use std::time::Duration;

    use shiftwork::adapter::{JobSpec, JobTemplate, Schedule, Timing};
    use shiftwork::{JobName, Payload, QueueName, ScheduleId, hours, minutes, seconds};

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_305_600_000);
    const MS: Duration = Duration::from_millis(1);

    /// A schedule of every hour that is due in half an hour.
    fn sound() -> ScheduleRecord {
        let timing = Timing::Every { period_ms: 3_600_000 };
        let template = JobTemplate::new(JobName::new("job").unwrap(), Payload::none());
        let (id, queue) = (ScheduleId::new("hourly").unwrap(), QueueName::new("reports").unwrap());
        let schedule = Schedule::new(id, queue, timing, template);
        ScheduleRecord::new(schedule, 1, Some(NOW + minutes(30)))
    }

    fn changed(
        mut record: ScheduleRecord,
        change: impl FnOnce(&mut ScheduleRecord),
    ) -> ScheduleRecord {
        change(&mut record);
        record
    }

    fn due_since(age: Duration) -> ScheduleRecord {
        changed(sound(), |record| record.next = Some(NOW - age))
    }

    /// The same, whose last run was for an occurrence so long ago.
    fn ran(age: Duration, state: JobState) -> ScheduleRecord {
        changed(sound(), |record| record.last = Some(run(age, state)))
    }

    fn run(age: Duration, state: JobState) -> LastRun {
        let mut run = LastRun::new(NOW - age, JobId::from_bytes([7; 16]));
        run.state = Some(state);
        run.finished_at = state.is_finished().then_some(NOW - age + minutes(1));
        run
    }

    /// A job that has been due for so long.
    fn job(due_for: Duration, state: JobState) -> JobRecord {
        let name = JobName::new("job").unwrap();
        let spec = JobSpec::new(JobId::from_bytes([7; 16]), name, Payload::none());
        let mut job = JobRecord::new(QueueName::new("reports").unwrap(), Arc::new(spec), NOW);
        (job.state, job.due_at) = (state, NOW - due_for);
        job
    }

    fn judged(record: &ScheduleRecord, job: Option<&JobRecord>) -> Option<(Late, Timestamp)> {
        let late = judge(record, job, NOW, &ScheduleWatch::new())?;
        Some((late.late, late.since))
    }

    #[test]
    fn a_schedule_is_overdue_once_it_is_due_for_longer_than_the_tolerance() {
        assert_eq!(judged(&sound(), None), None);
        assert_eq!(judged(&due_since(minutes(5)), None), None);
        let since = NOW - minutes(5) - MS;
        assert_eq!(judged(&due_since(minutes(5) + MS), None), Some((Late::Overdue, since)));
        let patient = ScheduleWatch::new().tolerance(hours(1));
        assert_eq!(judge(&due_since(hours(1)), None, NOW, &patient), None);
    }

    #[test]
    fn jitter_makes_no_schedule_late() {
        let record = changed(due_since(minutes(6)), |record| {
            Arc::make_mut(&mut record.schedule).jitter = Some(hours(24))
        });
        let due = record.due().unwrap();
        assert!(due > NOW, "the test is of an occurrence that the jitter delays");
        assert_eq!(judged(&record, None), None);
        let late = judge(&record, None, due + minutes(6), &ScheduleWatch::new()).unwrap();
        assert_eq!((late.late, late.since), (Late::Overdue, due));
    }

    #[test]
    fn what_somebody_wants_so_is_not_late_in_any_way() {
        let waiting = job(hours(1), JobState::Waiting);
        for record in
            [due_since(hours(1)), ran(hours(1), JobState::Waiting), ran(hours(1), JobState::Dead)]
        {
            assert!(judged(&record, Some(&waiting)).is_some());
            let disabled = changed(record.clone(), |record| {
                Arc::make_mut(&mut record.schedule).enabled = false
            });
            let paused = changed(record, |record| record.paused = true);
            for record in [disabled, paused] {
                assert_eq!(judged(&record, Some(&waiting)), None);
                assert_eq!(suspect(&record, NOW, &ScheduleWatch::new()), None);
            }
        }
    }

    #[test]
    fn a_job_is_looked_at_only_where_it_is_not_done_and_its_occurrence_is_long_ago() {
        let watch = ScheduleWatch::new();
        let looked_at = |record: &ScheduleRecord| suspect(record, NOW, &watch).is_some();
        for state in JobState::ALL {
            assert!(!looked_at(&ran(minutes(15), state)), "{state}");
            assert_eq!(looked_at(&ran(minutes(16), state)), !state.is_finished(), "{state}");
        }
        assert!(!looked_at(&sound()), "it has never fired");
        let unknown = changed(sound(), |record| {
            record.last = Some(LastRun::new(NOW - minutes(16), JobId::from_bytes([7; 16])));
        });
        assert!(!looked_at(&unknown), "its job is not known any more");
        let brisk = watch.may_run(minutes(1));
        assert!(suspect(&ran(minutes(2), JobState::Active), NOW, &brisk).is_some());
    }

    #[test]
    fn a_job_waits_or_runs_too_long_by_when_it_became_due() {
        let record = ran(hours(24), JobState::Waiting);
        for (state, for_long, expected) in [
            (JobState::Waiting, minutes(15), None),
            (JobState::Waiting, minutes(15) + MS, Some(Late::Waiting)),
            (JobState::Delayed, minutes(15) + MS, Some(Late::Waiting)),
            (JobState::Active, minutes(16), None),
            (JobState::Active, hours(6), None),
            (JobState::Active, hours(6) + MS, Some(Late::Running)),
            (JobState::Completed, hours(7), None),
            (JobState::Cancelled, hours(7), None),
        ] {
            let expected = expected.map(|late| (late, NOW - for_long));
            assert_eq!(judged(&record, Some(&job(for_long, state))), expected, "{state}");
        }
    }

    #[test]
    fn a_job_that_is_to_be_tried_again_is_not_late() {
        let mut again = job(Duration::ZERO, JobState::Delayed);
        again.due_at = NOW + hours(1);
        assert_eq!(judged(&ran(hours(24), JobState::Delayed), Some(&again)), None);
    }

    #[test]
    fn a_dead_letter_is_reported_until_the_next_run_or_a_good_one_by_hand() {
        let failed = ran(hours(2), JobState::Dead);
        let since = NOW - hours(2) + minutes(1);
        assert_eq!(judged(&failed, None), Some((Late::Failed, since)));
        let by_hand =
            |age, state| changed(failed.clone(), |record| record.by_hand = Some(run(age, state)));
        assert_eq!(judged(&by_hand(hours(1), JobState::Completed), None), None);
        for (age, state) in [
            (hours(3), JobState::Completed),
            (hours(1), JobState::Dead),
            (hours(1), JobState::Active),
            (hours(1), JobState::Cancelled),
        ] {
            assert!(judged(&by_hand(age, state), None).is_some(), "{state}");
        }
        assert_eq!(judged(&ran(hours(2), JobState::Completed), None), None);
        assert_eq!(judged(&ran(hours(2), JobState::Cancelled), None), None);
    }

    #[test]
    fn of_a_schedule_that_has_ended_only_a_run_that_does_not_end_is_late() {
        let ended = |record| {
            changed(record, |record| {
                record.next = None;
                Arc::make_mut(&mut record.schedule).limit = NonZeroU64::new(1);
                record.fired = 1;
            })
        };
        assert_eq!(judged(&ended(due_since(hours(1))), None), None);
        assert_eq!(judged(&ended(ran(hours(1), JobState::Dead)), None), None);
        let waiting = job(hours(1), JobState::Waiting);
        let late = judged(&ended(ran(hours(1), JobState::Waiting)), Some(&waiting));
        assert_eq!(late, Some((Late::Waiting, NOW - hours(1))));
    }

    #[test]
    fn a_queued_occurrence_is_overdue_once_the_run_before_it_has_long_ended() {
        let queued = |last, by_hand| {
            changed(sound(), |record| {
                record.queued = Some(NOW - hours(1));
                (record.last, record.by_hand) = (last, by_hand);
            })
        };
        let done = |age| Some(run(age, JobState::Completed));
        let running = Some(run(hours(2), JobState::Active));
        // Each ended a minute after its occurrence.
        assert_eq!(judged(&queued(done(minutes(6)), None), None), None);
        let late = judged(&queued(done(minutes(7)), None), None);
        assert_eq!(late, Some((Late::Overdue, NOW - minutes(6))));
        assert_eq!(judged(&queued(running, None), None), None);
        assert_eq!(judged(&queued(done(minutes(7)), running), None), None);
        assert_eq!(judged(&queued(done(hours(3)), done(minutes(6))), None), None);
        // It was freed before it came.
        let late = judged(&queued(done(hours(3)), None), None);
        assert_eq!(late, Some((Late::Overdue, NOW - hours(1))));
        assert_eq!(judged(&queued(None, None), None), None);
    }

    #[test]
    fn a_schedule_is_reported_for_what_is_wrong_first() {
        let record = changed(ran(hours(1), JobState::Dead), |record| {
            record.next = Some(NOW - minutes(10));
        });
        assert_eq!(judged(&record, None), Some((Late::Overdue, NOW - minutes(10))));
        let late = judge(&record, None, NOW, &ScheduleWatch::new()).unwrap();
        assert_eq!((late.last_run, late.state), (Some(NOW - hours(1)), Some(JobState::Dead)));
        assert_eq!(late.job, Some(JobId::from_bytes([7; 16])));
        assert_eq!((late.schedule.as_str(), late.queue.as_str()), ("hourly", "reports"));
        assert_eq!(late.timing, "every 3600s");
    }

    #[test]
    fn a_clock_that_went_back_makes_nothing_late() {
        let early = NOW - hours(24);
        let record = ran(seconds(1), JobState::Waiting);
        assert_eq!(suspect(&record, early, &ScheduleWatch::new()), None);
        let waiting = job(seconds(1), JobState::Waiting);
        assert_eq!(judge(&record, Some(&waiting), early, &ScheduleWatch::new()), None);
    }
}
