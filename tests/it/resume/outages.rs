//! Outages while a run is under way: it waits, says so, goes on, and ends exact.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use super::field::Field;
use super::on_scratch;
use crate::support::TestServer;
use crate::support::eventually;
use crate::support::proxy::{Network, Proxy};
use crate::support::wait::PATIENCE;

/// An account without any privilege to write to a read-only server.
async fn plain_account(server: &TestServer) -> TestServer {
    let client = server.connect().await;
    let monitor = if server.is_mariadb() {
        "BINLOG MONITOR, REPLICATION MASTER ADMIN, SLAVE MONITOR"
    } else {
        "REPLICATION CLIENT"
    };
    client.sql("DROP USER IF EXISTS plain").await;
    client.sql("CREATE USER plain IDENTIFIED BY 'plain'").await;
    client
        .sql(
            "GRANT ALTER, CREATE, DELETE, DROP, INDEX, INSERT, LOCK TABLES, SELECT, TRIGGER, UPDATE ON *.* TO plain",
        )
        .await;
    client
        .sql(format!(
            "GRANT REPLICATION SLAVE, PROCESS, {monitor} ON *.* TO plain"
        ))
        .await;
    TestServer {
        user: "plain".to_string(),
        password: "plain".to_string(),
        ..server.clone()
    }
}

