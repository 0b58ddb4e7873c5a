//! Looking into queues tells the truth and touches nothing.

use std::time::Duration;

use super::kit::{ENDLESS, name, queue, sorted};
use super::{Kit, case_list};
use crate::{Counts, Cursor, Effect, ErrorKind, Find, JobId, JobRecord, JobState, Outcome, Scope};

case_list! {
    "inspect", __conformance_inspect:
    counts_follow_a_job_through_its_whole_life,
    counts_of_a_queue_never_used_are_nothing,
    jobs_are_found_by_state,
    jobs_are_found_by_name,
    jobs_are_found_by_tenant,
    jobs_are_found_by_all_of_it_together,
    where_nothing_is_asked_every_job_is_found,
    paging_covers_everything_exactly_once,
    paging_covers_what_is_asked_for_exactly_once,
    a_job_that_is_there_all_the_time_is_found_while_others_come_and_go,
    paging_goes_on_where_all_of_the_page_before_are_gone,
    a_page_is_found_again_from_the_same_cursor,
    another_process_goes_on_from_the_text_of_a_cursor,
    what_is_no_cursor_of_the_store_is_refused,
    what_is_found_is_what_is_looked_up,
    a_job_that_is_not_there_is_not_found,
    queues_are_named_in_order,
    an_emptied_queue_is_still_named,
    a_store_never_used_has_no_queues,
    looking_changes_nothing,
    the_store_tells_its_time,
}

async fn counts_follow_a_job_through_its_whole_life(kit: Kit) {
    let job = kit.add(kit.after(1)).await;
    assert_only(&kit, JobState::Delayed).await;
    kit.sweep_for(2).await;
    assert_only(&kit, JobState::Waiting).await;
    let mut worker = kit.worker();
    let claimed = worker.claim_one().await;
    assert_only(&kit, JobState::Active).await;
    worker.settle(&claimed, Outcome::Retry(kit.units(1))).await;
    assert_only(&kit, JobState::Delayed).await;
    kit.sweep_for(2).await;
    let claimed = worker.claim_one().await;
    worker.settle(&claimed, Outcome::Release(Duration::ZERO)).await;
    assert_only(&kit, JobState::Waiting).await;
    let claimed = worker.claim_one().await;
    worker.settle(&claimed, Outcome::Dead).await;
    assert_only(&kit, JobState::Dead).await;
    kit.replay(&kit.queue, job).await.expect("the store replays");
    assert_only(&kit, JobState::Waiting).await;
    kit.cancel_job(&kit.queue, job).await.expect("the store cancels");
    assert_only(&kit, JobState::Cancelled).await;
    kit.replay(&kit.queue, job).await.expect("the store replays");
    let claimed = worker.claim_one().await;
    worker.settle(&claimed, Outcome::Complete).await;
    assert_only(&kit, JobState::Completed).await;
    kit.discard(&kit.queue, job).await.expect("the store discards");
    assert_eq!(kit.count().await, Counts::default());
}

/// The only job of the queue is in this state, and counted so.
async fn assert_only(kit: &Kit, state: JobState) {
    let mut expected = Counts::default();
    *expected.of_mut(state) = 1;
    assert_eq!(kit.count().await, expected, "one job, {state}");
    let found = kit.find_all(Find::new()).await;
    assert_eq!(found.iter().map(|job| job.state).collect::<Vec<_>>(), [state]);
}

async fn counts_of_a_queue_never_used_are_nothing(kit: Kit) {
    let counts = kit.counts(&queue("never-used")).await.expect("the store counts");
    assert_eq!(counts, Counts::default());
}

async fn jobs_are_found_by_state(kit: Kit) {
    one_in_each_state(&kit).await;
    for state in JobState::ALL {
        let found = kit.find_all(Find::new().states([state])).await;
        assert_eq!(found.len(), 1, "one is {state}");
        assert_eq!(found[0].state, state);
    }
    let two = [JobState::Dead, JobState::Waiting];
    let found = kit.find_all(Find::new().states(two)).await;
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|job| two.contains(&job.state)));
}

async fn jobs_are_found_by_name(kit: Kit) {
    let mut spec = kit.new_job();
    spec.name = name("a_rare_job");
    let rare = kit.add(spec).await;
    kit.add_plain(3).await;
    assert_eq!(found(&kit, Find::new().name(name("a_rare_job"))).await, [rare]);
    assert!(found(&kit, Find::new().name(name("a_rare"))).await.is_empty(), "a whole name");
}

