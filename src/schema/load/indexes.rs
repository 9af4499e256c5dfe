//! The indexes of a table.

use super::rows::{self, NamedRow};
use crate::failure::Result;
use crate::mysql::{Session, quote};
use crate::schema::table::{Index, IndexColumn, IndexKind, TableDefinition};

/// All indexes in the order of SHOW CREATE TABLE, which is that of their making within the server's
/// own order (primary, unique and not null, unique, the others).
///
/// # Errors
/// What the server answered.
pub async fn load(session: &mut Session, table: &TableDefinition) -> Result<Vec<Index>> {
    let sql = format!(
        "SELECT * FROM information_schema.STATISTICS WHERE {} ORDER BY INDEX_NAME, SEQ_IN_INDEX",
        rows::is_table("TABLE_SCHEMA", "TABLE_NAME", &table.name)
    );
    let rows = rows::select(session, &sql).await?;
    let mut indexes: Vec<Index> = Vec::new();
    for row in &rows {
        let name = row.text("INDEX_NAME").unwrap_or_default();
        match indexes.last_mut() {
            Some(index) if index.name == name => index.columns.push(part(row)),
            _ => indexes.push(Index {
                name,
                unique: row.number("NON_UNIQUE") == Some(0u8),
                kind: kind(row.text("INDEX_TYPE").as_deref()),
                visible: visible(row),
                columns: vec![part(row)],
            }),
        }
    }
    indexes.sort_by_key(|index| place(&table.create_statement, index));
    Ok(indexes)
}

fn kind(index_type: Option<&str>) -> IndexKind {
    match index_type {
        // InnoDB makes B-trees of USING HASH too and calls them so; MariaDB's HASH is the hidden hash
        // of a long UNIQUE and orders nothing.
        Some("BTREE") => IndexKind::Btree,
        Some("FULLTEXT") => IndexKind::Fulltext,
        Some("SPATIAL" | "RTREE") => IndexKind::Spatial,
        _ => IndexKind::Other,
    }
}

/// MySQL 8.0 has IS_VISIBLE, MariaDB 10.6 IGNORED, older ones neither.
fn visible(row: &NamedRow) -> bool {
    row.text("IS_VISIBLE").as_deref() != Some("NO") && row.text("IGNORED").as_deref() != Some("YES")
}

fn part(row: &NamedRow) -> IndexColumn {
    IndexColumn {
        column: row.text("COLUMN_NAME"),
        expression: row.text("EXPRESSION"),
        prefix: row.number("SUB_PART"),
        descending: row.text("COLLATION").as_deref() == Some("D"),
    }
}

/// The line of SHOW CREATE TABLE that defines the index. The server escapes line breaks in comments,
/// so that each definition is a line of its own.
fn place(create_statement: &str, index: &Index) -> usize {
    if index.is_primary() {
        return 0;
    }
    let wanted = format!("KEY {} ", quote::ident(&index.name));
    create_statement
        .lines()
        .position(|line| {
            line.trim_start()
                .split_once("KEY ")
                .is_some_and(|(before, _)| {
                    matches!(
                        before,
                        "" | "UNIQUE " | "FULLTEXT " | "SPATIAL " | "VECTOR "
                    ) && line.contains(&wanted)
                })
        })
        .unwrap_or(usize::MAX)
}
