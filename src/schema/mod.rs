//! Table definitions as the server tells them, the map of columns from original to ghost, and the
//! migration key.

pub mod column_map;
pub mod migration_key;
pub mod table;

pub use column_map::{ColumnMap, ColumnPair};
pub use migration_key::{KeyColumn, KeyKind, MigrationKey};
pub use table::{Column, ForeignKey, Generated, Index, IndexColumn, IndexKind, TableDefinition};
