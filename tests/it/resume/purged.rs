//! The binlog behind the checkpoint is gone: said at once, and the ghost can be put right.

use super::field::Field;
use super::{on_scratch, slow_down};
use crate::support::wait::PATIENCE;
use crate::support::{Client, eventually};

/// Leaves nothing in the binlog but what comes from now on.
async fn purge(client: &Client) {
    client.sql("FLUSH BINARY LOGS").await;
    let logs: Vec<mysql_async::Row> = client.rows("SHOW BINARY LOGS").await;
    let last: String = logs.last().expect("a binlog").get(0).expect("a name");
    // What a connection reads is kept, and that of a killed run may take a moment to end.
    eventually(PATIENCE, "the binlog is purged", async || {
        client.sql(format!("PURGE BINARY LOGS TO '{last}'")).await;
        let logs: Vec<mysql_async::Row> = client.rows("SHOW BINARY LOGS").await;
        (logs
            .first()
            .and_then(|row| row.get::<String, _>(0))
            .as_ref()
            == Some(&last))
        .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_purged_binlog_is_said_and_the_ghost_put_right() {
    if !crate::support::is_long() {
        return;
    }
    on_scratch(async |server| {
        for (phase, stop) in [("copy", "kill"), ("verify", "kill"), ("copy", "repair too")] {
            println!("interrupted in {phase}, {stop}");
            let field = Field::start(server).await;
            let mut live = field.program(server).spawn();
            live.printed(&format!("entering phase `{phase}`")).await;
            slow_down(&field.db).await;
            // Before there is one, a run begins anew.
            field.checkpoints_pass().await;
            live.kill().await;
            // Changes that no replay will ever see.
            field.commits_pass().await;
            field.commits_pass().await;
            purge(&server.connect().await).await;

            field
                .program(server)
                .run()
                .await
                .expect_code(3)
                .expect_text("has purged its binlog behind the checkpoint")
                .expect_text("--resume=repair")
                .expect_text("left on the server");
            if stop == "repair too" {
                let mut live = field.program(server).args(["--resume=repair"]).spawn();
                live.printed("those that differ are copied again").await;
                live.kill().await;
                // That the ghost is to be put right is in the checkpoint now.
                field
                    .program(server)
                    .run()
                    .await
                    .expect_code(0)
                    .expect_text("those that differ are copied again");
            } else {
                let run = field
                    .program(server)
                    .args(["--resume=repair", "--verify=off"])
                    .run()
                    .await
                    .expect_code(0)
                    .expect_text("the ghost will be put right")
                    .expect_text("compared all the same, since the ghost was put right");
                assert!(
                    !run.stderr.contains(" 0 rows were copied again"),
                    "nothing was put right:\n{}",
                    run.stderr
                );
            }
            field.assert_exact(server).await;
        }
    })
    .await;
}

/// Where nothing is missing, nothing is repaired.
#[tokio::test]
async fn repair_is_a_plain_resume_while_the_binlog_is_there() {
    on_scratch(async |server| {
        let field = Field::start(server).await;
        let mut live = field.program(server).spawn();
        live.printed("entering phase `copy`").await;
        field.commits_pass().await;
        live.kill().await;
        let run = field
            .program(server)
            .args(["--resume=repair"])
            .run()
            .await
            .expect_code(0)
            .expect_text("going on with the interrupted run");
        assert!(!run.stderr.contains("copied again"), "{}", run.stderr);
        field.assert_exact(server).await;
    })
    .await;
}
