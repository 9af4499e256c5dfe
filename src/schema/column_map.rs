//! Which column of the original goes into which column of the ghost.

use super::table::Column;

/// A column that both tables have, generated columns left out: values move from source to target.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnPair {
    /// The original's column.
    pub source: Column,
    /// The ghost's column.
    pub target: Column,
}

impl ColumnPair {
    /// Whether type, character set, collation and nullability are the same on both sides, so that a
    /// value goes over unchanged.
    pub fn unchanged(&self) -> bool {
        self.source.column_type == self.target.column_type
            && self.source.collation == self.target.collation
            && self.source.nullable == self.target.nullable
    }
}

/// The whole map.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ColumnMap {
    /// Columns that go over, in the ghost's order. The order of all column lists: of the copy, of
    /// replay, of verification, and of [`crate::change::After::values`].
    pub pairs: Vec<ColumnPair>,
    /// Columns of the original that have no place in the ghost.
    pub dropped: Vec<Column>,
    /// Columns of the ghost that the original does not feed (generated ones that are new among them).
    pub added: Vec<Column>,
}

impl ColumnMap {
    /// The source's column names in the map's order.
    pub fn source_names(&self) -> impl Iterator<Item = &str> {
        self.pairs.iter().map(|pair| pair.source.name.as_str())
    }

    /// The target's column names in the map's order.
    pub fn target_names(&self) -> impl Iterator<Item = &str> {
        self.pairs.iter().map(|pair| pair.target.name.as_str())
    }
}
