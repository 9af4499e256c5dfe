//! The one place where names and values become SQL text.

use std::io::Write;

use super::reserved::is_reserved;
use crate::names::TableName;
use crate::row::Cell;

/// Begins all our DDL, so that whoever reads the binlog, ourselves first of all, knows it as ours. The
/// server keeps a leading comment in the binlog (but writes the text of DROP TABLE anew, without it).
pub const OWN_DDL: &str = "/* changeling */ ";

/// An identifier in backticks; backticks inside are doubled.
pub fn ident(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// Whether this SQL is one identifier in backticks.
///
/// ```
/// use changeling::mysql::quote;
/// assert!(quote::is_ident(&quote::ident("my `orders`")));
/// assert!(!quote::is_ident("`a` + `b`"));
/// ```
pub fn is_ident(sql: &str) -> bool {
    sql.strip_prefix('`')
        .and_then(|rest| rest.strip_suffix('`'))
        .is_some_and(|name| !name.replace("``", "").contains('`'))
}

/// A name as a person would write it: in backticks where it must be.
///
/// ```
/// use changeling::mysql::quote::shown;
/// assert_eq!(shown("orders"), "orders");
/// assert_eq!(shown("order"), "`order`");
/// assert_eq!(shown("my `orders`"), "`my ``orders```");
/// ```
pub fn shown(name: &str) -> String {
    let plain = !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    match plain && !is_reserved(name) {
        true => name.to_string(),
        false => ident(name),
    }
}

/// `` `schema`.`table` ``.
pub fn table(name: &TableName) -> String {
    format!("{}.{}", ident(&name.schema), ident(&name.table))
}

/// Identifiers, separated by commas.
pub fn idents<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut out = String::new();
    for name in names {
        if !out.is_empty() {
            out.push_str(", ");
        }
        out.push_str(&ident(name));
    }
    out
}

/// A character string literal, right under every `sql_mode` (it has no escapes, so that
/// NO_BACKSLASH_ESCAPES changes nothing) and every connection character set.
///
/// ```
/// use changeling::mysql::quote;
/// assert_eq!(quote::string("it's"), "_utf8mb4 x'69742773'");
/// ```
pub fn string(text: &str) -> String {
    format!("_utf8mb4 {}", hex(text.as_bytes()))
}

/// A plain `'..'` literal, for places where no expression may stand (comments of tables). For texts of
/// our own only: without quotes and backslashes, which read differently under different `sql_mode`s.
pub fn text(text: &str) -> String {
    let plain: String = text.chars().filter(|c| !matches!(c, '\'' | '\\')).collect();
    format!("'{plain}'")
}

/// `x'..'`: binary bytes.
pub fn hex(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    write_hex(&mut out, bytes);
    String::from_utf8_lossy(&out).into_owned()
}

fn write_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.reserve(bytes.len() * 2 + 3);
    out.extend_from_slice(b"x'");
    out.extend(
        bytes
            .iter()
            .flat_map(|byte| [byte >> 4, byte & 15])
            .map(|nibble| DIGITS[usize::from(nibble)]),
    );
    out.push(b'\'');
}

/// Writes bytes as a literal, tagged with the character set that they are in; `None`: binary. The literal
/// itself is ASCII, as all of [`append_cell`] are.
///
/// In quotes if they are plain ASCII that reads the same under every `sql_mode`, which makes long
/// statements half as long; else as hexadecimal.
pub fn append_bytes(out: &mut Vec<u8>, bytes: &[u8], charset: Option<&str>) {
    let wide = matches!(charset, Some("ucs2" | "utf16" | "utf16le" | "utf32"));
    // In arithmetic, and a block at once, which the compiler does for many bytes at a time.
    let strange = |byte: u8| {
        u8::from(byte.wrapping_sub(b' ') > b'~' - b' ')
            | u8::from(byte == b'\'')
            | u8::from(byte == b'\\')
    };
    let is_plain = |block: &[u8]| block.iter().fold(0, |any, byte| any | strange(*byte)) == 0;
    if !wide && !bytes.is_empty() && bytes.chunks(128).all(is_plain) {
        let charset = charset.unwrap_or("binary");
        out.reserve(bytes.len() + charset.len() + 3);
        out.push(b'_');
        out.extend_from_slice(charset.as_bytes());
        out.push(b'\'');
        out.extend_from_slice(bytes);
        out.push(b'\'');
        return;
    }
    if let Some(charset) = charset {
        out.push(b'_');
        out.extend_from_slice(charset.as_bytes());
        out.push(b' ');
    }
    write_hex(out, bytes);
}

