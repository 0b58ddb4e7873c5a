//! Which processes declare schedules in their code, and so which releases of an application are
//! live.

use std::collections::{BTreeMap, BTreeSet};

use shiftwork_adapter::{Announcement, AppName, ReleaseId, Releases, ScheduleId, Timestamp};

/// The processes that have announced themselves, by application.
#[derive(Default)]
pub(crate) struct Announced(BTreeMap<AppName, App>);

#[derive(Default)]
struct App {
    processes: BTreeMap<String, Process>,
    releases: BTreeMap<ReleaseId, Release>,
    /// Counts the releases as they are first seen.
    seen: u64,
}

struct Process {
    release: ReleaseId,
    until: Timestamp,
}

struct Release {
    seen: u64,
    declares: BTreeSet<ScheduleId>,
}

impl Announced {
    /// Takes note of a process; answers which releases are live, and whether that is another answer
    /// than the one before.
    pub(crate) fn announce(&mut self, announced: Announcement, now: Timestamp) -> (Releases, bool) {
        let Announcement { app, process, release, declares, lasts, .. } = announced;
        let app = self.0.entry(app).or_default();
        app.processes.insert(process, Process { release, until: now + lasts });
        app.processes.retain(|_, process| process.until > now);
        let is_any_gone = app.forget_dead();
        let mut is_new = false;
        app.releases.entry(release).or_insert_with(|| {
            is_new = true;
            app.seen += 1;
            Release { seen: app.seen, declares }
        });
        let latest = app.releases.iter().max_by_key(|(_, release)| release.seen);
        let ruling = latest.map_or(release, |(id, _)| *id);
        let declared = app.releases.values().flat_map(|release| release.declares.iter().cloned());
        let mut releases = Releases::new(now, ruling, app.releases.len(), declared.collect());
        releases.is_new = is_new;
        (releases, is_any_gone || is_new)
    }

    /// Takes note that a process is gone; answers whether a release is, with it.
    pub(crate) fn withdraw(&mut self, app: &AppName, process: &str) -> bool {
        let Some(app) = self.0.get_mut(app) else { return false };
        app.processes.remove(process);
        app.forget_dead()
    }
}

impl App {
    /// Forgets releases of which no process is there; answers whether there were any.
    fn forget_dead(&mut self) -> bool {
        let Self { processes, releases, .. } = self;
        let is_live = |id: &ReleaseId| processes.values().any(|process| process.release == *id);
        let before = releases.len();
        releases.retain(|id, _| is_live(id));
        releases.len() != before
    }
}
