//! Clusters: queues on several masters, a master that dies or falls silent, slots that move.

use std::collections::BTreeSet;

use shiftwork_test_kit::Clustered;

use crate::support::*;

/// A lost master is followed within so long: a second until it is down, an election, and the pauses
/// between tries.
const FOLLOWED: Duration = Duration::from_secs(15);

/// A cluster, and queues of the namespace `test`, one on each master.
struct Spread {
    cluster: Clustered,
    queues: Vec<QueueName>,
}

impl Spread {
    async fn start() -> Self {
        blocking(|| {
            let cluster = Clustered::start();
            let masters = &cluster.nodes()[..3];
            let on = |master: &RedisServer| {
                let names = (0..1000).map(|number| queue(&format!("q{number}")));
                let is_on = |name: &QueueName| {
                    cluster.master_of(&key_of(name), None).port() == master.port()
                };
                names.into_iter().find(is_on).expect("some queue is on each")
            };
            let queues = masters.iter().map(on).collect();
            Self { cluster, queues }
        })
        .await
    }

    /// A queue that is not on the master that has the list of queues and of schedules, and that
    /// master.
    fn away_from_home(&self) -> (&QueueName, &RedisServer) {
        let home = self.cluster.master_of("{test}:queues", None).port();
        let queue = self.queues.iter().find(|queue| self.master_of(queue).port() != home);
        let queue = queue.expect("there are three masters");
        (queue, self.master_of(queue))
    }

    fn master_of(&self, queue: &QueueName) -> &RedisServer {
        self.cluster.master_of(&key_of(queue), None)
    }
}

fn key_of(queue: &QueueName) -> String {
    format!("{{test:{queue}}}:jobs")
}

/// Another queue on the master of this one.
async fn beside(cluster: &Clustered, queue: &QueueName) -> QueueName {
    let master = cluster.master_of(&key_of(queue), None).port();
    let names = (0..1000).map(|number| crate::support::queue(&format!("beside-{number}")));
    let is_beside = |name: &QueueName| cluster.master_of(&key_of(name), None).port() == master;
    names.into_iter().find(is_beside).expect("some queue is")
}

async fn enqueued(adapter: &RedisAdapter, queue: &QueueName, count: usize) -> BTreeSet<JobId> {
    let batch = jobs(count);
    let ids = batch.iter().map(|job| job.id).collect();
    adapter.enqueue(queue, batch).await.unwrap();
    ids
}

async fn claimed(adapter: &Arc<RedisAdapter>, queue: &QueueName) -> BTreeSet<JobId> {
    Worker::new(adapter, queue).claim(100).await.into_iter().collect()
}

