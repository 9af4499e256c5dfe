//! Going on with what was interrupted, and through outages, as a user sees it. On servers whose global state
//! no other test cares for, one test at a time.

mod differs;
mod failover;
pub mod field;
mod outages;
mod purged;
mod verification;

use std::future::Future;

use crate::support::{TestServer, alone_on_scratch, is_wanted, server};

/// Runs `test` on a server of each flavour that may be killed, purged and restarted.
async fn on_scratch<F: Future<Output = ()>>(test: impl Fn(&'static TestServer) -> F) {
    let _alone = alone_on_scratch().await;
    for (flavour, name) in [("mysql", "mysql-scratch"), ("mariadb", "mariadb-scratch")] {
        if is_wanted(flavour) {
            test(server(name)).await;
        }
    }
}
