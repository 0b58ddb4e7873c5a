//! What an application asks of its jobs, through [`Jobs`].

use std::sync::{Arc, Mutex};

use shiftwork::adapter::TestClock;
use shiftwork::{
    Cursor, Effect, ErrorKind, FailureKind, Find, JobId, JobState, Operated, Run, RunStatus,
    Timestamp,
};
use tokio::time::sleep;

use crate::support::*;
use shiftwork::prelude::*;

#[job]
async fn greet(name: String) -> Result<String, JobError> {
    Ok(format!("Hello, {name}!"))
}

#[job(name = "nap", queue = "naps")]
async fn nap() {
    sleep(minutes(5)).await;
}

async fn process(world: &World) -> Jobs {
    world.worker([], [greet::definition(), nap::definition()]).await
}

#[tokio::test(start_paused = true)]
async fn a_triggered_job_gives_its_result_for_an_hour() {
    let world =
        World::with(|settings| settings.keep_completed.age = std::time::Duration::ZERO).await;
    let jobs = world.worker([("JOBS_KEEP_COMPLETED", "0")], [greet::definition()]).await;
    let run = jobs.trigger(greet::job("Ada".into())).await.unwrap();
    let result = run.result(minutes(1)).await.unwrap().finished().unwrap();
    assert_eq!(result.data::<String>().unwrap().as_deref(), Some("Hello, Ada!"));
    assert_eq!((result.success, result.attempts), (true, 1));
    assert!(result.started_at.is_some() && result.finished_at >= result.started_at);
    sleep(minutes(59)).await;
    assert!(run.result(seconds(0)).await.unwrap().finished().is_some());
    sleep(minutes(2)).await;
    assert_eq!(run.result(seconds(0)).await.unwrap(), RunStatus::Expired);
}

