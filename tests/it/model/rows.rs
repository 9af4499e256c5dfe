//! What a writer knows of its rows.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::cases::Case;
use super::families::{Kind, random_literal};

/// How many writers share a table.
pub const WRITERS: u64 = 3;
/// Keys that each writer may use; about half of them are taken.
pub const SLOTS: u64 = 1600;

/// Literals of all columns, the key's first.
pub type Row = Vec<String>;

/// The shape of a table's rows.
pub struct Shape {
    pub columns: Vec<(String, Kind)>,
    literals: fn(u64, u64) -> Vec<String>,
    spellings: u64,
}

impl Shape {
    pub fn of(case: &Case) -> Shape {
        Shape {
            columns: case.columns(),
            literals: case.family.literals,
            spellings: case.family.spellings,
        }
    }

    /// Where the column with this content stands in a row.
    pub fn at(&self, kind: Kind) -> usize {
        self.columns
            .iter()
            .position(|column| column.1 == kind)
            .expect("every table has one")
    }

    pub fn key_length(&self) -> usize {
        let is_key = |column: &&(String, Kind)| matches!(column.1, Kind::Key(_));
        self.columns.iter().filter(is_key).count()
    }

    /// Whether keys can be written differently and be the same.
    pub fn has_spellings(&self) -> bool {
        self.spellings > 1
    }

    /// The key of a writer's slot, in any of its spellings.
    pub fn key(&self, writer: u64, slot: u64, rng: &mut Rng) -> Vec<String> {
        (self.literals)(slot * WRITERS + writer, rng.u64(..self.spellings))
    }
}

/// A writer's rows as the server has acknowledged them, by slot.
pub struct Rows {
    pub writer: u64,
    pub rows: BTreeMap<u64, Row>,
    /// Numbers given to unique columns.
    numbers: u64,
}

impl Rows {
    /// The rows that are there before anything is altered.
    pub fn initial(shape: &Shape, writer: u64, rng: &mut Rng) -> Rows {
        let mut known = Rows {
            writer,
            rows: BTreeMap::new(),
            numbers: 0,
        };
        for slot in 0..SLOTS {
            if rng.bool() {
                let row = known.new_row(shape, slot, rng);
                known.rows.insert(slot, row);
            }
        }
        known
    }

    /// A number that no row has had.
    pub fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers * WRITERS + self.writer
    }

    /// A row for a slot.
    pub fn new_row(&mut self, shape: &Shape, slot: u64, rng: &mut Rng) -> Row {
        let mut row = shape.key(self.writer, slot, rng);
        for (_, kind) in &shape.columns[row.len()..] {
            row.push(match kind {
                Kind::Writer => self.writer.to_string(),
                Kind::MaybeUnique if rng.u8(..4) == 0 => "NULL".to_string(),
                Kind::MaybeUnique | Kind::Unique => self.number().to_string(),
                other => random_literal(*other, rng),
            });
        }
        row
    }
}

/// What a transaction has done so far; becomes true with its commit.
#[derive(Clone, Default)]
pub struct Changes(BTreeMap<u64, Option<Row>>);

impl Changes {
    pub fn put(&mut self, slot: u64, row: Row) {
        self.0.insert(slot, Some(row));
    }

    pub fn remove(&mut self, slot: u64) {
        self.0.insert(slot, None);
    }

    pub fn get<'a>(&'a self, known: &'a Rows, slot: u64) -> Option<&'a Row> {
        match self.0.get(&slot) {
            Some(changed) => changed.as_ref(),
            None => known.rows.get(&slot),
        }
    }

    /// A slot that has a row; one that the transaction has touched already, now and then.
    pub fn taken(&self, known: &Rows, rng: &mut Rng) -> Option<u64> {
        self.find(known, rng, true)
    }

    /// A slot without a row.
    pub fn free(&self, known: &Rows, rng: &mut Rng) -> Option<u64> {
        self.find(known, rng, false)
    }

    fn find(&self, known: &Rows, rng: &mut Rng, with_row: bool) -> Option<u64> {
        let fits = |slot: &u64| self.get(known, *slot).is_some() == with_row;
        if rng.u8(..4) == 0 {
            let touched: Vec<u64> = self.0.keys().copied().filter(fits).collect();
            if !touched.is_empty() {
                return Some(touched[rng.usize(..touched.len())]);
            }
        }
        let start = rng.u64(..SLOTS);
        (start..SLOTS).chain(0..start).find(fits)
    }

    /// All slots that have a row now.
    pub fn slots(&self, known: &Rows) -> Vec<u64> {
        (0..SLOTS)
            .filter(|slot| self.get(known, *slot).is_some())
            .collect()
    }

    /// The server has acknowledged the commit.
    pub fn commit(self, known: &mut Rows) {
        for (slot, changed) in self.0 {
            match changed {
                Some(row) => known.rows.insert(slot, row),
                None => known.rows.remove(&slot),
            };
        }
    }
}
