//! Tables, columns and keys: those that are there, those that are not, those that are none.

use super::*;

#[tokio::test]
async fn a_misspelt_table_or_column_is_an_error_that_names_it_and_deletes_nothing() {
    let database = Database::with_accounts(3, |_| old()).await;
    let of = |table, key, deleted_at, dependents: (&str, &str)| {
        ExpiredRows::of(database.pool.clone(), table)
            .deleted_at(deleted_at, TimeFormat::Text)
            .older_than(days(90))
            .key(key)
            .with_dependents(Dependents::in_table(dependents.0, dependents.1))
            .build()
            .unwrap()
    };
    let orders = ("orders", "account_id");
    for (rows, told) in [
        (
            of("acounts", "id", "deleted_at", orders),
            "there is no table acounts in the database \"main\"; its tables are accounts, \
             invoices, order_lines, orders, sessions",
        ),
        (
            of("archive.accounts", "id", "deleted_at", orders),
            "there is no table archive.accounts in the database \"archive\"; there are none",
        ),
        (
            of("accounts", "id", "deleted", orders),
            "the table accounts has no column deleted; its columns are id, email, deleted_at",
        ),
        (
            of("accounts", "uuid", "deleted_at", orders),
            "the table accounts has no column uuid; its columns are id, email, deleted_at",
        ),
        (
            of("accounts", "id", "deleted_at", ("order", "account_id")),
            "there is no table order in the database \"main\"; its tables are accounts, invoices, \
             order_lines, orders, sessions",
        ),
        (
            of("accounts", "id", "deleted_at", ("orders", "acount_id")),
            "the table orders has no column acount_id; its columns are id, account_id",
        ),
        (
            of("accounts", "email", "deleted_at", orders),
            "the column email of the table accounts is no key: nothing keeps two rows from having \
             the same; name its primary key, or a column with a UNIQUE index of its own (a key of \
             several columns will not do)",
        ),
    ] {
        assert_eq!(permanent(&rows).await, told);
    }
    database.execute("CREATE VIEW people AS SELECT * FROM accounts").await;
    let message = permanent(&of("people", "id", "deleted_at", orders)).await;
    assert_eq!(message, "people is a view and no table; name the table whose rows expire");
    assert_eq!(database.counts().await, [3, 6, 3, 6]);
}

#[tokio::test]
async fn names_have_no_case() {
    let database = Database::with_accounts(3, |_| old()).await;
    let orders = Dependents::in_table("ORDERS", "Account_Id")
        .with_dependents("ID", Dependents::in_table("Order_Lines", "ORDER_ID"));
    let rows = ExpiredRows::of(database.pool.clone(), "MAIN.Accounts")
        .deleted_at("DELETED_AT", TimeFormat::Text)
        .older_than(days(90))
        .key("Id")
        .with_dependents(orders)
        .build()
        .unwrap();
    assert_eq!(deleted(&purge(&rows, 10).await), 3);
}

#[tokio::test]
async fn names_that_are_more_than_names_are_refused_all_at_once() {
    let pool = SqlitePool::connect_lazy("sqlite::memory:").unwrap();
    let refused = ExpiredRows::of(pool, "accounts; DROP TABLE accounts")
        .deleted_at("deleted_at\" IS NOT NULL OR \"", TimeFormat::Text)
        .older_than(days(90))
        .key("1=1")
        .with_dependents(
            Dependents::in_table("orders", "account_id) OR (1=1")
                .with_dependents("id--", Dependents::in_table("\"", "order_id")),
        )
        .build()
        .unwrap_err();
    let message = refused.to_string();
    assert!(message.starts_with("6 things are wrong:\n  - "), "{message}");
    for seen in [
        "\"accounts; DROP TABLE accounts\" is not a valid table name: it contains ';'",
        "\"1=1\" is not a valid column name: it starts with '1'",
        "\"deleted_at\\\" IS NOT NULL OR \\\"\" is not a valid column name: it contains '\"'",
        "\"account_id) OR (1=1\" is not a valid column name: it contains ')'",
        "\"id--\" is not a valid column name: it contains '-'",
        "\"\\\"\" is not a valid table name: it contains '\"'",
        "use 1 to 100 ASCII letters, digits and '_', not starting with a digit",
    ] {
        assert!(message.contains(seen), "{message}");
    }
}

