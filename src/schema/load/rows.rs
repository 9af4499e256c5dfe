//! Rows of information_schema whose columns are found by name: versions have more or fewer of them.

use mysql_async::{Row, Value};

use crate::failure::Result;
use crate::mysql::{Session, quote};
use crate::names::TableName;

/// One row.
pub struct NamedRow(Row);

impl NamedRow {
    /// A value as text; `None` for NULL and for a column that the server does not have.
    pub fn text(&self, column: &str) -> Option<String> {
        match self.value(column)? {
            Value::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            Value::Int(number) => Some(number.to_string()),
            Value::UInt(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// A value as a number, which the server may send as text.
    pub fn number<T: std::str::FromStr>(&self, column: &str) -> Option<T> {
        self.text(column)?.parse().ok()
    }

    fn value(&self, column: &str) -> Option<&Value> {
        let place = self
            .0
            .columns_ref()
            .iter()
            .position(|known| known.name_str().eq_ignore_ascii_case(column))?;
        self.0.as_ref(place)
    }
}

/// Runs a query whose columns may differ by version.
///
/// # Errors
/// What the server answered.
pub async fn select(session: &mut Session, sql: &str) -> Result<Vec<NamedRow>> {
    let rows: Vec<Row> = session.query(sql).await?;
    Ok(rows.into_iter().map(NamedRow).collect())
}

/// The condition that two columns name this table.
pub fn is_table(schema_column: &str, table_column: &str, name: &TableName) -> String {
    format!(
        "{schema_column} = {} AND {table_column} = {}",
        quote::string(&name.schema),
        quote::string(&name.table)
    )
}
