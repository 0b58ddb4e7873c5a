//! What goes and what stays, batch by batch.

use super::*;

#[tokio::test]
async fn accounts_that_were_deleted_long_ago_go_with_all_their_dependents_and_others_stay() {
    let deleted_at = |id| match id % 3 {
        0 => old(),
        1 => young(),
        _ => None,
    };
    let database = Database::with_accounts(9, deleted_at).await;
    let batches = purge(&database.accounts(), 1000).await;
    assert_eq!((deleted(&batches), failed(&batches), batches.len()), (3, 0, 1));
    assert_eq!(batches[0].bytes, None);
    assert_eq!(database.ids("accounts").await, [1, 2, 4, 5, 7, 8]);
    assert_eq!(database.ids("orders").await, [10, 20, 40, 50, 70, 80]);
    assert_eq!(database.counts().await, [6, 12, 6, 12]);
    assert_eq!(database.count("pragma_foreign_key_check").await, 0);
}

#[tokio::test]
async fn counting_changes_nothing_and_finds_what_is_then_deleted() {
    let database = Database::with_accounts(30, |id| old().filter(|_| id > 10)).await;
    let before = database.counts().await;
    let count = database.accounts().count(CUT).await.unwrap();
    assert_eq!((count.expired, count.bytes, count.skipped.count), (20, None, 0));
    assert_eq!(database.counts().await, before);
    assert_eq!(deleted(&purge(&database.accounts(), 1000).await), 20);
}

#[tokio::test]
async fn a_batch_deletes_no_more_than_it_is_told_to_and_begins_with_the_oldest() {
    let at = |id| Some(CUT - days(1) - Duration::from_secs(u64::from(id)));
    let database = Database::with_accounts(25, at).await;
    let (rows, mut cursor) = (database.accounts(), Default::default());
    let batch = rows.delete_batch(CUT, 10, &mut cursor).await.unwrap();
    assert_eq!((batch.deleted, batch.more), (10, true));
    assert_eq!(database.ids("accounts").await, (1..=15).collect::<Vec<_>>());
    let batch = rows.delete_batch(CUT, 10, &mut cursor).await.unwrap();
    assert_eq!((batch.deleted, batch.more), (10, true));
    let batch = rows.delete_batch(CUT, 10, &mut cursor).await.unwrap();
    assert_eq!((batch.deleted, batch.more), (5, false));
    assert_eq!(database.counts().await, [0; 4]);
}

#[tokio::test]
async fn rows_of_the_same_time_are_met_one_after_the_other() {
    let database = Database::with_accounts(25, |_| old()).await;
    let batches = purge(&database.accounts(), 7).await;
    let batches: Vec<_> = batches.iter().map(|batch| (batch.deleted, batch.more)).collect();
    assert_eq!(batches, [(7, true), (7, true), (7, true), (4, false)]);
}

#[tokio::test]
async fn a_second_run_deletes_nothing_more() {
    let database = Database::with_accounts(20, |id| if id > 10 { old() } else { young() }).await;
    assert_eq!(deleted(&purge(&database.accounts(), 3).await), 10);
    let again = purge(&database.accounts(), 3).await;
    assert_eq!((deleted(&again), failed(&again), again.len()), (0, 0, 1));
    assert_eq!(database.count("accounts").await, 10);
}
