//! Rereading rows of the original, some of which somebody may have locked.

use std::time::Duration;

use super::connection::{Done, Stop};
use super::flush::{Flush, Flushed, Hand, halve};
use super::statements::{Row, RowLock};
use super::task::{Kind, Performed};
use crate::mysql::error::does_not_fit;

/// Rows that somebody has locked are looked at one by one up to this number.
const ONE_BY_ONE_MAX: usize = 64;
/// Pauses before the next look at rows that somebody has locked: a commit takes about as long.
const LOOKS: [Duration; 3] = [
    Duration::from_millis(2),
    Duration::from_millis(8),
    Duration::from_millis(25),
];

/// What came of an attempt.
enum Attempt<'w> {
    /// All is done but for these rows, which somebody has locked.
    Left(Vec<Row<'w>>),
    /// Nothing is done; smaller parts will tell.
    Halve,
}

impl Flush<'_> {
    /// Puts rows in by reading them again. Rows that somebody has locked hold up nobody else: nothing
    /// waits for them while holding other locks; they are found out, looked at again a few times, and
    /// left for a later flush.
    pub(super) async fn reread(
        &self,
        hand: &mut Hand<'_>,
        rows: &[Row<'_>],
        flushed: &mut Flushed,
    ) -> Done<()> {
        if matches!(hand, Hand::Locking(_)) {
            // Nobody else can have locked anything.
            let kind = Kind::Reread(RowLock::Wait);
            return self.put(hand, rows, kind, flushed).await;
        }
        let mut left = self.reread_parts(hand, vec![rows], flushed).await?;
        for pause in LOOKS {
            if left.is_empty() {
                return Ok(());
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.cancel.cancelled() => return Err(Stop::Cancelled),
            }
            let parts = match left.len() <= ONE_BY_ONE_MAX {
                true => left.chunks(1).rev().collect(),
                false => vec![left.as_slice()],
            };
            left = self.reread_parts(hand, parts, flushed).await?;
        }
        let keys = left.iter().map(|row| row.bytes.clone());
        flushed.locked.extend(keys);
        Ok(())
    }

    /// Does the parts, the last first; returns the rows that somebody has locked.
    async fn reread_parts<'w>(
        &self,
        hand: &mut Hand<'_>,
        mut parts: Vec<&[Row<'w>]>,
        flushed: &mut Flushed,
    ) -> Done<Vec<Row<'w>>> {
        let mut left = Vec::new();
        while let Some(part) = parts.pop() {
            match self.reread_once(hand, part, flushed).await {
                Ok(Attempt::Left(rows)) => left.extend(rows),
                Ok(Attempt::Halve) => halve(part, &mut parts),
                Err(Stop::Failed(failure)) if does_not_fit(&failure) => match part {
                    [row] => self.misfit(row, failure)?,
                    _ => halve(part, &mut parts),
                },
                Err(stop) => return Err(stop),
            }
        }
        Ok(left)
    }

    /// First all at once, which is refused if any row is locked; then those that are free.
    async fn reread_once<'w>(
        &self,
        hand: &mut Hand<'_>,
        rows: &[Row<'w>],
        flushed: &mut Flushed,
    ) -> Done<Attempt<'w>> {
        let task = self.task(rows, Kind::Reread(RowLock::Refuse));
        if !matches!(hand.perform(&task, self).await?, Performed::Refused(_)) {
            return Ok(Attempt::Left(Vec::new()));
        }
        if !self.statements.can_skip_locked() {
            // Which of them it was cannot be asked.
            return match rows {
                [_] if self.exact || self.statements.keeps() => {
                    self.reread_evicting(hand, rows, flushed).await
                }
                [row] => Ok(Attempt::Left(vec![row.clone()])),
                _ => Ok(Attempt::Halve),
            };
        }
        let task = self.task(rows, Kind::RereadFree);
        match hand.perform(&task, self).await? {
            Performed::Only(done) => Ok(Attempt::Left(
                rows.iter()
                    .filter(|row| !done.contains(row.bytes))
                    .cloned()
                    .collect(),
            )),
            // No row is locked, but in the exact way one is in the way.
            _ if rows.len() == 1 => self.reread_evicting(hand, rows, flushed).await,
            _ => Ok(Attempt::Halve),
        }
    }

    async fn reread_evicting<'w>(
        &self,
        hand: &mut Hand<'_>,
        row: &[Row<'w>],
        flushed: &mut Flushed,
    ) -> Done<Attempt<'w>> {
        self.make_way(hand, row, flushed).await?;
        Ok(Attempt::Left(Vec::new()))
    }
}
