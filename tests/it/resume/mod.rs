//! Going on with what was interrupted, and through outages, as a user sees it. On servers whose global state
//! no other test cares for, one test at a time.

mod differs;
mod failover;
pub mod field;
mod outages;
mod purged;
mod verification;

use std::future::Future;

use crate::support::{Program, TestDb, TestServer, alone_on_scratch, is_wanted, server};

/// Runs `test` on a server of each flavour that may be killed, purged and restarted.
async fn on_scratch<F: Future<Output = ()>>(test: impl Fn(&'static TestServer) -> F) {
    let _alone = alone_on_scratch().await;
    for (flavour, name) in [("mysql", "mysql-scratch"), ("mariadb", "mariadb-scratch")] {
        if is_wanted(flavour) {
            test(server(name)).await;
        }
    }
}

/// From the chunk under way on, copy and comparison of `t` rest for a hundred times as long as they work: what comes
/// next finds them where they are.
async fn slow_down(db: &TestDb) {
    Program::new(["ctl", "--database", &db.name, "--table", "t"])
        .args(["set", "nice-ratio", "100"])
        .run()
        .await
        .expect_code(0);
}
