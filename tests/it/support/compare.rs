//! Comparison of tables by the server that has them.

use super::client::Client;
use super::database::TestDb;
use super::server::TestServer;

/// Differences listed at most.
const LISTED: usize = 20;

/// Compares all columns of all rows of two tables, byte by byte, in both directions, repeated rows
/// counted. Tables are `schema.table`, unquoted. Gives one line per difference; none: they are equal.
/// Definitions are not compared, but the columns' names must be the same.
pub async fn compare_tables(server: &TestServer, a: (&str, &str), b: (&str, &str)) -> Vec<String> {
    let client = server.connect().await;
    // Times as they are stored, floats at full length.
    client.sql("SET SESSION time_zone = '+00:00'").await;
    let (columns_a, columns_b) = (columns(&client, a).await, columns(&client, b).await);
    let names = |columns: &[(String, String)]| -> Vec<String> {
        let mut names: Vec<String> = columns.iter().map(|c| c.0.to_lowercase()).collect();
        names.sort();
        names
    };
    assert!(!columns_a.is_empty(), "there is no table {a:?}");
    if names(&columns_a) != names(&columns_b) {
        return vec![format!(
            "columns of {a:?}: {columns_a:?}, of {b:?}: {columns_b:?}"
        )];
    }
    let text = row_text(&columns_a);
    let from = |table: (&str, &str)| format!("`{}`.`{}`", table.0, table.1);
    let sql = format!(
        "SELECT CAST(SUM(side) AS SIGNED), LEFT(MIN(line), 1000) FROM ( \
           SELECT 1 AS side, {text} AS line FROM {} UNION ALL SELECT -1, {text} FROM {} \
         ) AS both_sides GROUP BY SHA2(line, 256) HAVING SUM(side) <> 0 ORDER BY MIN(line) LIMIT {LISTED}",
        from(a),
        from(b)
    );
    let rows: Vec<(i64, String)> = client.rows(sql).await;
    client.close().await;
    rows.into_iter()
        .map(|(times, line)| {
            let (schema, table) = if times > 0 { a } else { b };
            format!(
                "{}× only in {schema}.{table}: {}",
                times.abs(),
                readable(&line)
            )
        })
        .collect()
}

/// Asserts that two tables of one database have the same rows.
///
/// # Panics
/// If not, with the rows that differ.
pub async fn assert_same_rows(db: &TestDb, a: &str, b: &str) {
    let differences = compare_tables(db.server, (&db.name, a), (&db.name, b)).await;
    assert!(
        differences.is_empty(),
        "{a} and {b} differ:\n{}",
        differences.join("\n")
    );
}

/// Name and type of each column.
async fn columns(client: &Client, table: (&str, &str)) -> Vec<(String, String)> {
    client
        .rows(format!(
            "SELECT COLUMN_NAME, LOWER(DATA_TYPE) FROM information_schema.COLUMNS \
             WHERE TABLE_SCHEMA = '{}' AND TABLE_NAME = '{}' ORDER BY ORDINAL_POSITION",
            table.0, table.1
        ))
        .await
}

/// An expression that is different whenever a value is: bytes in hex, NULL apart from empty, an ENUM's
/// number besides its label (the error value and an empty label look the same), a FLOAT as the DOUBLE it
/// is (its own text is cut to six digits).
fn row_text(columns: &[(String, String)]) -> String {
    let values: Vec<String> = columns
        .iter()
        .map(|(name, data_type)| {
            let column = format!("`{name}`");
            let hex = match data_type.as_str() {
                "enum" => format!("CONCAT(HEX(CAST({column} AS BINARY)), '/', {column} + 0)"),
                "float" => format!("HEX(CAST({column} + 0e0 AS BINARY))"),
                "bit" => format!("HEX({column} + 0)"),
                "geometry" | "point" | "linestring" | "polygon" | "multipoint"
                | "multilinestring" | "multipolygon" | "geometrycollection" | "geomcollection" => {
                    format!("CONCAT(HEX(ST_AsBinary({column})), '/', ST_SRID({column}))")
                }
                _ => format!("HEX(CAST({column} AS BINARY))"),
            };
            format!("IFNULL({hex}, '-')")
        })
        .collect();
    // The server's default separator would be a comma too; said, because the texts are split at it.
    format!("CONCAT_WS(',', {})", values.join(", "))
}

/// A row's text with the values that are printable decoded.
fn readable(line: &str) -> String {
    line.split(',')
        .map(|value| match value.split_once('/') {
            Some((label, rest)) => format!("{}/{rest}", decoded(label)),
            None => decoded(value),
        })
        .collect::<Vec<_>>()
        .join(", ")
}

fn decoded(hex: &str) -> String {
    if hex == "-" {
        return "NULL".to_string();
    }
    let bytes: Option<Vec<u8>> = (0..hex.len() / 2)
        .map(|at| u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok())
        .collect();
    match bytes.and_then(|bytes| String::from_utf8(bytes).ok()) {
        Some(text) if !text.chars().any(char::is_control) => format!("{text:?}"),
        _ => format!("0x{hex}"),
    }
}
