//! Whether a column can be part of the migration key, and whether its values stay the same keys when the
//! ALTER changes it.

use super::migration_key::KeyKind;
use super::table::Column;

/// As many bits as a DOUBLE holds exactly.
const SET_MEMBERS_MAX: usize = 53;

/// What a key column holds.
///
/// # Errors
/// Why a column of this type cannot identify a row.
pub fn kind(column: &Column) -> Result<KeyKind, String> {
    let refuse = |why: &str| {
        Err(format!(
            "column {} is {}, {why}",
            column.name,
            column.data_type.to_ascii_uppercase()
        ))
    };
    match column.data_type.as_str() {
        // Numbers of SET values are compared as DOUBLE (seen on MySQL 9.7: a larger one finds nothing).
        "set" if column.labels().len() > SET_MEMBERS_MAX => {
            refuse("with too many members to be compared exactly")
        }
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "bit" | "year" | "enum"
        | "set" => Ok(KeyKind::Integer),
        "decimal" => Ok(KeyKind::Decimal),
        "date" | "datetime" | "time" | "timestamp" => Ok(KeyKind::Temporal),
        "binary" | "varbinary" => Ok(KeyKind::Binary),
        "char" | "varchar" => Ok(KeyKind::Text),
        "uuid" | "inet6" | "inet4" => Ok(KeyKind::Opaque),
        "float" | "double" => refuse("which cannot be compared exactly"),
        _ => refuse("which cannot identify a row"),
    }
}

/// Judges what the ALTER does to a key column: a literal of the source's value must find the row in
/// the ghost by index, and must find no other.
///
/// # Errors
/// Why it would not.
pub fn identity_stays(source: &Column, target: &Column) -> Result<(), String> {
    generated_alike(source, target)?;
    if types_agree(source, target) {
        return Ok(());
    }
    Err(format!(
        "column {} changes from {} to {}, by which its values would be other keys",
        source.name, source.column_type, target.column_type
    ))
}

/// The row image has the original's value of a generated column; the ghost computes its own.
fn generated_alike(source: &Column, target: &Column) -> Result<(), String> {
    match (source.generated, target.generated) {
        (None, None) => Ok(()),
        (Some(_), Some(_)) if source.generation_expression == target.generation_expression => {
            Ok(())
        }
        _ => Err(format!(
            "column {} is generated, and not in the same way in the new definition",
            source.name
        )),
    }
}

fn types_agree(source: &Column, target: &Column) -> bool {
    let no_fewer_digits = target.fraction_digits >= source.fraction_digits;
    match (source.data_type.as_str(), target.data_type.as_str()) {
        (from, to) if is_integer(from) => {
            // A DECIMAL holds an integer exactly or refuses it.
            is_integer(to) || to == "decimal"
        }
        ("decimal", "decimal") => scale(target) >= scale(source),
        ("bit", "bit") | ("year", "year") | ("date", "date" | "datetime") => true,
        ("datetime", "datetime") | ("time", "time") | ("timestamp", "timestamp") => no_fewer_digits,
        // Values go by number; labels may only be added behind.
        ("enum", "enum") | ("set", "set") => target.labels().starts_with(&source.labels()),
        // BINARY is padded to its length, by which its values would change.
        ("binary", "binary") => source.octet_length == target.octet_length,
        ("binary" | "varbinary", "varbinary") => true,
        ("char", "char" | "varchar") | ("varchar", "varchar") => true,
        // CHAR drops trailing spaces: the same key only where the collation ignores them anyway.
        ("varchar", "char") => ignores_trailing_spaces(source) && ignores_trailing_spaces(target),
        ("uuid", "uuid") | ("inet6", "inet6") | ("inet4", "inet4") => true,
        _ => false,
    }
}

fn is_integer(data_type: &str) -> bool {
    matches!(
        data_type,
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint"
    )
}

fn scale(column: &Column) -> u8 {
    column.decimal.map_or(0, |(_, scale)| scale)
}

/// PAD SPACE collations: all but MySQL's UCA 9.0.0 family and MariaDB's `nopad` ones.
fn ignores_trailing_spaces(column: &Column) -> bool {
    column.collation.as_deref().is_some_and(|collation| {
        !collation.contains("_0900_") && !collation.contains("nopad") && collation != "binary"
    })
}
