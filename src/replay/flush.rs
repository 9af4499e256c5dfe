//! One flush: all deletes, barrier, all upserts, by as many hands as there are.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, Done, Stop};
use super::dirty::DirtyKeys;
use super::misfits::Misfits;
use super::statements::{Row, RowLock, Statements};
use super::task::{Kind, Performed, Source, Task};
use super::window::{FinalState, KeyBytes, Window};
use crate::failure::{ErrorClass, Evidence, Failure, FailureKind};
use crate::mysql::Session;
use crate::mysql::error::does_not_fit;
use crate::progress::Count;
use crate::walk::keys::describe;

/// Fewer rows a statement are not worth a statement of their own for another hand.
const BATCH_ROWS_MIN: usize = 200;
/// Bytes of a key's literal and what goes around it, besides its own bytes (twice, in hex).
const KEY_LITERAL_BYTES: usize = 48;
/// How large statements may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct StatementLimits {
    pub(super) rows_max: usize,
    pub(super) bytes_max: usize,
}

/// Who performs: one of our own connections, or the session that holds the lock on both tables.
pub(super) enum Hand<'a> {
    Own(&'a mut Connection),
    Locking(&'a mut Session),
}

impl Hand<'_> {
    pub(super) async fn perform(&mut self, task: &Task<'_>, flush: &Flush<'_>) -> Done<Performed> {
        match self {
            Hand::Own(connection) => connection.perform(task, flush.retries, flush.cancel).await,
            Hand::Locking(session) => match task.perform(session, false).await {
                Err(failure) if task.hands_back(&failure) => Ok(Performed::Refused(failure)),
                other => Ok(other?),
            },
        }
    }
}

/// What a flush needs to know.
pub(super) struct Flush<'a> {
    pub(super) statements: &'a Statements,
    pub(super) limits: StatementLimits,
    /// Whether rows in the way are told (see [`super::Replay::watch_evictions`]).
    pub(super) exact: bool,
    /// Where the keys of rows go that stood in the way of others and are gone.
    pub(super) evicted: [&'a DirtyKeys; 2],
    /// What the server said of the last of them.
    pub(super) conflict: &'a Mutex<Option<Evidence>>,
    /// Where rows go that do not fit.
    pub(super) misfits: &'a Misfits,
    pub(super) retries: &'a Count,
    pub(super) cancel: &'a CancellationToken,
}

/// What a flush did besides.
#[derive(Debug, Default)]
pub(super) struct Flushed {
    /// Rows that somebody has locked; they are not done.
    pub(super) locked: HashSet<KeyBytes>,
    /// How many rows of the ghost stood in the way of others and are gone.
    pub(super) evicted: usize,
    /// Rows that another is in the way of, where none may go for it.
    pub(super) in_the_way: HashSet<KeyBytes>,
}

