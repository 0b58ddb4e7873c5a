//! The schedules of the code, and how the store comes to have them.
//!
//! A **release** of an application is what its code declares. Every process that fires schedules
//! says to the store which release it is of, again and again; so the store knows which are live.
//! The one that was first seen latest **rules**: added, changed and removed schedules follow it. A
//! schedule goes when no live release declares it. So during a rollout neither release removes or
//! changes back what the other has, and after a rollback, once the last process of the newer one has
//! gone, the older one rules again.
//!
//! 1. [`announce`](JobAdapter::announce): which releases are live, and which one rules.
//! 2. Where that is as it was, there is nothing to do.
//! 3. Else what is stored is compared with what is declared: [`plan`], a pure function.
//! 4. What it says is done, and told: [`Reconciliation`].
//!
//! Only a process whose role has cron does so, and only with schedules of its own application.
//! Schedules that were made at run time are left alone.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use shiftwork_adapter::{
    Announcement, Defined, JobAdapter, Origin, ReleaseId, Releases, Result, Schedule, ScheduleId,
    ScheduleRecord, Timestamp, Timing,
};
use tokio::time::Instant;
use tracing::{info, warn};

use super::Occurrences;
use super::code::Declared;
use crate::config::Settings;
use crate::patience;

/// How often a process says that it is there, where that cannot be known otherwise.
const RENEWED: Duration = Duration::from_secs(30);

/// For so many times of that it counts as there.
const MISSED: u32 = 3;

/// Where nobody else can be there, and nothing is forgotten but with the process: as good as ever.
const FOR_LONG: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// What a process declares, and how far the store has it.
#[derive(Debug)]
pub(crate) struct Release {
    id: ReleaseId,
    process: String,
    declared: Declared,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    announced: Option<Instant>,
    /// As it was when the schedules were last reconciled.
    seen: Option<(ReleaseId, BTreeSet<ScheduleId>)>,
    done: Option<Reconciliation>,
}

/// What became of an application's schedules when they were compared with its code:
/// [`Jobs::reconciliation`](crate::Jobs::reconciliation).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reconciliation {
    /// Whether the release of this process ruled: of all that are live, it was first seen latest.
    pub rules: bool,
    /// How many releases were live.
    pub live: usize,
    /// Those that were not there.
    pub added: Vec<ScheduleId>,
    /// Those that were there, and otherwise.
    pub replaced: Vec<ScheduleId>,
    /// Those that no live release declares any more.
    pub removed: Vec<ScheduleId>,
    /// Those that were there already; and those due once whose time has passed.
    pub untouched: Vec<ScheduleId>,
    /// Those that are otherwise than this code declares them and stay so: another release rules, or
    /// they were made at run time.
    pub left: Vec<ScheduleId>,
}

impl Release {
    /// What `declared` is, said by a process of that name.
    pub(crate) fn new(declared: Declared, process: String) -> Self {
        let id = ReleaseId::of(declared.iter().map(|(schedule, _)| schedule));
        Self { id, process, declared, state: Mutex::default() }
    }

    /// How many schedules the code declares.
    pub(crate) fn len(&self) -> usize {
        self.declared.len()
    }

