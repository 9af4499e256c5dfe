//! When to pause, and why: sources of reasons, one controller, one answer ([`Pace`]).
//!
//! Each source is a task of its own that posts [`Reading`]s on the [`Board`]; a source that falls
//! silent stops the copy by its silence (fail closed). The [`controller`] looks at the board ten times
//! a second, lets the worst reading decide, and sends the [`Pace`]. It does not know who pauses.

mod asker;
mod board;
pub mod controller;
mod engine;
mod flags;
pub mod http;
mod journal;
mod latency;
mod load;
mod local;
mod query;
mod reading;
mod replicas;
pub mod replication;
pub mod topology;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

pub use board::Board;
pub use journal::{Journal, Stop, ThrottleReport, ThrottleShare};
pub use load::parse_loads;
pub use reading::Reading;

use crate::failure::{Failure, Result};
use crate::mysql::{ConnectOptions, Server};
use crate::names::TableName;
use crate::pace::Pace;
use crate::progress::Progress;
use crate::settings::ThrottleSettings;
use crate::supervise::Supervisor;
use crate::tunables::Tunables;

/// Which replicas are asked for their lag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replicas {
    /// Those that the primary knows, looked for again every half minute.
    Discover,
    /// These, by host and port. One that does not replicate the server is refused.
    Listed(Vec<(String, u16)>),
    /// None.
    Ignore,
}

/// What to look at. What may change during the run comes through [`Tunables`] instead.
#[derive(Clone, Debug)]
pub struct ThrottlePlan {
    /// Where heartbeats are written: the row `hint = 'heartbeat'` has microseconds since 1970 by the
    /// clock of this program.
    pub changelog: TableName,
    /// The table that is migrated.
    pub original: TableName,
    /// Which replicas to ask.
    pub replicas: Replicas,
    /// Replicas that are not asked, as `host` or `host:port`.
    pub ignored_replicas: Vec<String>,
    /// Account and encryption for the replicas; the primary's when `None`.
    pub replica_account: Option<ConnectOptions>,
    /// Files whose existence pauses.
    pub flag_files: Vec<PathBuf>,
    /// How long after a first look above `critical_load` the second one is taken, which decides.
    pub critical_load_pause: Duration,
    /// How long the run rests when that look is above it too; `None` ends the run.
    pub critical_load_rest: Option<Duration>,
    /// Between two HTTP checks.
    pub http_interval: Duration,
    /// How long an HTTP check may take.
    pub http_timeout: Duration,
    /// Whether an HTTP check that gets no answer lets the copy go on (gh-ost's `--ignore-http-errors`).
    pub http_errors_pass: bool,
    /// Bytes that the backlog of changes may have. The copy pauses at [`ThrottlePlan::backlog_share`] of it.
    pub backlog_bytes_max: u64,
    /// At this share of the backlog's budget the copy pauses, until half of that is left.
    pub backlog_share: f64,
}

impl ThrottlePlan {
    /// The defaults: discovered replicas, a backlog of 256 MiB.
    pub fn new(original: TableName, changelog: TableName) -> ThrottlePlan {
        ThrottlePlan {
            changelog,
            original,
            replicas: Replicas::Discover,
            ignored_replicas: Vec::new(),
            replica_account: None,
            flag_files: Vec::new(),
            critical_load_pause: Duration::from_secs(2),
            critical_load_rest: None,
            http_interval: Duration::from_millis(500),
            http_timeout: Duration::from_secs(1),
            http_errors_pass: false,
            backlog_bytes_max: 256 << 20,
            backlog_share: 0.5,
        }
    }
}

impl ThrottlePlan {
    /// The plan of a run's settings.
    ///
    /// # Errors
    /// Usage: a listed replica that is not `host:port`.
    pub fn from_settings(
        settings: &ThrottleSettings,
        original: TableName,
        changelog: TableName,
        backlog_bytes_max: u64,
    ) -> Result<ThrottlePlan> {
        let mut plan = ThrottlePlan::new(original, changelog);
        if !settings.replicas.is_empty() {
            let hosts: Result<Vec<_>> = settings.replicas.iter().map(|r| parse_host(r)).collect();
            plan.replicas = Replicas::Listed(hosts?);
        }
        plan.ignored_replicas = settings.ignore_replicas.clone();
        plan.replica_account = settings.replica_account.clone();
        plan.flag_files = settings.flag_files.clone();
        if !settings.critical_load_interval.is_zero() {
            plan.critical_load_pause = settings.critical_load_interval;
        }
        plan.critical_load_rest = settings.critical_load_hibernate;
        plan.http_interval = settings.http_interval.unwrap_or(plan.http_interval);
        plan.http_timeout = settings.http_timeout.unwrap_or(plan.http_timeout);
        plan.http_errors_pass = settings.http_errors_pass;
        plan.backlog_bytes_max = backlog_bytes_max;
        Ok(plan)
    }
}

