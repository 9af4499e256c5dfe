//! What arrives, in which order, and with which coordinates.

use changeling::change::{BinlogEvent, RowChange};
use changeling::coordinates::{Coordinates, Step};
use changeling::key::Key;
use changeling::row::Cell;

use super::follow::Follow;
use crate::support::{TestDb, both};

fn key(id: i64) -> Key {
    Key(vec![Cell::Int(id)])
}

/// Before, after and values of a change, for comparing.
fn shown(change: &RowChange) -> (Option<Key>, Option<Key>, Option<&str>) {
    (
        change.before.clone(),
        change.after.as_ref().map(|after| after.key.clone()),
        change
            .after
            .as_ref()
            .and_then(|after| after.values.as_deref()),
    )
}

#[tokio::test]
async fn changes_arrive_in_order() {
    both(async |server| {
        let db = TestDb::create(server, "binlog").await;
        db.sql("CREATE TABLE t (id INT PRIMARY KEY, a INT, s VARCHAR(10) CHARACTER SET utf8mb4)")
            .await;
        db.sql("CREATE TABLE other (id INT PRIMARY KEY)").await;
        let mut follow = Follow::new(&db, true).await;
        db.sql("INSERT INTO t VALUES (1, NULL, 'a'), (-2, 5, '')")
            .await;
        db.sql("INSERT INTO other VALUES (1)").await;
        db.sql("START TRANSACTION").await;
        db.sql("UPDATE t SET a = 6, id = 3 WHERE id = 1").await;
        db.sql("DELETE FROM t WHERE id = -2").await;
        db.sql("COMMIT").await;
        let events = follow.events().await;
        let changes: Vec<_> = events
            .iter()
            .filter_map(|event| match event {
                BinlogEvent::Change(change) => Some(shown(change)),
                _ => None,
            })
            .collect();
        let one = Some("1,NULL,_utf8mb4'a'");
        assert_eq!(
            changes,
            [
                (None, Some(key(1)), one),
                (None, Some(key(-2)), Some("-2,5,_utf8mb4 x''")),
                (Some(key(1)), Some(key(3)), Some("3,6,_utf8mb4'a'")),
                (Some(key(-2)), None, None),
            ]
        );
        in_transactions(&events);
        let received = follow.received();
        assert_eq!(
            matches!(received, Coordinates::Maria(_)),
            server.is_mariadb(),
            "{received}"
        );
        follow.stop().await;
    })
    .await;
}

/// Every event stands between a Begin and the Commit of the same step; at least three transactions.
fn in_transactions(events: &[BinlogEvent]) {
    let mut open: Option<&Option<Step>> = None;
    let mut commits = 0;
    for event in events {
        match event {
            BinlogEvent::Begin { step } => {
                assert!(open.is_none());
                assert!(step.is_some());
                open = Some(step);
            }
            BinlogEvent::Commit {
                step,
                committed_micros,
            } => {
                assert_eq!(open.unwrap().as_ref(), Some(step));
                assert!(*committed_micros > 1_600_000_000_000_000);
                open = None;
                commits += 1;
            }
            BinlogEvent::Change(_) | BinlogEvent::Changelog { .. } => assert!(open.is_some()),
        }
    }
    assert!(commits >= 3, "{events:?}");
}
