//! Walks a table along its migration key, chunk by chunk, by several sessions side by side: what the
//! copy and the verification have in common.
//!
//! - [`bounds`]: a range of the key as an SQL condition that the optimiser reads as index ranges.
//! - [`chunker`]: fetches chunk bounds ahead, by index-only reads.
//! - [`spread`]: a sample spread over the key.
//! - [`sizer`]: how many rows a chunk has, aimed at a time.
//! - [`track`]: the contiguous finished prefix.
//! - [`trail`]: the bounds that one walk found, for another.
//! - [`worker`]: the sessions: pace, retries, reconnects, splitting a chunk that is refused.
//!
//! What is done with a chunk is a [`ChunkWork`]; this module knows nothing of it but its outcome.

pub mod bounds;
pub mod chunker;
pub mod keys;
pub mod sizer;
pub mod spread;
pub mod track;
pub mod trail;
mod worker;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, watch};
use tokio_util::sync::CancellationToken;

pub use bounds::Side;

use crate::chunk::{Chunk, LowWatermark};
use crate::failure::{Failure, Result};
use crate::key::Key;
use crate::mysql::{Purpose, Server, Session};
use crate::names::TableName;
use crate::pace::Pace;
use crate::progress::Progress;
use crate::schema::MigrationKey;
use crate::supervise::Supervisor;
use crate::tunables::Tunables;
use chunker::Chunker;
use sizer::Sizer;
use spread::Spread;
use track::Track;
use trail::Trail;
use worker::Worker;

/// The most workers a walk can have; tunables that ask for more get these.
pub const WORKERS_MAX: usize = 64;

/// A walk behind another has one worker for so many of the other's. Comparing a chunk takes about a quarter of the
/// time of copying it, but it must not fall behind: as long as it is near, both tables' pages are still in memory.
/// (400 MB of BLOBs, a buffer pool of 256 MB, MySQL 9.7: with a quarter of the workers 8.3 s in all, with half of
/// them or all 6.8 s; compared after the copy 8.7 s.)
const WORKERS_OF_ONE_BEHIND: usize = 2;

/// How a chunk came out.
#[derive(Clone, Debug)]
pub enum Worked {
    /// All of it is done.
    Done {
        /// Rows read.
        rows: u64,
        /// How long the statements took that a larger chunk would make longer.
        took: Duration,
        /// Whether it needs a second look.
        suspect: bool,
    },
    /// Nothing was done: it must go in pieces of at most so many rows.
    Split {
        /// Rows of a piece.
        rows_max: u64,
        /// The server's refusal, where it is one.
        why: Option<Failure>,
    },
}

/// What is done with each chunk. Doing it twice must be the same as doing it once: a chunk whose
/// outcome is unknown is done again.
pub trait ChunkWork: Send + Sync + 'static {
    /// What the sessions are for.
    fn purpose(&self) -> Purpose;

    /// Prepares a session that was just opened.
    fn prepare(&self, session: &mut Session) -> impl Future<Output = Result<()>> + Send;

    /// Whether a piece of one row is to be that very key ([`chunker::Keyed::cut_first`]): for work that is
    /// about rows that are there. Other work must see that nothing else is in the range.
    fn by_single_keys(&self) -> bool {
        false
    }

    /// Does one chunk, or a piece of one. Must leave the session without an open transaction, also
    /// when it fails. `patient`: the chunk has been refused for locks before and is as small as it can
    /// be, so waiting for a lock is right.
    fn work(
        &self,
        session: &mut Session,
        chunk: &Chunk,
        patient: bool,
    ) -> impl Future<Output = Result<Worked>> + Send;
}

/// Which part of a table is walked.
#[derive(Clone, Debug)]
pub enum Part {
    /// From a key, or from the beginning, to the greatest key that exists when the walk begins.
    UpToNow(Option<Key>),
    /// From a key, or from the beginning, without an end: the last chunk has none, and an empty table is
    /// one chunk.
    All(Option<Key>),
    /// From a key, or from the beginning, behind another walk over the same table: as far as that has come
    /// without a gap, and on to the end, as [`Part::All`], when it is finished. By half of the workers
    /// until then.
    Behind(Option<Key>, watch::Receiver<LowWatermark>),
    /// These ranges; the watermark's [`LowWatermark::next`] means nothing then.
    Ranges(Vec<Chunk>),
    /// A sample spread over the key; the watermark's [`LowWatermark::next`] means nothing then.
    Spread(Arc<Spread>),
}

