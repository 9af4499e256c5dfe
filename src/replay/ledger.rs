//! Which received transactions are in the ghost: applied coordinate, markers and heartbeats.

use std::collections::VecDeque;

use crate::coordinates::{Coordinates, GtidSet, MariaGtids, Step};

/// So many entries are kept one a transaction; beyond, transactions share entries.
const FINE_ENTRIES: usize = 1024;

/// Something written into the changelog table that comes back through the binlog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// When it was sent, microseconds since 1970 by our clock.
    Heartbeat(u64),
    /// A marker by name.
    Marker(String),
}

/// The transactions that are received and not applied, in the binlog's order.
///
/// A row of a window remembers the place of the oldest change in it; here is counted how many rows
/// remember each place. The applied coordinate is everything before the first place that is remembered.
/// Places are entries of a queue; transactions without changes join the entry before them, and where very
/// many wait, several with changes share one, so that memory stays small.
#[derive(Debug)]
pub struct Ledger {
    received: Coordinates,
    applied: Coordinates,
    entries: VecDeque<Entry>,
    /// The place of the first entry.
    first: u64,
    /// Transactions in all entries.
    waiting: u64,
    /// Whether the transaction being received has an entry; it is then the last.
    open: bool,
    marks: VecDeque<(u64, Mark)>,
}

#[derive(Debug, Default)]
struct Entry {
    /// Rows whose oldest change is here.
    rows: u64,
    transactions: u64,
    adds: Adds,
}

/// What the transactions of an entry add to the coordinates.
#[derive(Debug, Default)]
enum Adds {
    #[default]
    Nothing,
    One(Step),
    Gtid(GtidSet),
    Maria(MariaGtids),
}

impl Adds {
    fn push(&mut self, step: Step) {
        *self = match (std::mem::take(self), step) {
            (Adds::Nothing, step) => Adds::One(step),
            (Adds::One(Step::Gtid(source, number)), Step::Gtid(next, next_number)) => {
                let mut set = GtidSet::default();
                set.add(&source, number);
                set.add(&next, next_number);
                Adds::Gtid(set)
            }
            (Adds::Gtid(mut set), Step::Gtid(source, number)) => {
                set.add(&source, number);
                Adds::Gtid(set)
            }
            (Adds::One(Step::Maria(domain, server, sequence)), Step::Maria(d, s, q)) => {
                let mut position = MariaGtids::default();
                position.0.insert(domain, (server, sequence));
                position.0.insert(d, (s, q));
                Adds::Maria(position)
            }
            (Adds::Maria(mut position), Step::Maria(domain, server, sequence)) => {
                position.0.insert(domain, (server, sequence));
                Adds::Maria(position)
            }
            // Of places in files the last counts. Streams never mix kinds (see `Coordinates::advance`).
            (_, step) => Adds::One(step),
        };
    }

    fn move_on(self, coordinates: &mut Coordinates) {
        match (self, coordinates) {
            (Adds::Nothing, _) => {}
            (Adds::One(step), coordinates) => coordinates.advance(&step),
            (Adds::Gtid(added), Coordinates::Gtid(set)) => set.union(&added),
            (Adds::Maria(added), Coordinates::Maria(position)) => position.0.extend(added.0),
            (Adds::Gtid(_) | Adds::Maria(_), _) => {}
        }
    }
}

impl Ledger {
    /// An empty one: everything up to `start` is in the ghost or will be by the copy.
    pub fn new(start: Coordinates) -> Ledger {
        Ledger {
            received: start.clone(),
            applied: start,
            entries: VecDeque::new(),
            first: 0,
            waiting: 0,
            open: false,
            marks: VecDeque::new(),
        }
    }

    /// Everything up to here was received.
    pub fn received(&self) -> &Coordinates {
        &self.received
    }

    /// Everything up to here is in the ghost.
    pub fn applied(&self) -> &Coordinates {
        &self.applied
    }

    /// A transaction begins. One that was open is begun anew (the reader connected again): its changes
    /// so far stay and hold the coordinate back until they are applied.
    pub fn begin(&mut self) {
        self.open = false;
    }

    /// The place of a change of the transaction being received.
    pub fn place(&mut self) -> u64 {
        if !self.open {
            let share = 1 + self.waiting / FINE_ENTRIES as u64;
            let joins = self.entries.len() >= FINE_ENTRIES
                && self
                    .entries
                    .back()
                    .is_some_and(|entry| entry.transactions < share);
            if !joins {
                self.entries.push_back(Entry::default());
            }
            self.open = true;
        }
        self.first + self.entries.len() as u64 - 1
    }

    /// `rows` more rows have this place as their oldest.
    pub fn remember(&mut self, place: u64, rows: u64) {
        if let Some(entry) = self.entry(place) {
            entry.rows += rows;
        }
    }

    /// `rows` rows no longer have this place as their oldest.
    pub fn release(&mut self, place: u64, rows: u64) {
        if let Some(entry) = self.entry(place) {
            debug_assert!(entry.rows >= rows, "released more rows than remembered");
            entry.rows = entry.rows.saturating_sub(rows);
        }
    }

