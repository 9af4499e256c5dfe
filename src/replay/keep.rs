//! Rows of the ghost that have more than replay feeds: an old table's columns that the ALTER dropped.

use crate::mysql::quote;
use crate::schema::{Column, ColumnMap};

/// What stays in rows that are there, and what rows get that are not.
#[derive(Clone, Debug, PartialEq)]
pub struct Keep {
    /// The columns that stay.
    pub(super) columns: Vec<Kept>,
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
        };
        for column in map.added.iter().filter(|column| column.generated.is_none()) {
            let name = quote::ident(&column.name);
            keep.columns.push(Kept {
                form: form(column),
                name,
            });
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
