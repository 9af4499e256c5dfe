//! Values of columns as the server stores them, free of any session's settings.

use std::cmp::Ordering;

/// One column value.
///
/// Both ends make the same value of the same stored bytes: the binlog decoder from a row image, and
/// the reader of chunk bounds from a query's answer. So identity of a key is equality of its cells.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// SQL NULL.
    Null,
    /// Signed integers.
    Int(i64),
    /// Unsigned integers, BIT, YEAR, and the numbers of ENUM and SET.
    UInt(u64),
    /// FLOAT.
    Float(f32),
    /// DOUBLE.
    Double(f64),
    /// DECIMAL in canonical text: optional `-`, no leading zeros but one before the point, all digits of
    /// the scale (`-0.50`).
    Decimal(String),
    /// Strings in the column's own character set, binary strings, BLOBs, geometry, vectors, UUID, INET6.
    Bytes(Vec<u8>),
    /// DATE, as written, which may be zero or invalid.
    Date {
        /// Year, 0 to 9999.
        year: u16,
        /// Month, 0 to 12.
        month: u8,
        /// Day, 0 to 31.
        day: u8,
    },
    /// DATETIME, as written, which may be zero or invalid.
    DateTime {
        /// Year, 0 to 9999.
        year: u16,
        /// Month, 0 to 12.
        month: u8,
        /// Day, 0 to 31.
        day: u8,
        /// Hour.
        hour: u8,
        /// Minute.
        minute: u8,
        /// Second.
        second: u8,
        /// Microseconds.
        micros: u32,
    },
    /// TIME as signed microseconds.
    Time {
        /// Microseconds, negative for negative times.
        micros: i64,
    },
    /// TIMESTAMP as seconds and microseconds since 1970 in UTC; zero is `0000-00-00 00:00:00`.
    Timestamp {
        /// Seconds since 1970-01-01 00:00:00 UTC.
        seconds: u64,
        /// Microseconds.
        micros: u32,
    },
    /// JSON in the server's binary form. Can be neither written as a literal nor compared.
    Json(Vec<u8>),
}

impl Cell {
    /// The order of the server for kinds whose order can be told in memory; `None` for the others
    /// (JSON, floats, NULL) and for a pair of different kinds. Bytes compare as `memcmp`, which is the
    /// server's order for BINARY, VARBINARY and BLOB alone: the caller must know that it has those.
    pub fn compare(&self, other: &Cell) -> Option<Ordering> {
        use Cell::*;
        Some(match (self, other) {
            (Int(a), Int(b)) => a.cmp(b),
            (UInt(a), UInt(b)) => a.cmp(b),
            (Int(a), UInt(b)) => i128::from(*a).cmp(&i128::from(*b)),
            (UInt(a), Int(b)) => i128::from(*a).cmp(&i128::from(*b)),
            (Decimal(a), Decimal(b)) => compare_decimals(a, b),
            (Bytes(a), Bytes(b)) => a.cmp(b),
            (
                Date { year, month, day },
                Date {
                    year: y,
                    month: m,
                    day: d,
                },
            ) => (year, month, day).cmp(&(y, m, d)),
            (DateTime { .. }, DateTime { .. }) => {
                self.datetime_parts().cmp(&other.datetime_parts())
            }
            (Time { micros: a }, Time { micros: b }) => a.cmp(b),
            (
                Timestamp { seconds, micros },
                Timestamp {
                    seconds: s,
                    micros: m,
                },
            ) => (seconds, micros).cmp(&(s, m)),
            _ => return None,
        })
    }

    fn datetime_parts(&self) -> Option<(u16, u8, u8, u8, u8, u8, u32)> {
        match self {
            Cell::DateTime {
                year,
                month,
                day,
                hour,
                minute,
                second,
                micros,
            } => Some((*year, *month, *day, *hour, *minute, *second, *micros)),
            _ => None,
        }
    }

    /// About how many bytes the value holds in memory, for budgets.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Cell::Decimal(text) => text.len(),
            Cell::Bytes(bytes) | Cell::Json(bytes) => bytes.len(),
            _ => 0,
        }
    }
}

/// Compares two canonical decimals by value; their scales may differ.
fn compare_decimals(a: &str, b: &str) -> Ordering {
    let (a_negative, a_digits) = split_sign(a);
    let (b_negative, b_digits) = split_sign(b);
    let magnitude = compare_magnitudes(a_digits, b_digits);
    if is_zero(a_digits) && is_zero(b_digits) {
        return Ordering::Equal;
    }
    match (a_negative, b_negative) {
        (false, false) => magnitude,
        (true, true) => magnitude.reverse(),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
    }
}

fn split_sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    }
}

fn is_zero(digits: &str) -> bool {
    digits.bytes().all(|byte| byte == b'0' || byte == b'.')
}

fn compare_magnitudes(a: &str, b: &str) -> Ordering {
    let (a_whole, a_fraction) = a.split_once('.').unwrap_or((a, ""));
    let (b_whole, b_fraction) = b.split_once('.').unwrap_or((b, ""));
    let a_whole = a_whole.trim_start_matches('0');
    let b_whole = b_whole.trim_start_matches('0');
    a_whole
        .len()
        .cmp(&b_whole.len())
        .then_with(|| a_whole.cmp(b_whole))
        .then_with(|| {
            a_fraction
                .trim_end_matches('0')
                .cmp(b_fraction.trim_end_matches('0'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(a: &str, b: &str, expected: Ordering) {
        let (a, b) = (Cell::Decimal(a.into()), Cell::Decimal(b.into()));
        assert_eq!(a.compare(&b), Some(expected), "{a:?} {b:?}");
        assert_eq!(b.compare(&a), Some(expected.reverse()), "{b:?} {a:?}");
    }

    #[test]
    fn decimals_compare_by_value() {
        decimal("9.50", "10.00", Ordering::Less);
        decimal("-9.50", "-10.00", Ordering::Greater);
        decimal("0.00", "-0.00", Ordering::Equal);
        decimal("-0.01", "0.00", Ordering::Less);
        decimal("1.5", "1.50", Ordering::Equal);
        decimal("1.05", "1.5", Ordering::Less);
    }

    #[test]
    fn kinds_that_have_no_order_say_so() {
        assert_eq!(Cell::Null.compare(&Cell::Null), None);
        assert_eq!(Cell::Double(1.0).compare(&Cell::Double(2.0)), None);
        assert_eq!(
            Cell::Int(-1).compare(&Cell::UInt(u64::MAX)),
            Some(Ordering::Less)
        );
    }
}