    fn entry(&mut self, place: u64) -> Option<&mut Entry> {
        let index = place.checked_sub(self.first)?;
        self.entries.get_mut(usize::try_from(index).ok()?)
    }

    /// The transaction being received has ended.
    pub fn commit(&mut self, step: Step) {
        self.received.advance(&step);
        self.open = false;
        match self.entries.back_mut() {
            None => self.applied.advance(&step),
            Some(entry) => {
                entry.adds.push(step);
                entry.transactions += 1;
                self.waiting += 1;
            }
        }
    }

    /// A mark was received. It counts as applied when everything received so far is.
    pub fn mark(&mut self, mark: Mark) {
        self.marks
            .push_back((self.first + self.entries.len() as u64, mark));
    }

    /// Moves the applied coordinate as far as it may go; returns the marks that it has passed.
    pub fn settle(&mut self) -> Vec<Mark> {
        while let Some(entry) = self.entries.front() {
            let is_open = self.open && self.entries.len() == 1;
            if entry.rows > 0 || is_open {
                break;
            }
            if let Some(entry) = self.entries.pop_front() {
                self.first += 1;
                self.waiting -= entry.transactions;
                entry.adds.move_on(&mut self.applied);
            }
        }
        let mut passed = Vec::new();
        while let Some((place, _)) = self.marks.front()
            && *place <= self.first
        {
            passed.extend(self.marks.pop_front().map(|(_, mark)| mark));
        }
        passed
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn start() -> Ledger {
        Ledger::new(Coordinates::File {
            name: "f".into(),
            position: 0,
        })
    }

    fn applied(ledger: &Ledger) -> u64 {
        match ledger.applied() {
            Coordinates::File { position, .. } => *position,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn marks_wait_for_what_came_before_them() {
        let mut ledger = start();
        ledger.mark(Mark::Heartbeat(1));
        assert_eq!(ledger.settle(), [Mark::Heartbeat(1)]);
        ledger.begin();
        let place = ledger.place();
        ledger.remember(place, 1);
        ledger.commit(Step::File("f".into(), 10));
        ledger.mark(Mark::Marker("a".into()));
        ledger.begin();
        ledger.commit(Step::File("f".into(), 20));
        assert_eq!(ledger.settle(), []);
        assert_eq!(applied(&ledger), 0);
        ledger.release(place, 1);
        assert_eq!(ledger.settle(), [Mark::Marker("a".into())]);
        assert_eq!(applied(&ledger), 20, "the empty transaction came along");
    }

    #[test]
    fn an_open_transaction_is_not_applied() {
        let mut ledger = start();
        ledger.begin();
        let place = ledger.place();
        ledger.remember(place, 1);
        ledger.release(place, 1);
        assert_eq!(ledger.settle(), []);
        let again = ledger.place();
        assert_eq!(place, again);
        ledger.commit(Step::File("f".into(), 10));
        ledger.settle();
        assert_eq!(applied(&ledger), 10);
    }

    #[test]
    fn very_many_transactions_take_few_entries() {
        let source = crate::coordinates::GtidSource {
            uuid: "3e11fa47-71ca-11e1-9e33-c80aa9429562".into(),
            tag: String::new(),
        };
        let mut ledger = Ledger::new(Coordinates::Gtid(GtidSet::default()));
        let mut places = Vec::new();
        for number in 1..=600_000 {
            ledger.begin();
            let place = ledger.place();
            ledger.remember(place, 1);
            places.push(place);
            ledger.commit(Step::Gtid(source.clone(), number));
        }
        assert!(ledger.entries.len() < 10_000, "{}", ledger.entries.len());
        for place in places {
            ledger.release(place, 1);
        }
        ledger.settle();
        assert_eq!(ledger.applied(), ledger.received());
    }

    proptest! {
        /// Random transactions, applied in random order: the applied coordinate is never behind a
        /// transaction that is not wholly applied, and is the last one when all are.
        #[test]
        fn the_applied_coordinate_never_passes_what_is_not_applied(
            transactions in proptest::collection::vec((0..3u64, any::<u8>()), 1..60),
        ) {
            let mut ledger = start();
            let mut unapplied: BTreeSet<(u64, u64)> = BTreeSet::new();
            for (index, (rows, pick)) in transactions.iter().enumerate() {
                let number = index as u64 + 1;
                ledger.begin();
                if *rows > 0 {
                    let place = ledger.place();
                    ledger.remember(place, *rows);
                    unapplied.extend((0..*rows).map(|row| (place, number * 10 + row)));
                }
                ledger.commit(Step::File("f".into(), number));
                if let Some(row) = unapplied.iter().nth(usize::from(*pick) % 7).copied() {
                    unapplied.remove(&row);
                    ledger.release(row.0, 1);
                }
                ledger.settle();
                let limit = unapplied.iter().map(|(_, row)| row / 10).min();
                prop_assert!(limit.is_none_or(|first| applied(&ledger) < first));
                if limit.is_none() {
                    prop_assert_eq!(applied(&ledger), number);
                }
            }
        }
    }
}