#[tokio::test]
async fn a_restarted_server_is_waited_for() {
    on_scratch(async |server| {
        for phase in ["copy", "verify"] {
            let field = Field::start(server).await;
            let mut live = field.program(server).spawn();
            live.printed(&format!("entering phase `{phase}`")).await;
            field.commits_pass().await;
            server.kill();
            tokio::time::sleep(Duration::from_secs(1)).await;
            server.up();
            live.wait().await.expect_code(0);
            field.assert_exact(server).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_network_that_fails_is_waited_for() {
    on_scratch(async |server| {
        for (network, time) in [(Network::Cut, 8), (Network::Frozen, 15)] {
            println!("{network:?}");
            let proxy = Proxy::to(server).await;
            let field = Field::start(server).await;
            let mut live = field.program(&proxy.server(server)).spawn();
            live.printed("entering phase `copy`").await;
            field.commits_pass().await;
            proxy.set(network);
            tokio::time::sleep(Duration::from_secs(time)).await;
            proxy.set(Network::Passes);
            live.wait().await.expect_code(0);
            field.assert_exact(server).await;
        }
    })
    .await;
}

/// The way from the comparison to the swap needs new connections.
#[tokio::test]
async fn a_network_that_fails_just_before_the_swap_is_waited_for() {
    on_scratch(async |server| {
        let proxy = Proxy::to(server).await;
        let field = Field::start(server).await;
        let hooks = std::env::temp_dir().join(format!("cl-hooks-{}", fastrand::u64(..)));
        std::fs::create_dir(&hooks).unwrap();
        let (begun, go_on) = (hooks.join("begun"), hooks.join("go-on"));
        let hook = hooks.join("before-cut-over");
        let script = format!(
            "#!/bin/sh\ntouch {}\nuntil [ -e {} ]; do sleep 0.1; done\n",
            begun.display(),
            go_on.display()
        );
        std::fs::write(&hook, script).unwrap();
        for path in [&hooks, &hook] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).unwrap();
        }
        let mut live = field
            .program(&proxy.server(server))
            .args([Path::new("--hooks-path"), &hooks])
            .spawn();
        eventually(PATIENCE, "the hook runs", async || {
            begun.exists().then_some(())
        })
        .await;
        proxy.set(Network::Cut);
        std::fs::write(&go_on, "").unwrap();
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert!(live.is_running());
        proxy.set(Network::Passes);
        live.wait().await.expect_code(0);
        std::fs::remove_dir_all(&hooks).unwrap();
        field.assert_exact(server).await;
    })
    .await;
}

#[tokio::test]
async fn each_of_its_connections_may_be_killed() {
    on_scratch(async |server| {
        let account = plain_account(server).await;
        let field = Field::start(server).await;
        let mut live = field.program(&account).spawn();
        live.printed("entering phase `copy`").await;
        let client = server.connect().await;
        let mut killed = BTreeSet::new();
        let mut rounds = 0;
        while live.is_running() && rounds < 4 {
            let all: Vec<u64> = client
                .rows("SELECT ID FROM information_schema.PROCESSLIST WHERE USER = 'plain'")
                .await;
            for id in all {
                // It may have ended by itself.
                if client.try_sql(format!("KILL {id}")).await.is_ok() {
                    killed.insert(id);
                }
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
            rounds += 1;
            field.commits_pass().await;
        }
        println!("   {} connections killed", killed.len());
        assert!(killed.len() > 10, "{killed:?}");
        let run = live.wait().await.expect_code(0);
        assert!(
            run.stderr.contains("took the advisory lock of"),
            "{}",
            run.stderr
        );
        field.assert_exact(server).await;
    })
    .await;
}

/// Indexes that are built after the copy: their connection may be killed, and the program too, which leaves
/// the server to build on alone.
#[tokio::test]
async fn the_index_build_may_be_interrupted() {
    on_scratch(async |server| {
        let field = Field::start(server).await;
        let program = || {
            let program = field.program(server);
            program.args(["--defer-indexes=on"])
        };
        // Somebody who has read the ghost keeps the ALTER from its end.
        let reader = field.db.connect().await;
        let client = server.connect().await;
        let mut live = program().spawn();
        live.printed("entering phase `copy`").await;
        reader.sql("BEGIN").await;
        reader.rows::<i32>("SELECT id FROM _t_gho LIMIT 1").await;
        live.printed("entering phase `indexes`").await;
        let waiting = format!(
            "SELECT ID FROM information_schema.PROCESSLIST WHERE \
             INFO LIKE '%ALTER TABLE `{}`.`\\_t\\_gho`%' AND STATE = 'Waiting for table metadata lock'",
            field.db.name
        );
        let builder = async |but: &[u64]| {
            eventually(PATIENCE, "an ALTER of the ghost waits", async || {
                let ids: Vec<u64> = client.rows(&waiting).await;
                ids.into_iter().find(|id| !but.contains(id))
            })
            .await
        };
        let first = builder(&[]).await;
        client.sql(format!("KILL {first}")).await;
        builder(&[first]).await;
        assert!(live.is_running());
        live.kill().await;
        let mut live = program().spawn();
        live.printed("Resuming from checkpoint").await;
        builder(&[first]).await;
        reader.sql("COMMIT").await;
        reader.close().await;
        live.wait().await.expect_code(0);
        client.close().await;
        field.assert_exact(server).await;
    })
    .await;
}

/// The name of the lock of a table `t`: a hash of the table's name.
fn lock_name(database: &str) -> String {
    let hash = format!("{database}.t")
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    format!("changeling_run_{hash:016x}")
}

/// The lock that keeps other runs away goes to another one while its connection is gone: no swap without it, however
/// soon that comes.
#[tokio::test]
async fn a_run_that_has_lost_its_lock_to_another_stops() {
    on_scratch(async |server| {
        let account = plain_account(server).await;
        let field = Field::start(server).await;
        let mut live = field.program(&account).spawn();
        live.printed("entering phase `copy`").await;
        let client = server.connect().await;
        let name = lock_name(&field.db.name);
        let holder: u64 = client.one(format!("SELECT IS_USED_LOCK('{name}')")).await;
        client.sql(format!("KILL {holder}")).await;
        let taken: i64 = client.one(format!("SELECT GET_LOCK('{name}', 5)")).await;
        assert_eq!(taken, 1);
        live.wait()
            .await
            .expect_code(7)
            .expect_text("another run is altering")
            .expect_text("the same command goes on from here");
        client.close().await;
        field.program(&account).run().await.expect_code(0);
        field.assert_exact(server).await;
    })
    .await;
}

#[tokio::test]
async fn a_primary_that_is_read_only_is_waited_for() {
    if !crate::support::is_long() {
        return;
    }
    on_scratch(async |server| {
        let account = plain_account(server).await;
        let client = server.connect().await;
        let (on, off) = if server.is_mariadb() {
            ("SET GLOBAL read_only = ON", "SET GLOBAL read_only = OFF")
        } else {
            (
                "SET GLOBAL super_read_only = ON",
                "SET GLOBAL super_read_only = OFF, read_only = OFF",
            )
        };
        for phase in ["copy", "verify"] {
            let field = Field::start(server).await;
            let mut live = field.program(&account).spawn();
            live.printed(&format!("entering phase `{phase}`")).await;
            field.commits_pass().await;
            client.sql(on).await;
            tokio::time::sleep(Duration::from_secs(12)).await;
            assert!(live.is_running(), "it did not wait:\n{}", live.stderr());
            client.sql(off).await;
            let run = live.wait().await.expect_code(0);
            assert!(
                run.stderr.contains("read-only") || run.stderr.contains("read_only"),
                "{}",
                run.stderr
            );
            field.assert_exact(server).await;
        }
    })
    .await;
}