async fn jobs_are_found_by_tenant(kit: Kit) {
    let mut of_tenant = Vec::new();
    for scope in [Scope::tenant("acme"), Scope::new("acme", "shop"), Scope::tenant("other")] {
        let mut spec = kit.new_job();
        spec.provenance_mut().scope = Some(scope);
        of_tenant.push(kit.add(spec).await);
    }
    kit.add_plain(2).await;
    let acme = found(&kit, Find::new().tenant("acme")).await;
    assert_eq!(acme, sorted(of_tenant[..2].to_vec()));
    assert!(found(&kit, Find::new().tenant("nobody")).await.is_empty());
}

async fn jobs_are_found_by_all_of_it_together(kit: Kit) {
    let mut spec = kit.after(60);
    spec.name = name("report");
    spec.provenance_mut().scope = Some(Scope::tenant("acme"));
    let wanted = kit.add(spec.clone()).await;
    for change in 0..3 {
        let mut other = spec.clone();
        other.id = kit.id();
        match change {
            0 => other.name = name("another"),
            1 => other.provenance = None,
            _ => other.due = crate::Due::Now,
        }
        kit.add(other).await;
    }
    let find = Find::new().states([JobState::Delayed]).name(name("report")).tenant("acme");
    assert_eq!(found(&kit, find).await, [wanted]);
}

async fn where_nothing_is_asked_every_job_is_found(kit: Kit) {
    one_in_each_state(&kit).await;
    let all = kit.find_all(Find::new()).await;
    assert_eq!(all.len(), JobState::ALL.len());
    assert_eq!(sorted(all.iter().map(|job| job.state)), JobState::ALL);
}

async fn paging_covers_everything_exactly_once(kit: Kit) {
    let jobs = sorted(kit.add_plain(57).await);
    for limit in [1, 2, 10, 56, 57, 58, 1000] {
        assert_eq!(found(&kit, Find::new().limit(limit)).await, jobs, "{limit} a page");
    }
}

async fn paging_covers_what_is_asked_for_exactly_once(kit: Kit) {
    let jobs = kit.add_plain(40).await;
    let mut wanted = Vec::new();
    for job in jobs.iter().step_by(7) {
        kit.cancel_job(&kit.queue, *job).await.expect("the store cancels");
        wanted.push(*job);
    }
    let wanted = sorted(wanted);
    for limit in [1, 2, 5, 6, 7, 100] {
        let find = Find::new().states([JobState::Cancelled]).limit(limit);
        assert_eq!(found(&kit, find).await, wanted, "{limit} a page");
    }
}

async fn a_job_that_is_there_all_the_time_is_found_while_others_come_and_go(kit: Kit) {
    let jobs = kit.add_plain(60).await;
    let (going, staying) = jobs.split_at(30);
    let mut going = going.iter();
    let mut seen = Vec::new();
    let mut find = Find::new().limit(7);
    for round in 0..ENDLESS {
        let page = kit.find(&kit.queue, &find).await.expect("the store finds");
        seen.extend(page.jobs.iter().map(|job| job.spec.id));
        find.after = page.next;
        if find.after.is_none() {
            break;
        }
        assert!(round + 1 < ENDLESS, "there is always another page");
        for gone in going.by_ref().take(5) {
            kit.cancel_job(&kit.queue, *gone).await.expect("the store cancels");
            kit.discard(&kit.queue, *gone).await.expect("the store discards");
        }
        // If ever more came than a page tells, the pages need not end.
        kit.add_plain(if round < 10 { 20 } else { 0 }).await;
    }
    let missed: Vec<_> = staying.iter().filter(|job| !seen.contains(job)).collect();
    assert!(missed.is_empty(), "{missed:?} were there all the time, and in no page");
}

async fn paging_goes_on_where_all_of_the_page_before_are_gone(kit: Kit) {
    let jobs = kit.add_plain(40).await;
    let first = kit.find(&kit.queue, &Find::new().limit(10)).await.expect("the store finds");
    let mut seen: Vec<_> = first.jobs.iter().map(|job| job.spec.id).collect();
    for job in &seen {
        kit.cancel_job(&kit.queue, *job).await.expect("the store cancels");
        kit.discard(&kit.queue, *job).await.expect("the store discards");
    }
    let next = first.next.expect("forty jobs are more than a page of ten");
    let rest = found(&kit, Find::new().limit(10).after(next)).await;
    seen.extend(rest);
    assert_eq!(sorted(seen), sorted(jobs));
}

async fn a_page_is_found_again_from_the_same_cursor(kit: Kit) {
    kit.add_plain(30).await;
    let first = kit.find(&kit.queue, &Find::new().limit(10)).await.expect("the store finds");
    let next = first.next.expect("thirty jobs are more than a page of ten");
    let rest = found(&kit, Find::new().limit(10).after(next.clone())).await;
    assert_eq!(found(&kit, Find::new().limit(10).after(next)).await, rest);
}

