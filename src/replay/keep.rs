//! Rows of the ghost that have more than replay feeds: an old table's columns that the ALTER dropped.

use crate::mysql::quote;
use crate::schema::{Column, ColumnMap};

/// What stays in rows that are there, and what rows get that are not.
#[derive(Clone, Debug, PartialEq)]
pub struct Keep {
    /// The columns that stay.
    pub(super) columns: Vec<Kept>,
    /// `, a, b`: columns that must be given a value, having no default.
    pub(super) fill_columns: String,
    /// `, 0, ''`: the value.
    pub(super) fill_values: String,
}

/// A column that stays.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Kept {
    /// Quoted.
    pub(super) name: String,
    form: Form,
}

/// How a value goes through the program and back, exactly. (JSON excepted, whose numbers become what
/// their text says.)
#[derive(Clone, Debug, PartialEq)]
enum Form {
    /// By its bytes, in this character set; none is binary.
    Bytes(Option<String>),
    /// By number.
    Number,
    /// FLOAT is shown with six digits; as DOUBLE its text gives the value back.
    Float,
    /// By its text.
    Text,
}

impl Keep {
    /// Of the columns that the map does not feed.
    pub fn of(map: &ColumnMap) -> Keep {
        let mut keep = Keep {
            columns: Vec::new(),
            fill_columns: String::new(),
            fill_values: String::new(),
        };
        for column in map.added.iter().filter(|column| column.generated.is_none()) {
            let name = quote::ident(&column.name);
            keep.columns.push(Kept {
                form: form(column),
                name: name.clone(),
            });
            if let Some(value) = fill(column) {
                keep.fill_columns += &format!(", {name}");
                keep.fill_values += &format!(", {value}");
            }
        }
        keep
    }

    /// Whether any column stays.
    pub fn any(&self) -> bool {
        !self.columns.is_empty()
    }
}

impl Kept {
    pub(super) fn select(&self) -> String {
        let name = &self.name;
        match self.form {
            Form::Bytes(_) => format!("HEX({name})"),
            Form::Number => format!("CAST({name} + 0 AS CHAR)"),
            Form::Float => format!("CAST({name} * 1e0 AS CHAR)"),
            Form::Text => format!("CAST({name} AS CHAR)"),
        }
    }

    pub(super) fn literal(&self, selected: Option<&str>) -> String {
        let Some(text) = selected else {
            return "NULL".to_string();
        };
        match &self.form {
            Form::Bytes(Some(charset)) => format!("_{charset} x'{text}'"),
            Form::Bytes(None) => format!("x'{text}'"),
            Form::Number => text.to_string(),
            Form::Float | Form::Text => quote::string(text),
        }
    }
}

fn form(column: &Column) -> Form {
    match column.data_type.as_str() {
        "enum" | "set" | "bit" => Form::Number,
        "float" => Form::Float,
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "decimal" | "double" | "year"
        | "date" | "datetime" | "timestamp" | "time" | "json" | "uuid" | "inet6" | "inet4" => {
            Form::Text
        }
        _ => Form::Bytes(column.charset.clone()),
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
