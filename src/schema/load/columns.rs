//! The columns of a table.

use super::rows::{self, NamedRow};
use crate::failure::Result;
use crate::mysql::Session;
use crate::names::TableName;
use crate::schema::table::{Column, Generated};

/// All columns in their order, invisible ones too.
///
/// # Errors
/// What the server answered.
pub async fn load(session: &mut Session, name: &TableName) -> Result<Vec<Column>> {
    let sql = format!(
        "SELECT * FROM information_schema.COLUMNS WHERE {} ORDER BY ORDINAL_POSITION",
        rows::is_table("TABLE_SCHEMA", "TABLE_NAME", name)
    );
    let rows = rows::select(session, &sql).await?;
    Ok(rows.iter().enumerate().map(column).collect())
}

fn column((position, row): (usize, &NamedRow)) -> Column {
    let data_type = row
        .text("DATA_TYPE")
        .unwrap_or_default()
        .to_ascii_lowercase();
    let extra = row.text("EXTRA").unwrap_or_default().to_ascii_lowercase();
    let decimal = (data_type == "decimal")
        .then(|| {
            Some((
                row.number("NUMERIC_PRECISION")?,
                row.number("NUMERIC_SCALE")?,
            ))
        })
        .flatten();
    let generated = generated(&extra);
    Column {
        name: row.text("COLUMN_NAME").unwrap_or_default(),
        position,
        column_type: row.text("COLUMN_TYPE").unwrap_or_default(),
        nullable: row.text("IS_NULLABLE").as_deref() != Some("NO"),
        charset: row.text("CHARACTER_SET_NAME"),
        collation: row.text("COLLATION_NAME"),
        octet_length: row.number("CHARACTER_OCTET_LENGTH"),
        fraction_digits: row.number("DATETIME_PRECISION").unwrap_or(0),
        decimal,
        default: row.text("COLUMN_DEFAULT"),
        generated,
        generation_expression: generated
            .and_then(|_| row.text("GENERATION_EXPRESSION"))
            .filter(|expression| !expression.is_empty()),
        invisible: extra.contains("invisible"),
        comment: row.text("COLUMN_COMMENT").unwrap_or_default(),
        data_type,
        extra,
    }
}

/// `EXTRA` says `virtual generated` or `stored generated`; MariaDB before 10.2 said `virtual` and
/// `persistent`. (MySQL's `default_generated` is a default that is an expression.)
fn generated(extra: &str) -> Option<Generated> {
    if extra.contains("stored generated") || extra == "persistent" {
        Some(Generated::Stored)
    } else if extra.contains("virtual generated") || extra == "virtual" {
        Some(Generated::Virtual)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_columns_are_told_from_defaults() {
        assert_eq!(
            generated("default_generated on update current_timestamp"),
            None
        );
        assert_eq!(generated("stored generated"), Some(Generated::Stored));
        assert_eq!(
            generated("virtual generated invisible"),
            Some(Generated::Virtual)
        );
        assert_eq!(generated(""), None);
    }
}
