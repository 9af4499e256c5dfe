//! What a cut-over asks of replay: the engine itself knows nothing of binlogs and windows.

use std::future::Future;
use std::time::{Duration, Instant};

use crate::failure::Result;
use crate::mysql::Session;
use crate::names::TableName;

/// How near replay and everything around it are to a swap.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Readiness {
    /// How far replay is behind; `None` if that is not known now.
    pub lag: Option<Duration>,
    /// For how long it has been no further behind than [`super::LAG_MAX`] already, as far as is known.
    pub calm: Duration,
    /// Keys that wait to be applied.
    pub backlog_rows: u64,
    /// Anything else that speaks against asking for the lock now, in words: a replica that lags, a
    /// throttle reason, a verification that has not come to its end.
    pub hindrance: Option<String>,
}

/// The changes that are not in the ghost yet, and whoever brings them there.
///
/// The order of calls in an attempt: `receive_all`, `quiesce`, then under the lock `marker`, `apply_rest`,
/// `check_last` (and `arrived_since_marker` in the two-session protocol); then `resume`, unless the
/// tables were swapped or nobody knows. What comes through the binlog after the swap belongs to the
/// new table and is never applied.
pub trait LastChanges: Sync {
    /// Waits, while nothing is locked, until all that was committed before is received.
    ///
    /// # Errors
    /// A transient failure if it has not come by `deadline`; anything else ends the run.
    fn receive_all(&self, deadline: Instant) -> impl Future<Output = Result<()>> + Send;

    /// Makes sure that this run may still swap, lets the appliers finish what they are at and suspends them, so that none of our own sessions
    /// holds or asks for a lock on original or ghost. Changes are still received.
    ///
    /// # Errors
    /// What made an applier fail; another run that has taken this one's place.
    fn quiesce(&self) -> impl Future<Output = Result<()>> + Send;

    /// Writes a marker into the binlog (by another session than the one that holds the lock) and waits
    /// until it has come back: every change made before is then received.
    ///
    /// # Errors
    /// A transient failure if it has not come back by `deadline`; anything else ends the run. What is
    /// waiting then must be given up (its statement killed): the locks are given back at the deadline,
    /// but nothing else is done until this returns.
    fn marker(&self, deadline: Instant) -> impl Future<Output = Result<()>> + Send;

    /// Writes another marker, waits for it as [`LastChanges::marker`] does, and tells how many row
    /// changes of the original have come between the two. The two-session protocol asks when the
    /// original is held exclusively again: none may have come.
    ///
    /// # Errors
    /// As [`LastChanges::marker`]; DDL on the original in between ends the run.
    fn arrived_since_marker(&self, deadline: Instant) -> impl Future<Output = Result<u64>> + Send;

    /// Applies what is left, through the session that holds the lock on original and ghost; it may
    /// use these two tables only. Its running statement is killed when the budget is used up; it then
    /// gives up and keeps what it has not applied. Returns how many keys it applied.
    ///
    /// # Errors
    /// `Killed`, `Transient` or `Disconnected`: the attempt is tried again later. Anything else ends
    /// the run.
    fn apply_rest(
        &self,
        session: &mut Session,
        ghost: &TableName,
    ) -> impl Future<Output = Result<u64>> + Send;

    /// Looks a last time, under the lock, at keys that deserve it (the last ones changed).
    ///
    /// # Errors
    /// As [`LastChanges::apply_rest`]; a difference ends the run.
    fn check_last(
        &self,
        session: &mut Session,
        ghost: &TableName,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Lets the appliers go on: nothing was swapped.
    fn resume(&self);

    /// How things stand now. Called every tenth of a second or so.
    fn readiness(&self) -> Readiness;

    /// Connection ids of our own sessions, which are neither blockers nor ever killed.
    fn own_sessions(&self) -> Vec<u32>;
}
