//! Fetches chunk bounds ahead of the workers.
//!
//! Bounds come from the key's index alone. The copy ends at the greatest key that existed when it began:
//! on a table that grows at its end it would otherwise never be finished.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::bounds::{self, End, Side};
use super::sizer::Sizer;
use super::track::Track;
use super::trail::{Ahead, Follower};
use super::{Controls, Part, WalkPlan, keys};
use crate::chunk::Chunk;
use crate::failure::{Context, Failure, Result};
use crate::key::Key;
use crate::mysql::retry::Endurance;
use crate::mysql::{Purpose, Session, quote};
use crate::names::TableName;
use crate::schema::MigrationKey;

/// How long a walk waits at least for the one before it, whose trail it follows.
const BEHIND_PAUSE: Duration = Duration::from_millis(50);
/// The same without a trail: each look reads as many entries of the index as a chunk has.
const BEHIND_PAUSE_LOOKING: Duration = Duration::from_millis(250);

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

    /// Cuts the first row off the front of a range, as that very key, not as a range: the row, and what is
    /// left of the range, if anything. A range without rows comes back whole.
    ///
    /// One statement tells both keys. With the row found by a statement of its own, a row that was inserted
    /// before it meanwhile would be taken for it, and it would belong to no piece (found by the model test:
    /// the row was missing in the ghost).
    ///
    /// # Errors
    /// What the server answered.
    pub async fn cut_first(
        &self,
        session: &mut Session,
        range: &Chunk,
    ) -> Result<(Chunk, Option<Chunk>)> {
        let (lower, upper) = bounds::ends(range);
        let sql = self.keys_query(lower, upper, false, 2, 0);
        let mut keys = self.ask_all(session, &sql).await?.into_iter();
        let Some(first) = keys.next() else {
            return Ok((range.clone(), None));
        };
        let piece = Chunk {
            lower: Some(first.clone()),
            upper: Some(first),
            upper_included: true,
            rows_expected: 1,
            ..range.clone()
        };
        let left = keys.next().map(|next| Chunk {
            lower: Some(next),
            rows_expected: range.rows_expected.saturating_sub(1),
            ..range.clone()
        });
        Ok((piece, left))
    }

    async fn ask(&self, session: &mut Session, sql: &str) -> Result<Option<Key>> {
        Ok(self.ask_all(session, sql).await?.into_iter().next())
    }

    async fn ask_all(&self, session: &mut Session, sql: &str) -> Result<Vec<Key>> {
        let mut rows = session.query_binary(sql).await?;
        if rows.is_empty() && session.server().facts().claims_killed_statements() {
            // Believed only twice: a table that seems empty is not copied.
            rows = session.query_binary(sql).await?;
        }
        rows.iter()
            .map(|row| keys::read(self.key, self.side, row))
            .collect()
    }

    /// The text of a query for one key of a range.
    pub fn bound_query(
        &self,
        lower: Option<End<'_>>,
        upper: Option<End<'_>>,
        backwards: bool,
        offset: u64,
    ) -> String {
        self.keys_query(lower, upper, backwards, 1, offset)
    }

    fn keys_query(
        &self,
        lower: Option<End<'_>>,
        upper: Option<End<'_>>,
        backwards: bool,
        limit: u64,
        offset: u64,
    ) -> String {
        format!(
            "SELECT {} FROM {} WHERE {}{} LIMIT {limit} OFFSET {offset}",
            keys::select_list(self.key, self.side),
            self.from_clause(),
            bounds::range(self.key, self.side, lower, upper),
            bounds::order_by(self.key, self.side, lower, upper, backwards),
        )
    }

    /// Cuts a piece of at most `rows` rows off the front of a range: the piece, and what is left of the
    /// range, if anything.
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
        let Some(at) = self.key_at(session, lower, upper, rows).await? else {
            return Ok((range.clone(), None));
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
        Ok((piece, Some(left)))
    }
}

/// The task that fetches bounds.
pub(super) struct Chunker {
    plan: Arc<WalkPlan>,
    sizer: Arc<Sizer>,
    controls: Controls,
    session: Option<Session>,
    follower: Option<Follower>,
}

