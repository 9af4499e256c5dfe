//! Triggers go with the name, not with the table, and no write passes without them.

use std::time::Duration;

use changeling::cutover::{Ownership, Protocol, Step, Swap, settle};
use changeling::failure::FailureKind;

use super::field::{Field, protocol_of, swapped};
use crate::support::{Client, TestDb, both};

/// Everything about the triggers of a table but when they were created.
async fn triggers(client: &Client, table: &str) -> Vec<Vec<String>> {
    let rows: Vec<mysql_async::Row> = client
        .rows(format!(
            "SELECT TRIGGER_NAME, ACTION_TIMING, EVENT_MANIPULATION, CONCAT(ACTION_ORDER), \
             ACTION_STATEMENT, DEFINER, SQL_MODE, CHARACTER_SET_CLIENT, COLLATION_CONNECTION \
             FROM information_schema.TRIGGERS \
             WHERE TRIGGER_SCHEMA = DATABASE() AND EVENT_OBJECT_TABLE = '{table}' \
             ORDER BY EVENT_MANIPULATION, ACTION_TIMING, ACTION_ORDER"
        ))
        .await;
    let cells = |row: &mysql_async::Row| (0..9).map(|i| row.get(i).unwrap()).collect();
    rows.iter().map(cells).collect()
}

/// An attempt that goes wrong at its end.
async fn fail_late(field: &mut Field) {
    match field.plan.protocol {
        Protocol::LockAndRename => {
            field.db.sql("CREATE TABLE _t_del (id INT)").await;
            assert!(field.cut_over().await.0.is_err());
            field.db.sql("DROP TABLE _t_del").await;
        }
        Protocol::Sentry => {
            field.plan.attempts_max = Some(1);
            field.changes.interfere = Box::new(|part| {
                Box::pin(async move {
                    if part == "arrived" {
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                })
            });
            let end = field.cut_over().await.0;
            assert!(matches!(end, Ok(Swap::NotSwapped(_))), "{end:?}");
            field.plan.attempts_max = None;
            field.changes.interfere = Box::new(|_| Box::pin(async {}));
        }
    }
    field.assert_whole(Ownership::Original).await;
}

#[tokio::test]
async fn triggers_are_recreated_and_none_is_missed() {
    both(async |server| {
        let db = TestDb::create(server, "triggers").await;
        let mut field = Field::start(db, protocol_of(server), 0).await;
        let client = field.db.connect().await;
        client
            .sql("CREATE TABLE seen (n BIGINT NOT NULL, KEY (n))")
            .await;
        for sql in [
            "SET NAMES latin1",
            "SET SESSION sql_mode = 'PIPES_AS_CONCAT'",
            "CREATE TRIGGER first BEFORE UPDATE ON t FOR EACH ROW SET @a = 'it''s' || 'one'",
            "SET NAMES utf8mb4",
            "CREATE TRIGGER second BEFORE UPDATE ON t FOR EACH ROW SET @b = 'é'",
            "CREATE DEFINER = `no.such`@`%` TRIGGER other BEFORE DELETE ON t FOR EACH ROW SET @c = 1",
            "CREATE TRIGGER `with ``tick` AFTER UPDATE ON t FOR EACH ROW \
             BEGIN INSERT INTO seen VALUES (NEW.v); END",
        ] {
            client.sql(sql).await;
        }
        let before = triggers(&client, "t").await;
        assert_eq!(before.len(), 4, "{before:?}");

        let refused = field.cut_over().await.0.unwrap_err();
        assert_eq!(refused.kind(), FailureKind::Refused);
        field.assert_whole(Ownership::Original).await;

        field.plan.recreate_triggers = true;
        field.plan.budget = Duration::from_secs(1);
        for round in 0..2 {
            if round > 0 {
                field.ghost().await;
            }
            // One that fails after the triggers were put on the ghost takes them away again.
            fail_late(&mut field).await;
            assert!(triggers(&client, "_t_gho").await.is_empty());
            assert_eq!(triggers(&client, "t").await, before);
            let (end, attempts) = field.cut_over().await;
            swapped(end);
            let steps = &attempts.last().unwrap().steps;
            assert!(steps.iter().any(|(step, _)| *step == Step::Triggers));
            assert_eq!(triggers(&client, "t").await, before);
            assert!(triggers(&client, "_t_del").await.is_empty());
        }
        let last = field.end_probe().await.len();
        let seen: Vec<(u64, u64)> = client
            .rows("SELECT n, COUNT(*) FROM seen GROUP BY n ORDER BY n")
            .await;
        let (first, all) = (seen[0].0, seen.len() as u64);
        println!("{}: updates {first} to {last} seen by the trigger", server.name);
        assert!(seen.iter().zip(first..).all(|(had, n)| *had == (n, 1)), "{seen:?}");
        assert_eq!(first + all - 1, last as u64);
    })
    .await;
}

/// An interruption after the swap leaves marked triggers; they get their names later.
#[tokio::test]
async fn triggers_are_settled() {
    both(async |server| {
        let db = TestDb::create(server, "trigger_settle").await;
        let mut field = Field::start(db, protocol_of(server), 0).await;
        field.end_probe().await;
        let client = field.db.connect().await;
        let (connection, names) = (&field.plan.server, &field.plan.names);
        client
            .sql("CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET @a = 1")
            .await;
        let before = triggers(&client, "t").await;
        client
            .sql("CREATE TRIGGER `~tr` BEFORE INSERT ON _t_gho FOR EACH ROW SET @a = 1")
            .await;
        assert_eq!(
            settle(connection, names).await.unwrap(),
            Ownership::Original
        );
        assert!(triggers(&client, "_t_gho").await.is_empty());
        client
            .sql("CREATE TRIGGER `~tr` BEFORE INSERT ON _t_gho FOR EACH ROW SET @a = 1")
            .await;
        client.sql("RENAME TABLE t TO _t_del, _t_gho TO t").await;
        assert_eq!(settle(connection, names).await.unwrap(), Ownership::Swapped);
        assert_eq!(triggers(&client, "t").await, before);
        assert!(triggers(&client, "_t_del").await.is_empty());
    })
    .await;
}
