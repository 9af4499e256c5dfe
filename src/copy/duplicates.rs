//! Rows that would be duplicates under a unique key of the new definition, found before they are copied.
//!
//! One GROUP BY for each unique key of the ghost that the original does not already guarantee, over the
//! values as the ghost will have them. It finds what would end the run in minutes instead of days; it is
//! no proof: a conversion that SQL cannot express is grouped by its source's value, and rows that come
//! later are not seen. The copy's warnings and verification stand behind it.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::failure::{Context, Evidence, Failure, FailureKind, Result};
use crate::mysql::cancel::finish_or_kill;
use crate::mysql::error::ER_DUP_ENTRY;
use crate::mysql::{Purpose, Server, Session, quote};
use crate::schema::table::same_name;
use crate::schema::{
    Column, ColumnMap, ColumnPair, Index, IndexColumn, KeyColumn, KeyKind, MigrationKey,
    TableDefinition,
};

/// A scan reads the whole table, and sorts it if no index has the order: a day is generous, and a limit.
const SCAN_LIMIT: Duration = Duration::from_secs(86_400);
/// How many groups of rows, and how many rows, are named.
const NAMED_MAX: usize = 20;

/// What a scan needs to know.
#[derive(Clone, Copy, Debug)]
pub struct DuplicateScan<'a> {
    /// The table with the rows.
    pub original: &'a TableDefinition,
    /// The table with the new unique keys.
    pub ghost: &'a TableDefinition,
    /// Which column goes where.
    pub map: &'a ColumnMap,
    /// What rows are named by.
    pub key: &'a MigrationKey,
}

/// Looks for duplicates under every unique key of the ghost that is stricter than those of the original;
/// the migration key is among them if its collation changed. Cancelled, it ends early without a verdict.
///
/// # Errors
/// [`FailureKind::DoesNotFit`] with the rows named by their keys; else what the server answered.
pub async fn scan_duplicates(
    server: &Server,
    scan: DuplicateScan<'_>,
    cancel: &CancellationToken,
) -> Result<()> {
    let indexes = scan.ghost.indexes.iter().filter(|index| index.unique);
    for index in indexes {
        if scan.guaranteed(index) || cancel.is_cancelled() {
            continue;
        }
        let Some(values) = scan.values(index) else {
            tracing::info!(
                event = "duplicate_scan_left_out",
                "unique key `{}` is not scanned for duplicates: its values cannot be told before they \
                 are in the ghost",
                index.name
            );
            continue;
        };
        let mut session = server.session(Purpose::Verify).await?;
        session.set_limit(SCAN_LIMIT);
        let id = session.id();
        let found = finish_or_kill(
            server,
            id,
            cancel,
            Duration::ZERO,
            scan.find(&mut session, &values),
        )
        .await;
        session.close().await;
        match found {
            Err(_) if cancel.is_cancelled() => return Ok(()),
            Err(failure) => {
                return Err(failure).doing(|| {
                    format!(
                        "scan {} for duplicates of `{}`",
                        scan.original.name, index.name
                    )
                });
            }
            Ok(rows) if rows.is_empty() => {}
            Ok(rows) => return Err(scan.failure(index, &rows)),
        }
    }
    Ok(())
}

/// A part of a unique key as an expression over the original.
struct Part {
    expression: String,
    nullable: bool,
}

