//! Replicas and their lag now.

use std::collections::{BTreeSet, VecDeque};

use serde::Serialize;

use crate::mysql::Server;
use crate::throttle::{replication, topology};

/// A replica now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReplicaNow {
    /// How it is called.
    pub name: String,
    /// How far it is behind, by its own account, seconds.
    pub lag_s: Option<u64>,
    /// Why the lag is not known.
    pub trouble: Option<String>,
}

/// The replicas that are attached now, those of replicas too, or why they cannot be told.
///
/// # Errors
/// The server itself cannot be asked; what else cannot is told in the answer.
pub async fn replicas(server: &Server) -> std::result::Result<Vec<ReplicaNow>, String> {
    let attached = topology::attached(server)
        .await
        .map_err(|failure| failure.to_string())?;
    let mut to_ask = VecDeque::from(attached);
    let mut seen = BTreeSet::from([server.facts().identity()]);
    let mut found = Vec::new();
    while let Some(candidate) = to_ask.pop_front() {
        let name = candidate.name();
        let replica = match topology::reach(&candidate, server.options()).await {
            Ok(replica) => replica,
            // A mere reader of the binlog: a change feed, perhaps, or a migration like ours.
            Err(_) if !candidate.registered => continue,
            Err(failure) => {
                found.push(ReplicaNow {
                    name,
                    lag_s: None,
                    trouble: Some(failure.to_string()),
                });
                continue;
            }
        };
        // In a ring the way leads back.
        if !seen.insert(replica.facts().identity()) {
            continue;
        }
        // Who only reads, and happens to have a server at its address, has to prove that it is a replica.
        if !candidate.registered
            && !topology::replicates(&replica, server, server.options())
                .await
                .unwrap_or(false)
        {
            continue;
        }
        found.push(now(name, &replica).await);
        match topology::attached(&replica).await {
            Ok(below) => to_ask.extend(below),
            Err(failure) => found.push(ReplicaNow {
                name: format!("replicas of {}", replica.address()),
                lag_s: None,
                trouble: Some(failure.to_string()),
            }),
        }
    }
    Ok(found)
}

async fn now(name: String, replica: &Server) -> ReplicaNow {
    let (lag_s, trouble) = match replication::seconds_behind(replica).await {
        Ok(None) => (None, Some("it does not replicate now".to_string())),
        Ok(lag_s) => (lag_s, None),
        Err(failure) => (None, Some(failure.to_string())),
    };
    ReplicaNow {
        name,
        lag_s,
        trouble,
    }
}
