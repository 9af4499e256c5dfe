//! Replicas and their lag now.

use serde::Serialize;

use crate::failure::Result;
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

/// The replicas that are attached now, or why they cannot be told.
///
/// # Errors
/// None: what cannot be asked is told in the answer.
pub async fn replicas(server: &Server) -> std::result::Result<Vec<ReplicaNow>, String> {
    let candidates = topology::attached(server)
        .await
        .map_err(|failure| failure.to_string())?;
    let mut found = Vec::new();
    for candidate in candidates {
        let name = candidate.name();
        found.push(match lag(server, &candidate).await {
            Ok(lag_s) => ReplicaNow {
                name,
                trouble: lag_s
                    .is_none()
                    .then(|| "it does not replicate now".to_string()),
                lag_s,
            },
            Err(failure) => ReplicaNow {
                name,
                lag_s: None,
                trouble: Some(failure.to_string()),
            },
        });
    }
    Ok(found)
}

async fn lag(server: &Server, candidate: &topology::Candidate) -> Result<Option<u64>> {
    let replica = topology::reach(candidate, server.options()).await?;
    replication::seconds_behind(&replica).await
}
