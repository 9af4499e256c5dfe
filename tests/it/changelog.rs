//! The changelog table and its heartbeats.

use std::sync::Arc;

use changeling::change::now_micros;
use changeling::changelog::{self, Heartbeats};
use changeling::mysql::{Purpose, Server};
use changeling::names::TableName;
use tokio_util::sync::CancellationToken;

use crate::support::wait::PATIENCE;
use crate::support::{TestDb, both, eventually};

#[tokio::test]
async fn markers_and_states_are_rows() {
    both(async |server| {
        let db = TestDb::create(server, "changelog").await;
        let table = TableName::new(&db.name, "_t_ghc");
        let server = Server::connect(db.server.options()).await.unwrap();
        let mut session = server.session(Purpose::Monitor).await.unwrap();
        changelog::create(&mut session, &table).await.unwrap();
        changelog::create(&mut session, &table)
            .await
            .expect_err("a table that is there is not ours");
        changelog::write_marker(&mut session, &table, "m1")
            .await
            .unwrap();
        changelog::write_marker(&mut session, &table, "m1")
            .await
            .expect_err("a marker is unique");
        for state in ["one", "zw\u{f6}lf"] {
            changelog::write_state(&mut session, &table, "state", state)
                .await
                .unwrap();
        }
        let rows: Vec<(i64, String, String)> = db
            .rows("SELECT id, hint, value FROM _t_ghc ORDER BY id")
            .await;
        assert_eq!((rows.len(), rows[0].1.as_str()), (2, "m1"));
        assert!(
            rows[0].0 >= 256,
            "ids below are for rows that are written again and again"
        );
        assert_eq!(rows[1].2, "zw\u{f6}lf");
        changelog::drop(&mut session, &table).await.unwrap();
        changelog::drop(&mut session, &table).await.unwrap();
        assert!(db.tables().await.is_empty());
        session.close().await;
    })
    .await;
}

/// Heartbeats survive locks and a killed connection, and end when cancelled; a table that is gone ends
/// them with an error.
#[tokio::test]
async fn heartbeats_go_on() {
    both(async |server| {
        let db = TestDb::create(server, "heartbeats").await;
        let table = TableName::new(&db.name, "_t_ghc");
        let server = Server::connect(db.server.options()).await.unwrap();
        let mut session = server.session(Purpose::Monitor).await.unwrap();
        changelog::create(&mut session, &table).await.unwrap();
        let start = now_micros();
        let beats = Arc::new(Heartbeats::new(server.clone(), table.clone()));
        let cancel = CancellationToken::new();
        let run = tokio::spawn({
            let (beats, cancel) = (beats.clone(), cancel.clone());
            async move { beats.run(&cancel).await }
        });
        let more = async |what: &str| {
            let before = beats.written.get();
            eventually(PATIENCE, what, async || (beats.written.get() > before + 1).then_some(())).await;
        };
        more("heartbeats are written").await;
        let (id, value): (i64, u64) = db.one("SELECT id, CAST(value AS UNSIGNED) FROM _t_ghc WHERE hint = 'heartbeat'").await;
        assert_eq!(id, 1);
        assert!(value >= start && value <= now_micros());

        let holder = db.connect().await;
        holder.sql("LOCK TABLES _t_ghc READ").await;
        let waiting: u32 = eventually(PATIENCE, "a heartbeat waits", async || {
            let sql = "SELECT id FROM information_schema.PROCESSLIST WHERE info LIKE 'INSERT INTO `it_heartbeats%'";
            db.rows(sql).await.into_iter().next()
        })
        .await;
        db.sql(format!("KILL CONNECTION {waiting}")).await;
        holder.sql("UNLOCK TABLES").await;
        more("a killed connection is replaced").await;

        cancel.cancel();
        run.await.unwrap().unwrap();
        changelog::drop(&mut session, &table).await.unwrap();
        let failure = beats.run(&CancellationToken::new()).await.unwrap_err();
        assert_eq!(failure.code(), Some(changeling::mysql::error::ER_NO_SUCH_TABLE));
        session.close().await;
    })
    .await;
}
