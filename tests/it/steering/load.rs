//! The load of the server.

use super::{Migration, seeded};
use crate::support::both;

/// A critical load ends the run so that it can go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_critical_load_stops_resumably() {
    both(async |primary| {
        let db = seeded(primary, "critical", 8).await;
        let arguments = ["--max-lag", "1h", "--postpone-cut-over"];
        let mut migration = Migration::start(&db, primary, &arguments);
        migration.answers(&["why"], "held back").await;
        migration
            .ask(&["set", "critical-load", "Threads_connected=1"])
            .await;
        migration.live.printed("a second look in 2s decides").await;
        let end = migration.live_ended().await;
        assert_eq!(end.code, Some(6), "{}", end.stderr);
        for told in [
            "critical load: Threads_connected is",
            "the same command goes on",
        ] {
            assert!(end.stderr.contains(told), "{}", end.stderr);
        }
        let again = Migration::start(&db, primary, &["--max-lag", "1h"]);
        again.ask_when_there(&["cut-over"]).await;
        let end = again.live_ended().await;
        assert_eq!(end.code, Some(0), "{}", end.stderr);
        assert!(
            end.stderr.contains("going on with the interrupted run"),
            "{}",
            end.stderr
        );
    })
    .await;
}
