//! Reading keys from a query's answer, and showing them.

use std::fmt::Write;

use mysql_async::{Row, Value};

use super::bounds::Side;
use crate::failure::Result;
use crate::key::Key;
use crate::row::Cell;
use crate::schema::{KeyColumn, MigrationKey, key_cell_from_value, select_expression};

/// The expressions that give a key's values as [`read`] takes them.
pub fn select_list(key: &MigrationKey, side: Side) -> String {
    key.columns
        .iter()
        .map(|column| select_expression(&on_side(column, side)))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The key in a row of the binary protocol; its columns are the first of the row.
///
/// # Errors
/// A value that the column's type does not allow.
pub fn read(key: &MigrationKey, side: Side, row: &Row) -> Result<Key> {
    key.columns
        .iter()
        .enumerate()
        .map(|(index, column)| {
            let value = row.as_ref(index).cloned().unwrap_or(Value::NULL);
            key_cell_from_value(&on_side(column, side), value)
        })
        .collect::<Result<_>>()
        .map(Key)
}

/// A key column seen from one side: the functions of `schema` speak of the original's column.
fn on_side(column: &KeyColumn, side: Side) -> KeyColumn {
    match side {
        Side::Source => column.clone(),
        Side::Target => KeyColumn {
            source: column.target.clone(),
            ..column.clone()
        },
    }
}

/// A key for people: `id=5, name='x'`.
pub fn describe(key: &MigrationKey, value: &Key) -> String {
    let mut out = String::new();
    for (column, cell) in key.columns.iter().zip(&value.0) {
        if !out.is_empty() {
            out.push_str(", ");
        }
        // Writing to a String cannot fail.
        let _ = write!(out, "{}=", column.source.name);
        match cell {
            Cell::Bytes(bytes) if column.source.charset.is_some() => {
                let _ = write!(out, "'{}'", String::from_utf8_lossy(bytes));
            }
            other => column.write_literal(&mut out, other),
        }
    }
    out
}
