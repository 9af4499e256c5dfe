//! A range of the migration key as an SQL condition.
//!
//! The form matters: `(a, b) > (1, 2)` is no range to MySQL's optimiser, and `a > 1 OR a = 1 AND b > 2`
//! alone is one only by luck. `a >= 1 AND (a > 1 OR (a = 1 AND b > 2))` becomes disjoint ranges of the
//! index in ascending order on MySQL 5.7 to 9.7 and MariaDB 10.11 for up to four columns in mixed
//! directions; tests/it/walk.rs counts the rows that the server reads.
//!
//! ENUM and SET columns are stored, and ordered in an index, by number; but neither server uses an
//! index to compare them with `<` or `>`. Equality with a number does use it, so a range of an ENUM is
//! the list of its numbers: `e IN (3, 4, 5)`.

use crate::chunk::Chunk;
use crate::key::Key;
use crate::mysql::quote;
use crate::row::Cell;
use crate::schema::{Column, KeyColumn, MigrationKey};

/// A SET with more members has too many values to list (2^10 = 1024): it is compared by `<` and `>`,
/// which is right but scans.
const SET_MEMBERS_MAX: usize = 10;

/// Which of the two tables a condition is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The original.
    Source,
    /// The ghost.
    Target,
}

impl Side {
    /// A key column's definition on this side.
    pub fn of(self, column: &KeyColumn) -> &Column {
        match self {
            Side::Source => &column.source,
            Side::Target => &column.target,
        }
    }

    /// The quoted name of a key column on this side.
    pub fn column(self, column: &KeyColumn) -> String {
        quote::ident(&self.of(column).name)
    }

    /// The quoted name of the key's index on this side.
    pub fn index(self, key: &MigrationKey) -> String {
        quote::ident(match self {
            Side::Source => &key.source_index,
            Side::Target => &key.target_index,
        })
    }
}

/// One end of a range.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// The key at the end.
    pub key: &'a Key,
    /// Whether it belongs to the range.
    pub included: bool,
}

/// The condition that a row's key lies in a chunk.
pub fn within(key: &MigrationKey, side: Side, chunk: &Chunk) -> String {
    let (lower, upper) = ends(chunk);
    range(key, side, lower, upper)
}

/// ` ORDER BY …` for the rows of a chunk, see [`order_by`].
pub fn ordered(key: &MigrationKey, side: Side, chunk: &Chunk) -> String {
    let (lower, upper) = ends(chunk);
    order_by(key, side, lower, upper, false)
}

/// The two ends of a chunk.
pub fn ends(chunk: &Chunk) -> (Option<End<'_>>, Option<End<'_>>) {
    let lower = chunk.lower.as_ref().map(|key| End {
        key,
        included: true,
    });
    let upper = chunk.upper.as_ref().map(|key| End {
        key,
        included: chunk.upper_included,
    });
    (lower, upper)
}

/// The condition that a row's key lies between two ends, in the order of the original's index. `TRUE`
/// without ends.
pub fn range(
    key: &MigrationKey,
    side: Side,
    lower: Option<End<'_>>,
    upper: Option<End<'_>>,
) -> String {
    let from = equal_columns(lower, upper);
    let mut parts = Vec::new();
    if let (Some(lower), Some(upper)) = (lower, upper) {
        for (column, cell) in key.columns.iter().zip(&lower.key.0).take(from) {
            parts.push(compare(column, side, Order::Equal, cell));
        }
        if from == key.columns.len() && !(lower.included && upper.included) {
            return "FALSE".to_string();
        }
    }
    if from < key.columns.len() {
        if let Some(end) = lower {
            parts.push(bound(key, side, end, Order::Greater, from));
        }
        if let Some(end) = upper {
            parts.push(bound(key, side, end, Order::Less, from));
        }
    }
    if parts.is_empty() {
        return "TRUE".to_string();
    }
    parts.join(" AND ")
}

/// A key whose values have the types of one side's columns.
#[derive(Clone, Debug, PartialEq)]
pub struct SidedKey {
    /// Whose types.
    pub types: Side,
    /// The values.
    pub key: Key,
}

impl SidedKey {
    /// A key with the types of the original's columns.
    pub fn of_original(key: Key) -> SidedKey {
        SidedKey {
            types: Side::Source,
            key,
        }
    }
}

/// The condition that a row has this key of the original.
pub fn equals(key: &MigrationKey, side: Side, value: &Key) -> String {
    all_equal(key, side, Side::Source, value)
}

/// The condition that a row has one of these keys of the original; `FALSE` for none.
pub fn any_of(key: &MigrationKey, side: Side, values: &[&Key]) -> String {
    any(key, side, values.iter().map(|value| (Side::Source, *value)))
}

/// The condition that a row has one of these keys of either table; `FALSE` for none.
pub fn any_of_sided(key: &MigrationKey, side: Side, values: &[SidedKey]) -> String {
    any(
        key,
        side,
        values.iter().map(|value| (value.types, &value.key)),
    )
}

