//! Which releases of an application are live, and which of them rules.

use std::collections::BTreeSet;
use std::time::Duration;

use super::schedules::id;
use super::{Kit, case_list};
use crate::{Announcement, AppName, ReleaseId, Releases, ScheduleId, Watch};

case_list! {
    "releases", __conformance_releases:
    a_release_alone_rules,
    the_release_that_was_first_seen_latest_rules,
    what_any_live_release_declares_is_declared,
    a_release_is_live_as_long_as_a_process_of_it_is,
    a_process_that_does_not_say_so_again_is_there_no_more,
    a_process_that_says_so_again_stays,
    a_release_that_comes_back_is_seen_anew,
    a_process_that_changes_its_release_leaves_the_old_one,
    applications_do_not_see_each_other,
    withdrawing_what_is_not_there_does_nothing,
    a_release_that_declares_nothing_is_one,
    releases_are_the_same_to_all_processes_of_the_store,
    who_waits_for_schedules_is_woken_when_a_release_comes_or_goes,
}

fn app(name: &str) -> AppName {
    AppName::new(name).expect("a test's name is valid")
}

fn release(number: u128) -> ReleaseId {
    ReleaseId::parse(&format!("{number:032x}")).expect("a test's release is valid")
}

fn ids(names: &[&str]) -> BTreeSet<ScheduleId> {
    names.iter().map(|name| id(name)).collect()
}

/// A process of `shop` says for long that it is there.
async fn announce(kit: &Kit, process: &str, number: u128, declares: &[&str]) -> Releases {
    announce_for(kit, process, number, declares, kit.units(600)).await
}

async fn announce_for(
    kit: &Kit,
    process: &str,
    number: u128,
    declares: &[&str],
    lasts: Duration,
) -> Releases {
    let process = process.to_owned();
    let said = Announcement::new(app("shop"), process, release(number), ids(declares), lasts);
    kit.announce(said).await.expect("the store takes note")
}

async fn withdraw(kit: &Kit, process: &str) {
    kit.withdraw(&app("shop"), process).await.expect("the store takes note");
}

async fn a_release_alone_rules(kit: Kit) {
    let before = kit.now().await;
    let told = announce(&kit, "p", 1, &["a", "b"]).await;
    assert_eq!((told.ruling, told.live, told.is_new), (release(1), 1, true));
    assert_eq!(told.declared, ids(&["a", "b"]));
    for process in ["p", "q"] {
        assert!(!announce(&kit, process, 1, &["a", "b"]).await.is_new, "it is there by now");
    }
    assert!(before <= told.now && told.now <= kit.now().await);
}

async fn the_release_that_was_first_seen_latest_rules(kit: Kit) {
    for (process, number, ruling) in
        [("p1", 5, 5), ("p2", 5, 5), ("p3", 2, 2), ("p1", 5, 2), ("p4", 9, 9), ("p3", 2, 9)]
    {
        let told = announce(&kit, process, number, &[]).await;
        assert_eq!(told.ruling, release(ruling), "{process} of {number}");
    }
}

async fn what_any_live_release_declares_is_declared(kit: Kit) {
    announce(&kit, "old", 1, &["a", "b"]).await;
    let told = announce(&kit, "new", 2, &["b", "c"]).await;
    assert_eq!((told.live, told.declared), (2, ids(&["a", "b", "c"])));
    withdraw(&kit, "old").await;
    let told = announce(&kit, "new", 2, &["b", "c"]).await;
    assert_eq!((told.live, told.declared), (1, ids(&["b", "c"])));
}

async fn a_release_is_live_as_long_as_a_process_of_it_is(kit: Kit) {
    announce(&kit, "old1", 1, &["a"]).await;
    announce(&kit, "old2", 1, &["a"]).await;
    announce(&kit, "new", 2, &[]).await;
    withdraw(&kit, "old1").await;
    assert_eq!(announce(&kit, "new", 2, &[]).await.live, 2);
    withdraw(&kit, "old2").await;
    assert_eq!(announce(&kit, "new", 2, &[]).await.live, 1);
}

async fn a_process_that_does_not_say_so_again_is_there_no_more(kit: Kit) {
    announce_for(&kit, "old", 1, &["a"], kit.units(2)).await;
    assert_eq!(announce(&kit, "new", 2, &[]).await.live, 2);
    kit.pass(3).await;
    let told = announce(&kit, "new", 2, &[]).await;
    assert_eq!((told.live, told.declared), (1, ids(&[])));
}

