//! Proof that the ghost has the original's rows, and keeps having them until the swap.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::engines::Engines;
use super::last_changes::Rest;
use super::prepare::Prepared;
use super::run::{Run, stopped};
use crate::chunk::{Chunk, LowWatermark};
use crate::failure::{Failure, Result};
use crate::observe::Verification;
use crate::progress::Phase;
use crate::replay::uniqueness::Uniqueness;
use crate::settings::VerifySetting;
use crate::verify::{self, Comparison, Settle, VerifyPlan};
use crate::walk::{Controls, Part};

/// Memory for the keys of rows that change after they were compared.
const DIRTY_BYTES_MAX: usize = 64 << 20;
/// So few keys are left for the next round, or for the look under the lock.
const DIRTY_FEW: usize = 500;
/// Rounds of rechecking before the swap is tried with what is left: what changes faster than it can be
/// compared never comes to an end.
const ROUNDS_MAX: usize = 10;
/// Between two rounds while the cut-over is held.
const HELD_PAUSE: Duration = Duration::from_secs(5);

impl Settle for Rest {
    fn settle(&self, limit: Duration) -> BoxFuture<'_, Result<bool>> {
        Box::pin(async move {
            let name = self.write_marker().await?;
            // Late is an answer here, not an error.
            Ok(self.marker_applied(&name, limit).await.is_ok())
        })
    }
}

/// How this run's tables are compared.
pub fn comparison(run: &Run, prepared: &Prepared) -> Arc<Comparison> {
    let comparison = Comparison::new(
        run.server.facts(),
        &prepared.original,
        &prepared.ghost,
        &prepared.map,
        prepared.key.clone(),
    );
    if run.back.is_none() {
        return Arc::new(comparison);
    }
    let (comparison, left_out) = comparison.back(run.server.facts(), &prepared.map);
    if !left_out.is_empty() {
        tracing::warn!(
            event = "not_compared",
            "columns are not compared, since the ALTER may have rounded their values: {}",
            left_out.join(", ")
        );
    }
    Arc::new(comparison)
}

/// The proof of a run.
pub struct Proof {
    plan: VerifyPlan,
    /// Whether changed rows are compared again.
    follows: bool,
    chunks: u64,
    rechecked: AtomicU64,
}

/// How the verification of a run goes.
pub fn plan(run: &Run, prepared: &Prepared, engines: &Engines) -> VerifyPlan {
    VerifyPlan {
        server: run.server.clone(),
        target_server: None,
        comparison: engines.comparison.clone(),
        settle: engines.rest.clone(),
        mend: None,
        row_bytes_estimate: prepared.original.row_bytes_estimate,
    }
}

/// Compares all rows, or those of the `sample` that was copied, or where that is turned off those ranges in which the copy met a conflict.
///
/// # Errors
/// A difference; what the server answered; [`stopped`].
pub async fn verify(
    run: &Run,
    prepared: &Prepared,
    engines: &Engines,
    controls: &Controls,
    sample: Option<Vec<Chunk>>,
) -> Result<Proof> {
    let plan = plan(run, prepared, engines);
    let suspects = engines.watermark.borrow().suspects.clone();
    let stricter = engines.uniqueness == Uniqueness::Stricter;
    if stricter && run.settings.verify == VerifySetting::Off {
        tracing::info!(
            event = "verify_needed",
            "original and ghost are compared all the same: the new table has a unique key that the \
             original does not imply, so a row could go for another"
        );
    }
    let repaired = prepared.missed_changes();
    if repaired && run.settings.verify == VerifySetting::Off {
        tracing::info!(
            event = "verify_needed",
            "original and ghost are compared all the same, since the ghost was put right"
        );
    }
    let follows = stricter || repaired || run.settings.verify == VerifySetting::After;
    let part = if follows {
        sample.map_or(Part::All(None), Part::Ranges)
    } else if suspects.is_empty() {
        tracing::info!(
            event = "unverified",
            "original and ghost are not compared: --verify=off"
        );
        return Ok(Proof {
            plan,
            follows,
            chunks: 0,
            rechecked: AtomicU64::new(0),
        });
    } else {
        Part::Ranges(suspects)
    };
    run.progress.enter(Phase::Verify);
    // Before the first row is compared: what changes or is evicted from here on is looked at again.
    engines.replay.dirty().record(DIRTY_BYTES_MAX);
    engines.replay.watch_evictions(true).await;
    let watermark = watch::Sender::new(LowWatermark::default());
    let end = verify::run(
        plan.clone(),
        part,
        controls.clone(),
        run.progress.clone(),
        watermark,
    )
    .await?;
    if !end.finished {
        return Err(stopped());
    }
    let proof = Proof {
        plan,
        follows,
        chunks: end.chunks,
        rechecked: AtomicU64::new(0),
    };
    for _ in 0..ROUNDS_MAX {
        if proof.recheck(run, engines, controls).await? <= DIRTY_FEW {
            break;
        }
    }
    Ok(proof)
}

impl Proof {
    /// What the comparison came to, for the report; `None` if nothing was compared.
    pub fn summary(&self, run: &Run) -> Option<Verification> {
        (self.chunks > 0).then(|| Verification {
            rows: run.progress.rows_verified.get(),
            chunks: self.chunks,
            rechecked: self.rechecked.load(Ordering::Relaxed),
            differences: 0,
        })
    }

    /// Compares rows again that have changed since they were compared; returns how many had.
    ///
    /// # Errors
    /// As [`verify`].
    pub async fn recheck(
        &self,
        run: &Run,
        engines: &Engines,
        controls: &Controls,
    ) -> Result<usize> {
        let dirty = engines.replay.dirty().drain();
        let count = dirty.keys.len();
        if dirty.overflow {
            tracing::info!(
                event = "verify_again",
                "more rows have changed since they were compared than can be remembered: all are compared again"
            );
            let watermark = watch::Sender::new(LowWatermark::default());
            let end = verify::run(
                self.plan.clone(),
                Part::All(None),
                controls.clone(),
                run.progress.clone(),
                watermark,
            )
            .await?;
            if !end.finished {
                return Err(stopped());
            }
            return Ok(usize::MAX);
        }
        if count > 0 {
            self.rechecked.fetch_add(count as u64, Ordering::Relaxed);
            verify::recheck(
                self.plan.clone(),
                dirty.keys,
                controls.clone(),
                run.progress.clone(),
            )
            .await?;
        }
        if controls.cancel.is_cancelled() {
            return Err(stopped());
        }
        Ok(count)
    }

    /// Keeps the proof fresh while the cut-over is held, so that little is left when it is released.
    ///
    /// # Errors
    /// As [`verify`].
    pub async fn hold(
        &self,
        run: &Run,
        engines: &Engines,
        controls: &Controls,
        mut held: watch::Receiver<bool>,
    ) -> Result<()> {
        if !*held.borrow() {
            return Ok(());
        }
        run.progress.enter(Phase::Postponed);
        let _wait = run.progress.wait_for("the operator's word to cut over");
        while *held.borrow_and_update() {
            if self.follows {
                self.recheck(run, engines, controls).await?;
            }
            tokio::select! {
                () = tokio::time::sleep(HELD_PAUSE) => {}
                changed = held.changed() => {
                    changed.map_err(|_| Failure::failed("nobody watches what holds the cut-over any more"))?;
                }
                () = controls.cancel.cancelled() => return Err(stopped()),
            }
        }
        if self.follows {
            self.recheck(run, engines, controls).await?;
        }
        Ok(())
    }
}
