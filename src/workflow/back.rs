//! The way back of a finished run: what the history says of it, and the old table as a ghost.
//!
//! Going back is the same machine with the tables exchanged. The old table has everything up to the swap;
//! replay brings in what the table has had since, from the coordinates that were recorded under the lock,
//! through the reversed column map. Nothing is copied. Columns that the ALTER dropped keep the old row's
//! value where the row still exists.

use crate::alter::show_create;
use crate::binlog::{Continuation, continuation};
use crate::checkpoint::{self, Checkpoint, Stage, definition_identity};
use crate::coordinates::Coordinates;
use crate::cutover::{self, Ownership};
use crate::failure::{Failure, FailureKind, Result};
use crate::history::{self, Entry, Kind, State, WayBack};
use crate::mysql::error::ER_TABLE_EXISTS;
use crate::mysql::{ConnectOptions, Purpose, Server, Session};
use crate::names::{Names, TableName};
use crate::schema::{self, TableDefinition};
use crate::settings::{Triggers, WhichRun};

use super::prepare::{self, Prepared};
use super::run::Run;

/// Old tables of reverts that may be left of one table.
const OLD_NAMES_MAX: u32 = 99;

/// What is taken back.
#[derive(Clone, Debug)]
pub struct Back {
    /// The run.
    pub entry: Entry,
    /// Up to where the old table is in step.
    pub from: WayBack,
}

impl Back {
    /// What a person reads in place of an ALTER.
    pub fn statement(&self) -> String {
        format!(
            "{}{}: {}",
            history::REVERT,
            self.entry.id,
            self.entry.statement
        )
    }
}

/// Finds the run to take back, and sets the names of the tables: its old table is the ghost.
///
/// # Errors
/// [`FailureKind::Refused`] if there is none, or none that can be taken back; what the server answered.
pub async fn find(
    server: &Server,
    names: &mut Names,
    which: &WhichRun,
    stamped: bool,
) -> Result<Back> {
    let mut session = server.session(Purpose::Monitor).await?;
    let original = names.original.clone();
    let runs = history::read(&mut session, &original.schema, Some(&original.table)).await?;
    let under_way = match checkpoint::is_ours(&mut session, &names.checkpoint).await? {
        true => checkpoint::read(&mut session, &names.checkpoint).await?,
        false => None,
    };
    let interrupted = under_way
        .as_ref()
        .and_then(|found| Some((found.reverts?, found)));
    if let Some((id, found)) = interrupted {
        let entry = runs.into_iter().find(|run| run.id == id).ok_or_else(|| {
            refused(format!(
                "the interrupted revert is of run {id}, which is not in the history any more"
            ))
        })?;
        if which.id.is_some_and(|wanted| wanted != id) {
            return Err(refused(format!("a revert of run {id} was interrupted"))
                .remedy("go on with it, or give it up with --restart"));
        }
        names.ghost = original.sibling(&entry.old_table);
        names.old = original.sibling(&found.old_table);
        let from = WayBack {
            applied: found.applied.clone(),
            misfits: found.misfits.clone(),
        };
        return Ok(Back { entry, from });
    }
    let entry = choose(&mut session, &original, runs, which).await?;
    names.ghost = original.sibling(&entry.old_table);
    if !stamped {
        names.old = free_name(&mut session, names, entry.kind).await?;
    }
    session.close().await;
    let from = reached(&entry)?;
    Ok(Back { entry, from })
}

/// Up to where a run's old table is in step.
///
/// # Errors
/// [`FailureKind::Refused`]: the history does not say.
pub fn reached(entry: &Entry) -> Result<WayBack> {
    match (&entry.way_back, &entry.swap_coordinates) {
        (Some(way_back), _) => Ok(way_back.clone()),
        (None, Some(swap)) => Ok(WayBack {
            applied: swap.clone(),
            misfits: Vec::new(),
        }),
        (None, None) => Err(refused(format!(
            "the history does not say where in the binlog run {} has swapped",
            entry.id
        ))
        .remedy("write the reverse ALTER and run it as a migration")),
    }
}

fn refused(what: impl Into<String>) -> Failure {
    Failure::new(FailureKind::Refused, what)
}