async fn a_process_that_says_so_again_stays(kit: Kit) {
    announce_for(&kit, "old", 1, &["a"], kit.units(4)).await;
    kit.pass(2).await;
    announce_for(&kit, "old", 1, &["a"], kit.units(400)).await;
    kit.pass(4).await;
    assert_eq!(announce(&kit, "new", 2, &[]).await.live, 2);
}

async fn a_release_that_comes_back_is_seen_anew(kit: Kit) {
    announce(&kit, "old", 1, &["a"]).await;
    assert_eq!(announce(&kit, "new", 2, &["b"]).await.ruling, release(2));
    // A rollback: as long as the old one is live, starting more of it changes nothing.
    assert_eq!(announce(&kit, "old2", 1, &["a"]).await.ruling, release(2));
    withdraw(&kit, "new").await;
    assert_eq!(announce(&kit, "old", 1, &["a"]).await.ruling, release(1));
    // And forward again.
    let told = announce(&kit, "new", 2, &["b"]).await;
    assert!(told.is_new);
    assert_eq!((told.ruling, told.declared), (release(2), ids(&["a", "b"])));
}

async fn a_process_that_changes_its_release_leaves_the_old_one(kit: Kit) {
    announce(&kit, "p", 1, &["a"]).await;
    let told = announce(&kit, "p", 2, &["b"]).await;
    assert_eq!((told.ruling, told.live, told.declared), (release(2), 1, ids(&["b"])));
}

async fn applications_do_not_see_each_other(kit: Kit) {
    announce(&kit, "p", 1, &["a"]).await;
    let said =
        Announcement::new(app("office"), "p".into(), release(2), ids(&["b"]), kit.units(600));
    let told = kit.announce(said).await.expect("the store takes note");
    assert_eq!((told.ruling, told.live, told.declared), (release(2), 1, ids(&["b"])));
    kit.withdraw(&app("office"), "p").await.expect("the store takes note");
    let told = announce(&kit, "q", 1, &["a"]).await;
    assert_eq!((told.ruling, told.live, told.declared), (release(1), 1, ids(&["a"])));
}

async fn withdrawing_what_is_not_there_does_nothing(kit: Kit) {
    withdraw(&kit, "nobody").await;
    announce(&kit, "p", 1, &["a"]).await;
    withdraw(&kit, "nobody").await;
    assert_eq!(announce(&kit, "q", 2, &[]).await.live, 2);
}

async fn a_release_that_declares_nothing_is_one(kit: Kit) {
    announce(&kit, "old", 1, &["a"]).await;
    let told = announce(&kit, "new", 2, &[]).await;
    assert_eq!((told.ruling, told.declared), (release(2), ids(&["a"])));
    withdraw(&kit, "old").await;
    assert_eq!(announce(&kit, "new", 2, &[]).await.declared, ids(&[]));
}

async fn releases_are_the_same_to_all_processes_of_the_store(kit: Kit) {
    let another = kit.another().await;
    announce(&kit, "here", 1, &["a"]).await;
    let said =
        Announcement::new(app("shop"), "there".into(), release(2), ids(&["b"]), kit.units(600));
    let told = another.announce(said).await.expect("the store takes note");
    assert_eq!((told.ruling, told.live, told.declared), (release(2), 2, ids(&["a", "b"])));
    withdraw(&kit, "there").await;
    assert_eq!(announce(&kit, "here", 1, &["a"]).await.live, 1);
}

async fn who_waits_for_schedules_is_woken_when_a_release_comes_or_goes(kit: Kit) {
    announce(&kit, "here", 1, &["a"]).await;
    for comes in [true, false] {
        let seen = kit.due(None, Duration::ZERO, 10).await.expect("the store looks").ticket;
        let wait = kit.wait(Watch::Schedules(seen));
        super::wakeups::assert_wakes_after(&kit, wait, async || match comes {
            true => drop(announce(&kit, "there", 2, &["b"]).await),
            false => withdraw(&kit, "there").await,
        })
        .await;
    }
    assert_eq!(announce(&kit, "here", 1, &["a"]).await.live, 1);
}
