//! The ghost table: an empty copy of the original with the ALTER applied to it.

use super::clauses::ClauseKind;
use super::statement::AlterStatement;
use super::{copy_table, deferred, show_create};
use crate::failure::{Context, Failure, Result};
use crate::mysql::Session;
use crate::mysql::quote::{self, OWN_DDL};
use crate::names::{Names, TableName};
use crate::schema::{self, TableDefinition};

/// When the indexes that nothing needs during the copy are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexTiming {
    /// With the table.
    WithTable,
    /// After the copy, by [`deferred::build`].
    AfterCopy,
}

/// A ghost that is ready for rows.
#[derive(Clone, Debug)]
pub struct GhostBuilt {
    /// The ghost as it is now, without the deferred indexes.
    pub definition: TableDefinition,
    /// SHOW CREATE TABLE of the ghost as it must be before the swap; see [`check_complete`].
    pub complete_create: String,
    /// What [`deferred::build`] adds later: `ADD …` clauses in the order of building.
    pub deferred: Vec<String>,
}

/// Creates the ghost. The session is a `Ddl` one; no table of the ghost's name may exist.
///
/// # Errors
/// What the server answered; Refused for an ALTER that must not be run on a copy. A ghost that could
/// not be finished is dropped again, unless the connection was lost.
pub async fn create(
    session: &mut Session,
    names: &Names,
    original: &TableDefinition,
    alter: &AlterStatement,
    timing: IndexTiming,
) -> Result<GhostBuilt> {
    copy_table::stays_within_table(alter)?;
    let built = fill(session, names, original, alter, timing).await;
    if let Err(failure) = &built
        && failure.code() != Some(crate::mysql::error::ER_TABLE_EXISTS)
        && !failure.is_disconnected()
    {
        let drop = format!(
            "{OWN_DDL}DROP TABLE IF EXISTS {}",
            quote::table(&names.ghost)
        );
        session.execute(&drop).await?;
    }
    built.doing(|| format!("make the ghost table {}", names.ghost))
}

async fn fill(
    session: &mut Session,
    names: &Names,
    original: &TableDefinition,
    alter: &AlterStatement,
    timing: IndexTiming,
) -> Result<GhostBuilt> {
    let ghost = &names.ghost;
    let written = copy_table::create(session, original, ghost, alter).await?;
    let sql = written
        .sql_for(ghost)
        .ok_or_else(copy_table::nothing_to_do)?;
    session.execute(&sql).await?;
    carry_auto_increment(session, &original.name, ghost, Some(alter)).await?;
    let mut definition = load(session, ghost).await?;
    let complete_create = definition.create_statement.clone();
    let mut clauses = Vec::new();
    if timing == IndexTiming::AfterCopy {
        let waiting = deferred::deferrable(&definition);
        clauses = deferred::clauses(&definition, &waiting)?;
        let drops: Vec<String> = waiting
            .iter()
            .map(|index| format!("DROP INDEX {}", quote::ident(&index.name)))
            .collect();
        if !drops.is_empty() {
            let sql = format!(
                "{OWN_DDL}ALTER TABLE {} {}",
                quote::table(ghost),
                drops.join(", ")
            );
            session.execute(&sql).await?;
            definition = load(session, ghost).await?;
        }
    }
    Ok(GhostBuilt {
        definition,
        complete_create,
        deferred: clauses,
    })
}

async fn load(session: &mut Session, ghost: &TableName) -> Result<TableDefinition> {
    schema::load(session, ghost)
        .await?
        .ok_or_else(|| Failure::failed(format!("{ghost} is gone")))
}

/// Gives the ghost the original's AUTO_INCREMENT counter, as a native ALTER would. Done once at the
/// beginning, and again shortly before the swap: the counter also counts rows that are gone since, which
/// never come to the ghost. Does nothing where there is an ALTER that sets a counter itself.
///
/// # Errors
/// What the server answered.
pub async fn carry_auto_increment(
    session: &mut Session,
    original: &TableName,
    ghost: &TableName,
    alter: Option<&AlterStatement>,
) -> Result<()> {
    let set_by_alter = |alter: &AlterStatement| {
        alter.kinds().any(|kind| {
            matches!(kind, ClauseKind::TableOptions(options)
            if options.iter().any(|(name, _)| name == "AUTO_INCREMENT"))
        })
    };
    if alter.is_some_and(set_by_alter) {
        return Ok(());
    }
    let Some(next) = auto_increment(session, original).await? else {
        return Ok(());
    };
    if auto_increment_column(session, ghost).await? {
        session
            .execute(&format!(
                "{OWN_DDL}ALTER TABLE {} AUTO_INCREMENT = {next}",
                quote::table(ghost)
            ))
            .await?;
    }
    Ok(())
}

/// Computes the table's statistics, so that the optimiser knows it from the first query after the swap.
///
/// # Errors
/// What the server answered: the statement's own error, or the one it reports as a row.
pub async fn analyze(session: &mut Session, table: &TableName) -> Result<()> {
    let rows: Vec<(String, String, String, String)> = session
        .query(&format!("ANALYZE TABLE {}", quote::table(table)))
        .await
        .doing(|| format!("analyze {table}"))?;
    match rows
        .into_iter()
        .find(|(_, _, kind, _)| kind.eq_ignore_ascii_case("error"))
    {
        Some((_, _, _, text)) => Err(Failure::failed(text).doing(format!("analyze {table}"))),
        None => Ok(()),
    }
}

async fn auto_increment(session: &mut Session, table: &TableName) -> Result<Option<u64>> {
    session.want_fresh_statistics().await?;
    let found: Option<Option<u64>> = session
        .first(&format!(
            "SELECT AUTO_INCREMENT FROM information_schema.TABLES \
             WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}",
            quote::string(&table.schema),
            quote::string(&table.table)
        ))
        .await?;
    Ok(found.flatten().filter(|next| *next > 1))
}

async fn auto_increment_column(session: &mut Session, table: &TableName) -> Result<bool> {
    let found: Option<u8> = session
        .first(&format!(
            "SELECT 1 FROM information_schema.COLUMNS \
             WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {} AND EXTRA LIKE '%auto_increment%'",
            quote::string(&table.schema),
            quote::string(&table.table)
        ))
        .await?;
    Ok(found.is_some())
}

/// Checks that the ghost is what the ALTER made it, deferred indexes built.
///
/// # Errors
/// Both definitions, if they differ.
pub async fn check_complete(
    session: &mut Session,
    ghost: &TableName,
    complete_create: &str,
) -> Result<()> {
    let now = load(session, ghost).await?.create_statement;
    if show_create::comparable(&now) == show_create::comparable(complete_create) {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "{ghost} has another definition than the ALTER gave it: it is\n{now}\nand should be\n{complete_create}"
    ))
    .remedy("somebody or something altered the ghost table; begin anew with --restart"))
}
