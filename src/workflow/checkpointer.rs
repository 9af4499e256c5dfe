//! Writes the checkpoint every few seconds.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::claim;
use crate::checkpoint::{self, Checkpoint, Stage};
use crate::chunk::LowWatermark;
use crate::failure::Result;
use crate::mysql::error::is_read_only;
use crate::mysql::{Purpose, Server, Session};
use crate::names::TableName;
use crate::observe::StatusSource;
use crate::progress::Progress;
use crate::replay::Replay;
use crate::replay::backlog::Backlog;
use crate::tunables::Tunables;

/// How long writing a checkpoint is tried while the server is away. Short, since a run that is told to
/// stop waits for it; the next interval tries again as long as [`STALE_MAX`] has not passed.
const PATIENCE: Duration = Duration::from_secs(5);
/// A run that has not been able to write a checkpoint for so long stops.
const STALE_MAX: Duration = Duration::from_secs(600);

/// Whether the operator holds the cut-over, and whether they have released it.
fn operators_word(tunables: &Tunables) -> (bool, bool) {
    (tunables.postpone_cutover, tunables.cutover_released)
}

/// Gathers what a resume needs, and writes it.
pub struct Checkpointer {
    server: Server,
    table: TableName,
    backlog: Arc<Backlog>,
    progress: Arc<Progress>,
    watermark: watch::Receiver<LowWatermark>,
    tunables: watch::Receiver<Tunables>,
    fixed: Mutex<Checkpoint>,
    status: Option<Arc<StatusSource>>,
    /// Held from looking at what is true until it is written: an older checkpoint never follows a newer one.
    writing: tokio::sync::Mutex<()>,
    replay: Option<Arc<Replay>>,
    verified: Option<watch::Receiver<LowWatermark>>,
}

impl Checkpointer {
    /// A writer that begins with what `first` says.
    pub fn new(
        server: Server,
        table: TableName,
        backlog: Arc<Backlog>,
        progress: Arc<Progress>,
        watermark: watch::Receiver<LowWatermark>,
        tunables: watch::Receiver<Tunables>,
        first: Checkpoint,
    ) -> Checkpointer {
        Checkpointer {
            server,
            table,
            backlog,
            progress,
            watermark,
            tunables,
            fixed: Mutex::new(first),
            status: None,
            writing: tokio::sync::Mutex::default(),
            replay: None,
            verified: None,
        }
    }

    /// The run has come further; written with the next checkpoint.
    pub fn reach(&self, stage: Stage, deferred_left: Vec<String>) {
        let mut fixed = self.fixed.lock().unwrap_or_else(PoisonError::into_inner);
        fixed.stage = stage;
        fixed.deferred = deferred_left;
    }

    /// The ghost was put right; written with the next checkpoint.
    pub fn repaired(&self) {
        let mut fixed = self.fixed.lock().unwrap_or_else(PoisonError::into_inner);
        fixed.repair = false;
    }

    /// The run has a row in the history now.
    pub fn set_history(&self, id: Option<u64>) {
        let mut fixed = self.fixed.lock().unwrap_or_else(PoisonError::into_inner);
        fixed.history = id;
    }

    /// What is true now. The watermark and the coordinates are both read before the checkpoint is
    /// written, each claims only what is in the ghost, so their order does not matter.
    fn now(&self) -> Checkpoint {
        let mut checkpoint = self
            .fixed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        // Before the coordinates, see below.
        let verified = self.verified.as_ref().map(|mark| mark.borrow().clone());
        let watermark = self.watermark.borrow().clone();
        if let Some(key) = &watermark.next {
            checkpoint.watermark = Some(checkpoint::watermark_text(key));
        }
        checkpoint.suspects = watermark
            .suspects
            .iter()
            .map(checkpoint::Range::of)
            .collect();
        checkpoint.applied = self.backlog.applied().to_string();
        // After the coordinates, which must not cover a row that is not yet among them.
        if let Some(replay) = &self.replay {
            checkpoint.misfits = replay.misfits().keys();
            // After the coordinates too: a change that they cover is recorded by then.
            checkpoint.verified = verified.and_then(|mark| claim::now(&mark, replay.dirty()));
        }
        (checkpoint.postponed, checkpoint.released) = operators_word(&self.tunables.borrow());
        checkpoint.rows_copied = self.progress.rows_copied.get();
        checkpoint
    }

