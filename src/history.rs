//! The history table: one row a run, in the schema of the table, for people and for the way back.
//!
//! A revert needs from it what nothing else keeps: where in the binlog the swap was, what the old table
//! is called, and which column came from which. The row is written when a run begins, when it is about to
//! swap (under the lock: a run that dies right after its swap can still be taken back) and when it ends.
//! A run that leaves the ALTER to the server has one too, for people.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::coordinates::Coordinates;
use crate::failure::{Context, Failure, FailureKind, Result};
use crate::mysql::error::ER_NO_SUCH_TABLE;
use crate::mysql::quote::{self, OWN_DDL};
use crate::mysql::{Session, error};
use crate::names::TableName;
use crate::schema::ColumnMoves;

/// The table's own name.
pub const TABLE: &str = "_changeling_history";
/// How the statement of a revert begins; no ALTER does.
pub const REVERT: &str = "revert run ";
/// What it is recognised by.
const TABLE_COMMENT: &str = "changeling history";

/// What kind of run it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An ALTER.
    Migrate,
    /// The way back of another run.
    Revert,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is at work, or was killed.
    Running,
    /// It was about to swap; the catalogue tells whether it has.
    Swapping,
    /// The table has its other definition.
    Swapped,
    /// The server has altered the table itself; there is no old table.
    Altered,
    /// It stopped and can be gone on with.
    Stopped,
    /// It ended without a swap.
    Failed,
}

impl Kind {
    /// As it stands in the table.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Migrate => "migrate",
            Kind::Revert => "revert",
        }
    }
}

impl State {
    const ALL: [State; 6] = [
        State::Running,
        State::Swapping,
        State::Swapped,
        State::Altered,
        State::Stopped,
        State::Failed,
    ];

    /// As it stands in the table.
    pub fn word(self) -> &'static str {
        match self {
            State::Running => "running",
            State::Swapping => "swapping",
            State::Swapped => "swapped",
            State::Altered => "altered",
            State::Stopped => "stopped",
            State::Failed => "failed",
        }
    }
}

/// Up to where the old table has the changes of the new one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WayBack {
    /// Everything up to here is in the old table …
    pub applied: String,
    /// … but for these rows, which do not fit it: hex of their keys' bytes.
    #[serde(default)]
    pub misfits: Vec<String>,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// Its number in the schema.
    pub id: u64,
    /// The table's own name.
    pub table: String,
    /// What it was.
    pub kind: Kind,
    /// How far it came.
    pub state: State,
    /// The ALTER; of a revert, what it reverts.
    pub statement: String,
    /// The server's account that ran it.
    pub account: String,
    /// The machine the program ran on.
    pub host: String,
    /// The program's version.
    pub program: String,
    /// When it began, UTC.
    pub started_at: String,
    /// When the table got its other definition, UTC.
    pub swapped_at: Option<String>,
    /// When it ended, UTC.
    pub ended_at: Option<String>,
    /// What came of it, in words.
    pub result: Option<String>,
    /// Rows copied.
    pub rows_copied: u64,
    /// Changes of the table that were replayed.
    pub changes: u64,
    /// Rows compared.
    pub rows_verified: u64,
    /// What the comparison came to, in words.
    pub verification: Option<String>,
    /// Where in the binlog it began.
    pub start_coordinates: String,
    /// Where in the binlog the swap was: all before is of the old table, all after of the new one.
    pub swap_coordinates: Option<String>,
    /// What the table that was replaced is called; empty where the server altered it itself.
    pub old_table: String,
    /// What the table that took its place was called; empty likewise.
    pub ghost_table: String,
    /// SHOW CREATE TABLE before.
    pub old_definition: String,
    /// SHOW CREATE TABLE after.
    pub new_definition: String,
    /// Columns renamed, dropped and added.
    pub moves: ColumnMoves,
    /// The run that this one took back.
    pub reverts: Option<u64>,
    /// How far the old table was kept in step after the swap.
    pub way_back: Option<WayBack>,
}