#[tokio::test]
async fn a_table_cannot_be_its_own_dependents() {
    let pool = SqlitePool::connect_lazy("sqlite::memory:").unwrap();
    for dependents in [
        Dependents::in_table("main.Accounts", "referred_by"),
        Dependents::in_table("orders", "account_id")
            .with_dependents("id", Dependents::in_table("ORDERS", "replaces")),
    ] {
        let rows = ExpiredRows::of(pool.clone(), "accounts")
            .deleted_at("deleted_at", TimeFormat::Text)
            .older_than(days(90));
        let refused = rows.with_dependents(dependents).build().unwrap_err().to_string();
        assert!(refused.contains("cannot be its own dependents: rows of it that"), "{refused}");
    }
}

#[tokio::test]
async fn a_key_may_be_of_any_type_and_of_several() {
    for schema in [
        "CREATE TABLE t (id TEXT PRIMARY KEY, at INTEGER)",
        "CREATE TABLE t (id TEXT PRIMARY KEY COLLATE NOCASE, at INTEGER)",
        "CREATE TABLE t (id BLOB PRIMARY KEY, at INTEGER)",
        "CREATE TABLE t (id PRIMARY KEY, at INTEGER) WITHOUT ROWID",
        "CREATE TABLE t (pk INTEGER PRIMARY KEY, id UNIQUE, at INTEGER)",
        "CREATE TABLE t (id ANY PRIMARY KEY, at INTEGER) STRICT",
    ] {
        let database = Database::new(schema).await;
        database
            .execute(
                "CREATE TABLE uses (t_id);
                 INSERT INTO t (id, at) VALUES
                    (1, 1600000000), (-7, 1600000000), (1.5, 1600000000), ('', 1600000000),
                    ('a', 1600000000), ('B''\"', 1600000000), ('c;--', 1600000000),
                    ('ü', 1600000000), (x'', 1600000000), (x'00ff', 1600000000),
                    ('stays', NULL), (x'01', NULL), (17, NULL);
                 INSERT INTO uses SELECT id FROM t;",
            )
            .await;
        let rows = ExpiredRows::of(database.pool.clone(), "t")
            .deleted_at("at", TimeFormat::UnixSeconds)
            .older_than(days(90))
            .with_dependents(Dependents::in_table("uses", "t_id"))
            .build()
            .unwrap();
        assert_eq!(deleted(&purge(&rows, 3).await), 10, "{schema}");
        assert_eq!(database.count("t WHERE at IS NULL").await, 3);
        assert_eq!((database.count("t").await, database.count("uses").await), (3, 3), "{schema}");
    }
}

#[tokio::test]
async fn a_row_without_a_key_is_left_and_told_of() {
    let database = Database::new("CREATE TABLE t (id TEXT PRIMARY KEY, at INTEGER)").await;
    database
        .execute("INSERT INTO t VALUES (NULL, 1600000000), (NULL, NULL), ('a', 1600000000)")
        .await;
    let rows = rows(&database, TimeFormat::UnixSeconds);
    let count = rows.count(CUT).await.unwrap();
    assert_eq!((count.expired, count.skipped.count), (1, 1));
    assert_eq!(count.skipped.first, ["a row whose id is NULL"]);
    assert_eq!(deleted(&purge(&rows, 10).await), 1);
    assert_eq!(database.count("t").await, 2);
}

#[tokio::test]
async fn a_table_of_an_attached_database_is_named_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let options =
        SqliteConnectOptions::new().filename(dir.path().join("app.sqlite")).create_if_missing(true);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    let database = Database { dir, pool };
    database
        .execute(
            "ATTACH ':memory:' AS archive;
             CREATE TABLE main.t (id INTEGER PRIMARY KEY, at INTEGER);
             CREATE TABLE archive.t (id INTEGER PRIMARY KEY, at INTEGER);
             CREATE TEMP TABLE t (id INTEGER PRIMARY KEY, at INTEGER);
             INSERT INTO main.t VALUES (1, 1600000000);
             INSERT INTO archive.t VALUES (1, 1600000000);
             INSERT INTO temp.t VALUES (1, 1600000000);",
        )
        .await;
    let of = |table| {
        let rows = ExpiredRows::of(database.pool.clone(), table);
        rows.deleted_at("at", TimeFormat::UnixSeconds).older_than(days(90)).build().unwrap()
    };
    assert_eq!(of("archive.t").name(), "archive.t");
    for (table, left) in [("archive.t", [1, 0, 1]), ("t", [0, 0, 1]), ("temp.t", [0, 0, 0])] {
        assert_eq!(deleted(&purge(&of(table), 10).await), 1);
        for (table, left) in ["main.t", "archive.t", "temp.t"].iter().zip(left) {
            assert_eq!(database.count(table).await, left, "{table}");
        }
    }
}
