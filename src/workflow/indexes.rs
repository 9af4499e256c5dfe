//! Secondary indexes: with the rows or after them.

use std::time::{Duration, Instant};

use super::engines::Engines;
use super::index_progress;
use super::index_timing;
use super::prepare::Prepared;
use super::run::{Run, stopped};
use crate::alter::{AlterStatement, IndexTiming, deferred, ghost};
use crate::checkpoint::Stage;
use crate::failure::{Context, Result};
use crate::mysql::cancel::finish_or_kill;
use crate::mysql::retry::enduring;
use crate::progress::Phase;
use crate::schema::TableDefinition;
use crate::walk::Controls;

/// No index build is expected to take longer; the limit is there so that nothing waits for ever.
const INDEX_BUILD_LIMIT: Duration = Duration::from_secs(7 * 86_400);

/// When secondary indexes are built; the log has the reason.
pub fn choose_index_timing(
    run: &Run,
    original: &TableDefinition,
    alter: &AlterStatement,
    replicas: usize,
) -> IndexTiming {
    let (timing, why) = index_timing::decide(
        run.settings.defer_indexes,
        original,
        alter,
        replicas,
        run.tunables.borrow().lag_max,
    );
    tracing::info!(
        event = "index_timing",
        "secondary indexes are built {}: {why}",
        index_timing::words(timing)
    );
    timing
}

/// Builds what was left out, ANALYZEs, and proves that the ghost is as the ALTER makes it. Returns how long the
/// indexes that come after the copy took.
///
/// # Errors
/// What the server answered; a ghost that is not complete.
pub async fn build_indexes(
    run: &Run,
    prepared: &Prepared,
    engines: &Engines,
    controls: &Controls,
) -> Result<Duration> {
    run.progress.enter(Phase::Indexes);
    let built = enduring(&controls.cancel, || build_once(run, prepared, controls)).await;
    if controls.cancel.is_cancelled() {
        return Err(stopped());
    }
    let built_in = built?.ok_or_else(stopped)?;
    engines.checkpointer.reach(Stage::Complete, Vec::new());
    engines.checkpointer.write_now().await?;
    Ok(built_in)
}

/// A connection that is lost may leave the server to go on alone; what it has built by then is not built again.
async fn build_once(run: &Run, prepared: &Prepared, controls: &Controls) -> Result<Duration> {
    let ghost = &run.names.ghost;
    let mut session = run.ddl_session().await?;
    session.set_limit(INDEX_BUILD_LIMIT);
    // Who has the ghost is one of us: an earlier ALTER of these indexes, which takes as long.
    let lock_wait = format!(
        "SET SESSION lock_wait_timeout = {}",
        INDEX_BUILD_LIMIT.as_secs()
    );
    session.execute(&lock_wait).await?;
    let id = session.id();
    let work = async {
        let began = Instant::now();
        if !prepared.deferred.is_empty() {
            deferred::build(&mut session, ghost, &prepared.deferred)
                .await
                .doing(|| format!("build the indexes of {ghost}"))?;
        }
        let built_in = began.elapsed();
        if run.settings.analyze {
            ghost::analyze(&mut session, ghost).await?;
        }
        ghost::check_complete(&mut session, ghost, &prepared.ghost_complete).await?;
        Ok(built_in)
    };
    let built = tokio::select! {
        built = finish_or_kill(&run.server, id, &controls.cancel, Duration::ZERO, work) => built,
        never = index_progress::watch(&run.server, &run.progress, id) => match never {},
    };
    let built_in = built?;
    session.close().await;
    Ok(built_in)
}
