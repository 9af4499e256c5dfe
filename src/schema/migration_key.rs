//! The key that identifies a row in both tables.

use super::column_map::ColumnMap;
use super::key_fit;
use super::table::{Column, Index, IndexKind, TableDefinition, same_name};
use crate::mysql::quote;
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
    /// (UUID, INET6 and INET4 of MariaDB). In a row image they stand like BINARY, trailing zero bytes cut.
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

impl KeyColumn {
    /// Whether a value stands for the same in both tables. (The bytes of a string in another character set may
    /// be those of another string.)
    fn reads_alike(&self) -> bool {
        let integers = ["tinyint", "smallint", "mediumint", "int", "bigint"];
        let is_integer = |column: &Column| integers.contains(&column.data_type.as_str());
        let (source, target) = (&self.source, &self.target);
        is_integer(source) && is_integer(target)
            || source.column_type == target.column_type && source.collation == target.collation
    }
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
    /// Whether a row of the ghost has the same key as that row of the original that it stands for, value by
    /// value.
    pub fn reads_alike(&self) -> bool {
        self.columns.iter().all(KeyColumn::reads_alike)
    }

    /// Chooses the key: PRIMARY if it can be, else the one with the fewest bytes.
    ///
    /// # Errors
    /// Where no key can be used: for each candidate why not, in words for the user; never empty.
    pub fn choose(
        original: &TableDefinition,
        ghost: &TableDefinition,
        map: &ColumnMap,
    ) -> std::result::Result<MigrationKey, Vec<String>> {
        MigrationKey::choose_among(original, ghost, map, false)
    }

    /// Chooses the key, among unique keys with columns that may be NULL too, if `nullable`: nobody may then
    /// have NULL in it, which is not looked at here.
    ///
    /// # Errors
    /// As [`MigrationKey::choose`].
    pub fn choose_among(
        original: &TableDefinition,
        ghost: &TableDefinition,
        map: &ColumnMap,
        nullable: bool,
    ) -> std::result::Result<MigrationKey, Vec<String>> {
        let mut reasons = Vec::new();
        let mut usable = Vec::new();
        for index in original.indexes.iter().filter(|index| index.unique) {
            match candidate(original, ghost, map, index, nullable) {
                Ok(key) => usable.push(key),
                Err(reason) => reasons.push(format!("{}: {reason}", describe(index))),
            }
        }
        if reasons.is_empty() {
            reasons.push("the table has neither a PRIMARY KEY nor a UNIQUE index".to_string());
        } else if !ghost.indexes.iter().any(|index| index.unique) {
            let none = "the new definition has neither a PRIMARY KEY nor a UNIQUE index";
            reasons.push(none.to_string());
        }
        usable
            .into_iter()
            .min_by_key(|key| (key.nullable(), key.source_index != "PRIMARY", key.bytes()))
            .ok_or(reasons)
    }

    /// Whether the ghost compares some column of the key by another collation than the original: two
    /// keys that differ in the original may then be one in the ghost, which is an error of the data.
    pub fn collation_changed(&self) -> bool {
        self.columns
            .iter()
            .any(|column| column.source.collation != column.target.collation)
    }

    /// Whether a column of the key may be NULL in the original or the ghost.
    pub fn nullable(&self) -> bool {
        self.columns
            .iter()
            .any(|column| column.source.nullable || column.target.nullable)
    }

    /// An upper bound of a key's bytes, to tell small keys from large.
    fn bytes(&self) -> u64 {
        self.columns
            .iter()
            .map(|column| column.source.octet_length.unwrap_or(8))
            .sum()
    }

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
        quote::write_cell(out, cell, self.source.charset.as_deref());
    }
}

fn candidate(
    original: &TableDefinition,
    ghost: &TableDefinition,
    map: &ColumnMap,
    index: &Index,
    nullable: bool,
) -> std::result::Result<MigrationKey, String> {
    plain_parts(index)?;
    if !index.visible {
        return Err("is invisible to the optimiser, so chunks cannot go along it".to_string());
    }
    let mut columns = Vec::new();
    for part in &index.columns {
        let name = part.column.as_deref().unwrap_or_default();
        let source = original
            .column(name)
            .ok_or_else(|| format!("column {name} is not among the table's columns"))?;
        if source.nullable && !nullable {
            return Err(format!("column {name} may be NULL"));
        }
        let target = &map
            .of_source(name)
            .ok_or_else(|| format!("column {name} is not in the new definition"))?
            .target;
        columns.push(KeyColumn {
            kind: key_fit::kind(source)?,
            source: source.clone(),
            target: target.clone(),
            descending: part.descending,
        });
        key_fit::identity_stays(source, target)?;
    }
    let target_index = counterpart(ghost, index, &columns, nullable)?;
    Ok(MigrationKey {
        source_index: index.name.clone(),
        target_index,
        columns,
    })
}

/// An index over whole columns that orders its rows.
fn plain_parts(index: &Index) -> std::result::Result<(), String> {
    if index.kind != IndexKind::Btree {
        return Err("is not a B-tree".to_string());
    }
    for part in &index.columns {
        match (&part.column, part.prefix) {
            (None, _) => return Err("has an expression as a part".to_string()),
            (Some(column), Some(length)) => {
                return Err(format!("has only the first {length} of column {column}"));
            }
            (Some(_), None) => {}
        }
    }
    Ok(())
}

/// The ghost's unique index over the same columns, in whatever order: PRIMARY if it is one, then the
/// one that has the order of the original's, then any.
fn counterpart(
    ghost: &TableDefinition,
    index: &Index,
    columns: &[KeyColumn],
    nullable: bool,
) -> std::result::Result<String, String> {
    if !nullable && let Some(column) = columns.iter().find(|column| column.target.nullable) {
        return Err(format!(
            "column {} may be NULL in the new definition",
            column.target.name
        ));
    }
    let place = |candidate: &Index| {
        let same_order = candidate
            .columns
            .iter()
            .zip(columns)
            .all(|(part, column)| is_part(part.column.as_deref(), column));
        (!candidate.is_primary(), !same_order)
    };
    ghost
        .indexes
        .iter()
        .filter(|candidate| {
            candidate.unique
                && candidate.visible
                && plain_parts(candidate).is_ok()
                && candidate.columns.len() == index.columns.len()
                && columns.iter().all(|column| {
                    candidate
                        .columns
                        .iter()
                        .any(|part| is_part(part.column.as_deref(), column))
                })
        })
        .min_by_key(|candidate| place(candidate))
        .map(|candidate| candidate.name.clone())
        .ok_or_else(|| "the new definition has no unique index over the same columns".to_string())
}

fn is_part(part: Option<&str>, column: &KeyColumn) -> bool {
    part.is_some_and(|name| same_name(name, &column.target.name))
}

/// `` PRIMARY (`a`, `b`) ``.
fn describe(index: &Index) -> String {
    let parts: Vec<String> = index
        .columns
        .iter()
        .map(|part| match (&part.column, &part.expression) {
            (Some(column), _) => quote::ident(column),
            (None, Some(expression)) => format!("({expression})"),
            (None, None) => "(expression)".to_string(),
        })
        .collect();
    format!("{} ({})", index.name, parts.join(", "))
}

#[cfg(test)]
#[path = "migration_key_tests.rs"]
mod tests;
