//! A server that stalls for longer than a lease costs no worker its jobs that gives a sign of life
//! when it is back.

use tokio::sync::mpsc;

use crate::support::*;

const LEASE: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_secs(1);

fn settings(settings: &mut StoreSettings) {
    settings.lease = LEASE;
    settings.grace = GRACE;
    settings.connect_timeout = Duration::from_secs(1);
}

/// Beats as the engine does: a beat that fails or does not come back in time costs the heart, and
/// the next has another.
async fn beat(adapter: Arc<RedisAdapter>, beat: Beat, expired: mpsc::Sender<()>) {
    let interval = LEASE / 5;
    let mut heart: Option<Box<dyn Heart>> = None;
    loop {
        sleep(interval).await;
        if heart.is_none() {
            heart = timeout(LEASE, adapter.heart()).await.ok().and_then(Result::ok);
        }
        let Some(beating) = &mut heart else { continue };
        match timeout(interval, beating.beat(std::slice::from_ref(&beat))).await {
            Ok(Ok(replies)) if replies == [BeatReply::Expired] => {
                let _ = expired.send(()).await;
            }
            Ok(Ok(_)) => {}
            _ => heart = None,
        }
    }
}

/// Sweeps as the engine does, for so long; answers how many jobs were taken back.
async fn sweep_for(adapter: &RedisAdapter, queue: &QueueName, time: Duration) -> usize {
    let end = Instant::now() + time;
    sweep_until(adapter, queue, || Instant::now() >= end).await
}

async fn sweep_until(
    adapter: &RedisAdapter,
    queue: &QueueName,
    is_over: impl Fn() -> bool,
) -> usize {
    let deadline = Instant::now() + LONG;
    let mut recovered = 0;
    while !is_over() {
        assert!(Instant::now() < deadline, "it is never over; {recovered} jobs were taken back");
        if let Ok(answer) = adapter.sweep(queue).await {
            recovered += answer.recovered.len();
        }
        sleep(ms(20)).await;
    }
    recovered
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stalls_for_longer_than_a_lease_costs_only_those_who_do_not_beat() {
    let server = Arc::new(RedisServer::start());
    let adapter = open_with(&server.url(), settings);
    // A queue each, so that one can be told from the other.
    let (alive, dead) = (queue("alive"), queue("dead"));
    let mut workers = Vec::new();
    for queue in [&alive, &dead] {
        adapter.enqueue(queue, jobs(3)).await.unwrap();
        let mut worker = Worker::new(&adapter, queue);
        assert_eq!(worker.claim(3).await.len(), 3);
        workers.push(worker);
    }
    let (expired, mut expires) = mpsc::channel(1);
    let beating = tokio::spawn(beat(adapter.clone(), workers[0].beat(), expired));
    sleep(LEASE / 2).await;

    let stalled = server.clone();
    blocking(move || stalled.stall()).await;
    // Whoever sweeps meets the same stall.
    let others = open_with(&server.url(), settings);
    let sweeping = {
        let (others, alive, dead) = (others.clone(), alive.clone(), dead.clone());
        tokio::spawn(async move {
            let time = LEASE * 5;
            tokio::join!(sweep_for(&others, &alive, time), sweep_for(&others, &dead, time))
        })
    };
    sleep(LEASE * 2).await;
    server.resume();

    let (from_the_living, from_the_dead) = sweeping.await.unwrap();
    assert_eq!((from_the_living, from_the_dead), (0, 3));
    assert!(expires.try_recv().is_err(), "the living one never heard that it is no more");

    let [mut living, mut gone] = <[Worker; 2]>::try_from(workers).ok().unwrap();
    let held: Vec<_> = living.held.keys().copied().collect();
    for job in &held {
        let job = adapter.job(&alive, *job).await.unwrap().unwrap();
        assert_eq!((job.state, job.crashes), (JobState::Active, 0));
    }
    let settled: Vec<_> = held.iter().map(|job| (*job, Outcome::Complete)).collect();
    living.settle(&settled).await;

    let turn = gone.turn(&[], 1);
    assert!(matches!(gone.try_exchange(&turn).await.unwrap(), ExchangeReply::Expired));
    for job in gone.held.keys() {
        let job = adapter.job(&dead, *job).await.unwrap().unwrap();
        assert_eq!((job.state, job.crashes), (JobState::Waiting, 1));
    }
    beating.abort();
}

/// It is late: whoever sweeps finds the lease over before the worker can say anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_back_within_the_grace_keeps_its_jobs() {
    let world = World::new();
    let adapter = world.adapter_with(settings);
    adapter.enqueue(&work(), jobs(1)).await.unwrap();
    let mut worker = Worker::new(&adapter, &work());
    let held = worker.claim(1).await;
    let (expired, mut expires) = mpsc::channel(1);
    let beating = tokio::spawn(beat(adapter.clone(), worker.beat(), expired));
    world.proxy.refuse();
    let other = world.other_with(settings);
    let queue = work();
    let suspected = || world.server.call(&["EXISTS", "{test:work}:suspects"]).int() == 1;
    let recovered = sweep_until(&other, &queue, suspected).await;
    assert_eq!(recovered, 0);
    world.proxy.pass();
    assert_eq!(sweep_for(&other, &queue, GRACE * 2).await, 0);
    assert!(expires.try_recv().is_err());
    worker.settle(&[(held[0], Outcome::Complete)]).await;
    beating.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_heart_whose_network_forgets_it_is_replaced_before_the_lease_is_over() {
    let world = World::new();
    let adapter = world.adapter_with(settings);
    adapter.enqueue(&work(), jobs(1)).await.unwrap();
    let mut worker = Worker::new(&adapter, &work());
    let held = worker.claim(1).await;
    let (expired, mut expires) = mpsc::channel(1);
    let beating = tokio::spawn(beat(adapter.clone(), worker.beat(), expired));
    let other = world.other_with(settings);
    let queue = work();
    let (recovered, ()) = tokio::join!(sweep_for(&other, &queue, LEASE * 3), async {
        sleep(LEASE / 2).await;
        world.proxy.half_open();
        sleep(LEASE / 4).await;
        world.proxy.pass();
    });
    assert_eq!(recovered, 0);
    assert!(expires.try_recv().is_err());
    worker.settle(&[(held[0], Outcome::Complete)]).await;
    beating.abort();
}
