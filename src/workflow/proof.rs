//! Proof that the ghost has the original's rows, and keeps having them until the swap.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::engines::Engines;
use super::last_changes::Rest;
use super::prepare::Prepared;
use super::run::{Run, stopped};
use crate::chunk::{Chunk, LowWatermark};
use crate::failure::{Failure, FailureKind, Result};
use crate::key::Key;
use crate::observe::Verification;
use crate::progress::Phase;
use crate::replay::uniqueness::Uniqueness;
use crate::settings::VerifySetting;
use crate::verify::{self, Comparison, Settle, VerifyPlan};
use crate::walk::bounds::SidedKey;
use crate::walk::{Controls, Part};

/// Memory for the keys of rows that change after they were compared.
pub const DIRTY_BYTES_MAX: usize = 64 << 20;
/// So few keys are left for the next round, or for the look under the lock.
const DIRTY_FEW: usize = 500;
/// Rounds of rechecking before the swap is tried with what is left: what changes faster than it can be
/// compared never comes to an end.
const ROUNDS_MAX: usize = 10;
/// Between two rounds while other rows are compared, or the cut-over is held.
const BETWEEN_ROUNDS: Duration = Duration::from_secs(5);

impl Settle for Rest {
    fn settle(&self, limit: Duration) -> BoxFuture<'_, Result<bool>> {
        Box::pin(async move {
            let name = self.write_marker().await?;
            // Late is an answer here, not an error.
            Ok(self.marker_applied(&name, limit).await.is_ok())
        })
    }

    fn changed_again(&self, key: &Key) -> bool {
        self.replay_dirty().contains(key)
    }

    fn takes_over(&self, row: &SidedKey) -> bool {
        self.owe(row)
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
}

/// How the verification of a run goes while it goes on: what changes all the time is left to its end.
pub fn plan(run: &Run, prepared: &Prepared, engines: &Engines) -> VerifyPlan {
    VerifyPlan {
        server: run.server.clone(),
        target_server: None,
        comparison: engines.comparison.clone(),
        settle: engines.rest.clone(),
        mend: None,
        leaves_changing: true,
        trail: Some(engines.trail.clone()),
        row_bytes_estimate: prepared.original.row_bytes_estimate,
        chunk_time_max: verify::CHUNK_TIME_MAX,
    }
}

/// Compares all rows, whatever was compared before; as [`prove`].
///
/// # Errors
/// As [`prove`].
pub async fn verify(
    run: &Run,
    prepared: &Prepared,
    engines: &Engines,
    controls: &Controls,
) -> Result<Proof> {
    engines.verified.send_replace(LowWatermark::default());
    engines.rechecked.store(0, Ordering::Relaxed);
    prove(run, prepared, engines, controls, None).await
}

/// Compares all rows that have not been compared yet, or those of the `sample` that was copied, or where that
/// is turned off those ranges in which the copy met a conflict; then again what has changed meanwhile.
///
/// # Errors
/// A difference; what the server answered; [`stopped`].
pub async fn prove(
    run: &Run,
    prepared: &Prepared,
    engines: &Engines,
    controls: &Controls,
    sample: Option<Vec<Chunk>>,
) -> Result<Proof> {
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
    let follows = stricter || repaired || run.settings.verify != VerifySetting::Off;
    let mut proof = Proof {
        plan: plan(run, prepared, engines),
        follows,
        chunks: 0,
    };
    let ranges = if follows {
        sample
    } else if suspects.is_empty() {
        tracing::info!(
            event = "unverified",
            "original and ghost are not compared: --verify=off"
        );
        return Ok(proof);
    } else {
        Some(suspects)
    };
    run.progress.enter(Phase::Verify);
    proof.chunks = match ranges {
        Some(ranges) => {
            let own = watch::Sender::new(LowWatermark::default());
            begin(engines, false).await;
            compare(run, &proof.plan, controls, Part::Ranges(ranges), own).await?
        }
        None => {
            let so_far = engines.verified.borrow().clone();
            if so_far.finished {
                begin(engines, true).await;
            } else {
                walk(run, prepared, engines, controls, Part::All(so_far.next)).await?;
            }
            engines.verified.borrow().chunks
        }
    };
    for _ in 0..ROUNDS_MAX {
        if proof.follow_up(run, engines, controls).await? <= DIRTY_FEW {
            break;
        }
    }
    proof.recheck(run, engines, controls).await?;
    Ok(proof)
}

