//! When a row was deleted, in each format.

use super::*;

#[tokio::test]
async fn what_was_deleted_exactly_then_is_not_older() {
    let millisecond = Duration::from_millis(1);
    let at = [CUT - millisecond, CUT, CUT + millisecond];
    let database = Database::with_accounts(3, |id| Some(at[id as usize - 1])).await;
    assert_eq!(database.accounts().count(CUT).await.unwrap().expired, 1);
    assert_eq!(deleted(&purge(&database.accounts(), 10).await), 1);
    assert_eq!(database.ids("accounts").await, [2, 3]);
}

#[tokio::test]
async fn text_times_of_every_usual_form_are_compared_as_times() {
    let database = Database::new("CREATE TABLE t (id INTEGER PRIMARY KEY, at TEXT)").await;
    // The cut is 2026-08-24T00:00:00Z.
    let expired = [
        "2026-08-23 23:59:59",
        "2026-08-23T23:59:59Z",
        "2026-08-23T23:59:59.999Z",
        "2026-08-23 23:59:59.998999",
        "2026-08-23 23:59",
        "2026-08-24T01:59:59+02:00",
        "2026-08-24T13:59:59+14:00",
        "2026-08-23T23:59:59.123456789+00:00",
        "2026-08-23 12:59:59.999-11:00",
        "1999-12-31 00:00:00",
    ];
    let kept = [
        "2026-08-24 00:00:00",
        "2026-08-24T00:00:00Z",
        "2026-08-24T00:00:00.000Z",
        "2026-08-24T02:00:00+02:00",
        "2026-08-23T23:00:00-01:00",
        "2026-08-23T13:00:01-11:00",
        "2026-08-24 00:00:01",
        "3000-01-01T00:00:00Z",
    ];
    for at in expired.into_iter().chain(kept) {
        let insert = sqlx::query("INSERT INTO t (at) VALUES (?)").bind(at);
        insert.execute(&database.pool).await.unwrap();
    }
    let rows = rows(&database, TimeFormat::Text);
    let count = rows.count(CUT).await.unwrap();
    assert_eq!((count.expired, count.skipped.count), (expired.len() as u64, 0));
    assert_eq!(deleted(&purge(&rows, 3).await), expired.len() as u64);
    let mut left: Vec<String> =
        sqlx::query_scalar("SELECT at FROM t ORDER BY id").fetch_all(&database.pool).await.unwrap();
    left.sort_unstable();
    let mut kept = kept.map(String::from);
    kept.sort_unstable();
    assert_eq!(left, kept);
}

#[tokio::test]
async fn unix_times_are_compared_as_numbers() {
    let seconds = CUT.as_millis() / 1000;
    for (format, declared, unit) in [
        (TimeFormat::UnixSeconds, "INTEGER", 1),
        (TimeFormat::UnixSeconds, "REAL", 1),
        (TimeFormat::UnixSeconds, "", 1),
        (TimeFormat::UnixMillis, "INTEGER", 1000),
        (TimeFormat::UnixMillis, "DATETIME", 1000),
    ] {
        let schema = format!("CREATE TABLE t (id INTEGER PRIMARY KEY, at {declared})");
        let database = Database::new(&schema).await;
        let cut = seconds * unit;
        let values = format!(
            "INSERT INTO t (at) VALUES ({cut} - 1), ({cut} - 0.5), ({cut} - 99999999),
                 ({cut}), ({cut} + 1), ({cut} + 0.5), (NULL)"
        );
        database.execute(&values).await;
        let rows = rows(&database, format);
        let count = rows.count(CUT).await.unwrap();
        assert_eq!((count.expired, count.skipped.count), (3, 0), "{format:?} in {declared}");
        assert_eq!(deleted(&purge(&rows, 2).await), 3);
        assert_eq!(database.ids("t").await, [4, 5, 6, 7]);
    }
}

#[tokio::test]
async fn a_part_of_a_second_counts() {
    let database = Database::new("CREATE TABLE t (id INTEGER PRIMARY KEY, at)").await;
    let cut = CUT + Duration::from_millis(500);
    let second = CUT.as_millis() / 1000;
    let values = format!("INSERT INTO t (at) VALUES ({second}), ({second}.499), ({second}.5)");
    database.execute(&values).await;
    let rows = rows(&database, TimeFormat::UnixSeconds);
    assert_eq!(rows.count(cut).await.unwrap().expired, 2);
    assert_eq!(rows.count(CUT).await.unwrap().expired, 0);
}