async fn another_process_goes_on_from_the_text_of_a_cursor(kit: Kit) {
    let jobs = kit.add_plain(30).await;
    let mut find = Find::new().limit(10);
    let mut seen = Vec::new();
    for _ in 0..ENDLESS {
        let page = kit.another().await.find(&kit.queue, &find).await.expect("the store finds");
        seen.extend(page.jobs.iter().map(|job| job.spec.id));
        let Some(next) = page.next else { break };
        let text = serde_json::to_string(&next).expect("a cursor can be written");
        assert_eq!(text, serde_json::json!(next.as_str()).to_string(), "it is a text, as JSON too");
        find.after = Some(Cursor::new(next.to_string()));
        assert_eq!(find.after, serde_json::from_str(&text).ok());
    }
    assert_eq!(sorted(seen), sorted(jobs));
}

async fn what_is_no_cursor_of_the_store_is_refused(kit: Kit) {
    kit.add_plain(3).await;
    let endless = "no cursor ".repeat(1000);
    for text in ["", "no cursor", "{}", "\0", "\u{1f980}", "'; --", &endless] {
        for queue in [&kit.queue, &queue("never-used")] {
            let find = Find::new().after(Cursor::new(text));
            let error = match kit.find(queue, &find).await {
                Err(error) => error,
                Ok(page) => panic!("{text:?} was taken for a cursor: {page:?}"),
            };
            assert_eq!((error.kind(), error.effect()), (ErrorKind::Invalid, Effect::None));
            assert!(error.to_string().len() < 1000, "a long text is not told at length");
        }
    }
    assert_eq!(kit.count().await.waiting, 3);
}

async fn what_is_found_is_what_is_looked_up(kit: Kit) {
    one_in_each_state(&kit).await;
    let all: Vec<JobRecord> = kit.find_all(Find::new()).await;
    for job in all {
        assert_eq!(kit.record(job.spec.id).await, job);
    }
}

async fn a_job_that_is_not_there_is_not_found(kit: Kit) {
    kit.assert_unknown(kit.id()).await;
    let job = kit.add(kit.new_job()).await;
    let elsewhere = kit.job(&queue("elsewhere"), job).await.expect("the store looks a job up");
    assert_eq!(elsewhere, None);
    let page = kit.find(&queue("elsewhere"), &Find::new()).await.expect("the store finds");
    assert!(page.jobs.is_empty() && page.next.is_none());
}

async fn queues_are_named_in_order(kit: Kit) {
    for name in ["mail", "a", "Z", "reports.daily", "b-2", "b-10"] {
        kit.enqueue(&queue(name), vec![kit.new_job()]).await.expect("the store enqueues");
    }
    let queues = kit.queues().await.expect("the store names its queues");
    assert_eq!(queues, ["Z", "a", "b-10", "b-2", "mail", "reports.daily"]);
}

async fn an_emptied_queue_is_still_named(kit: Kit) {
    let job = kit.settled(Outcome::Complete).await;
    kit.discard(&kit.queue, job).await.expect("the store discards");
    kit.sweep_for(2).await;
    let queues = kit.queues().await.expect("the store names its queues");
    assert_eq!(queues, std::slice::from_ref(&kit.queue));
}

async fn a_store_never_used_has_no_queues(kit: Kit) {
    assert!(kit.queues().await.expect("the store names its queues").is_empty());
}

async fn looking_changes_nothing(kit: Kit) {
    one_in_each_state(&kit).await;
    let before = kit.snapshot().await;
    let nowhere = queue("nowhere");
    kit.counts(&nowhere).await.expect("the store counts");
    kit.find(&nowhere, &Find::new()).await.expect("the store finds");
    kit.job(&nowhere, kit.id()).await.expect("the store looks a job up");
    kit.held(&kit.queue, kit.incarnation(), None).await.expect("the store tells what is held");
    assert_eq!(kit.snapshot().await, before);
}

async fn the_store_tells_its_time(kit: Kit) {
    let before = kit.now().await;
    kit.pass(2).await;
    let passed = kit.now().await.since(before);
    assert!(passed >= kit.units(2) && passed < kit.units(20), "{passed:?} for 2 units");
}

async fn found(kit: &Kit, find: Find) -> Vec<JobId> {
    kit.find_all(find).await.iter().map(|job| job.spec.id).collect()
}

async fn one_in_each_state(kit: &Kit) {
    for outcome in [Outcome::Complete, Outcome::Dead, Outcome::Cancel] {
        kit.settled(outcome).await;
    }
    kit.claimed().await;
    kit.add(kit.new_job()).await;
    kit.add(kit.after(600)).await;
}
