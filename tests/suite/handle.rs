//! What an application asks of its jobs, through [`Jobs`].

use shiftwork::{ErrorKind, Find, JobId, JobState, Operated, RunStatus};
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
async fn a_disabled_process_under_an_in_process_adapter_refuses_what_nobody_would_run() {
    let world = World::new().await;
    let process = world.process([("JOBS_ENABLED", "false")]).register(greet::definition());
    let jobs = process.start().await.unwrap();
    for refused in [
        jobs.enqueue(greet::job("Ada".into())).await,
        jobs.trigger(greet::job("Ada".into())).await,
        jobs.trigger("greet").await,
    ] {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(error.to_string().contains("JOBS_ENABLED is false"), "{error}");
    }
}
