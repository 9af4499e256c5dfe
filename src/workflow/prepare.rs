//! From an approved statement to a ghost with its map and key: anew, or as an interrupted run left them.

use std::sync::Arc;

use super::resume;
use super::run::Run;
use crate::alter::{AlterStatement, IndexTiming, ghost};
use crate::binlog;
use crate::checkpoint::{self, Checkpoint, definition_identity};
use crate::failure::{Failure, FailureKind, Result};
use crate::mysql::{Purpose, quote};
use crate::schema::{self, ColumnMap, ColumnMoves, MigrationKey, TableDefinition};

/// Both tables, and what connects them.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The original.
    pub original: Arc<TableDefinition>,
    /// The ghost, as it is now: indexes that come later are not in it.
    pub ghost: Arc<TableDefinition>,
    /// Which column goes where.
    pub map: Arc<ColumnMap>,
    /// What identifies a row.
    pub key: Arc<MigrationKey>,
    /// Indexes that are built after the copy, as clauses.
    pub deferred: Vec<String>,
    /// What an interrupted run left, if this one goes on from there.
    pub resumed: Option<Checkpoint>,
    /// The ALTER, as printed.
    pub statement: String,
    /// What it says of columns.
    pub moves: ColumnMoves,
    /// `definition_identity` of the ghost before deferred indexes.
    pub ghost_identity: String,
    /// SHOW CREATE TABLE of the ghost as it must be before the swap.
    pub ghost_complete: String,
}

impl Prepared {
    /// Whether the ghost has missed changes that no binlog has any more.
    pub fn missed_changes(&self) -> bool {
        self.resumed.as_ref().is_some_and(|found| found.repair)
    }
}

/// Creates the helper tables and the ghost.
///
/// # Errors
/// What the server answered; the run then removes what was created.
pub async fn fresh(
    run: &Run,
    original: &TableDefinition,
    alter: &AlterStatement,
    timing: IndexTiming,
) -> Result<Prepared> {
    let mut session = run.ddl_session().await?;
    // First of all: where it stands, the others are known to be ours, however this run ends.
    checkpoint::create(&mut session, &run.names.checkpoint).await?;
    crate::changelog::create(&mut session, &run.names.changelog).await?;
    let built = ghost::create(&mut session, &run.names, original, alter, timing).await?;
    // gh-ost's word for it; its row's age also tells throttle queries how long the run has been at work.
    let state = "GhostTableMigrated";
    crate::changelog::write_state(&mut session, &run.names.changelog, "state", state).await?;
    session.close().await;
    let identity = definition_identity(&built.definition.create_statement);
    let mut prepared = connect_tables(
        original.clone(),
        built.definition,
        moves_of(alter, run.settings.drop_renamed),
        alter.clauses_sql(),
        None,
        run.settings.nullable_key,
    )?;
    prepared.deferred = built.deferred;
    prepared.ghost_complete = built.complete_create;
    prepared.ghost_identity = identity;
    Ok(prepared)
}

/// Takes up the tables of an interrupted run, after proving that they are what its checkpoint says and that
/// no change since then is lost. Changes nothing.
///
/// # Errors
/// [`FailureKind::Refused`] with the difference said.
pub async fn resumed(
    run: &Run,
    original: &TableDefinition,
    alter: &AlterStatement,
    mut found: Checkpoint,
) -> Result<Prepared> {
    let mut session = run.server.session(Purpose::Monitor).await?;
    let ghost = schema::load::load(&mut session, &run.names.ghost)
        .await?
        .ok_or_else(|| {
            Failure::new(
                FailureKind::Refused,
                format!(
                    "the checkpoint is there, but the ghost table {} is not",
                    run.names.ghost
                ),
            )
            .remedy("begin anew with --restart")
        })?;
    resume::check(run, alter, original, &ghost, &found)?;
    let (start, missed) =
        resume::start(run, &mut session, &found, binlog::current_coordinates).await?;
    session.close().await;
    found.applied = start.to_string();
    found.repair = missed;
    let built = resume::is_built(&found, &ghost);
    let mut prepared = connect_tables(
        original.clone(),
        ghost,
        moves_of(alter, run.settings.drop_renamed),
        alter.clauses_sql(),
        Some(found.clone()),
        run.settings.nullable_key,
    )?;
    resume::check_key(&found, &prepared.key)?;
    if !built {
        prepared.deferred = found.deferred;
    }
    prepared.ghost_identity = found.ghost;
    prepared.ghost_complete = found.ghost_complete;
    Ok(prepared)
}

/// Looks for rows without a key, where the key's columns may be NULL. To be called when the stream is live:
/// later ones come through the binlog, where they end the run.
///
/// # Errors
/// Refused, if there is one; what the server answered.
pub async fn check_key_has_no_null(run: &Run, prepared: &Prepared) -> Result<()> {
    let key = &prepared.key;
    let conditions: Vec<String> = key
        .columns
        .iter()
        .filter(|column| column.source.nullable)
        .map(|column| format!("{} IS NULL", quote::ident(&column.source.name)))
        .collect();
    if conditions.is_empty() {
        return Ok(());
    }
    let original = &run.names.original;
    let mut session = run.server.session(Purpose::Monitor).await?;
    let found: Option<u8> = session
        .first(&format!(
            "SELECT 1 FROM {} WHERE {} LIMIT 1",
            quote::table(original),
            conditions.join(" OR ")
        ))
        .await?;
    session.close().await;
    match found {
        None => Ok(()),
        Some(_) => Err(Failure::new(
            FailureKind::Refused,
            format!(
                "{original} has rows with NULL in the key {}, which identifies them not",
                key.source_index
            ),
        )
        .remedy("give these rows values, or the table a NOT NULL unique key")),
    }
}

/// Which column goes where; a renamed one may count as dropped and added anew.
pub(super) fn moves_of(alter: &AlterStatement, drop_renamed: bool) -> ColumnMoves {
    let mut moves = alter.column_moves();
    if drop_renamed {
        for (old, new) in std::mem::take(&mut moves.renamed) {
            moves.dropped.push(old);
            moves.added.push(new);
        }
    }
    moves
}

/// Pairs the columns and rows of both tables.
///
/// # Errors
/// Columns that cannot be explained; [`FailureKind::Refused`] if no key identifies a row in both.
pub fn connect_tables(
    original: TableDefinition,
    ghost: TableDefinition,
    moves: ColumnMoves,
    statement: String,
    resumed: Option<Checkpoint>,
    nullable_key: bool,
) -> Result<Prepared> {
    let map = ColumnMap::build(&original, &ghost, &moves)?;
    let key =
        MigrationKey::choose_among(&original, &ghost, &map, nullable_key).map_err(|reasons| {
            Failure::new(
                FailureKind::Refused,
                format!(
                    "no key identifies a row in both tables: {}",
                    reasons.join("; ")
                ),
            )
            .remedy("keep, or first add, a NOT NULL unique key that both definitions have")
        })?;
    Ok(Prepared {
        statement,
        moves,
        ghost_identity: String::new(),
        ghost_complete: String::new(),
        deferred: Vec::new(),
        original: Arc::new(original),
        ghost: Arc::new(ghost),
        map: Arc::new(map),
        key: Arc::new(key),
        resumed,
    })
}
