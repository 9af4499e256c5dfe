//! Replicas: found, looked at, and kept near.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Migration, SLOW, has_come, replica_of, seeded, signal};
use crate::support::wait::PATIENCE;
use crate::support::{Network, Program, Proxy, alone_with_replicas, both, eventually, server};

/// Copying ceases within two seconds after a replica stops, whatever stops it, and goes on by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copying_ceases_soon_after_a_replica_stops() {
    let _alone = alone_with_replicas().await;
    both(async |primary| {
        let replica = replica_of(primary);
        let admin = replica.connect().await;
        let word = if primary.is_mariadb() {
            "SLAVE"
        } else {
            "REPLICA"
        };
        let db = seeded(primary, "ceases", 15).await;
        has_come(&admin, &db).await;
        let proxy = Proxy::to(replica).await;
        let through = format!("127.0.0.1:{}", proxy.port);
        let mut arguments = SLOW.to_vec();
        arguments.extend(["--replicas", &through, "--postpone-cut-over"]);
        let mut migration = Migration::start(&db, primary, &arguments);
        migration
            .answers(&["status", "json"], "\"phase\": \"copy\"")
            .await;
        let name = format!("replica {through}");

        // Stopped by its owner.
        migration.copies().await;
        admin.sql(format!("STOP {word}")).await;
        let stopped = migration.ceases(Instant::now()).await;
        let why = migration.answers(&["why"], &name).await;
        assert!(why.contains("applier stopped"), "{why}");
        admin.sql(format!("START {word}")).await;
        migration.copies().await;

        // Delayed.
        admin.sql(format!("STOP {word}")).await;
        let delay = |seconds: u32| {
            if primary.is_mariadb() {
                format!("CHANGE MASTER TO MASTER_DELAY = {seconds}")
            } else {
                format!("CHANGE REPLICATION SOURCE TO SOURCE_DELAY = {seconds}")
            }
        };
        admin.sql(delay(5)).await;
        admin.sql(format!("START {word}")).await;
        let delayed = migration.ceases(Instant::now()).await;
        migration.answers(&["why"], "lag of replica").await;
        admin.sql(format!("STOP {word}")).await;
        admin.sql(delay(0)).await;
        admin.sql(format!("START {word}")).await;
        migration.copies().await;

        // Out of reach.
        proxy.set(Network::Frozen);
        let cut = migration.ceases(Instant::now()).await;
        migration.answers(&["why"], &name).await;
        proxy.set(Network::Passes);
        migration.copies().await;

        // Frozen.
        let pid = replica.pid();
        signal(pid, libc::SIGSTOP);
        let frozen = migration.ceases(Instant::now()).await;
        let why = migration.answers(&["why"], &name).await;
        signal(pid, libc::SIGCONT);
        migration.copies().await;

        println!(
            "{}: copying ceased after STOP {stopped:?}, delay {delayed:?}, cut {cut:?}, SIGSTOP \
             {frozen:?}; frozen: {why}",
            primary.name
        );
        for time in [stopped, delayed, cut, frozen] {
            assert!(time < Duration::from_secs(2), "{time:?}");
        }
        migration.ask(&["drop"]).await;
        let end = migration.live_ended().await;
        assert_eq!(end.code, Some(7), "{}", end.stderr);
        assert_eq!(db.tables().await, ["_changeling_history", "t"]);
        admin.close().await;
    })
    .await;
}

