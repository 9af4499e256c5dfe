//! What every step of a run shares.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::back::{self, Back};
use super::ending::OriginalTable;
use super::place::{self, Servers};
use super::record::Record;
use crate::failure::{Failure, FailureKind, Result};
use crate::mysql::{ConnectOptions, Purpose, Server, Session};
use crate::names::Names;
use crate::progress::Progress;
use crate::settings::{Settings, Task};
use crate::tunables::Tunables;

/// A run: its settings, its server, its numbers and its stop.
#[derive(Debug)]
pub struct Run {
    /// What was asked for.
    pub settings: Settings,
    /// The server with the table.
    pub server: Server,
    /// The server whose binlog is read: the same one, or a replica of it.
    pub binlog_server: Server,
    /// The tables.
    pub names: Names,
    /// The numbers.
    pub progress: Arc<Progress>,
    /// What may be changed while running.
    pub tunables: watch::Sender<Tunables>,
    /// Cancelled when the run is to stop.
    pub stop: CancellationToken,
    /// Whether a run that keeps itself revertible is to swap back.
    pub revert_asked: watch::Sender<bool>,
    /// What is taken back: the ghost is the old table of an earlier run.
    pub back: Option<Back>,
    /// The run's row in the history.
    pub record: Arc<Record>,
    marks: Mutex<Marks>,
}

/// What the end of the run must know.
#[derive(Debug)]
struct Marks {
    original: OriginalTable,
    helpers_found: bool,
    helpers_ours: bool,
    removal: bool,
    successor: Option<ConnectOptions>,
}

impl Run {
    /// Connects and makes a run of the settings.
    ///
    /// # Errors
    /// The connection's failure; a replica whose primary is not clear.
    pub async fn connect(settings: Settings, stop: CancellationToken) -> Result<Run> {
        let Servers { server, binlog } = place::connect(&settings).await?;
        let mut names = Names::new(
            &settings.table,
            settings.helper_base.as_deref(),
            settings.old_stamp.as_deref(),
        );
        let back = match &settings.task {
            Task::Alter => None,
            Task::Revert(which) => {
                let stamped = settings.old_stamp.is_some();
                Some(Box::pin(back::find(&server, &mut names, which, stamped)).await?)
            }
        };
        Ok(Run {
            record: Arc::new(Record::new(server.clone(), &names.original)),
            revert_asked: watch::Sender::new(false),
            back,
            tunables: watch::Sender::new(settings.tunables.clone()),
            server,
            binlog_server: binlog,
            names,
            progress: Arc::new(Progress::default()),
            marks: Mutex::new(Marks {
                original: OriginalTable::Untouched,
                helpers_found: false,
                helpers_ours: false,
                removal: false,
                successor: None,
            }),
            stop,
            settings,
        })
    }

    /// A session for DDL as this run's user would run it.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn ddl_session(&self) -> Result<Session> {
        let mut session = self.server.session(Purpose::Ddl).await?;
        for mode in self.settings.sql_mode_without.iter() {
            session
                .execute(&format!(
                    "SET SESSION sql_mode = TRIM(BOTH ',' FROM \
                     REPLACE(CONCAT(',', @@SESSION.sql_mode, ','), ',{mode},', ','))"
                ))
                .await?;
        }
        Ok(session)
    }

    /// The way back of this run, which has swapped: the same machine with the tables exchanged.
    pub fn turned(&self, names: Names, back: Back) -> Run {
        Run {
            settings: self.settings.clone(),
            server: self.server.clone(),
            binlog_server: self.binlog_server.clone(),
            record: Arc::new(Record::deferred(self.server.clone(), &names.original)),
            names,
            progress: self.progress.clone(),
            tunables: self.tunables.clone(),
            stop: self.stop.clone(),
            revert_asked: self.revert_asked.clone(),
            back: Some(back),
            marks: Mutex::new(Marks {
                original: OriginalTable::Untouched,
                helpers_found: false,
                helpers_ours: true,
                removal: false,
                successor: None,
            }),
        }
    }

    /// The tables that the run has made and may remove. The ghost of a way back is an old table, which
    /// is not.
    pub fn helper_names(&self) -> Names {
        let mut names = self.names.clone();
        if self.back.is_some() {
            names.ghost = names.changelog.clone();
        }
        names
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What became of the original so far.
    pub fn original_state(&self) -> OriginalTable {
        self.marks().original
    }

    /// The swap happened, or its outcome is unknown.
    pub fn original_is(&self, state: OriginalTable) {
        self.marks().original = state;
    }

    /// There are helper tables of an interrupted run, which this one may go on with.
    pub fn found_helpers(&self) {
        self.marks().helpers_found = true;
    }

    /// Whether there are helper tables that this run may remove or name: its own, or those that an
    /// interrupted run has left. (Those of a run that is at work are nobody else's business.)
    pub fn knows_helpers(&self) -> bool {
        let marks = self.marks();
        marks.helpers_ours || marks.helpers_found
    }

    /// Whether this run has found an interrupted one.
    pub fn goes_on(&self) -> bool {
        self.marks().helpers_found
    }

    /// The helper tables are this run's own from now on: made by it, or taken up by it.
    pub fn own_helpers(&self) {
        self.marks().helpers_ours = true;
    }

    /// Whether the helper tables are this run's own.
    pub fn helpers_are_ours(&self) -> bool {
        self.marks().helpers_ours
    }

    /// The operator wants everything removed that the run made.
    pub fn ask_removal(&self) {
        self.marks().removal = true;
    }

    /// Whether the operator wants that.
    pub fn wants_removal(&self) -> bool {
        self.marks().removal
    }

    /// The run is to be gone on with at another server.
    pub fn goes_on_at(&self, server: ConnectOptions) {
        self.marks().successor = Some(server);
    }

    /// Where the run is to be gone on with, if not here.
    pub fn successor(&self) -> Option<ConnectOptions> {
        self.marks().successor.clone()
    }

    /// Whether the binlog is read from another server than that with the table.
    pub fn reads_binlog_elsewhere(&self) -> bool {
        self.binlog_server.facts().identity() != self.server.facts().identity()
    }

    /// Fails if the run is to stop.
    ///
    /// # Errors
    /// [`stopped`].
    pub fn check_stop(&self) -> Result<()> {
        if self.stop.is_cancelled() {
            Err(stopped())
        } else {
            Ok(())
        }
    }
}

/// What a step returns that was cancelled.
pub fn stopped() -> Failure {
    Failure::new(FailureKind::Interrupted, "stopped before the swap")
}
