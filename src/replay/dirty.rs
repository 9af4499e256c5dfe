//! Which keys replay has changed, for those who must look at rows again.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::window::KeyBytes;
use crate::key::Key;

/// Records the keys of rows that replay has changed in the ghost, while somebody wants them. A key is
/// recorded after its change is committed; what is being applied comes with a later
/// [`DirtyKeys::drain`]. Memory is bounded: beyond the budget only the fact remains.
#[derive(Debug, Default)]
pub struct DirtyKeys {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    on: bool,
    bytes_max: usize,
    bytes: usize,
    keys: HashSet<KeyBytes>,
    overflow: bool,
    /// What was taken and is not settled yet.
    in_hand: HashSet<KeyBytes>,
    in_hand_overflow: bool,
}

/// What is to be looked at again.
#[derive(Debug, Default)]
pub struct Dirty {
    /// The keys, each once.
    pub keys: Vec<Key>,
    /// Keys were left out: the budget was too small, and everything must be looked at again.
    pub overflow: bool,
}

/// A slot of the set besides the key's bytes.
const KEY_BYTES: usize = 56;

impl DirtyKeys {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to record, with nothing recorded, up to so many bytes.
    pub fn record(&self, bytes_max: usize) {
        *self.lock() = Inner {
            on: true,
            bytes_max,
            ..Inner::default()
        };
    }

    /// Stops recording and forgets.
    pub fn stop(&self) {
        *self.lock() = Inner::default();
    }

    /// Takes what was recorded since the last time, and what was taken before and not [`DirtyKeys::settled`];
    /// goes on recording.
    pub fn drain(&self) -> Dirty {
        let mut inner = self.lock();
        inner.bytes = 0;
        let keys = std::mem::take(&mut inner.keys);
        inner.in_hand.extend(keys);
        inner.in_hand_overflow |= std::mem::take(&mut inner.overflow);
        Dirty {
            // Only bytes that a key wrote are recorded.
            keys: inner
                .in_hand
                .iter()
                .filter_map(|key| Key::from_bytes(key))
                .collect(),
            overflow: inner.in_hand_overflow,
        }
    }

    /// What was taken has been looked at.
    pub fn settled(&self) {
        let mut inner = self.lock();
        inner.in_hand = HashSet::new();
        inner.in_hand_overflow = false;
    }

    /// Records keys that others have recorded.
    pub fn seed(&self, keys: &[Key]) {
        let keys: Vec<KeyBytes> = keys.iter().map(Key::to_bytes).collect();
        self.add(keys.iter());
    }

    /// Everything that is yet to be looked at again; `None` if that is more than so many keys, or is not
    /// known, or nothing is recorded at all.
    pub fn unsettled(&self, keys_max: usize) -> Option<Vec<Key>> {
        let inner = self.lock();
        let lost = inner.overflow || inner.in_hand_overflow;
        if !inner.on || lost || inner.keys.len() + inner.in_hand.len() > keys_max {
            return None;
        }
        Some(
            inner
                .keys
                .union(&inner.in_hand)
                .filter_map(|key| Key::from_bytes(key))
                .collect(),
        )
    }

    /// What is recorded, which stays.
    pub fn look(&self) -> Dirty {
        let inner = self.lock();
        Dirty {
            keys: inner
                .keys
                .iter()
                .filter_map(|key| Key::from_bytes(key))
                .collect(),
            overflow: inner.overflow,
        }
    }

    /// Whether a key is recorded: it comes with the next [`DirtyKeys::drain`].
    pub fn contains(&self, key: &Key) -> bool {
        self.lock().keys.contains(&key.to_bytes())
    }

    /// How many keys are recorded.
    pub fn len(&self) -> usize {
        self.lock().keys.len()
    }

    /// Whether nothing is recorded.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets some keys.
    pub(super) fn remove<'a>(&self, keys: impl Iterator<Item = &'a KeyBytes>) {
        let mut inner = self.lock();
        if inner.keys.is_empty() {
            return;
        }
        for key in keys {
            if inner.keys.remove(key) {
                inner.bytes -= KEY_BYTES + key.len();
            }
        }
    }

    pub(super) fn add<'a>(&self, keys: impl Iterator<Item = &'a KeyBytes>) {
        let mut inner = self.lock();
        if !inner.on {
            return;
        }
        for key in keys {
            if inner.bytes + KEY_BYTES + key.len() > inner.bytes_max {
                inner.overflow |= !inner.keys.contains(key);
            } else if inner.keys.insert(key.clone()) {
                inner.bytes += KEY_BYTES + key.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Cell;

    #[test]
    fn records_within_its_budget() {
        let dirty = DirtyKeys::default();
        let keys: Vec<KeyBytes> = (0..3).map(|n| Key(vec![Cell::Int(n)]).to_bytes()).collect();
        dirty.add(keys.iter());
        assert!(dirty.is_empty(), "nobody wants them");
        dirty.record(2 * (KEY_BYTES + 9));
        dirty.add(keys[..2].iter());
        dirty.add(keys[..2].iter());
        let found = dirty.drain();
        assert_eq!((found.keys.len(), found.overflow), (2, false));
        dirty.settled();
        dirty.add(keys.iter());
        let found = dirty.drain();
        assert_eq!((found.keys.len(), found.overflow), (2, true));
        dirty.settled();
        assert!(!dirty.drain().overflow);
        dirty.add(keys[..2].iter());
        dirty.remove(keys[1..].iter());
        assert_eq!(dirty.look().keys, [Key(vec![Cell::Int(0)])]);
        assert!(dirty.contains(&Key(vec![Cell::Int(0)])));
        assert!(!dirty.contains(&Key(vec![Cell::Int(1)])));
        dirty.add(keys[1..2].iter());
        assert_eq!((dirty.len(), dirty.drain().overflow), (2, false));
    }

    #[test]
    fn what_is_in_hand_is_not_forgotten() {
        let dirty = DirtyKeys::default();
        let keys: Vec<Key> = (0..4).map(|n| Key(vec![Cell::Int(n)])).collect();
        assert_eq!(dirty.unsettled(9), None, "nothing is recorded");
        dirty.record(3 * (KEY_BYTES + 9));
        assert_eq!(dirty.unsettled(9), Some(Vec::new()));
        dirty.seed(&keys[..1]);
        assert_eq!(dirty.drain().keys, keys[..1]);
        dirty.seed(&keys[1..2]);
        assert_eq!(dirty.unsettled(2).map(|keys| keys.len()), Some(2));
        assert_eq!(dirty.unsettled(1), None, "too many");
        assert_eq!(dirty.drain().keys.len(), 2, "the first was not settled");
        dirty.settled();
        assert_eq!(dirty.unsettled(0), Some(Vec::new()));
        dirty.seed(&keys);
        assert_eq!(dirty.unsettled(9), None, "one is not known");
        assert!(dirty.drain().overflow);
        assert_eq!(dirty.unsettled(9), None, "it still is not");
        dirty.settled();
        assert_eq!(dirty.unsettled(0), Some(Vec::new()));
    }
}