/// Writes a number; the standard library's way is for all formats and slower.
fn write_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Writes two digits, which is what a number below a hundred has.
fn write_two(out: &mut Vec<u8>, number: u64) {
    let digit = |number: u64| b'0' + (number % 10) as u8;
    out.extend_from_slice(&[digit(number / 10), digit(number)]);
}

/// Writes `2026-11-28`.
fn write_date(out: &mut Vec<u8>, year: u64, month: u8, day: u8) {
    if year > 9999 {
        write_number(out, year / 100);
    } else {
        write_two(out, year / 100);
    }
    write_two(out, year % 100);
    out.push(b'-');
    write_two(out, u64::from(month));
    out.push(b'-');
    write_two(out, u64::from(day));
}

/// Writes `16:13:45.000001`, the fraction only where there is one.
fn write_time(out: &mut Vec<u8>, hour: u64, minute: u64, second: u64, micros: u32) {
    if hour > 99 {
        write_number(out, hour);
    } else {
        write_two(out, hour);
    }
    out.push(b':');
    write_two(out, minute);
    out.push(b':');
    write_two(out, second);
    if micros != 0 {
        out.push(b'.');
        let micros = u64::from(micros);
        write_two(out, micros / 10_000);
        write_two(out, micros / 100 % 100);
        write_two(out, micros % 100);
    }
}

/// Writes a cell as a literal that the server reads back as the same value.
///
/// `charset` is the source column's character set for character strings, `None` for binary ones: bytes
/// then go as `_latin1 x'..'` and the server converts them once, as it would have while copying.
/// Sessions that read TIMESTAMP literals have `time_zone = '+00:00'`.
///
/// JSON cannot be written as a literal without loss (its binary form has types that text has not), so
/// callers never bring it here: tables that would need it are replayed by rereading. It is written as
/// NULL-proof nonsense that the server refuses, so that a mistake fails loudly.
pub fn write_cell(out: &mut String, cell: &Cell, charset: Option<&str>) {
    let mut literal = Vec::new();
    append_cell(&mut literal, cell, charset);
    out.push_str(&String::from_utf8_lossy(&literal));
}

/// The same as bytes, which are ASCII: for those who write many.
pub fn append_cell(out: &mut Vec<u8>, cell: &Cell, charset: Option<&str>) {
    match cell {
        Cell::Null => out.extend_from_slice(b"NULL"),
        Cell::Int(value) => {
            if *value < 0 {
                out.push(b'-');
            }
            write_number(out, value.unsigned_abs());
        }
        Cell::UInt(value) => write_number(out, *value),
        // As the double that it is: the shortest text that gives this float again may be another number,
        // and above FLOAT's maximum (3.4028235e38, which the server refuses).
        Cell::Float(value) => write_double(out, f64::from(*value)),
        Cell::Double(value) => write_double(out, *value),
        Cell::Decimal(text) => out.extend_from_slice(text.as_bytes()),
        Cell::Bytes(bytes) => append_bytes(out, bytes, charset),
        Cell::Date { year, month, day } => {
            out.push(b'\'');
            write_date(out, u64::from(*year), *month, *day);
            out.push(b'\'');
        }
        Cell::DateTime {
            year,
            month,
            day,
            hour,
            minute,
            second,
            micros,
        } => {
            out.push(b'\'');
            write_date(out, u64::from(*year), *month, *day);
            out.push(b' ');
            let [hour, minute, second] = [hour, minute, second].map(|part| u64::from(*part));
            write_time(out, hour, minute, second, *micros);
            out.push(b'\'');
        }
        Cell::Time { micros } => {
            let all = micros.unsigned_abs();
            let seconds = all / 1_000_000;
            out.push(b'\'');
            if *micros < 0 {
                out.push(b'-');
            }
            write_time(
                out,
                seconds / 3600,
                seconds / 60 % 60,
                seconds % 60,
                (all % 1_000_000) as u32,
            );
            out.push(b'\'');
        }
        Cell::Timestamp { seconds, micros } => {
            if *seconds == 0 && *micros == 0 {
                out.extend_from_slice(b"'0000-00-00 00:00:00'");
                return;
            }
            let (year, month, day) = civil_from_days((seconds / 86_400).cast_signed());
            let rest = seconds % 86_400;
            out.push(b'\'');
            write_date(out, year.unsigned_abs(), month as u8, day as u8);
            out.push(b' ');
            write_time(out, rest / 3600, rest / 60 % 60, rest % 60, *micros);
            out.push(b'\'');
        }
        Cell::Json(_) => out.extend_from_slice(b"<json has no literal>"),
    }
}