impl Flush<'_> {
    /// Brings a window into the ghost.
    pub(super) async fn run(&self, hands: &mut [Hand<'_>], window: &Window) -> Done<Flushed> {
        let mut deletes = Vec::new();
        let mut upserts = Vec::new();
        for (bytes, pending) in window.rows() {
            let key = crate::key::Key::from_bytes(bytes)
                .ok_or_else(|| Failure::failed("a window holds bytes that are no key"))?;
            let mut row = Row {
                key,
                bytes,
                values: None,
                recreated: pending.recreated,
            };
            match &pending.state {
                FinalState::Delete => deletes.push(row),
                FinalState::Upsert(values) => {
                    // A row whose text is too long for a packet is read again: no text is needed then.
                    row.values = values
                        .as_deref()
                        .filter(|values| values.len() <= 2 * self.limits.bytes_max);
                    upserts.push(row);
                }
            }
        }
        if self.exact {
            // Rows of one window exchange unique values. With all of their old states gone first, a row
            // that is still in the way of a new one is of another window: that is rare, and costs a
            // commit a row. Until they are put in again the ghost lacks them, which nobody takes for
            // the truth: their changes are not applied yet.
            deletes.extend(upserts.iter().cloned());
        }
        if self.statements.keeps() {
            deletes.extend(upserts.iter().filter(|row| row.recreated).cloned());
        }
        let mut flushed = Flushed::default();
        self.phase(hands, &mut [(&mut deletes, true)], &mut flushed)
            .await?;
        drop(deletes);
        let (mut images, mut reread): (Vec<_>, Vec<_>) =
            upserts.into_iter().partition(|row| row.values.is_some());
        let lists = &mut [(&mut images, false), (&mut reread, false)];
        self.phase(hands, lists, &mut flushed).await?;
        for (rows, source) in [(images, Source::Images), (reread, Source::Original)] {
            let blocked = rows
                .into_iter()
                .filter(|row| flushed.in_the_way.contains(row.bytes))
                .collect();
            self.unblock(hands, blocked, source, &mut flushed).await?;
        }
        Ok(flushed)
    }

    /// Puts in rows that another was in the way of, where none may go for it: those whose way has become
    /// free meanwhile, then those that are in each other's way. What is left does not fit.
    async fn unblock(
        &self,
        hands: &mut [Hand<'_>],
        mut blocked: Vec<Row<'_>>,
        source: Source,
        flushed: &mut Flushed,
    ) -> Done<()> {
        let Some(hand) = hands.first_mut() else {
            return Ok(());
        };
        let kind = match source {
            Source::Images => Kind::Images,
            Source::Original => Kind::Reread(RowLock::Wait),
        };
        let mut before = usize::MAX;
        while !blocked.is_empty() && blocked.len() < before {
            before = blocked.len();
            flushed.in_the_way.clear();
            for row in &blocked {
                self.put(hand, std::slice::from_ref(row), kind, flushed)
                    .await?;
            }
            blocked.retain(|row| flushed.in_the_way.contains(row.bytes));
        }
        if blocked.is_empty() {
            return Ok(());
        }
        if matches!(hand, Hand::Locking(_)) {
            // It may begin no transaction, without which a kill in the middle would cost what they keep.
            return Err(Stop::Failed(Failure::from_server(
                ErrorClass::Transient,
                None,
                "rows that exchange unique values are applied before the next attempt",
            )));
        }
        let task = self.task(&blocked, Kind::Exchange(source));
        if !matches!(hand.perform(&task, self).await?, Performed::Refused(_)) {
            return Ok(());
        }
        for row in &blocked {
            let failure = Failure::failed("another row has one of its unique values");
            self.misfit(row, failure)?;
        }
        Ok(())
    }

    /// Does some lists of rows by all hands, and waits for them.
    async fn phase(
        &self,
        hands: &mut [Hand<'_>],
        lists: &mut [(&mut Vec<Row<'_>>, bool)],
        flushed: &mut Flushed,
    ) -> Done<()> {
        let rows: usize = lists.iter().map(|(rows, _)| rows.len()).sum();
        let batch_rows = rows
            .div_ceil(hands.len().max(1))
            .clamp(BATCH_ROWS_MIN, BATCH_ROWS_MIN.max(self.limits.rows_max));
        let mut batches: Vec<(&[Row<'_>], bool)> = Vec::new();
        for (rows, delete) in lists {
            self.sort(rows);
            let delete = *delete;
            batches.extend(
                batches_of(rows, batch_rows.min(self.limits.rows_max), self.limits)
                    .into_iter()
                    .map(|batch| (batch, delete)),
            );
        }
        if batches.is_empty() {
            return Ok(());
        }
        // Neighbours to one hand, so that hands do not meet.
        let share = batches.len().div_ceil(hands.len().max(1));
        let failed = AtomicBool::new(false);
        let work = hands
            .iter_mut()
            .zip(batches.chunks(share))
            .map(|(hand, batches)| self.batches(hand, batches, &failed));
        let mut first = None;
        for result in join_all(work).await {
            match (result, &first) {
                (Ok(more), _) => {
                    flushed.locked.extend(more.locked);
                    flushed.evicted += more.evicted;
                    flushed.in_the_way.extend(more.in_the_way);
                }
                // A failure says more than a cancellation that it brought about.
                (Err(stop), None | Some(Stop::Cancelled)) => first = Some(stop),
                (Err(_), Some(Stop::Failed(_))) => {}
            }
        }
        first.map_or(Ok(()), Err)
    }

    fn sort(&self, rows: &mut [Row<'_>]) {
        let descending = self.statements.key().descending();
        rows.sort_by(|a, b| {
            a.key
                .compare(&b.key, &descending)
                .unwrap_or_else(|| a.bytes.cmp(b.bytes))
        });
    }

    async fn batches(
        &self,
        hand: &mut Hand<'_>,
        batches: &[(&[Row<'_>], bool)],
        failed: &AtomicBool,
    ) -> Done<Flushed> {
        let mut flushed = Flushed::default();
        for (rows, delete) in batches {
            if failed.load(Ordering::Relaxed) || self.cancel.is_cancelled() {
                return Err(Stop::Cancelled);
            }
            let done = match (delete, rows.first().map(|row| row.values.is_some())) {
                (true, _) => self.delete(hand, rows).await,
                (false, Some(true)) => self.put(hand, rows, Kind::Images, &mut flushed).await,
                (false, _) => self.reread(hand, rows, &mut flushed).await,
            };
            if let Err(stop) = done {
                failed.store(true, Ordering::Relaxed);
                return Err(stop);
            }
        }
        Ok(flushed)
    }

    /// Gathers a row that does not fit.
    ///
    /// # Errors
    /// It ends the run: rows are not gathered, or there are too many.
    pub(super) fn misfit(&self, row: &Row<'_>, failure: Failure) -> Done<()> {
        let key = describe(self.statements.key(), &row.key);
        let why = format!("{key}: {}", failure.cause());
        if self.misfits.gather(row.bytes, why) {
            return Ok(());
        }
        Err(Stop::Failed(
            failure
                .kind_is(FailureKind::DoesNotFit)
                .doing(format!(
                    "put in the row with {key}, which does not fit the new definition"
                ))
                .remedy("correct this row or the new definition, then start again"),
        ))
    }

    async fn delete(&self, hand: &mut Hand<'_>, rows: &[Row<'_>]) -> Done<()> {
        let task = self.task(rows, Kind::Delete);
        hand.perform(&task, self).await.map(|_| ())
    }

    pub(super) fn task<'a>(&'a self, rows: &'a [Row<'a>], kind: Kind) -> Task<'a> {
        Task {
            statements: self.statements,
            rows,
            kind,
            exact: self.exact && kind != Kind::Delete,
        }
    }

    /// Puts rows in. A batch that is refused because a row is in the way, or because a row does not fit,
    /// is halved until the row is alone: that is put in in the way that tells what was in the way, or is
    /// named.
    pub(super) async fn put(
        &self,
        hand: &mut Hand<'_>,
        rows: &[Row<'_>],
        kind: Kind,
        flushed: &mut Flushed,
    ) -> Done<()> {
        let mut parts = vec![rows];
        while let Some(part) = parts.pop() {
            let task = self.task(part, kind);
            match hand.perform(&task, self).await {
                Ok(Performed::Done) => {}
                Ok(Performed::Only(_) | Performed::Evicted(_)) => {}
                Ok(Performed::Refused(answer)) if part.len() == 1 => {
                    let before = flushed.evicted;
                    self.make_way(hand, part, flushed).await?;
                    if flushed.evicted > before {
                        self.told(rows, part, &answer);
                    }
                }
                Err(Stop::Failed(failure)) if does_not_fit(&failure) && part.len() == 1 => {
                    self.misfit(&part[0], failure)?;
                }
                Ok(Performed::Refused(_)) => halve(part, &mut parts),
                Err(Stop::Failed(failure)) if does_not_fit(&failure) => {
                    tracing::debug!(event = "misfit", "looking for the row: {failure}");
                    halve(part, &mut parts);
                }
                Err(stop) => return Err(stop),
            }
        }
        Ok(())
    }

    /// Keeps the server's words about the last row that another had to go for.
    fn told(&self, rows: &[Row<'_>], part: &[Row<'_>], answer: &Failure) {
        let Some(code) = answer.code() else { return };
        let place = rows
            .iter()
            .position(|row| part.first().is_some_and(|one| one.bytes == row.bytes));
        let said = Evidence::ReplayWarning {
            statement: place.unwrap_or(0) + 1,
            of: rows.len(),
            code,
            message: answer.cause().to_string(),
        };
        let mut conflict = self.conflict.lock().unwrap_or_else(PoisonError::into_inner);
        *conflict = Some(said);
    }

    /// Another row is in the way of this one: that goes, or this one waits for the end of the flush.
    pub(super) async fn make_way(
        &self,
        hand: &mut Hand<'_>,
        row: &[Row<'_>],
        flushed: &mut Flushed,
    ) -> Done<()> {
        if self.statements.keeps() {
            flushed
                .in_the_way
                .extend(row.iter().map(|row| row.bytes.clone()));
            return Ok(());
        }
        self.evict(hand, row, flushed).await
    }

    pub(super) async fn evict(
        &self,
        hand: &mut Hand<'_>,
        row: &[Row<'_>],
        flushed: &mut Flushed,
    ) -> Done<()> {
        let task = self.task(row, Kind::Evict);
        match hand.perform(&task, self).await {
            Ok(Performed::Evicted(evicted)) => {
                // At once: it is committed, whatever becomes of the rest of the flush.
                for keys in self.evicted {
                    keys.add(evicted.iter());
                }
                flushed.evicted += evicted.len();
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(Stop::Failed(failure)) if does_not_fit(&failure) => self.misfit(&row[0], failure),
            Err(stop) => Err(stop),
        }
    }
}

/// Front first: the last of `parts` is done next.
pub(super) fn halve<'r, 'w>(rows: &'r [Row<'w>], parts: &mut Vec<&'r [Row<'w>]>) {
    let (front, back) = rows.split_at(rows.len() / 2);
    parts.push(back);
    parts.push(front);
}

/// Cuts sorted rows into statements.
fn batches_of<'r, 'w>(
    rows: &'r [Row<'w>],
    rows_max: usize,
    limits: StatementLimits,
) -> Vec<&'r [Row<'w>]> {
    let mut batches = Vec::new();
    let mut start = 0;
    let mut bytes = 0;
    for (index, row) in rows.iter().enumerate() {
        let size = match row.values {
            Some(values) => values.len() + 4,
            None => KEY_LITERAL_BYTES + 2 * row.bytes.len(),
        };
        if index > start && (index - start >= rows_max || bytes + size > limits.bytes_max) {
            batches.push(&rows[start..index]);
            start = index;
            bytes = 0;
        }
        bytes += size;
    }
    if start < rows.len() {
        batches.push(&rows[start..]);
    }
    batches
}