/// The last run that has swapped; of what came before it, nothing can be taken back.
async fn choose(
    session: &mut Session,
    original: &TableName,
    runs: Vec<Entry>,
    which: &WhichRun,
) -> Result<Entry> {
    let mut last = None;
    for run in runs {
        let swapped = match run.state {
            State::Swapped => true,
            // It was killed, before or after.
            State::Swapping => schema::exists(session, &original.sibling(&run.old_table)).await?,
            // One before it can be taken back if it is asked for and the table is again as it left it.
            State::Altered if which.id.is_some_and(|id| id != run.id) => false,
            State::Altered => return Err(nothing_to_go_back_to(original, &run)),
            State::Running | State::Stopped | State::Failed => false,
        };
        if swapped {
            last = Some(run);
            break;
        }
    }
    let last = last.ok_or_else(|| {
        refused(format!(
            "the history of {} knows of no finished run of {original}",
            original.schema
        ))
        .remedy(
            "only runs of this program since it keeps a history can be taken back; `changeling history` \
             lists them",
        )
    })?;
    if which.id.is_some_and(|id| id != last.id) {
        return Err(refused(format!(
            "run {} of {original} has swapped since: only the last one can be taken back",
            last.id
        ))
        .remedy("take them back one after the other, the last first"));
    }
    if let Some(old) = &which.old_table
        && *old != last.old_table
    {
        return Err(refused(format!(
            "the last run of {original} left {} as its old table, not {old}",
            last.old_table
        )));
    }
    if !schema::exists(session, &original.sibling(&last.old_table)).await? {
        return Err(refused(format!(
            "the old table {}.{} of run {} is gone",
            original.schema, last.old_table, last.id
        ))
        .remedy("write the reverse ALTER and run it as a migration"));
    }
    Ok(last)
}

fn nothing_to_go_back_to(original: &TableName, run: &Entry) -> Failure {
    refused(format!(
        "the last run of {original}, run {} (`{}`), was {}: it copied nothing and left no old table to go \
         back to",
        run.id,
        run.statement,
        run.result.as_deref().unwrap_or("done by the server itself")
    ))
    .remedy(
        "write the reverse ALTER and run it as a migration; where a way back may be needed, migrate with \
         --native=never or --keep-revertible. A run before this one can be named by --run-id, if the table \
         is again as that has left it",
    )
}

/// What the table will be called that is taken out of use: a name that no earlier run has left.
///
/// # Errors
/// [`FailureKind::Refused`] if there is none; what the server answered.
pub async fn free_name(session: &mut Session, names: &Names, kind: Kind) -> Result<TableName> {
    let mut candidates = match kind {
        // What a revert took out of use is back; its name is free again, as a rule.
        Kind::Revert => vec![names.helper("del")],
        Kind::Migrate => Vec::new(),
    };
    candidates.push(names.helper("rev_del"));
    candidates.extend((2..=OLD_NAMES_MAX).map(|n| names.helper(&format!("rev{n}_del"))));
    for name in candidates {
        if name != names.ghost && !schema::exists(session, &name).await? {
            return Ok(name);
        }
    }
    Err(refused(format!(
        "{OLD_NAMES_MAX} old tables of reverts of {} are left",
        names.original
    ))
    .remedy("drop those that nobody needs: `changeling cleanup` lists them"))
}

/// What an earlier run has left beside its old table.
pub enum Left {
    /// Nothing.
    Nothing,
    /// The tables of a run that has come to its end, or never came to anything.
    Done,
    /// An interrupted revert.
    Interrupted(Box<Checkpoint>),
    /// A revert that died after its swap.
    Swapped(Box<Checkpoint>),
}

/// Looks for what an interrupted run has left. The advisory lock is held.
///
/// # Errors
/// [`FailureKind::Refused`] if a migration of the table was interrupted; what the server answered.
pub async fn left(run: &Run, session: &mut Session) -> Result<Left> {
    if !checkpoint::is_ours(session, &run.names.checkpoint).await? {
        return Ok(Left::Nothing);
    }
    let Some(found) = checkpoint::read(session, &run.names.checkpoint).await? else {
        return Ok(Left::Done);
    };
    if found.reverts.is_some() {
        return match cutover::settle(&run.server, &run.names).await? {
            Ownership::Original => Ok(Left::Interrupted(Box::new(found))),
            Ownership::Swapped => Ok(Left::Swapped(Box::new(found))),
            Ownership::Unknown(seen) => Err(refused(format!(
                "which table is in use cannot be told: {seen}"
            ))),
        };
    }
    let default = Names::new(
        &run.names.original,
        run.settings.helper_base.as_deref(),
        None,
    );
    let names = Names {
        old: run.names.original.sibling(&found.old_table),
        ..default
    };
    match cutover::settle(&run.server, &names).await? {
        // It died after its swap: what it has left is not needed any more.
        Ownership::Swapped => Ok(Left::Done),
        Ownership::Original | Ownership::Unknown(_) => Err(refused(format!(
            "a migration of {} was interrupted: `{}`",
            run.names.original, found.statement
        ))
        .remedy("finish it with the same command, or remove it with `changeling cleanup`, first")),
    }
}