/// Compares the rows of this part in their order: what [`Engines::verified`] tells is behind it.
///
/// # Errors
/// A difference; what the server answered; [`stopped`].
pub async fn walk(
    run: &Run,
    prepared: &Prepared,
    engines: &Engines,
    controls: &Controls,
    part: Part,
) -> Result<()> {
    let goes_on = *engines.verified.borrow() != LowWatermark::default();
    begin(engines, goes_on).await;
    let plan = plan(run, prepared, engines);
    let cancel = controls.cancel.child_token();
    let own = Controls {
        cancel: cancel.clone(),
        ..controls.clone()
    };
    // Neither is dropped half way: the other one's end is told, and both are awaited.
    let walking = async {
        let walked = compare(run, &plan, &own, part, engines.verified.clone()).await;
        cancel.cancel();
        walked
    };
    let following = async {
        let followed = follow(run, &plan, engines, &own).await;
        if followed.is_err() {
            cancel.cancel();
        }
        followed
    };
    match tokio::join!(walking, following) {
        (Err(walked), Err(followed)) if walked.kind() == FailureKind::Interrupted => Err(followed),
        (walked, followed) => walked.map(drop).and(followed),
    }
}

/// Compares rows again that change while others are compared for the first time, until cancelled: so that they
/// do not pile up, and few are left for a resume to look at.
async fn follow(
    run: &Run,
    plan: &VerifyPlan,
    engines: &Engines,
    controls: &Controls,
) -> Result<()> {
    loop {
        tokio::select! {
            () = tokio::time::sleep(BETWEEN_ROUNDS) => {}
            () = controls.cancel.cancelled() => return Ok(()),
        }
        let dirty = engines.replay.dirty().drain();
        // What was lost is not settled, and the rounds afterwards see to it.
        if dirty.overflow || dirty.keys.is_empty() {
            continue;
        }
        recheck_keys(run, plan, engines, controls, dirty.keys).await?;
        if controls.cancel.is_cancelled() {
            return Ok(());
        }
        engines.replay.dirty().settled();
    }
}

/// Cancelled, it returns early.
async fn recheck_keys(
    run: &Run,
    plan: &VerifyPlan,
    engines: &Engines,
    controls: &Controls,
    keys: Vec<Key>,
) -> Result<()> {
    engines
        .rechecked
        .fetch_add(keys.len() as u64, Ordering::Relaxed);
    verify::recheck(plan.clone(), keys, controls.clone(), run.progress.clone()).await
}

/// Before the first row is compared: what changes or is evicted from here on is looked at again. Where rows
/// have been compared before, changes are recorded already.
async fn begin(engines: &Engines, goes_on: bool) {
    if !goes_on {
        engines.replay.dirty().record(DIRTY_BYTES_MAX);
    }
    engines.replay.watch_evictions(true).await;
}

/// Compares a part; returns in how many chunks.
async fn compare(
    run: &Run,
    plan: &VerifyPlan,
    controls: &Controls,
    part: Part,
    watermark: watch::Sender<LowWatermark>,
) -> Result<u64> {
    let end = verify::run(
        plan.clone(),
        part,
        controls.clone(),
        run.progress.clone(),
        watermark,
    )
    .await?;
    match end.finished {
        true => Ok(end.chunks),
        false => Err(stopped()),
    }
}

impl Proof {
    /// What the comparison came to, for the report; `None` if nothing was compared.
    pub fn summary(&self, run: &Run, engines: &Engines) -> Option<Verification> {
        (self.chunks > 0).then(|| Verification {
            rows: run.progress.rows_verified.get(),
            chunks: self.chunks,
            rechecked: engines.rechecked.load(Ordering::Relaxed),
            differences: 0,
        })
    }

    /// Compares all rows again that have changed since they were compared.
    ///
    /// # Errors
    /// As [`verify`].
    pub async fn recheck(&self, run: &Run, engines: &Engines, controls: &Controls) -> Result<()> {
        let strict = VerifyPlan {
            leaves_changing: false,
            ..self.plan.clone()
        };
        self.round(run, &strict, engines, controls).await?;
        Ok(())
    }

    /// The same in between, but what changes just now is left to a later time; returns how many there were.
    ///
    /// # Errors
    /// As [`verify`].
    pub async fn follow_up(
        &self,
        run: &Run,
        engines: &Engines,
        controls: &Controls,
    ) -> Result<usize> {
        self.round(run, &self.plan, engines, controls).await
    }

    async fn round(
        &self,
        run: &Run,
        plan: &VerifyPlan,
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
            // Nothing is claimed any more; only then what was lost counts as looked at.
            engines.verified.send_replace(LowWatermark::default());
            engines.replay.dirty().settled();
            let all = Part::All(None);
            compare(run, plan, controls, all, engines.verified.clone()).await?;
            return Ok(usize::MAX);
        }
        if count > 0 {
            recheck_keys(run, plan, engines, controls, dirty.keys).await?;
        }
        if controls.cancel.is_cancelled() {
            return Err(stopped());
        }
        engines.replay.dirty().settled();
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
                self.follow_up(run, engines, controls).await?;
            }
            tokio::select! {
                () = tokio::time::sleep(BETWEEN_ROUNDS) => {}
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