/// What the trail of another walk says of the next bound.
enum OnTrail {
    /// It is this one.
    Bound(Key),
    /// The trail goes not yet far enough, or ends here.
    Soon,
    /// There is no trail here.
    Nothing,
    /// The walk was cancelled while a bound was fetched.
    Cancelled,
}

/// The range up to a key.
fn up_to(range: &Chunk, key: Key) -> Chunk {
    Chunk {
        upper: Some(key),
        upper_included: false,
        ..range.clone()
    }
}

impl Chunker {
    pub(super) fn new(plan: Arc<WalkPlan>, sizer: Arc<Sizer>, controls: Controls) -> Chunker {
        Chunker {
            plan,
            sizer,
            controls,
            session: None,
            follower: None,
        }
    }

    /// Sends chunks until the part's end, or until nobody takes them any more.
    pub(super) async fn run(
        mut self,
        sender: mpsc::Sender<Chunk>,
        track: Arc<Track>,
    ) -> Result<()> {
        let Some(mut ranges) = self.ranges().await? else {
            return self.close().await;
        };
        let mut number = 0;
        let mut range = ranges.pop_front();
        if range.is_none() {
            if let Part::Spread(spread) = &self.plan.part {
                spread.finish();
            }
            track.all(0);
        }
        while let Some(whole) = range {
            if self.controls.cancel.is_cancelled() {
                break;
            }
            let mut rows = self.sizer.rows(&self.controls.tunables.borrow());
            if let Part::Spread(spread) = &self.plan.part {
                rows = rows.min(spread.chunk_rows_max());
            }
            let Some(upper) = self.bound(&whole, rows).await? else {
                break;
            };
            let mut chunk = Chunk {
                number,
                rows_expected: rows,
                ..whole.clone()
            };
            let left = upper.map(|upper| {
                chunk.upper = Some(upper.clone());
                chunk.upper_included = false;
                Chunk {
                    lower: Some(upper),
                    ..whole
                }
            });
            range = match &self.plan.part {
                Part::Spread(spread) => {
                    spread.take(&chunk);
                    ranges.extend(left);
                    let next = ranges.pop_front();
                    if next.is_none() {
                        spread.finish();
                    }
                    next.filter(|_| !spread.is_enough())
                }
                Part::UpToNow(_) | Part::All(_) | Part::Behind(..) | Part::Ranges(_) => {
                    left.or_else(|| ranges.pop_front())
                }
            };
            number += 1;
            if range.is_none() {
                track.all(number);
            }
            let taken = tokio::select! {
                sent = sender.send(chunk) => sent.is_ok(),
                () = self.controls.cancel.cancelled() => false,
            };
            if !taken {
                break;
            }
        }
        self.close().await
    }

    /// The ranges to cut into chunks; `None` when cancelled.
    async fn ranges(&mut self) -> Result<Option<VecDeque<Chunk>>> {
        let open = |lower: Option<Key>, upper: Option<Key>| Chunk {
            number: 0,
            lower,
            upper_included: upper.is_some(),
            upper,
            rows_expected: 0,
        };
        let plan = self.plan.clone();
        if let (Some(trail), Part::UpToNow(from)) = (&plan.lays, &plan.part) {
            trail.begin(from.clone());
        }
        Ok(match &plan.part {
            Part::Ranges(ranges) => Some(ranges.iter().cloned().collect()),
            Part::Spread(spread) => Some(spread.strata.iter().cloned().collect()),
            Part::All(from) | Part::Behind(from, _) => {
                Some(VecDeque::from([open(from.clone(), None)]))
            }
            Part::UpToNow(from) => self.fetch(Ask::Last).await?.map(|last| {
                last.map(|last| open(from.clone(), Some(last)))
                    .into_iter()
                    .collect()
            }),
        })
    }

