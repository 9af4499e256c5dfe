//! How far the server is with building indexes, looked at while it builds them.

use std::convert::Infallible;
use std::sync::PoisonError;
use std::time::Duration;

use crate::failure::Result;
use crate::mysql::{Purpose, Server, Session};
use crate::progress::{IndexBuild, Progress};

/// Between two looks.
const EVERY: Duration = Duration::from_millis(200);

/// Keeps [`Progress::index_build`] true for what this connection does, until dropped. A server that does
/// not tell, or cannot be asked, costs the numbers and nothing else.
pub async fn watch(server: &Server, progress: &Progress, connection: u32) -> Infallible {
    let _clear = Clear(progress);
    let mut session = None;
    let mut told = false;
    loop {
        tokio::time::sleep(EVERY).await;
        let build = match look(server, &mut session, connection).await {
            Ok(build) => build,
            Err(failure) => {
                tracing::debug!(event = "index_progress", "cannot see the build: {failure}");
                session = None;
                continue;
            }
        };
        if build.is_none() && !told {
            told = true;
            if let Some(how) = server.facts().shows_stages_after() {
                tracing::info!(
                    event = "index_progress_unknown",
                    "the server does not tell how far it is with the indexes; it would after: {how}"
                );
            }
        }
        set(progress, build);
    }
}

async fn look(
    server: &Server,
    session: &mut Option<Session>,
    connection: u32,
) -> Result<Option<IndexBuild>> {
    let open = match session {
        Some(open) => open,
        none => none.insert(server.session(Purpose::Monitor).await?),
    };
    let row: Option<(String, f64, f64)> =
        open.first(&server.facts().stage_query(connection)).await?;
    Ok(row.map(|(stage, done, of)| IndexBuild {
        stage: stage.trim_start_matches("stage/innodb/").to_string(),
        done: (of > 0.0).then(|| (done / of).clamp(0.0, 1.0)),
    }))
}

fn set(progress: &Progress, build: Option<IndexBuild>) {
    let mut place = progress
        .index_build
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    *place = build;
}

/// Forgets what was seen last.
struct Clear<'a>(&'a Progress);

impl Drop for Clear<'_> {
    fn drop(&mut self) {
        set(self.0, None);
    }
}
