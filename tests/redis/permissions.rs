//! The rules of docs/production.md are enough, and each of them is needed.

use shiftwork::prelude::*;
use shiftwork_test_kit::RedisServer;

#[job(queue = "permitted", every = "1s")]
async fn permitted() -> Result<u32, JobError> {
    Ok(7)
}

/// The words of the rule in docs/production.md.
fn rule() -> Vec<String> {
    let page = include_str!("../../docs/production.md");
    let (_, rest) = page.split_once("```\nACL SETUSER").expect("the rule is there");
    let (rule, _) = rest.split_once("```").expect("it has an end");
    rule.split_whitespace().map(Into::into).collect()
}

fn set(server: &RedisServer, words: &[String]) {
    let command = ["ACL", "SETUSER"].into_iter().map(String::from).chain(words.to_vec());
    let command: Vec<_> = command.collect();
    assert_eq!(server.call(&command).text(), "OK");
}

async fn start(server: &RedisServer, role: &str) -> shiftwork::Result<Jobs> {
    let url = server.url().replace("redis://", "redis://shiftwork:password@");
    let vars = [
        ("JOBS_PROVIDER", "redis"),
        ("JOBS_REDIS_URL", &url),
        ("JOBS_NAMESPACE", "shop"),
        ("JOBS_QUEUES", "permitted"),
        ("WORKER_ROLE", role),
    ];
    Jobs::from_vars(vars).start().await
}

#[tokio::test]
async fn a_user_with_the_documented_rules_can_do_everything() {
    let server = RedisServer::start();
    set(&server, &rule());
    let worker = start(&server, "worker").await.unwrap();
    let web = start(&server, "web").await.unwrap();
    let run = web.trigger("permitted").await.unwrap();
    let result = run.result(seconds(20)).await.unwrap().finished().unwrap();
    assert_eq!(result.data::<u32>().unwrap(), Some(7));
    let fired = async {
        while web.scheduled_jobs().await.unwrap().iter().all(|schedule| schedule.fired == 0) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(seconds(20), fired).await.unwrap();
    web.pause("permitted").await.unwrap();
    let later = web.enqueue(permitted::job().delay(hours(1))).await.unwrap();
    web.cancel_job(later.id()).await.unwrap();
    web.find("permitted", &shiftwork::Find::new()).await.unwrap();
    web.resume("permitted").await.unwrap();
    assert!(worker.health().await.healthy, "{}", worker.health().await);
    let servers = worker.health().await.servers;
    assert_eq!(servers.len(), 1, "{servers:?}");
    assert_eq!(servers[0].state, shiftwork::ServerState::Connected { wakes: true });
    assert!(!format!("{servers:?}").contains("password"), "{servers:?}");
    worker.shutdown().await.unwrap();

    // Nothing was refused on the way, told or not.
    let log = server.call(&["ACL", "LOG"]);
    assert!(log.array().is_empty(), "{log:?}");
}

#[tokio::test]
async fn without_one_of_them_a_process_does_not_start_and_says_which_is_missing() {
    let server = RedisServer::start();
    // Those that a connection begins with are refused by the server itself, and INFO can be missing.
    // as can channels.
    let first =
        ["+hello", "+info", "+select", "+eval", "+evalsha", "+ping", "+subscribe", "+publish"];
    let rule = rule();
    let tried = rule.iter().filter(|word| word.starts_with('+') && !first.contains(&&word[..]));
    for without in tried {
        let mut words: Vec<_> = rule.iter().filter(|word| word != &without).cloned().collect();
        words.insert(1, "reset".into());
        set(&server, &words);
        let name = without.trim_start_matches('+').replace('|', " ");
        match start(&server, "web").await {
            Ok(_) => panic!("it starts without {name}: is it needed at all?"),
            Err(error) => {
                let error = error.to_string().to_lowercase();
                assert!(
                    error.contains(&name) || error.contains(&name.replace(' ', "|")),
                    "{error}"
                );
            }
        }
    }
}
