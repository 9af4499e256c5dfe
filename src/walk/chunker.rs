//! Fetches chunk bounds ahead of the workers.
//!
//! Bounds come from the key's index alone. The walk ends at the greatest key that existed when it began:
//! a table that grows at its end would otherwise never be finished.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::bounds::{self, End, Side};
use super::sizer::Sizer;
use super::track::Track;
use super::{Controls, WalkPlan, keys};
use crate::chunk::Chunk;
use crate::failure::{Context, Result};
use crate::key::Key;
use crate::mysql::retry::Endurance;
use crate::mysql::{Purpose, Session, quote};
use crate::names::TableName;
use crate::schema::MigrationKey;

/// A table with its key and the side of the key that it is.
#[derive(Clone, Copy, Debug)]
pub struct Keyed<'a> {
    /// The table.
    pub table: &'a TableName,
    /// The key.
    pub key: &'a MigrationKey,
    /// Which side.
    pub side: Side,
}

impl Keyed<'_> {
    /// `` `d`.`t` FORCE INDEX (`k`) ``: chunks are ranges of the key's index, and a plan by any other
    /// index reads the table once a chunk.
    pub fn from_clause(&self) -> String {
        format!(
            "{} FORCE INDEX ({})",
            quote::table(self.table),
            self.side.index(self.key)
        )
    }

    /// The greatest key; `None` in an empty table.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn last_key(&self, session: &mut Session) -> Result<Option<Key>> {
        let sql = self.bound_query(None, None, true, 0);
        self.ask(session, &sql).await
    }

    /// The key that has `offset` keys before it in the range; `None` if the range has fewer.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn key_at(
        &self,
        session: &mut Session,
        lower: Option<End<'_>>,
        upper: Option<End<'_>>,
        offset: u64,
    ) -> Result<Option<Key>> {
        let sql = self.bound_query(lower, upper, false, offset);
        self.ask(session, &sql).await
    }

    async fn ask(&self, session: &mut Session, sql: &str) -> Result<Option<Key>> {
        let rows = session.query_binary(sql).await?;
        rows.first()
            .map(|row| keys::read(self.key, self.side, row))
            .transpose()
    }

    /// The text of a query for one key of a range.
    pub fn bound_query(
        &self,
        lower: Option<End<'_>>,
        upper: Option<End<'_>>,
        backwards: bool,
        offset: u64,
    ) -> String {
        format!(
            "SELECT {} FROM {} WHERE {}{} LIMIT 1 OFFSET {offset}",
            keys::select_list(self.key, self.side),
            self.from_clause(),
            bounds::range(self.key, self.side, lower, upper),
            bounds::order_by(self.key, self.side, lower, upper, backwards),
        )
    }

    /// Cuts a piece of at most `rows` rows off the front of a range: the piece, and what is left of the
    /// range, if anything. A piece of one row is that very key: a locking read of a range also locks the
    /// row behind it for a moment, and so would wait for it.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn cut(
        &self,
        session: &mut Session,
        range: &Chunk,
        rows: u64,
    ) -> Result<(Chunk, Option<Chunk>)> {
        let (lower, upper) = bounds::ends(range);
        let first = match rows {
            1 => self.key_at(session, lower, upper, 0).await?,
            _ => None,
        };
        let only = |piece: Chunk| match &first {
            Some(key) => Chunk {
                lower: Some(key.clone()),
                upper: Some(key.clone()),
                upper_included: true,
                rows_expected: 1,
                ..piece
            },
            None => piece,
        };
        let Some(at) = self.key_at(session, lower, upper, rows).await? else {
            return Ok((only(range.clone()), None));
        };
        let piece = Chunk {
            upper: Some(at.clone()),
            upper_included: false,
            rows_expected: rows,
            ..range.clone()
        };
        let left = Chunk {
            lower: Some(at),
            rows_expected: range.rows_expected.saturating_sub(rows),
            ..range.clone()
        };
        Ok((only(piece), Some(left)))
    }
}

/// The task that fetches bounds.
pub(super) struct Chunker {
    plan: Arc<WalkPlan>,
    sizer: Arc<Sizer>,
    controls: Controls,
    session: Option<Session>,
}

impl Chunker {
    pub(super) fn new(plan: Arc<WalkPlan>, sizer: Arc<Sizer>, controls: Controls) -> Chunker {
        Chunker {
            plan,
            sizer,
            controls,
            session: None,
        }
    }

    /// Sends chunks until the table's end, or until nobody takes them any more.
    pub(super) async fn run(
        mut self,
        sender: mpsc::Sender<Chunk>,
        track: Arc<Track>,
    ) -> Result<()> {
        let Some(end) = self.fetch(None).await?.flatten() else {
            track.all(0);
            return self.close().await;
        };
        let mut lower = self.plan.from.clone();
        let mut number = 0;
        while !self.controls.cancel.is_cancelled() {
            let rows = self.sizer.rows(&self.controls.tunables.borrow());
            let Some(upper) = self.fetch(Some((&lower, &end, rows))).await? else {
                break;
            };
            let last = upper.is_none();
            let chunk = Chunk {
                number,
                lower,
                upper: Some(upper.clone().unwrap_or_else(|| end.clone())),
                upper_included: last,
                rows_expected: rows,
            };
            number += 1;
            if last {
                track.all(number);
            }
            let taken = tokio::select! {
                sent = sender.send(chunk) => sent.is_ok(),
                () = self.controls.cancel.cancelled() => false,
            };
            if last || !taken {
                break;
            }
            lower = upper;
        }
        self.close().await
    }

    async fn close(self) -> Result<()> {
        if let Some(session) = self.session {
            session.close().await;
        }
        Ok(())
    }

    /// Asks for the table's last key, or for the bound `rows` after `lower`; `None` when cancelled.
    async fn fetch(
        &mut self,
        bound: Option<(&Option<Key>, &Key, u64)>,
    ) -> Result<Option<Option<Key>>> {
        let mut endurance = Endurance::default();
        loop {
            let failure = match self.ask(bound).await {
                Ok(key) => return Ok(Some(key)),
                Err(failure) => failure,
            };
            if failure.is_disconnected() {
                self.session = None;
            }
            if !endurance.endure(failure, &self.controls.cancel).await? {
                return Ok(None);
            }
        }
    }

    async fn ask(&mut self, bound: Option<(&Option<Key>, &Key, u64)>) -> Result<Option<Key>> {
        let plan = &self.plan;
        let session = match &mut self.session {
            Some(session) => session,
            none => none.insert(plan.server.session(Purpose::Monitor).await?),
        };
        let table = Keyed {
            table: &plan.table,
            key: &plan.key,
            side: plan.side,
        };
        match bound {
            None => table.last_key(session).await,
            Some((lower, end, rows)) => {
                let lower = lower.as_ref().map(|key| End {
                    key,
                    included: true,
                });
                let end = End {
                    key: end,
                    included: true,
                };
                table.key_at(session, lower, Some(end), rows).await
            }
        }
        .doing(|| format!("read chunk bounds of {}", plan.table))
    }
}