/// The shortest text that reads back as the same number.
fn write_double(out: &mut Vec<u8>, value: f64) {
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{value:e}");
}

/// Year, month and day of a day number counted from 1970-01-01 (Hinnant's algorithm, proleptic
/// Gregorian).
pub fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u32;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    } as u32;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(cell: Cell, charset: Option<&str>) -> String {
        let mut out = String::new();
        write_cell(&mut out, &cell, charset);
        out
    }

    #[test]
    fn names_cannot_break_out() {
        assert_eq!(ident("a`b"), "`a``b`");
        assert_eq!(table(&TableName::new("d", "t; DROP")), "`d`.`t; DROP`");
        assert_eq!(idents(["a", "b`"]), "`a`, `b```");
        assert_eq!(string("x'"), "_utf8mb4 x'7827'");
    }

    #[test]
    fn cells_are_written_with_their_tag() {
        assert_eq!(
            literal(Cell::Bytes(vec![0xe9]), Some("latin1")),
            "_latin1 x'E9'"
        );
        assert_eq!(literal(Cell::Bytes(vec![]), None), "x''");
        assert_eq!(
            literal(Cell::Bytes(b"a b".to_vec()), Some("gbk")),
            "_gbk'a b'"
        );
        assert_eq!(literal(Cell::Bytes(b"ab".to_vec()), None), "_binary'ab'");
        for bytes in [b"a'b", b"a\\b", b"a\nb", b"a\x7fb"] {
            let text = literal(Cell::Bytes(bytes.to_vec()), Some("latin1"));
            assert!(text.starts_with("_latin1 x'61"), "{text}");
        }
        assert_eq!(
            literal(Cell::Bytes(b"ab".to_vec()), Some("utf16")),
            "_utf16 x'6162'"
        );
        let long = vec![0xab; 1000];
        assert_eq!(
            literal(Cell::Bytes(long), None),
            format!("x'{}'", "AB".repeat(1000))
        );
        assert_eq!(literal(Cell::Int(i64::MIN), None), i64::MIN.to_string());
        assert_eq!(literal(Cell::UInt(u64::MAX), None), u64::MAX.to_string());
        assert_eq!(literal(Cell::Int(0), None), "0");
        assert_eq!(
            literal(
                Cell::Time {
                    micros: -36_672_990_000
                },
                None
            ),
            "'-10:11:12.990000'"
        );
        assert_eq!(
            literal(
                Cell::Timestamp {
                    seconds: 1_704_067_200,
                    micros: 0
                },
                None
            ),
            "'2024-01-01 00:00:00'"
        );
        assert_eq!(
            literal(
                Cell::Timestamp {
                    seconds: 0,
                    micros: 0
                },
                None
            ),
            "'0000-00-00 00:00:00'"
        );
        assert_eq!(literal(Cell::Float(0.1), None), "1.0000000149011612e-1");
        assert_eq!(literal(Cell::Double(0.1), None), "1e-1");
    }
}
