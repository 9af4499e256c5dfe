//! The primary is lost, and a replica takes its place while the migration and the application go on.

use std::time::Duration;

use super::field::Field;
use crate::support::proxy::{Network, Proxy};
use crate::support::wait::PATIENCE;
use crate::support::{Client, TestServer, alone_on_scratch, eventually, is_wanted, server};

/// A primary with its replica, both new: what these tests do to them cannot be undone.
async fn on_pairs(test: impl AsyncFn(&'static TestServer, &'static TestServer)) {
    let _alone = alone_on_scratch().await;
    for flavour in ["mysql", "mariadb"] {
        if !is_wanted(flavour) {
            continue;
        }
        let (primary, replica) = match flavour {
            "mysql" => (server("mysql-scratch"), "mysql-standby"),
            _ => (server("mariadb-scratch"), "mariadb-standby"),
        };
        primary.fresh();
        let replica = server(replica);
        // It may have been there before, and been promoted.
        replica.fresh();
        test(primary, replica).await;
        replica.down();
        primary.fresh();
        replica.down();
    }
}

/// Waits until the replica has the run's checkpoint and some copied rows.
async fn run_is_on(replica: &TestServer, database: &str) {
    let client = replica.connect().await;
    eventually(PATIENCE, "the run is on the replica", async || {
        let rows: Vec<u8> = client
            .try_rows(format!(
                "SELECT 1 FROM `{database}`._t_ghk, `{database}`._t_gho LIMIT 1"
            ))
            .await
            .unwrap_or_default();
        (!rows.is_empty()).then_some(())
    })
    .await;
    client.close().await;
}

/// Makes the replica a primary.
async fn promote(replica: &TestServer) {
    let client = Client::connect(replica, None).await;
    client.sql("STOP REPLICA").await;
    client.sql("RESET REPLICA ALL").await;
    client.close().await;
}

fn candidates(server: &TestServer) -> [String; 2] {
    [
        format!("--failover-hosts={}:{}", server.host, server.port),
        "--failover-after=2s".to_string(),
    ]
}

#[tokio::test]
async fn a_promoted_replica_is_gone_on_with() {
    on_pairs(async |primary, replica| {
        let field = Field::start(primary).await;
        let mut live = field.program(primary).args(candidates(replica)).spawn();
        live.printed("entering phase `copy`").await;
        run_is_on(replica, &field.db.name).await;
        field.commits_pass().await;
        primary.kill();
        live.printed("still applies the changes of another server")
            .await;
        promote(replica).await;
        field.write_to(replica);
        let run = live.wait().await.expect_code(0);
        for text in [
            "waiting for",
            "going on at",
            "going on with the interrupted run",
        ] {
            assert!(
                run.stderr.contains(text),
                "{text:?} is missing:\n{}",
                run.stderr
            );
        }
        primary.up();
        field.assert_exact(replica).await;
    })
    .await;
}

#[tokio::test]
async fn a_name_that_moves_is_followed() {
    on_pairs(async |primary, replica| {
        let proxy = Proxy::to(primary).await;
        let field = Field::start(primary).await;
        let mut live = field
            .program(&proxy.server(primary))
            .args(["--failover-after=20s"])
            .spawn();
        live.printed("entering phase `copy`").await;
        run_is_on(replica, &field.db.name).await;
        field.commits_pass().await;
        // As a switch-over does: the old one takes no more writes, the new one has them all. (On MariaDB the
        // accounts of these tests may write all the same: that is lost, to both tables.)
        let old = primary.connect().await;
        if !primary.is_mariadb() {
            old.sql("SET GLOBAL super_read_only = ON").await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        promote(replica).await;
        field.write_to(replica);
        proxy.move_to(replica);
        proxy.set(Network::Cut);
        tokio::time::sleep(Duration::from_millis(300)).await;
        proxy.set(Network::Passes);
        let run = live.wait().await.expect_code(0);
        for text in [
            "is another server now",
            "going on at",
            "is another server than that of the checkpoint",
        ] {
            assert!(
                run.stderr.contains(text),
                "{text:?} is missing:\n{}",
                run.stderr
            );
        }
        if !primary.is_mariadb() {
            old.sql("SET GLOBAL super_read_only = OFF, read_only = OFF")
                .await;
        }
        field.assert_exact(replica).await;
    })
    .await;
}

#[tokio::test]
async fn a_server_without_the_run_is_refused() {
    on_pairs(async |primary, _| {
        let flavour = if primary.is_mariadb() {
            "mariadb-primary"
        } else {
            "mysql-primary"
        };
        let field = Field::start(primary).await;
        let mut live = field
            .program(primary)
            .args(candidates(server(flavour)))
            .args(["--reconnect-limit=4s"])
            .spawn();
        live.printed("entering phase `copy`").await;
        field.commits_pass().await;
        primary.kill();
        let run = live.wait().await.expect_code(7);
        for text in ["has no checkpoint of this run", "promote a replica"] {
            assert!(
                run.stderr.contains(text),
                "{text:?} is missing:\n{}",
                run.stderr
            );
        }
        primary.up();
        field.program(primary).run().await.expect_code(0);
        field.assert_exact(primary).await;
    })
    .await;
}