#[tokio::test]
async fn a_value_that_is_no_time_is_never_deleted_and_is_told_of_once_in_a_run() {
    // Seconds where milliseconds should be, and the other way round, are among them.
    for (format, values, told) in [
        (
            TimeFormat::Text,
            "(''), ('yesterday'), ('now'), ('2020-01-01'), ('12:00'), ('2451544.5'), ('1000'),
             ('2020-13-01 00:00:00'), ('2020-01-01 00:00:60'), ('2020-01-01 00:00:00 CET'),
             ('0000-00-00 00:00:00'), ('0001-01-01T00:00:00Z'), ('9999-12-31T23:59:59Z'),
             (1000000000), (x'323032302d30312d30312030303a30303a3030'), (0)",
            "a row whose at is not a date and a time as text, such as 2026-05-27T10:00:00Z, \
             between the years 1973 and 5138",
        ),
        (
            TimeFormat::UnixSeconds,
            "(''), ('yesterday'), ('2020-01-01 00:00:00'), (0), (-1), (2451544.5),
             (1577836800000), (x'00'), (99999999), (100000000000)",
            "a row whose at is not a number of seconds since 1970, between the years 1973 and 5138",
        ),
        (
            TimeFormat::UnixMillis,
            "(''), ('yesterday'), ('1577836800000'), (0), (-1), (1577836800), (x'00'),
             (1577836800000000)",
            "a row whose at is not a number of milliseconds since 1970, between the years 1973 and \
             5138",
        ),
    ] {
        let database = Database::new("CREATE TABLE t (id INTEGER PRIMARY KEY, at)").await;
        database.execute(&format!("INSERT INTO t (at) VALUES {values}")).await;
        let bad = database.count("t").await as u64;
        let good = match format {
            TimeFormat::Text => "(11, '2020-01-01 00:00:00'), (12, '2020-01-01T00:00:00Z')",
            TimeFormat::UnixSeconds => "(11, 1577836800), (12, 1577836800)",
            _ => "(11, 1577836800000), (12, 1577836800000)",
        };
        database
            .execute(&format!("INSERT INTO t SELECT column1 * 10, column2 FROM (VALUES {good})"))
            .await;
        let rows = rows(&database, format);
        let count = rows.count(CUT).await.unwrap();
        assert_eq!((count.expired, count.skipped.count), (2, bad), "{format:?}");
        assert_eq!(count.skipped.first, [told]);
        let batches = purge(&rows, 1).await;
        let skipped: Vec<_> = batches.iter().map(|batch| batch.skipped.count).collect();
        assert_eq!((deleted(&batches), skipped), (2, vec![bad, 0, 0]));
        assert_eq!(database.count("t").await as u64, bad);
    }
}

#[tokio::test]
async fn a_retention_longer_than_there_is_time_expires_nothing() {
    let database = Database::new("CREATE TABLE t (id INTEGER PRIMARY KEY, at)").await;
    let values = "INSERT INTO t (at) VALUES (100000000), (100000000000), ('1974-01-01 00:00:00')";
    database.execute(values).await;
    for format in [TimeFormat::Text, TimeFormat::UnixSeconds, TimeFormat::UnixMillis] {
        let rows = rows(&database, format);
        for older_than in [CUT - Duration::MAX, Timestamp::from_millis(i64::MIN)] {
            assert_eq!(rows.count(older_than).await.unwrap().expired, 0, "{format:?}");
            let batch = rows.delete_batch(older_than, 10, &mut Default::default()).await.unwrap();
            assert_eq!((batch.deleted, batch.more), (0, false));
        }
    }
}

#[tokio::test]
async fn numbers_in_a_column_of_texts_are_not_taken_for_unix_times() {
    let database = Database::new("CREATE TABLE t (id INTEGER PRIMARY KEY, at TEXT)").await;
    // As texts both are before 1787529600, though the second is of the year 2286.
    database.execute("INSERT INTO t (at) VALUES (1000000000), (10000000000)").await;
    let rows = rows(&database, TimeFormat::UnixSeconds);
    let count = rows.count(CUT).await.unwrap();
    assert_eq!((count.expired, count.skipped.count), (0, 2));
    assert_eq!(deleted(&purge(&rows, 10).await), 0);
}
