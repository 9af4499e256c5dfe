//! Replication lag: every replica is asked for the newest heartbeat that has reached it.
//!
//! The lag is the age of that heartbeat by our own clock, so that clocks of servers do not matter; it
//! is nothing when the primary has no newer one, so that a late heartbeat is not taken for a late
//! replica. A replica that does not answer counts as falling behind from its last answer on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};

use super::asker::{Asker, LOOK_LIMIT, cannot_be_asked};
use super::reading::Reading;
use super::replication;
use super::topology::{self, Candidate, Replica};
use super::{Common, Replicas};
use crate::change::{HEARTBEAT, now_micros};
use crate::failure::Result;
use crate::mysql::error::{ER_BAD_DB, ER_NO_SUCH_TABLE};
use crate::mysql::{Server, quote};

pub(super) const SLOT: &str = "replicas of the primary";
pub(super) const SOURCE: &str = "lag";
/// Between two looks at one replica.
const INTERVAL: Duration = Duration::from_millis(150);
/// Between two attempts at a replica that cannot be asked.
const RETRY: Duration = Duration::from_secs(1);
/// How long a failed attempt's message stands: connecting may take ten seconds.
const TROUBLE_VALID: Duration = Duration::from_secs(30);
/// A replica from which nothing is heard for so long counts as silent, whatever its lag was.
const SILENT: Duration = LOOK_LIMIT.saturating_add(Duration::from_millis(500));
/// How often a replica is asked whether its replication runs.
const APPLIER_LOOKS: Duration = Duration::from_millis(500);
/// The same where it did not answer that question.
const APPLIER_RETRY: Duration = Duration::from_secs(30);
/// How often the primary is asked for its replicas.
const DISCOVERY: Duration = Duration::from_secs(30);
const DISCOVERY_RETRY: Duration = Duration::from_secs(3);
/// A replica whose lag has been above the limit for this long is asked whether it still replicates.
const PROVE_AGAIN: Duration = Duration::from_secs(30);
/// A heartbeat table that has not come for this long is likely to be filtered from replication.
const FILTERED_AFTER: Duration = Duration::from_secs(15);
/// How old the look at the primary's heartbeat may be to speak a replica free of lag.
const NEWEST_AGE_MAX_MICROS: i64 = 1_000_000;
/// A primary's heartbeat older than this leaves us blind.
const HEARTBEAT_AGE_MAX_S: f64 = 3.0;

pub(super) async fn run(
    common: Common,
    listed: Option<Vec<Replica>>,
    known: watch::Sender<BTreeMap<String, Server>>,
) -> Result<()> {
    let shared = Shared {
        known,
        newest_on_primary: AtomicI64::new(0),
        newest_seen_at: AtomicI64::new(0),
        lags: Mutex::default(),
    };
    let shared = &shared;
    let (sender, candidates) = mpsc::channel(64);
    match listed {
        Some(replicas) => {
            common.board.post(SLOT, SOURCE, Vec::new(), Duration::MAX);
            let watched: Vec<_> = replicas
                .into_iter()
                .map(|replica| watch_listed(&common, shared, replica))
                .collect();
            tokio::join!(
                futures_util::future::join_all(watched),
                watch_primary(&common, shared)
            );
        }
        None if common.plan.replicas == Replicas::Ignore => {
            common.board.remove(SLOT);
            drop((sender, candidates));
        }
        None => {
            tokio::join!(
                discover(&common, &sender, Whose::Primary),
                watch_found(&common, shared, &sender, candidates),
                watch_primary(&common, shared)
            );
        }
    }
    Ok(())
}

/// What the watchers of all replicas share.
struct Shared {
    /// The newest heartbeat on the primary, microseconds since 1970; 0 before the first look.
    newest_on_primary: AtomicI64,
    /// When it was looked for, microseconds since 1970.
    newest_seen_at: AtomicI64,
    /// The last lag of each replica, microseconds.
    lags: Mutex<BTreeMap<String, i64>>,
    /// Those that are watched now.
    known: watch::Sender<BTreeMap<String, Server>>,
}

impl Shared {
    /// Books a replica's lag (`None`: it is not asked any more) and publishes the worst.
    fn book(&self, common: &Common, name: &str, micros: Option<i64>) {
        let mut lags = self.lags.lock().unwrap_or_else(PoisonError::into_inner);
        match micros {
            Some(micros) => lags.insert(name.to_string(), micros),
            None => lags.remove(name),
        };
        let worst = lags.values().copied().max().unwrap_or(-1);
        common
            .progress
            .replica_lag_micros
            .store(worst, Ordering::Relaxed);
    }
}

