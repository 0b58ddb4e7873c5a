//! What the environment says: read, checked, and all that is wrong told at once.
//!
//! 1. [`source`]: the variables that are set, in the environment or in `shiftwork.toml`.
//! 2. [`load`]: each is read as its kind ([`parse`]) over its default ([`variables`]).
//! 3. [`check_names`]: what is set and not known is a slip, or none of ours.

mod parse;
mod settings;
mod source;
mod variables;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use shiftwork_adapter::{
    AppName, Namespace, Provider, QueueName, Retention, ScheduleId, StoreSettings, Timing,
};

use self::parse::Parsed;
pub use self::settings::{LogFormat, Role};
pub(crate) use self::settings::{
    QueueSelection, QueueSettings, RoleReason, ScheduleOverride, Settings,
};
pub(crate) use self::source::Source;
use self::source::Variables;
use self::variables::in_capitals;
use crate::error::Problems;
use crate::registry::Registry;
use crate::schedule::{NewSchedule, Occurrences, Zone};
use crate::{Backoff, provider};

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

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
/// As long as a year is where lengths of time are written.
const YEAR: Duration = Duration::from_secs(31_557_600);

/// Reads and checks everything; what is wrong is added to `problems`. `None` where too much is.
pub(crate) fn load(
    source: &Source,
    registry: &Registry,
    schedules: &[NewSchedule],
    providers: &[Provider],
    problems: &mut Problems,
) -> Option<Loaded> {
    let all = provider::all(providers);
    let own = all.iter().flat_map(|provider| provider.variables);
    let fallbacks: Vec<_> = own.flat_map(|variable| variable.fallbacks).copied().collect();
    let set = Variables::read(source, &fallbacks, problems);
    let mut warnings = Vec::new();
    let schedule_ids: BTreeSet<&str> =
        registry.names().chain(schedules.iter().map(NewSchedule::id)).collect();
    check_names(&set, registry, &schedule_ids, &all, problems, &mut warnings);
    check_collisions(registry, problems);

    let mut read = Reader { set: &set, problems };
    let role = read.set.get("WORKER_ROLE").map(|_| read.value("WORKER_ROLE", role));
    let forever = Duration::ZERO..=100 * YEAR;
    let count = 1..=1_000_000_000;
    let keep = |read: &mut Reader<'_>, age: &str, most: &str| {
        Some(Retention {
            age: read.value(age, parse::duration(Duration::ZERO..=100 * YEAR))?,
            count: usize::try_from(read.value(most, parse::whole(count.clone()))?).ok()?,
        })
    };
    let name = read.value("JOBS_PROVIDER", |text| Ok(text.to_ascii_lowercase()));
    let enabled = read.value("JOBS_ENABLED", parse::boolean);
    let serves = read.value("JOBS_QUEUES", queue_selection);
    let namespace = read.value("JOBS_NAMESPACE", |text| named(Namespace::new(text)));
    let app = match read.set.get("JOBS_APP") {
        Some(_) => read.value("JOBS_APP", |text| named(AppName::new(text))).or_else(program_name),
        None => program_name(),
    };
    let connect_timeout =
        read.value("JOBS_CONNECT_TIMEOUT", parse::duration(100 * MS..=60 * SECOND));
    let lazy = read.value("JOBS_LAZY", parse::boolean);
    let timezone = read.value("JOBS_TIMEZONE", |name| Zone::named(name).map(|_| name.to_owned()));
    let attempts = read.value("JOBS_ATTEMPTS", |text| positive(text, 1000));
    let exponential =
        read.value("JOBS_BACKOFF_TYPE", parse::choice(&[("exponential", true), ("fixed", false)]));
    let backoff_delay =
        read.value("JOBS_BACKOFF_DELAY", parse::duration_or_ms(Duration::ZERO..=YEAR));
    let backoff_max = read.value("JOBS_BACKOFF_MAX", parse::duration(MS..=YEAR));
    let backoff_jitter = read.value("JOBS_BACKOFF_JITTER", parse::boolean);
    let concurrency = read.size("JOBS_CONCURRENCY", 1..=100_000);
    let timeout = read.value("JOBS_TIMEOUT", parse::duration(MS..=YEAR));
    let shutdown_grace =
        read.value("JOBS_SHUTDOWN_GRACE", parse::duration(Duration::ZERO..=24 * HOUR));
    let max_payload = read.value("JOBS_MAX_PAYLOAD", parse::bytes(1..=64 << 20));
    let unknown_after = read.value("JOBS_UNKNOWN_AFTER", parse::duration(forever));
    let lease = read.value("JOBS_LEASE", parse::duration(SECOND..=HOUR));
    let idle_poll = match read.set.get("JOBS_IDLE_POLL") {
        Some(_) => read.value("JOBS_IDLE_POLL", parse::duration(100 * MS..=HOUR)).map(Some),
        None => Some(None),
    };
    let max_crashes = read.value("JOBS_MAX_CRASHES", |text| positive(text, 1000));
    let keep_completed = keep(&mut read, "JOBS_KEEP_COMPLETED", "JOBS_KEEP_COMPLETED_COUNT");
    let keep_dead = keep(&mut read, "JOBS_KEEP_DEAD", "JOBS_KEEP_DEAD_COUNT");
    let log = read.value("JOBS_LOG", log_format);
    let queues = read.queues(registry);
    let schedules = read.schedules(&schedule_ids);

    let provider = match provider::choose(&name?, providers) {
        Ok(provider) => provider,
        Err(fault) => {
            problems.add(fault);
            // Nothing starts any more; the rest is checked as under one that allows every role.
            let mut stand_in = provider::all(providers).first().copied()?;
            stand_in.capabilities.many_processes = true;
            stand_in
        }
    };
    let (role, role_reason) = effective_role(role, &provider, problems);
    warnings.extend(provider::passed_over(&provider, |name| set.get(name).is_some()));
    warnings.extend(left_undone(&provider, role, enabled != Some(false)));
    let variables = own_variables(&provider, &set, problems);
    let backoff_delay = backoff_delay?;
    let settings = Settings {
        enabled: enabled?,
        role,
        role_reason,
        serves: serves?,
        namespace: namespace?,
        app: app?,
        lazy: lazy?,
        timezone: timezone?,
        attempts: attempts?,
        backoff: match exponential? {
            true => Backoff::Exponential(backoff_delay),
            false => Backoff::Fixed(backoff_delay),
        },
        backoff_max: backoff_max?,
        backoff_jitter: backoff_jitter?,
        concurrency: concurrency?,
        queues,
        timeout: timeout?,
        shutdown_grace: shutdown_grace?,
        max_payload: usize::try_from(max_payload?).unwrap_or(usize::MAX),
        unknown_after: unknown_after?,
        store: {
            let mut store = StoreSettings::default();
            store.connect_timeout = connect_timeout?;
            store.lease = lease?;
            store.grace = (store.lease / 4).max(SECOND);
            store.idle_poll = idle_poll?;
            store.max_crashes = max_crashes?.get();
            store.keep_completed = keep_completed?;
            store.keep_dead = keep_dead?;
            store
        },
        schedules,
    };
    log?;
    Some(Loaded { settings, provider, variables, warnings })
}