/// The old table as a ghost that is complete but for changes.
///
/// # Errors
/// [`FailureKind::Refused`] where the tables are not as the run has left them, and if no key pairs their
/// rows, and if the binlog since then is gone.
pub async fn prepare(
    run: &Run,
    back: &Back,
    original: &TableDefinition,
    found: Option<Checkpoint>,
) -> Result<Prepared> {
    let mut session = run.server.session(Purpose::Ddl).await?;
    let ghost = schema::load(&mut session, &run.names.ghost)
        .await?
        .ok_or_else(|| refused(format!("the old table {} is gone", run.names.ghost)))?;
    let entry = &back.entry;
    as_left(original, &entry.new_definition, entry.id)?;
    as_left(&ghost, &entry.old_definition, entry.id)?;
    if !ghost.triggers.is_empty() {
        return Err(refused(format!(
            "the old table {} has triggers, which would fire while it is brought in step: {}",
            ghost.name,
            ghost.triggers.join(", ")
        ))
        .remedy("drop them; the triggers of the table are recreated by --triggers=recreate"));
    }
    let from: Coordinates = back.from.applied.parse().map_err(|_| {
        refused(format!(
            "the coordinates of run {} cannot be read: `{}`",
            entry.id, back.from.applied
        ))
    })?;
    let what = match continuation(&mut session, &from).await? {
        Continuation::Whole => None,
        Continuation::Purged(what) => Some(format!("{what} was purged")),
        Continuation::Elsewhere(what) => Some(format!("it has never had {what}")),
    };
    if let Some(what) = what {
        return Err(refused(format!(
            "the binlog since run {} has swapped is not on the server any more: {what}",
            entry.id
        ))
        .remedy(
            "the changes since then are gone: write the reverse ALTER and run it as a migration, which \
             loses no write either, but the values of dropped columns are in the old table only; keep \
             binlogs longer (binlog_expire_logs_seconds) or use --keep-revertible",
        ));
    }
    session.close().await;
    let ghost_complete = ghost.create_statement.clone();
    let ghost_identity = definition_identity(&ghost_complete);
    let resumed = found.unwrap_or_else(|| Checkpoint {
        version: checkpoint::VERSION,
        program: String::new(),
        statement: back.statement(),
        original: definition_identity(&original.create_statement),
        ghost: ghost_identity.clone(),
        ghost_complete: ghost_complete.clone(),
        old_table: run.names.old.table.clone(),
        stage: Stage::Complete,
        watermark: None,
        suspects: Vec::new(),
        applied: back.from.applied.clone(),
        deferred: Vec::new(),
        rows_copied: 0,
        postponed: run.tunables.borrow().postpone_cutover,
        released: run.tunables.borrow().cutover_released,
        binlog_server: None,
        rehearsal: false,
        started_micros: crate::change::now_micros(),
        server: None,
        key: None,
        settings: std::collections::BTreeMap::new(),
        repair: false,
        history: None,
        reverts: Some(entry.id),
        misfits: back.from.misfits.clone(),
        verified: None,
    });
    let mut prepared = prepare::connect_tables(
        original.clone(),
        ghost,
        entry.moves.reversed(),
        back.statement(),
        Some(resumed),
        run.settings.nullable_key,
    )?;
    prepared.ghost_complete = ghost_complete;
    prepared.ghost_identity = ghost_identity;
    Ok(prepared)
}

/// Says what becomes of the columns.
pub fn tell(prepared: &Prepared) {
    for line in columns(prepared) {
        tracing::info!(event = "way_back", "{line}");
    }
}

