//! What is still to come of a schedule whose store's clock was set back.
//!
//! A schedule is always past its occurrences up to now. Where it is further, the clock was ahead and
//! was set back since. What had its job meanwhile makes none again, though its time comes again; but
//! what was merely passed over, since it was noticed too late by the clock of then, has its time
//! still to come: to that the schedule is rewound, and from there it goes to where it was.

use shiftwork_adapter::{Passed, Rewind, ScheduleRecord, Timestamp};

use super::Occurrences;

/// The occurrences of a stored schedule that are still to be decided.
pub(crate) struct Remaining<'a> {
    occurrences: &'a Occurrences,
    /// Where it was rewound: what was decided before, from the first of these up to the other.
    decided: Option<(Timestamp, Timestamp)>,
}

impl<'a> Remaining<'a> {
    pub(crate) fn of(record: &ScheduleRecord, occurrences: &'a Occurrences) -> Self {
        let decided = record.passed.and_then(|passed| Some((passed.upto, passed.resume?)));
        Self { occurrences, decided }
    }

    /// The first after `instant`; `None`: there is none.
    pub(crate) fn after(&self, instant: Timestamp) -> Option<Timestamp> {
        self.occurrences.after(instant).map(|next| self.beyond(next))
    }

    /// The one that the schedule has next from `now` on.
    pub(crate) fn first(&self, now: Timestamp) -> Option<Timestamp> {
        self.occurrences.first(now).map(|next| self.beyond(next))
    }

    fn beyond(&self, next: Timestamp) -> Timestamp {
        match self.decided {
            Some((from, resume)) if (from..resume).contains(&next) => resume,
            _ => next,
        }
    }

    /// As [`Occurrences::latest`], but no further than to what was decided before.
    pub(crate) fn latest(&self, first: Timestamp, now: Timestamp, most: usize) -> (Timestamp, u64) {
        let until = self.decided.map(|(from, _)| from).filter(|from| first < *from);
        let until = until.map_or(now, |until| now.min(until - std::time::Duration::from_millis(1)));
        self.occurrences.latest(first, until, most)
    }

    /// Whether an occurrence is the one that follows what was decided before.
    pub(crate) fn is_beyond(&self, occurrence: Timestamp) -> bool {
        self.decided.is_some_and(|(_, resume)| resume == occurrence)
    }
}

/// What takes a schedule back that is further than it can be at `now`; `None`: it is not, or there
/// is nothing to go back to.
pub(crate) fn rewind(
    record: &ScheduleRecord,
    occurrences: &Occurrences,
    now: Timestamp,
) -> Option<Rewind> {
    let Passed { from, .. } = record.passed?;
    let earlier = occurrences.after(now)?.max(from);
    Rewind::new(record, earlier).filter(|rewind| record.may_rewind(rewind))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use shiftwork_adapter::{
        JobName, JobTemplate, Payload, QueueName, Schedule, ScheduleId, Timing,
    };

    use super::*;

    fn at(second: u64) -> Timestamp {
        Timestamp::EPOCH + Duration::from_secs(second)
    }

    /// A schedule of every ten seconds that is at 1010, since the clock said 1005: it passed over
    /// those from 500 to 990.
    fn ahead() -> (ScheduleRecord, Occurrences) {
        let timing = Timing::Every { period_ms: 10_000 };
        let template = JobTemplate::new(JobName::new("job").unwrap(), Payload::none());
        let (id, queue) = (ScheduleId::new("id").unwrap(), QueueName::new("queue").unwrap());
        let schedule = Schedule::new(id, queue, timing, template);
        let occurrences = Occurrences::of(&schedule).unwrap();
        let mut record = ScheduleRecord::new(schedule, 7, Some(at(1010)));
        record.passed = Some(Passed::new(at(500), at(1000)));
        (record, occurrences)
    }

    fn earlier(record: &ScheduleRecord, occurrences: &Occurrences, now: u64) -> Option<Timestamp> {
        rewind(record, occurrences, at(now)).map(|rewind| rewind.earlier)
    }

    #[test]
    fn a_schedule_goes_back_to_the_first_that_was_passed_over_and_is_still_to_come() {
        let (record, occurrences) = ahead();
        assert_eq!(earlier(&record, &occurrences, 495), Some(at(500)));
        assert_eq!(earlier(&record, &occurrences, 612), Some(at(620)));
        assert_eq!(earlier(&record, &occurrences, 985), Some(at(990)));
        // What is before those has had its job.
        assert_eq!(earlier(&record, &occurrences, 12), Some(at(500)));
    }

    #[test]
    fn it_does_not_where_none_is_to_come_or_it_has_been() {
        let (mut record, occurrences) = ahead();
        for now in [990, 999, 1005, 2000] {
            assert_eq!(earlier(&record, &occurrences, now), None, "at {now}");
        }
        record.passed = record.passed.map(|passed| passed.resumed(Some(at(1010))));
        assert_eq!(earlier(&record, &occurrences, 612), None);
        record.passed = None;
        assert_eq!(earlier(&record, &occurrences, 612), None);
    }

    #[test]
    fn from_what_was_passed_over_it_goes_to_where_it_was() {
        let (mut record, occurrences) = ahead();
        record.passed = record.passed.map(|passed| passed.resumed(Some(at(1110))));
        let remaining = Remaining::of(&record, &occurrences);
        assert_eq!(remaining.after(at(980)), Some(at(990)));
        assert_eq!(remaining.after(at(990)), Some(at(1110)), "those between had their jobs");
        assert_eq!(remaining.first(at(1050)), Some(at(1110)));
        assert_eq!(remaining.after(at(1110)), Some(at(1120)));
        assert_eq!(remaining.latest(at(970), at(985), 1), (at(980), 1));
        assert_eq!(remaining.latest(at(970), at(5000), 1), (at(990), 2), "and no further");
        assert_eq!(remaining.latest(at(1110), at(1135), 1), (at(1130), 2));
    }
}
