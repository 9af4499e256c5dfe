//! The changes collected since the last flush: one final state for each key.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::change::RowChange;

/// The bytes that identify a row: [`crate::key::Key::to_bytes`].
pub type KeyBytes = Box<[u8]>;

/// What a row of the ghost must become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FinalState {
    /// There is no such row.
    Delete,
    /// The row has these values: the literals of [`crate::change::After::values`], or, without them,
    /// whatever the original has when it is read again.
    Upsert(Option<Box<str>>),
}

/// One row of a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// What it must become.
    pub state: FinalState,
    /// The place in the [`super::ledger::Ledger`] of the oldest change in it that is not applied.
    pub oldest: u64,
    /// How many changes of the row are in it.
    pub changes: u32,
    /// Whether the row was gone in between: what is put in is another row of the same key, which has
    /// nothing of the former's columns that replay does not feed.
    pub recreated: bool,
}

impl Pending {
    /// Whether a row of its key that was there before is gone or to go.
    fn ends_former(&self) -> bool {
        self.recreated || self.state == FinalState::Delete
    }
}

/// Bytes that a row takes besides its key and values: the table's slot (which is at times half empty),
/// two allocations.
const ROW_BYTES: usize = 144;

/// Final states by key. What it holds is a prefix of the original's history folded together, so its
/// states belong to one point of that history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window {
    rows: HashMap<KeyBytes, Pending>,
    bytes: usize,
}

/// Numerator and denominator: a full backlog of 256 MiB by the rows alone made the program take 1.3 times as
/// much, by the slack of hash tables and of the allocator. With this it stays below what it is given.
const SLACK: (usize, usize) = (3, 2);

fn row_bytes(key: &KeyBytes, state: &FinalState) -> usize {
    let values = match state {
        FinalState::Upsert(Some(values)) => values.len(),
        FinalState::Upsert(None) | FinalState::Delete => 0,
    };
    (ROW_BYTES + key.len() + values) * SLACK.0 / SLACK.1
}

impl Window {
    /// How many rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// About how many bytes of memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The rows, in no order.
    pub fn rows(&self) -> impl Iterator<Item = (&KeyBytes, &Pending)> {
        self.rows.iter()
    }

    /// The rows with their keys.
    pub fn into_rows(self) -> impl Iterator<Item = (KeyBytes, Pending)> {
        self.rows.into_iter()
    }

    /// One row.
    pub fn get(&self, key: &[u8]) -> Option<&Pending> {
        self.rows.get(key)
    }

    /// Adds a change that is newer than all it has; `place` is its place in the ledger. Returns how many
    /// keys are new.
    pub fn add(&mut self, change: RowChange, place: u64) -> u64 {
        let before = change.before.map(|key| key.to_bytes());
        let after = change.after.map(|after| {
            let key = after.key.to_bytes();
            (key, FinalState::Upsert(after.values))
        });
        let mut new = 0;
        if let Some(before) = before
            && after.as_ref().is_none_or(|(key, _)| *key != before)
        {
            new += u64::from(self.set(before, FinalState::Delete, place));
        }
        if let Some((key, state)) = after {
            new += u64::from(self.set(key, state, place));
        }
        new
    }

    /// Sets a newer state; true if the key is new.
    fn set(&mut self, key: KeyBytes, state: FinalState, place: u64) -> bool {
        self.bytes += row_bytes(&key, &state);
        match self.rows.entry(key) {
            Entry::Occupied(mut slot) => {
                self.bytes -= row_bytes(slot.key(), &slot.get().state);
                let row = slot.get_mut();
                row.recreated = row.ends_former();
                row.state = state;
                row.changes = row.changes.saturating_add(1);
                false
            }
            Entry::Vacant(slot) => {
                slot.insert(Pending {
                    state,
                    oldest: place,
                    changes: 1,
                    recreated: false,
                });
                true
            }
        }
    }

    /// Puts one row of an older window under this one: a newer state stays, and from now on stands for
    /// the older changes too. Returns the place that is no longer the oldest of any row, if both had it.
    pub fn absorb_row(&mut self, key: KeyBytes, older: Pending) -> Option<u64> {
        match self.rows.entry(key) {
            Entry::Occupied(mut slot) => {
                let row = slot.get_mut();
                row.recreated |= older.ends_former();
                let released = row.oldest.max(older.oldest);
                row.oldest = row.oldest.min(older.oldest);
                row.changes = row.changes.saturating_add(older.changes);
                Some(released)
            }
            Entry::Vacant(slot) => {
                self.bytes += row_bytes(slot.key(), &older.state);
                slot.insert(older);
                None
            }
        }
    }

    /// Puts an older window under this one; see [`Window::absorb_row`]. `released` is told each place
    /// that is no longer the oldest of a row.
    pub fn absorb(&mut self, older: Window, mut released: impl FnMut(u64)) {
        for (key, row) in older.rows {
            if let Some(place) = self.absorb_row(key, row) {
                released(place);
            }
        }
    }

    /// Takes a row out.
    pub fn remove(&mut self, key: &[u8]) -> Option<(KeyBytes, Pending)> {
        let (key, row) = self.rows.remove_entry(key)?;
        self.bytes -= row_bytes(&key, &row.state);
        Some((key, row))
    }

