//! Where the table is migrated, and whose binlog is read: a run may be started against a replica.

use crate::failure::{Context, ErrorClass, Failure, FailureKind, Result};
use crate::mysql::Server;
use crate::settings::{BinlogFrom, Place, Settings};
use crate::throttle::replication;
use crate::throttle::topology::{self, Rings};

/// The servers of a run.
pub struct Servers {
    /// The one with the table.
    pub server: Server,
    /// The one whose binlog is read.
    pub binlog: Server,
}

/// Connects to the server that was given, and from there to the one with the table.
///
/// # Errors
/// [`FailureKind::Refused`] where it is not clear who the primary is, or where a replica's binlog cannot
/// be relied on; the connections' failures.
pub async fn connect(settings: &Settings) -> Result<Servers> {
    let here = Server::connect(settings.connect.clone()).await?;
    let server = match &settings.place {
        Place::Here => here.clone(),
        Place::Primary => match replication::sources(&here).await {
            // Preflight names the grants that are missing, all together.
            Err(failure) if failure.class() == Some(ErrorClass::Refused) => here.clone(),
            Err(failure) => return Err(failure),
            Ok(_) => topology::find_primary(&here, &settings.connect, Rings::Refuse).await?,
        },
        Place::Assumed(host, port) => assumed(&here, host, *port).await?,
    };
    if server.facts().identity() == here.facts().identity() {
        return Ok(Servers {
            binlog: here.clone(),
            server: here,
        });
    }
    tracing::info!(
        event = "primary",
        "{} is a replica: the table is migrated on its primary {}",
        here.address(),
        server.address()
    );
    let binlog = match settings.binlog_from {
        BinlogFrom::Primary => server.clone(),
        BinlogFrom::Here => {
            check_binlog(&here, &server).await?;
            here
        }
    };
    Ok(Servers { server, binlog })
}

async fn assumed(here: &Server, host: &str, port: u16) -> Result<Server> {
    Server::connect(here.options().at(host, port))
        .await
        .doing(|| "connect to the server of --assume-primary")
}

/// Whether everything that happens to the table on `primary` comes to the binlog of `replica`.
async fn check_binlog(replica: &Server, primary: &Server) -> Result<()> {
    let refused = |why: String| {
        Failure::new(
            FailureKind::Refused,
            format!(
                "the binlog of {} cannot be relied on: {why}",
                replica.address()
            ),
        )
        .remedy("use --binlog-from=primary")
    };
    if !topology::replicates(replica, primary, replica.options()).await? {
        return Err(refused(format!(
            "it does not replicate {}",
            primary.address()
        )));
    }
    if !replica.facts().logs_replicated_changes() {
        return Err(refused(
            "log_replica_updates is OFF there, so that replicated changes are not in it"
                .to_string(),
        ));
    }
    let filters = replication::filters(replica).await?;
    if !filters.is_empty() {
        return Err(refused(format!(
            "it replicates a part only ({})",
            filters.join(", ")
        )));
    }
    Ok(())
}
