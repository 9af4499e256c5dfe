//! How long the server will still keep the binlog that a restart needs: looked at all the time, and warned
//! of while there is time to do something.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::binlog::{Retention, retention};
use crate::failure::Result;
use crate::mysql::{Facts, Purpose, Server};
use crate::progress::Progress;
use crate::replay::Backlog;

/// Between two looks at how old what we need is.
const EVERY: Duration = Duration::from_secs(1);
/// So many looks later the server's settings are read again, which anybody may change.
const SETTINGS_EVERY: u32 = 10;

/// Watches until cancelled. A server that does not answer is asked again later: the engines that need it
/// have their own patience.
pub async fn watch(
    server: Server,
    backlog: Arc<Backlog>,
    progress: Arc<Progress>,
    cancel: CancellationToken,
) {
    let mut kept = retention(server.facts());
    tell(&server, kept);
    let mut warned = false;
    let mut looks = 0;
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = cancel.cancelled() => return,
        }
        looks += 1;
        if looks % SETTINGS_EVERY == 0 {
            match settings(&server).await {
                Ok(now) if now != kept => {
                    kept = now;
                    tell(&server, kept);
                }
                Ok(_) => {}
                Err(failure) => tracing::debug!(
                    event = "binlog_retention_unknown",
                    "cannot see how long the binlog is kept: {failure}"
                ),
            }
        }
        let (Retention::Age(limit), Some(age)) = (kept, backlog.age()) else {
            progress.binlog_kept_micros.store(-1, Ordering::Relaxed);
            continue;
        };
        let left = limit.saturating_sub(age);
        progress.binlog_kept_micros.store(
            i64::try_from(left.as_micros()).unwrap_or(i64::MAX),
            Ordering::Relaxed,
        );
        let late = age >= limit / 2;
        if late && !warned {
            tracing::warn!(
                event = "binlog_horizon",
                "{} keeps its binlog for {}, and what replay still needs is {} old: in {} it may be \
                 purged, and the migration would have to begin anew; raise \
                 binlog_expire_logs_seconds, or let replay catch up",
                server.address(),
                show(limit),
                show(age),
                show(left),
            );
        }
        // Warned again only after it has been well.
        warned = late || (warned && age >= limit / 4);
    }
}

async fn settings(server: &Server) -> Result<Retention> {
    let mut session = server.session(Purpose::Monitor).await?;
    let variables: Result<Vec<(String, String)>> = session
        .query("SHOW GLOBAL VARIABLES WHERE Variable_name LIKE '%expire_logs%' OR Variable_name IN ('basedir', 'max_binlog_total_size')")
        .await;
    session.close().await;
    // Which flavour and version it is does not matter for these.
    Ok(retention(&Facts::new("", variables?)))
}

fn tell(server: &Server, kept: Retention) {
    let address = server.address();
    match kept {
        Retention::Age(limit) => tracing::info!(
            event = "binlog_retention",
            "{address} keeps its binlog for {}: so long may an interruption last",
            show(limit)
        ),
        Retention::Forever => tracing::info!(
            event = "binlog_retention",
            "{address} keeps its binlog until somebody purges it"
        ),
        Retention::Unknown => tracing::info!(
            event = "binlog_retention",
            "{address} purges its binlog by size or by a service's own rules: how long an interruption \
             may last is not known"
        ),
    }
}

fn show(duration: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(duration.as_secs()))
}
