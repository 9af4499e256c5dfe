//! Kinds of tables: how they are made, filled and written to.

use clap::ValueEnum;
use fastrand::Rng;
use mysql_async::Conn;

use crate::Result;
use crate::server::run;

/// A kind of table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    /// As sysbench makes it: an integer key, one secondary index, about 200 bytes a row
    OneIndex,
    /// An integer key, five secondary indexes
    FiveIndexes,
    /// Rows of about 8 KiB
    Wide,
    /// A key of two case-insensitive strings
    StringKey,
}

/// Rows that one statement inserts.
const BATCH: u64 = 50_000;

/// 119 hexadecimal digits that depend on `{n}`.
const DIGITS: &str = "LEFT(CONCAT(SHA2({n}, 256), SHA2(-{n}, 256)), 119)";

impl Shape {
    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Shape::OneIndex => "one index",
            Shape::FiveIndexes => "five indexes",
            Shape::Wide => "wide rows",
            Shape::StringKey => "string key",
        }
    }

    /// How many rows the bench gives it, as a share of those of the plain table.
    pub fn share_of_rows(self) -> f64 {
        match self {
            Shape::OneIndex => 1.0,
            Shape::FiveIndexes | Shape::StringKey => 0.5,
            Shape::Wide => 0.03,
        }
    }

    fn columns(self) -> &'static str {
        match self {
            Shape::OneIndex => {
                "id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, k INT NOT NULL DEFAULT 0, \
                 c CHAR(120) NOT NULL DEFAULT '', pad CHAR(60) NOT NULL DEFAULT '', KEY by_k (k)"
            }
            Shape::FiveIndexes => {
                "id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, k INT NOT NULL DEFAULT 0, \
                 c CHAR(120) NOT NULL DEFAULT '', a INT NOT NULL, b BIGINT NOT NULL, at DATETIME NOT NULL, \
                 name VARCHAR(40) NOT NULL, KEY by_k (k), KEY by_a (a), KEY by_b (b), KEY by_at (at, k), \
                 KEY by_name (name)"
            }
            Shape::Wide => {
                "id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, k INT NOT NULL DEFAULT 0, \
                 c CHAR(120) NOT NULL DEFAULT '', body MEDIUMBLOB NOT NULL, KEY by_k (k)"
            }
            Shape::StringKey => {
                "tenant VARCHAR(20) NOT NULL, code VARCHAR(40) NOT NULL, k INT NOT NULL DEFAULT 0, \
                 c CHAR(120) NOT NULL DEFAULT '', PRIMARY KEY (tenant, code), KEY by_k (k)"
            }
        }
    }

    /// Columns that are written, and a SELECT list that gives their values for row number `{n}`.
    fn values(self) -> (&'static str, String) {
        let digits = DIGITS;
        let (columns, values) = match self {
            Shape::OneIndex => (
                "id, k, c, pad",
                format!("{{n}}, {{n}} * 7919 % 1000003, {digits}, LEFT({digits}, 59)"),
            ),
            Shape::FiveIndexes => (
                "id, k, c, a, b, at, name",
                format!(
                    "{{n}}, {{n}} * 7919 % 1000003, {digits}, {{n}} * 31 % 65537, {{n}} * 104729 % 15485863, \
                     '2020-01-01' + INTERVAL {{n}} * 61 % 90000000 SECOND, CONCAT('name ', {{n}} * 7907 % 10007)"
                ),
            ),
            Shape::Wide => (
                "id, k, c, body",
                format!(
                    "{{n}}, {{n}} * 7919 % 1000003, {digits}, REPEAT({digits}, 60 + {{n}} % 20)"
                ),
            ),
            Shape::StringKey => (
                "tenant, code, k, c",
                format!("{}, {{n}} * 7919 % 1000003, {digits}", Self::STRING_KEY),
            ),
        };
        (columns, values)
    }

    /// Key of row `{n}`, in no order.
    const STRING_KEY: &'static str =
        "CONCAT('Tenant ', {n} % 50), CONCAT('Code ', {n} * 7919 % 1000003, '-', {n})";

    /// Creates the table, in place of one that is there, with rows 1 to `rows`.
    pub async fn fill(self, conn: &mut Conn, table: &str, rows: u64) -> Result<()> {
        run(conn, &format!("DROP TABLE IF EXISTS `{table}`")).await?;
        let columns = self.columns();
        run(
            conn,
            &format!("CREATE TABLE `{table}` ({columns}) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"),
        )
        .await?;
        run(conn, "DROP TEMPORARY TABLE IF EXISTS numbers").await?;
        run(conn, "CREATE TEMPORARY TABLE numbers (n INT PRIMARY KEY)").await?;
        let numbers: Vec<String> = (0..BATCH).map(|n| format!("({n})")).collect();
        run(
            conn,
            &format!("INSERT INTO numbers VALUES {}", numbers.join(",")),
        )
        .await?;
        let (columns, values) = self.values();
        for start in (1..=rows).step_by(BATCH as usize) {
            let values = values.replace("{n}", &format!("({start} + n)"));
            let limit = rows + 1 - start;
            run(
                conn,
                &format!(
                    "INSERT INTO `{table}` ({columns}) SELECT {values} FROM numbers WHERE n < {limit} ORDER BY n"
                ),
            )
            .await?;
        }
        run(conn, "DROP TEMPORARY TABLE numbers").await?;
        run(conn, &format!("ANALYZE TABLE `{table}`")).await
    }

    /// A condition that is true for one row.
    fn condition(self, n: u64) -> String {
        match self {
            Shape::StringKey => format!(
                "tenant = 'Tenant {}' AND code = 'Code {}-{n}'",
                n % 50,
                n * 7919 % 1_000_003
            ),
            _ => format!("id = {n}"),
        }
    }

    /// One random change of the table, the same for every table that has the same rows. `fresh` is a row
    /// number not used before.
    pub fn change(self, table: &str, rows: u64, fresh: u64, rng: &mut Rng) -> String {
        let row = self.condition(rng.u64(1..=rows));
        match rng.u8(..10) {
            0 => format!("DELETE FROM `{table}` WHERE {row}"),
            1 => {
                let (columns, values) = self.values();
                let values = values.replace("{n}", &fresh.to_string());
                format!("INSERT INTO `{table}` ({columns}) SELECT {values}")
            }
            2..=4 => {
                let text: String = (0..20).map(|_| rng.alphanumeric()).collect();
                format!("UPDATE `{table}` SET c = '{text}' WHERE {row}")
            }
            _ => format!(
                "UPDATE `{table}` SET k = {} WHERE {row}",
                rng.u32(..1_000_003)
            ),
        }
    }
}