/// Started against a replica it finds the primary, and reads the binlog there or here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_started_on_a_replica_finds_the_primary() {
    let _alone = alone_with_replicas().await;
    both(async |primary| {
        let replica = replica_of(primary);
        let admin = replica.connect().await;
        for from in ["primary", "here"] {
            let db = seeded(primary, "below", 10).await;
            has_come(&admin, &db).await;
            let writer = db.connect().await;
            let arguments = [
                "--max-lag",
                "1h",
                "--binlog-from",
                from,
                "--postpone-cut-over",
            ];
            let mut migration = Migration::start(&db, replica, &arguments);
            migration.answers(&["why"], "held back").await;
            // Whoever reads the replica's binlog is no replica of it.
            writer.sql("CREATE TABLE other (id INT PRIMARY KEY)").await;
            let plan = Program::on(primary, "plan", ["--database", &db.name]).args([
                "--table",
                "other",
                "--alter",
                "ADD COLUMN d INT",
            ]);
            let plan = plan.run().await.expect_code(0).stdout;
            let told = format!("replica {}:{}", replica.host, replica.port);
            assert_eq!(plan.matches("  replica ").count(), 1, "{plan}");
            assert!(plan.contains(&told), "{plan}");
            writer
                .sql("UPDATE t SET a = 'changed' WHERE id % 7 = 0")
                .await;
            writer.sql("DELETE FROM t WHERE id % 11 = 0").await;
            let expected: (i64, Option<String>) = db
                .one("SELECT COUNT(*), SUM(CRC32(CONCAT(id, a))) FROM t")
                .await;
            migration.ask(&["cut-over"]).await;
            let end = migration.live_ended().await;
            assert_eq!(end.code, Some(0), "{}", end.stderr);
            let told = format!("migrated on its primary {}:{}", primary.host, primary.port);
            assert!(end.stderr.contains(&told), "{}", end.stderr);
            let read = if from == "here" { replica } else { primary };
            let told = format!("reading the binlog of {}:{}", read.host, read.port);
            assert!(end.stderr.contains(&told), "{}", end.stderr);
            assert!(db.show_create("t").await.contains("`c`"), "on the primary");
            let found: (i64, Option<String>) = db
                .one("SELECT COUNT(*), SUM(CRC32(CONCAT(id, a))) FROM t")
                .await;
            assert_eq!(found, expected);
        }
        // Said instead of found.
        let db = seeded(primary, "said", 4).await;
        has_come(&admin, &db).await;
        let there = format!("{}:{}", primary.host, primary.port);
        let arguments = ["--max-lag", "1h", "--assume-primary", &there];
        let migration = Migration::start(&db, replica, &arguments);
        assert_eq!(migration.live_ended().await.code, Some(0));
        // A replica whose replication is stopped may have become the primary: not for us to guess.
        let word = if primary.is_mariadb() {
            "SLAVE"
        } else {
            "REPLICA"
        };
        admin.sql(format!("STOP {word}")).await;
        let migration = Migration::start(&db, replica, &["--max-lag", "1h"]);
        let refused = migration.live_ended().await;
        admin.sql(format!("START {word}")).await;
        assert_eq!(refused.code, Some(3), "{}", refused.stderr);
        assert!(
            refused.stderr.contains("--assume-primary"),
            "{}",
            refused.stderr
        );
        admin.close().await;
    })
    .await;
}

/// Somebody on a replica who holds the table there makes the swap wait; one who comes after it raises the
/// alarm.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_are_looked_at_before_and_after_the_swap() {
    let _alone = alone_with_replicas().await;
    let primary = server("mysql-primary");
    let replica = replica_of(primary);
    let db = seeded(primary, "after", 6).await;
    let admin = replica.connect().await;
    has_come(&admin, &db).await;
    let hooks = std::env::temp_dir().join(format!("cl-hooks-{}", fastrand::u64(..)));
    let script = format!(
        "mkdir -m 700 '{0}' && printf '#!/bin/sh\\necho \"$CHANGELING_REPLICA: $CHANGELING_ERROR\" > \
         {0}/told\\n' > '{0}'/replica-stalled && chmod 700 '{0}'/replica-stalled",
        hooks.display()
    );
    let made = std::process::Command::new("sh")
        .args(["-c", &script])
        .status();
    assert!(made.unwrap().success());
    let reader = replica.connect().await;
    reader.sql("BEGIN").await;
    reader
        .rows::<i64>(format!("SELECT COUNT(*) FROM {}.t", db.name))
        .await;
    let id = reader.id().await;
    let name = format!("replica {}:{}", replica.host, replica.port);
    let arguments = ["--max-lag", "1h", "--hooks-path", hooks.to_str().unwrap()];
    let mut migration = Migration::start(&db, primary, &arguments);
    let why = migration
        .answers(&["why"], &format!("connection {id} "))
        .await;
    assert!(
        why.contains(&format!("{name} would stand still at the rename")),
        "{why}"
    );
    println!("before: {why}");
    // A stopped applier holds the swap back, too.
    admin.sql("STOP REPLICA SQL_THREAD").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    reader.sql("COMMIT").await;
    let why = migration.answers(&["why"], "applier stopped").await;
    println!("stopped: {why}");
    // What nobody can see before: the applier runs, and waits for a lock on everything.
    migration.ask(&["postpone"]).await;
    migration.answers(&["why"], "by the operator").await;
    admin.sql("START REPLICA SQL_THREAD").await;
    let late = replica.connect().await;
    late.sql("FLUSH TABLES WITH READ LOCK").await;
    migration.ask(&["cut-over"]).await;
    migration.live.printed("ALARM: ").await;
    late.sql("UNLOCK TABLES").await;
    let end = migration.live_ended().await;
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    for told in ["has not applied the swap", "has applied the swap"] {
        assert!(
            end.stderr.contains(&format!("{name} {told}")),
            "{}",
            end.stderr
        );
    }
    let told = std::fs::read_to_string(hooks.join("told")).unwrap();
    assert!(told.starts_with(&name), "{told}");
    for client in [reader, late, admin] {
        client.close().await;
    }
    std::fs::remove_dir_all(&hooks).unwrap();
}

