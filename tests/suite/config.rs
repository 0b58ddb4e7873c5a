//! What the environment may say, and what is answered where it says something else.

use std::path::Path;
use std::sync::{Arc, Mutex};

use shiftwork::adapter::{
    AdapterError, Capabilities, Connection, ErrorKind as AdapterErrorKind, JobAdapter, Origin,
    Provider, TestClock, Variable, Wakeups,
};
use shiftwork::{ErrorKind, FailureKind, JobState, JobsBuilder, Role};
use tokio::time::sleep;

use crate::faulty::Faulty;
use crate::support::*;
use shiftwork::prelude::*;

#[job(name = "data-import", queue = "imports", cron = "@daily")]
async fn data_import() {}

async fn start(vars: &[(&str, &str)]) -> shiftwork::Result<Jobs> {
    Jobs::from_vars(vars.iter().copied())
        .without_linked_jobs()
        .register(data_import::definition())
        .start()
        .await
}

const NO_URL: &str = "which needs JOBS_REDIS_URL: where Redis is";
const NO_REDIS: &str = "shiftwork = { features = [\"redis\"] } in Cargo.toml";

async fn refusal(vars: &[(&str, &str)]) -> String {
    let error = start(vars).await.expect_err("it was accepted");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    error.to_string()
}

#[tokio::test]
async fn every_wrong_value_is_refused_with_the_variable_the_value_and_what_is_allowed() {
    for (name, value, allowed) in [
        ("JOBS_ENABLED", "maybe", "use true or false"),
        ("JOBS_PROVIDER", "memroy", "did you mean \"memory\"?"),
        ("JOBS_PROVIDER", "redis", if cfg!(feature = "redis") { NO_URL } else { NO_REDIS }),
        ("JOBS_PROVIDER", "postgres", "use shiftwork_postgres as _;"),
        ("WORKER_ROLE", "wroker", "use web, worker, cron or async; did you mean \"worker\"?"),
        ("WORKER_ROLE", "web", "nobody else could run them"),
        ("JOBS_QUEUES", "import", "did you mean \"imports\"?"),
        ("JOBS_QUEUES", "*,imports", "*,!reports for all but some"),
        ("JOBS_QUEUES", "a:b", "contains ':'"),
        ("JOBS_NAMESPACE", "a{b}", "contains '{'"),
        ("JOBS_APP", "", ""),
        ("JOBS_APP", "a b", "contains ' '"),
        ("JOBS_CONNECT_TIMEOUT", "10ms", "from 100ms to 1m"),
        ("JOBS_CONNECT_TIMEOUT", "5", "with its unit"),
        ("JOBS_LAZY", "often", "use true or false"),
        ("JOBS_CONCURRENCY", "0", "a whole number from 1 to 100000"),
        ("JOBS_CONCURRENCY", "many", "a whole number from 1 to 100000"),
        ("JOBS_QUEUE_IMPORTS_CONCURRENCY", "0", "a whole number from 1 to 100000"),
        ("JOBS_QUEUE_IMPORTS_WEIGHT", "-1", "a whole number from 1 to 1000"),
        ("JOBS_ATTEMPTS", "0", "a whole number from 1 to 1000"),
        ("JOBS_BACKOFF_TYPE", "linear", "use exponential or fixed"),
        ("JOBS_BACKOFF_DELAY", "soon", "a bare number is milliseconds"),
        ("JOBS_BACKOFF_MAX", "0", "from 1ms"),
        ("JOBS_BACKOFF_JITTER", "some", "use true or false"),
        ("JOBS_TIMEOUT", "30", "with its unit"),
        ("JOBS_LEASE", "10ms", "from 1s to 1h"),
        ("JOBS_MAX_CRASHES", "0", "a whole number from 1 to 1000"),
        ("JOBS_SHUTDOWN_GRACE", "-5s", "a length of time such as"),
        ("JOBS_MAX_PAYLOAD", "1GB", "64KiB or 1MiB"),
        ("JOBS_UNKNOWN_AFTER", "later", "a length of time such as"),
        ("JOBS_KEEP_COMPLETED", "1", "with its unit"),
        ("JOBS_KEEP_COMPLETED_COUNT", "all", "a whole number from 1"),
        ("JOBS_KEEP_DEAD", "forever", "a length of time such as"),
        ("JOBS_KEEP_DEAD_COUNT", "0", "a whole number from 1"),
        ("JOBS_DATA_IMPORT_SCHEDULE", "0 25 * * *", "hour is \"25\""),
        ("JOBS_DATA_IMPORT_ENABLED", "often", "use true or false"),
        ("JOBS_LOG", "xml", "use text or json"),
        ("JOBS_MEMORY_CAPACITY", "none", "JOBS_MEMORY_CAPACITY"),
    ] {
        if value.is_empty() {
            // Set and empty is not set.
            start(&[(name, value)]).await.unwrap();
            continue;
        }
        let error = start(&[(name, value)]).await.expect_err(name);
        let text = error.to_string();
        assert!(text.contains(name) || name == "JOBS_DATA_IMPORT_SCHEDULE", "{text}");
        assert!(text.contains(&format!("{value:?}")) || text.contains(value), "{text}");
        assert!(text.contains(allowed), "{name}={value}: {text}");
    }
}