/// A list for one column, nested ORs for more: row constructors are not read as ranges by every server.
fn any<'a>(
    key: &MigrationKey,
    side: Side,
    values: impl Iterator<Item = (Side, &'a Key)>,
) -> String {
    let mut out = String::new();
    for (types, value) in values {
        let (first, next) = match key.columns.len() {
            1 => ("IN (", ", "),
            _ => ("(", " OR "),
        };
        out.push_str(if out.is_empty() { first } else { next });
        match (key.columns.as_slice(), value.0.as_slice()) {
            ([column], [cell]) => typed(column, types).write_literal(&mut out, cell),
            _ => {
                let all = all_equal(key, side, types, value);
                out.push_str(&format!("({all})"));
            }
        }
    }
    match (key.columns.as_slice(), out.is_empty()) {
        (_, true) => "FALSE".to_string(),
        ([column], false) => format!("{} {out})", side.column(column)),
        (_, false) => format!("{out})"),
    }
}

fn all_equal(key: &MigrationKey, side: Side, types: Side, value: &Key) -> String {
    let mut out = String::new();
    for (column, cell) in key.columns.iter().zip(&value.0) {
        if !out.is_empty() {
            out.push_str(" AND ");
        }
        out.push_str(&format!("{} = ", side.column(column)));
        typed(column, types).write_literal(&mut out, cell);
    }
    out
}

/// A key column as if the given side's definition were the original's: what `schema` reads values and
/// writes literals by.
pub fn typed(column: &KeyColumn, types: Side) -> KeyColumn {
    KeyColumn {
        source: types.of(column).clone(),
        ..column.clone()
    }
}

/// ` ORDER BY …` in the order of the original's index, or backwards, for rows of a range. Columns that
/// are the same at both ends are left out: for an ENUM that is compared with a number, neither server
/// sees that it is constant, and would sort.
pub fn order_by(
    key: &MigrationKey,
    side: Side,
    lower: Option<End<'_>>,
    upper: Option<End<'_>>,
    backwards: bool,
) -> String {
    let columns: Vec<String> = key
        .columns
        .iter()
        .skip(equal_columns(lower, upper))
        .map(|column| {
            let name = side.column(column);
            match column.descending != backwards {
                true => format!("{name} DESC"),
                false => name,
            }
        })
        .collect();
    match columns.is_empty() {
        true => String::new(),
        false => format!(" ORDER BY {}", columns.join(", ")),
    }
}

/// How many leading columns are the same at both ends.
fn equal_columns(lower: Option<End<'_>>, upper: Option<End<'_>>) -> usize {
    match (lower, upper) {
        (Some(lower), Some(upper)) => lower
            .key
            .0
            .iter()
            .zip(&upper.key.0)
            .take_while(|(lower, upper)| lower == upper)
            .count(),
        _ => 0,
    }
}

/// A comparison in the order of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
}

impl Order {
    fn reversed(self) -> Order {
        match self {
            Order::Less => Order::Greater,
            Order::LessOrEqual => Order::GreaterOrEqual,
            Order::Equal => Order::Equal,
            Order::GreaterOrEqual => Order::LessOrEqual,
            Order::Greater => Order::Less,
        }
    }

    fn or_equal(self) -> Order {
        match self {
            Order::Less => Order::LessOrEqual,
            Order::Greater => Order::GreaterOrEqual,
            other => other,
        }
    }

    fn operator(self) -> &'static str {
        match self {
            Order::Less => "<",
            Order::LessOrEqual => "<=",
            Order::Equal => "=",
            Order::GreaterOrEqual => ">=",
            Order::Greater => ">",
        }
    }

    fn holds(self, a: u64, b: u64) -> bool {
        match self {
            Order::Less => a < b,
            Order::LessOrEqual => a <= b,
            Order::Equal => a == b,
            Order::GreaterOrEqual => a >= b,
            Order::Greater => a > b,
        }
    }
}

/// One end of the range, from column `index` on.
fn bound(key: &MigrationKey, side: Side, end: End<'_>, order: Order, index: usize) -> String {
    let column = &key.columns[index];
    let cell = &end.key.0[index];
    if index + 1 == key.columns.len() {
        let order = if end.included {
            order.or_equal()
        } else {
            order
        };
        return compare(column, side, order, cell);
    }
    format!(
        "{} AND ({} OR ({} AND {}))",
        compare(column, side, order.or_equal(), cell),
        compare(column, side, order, cell),
        compare(column, side, Order::Equal, cell),
        bound(key, side, end, order, index + 1),
    )
}

fn compare(column: &KeyColumn, side: Side, order: Order, cell: &Cell) -> String {
    let order = if column.descending {
        order.reversed()
    } else {
        order
    };
    let name = side.column(column);
    if order != Order::Equal
        && let (Some(last), Cell::UInt(number)) = (last_number(side.of(column)), cell)
    {
        let numbers: Vec<String> = (0..=last)
            .filter(|candidate| order.holds(*candidate, *number))
            .map(|candidate| candidate.to_string())
            .collect();
        if numbers.is_empty() {
            return "FALSE".to_string();
        }
        return format!("{name} IN ({})", numbers.join(", "));
    }
    let mut out = format!("{name} {} ", order.operator());
    column.write_literal(&mut out, cell);
    out
}

/// The greatest number that an ENUM, or a SET of few members, can hold; `None` for other types.
fn last_number(column: &Column) -> Option<u64> {
    let labels = column.labels().len();
    match column.data_type.as_str() {
        "enum" => Some(labels as u64),
        "set" if labels <= SET_MEMBERS_MAX => Some((1 << labels) - 1),
        _ => None,
    }
}
