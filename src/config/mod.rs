//! What the environment says.

mod settings;

use std::collections::BTreeMap;

use shiftwork_adapter::Provider;

pub use self::settings::{LogFormat, Role};
pub(crate) use self::settings::{
    QueueSelection, QueueSettings, RoleReason, ScheduleOverride, Settings,
};
use crate::error::Problems;
use crate::registry::Registry;

/// Where variables come from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// The process's environment, over `shiftwork.toml` in the working directory.
    Environment,
    /// These alone.
    Given(BTreeMap<String, String>),
}

/// What was read.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) settings: Settings,
    pub(crate) provider: Provider,
    /// The values of the provider's own variables, defaults filled in.
    pub(crate) variables: BTreeMap<&'static str, String>,
    /// What is not wrong but probably not meant.
    pub(crate) warnings: Vec<String>,
}

/// Reads and checks everything; what is wrong is added to `problems`, all of it at once.
pub(crate) fn load(
    source: &Source,
    registry: &Registry,
    providers: &[Provider],
    problems: &mut Problems,
) -> Option<Loaded> {
    use std::time::Duration;
    let _ = registry;
    let vars: BTreeMap<String, String> = match source {
        Source::Environment => std::env::vars().collect(),
        Source::Given(vars) => vars.clone(),
    };
    let var = |name: &str| vars.get(name).cloned();
    let name = var("JOBS_PROVIDER").unwrap_or_else(|| "memory".into());
    let provider = match crate::provider::choose(&name, providers) {
        Ok(provider) => provider,
        Err(fault) => {
            problems.add(fault);
            return None;
        }
    };
    let ms = |name: &str, default: u64| {
        Duration::from_millis(var(name).and_then(|v| v.parse().ok()).unwrap_or(default))
    };
    let settings = Settings {
        enabled: var("JOBS_ENABLED").as_deref() != Some("false"),
        provider: name,
        role: Role::Worker,
        role_reason: RoleReason::InProcess,
        serves: QueueSelection::All,
        namespace: shiftwork_adapter::Namespace::new("shiftwork").ok()?,
        app: shiftwork_adapter::AppName::new("app").ok()?,
        attempts: std::num::NonZeroU32::new(3)?,
        backoff: crate::Backoff::Exponential(Duration::from_secs(2)),
        backoff_max: Duration::from_secs(3600),
        backoff_jitter: var("JOBS_BACKOFF_JITTER").as_deref() != Some("false"),
        concurrency: var("JOBS_CONCURRENCY").and_then(|v| v.parse().ok()).unwrap_or(16),
        queues: BTreeMap::new(),
        timeout: ms("JOBS_TIMEOUT", 900_000),
        shutdown_grace: ms("JOBS_SHUTDOWN_GRACE", 30_000),
        max_payload: 1 << 20,
        unknown_after: Duration::from_secs(24 * 3600),
        store: shiftwork_adapter::StoreSettings::default(),
        schedules: BTreeMap::new(),
        log: LogFormat::Text,
    };
    let variables = provider
        .variables
        .iter()
        .filter_map(|v| Some((v.name, var(v.name).or_else(|| v.default.map(Into::into))?)))
        .collect();
    Some(Loaded { settings, provider, variables, warnings: Vec::new() })
}
