//! The end of an adapter: whoever waits is told, and nobody thinks that it is still there.

use crate::events::record;
use crate::support::*;

fn assert_closed<T>(what: &str, answer: Result<T>) {
    match answer {
        Ok(_) => panic!("{what} is answered"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Closed, "{what}: {error}"),
    }
}

#[tokio::test]
async fn what_is_called_after_the_end_is_closed() {
    let server = RedisServer::start();
    let adapter = open(&server.url());
    adapter.ping().await.unwrap();
    let mut heart = adapter.heart().await.unwrap();
    adapter.shutdown().await.unwrap();
    let (queue, job, name) = (work(), id(), ScheduleId::new("nightly").unwrap());
    let turn = Exchange::new(work(), incarnation(), 1);
    let beat = Beat::new(work(), incarnation(), 0);
    assert_closed("ping", adapter.ping().await);
    assert_closed("schedule", adapter.schedule(schedule("nightly", &queue), None).await);
    assert_closed("cancel", adapter.cancel(&name).await);
    assert_closed("is_scheduled", adapter.is_scheduled(&name).await);
    assert_closed("scheduled_jobs", adapter.scheduled_jobs().await);
    let trigger = Trigger::new(name, job, Duration::ZERO);
    assert_closed("trigger", adapter.trigger(trigger).await);
    assert_closed("fire", adapter.fire(&[]).await);
    assert_closed("enqueue", adapter.enqueue(&queue, jobs(1)).await);
    assert_closed("job", adapter.job(&queue, job).await);
    assert_closed("await_finish", adapter.await_finish(&queue, job, LONG).await);
    assert_closed("cancel_job", adapter.cancel_job(&queue, job).await);
    assert_closed("exchange", adapter.exchange(&turn).await);
    assert_closed("held", adapter.held(&queue, turn.incarnation, None).await);
    assert_closed("heart", adapter.heart().await);
    assert_closed("beat", heart.beat(&[beat]).await);
    assert_closed("sweep", adapter.sweep(&queue).await);
    assert_closed("wait", adapter.wait(Watch::Work(work(), Ticket(0))).await);
    assert_closed("queues", adapter.queues().await);
    assert_closed("counts", adapter.counts(&queue).await);
    assert_closed("find", adapter.find(&queue, &Find::new()).await);
    assert_closed("pause", adapter.pause(&queue).await);
    assert_closed("resume", adapter.resume(&queue).await);
    assert_closed("replay", adapter.replay(&queue, job).await);
    assert_closed("discard", adapter.discard(&queue, job).await);
    adapter.shutdown().await.unwrap();
    assert_eq!(server.call(&["DBSIZE"]).int(), 1, "nothing but the format is stored");
}

#[tokio::test]
async fn whoever_waits_is_told_of_the_end() {
    let world = World::new();
    let adapter = world.adapter();
    let mut late = job();
    late.due = Due::After(Duration::from_hours(1));
    adapter.enqueue(&work(), vec![late.clone()]).await.unwrap();
    let mut worker = Worker::new(&adapter, &work());
    let claimed = worker.exchange(&worker.turn(&[], 1)).await.ticket;
    let swept = adapter.sweep(&work()).await.unwrap().ticket;
    let listed = adapter.scheduled_jobs().await.unwrap().ticket;
    let mut waiting = Vec::new();
    for (what, watch) in [
        ("work", Watch::Work(work(), claimed)),
        ("a sweep", Watch::Sweep(work(), swept)),
        ("schedules", Watch::Schedules(listed)),
    ] {
        let adapter = adapter.clone();
        waiting.push((what, tokio::spawn(async move { adapter.wait(watch).await })));
    }
    let other = adapter.clone();
    let ended = async move { other.await_finish(&work(), late.id, LONG).await.map(drop) };
    waiting.push(("a job's end", tokio::spawn(ended)));
    let awaited = ["HLEN", "{test:work}:awaited"];
    eventually("the job is awaited", || world.server.call(&awaited).int() == 1).await;
    assert!(waiting.iter().all(|(_, waiting)| !waiting.is_finished()));
    adapter.shutdown().await.unwrap();
    for (what, waiting) in waiting {
        assert_closed(what, soon(what, waiting).await.unwrap());
    }
}

#[tokio::test]
async fn whoever_waits_for_a_connection_is_told_of_the_end() {
    record();
    let world = World::new();
    let adapter = open_with(&world.proxy.url(), |settings| settings.connect_timeout = LONG);
    adapter.enqueue(&work(), jobs(1)).await.unwrap();
    world.proxy.refuse();
    let server = format!("{}/0", world.proxy.url());
    let is_noticed = || {
        let warnings = record().with([("server", &server), ("level", "WARN")]);
        warnings.iter().any(|warning| warning["message"].contains("redis is away"))
    };
    eventually("it is noticed", is_noticed).await;
    let enqueueing = {
        let adapter = adapter.clone();
        tokio::spawn(async move { adapter.enqueue(&work(), jobs(1)).await })
    };
    let pinging = {
        let adapter = adapter.clone();
        tokio::spawn(async move { adapter.ping().await })
    };
    sleep(ms(100)).await;
    assert!(!enqueueing.is_finished() && !pinging.is_finished());
    let (ended, took) = timed(adapter.shutdown()).await;
    ended.unwrap();
    assert!(took < Duration::from_secs(2), "{took:?}");
    let error = soon("the enqueue", enqueueing).await.unwrap().unwrap_err();
    assert_error(&error, ErrorKind::Closed, Effect::None, &["shut down"]);
    assert_closed("ping", soon("the ping", pinging).await.unwrap());
}

#[tokio::test]
async fn what_is_under_way_at_the_end_is_answered() {
    let world = World::new();
    let adapter = world.adapter();
    adapter.enqueue(&work(), jobs(1)).await.unwrap();
    world.proxy.delay(ms(100));
    let enqueueing = {
        let adapter = adapter.clone();
        tokio::spawn(async move { adapter.enqueue(&work(), jobs(1)).await })
    };
    sleep(ms(20)).await;
    let (ended, answer) = tokio::join!(adapter.shutdown(), enqueueing);
    ended.unwrap();
    assert_eq!(answer.unwrap().unwrap(), [Enqueued::New]);
}

#[tokio::test]
async fn a_process_that_ended_is_in_no_list_of_those_to_tell() {
    let world = World::new();
    let adapter = world.adapter();
    let other = world.other();
    for adapter in [&adapter, &other] {
        Worker::new(adapter, &work()).claim(1).await;
        adapter.sweep(&work()).await.unwrap();
    }
    let listed = |set: &str| world.server.call(&["SCARD", &format!("{{test:work}}:{set}")]).int();
    assert_eq!((listed("idle"), listed("sweepers")), (2, 2));
    adapter.shutdown().await.unwrap();
    assert_eq!((listed("idle"), listed("sweepers")), (1, 1));
    eventually("its connection is closed", || world.proxy.connections() == 0).await;
}

#[tokio::test]
async fn an_end_does_not_wait_for_a_server_that_is_away() {
    let world = World::new();
    let adapter = world.adapter();
    Worker::new(&adapter, &work()).claim(1).await;
    world.server.stall();
    let (ended, took) = timed(adapter.shutdown()).await;
    ended.unwrap();
    assert!(took < Duration::from_secs(2), "{took:?}");
}
