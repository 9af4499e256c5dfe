//! One transaction while it is read.
//!
//! Its rows are kept until its end, as long as they are few: the binlog may have rows that are taken back
//! again by `ROLLBACK` or `ROLLBACK TO` (where a temporary table or another engine took part, servers
//! write both), and what was handed on cannot be taken back. A transaction of many rows is handed on as
//! it comes.

use crate::change::RowChange;
use crate::coordinates::Step;
use crate::key::Key;

/// Rows of a transaction are kept back up to this many bytes.
const KEPT_BYTES_MAX: usize = 8 << 20;

/// A transaction, or a statement that stands alone.
#[derive(Debug, Default)]
pub struct Group {
    /// Its GTID.
    pub step: Option<Step>,
    /// When it was committed, microseconds since 1970.
    pub committed_micros: u64,
    /// Whether its BEGIN was seen.
    pub begun: bool,
    /// Whether it is an XA transaction: all its rows are kept.
    pub xa: bool,
    kept: Vec<RowChange>,
    kept_bytes: usize,
    handed_on: usize,
    /// Savepoints with the number of rows before them.
    savepoints: Vec<(String, usize)>,
}

/// Rows that were handed on cannot be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLate;

impl Group {
    /// One that begins.
    pub fn new(step: Option<Step>, committed_micros: u64) -> Group {
        Group {
            step,
            committed_micros,
            ..Group::default()
        }
    }

    /// Whether some of its rows were handed on.
    pub fn begun_to_hand_on(&self) -> bool {
        self.handed_on > 0
    }

    /// Bytes of the rows that are kept.
    pub fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    /// Takes a row; gives those out that are to be handed on now.
    pub fn push(&mut self, change: RowChange) -> Vec<RowChange> {
        self.kept_bytes += bytes_of(&change);
        self.kept.push(change);
        if self.xa || self.kept_bytes <= KEPT_BYTES_MAX {
            return Vec::new();
        }
        self.take()
    }

    /// Gives out all rows that are kept.
    pub fn take(&mut self) -> Vec<RowChange> {
        self.handed_on += self.kept.len();
        self.kept_bytes = 0;
        std::mem::take(&mut self.kept)
    }

    /// A savepoint was set.
    pub fn savepoint(&mut self, name: String) {
        self.savepoints.retain(|(other, _)| *other != name);
        self.savepoints
            .push((name, self.handed_on + self.kept.len()));
    }

    /// Forgets the rows since a savepoint.
    ///
    /// # Errors
    /// Some were handed on, or the savepoint was set nobody knows where.
    pub fn roll_back_to(&mut self, name: &str) -> Result<(), TooLate> {
        let known = self.savepoints.iter().find(|(other, _)| other == name);
        let rows = known.map_or(0, |(_, rows)| *rows);
        if known.is_none() && self.handed_on + self.kept.len() == 0 {
            return Ok(());
        }
        let kept = rows.checked_sub(self.handed_on);
        let kept = kept.filter(|_| known.is_some()).ok_or(TooLate)?;
        self.kept.truncate(kept);
        self.kept_bytes = self.kept.iter().map(bytes_of).sum();
        Ok(())
    }
}

/// About how many bytes a change holds in memory.
pub fn bytes_of(change: &RowChange) -> usize {
    let key = |key: Option<&Key>| key.map_or(0, Key::heap_bytes);
    let values = change
        .after
        .as_ref()
        .and_then(|after| after.values.as_ref());
    std::mem::size_of::<RowChange>()
        + key(change.before.as_ref())
        + key(change.after.as_ref().map(|after| &after.key))
        + values.map_or(0, |values| values.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Cell;

    fn change(size: usize) -> RowChange {
        RowChange {
            before: Some(Key(vec![Cell::Bytes(vec![0; size])])),
            after: None,
        }
    }

    #[test]
    fn rows_since_a_savepoint_are_forgotten() {
        let mut group = Group::default();
        group.push(change(1));
        group.savepoint("a".into());
        group.push(change(2));
        group.savepoint("b".into());
        group.push(change(3));
        assert_eq!(group.roll_back_to("b"), Ok(()));
        group.push(change(4));
        assert_eq!(group.roll_back_to("a"), Ok(()));
        group.push(change(5));
        assert_eq!(group.roll_back_to("unknown"), Err(TooLate));
        assert_eq!(group.take(), [change(1), change(5)]);
    }

    #[test]
    fn what_was_handed_on_cannot_be_taken_back() {
        let mut group = Group::default();
        group.savepoint("a".into());
        assert!(group.push(change(10)).is_empty());
        assert_eq!(group.push(change(KEPT_BYTES_MAX)).len(), 2);
        group.savepoint("b".into());
        group.push(change(1));
        assert_eq!(group.roll_back_to("b"), Ok(()));
        assert_eq!(group.roll_back_to("a"), Err(TooLate));
    }

    #[test]
    fn an_xa_transaction_keeps_all() {
        let mut group = Group {
            xa: true,
            ..Group::default()
        };
        assert!(group.push(change(KEPT_BYTES_MAX)).is_empty());
        assert!(group.push(change(1)).is_empty());
        assert_eq!(group.take().len(), 2);
    }
}
