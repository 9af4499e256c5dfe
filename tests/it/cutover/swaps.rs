//! Swaps one after the other, with writers at full speed. (What the application feels of whole runs, beside bare swaps
//! by hand, `scripts/bench swaps` measures.)

use std::time::Duration;

use changeling::cutover::Protocol;

use super::field::{Field, protocol_of, swapped};
use crate::support::{TestDb, TestServer, both, server, setting};

const WRITERS: u32 = 8;
/// The writers write to the new table for so long before it is swapped again.
const BETWEEN: Duration = Duration::from_millis(300);

async fn swaps(server: &'static TestServer, protocol: Protocol, count: u32) {
    let db = TestDb::create(server, "swaps").await;
    let mut field = Field::start(db, protocol, WRITERS).await;
    for number in 0..count {
        if number > 0 {
            field.ghost().await;
        }
        let (end, _) = field.cut_over().await;
        let swapped = swapped(end);
        assert_eq!(swapped.old, field.plan.names.old);
        field.assert_tables(&["_t_del", "_t_ghc", "t"]).await;
        tokio::time::sleep(BETWEEN).await;
    }
    field.assert_nothing_lost().await;
}

#[tokio::test]
async fn swaps_lose_nothing() {
    both(async |server| {
        // `CHANGELING_SWAPS=50` for a longer look.
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