#[tokio::test(start_paused = true)]
async fn when_time_is_up_the_answer_is_the_state() {
    let world = World::new().await;
    let jobs = process(&world).await;
    let run = jobs.trigger("nap").await.unwrap();
    assert_eq!(run.result(seconds(10)).await.unwrap(), RunStatus::Pending(JobState::Active));
    assert_eq!(world.elapsed(), seconds(10));
    let delayed = jobs.enqueue(nap::job().delay(hours(1))).await.unwrap();
    assert_eq!(delayed.result(seconds(1)).await.unwrap(), RunStatus::Pending(JobState::Delayed));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_triggered_or_enqueued_is_refused_with_the_nearest_name() {
    let world = World::new().await;
    let jobs = process(&world).await;
    for (error, fault) in [
        (jobs.trigger("great").await, "did you mean \"greet\"?"),
        (jobs.trigger("greet").await, "needs a payload"),
        (jobs.trigger("in:valid").await, "nothing to trigger is named \"in:valid\""),
        (jobs.enqueue(NewJob::new("gret", "Ada")).await, "did you mean \"greet\"?"),
        (jobs.enqueue(nap::job().queue("nap")).await, "did you mean \"naps\"?"),
        (jobs.enqueue(NewJob::new("a b", "").foreign()).await, "contains ' '"),
        (jobs.enqueue(NewJob::new("a", "").queue("b:c").foreign()).await, "contains ':'"),
        (
            jobs.enqueue(greet::job("x".repeat(1 << 20))).await,
            "has 1048578 bytes and JOBS_MAX_PAYLOAD allows 1048576",
        ),
        (
            jobs.enqueue(NewJob::new("greet", &std::collections::HashMap::from([((1, 2), 3)])))
                .await,
            "its payload cannot be written as JSON",
        ),
    ] {
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(fault), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn many_jobs_are_enqueued_in_order_and_all_or_none_where_one_is_invalid() {
    let world = World::new().await;
    let jobs = process(&world).await;
    let refused = jobs.enqueue_many([greet::job("Ada".into()), NewJob::new("nobody", &())]).await;
    assert!(refused.is_err());
    assert_eq!(jobs.counts("default").await.unwrap().total(), 0);
    let id = JobId::from_bytes([7; 16]);
    let runs = jobs
        .enqueue_many([greet::job("Ada".into()), nap::job(), greet::job("Bob".into()).id(id)])
        .await
        .unwrap();
    let queues: Vec<_> = runs.iter().map(|run| run.queue().as_str()).collect();
    assert_eq!(queues, ["default", "naps", "default"]);
    assert_eq!(runs[2].id(), id);
    let again = jobs.enqueue(greet::job("Bob".into()).id(id)).await.unwrap();
    assert!(again.existed() && !runs[2].existed());
}

#[tokio::test(start_paused = true)]
async fn a_state_that_a_job_can_do_without_is_none_where_nobody_gave_it() {
    #[derive(Clone)]
    struct Greeting(&'static str);
    #[derive(Clone, FromRef)]
    struct Whole {
        greeting: Greeting,
    }
    #[job]
    async fn welcome(name: String, greeting: Option<State<Greeting>>) -> Result<String, JobError> {
        let greeting = greeting.map_or("no greeting", |State(Greeting(text))| text);
        Ok(format!("{greeting} for {name}"))
    }
    let world = World::new().await;
    for (whole, expected) in [
        (None, "no greeting for Ada"),
        (Some(Whole { greeting: Greeting("hello") }), "hello for Ada"),
    ] {
        let mut process = world.process([]).register(welcome::definition());
        if let Some(whole) = whole {
            process = process.state(whole);
        }
        let jobs = process.start().await.expect("it starts without");
        let run = jobs.trigger(welcome::job("Ada".into())).await.unwrap();
        let result = run.result(minutes(1)).await.unwrap().finished().unwrap();
        assert_eq!(result.data::<String>().unwrap().as_deref(), Some(expected));
        jobs.shutdown().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_that_is_told_is_that_of_the_store() {
    let world = World::new().await;
    let jobs = world.process([]).clock(Arc::new(TestClock::new(Timestamp::EPOCH)));
    let jobs = jobs.start().await.unwrap();
    assert_eq!(jobs.now().await.unwrap(), START);
    tokio::time::sleep(minutes(1)).await;
    assert_eq!(jobs.now().await.unwrap(), START + minutes(1));
}

#[tokio::test(start_paused = true)]
async fn jobs_run_by_priority_and_when_they_are_due() {
    #[job]
    async fn note(what: String, notes: State<Notes>) {
        notes.add_at(&what);
    }
    let world = World::new().await;
    let notes = Notes::new(&world);
    let process = world.process([("JOBS_CONCURRENCY", "1")]).state(notes.clone());
    let jobs = process.register(note::definition()).start().await.unwrap();
    jobs.pause("default").await.unwrap();
    let priorities =
        [Priority::Bulk, Priority::Normal, Priority::Critical, Priority::Low, Priority::High];
    for priority in priorities {
        let job = note::job(format!("{priority:?}")).priority(priority);
        jobs.enqueue(job).await.unwrap();
    }
    jobs.enqueue(note::job("later".into()).delay(seconds(5))).await.unwrap();
    jobs.enqueue(note::job("then".into()).at(START + seconds(3))).await.unwrap();
    assert!(jobs.resume("default").await.unwrap());
    assert_eq!(
        notes.reach(7).await,
        [
            "Critical at 0",
            "High at 0",
            "Normal at 0",
            "Low at 0",
            "Bulk at 0",
            "then at 3",
            "later at 5",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn further_work_keeps_tenant_actor_and_correlation_unless_given_its_own() {
    #[job]
    async fn parent(ctx: JobContext) -> shiftwork::Result<()> {
        ctx.jobs().enqueue(child::job()).await?;
        ctx.jobs().enqueue(child::job().tenant("other").correlation_id("own")).await?;
        Ok(())
    }
    #[job]
    async fn child(notes: State<Notes>, ctx: JobContext) {
        let (tenant, actor) = (ctx.tenant().unwrap(), ctx.actor().unwrap());
        notes.add(format!("{tenant} {actor} {}", ctx.correlation_id()));
    }
    let world = World::new().await;
    let notes = Notes::new(&world);
    let process = world.process([]).state(notes.clone());
    let process = process.register(parent::definition()).register(child::definition());
    let jobs = process.start().await.unwrap();
    let job = parent::job().scope(Scope::new("acme", "account-7")).actor("ada");
    jobs.enqueue(job.correlation_id("req-1")).await.unwrap();
    let mut all = notes.reach(2).await;
    all.sort();
    assert_eq!(all, ["acme ada req-1", "other ada own"]);
    // Without a correlation id of its own, a job's id is one.
    let run = jobs.enqueue(parent::job().tenant("acme").actor("ada")).await.unwrap();
    assert!(notes.reach(4).await.contains(&format!("acme ada {}", run.id())));
}

#[tokio::test(start_paused = true)]
async fn what_is_said_at_enqueue_is_what_the_handler_sees() {
    /// Where the handler leaves what it sees.
    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Option<JobContext>>>);

    #[job(timeout = "1h", attempts = 3)]
    async fn witness(seen: State<Seen>, ctx: JobContext) {
        seen.0.0.lock().unwrap().replace(ctx);
        std::future::pending::<()>().await;
    }
    let world = World::new().await;
    let seen = Seen::default();
    let process = world.process([]).state(seen.clone());
    let process = process.register(witness::definition()).register(nap::definition());
    let jobs = process.start().await.unwrap();
    sleep(seconds(2)).await;
    let id = JobId::from_bytes([7; 16]);
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let job = witness::job()
        .id(id)
        .queue("naps")
        .priority(Priority::High)
        .delay(seconds(3))
        .attempts(1)
        .timeout(seconds(10))
        .keep_result(hours(2))
        .scope(Scope::new("acme", "account-7"))
        .actor("ada")
        .correlation_id("req-1")
        .traceparent(traceparent);
    let run = jobs.enqueue(job).await.unwrap();
    let record = finished(&jobs, run.id()).await;

    let ctx = seen.0.lock().unwrap().take().expect("it was run");
    let place = (ctx.id(), ctx.name().as_str(), ctx.queue().as_str());
    assert_eq!(place, (id, "witness", "naps"));
    assert_eq!((ctx.attempt(), ctx.attempts(), ctx.is_last_attempt()), (1, 1, true));
    let after = |moment: Timestamp| moment.since(START);
    assert_eq!(after(ctx.enqueued_at()), seconds(2));
    assert_eq!(after(ctx.scheduled_at()), seconds(5));
    assert_eq!(after(ctx.started_at()), seconds(5));
    assert_eq!(ctx.scope(), Some(&Scope::new("acme", "account-7")));
    assert_eq!((ctx.tenant(), ctx.actor()), (Some("acme"), Some("ada")));
    assert_eq!((&*ctx.correlation_id(), ctx.traceparent()), ("req-1", Some(traceparent)));

    // What a handler does not see: it ended when its own time was up, and is kept as asked.
    let end = record.last_attempt.unwrap();
    assert_eq!(end.failure.as_ref().unwrap().kind, FailureKind::Timeout);
    assert!((seconds(15)..seconds(17)).contains(&after(end.finished_at)), "{end:?}");
    assert_eq!((run.queue().as_str(), record.queue.as_str()), ("naps", "naps"));
    assert_eq!(record.spec.priority, Priority::High);
    assert_eq!(record.spec.keep_result, Some(hours(2)));
}

#[tokio::test(start_paused = true)]
async fn an_instant_is_when_a_job_is_due_whatever_was_said_before() {
    let world = World::new().await;
    let jobs = process(&world).await;
    let job = nap::job().delay(hours(1)).at(START + hours(2));
    let run = jobs.enqueue(job).await.unwrap();
    assert_eq!(jobs.job(run.id()).await.unwrap().unwrap().due_at, START + hours(2));
}

#[tokio::test(start_paused = true)]
async fn a_foreign_job_is_stored_in_the_queue_that_it_names() {
    let world = World::new().await;
    let jobs = process(&world).await;
    let job = NewJob::new("resize", &("cat.png", 640)).foreign().queue("elsewhere");
    let run = jobs.enqueue(job).await.unwrap();
    assert_eq!(run.queue().as_str(), "elsewhere");
    sleep(minutes(1)).await;
    let found = jobs.find("elsewhere", &Find::new()).await.unwrap();
    let [record] = &found.jobs[..] else { panic!("{found:?}") };
    assert_eq!((record.spec.id, record.spec.name.as_str()), (run.id(), "resize"));
    assert_eq!(record.spec.payload.as_bytes(), br#"["cat.png",640]"#);
    // No worker of this program serves that queue.
    assert_eq!((record.state, record.queue.as_str()), (JobState::Waiting, "elsewhere"));
    assert_eq!(jobs.counts("default").await.unwrap().total(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_schedule_triggered_by_a_job_keeps_its_tenant() {
    #[job]
    async fn parent(ctx: JobContext) -> shiftwork::Result<()> {
        let added = NewSchedule::every("added", hours(1), child::job()).enabled(false);
        ctx.jobs().schedule(added).await?;
        ctx.jobs().trigger("nightly").await?;
        Ok(())
    }
    #[job]
    async fn child(notes: State<Notes>, ctx: JobContext) {
        notes.add(format!("{:?} {:?} {}", ctx.scope(), ctx.actor(), ctx.correlation_id()));
    }
    let world = World::new().await;
    let notes = Notes::new(&world);
    let process = world.process([]).state(notes.clone());
    let process = process.register(parent::definition()).register(child::definition());
    let jobs = process.start().await.unwrap();
    let nightly = NewSchedule::cron("nightly", "0 3 * * *", child::job()).enabled(false);
    jobs.schedule(nightly).await.unwrap();
    let scope = Scope::new("acme", "account-7");
    let job = parent::job().scope(scope.clone()).actor("ada").correlation_id("req-1");
    jobs.enqueue(job).await.unwrap();
    let seen = format!("{:?} {:?} req-1", Some(&scope), Some("ada"));
    assert_eq!(notes.reach(1).await, [seen]);
    let scope_of = async |id: &str| {
        let schedules = jobs.scheduled_jobs().await.unwrap();
        let record = schedules.into_iter().find(|record| record.schedule.id.as_str() == id);
        record.expect("it is there").schedule.template.scope.clone()
    };
    // One that the job adds is of its tenant as well; the one it triggered stays nobody's.
    assert_eq!(scope_of("added").await, Some(scope));
    assert_eq!(scope_of("nightly").await, None);
}

#[tokio::test(start_paused = true)]
async fn a_schedule_is_refused_that_says_what_only_holds_for_one_job_or_one_timing() {
    let world = World::new().await;
    let jobs = process(&world).await;
    let hourly = |job: NewJob| NewSchedule::every("hourly", hours(1), job);
    let each = "each job of a schedule";
    for (schedule, fault) in [
        (hourly(nap::job().id(JobId::from_bytes([7; 16]))), each),
        (hourly(nap::job().actor("ada")), each),
        (hourly(nap::job().correlation_id("req-1")), each),
        (hourly(nap::job().traceparent("00-1-2-01")), each),
        (hourly(nap::job().delay(seconds(1))), "a delay of its own"),
        (hourly(nap::job()).timezone("Europe/Berlin"), "only a cron pattern can have one"),
        (
            NewSchedule::cron("c", "@daily", nap::job()).timezone("Europe"),
            "no time zone \"Europe\"",
        ),
        (NewSchedule::cron("c", "0 25 * * *", nap::job()), "hour is \"25\""),
        (hourly(NewJob::new("greet", &())), "needs a payload"),
    ] {
        let error = jobs.schedule(schedule).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains(fault), "{error}");
    }
    assert!(jobs.scheduled_jobs().await.unwrap().is_empty());
    // Whose data it is about holds for all of them.
    jobs.schedule(hourly(nap::job().tenant("acme"))).await.unwrap();
    let scope = jobs.scheduled_jobs().await.unwrap()[0].schedule.template.scope.clone();
    assert_eq!(scope, Some(Scope::tenant("acme")));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_went_away_is_told_to_whoever_asks() {
    use crate::faulty::{Fault, Faulty};

    let world = World::new().await;
    let store = Faulty::on(world.store.clone());
    let process = world.process_on(store.clone(), []);
    let jobs = process.register(greet::definition()).start().await.unwrap();
    assert!(jobs.ready().await);
    store.everywhere(Fault::Fail);
    assert!(!jobs.ready().await);
    let error = jobs.enqueue(greet::job("Ada".into())).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Store, Effect::None));
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_is_found_replayed_and_discarded() {
    #[job(attempts = 1)]
    async fn brittle(notes: State<Notes>) -> Result<(), JobError> {
        notes.add("ran");
        if notes.all().len() < 2 { Err("closed".into()) } else { Ok(()) }
    }
    let world = World::new().await;
    let notes = Notes::new(&world);
    let process = world.process([]).state(notes.clone()).register(brittle::definition());
    let jobs = process.start().await.unwrap();
    let run = jobs.enqueue(brittle::job()).await.unwrap();
    finished(&jobs, run.id()).await;
    let dead = jobs.find("default", &Find::new().states([JobState::Dead])).await.unwrap();
    assert_eq!(dead.jobs.len(), 1);
    assert_eq!(jobs.replay(run.id()).await.unwrap(), Operated::Done);
    let record = finished(&jobs, run.id()).await;
    assert_eq!((record.state, record.attempts), (JobState::Completed, 1));
    assert_eq!(jobs.replay(run.id()).await.unwrap(), Operated::Refused(JobState::Completed));
    assert_eq!(jobs.discard(run.id()).await.unwrap(), Operated::Done);
    assert_eq!(jobs.discard(run.id()).await.unwrap(), Operated::NotFound);
}

#[tokio::test(start_paused = true)]
async fn more_jobs_than_a_store_takes_at_once_are_enqueued_in_steps_and_answered_in_order() {
    use crate::faulty::{Fault, Faulty};

    let world = World::new().await;
    let store = Faulty::on(world.store.clone());
    let process = world.process_on(store.clone(), []).register(greet::definition());
    let jobs = process.register(nap::definition()).start().await.unwrap();
    for queue in ["default", "naps"] {
        jobs.pause(queue).await.unwrap();
    }
    let ids: Vec<_> = (0..25_001_u128).map(|n| JobId::from_bytes(n.to_be_bytes())).collect();
    let job = |(n, id): (usize, &JobId)| match n % 5 {
        0 => nap::job().id(*id),
        _ => greet::job("Ada".into()).id(*id),
    };
    let all = || ids.iter().enumerate().map(job);
    store.take_calls();
    let runs = jobs.enqueue_many(all()).await.unwrap();
    assert_eq!(runs.iter().map(|run| run.id()).collect::<Vec<_>>(), ids);
    assert_eq!(runs.iter().filter(|run| run.queue().as_str() == "naps").count(), 5001);
    // 20,000 and 5001.
    assert_eq!(store.take_calls()["enqueue"], 3);
    assert_eq!(jobs.counts("default").await.unwrap().waiting, 20_000);
    assert_eq!(jobs.counts("naps").await.unwrap().waiting, 5001);
    assert!(jobs.enqueue_many(all()).await.unwrap().iter().all(Run::existed));

    // Of a step that fails none is stored, and of those before it all are.
    let both = || [greet::job("Ada".into()), nap::job()];
    store.method("enqueue", Fault::Fail);
    let error = jobs.enqueue_many(both()).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Store, Effect::None));
    store.method("enqueue", Fault::FailAfter(1));
    let error = jobs.enqueue_many(both()).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Store, Effect::Unknown));
    assert!(error.to_string().contains("enqueued before: 1 of 2"), "{error}");
    assert_eq!(jobs.counts("default").await.unwrap().waiting, 20_001);
    assert_eq!(jobs.counts("naps").await.unwrap().waiting, 5001);
}

#[tokio::test(start_paused = true)]
async fn jobs_are_listed_page_by_page_and_a_made_up_cursor_is_refused() {
    let world = World::new().await;
    let jobs = process(&world).await;
    let runs = jobs.enqueue_many((0..25).map(|_| nap::job().delay(hours(1)))).await.unwrap();
    let mut expected: Vec<_> = runs.iter().map(|run| run.id()).collect();
    let mut found = Vec::new();
    let mut find = Find::new().limit(10);
    loop {
        let page = jobs.find("naps", &find).await.unwrap();
        found.extend(page.jobs.iter().map(|job| job.spec.id));
        let Some(next) = page.next else { break };
        find = find.after(next);
    }
    found.sort();
    expected.sort();
    assert_eq!(found, expected);

    let made_up = Find::new().after(Cursor::new("page 2"));
    let error = jobs.find("naps", &made_up).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(
        error.to_string(),
        "the store could not do it: find: \"page 2\" is no cursor of the memory store; go on from \
         the `next` of the page before, unchanged, or leave it out to begin"
    );
}

#[tokio::test(start_paused = true)]
async fn a_web_process_enqueues_and_a_worker_elsewhere_gives_the_result() {
    let world = World::new().await;
    let store = crate::faulty::Faulty::on(world.store.clone());
    store.shared_by_processes();
    let web = world.process([("JOBS_ENABLED", "false")]).adapter(store);
    let web = web.register(greet::definition()).start().await.unwrap();
    let run = web.trigger(greet::job("Ada".into())).await.unwrap();
    let pending = run.result(minutes(10)).await.unwrap();
    assert_eq!(pending, RunStatus::Pending(JobState::Waiting));
    let (result, _worker) = tokio::join!(run.result(minutes(1)), process(&world));
    assert!(result.unwrap().finished().unwrap().success);
}

#[tokio::test(start_paused = true)]
async fn under_an_in_process_adapter_what_nobody_would_run_is_refused() {
    let world = World::new().await;
    for (vars, why) in [
        ([("JOBS_ENABLED", "false")], "JOBS_ENABLED is false"),
        ([("WORKER_ROLE", "cron")], "WORKER_ROLE is cron"),
    ] {
        let process = world.process(vars).register(greet::definition());
        let jobs = process.register(nap::definition()).start().await.unwrap();
        let hourly = NewSchedule::every("hourly", hours(1), nap::job());
        for refused in [
            jobs.enqueue(greet::job("Ada".into())).await.map(|_| ()),
            jobs.enqueue_many([greet::job("Ada".into())]).await.map(|_| ()),
            jobs.trigger(greet::job("Ada".into())).await.map(|_| ()),
            jobs.trigger("nap").await.map(|_| ()),
            jobs.schedule(hourly).await,
            jobs.replay(JobId::from_bytes([7; 16])).await.map(|_| ()),
        ] {
            let error = refused.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Refused);
            assert!(error.to_string().contains(why), "{error}");
        }
        assert!(jobs.scheduled_jobs().await.unwrap().is_empty());
    }
}
