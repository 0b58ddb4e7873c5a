//! How servers are, as a process sees them and as people are told.

use crate::support::*;

fn only(adapter: &RedisAdapter) -> ServerHealth {
    let servers = adapter.servers();
    assert_eq!(servers.len(), 1, "{servers:?}");
    servers.into_iter().next().unwrap()
}

#[tokio::test]
async fn a_server_is_connected_and_away_and_connected_again_and_no_password_is_told() {
    let server = RedisServer::start();
    server.call(&["ACL", "SETUSER", "app", "on", ">hunter2", "~*", "&*", "+@all"]);
    let adapter = open(&server.url().replace("://", "://app:hunter2@"));
    assert!(matches!(only(&adapter).state, ServerState::Connecting { why: None }));
    adapter.ping().await.unwrap();
    let connected = only(&adapter);
    assert_eq!(connected.server, format!("{}/0", server.url()));
    assert_eq!(connected.state, ServerState::Connected { wakes: true });

    server.kill();
    let is_away = || matches!(only(&adapter).state, ServerState::Connecting { why: Some(_) });
    eventually("it is away", is_away).await;
    sleep(ms(150)).await;
    let away = only(&adapter);
    assert!(away.since >= ms(150), "{away}");
    let told = format!("{away} {away:?}");
    assert!(told.contains("connecting for") && !told.contains("hunter2"), "{told}");

    // The user is not there any more.
    server.restart();
    eventually("it is refused", || matches!(only(&adapter).state, ServerState::Refused { .. }))
        .await;
    let told = format!("{}", only(&adapter));
    assert!(told.contains("WRONGPASS") && !told.contains("hunter2"), "{told}");

    server.call(&["ACL", "SETUSER", "app", "on", ">hunter2", "~*", "&*", "+@all"]);
    let is_back = || matches!(only(&adapter).state, ServerState::Connected { .. });
    eventually("it is connected again", is_back).await;
    adapter.shutdown().await.unwrap();
    assert_eq!(adapter.servers(), []);
}

#[tokio::test]
async fn one_that_wakes_nobody_is_told_as_such() {
    let server = RedisServer::options().args(["--rename-command", "HELLO", ""]).start();
    let adapter = open(&server.url());
    adapter.ping().await.unwrap();
    let told = only(&adapter);
    assert_eq!(told.state, ServerState::Connected { wakes: false });
    assert!(told.to_string().contains("wakes nobody"), "{told}");
}

#[cfg(feature = "cluster")]
#[tokio::test]
async fn each_master_of_a_cluster_is_told_by_itself() {
    let cluster = blocking(shiftwork_test_kit::Clustered::start).await;
    let adapter = open(&cluster.url());
    adapter.ping().await.unwrap();
    let all_connected = || {
        let servers = adapter.servers();
        servers.len() == 3
            && servers.iter().all(|of| matches!(of.state, ServerState::Connected { wakes: true }))
    };
    eventually("all are connected", all_connected).await;
    let home = cluster.master_of("{test}:queues", None).port();
    let lost = cluster.nodes()[..3].iter().find(|node| node.port() != home).unwrap();
    lost.kill();
    let address = lost.address().to_string();
    let is_away = || {
        let away = |of: &ServerHealth| matches!(of.state, ServerState::Connecting { .. });
        let servers = adapter.servers();
        let of_lost = servers.iter().find(|of| of.server.starts_with(&address));
        of_lost.is_some_and(away) && servers.iter().filter(|of| away(of)).count() == 1
    };
    eventually("it alone is away", is_away).await;
    let is_replaced = || {
        let servers = adapter.servers();
        all_connected() && servers.iter().all(|of| !of.server.starts_with(&address))
    };
    eventually("its replica is there instead", is_replaced).await;
}
