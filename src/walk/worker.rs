//! One of the sessions that do chunks.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::chunker::Keyed;
use super::sizer::Sizer;
use super::track::Track;
use super::{ChunkWork, Controls, WORKERS_MAX, WalkPlan, Worked};
use crate::chunk::Chunk;
use crate::failure::{Context, Failure, Result};
use crate::mysql::retry::Endurance;
use crate::mysql::{Session, cancel::finish_or_kill};
use crate::progress::Progress;

/// How long a statement under way may go on after cancellation before it is killed.
const GRACE: Duration = Duration::from_secs(3);

/// The task of one worker.
pub(super) struct Worker<W> {
    /// Workers with an index at or above the wanted number rest.
    pub(super) index: usize,
    pub(super) plan: Arc<WalkPlan>,
    pub(super) work: Arc<W>,
    pub(super) controls: Controls,
    pub(super) sizer: Arc<Sizer>,
    pub(super) track: Arc<Track>,
    pub(super) progress: Arc<Progress>,
    pub(super) chunks: Arc<Mutex<mpsc::Receiver<Chunk>>>,
    /// Cancelled when there are no more chunks: resting workers end too.
    pub(super) exhausted: CancellationToken,
}

/// The part of a chunk that is still to be done.
struct Rest {
    left: Chunk,
    /// At most so many rows at once, after a refusal.
    limit: Option<u64>,
    rows_done: u64,
    /// How often the server refused it for its size.
    splits: u32,
}

impl<W: ChunkWork> Worker<W> {
    /// Does chunks until there are no more.
    pub(super) async fn run(mut self) -> Result<()> {
        let mut session = None;
        while self.may_take(&mut session).await {
            let chunks = self.chunks.clone();
            let taken = tokio::select! {
                chunk = async move { chunks.lock().await.recv().await } => chunk,
                () = self.controls.cancel.cancelled() => break,
            };
            let Some(chunk) = taken else {
                self.exhausted.cancel();
                break;
            };
            if !self.controls.unpaused().await {
                break;
            }
            let began = Instant::now();
            let number = chunk.number;
            self.chunk(&mut session, chunk)
                .await
                .doing(|| format!("chunk {number} of {}", self.plan.table))?;
            self.rest(began.elapsed()).await;
        }
        if let Some(session) = session {
            session.close().await;
        }
        Ok(())
    }

    /// Waits while this worker is one too many, or all are paused. False: there is nothing more to do.
    async fn may_take(&mut self, session: &mut Option<Session>) -> bool {
        loop {
            if !self.controls.unpaused().await {
                return false;
            }
            if self.index < self.wanted() {
                return true;
            }
            if let Some(session) = session.take() {
                session.close().await;
            }
            tokio::select! {
                Ok(()) = self.controls.pace.changed() => {}
                Ok(()) = self.controls.tunables.changed() => {}
                () = self.plan.part.wants_more() => {}
                () = self.exhausted.cancelled() => return false,
                () = self.controls.cancel.cancelled() => return false,
            }
        }
    }

    /// How many workers there should be now.
    fn wanted(&self) -> usize {
        let workers = self.controls.tunables.borrow().copy_workers;
        let workers = self.plan.part.workers(workers);
        let share = self.controls.pace.borrow().share.unwrap_or(1.0);
        // Rounded up: a small share of few workers is one worker, not none.
        ((workers as f64 * share).ceil() as usize).clamp(1, WORKERS_MAX)
    }

    /// Rests after a chunk, in proportion to its time; not when there are no more.
    async fn rest(&self, took: Duration) {
        let ratio = self.controls.pace.borrow().nice_ratio;
        let was_last = match self.chunks.try_lock() {
            Ok(chunks) => chunks.is_closed() && chunks.is_empty(),
            // Somebody waits for one.
            Err(_) => false,
        };
        if ratio > 0.0 && ratio.is_finite() && !was_last {
            tokio::select! {
                () = tokio::time::sleep(took.mul_f64(ratio.min(1000.0))) => {}
                () = self.exhausted.cancelled() => {}
                () = self.controls.cancel.cancelled() => {}
            }
        }
    }

