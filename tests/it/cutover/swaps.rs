//! Swaps one after the other, with writers at full speed.

use changeling::cutover::Protocol;

use super::field::{Field, protocol_of, swapped};
use crate::support::{TestDb, TestServer, both, server};

const WRITERS: u32 = 6;

async fn swaps(server: &'static TestServer, protocol: Protocol, count: u32) {
    let db = TestDb::create(server, "swaps").await;
    let mut field = Field::start(db, protocol, WRITERS).await;
    let mut stalls = Vec::new();
    for number in 0..count {
        if number > 0 {
            field.ghost().await;
        }
        let (end, _) = field.cut_over().await;
        let swapped = swapped(end);
        assert_eq!(swapped.old, field.plan.names.old);
        stalls.push(swapped.stall);
        field.assert_tables(&["_t_del", "_t_ghc", "t"]).await;
    }
    let times = field.assert_nothing_lost().await;
    stalls.sort();
    println!(
        "{protocol:?} on {}: {count} swaps, stall by our clock median {:?}, longest {:?}; probe: {} \
         updates, median {:?}, longest {:?}",
        server.name,
        stalls[stalls.len() / 2],
        stalls[stalls.len() - 1],
        times.len(),
        times[times.len() / 2],
        &times[times.len().saturating_sub(5)..],
    );
}

#[tokio::test]
async fn swaps_lose_nothing() {
    both(async |server| {
        // `CHANGELING_SWAPS=50` for numbers that mean something.
        let count = std::env::var("CHANGELING_SWAPS").map_or(10, |count| count.parse().unwrap());
        swaps(server, protocol_of(server), count).await;
    })
    .await;
}

/// The protocol of old MySQL servers, on a new one: its locks are of the same kind.
#[tokio::test]
async fn two_sessions_swap_on_mysql_too() {
    swaps(server("mysql-primary"), Protocol::Sentry, 3).await;
}
