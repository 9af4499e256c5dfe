//! The primary goes away, or turns read-only: the run waits and says so; and where another server has taken
//! its place, it goes on there.
//!
//! Going on elsewhere is a resume: this run ends, and another one of the same settings takes up what was
//! replicated: ghost, checkpoint and binlog. A replica has a prefix of what was written to the primary, in
//! its order, so its checkpoint claims nothing that its ghost has not. That the binlog has everything behind
//! it is looked at here, to choose, and again by the resume.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::desk::FaceKind;
use super::ending::OriginalTable;
use super::migrate::migrate;
use super::outcome::Outcome;
use super::run::Run;
use crate::binlog::{Continuation, continuation};
use crate::checkpoint;
use crate::coordinates::Coordinates;
use crate::failure::{Failure, FailureKind, Result};
use crate::mysql::role::{self, Role};
use crate::mysql::{ConnectOptions, Purpose, Server, Session};
use crate::observe::{Lines, Screen};
use crate::schema;
use crate::settings::{Place, ResumeSetting, Settings};

/// How often the primary is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long an answer may take.
const LOOK_LIMIT: Duration = Duration::from_secs(5);

/// Alters the table while it is in use, on whichever server is the primary.
///
/// # Errors
/// The first connection's failure.
pub async fn migrate_through_failovers(
    mut settings: Settings,
    screen: Arc<Screen>,
) -> Result<Outcome> {
    loop {
        let run = Arc::new(Run::connect(settings.clone(), CancellationToken::new()).await?);
        let outcome = migrate(&run, screen.clone(), Lines::Auto, FaceKind::Own).await;
        let Some((failure, ending)) = &outcome.failure else {
            return Ok(outcome);
        };
        let next = match ending.original {
            OriginalTable::Untouched => successor(&run).await,
            OriginalTable::Swapped | OriginalTable::Unknown => None,
        };
        let Some(next) = next else {
            return Ok(outcome);
        };
        tracing::warn!(
            event = "failover",
            from = %run.server.address(),
            to = %next.address(),
            "{failure}; going on at {}",
            next.address()
        );
        // What the operator has changed stays changed.
        settings.tunables = run.tunables.borrow().clone();
        settings.connect = next;
        // It is the one with the table, whatever it may have replicated before.
        settings.place = Place::Here;
        settings.resume = ResumeSetting::Require;
    }
}

/// Where the run is to be gone on with, if its server is not the place any more.
async fn successor(run: &Run) -> Option<ConnectOptions> {
    if let Some(next) = run.successor() {
        return Some(next);
    }
    // A session met another server under the same name before the watch did.
    let began = Instant::now();
    while run.server.is_replaced()
        && !run.stop.is_cancelled()
        && began.elapsed() < run.settings.failover_after.max(LOOK_LIMIT)
    {
        match elect(run).await {
            Ok(next) => return Some(next),
            Err(why) => tracing::warn!(event = "no_successor", "{}", why.join("; ")),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    None
}

/// Looks at the primary until cancelled. Tells when it goes away, or refuses writes, and when it is back.
///
/// # Errors
/// [`FailureKind::Interrupted`]: another server has taken its place, where the run is to be gone on with
/// ([`Run::successor`]); or none could within the time for which the binlog may be away.
pub async fn watch(run: Arc<Run>, cancel: CancellationToken) -> Result<()> {
    let mut session = None;
    let mut away: Option<Instant> = None;
    let mut told = Vec::new();
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = cancel.cancelled() => return Ok(()),
        }
        let address = run.server.address();
        let Some(why) = trouble(&run.server, &mut session).await else {
            if away.take().is_some() {
                tracing::info!(event = "primary_back", "{address} takes writes again");
            }
            continue;
        };
        let since = *away.get_or_insert_with(|| {
            tracing::warn!(event = "primary_away", "waiting for {address}: {why}");
            Instant::now()
        });
        let after = run.settings.failover_after;
        let may_move = !run.settings.failover_hosts.is_empty() || run.server.is_replaced();
        if since.elapsed() < after || !may_move {
            continue;
        }
        let against = match elect(&run).await {
            Ok(next) => {
                let to = next.address();
                run.goes_on_at(next);
                return Err(Failure::new(
                    FailureKind::Interrupted,
                    format!("{address}: {why}; {to} has taken its place"),
                ));
            }
            Err(against) => against,
        };
        if against != told {
            tracing::warn!(event = "no_successor", "{}", against.join("; "));
            told = against.clone();
        }
        if since.elapsed() >= run.settings.reconnect_limit.max(after) {
            return Err(Failure::new(
                FailureKind::Interrupted,
                format!(
                    "{address}: {why}; no other server can be gone on with: {}",
                    against.join("; ")
                ),
            )
            .remedy(
                "bring the primary back, or promote a replica that has the run's tables and all of its \
                 binlog, then start the same command again",
            ));
        }
    }
}

