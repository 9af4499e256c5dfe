//! Swaps one after the other, with writers at full speed, and bare ones beside them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use changeling::cutover::Protocol;
use changeling::failure::Result;
use changeling::mysql::{Purpose, Server, Session};

use super::field::{Beat, Field, probe, protocol_of, swapped};
use crate::support::{Client, TestDb, TestServer, both, server, setting};

const WRITERS: u32 = 8;
/// The probe is given this long to see the end of a swap.
const SETTLED: Duration = Duration::from_millis(300);

/// The longest update of the probe in each span of time, sorted.
fn stalls(beats: &[Beat], spans: &[[Instant; 2]]) -> Vec<Duration> {
    let mut stalls: Vec<Duration> = spans
        .iter()
        .map(|[from, to]| {
            let within = |beat: &&Beat| beat.since + beat.took >= *from && beat.since <= *to;
            beats.iter().filter(within).map(|beat| beat.took).max()
        })
        .map(Option::unwrap_or_default)
        .collect();
    stalls.sort();
    stalls
}

fn median_and_longest(stalls: &[Duration]) -> [Duration; 2] {
    [stalls[stalls.len() / 2], stalls[stalls.len() - 1]]
}

async fn swaps(server: &'static TestServer, protocol: Protocol, count: u32) {
    let db = TestDb::create(server, "swaps").await;
    let mut field = Field::start(db, protocol, WRITERS).await;
    let mut spans = Vec::new();
    for number in 0..count {
        if number > 0 {
            field.ghost().await;
        }
        let begin = Instant::now();
        let (end, _) = field.cut_over().await;
        spans.push([begin, Instant::now()]);
        let swapped = swapped(end);
        assert_eq!(swapped.old, field.plan.names.old);
        field.assert_tables(&["_t_del", "_t_ghc", "t"]).await;
        tokio::time::sleep(SETTLED).await;
    }
    let beats = field.assert_nothing_lost().await;
    let [median, longest] = median_and_longest(&stalls(&beats, &spans));
    // What happens beside a swap by chance happens the more the longer one looks: as long for both.
    let length = spans.iter().map(|[from, to]| *to - *from).sum::<Duration>() / count;
    let bare = stalls_by_hand(server, count, length).await;
    let [bare_median, bare_longest] = median_and_longest(&bare);
    println!(
        "{protocol:?} on {}: {count} swaps with {WRITERS} writers, longest stall of the probe in each: \
         median {median:?}, longest {longest:?}; bare swaps by hand: median {bare_median:?}, longest \
         {bare_longest:?}; longest by longest {:.2}",
        server.name,
        longest.as_secs_f64() / bare_longest.as_secs_f64()
    );
}

/// What the probe sees of as many bare swaps, LOCK TABLES and RENAME without any last change; by two sessions
/// where the server allows no RENAME under the lock. The span of each is so long.
async fn stalls_by_hand(
    server: &'static TestServer,
    count: u32,
    length: Duration,
) -> Vec<Duration> {
    let db = TestDb::create(server, "swaps_by_hand").await;
    db.sql("CREATE TABLE t (id INT NOT NULL PRIMARY KEY, v INT NOT NULL)")
        .await;
    db.sql("INSERT INTO t VALUES (0, 0)").await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for number in 1..=WRITERS {
        writers.push(tokio::spawn(overwrite(
            db.connect().await,
            number * 1000,
            stop.clone(),
        )));
    }
    let probe = tokio::spawn(probe(db.connect().await, stop.clone()));
    let server = Server::connect(db.server.options()).await.unwrap();
    let use_it = format!("USE {}", db.name);
    let mut hands = [
        server.session(Purpose::Monitor).await.unwrap(),
        server.session(Purpose::Monitor).await.unwrap(),
    ];
    for hand in &mut hands {
        hand.execute(&use_it).await.unwrap();
    }
    let mut spans = Vec::new();
    for number in 0..count {
        db.sql("CREATE TABLE ghost (id INT NOT NULL PRIMARY KEY, v BIGINT NOT NULL, KEY (v))")
            .await;
        db.sql("INSERT INTO ghost VALUES (0, 0)").await;
        let begin = Instant::now();
        tokio::time::sleep(length).await;
        by_hand(&mut hands, number, !db.server.is_mariadb())
            .await
            .unwrap();
        spans.push([begin, Instant::now()]);
        tokio::time::sleep(SETTLED).await;
    }
    stop.store(true, Ordering::SeqCst);
    for writer in writers {
        writer.await.expect("a writer");
    }
    stalls(&probe.await.expect("the probe"), &spans)
}

async fn by_hand(hands: &mut [Session; 2], number: u32, renames_under_lock: bool) -> Result<()> {
    let [first, second] = hands;
    let rename = format!("RENAME TABLE t TO aside_{number}, ghost TO t");
    first.execute("LOCK TABLES t WRITE, ghost WRITE").await?;
    if renames_under_lock {
        first.execute(&rename).await?;
        first.execute("UNLOCK TABLES").await?;
        return Ok(());
    }
    let unlock = async {
        // Until the RENAME waits: it comes before all writers then.
        tokio::time::sleep(Duration::from_millis(2)).await;
        first.execute("UNLOCK TABLES").await
    };
    let (renamed, unlocked) = tokio::join!(second.execute(&rename), unlock);
    renamed.and(unlocked).map(drop)
}

/// Writes at full speed, whatever the table has.
async fn overwrite(client: Client, first: u32, stop: Arc<AtomicBool>) {
    let mut rng = fastrand::Rng::with_seed(u64::from(first));
    let mut n = 0;
    while !stop.load(Ordering::SeqCst) {
        n += 1;
        let id = first + rng.u32(0..20);
        match client
            .try_sql(&format!("REPLACE INTO t (id, v) VALUES ({id}, {n})"))
            .await
        {
            Ok(_) => {}
            Err(mysql_async::Error::Server(error)) if matches!(error.code, 1205 | 1213) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn swaps_lose_nothing() {
    both(async |server| {
        // `scripts/bench swaps` measures whole runs; `CHANGELING_SWAPS=50` the protocol alone.
        let count = setting("CHANGELING_SWAPS").unwrap_or(10);
        swaps(server, protocol_of(server), count).await;
    })
    .await;
}

/// The protocol of old MySQL servers, on a new one: its locks are of the same kind.
#[tokio::test]
async fn two_sessions_swap_on_mysql_too() {
    swaps(server("mysql-primary"), Protocol::Sentry, 3).await;
}