    /// Takes out all rows for which `take` says so.
    pub fn split_off(&mut self, mut take: impl FnMut(&[u8]) -> bool) -> Window {
        let mut taken = Window::default();
        for (key, row) in self.rows.extract_if(|key, _| take(key)) {
            let bytes = row_bytes(&key, &row.state);
            self.bytes -= bytes;
            taken.bytes += bytes;
            taken.rows.insert(key, row);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::change::After;
    use crate::key::Key;
    use crate::row::Cell;

    type Table = BTreeMap<Vec<u8>, String>;

    fn key(n: i64) -> Key {
        Key(vec![Cell::Int(n)])
    }

    fn change(before: Option<i64>, after: Option<(i64, u8)>) -> RowChange {
        RowChange {
            before: before.map(key),
            after: after.map(|(n, value)| After {
                key: key(n),
                values: Some(value.to_string().into()),
            }),
        }
    }

    /// One change after the other, as the original had them.
    fn apply_change(table: &mut Table, change: &RowChange) {
        if let Some(before) = &change.before {
            table.remove(&before.to_bytes().to_vec());
        }
        if let Some(after) = &change.after {
            let values = after.values.clone().unwrap_or_default();
            table.insert(after.key.to_bytes().to_vec(), values.into());
        }
    }

    fn apply_window(table: &mut Table, window: &Window) {
        for (key, row) in window.rows() {
            match &row.state {
                FinalState::Delete => table.remove(&key.to_vec()),
                FinalState::Upsert(values) => {
                    table.insert(key.to_vec(), values.clone().unwrap_or_default().into())
                }
            };
        }
    }

    fn changes() -> impl Strategy<Value = Vec<RowChange>> {
        let one =
            (0..3u8, 0..6i64, 0..6i64, any::<u8>()).prop_map(|(kind, a, b, value)| match kind {
                0 => change(None, Some((a, value))),
                1 => change(Some(a), None),
                _ => change(Some(a), Some((b, value))),
            });
        proptest::collection::vec(one, 0..40)
    }

    fn bytes_anew(window: &Window) -> usize {
        window
            .rows()
            .map(|(key, row)| row_bytes(key, &row.state))
            .sum()
    }

    #[test]
    fn a_changed_key_is_a_delete_and_an_upsert() {
        let mut window = Window::default();
        assert_eq!(window.add(change(Some(1), Some((2, 7))), 5), 2);
        assert_eq!(window.add(change(Some(2), Some((2, 8))), 6), 0);
        let row = |n| window.get(&key(n).to_bytes()).unwrap().clone();
        assert_eq!(row(1).state, FinalState::Delete);
        assert_eq!(row(2).state, FinalState::Upsert(Some("8".into())));
        assert_eq!((row(2).oldest, row(2).changes), (5, 2));
    }

    #[test]
    fn a_row_that_was_gone_is_another() {
        let recreated = |window: &Window| window.get(&key(1).to_bytes()).unwrap().recreated;
        let mut window = Window::default();
        window.add(change(Some(1), Some((1, 7))), 1);
        assert!(!recreated(&window));
        window.add(change(Some(1), None), 2);
        window.add(change(None, Some((1, 8))), 3);
        assert!(recreated(&window));
        let mut older = Window::default();
        older.add(change(Some(1), None), 1);
        let mut newer = Window::default();
        newer.add(change(None, Some((1, 9))), 2);
        assert!(!recreated(&newer));
        newer.absorb(older, |_| {});
        assert!(recreated(&newer));
    }

    proptest! {
        /// Final states do what all changes in their order do, however they are cut into windows and
        /// put back.
        #[test]
        fn final_states_are_enough(first in changes(), second in changes()) {
            let mut expected = Table::new();
            let mut older = Window::default();
            let mut newer = Window::default();
            for (place, change) in first.iter().enumerate() {
                apply_change(&mut expected, change);
                older.add(change.clone(), place as u64);
            }
            let mut table = Table::new();
            apply_window(&mut table, &older);
            prop_assert_eq!(&table, &expected);
            let keys_of_first = older.len() as u64;

            let mut keys = 0;
            for (place, change) in second.iter().enumerate() {
                apply_change(&mut expected, change);
                keys += newer.add(change.clone(), 100 + place as u64);
            }
            prop_assert_eq!(keys as usize, newer.len());
            apply_window(&mut table, &newer);
            prop_assert_eq!(&table, &expected);

            let mut merged = newer.clone();
            let mut released = 0;
            merged.absorb(older.clone(), |place| { released += u64::from(place >= 100) });
            let mut once = Table::new();
            apply_window(&mut once, &merged);
            prop_assert_eq!(&once, &expected);
            prop_assert_eq!(merged.len() as u64 + released, keys + keys_of_first);
            prop_assert_eq!(merged.bytes(), bytes_anew(&merged));
            for (key, row) in older.rows() {
                prop_assert_eq!(merged.get(key).unwrap().oldest, row.oldest);
            }

            let mut rest = merged.clone();
            let part = rest.split_off(|key| key[1] % 2 == 0);
            prop_assert_eq!(part.bytes() + rest.bytes(), merged.bytes());
            prop_assert_eq!(part.bytes(), bytes_anew(&part));
            prop_assert_eq!(part.len() + rest.len(), merged.len());
        }
    }
}