impl DuplicateScan<'_> {
    /// Whether there is a unique key to scan for.
    pub fn has_work(&self) -> bool {
        let mut unique = self.ghost.indexes.iter().filter(|index| index.unique);
        unique.any(|index| !self.guaranteed(index))
    }

    /// Whether a unique key of the original already keeps the values apart: one over some of the same
    /// columns, whose values go over unchanged.
    fn guaranteed(&self, index: &Index) -> bool {
        self.original
            .indexes
            .iter()
            .filter(|own| own.unique)
            .any(|own| {
                own.columns.iter().all(|part| {
                    part.column.as_deref().is_some_and(|name| {
                        self.map.of_source(name).is_some_and(|pair| {
                            same_values(pair)
                                && index
                                    .columns
                                    .iter()
                                    .any(|target| covers(target, part, &pair.target))
                        })
                    })
                })
            })
    }

    /// The key's parts; `None` where they cannot be told, or cannot be duplicates.
    fn values(&self, index: &Index) -> Option<Vec<Part>> {
        let mut parts = Vec::new();
        for part in &index.columns {
            let name = part.column.as_deref()?;
            let pair = self
                .map
                .pairs
                .iter()
                .chain(&self.map.computed)
                .find(|pair| same_name(&pair.target.name, name));
            match pair {
                Some(pair) => parts.push(Part {
                    expression: with_prefix(converted(pair), part.prefix, &pair.target),
                    nullable: pair.source.nullable,
                }),
                // A new column is the same in all rows if its default is a constant.
                None => {
                    let added = self.ghost.column(name)?;
                    if !constant(added) {
                        return None;
                    }
                }
            }
        }
        Some(parts)
    }

    /// The rows of the first groups of duplicates: key and values as text.
    async fn find(&self, session: &mut Session, parts: &[Part]) -> Result<Vec<(String, String)>> {
        let table = quote::table(&self.original.name);
        let expressions: Vec<&str> = parts.iter().map(|part| part.expression.as_str()).collect();
        let present: Vec<String> = parts
            .iter()
            .filter(|part| part.nullable)
            .map(|part| format!("{} IS NOT NULL", part.expression))
            .collect();
        let present = match present.is_empty() {
            true => String::new(),
            false => format!(" WHERE {}", present.join(" AND ")),
        };
        let group_by = match expressions.is_empty() {
            true => String::new(),
            false => format!(" GROUP BY {}", expressions.join(", ")),
        };
        let columns = |prefix: &str| -> Vec<String> {
            (0..expressions.len())
                .map(|number| format!("{prefix}changeling_{number}"))
                .collect()
        };
        let selected: Vec<String> = expressions
            .iter()
            .zip(columns(""))
            .map(|(expression, name)| format!("{expression} AS {name}"))
            .chain([String::from("COUNT(*) AS changeling_n")])
            .collect();
        let groups = format!(
            "SELECT {} FROM {table}{present}{group_by} HAVING COUNT(*) > 1 LIMIT {NAMED_MAX}",
            selected.join(", ")
        );
        let any: Vec<mysql_async::Row> = session.query(&groups).await?;
        if any.is_empty() {
            return Ok(Vec::new());
        }
        let same: Vec<String> = expressions
            .iter()
            .zip(columns("d."))
            .map(|(expression, group)| format!("{expression} = {group}"))
            .chain([String::from("TRUE")])
            .collect();
        let keys: Vec<String> = self.key.columns.iter().map(named_value).collect();
        let values: Vec<String> = columns("d.")
            .into_iter()
            .map(|group| format!("COALESCE(CONVERT({group} USING utf8mb4), 'NULL')"))
            .collect();
        let values = match values.is_empty() {
            true => "''".to_string(),
            false => format!("CONCAT_WS('-', {})", values.join(", ")),
        };
        let rows = format!(
            "SELECT CONCAT_WS(', ', {}), {values} \
             FROM ({groups}) AS d JOIN {table} ON {} ORDER BY 2, 1 LIMIT {}",
            keys.join(", "),
            same.join(" AND "),
            NAMED_MAX * 2
        );
        session.query(&rows).await
    }

    fn failure(&self, index: &Index, rows: &[(String, String)]) -> Failure {
        let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
        for (key, value) in rows {
            match groups.iter_mut().find(|(known, _)| known == value) {
                Some((_, keys)) => keys.push(key),
                None => groups.push((value, vec![key])),
            }
        }
        let named: Vec<String> = groups
            .iter()
            .take(NAMED_MAX)
            .map(|(value, keys)| format!("'{value}' ({})", keys.join("; ")))
            .collect();
        let failure = Failure::new(
            FailureKind::DoesNotFit,
            format!(
                "rows of {} are duplicates under the unique key `{}` of the new definition: {}",
                self.original.name,
                index.name,
                named.join(", ")
            ),
        )
        .remedy("correct these rows or the new definition, then start again");
        groups.iter().fold(failure, |failure, (value, _)| {
            failure.evidence(Evidence::CopyWarning {
                code: ER_DUP_ENTRY,
                message: format!("Duplicate entry '{value}' for key '{}'", index.name),
            })
        })
    }
}

