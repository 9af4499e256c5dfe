//! `changeling verify` on tables that are written to: what is on its way is waited for.

use std::time::Duration;

use crate::support::wait::PATIENCE;
use crate::support::{Client, Program, TestDb, alone_with_replicas, both, eventually, server};

async fn filled(db: &TestDb, table: &str) {
    let rows: Vec<String> = (0..500).map(|n| format!("({n}, 'v{n}')")).collect();
    db.sql(format!(
        "CREATE TABLE {table} (id INT PRIMARY KEY, v VARCHAR(20))"
    ))
    .await;
    db.sql(format!("INSERT INTO {table} VALUES {}", rows.join(", ")))
        .await;
}

#[tokio::test]
async fn a_table_that_follows_another_is_equal_a_moment_later() {
    both(async |server| {
        let db = TestDb::create(server, "live").await;
        filled(&db, "t").await;
        filled(&db, "u").await;
        db.sql("UPDATE t SET v = 'new' WHERE id IN (7, 400)").await;
        let table = |name: &str| format!("{}.{name}", db.name);
        let program = Program::on(server, "verify", [table("t"), table("u")]).spawn();
        tokio::time::sleep(Duration::from_millis(800)).await;
        db.sql("UPDATE u SET v = 'new' WHERE id IN (7, 400)").await;
        program
            .wait()
            .await
            .expect_code(0)
            .expect_text("equal: 500 rows");
        db.sql("UPDATE u SET v = 'old' WHERE id = 400").await;
        Program::on(server, "verify", [table("t"), table("u")])
            .run()
            .await
            .expect_code(5)
            .expect_text("id=400 (v)");
    })
    .await;
}

#[tokio::test]
async fn a_replica_that_is_behind_is_waited_for() {
    let _alone = alone_with_replicas().await;
    both(async |primary| {
        let replica = server(if primary.is_mariadb() {
            "mariadb-replica"
        } else {
            "mysql-replica"
        });
        let db = TestDb::create(primary, "lagging").await;
        filled(&db, "t").await;
        let there = Client::connect(replica, None).await;
        let count = format!("SELECT COUNT(*) FROM {}.t", db.name);
        eventually(PATIENCE, "the table is on the replica", async || {
            let rows: Vec<u32> = there.try_rows(&count).await.unwrap_or_default();
            (rows == [500]).then_some(())
        })
        .await;
        let verify = || {
            Program::on(
                primary,
                "verify",
                [format!("{}.t", db.name), format!("{}.t", db.name)],
            )
            .args([format!("--second-server={}:{}", replica.host, replica.port)])
        };
        there.sql("STOP REPLICA SQL_THREAD").await;
        db.sql("UPDATE t SET v = 'late' WHERE id IN (3, 300)").await;
        db.sql("DELETE FROM t WHERE id = 100").await;
        db.sql("INSERT INTO t VALUES (1000, 'late')").await;
        let live = verify().spawn();
        tokio::time::sleep(Duration::from_secs(1)).await;
        there.sql("START REPLICA SQL_THREAD").await;
        live.wait().await.expect_code(0);

        there.sql("SET SESSION sql_log_bin = 0").await;
        there
            .sql(format!(
                "UPDATE {}.t SET v = 'damaged' WHERE id = 3",
                db.name
            ))
            .await;
        verify().run().await.expect_code(5).expect_text("id=3 (v)");
    })
    .await;
}
