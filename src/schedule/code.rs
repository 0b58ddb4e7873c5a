//! The schedules that stand in code: beside handlers, and declared at start.

use shiftwork_adapter::{JobTemplate, Origin, Payload, Schedule, ScheduleId, Timestamp, Timing};

use super::{NewSchedule, Occurrences, check, zone};
use crate::config::Settings;
use crate::error::Problems;
use crate::job::CodeTiming;
use crate::registry::{Registered, Registry};

/// Schedules as code declares them.
pub(crate) type Declared = Vec<(Schedule, Occurrences)>;

/// The schedules that stand beside handlers, and those declared at start, with what the environment
/// says of them. What is wrong with any is added to `problems`.
pub(crate) fn declared(
    registry: &Registry,
    at_start: Vec<NewSchedule>,
    settings: &Settings,
    now: Timestamp,
    problems: &mut Problems,
) -> Declared {
    let beside = registry.iter().filter_map(|job| read(job, settings, now, problems));
    let mut declared: Declared = beside.collect();
    for schedule in at_start {
        let Some((schedule, occurrences)) = resolve(schedule, registry, settings, now, problems)
        else {
            continue;
        };
        if declared.iter().any(|(other, _)| other.id == schedule.id) {
            problems.add(format!(
                "two schedules in code have the id {:?}; a job's own has the job's name: give the \
                 other one another",
                schedule.id
            ));
            continue;
        }
        declared.push((schedule, occurrences));
    }
    declared
}

/// The schedule beside a handler, if there is one.
fn read(
    job: &Registered,
    settings: &Settings,
    now: Timestamp,
    problems: &mut Problems,
) -> Option<(Schedule, Occurrences)> {
    let id = ScheduleId::new(job.name.as_str()).ok()?;
    let in_code = &job.definition.schedule;
    let zone = || in_code.timezone.clone().unwrap_or_else(|| settings.timezone.clone());
    let in_environment = pattern(settings, &id);
    let from = match in_environment {
        Some(_) => "the environment".to_owned(),
        None => job.definition.place.to_string(),
    };
    let timing = match (in_environment, &in_code.timing) {
        (Some(pattern), _) => Timing::Cron { pattern, timezone: zone() },
        (None, Some(CodeTiming::Cron(pattern))) => {
            Timing::Cron { pattern: pattern.clone(), timezone: zone() }
        }
        (None, Some(CodeTiming::Every(period))) => {
            Timing::Every { period_ms: u64::try_from(period.as_millis()).unwrap_or(u64::MAX) }
        }
        (None, None) => return None,
    };
    if job.definition.takes_payload {
        problems.add(format!(
            "the job {:?} has a schedule (from {from}) and needs a payload, which a schedule beside \
             it cannot give; declare one with JobsBuilder::schedule, or give it no payload",
            job.name.as_str()
        ));
        return None;
    }
    if let (Timing::Every { .. }, Some(zone)) = (&timing, &in_code.timezone) {
        problems.add(format!(
            "the schedule {id} (from {from}) is an interval and has a time zone, {zone:?}; only a \
             cron pattern can have one"
        ));
        return None;
    }
    let mut bound = |what, text: &Option<String>| match text.as_deref().map(zone::read_instant) {
        None => Some(None),
        Some(Ok(at)) => Some(Some(at)),
        Some(Err(fault)) => {
            problems.add(format!("the schedule {id} (from {from}): its {what} {fault}"));
            None
        }
    };
    let (starts, ends) = (bound("start", &in_code.starts), bound("end", &in_code.ends));
    let template = JobTemplate::new(job.name.clone(), Payload::none());
    let mut schedule = Schedule::new(id.clone(), job.queue.clone(), timing, template);
    schedule.template.priority = job.definition.options.priority.unwrap_or_default();
    (schedule.starts, schedule.ends) = (starts?, ends?);
    schedule.limit = in_code.limit;
    schedule.jitter = in_code.jitter.filter(|jitter| !jitter.is_zero());
    schedule.overlap = in_code.overlap;
    schedule.misfire = in_code.misfire;
    schedule.misfire_within = in_code.misfire_within;
    finish(schedule, &from, settings, now, problems)
}

/// A schedule that is declared at start.
fn resolve(
    schedule: NewSchedule,
    registry: &Registry,
    settings: &Settings,
    now: Timestamp,
    problems: &mut Problems,
) -> Option<(Schedule, Occurrences)> {
    let mut schedule = match schedule.resolve(registry, None, settings) {
        Ok(schedule) => schedule,
        Err(fault) => {
            problems.add(fault.to_string());
            return None;
        }
    };
    let mut from = "the code".to_owned();
    if let Some(pattern) = pattern(settings, &schedule.id) {
        let timezone = match schedule.timing {
            Timing::Cron { timezone, .. } => timezone,
            _ => settings.timezone.clone(),
        };
        schedule.timing = Timing::Cron { pattern, timezone };
        "the environment".clone_into(&mut from);
    }
    finish(schedule, &from, settings, now, problems)
}

/// What the environment says instead of the timing in code.
fn pattern(settings: &Settings, id: &ScheduleId) -> Option<String> {
    settings.schedules.get(id)?.pattern.clone()
}

fn finish(
    mut schedule: Schedule,
    from: &str,
    settings: &Settings,
    now: Timestamp,
    problems: &mut Problems,
) -> Option<(Schedule, Occurrences)> {
    let enabled = settings.schedules.get(&schedule.id).and_then(|said| said.enabled);
    schedule.enabled = enabled.unwrap_or(schedule.enabled);
    schedule.origin = Origin::Code { app: settings.app.clone() };
    match check(&schedule, now) {
        Ok(occurrences) => Some((schedule, occurrences)),
        Err(fault) => {
            problems.add(format!("the schedule {} (from {from}): {fault}", schedule.id));
            None
        }
    }
}