    /// What was done last.
    pub(crate) fn done(&self) -> Option<Reconciliation> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).done.clone()
    }

    /// Whether the store has had the schedules of the code.
    pub(crate) fn is_reconciled(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).done.is_some()
    }

    /// When the process must say again that it is there; `None`: never, or it has not said so yet.
    pub(crate) fn due(&self, adapter: &dyn JobAdapter, settings: &Settings) -> Option<Instant> {
        let announced = self.state.lock().unwrap_or_else(PoisonError::into_inner).announced?;
        adapter.capabilities().many_processes.then(|| announced + renewed(settings))
    }

    /// Says that this process is there, and makes the application's schedules what the live
    /// releases declare. No call is waited for longer than `limit`. May be done again, from the
    /// beginning, where it failed on the way.
    pub(crate) async fn reconcile(
        &self,
        adapter: &dyn JobAdapter,
        settings: &Settings,
        limit: Duration,
    ) -> Result<()> {
        let lasts = match adapter.capabilities().many_processes {
            true => renewed(settings) * MISSED + settings.store.connect_timeout,
            false => FOR_LONG,
        };
        let declares = self.declared.iter().map(|(schedule, _)| schedule.id.clone()).collect();
        let said =
            Announcement::new(settings.app.clone(), self.process.clone(), self.id, declares, lasts);
        let began = Instant::now();
        let releases = patience::within(limit, "announce", adapter.announce(said)).await?;
        let seen = (releases.ruling, releases.declared.clone());
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.announced = Some(began);
            // To a store that lost what it knew, this release is new.
            if !releases.is_new && state.seen.as_ref() == Some(&seen) {
                return Ok(());
            }
        }
        let stored = patience::within(limit, "scheduled_jobs", adapter.scheduled_jobs())
            .await?
            .complete()?;
        let own = Origin::Code { app: settings.app.clone() };
        let plan = plan(&self.declared, self.id, &own, &releases, &stored.records);
        for id in &plan.removed {
            patience::within(limit, "cancel", adapter.cancel(id)).await?;
            info!(schedule = %id, "removed: no live release declares it any more");
        }
        for (schedule, occurrences) in &self.declared {
            let id = &schedule.id;
            if !plan.added.contains(id) && !plan.replaced.contains(id) {
                continue;
            }
            let other = stored.records.iter().find(|record| record.schedule.id == *id);
            if let Some(other) = other.filter(|other| other.schedule.origin != own) {
                warn!(schedule = %id, was = ?other.schedule.origin, now = %settings.app,
                    "this application takes over a schedule of another: do two of them declare it?");
            }
            let next = occurrences.first(stored.now);
            let define = adapter.schedule(schedule.clone(), next);
            let defined = patience::within(limit, "schedule", define).await?;
            if defined != Defined::Unchanged {
                info!(schedule = %id, timing = %schedule.timing, ?defined,
                    next = next.map(tracing::field::display), "schedule reconciled");
            }
        }
        tell(&plan, &stored.records);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.seen = Some(seen);
        state.done = Some(plan);
        Ok(())
    }

    /// Says that this process is there no more.
    pub(crate) async fn withdraw(&self, adapter: &dyn JobAdapter, settings: &Settings) {
        if self.state.lock().unwrap_or_else(PoisonError::into_inner).announced.is_none() {
            return;
        }
        // Where the store does not hear it, it knows when the time is over.
        let withdraw = adapter.withdraw(&settings.app, &self.process);
        let _ = patience::within(Duration::from_secs(1), "withdraw", withdraw).await;
    }
}

/// How often this process says that it is there: as seldom as it looks at idle queues, where that
/// was said, so that whoever pays by the command does not pay for this.
fn renewed(settings: &Settings) -> Duration {
    let asked = settings.store.idle_poll.unwrap_or_default();
    RENEWED.max(asked.min(10 * RENEWED))
}

/// What is to be done, of schedules declared by the release `id` of an application whose schedules
/// are of the origin `own`.
fn plan(
    declared: &[(Schedule, Occurrences)],
    id: ReleaseId,
    own: &Origin,
    releases: &Releases,
    stored: &[ScheduleRecord],
) -> Reconciliation {
    let mut plan = Reconciliation {
        rules: releases.ruling == id,
        live: releases.live,
        ..Reconciliation::default()
    };
    for (schedule, _) in declared {
        let known = stored.iter().find(|record| record.schedule.id == schedule.id);
        let list = match known.map(|record| &*record.schedule) {
            None if is_past(schedule, releases.now) => &mut plan.untouched,
            None => &mut plan.added,
            Some(stored) if stored == schedule => &mut plan.untouched,
            Some(stored) if stored.origin == Origin::RunTime => &mut plan.left,
            Some(_) if plan.rules => &mut plan.replaced,
            Some(_) => &mut plan.left,
        };
        list.push(schedule.id.clone());
    }
    if plan.rules {
        let is_orphan = |record: &&ScheduleRecord| {
            record.schedule.origin == *own && !releases.declared.contains(&record.schedule.id)
        };
        let orphans = stored.iter().filter(is_orphan);
        plan.removed = orphans.map(|record| record.schedule.id.clone()).collect();
    }
    plan
}

/// Whether it is due once, and was.
fn is_past(schedule: &Schedule, now: Timestamp) -> bool {
    matches!(schedule.timing, Timing::Once { at } if at <= now)
}

fn tell(done: &Reconciliation, stored: &[ScheduleRecord]) {
    let list =
        |ids: &[ScheduleId]| ids.iter().map(ScheduleId::as_str).collect::<Vec<_>>().join(", ");
    for id in &done.left {
        let other = stored.iter().find(|record| record.schedule.id == *id);
        match other.map(|other| &other.schedule.origin) {
            Some(Origin::RunTime) => warn!(schedule = %id,
                "was made at run time, and is left so; cancel it for the one in code to take its place"),
            origin => info!(schedule = %id, ?origin,
                "otherwise than in this code, and left so: another release of the application rules"),
        }
    }
    info!(
        rules = done.rules,
        live_releases = done.live,
        added = list(&done.added),
        replaced = list(&done.replaced),
        removed = list(&done.removed),
        untouched = done.untouched.len(),
        "schedules compared with the code"
    );
}

