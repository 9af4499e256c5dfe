//! One table's definition, from information_schema.

use crate::names::TableName;

/// What the server has under a table's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TableKind {
    /// A table that holds rows.
    #[default]
    Table,
    /// A view.
    View,
    /// A system-versioned table of MariaDB: its primary key has a hidden part.
    SystemVersioned,
    /// Anything else: a sequence of MariaDB, a system view.
    Other,
}

/// Everything of a table that a migration must know.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableDefinition {
    /// Which table.
    pub name: TableName,
    /// Table, view or something else; only a table has the rest filled.
    pub kind: TableKind,
    /// Storage engine, as the server writes it (`InnoDB`).
    pub engine: String,
    /// Default collation of the table.
    pub collation: String,
    /// The next AUTO_INCREMENT value, if the table has one.
    pub auto_increment: Option<u64>,
    /// `TABLE_ROWS`: the server's estimate.
    pub rows_estimate: u64,
    /// Data and index bytes: the server's estimate.
    pub bytes_estimate: u64,
    /// Average bytes of a row: the server's estimate.
    pub row_bytes_estimate: u64,
    /// Whether it is partitioned.
    pub partitioned: bool,
    /// Columns in their order; hidden columns of functional indexes are not among them.
    pub columns: Vec<Column>,
    /// Indexes in the order of SHOW CREATE TABLE; the primary key, if any, first.
    pub indexes: Vec<Index>,
    /// Foreign keys that this table has (it is the child).
    pub foreign_keys: Vec<ForeignKey>,
    /// Foreign keys of other tables, of any schema, that point here.
    pub referenced_by: Vec<ForeignKey>,
    /// Names of its triggers.
    pub triggers: Vec<String>,
    /// The text of SHOW CREATE TABLE.
    pub create_statement: String,
}

/// One column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Column {
    /// Its name as the server has it.
    pub name: String,
    /// Place in the table, from 0: the place of its value in a row image.
    pub position: usize,
    /// `DATA_TYPE`, lower case, without length: `bigint`, `varchar`, `enum`, `uuid`.
    pub data_type: String,
    /// `COLUMN_TYPE` in full: `int unsigned`, `enum('a','b')`.
    pub column_type: String,
    /// Whether it may be NULL.
    pub nullable: bool,
    /// Character set of a character string; `None` for anything else (binary strings too).
    pub charset: Option<String>,
    /// Collation of a character string.
    pub collation: Option<String>,
    /// Octet length of strings and binaries as defined.
    pub octet_length: Option<u64>,
    /// Fractional digits of temporal types.
    pub fraction_digits: u8,
    /// Precision and scale of DECIMAL.
    pub decimal: Option<(u8, u8)>,
    /// `COLUMN_DEFAULT`, the server's text.
    pub default: Option<String>,
    /// `EXTRA`, lower case.
    pub extra: String,
    /// Whether it is computed from other columns.
    pub generated: Option<Generated>,
    /// The expression of a generated column, the server's text.
    pub generation_expression: Option<String>,
    /// Whether `SELECT *` leaves it out.
    pub invisible: bool,
    /// `COLUMN_COMMENT`.
    pub comment: String,
}

/// How a generated column is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generated {
    /// Computed when read.
    Virtual,
    /// Kept in the row.
    Stored,
}

impl Column {
    /// Whether it is an unsigned number.
    pub fn unsigned(&self) -> bool {
        self.column_type
            .to_ascii_lowercase()
            .split_whitespace()
            .any(|word| word == "unsigned")
    }

    /// Whether the server counts it up by itself.
    pub fn auto_increment(&self) -> bool {
        self.extra.contains("auto_increment")
    }

    /// The labels of an ENUM or SET, in order, unquoted; empty for other types.
    pub fn labels(&self) -> Vec<String> {
        match (self.data_type.as_str(), self.column_type.find('(')) {
            ("enum" | "set", Some(open)) => labels(&self.column_type[open + 1..]),
            _ => Vec::new(),
        }
    }
}

/// `'a','b''c')` → `a`, `b'c`. Whatever its `sql_mode`, the server doubles quotes and writes backslash,
/// newline, carriage return and NUL as `\\`, `\n`, `\r`, `\0` (seen on MySQL 9.7 and MariaDB 10.11).
fn labels(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\'' {
            continue;
        }
        let mut label = String::new();
        while let Some(c) = chars.next() {
            match c {
                '\'' if chars.peek() == Some(&'\'') => {
                    label.push('\'');
                    chars.next();
                }
                '\'' => break,
                '\\' => label.extend(chars.next().map(|escaped| match escaped {
                    'n' => '\n',
                    'r' => '\r',
                    '0' => '\0',
                    other => other,
                })),
                other => label.push(other),
            }
        }
        found.push(label);
    }
    found
}

/// What an index is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexKind {
    /// The usual.
    Btree,
    /// FULLTEXT.
    Fulltext,
    /// SPATIAL.
    Spatial,
    /// Anything else (VECTOR of MariaDB).
    Other,
}

/// One index.
#[derive(Clone, Debug, PartialEq)]
pub struct Index {
    /// `PRIMARY` or its own name.
    pub name: String,
    /// Whether its values are unique.
    pub unique: bool,
    /// What it is made of.
    pub kind: IndexKind,
    /// Whether the optimiser may use it.
    pub visible: bool,
    /// Its parts in order.
    pub columns: Vec<IndexColumn>,
}

impl Index {
    /// Whether it is the primary key.
    pub fn is_primary(&self) -> bool {
        self.name == "PRIMARY"
    }
}

/// One part of an index.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexColumn {
    /// The column; `None` for an expression.
    pub column: Option<String>,
    /// The expression of a functional part.
    pub expression: Option<String>,
    /// How many characters or bytes are indexed, if not all.
    pub prefix: Option<u64>,
    /// Whether the order is descending.
    pub descending: bool,
}

/// One foreign key.
#[derive(Clone, Debug, PartialEq)]
pub struct ForeignKey {
    /// Its constraint's name.
    pub name: String,
    /// The table that has it.
    pub child: TableName,
    /// The table it points to.
    pub parent: TableName,
    /// `ON DELETE`, as the server writes it.
    pub on_delete: String,
    /// `ON UPDATE`.
    pub on_update: String,
}

impl TableDefinition {
    /// A column by name; names are compared without regard to case, as the server does.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns
            .iter()
            .find(|column| same_name(&column.name, name))
    }

    /// An index by name.
    pub fn index(&self, name: &str) -> Option<&Index> {
        self.indexes
            .iter()
            .find(|index| same_name(&index.name, name))
    }
}

/// Whether two column or index names are one to the server.
pub fn same_name(a: &str, b: &str) -> bool {
    a == b || a.to_lowercase() == b.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_unquoted() {
        assert_eq!(
            labels(r"'a','b''c','d,e','','f\\g\n')"),
            ["a", "b'c", "d,e", "", "f\\g\n"]
        );
    }
}