impl LogFormat {
    /// What `JOBS_LOG` says, for a program that wants to heed it before anything else. A value
    /// that is none is text here, and told by [`JobsBuilder::start`](crate::JobsBuilder::start).
    pub fn from_env() -> Self {
        std::env::var("JOBS_LOG").ok().and_then(|text| log_format(&text).ok()).unwrap_or_default()
    }
}

/// Reads variables and gathers what is wrong.
struct Reader<'a> {
    set: &'a Variables,
    problems: &'a mut Problems,
}

impl Reader<'_> {
    /// The value of a variable, or its default. `None`: there is no default.
    fn value<T>(&mut self, name: &str, parse: impl Fn(&str) -> Parsed<T>) -> Option<T> {
        let text = self.set.get(name).or_else(|| variables::default(name))?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(allowed) => {
                let described = self.set.described(name);
                self.problems.add(format!("{described} is {text:?}; {allowed}"));
                // Nothing starts any more; the rest is checked all the same.
                parse(variables::default(name)?).ok()
            }
        }
    }

    fn size(&mut self, name: &str, range: RangeInclusive<u64>) -> Option<usize> {
        self.value(name, parse::whole(range)).and_then(|size| usize::try_from(size).ok())
    }

    fn queues(&mut self, registry: &Registry) -> BTreeMap<QueueName, QueueSettings> {
        let mut queues = BTreeMap::new();
        for queue in registry.queues() {
            let prefix = format!("JOBS_QUEUE_{}", in_capitals(queue.as_str()));
            let concurrency = self.size(&format!("{prefix}_CONCURRENCY"), 1..=100_000);
            let mut own = QueueSettings { concurrency, ..QueueSettings::default() };
            if let Some(weight) =
                self.value(&format!("{prefix}_WEIGHT"), |text| positive(text, 1000))
            {
                own.weight = weight.get();
            }
            queues.insert(queue.clone(), own);
        }
        queues
    }

    fn schedules(&mut self, ids: &BTreeSet<&str>) -> BTreeMap<ScheduleId, ScheduleOverride> {
        let mut schedules = BTreeMap::new();
        for &name in ids {
            let prefix = format!("JOBS_{}", in_capitals(name));
            let own = ScheduleOverride {
                pattern: self.value(&format!("{prefix}_SCHEDULE"), pattern),
                enabled: self.value(&format!("{prefix}_ENABLED"), parse::boolean),
            };
            if let Ok(id) = ScheduleId::new(name)
                && own != ScheduleOverride::default()
            {
                schedules.insert(id, own);
            }
        }
        schedules
    }
}

