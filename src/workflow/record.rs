//! What a run writes into the history. A history that cannot be written stops no migration: it is said,
//! and the run goes on without a way back.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::ending::{Ending, OriginalTable};
use super::outcome::Done;
use super::prepare::{self, Prepared};
use super::run::Run;
use crate::alter::{AlterStatement, NativeWay};
use crate::binlog;
use crate::coordinates::Coordinates;
use crate::failure::{Failure, Result};
use crate::history::{self, Beginning, Change, Kind, State, WayBack};
use crate::mysql::{Purpose, Server, Session};
use crate::names::TableName;
use crate::observe::Verification;
use crate::schema::{self, ColumnMoves, TableDefinition};
use crate::settings::Extent;

/// How long the row may take that is written while the original is locked: it stands to be lost, with a
/// message, rather than the lock to be held for it.
const UNDER_LOCK: Duration = Duration::from_millis(150);
/// Elsewhere.
const LIMIT: Duration = Duration::from_secs(30);

/// The run's row.
pub struct Record {
    server: Server,
    table: TableName,
    id: Mutex<Option<u64>>,
    /// Everything before belongs to the original, everything after to the table that took its place.
    swap: Mutex<Option<Coordinates>>,
    /// The row of a run that begins only if it is asked to.
    later: Mutex<Option<Beginning>>,
    defers: bool,
    /// Open before the lock is asked for.
    ready: tokio::sync::Mutex<Option<Session>>,
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record")
            .field("table", &self.table)
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

impl Record {
    /// No row yet.
    pub fn new(server: Server, original: &TableName) -> Record {
        Record {
            server,
            table: history::table_for(original),
            id: Mutex::new(None),
            swap: Mutex::new(None),
            later: Mutex::new(None),
            defers: false,
            ready: tokio::sync::Mutex::new(None),
        }
    }

    /// No row before [`Record::begin_now`].
    pub fn deferred(server: Server, original: &TableName) -> Record {
        Record {
            defers: true,
            ..Record::new(server, original)
        }
    }

