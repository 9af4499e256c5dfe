//! A column's value as an expression that is equal exactly when the stored values are.
//!
//! - Strings of all kinds go by their own bytes: trailing spaces, case and bytes that are no characters
//!   count; nothing is converted to the connection's character set.
//! - FLOAT is shown with six digits, so it is widened to DOUBLE, whose text gives the value back.
//! - ENUM, SET and BIT go by number: an ENUM's error value and an empty label look the same.
//! - JSON goes by its text and the type of its outermost value. (1 and 1.0, 1 and "1" differ in text.
//!   What text does not show, such as DECIMAL or DOUBLE within, is kept by the copy and by replay, which
//!   never send JSON as text.)
//!
//! Where the ALTER changes a column's type, the source's value is converted as the assignment converts
//! it, if SQL can say that exactly; else it is assigned to a temporary table, which always can.

use crate::schema::{Column, ColumnPair};

/// How a column is compared.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Compared {
    /// The source's name, for messages.
    pub(super) name: String,
    /// The expression over the original; `None` if SQL cannot express the conversion.
    pub(super) source: Option<String>,
    /// The expression over the ghost, and over a temporary table of the ghost's types.
    pub(super) target: String,
    /// What both expressions give.
    pub(super) form: Form,
    /// Whether the source's value is NULL.
    pub(super) source_null: Option<String>,
    /// Whether the target's value is NULL.
    pub(super) target_null: Option<String>,
}

/// What an expression gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A short text without a comma, or a number.
    Plain,
    /// A short string, in which anything can be, of one type on both sides.
    Bytes,
    /// Anything; it may be as long as `max_allowed_packet`.
    Long,
}

impl Compared {
    pub(super) fn new(pair: &ColumnPair, source_is_json: bool, target_is_json: bool) -> Compared {
        let nullable = pair.source.nullable || pair.target.nullable;
        let source = pair.select_expression();
        let target = crate::mysql::quote::ident(&pair.target.name);
        let form = match is_plain(family(&pair.target)) {
            _ if target_is_json => Form::Long,
            true => Form::Plain,
            false if !source_is_json && is_short_in_both(pair) => Form::Bytes,
            false => Form::Long,
        };
        let is_null = |expression: &str| nullable.then(|| format!("ISNULL({expression})"));
        Compared {
            name: pair.source.name.clone(),
            source_null: is_null(&source),
            target_null: is_null(&target),
            form,
            source: match source_is_json == target_is_json {
                true => converted(pair, &source, source_is_json),
                false => None,
            },
            target: restated(pair, &target)
                .unwrap_or_else(|| canonical(&pair.target, &target, target_is_json)),
        }
    }
}

impl Compared {
    /// The comparison of a pair whose target's values became the source's by an ALTER: if that may have
    /// rounded them, as it would round them again.
    pub(super) fn turned(pair: &ColumnPair, source_is_json: bool, target_is_json: bool) -> Turned {
        let forth = ColumnPair {
            source: pair.target.clone(),
            target: pair.source.clone(),
        };
        if !may_round(&forth) {
            return Turned::Same;
        }
        let compared = Compared::new(&forth, target_is_json, source_is_json);
        let Some(target) = compared.source else {
            return Turned::Impossible;
        };
        Turned::Otherwise(Compared {
            name: pair.source.name.clone(),
            source: Some(compared.target),
            target,
            form: compared.form,
            source_null: compared.target_null,
            target_null: compared.source_null,
        })
    }
}

/// How a pair is compared on a way back.
pub(super) enum Turned {
    /// As any other.
    Same,
    /// Like this.
    Otherwise(Compared),
    /// Not at all: the ALTER may have rounded its values, and SQL cannot say how.
    Impossible,
}

/// Whether an assignment between these types can change a value without an error.
fn may_round(pair: &ColumnPair) -> bool {
    let (source, target) = (&pair.source, &pair.target);
    if source.column_type == target.column_type {
        return false;
    }
    let fewer_digits = target.fraction_digits < source.fraction_digits;
    match (family(source), family(target)) {
        (Family::Decimal, Family::Decimal) => {
            target.decimal.map(|(_, scale)| scale) < source.decimal.map(|(_, scale)| scale)
        }
        (Family::DateTime, Family::DateTime) | (Family::Time, Family::Time) => fewer_digits,
        // Trailing spaces go.
        (Family::Varchar | Family::Text, Family::Char) => true,
        (Family::DateTime, Family::Date | Family::Time) => true,
        (Family::Decimal | Family::Float | Family::Double, Family::Integer) => true,
        (Family::Float | Family::Double, _) | (_, Family::Float | Family::Double) => true,
        _ => false,
    }
}

/// What a type is to the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Integer,
    Decimal,
    Float,
    Double,
    Char,
    Varchar,
    Text,
    Binary,
    Varbinary,
    Blob,
    Enum,
    Set,
    Bit,
    Date,
    DateTime,
    Time,
    /// Shown as text that gives the value back: YEAR, UUID, INET6 …
    Plain,
    /// Compared by the bytes of what the server shows: geometry, VECTOR, JSON.
    Opaque,
}

