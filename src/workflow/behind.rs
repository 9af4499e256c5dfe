//! Comparing behind the copy, while it goes on: `--verify=during`.
//!
//! The comparison walks along the copy's finished prefix. What changes after its chunk was proved is recorded
//! from before the first chunk on, and compared again, as ever ([`super::proof`]); so it makes no difference
//! to the proof that rows are still being copied elsewhere.

use std::future::Future;

use super::engines::Engines;
use super::prepare::Prepared;
use super::proof;
use super::run::Run;
use crate::failure::{FailureKind, Result};
use crate::replay::uniqueness::Uniqueness;
use crate::settings::{Extent, VerifySetting};
use crate::verify::Comparison;
use crate::walk::{Controls, Part};

/// Whether rows are to be compared behind the copy; where that was asked for and cannot be, the log says why.
pub fn is_wanted(run: &Run, prepared: &Prepared, engines: &Engines) -> bool {
    if run.settings.verify != VerifySetting::During || engines.watermark.borrow().finished {
        return false;
    }
    let missed = prepared
        .missed_changes()
        .then_some("the ghost is to be put right before");
    let hindrance = missed.or_else(|| {
        hindrance(
            &run.settings.extent,
            engines.uniqueness,
            &engines.comparison,
        )
    });
    let Some(why) = hindrance else {
        return true;
    };
    tracing::info!(
        event = "verify_after",
        "rows are compared after the copy, not during it: {why}"
    );
    false
}

/// Why rows cannot be compared behind the copy, if they cannot.
pub fn hindrance(
    extent: &Extent,
    uniqueness: Uniqueness,
    comparison: &Comparison,
) -> Option<&'static str> {
    if matches!(extent, Extent::Rehearsal(_)) {
        // Which ranges are copied is known in the end only, and each part's time is to be measured.
        return Some("it is a rehearsal");
    }
    if uniqueness == Uniqueness::Stricter {
        // Rows of the ghost are evicted otherwise while evictions are watched.
        return Some("the new table has a unique key that the original does not imply");
    }
    if comparison.needs_two_walks() {
        return Some("the new table orders its rows by another key");
    }
    None
}

/// Copies, and compares behind it up to the end. `copying` gets controls by which it ends if a difference is
/// found.
///
/// # Errors
/// The copy's, or the comparison's.
pub async fn beside<F: Future<Output = Result<()>>>(
    run: &Run,
    prepared: &Prepared,
    engines: &Engines,
    controls: &Controls,
    copying: impl FnOnce(Controls) -> F,
) -> Result<()> {
    let cancel = controls.cancel.child_token();
    let own = Controls {
        cancel: cancel.clone(),
        ..controls.clone()
    };
    let copying = copying(own.clone());
    let copying = async {
        let copied = copying.await;
        if copied.is_err() {
            cancel.cancel();
        }
        copied
    };
    let comparing = async {
        let from = engines.verified.borrow().next.clone();
        let part = Part::Behind(from, engines.watermark.subscribe());
        let compared = proof::walk(run, prepared, engines, &own, part).await;
        if compared.is_err() {
            cancel.cancel();
        }
        compared
    };
    match tokio::join!(copying, comparing) {
        // The copy was cancelled because rows differ.
        (Err(copied), Err(compared)) if copied.kind() == FailureKind::Interrupted => Err(compared),
        (copied, compared) => copied.and(compared),
    }
}
