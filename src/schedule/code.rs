//! The schedules that stand in code, and how the store comes to have them.
//!
//! Only a process whose role has cron reconciles, and only schedules of its own application:
//! added and changed ones are defined, those that no job declares any more are removed. Schedules
//! that were made at run time are left alone.

use shiftwork_adapter::{
    AppName, Defined, JobAdapter, JobTemplate, Origin, Payload, Result, Schedule, ScheduleId,
    Timing,
};
use tracing::{info, warn};

use super::Occurrences;
use crate::config::Settings;
use crate::error::Problems;
use crate::job::CodeTiming;
use crate::patience;
use crate::registry::{Registered, Registry};

/// Schedules as code declares them.
pub(crate) type Declared = Vec<(Schedule, Occurrences)>;

/// The schedules that stand beside handlers, with what the environment says of them. What is wrong
/// with any is added to `problems`.
pub(crate) fn declared(
    registry: &Registry,
    settings: &Settings,
    problems: &mut Problems,
) -> Declared {
    registry.iter().filter_map(|job| read(job, settings, problems)).collect()
}

fn read(
    job: &Registered,
    settings: &Settings,
    problems: &mut Problems,
) -> Option<(Schedule, Occurrences)> {
    let id = ScheduleId::new(job.name.as_str()).ok()?;
    let said = settings.schedules.get(&id);
    let in_code = &job.definition.schedule;
    let pattern = said.and_then(|said| said.pattern.clone());
    let from = match &pattern {
        Some(_) => "the environment".to_owned(),
        None => job.definition.place.to_string(),
    };
    let zone = || in_code.timezone.clone().unwrap_or_else(|| settings.timezone.clone());
    let timing = match (pattern, &in_code.timing) {
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
            "the job {:?} has a schedule (from {from}) and needs a payload, which a schedule in \
             code cannot give; schedule it with Jobs::schedule, or give it no payload",
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
    let occurrences = match Occurrences::parse(&timing) {
        Ok(occurrences) => occurrences,
        Err(fault) => {
            problems.add(format!("the schedule {id} (from {from}): {fault}"));
            return None;
        }
    };
    let template = JobTemplate::new(job.name.clone(), Payload::none());
    let mut schedule = Schedule::new(id, job.queue.clone(), timing, template);
    schedule.template.priority = job.definition.options.priority.unwrap_or_default();
    schedule.overlap = in_code.overlap;
    schedule.misfire = in_code.misfire;
    schedule.enabled = said.and_then(|said| said.enabled).unwrap_or(true);
    schedule.origin = Origin::Code { app: settings.app.clone() };
    Some((schedule, occurrences))
}

/// Makes the store's schedules of this application those of its code. May be done again, from the
/// beginning, where it failed on the way.
pub(crate) async fn reconcile(
    adapter: &dyn JobAdapter,
    settings: &Settings,
    declared: &Declared,
) -> Result<()> {
    let limit = patience::behind(settings.store.connect_timeout);
    let app: &AppName = &settings.app;
    let stored =
        patience::within(limit, "scheduled_jobs", adapter.scheduled_jobs()).await?.complete()?;
    let own = Origin::Code { app: app.clone() };
    for record in &stored.records {
        let id = &record.schedule.id;
        let is_declared = declared.iter().any(|(schedule, _)| schedule.id == *id);
        if record.schedule.origin == own
            && !is_declared
            && patience::within(limit, "cancel", adapter.cancel(id)).await?
        {
            info!(schedule = %id, "removed: no job declares it any more");
        }
    }
    for (schedule, occurrences) in declared {
        let other = stored.records.iter().find(|record| record.schedule.id == schedule.id);
        if let Some(other) = other.filter(|other| other.schedule.origin != own) {
            warn!(schedule = %schedule.id, was = ?other.schedule.origin, now = %app,
                "this application takes over a schedule of another: do two of them declare it?");
        }
        let next = occurrences.after(stored.now);
        let define = adapter.schedule(schedule.clone(), next);
        let defined = patience::within(limit, "schedule", define).await?;
        if defined != Defined::Unchanged {
            info!(schedule = %schedule.id, timing = %schedule.timing, ?defined,
                next = next.map(tracing::field::display), "schedule reconciled");
        }
    }
    Ok(())
}
