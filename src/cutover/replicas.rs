//! Replicas and the swap: before it, nobody may hold the table there, or the applier would stand still at
//! the RENAME; after it, each replica is watched until it has applied it.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::blockers::Lookout;
use super::report::Blocker;
use crate::failure::Result;
use crate::mysql::{Purpose, Server, quote};
use crate::names::{Names, TableName};
use crate::progress::Progress;

/// How long a replica may take to apply the RENAME before the alarm is raised.
const ALARM_AFTER: Duration = Duration::from_secs(10);
/// How long it is watched in all.
const WATCH_LIMIT: Duration = Duration::from_secs(120);
/// Between two looks.
const WATCH_PAUSE: Duration = Duration::from_millis(500);

/// Looks at replicas through sessions that it keeps.
#[derive(Default)]
pub(super) struct ReplicaLookouts(BTreeMap<String, Lookout>);

impl ReplicaLookouts {
    /// Why the swap should wait: somebody has held the table on a replica for at least `age_min`, or a
    /// replica does not answer. `None`: no reason.
    pub async fn hindrance(
        &mut self,
        replicas: &BTreeMap<String, Server>,
        table: &TableName,
        age_min: Duration,
    ) -> Option<String> {
        self.0.retain(|name, _| replicas.contains_key(name));
        for (name, server) in replicas {
            match self.look(name, server, table, age_min).await {
                Ok(holders) if holders.is_empty() => {}
                Ok(holders) => {
                    return Some(format!(
                        "{name} would stand still at the rename: {} holds the table there",
                        list(&holders)
                    ));
                }
                Err(failure) => {
                    self.0.remove(name);
                    return Some(format!(
                        "who holds the table on {name} cannot be seen: {failure}"
                    ));
                }
            }
        }
        None
    }

    async fn look(
        &mut self,
        name: &str,
        server: &Server,
        table: &TableName,
        age_min: Duration,
    ) -> Result<Vec<Blocker>> {
        if !self.0.contains_key(name) {
            let lookout = Lookout::open(server, table).await?;
            self.0.insert(name.to_string(), lookout);
        }
        match self.0.get_mut(name) {
            Some(lookout) => holders(lookout, age_min).await,
            None => Ok(Vec::new()),
        }
    }

    pub async fn close(self) {
        for (_, lookout) in self.0 {
            lookout.close().await;
        }
    }
}

/// Those who are seen to hold the table on a replica, but for the applier itself.
async fn holders(lookout: &mut Lookout, age_min: Duration) -> Result<Vec<Blocker>> {
    let mut found = lookout.look(&[], age_min).await?;
    found.retain(|blocker| blocker.certain && blocker.user != "system user");
    Ok(found)
}

fn list(blockers: &[Blocker]) -> String {
    let list: Vec<String> = blockers.iter().map(ToString::to_string).collect();
    list.join(", ")
}

/// A replica that has not applied the swap in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stalled {
    /// `replica host:port`.
    pub replica: String,
    /// Since the swap.
    pub after: Duration,
    /// Who stands in its way or what it says, in words.
    pub why: String,
}

/// Watches replicas after the swap until each of them has applied it, for at most two minutes. `on_stall`
/// is told, once for each, of those that have not after ten seconds.
pub async fn watch_replicas(
    replicas: &BTreeMap<String, Server>,
    names: &Names,
    progress: &Progress,
    on_stall: &(dyn Fn(&Stalled) + Send + Sync),
    cancel: &CancellationToken,
) {
    let swapped = Instant::now();
    let watches = replicas
        .iter()
        .map(|(name, server)| watch(name, server, names, progress, on_stall, swapped, cancel));
    futures_util::future::join_all(watches).await;
}

async fn watch(
    name: &str,
    server: &Server,
    names: &Names,
    progress: &Progress,
    on_stall: &(dyn Fn(&Stalled) + Send + Sync),
    swapped: Instant,
    cancel: &CancellationToken,
) {
    let wait = progress.wait_for(format!("{name} to apply the swap"));
    let mut told = false;
    loop {
        let state = applied(server, names).await;
        let after = swapped.elapsed();
        if let Ok(true) = state {
            tracing::info!(
                event = "replica_swapped",
                "{name} has applied the swap, seen {:.1} s after it",
                after.as_secs_f64()
            );
            return;
        }
        if after >= ALARM_AFTER && !std::mem::replace(&mut told, true) {
            let why = match state {
                Ok(_) => why_not(server, &names.original).await,
                Err(failure) => format!("it cannot be asked: {failure}"),
            };
            wait.update(Some(why.clone()), None);
            let stalled = Stalled {
                replica: name.to_string(),
                after,
                why,
            };
            tracing::warn!(
                event = "replica_stalled",
                "ALARM: {name} has not applied the swap {:.0} s after it: {}",
                after.as_secs_f64(),
                stalled.why
            );
            on_stall(&stalled);
        }
        if after >= WATCH_LIMIT {
            tracing::warn!(
                event = "replica_given_up",
                "{name} is not watched any longer: it still has not applied the swap"
            );
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(WATCH_PAUSE) => {}
            () = cancel.cancelled() => return,
        }
    }
}

/// Whether the swap has come there: the old table has its name, and the ghost has gone.
async fn applied(server: &Server, names: &Names) -> Result<bool> {
    let mut session = server.session(Purpose::Monitor).await?;
    let found: Vec<String> = session
        .query(&format!(
            "SELECT TABLE_NAME FROM information_schema.TABLES \
             WHERE TABLE_SCHEMA = {} AND TABLE_NAME IN ({}, {})",
            quote::string(&names.original.schema),
            quote::string(&names.old.table),
            quote::string(&names.ghost.table)
        ))
        .await?;
    session.close().await;
    let has = |table: &TableName| {
        found
            .iter()
            .any(|name| name.eq_ignore_ascii_case(&table.table))
    };
    Ok(has(&names.old) && !has(&names.ghost))
}

/// What keeps a replica from applying the swap, as far as it can be seen.
async fn why_not(server: &Server, table: &TableName) -> String {
    let found = async {
        let mut lookout = Lookout::open(server, table).await?;
        let found = holders(&mut lookout, Duration::ZERO).await;
        lookout.close().await;
        found
    };
    match found.await {
        Ok(holders) if !holders.is_empty() => {
            format!("{} holds the table there, end it", list(&holders))
        }
        Ok(_) => {
            "nobody is seen to hold the table there: look whether its replication runs".to_string()
        }
        Err(failure) => format!("who holds the table there cannot be seen: {failure}"),
    }
}