/// Under an application at full speed, a replica on the same processors stays near: measured by
/// heartbeats of the test's own on both servers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_stays_near_under_full_load() {
    const WRITERS: usize = 4;
    const ALONE: Duration = Duration::from_secs(8);
    let _alone = alone_with_replicas().await;
    both(async |primary| {
        let db = seeded(primary, "load", 15).await;
        db.sql("CREATE TABLE beat (id INT PRIMARY KEY, at BIGINT)").await;
        db.sql("INSERT INTO beat VALUES (1, 0)").await;
        let replica = replica_of(primary).connect().await;
        let beats = format!("SELECT COUNT(*) FROM {}.beat", db.name);
        eventually(3 * PATIENCE, "the replica has the heartbeat", async || {
            let rows = replica.try_rows::<u64>(&beats).await;
            rows.is_ok_and(|rows| rows == [1]).then_some(())
        })
        .await;
        let clock = Instant::now();
        let micros = move || i64::try_from(clock.elapsed().as_micros()).unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        // As much as the replica can follow by itself: where it cannot, its lag is not ours.
        let pause = Arc::new(AtomicU64::new(0));
        for _ in 0..WRITERS {
            let (client, pause) = (db.connect().await, pause.clone());
            tasks.spawn(async move {
                loop {
                    tokio::time::sleep(Duration::from_micros(pause.load(Ordering::Relaxed))).await;
                    let id = fastrand::u32(1..130_000);
                    client.sql(format!("UPDATE t SET a = '{id}' WHERE id = {id}")).await;
                }
            });
        }
        let beating = db.connect().await;
        tasks.spawn(async move {
            loop {
                beating.sql(format!("UPDATE beat SET at = {} WHERE id = 1", micros())).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        // How much newer the primary's beat is, read before the replica's: stalls of the primary itself,
        // in which no beat comes, are no lag.
        let sql = format!("SELECT at FROM {}.beat WHERE id = 1", db.name);
        let source = db.connect().await;
        let lag = async || {
            let there: i64 = source.one(&sql).await;
            let here: i64 = replica.one(&sql).await;
            Duration::from_micros(u64::try_from(there - here).unwrap_or(0))
        };
        let mut load_alone;
        loop {
            eventually(3 * PATIENCE, "the replica is near", async || {
                (lag().await < Duration::from_millis(300)).then_some(())
            })
            .await;
            load_alone = Duration::ZERO;
            let end = Instant::now() + ALONE;
            while Instant::now() < end {
                load_alone = load_alone.max(lag().await);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let now = pause.load(Ordering::Relaxed);
            if load_alone < Duration::from_millis(700) || now > 100_000 {
                break;
            }
            pause.store((2 * now).max(2_000), Ordering::Relaxed);
        }
        let report = std::env::temp_dir().join(format!("cl-load-{}.json", fastrand::u64(..)));
        let arguments = ["--max-lag", "1s", "--report", report.to_str().unwrap()];
        let began = Instant::now();
        let mut migration = Migration::start(&db, primary, &arguments);
        let mut worst = Duration::ZERO;
        while migration.live.is_running() {
            worst = worst.max(lag().await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let took = began.elapsed();
        let end = migration.live_ended().await;
        tasks.shutdown().await;
        assert_eq!(end.code, Some(0), "{}", end.stderr);
        let told: Value = serde_json::from_str(&std::fs::read_to_string(&report).unwrap()).unwrap();
        std::fs::remove_file(&report).unwrap();
        println!(
            "{}: worst lag {load_alone:?} with the load alone ({} µs between two updates of each of \
             {WRITERS}), {worst:?} during the run of {took:?}; throttle: {}",
            primary.name,
            pause.load(Ordering::Relaxed),
            told["throttle"]["by_source"]
        );
        // A machine on which the load alone makes the replica lag adds its own part.
        let limit = Duration::from_secs(2) + load_alone.saturating_sub(Duration::from_millis(700));
        assert!(worst < limit, "{worst:?}, limit {limit:?}");
        replica.close().await;
    })
    .await;
}