/// What is set and is no variable of this program: within two letters of one, it is a slip;
/// otherwise a job that is not in this binary, or something that others set.
fn check_names(
    set: &Variables,
    registry: &Registry,
    schedule_ids: &BTreeSet<&str>,
    providers: &[Provider],
    problems: &mut Problems,
    warnings: &mut Vec<String>,
) {
    let known = variables::known(registry, schedule_ids, providers);
    for name in set.names().filter(|name| name.starts_with("JOBS_")) {
        if known.iter().any(|known| known == name) {
            continue;
        }
        let described = set.described(name);
        let slip = known
            .iter()
            .map(|known| (strsim::osa_distance(known, name), known))
            .filter(|(distance, _)| *distance <= 2)
            .min();
        match slip {
            Some((_, meant)) => {
                problems.add(format!("there is no variable {described}; did you mean {meant}?"));
            }
            None => warnings.push(format!(
                "{described} is set, and nothing in this program reads it: a job or queue that is \
                 not in this binary?"
            )),
        }
    }
}

/// Two names that one variable would speak of.
fn check_collisions(registry: &Registry, problems: &mut Problems) {
    let queues = registry.queues();
    let jobs: Vec<_> = registry.names().collect();
    let queues: Vec<_> = queues.iter().map(QueueName::as_str).collect();
    for (what, names, pattern) in
        [("jobs", jobs, "JOBS_<ID>_SCHEDULE"), ("queues", queues, "JOBS_QUEUE_<NAME>_CONCURRENCY")]
    {
        let mut seen: BTreeMap<String, &str> = BTreeMap::new();
        for name in names {
            let capitals = in_capitals(name);
            if let Some(other) = seen.insert(capitals.clone(), name) {
                let variable = pattern.replace("<ID>", &capitals).replace("<NAME>", &capitals);
                problems.add(format!(
                    "the {what} {other:?} and {name:?} would share the variable {variable}; rename \
                     one of them"
                ));
            }
        }
    }
}

/// The role, and why. Where none would do, one to check the rest by.
fn effective_role(
    said: Option<Option<Role>>,
    provider: &Provider,
    problems: &mut Problems,
) -> (Role, RoleReason) {
    let shared = provider.capabilities.many_processes;
    match said {
        Some(Some(Role::Web)) if !shared => {
            problems.add(format!(
                "WORKER_ROLE is \"web\", and the provider {:?} keeps jobs in this process: nobody \
                 else could run them; use worker (or leave it out), or a provider that processes \
                 share",
                provider.name
            ));
            (Role::Worker, RoleReason::Set)
        }
        Some(Some(role)) => (role, RoleReason::Set),
        // It was said and is wrong: told already.
        Some(None) => (Role::Worker, RoleReason::Set),
        None if shared => (Role::Web, RoleReason::Default),
        None => (Role::Worker, RoleReason::InProcess),
    }
}