#[cfg(test)]
mod tests {
    use shiftwork_adapter::{AppName, JobName, JobTemplate, Payload, QueueName};

    use super::*;

    fn origin(app: &str) -> Origin {
        Origin::Code { app: AppName::new(app).unwrap() }
    }

    fn schedule(id: &str, seconds: u64) -> Schedule {
        let timing = Timing::Every { period_ms: seconds * 1000 };
        let template = JobTemplate::new(JobName::new("job").unwrap(), Payload::none());
        let (id, queue) = (ScheduleId::new(id).unwrap(), QueueName::new("queue").unwrap());
        let mut schedule = Schedule::new(id, queue, timing, template);
        schedule.origin = origin("shop");
        schedule
    }

    /// What a release does that declares `mine`, where `others` are declared by live releases too,
    /// and `stored` is there.
    fn planned(
        rules: bool,
        mine: &[Schedule],
        others: &[&str],
        stored: &[Schedule],
    ) -> Reconciliation {
        let declared: Declared =
            mine.iter().map(|s| (s.clone(), Occurrences::of(s).unwrap())).collect();
        let id = ReleaseId::of(mine);
        let ruling = if rules { id } else { ReleaseId::of([&schedule("other", 1)]) };
        let others = others.iter().map(|id| ScheduleId::new(id).unwrap());
        let all = mine.iter().map(|s| s.id.clone()).chain(others).collect();
        let releases = Releases::new(Timestamp::from_millis(5000), ruling, 2, all);
        let stored: Vec<_> =
            stored.iter().map(|s| ScheduleRecord::new(s.clone(), 1, None)).collect();
        plan(&declared, id, &origin("shop"), &releases, &stored)
    }

    fn ids(ids: &[ScheduleId]) -> Vec<&str> {
        ids.iter().map(ScheduleId::as_str).collect()
    }

    #[test]
    fn the_release_that_rules_adds_replaces_and_removes() {
        let stored = [schedule("same", 1), schedule("changed", 1), schedule("gone", 1)];
        let mine = [schedule("same", 1), schedule("changed", 2), schedule("new", 1)];
        let plan = planned(true, &mine, &[], &stored);
        assert_eq!(ids(&plan.added), ["new"]);
        assert_eq!(ids(&plan.replaced), ["changed"]);
        assert_eq!(ids(&plan.removed), ["gone"]);
        assert_eq!(ids(&plan.untouched), ["same"]);
        assert!(plan.rules && plan.left.is_empty());
    }

    #[test]
    fn what_another_live_release_declares_is_not_removed() {
        let plan =
            planned(true, &[], &["theirs"], &[schedule("theirs", 1), schedule("nobodys", 1)]);
        assert_eq!(ids(&plan.removed), ["nobodys"]);
    }

    #[test]
    fn a_release_that_does_not_rule_adds_what_is_not_there_and_leaves_all_else() {
        let stored = [schedule("changed", 1), schedule("gone", 1)];
        let plan = planned(false, &[schedule("changed", 2), schedule("lost", 1)], &[], &stored);
        assert_eq!((ids(&plan.added), ids(&plan.left)), (vec!["lost"], vec!["changed"]));
        assert!(plan.replaced.is_empty() && plan.removed.is_empty());
    }

    #[test]
    fn schedules_made_at_run_time_and_of_other_applications_are_left_alone() {
        let mut by_hand = schedule("by-hand", 1);
        by_hand.origin = Origin::RunTime;
        let mut office = schedule("office", 1);
        office.origin = origin("office");
        let plan = planned(true, &[schedule("by-hand", 2)], &[], &[by_hand, office]);
        assert_eq!(ids(&plan.left), ["by-hand"]);
        assert!(plan.removed.is_empty() && plan.replaced.is_empty());
    }

    #[test]
    fn what_was_due_once_is_not_added_again() {
        let once = |id, ms| {
            let at = Timestamp::from_millis(ms);
            let mut schedule = schedule(id, 1);
            schedule.timing = Timing::Once { at };
            schedule
        };
        let plan = planned(true, &[once("past", 5000), once("to-come", 5001)], &[], &[]);
        assert_eq!((ids(&plan.added), ids(&plan.untouched)), (vec!["to-come"], vec!["past"]));
    }
}