/// `name=value` of a key column as text.
fn named_value(column: &KeyColumn) -> String {
    let name = quote::ident(&column.source.name);
    let text = match column.kind {
        KeyKind::Binary => format!("HEX({name})"),
        _ => format!("CONVERT({name} USING utf8mb4)"),
    };
    format!(
        "CONCAT({}, {text})",
        quote::string(&format!("{}=", column.source.name))
    )
}

/// Whether two values that differ for a unique key of the original differ for one of the ghost.
fn same_values(pair: &ColumnPair) -> bool {
    pair.source.collation == pair.target.collation
        && (pair.source.column_type == pair.target.column_type
            || widened(&pair.source, &pair.target))
}

/// Types between which no two values become one.
fn widened(source: &Column, target: &Column) -> bool {
    let integer = |column: &Column| {
        matches!(
            column.data_type.as_str(),
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint"
        )
    };
    let string = |column: &Column| matches!(column.data_type.as_str(), "char" | "varchar");
    (integer(source) && integer(target))
        || (string(source) && string(target) && source.charset == target.charset)
}

/// Whether a part of the ghost's key looks at no less of the column than the part of the original's.
fn covers(target: &IndexColumn, own: &IndexColumn, column: &Column) -> bool {
    target
        .column
        .as_deref()
        .is_some_and(|name| same_name(name, &column.name))
        && match (target.prefix, own.prefix) {
            (None, _) => true,
            (Some(target), Some(own)) => target >= own,
            (Some(_), None) => false,
        }
}

/// The value that the ghost will have, as far as SQL can say it.
fn converted(pair: &ColumnPair) -> String {
    let expression = pair.select_expression();
    if same_values(pair) {
        return expression;
    }
    let target = &pair.target;
    if let (Some(charset), Some(collation)) = (&target.charset, &target.collation) {
        return format!("CONVERT({expression} USING {charset}) COLLATE {collation}");
    }
    let digits = target.fraction_digits;
    match target.data_type.as_str() {
        "date" => format!("CAST({expression} AS DATE)"),
        "datetime" | "timestamp" => format!("CAST({expression} AS DATETIME({digits}))"),
        "time" => format!("CAST({expression} AS TIME({digits}))"),
        "decimal" => match target.decimal {
            Some((precision, scale)) => {
                format!("CAST({expression} AS DECIMAL({precision}, {scale}))")
            }
            None => expression,
        },
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" if target.unsigned() => {
            format!("CAST({expression} AS UNSIGNED)")
        }
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" => {
            format!("CAST({expression} AS SIGNED)")
        }
        _ => expression,
    }
}

fn with_prefix(expression: String, prefix: Option<u64>, target: &Column) -> String {
    match (prefix, &target.charset) {
        (None, _) => expression,
        (Some(length), Some(_)) => format!("LEFT({expression}, {length})"),
        (Some(length), None) => format!("LEFT(CAST({expression} AS BINARY), {length})"),
    }
}

/// Whether a new column has the same value in every row that is copied, and not NULL.
fn constant(column: &Column) -> bool {
    column.generated.is_none()
        && !column.auto_increment()
        && !column.nullable
        && !column.extra.contains("default_generated")
        && !column
            .default
            .as_deref()
            .is_some_and(|default| default.contains('('))
}
