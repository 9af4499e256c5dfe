//! Comparison of two tables by the server.

use std::fmt;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::Result;

/// What a comparison found.
pub struct Comparison {
    a: (String, u64),
    b: (String, u64),
    /// Rows of `a` that `b` has, byte by byte.
    same: u64,
}

impl Comparison {
    /// No row is missing, too many or different.
    pub fn is_equal(&self) -> bool {
        self.a.1 == self.b.1 && self.a.1 == self.same
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Comparison { a, b, same } = self;
        if self.is_equal() {
            write!(f, "equal: {} and {}, {same} rows, byte by byte", a.0, b.0)
        } else {
            let ((a, a_rows), (b, b_rows)) = (a, b);
            write!(
                f,
                "DIFFERENT: {a} has {a_rows} rows, {b} {b_rows}, {same} of them the same"
            )
        }
    }
}

/// Compares all columns; the tables have the same columns and the same primary key.
pub async fn compare(conn: &mut Conn, database: &str, a: &str, b: &str) -> Result<Comparison> {
    let columns = async |conn: &mut Conn, table: &str| -> Result<Vec<(String, String)>> {
        Ok(conn
            .exec(
                "SELECT COLUMN_NAME, COLUMN_KEY FROM information_schema.COLUMNS \
                 WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION",
                (database, table),
            )
            .await?)
    };
    let all = columns(conn, a).await?;
    if all.is_empty() || all != columns(conn, b).await? {
        return Err(format!("{a} and {b} do not have the same columns").into());
    }
    let conditions: Vec<String> = all
        .iter()
        .map(|(name, key)| {
            if key == "PRI" {
                // The plain comparison finds the row by its key; the other one sees its spelling.
                format!("a.`{name}` = b.`{name}` AND CAST(a.`{name}` AS BINARY) = CAST(b.`{name}` AS BINARY)")
            } else {
                format!("CAST(a.`{name}` AS BINARY) <=> CAST(b.`{name}` AS BINARY)")
            }
        })
        .collect();
    let count = async |conn: &mut Conn, sql: String| -> Result<u64> {
        Ok(conn.query_first(sql).await?.unwrap_or(0))
    };
    let a_rows = count(conn, format!("SELECT COUNT(*) FROM `{a}`")).await?;
    let b_rows = count(conn, format!("SELECT COUNT(*) FROM `{b}`")).await?;
    let same = format!(
        "SELECT COUNT(*) FROM `{a}` AS a STRAIGHT_JOIN `{b}` AS b ON {}",
        conditions.join(" AND ")
    );
    Ok(Comparison {
        a: (a.to_string(), a_rows),
        b: (b.to_string(), b_rows),
        same: count(conn, same).await?,
    })
}
