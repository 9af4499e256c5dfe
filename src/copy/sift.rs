//! Leaves out rows that are in the ghost already.
//!
//! A resumed copy goes on from the low watermark, behind which other chunks were finished before the
//! interruption; and on a table that grows quickly replay runs ahead of the copy. `INSERT IGNORE` leaves such
//! rows alone too, but each costs a warning; of more than `max_error_count` the server shows not all, and
//! the chunk would have to be done again in small pieces (100 µs a row were seen, where 2 to 4 are enough).
//!
//! So where most rows are there, the chunk's SELECT asks for those that are not:
//! `… AND NOT EXISTS (SELECT 1 FROM ghost WHERE same key)`. That is as safe as IGNORE:
//!
//! - A row that is left out was in the ghost at the statement's snapshot. IGNORE looks at a later moment; what
//!   can be different between the two is what replay does meanwhile, and replay takes a row out of the ghost
//!   only for a change of the original, whose outcome for that key it applies in the same or a later window,
//!   whether the copy has brought the row or not. (In the lock-free copy the chunk's keys are held back
//!   from replay in any case.)
//! - So a row that is there, and has changed since to what the ghost cannot hold, is not complained about here:
//!   replay, which puts that change in, finds it.
//! - A row that was not there yet is selected, and meets IGNORE as before: the same warnings are read.
//! - The subquery is a consistent read: at READ COMMITTED it takes no locks, and an outer `FOR SHARE` or
//!   `LOCK IN SHARE MODE` locks the rows of the outer table only. So replay is not in the way and not stood
//!   in the way of, and the rows of the original that are read are locked as before.
//! - Only for keys whose columns compare with their counterparts as with themselves ([`is_possible`]).
//!
//! The ghost's side has the chunk's range as well, so that no plan reads more of it.

use std::sync::atomic::{AtomicBool, Ordering};

use super::CopyPlan;
use crate::chunk::Chunk;
use crate::mysql::quote;
use crate::schema::{KeyColumn, MigrationKey};
use crate::walk::bounds::{self, Side};

/// Whether rows are left out just now; shared by the workers of a copy.
#[derive(Debug)]
pub(super) struct Sift {
    possible: bool,
    on: AtomicBool,
}

impl Sift {
    /// On at the start where the copy goes on with an interrupted one.
    pub(super) fn new(plan: &CopyPlan) -> Sift {
        let possible = is_possible(&plan.key);
        Sift {
            possible,
            on: AtomicBool::new(possible && plan.from.is_some()),
        }
    }

    /// Whether the next chunk is to be sifted.
    pub(super) fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// A statement met more rows in the ghost than the server tells. Whether sifting helps.
    pub(super) fn met_too_many(&self) -> bool {
        self.on.store(self.possible, Ordering::Relaxed);
        self.possible
    }

    /// A chunk of `rows` rows is done, of which `inserted` were not there: the next one is most likely alike.
    pub(super) fn met(&self, rows: u64, inserted: u64) {
        let most_were_there = inserted.saturating_mul(2) < rows;
        self.on
            .store(self.possible && most_were_there, Ordering::Relaxed);
    }
}

/// ` AND NOT EXISTS (…)`: the condition that a row of the original is not in the ghost yet.
pub(super) fn condition(plan: &CopyPlan, chunk: &Chunk) -> String {
    let original = quote::table(&plan.original.name);
    let there = quote::ident("there");
    let same: Vec<String> = plan
        .key
        .columns
        .iter()
        .map(|column| {
            format!(
                "{there}.{} = {original}.{}",
                Side::Target.column(column),
                Side::Source.column(column)
            )
        })
        .collect();
    format!(
        " AND NOT EXISTS (SELECT 1 FROM {} AS {there} FORCE INDEX ({}) WHERE {} AND {})",
        quote::table(&plan.ghost.name),
        Side::Target.index(&plan.key),
        same.join(" AND "),
        bounds::within(&plan.key, Side::Target, chunk),
    )
}

/// Whether a key of the original can be compared with the ghost's by `=`, exactly and by index: each column is
/// of the same type and collation on both sides, or an integer on both. Not ENUM and SET, which are compared
/// as strings.
fn is_possible(key: &MigrationKey) -> bool {
    key.columns.iter().all(|KeyColumn { source, target, .. }| {
        let integer = |data_type: &str| {
            matches!(
                data_type,
                "tinyint" | "smallint" | "mediumint" | "int" | "bigint"
            )
        };
        match (source.data_type.as_str(), target.data_type.as_str()) {
            ("enum" | "set", _) | (_, "enum" | "set") => false,
            (from, to) if integer(from) && integer(to) => true,
            _ => source.column_type == target.column_type && source.collation == target.collation,
        }
    })
}