/// What is wrong with the primary; `None`: nothing.
async fn trouble(server: &Server, session: &mut Option<Session>) -> Option<String> {
    let look = async {
        let mut open = match session.take() {
            Some(open) => open,
            None => server.session(Purpose::Monitor).await?,
        };
        open.set_limit(LOOK_LIMIT);
        let read_only = role::is_read_only(&mut open).await?;
        *session = Some(open);
        Ok::<_, Failure>(read_only)
    };
    match look.await {
        Ok(false) => None,
        Ok(true) => Some("it is read-only".to_string()),
        Err(failure) => Some(failure.to_string()),
    }
}

/// The first server that can be gone on with; else why none can.
async fn elect(run: &Run) -> std::result::Result<ConnectOptions, Vec<String>> {
    let own = run
        .server
        .is_replaced()
        .then(|| run.settings.connect.clone());
    let mut against = Vec::new();
    for candidate in own.iter().chain(&run.settings.failover_hosts) {
        match judge(run, candidate).await {
            Ok(None) => return Ok(candidate.clone()),
            Ok(Some(why)) => against.push(format!("{} {why}", candidate.address())),
            Err(failure) => against.push(format!("{}: {failure}", candidate.address())),
        }
    }
    Err(against)
}

/// What speaks against going on at a server; `None`: nothing.
async fn judge(run: &Run, candidate: &ConnectOptions) -> Result<Option<String>> {
    let server = Server::connect(candidate.clone()).await?;
    if server.facts().identity() == run.server.facts().identity() {
        return Ok(Some("is the server that is waited for".to_string()));
    }
    let mut session = server.session(Purpose::Monitor).await?;
    let why = match role::role(&mut session).await? {
        Role::ReadOnly => Some("is read-only".to_string()),
        Role::Replica => Some("still applies the changes of another server".to_string()),
        Role::Primary => against(run, &mut session).await?,
    };
    session.close().await;
    Ok(why)
}

/// What of the run is missing on a server.
async fn against(run: &Run, session: &mut Session) -> Result<Option<String>> {
    let none = || Some("has no checkpoint of this run".to_string());
    if !checkpoint::is_ours(session, &run.names.checkpoint).await? {
        return Ok(none());
    }
    let Some(found) = checkpoint::read(session, &run.names.checkpoint).await? else {
        return Ok(none());
    };
    if schema::load::load(session, &run.names.ghost)
        .await?
        .is_none()
    {
        return Ok(Some(format!("has no {}", run.names.ghost)));
    }
    let applied = found.applied_coordinates()?;
    if matches!(applied, Coordinates::File { .. }) {
        return Ok(Some(
            "cannot be compared: without GTIDs a binlog position means nothing on another server"
                .to_string(),
        ));
    }
    Ok(match continuation(session, &applied).await? {
        Continuation::Whole => None,
        Continuation::Purged(what) => Some(format!(
            "has no binlog of all changes since the checkpoint: {what} is gone"
        )),
        Continuation::Elsewhere(what) => Some(format!(
            "lacks transactions that the ghost has already: {what}"
        )),
    })
}
