//! Table definitions as the server tells them, the map of columns from original to ghost, and the
//! migration key.

pub mod column_map;
pub mod fill;
pub mod key_cells;
pub mod key_fit;
pub mod load;
pub mod migration_key;
pub mod table;

pub use column_map::{ColumnMap, ColumnMoves, ColumnPair};
pub use fill::{Fill, fill};
pub use key_cells::{key_cell_from_value, select_expression};
pub use load::{comment, exists, load};
pub use migration_key::{KeyColumn, KeyKind, MigrationKey};
pub use table::{
    Column, ForeignKey, Generated, Index, IndexColumn, IndexKind, TableDefinition, TableKind,
};
