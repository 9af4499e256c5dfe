//! Verification: proof, chunk by chunk, that the ghost has the original's rows.
//!
//! - A chunk is compared by one statement, which sees one snapshot of both tables: count and checksums
//!   over the columns that both have, the original's values converted as the ghost has them
//!   ([`Comparison`]).
//! - Rows that differ must be explained by changes that replay has not applied yet: they are looked at
//!   again after a marker written later has come through ([`Settle`]), and in the end under a shared lock
//!   on just that row. What differs then is a difference, which ends the run.
//! - What changes after its chunk was proved is looked at again by key: [`recheck`], and within the
//!   cut-over [`check_under_lock`]. So the last check costs what the changes cost.
//!
//! Guarded by tests/it/verify. Must not know: how rows came into the ghost, and how to repair them.

mod columns;
mod comparison;
mod explain;
mod look;
mod work;

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

pub use comparison::Comparison;
pub use explain::{Mend, NoReplay, Settle};
pub use work::{CHUNK_TIME_MAX, VerifyPlan};

use crate::chunk::LowWatermark;
use crate::failure::{Context, Failure, FailureKind, Result};
use crate::key::Key;
use crate::mysql::cancel::finish_or_kill;
use crate::mysql::retry::Endurance;
use crate::mysql::{Purpose, Session};
use crate::progress::Progress;
use crate::schema::MigrationKey;
use crate::supervise::Supervisor;
use crate::walk::bounds::{Side, SidedKey};
use crate::walk::keys::describe_sided;
use crate::walk::{self, Controls, Part, WORKERS_MAX, WalkPlan};
use look::Look;
use work::VerifyWork;

/// Rows of the first chunks.
const ROWS_FIRST: u64 = 2000;
/// A chunk should not read more of each table than this.
const CHUNK_BYTES_MAX: u64 = 64 << 20;
/// Rows of a chunk whose keys and hashes come to this program.
const ROWS_LOOKED_UP_MAX: u64 = 5000;
/// Keys that one worker rechecks before it looks whether it should end.
const KEYS_AT_ONCE: usize = 1000;
/// How long a statement may go on after cancellation.
const GRACE: Duration = Duration::from_secs(1);

/// Compares both tables from a key on, or from the beginning, or in some ranges.
///
/// `watermark` is published after every chunk, and a walk over [`Part::All`] can be gone on with from
/// there; not where the ghost orders rows differently from the original, which takes two walks.
///
/// # Errors
/// [`crate::failure::FailureKind::Difference`], naming rows and columns; else what the server answered.
pub async fn run(
    plan: VerifyPlan,
    part: Part,
    controls: Controls,
    progress: Arc<Progress>,
    watermark: watch::Sender<LowWatermark>,
) -> Result<LowWatermark> {
    let comparison = plan.comparison.clone();
    let what = || format!("verify {}", comparison.ghost);
    if plan.target_server.is_some() && (comparison.assigns() || comparison.target_order().is_some())
    {
        return Err(Failure::new(
            FailureKind::Refused,
            "tables on two servers can be compared only if their keys have the same order and their \
             columns the same types, or types between which SQL can convert",
        ))
        .doing(what);
    }
    let Some(order) = comparison.target_order().cloned() else {
        let walk_plan = WalkPlan {
            follows: plan.trail.clone(),
            ..walk_plan(&plan, Side::Source, comparison.key.clone(), part)
        };
        let work = Arc::new(VerifyWork::new(plan, None, progress.clone()));
        return walk::walk(walk_plan, work, controls, progress, watermark)
            .await
            .doing(what);
    };
    // Ordered differently, each side's rows are looked up in the other.
    let mut mark = LowWatermark::default();
    for (side, key, part) in [
        (Side::Source, comparison.key.clone(), part),
        (Side::Target, order, Part::All(None)),
    ] {
        let walk_plan = WalkPlan {
            rows_max: ROWS_LOOKED_UP_MAX,
            ..walk_plan(&plan, side, key.clone(), part)
        };
        let work = VerifyWork::new(plan.clone(), Some((side, key)), progress.clone());
        let (own, _) = watch::channel(LowWatermark::default());
        mark = walk::walk(
            walk_plan,
            Arc::new(work),
            controls.clone(),
            progress.clone(),
            own,
        )
        .await
        .doing(what)?;
        if !mark.finished {
            break;
        }
    }
    watermark.send_replace(mark.clone());
    Ok(mark)
}