/// Whose replicas are asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// The primary must tell them: otherwise nothing is known.
    Primary,
    /// A replica may have replicas of its own.
    Replica,
}

/// Asks a server for its replicas again and again, and hands on those that are new.
async fn discover(common: &Common, found: &mpsc::Sender<Candidate>, whose: Whose) {
    let mut asker = Asker::new(common.server.clone());
    let mut known = std::collections::BTreeSet::new();
    let mut told = false;
    loop {
        let pause = match topology::discover(&mut asker).await {
            Ok(candidates) => {
                if whose == Whose::Primary {
                    let valid = DISCOVERY + TROUBLE_VALID;
                    common.board.post(SLOT, SOURCE, Vec::new(), valid);
                }
                for candidate in candidates {
                    // One for which there is no room now comes again with the next look.
                    if !known.contains(&candidate) && found.try_send(candidate.clone()).is_ok() {
                        known.insert(candidate);
                    }
                }
                DISCOVERY
            }
            Err(failure) if whose == Whose::Primary => {
                let reading =
                    Reading::trouble(SOURCE, SLOT, format!("cannot be listed: {failure}"));
                common
                    .board
                    .post(SLOT, SOURCE, vec![reading], TROUBLE_VALID);
                DISCOVERY_RETRY
            }
            Err(failure) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::info!(
                        event = "replicas_of_replica",
                        "replicas of {} are not known, list them with --replicas if there are any: \
                         {failure}",
                        common.server.address()
                    );
                }
                DISCOVERY
            }
        };
        if !common.rest(pause).await {
            return;
        }
    }
}

/// Watches every replica that is found, until the run ends. One that leaves the primary's list stays
/// watched: it leaves when its replication is stopped.
async fn watch_found(
    common: &Common,
    shared: &Shared,
    sender: &mpsc::Sender<Candidate>,
    mut found: mpsc::Receiver<Candidate>,
) {
    let mut watchers = FuturesUnordered::new();
    let identities = Arc::new(Mutex::new(std::collections::BTreeSet::new()));
    loop {
        tokio::select! {
            () = common.cancel.cancelled() => break,
            candidate = found.recv() => match candidate {
                Some(candidate) => {
                    let identities = identities.clone();
                    watchers.push(watch_candidate(common, shared, sender, candidate, identities));
                }
                None => break,
            },
            Some(()) = watchers.next(), if !watchers.is_empty() => {}
        }
    }
    // The watchers see the same token; each ends after its present look.
    while watchers.next().await.is_some() {}
}

/// Watches the primary's own heartbeat, against which the replicas' are held.
async fn watch_primary(common: &Common, shared: &Shared) {
    const SLOT: &str = "heartbeat of the primary";
    const SOURCE: &str = "heartbeat";
    let mut asker = Asker::new(common.server.clone());
    let query = heartbeat_query(common);
    loop {
        let before = unix_micros();
        let readings = match asker.first::<(Option<String>,)>(&query).await {
            Ok(row) => {
                let newest = row.and_then(|(value,)| value?.parse::<i64>().ok());
                shared
                    .newest_on_primary
                    .store(newest.unwrap_or(0), Ordering::Relaxed);
                shared.newest_seen_at.store(before, Ordering::Relaxed);
                match newest {
                    Some(newest) => vec![Reading::switch(
                        SOURCE,
                        "the primary's last heartbeat",
                        seconds_between(newest, before),
                        HEARTBEAT_AGE_MAX_S,
                        "s",
                    )],
                    None => vec![Reading::trouble(
                        SOURCE,
                        "the primary",
                        "has no heartbeat yet",
                    )],
                }
            }
            Err(failure) => vec![Reading::trouble(
                SOURCE,
                "the primary",
                cannot_be_asked(&failure),
            )],
        };
        common
            .board
            .post(SLOT, SOURCE, readings, LOOK_LIMIT + Duration::from_secs(2));
        if !common.rest(INTERVAL).await {
            return;
        }
    }
}

fn heartbeat_query(common: &Common) -> String {
    format!(
        "SELECT value FROM {} WHERE hint = {}",
        quote::table(&common.plan.changelog),
        quote::string(HEARTBEAT)
    )
}

