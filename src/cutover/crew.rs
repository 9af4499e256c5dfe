//! Sessions of a cut-over, and how a statement of theirs is kept to its time.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::attempt::over_budget;
use crate::failure::{Context, Failure, Result};
use crate::mysql::{Purpose, Server, Session};

/// How often a statement that does not give up is killed again: a KILL that meets the server between
/// two statements of ours is forgotten.
const KILL_AGAIN: Duration = Duration::from_millis(50);
/// No statement of a cut-over takes longer, whatever goes wrong; its connection is ended then.
const STATEMENT_LIMIT: Duration = Duration::from_secs(20);
/// How long we look for the end of a connection that was told to end.
const GONE_LIMIT: Duration = Duration::from_secs(20);

/// Opens a session that may hold or ask for locks. Its waits end by themselves some time after the
/// budget (the server counts in seconds): a net, should the session that watches be lost.
pub(super) async fn open_locker(server: &Server, budget: Duration) -> Result<Session> {
    let mut session = server.session(Purpose::Lock).await?;
    session.set_limit(STATEMENT_LIMIT);
    session
        .execute(&format!(
            "SET SESSION lock_wait_timeout = {wait_s}, innodb_lock_wait_timeout = {wait_s}",
            wait_s = budget.as_secs() + 1
        ))
        .await?;
    Ok(session)
}

/// Opens the session that watches the others and kills their statements.
pub(super) async fn open_watch(server: &Server) -> Result<Session> {
    let mut session = server.session(Purpose::Monitor).await?;
    session.set_limit(STATEMENT_LIMIT);
    Ok(session)
}

/// Runs statements of the session `id`. When `until` has passed, the one that runs is killed, again
/// and again, until the work gives up. The work is always run to its end, never dropped.
///
/// # Errors
/// What the work ended with.
pub(super) async fn bounded<T>(
    watch: &mut Session,
    id: u32,
    until: Instant,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let mut work = pin!(work);
    let mut next_kill = until;
    loop {
        // By reference: the losing side is polled again, not dropped.
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = sleep_until(next_kill) => {}
        }
        kill_statement(watch, id).await;
        next_kill = Instant::now() + KILL_AGAIN;
    }
}

/// Runs work that goes through sessions of others. When `until` has passed, `release` gives back what
/// the application waits for, at once; the work is then awaited all the same.
///
/// # Errors
/// What the work ended with; `Killed` if it came too late.
pub(super) async fn released_after<T>(
    until: Instant,
    work: impl Future<Output = Result<T>>,
    release: impl Future<Output = ()>,
) -> Result<T> {
    let mut work = pin!(work);
    // By reference, as above.
    tokio::select! {
        biased;
        done = &mut work => return done,
        () = sleep_until(until) => {}
    }
    release.await;
    work.await.and(Err(over_budget()))
}

/// Kills the running statement of a connection of ours; if the watching session is lost, through a new
/// connection. Failing is no error: the statement's own limits are still there.
pub(super) async fn kill_statement(watch: &mut Session, id: u32) {
    if watch.kill_query(id).await.is_ok() {
        return;
    }
    if let Err(failure) = watch.server().clone().kill_query(id).await {
        tracing::debug!(event = "kill_failed", id, "{failure}");
    }
}

/// Gives back the table locks of a session. A late KILL may hit just this statement, so it is tried
/// again; a session that cannot give its locks back is ended, which does it.
///
/// # Errors
/// The session is lost, and whether its locks are gone is not known.
pub(super) async fn unlock(session: &mut Session) -> Result<()> {
    const TRIES: usize = 3;
    let mut last = None;
    for _ in 0..TRIES {
        match session.execute("UNLOCK TABLES").await {
            Ok(_) => return Ok(()),
            Err(failure) if failure.is_disconnected() => {
                last = Some(failure);
                break;
            }
            Err(failure) => last = Some(failure),
        }
    }
    end_connections(session.server(), &[session.id()]).await?;
    Err(last.unwrap_or_else(|| Failure::failed("the locks could not be given back")))
}

/// Ends connections of ours that we have lost and waits until the server has done with them: only then
/// the catalogue tells what they have done.
///
/// # Errors
/// The server cannot be asked, or still has them after twenty seconds.
pub(super) async fn end_connections(server: &Server, ids: &[u32]) -> Result<()> {
    let deadline = Instant::now() + GONE_LIMIT;
    for id in ids {
        server.kill_connection(*id).await?;
    }
    let list = ids
        .iter()
        .map(u32::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    let mut session = server.session(Purpose::Monitor).await?;
    loop {
        let left: u64 = session
            .one(&format!(
                "SELECT COUNT(*) FROM {} WHERE ID IN ({list})",
                server.facts().processlist()
            ))
            .await
            .doing(|| "see our lost connections end")?;
        if left == 0 {
            session.close().await;
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(Failure::failed(format!(
                "{left} of our lost connections ({list}) have still not ended"
            )));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
