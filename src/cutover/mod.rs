//! The swap: the ghost takes the original's name, and the application does not feel it.
//!
//! Two protocols behind one interface, chosen by what the server can:
//! - *lock and rename* (MySQL from 8.0.13): one session locks original and ghost, brings in the last
//!   changes and renames under its own lock. If it dies, the server gives the locks back with nothing
//!   renamed.
//! - *sentry* (MariaDB, older MySQL): RENAME under LOCK TABLES is refused there, so a second session
//!   renames. See the `sentry` module for why no write gets lost between the two.
//!
//! An attempt has a budget of milliseconds, from asking for the lock to having swapped, enforced by a
//! further session that kills our own waiting statement. The lock is asked for only when replay is
//! near and nobody is known to hold the table for longer than the budget.

mod attempt;
mod blockers;
mod catalogue;
mod changes;
mod crew;
mod kill;
mod lock;
mod lock_and_rename;
#[cfg(test)]
mod model;
mod native;
mod protocol;
mod replicas;
mod report;
mod run;
mod schedule;
mod sentry;
mod settle;
mod sorted;
mod triggers;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::watch;

pub use catalogue::{Ownership, is_alone, ownership};
pub use changes::{LastChanges, Readiness};
pub use kill::{fate, may_kill, who_holds};
pub use native::{NativeEnd, NativePlan, alter};
pub use replicas::{Stalled, watch_replicas};
pub use report::{Attempt, Blocker, NotSwapped, Outcome, Reason, Step, Swap, Swapped};
pub use run::run;
pub use settle::{settle, swap_back};

use crate::mysql::Server;
use crate::names::Names;
use crate::settings::TriggerSuffix;

/// How the swap is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// One session, RENAME under its own lock.
    LockAndRename,
    /// Two sessions and a sentry table.
    Sentry,
}

/// What may be done to those who hold the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KillPolicy {
    /// Nothing.
    #[default]
    Never,
    /// End connections that hold the table in a transaction and run nothing.
    Idle,
    /// End them whatever they do.
    All,
}

/// How far replay may be behind when the lock is asked for: what is left then is applied under it.
pub const LAG_MAX: Duration = Duration::from_millis(500);

/// What a cut-over is to do and what it may cost.
#[derive(Clone, Debug)]
pub struct CutOverPlan {
    /// Where.
    pub server: Server,
    /// Which tables.
    pub names: Names,
    /// Replicas that must be able to apply the swap, by name (`replica host:port`).
    pub replicas: watch::Receiver<BTreeMap<String, Server>>,
    /// How.
    pub protocol: Protocol,
    /// From asking for the lock to having swapped; past it everything is released.
    pub budget: Duration,
    /// How many attempts; `None`: no limit.
    pub attempts_max: Option<u32>,
    /// How long to try, from the first moment it is not held back; `None`: no limit.
    pub deadline: Option<Duration>,
    /// What may be done to those who hold the table.
    pub kill: KillPolicy,
    /// After how many failed attempts.
    pub kill_after_attempts: u32,
    /// Whether the original's triggers are recreated on the new table; otherwise a table that has some
    /// is not swapped.
    pub recreate_triggers: bool,
    /// Names of recreated triggers; `None`: their own.
    pub trigger_suffix: Option<TriggerSuffix>,
    /// Never a transaction that has changed more rows than this: its rollback would take long.
    pub kill_rows_max: u64,
    /// Replay's lag must be at most this …
    pub lag_max: Duration,
    /// … and its backlog at most this many keys …
    pub backlog_rows_max: u64,
    /// … all the time for this long.
    pub calm_for: Duration,
}

impl CutOverPlan {
    /// The part of the budget in which the swap itself must have begun. A RENAME that is being executed
    /// cannot be stopped, so it is not begun at the last moment.
    fn budget_to_begin(&self) -> Duration {
        self.budget * 2 / 3
    }

    /// How many rows may be applied under the lock: 25 a millisecond, less than half of what was
    /// measured without a lock (200,000 rows in 3.5 s).
    fn rest_rows_max(&self) -> u64 {
        let millis = u64::try_from(self.budget_to_begin().as_millis()).unwrap_or(u64::MAX);
        self.backlog_rows_max.max(millis.saturating_mul(25))
    }

    /// A plan with the defaults and the protocol that the server can, and no replicas.
    pub fn new(server: Server, names: Names) -> CutOverPlan {
        CutOverPlan {
            protocol: if server.facts().renames_under_lock() {
                Protocol::LockAndRename
            } else {
                Protocol::Sentry
            },
            server,
            names,
            replicas: watch::channel(BTreeMap::new()).1,
            budget: Duration::from_millis(300),
            attempts_max: None,
            deadline: None,
            kill: KillPolicy::Never,
            kill_after_attempts: 3,
            recreate_triggers: false,
            trigger_suffix: None,
            kill_rows_max: 100_000,
            lag_max: LAG_MAX,
            backlog_rows_max: 1_000,
            // Some heartbeats in a row.
            calm_for: Duration::from_millis(300),
        }
    }
}