#[tokio::test]
async fn a_wrong_provider_hides_nothing_else() {
    let text = refusal(&[
        ("JOBS_PROVIDER", "memroy"),
        ("WORKER_ROLE", "web"),
        ("JOBS_QUEUES", "import"),
        ("JOBS_DATA_IMPORT_SCHEDULE", "nonsense"),
    ])
    .await;
    assert!(text.starts_with("3 things are wrong:"), "{text}");
    for told in ["memroy", "did you mean \"imports\"?", "nonsense"] {
        assert!(text.contains(told), "{text}");
    }
}

#[tokio::test]
async fn all_that_is_wrong_is_told_at_once() {
    let text = refusal(&[
        ("JOBS_ATTEMPTS", "x"),
        ("JOBS_TIMEOUT", "y"),
        ("WORKER_ROLE", "z"),
        ("JOBS_DATA_IMPORT_SCHEDULE", "nonsense"),
        ("JOBS_CONCURENCY", "4"),
        ("JOBS_MEMORY_CAPACITY", "lots"),
    ])
    .await;
    assert!(text.starts_with("6 things are wrong:"), "{text}");
    assert!(text.contains("JOBS_MEMORY_CAPACITY is \"lots\"; use a whole number"), "{text}");
    for name in ["JOBS_ATTEMPTS", "JOBS_TIMEOUT", "WORKER_ROLE", "nonsense", "JOBS_CONCURRENCY?"] {
        assert!(text.contains(name), "{text}");
    }
}

#[tokio::test]
async fn a_name_within_two_letters_of_a_known_one_is_a_slip_and_others_are_left_alone() {
    for (slip, meant) in [
        ("JOBS_ATTEMTPS", "JOBS_ATTEMPTS"),
        ("JOBS_TIMEOUTS", "JOBS_TIMEOUT"),
        ("JOBS_DATA_IMPORTS_ENABLED", "JOBS_DATA_IMPORT_ENABLED"),
        ("JOBS_QUEUE_IMPORT_CONCURRENCY", "JOBS_QUEUE_IMPORTS_CONCURRENCY"),
        ("JOBS_MEMORY_CAPACTIY", "JOBS_MEMORY_CAPACITY"),
    ] {
        let text = refusal(&[(slip, "1")]).await;
        assert!(text.contains(slip) && text.contains(&format!("did you mean {meant}?")), "{text}");
    }
    let others = [
        ("JOBS_SERVICE_HOST", "10.0.0.1"),
        ("JOBS_ANOTHER_JOB_SCHEDULE", "@daily"),
        ("JOBS_REDIS_URL", "redis://localhost"),
        ("UNRELATED", "x"),
    ];
    start(&others).await.unwrap().shutdown().await.unwrap();
}

#[tokio::test]
async fn two_names_that_one_variable_would_speak_of_are_an_error() {
    #[job(name = "data.import")]
    async fn twin() {}
    let error = Jobs::from_vars([("JOBS_PROVIDER", "memory")])
        .without_linked_jobs()
        .register(data_import::definition())
        .register(twin::definition())
        .start()
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(text.contains("\"data-import\" and \"data.import\""), "{text}");
    assert!(text.contains("JOBS_DATA_IMPORT_SCHEDULE"), "{text}");
}

