//! gh-ost's face of a running migration: its commands with its answers, its hint, its hooks.
//!
//! Everything goes to the same [`Controller`] as `changeling ctl`. The words are gh-ost's, since scripts
//! match on them (gh-ost's `go/logic/server.go`, `migrator.go`, `hooks.go`).

mod commands;
mod hint;
pub mod hooks;
pub mod lists;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use super::{Controller, Handler, Hooks};
use crate::failure::Result;
use crate::names::TableName;

/// How often the flag file of the `postpone-cut-over-flag-file` command is looked at.
const FLAG_POLL: Duration = Duration::from_millis(200);

/// What gh-ost tells of a run besides its status; fixed at the start.
#[derive(Clone, Debug)]
pub struct GhOstFacts {
    /// The table.
    pub table: TableName,
    /// The server that is migrated.
    pub applier: GhOstServer,
    /// The server of `--host`.
    pub inspector: GhOstServer,
    /// Where this program runs.
    pub executing_host: String,
    /// When it started.
    pub started: SystemTime,
    /// `--dml-batch-size`
    pub dml_batch_size: u64,
    /// `--throttle-flag-file`
    pub throttle_flag_file: Option<PathBuf>,
    /// `--throttle-additional-flag-file`
    pub additional_flag_file: Option<PathBuf>,
    /// `--throttle-control-replicas`, each as `host:port`.
    pub replicas: Vec<String>,
    /// `--postpone-cut-over-flag-file`
    pub postpone_flag_file: Option<PathBuf>,
    /// `--panic-flag-file`
    pub panic_flag_file: Option<PathBuf>,
    /// The control socket.
    pub socket_file: PathBuf,
    /// The control port.
    pub tcp_port: Option<u16>,
    /// `--force-named-cut-over`
    pub name_needed_for_cut_over: bool,
    /// `--force-named-panic`
    pub name_needed_for_panic: bool,
    /// `--hooks-hint`
    pub hint: String,
    /// `--hooks-hint-owner`
    pub hint_owner: String,
    /// `--hooks-hint-token`
    pub hint_token: String,
    /// Whether `--execute` is missing.
    pub dry_run: bool,
    /// Whether it is a `--revert`.
    pub revert: bool,
    /// Reads the limits of `--conf` again, at SIGHUP; `None` without that flag.
    pub reread: Option<Reread>,
}

/// Reads limits again and says how they change.
#[derive(Clone)]
pub struct Reread(pub Arc<dyn Fn() -> Result<Limits> + Send + Sync>);

impl std::fmt::Debug for Reread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reread")
    }
}

/// Limits that a `--conf` file may have; `None` leaves one as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    /// `chunk_size`
    pub chunk_rows: Option<u64>,
    /// `max_lag_millis`
    pub lag_max: Option<Duration>,
    /// `max_load`
    pub max_load: Option<BTreeMap<String, u64>>,
}

/// A server as gh-ost's answers name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GhOstServer {
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// `@@version`
    pub version: String,
}

impl GhOstServer {
    fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// gh-ost's face of one run.
#[derive(Debug)]
pub struct GhOst {
    facts: GhOstFacts,
    controller: Controller,
    hooks: Hooks,
    changed: Mutex<Changed>,
}

/// What commands have changed and the engine does not know.
#[derive(Debug)]
struct Changed {
    dml_batch_size: u64,
    /// The file of the `postpone-cut-over-flag-file` command, while it postpones.
    flag_file: Option<PathBuf>,
    /// Whether the hooks before the cut-over were called.
    before_cut_over_called: bool,
}

impl GhOst {
    /// The face of a run whose hooks are in a folder.
    pub fn new(
        controller: Controller,
        facts: GhOstFacts,
        hooks_path: Option<PathBuf>,
    ) -> Arc<GhOst> {
        Arc::new(GhOst {
            changed: Mutex::new(Changed {
                dml_batch_size: facts.dml_batch_size,
                flag_file: None,
                before_cut_over_called: false,
            }),
            facts,
            controller,
            hooks: Hooks::with_names(hooks_path, "gh-ost-on-", "GH_OST_"),
        })
    }

    fn changed(&self) -> MutexGuard<'_, Changed> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the control socket answers with.
    pub fn handler(self: Arc<Self>) -> Handler {
        Arc::new(move |line| {
            let face = self.clone();
            Box::pin(async move { face.answer(&line).await })
        })
    }

    /// Lets the cut-over go on when the flag file of the `postpone-cut-over-flag-file` command is gone.
    ///
    /// # Errors
    /// None.
    pub async fn watch_flag_file(self: Arc<Self>, cancel: CancellationToken) -> Result<()> {
        loop {
            let gone = {
                let mut changed = self.changed();
                let gone = changed
                    .flag_file
                    .as_ref()
                    .is_some_and(|file| !file.exists());
                if gone {
                    changed.flag_file = None;
                }
                gone
            };
            if gone {
                self.controller
                    .change(|tunables| tunables.postpone_cutover = false);
            }
            tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                () = tokio::time::sleep(FLAG_POLL) => {}
            }
        }
    }

    /// Takes the limits of the `--conf` file as they are now.
    pub fn reread(&self) {
        let Some(Reread(read)) = &self.facts.reread else {
            tracing::info!(event = "hup", "there is no --conf file to read again");
            return;
        };
        match read() {
            Ok(limits) => {
                tracing::info!(event = "hup", "--conf read again: {limits:?}");
                self.controller.change(|tunables| {
                    tunables.chunk_rows_fixed = limits.chunk_rows.or(tunables.chunk_rows_fixed);
                    tunables.lag_max = limits.lag_max.unwrap_or(tunables.lag_max);
                    if let Some(max_load) = limits.max_load {
                        tunables.max_load = max_load;
                    }
                });
            }
            Err(failure) => tracing::error!(event = "hup", "{failure}"),
        }
    }

    /// The replicas that are watched: those named at the start, without those ignored since.
    fn replicas(&self) -> Vec<String> {
        let ignored = self.controller.tunables().ignored_replicas;
        self.facts
            .replicas
            .iter()
            .filter(|replica| !ignored.contains(*replica))
            .cloned()
            .collect()
    }

    fn watch_only(&self, wanted: &BTreeSet<String>) {
        self.controller.change(|tunables| {
            for replica in &self.facts.replicas {
                if wanted.contains(replica) {
                    tunables.ignored_replicas.remove(replica);
                } else {
                    tunables.ignored_replicas.insert(replica.clone());
                }
            }
        });
    }
}

#[cfg(test)]
mod tests;
