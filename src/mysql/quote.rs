//! The one place where names and values become SQL text.

use std::fmt::Write;

use crate::names::TableName;
use crate::row::Cell;

/// Begins all our DDL, so that whoever reads the binlog, ourselves first of all, knows it as ours. The
/// server keeps a leading comment in the binlog (but writes the text of DROP TABLE anew, without it).
pub const OWN_DDL: &str = "/* changeling */ ";

/// An identifier in backticks; backticks inside are doubled.
pub fn ident(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
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
/// NO_BACKSLASH_ESCAPES changes nothing) and every connection character set: `_utf8mb4 x'..'`.
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
    let mut out = String::with_capacity(bytes.len() * 2 + 3);
    write_hex(&mut out, bytes);
    out
}

fn write_hex(out: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.reserve(bytes.len() * 2 + 3);
    out.push_str("x'");
    // By blocks, since a String takes text only, and looks at every piece of it.
    let mut block = [0u8; 128];
    for bytes in bytes.chunks(block.len() / 2) {
        for (pair, byte) in block.chunks_exact_mut(2).zip(bytes) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        out.push_str(std::str::from_utf8(&block[..bytes.len() * 2]).unwrap_or_default());
    }
    out.push('\'');
}

/// Writes bytes as a literal, tagged with the character set that they are in; `None`: binary.
///
/// In quotes if they are plain ASCII that reads the same under every `sql_mode`, which makes long
/// statements half as long; else as hexadecimal.
pub fn write_bytes(out: &mut String, bytes: &[u8], charset: Option<&str>) {
    let wide = matches!(charset, Some("ucs2" | "utf16" | "utf16le" | "utf32"));
    let plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'\'' | b'\\');
    let text = std::str::from_utf8(bytes)
        .ok()
        .filter(|_| !wide && !bytes.is_empty() && bytes.iter().all(plain));
    match (text, charset) {
        (Some(text), charset) => {
            out.reserve(text.len() + 12);
            out.push('_');
            out.push_str(charset.unwrap_or("binary"));
            out.push('\'');
            out.push_str(text);
            out.push('\'');
        }
        (None, Some(charset)) => {
            out.push('_');
            out.push_str(charset);
            out.push(' ');
            write_hex(out, bytes);
        }
        (None, None) => write_hex(out, bytes),
    }
}

/// Writes a number; the standard library's way is for all formats and slower.
fn write_number(out: &mut String, negative: bool, mut number: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    if negative {
        out.push('-');
    }
    out.push_str(std::str::from_utf8(&digits[at..]).unwrap_or_default());
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
    // Writing to a String cannot fail.
    let _ = match cell {
        Cell::Null => out.write_str("NULL"),
        Cell::Int(value) => {
            write_number(out, *value < 0, value.unsigned_abs());
            Ok(())
        }
        Cell::UInt(value) => {
            write_number(out, false, *value);
            Ok(())
        }
        // As the double that it is: the shortest text that gives this float again may be another number,
        // and above FLOAT's maximum (3.4028235e38, which the server refuses).
        Cell::Float(value) => write!(out, "{:e}", f64::from(*value)),
        // The shortest text that reads back as the same number.
        Cell::Double(value) => write!(out, "{value:e}"),
        Cell::Decimal(text) => out.write_str(text),
        Cell::Bytes(bytes) => {
            write_bytes(out, bytes, charset);
            Ok(())
        }
        Cell::Date { year, month, day } => write!(out, "'{year:04}-{month:02}-{day:02}'"),
        Cell::DateTime {
            year,
            month,
            day,
            hour,
            minute,
            second,
            micros,
        } => {
            let _ = write!(
                out,
                "'{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"
            );
            write_fraction(out, *micros);
            out.write_char('\'')
        }
        Cell::Time { micros } => {
            let sign = if *micros < 0 { "-" } else { "" };
            let all = micros.unsigned_abs();
            let seconds = all / 1_000_000;
            let _ = write!(
                out,
                "'{sign}{:02}:{:02}:{:02}",
                seconds / 3600,
                seconds / 60 % 60,
                seconds % 60
            );
            write_fraction(out, (all % 1_000_000) as u32);
            out.write_char('\'')
        }
        Cell::Timestamp { seconds, micros } => {
            if *seconds == 0 && *micros == 0 {
                out.write_str("'0000-00-00 00:00:00'")
            } else {
                let (year, month, day) = civil_from_days((seconds / 86_400) as i64);
                let rest = seconds % 86_400;
                let _ = write!(
                    out,
                    "'{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}",
                    rest / 3600,
                    rest / 60 % 60,
                    rest % 60
                );
                write_fraction(out, *micros);
                out.write_char('\'')
            }
        }
        Cell::Json(_) => out.write_str("<json has no literal>"),
    };
}

fn write_fraction(out: &mut String, micros: u32) {
    if micros != 0 {
        let _ = write!(out, ".{micros:06}");
    }
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
