//! Dependents, and rows that something keeps.

use super::*;

#[tokio::test]
async fn a_row_that_another_table_holds_stays_with_its_dependents_and_the_others_go() {
    let database = Database::with_accounts(40, |_| old()).await;
    database.execute("INSERT INTO invoices (account_id) VALUES (1), (17), (18), (40)").await;
    let count = database.accounts().count(CUT).await.unwrap();
    for limit in [1000, 3] {
        let batches = purge(&database.accounts(), limit).await;
        // A dry run counts them: they are expired.
        let expected = if limit == 1000 { count.expired - 4 } else { 0 };
        assert_eq!((deleted(&batches), failed(&batches)), (expected, 4));
        let told: Vec<_> = batches.iter().flat_map(|batch| &batch.failed.first).collect();
        assert_eq!(told[0], "a row of accounts that invoices still refers to");
        assert_eq!(database.ids("accounts").await, [1, 17, 18, 40]);
        assert_eq!(database.counts().await, [4, 8, 4, 8]);
    }
}

#[tokio::test]
async fn a_whole_batch_that_is_held_does_not_end_the_run() {
    let database = Database::with_accounts(20, |_| old()).await;
    let held = "INSERT INTO invoices (account_id) SELECT id FROM accounts WHERE id <= 15";
    database.execute(held).await;
    let batches = purge(&database.accounts(), 5).await;
    assert_eq!((deleted(&batches), failed(&batches)), (5, 15));
    assert_eq!(database.ids("accounts").await, (1..=15).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_row_that_is_held_only_when_its_transaction_ends_is_told_of_too() {
    let database = Database::with_accounts(10, |_| old()).await;
    database
        .execute(
            "CREATE TABLE notes (account_id INTEGER
                 REFERENCES accounts DEFERRABLE INITIALLY DEFERRED);
             INSERT INTO notes VALUES (4);",
        )
        .await;
    let batches = purge(&database.accounts(), 100).await;
    assert_eq!((deleted(&batches), failed(&batches)), (9, 1));
    // Which of the two it is, SQLite does not say.
    let told = "a row of accounts that invoices or notes still refers to";
    assert_eq!(batches[0].failed.first, [told]);
    assert_eq!(database.counts().await, [1, 2, 1, 2]);
}

#[tokio::test]
async fn a_row_that_a_trigger_keeps_is_told_of_without_what_the_trigger_says() {
    let database = Database::with_accounts(10, |_| old()).await;
    database
        .execute(
            "CREATE TRIGGER hold BEFORE DELETE ON accounts WHEN old.id = 3
             BEGIN SELECT RAISE(ABORT, 'a3@example.org is in court'); END",
        )
        .await;
    let batches = purge(&database.accounts(), 100).await;
    assert_eq!((deleted(&batches), failed(&batches)), (9, 1));
    let told = &batches[0].failed.first[0];
    assert_eq!(told, "a row of accounts that a trigger or constraint keeps (SQLite's code 1811)");
    assert_eq!(database.counts().await, [1, 2, 1, 2]);
}

#[tokio::test]
async fn a_row_that_a_trigger_leaves_without_a_word_keeps_its_dependents_and_is_told_of() {
    let database = Database::with_accounts(10, |_| old()).await;
    database
        .execute(
            "CREATE TRIGGER hold BEFORE DELETE ON accounts WHEN old.id = 3
             BEGIN SELECT RAISE(IGNORE); END",
        )
        .await;
    let batches = purge(&database.accounts(), 4).await;
    assert_eq!((deleted(&batches), failed(&batches)), (9, 1));
    let told = "a row of accounts that a trigger leaves where it is";
    assert_eq!(batches[0].failed.first, [told]);
    assert_eq!(database.counts().await, [1, 2, 1, 2]);
}

#[tokio::test]
async fn a_trigger_that_ends_the_transaction_fails_the_batch_and_spoils_no_connection() {
    let database = Database::with_accounts(2, |_| old()).await;
    database
        .execute(
            "CREATE TRIGGER hold BEFORE DELETE ON accounts
             BEGIN SELECT RAISE(ROLLBACK, 'a secret'); END",
        )
        .await;
    for _ in 0..5 {
        let rows = database.accounts();
        let error = rows.delete_batch(CUT, 10, &mut Default::default()).await.unwrap_err();
        let told = "could not delete what is expired, for a row of accounts that a trigger or \
                    constraint keeps (SQLite's code 1811)";
        assert_eq!(error.to_string(), told);
    }
    assert_eq!(database.counts().await, [2, 4, 2, 4]);
    database.execute("DROP TRIGGER hold").await;
    assert_eq!(deleted(&purge(&database.accounts(), 10).await), 2);
}

#[tokio::test]
async fn where_foreign_keys_are_not_enforced_nothing_is_orphaned() {
    let database = Database::with_accounts(10, |_| old()).await;
    let pool = connect(&database.dir, |options| options.foreign_keys(false)).await;
    assert_eq!(
        permanent(&accounts(pool.clone()).build().unwrap()).await,
        "rows of the table invoices would be orphaned: they refer by account_id to accounts, and \
         this connection does not enforce foreign keys; connect with \
         SqliteConnectOptions::foreign_keys(true), which is the default, or declare \
         Dependents::in_table(\"invoices\", \"account_id\")"
    );
    assert_eq!(database.counts().await, [10, 20, 10, 20]);

    // Those of a dependent count as well.
    let shallow = ExpiredRows::of(pool.clone(), "accounts")
        .deleted_at("deleted_at", TimeFormat::Text)
        .older_than(days(90))
        .with_dependents(Dependents::in_table("orders", "account_id"))
        .with_dependents(Dependents::in_table("sessions", "account_id"))
        .with_dependents(Dependents::in_table("invoices", "account_id"));
    let message = permanent(&shallow.build().unwrap()).await;
    assert!(message.starts_with("rows of the table order_lines would be"), "{message}");

    // Where all are declared, none is left over.
    let all = accounts(pool)
        .with_dependents(Dependents::in_table("sessions", "account_id"))
        .with_dependents(Dependents::in_table("invoices", "account_id"));
    assert_eq!(deleted(&purge(&all.build().unwrap(), 3).await), 10);
    assert_eq!(database.counts().await, [0; 4]);
}

#[tokio::test]
async fn dependents_that_are_not_there_or_not_only_of_expired_rows_are_no_trouble() {
    let database = Database::with_accounts(3, |id| old().filter(|_| id == 2)).await;
    database
        .execute(
            "CREATE TABLE votes (voter INTEGER);
             INSERT INTO votes VALUES (1), (NULL), (3), (99);",
        )
        .await;
    let rows = accounts(database.pool.clone());
    let rows = rows.with_dependents(Dependents::in_table("votes", "voter")).build().unwrap();
    assert_eq!(deleted(&purge(&rows, 10).await), 1);
    assert_eq!((database.count("votes").await, database.ids("accounts").await), (4, vec![1, 3]));
}

#[tokio::test]
async fn what_went_before_an_error_is_told_of_and_the_next_batch_meets_the_error() {
    let database = Database::with_accounts(4, |_| old()).await;
    database
        .execute(
            "INSERT INTO invoices (account_id) VALUES (2);
             CREATE TRIGGER hold BEFORE DELETE ON accounts WHEN old.id = 4
             BEGIN SELECT RAISE(ROLLBACK, ''); END",
        )
        .await;
    let (rows, mut cursor) = (database.accounts(), Default::default());
    let batch = rows.delete_batch(CUT, 10, &mut cursor).await.unwrap();
    assert_eq!((batch.deleted, batch.failed.count, batch.more), (1, 1, true));
    assert!(rows.delete_batch(CUT, 10, &mut cursor).await.is_err());
    assert_eq!(database.ids("accounts").await, [2, 3, 4]);
    assert_eq!(database.counts().await, [3, 6, 3, 6]);
}
