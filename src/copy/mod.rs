//! The copy: brings the rows that exist when it begins into the ghost, chunk by chunk.
//!
//! - One chunk is one transaction: `INSERT IGNORE INTO ghost (…) SELECT … FROM original WHERE range`.
//!   It never overwrites: a row that replay has put there already is at least as new.
//! - What the SELECT may read is proven in one of two ways, see [`CopyMode`].
//! - IGNORE turns errors into warnings, so every statement's warnings are read before its commit
//!   ([`judge`]): anything but a duplicate on the migration key is rolled back and ends the run with the
//!   rows named ([`offenders`]), but for a duplicate on another unique key, which may be a stale read
//!   that replay will mend: that chunk becomes a suspect, to be verified in any case.
//!
//! Guarded by tests/it/copy.rs. Must not know: the binlog, replay.

mod duplicates;
mod judge;
mod mode;
mod offenders;
mod sample;
mod sift;
mod statement;

use std::sync::Arc;

use tokio::sync::watch;

pub use duplicates::{DuplicateScan, scan_duplicates};
pub use mode::{CopyMode, choose_mode};
pub use sample::try_places;

use crate::chunk::{Chunk, LowWatermark};
use crate::failure::{Context, Result};
use crate::interlock::Interlock;
use crate::key::Key;
use crate::mysql::{Facts, Server};
use crate::names::TableName;
use crate::progress::Progress;
use crate::schema::{ColumnMap, MigrationKey, TableDefinition};
use crate::walk::spread::Spread;
use crate::walk::trail::Trail;
use crate::walk::{self, Controls, Part, Side, WalkPlan};
use statement::CopyWork;

/// Rows of the first chunks, before anything has been measured.
const ROWS_FIRST: u64 = 1000;
/// A chunk should not be larger, by the server's estimate of a row's size: its transaction is kept in
/// memory and in the binlog as a whole, on replicas too.
const CHUNK_BYTES_MAX: u64 = 64 << 20;

/// What the copy needs to know.
#[derive(Clone, Debug)]
pub struct CopyPlan {
    /// Where both tables are.
    pub server: Server,
    /// The table that is read.
    pub original: Arc<TableDefinition>,
    /// The table that is written, as it is after the ALTER.
    pub ghost: Arc<TableDefinition>,
    /// Which column goes where.
    pub map: Arc<ColumnMap>,
    /// The key.
    pub key: Arc<MigrationKey>,
    /// How rows are read.
    pub mode: CopyMode,
    /// The first key to copy: a resumed run's low watermark.
    pub from: Option<Key>,
    /// A sample to copy instead of the whole.
    pub sample: Option<Arc<Spread>>,
    /// Whether the chunks' transactions are compressed in the binlog, where the server can.
    pub compress: bool,
    /// How often a chunk may be split because it is too large for the server's binlog cache; `None`: to
    /// single rows.
    pub splits_max: Option<u32>,
    /// Where the bounds of chunks are left for the comparison.
    pub trail: Arc<Trail>,
}

/// What the copy did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CopyReport {
    /// Where it ended; not finished if it was cancelled.
    pub watermark: LowWatermark,
    /// Ranges in which a row met a duplicate on a unique key other than the migration key: they must be
    /// verified even where verification is off.
    pub suspects: Vec<Chunk>,
}

/// Copies the table. To be started when the binlog stream is live and the ghost has its keys.
///
/// `watermark` is published after every chunk; what it holds at the start is gone on from (its suspects
/// are kept).
///
/// # Errors
/// [`crate::failure::FailureKind::DoesNotFit`] with the rows named where the ghost cannot hold a row;
/// else what the server answered.
pub async fn run(
    plan: CopyPlan,
    interlock: Arc<Interlock>,
    controls: Controls,
    progress: Arc<Progress>,
    watermark: watch::Sender<LowWatermark>,
) -> Result<CopyReport> {
    let original = plan.original.name.clone();
    let facts = plan.server.facts();
    let walk_plan = WalkPlan {
        server: plan.server.clone(),
        table: original.clone(),
        key: plan.key.clone(),
        side: Side::Source,
        part: match &plan.sample {
            Some(sample) => Part::Spread(sample.clone()),
            None => Part::UpToNow(plan.from.clone()),
        },
        rows_max: rows_by_bytes(facts, &plan.original),
        rows_first: ROWS_FIRST,
        splits_max: plan.splits_max,
        lays: plan.sample.is_none().then(|| plan.trail.clone()),
        follows: None,
        name: "copy",
    };
    let work = Arc::new(CopyWork::new(
        plan,
        interlock,
        progress.clone(),
        controls.cancel.clone(),
    ));
    let watermark = walk::walk(walk_plan, work, controls, progress, watermark)
        .await
        .doing(|| format!("copy {original}"))?;
    Ok(CopyReport {
        suspects: watermark.suspects.clone(),
        watermark,
    })
}

/// How many rows [`CHUNK_BYTES_MAX`], or a lower limit of the server, has room for.
fn rows_by_bytes(facts: &Facts, table: &TableDefinition) -> u64 {
    let bytes = facts
        .transaction_bytes_max()
        .map_or(CHUNK_BYTES_MAX, |limit| CHUNK_BYTES_MAX.min(limit / 2));
    (bytes / table.row_bytes_estimate.max(1)).max(1)
}

/// The table that messages mean.
fn described(original: &TableName, ghost: &TableName) -> String {
    format!("{original} into {ghost}")
}
