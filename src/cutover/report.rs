//! What a cut-over tells: each attempt, and how it ended.

use std::fmt;
use std::time::Duration;

use crate::names::TableName;

/// A part of an attempt, in the order in which they happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Suspends the appliers. The application feels nothing of it.
    Quiesce,
    /// Moves the ghost to a name that sorts behind the original's and creates the sentry. The
    /// application feels nothing of it.
    Arrange,
    /// From asking for the lock until it is held.
    Lock,
    /// Until the marker has come back.
    Marker,
    /// Until the last changes are in the ghost.
    Rest,
    /// Looks at the last keys again.
    Check,
    /// Until the original's triggers are on the ghost.
    Triggers,
    /// Until the other session's RENAME is seen to wait for the original.
    Queue,
    /// Until it is proven that the RENAME holds the original and that nobody wrote in between.
    Proof,
    /// The swap itself.
    Rename,
    /// The server's own ALTER, from asking for its lock to its end.
    Alter,
    /// Until the locks are gone.
    Unlock,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::Quiesce => "quiesce",
            Step::Arrange => "arrange",
            Step::Lock => "lock",
            Step::Marker => "marker",
            Step::Rest => "last changes",
            Step::Check => "check",
            Step::Triggers => "triggers",
            Step::Queue => "queue",
            Step::Proof => "proof",
            Step::Rename => "rename",
            Step::Alter => "alter",
            Step::Unlock => "unlock",
        })
    }
}

/// Somebody who holds the table, or may.
#[derive(Clone, Debug, PartialEq)]
pub struct Blocker {
    /// Connection id, for KILL.
    pub id: u32,
    /// Account.
    pub user: String,
    /// Where it comes from.
    pub host: String,
    /// How long its transaction has been open.
    pub age: Duration,
    /// Its statement now, or the last one, shortened; digests where the server has them, so that no
    /// values are shown.
    pub statement: String,
    /// Whether it has run no statement for two seconds.
    pub idle: bool,
    /// Rows that its transaction has changed; `None` where the server could not tell.
    pub rows_modified: Option<u64>,
    /// Its transaction's number with the server, to know it again.
    pub transaction: String,
    /// Whether it is seen to hold the table; otherwise it is only known to be old enough.
    pub certain: bool,
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}connection {} ({}@{}, open for {:.1}s, {}, {}last: {})",
            if self.certain { "" } else { "perhaps " },
            self.id,
            self.user,
            self.host,
            self.age.as_secs_f64(),
            if self.idle { "idle" } else { "running" },
            self.rows_modified
                .map_or_else(String::new, |rows| format!("{rows} rows changed, ")),
            self.statement
        )
    }
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The ghost is the table now.
    Swapped,
    /// The server has altered the table itself.
    Altered,
    /// The lock was not asked for, because these transactions hold the table.
    Blocked,
    /// The budget was used up in this step; all locks were given back.
    OverBudget(Step),
    /// Somebody or something interfered; all locks were given back.
    Disturbed(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Swapped => f.write_str("swapped"),
            Outcome::Altered => f.write_str("altered"),
            Outcome::Blocked => f.write_str("not asked for the lock"),
            Outcome::OverBudget(step) => write!(f, "over budget in step `{step}`"),
            Outcome::Disturbed(why) => write!(f, "given up: {why}"),
        }
    }
}

/// One attempt to cut over.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// What was done and how long each part took.
    pub steps: Vec<(Step, Duration)>,
    /// Longest time that the application may have waited: from asking for the lock until the swap or
    /// the release. Zero if the lock was not asked for.
    pub stall: Duration,
    /// Keys applied under the lock.
    pub rows_applied: u64,
    /// Who stood in the way.
    pub blockers: Vec<Blocker>,
    /// Connections killed to clear the way.
    pub killed: Vec<Blocker>,
    /// How it ended.
    pub outcome: Outcome,
    /// When the next one comes at the latest; it comes at once when a known blocker ends.
    pub next_in: Option<Duration>,
}

impl fmt::Display for Attempt {
    /// One line for the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cut-over attempt {}: {}", self.number, self.outcome)?;
        if !self.steps.is_empty() {
            f.write_str(" (")?;
            for (index, (step, took)) in self.steps.iter().enumerate() {
                let comma = if index == 0 { "" } else { ", " };
                write!(f, "{comma}{step} {:.1}ms", took.as_secs_f64() * 1e3)?;
            }
            f.write_str(")")?;
        }
        for blocker in &self.blockers {
            write!(f, "; in the way: {blocker}")?;
        }
        for blocker in &self.killed {
            write!(f, "; killed: {blocker}")?;
        }
        if let Some(next) = self.next_in {
            write!(f, "; next in {:.1}s at the latest", next.as_secs_f64())?;
        }
        Ok(())
    }
}

/// What a successful cut-over cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Swapped {
    /// The attempt that did it.
    pub attempt: Attempt,
    /// Where the original is now.
    pub old: TableName,
    /// From asking for the lock until the swap was known to be done: nobody waited longer for it.
    pub stall: Duration,
    /// The sum over all attempts.
    pub stall_total: Duration,
}

/// Why nothing was swapped.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// Cancelled from outside.
    Cancelled,
    /// The last of the allowed attempts failed.
    Attempts(u32),
    /// The time for trying is over.
    Deadline(Duration),
}

/// Nothing was swapped; the original was not touched and replay goes on.
#[derive(Clone, Debug, PartialEq)]
pub struct NotSwapped {
    /// Why.
    pub reason: Reason,
    /// The last attempt, if there was one.
    pub last: Option<Attempt>,
    /// How long the application may have waited in all attempts.
    pub stall_total: Duration,
}

/// The end of a cut-over.
#[derive(Clone, Debug, PartialEq)]
pub enum Swap {
    /// The ghost is the table.
    Swapped(Swapped),
    /// The original is the table.
    NotSwapped(NotSwapped),
    /// Contact was lost in the middle and the catalogue does not tell which. A message of its own:
    /// nothing may be dropped, renamed or started again before a person has looked.
    Unknown {
        /// What the catalogue shows: which of the tables exist.
        seen: String,
        /// What broke.
        cause: String,
    },
}