/// Waits until a queue takes a job, and answers which.
async fn followed(adapter: &RedisAdapter, queue: &QueueName) -> JobId {
    let began = Instant::now();
    let enqueueing = async {
        loop {
            let job = job();
            let id = job.id;
            if adapter.enqueue(queue, vec![job]).await.is_ok() {
                return id;
            }
        }
    };
    let job = timeout(FOLLOWED, enqueueing).await.expect("it is followed");
    println!("followed after {:?}", began.elapsed());
    job
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_are_on_all_masters_and_each_has_its_jobs() {
    let spread = Spread::start().await;
    let adapter = open(&spread.cluster.url());
    for (queue, master) in spread.queues.iter().zip(spread.cluster.nodes()) {
        let ids = enqueued(&adapter, queue, 10).await;
        assert_eq!(master.call(&["HLEN", &key_of(queue)]).int(), 10);
        assert_eq!(claimed(&adapter, queue).await, ids);
    }
    let mut all = spread.queues.clone();
    all.sort();
    assert_eq!(adapter.queues().await.unwrap(), all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_is_in_its_queues_slot_and_follows_it_to_another() {
    let spread = Spread::start().await;
    let adapter = open(&spread.cluster.url());
    let due = Timestamp::now();
    for queue in &spread.queues {
        adapter.schedule(schedule("nightly", queue), Some(due)).await.unwrap();
        let master = spread.master_of(queue);
        assert_eq!(master.call(&["HLEN", &format!("{{test:{queue}}}:schedules")]).int(), 1);
        let record = record(&adapter, &ScheduleId::new("nightly").unwrap()).await;
        assert_eq!((&record.schedule.queue, record.next), (queue, Some(due)));
        let fired = adapter.fire(&[Firing::new(&record, due, None)]).await.unwrap();
        let [Fired::Job(job)] = fired[..] else { panic!("{fired:?}") };
        assert_eq!(claimed(&adapter, queue).await, BTreeSet::from([job]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_dies_is_followed_by_its_replica_and_other_queues_go_on() {
    let spread = Spread::start().await;
    let adapter = open(&spread.cluster.url());
    let (lost, master) = spread.away_from_home();
    let other = spread.queues.iter().find(|queue| *queue != lost).unwrap();
    let mut before = enqueued(&adapter, lost, 10).await;
    enqueued(&adapter, other, 1).await;
    // So that the failover takes nothing with it.
    assert_eq!(master.call(&["WAIT", "1", "5000"]).int(), 1);
    let mut heart = adapter.heart().await.unwrap();

    master.stall();
    // Before anybody has taken its place: the other queue's calls are answered, and this one's not.
    let (answered, took) = timed(adapter.enqueue(other, jobs(1))).await;
    answered.unwrap();
    assert!(took < PATIENCE / 2, "{took:?}");
    let (lost_beat, other_beat) =
        (Beat::new(lost.clone(), incarnation(), 1), Beat::new(other.clone(), incarnation(), 1));
    let replies = heart.beat(&[lost_beat, other_beat]).await.unwrap();
    assert!(matches!(replies[0], BeatReply::Unanswered { .. }), "{replies:?}");
    assert_eq!(replies[1], BeatReply::Expired, "it is told, and there was nothing to renew");

    before.insert(followed(&adapter, lost).await);
    let found = claimed(&adapter, lost).await;
    assert!(found.is_superset(&before), "{} of {}", found.len(), before.len());
    master.resume();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schedules_of_other_queues_are_listed_while_a_master_is_away() {
    let spread = Spread::start().await;
    let adapter = open(&spread.cluster.url());
    let (lost, master) = spread.away_from_home();
    let other = spread.queues.iter().find(|queue| *queue != lost).unwrap();
    for queue in [lost, other] {
        adapter.schedule(schedule(queue.as_str(), queue), None).await.unwrap();
    }
    master.kill();
    let listed = adapter.scheduled_jobs().await.unwrap();
    // What follows holds until the replica has taken over, which takes a second at least.
    let ids: Vec<_> = listed.records.iter().map(|record| record.schedule.id.as_str()).collect();
    assert_eq!(ids, [other.as_str()]);
    assert_eq!(listed.unread.len(), 1, "{:?}", listed.unread);
    assert_eq!(listed.unread[0].0, *lost);
    let error = listed.complete().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let again = async {
        while adapter.scheduled_jobs().await.map_or(true, |listed| !listed.unread.is_empty()) {
            sleep(ms(50)).await;
        }
    };
    timeout(FOLLOWED, again).await.expect("all are listed again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_takes_its_queue_along_and_calls_wait_meanwhile() {
    let spread = Spread::start().await;
    let cluster = &spread.cluster;
    let adapter = open(&cluster.url());
    let queue = &spread.queues[0];
    let (key, from, to) = (key_of(queue), &cluster.nodes()[0], &cluster.nodes()[1]);
    enqueued(&adapter, queue, 10).await;
    // Somebody waits for work there.
    let mut worker = Worker::new(&adapter, queue);
    assert_eq!(worker.claim(100).await.len(), 10);
    let ticket = worker.exchange(&worker.turn(&[], 1)).await.ticket;

    cluster.begin_move(&key, from, to);
    cluster.move_keys(&key, from, to, 1);
    let spec = job();
    let id = spec.id;
    let mut waiting = Box::pin(adapter.enqueue(queue, vec![spec]));
    begin(&mut waiting).await;
    // The lease of a queue beside it is renewed meanwhile, and that of this one cannot be.
    let beside = beside(cluster, queue).await;
    let mut other = Worker::new(&adapter, &beside);
    enqueued(&adapter, &beside, 1).await;
    assert_eq!(other.claim(1).await.len(), 1);
    let mut heart = adapter.heart().await.unwrap();
    let replies = heart.beat(&[worker.beat(), other.beat()]).await.unwrap();
    assert!(matches!(replies[0], BeatReply::Unanswered { .. }), "{replies:?}");
    assert!(matches!(replies[1], BeatReply::Renewed { .. }), "{replies:?}");
    begin(&mut waiting).await;
    cluster.end_move(&key, from, to);
    soon("it is answered", waiting).await.unwrap();

    // It stands in the idle list that moved along, and hears of the job where the queue is now.
    soon("it is woken", adapter.wait(Watch::Work(queue.clone(), ticket))).await.unwrap();
    assert_eq!(worker.claim(1).await, [id]);
    let held: Vec<_> = worker.held.keys().map(|job| (*job, Outcome::Complete)).collect();
    assert_eq!(held.len(), 11);
    worker.settle(&held).await;
    let ticket = worker.exchange(&worker.turn(&[], 1)).await.ticket;
    let waiting = tokio::spawn({
        let (adapter, queue) = (adapter.clone(), queue.clone());
        async move { adapter.wait(Watch::Work(queue, ticket)).await }
    });
    // And nowhere else: from two nodes, it would hear everything twice.
    let listens = |node: &RedisServer| {
        let channels = node.call(&["PUBSUB", "CHANNELS", &format!("{{test:{queue}}}:idle:*")]);
        channels.array().len()
    };
    eventually("it listens there alone", || (listens(from), listens(to)) == (0, 1)).await;
    let other = open(&cluster.url());
    enqueued(&other, queue, 1).await;
    let (woken, took) = timed(soon("it is woken there", waiting)).await;
    woken.unwrap().unwrap();
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_master_of_the_namespace_is_away_queues_go_on_also_those_never_used_before() {
    let spread = Spread::start().await;
    let adapter = open(&spread.cluster.url());
    let home = spread.cluster.master_of("{test}:queues", None);
    let mut others =
        spread.queues.iter().filter(|queue| spread.master_of(queue).port() != home.port());
    let (known, fresh) = (others.next().unwrap(), others.next().unwrap());
    enqueued(&adapter, known, 1).await;
    let mut worker = Worker::new(&adapter, known);
    home.stall();
    for queue in [known, fresh] {
        let (answered, took) = timed(adapter.enqueue(queue, jobs(1))).await;
        answered.unwrap();
        assert!(took < PATIENCE / 2, "{took:?}");
    }
    assert_eq!(worker.claim(10).await.len(), 2);
    adapter.sweep(fresh).await.unwrap();
    // It is entered into the list once that is there again.
    let listed = async {
        while adapter.queues().await.map_or(true, |all| !all.contains(fresh)) {
            let _ = adapter.enqueue(fresh, jobs(1)).await;
        }
    };
    timeout(FOLLOWED, listed).await.expect("it is listed");
    home.resume();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_user_of_the_documentation_may_do_all_that_is_needed_on_a_cluster() {
    let spread = Spread::start().await;
    let (places, commands) = crate::permissions::documented();
    for node in spread.cluster.nodes() {
        let rules = ["ACL", "SETUSER", "app", "on", ">pw"].into_iter();
        let rules = rules.chain(places.iter().chain(&commands).map(String::as_str));
        let rules: Vec<_> = rules.chain(["+cluster|slots", "+cluster|info"]).collect();
        assert_eq!(node.call(&rules).text(), "OK");
    }
    crate::workload::run(&spread.cluster.url().replace("://", "://app:pw@")).await;
    for node in spread.cluster.nodes() {
        let refused = node.call(&["ACL", "LOG"]);
        assert!(refused.array().is_empty(), "{refused:?}");
    }
    // Who may not ask where the slots are is told so.
    for node in spread.cluster.nodes() {
        node.call(&["ACL", "SETUSER", "app", "-cluster|slots"]);
    }
    let error = open(&spread.cluster.url().replace("://", "://app:pw@")).ping().await.unwrap_err();
    assert_error(&error, ErrorKind::Denied, Effect::None, &["cluster|slots"]);
}

#[cfg(feature = "tls")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_are_spoken_to_by_tls() {
    let (certificates, cluster) = blocking(|| {
        let certificates = shiftwork_test_kit::Certificates::new();
        let cluster = Clustered::by_tls(&certificates);
        (certificates, cluster)
    })
    .await;
    let mut connection = connection(&cluster.tls_url(), "test", |_| {});
    connection.variables.insert("JOBS_REDIS_TLS_CA", certificates.ca().display().to_string());
    let adapter = RedisAdapter::new(connection).unwrap();
    for number in 0..20 {
        enqueued(&adapter, &queue(&format!("q{number}")), 1).await;
    }
    let holds = |node: &RedisServer| node.call(&["DBSIZE"]).int() > 0;
    assert!(cluster.nodes()[..3].iter().all(holds), "they are spread");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_that_lives_will_do_to_find_the_others() {
    let spread = Spread::start().await;
    let third = spread.cluster.nodes()[2].address();
    let url = format!("redis-cluster://127.0.0.1:1,{third}");
    let adapter = open(&url);
    for queue in &spread.queues {
        enqueued(&adapter, queue, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_cluster_is_said_at_once() {
    let server = RedisServer::start();
    let no_cluster = format!("redis-cluster://{}", server.address());
    let nowhere = "redis-cluster://me:hunter2@127.0.0.1:1,127.0.0.1:2".to_owned();
    for (url, kind, says) in [
        (no_cluster, ErrorKind::Invalid, "no node of a cluster"),
        (nowhere, ErrorKind::Unavailable, "refused"),
    ] {
        let adapter = open(&url);
        let error = adapter.ping().await.unwrap_err();
        let shown = url.replace("me:hunter2@", "");
        assert_error(&error, kind, Effect::None, &[says, &shown]);
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
    // And who takes a node for a server of its own is told of the cluster.
    let spread = Spread::start().await;
    let adapter = open(&spread.cluster.nodes()[0].url());
    let asked = spread.queues.iter().map(|queue| adapter.counts(queue));
    let mut told = Vec::new();
    for asked in asked {
        told.extend(asked.await.err());
    }
    assert!(!told.is_empty());
    for error in told {
        assert_error(&error, ErrorKind::Invalid, Effect::None, &["MOVED", "redis-cluster://"]);
    }
}