#[tokio::test]
async fn a_wrong_value_a_missing_state_and_an_unknown_queue_are_told_together() {
    #[derive(Clone)]
    struct Mailer;
    #[job(queue = "imports")]
    async fn needs_a_mailer(_mailer: State<Mailer>) {}
    #[job]
    async fn needs_a_number(number: u8) {
        let _ = number;
    }
    let vars = [
        ("JOBS_ATTEMPTS", "x"),
        ("JOBS_LEASE", "1ms"),
        ("WORKER_ROLE", "wroker"),
        ("JOBS_QUEUES", "imports,import"),
        ("JOBS_NEEDS_A_NUMBER_SCHEDULE", "@daily"),
    ];
    let process = Jobs::from_vars(vars)
        .without_linked_jobs()
        .register(data_import::definition())
        .register(needs_a_mailer::definition())
        .register(needs_a_number::definition());
    let error = process.start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = error.to_string();
    for part in [
        "6 things are wrong:",
        "JOBS_ATTEMPTS is \"x\"",
        "JOBS_LEASE is \"1ms\"",
        "WORKER_ROLE is \"wroker\"",
        "JOBS_QUEUES names \"import\"",
        "the job \"needs_a_number\" has a schedule",
        "the job \"needs_a_mailer\" (at tests/suite/config.rs:",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}

/// The memory store, which says that other processes share it.
pub const SHARED: Provider = Provider {
    name: "shared",
    summary: "jobs in this process, as if others saw them",
    capabilities: Capabilities {
        survives_restart: false,
        many_processes: true,
        wakeups: Wakeups::Certain,
    },
    variables: &[],
    connect: |connection| Box::pin(shared(connection)),
};

async fn shared(connection: Connection) -> Result<Arc<dyn JobAdapter>, AdapterError> {
    let store = Faulty::on(memory(connection.settings, connection.clock).await?);
    store.shared_by_processes();
    Ok(store)
}

/// A process with a store of its own, made as the environment says.
fn process(vars: &[(&str, &str)]) -> JobsBuilder {
    Jobs::from_vars(vars.iter().copied())
        .without_linked_jobs()
        .provider(SHARED)
        .clock(Arc::new(TestClock::new(START)))
}

#[tokio::test(start_paused = true)]
async fn under_a_store_that_processes_share_nothing_said_is_web_and_runs_nothing() {
    for (said, role, works) in [
        (None, Role::Web, false),
        (Some("web"), Role::Web, false),
        (Some("worker"), Role::Worker, true),
    ] {
        let mut vars = vec![("JOBS_PROVIDER", "shared"), ("JOBS_KEEP_COMPLETED", "30d")];
        vars.extend(said.map(|role| ("WORKER_ROLE", role)));
        let jobs = process(&vars).register(data_import::definition()).start().await.unwrap();
        assert_eq!(jobs.health().await.role, role);
        let run = jobs.enqueue(data_import::job()).await.unwrap();
        sleep(hours(24) + seconds(1)).await;
        let state = jobs.job(run.id()).await.unwrap().unwrap().state;
        assert_eq!(state, if works { JobState::Completed } else { JobState::Waiting }, "{said:?}");
        assert_eq!(jobs.is_scheduled("data-import").await.unwrap(), works, "{said:?}");
        // The one that was enqueued, and the one of midnight.
        let total = jobs.counts("imports").await.unwrap().total();
        assert_eq!(total, if works { 2 } else { 1 }, "{said:?}");
        jobs.shutdown().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_disabled_process_ticks_nothing_whatever_its_role() {
    for role in Role::ALL {
        let vars = [
            ("JOBS_PROVIDER", "shared"),
            ("JOBS_ENABLED", "false"),
            ("WORKER_ROLE", role.as_str()),
        ];
        let jobs = process(&vars).register(data_import::definition()).start().await.unwrap();
        assert_eq!(jobs.health().await.role, role);
        // One that is in the store all the same.
        let hourly = NewSchedule::every("hourly", hours(1), data_import::job());
        jobs.schedule(hourly).await.unwrap();
        sleep(hours(24) + seconds(1)).await;
        let schedules = jobs.scheduled_jobs().await.unwrap();
        let [hourly] = &schedules[..] else { panic!("{role}: {schedules:?}") };
        assert_eq!((hourly.fired, hourly.missed), (0, 0), "{role}");
        assert_eq!(jobs.counts("imports").await.unwrap().total(), 0, "{role}");
        jobs.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn what_the_environment_says_reaches_the_store() {
    static SEEN: Mutex<Vec<Connection>> = Mutex::new(Vec::new());
    const fn variable(name: &'static str, default: Option<&'static str>) -> Variable {
        Variable {
            name,
            fallbacks: &[],
            required: false,
            default,
            secret: false,
            doc: "",
            check: Variable::any,
        }
    }
    const NOTING: Provider = Provider {
        name: "noting",
        summary: "notes what it is told",
        variables: &[
            variable("JOBS_NOTING_URL", None),
            variable("JOBS_NOTING_TABLE", None),
            variable("JOBS_NOTING_SIZE", Some("10")),
            variable("JOBS_NOTING_DEPTH", Some("3")),
        ],
        connect: |connection| {
            SEEN.lock().unwrap().push(connection);
            let closed = AdapterError::new(AdapterErrorKind::Unavailable, "connect", "closed");
            Box::pin(async { Err(closed) })
        },
        ..SHARED
    };
    let told = async |vars: &[(&str, &str)]| {
        let vars = vars.iter().copied().chain([("JOBS_PROVIDER", "noting")]);
        let process = Jobs::from_vars(vars).without_linked_jobs().provider(NOTING);
        let error = process.start().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Store, "{error}");
        assert!(error.to_string().contains("closed"), "{error}");
        SEEN.lock().unwrap().pop().expect("it was told")
    };
    let days = |count: u64| hours(24 * count);

    let said = told(&[
        ("JOBS_NAMESPACE", "billing"),
        ("JOBS_CONNECT_TIMEOUT", "700ms"),
        ("JOBS_LEASE", "20s"),
        ("JOBS_MAX_CRASHES", "7"),
        ("JOBS_KEEP_COMPLETED", "2d"),
        ("JOBS_KEEP_COMPLETED_COUNT", "11"),
        ("JOBS_KEEP_DEAD", "5d"),
        ("JOBS_KEEP_DEAD_COUNT", "13"),
        ("JOBS_NOTING_URL", "nowhere:1"),
        ("JOBS_NOTING_DEPTH", "5"),
    ])
    .await;
    assert_eq!(said.namespace.as_str(), "billing");
    let settings = said.settings;
    assert_eq!(settings.connect_timeout, std::time::Duration::from_millis(700));
    assert_eq!((settings.lease, settings.grace), (seconds(20), seconds(5)));
    assert_eq!(settings.max_crashes, 7);
    let (completed, dead) = (settings.keep_completed, settings.keep_dead);
    assert_eq!((completed.age, completed.count), (days(2), 11));
    assert_eq!((dead.age, dead.count), (days(5), 13));
    let variables: Vec<_> = said.variables.iter().map(|(&name, value)| (name, &**value)).collect();
    assert_eq!(
        variables,
        [("JOBS_NOTING_DEPTH", "5"), ("JOBS_NOTING_SIZE", "10"), ("JOBS_NOTING_URL", "nowhere:1")]
    );

    // Nothing said.
    let unsaid = told(&[]).await;
    assert_eq!(unsaid.namespace.as_str(), "shiftwork");
    let settings = unsaid.settings;
    assert_eq!(settings.connect_timeout, seconds(5));
    assert_eq!((settings.lease, settings.grace), (seconds(8), seconds(2)));
    assert_eq!(settings.max_crashes, 3);
    let (completed, dead) = (settings.keep_completed, settings.keep_dead);
    assert_eq!((completed.age, completed.count), (seconds(0), 10_000));
    assert_eq!((dead.age, dead.count), (days(30), 100_000));
    assert_eq!(unsaid.variables.len(), 2);

    // However short the lease, nobody is taken for dead within a second of grace.
    assert_eq!(told(&[("JOBS_LEASE", "1s")]).await.settings.grace, seconds(1));
}

#[tokio::test]
async fn no_secret_is_shown_in_an_error_or_debug() {
    const VAULT: Provider = Provider {
        name: "vault",
        summary: "never opens",
        variables: &[Variable {
            name: "JOBS_VAULT_PASSWORD",
            default: None,
            fallbacks: &[],
            required: false,
            secret: true,
            doc: "opens it",
            check: Variable::any,
        }],
        connect: |connection| {
            assert_eq!(connection.variables["JOBS_VAULT_PASSWORD"], "hunter2");
            // All that an adapter has at hand, as one may well show it.
            let fault = format!("JOBS_VAULT_PASSWORD is wrong: {connection:?}");
            let error = AdapterError::new(AdapterErrorKind::Invalid, "connect", fault);
            Box::pin(async { Err(error) })
        },
        ..SHARED
    };
    // Where no server is.
    let url = "redis://ada:hunter2@localhost:1";
    for (name, value, provider) in [
        // Its store refuses it, or something else is wrong.
        ("JOBS_VAULT_PASSWORD", "hunter2", "vault"),
        ("JOBS_VAULT_PASSWORD", "hunter2", "volt"),
        // A slip in the name.
        ("JOBS_VAULT_PASSWRD", "hunter2", "vault"),
        ("JOBS_REDIS_ULR", url, "memory"),
        // A provider that is not in the program, or whose store does not answer.
        ("JOBS_REDIS_URL", url, "redis"),
    ] {
        let vars = [(name, value), ("JOBS_PROVIDER", provider), ("JOBS_CONNECT_TIMEOUT", "100ms")];
        let process = Jobs::from_vars(vars).without_linked_jobs().provider(VAULT);
        let shown = format!("{process:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
        let error = process.start().await.unwrap_err();
        let is_away = provider == "redis" && cfg!(feature = "redis");
        assert_eq!(error.kind() == ErrorKind::Store, is_away, "{error}");
        let shown = format!("{error} {error:?} {error:#?}");
        assert!(shown.contains(name) || name.ends_with("_URL") || provider == "volt", "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    // One that is read by nobody is told by its name, and no more.
    crate::events::record();
    let jobs = start(&[("JOBS_REDIS_URL", url)]).await.unwrap();
    assert!(!format!("{jobs:?}").contains("hunter2"));
    let events = crate::events::record().with([]).into_iter().map(|event| format!("{event:?}"));
    let told: Vec<_> = events.filter(|event| event.contains("JOBS_REDIS_URL is set")).collect();
    assert!(!told.is_empty() && !told.iter().any(|event| event.contains("hunter2")), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_may_take_as_long_as_the_environment_says() {
    #[job(attempts = 1)]
    async fn endless() {
        std::future::pending::<()>().await;
    }
    let world = World::new().await;
    let jobs = world.worker([("JOBS_TIMEOUT", "90s")], [endless::definition()]).await;
    let run = jobs.trigger(endless::job()).await.unwrap();
    let pending = run.result(seconds(89)).await.unwrap();
    assert_eq!(pending, RunStatus::Pending(JobState::Active));
    let result = run.result(seconds(3)).await.unwrap().finished().unwrap();
    assert_eq!(result.error.unwrap().kind, FailureKind::Timeout);
}

#[tokio::test(start_paused = true)]
async fn a_payload_may_be_as_large_as_the_environment_says() {
    #[job]
    async fn print(text: String) {
        let _ = text;
    }
    let world = World::new().await;
    for (said, bytes) in [("10", 10), ("1KiB", 1024), ("2MiB", 2 << 20)] {
        let jobs = world.worker([("JOBS_MAX_PAYLOAD", said)], [print::definition()]).await;
        // With its quotes, as large as it may be.
        jobs.enqueue(print::job("x".repeat(bytes - 2))).await.unwrap();
        let error = jobs.enqueue(print::job("x".repeat(bytes - 1))).await.unwrap_err();
        let fault = format!("has {} bytes and JOBS_MAX_PAYLOAD allows {bytes}", bytes + 1);
        assert!(error.to_string().contains(&fault), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_schedule_is_its_applications_which_is_the_program_where_nothing_is_said() {
    let program = std::env::args().next().unwrap();
    let program = Path::new(&program).file_stem().unwrap().to_str().unwrap();
    for (vars, app) in [(&[][..], program), (&[("JOBS_APP", "billing")][..], "billing")] {
        let jobs = process(vars).register(data_import::definition()).start().await.unwrap();
        let schedules = jobs.scheduled_jobs().await.unwrap();
        let Origin::Code { app: own } = &schedules[0].schedule.origin else {
            panic!("{schedules:?}")
        };
        assert_eq!(own.as_str(), app);
    }
}

#[tokio::test(start_paused = true)]
async fn a_finished_job_is_kept_as_long_and_among_as_many_as_the_environment_says() {
    #[job(attempts = 1)]
    async fn succeed(well: bool) -> Result<(), JobError> {
        if well { Ok(()) } else { Err("closed".into()) }
    }
    // Those that are still there of three that ended one after the other.
    let left = async |well: bool, vars: &[(&str, &str)], after| -> Vec<usize> {
        let jobs = process(vars).register(succeed::definition()).start().await.unwrap();
        let mut runs = Vec::new();
        for _ in 0..3 {
            runs.push(jobs.enqueue(succeed::job(well)).await.unwrap());
            while jobs.counts("default").await.unwrap().active > 0
                || jobs.counts("default").await.unwrap().waiting > 0
            {
                sleep(seconds(1)).await;
            }
        }
        sleep(after).await;
        let mut left = Vec::new();
        for (place, run) in runs.iter().enumerate() {
            if jobs.job(run.id()).await.unwrap().is_some() {
                left.push(place + 1);
            }
        }
        left
    };
    let (all, none) = (vec![1, 2, 3], Vec::<usize>::new());
    for (well, age, count) in [
        (true, "JOBS_KEEP_COMPLETED", "JOBS_KEEP_COMPLETED_COUNT"),
        (false, "JOBS_KEEP_DEAD", "JOBS_KEEP_DEAD_COUNT"),
    ] {
        assert_eq!(left(well, &[(age, "1h")], minutes(59)).await, all, "{age}");
        assert_eq!(left(well, &[(age, "1h")], minutes(61)).await, none, "{age}");
        assert_eq!(left(well, &[(age, "1h"), (count, "2")], minutes(59)).await, [2, 3], "{count}");
    }
    // Nothing said: what was done well is gone at once, and a dead letter stays for a month.
    assert_eq!(left(true, &[], seconds(5)).await, none);
    assert_eq!(left(false, &[], hours(29 * 24)).await, all);
    assert_eq!(left(false, &[], hours(31 * 24)).await, none);
}

#[tokio::test(start_paused = true)]
async fn a_process_does_what_its_role_says() {
    let world = World::new().await;
    let store = Faulty::on(world.store.clone());
    store.shared_by_processes();
    for (role, runs, fires) in
        [("worker", true, true), ("async", true, false), ("cron", false, true)]
    {
        let process = world.process_on(store.clone(), [("WORKER_ROLE", role)]);
        let jobs = process.register(data_import::definition()).start().await.unwrap();
        let scheduled = jobs.is_scheduled("data-import").await.unwrap();
        assert_eq!(scheduled, fires, "{role}");
        let run = jobs.enqueue(data_import::job()).await.unwrap();
        sleep(seconds(1)).await;
        let ran = jobs.job(run.id()).await.unwrap().unwrap().state.is_finished();
        assert_eq!(ran, runs, "{role}");
        assert_eq!(jobs.health().await.role.as_str(), role);
        jobs.cancel("data-import").await.unwrap();
        jobs.cancel_job(run.id()).await.unwrap();
        jobs.shutdown().await.unwrap();
    }
    // Nothing said: under an adapter of one process, who else could?
    let jobs = world.worker([], [data_import::definition()]).await;
    assert_eq!(jobs.health().await.role, Role::Worker);
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn the_server_is_named_by_the_first_of_three_variables_that_is_set() {
    for (names, used) in [
        (&["JOBS_REDIS_URL", "REDIS_URL", "UPSTASH_REDIS_URL"][..], "JOBS_REDIS_URL"),
        (&["UPSTASH_REDIS_URL", "REDIS_URL"], "REDIS_URL"),
        (&["UPSTASH_REDIS_URL"], "UPSTASH_REDIS_URL"),
    ] {
        // Each is wrong in its own way; told is the one that counts, and no value, since it is
        // secret.
        let wrong = names.iter().map(|name| (*name, "redis//:hunter2@host"));
        let vars: Vec<_> = wrong.chain([("JOBS_PROVIDER", "redis")]).collect();
        let message = refusal(&vars).await;
        assert!(message.contains(&format!("{used} is set to what it cannot be")), "{message}");
        assert!(message.contains("use redis://user:password@host:port/database"), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}
