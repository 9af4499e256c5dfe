//! What rows get in columns that are new, NOT NULL and without a default.

use super::{Column, ColumnMap};
use crate::mysql::quote;

/// Parts of the statements that put rows into the ghost; empty where no column needs it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fill {
    /// `, a, b`: columns that must be given a value, having no default.
    pub columns: String,
    /// `, 0, ''`: the values.
    pub values: String,
}

impl Fill {
    /// For the columns that the map does not feed.
    pub fn of(map: &ColumnMap) -> Fill {
        let mut filled = Fill::default();
        for column in &map.added {
            if let Some(value) = fill(column) {
                filled.columns += &format!(", {}", quote::ident(&column.name));
                filled.values += &format!(", {value}");
            }
        }
        filled
    }
}

/// What the server's own ADD COLUMN gives rows where a column is NOT NULL without a default (both
/// manuals, "Data Type Default Values"); `None` where the column needs nothing, or nothing is known.
pub fn fill(column: &Column) -> Option<&'static str> {
    if column.nullable
        || column.default.is_some()
        || column.generated.is_some()
        || column.auto_increment()
    {
        return None;
    }
    Some(match column.data_type.as_str() {
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "decimal" | "float"
        | "double" | "year" | "bit" => "0",
        "date" => "'0000-00-00'",
        "datetime" | "timestamp" => "'0000-00-00 00:00:00'",
        "time" => "'00:00:00'",
        "enum" => "1",
        "json" => "'null'",
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "binary"
        | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" | "set" => "''",
        _ => return None,
    })
}
