//! Ending a statement early without losing its connection.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::server::Server;
use crate::failure::Result;

/// After a first KILL QUERY, which may have fallen between two statements, it is repeated so often.
const KILL_AGAIN: Duration = Duration::from_secs(1);

/// Awaits statements of the connection `id`. When cancelled they may go on for `grace`; then they are
/// killed on the server, and their answer (error 1317) is awaited: the future is never dropped, so the
/// session can be used afterwards. A killed statement that claims success is an error too
/// ([`super::Session::execute`]).
///
/// # Errors
/// Those of the statements.
pub async fn finish_or_kill<T>(
    server: &Server,
    id: u32,
    cancel: &CancellationToken,
    grace: Duration,
    statements: impl Future<Output = Result<T>>,
) -> Result<T> {
    let mut statements = pin!(statements);
    tokio::select! {
        result = &mut statements => return result,
        () = cancel.cancelled() => {}
    }
    let mut wait = grace;
    loop {
        tokio::select! {
            result = &mut statements => return result,
            () = tokio::time::sleep(wait) => {}
        }
        if let Err(failure) = server.kill_query(id).await {
            // The statement's own time limit ends it.
            tracing::debug!(
                event = "kill_failed",
                "killing statement of connection {id} failed: {failure}"
            );
        }
        wait = KILL_AGAIN;
    }
}