/// What becomes of columns that are not the same on both sides, in words.
pub fn columns(prepared: &Prepared) -> Vec<String> {
    let map = &prepared.map;
    let mut lines = Vec::new();
    for pair in map.pairs.iter().chain(&map.computed) {
        let (from, to) = (&pair.source, &pair.target);
        if from.name != to.name {
            lines.push(format!("column {} becomes {} again", from.name, to.name));
        }
        if from.column_type != to.column_type || from.collation != to.collation {
            lines.push(format!(
                "column {} becomes {} again, from {}: values that do not fit are listed before anything \
                 is swapped",
                to.name, to.column_type, from.column_type
            ));
        }
    }
    for column in &map.dropped {
        lines.push(format!("column {} goes, with its values", column.name));
    }
    for column in map.added.iter().filter(|column| column.generated.is_none()) {
        let otherwise = match (&column.default, schema::fill(column)) {
            _ if column.auto_increment() => "get the next number".to_string(),
            (Some(default), _) => format!("get its default, {default}"),
            (None, Some(value)) => {
                format!("get {value}, what the server gives where there is no default")
            }
            (None, None) => "get NULL".to_string(),
        };
        lines.push(format!(
            "column {} comes back: rows that were there before the swap and still are keep their value, \
             others {otherwise}",
            column.name
        ));
    }
    lines
}

/// What a revert would do, in lines; changes nothing.
///
/// # Errors
/// [`FailureKind::Refused`] with what stands against it; what the server answered.
pub async fn plan(run: &Run) -> Result<Vec<String>> {
    let Some(back) = &run.back else {
        return Err(refused("no way back is planned"));
    };
    let mut session = run.server.session(Purpose::Ddl).await?;
    if let Left::Swapped(_) = left(run, &mut session).await? {
        return Err(refused("the interrupted revert has swapped the tables")
            .remedy("start it again without --dry-run to finish it"));
    }
    let report = crate::preflight::inspect(
        &mut session,
        &run.names,
        None,
        &crate::preflight::Requirements {
            resumable: true,
            recreate_triggers: run.settings.triggers == Triggers::Recreate,
            replicas_given: !run.settings.throttle.replicas.is_empty(),
            ..Default::default()
        },
    )
    .await?;
    session.close().await;
    let original = report.approve()?;
    let prepared = prepare(run, back, &original, None).await?;
    let entry = &back.entry;
    let mut lines = vec![
        format!(
            "run {} of {}, `{}`, is taken back",
            entry.id, run.names.original, entry.statement
        ),
        format!(
            "{} takes the place of {} again, which becomes {}",
            run.names.ghost, run.names.original, run.names.old
        ),
        format!(
            "writes since are replayed from {}, which the server's binlog still has",
            back.from.applied
        ),
        format!("rows are told by the key {}", prepared.key.source_index),
    ];
    lines.extend(columns(&prepared));
    Ok(lines)
}

/// The last run of a table, in words, if it is a revert that has swapped.
///
/// # Errors
/// What the server answered.
pub async fn last_run(connect: ConnectOptions, original: &TableName) -> Result<Option<String>> {
    let server = Server::connect(connect).await?;
    let mut session = server.session(Purpose::Monitor).await?;
    let runs = history::read(&mut session, &original.schema, Some(&original.table)).await?;
    session.close().await;
    Ok(runs
        .into_iter()
        .next()
        .filter(|run| run.kind == Kind::Revert && run.state == State::Swapped)
        .map(|run| {
            format!(
                "changeling {}: {original}: reverted as run {}; what was taken out of use is kept as {}",
                run.program, run.id, run.old_table
            )
        }))
}

/// The helper tables of a way back.
///
/// # Errors
/// What the server answered.
pub async fn create_helpers(run: &Run) -> Result<()> {
    let mut session = run.server.session(Purpose::Ddl).await?;
    // A run that has just swapped leaves them to its way back.
    let made = [
        checkpoint::create(&mut session, &run.names.checkpoint).await,
        crate::changelog::create(&mut session, &run.names.changelog).await,
    ];
    for result in made {
        match result {
            Err(failure) if failure.code() != Some(ER_TABLE_EXISTS) => return Err(failure),
            _ => {}
        }
    }
    session.close().await;
    Ok(())
}

fn as_left(table: &TableDefinition, recorded: &str, id: u64) -> Result<()> {
    let now = show_create::comparable_renamed(&table.create_statement);
    if now == show_create::comparable_renamed(recorded) {
        return Ok(());
    }
    Err(refused(format!(
        "the definition of {} is not as run {id} has left it: it is\n{}\nand was\n{recorded}",
        table.name, table.create_statement
    ))
    .remedy("take back what was done to the table since, or write the reverse ALTER and run it as a migration"))
}
