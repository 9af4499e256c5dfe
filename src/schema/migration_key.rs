//! The key that identifies a row in both tables.

use super::table::Column;
use crate::row::Cell;

/// What a key column holds: how its values are read, written and compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// Integers of all sizes, BIT, YEAR, ENUM and SET by number.
    Integer,
    /// DECIMAL.
    Decimal,
    /// DATE, DATETIME, TIME, TIMESTAMP.
    Temporal,
    /// BINARY, VARBINARY: compared as bytes. (BINARY is padded to its length with zero bytes.)
    Binary,
    /// CHAR, VARCHAR, TEXT: only the server can compare them.
    Text,
    /// Types that the program handles as opaque bytes and leaves to the server to compare
    /// (UUID and INET6 of MariaDB).
    Opaque,
}

/// One column of the migration key.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyColumn {
    /// The original's column.
    pub source: Column,
    /// The ghost's column of the same values.
    pub target: Column,
    /// Whether the original's index has it in descending order.
    pub descending: bool,
    /// What it holds.
    pub kind: KeyKind,
}

/// The NOT NULL unique key, with equal column sets in original and ghost, that identifies a row in both.
#[derive(Clone, Debug, PartialEq)]
pub struct MigrationKey {
    /// The index of the original that chunks go along.
    pub source_index: String,
    /// The index of the ghost with the same columns.
    pub target_index: String,
    /// Its columns in the order of the original's index.
    pub columns: Vec<KeyColumn>,
}

impl MigrationKey {
    /// The direction of each column in the original's index: `true` is descending.
    pub fn descending(&self) -> Vec<bool> {
        self.columns
            .iter()
            .map(|column| column.descending)
            .collect()
    }

    /// Whether keys can be compared in memory exactly as the server does: what the lock-free copy needs.
    pub fn comparable(&self) -> bool {
        self.columns.iter().all(|column| {
            matches!(
                column.kind,
                KeyKind::Integer | KeyKind::Decimal | KeyKind::Temporal | KeyKind::Binary
            )
        })
    }
}

impl KeyColumn {
    /// Writes a value of this column as a literal for comparing it with the *source* column (and with
    /// the target column, whose comparison is the same unless its character set changed: the literal
    /// is tagged with the source's character set, and the server converts).
    pub fn write_literal(&self, out: &mut String, cell: &Cell) {
        crate::mysql::quote::write_cell(out, cell, self.source.charset.as_deref());
    }
}