    /// Where a chunk of so many rows from the range's front ends; inside `None` if the range has no more
    /// rows than that. Behind another walk it is waited until that is far enough. `None` when cancelled.
    async fn bound(&mut self, range: &Chunk, rows: u64) -> Result<Option<Option<Key>>> {
        let plan = self.plan.clone();
        let mut other = match &plan.part {
            Part::Behind(_, other) => Some(other.clone()),
            _ => None,
        };
        loop {
            // Read before the trail is: what is finished has been laid.
            let mark = other
                .as_mut()
                .map(|other| other.borrow_and_update().clone());
            let unfinished = mark.filter(|mark| !mark.finished);
            let ahead = self.on_trail(range, rows, unfinished.is_none()).await?;
            let (reached, pause) = match (ahead, unfinished) {
                (OnTrail::Bound(key), _) => return Ok(Some(Some(key))),
                (OnTrail::Cancelled, _) => return Ok(None),
                (OnTrail::Nothing | OnTrail::Soon, None) => {
                    return self.fetch(Ask::Bound(range, rows)).await;
                }
                (OnTrail::Nothing, Some(mark)) => (mark.next, BEHIND_PAUSE_LOOKING),
                (OnTrail::Soon, Some(_)) => (None, BEHIND_PAUSE),
            };
            if let Some(reached) = reached {
                let so_far = up_to(range, reached);
                let Some(upper) = self.fetch(Ask::Bound(&so_far, rows)).await? else {
                    return Ok(None);
                };
                if upper.is_some() {
                    return Ok(Some(upper));
                }
            }
            let further = async {
                tokio::time::sleep(pause).await;
                match &mut other {
                    Some(other) => other.changed().await.is_ok(),
                    None => true,
                }
            };
            tokio::select! {
                there = further => if !there {
                    return Err(Failure::failed("the walk that this one goes behind is gone"));
                },
                () = self.controls.cancel.cancelled() => return Ok(None),
            }
        }
    }

    /// The bound by the trail of another walk, if there is one from the range's front on.
    async fn on_trail(&mut self, range: &Chunk, rows: u64, finished: bool) -> Result<OnTrail> {
        let whole = matches!(self.plan.part, Part::All(_) | Part::Behind(..));
        let Some(trail) = self.plan.follows.as_ref().filter(|_| whole) else {
            return Ok(OnTrail::Nothing);
        };
        if self.follower.is_none() {
            self.follower = trail.follow(range.lower.as_ref());
        }
        let Some(follower) = &mut self.follower else {
            return Ok(OnTrail::Nothing);
        };
        match follower.ahead(rows) {
            Ahead::Bound { key, more, place } if more || finished => {
                follower.go(place);
                Ok(OnTrail::Bound(key))
            }
            Ahead::Far { key, place } => {
                let part = up_to(range, key.clone());
                let Some(nearer) = self.fetch(Ask::Bound(&part, rows)).await? else {
                    return Ok(OnTrail::Cancelled);
                };
                if nearer.is_none()
                    && let Some(follower) = &mut self.follower
                {
                    follower.go(place);
                }
                Ok(OnTrail::Bound(nearer.unwrap_or(key)))
            }
            Ahead::Bound { .. } | Ahead::Nothing => Ok(OnTrail::Soon),
        }
    }

    async fn close(self) -> Result<()> {
        if let Some(session) = self.session {
            session.close().await;
        }
        Ok(())
    }

    /// Asks until there is an answer; `None` when cancelled.
    async fn fetch(&mut self, ask: Ask<'_>) -> Result<Option<Option<Key>>> {
        let mut endurance = Endurance::default();
        loop {
            let failure = match self.ask(ask).await {
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

    async fn ask(&mut self, ask: Ask<'_>) -> Result<Option<Key>> {
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
        match ask {
            Ask::Last => table.last_key(session).await,
            Ask::Bound(range, rows) => {
                let (lower, upper) = bounds::ends(range);
                table.key_at(session, lower, upper, rows).await
            }
        }
        .doing(|| format!("read chunk bounds of {}", plan.table))
    }
}

/// What is asked of the table.
#[derive(Clone, Copy)]
enum Ask<'a> {
    /// Its last key.
    Last,
    /// The key with so many keys of the range before it.
    Bound(&'a Chunk, u64),
}