/// What a process of this role leaves undone that no other process can do.
fn left_undone(provider: &Provider, role: Role, enabled: bool) -> Option<String> {
    if provider.capabilities.many_processes || !enabled {
        return None;
    }
    let undone = match role {
        Role::Cron => "jobs that its schedules enqueue are not run",
        Role::Async => "schedules do not fire",
        Role::Web | Role::Worker => return None,
    };
    Some(format!(
        "WORKER_ROLE is {role}, and the provider {:?} keeps jobs in this process: {undone}, since \
         no other process can; use worker, or a provider that processes share",
        provider.name
    ))
}

fn own_variables(
    provider: &Provider,
    set: &Variables,
    problems: &mut Problems,
) -> BTreeMap<&'static str, String> {
    let mut own = BTreeMap::new();
    for variable in provider.variables {
        if !variable.name.starts_with("JOBS_") {
            problems.add(format!(
                "the provider {:?} declares a variable {:?}; its author must let it begin with \
                 JOBS_",
                provider.name, variable.name
            ));
        }
        let names = std::iter::once(&variable.name).chain(variable.fallbacks);
        let is_set = names.copied().find_map(|name| Some((name, set.get(name)?)));
        let default = variable.default.map(|value| (variable.name, value));
        let Some((name, value)) = is_set.or(default) else {
            if variable.required {
                problems.add(format!(
                    "JOBS_PROVIDER is {:?}, which needs {}: {}",
                    provider.name, variable.name, variable.doc
                ));
            }
            continue;
        };
        if let Err(allowed) = (variable.check)(value) {
            let name = set.described(name);
            problems.add(match variable.secret {
                true => format!("{name} is set to what it cannot be; {allowed}"),
                false => format!("{name} is {value:?}; {allowed}"),
            });
        }
        own.insert(variable.name, value.to_owned());
    }
    own
}

fn pattern(text: &str) -> Parsed<String> {
    let timing = Timing::Cron { pattern: text.into(), timezone: "UTC".into() };
    Occurrences::parse(&timing).map(|_| text.into())
}

fn role(text: &str) -> Parsed<Role> {
    parse::choice(&Role::ALL.map(|role| (role.as_str(), role)))(text)
}

fn log_format(text: &str) -> Parsed<LogFormat> {
    parse::choice(&[("text", LogFormat::Text), ("json", LogFormat::Json)])(text)
}

fn positive(text: &str, most: u64) -> Parsed<NonZeroU32> {
    let number = parse::whole(1..=most)(text)?;
    u32::try_from(number).ok().and_then(NonZeroU32::new).ok_or_else(|| "use a smaller one".into())
}

fn named<T>(name: Result<T, shiftwork_adapter::InvalidName>) -> Parsed<T> {
    name.map_err(|fault| fault.to_string())
}

/// `*`, `reports,mail`, `*,!reports`.
fn queue_selection(text: &str) -> Parsed<QueueSelection> {
    let parts: BTreeSet<_> =
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    let names = |parts: Vec<&str>| -> Parsed<Vec<QueueName>> {
        parts.into_iter().map(|name| named(QueueName::new(name))).collect()
    };
    let (excluded, included): (Vec<_>, Vec<_>) =
        parts.into_iter().partition(|part| part.starts_with('!'));
    let excluded: Vec<_> = excluded.into_iter().map(|part| &part[1..]).collect();
    match (included.as_slice(), excluded.as_slice()) {
        (["*"], []) => Ok(QueueSelection::All),
        (["*"] | [], [_, ..]) => names(excluded).map(QueueSelection::AllBut),
        ([_, ..], []) if !included.contains(&"*") => names(included).map(QueueSelection::Only),
        _ => {
            Err("use * for all queues, names such as reports,mail for some, or *,!reports for all \
                  but some"
                .into())
        }
    }
}

/// The program's file name, as far as it can be a name.
fn program_name() -> Option<AppName> {
    let program = std::env::args_os().next().unwrap_or_default();
    let stem = Path::new(&program).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let plain: String = stem
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' })
        .skip_while(|c| !c.is_ascii_alphanumeric())
        .take(shiftwork_adapter::MAX_NAME_LEN)
        .collect();
    AppName::new(&plain).or_else(|_| AppName::new("app")).ok()
}
