//! What a look at the schedules has found.

use std::fmt;

use serde::{Deserialize, Serialize};
use shiftwork::{JobId, JobState, QueueName, ScheduleId, Timestamp};

/// Which schedules are late. Read it from the result of the job `schedule-watchdog`:
/// `result.data::<WatchdogReport>()`. As text, it is a line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WatchdogReport {
    /// When that was, by the store's clock.
    pub now: Timestamp,
    /// How many schedules were looked at.
    pub schedules: usize,
    /// Those that are late, ordered by their ids.
    pub late: Vec<LateSchedule>,
}

/// A schedule that has not run when it should have. As text, it is a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LateSchedule {
    /// Which schedule.
    pub schedule: ScheduleId,
    /// Where its jobs are enqueued.
    pub queue: QueueName,
    /// When it is due, for people: `0 3 * * * (UTC)`.
    pub timing: String,
    /// What is wrong.
    pub late: Late,
    /// Since when, by the store's clock: when it was due, or its job was; or when that job failed.
    pub since: Timestamp,
    /// The occurrence that made a job last; `None`: it has never fired.
    pub last_run: Option<Timestamp>,
    /// That job.
    pub job: Option<JobId>,
    /// Where that job was, or how it ended; `None`: it is not known any more.
    pub state: Option<JobState>,
}

/// In which way a schedule is late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Late {
    /// It is due, and nobody has fired it.
    Overdue,
    /// It has fired, and its job waits for a worker.
    Waiting,
    /// Its job was begun, and does not come to an end.
    Running,
    /// Its job is a dead letter.
    Failed,
}

impl LateSchedule {
    /// Names this trouble of this schedule: the same in each report of it, from whatever process,
    /// and another one the next time. For what makes one alert of many.
    pub fn key(&self) -> String {
        format!("{}/{}/{}", self.schedule, self.late, self.since.as_millis())
    }
}

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Overdue => "overdue",
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Failed => "failed",
        })
    }
}

impl fmt::Display for LateSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { schedule, queue, timing, since, .. } = self;
        match self.late {
            Late::Overdue => write!(
                f,
                "the schedule {schedule}, {timing}, was due at {since}, and no process has fired it; \
                 let one run whose role is worker or cron, and which can read this schedule"
            ),
            Late::Waiting => write!(
                f,
                "the schedule {schedule} has fired, and its job has waited since {since}; let a \
                 worker serve the queue {queue}, and see that it is not paused"
            ),
            Late::Running => write!(
                f,
                "the job of the schedule {schedule} is not done, and could have been begun at \
                 {since}; see what holds it up, or allow it more with ScheduleWatch::may_run"
            ),
            Late::Failed => write!(
                f,
                "the last run of the schedule {schedule} failed at {since}; see its dead letter in \
                 the queue {queue}, and replay that, or trigger the schedule"
            ),
        }
    }
}

impl fmt::Display for WatchdogReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "late schedules: {} of {}", self.late.len(), self.schedules)?;
        for (position, late) in self.late.iter().enumerate() {
            let before = if position == 0 { ": " } else { ", " };
            write!(f, "{before}{} ({})", late.schedule, late.late)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn late(id: &str, late: Late) -> LateSchedule {
        LateSchedule {
            schedule: ScheduleId::new(id).unwrap(),
            queue: QueueName::new("reports").unwrap(),
            timing: "0 3 * * * (UTC)".into(),
            late,
            since: Timestamp::from_millis(1_795_305_600_000),
            last_run: None,
            job: None,
            state: None,
        }
    }

    #[test]
    fn a_report_is_a_line_that_names_what_is_late() {
        let mut report = WatchdogReport { schedules: 12, ..WatchdogReport::default() };
        assert_eq!(report.to_string(), "late schedules: 0 of 12");
        report.late = vec![late("digest", Late::Waiting), late("nightly", Late::Overdue)];
        let line = "late schedules: 2 of 12: digest (waiting), nightly (overdue)";
        assert_eq!(report.to_string(), line);
    }

    #[test]
    fn each_sentence_says_what_to_do() {
        for (kind, sentence) in [
            (
                Late::Overdue,
                "the schedule nightly, 0 3 * * * (UTC), was due at 2026-11-22T00:00:00.000Z, and no \
                 process has fired it; let one run whose role is worker or cron, and which can read \
                 this schedule",
            ),
            (
                Late::Waiting,
                "the schedule nightly has fired, and its job has waited since \
                 2026-11-22T00:00:00.000Z; let a worker serve the queue reports, and see that it is \
                 not paused",
            ),
            (
                Late::Running,
                "the job of the schedule nightly is not done, and could have been begun at \
                 2026-11-22T00:00:00.000Z; see what holds it up, or allow it more with \
                 ScheduleWatch::may_run",
            ),
            (
                Late::Failed,
                "the last run of the schedule nightly failed at 2026-11-22T00:00:00.000Z; see its \
                 dead letter in the queue reports, and replay that, or trigger the schedule",
            ),
        ] {
            assert_eq!(late("nightly", kind).to_string(), sentence);
        }
    }

    #[test]
    fn a_key_tells_schedules_troubles_and_times_apart() {
        let one = late("nightly", Late::Overdue);
        assert_eq!(one.key(), "nightly/overdue/1795305600000");
        assert_ne!(one.key(), late("nightly", Late::Failed).key());
        assert_ne!(one.key(), late("digest", Late::Overdue).key());
        let later = LateSchedule { since: Timestamp::EPOCH, ..one.clone() };
        assert_ne!(one.key(), later.key());
        let seen_later = LateSchedule { last_run: Some(one.since), ..one.clone() };
        assert_eq!(one.key(), seen_later.key());
    }
}