    /// Whose rows that do not fit are kept with the checkpoint.
    pub fn with_misfits(mut self, replay: Arc<Replay>) -> Checkpointer {
        self.replay = Some(replay);
        self
    }

    /// How far rows are compared, if the checkpoint is to keep it.
    pub fn with_proof(mut self, verified: Option<watch::Receiver<LowWatermark>>) -> Checkpointer {
        self.verified = verified;
        self
    }

    /// Whom to tell of each checkpoint.
    pub fn tells(mut self, status: Arc<StatusSource>) -> Checkpointer {
        self.status = Some(status);
        self
    }

    /// Writes a checkpoint now.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn write(&self, session: &mut Session) -> Result<()> {
        let turn = self.writing.lock().await;
        let now = self.now();
        checkpoint::write(session, &self.table, &now).await?;
        drop(turn);
        tracing::debug!(
            event = "checkpoint",
            "checkpoint success at coords={} rows={}",
            now.applied,
            now.rows_copied
        );
        if let Some(status) = &self.status {
            status.checkpoint_written();
        }
        Ok(())
    }

    /// Writes a checkpoint now, as patiently as those that come by themselves: a long step begins.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn write_now(&self) -> Result<()> {
        let mut session = None;
        self.write_patiently(&mut session).await?;
        if let Some(session) = session {
            session.close().await;
        }
        Ok(())
    }

    /// Writes one every `interval`, at once when the operator holds or releases the cut-over, and a last
    /// one when cancelled.
    ///
    /// # Errors
    /// A checkpoint that cannot be written: the run would promise a resume that is not there.
    pub async fn run(&self, interval: Duration, cancel: &CancellationToken) -> Result<()> {
        let mut session = None;
        let mut written = tokio::time::Instant::now();
        let mut tunables = self.tunables.clone();
        let mut word = operators_word(&tunables.borrow());
        let mut next = written + interval;
        loop {
            let last = tokio::select! {
                () = tokio::time::sleep_until(next) => false,
                () = cancel.cancelled() => true,
                Ok(()) = tunables.changed() => {
                    let now = operators_word(&tunables.borrow_and_update());
                    if std::mem::replace(&mut word, now) == now {
                        continue;
                    }
                    false
                }
            };
            next = tokio::time::Instant::now() + interval;
            match self.write_patiently(&mut session).await {
                Ok(()) => written = tokio::time::Instant::now(),
                Err(failure) if last || written.elapsed() >= STALE_MAX => return Err(failure),
                Err(failure)
                    if failure.is_disconnected()
                        || failure.is_transient()
                        || is_read_only(&failure) =>
                {
                    tracing::warn!(
                        event = "checkpoint_late",
                        "checkpoint not written: {failure}"
                    );
                }
                Err(failure) => return Err(failure),
            }
            if last {
                return Ok(());
            }
        }
    }

    /// Opens the session again if it was lost, as long as patience lasts.
    async fn write_patiently(&self, session: &mut Option<Session>) -> Result<()> {
        let start = tokio::time::Instant::now();
        loop {
            let attempt = async {
                let open = match session.take() {
                    Some(open) => open,
                    None => self.server.session(Purpose::Monitor).await?,
                };
                let open = session.insert(open);
                self.write(open).await
            };
            let Err(failure) = attempt.await else {
                return Ok(());
            };
            if failure.is_disconnected() {
                *session = None;
            } else if !failure.is_transient() && !is_read_only(&failure) {
                return Err(failure);
            }
            if start.elapsed() >= PATIENCE {
                return Err(failure);
            }
            tracing::debug!(
                event = "checkpoint_retry",
                "checkpoint not written yet: {failure}"
            );
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}