/// What is known of a run when it begins.
#[derive(Clone, Debug)]
pub struct Beginning {
    /// See [`Entry`], as the rest.
    pub table: String,
    /// What it is.
    pub kind: Kind,
    /// The ALTER.
    pub statement: String,
    /// The machine the program runs on.
    pub host: String,
    /// Where in the binlog it begins.
    pub start: Coordinates,
    /// What the original will be called.
    pub old_table: String,
    /// What takes its place.
    pub ghost_table: String,
    /// SHOW CREATE TABLE now.
    pub old_definition: String,
    /// SHOW CREATE TABLE after.
    pub new_definition: String,
    /// Which column goes where.
    pub moves: ColumnMoves,
    /// The run that it takes back.
    pub reverts: Option<u64>,
}

/// What a row is changed to; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// How far it has come.
    pub state: Option<State>,
    /// What came of it.
    pub result: Option<String>,
    /// Rows copied, changes replayed, rows compared.
    pub counts: Option<(u64, u64, u64)>,
    /// What the comparison came to.
    pub verification: Option<String>,
    /// Where the swap is.
    pub swap: Option<String>,
    /// What the old table is called.
    pub old_table: Option<String>,
    /// What the ghost table is called.
    pub ghost_table: Option<String>,
    /// The definition that the table gets.
    pub new_definition: Option<String>,
    /// How far the old table is in step.
    pub way_back: Option<WayBack>,
    /// Whether it swaps now.
    pub swaps_now: bool,
    /// Whether it ends now.
    pub ends_now: bool,
}

/// The history of the table's schema.
pub fn table_for(original: &TableName) -> TableName {
    original.sibling(TABLE)
}

/// Writes a run's first row, making the table if need be; returns its number.
///
/// # Errors
/// What the server answered.
pub async fn begin(session: &mut Session, table: &TableName, run: &Beginning) -> Result<u64> {
    create(session, table).await?;
    let moves = json(&run.moves)?;
    session
        .execute(&format!(
            "INSERT INTO {} (table_name, kind, state, statement, account, client_host, program, \
             started_at, start_coordinates, old_table, ghost_table, old_definition, new_definition, \
             column_moves, reverts) VALUES ({}, '{}', '{}', {}, CURRENT_USER(), {}, '{}', \
             UTC_TIMESTAMP(6), {}, {}, {}, {}, {}, {}, {})",
            quote::table(table),
            quote::string(&run.table),
            run.kind.word(),
            State::Running.word(),
            quote::string(&run.statement),
            quote::string(&run.host),
            env!("CARGO_PKG_VERSION"),
            quote::string(&run.start.to_string()),
            quote::string(&run.old_table),
            quote::string(&run.ghost_table),
            quote::string(&run.old_definition),
            quote::string(&run.new_definition),
            quote::string(&moves),
            run.reverts
                .map_or_else(|| "NULL".to_string(), |id| id.to_string()),
        ))
        .await
        .doing(|| format!("write the run into {table}"))?;
    session.one("SELECT LAST_INSERT_ID()").await
}

async fn create(session: &mut Session, table: &TableName) -> Result<()> {
    let text = "CHARACTER SET utf8mb4";
    let created = session
        .execute(&format!(
            "{OWN_DDL}CREATE TABLE IF NOT EXISTS {} (\
             id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, \
             table_name VARCHAR(64) {text} NOT NULL, \
             kind VARCHAR(16) {text} NOT NULL, \
             state VARCHAR(16) {text} NOT NULL, \
             statement LONGTEXT {text} NOT NULL, \
             account VARCHAR(288) {text} NOT NULL, \
             client_host VARCHAR(255) {text} NOT NULL, \
             program VARCHAR(64) {text} NOT NULL, \
             started_at DATETIME(6) NOT NULL, \
             swapped_at DATETIME(6) NULL, \
             ended_at DATETIME(6) NULL, \
             result LONGTEXT {text} NULL, \
             rows_copied BIGINT UNSIGNED NOT NULL DEFAULT 0, \
             changes BIGINT UNSIGNED NOT NULL DEFAULT 0, \
             rows_verified BIGINT UNSIGNED NOT NULL DEFAULT 0, \
             verification LONGTEXT {text} NULL, \
             start_coordinates LONGTEXT {text} NOT NULL, \
             swap_coordinates LONGTEXT {text} NULL, \
             old_table VARCHAR(64) {text} NOT NULL, \
             ghost_table VARCHAR(64) {text} NOT NULL, \
             old_definition LONGTEXT {text} NOT NULL, \
             new_definition LONGTEXT {text} NOT NULL, \
             column_moves LONGTEXT {text} NOT NULL, \
             reverts BIGINT UNSIGNED NULL, \
             way_back LONGTEXT {text} NULL, \
             KEY (table_name, id)) ENGINE=InnoDB COMMENT={}",
            quote::table(table),
            quote::text(TABLE_COMMENT)
        ))
        .await;
    match created {
        Ok(_) => Ok(()),
        // Two runs of one schema that begin together.
        Err(failure) if failure.code() == Some(error::ER_TABLE_EXISTS) => Ok(()),
        Err(failure) => Err(failure.doing(format!("make the history table {table}"))),
    }
}

