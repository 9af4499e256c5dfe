//! A ghost that has missed changes, since the binlog with them was purged: all rows are compared, and those
//! that differ copied again. The verification that follows proves it.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::engines::Engines;
use super::prepare::Prepared;
use super::proof;
use super::run::{Run, stopped};
use crate::chunk::LowWatermark;
use crate::failure::Result;
use crate::progress::Phase;
use crate::repair::Repairer;
use crate::verify::{self, Mend};
use crate::walk::bounds::SidedKey;
use crate::walk::{Controls, Part};

impl Mend for Repairer {
    fn mend<'a>(&'a self, keys: &'a [SidedKey]) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.put_right(keys))
    }
}

/// Puts the ghost right, if changes were missed. Interrupted, it is done again from the beginning.
///
/// # Errors
/// What the server answered; [`stopped`].
pub async fn repair(
    run: &Run,
    prepared: &Prepared,
    engines: &Engines,
    controls: &Controls,
) -> Result<()> {
    if !prepared.missed_changes() {
        return Ok(());
    }
    run.progress.enter(Phase::Verify);
    tracing::info!(
        event = "repair",
        "comparing all rows of {} and {}: those that differ are copied again",
        run.names.original,
        run.names.ghost
    );
    let repairer = Arc::new(Repairer::new(
        run.server.clone(),
        run.names.original.clone(),
        run.names.ghost.clone(),
        prepared.map.clone(),
        prepared.key.clone(),
        controls.cancel.clone(),
    ));
    let plan = verify::VerifyPlan {
        mend: Some(repairer.clone()),
        ..proof::plan(run, prepared, engines)
    };
    let watermark = watch::Sender::new(LowWatermark::default());
    let end = verify::run(
        plan,
        Part::All(None),
        controls.clone(),
        run.progress.clone(),
        watermark,
    )
    .await?;
    if !end.finished || controls.cancel.is_cancelled() {
        return Err(stopped());
    }
    tracing::info!(
        event = "repaired",
        rows = repairer.rows(),
        "{} rows were copied again",
        repairer.rows()
    );
    run.progress.rows_verified.set(0);
    engines.checkpointer.repaired();
    engines.checkpointer.write_now().await
}
