//! Jobs make themselves known, and what is wrong with them is told before anything runs.

use shiftwork::{ErrorKind, JobDefinition, JobState};

use crate::support::*;
use shiftwork::prelude::*;

#[derive(Clone)]
struct Settings;

#[derive(Clone)]
struct Mailer;

#[job]
async fn needs_parts(_settings: State<Settings>, _mailer: State<Mailer>) {}

#[tokio::test(start_paused = true)]
async fn a_job_without_the_macro_is_registered_by_hand() {
    #[derive(Serialize, Deserialize)]
    struct Plain(u8);

    impl Job for Plain {
        const NAME: &'static str = "plain";
        type Args = (State<Mailer>, JobContext);
        type Output = Result<u8, JobError>;

        async fn run(self, (_, ctx): Self::Args) -> Self::Output {
            Ok(self.0 + u8::from(ctx.is_last_attempt()))
        }

        fn configure(definition: JobDefinition) -> JobDefinition {
            definition.attempts(1).queue("by-hand")
        }
    }
    let world = World::new().await;
    let process = world.process([]).state(Mailer).register(JobDefinition::of::<Plain>());
    let jobs = process.start().await.unwrap();
    let run = jobs.trigger(Plain(1).job()).await.unwrap();
    let result = run.result(seconds(10)).await.unwrap().finished().unwrap();
    assert_eq!(result.data::<u8>().unwrap(), Some(2));
    assert_eq!(run.queue().as_str(), "by-hand");
}

#[tokio::test(start_paused = true)]
async fn a_state_that_nobody_gave_is_a_start_up_error_that_names_job_and_type() {
    let world = World::new().await;
    let process = || world.process([]).register(needs_parts::definition());
    let error = process().start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = error.to_string();
    assert!(text.contains("the job \"needs_parts\" (at tests/suite/registration.rs:"), "{text}");
    assert!(text.contains("registration::Settings>") && text.contains("registration::Mailer>"));
    // In a process that runs none, nobody needs it.
    let store = crate::faulty::Faulty::on(world.store.clone());
    store.shared_by_processes();
    let web = world.process([("JOBS_ENABLED", "false")]).adapter(store);
    web.register(needs_parts::definition()).start().await.unwrap();
    world
        .process([("WORKER_ROLE", "cron")])
        .register(needs_parts::definition())
        .start()
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn two_jobs_of_one_name_are_an_error_that_names_both_places() {
    fn one() -> JobDefinition {
        #[job(name = "twin")]
        async fn one() {}
        one::definition()
    }
    fn other() -> JobDefinition {
        #[job(name = "twin_")]
        async fn other() {}
        JobDefinition::of::<Twin>()
    }
    #[derive(Serialize, Deserialize)]
    struct Twin;
    impl Job for Twin {
        const NAME: &'static str = "twin";
        type Args = ();
        type Output = ();
        async fn run(self, (): ()) {}
    }
    let world = World::new().await;
    let error = world.process([]).register(one()).register(other()).start().await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("two jobs are named \"twin\""), "{text}");
    assert_eq!(text.matches("tests/suite/registration.rs:").count(), 2, "{text}");
    // The same one twice is no other.
    world.process([]).register(one()).register(one()).start().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_schedule_of_a_job_that_needs_a_payload_is_refused() {
    #[job]
    async fn needs(number: u8) {
        let _ = number;
    }
    let world = World::new().await;
    let process = world.process([("JOBS_NEEDS_SCHEDULE", "@daily")]).register(needs::definition());
    let error = process.start().await.unwrap_err();
    assert!(error.to_string().contains("the job \"needs\" has a schedule"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_time_zone_that_cannot_be_kept_is_refused_with_its_name() {
    #[job(name = "in-berlin", cron = "@daily", timezone = "Europe/Berlni")]
    async fn in_berlin() {}
    #[job(name = "bare")]
    async fn bare() {}
    let zone = "Europe/Berlni";
    let interval = bare::definition().every(hours(1));
    for (definition, parts) in [
        (in_berlin::definition(), ["in-berlin", "no time zone \"Europe/Berlni\""]),
        // It is its pattern's, whichever was said first.
        (bare::definition().timezone(zone).cron("@daily"), ["bare", "mean \"Europe/Berlin\"?"]),
        (bare::definition().cron("@daily").timezone(zone), ["bare", "\"Europe/Berlni\""]),
        (
            interval.clone().timezone(zone),
            ["\"Europe/Berlni\"", "only a cron pattern can have one"],
        ),
        (interval.timezone("UTC"), ["\"UTC\"", "only a cron pattern can have one"]),
    ] {
        let world = World::new().await;
        let error = world.process([]).register(definition).start().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        let text = error.to_string();
        assert!(text.contains("tests/suite/registration.rs:"), "{text}");
        assert!(parts.iter().all(|part| text.contains(part)), "{parts:?}: {text}");
        assert!(world.store.scheduled_jobs().await.unwrap().records.is_empty());
    }
    // One that there is, said first or last.
    for definition in [
        bare::definition().timezone("UTC").cron("0 3 * * *"),
        bare::definition().cron("0 3 * * *").timezone("UTC"),
    ] {
        let world = World::new().await;
        let jobs = world.worker([], [definition]).await;
        let schedules = jobs.scheduled_jobs().await.unwrap();
        assert_eq!(schedules[0].next, Some(START + hours(3)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_plain_function_runs_where_it_may_block() {
    #[job]
    fn blocking(number: u8, ctx: JobContext) -> Result<(u8, bool), JobError> {
        // On a thread of the runtime this would panic.
        let handle = tokio::runtime::Handle::current();
        let answered = handle.block_on(async { number + 1 });
        Ok((answered, ctx.is_cancelled()))
    }
    let world = World::new().await;
    let jobs = world.worker([], [blocking::definition()]).await;
    let run = jobs.trigger(blocking::job(1)).await.unwrap();
    let record = finished(&jobs, run.id()).await;
    assert_eq!(record.state, JobState::Completed);
    let result = run.result(seconds(1)).await.unwrap().finished().unwrap();
    assert_eq!(result.data::<(u8, bool)>().unwrap(), Some((2, false)));
}
