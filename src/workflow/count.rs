//! Counts the original's rows, for the progress.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::desk::Desk;
use super::run::Run;
use crate::control::HookEvent;
use crate::failure::{Context, Result};
use crate::mysql::cancel::finish_or_kill;
use crate::mysql::{Purpose, quote};

/// No count is expected to take longer; the limit is there so that nothing waits for ever.
const COUNT_LIMIT: Duration = Duration::from_secs(7 * 86_400);

/// Counts them and puts the number in the place of the estimate. Cancelled, it leaves the estimate.
///
/// # Errors
/// What the server answered; a hook's veto.
pub async fn rows(run: &Run, desk: &Desk, cancel: &CancellationToken) -> Result<()> {
    let original = &run.names.original;
    let mut session = run.server.session(Purpose::Monitor).await?;
    session.set_limit(COUNT_LIMIT);
    let id = session.id();
    let sql = format!("SELECT COUNT(*) FROM {}", quote::table(original));
    let counting = session.one(&sql);
    let counted: Result<u64> =
        finish_or_kill(&run.server, id, cancel, Duration::ZERO, counting).await;
    if cancel.is_cancelled() {
        return Ok(());
    }
    let rows = counted.doing(|| format!("count the rows of {original}"))?;
    session.close().await;
    run.progress.rows_total.set(rows);
    tracing::info!(event = "counted", rows, "{original} has {rows} rows");
    desk.announce(HookEvent::RowcountComplete).await
}
