//! The bounds that a walk found, for another walk over the same key: to find them again, all of the key's index
//! is read once more. That was a fifth of what a comparison costs (MySQL 9.7: 0.42 of 2.1 s of processor time
//! for 1 M rows).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::key::Key;

/// Memory for the bounds. Beyond it every second one is forgotten.
const BYTES_MAX: usize = 1 << 20;

/// The bounds of a walk's finished prefix.
#[derive(Debug, Default)]
pub struct Trail {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Where the walk began; `None` before it did.
    from: Option<Option<Key>>,
    bounds: Vec<Bound>,
    bytes: usize,
    laid: u64,
}

#[derive(Clone, Debug)]
struct Bound {
    /// Its position among all that were laid, from 1.
    number: u64,
    key: Key,
    /// Rows that the walk met between the bound before and this one.
    rows: u64,
}

impl Trail {
    /// A walk begins at this key, or at the table's beginning. What another one has laid before is forgotten.
    pub(super) fn begin(&self, from: Option<Key>) {
        let mut inner = self.lock();
        *inner = Inner {
            from: Some(from),
            laid: inner.laid,
            ..Inner::default()
        };
    }

    /// The walk has finished everything up to this key, `rows` of it since the last one.
    pub(super) fn lay(&self, key: &Key, rows: u64) {
        let mut inner = self.lock();
        if inner.from.is_none() {
            return;
        }
        inner.laid += 1;
        inner.bytes += size_of::<Bound>() + key.heap_bytes();
        let bound = Bound {
            number: inner.laid,
            key: key.clone(),
            rows,
        };
        inner.bounds.push(bound);
        if inner.bytes > BYTES_MAX {
            inner.thin_out();
        }
    }

    /// Follows it from this key on, or from the table's beginning; `None` if it has no bound there.
    pub(super) fn follow(self: &Arc<Self>, from: Option<&Key>) -> Option<Follower> {
        let inner = self.lock();
        let begins_here = inner.from.as_ref()?.as_ref() == from;
        let at = match begins_here {
            true => inner
                .bounds
                .first()
                .map_or(inner.laid, |first| first.number - 1),
            false => {
                let mut bounds = inner.bounds.iter();
                bounds.find(|bound| Some(&bound.key) == from)?.number
            }
        };
        drop(inner);
        Some(Follower {
            trail: self.clone(),
            at,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Joins each bound with the one behind it; the last one stays.
    fn thin_out(&mut self) {
        let pairs = self.bounds.chunks(2).map(|pair| Bound {
            rows: pair.iter().map(|bound| bound.rows).sum(),
            ..pair[pair.len() - 1].clone()
        });
        self.bounds = pairs.collect();
        let sizes = self
            .bounds
            .iter()
            .map(|bound| size_of::<Bound>() + bound.key.heap_bytes());
        self.bytes = sizes.sum();
    }
}

/// A place on a trail.
#[derive(Debug)]
pub(super) struct Follower {
    trail: Arc<Trail>,
    /// The number of the bound that was reached.
    at: u64,
}

/// Where to go on a trail.
#[derive(Debug, PartialEq)]
pub(super) enum Ahead {
    /// The farthest bound within the rows asked for; if there is one behind it, with `more`.
    Bound { key: Key, more: bool, place: Place },
    /// The next bound is farther away than that.
    Far { key: Key, place: Place },
    /// There is no bound ahead.
    Nothing,
}

/// A bound that can be gone to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(u64);

impl Follower {
    /// What is ahead within about so many rows.
    pub(super) fn ahead(&self, rows: u64) -> Ahead {
        let inner = self.trail.lock();
        let start = inner
            .bounds
            .partition_point(|bound| bound.number <= self.at);
        let ahead = &inner.bounds[start..];
        let Some(first) = ahead.first() else {
            return Ahead::Nothing;
        };
        // What is cut off a bound that is only a little too far would make a small chunk.
        if first.rows > rows.saturating_mul(2) {
            return Ahead::Far {
                key: first.key.clone(),
                place: Place(first.number),
            };
        }
        let mut sum = first.rows;
        let mut taken = 1;
        while let Some(next) = ahead.get(taken) {
            sum = sum.saturating_add(next.rows);
            if sum > rows {
                break;
            }
            taken += 1;
        }
        let last = &ahead[taken - 1];
        Ahead::Bound {
            key: last.key.clone(),
            more: taken < ahead.len(),
            place: Place(last.number),
        }
    }

    /// Goes there.
    pub(super) fn go(&mut self, place: Place) {
        self.at = place.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Cell;

    fn key(n: u64) -> Key {
        Key(vec![Cell::UInt(n)])
    }

    /// Bounds at 10, 20 … with ten rows each.
    fn trail(bounds: u64) -> Arc<Trail> {
        let trail = Arc::new(Trail::default());
        trail.begin(None);
        for n in 1..=bounds {
            trail.lay(&key(n * 10), 10);
        }
        trail
    }

    fn bound(ahead: Ahead) -> (Key, bool, Place) {
        match ahead {
            Ahead::Bound { key, more, place } => (key, more, place),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn bounds_are_joined_to_the_size_asked_for() {
        let mut follower = trail(5).follow(None).unwrap();
        let (first, more, place) = bound(follower.ahead(25));
        assert_eq!((first, more), (key(20), true));
        follower.go(place);
        let (second, more, place) = bound(follower.ahead(1000));
        assert_eq!((second, more), (key(50), false), "all that is left");
        follower.go(place);
        assert_eq!(follower.ahead(10), Ahead::Nothing);
        follower.trail.lay(&key(60), 10);
        assert_eq!(bound(follower.ahead(10)).0, key(60), "laid meanwhile");
    }

    #[test]
    fn a_bound_too_far_is_told_apart() {
        let follower = trail(2).follow(None).unwrap();
        assert_eq!(
            bound(follower.ahead(5)).0,
            key(10),
            "twice as far is not too far"
        );
        assert!(matches!(follower.ahead(4), Ahead::Far { key: at, .. } if at == key(10)));
    }

    #[test]
    fn it_is_followed_from_its_beginning_or_from_one_of_its_bounds() {
        let trail = trail(3);
        let follower = trail.follow(Some(&key(20))).unwrap();
        assert_eq!(bound(follower.ahead(10)).0, key(30));
        assert!(trail.follow(Some(&key(21))).is_none());
        assert!(
            Arc::new(Trail::default()).follow(None).is_none(),
            "nobody went"
        );
        trail.begin(Some(key(7)));
        trail.lay(&key(9), 2);
        assert!(trail.follow(None).is_none());
        let follower = trail.follow(Some(&key(7))).unwrap();
        assert_eq!(bound(follower.ahead(5)).0, key(9));
    }

    #[test]
    fn its_memory_is_bounded_and_no_rows_are_forgotten() {
        let trail = Arc::new(Trail::default());
        trail.begin(None);
        let follower = trail.follow(None).unwrap();
        let long = |n: u64| Key(vec![Cell::Bytes(vec![0; 1000]), Cell::UInt(n)]);
        for n in 1..=10_000 {
            trail.lay(&long(n), 10);
        }
        let inner = trail.lock();
        assert!(inner.bytes <= BYTES_MAX);
        assert_eq!(
            inner.bounds.iter().map(|bound| bound.rows).sum::<u64>(),
            100_000
        );
        drop(inner);
        assert_eq!(bound(follower.ahead(1_000_000)).0, long(10_000));
    }
}
