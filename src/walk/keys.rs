//! Reading keys from a query's answer, and showing them.

use std::fmt::Write;

use mysql_async::{Row, Value};

use super::bounds::{Side, SidedKey, typed};
use crate::failure::Result;
use crate::key::Key;
use crate::row::Cell;
use crate::schema::{MigrationKey, key_cell_from_value, select_expression};

/// The expressions that give a key's values as [`read`] takes them.
pub fn select_list(key: &MigrationKey, side: Side) -> String {
    key.columns
        .iter()
        .map(|column| select_expression(&typed(column, side)))
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
            key_cell_from_value(&typed(column, side), value)
        })
        .collect::<Result<_>>()
        .map(Key)
}

/// A key of the original for people: `id=5, name='x'`.
pub fn describe(key: &MigrationKey, value: &Key) -> String {
    describe_sided(
        key,
        &SidedKey {
            types: Side::Source,
            key: value.clone(),
        },
    )
}

/// A key of either table for people, under the original's names.
pub fn describe_sided(key: &MigrationKey, value: &SidedKey) -> String {
    let mut out = String::new();
    for (column, cell) in key.columns.iter().zip(&value.key.0) {
        if !out.is_empty() {
            out.push_str(", ");
        }
        // Writing to a String cannot fail.
        let _ = write!(out, "{}=", column.source.name);
        let column = typed(column, value.types);
        match cell {
            Cell::Bytes(bytes) if column.source.charset.is_some() => {
                let _ = write!(out, "'{}'", String::from_utf8_lossy(bytes));
            }
            other => column.write_literal(&mut out, other),
        }
    }
    out
}