    /// Does one chunk, in pieces if it is refused as a whole. Returns without having finished it when
    /// cancelled.
    async fn chunk(&self, session: &mut Option<Session>, chunk: Chunk) -> Result<()> {
        let began = Instant::now();
        let mut rest = Rest {
            left: chunk.clone(),
            limit: None,
            rows_done: 0,
            splits: 0,
        };
        let mut endurance = Endurance::default();
        loop {
            match self.piece(session, &mut rest).await {
                Ok(true) => break,
                Ok(false) => endurance = Endurance::default(),
                Err(failure) => {
                    if self.controls.cancel.is_cancelled() {
                        tracing::debug!(event = "chunk_left", "left unfinished: {failure}");
                        return Ok(());
                    }
                    self.refused(&failure, &mut rest, endurance.attempts());
                    if failure.is_disconnected() {
                        *session = None;
                    }
                    if !endurance.endure(failure, &self.controls.cancel).await? {
                        return Ok(());
                    }
                }
            }
            if self.controls.cancel.is_cancelled() {
                return Ok(());
            }
        }
        self.progress.chunks.add(1);
        self.progress.chunk_rows.set(rest.rows_done);
        self.progress
            .chunk_micros
            .set(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
        self.track.finished(chunk, rest.rows_done);
        Ok(())
    }

    /// Does the next piece of a chunk. True: it was the last.
    async fn piece(&self, session: &mut Option<Session>, rest: &mut Rest) -> Result<bool> {
        let server = &self.plan.server;
        let cancel = &self.controls.cancel;
        let session = match session {
            Some(session) => session,
            none => {
                let mut opened = server.session(self.work.purpose()).await?;
                self.work.prepare(&mut opened).await?;
                none.insert(opened)
            }
        };
        let table = Keyed {
            table: &self.plan.table,
            key: &self.plan.key,
            side: self.plan.side,
        };
        let (piece, left) = match rest.limit {
            None => (rest.left.clone(), None),
            Some(1) if self.work.by_single_keys() => table.cut_first(session, &rest.left).await?,
            Some(rows) => table.cut(session, &rest.left, rows).await?,
        };
        let id = session.id();
        let patient = rest.limit == Some(1);
        let worked = finish_or_kill(
            server,
            id,
            cancel,
            GRACE,
            self.work.work(session, &piece, patient),
        )
        .await?;
        match worked {
            Worked::Split { rows_max, why } => {
                if let Some(why) = why {
                    self.progress.chunk_refused(&why);
                    rest.splits += 1;
                    if self.plan.splits_max.is_some_and(|max| rest.splits >= max) {
                        return Err(why);
                    }
                }
                rest.limit = Some(smaller(rest.limit, rows_max)?);
                Ok(false)
            }
            Worked::Done {
                rows,
                took,
                suspect,
            } => {
                if suspect {
                    self.track.suspect(&piece);
                }
                self.sizer.done(rows, took, self.aim());
                rest.rows_done += rows;
                // What refused the chunk was most likely in one place.
                rest.limit = rest.limit.map(|rows| rows.saturating_mul(2));
                match left {
                    None => Ok(true),
                    Some(left) => {
                        rest.left = left;
                        Ok(false)
                    }
                }
            }
        }
    }

    /// How long a chunk should take now.
    fn aim(&self) -> Duration {
        let aim = self.controls.tunables.borrow().chunk_time;
        let share = self.controls.pace.borrow().share.unwrap_or(1.0);
        aim.mul_f64(share.clamp(0.01, 1.0))
    }

    /// A piece failed: smaller ones meet fewer locks, and lose less.
    fn refused(&self, failure: &Failure, rest: &mut Rest, attempts: u32) {
        if !failure.is_transient() && !failure.is_killed() {
            return;
        }
        self.progress.chunk_refused(failure);
        self.sizer.refused();
        // Once may be chance.
        if attempts > 0 {
            let rows = rest.limit.unwrap_or(rest.left.rows_expected);
            rest.limit = Some((rows / 4).max(1));
        }
    }
}

/// The next limit after a piece within `limit` asked to be split into pieces of `rows_max`.
fn smaller(limit: Option<u64>, rows_max: u64) -> Result<u64> {
    let rows_max = rows_max.max(1);
    match limit {
        None => Ok(rows_max),
        Some(1) => Err(
            Failure::failed("the server takes not even one row of it at once")
                .remedy("raise max_binlog_cache_size and the limits of group replication, if any"),
        ),
        Some(rows) => Ok(rows_max.min(rows / 2)),
    }
}