fn walk_plan(plan: &VerifyPlan, side: Side, key: Arc<MigrationKey>, part: Part) -> WalkPlan {
    let (server, table) = match (side, &plan.target_server) {
        (Side::Source, _) => (&plan.server, &plan.comparison.original),
        (Side::Target, None) => (&plan.server, &plan.comparison.ghost),
        (Side::Target, Some(server)) => (server, &plan.comparison.ghost),
    };
    WalkPlan {
        splits_max: None,
        lays: None,
        follows: None,
        server: server.clone(),
        table: table.clone(),
        key,
        side,
        part,
        rows_max: (CHUNK_BYTES_MAX / plan.row_bytes_estimate.max(1)).max(1),
        rows_first: ROWS_FIRST,
        name: "verify",
    }
}

/// Compares the rows of these keys of the original again, by as many workers as the copy has, throttled as
/// the copy is.
/// Cancelled, it returns early.
///
/// # Errors
/// As [`run`].
pub async fn recheck(
    plan: VerifyPlan,
    keys: Vec<Key>,
    controls: Controls,
    progress: Arc<Progress>,
) -> Result<()> {
    let mut keys = keys;
    // Neighbours together, where that can be told: they lie on the same pages.
    let descending = plan.comparison.key.descending();
    keys.sort_by(|a, b| a.compare(b, &descending).unwrap_or(Ordering::Equal));
    let keys: Vec<SidedKey> = keys.into_iter().map(SidedKey::of_original).collect();
    let workers = controls
        .tunables
        .borrow()
        .copy_workers
        .clamp(1, WORKERS_MAX);
    let share = keys.len().div_ceil(workers).max(1);
    let ghost = plan.comparison.ghost.clone();
    let mut supervisor = Supervisor::new(&controls.cancel);
    let work = Arc::new(VerifyWork::new(plan.clone(), None, progress));
    for part in keys.chunks(share) {
        let (plan, work, part) = (plan.clone(), work.clone(), part.to_vec());
        let controls = Controls {
            cancel: supervisor.token(),
            ..controls.clone()
        };
        supervisor.spawn("recheck", async move {
            recheck_part(&plan, &work, &part, controls).await
        });
    }
    supervisor
        .join()
        .await
        .doing(|| format!("verify changed rows of {ghost}"))
}

async fn recheck_part(
    plan: &VerifyPlan,
    work: &VerifyWork,
    keys: &[SidedKey],
    mut controls: Controls,
) -> Result<()> {
    let cancel = &controls.cancel.clone();
    let mut session: Option<Session> = None;
    for some in keys.chunks(KEYS_AT_ONCE) {
        let mut endurance = Endurance::default();
        while controls.unpaused().await {
            let failure = match recheck_some(plan, work, some, &mut session, cancel).await {
                Ok(()) => break,
                Err(_) if cancel.is_cancelled() => return Ok(()),
                Err(failure) => failure,
            };
            if failure.is_disconnected() {
                session = None;
            }
            if !endurance.endure(failure, cancel).await? {
                return Ok(());
            }
        }
    }
    if let Some(session) = session {
        session.close().await;
    }
    Ok(())
}

async fn recheck_some(
    plan: &VerifyPlan,
    work: &VerifyWork,
    keys: &[SidedKey],
    session: &mut Option<Session>,
    cancel: &tokio_util::sync::CancellationToken,
) -> Result<()> {
    let session = match session {
        Some(session) => session,
        none => {
            let mut opened = plan.server.session(Purpose::Verify).await?;
            plan.comparison.prepare(&mut opened).await?;
            none.insert(opened)
        }
    };
    let id = session.id();
    finish_or_kill(&plan.server, id, cancel, GRACE, work.keys(session, keys)).await
}

/// Compares the rows of these keys within the cut-over: `session` holds the write locks
/// of both tables, and every change is in the ghost. [`Comparison::prepare`] must have been called on it
/// before it took the locks. Returns the rows that differ, described.
///
/// # Errors
/// What the server answered.
pub async fn check_under_lock(
    session: &mut Session,
    comparison: &Comparison,
    keys: &[SidedKey],
) -> Result<Vec<String>> {
    let mut look = Look {
        comparison,
        source: session,
        target: None,
    };
    let mut named = Vec::new();
    for suspect in look.differing_of(keys).await? {
        if let Some(what) = look.describe(&suspect).await? {
            let line = format!("{} ({what})", describe_sided(&comparison.key, &suspect));
            if !named.contains(&line) {
                named.push(line);
            }
        }
        if named.len() == explain::NAMED_MAX {
            break;
        }
    }
    Ok(named)
}
