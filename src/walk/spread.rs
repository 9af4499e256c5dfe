//! A sample spread over the key: the table is cut into strata between interpolated values of the key, and
//! a walk takes a chunk of each in turn, again and again, until it has enough.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::bounds::{End, Side};
use super::chunker::Keyed;
use crate::chunk::Chunk;
use crate::failure::Result;
use crate::key::Key;
use crate::mysql::Session;
use crate::names::TableName;
use crate::row::Cell;
use crate::schema::{KeyColumn, KeyKind, MigrationKey};

/// Character sets in which an ASCII character is one byte, the same in all of them.
const ASCII_BYTES: [&str; 5] = ["ascii", "latin1", "utf8", "utf8mb3", "utf8mb4"];
/// Bytes of a string that are interpolated, behind those that both ends have in common.
const BYTES_INTERPOLATED: usize = 6;

/// Which part of a table is walked, and when that is enough.
#[derive(Debug)]
pub struct Spread {
    /// The strata, which together are the whole table, in the order of the key.
    pub strata: Vec<Chunk>,
    /// Enough rows; `None`: all.
    pub rows_max: Option<u64>,
    /// Enough time.
    pub until: Option<Instant>,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    rows: u64,
    /// What has been walked of each stratum, from its beginning.
    ranges: Vec<Chunk>,
    whole: bool,
}

impl Spread {
    /// A walk over these strata.
    pub fn new(strata: Vec<Chunk>, rows_max: Option<u64>, until: Option<Instant>) -> Spread {
        Spread {
            strata,
            rows_max,
            until,
            taken: Mutex::default(),
        }
    }

    /// At most this many rows in one chunk, so that every stratum has its turn.
    pub fn chunk_rows_max(&self) -> u64 {
        let strata = self.strata.len().max(1) as u64;
        self.rows_max
            .map_or(u64::MAX, |rows| rows.div_ceil(strata).max(1))
    }

    /// Whether enough has been taken.
    pub fn is_enough(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
            || self.rows_max.is_some_and(|max| self.lock().rows >= max)
    }

    /// A chunk is taken.
    pub fn take(&self, chunk: &Chunk) {
        let mut taken = self.lock();
        taken.rows += chunk.rows_expected;
        // A chunk goes on where the last of its stratum ended.
        let before = taken
            .ranges
            .iter_mut()
            .find(|range| range.upper.is_some() && range.upper == chunk.lower);
        match before {
            Some(range) if !range.upper_included => {
                range.upper = chunk.upper.clone();
                range.upper_included = chunk.upper_included;
                range.rows_expected += chunk.rows_expected;
            }
            _ => taken.ranges.push(chunk.clone()),
        }
    }

    /// Nothing is left of the table.
    pub fn finish(&self) {
        self.lock().whole = true;
    }

