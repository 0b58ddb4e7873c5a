//! What an adapter says of itself, and its end.

use super::kit::begin;
use super::schedules::id;
use super::{Kit, case_list};
use crate::{Effect, ErrorKind, Find, Provider, Trigger, Watch};

case_list! {
    "shutdown", __conformance_shutdown:
    an_adapter_is_named_as_its_provider,
    what_is_called_after_the_end_is_closed,
    ending_twice_is_ending_once,
    who_waits_is_answered_at_the_end,
    who_awaits_a_job_is_answered_at_the_end,
}

async fn an_adapter_is_named_as_its_provider(kit: Kit) {
    let linked = Provider::linked();
    let provider = linked.iter().find(|provider| provider.name == kit.provider());
    let provider = provider.unwrap_or_else(|| panic!("no provider {} is linked", kit.provider()));
    assert_eq!(provider.capabilities, kit.capabilities());
    assert_eq!(provider.name, provider.name.to_lowercase());
    assert!(!provider.summary.is_empty());
    for variable in provider.variables {
        assert!(variable.name.starts_with("JOBS_"), "{}", variable.name);
        assert!(!variable.doc.is_empty(), "{} says what it is for", variable.name);
    }
}

async fn what_is_called_after_the_end_is_closed(kit: Kit) {
    let job = kit.add(kit.new_job()).await;
    let schedule = kit.every_minute("a");
    let (queue, id) = (&kit.queue, &id("a"));
    let trigger = Trigger::new(id.clone(), kit.id(), kit.units(1));
    let exchange = kit.worker().turn();
    let ticket = crate::Ticket::default();
    kit.shutdown().await.expect("the adapter ends");

    assert_closed("ping", kit.ping().await);
    assert_closed("schedule", kit.schedule(schedule, None).await);
    assert_closed("cancel", kit.cancel(id).await);
    assert_closed("is_scheduled", kit.is_scheduled(id).await);
    assert_closed("scheduled_jobs", kit.scheduled_jobs().await);
    assert_closed("trigger", kit.trigger(trigger).await);
    assert_closed("fire", kit.fire(&[]).await);
    assert_closed("enqueue", kit.enqueue(queue, vec![kit.new_job()]).await);
    assert_closed("job", kit.job(queue, job).await);
    assert_closed("await_finish", kit.await_finish(queue, job, kit.units(1)).await);
    assert_closed("cancel_job", kit.cancel_job(queue, job).await);
    assert_closed("exchange", kit.exchange(&exchange).await);
    assert_closed("held", kit.held(queue, kit.incarnation(), None).await);
    assert_closed("heart", kit.heart().await.map(|_| ()));
    assert_closed("sweep", kit.sweep(queue).await);
    assert_closed("wait", kit.wait(Watch::Work(queue.clone(), ticket)).await);
    assert_closed("queues", kit.queues().await);
    assert_closed("counts", kit.counts(queue).await);
    assert_closed("find", kit.find(queue, &Find::new()).await);
    assert_closed("pause", kit.pause(queue).await);
    assert_closed("resume", kit.resume(queue).await);
    assert_closed("replay", kit.replay(queue, job).await);
    assert_closed("discard", kit.discard(queue, job).await);
}

fn assert_closed<T>(operation: &str, answer: crate::Result<T>) {
    let Err(error) = answer else { panic!("{operation} was answered after the end") };
    assert_eq!(error.kind(), ErrorKind::Closed, "{operation}: {error}");
    assert_eq!(error.effect(), Effect::None, "{operation}: {error}");
    assert!(!error.is_retryable());
}

async fn ending_twice_is_ending_once(kit: Kit) {
    kit.add_plain(1).await;
    kit.shutdown().await.expect("the adapter ends");
    kit.shutdown().await.expect("it has ended");
}

async fn who_waits_is_answered_at_the_end(kit: Kit) {
    let ticket = kit.worker().say_hello().await.ticket;
    let wait = kit.wait(Watch::Work(kit.queue.clone(), ticket));
    let mut wait = Box::pin(kit.in_time(wait));
    if begin(&mut wait).await.is_some() {
        return;
    }
    kit.shutdown().await.expect("the adapter ends");
    let answer = wait.await.expect("a wait does not outlast the adapter");
    assert!(answer.is_ok() || answer.is_err_and(|error| error.kind() == ErrorKind::Closed));
}

async fn who_awaits_a_job_is_answered_at_the_end(kit: Kit) {
    let job = kit.add(kit.new_job()).await;
    let awaiting = kit.await_finish(&kit.queue, job, kit.units(600));
    let mut awaiting = Box::pin(kit.in_time(awaiting));
    assert!(begin(&mut awaiting).await.is_none(), "it has not ended");
    kit.shutdown().await.expect("the adapter ends");
    let answer = awaiting.await.expect("a wait does not outlast the adapter");
    assert!(answer.is_ok() || answer.is_err_and(|error| error.kind() == ErrorKind::Closed));
}
