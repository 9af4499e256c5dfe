//! How the copy reads rows, and why it may.

use std::fmt;

use crate::failure::{Failure, FailureKind, Result};
use crate::mysql::Facts;
use crate::schema::MigrationKey;
use crate::settings::CopySetting;

/// How the copy reads rows so that a change whose event has arrived, but whose commit is not visible
/// yet, is not lost (ARCHITECTURE.md, "Why no row is lost").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyMode {
    /// Shared row locks on each chunk: waits for transactions that are committing.
    Locking,
    /// No lock on the original: the chunk is opened in the interlock, everything received so far is
    /// proven visible, then it is read.
    LockFree,
}

impl fmt::Display for CopyMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CopyMode::Locking => "locking",
            CopyMode::LockFree => "lock-free",
        })
    }
}

/// Chooses the mode, with the reason in words for the log.
///
/// # Errors
/// [`FailureKind::Refused`] if lock-free is asked for where it cannot be proven right.
pub fn choose_mode(
    facts: &Facts,
    key: &MigrationKey,
    setting: CopySetting,
) -> Result<(CopyMode, String)> {
    let obstacle = obstacle(facts, key);
    match (setting, obstacle) {
        (CopySetting::Locking, _) => Ok((CopyMode::Locking, "asked for".to_string())),
        (_, None) => Ok((
            CopyMode::LockFree,
            "GTIDs prove what is visible, and the key can be compared in memory".to_string(),
        )),
        (CopySetting::Auto, Some(obstacle)) => Ok((CopyMode::Locking, obstacle)),
        (CopySetting::LockFree, Some(obstacle)) => Err(Failure::new(
            FailureKind::Refused,
            format!("the copy cannot do without row locks: {obstacle}"),
        )
        .remedy("leave the choice to the program, or ask for the locking copy")),
    }
}

/// What stands in the way of the lock-free copy.
fn obstacle(facts: &Facts, key: &MigrationKey) -> Option<String> {
    if let Some(obstacle) = facts.visibility_unprovable() {
        return Some(obstacle.to_string());
    }
    if !key.comparable() {
        return Some(format!(
            "only the server can compare values of the key `{}`",
            key.source_index
        ));
    }
    None
}