async fn watch_listed(common: &Common, shared: &Shared, replica: Replica) {
    common.board.expect(&replica.name, SOURCE);
    loop {
        match watch(common, shared, &replica).await {
            End::Cancelled => return,
            End::Ignored => {
                if !common.rest(RETRY).await {
                    return;
                }
            }
            End::Stranger => {
                let reading =
                    Reading::trouble(SOURCE, &replica.name, "no longer replicates the primary");
                common
                    .board
                    .post(&replica.name, SOURCE, vec![reading], Duration::MAX);
                if !common.rest(PROVE_AGAIN).await {
                    return;
                }
            }
        }
    }
}

/// Reaches a candidate, proves that it is a replica, and watches it.
async fn watch_candidate(
    common: &Common,
    shared: &Shared,
    found: &mpsc::Sender<Candidate>,
    candidate: Candidate,
    identities: Arc<Mutex<std::collections::BTreeSet<String>>>,
) {
    let name = candidate.name();
    let account = topology::account(&common.plan, &common.server);
    if candidate.registered {
        common.board.expect(&name, SOURCE);
    }
    let mut told = false;
    loop {
        if is_ignored(common, &name) {
            common.board.remove(&name);
        } else {
            match prove(common, &candidate, &account).await {
                Ok(Some(server)) => {
                    let identity = server.facts().identity();
                    let is_new = identities
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .insert(identity.clone());
                    if !is_new {
                        common.board.remove(&name);
                        return;
                    }
                    tracing::info!(event = "replica_found", "watching the lag of {name}");
                    let replica = Replica {
                        name: name.clone(),
                        server,
                    };
                    let end = watch_with_replicas(common, shared, found, &replica).await;
                    identities
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .remove(&identity);
                    match end {
                        End::Cancelled => return,
                        End::Ignored | End::Stranger => {}
                    }
                }
                Ok(None) => {
                    tracing::info!(
                        event = "replica_dropped",
                        "{name} does not replicate the primary, so its lag is not asked for"
                    );
                    common.board.remove(&name);
                    return;
                }
                Err(failure) if candidate.registered => {
                    let why = cannot_be_asked(&failure);
                    let reading = Reading::trouble(SOURCE, &name, why);
                    common
                        .board
                        .post(&name, SOURCE, vec![reading], TROUBLE_VALID);
                }
                Err(failure) => {
                    if !told {
                        tracing::info!(
                            event = "binlog_reader",
                            "a reader of the binlog at {name} does not answer as a replica \
                             (a change feed, perhaps) and is left alone: {failure}"
                        );
                    }
                    told = true;
                }
            }
        }
        let pause = if told { DISCOVERY } else { RETRY };
        if !common.rest(pause).await {
            return;
        }
    }
}

/// Watches a replica, and hands on the replicas that it has itself.
async fn watch_with_replicas(
    common: &Common,
    shared: &Shared,
    found: &mpsc::Sender<Candidate>,
    replica: &Replica,
) -> End {
    let below = Common {
        server: replica.server.clone(),
        cancel: common.cancel.child_token(),
        ..common.clone()
    };
    let watched = async {
        let end = watch(common, shared, replica).await;
        below.cancel.cancel();
        end
    };
    let (end, ()) = tokio::join!(watched, discover(&below, found, Whose::Replica));
    end
}

/// The server of a candidate if it replicates the primary; `None` if it surely does not.
async fn prove(
    common: &Common,
    candidate: &Candidate,
    account: &crate::mysql::ConnectOptions,
) -> Result<Option<Server>> {
    let server = topology::reach(candidate, account).await?;
    if server.facts().identity() == common.server.facts().identity() {
        return Ok(None);
    }
    let is_replica = topology::replicates(&server, &common.server, account).await?;
    Ok(is_replica.then_some(server))
}

fn is_ignored(common: &Common, name: &str) -> bool {
    let address = name.trim_start_matches("replica ");
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let tunables = common.tunables.borrow();
    common
        .plan
        .ignored_replicas
        .iter()
        .chain(&tunables.ignored_replicas)
        .any(|ignored| ignored == address || ignored == host)
}

/// Why a watch ended.
enum End {
    Cancelled,
    Ignored,
    /// It replicates something else now.
    Stranger,
}

