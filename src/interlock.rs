//! The one place where copy and replay meet: which chunks have an open read view, and which received
//! transactions are not yet proven visible to one.
//!
//! The lock-free copy reads without locks, so it may read a row that a transaction, whose events replay
//! has already received, is about to change: a binlog event can arrive before its commit is visible
//! (ARCHITECTURE.md, "Why no row is lost"). Two things make it right, and both live here:
//!
//! 1. *The gate.* A chunk is opened first; then every GTID received so far is proven to be in
//!    `@@gtid_executed`; only then the chunk's statement runs. What was received before the chunk was
//!    opened is therefore visible to its read view.
//! 2. *Holding back.* What is received after the chunk was opened and lies in its range is held back
//!    by replay until the chunk has committed, and is applied then.
//!
//! A pure state machine; no I/O, no waiting.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::chunk::Chunk;
use crate::coordinates::{GtidSet, Step};
use crate::key::Key;

/// See the module's text. Shared by the copy's workers and replay's backlog.
#[derive(Debug, Default)]
pub struct Interlock {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    descending: Vec<bool>,
    open: Vec<(u64, Chunk)>,
    next_token: u64,
    unconfirmed: GtidSet,
    gated: bool,
}

/// An open chunk; closes when dropped, which must not be before its transaction has ended.
#[derive(Debug)]
pub struct OpenChunk<'a> {
    interlock: &'a Interlock,
    token: u64,
}

impl Drop for OpenChunk<'_> {
    fn drop(&mut self) {
        let token = self.token;
        self.interlock.lock().open.retain(|(t, _)| *t != token);
    }
}

impl Interlock {
    /// An interlock for a key with these directions. Until [`Interlock::gate`] is called it holds
    /// nothing and remembers nothing: the locking copy needs neither.
    pub fn new(descending: Vec<bool>) -> Interlock {
        Interlock {
            inner: Mutex::new(Inner {
                descending,
                ..Inner::default()
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here can panic half way; a poisoned lock still guards a whole value.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to remember received GTIDs: to be called before the stream starts when the copy will be
    /// lock-free.
    pub fn gate(&self) {
        self.lock().gated = true;
    }

    /// A transaction was received, or begins to be.
    pub fn received(&self, step: &Step) {
        let mut inner = self.lock();
        if inner.gated
            && let Step::Gtid(source, number) = step
        {
            inner.unconfirmed.add(source, *number);
        }
    }

    /// Opens a chunk: from now on its keys are held back.
    pub fn open(&self, chunk: &Chunk) -> OpenChunk<'_> {
        let mut inner = self.lock();
        let token = inner.next_token;
        inner.next_token += 1;
        inner.open.push((token, chunk.clone()));
        OpenChunk {
            interlock: self,
            token,
        }
    }

    /// The GTIDs received and not yet proven executed; ask for them after opening the chunk.
    pub fn unconfirmed(&self) -> GtidSet {
        self.lock().unconfirmed.clone()
    }

    /// These GTIDs were seen in `@@gtid_executed`.
    pub fn confirm(&self, executed: &GtidSet) {
        let mut inner = self.lock();
        inner.unconfirmed = inner.unconfirmed.difference(executed);
    }

    /// Whether a change of this key must wait: it lies in an open chunk, or cannot be told not to.
    pub fn holds(&self, key: &Key) -> bool {
        let inner = self.lock();
        inner
            .open
            .iter()
            .any(|(_, chunk)| chunk.contains(key, &inner.descending).unwrap_or(true))
    }

    /// Whether any chunk is open: a cheap question before many of [`Interlock::holds`].
    pub fn any_open(&self) -> bool {
        !self.lock().open.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinates::GtidSource;
    use crate::row::Cell;

    fn chunk(from: i64, to: i64) -> Chunk {
        Chunk {
            number: 0,
            lower: Some(Key(vec![Cell::Int(from)])),
            upper: Some(Key(vec![Cell::Int(to)])),
            upper_included: false,
            rows_expected: 1,
        }
    }

    #[test]
    fn keys_of_open_chunks_are_held() {
        let interlock = Interlock::new(vec![false]);
        let key = |n| Key(vec![Cell::Int(n)]);
        let first = interlock.open(&chunk(0, 10));
        let second = interlock.open(&chunk(20, 30));
        assert!(interlock.holds(&key(5)) && interlock.holds(&key(20)));
        assert!(!interlock.holds(&key(10)));
        assert!(
            interlock.holds(&Key(vec![Cell::Null])),
            "what has no order is held"
        );
        drop(first);
        assert!(!interlock.holds(&key(5)) && interlock.holds(&key(25)));
        drop(second);
        assert!(!interlock.any_open());
    }

    #[test]
    fn what_was_received_is_unconfirmed_until_executed() {
        let source = GtidSource {
            uuid: "3e11fa47-71ca-11e1-9e33-c80aa9429562".into(),
            tag: String::new(),
        };
        let interlock = Interlock::new(vec![false]);
        interlock.received(&Step::Gtid(source.clone(), 1));
        assert!(
            interlock.unconfirmed().is_empty(),
            "not gated: not remembered"
        );
        interlock.gate();
        interlock.received(&Step::Gtid(source.clone(), 2));
        interlock.received(&Step::Gtid(source.clone(), 3));
        let mut executed = GtidSet::default();
        executed.add(&source, 2);
        interlock.confirm(&executed);
        let mut left = GtidSet::default();
        left.add(&source, 3);
        assert_eq!(interlock.unconfirmed(), left);
    }
}
