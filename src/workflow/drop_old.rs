//! Drops the old table when its time has come, paced: only while the throttle lets work go on, one
//! partition after the other where the table has any, since the server does most of a drop's work at
//! once for each file. Rows are not deleted first: their deletes would go to the binlog and to every
//! replica, and the file would be as large as before.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::run::{Run, stopped};
use crate::changelog::{self, Heartbeats};
use crate::failure::{Failure, FailureKind, Result};
use crate::leftovers;
use crate::mysql::{Purpose, Session};
use crate::names::TableName;
use crate::pace::Pace;
use crate::progress::Progress;
use crate::supervise::Supervisor;
use crate::throttle::{self, ThrottlePlan};

/// What is dropped sooner after the swap is warned of.
const SOON: Duration = Duration::from_secs(60);
/// How often it is tried while somebody holds the old table.
const ATTEMPTS_MAX: u32 = 60;
const ATTEMPT_PAUSE: Duration = Duration::from_secs(1);

/// Waits for `pause`, then drops. Told to stop, it leaves the table and says so. Returns whether it is gone.
///
/// # Errors
/// What the server answered; a critical load.
pub async fn after(run: &Run, old: &TableName, pause: Duration) -> Result<bool> {
    if !pause.is_zero() {
        tracing::info!(
            event = "old_table_waits",
            "the old table {old} is dropped in {}",
            humantime::format_duration(pause)
        );
        if pause < SOON {
            tracing::warn!(
                event = "old_table_soon",
                "that is soon after the swap: replicas may still be applying it, and nobody has seen the \
                 application with the new table"
            );
        }
    }
    let wait = run.progress.wait_for(format!("the time to drop {old}"));
    wait.update(None, Some("interrupting leaves it where it is".to_string()));
    tokio::select! {
        () = tokio::time::sleep(pause) => {}
        () = run.stop.cancelled() => return Ok(kept(old)),
    }
    drop(wait);
    let mut session = run.server.session(Purpose::Ddl).await?;
    changelog::create(&mut session, &run.names.changelog).await?;
    let mut group = Supervisor::new(&run.stop);
    let dropped = paced(run, old, &mut session, &mut group).await;
    let ended = group.stop().await;
    changelog::drop(&mut session, &run.names.changelog).await?;
    session.close().await;
    match (dropped, ended) {
        (Err(failure), _) if run.stop.is_cancelled() && is_stop(&failure) => Ok(kept(old)),
        // The throttle's own failure is why it was stopped.
        (Err(failure), Err(cause)) if is_stop(&failure) => Err(cause),
        (dropped, _) => dropped.map(|()| true),
    }
}

fn is_stop(failure: &Failure) -> bool {
    failure.kind() == FailureKind::Interrupted
}

fn kept(old: &TableName) -> bool {
    tracing::warn!(
        event = "old_table_kept",
        "told to stop: the old table {old} is still there"
    );
    false
}

async fn paced(
    run: &Run,
    old: &TableName,
    session: &mut Session,
    group: &mut Supervisor,
) -> Result<()> {
    let cancel = group.token();
    let mut heartbeats = Heartbeats::new(run.server.clone(), run.names.changelog.clone());
    heartbeats.every = run.settings.heartbeat_interval;
    group.spawn("write heartbeats", {
        let cancel = cancel.clone();
        async move { heartbeats.run(&cancel).await }
    });
    let plan = ThrottlePlan::from_settings(
        &run.settings.throttle,
        run.names.original.clone(),
        run.names.changelog.clone(),
        run.settings.backlog_bytes_max as u64,
    )?;
    // Numbers of its own: replay, whose lag the run's have, has ended.
    let progress = Arc::new(Progress::default());
    let tunables = run.tunables.subscribe();
    let throttle = throttle::start(plan, &run.server, progress, tunables, group).await?;
    let mut pace = throttle.pace;
    for partition in leftovers::partitions(session, old).await? {
        go(run, old, &mut pace, &cancel).await?;
        persist(
            session,
            &leftovers::empty_partition_sql(old, &partition),
            &cancel,
        )
        .await?;
    }
    go(run, old, &mut pace, &cancel).await?;
    persist(session, &leftovers::drop_sql(old), &cancel).await?;
    tracing::info!(
        event = "old_table_dropped",
        "the old table {old} is dropped"
    );
    Ok(())
}

/// Waits until the throttle lets work go on.
async fn go(
    run: &Run,
    old: &TableName,
    pace: &mut watch::Receiver<Pace>,
    cancel: &CancellationToken,
) -> Result<()> {
    let mut wait = None;
    loop {
        if cancel.is_cancelled() {
            return Err(stopped());
        }
        let Some(reason) = pace.borrow_and_update().stop.clone() else {
            return Ok(());
        };
        let guard = wait.get_or_insert_with(|| {
            run.progress
                .wait_for(format!("a calm moment to drop {old}"))
        });
        guard.update(None, Some(format!("now {reason}")));
        tokio::select! {
            Ok(()) = pace.changed() => {}
            () = cancel.cancelled() => {}
        }
    }
}

/// Runs the statement, again while somebody holds the table.
async fn persist(session: &mut Session, sql: &str, cancel: &CancellationToken) -> Result<()> {
    session.execute("SET SESSION lock_wait_timeout = 2").await?;
    let mut attempts = 0;
    loop {
        attempts += 1;
        match session.execute(sql).await {
            Ok(_) => return Ok(()),
            Err(failure) if failure.is_transient() && attempts < ATTEMPTS_MAX => {
                tracing::debug!(event = "old_table_held", "{failure}");
            }
            Err(failure) => return Err(failure),
        }
        tokio::select! {
            () = tokio::time::sleep(ATTEMPT_PAUSE) => {}
            () = cancel.cancelled() => return Err(stopped()),
        }
    }
}
