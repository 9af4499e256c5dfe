//! Which chunks are finished, and how far without a gap.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::trail::Trail;
use crate::chunk::{Chunk, LowWatermark};

/// Neighbouring suspects are merged; beyond this many the gaps between them are included too.
const SUSPECTS_MAX: usize = 1000;

/// Collects finished chunks, in any order, and publishes the low watermark.
#[derive(Debug)]
pub struct Track {
    inner: Mutex<Inner>,
    sender: watch::Sender<LowWatermark>,
    lays: Option<Arc<Trail>>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Finished chunks beyond the prefix: their ends and rows.
    beyond: BTreeMap<u64, (Chunk, u64)>,
    /// The number of the first chunk that is not in the prefix.
    next_number: u64,
    /// How many chunks there are, once the last bound is known.
    all: Option<u64>,
    mark: LowWatermark,
}

impl Track {
    /// Begins with what the channel holds: a resumed walk goes on counting. The ends of the chunks of the prefix
    /// are laid on a trail, if one is given.
    pub fn new(sender: watch::Sender<LowWatermark>, lays: Option<Arc<Trail>>) -> Track {
        let mark = LowWatermark {
            finished: false,
            ..sender.borrow().clone()
        };
        Track {
            inner: Mutex::new(Inner {
                mark,
                ..Inner::default()
            }),
            sender,
            lays,
        }
    }

    /// A chunk is finished, with so many rows read.
    pub fn finished(&self, chunk: Chunk, rows: u64) {
        let mut inner = self.lock();
        inner.beyond.insert(chunk.number, (chunk, rows));
        loop {
            let number = inner.next_number;
            let Some((chunk, rows)) = inner.beyond.remove(&number) else {
                break;
            };
            inner.next_number += 1;
            inner.mark.chunks += 1;
            inner.mark.rows += rows;
            if let (Some(trail), Some(upper)) = (&self.lays, &chunk.upper) {
                trail.lay(upper, rows);
            }
            inner.mark.next = chunk.upper;
        }
        self.publish(inner);
    }

    /// A range needs a second look.
    pub fn suspect(&self, chunk: &Chunk) {
        let mut inner = self.lock();
        add_suspect(&mut inner.mark.suspects, chunk);
        self.publish(inner);
    }

    /// There are so many chunks in all.
    pub fn all(&self, chunks: u64) {
        let mut inner = self.lock();
        inner.all = Some(chunks);
        self.publish(inner);
    }

    /// The watermark now.
    pub fn watermark(&self) -> LowWatermark {
        self.lock().mark.clone()
    }

    fn publish(&self, mut inner: MutexGuard<'_, Inner>) {
        if inner.all == Some(inner.next_number) {
            inner.mark.finished = true;
        }
        let mark = inner.mark.clone();
        // Sent before the lock is released, so that an older watermark never follows a newer one.
        self.sender.send_replace(mark);
        drop(inner);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds a range to the list, which is in no order; beyond [`SUSPECTS_MAX`] one range over everything
/// takes their place: looking at too much is right, forgetting is not.
fn add_suspect(suspects: &mut Vec<Chunk>, chunk: &Chunk) {
    if suspects.len() == 1 && suspects[0].lower.is_none() && suspects[0].upper.is_none() {
        return;
    }
    if let Some(neighbour) = suspects
        .iter_mut()
        .find(|known| known.upper.is_some() && known.upper == chunk.lower && !known.upper_included)
    {
        neighbour.upper = chunk.upper.clone();
        neighbour.upper_included = chunk.upper_included;
        neighbour.rows_expected += chunk.rows_expected;
        return;
    }
    if suspects.len() < SUSPECTS_MAX {
        suspects.push(chunk.clone());
        return;
    }
    let rows_expected = suspects.iter().map(|known| known.rows_expected).sum();
    *suspects = vec![Chunk {
        number: 0,
        lower: None,
        upper: None,
        upper_included: false,
        rows_expected,
    }];
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Key;
    use crate::row::Cell;

    fn key(n: i64) -> Option<Key> {
        Some(Key(vec![Cell::Int(n)]))
    }

    fn chunk(number: u64) -> Chunk {
        let at = number.cast_signed() * 10;
        Chunk {
            number,
            lower: key(at),
            upper: key(at + 10),
            upper_included: false,
            rows_expected: 10,
        }
    }

    #[test]
    fn the_watermark_has_no_gap() {
        let (sender, receiver) = watch::channel(LowWatermark::default());
        let track = Track::new(sender, None);
        track.finished(chunk(1), 10);
        assert_eq!(receiver.borrow().next, None);
        track.finished(chunk(2), 10);
        track.finished(chunk(0), 9);
        assert_eq!(receiver.borrow().next, key(30));
        assert_eq!(receiver.borrow().rows, 29);
        assert!(!receiver.borrow().finished);
        track.all(4);
        assert!(!receiver.borrow().finished);
        track.finished(chunk(3), 1);
        assert!(receiver.borrow().finished);
        assert_eq!(track.watermark().chunks, 4);
    }

    #[test]
    fn no_chunks_are_finished_at_once() {
        let (sender, receiver) = watch::channel(LowWatermark::default());
        Track::new(sender, None).all(0);
        assert!(receiver.borrow().finished);
    }

    #[test]
    fn suspects_are_never_forgotten() {
        let mut suspects = Vec::new();
        add_suspect(&mut suspects, &chunk(4));
        add_suspect(&mut suspects, &chunk(5));
        assert_eq!(suspects.len(), 1);
        assert_eq!(suspects[0].upper, key(60));
        for number in 0..SUSPECTS_MAX as u64 {
            add_suspect(&mut suspects, &chunk(100 + 2 * number));
        }
        assert_eq!(suspects.len(), 1);
        assert_eq!((&suspects[0].lower, &suspects[0].upper), (&None, &None));
        add_suspect(&mut suspects, &chunk(7));
        assert_eq!(suspects.len(), 1);
    }
}
