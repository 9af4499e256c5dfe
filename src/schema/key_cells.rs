//! Values of the migration key read by a query, as the very cells that the binlog decoder makes of the
//! same stored values.

use mysql_async::Value;

use super::migration_key::{KeyColumn, KeyKind};
use super::table::Column;
use crate::failure::{Failure, Result};
use crate::mysql::quote;
use crate::row::Cell;

/// What to select (through the binary protocol, [`crate::mysql::Session::query_binary`]) to get a key
/// column's stored value for [`key_cell_from_value`]. It reads the original's column; an index over the
/// column still covers it.
///
/// TIMESTAMP is read as its stored seconds, free of the session's time zone; ENUM, SET, BIT and YEAR as
/// numbers; character strings as bytes of their own character set.
pub fn select_expression(column: &KeyColumn) -> String {
    let name = quote::ident(&column.source.name);
    match column.source.data_type.as_str() {
        "timestamp" => format!("UNIX_TIMESTAMP({name})"),
        "enum" | "set" | "bit" | "year" => format!("CAST({name} AS UNSIGNED)"),
        _ => match column.kind {
            KeyKind::Text | KeyKind::Opaque => format!("CAST({name} AS BINARY)"),
            KeyKind::Integer | KeyKind::Decimal | KeyKind::Temporal | KeyKind::Binary => name,
        },
    }
}

/// The cell of a value that was selected by [`select_expression`].
///
/// # Errors
/// A value of another kind than the column's type allows; NULL, which a key column never is.
pub fn key_cell_from_value(column: &KeyColumn, value: Value) -> Result<Cell> {
    let source = &column.source;
    let cell = match (column.kind, source.data_type.as_str()) {
        (KeyKind::Integer, _) => integer(source, &value),
        (KeyKind::Decimal, _) => decimal(&value),
        (KeyKind::Temporal, "timestamp") => timestamp(&value),
        (KeyKind::Temporal, _) => temporal(source, &value),
        (KeyKind::Binary | KeyKind::Text | KeyKind::Opaque, _) => match value {
            Value::Bytes(ref bytes) => Some(Cell::Bytes(bytes.clone())),
            _ => None,
        },
    };
    cell.ok_or_else(|| {
        Failure::failed(format!(
            "the server gave an unexpected value for key column {} ({})",
            source.name, source.column_type
        ))
    })
}

fn integer(source: &Column, value: &Value) -> Option<Cell> {
    let number = match value {
        Value::Int(number) => i128::from(*number),
        Value::UInt(number) => i128::from(*number),
        Value::Bytes(text) => std::str::from_utf8(text).ok()?.parse().ok()?,
        _ => return None,
    };
    let counted = matches!(source.data_type.as_str(), "enum" | "set" | "bit" | "year");
    if counted || source.unsigned() {
        Some(Cell::UInt(number.try_into().ok()?))
    } else {
        Some(Cell::Int(number.try_into().ok()?))
    }
}

/// The server's text, without the leading zeros of ZEROFILL and without a sign before zero.
fn decimal(value: &Value) -> Option<Cell> {
    let Value::Bytes(text) = value else {
        return None;
    };
    let text = std::str::from_utf8(text).ok()?;
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if !(whole.bytes().chain(fraction.bytes())).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        significant => significant,
    };
    let zero = whole == "0" && fraction.bytes().all(|byte| byte == b'0');
    let sign = if negative && !zero { "-" } else { "" };
    let point = if fraction.is_empty() { "" } else { "." };
    Some(Cell::Decimal(format!("{sign}{whole}{point}{fraction}")))
}

/// Seconds, with a fraction if the column has one.
fn timestamp(value: &Value) -> Option<Cell> {
    let (seconds, micros) = match value {
        Value::Int(seconds) => (u64::try_from(*seconds).ok()?, 0),
        Value::UInt(seconds) => (*seconds, 0),
        Value::Bytes(text) => {
            let text = std::str::from_utf8(text).ok()?;
            let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
            let micros = format!("{fraction:0<6}");
            (seconds.parse().ok()?, micros.get(..6)?.parse().ok()?)
        }
        _ => return None,
    };
    Some(Cell::Timestamp { seconds, micros })
}

fn temporal(source: &Column, value: &Value) -> Option<Cell> {
    match (source.data_type.as_str(), value) {
        ("date", Value::Date(year, month, day, ..)) => Some(Cell::Date {
            year: *year,
            month: *month,
            day: *day,
        }),
        ("datetime", Value::Date(year, month, day, hour, minute, second, micros)) => {
            Some(Cell::DateTime {
                year: *year,
                month: *month,
                day: *day,
                hour: *hour,
                minute: *minute,
                second: *second,
                micros: *micros,
            })
        }
        ("time", Value::Time(negative, days, hours, minutes, seconds, micros)) => {
            let hours = i64::from(*days) * 24 + i64::from(*hours);
            let seconds = (hours * 60 + i64::from(*minutes)) * 60 + i64::from(*seconds);
            let all = seconds * 1_000_000 + i64::from(*micros);
            Some(Cell::Time {
                micros: if *negative { -all } else { all },
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(data_type: &str, column_type: &str, kind: KeyKind) -> KeyColumn {
        let source = Column {
            name: "k".to_string(),
            data_type: data_type.to_string(),
            column_type: column_type.to_string(),
            ..Column::default()
        };
        KeyColumn {
            target: source.clone(),
            source,
            descending: false,
            kind,
        }
    }

    fn check(data_type: &str, column_type: &str, kind: KeyKind, value: Value, expected: Cell) {
        let cell = key_cell_from_value(&column(data_type, column_type, kind), value).unwrap();
        assert_eq!(cell, expected);
    }

    #[test]
    fn numbers_follow_the_column_not_the_value() {
        check(
            "int",
            "int",
            KeyKind::Integer,
            Value::Int(-3),
            Cell::Int(-3),
        );
        check(
            "int",
            "int unsigned",
            KeyKind::Integer,
            Value::Int(3),
            Cell::UInt(3),
        );
        check(
            "bit",
            "bit(64)",
            KeyKind::Integer,
            Value::UInt(u64::MAX),
            Cell::UInt(u64::MAX),
        );
    }

    #[test]
    fn decimals_are_canonical() {
        for (text, expected) in [
            ("00007.50", "7.50"),
            ("-0.50", "-0.50"),
            ("-0.00", "0.00"),
            ("000", "0"),
            ("12", "12"),
        ] {
            let value = Value::Bytes(text.into());
            let expected = Cell::Decimal(expected.to_string());
            check("decimal", "decimal(9,2)", KeyKind::Decimal, value, expected);
        }
    }

    #[test]
    fn fractions_are_microseconds() {
        for (text, micros) in [("7.5", 500_000), ("7.000001", 1), ("7", 0)] {
            let value = Value::Bytes(text.into());
            let expected = Cell::Timestamp { seconds: 7, micros };
            check(
                "timestamp",
                "timestamp(6)",
                KeyKind::Temporal,
                value,
                expected,
            );
        }
        let value = Value::Time(true, 1, 2, 3, 4, 5);
        let expected = Cell::Time {
            micros: -93_784_000_005,
        };
        check("time", "time(6)", KeyKind::Temporal, value, expected);
    }

    #[test]
    fn null_is_refused() {
        let column = column("int", "int", KeyKind::Integer);
        assert!(key_cell_from_value(&column, Value::NULL).is_err());
    }
}