/// Changes a run's row.
///
/// # Errors
/// What the server answered; a row that is gone.
pub async fn change(
    session: &mut Session,
    table: &TableName,
    id: u64,
    change: &Change,
) -> Result<()> {
    let mut set: Vec<String> = vec!["id = id".to_string()];
    if let Some(state) = change.state {
        set.push(format!("state = '{}'", state.word()));
    }
    let mut text = |column: &str, value: &Option<String>| {
        if let Some(value) = value {
            set.push(format!("{column} = {}", quote::string(value)));
        }
    };
    text("result", &change.result);
    text("verification", &change.verification);
    text("swap_coordinates", &change.swap);
    text("old_table", &change.old_table);
    text("ghost_table", &change.ghost_table);
    text("new_definition", &change.new_definition);
    text("way_back", &change.way_back.as_ref().map(json).transpose()?);
    if let Some((copied, changes, verified)) = change.counts {
        set.push(format!(
            "rows_copied = {copied}, changes = {changes}, rows_verified = {verified}"
        ));
    }
    if change.swaps_now {
        set.push("swapped_at = UTC_TIMESTAMP(6)".to_string());
    }
    if change.ends_now {
        set.push("ended_at = UTC_TIMESTAMP(6)".to_string());
    }
    session
        .execute(&format!(
            "UPDATE {} SET {} WHERE id = {id}",
            quote::table(table),
            set.join(", ")
        ))
        .await
        .map(drop)
        .doing(|| format!("write run {id} into {table}"))
}

/// The runs of a schema, or of one table in it, the newest first; none if there is no history.
///
/// # Errors
/// What the server answered; a row that cannot be read.
pub async fn read(session: &mut Session, schema: &str, table: Option<&str>) -> Result<Vec<Entry>> {
    let history = TableName::new(schema, TABLE);
    let filter = match table {
        Some(table) => format!("WHERE table_name = {}", quote::string(table)),
        None => String::new(),
    };
    let rows = session
        .query::<mysql_async::Row>(&format!(
            "SELECT id, table_name, kind, state, statement, account, client_host, program, \
             CAST(started_at AS CHAR) AS started_at, CAST(swapped_at AS CHAR) AS swapped_at, \
             CAST(ended_at AS CHAR) AS ended_at, result, rows_copied, changes, rows_verified, \
             verification, start_coordinates, swap_coordinates, old_table, ghost_table, \
             old_definition, new_definition, column_moves, reverts, way_back \
             FROM {} {filter} ORDER BY id DESC",
            quote::table(&history)
        ))
        .await;
    match rows {
        Ok(rows) => rows
            .into_iter()
            .map(|row| entry(row).doing(|| format!("read {history}")))
            .collect(),
        Err(failure) if failure.code() == Some(ER_NO_SUCH_TABLE) => Ok(Vec::new()),
        Err(failure) => Err(failure.doing(format!("read {history}"))),
    }
}

/// How long ago a run has swapped, by the server's clock.
///
/// # Errors
/// What the server answered.
pub async fn swapped_for(session: &mut Session, original: &TableName, id: u64) -> Result<Duration> {
    let table = table_for(original);
    let micros: Option<Option<i64>> = session
        .first(&format!(
            "SELECT TIMESTAMPDIFF(MICROSECOND, swapped_at, UTC_TIMESTAMP(6)) FROM {} WHERE id = {id}",
            quote::table(&table)
        ))
        .await
        .doing(|| format!("read {table}"))?;
    let micros = micros.flatten().unwrap_or(0);
    Ok(Duration::from_micros(u64::try_from(micros).unwrap_or(0)))
}