    /// The ranges that were walked, if the walk came to its end; `None`: the whole table.
    pub fn covered(&self) -> Option<Vec<Chunk>> {
        let taken = self.lock();
        (!taken.whole).then(|| taken.ranges.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Cuts the table into at most `count` strata. One alone where the key's values cannot be interpolated,
/// and none where the table is empty.
///
/// # Errors
/// What the server answered.
pub async fn strata(
    session: &mut Session,
    table: &TableName,
    key: &MigrationKey,
    count: usize,
) -> Result<Vec<Chunk>> {
    let keyed = Keyed {
        table,
        key,
        side: Side::Source,
    };
    let Some(last) = keyed.last_key(session).await? else {
        return Ok(Vec::new());
    };
    let Some(first) = keyed.key_at(session, None, None, 0).await? else {
        return Ok(Vec::new());
    };
    let mut bounds: Vec<Key> = Vec::new();
    for step in 1..count {
        let Some(point) = between(key, &first, &last, step as f64 / count as f64) else {
            break;
        };
        let lower = End {
            key: &point,
            included: true,
        };
        // A key that exists, so that strata are never empty and never the same.
        if let Some(real) = keyed.key_at(session, Some(lower), None, 0).await?
            && real != first
            && !bounds.contains(&real)
        {
            bounds.push(real);
        }
    }
    let lowers = std::iter::once(None).chain(bounds.iter().cloned().map(Some));
    let uppers = bounds.iter().cloned().chain([last]);
    let ends = bounds.len();
    Ok(lowers
        .zip(uppers)
        .enumerate()
        .map(|(at, (lower, upper))| Chunk {
            number: 0,
            lower,
            upper: Some(upper),
            upper_included: at == ends,
            rows_expected: 0,
        })
        .collect())
}

/// A key about so far (0 to 1) from one to the other; `None` where that cannot be said.
fn between(key: &MigrationKey, first: &Key, last: &Key, share: f64) -> Option<Key> {
    let at = first.0.iter().zip(&last.0).position(|(a, b)| a != b)?;
    let mut cells = first.0.clone();
    cells[at] = interpolate(key.columns.get(at)?, &first.0[at], &last.0[at], share)?;
    Some(Key(cells))
}

fn interpolate(column: &KeyColumn, from: &Cell, to: &Cell, share: f64) -> Option<Cell> {
    Some(match (from, to) {
        (Cell::Int(a), Cell::Int(b)) => {
            Cell::Int(i64::try_from(number(i128::from(*a), i128::from(*b), share)).ok()?)
        }
        (Cell::UInt(a), Cell::UInt(b)) => {
            Cell::UInt(u64::try_from(number(i128::from(*a), i128::from(*b), share)).ok()?)
        }
        (Cell::Timestamp { seconds: a, .. }, Cell::Timestamp { seconds: b, .. }) => {
            let seconds = number(i128::from(*a), i128::from(*b), share);
            Cell::Timestamp {
                seconds: u64::try_from(seconds).ok()?,
                micros: 0,
            }
        }
        (Cell::DateTime { year: a, .. }, Cell::DateTime { year: b, .. }) if a != b => {
            Cell::DateTime {
                year: u16::try_from(number(i128::from(*a), i128::from(*b), share)).ok()?,
                month: 1,
                day: 1,
                hour: 0,
                minute: 0,
                second: 0,
                micros: 0,
            }
        }
        (Cell::Date { year: a, .. }, Cell::Date { year: b, .. }) if a != b => Cell::Date {
            year: u16::try_from(number(i128::from(*a), i128::from(*b), share)).ok()?,
            month: 1,
            day: 1,
        },
        (Cell::Decimal(a), Cell::Decimal(b)) => {
            let (a, b): (f64, f64) = (a.parse().ok()?, b.parse().ok()?);
            let scale = usize::from(column.source.decimal?.1);
            Cell::Decimal(format!("{:.scale$}", a + (b - a) * share))
        }
        (Cell::Bytes(a), Cell::Bytes(b)) => Cell::Bytes(match column.kind {
            KeyKind::Binary => bytes(a, b, share, 0, 255),
            KeyKind::Text if is_ascii(column, a) && is_ascii(column, b) => {
                // Whatever the collation makes of them: what is found is a key that exists.
                bytes(a, b, share, b' ', b'~')
            }
            _ => return None,
        }),
        _ => return None,
    })
}

fn is_ascii(column: &KeyColumn, bytes: &[u8]) -> bool {
    let charset = column.source.charset.as_deref().unwrap_or_default();
    ASCII_BYTES.contains(&charset) && bytes.iter().all(|byte| (b' '..=b'~').contains(byte))
}

fn number(from: i128, to: i128, share: f64) -> i128 {
    from + ((to - from) as f64 * share) as i128
}

/// Strings as numbers whose digits are the bytes from `least` to `most`, behind their common beginning.
fn bytes(from: &[u8], to: &[u8], share: f64, least: u8, most: u8) -> Vec<u8> {
    let common = from.iter().zip(to).take_while(|(a, b)| a == b).count();
    let base = f64::from(most - least) + 1.0;
    let value = |text: &[u8]| {
        (0..BYTES_INTERPOLATED).fold(0.0, |value, at| {
            let digit = text.get(common + at).copied().unwrap_or(least);
            value * base + f64::from(digit.clamp(least, most) - least)
        })
    };
    let (low, high) = (value(from), value(to));
    let mut left = low + (high - low) * share;
    let mut digits = [least; BYTES_INTERPOLATED];
    for digit in digits.iter_mut().rev() {
        *digit = least + (left % base) as u8;
        left = (left / base).floor();
    }
    // Strings end without blanks: some collations ignore them.
    let mut out = from[..common].to_vec();
    out.extend_from_slice(&digits);
    while out.len() > common + 1 && out.last() == Some(&b' ') {
        out.pop();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(lower: i64, upper: i64, rows: u64) -> Chunk {
        Chunk {
            number: 0,
            lower: Some(Key(vec![Cell::Int(lower)])),
            upper: Some(Key(vec![Cell::Int(upper)])),
            upper_included: false,
            rows_expected: rows,
        }
    }

    #[test]
    fn numbers_and_strings_are_interpolated() {
        assert_eq!(number(-10, 10, 0.75), 5);
        assert_eq!(number(0, i128::from(u64::MAX), 0.0), 0);
        assert_eq!(bytes(b"aa", b"az", 0.5, b' ', b'~')[..2], *b"am");
        assert_eq!(bytes(&[0, 0], &[255, 255], 0.5, 0, 255)[..2], [127, 255]);
        let text = bytes(b"user-1", b"user-9", 0.25, b' ', b'~');
        assert!(text.starts_with(b"user-3"), "{text:?}");
    }

    #[test]
    fn what_was_taken_is_one_range_a_stratum() {
        let spread = Spread::new(vec![chunk(0, 100, 0), chunk(100, 200, 0)], Some(40), None);
        assert_eq!(spread.chunk_rows_max(), 20);
        for (lower, upper) in [(0, 10), (100, 110), (10, 20), (110, 120)] {
            assert!(!spread.is_enough());
            spread.take(&chunk(lower, upper, 10));
        }
        assert!(spread.is_enough());
        let covered = [chunk(0, 20, 20), chunk(100, 120, 20)];
        assert_eq!(spread.covered().as_deref(), Some(covered.as_slice()));
        spread.finish();
        assert_eq!(spread.covered(), None);
    }
}
