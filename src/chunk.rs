//! A range of the migration key that is copied, or compared, by one statement.

use std::cmp::Ordering;

use crate::key::Key;

/// A half-open range `[lower, upper)` of the migration key in the order of its index; the last chunk
/// includes its upper end, which is the greatest key that existed when the copy began.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk {
    /// Position in the sequence of chunks, from 0; what the low watermark counts.
    pub number: u64,
    /// The first key of the range; `None` begins at the table's beginning.
    pub lower: Option<Key>,
    /// The end of the range; `None` goes to the table's end.
    pub upper: Option<Key>,
    /// Whether a row whose key equals `upper` belongs to the range: so for the last chunk.
    pub upper_included: bool,
    /// How many rows the bounds were fetched for; an estimate.
    pub rows_expected: u64,
}

impl Chunk {
    /// Whether a key lies in the range; `None` if the key's kind has no order in memory.
    pub fn contains(&self, key: &Key, descending: &[bool]) -> Option<bool> {
        if let Some(lower) = &self.lower
            && key.compare(lower, descending)? == Ordering::Less
        {
            return Some(false);
        }
        if let Some(upper) = &self.upper {
            return Some(match key.compare(upper, descending)? {
                Ordering::Less => true,
                Ordering::Equal => self.upper_included,
                Ordering::Greater => false,
            });
        }
        Some(true)
    }
}

/// How far a walk over the table has come: the contiguous finished prefix of its chunks. What a
/// checkpoint keeps, and what a later walk begins with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LowWatermark {
    /// The first key that is not in the finished prefix; `None` before the first chunk has finished.
    pub next: Option<Key>,
    /// Whether all chunks are finished; [`LowWatermark::next`] means nothing then.
    pub finished: bool,
    /// Chunks of the prefix.
    pub chunks: u64,
    /// Rows read in the prefix.
    pub rows: u64,
    /// Chunks, of the prefix or beyond, that need a second look.
    pub suspects: Vec<Chunk>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Cell;

    fn key(n: i64) -> Key {
        Key(vec![Cell::Int(n)])
    }

    #[test]
    fn ranges_are_half_open_but_for_the_last() {
        let mut chunk = Chunk {
            number: 0,
            lower: Some(key(10)),
            upper: Some(key(20)),
            upper_included: false,
            rows_expected: 10,
        };
        let inside = |chunk: &Chunk, n| chunk.contains(&key(n), &[false]);
        assert_eq!(inside(&chunk, 9), Some(false));
        assert_eq!(inside(&chunk, 10), Some(true));
        assert_eq!(inside(&chunk, 20), Some(false));
        chunk.upper_included = true;
        assert_eq!(inside(&chunk, 20), Some(true));
        assert_eq!(inside(&chunk, 21), Some(false));
        chunk.upper = None;
        assert_eq!(inside(&chunk, i64::MAX), Some(true));
        assert_eq!(chunk.contains(&Key(vec![Cell::Null]), &[false]), None);
    }

    #[test]
    fn descending_keys_run_backwards() {
        let chunk = Chunk {
            number: 0,
            lower: Some(key(20)),
            upper: Some(key(10)),
            upper_included: false,
            rows_expected: 10,
        };
        assert_eq!(chunk.contains(&key(15), &[true]), Some(true));
        assert_eq!(chunk.contains(&key(20), &[true]), Some(true));
        assert_eq!(chunk.contains(&key(10), &[true]), Some(false));
    }
}