/// Schemas that have a history.
///
/// # Errors
/// What the server answered.
pub async fn schemas(session: &mut Session) -> Result<Vec<String>> {
    session
        .query(&format!(
            "SELECT TABLE_SCHEMA FROM information_schema.TABLES WHERE TABLE_NAME = {} \
             ORDER BY TABLE_SCHEMA",
            quote::string(TABLE)
        ))
        .await
        .doing(|| "look for histories")
}

/// Removes runs that ended longer ago than `days`; returns how many.
///
/// # Errors
/// What the server answered.
pub async fn prune(session: &mut Session, schema: &str, days: u32) -> Result<u64> {
    let history = TableName::new(schema, TABLE);
    session
        .execute(&format!(
            "DELETE FROM {} WHERE ended_at < UTC_TIMESTAMP(6) - INTERVAL {days} DAY",
            quote::table(&history)
        ))
        .await
        .map(|outcome| outcome.affected)
        .doing(|| format!("prune {history}"))
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| Failure::failed(format!("the history has no JSON form: {error}")))
}

fn entry(mut row: mysql_async::Row) -> Result<Entry> {
    fn text(row: &mut mysql_async::Row, column: &str) -> Option<String> {
        row.take::<Option<String>, _>(column).flatten()
    }
    fn number(row: &mut mysql_async::Row, column: &str) -> Option<u64> {
        row.take::<Option<u64>, _>(column).flatten()
    }
    let kind = text(&mut row, "kind").unwrap_or_default();
    let state = text(&mut row, "state").unwrap_or_default();
    let moves = text(&mut row, "column_moves").unwrap_or_default();
    let way_back = text(&mut row, "way_back");
    Ok(Entry {
        id: number(&mut row, "id").ok_or_else(|| unreadable("a run without a number"))?,
        table: text(&mut row, "table_name").unwrap_or_default(),
        kind: [Kind::Migrate, Kind::Revert]
            .into_iter()
            .find(|one| one.word() == kind)
            .ok_or_else(|| unreadable(&format!("a run of kind `{kind}`")))?,
        state: State::ALL
            .into_iter()
            .find(|one| one.word() == state)
            .ok_or_else(|| unreadable(&format!("a run in state `{state}`")))?,
        statement: text(&mut row, "statement").unwrap_or_default(),
        account: text(&mut row, "account").unwrap_or_default(),
        host: text(&mut row, "client_host").unwrap_or_default(),
        program: text(&mut row, "program").unwrap_or_default(),
        started_at: text(&mut row, "started_at").unwrap_or_default(),
        swapped_at: text(&mut row, "swapped_at"),
        ended_at: text(&mut row, "ended_at"),
        result: text(&mut row, "result"),
        rows_copied: number(&mut row, "rows_copied").unwrap_or(0),
        changes: number(&mut row, "changes").unwrap_or(0),
        rows_verified: number(&mut row, "rows_verified").unwrap_or(0),
        verification: text(&mut row, "verification"),
        start_coordinates: text(&mut row, "start_coordinates").unwrap_or_default(),
        swap_coordinates: text(&mut row, "swap_coordinates"),
        old_table: text(&mut row, "old_table").unwrap_or_default(),
        ghost_table: text(&mut row, "ghost_table").unwrap_or_default(),
        old_definition: text(&mut row, "old_definition").unwrap_or_default(),
        new_definition: text(&mut row, "new_definition").unwrap_or_default(),
        moves: serde_json::from_str(&moves)
            .map_err(|error| unreadable(&format!("column moves: {error}")))?,
        reverts: number(&mut row, "reverts"),
        way_back: way_back
            .map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(|error| unreadable(&format!("a way back: {error}")))?,
    })
}

fn unreadable(what: &str) -> Failure {
    Failure::new(
        FailureKind::Refused,
        format!("the history holds {what}, which this program cannot read"),
    )
    .remedy("use the newer program that wrote it, or delete the row")
}