/// Asks one replica for its heartbeat again and again.
async fn watch(common: &Common, shared: &Shared, replica: &Replica) -> End {
    let name = &replica.name;
    let account = topology::account(&common.plan, &common.server);
    let query = heartbeat_query(common);
    let mut asker = Asker::new(replica.server.clone());
    let mut applier = Applier::new(replica.server.clone());
    let started = Instant::now();
    let mut behind_since: Option<Instant> = None;
    shared.known.send_modify(|known| {
        known.insert(name.clone(), replica.server.clone());
    });
    let end = loop {
        if is_ignored(common, name) {
            break End::Ignored;
        }
        let limit = common.tunables.borrow().lag_max;
        let before = unix_micros();
        let pause = match lag(&mut asker, &query, shared, before, started).await {
            Ok(seconds) => {
                shared.book(common, name, Some((seconds * 1e6) as i64));
                match applier.stopped().await {
                    // Its lag will grow: there is no need to wait until it has.
                    Some(why) => {
                        let reading = Reading::trouble(SOURCE, name, why);
                        common.board.post(name, SOURCE, vec![reading], SILENT);
                    }
                    None => post_lag(common, name, seconds, limit),
                }
                if seconds < limit.as_secs_f64() {
                    behind_since = None;
                } else {
                    let since = *behind_since.get_or_insert_with(Instant::now);
                    if since.elapsed() > PROVE_AGAIN {
                        behind_since = None;
                        let proof =
                            topology::replicates(&replica.server, &common.server, &account).await;
                        if let Ok(false) = proof {
                            break End::Stranger;
                        }
                    }
                }
                INTERVAL
            }
            Err(why) => {
                let reading = Reading::trouble(SOURCE, name, why);
                common
                    .board
                    .post(name, SOURCE, vec![reading], TROUBLE_VALID);
                RETRY
            }
        };
        if !common.rest(pause).await {
            break End::Cancelled;
        }
    };
    shared.book(common, name, None);
    shared.known.send_modify(|known| {
        known.remove(name);
    });
    common.board.remove(name);
    end
}

/// Looks whether replication has been stopped on a replica.
struct Applier {
    asker: Asker,
    next_look: Instant,
    stopped: Option<String>,
}

impl Applier {
    fn new(server: Server) -> Applier {
        Applier {
            asker: Asker::new(server),
            next_look: Instant::now(),
            stopped: None,
        }
    }

    /// Why nothing is being applied, in words that go on from the replica's name; `None` while
    /// something is, or where the account may not ask (lag tells it then, a little later).
    async fn stopped(&mut self) -> Option<String> {
        if Instant::now() >= self.next_look {
            let found = replication::stopped(&mut self.asker).await;
            let pause = match &found {
                Ok(_) => APPLIER_LOOKS,
                Err(_) => APPLIER_RETRY,
            };
            self.next_look = Instant::now() + pause;
            self.stopped = found.ok().flatten();
        }
        self.stopped.clone()
    }
}

fn post_lag(common: &Common, name: &str, seconds: f64, limit: Duration) {
    let mut reading = Reading::graded(SOURCE, name, seconds, limit.as_secs_f64(), "s");
    reading.grows = true;
    common.board.post(name, SOURCE, vec![reading], SILENT);
}

/// The lag of a replica, seconds.
///
/// # Errors
/// In words that go on from its name: it cannot be asked, or the heartbeat never comes.
async fn lag(
    asker: &mut Asker,
    query: &str,
    shared: &Shared,
    now: i64,
    started: Instant,
) -> std::result::Result<f64, String> {
    // Read before the replica is asked: what it has then is at least as new.
    let newest = shared.newest_on_primary.load(Ordering::Relaxed);
    let newest_age = now - shared.newest_seen_at.load(Ordering::Relaxed);
    let value = match asker.first::<(Option<String>,)>(query).await {
        Ok(row) => row.and_then(|(value,)| value?.parse::<i64>().ok()),
        Err(failure) if matches!(failure.code(), Some(ER_NO_SUCH_TABLE | ER_BAD_DB)) => None,
        Err(failure) => return Err(cannot_be_asked(&failure)),
    };
    match value {
        // It has all that there was a moment ago; a longer moment would hide a lag of that length.
        Some(value) if value >= newest && newest_age < NEWEST_AGE_MAX_MICROS => Ok(0.0),
        Some(value) => Ok(seconds_between(value, now)),
        // The heartbeat has not come there: it is behind for at least as long as we know.
        None if started.elapsed() < FILTERED_AFTER => Ok(started.elapsed().as_secs_f64()),
        None => Err(
            "has no heartbeat: it is far behind, or the heartbeat table is filtered from its \
             replication (then ignore it)"
                .to_string(),
        ),
    }
}

fn seconds_between(earlier: i64, later: i64) -> f64 {
    (later - earlier).max(0) as f64 / 1e6
}

fn unix_micros() -> i64 {
    i64::try_from(now_micros()).unwrap_or(i64::MAX)
}