    /// The row's number, if there is one.
    pub fn id(&self) -> Option<u64> {
        *self.id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The row of an interrupted run, or of another that this one ends.
    pub fn take_up(&self, id: Option<u64>) {
        *self.id.lock().unwrap_or_else(PoisonError::into_inner) = id;
    }

    /// Begins a row, or goes on with the interrupted run's.
    pub async fn begin(&self, run: &Run, prepared: &Prepared, start: &Coordinates) {
        if !is_wanted(run) {
            return;
        }
        let known = prepared.resumed.as_ref().and_then(|found| found.history);
        if known.is_some() {
            self.take_up(known);
            self.write(Change {
                state: Some(State::Running),
                ..Change::default()
            })
            .await;
            return;
        }
        if self.id().is_some() {
            // The server's own way was tried before.
            self.write(Change {
                new_definition: Some(prepared.ghost_complete.clone()),
                ..Change::default()
            })
            .await;
            return;
        }
        *self.later() = Some(Beginning {
            statement: prepared.statement.clone(),
            new_definition: prepared.ghost_complete.clone(),
            ..beginning(run, &prepared.original, prepared.moves.clone(), start)
        });
        if !self.defers {
            self.begin_now().await;
        }
    }

    /// Begins a row before the server is asked to alter the table itself.
    pub async fn begin_native(
        &self,
        run: &Run,
        original: &TableDefinition,
        statement: &AlterStatement,
    ) {
        if !is_wanted(run) {
            return;
        }
        let start = async {
            let mut session = self.server.session(Purpose::Monitor).await?;
            let start = binlog::current_coordinates(&mut session).await?;
            session.close().await;
            Ok(start)
        };
        match start.await {
            Ok(start) => {
                let moves = prepare::moves_of(statement, run.settings.drop_renamed);
                *self.later() = Some(Beginning {
                    statement: statement.clauses_sql(),
                    ..beginning(run, original, moves, &start)
                });
                self.begin_now().await;
            }
            Err(failure) => self.unwritten(&failure),
        }
    }

    /// The server has altered the table itself; nothing is left to go back to.
    pub async fn altered(&self, way: NativeWay, original: &TableName) {
        if self.id().is_none() {
            return;
        }
        let definition = async {
            let mut session = self.server.session(Purpose::Monitor).await?;
            let now = schema::load(&mut session, original).await?;
            session.close().await;
            Ok(now.map(|table| table.create_statement))
        };
        let new_definition = match definition.await {
            Ok(definition) => definition,
            Err(failure) => return self.unwritten(&failure),
        };
        self.write(Change {
            state: Some(State::Altered),
            result: Some(format!("done, by the server itself: {way}")),
            new_definition,
            old_table: Some(String::new()),
            ghost_table: Some(String::new()),
            swaps_now: true,
            ends_now: true,
            ..Change::default()
        })
        .await;
    }

    fn later(&self) -> MutexGuard<'_, Option<Beginning>> {
        self.later.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the row that was put off.
    pub async fn begin_now(&self) {
        let beginning = self.later().take();
        let Some(beginning) = beginning else {
            return;
        };
        let begun = async {
            let mut session = self.server.session(Purpose::Monitor).await?;
            let id = history::begin(&mut session, &self.table, &beginning).await?;
            session.close().await;
            Ok(id)
        };
        match begun.await {
            Ok(id) => self.take_up(Some(id)),
            Err(failure) => self.unwritten(&failure),
        }
    }

    /// Opens the session that writes under the lock.
    pub async fn prepare_swap(&self) {
        if self.id().is_none() {
            return;
        }
        let mut slot = self.ready.lock().await;
        if slot.is_none() {
            match self.server.session(Purpose::Monitor).await {
                Ok(mut session) => {
                    session.set_limit(UNDER_LOCK);
                    *slot = Some(session);
                }
                Err(failure) => self.unwritten(&failure),
            }
        }
    }

    /// All is in the ghost, the original is locked, and the swap comes next: what comes after these
    /// coordinates is of the table that takes its place. `applied` is such a place; the server's own, now,
    /// is a better one: it also covers what replay itself has just written, whose events name the original
    /// with its former definition.
    pub async fn swapping(&self, applied: Coordinates) {
        let mut slot = self.ready.lock().await;
        let mut at = applied;
        if let Some(mut session) = slot.take() {
            match binlog::current_coordinates(&mut session).await {
                Ok(now) => {
                    at = now;
                    *slot = Some(session);
                }
                Err(failure) => tracing::warn!(event = "history_late", "{failure}"),
            }
        }
        let text = at.to_string();
        *self.swap.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
        let (Some(mut session), Some(id)) = (slot.take(), self.id()) else {
            return;
        };
        let change = Change {
            state: Some(State::Swapping),
            swap: Some(text),
            swaps_now: true,
            ..Change::default()
        };
        match history::change(&mut session, &self.table, id, &change).await {
            Ok(()) => *slot = Some(session),
            // It is written again after the swap.
            Err(failure) => tracing::warn!(event = "history_late", "{failure}"),
        }
    }

    /// The tables are swapped.
    pub async fn swapped(&self, old: &TableName) {
        let swap = self
            .swap
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .map(ToString::to_string);
        self.write(Change {
            state: Some(State::Swapped),
            swap,
            old_table: Some(old.table.clone()),
            ..Change::default()
        })
        .await;
    }

    /// The old table has the new one's changes up to here.
    pub async fn in_step(&self, id: u64, way_back: WayBack) {
        let change = Change {
            way_back: Some(way_back),
            ..Change::default()
        };
        if let Err(failure) = self.change(id, &change).await {
            self.unwritten(&failure);
        }
    }

    /// The run has ended.
    pub async fn end(&self, run: &Run, outcome: &std::result::Result<Done, (Failure, Ending)>) {
        let progress = &run.progress;
        let (state, result, verification) = match outcome {
            Ok(done) => (
                State::Swapped,
                "done".to_string(),
                done.verification.map(digest),
            ),
            Err((failure, ending)) => (
                match (ending.original, ending.resumable) {
                    (OriginalTable::Swapped, _) => State::Swapped,
                    (OriginalTable::Unknown, _) => State::Swapping,
                    (OriginalTable::Untouched, true) => State::Stopped,
                    (OriginalTable::Untouched, false) => State::Failed,
                },
                failure.to_string(),
                None,
            ),
        };
        self.write(Change {
            state: Some(state),
            result: Some(result),
            verification,
            counts: Some((
                progress.rows_copied.get(),
                progress.changes_applied.get(),
                progress.rows_verified.get(),
            )),
            ends_now: true,
            ..Change::default()
        })
        .await;
    }

    async fn write(&self, change: Change) {
        let Some(id) = self.id() else { return };
        if let Err(failure) = self.change(id, &change).await {
            self.unwritten(&failure);
        }
    }

    async fn change(&self, id: u64, change: &Change) -> Result<()> {
        let mut session = self.server.session(Purpose::Monitor).await?;
        session.set_limit(LIMIT);
        history::change(&mut session, &self.table, id, change).await?;
        session.close().await;
        Ok(())
    }

    fn unwritten(&self, failure: &Failure) {
        tracing::warn!(
            event = "history_unwritten",
            "the run's row in {} could not be written, without which it cannot be reverted: {failure}",
            self.table
        );
    }
}

/// A rehearsal leaves nothing.
fn is_wanted(run: &Run) -> bool {
    run.settings.extent == Extent::Migration && run.settings.history
}

/// What is known of every run. Until it has a ghost the new definition is the old one.
fn beginning(
    run: &Run,
    original: &TableDefinition,
    moves: ColumnMoves,
    start: &Coordinates,
) -> Beginning {
    let reverts = run.back.as_ref().map(|back| back.entry.id);
    Beginning {
        table: run.names.original.table.clone(),
        kind: match reverts {
            Some(_) => Kind::Revert,
            None => Kind::Migrate,
        },
        statement: String::new(),
        host: host(),
        start: start.clone(),
        old_table: run.names.old.table.clone(),
        ghost_table: run.names.ghost.table.clone(),
        old_definition: original.create_statement.clone(),
        new_definition: original.create_statement.clone(),
        moves,
        reverts,
    }
}

fn digest(verification: Verification) -> String {
    format!(
        "{} rows in {} chunks, {} rows compared again, {} differences",
        verification.rows, verification.chunks, verification.rechecked, verification.differences
    )
}

/// The name of the machine that we run on.
fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok())
        .map(|name| name.trim().to_string())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "unknown".to_string())
}
