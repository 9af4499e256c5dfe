//! Which columns replay may take from row images.
//!
//! A pair of columns is cleared where the tests have shown on both flavours that a literal of the source's
//! value stores what the copy stores, and what the server's own ALTER makes of it. What is not cleared is
//! not known to be wrong; it is reread.

use crate::schema::{Column, ColumnMap, ColumnPair};

/// Whether image mode is exact for every column of the map: `replay(x) = copy(x)` for all values. (A
/// single value without an exact literal, such as an ENUM's invalid one, is reread by itself.)
///
/// # Errors
/// The reason why not, naming the column: to be logged as the reason for rereading.
pub fn image_pairs_cleared(map: &ColumnMap) -> Result<(), String> {
    map.pairs.iter().try_for_each(pair_cleared)
}

fn pair_cleared(pair: &ColumnPair) -> Result<(), String> {
    let (source, target) = (&pair.source, &pair.target);
    if source.data_type == "json" {
        return Err(format!(
            "`{}` is JSON, which has no exact text",
            source.name
        ));
    }
    if exact(source, target) {
        return Ok(());
    }
    Err(format!(
        "`{}` changes from {} to {}, for which no test has shown that its literals are exact",
        source.name, source.column_type, target.column_type
    ))
}

fn exact(source: &Column, target: &Column) -> bool {
    if source.column_type == target.column_type && source.charset == target.charset {
        return true;
    }
    let (from, to) = (source.data_type.as_str(), target.data_type.as_str());
    match from {
        _ if is_integer(from) => is_integer(to) || (to == "decimal" && holds(target, 20)),
        "decimal" => to == "decimal" && widens(source, target),
        "float" => to == "double" && !target.column_type.contains('('),
        "bit" => to == "bit" && bits(target) >= bits(source),
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => is_text(to),
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => is_binary(to),
        "date" => to == "date" || to == "datetime",
        "time" | "datetime" | "timestamp" => {
            from == to && target.fraction_digits >= source.fraction_digits
        }
        "enum" if is_text(to) => true,
        "enum" | "set" => {
            let (before, after) = (source.labels(), target.labels());
            from == to && before.iter().all(|label| after.contains(label))
        }
        _ => false,
    }
}

fn is_integer(data_type: &str) -> bool {
    matches!(
        data_type,
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint"
    )
}

fn is_text(data_type: &str) -> bool {
    matches!(
        data_type,
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext"
    )
}

fn is_binary(data_type: &str) -> bool {
    matches!(
        data_type,
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob"
    )
}

/// Whether a DECIMAL has this many digits before the point.
fn holds(column: &Column, digits: u8) -> bool {
    column
        .decimal
        .is_some_and(|(precision, scale)| precision - scale >= digits)
}

fn widens(source: &Column, target: &Column) -> bool {
    match (source.decimal, target.decimal) {
        (Some((p, s)), Some((precision, scale))) => scale >= s && precision - scale >= p - s,
        _ => false,
    }
}

/// `bit(10)` → 10.
fn bits(column: &Column) -> u8 {
    column
        .column_type
        .trim_matches(|c: char| !c.is_ascii_digit())
        .parse()
        .unwrap_or(1)
}
