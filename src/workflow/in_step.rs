//! Bringing an old table in step with the table that took its place, and what does not fit it.

use std::time::Duration;

use super::engines::Engines;
use super::run::{Run, stopped};
use crate::checkpoint;
use crate::failure::{FailureKind, Result};
use crate::progress::Phase;
use crate::verify::Settle;
use crate::walk::Controls;

/// How long one marker is waited for before another is written. Nothing is lost by it: it is asked
/// whether to stop in between.
const MARKER_LIMIT: Duration = Duration::from_secs(5);

/// Waits until everything that was committed up to now is in the old table, and everything fits.
///
/// # Errors
/// [`FailureKind::DoesNotFit`] with the rows named that do not; [`stopped`]; what the server answered.
pub async fn reach(run: &Run, engines: &Engines, controls: &Controls) -> Result<()> {
    run.progress.enter(Phase::Prepare);
    let _wait = run
        .progress
        .wait_for("the changes since the swap to be in the old table");
    settle(engines, controls).await?;
    if engines.replay.misfits().count() > 0 {
        look_again(engines)?;
        settle(engines, controls).await?;
    }
    engines.replay.misfits().verdict()
}

/// Waits until everything that was committed up to now is in the ghost.
///
/// # Errors
/// [`stopped`]; what the server answered.
pub async fn settle(engines: &Engines, controls: &Controls) -> Result<()> {
    loop {
        if controls.cancel.is_cancelled() {
            return Err(stopped());
        }
        if engines.rest.settle(MARKER_LIMIT).await? {
            return Ok(());
        }
    }
}

/// Has rows that did not fit read again: another row may have been in their way that is gone by now.
///
/// # Errors
/// None that is known.
pub fn look_again(engines: &Engines) -> Result<()> {
    for key in engines.replay.misfits().keys() {
        let key = checkpoint::key_of_text(&key)?;
        engines.replay.backlog().look_again(&key);
    }
    Ok(())
}

/// A difference that comes of rows that do not fit is told as what it is.
///
/// # Errors
/// The result's, or [`FailureKind::DoesNotFit`] with the rows named.
pub fn verdict<T>(engines: &Engines, result: Result<T>) -> Result<T> {
    if let Err(failure) = &result
        && failure.kind() == FailureKind::Difference
    {
        engines.replay.misfits().verdict()?;
    }
    result
}