fn family(column: &Column) -> Family {
    match column.data_type.as_str() {
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" => Family::Integer,
        "decimal" => Family::Decimal,
        "float" => Family::Float,
        "double" => Family::Double,
        "char" => Family::Char,
        "varchar" => Family::Varchar,
        "tinytext" | "text" | "mediumtext" | "longtext" => Family::Text,
        "binary" => Family::Binary,
        "varbinary" => Family::Varbinary,
        "tinyblob" | "blob" | "mediumblob" | "longblob" => Family::Blob,
        "enum" => Family::Enum,
        "set" => Family::Set,
        "bit" => Family::Bit,
        "date" => Family::Date,
        "datetime" | "timestamp" => Family::DateTime,
        "time" => Family::Time,
        "year" | "uuid" | "inet6" | "inet4" => Family::Plain,
        _ => Family::Opaque,
    }
}

/// Whether a type's values are shown as a short text without a comma, or a number.
fn is_plain(family: Family) -> bool {
    match family {
        Family::Integer
        | Family::Decimal
        | Family::Float
        | Family::Double
        | Family::Enum
        | Family::Set
        | Family::Bit
        | Family::Date
        | Family::DateTime
        | Family::Time
        | Family::Plain => true,
        Family::Char
        | Family::Varchar
        | Family::Text
        | Family::Binary
        | Family::Varbinary
        | Family::Blob
        | Family::Opaque => false,
    }
}

/// Whether a column is a short string, of the same type on both sides.
fn is_short_in_both(pair: &ColumnPair) -> bool {
    pair.source.column_type == pair.target.column_type
        && pair.source.charset == pair.target.charset
        && matches!(
            family(&pair.target),
            Family::Char | Family::Varchar | Family::Binary | Family::Varbinary
        )
}

/// What stands for a value of this type.
fn canonical(column: &Column, expression: &str, is_json: bool) -> String {
    if is_json {
        return format!("CONCAT(JSON_TYPE({expression}), {expression})");
    }
    match family(column) {
        Family::Float => format!("{expression} * 1e0"),
        Family::Enum | Family::Set | Family::Bit => format!("CAST({expression} AS UNSIGNED)"),
        _ => expression.to_string(),
    }
}

/// What stands for a source's value once it is in the ghost; `None` if SQL cannot say it.
fn converted(pair: &ColumnPair, expression: &str, is_json: bool) -> Option<String> {
    let (source, target) = (&pair.source, &pair.target);
    if source.column_type == target.column_type && source.charset == target.charset {
        return Some(canonical(source, expression, is_json));
    }
    if is_json {
        return None;
    }
    let digits = target.fraction_digits;
    Some(match (family(source), family(target)) {
        (Family::Integer, Family::Integer) => return restated(pair, expression),
        (Family::Integer | Family::Decimal, Family::Decimal) => {
            let (precision, scale) = target.decimal?;
            format!("CAST({expression} AS DECIMAL({precision}, {scale}))")
        }
        // With a number of digits, FLOAT(7,2), the assignment rounds.
        (Family::Float, Family::Double) if !target.column_type.contains('(') => {
            format!("{expression} * 1e0")
        }
        (
            Family::Char | Family::Varchar | Family::Text | Family::Enum,
            Family::Char | Family::Varchar | Family::Text,
        ) => return text(source, target, expression),
        (Family::Binary | Family::Varbinary | Family::Blob, Family::Varbinary | Family::Blob) => {
            expression.to_string()
        }
        (Family::Enum, Family::Enum) | (Family::Set, Family::Set)
            if target.labels().starts_with(&source.labels()) =>
        {
            format!("CAST({expression} AS UNSIGNED)")
        }
        (Family::Date | Family::DateTime, Family::DateTime) => {
            format!("CAST({expression} AS DATETIME({digits}))")
        }
        (Family::Time, Family::Time) => format!("CAST({expression} AS TIME({digits}))"),
        _ => return None,
    })
}

/// Integers that change are compared free of ZEROFILL; the same on both sides.
fn restated(pair: &ColumnPair, expression: &str) -> Option<String> {
    let (source, target) = (&pair.source, &pair.target);
    if source.column_type == target.column_type {
        return None;
    }
    match (family(source), family(target)) {
        (Family::Integer, Family::Integer) if source.unsigned() && target.unsigned() => {
            Some(format!("CAST({expression} AS UNSIGNED)"))
        }
        (Family::Integer, Family::Integer) => Some(format!("CAST({expression} AS SIGNED)")),
        (Family::Integer | Family::Decimal, Family::Decimal) => {
            let (precision, scale) = target.decimal?;
            Some(format!(
                "CAST({expression} AS DECIMAL({precision}, {scale}))"
            ))
        }
        _ => None,
    }
}

/// A string in the target's character set and type. What would be cut off can only be spaces: anything
/// else ends the copy.
fn text(source: &Column, target: &Column, expression: &str) -> Option<String> {
    let charset = target.charset.as_deref()?;
    source.charset.as_deref()?;
    let mut value = expression.to_string();
    if source.charset != target.charset || family(source) == Family::Enum {
        value = format!("CONVERT({value} USING {charset})");
    }
    if family(target) == Family::Text {
        // Its limit is in bytes.
        if target.octet_length? < source.octet_length? {
            return None;
        }
    } else {
        value = format!("LEFT({value}, {})", characters(target)?);
    }
    if family(target) == Family::Char && family(source) != Family::Char {
        value = format!("TRIM(TRAILING ' ' FROM {value})");
    }
    Some(value)
}

/// The number in `varchar(20)`.
fn characters(column: &Column) -> Option<u64> {
    let (_, rest) = column.column_type.split_once('(')?;
    rest.split_once(')')?.0.parse().ok()
}