impl Part {
    /// How many of so many workers are wanted for it now.
    fn workers(&self, all: usize) -> usize {
        match self {
            Part::Behind(_, other) if !other.borrow().finished => {
                all.div_ceil(WORKERS_OF_ONE_BEHIND)
            }
            _ => all,
        }
    }

    /// Returns when more workers are wanted; never if all are already.
    async fn wants_more(&self) {
        if let Part::Behind(_, other) = self
            && !other.borrow().finished
        {
            let waited = other.clone().wait_for(|mark| mark.finished).await.is_ok();
            if waited {
                return;
            }
        }
        std::future::pending().await
    }
}

/// What a walk needs to know.
#[derive(Clone, Debug)]
pub struct WalkPlan {
    /// Where the table is.
    pub server: Server,
    /// The table whose key is walked.
    pub table: TableName,
    /// The key.
    pub key: Arc<MigrationKey>,
    /// Which of the key's two sides the table is.
    pub side: Side,
    /// Which part of the table.
    pub part: Part,
    /// At most this many rows a chunk, for reasons of bytes.
    pub rows_max: u64,
    /// Rows of the first chunks.
    pub rows_first: u64,
    /// How often a chunk may be split because the server takes it not as a whole; `None`: to single rows.
    pub splits_max: Option<u32>,
    /// The trail that this walk lays, of a part that is walked in the order of the key.
    pub lays: Option<Arc<Trail>>,
    /// The trail of another walk over the same side of the key: its bounds are taken as far as they go.
    pub follows: Option<Arc<Trail>>,
    /// What messages call it: `copy`, `verify`.
    pub name: &'static str,
}

/// The channels that a walk listens to.
#[derive(Clone, Debug)]
pub struct Controls {
    /// How fast it may go.
    pub pace: watch::Receiver<Pace>,
    /// What the operator may change.
    pub tunables: watch::Receiver<Tunables>,
    /// Ends it early: the chunks under way are finished, or killed after a few seconds.
    pub cancel: CancellationToken,
}

impl Controls {
    /// Waits while the throttle says stop. False: cancelled.
    pub async fn unpaused(&mut self) -> bool {
        loop {
            if self.cancel.is_cancelled() {
                return false;
            }
            if self.pace.borrow_and_update().stop.is_none() {
                return true;
            }
            tokio::select! {
                Ok(()) = self.pace.changed() => {}
                () = self.cancel.cancelled() => return false,
            }
        }
    }
}

/// Walks the part of the table. Publishes the low watermark after every chunk. Cancelled, it returns early with a watermark that is not finished.
///
/// # Errors
/// The first failure of a chunk that trying again does not cure.
pub async fn walk<W: ChunkWork>(
    plan: WalkPlan,
    work: Arc<W>,
    controls: Controls,
    progress: Arc<Progress>,
    watermark: watch::Sender<LowWatermark>,
) -> Result<LowWatermark> {
    let mut supervisor = Supervisor::new(&controls.cancel);
    let controls = Controls {
        cancel: supervisor.token(),
        ..controls
    };
    let plan = Arc::new(plan);
    let sizer = Arc::new(Sizer::new(plan.rows_first, plan.rows_max));
    let track = Arc::new(Track::new(watermark, plan.lays.clone()));
    // As many chunks wait as workers may take at once: more would be sized by old measurements.
    let (sender, receiver) = mpsc::channel(4);
    let receiver = Arc::new(Mutex::new(receiver));
    let exhausted = CancellationToken::new();

    let chunker = Chunker::new(plan.clone(), sizer.clone(), controls.clone());
    let name = plan.name;
    supervisor.spawn(
        &format!("{name}: fetch chunk bounds"),
        chunker.run(sender, track.clone()),
    );
    for index in 0..WORKERS_MAX {
        let worker = Worker {
            index,
            plan: plan.clone(),
            work: work.clone(),
            controls: controls.clone(),
            sizer: sizer.clone(),
            track: track.clone(),
            progress: progress.clone(),
            chunks: receiver.clone(),
            exhausted: exhausted.clone(),
        };
        supervisor.spawn(name, worker.run());
    }
    // Only the workers hold the receiver now: when all have ended, the chunker's send fails and it ends.
    drop(receiver);
    supervisor.join().await?;
    Ok(track.watermark())
}
