//! Reads a table's definition from information_schema, of either family.
//!
//! Every query names schema and table as constants: the server then opens one table only. Columns that
//! a version lacks are asked for by reading whole rows and looking for the name.

mod columns;
mod foreign_keys;
mod indexes;
mod rows;

use rows::NamedRow;

use super::table::{TableDefinition, TableKind};
use crate::failure::{Context, Result};
use crate::mysql::Session;
use crate::mysql::quote;
use crate::names::TableName;

/// The table's definition as it is now, statistics fresh; `None` if nothing has that name. For a view
/// and other kinds that hold no rows only name, kind and the text of SHOW CREATE are filled.
///
/// # Errors
/// What the server answered.
pub async fn load(session: &mut Session, name: &TableName) -> Result<Option<TableDefinition>> {
    load_table(session, name)
        .await
        .doing(|| format!("read the definition of {name}"))
}

/// Whether a table or view has that name.
///
/// # Errors
/// What the server answered.
pub async fn exists(session: &mut Session, name: &TableName) -> Result<bool> {
    Ok(comment(session, name).await?.is_some())
}

/// The comment of a table or view, which tells whose it is; `None` if nothing has that name.
///
/// # Errors
/// What the server answered.
pub async fn comment(session: &mut Session, name: &TableName) -> Result<Option<String>> {
    session
        .first(&format!(
            "SELECT TABLE_COMMENT FROM information_schema.TABLES WHERE {}",
            rows::is_table("TABLE_SCHEMA", "TABLE_NAME", name)
        ))
        .await
        .doing(|| format!("look for {name}"))
}

async fn load_table(session: &mut Session, name: &TableName) -> Result<Option<TableDefinition>> {
    session.want_fresh_statistics().await?;
    let tables = rows::select(
        session,
        &format!(
            "SELECT * FROM information_schema.TABLES WHERE {}",
            rows::is_table("TABLE_SCHEMA", "TABLE_NAME", name)
        ),
    )
    .await?;
    let Some(row) = tables.into_iter().next() else {
        return Ok(None);
    };
    let mut table = describe(&row, name);
    table.create_statement = show_create(session, &table).await?;
    if !matches!(table.kind, TableKind::Table | TableKind::SystemVersioned) {
        return Ok(Some(table));
    }
    table.columns = columns::load(session, &table.name).await?;
    table.indexes = indexes::load(session, &table).await?;
    table.foreign_keys = foreign_keys::of_child(session, &table.name).await?;
    table.referenced_by = foreign_keys::of_parent(session, &table.name).await?;
    table.triggers = triggers(session, &table.name).await?;
    Ok(Some(table))
}

fn describe(row: &NamedRow, asked: &TableName) -> TableDefinition {
    let kind = match row.text("TABLE_TYPE").as_deref() {
        Some("BASE TABLE") => TableKind::Table,
        Some("VIEW") => TableKind::View,
        Some("SYSTEM VERSIONED") => TableKind::SystemVersioned,
        _ => TableKind::Other,
    };
    let options = row.text("CREATE_OPTIONS").unwrap_or_default();
    TableDefinition {
        name: TableName::new(
            row.text("TABLE_SCHEMA")
                .unwrap_or_else(|| asked.schema.clone()),
            row.text("TABLE_NAME")
                .unwrap_or_else(|| asked.table.clone()),
        ),
        kind,
        engine: row.text("ENGINE").unwrap_or_default(),
        collation: row.text("TABLE_COLLATION").unwrap_or_default(),
        auto_increment: row.number("AUTO_INCREMENT"),
        rows_estimate: row.number("TABLE_ROWS").unwrap_or(0),
        bytes_estimate: row.number("DATA_LENGTH").unwrap_or(0)
            + row.number("INDEX_LENGTH").unwrap_or(0),
        row_bytes_estimate: row.number("AVG_ROW_LENGTH").unwrap_or(0),
        partitioned: options
            .split_whitespace()
            .any(|option| option == "partitioned"),
        ..TableDefinition::default()
    }
}

/// The text of SHOW CREATE TABLE in the server's plain writing: no ANSI quotes, names always quoted.
async fn show_create(session: &mut Session, table: &TableDefinition) -> Result<String> {
    session
        .execute(
            "SET @changeling_sql_mode = @@SESSION.sql_mode, SESSION sql_mode = '', \
             SESSION sql_quote_show_create = 1",
        )
        .await?;
    let shown = rows::select(
        session,
        &format!("SHOW CREATE TABLE {}", quote::table(&table.name)),
    )
    .await;
    session
        .execute("SET SESSION sql_mode = @changeling_sql_mode")
        .await?;
    Ok(shown?
        .into_iter()
        .next()
        .and_then(|row| row.text("Create Table").or(row.text("Create View")))
        .unwrap_or_default())
}

async fn triggers(session: &mut Session, name: &TableName) -> Result<Vec<String>> {
    session
        .query(&format!(
            "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE {} \
             ORDER BY CAST(EVENT_MANIPULATION AS CHAR), CAST(ACTION_TIMING AS CHAR) DESC, ACTION_ORDER",
            rows::is_table("EVENT_OBJECT_SCHEMA", "EVENT_OBJECT_TABLE", name)
        ))
        .await
}
