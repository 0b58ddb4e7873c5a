//! Servers as services offer them, which forbid one thing or another: they are served all the same,
//! and what is lost by it is said once.

use futures_util::future::join_all;

use crate::events::record;
use crate::support::*;
use crate::workload;

/// What a service forbids.
struct Forbids {
    what: &'static str,
    /// Commands that the user may not use.
    commands: &'static [&'static str],
    /// Commands that the server does not even have.
    renamed: &'static [&'static str],
    /// Whether idle workers have to look for jobs by themselves.
    polls: bool,
    /// A warning, where there is one.
    warns: Option<&'static str>,
}

const SERVICES: [Forbids; 8] = [
    Forbids { what: "nothing", commands: &[], renamed: &[], polls: false, warns: None },
    Forbids { what: "CONFIG", commands: &["config"], renamed: &[], polls: false, warns: None },
    Forbids {
        what: "INFO",
        commands: &["info"],
        renamed: &[],
        polls: false,
        warns: Some("may not use INFO"),
    },
    Forbids {
        what: "SUBSCRIBE",
        commands: &["subscribe"],
        renamed: &[],
        polls: true,
        warns: Some("SUBSCRIBE"),
    },
    Forbids {
        what: "PUBLISH",
        commands: &["publish"],
        renamed: &[],
        polls: true,
        warns: Some("PUBLISH"),
    },
    Forbids {
        what: "RESP3",
        commands: &[],
        renamed: &["HELLO"],
        polls: true,
        warns: Some("RESP3"),
    },
    Forbids {
        what: "the commands of channels, which the server does not have",
        commands: &[],
        renamed: &["SUBSCRIBE", "PUBLISH", "CONFIG"],
        polls: true,
        warns: Some("PUBLISH"),
    },
    Forbids {
        what: "all of it",
        commands: &["config", "info", "subscribe", "publish"],
        renamed: &["HELLO"],
        polls: true,
        warns: Some("PUBLISH"),
    },
];

impl Forbids {
    /// A server of it, and its URL for a user.
    fn start(&self) -> (RedisServer, String) {
        let renamed = self.renamed.iter().flat_map(|name| ["--rename-command", name, ""]);
        let server = RedisServer::options().append_only(Fsync::EverySecond).args(renamed).start();
        let mut rules = vec!["ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all"];
        let commands: Vec<_> = self.commands.iter().map(|name| format!("-{name}")).collect();
        rules.extend(commands.iter().map(String::as_str));
        assert_eq!(server.call(&rules).text(), "OK");
        let url = server.url().replace("://", "://app:pw@");
        (server, url)
    }
}

#[tokio::test]
async fn whatever_a_service_forbids_jobs_are_done_there() {
    join_all(SERVICES.iter().map(async |service| {
        let (server, url) = service.start();
        workload::run(&url).await;
        // Not even tried, but for what is asked at the start.
        let refused = server.call(&["ACL", "LOG"]);
        let told: Vec<_> = refused.array().iter().map(|entry| format!("{entry:?}")).collect();
        let in_a_script = |entry: &&String| entry.contains("lua") && !entry.contains("publish");
        assert_eq!(told.iter().find(in_a_script), None, "{}", service.what);
    }))
    .await;
}

#[tokio::test]
async fn what_a_service_forbids_is_said_once_with_what_is_done_instead() {
    record();
    for service in &SERVICES {
        let (server, url) = service.start();
        let adapter = open(&url);
        adapter.ping().await.unwrap();
        // A connection that is made anew has nothing new to say.
        server.call(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        server.call(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        adapter.ping().await.unwrap();
        let shown = format!("{}/0", server.url());
        let warnings = record().with([("server", &*shown), ("level", "WARN")]);
        let said: Vec<_> = warnings
            .iter()
            .map(|event| event["message"].as_str())
            .filter(|message| !message.contains("redis is away"))
            .collect();
        let of_wakeups: Vec<_> =
            said.iter().filter(|text| text.contains("JOBS_IDLE_POLL")).collect();
        assert_eq!(of_wakeups.len(), usize::from(service.polls), "{}: {said:?}", service.what);
        match service.warns {
            None => assert_eq!(said, [""; 0], "{}", service.what),
            Some(word) => {
                let is_said = said.iter().any(|text| text.contains(word));
                assert!(is_said, "{}: {said:?}", service.what);
            }
        }
    }
}

#[tokio::test]
async fn a_server_that_forbids_publishing_and_loses_its_scripts_gets_those_that_do_not_publish() {
    let forbids = SERVICES.iter().find(|service| service.what == "PUBLISH").unwrap();
    let (server, url) = forbids.start();
    let adapter = open(&url);
    adapter.ping().await.unwrap();
    let mut worker = Worker::new(&adapter, &work());
    assert!(worker.claim(1).await.is_empty(), "it is idle now");
    server.call(&["SCRIPT", "FLUSH"]);
    assert_eq!(adapter.enqueue(&work(), jobs(1)).await.unwrap(), [Enqueued::New]);
    server.call(&["SCRIPT", "FLUSH"]);
    assert_eq!(worker.claim(1).await.len(), 1);
}

#[tokio::test]
async fn where_nothing_wakes_it_an_idle_worker_finds_a_job_by_looking() {
    for service in &SERVICES {
        let (_server, url) = service.start();
        let adapter = open_with(&url, |settings| settings.idle_poll = Some(ms(200)));
        let other = open(&url);
        let mut worker = Worker::new(&adapter, &work());
        let found = async {
            loop {
                let answer = worker.exchange(&worker.turn(&[], 1)).await;
                if !answer.claimed.is_empty() {
                    return answer.claimed[0].spec.id;
                }
                adapter.wait(Watch::Work(work(), answer.ticket)).await.unwrap();
            }
        };
        let spec = job();
        let id = spec.id;
        let enqueue = async {
            sleep(ms(300)).await;
            other.enqueue(&work(), vec![spec]).await.unwrap();
            Instant::now()
        };
        let found = async { (found.await, Instant::now()) };
        let ((found, at), enqueued) = tokio::join!(found, enqueue);
        assert_eq!(found, id);
        // Far less than the second of a poll that nobody asked to be shorter.
        let took = at - enqueued;
        assert!(took < ms(900), "{}: {took:?}", service.what);
    }
}

#[tokio::test]
async fn where_nothing_wakes_it_who_awaits_a_job_is_told_of_its_end() {
    for service in SERVICES.iter().filter(|service| service.polls) {
        let (_server, url) = service.start();
        let adapter = open_with(&url, |settings| settings.idle_poll = Some(ms(200)));
        let spec = job();
        let id = spec.id;
        adapter.enqueue(&work(), vec![spec]).await.unwrap();
        let mut worker = Worker::new(&adapter, &work());
        worker.claim(1).await;
        let queue = work();
        let ends = adapter.await_finish(&queue, id, LONG);
        let settle = async {
            sleep(ms(100)).await;
            worker.settle(&[(id, Outcome::Complete)]).await;
            Instant::now()
        };
        let ends = async { (ends.await.unwrap().unwrap(), Instant::now()) };
        let ((record, at), settled) = tokio::join!(ends, settle);
        assert_eq!(record.state, JobState::Completed);
        assert!(at - settled < ms(900), "{}: {:?}", service.what, at - settled);
    }
}
