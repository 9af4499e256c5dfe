//! A chain of servers: the primary, a replica that others replicate, and one of those.

use std::time::{Duration, Instant};

use super::{Migration, SLOW, has_come, seeded};
use crate::support::{Client, Program, TestServer, alone_on_scratch, is_wanted, server};

/// Of each flavour: the primary, the one in the middle, the leaf.
const CHAINS: [(&str, [&str; 3]); 2] = [
    ("mysql", ["mysql-scratch", "mysql-standby", "mysql-leaf"]),
    (
        "mariadb",
        ["mariadb-scratch", "mariadb-standby", "mariadb-leaf"],
    ),
];

async fn on_chains(
    test: impl AsyncFn(&'static TestServer, &'static TestServer, &'static TestServer),
) {
    let _alone = alone_on_scratch().await;
    for (flavour, names) in CHAINS {
        if !is_wanted(flavour) {
            continue;
        }
        println!("-- on the chain {}", names.join(" → "));
        let [primary, middle, leaf] = names.map(server);
        // Other tests have promoted the one in the middle, or killed the primary.
        for one in [primary, middle, leaf] {
            one.fresh();
        }
        test(primary, middle, leaf).await;
        leaf.down();
        middle.down();
    }
}

async fn replication(client: &Client, word: &str, server: &TestServer) {
    let what = if server.is_mariadb() {
        "SLAVE"
    } else {
        "REPLICA"
    };
    client.sql(format!("{word} {what}")).await;
}

fn name(server: &TestServer) -> String {
    format!("replica {}:{}", server.host, server.port)
}

/// Found or listed, the leaf is asked for its lag, stops the copy, and is watched until it has the swap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_chain_counts() {
    on_chains(async |primary, middle, leaf| {
        let db = seeded(primary, "chain", 15).await;
        let (above, below) = (middle.connect().await, leaf.connect().await);
        has_come(&below, &db).await;

        let plan = Program::on(primary, "plan", ["--database", &db.name]).args([
            "--table",
            "t",
            "--alter",
            "ADD COLUMN c INT",
        ]);
        let plan = plan.run().await.expect_code(0);
        for replica in [middle, leaf] {
            assert!(plan.stdout.contains(&name(replica)), "{}", plan.stdout);
        }

        // Found through the one in the middle.
        let mut arguments = SLOW.to_vec();
        arguments.push("--postpone-cut-over");
        let mut found = Migration::start(&db, primary, &arguments);
        for replica in [middle, leaf] {
            let told = format!("watching the lag of {}", name(replica));
            found.live.printed(&told).await;
        }
        found.copies().await;
        replication(&below, "STOP", leaf).await;
        let ceased = found.ceases(Instant::now()).await;
        let why = found.answers(&["why"], &name(leaf)).await;
        println!("found: copying ceased after {ceased:?}: {why}");
        assert!(ceased < Duration::from_secs(2), "{ceased:?}");
        replication(&below, "START", leaf).await;
        found.copies().await;
        found.ask(&["drop"]).await;
        assert_eq!(found.live_ended().await.code, Some(7));

        // Listed alone: what stands still above it makes it late.
        let address = format!("{}:{}", leaf.host, leaf.port);
        arguments.extend(["--replicas", &address]);
        let mut listed = Migration::start(&db, primary, &arguments);
        listed
            .answers(&["status", "json"], "\"phase\": \"copy\"")
            .await;
        listed.copies().await;
        replication(&above, "STOP", middle).await;
        let ceased = listed.ceases(Instant::now()).await;
        let why = listed
            .answers(&["why"], &format!("lag of {}", name(leaf)))
            .await;
        println!("listed: copying ceased after {ceased:?}: {why}");
        assert!(!why.contains(&name(middle)), "{why}");
        // Its lag has to reach the limit of 1.5 s first.
        assert!(ceased < Duration::from_millis(3500), "{ceased:?}");
        replication(&above, "START", middle).await;
        listed.copies().await;
        listed.ask(&["drop"]).await;
        assert_eq!(listed.live_ended().await.code, Some(7));

        // Started on the leaf, it goes up to the primary, and waits for the leaf at the end.
        let migration = Migration::start(&db, leaf, &["--max-lag", "1h"]);
        let end = migration.live_ended().await;
        assert_eq!(end.code, Some(0), "{}", end.stderr);
        let told = format!("migrated on its primary {}:{}", primary.host, primary.port);
        assert!(end.stderr.contains(&told), "{}", end.stderr);
        for replica in [middle, leaf] {
            let told = format!("{} has applied the swap", name(replica));
            assert!(end.stderr.contains(&told), "{told}: {}", end.stderr);
        }
        above.close().await;
        below.close().await;
    })
    .await;
}