/// `host`, `host:port`, `[address]:port`; the port is 3306 if not given.
///
/// # Errors
/// Usage, if it is none of these.
pub fn parse_host(text: &str) -> Result<(String, u16)> {
    const PORT: u16 = 3306;
    let bad = || {
        Failure::usage(format!("`{text}` is no server"))
            .remedy("write HOST:PORT, for example `replica1:3306`")
    };
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or_else(bad)?;
        (host, port.strip_prefix(':'))
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    if host.is_empty() || host.contains(char::is_whitespace) {
        return Err(bad());
    }
    let port = match port {
        None => PORT,
        Some(port) => port.parse().map_err(|_| bad())?,
    };
    Ok((host.to_string(), port))
}

/// A running throttle.
#[derive(Clone, Debug)]
pub struct Throttle {
    /// What the copy may do now.
    pub pace: watch::Receiver<Pace>,
    /// Who stopped it when: for the report and for `why`.
    pub journal: Arc<Journal>,
    /// The replicas that are watched now, by name (`replica host:port`).
    pub replicas: watch::Receiver<BTreeMap<String, Server>>,
}

/// Starts the sources and the controller as tasks of `supervisor`. The changelog table must exist.
///
/// Until the first looks have been taken (at most some seconds) the pace is a stop, with that reason.
///
/// # Errors
/// A listed replica that cannot be asked or does not replicate `server`: refused, with all of them
/// named. Later, through the supervisor: [`crate::failure::FailureKind::Stopped`] when the critical
/// load is passed twice.
pub async fn start(
    plan: ThrottlePlan,
    server: &Server,
    progress: Arc<Progress>,
    tunables: watch::Receiver<Tunables>,
    supervisor: &mut Supervisor,
) -> Result<Throttle> {
    let plan = Arc::new(plan);
    let board = Arc::new(Board::default());
    let cancel = supervisor.token();
    let listed = match &plan.replicas {
        Replicas::Listed(hosts) => Some(topology::check_listed(server, &plan, hosts).await?),
        Replicas::Discover | Replicas::Ignore => None,
    };
    let common = Common {
        plan,
        server: server.clone(),
        board: board.clone(),
        tunables: tunables.clone(),
        progress: progress.clone(),
        cancel: cancel.clone(),
    };
    for (slot, source) in [
        (replicas::SLOT, "lag"),
        (load::SLOT, "max-load"),
        (engine::SLOT, "engine"),
        (latency::SLOT, latency::SOURCE),
        (query::SLOT, "query"),
        (http::SLOT, "http"),
        (flags::SLOT, "flag-file"),
        (local::SLOT, "backlog"),
    ] {
        board.expect(slot, source);
    }
    let (known, replicas) = watch::channel(BTreeMap::new());
    supervisor.spawn(
        "watch replicas",
        replicas::run(common.clone(), listed, known),
    );
    supervisor.spawn("watch the load", load::run(common.clone()));
    supervisor.spawn("watch the storage engine", engine::run(common.clone()));
    supervisor.spawn("watch the table's latency", latency::run(common.clone()));
    supervisor.spawn("ask the throttle query", query::run(common.clone()));
    supervisor.spawn("ask the throttle URL", http::run(common.clone()));
    supervisor.spawn("watch flag files and windows", flags::run(common.clone()));
    supervisor.spawn("watch the backlog", local::run(common));

    let (sender, pace) = watch::channel(controller::first_pace());
    let journal = Arc::new(Journal::default());
    supervisor.spawn(
        "throttle",
        controller::run(board, journal.clone(), tunables, sender, cancel),
    );
    Ok(Throttle {
        pace,
        journal,
        replicas,
    })
}

/// What every source needs.
#[derive(Clone)]
struct Common {
    plan: Arc<ThrottlePlan>,
    server: Server,
    board: Arc<Board>,
    tunables: watch::Receiver<Tunables>,
    progress: Arc<Progress>,
    cancel: tokio_util::sync::CancellationToken,
}

impl Common {
    /// Waits between two looks. False when the run ends.
    async fn rest(&self, time: Duration) -> bool {
        tokio::select! {
            () = self.cancel.cancelled() => false,
            () = tokio::time::sleep(time) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read() {
        let check = |text: &str, host: &str, port: u16| {
            assert_eq!(
                parse_host(text).unwrap(),
                (host.to_string(), port),
                "{text}"
            );
        };
        check("r1", "r1", 3306);
        check("r1:3307", "r1", 3307);
        check("[::1]:3307", "::1", 3307);
        for bad in ["", ":1", "h:x", "[::1", "a b:1"] {
            assert!(parse_host(bad).is_err(), "{bad}");
        }
    }
}
