//! Who replicates whom. Every claim is proven by asking the server it is about; a host of another
//! topology that happens to answer must not make the copy feel safe.

use std::collections::{BTreeMap, BTreeSet};

use mysql_async::Row;

use super::ThrottlePlan;
use super::asker::Asker;
use super::replication::{sources, text};
use crate::failure::{Context, Failure, FailureKind, Result};
use crate::mysql::{ConnectOptions, Server};

/// How many servers may lie between the primary and a replica.
const DEPTH_MAX: usize = 8;
/// The port that is tried where none is known.
const PORT: u16 = 3306;

/// A replica that the primary knows, not yet asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    /// Where it may be reached, the likeliest first; empty if nothing is known but its id.
    pub addresses: Vec<(String, u16)>,
    /// Its server id, if it registered with one.
    pub server_id: Option<u64>,
    /// Whether it is surely a replica: it registered itself. A mere reader of the binlog may be a
    /// change feed, which has no lag.
    pub registered: bool,
}

impl Candidate {
    /// How it is called before it has answered.
    pub fn name(&self) -> String {
        match (self.addresses.first(), self.server_id) {
            (Some((host, port)), _) => format!("replica {host}:{port}"),
            (None, Some(id)) => format!("replica with server id {id}"),
            (None, None) => "replica without a name".to_string(),
        }
    }
}

/// Finds the replicas that are connected to a server now.
///
/// # Errors
/// What the server answered; the grants REPLICATION SLAVE (list) and PROCESS (addresses of replicas
/// without `report_host`) are needed.
pub async fn discover(asker: &mut Asker) -> Result<Vec<Candidate>> {
    let facts = asker.server().facts().clone();
    let own: BTreeSet<u64> = asker
        .server()
        .own_connections()
        .into_iter()
        .map(u64::from)
        .collect();
    let registered: Vec<Row> = asker
        .query(facts.show_replicas())
        .await
        .remedy("grant REPLICATION SLAVE, or list the replicas with --replicas")?;
    let dumps: Vec<(u64, String)> = asker
        .query(&format!(
            "SELECT id, host FROM {} WHERE command LIKE 'Binlog Dump%'",
            facts.processlist()
        ))
        .await?;
    let readers: Vec<String> = dumps
        .into_iter()
        .filter(|(id, _)| !own.contains(id))
        .filter_map(|(_, host)| client_host(&host))
        .collect();
    let registered: Vec<Registered> = registered
        .iter()
        // Servers always say their port; who says none is a reader of the binlog like ourselves.
        .filter(|row| text(row, &["Port"]).is_some_and(|port| port != "0"))
        .map(|row| Registered {
            host: text(row, &["Host"]).filter(|host| !host.is_empty()),
            port: text(row, &["Port"])
                .and_then(|port| port.parse().ok())
                .unwrap_or(PORT),
            server_id: text(row, &["Server_Id", "Server_id"]).and_then(|id| id.parse().ok()),
        })
        .collect();
    Ok(candidates(&registered, &readers))
}

#[derive(Clone, Debug)]
struct Registered {
    host: Option<String>,
    port: u16,
    server_id: Option<u64>,
}

/// Joins the list of registered replicas with the addresses of the binlog's readers.
fn candidates(registered: &[Registered], readers: &[String]) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = registered
        .iter()
        .map(|replica| {
            let port = replica.port;
            let mut addresses: Vec<(String, u16)> = Vec::new();
            match &replica.host {
                Some(host) => addresses.push((host.clone(), port)),
                // It did not say where it is: any reader of the binlog may be it; who it is, is
                // proven by its server id.
                None => addresses.extend(readers.iter().map(|host| (host.clone(), port))),
            }
            addresses.dedup();
            Candidate {
                addresses,
                server_id: replica.server_id,
                registered: true,
            }
        })
        .collect();
    let known: BTreeSet<&str> = registered
        .iter()
        .filter_map(|replica| replica.host.as_deref())
        .collect();
    let nameless = registered.iter().any(|replica| replica.host.is_none());
    // Readers beyond the registered ones, if any.
    if !nameless && readers.len() > registered.len() {
        for host in readers.iter().filter(|host| !known.contains(host.as_str())) {
            found.push(Candidate {
                addresses: vec![(host.clone(), PORT)],
                server_id: None,
                registered: false,
            });
        }
    }
    found.sort();
    found.dedup();
    found
}

/// The host of a process list entry `host:port`.
fn client_host(text: &str) -> Option<String> {
    let host = text.rsplit_once(':').map_or(text, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then(|| host.to_string())
}

/// Connects to a candidate at the first of its addresses where it is found.
///
/// # Errors
/// None of the addresses answers as that server.
pub async fn reach(candidate: &Candidate, account: &ConnectOptions) -> Result<Server> {
    let mut last = Failure::failed("the primary does not know its address")
        .remedy("set report_host on the replica, or list the replicas with --replicas");
    for (host, port) in &candidate.addresses {
        match Server::connect(account.at(host, *port)).await {
            Ok(server) => {
                let id = server.facts().number("server_id");
                if candidate.server_id.is_none() || candidate.server_id == id {
                    return Ok(server);
                }
                last = Failure::failed(format!(
                    "{host}:{port} is another server (id {})",
                    id.unwrap_or(0)
                ));
            }
            Err(failure) => last = failure,
        }
    }
    Err(last)
}

/// Whether a server replicates another, directly or through others in between.
///
/// # Errors
/// The server cannot be asked for its sources (grant REPLICATION CLIENT).
pub async fn replicates(
    server: &Server,
    primary: &Server,
    account: &ConnectOptions,
) -> Result<bool> {
    let wanted = primary.facts().identity();
    let mut seen = BTreeSet::from([server.facts().identity()]);
    let mut level = vec![server.clone()];
    for _ in 0..DEPTH_MAX {
        let mut above = Vec::new();
        for server in level {
            for source in sources(&server).await? {
                if source.is(primary) {
                    return Ok(true);
                }
                // Who cannot be asked cannot be followed; that is no proof of anything.
                let Ok(next) = Server::connect(account.at(&source.host, source.port)).await else {
                    continue;
                };
                let identity = next.facts().identity();
                if identity == wanted {
                    return Ok(true);
                }
                if seen.insert(identity) {
                    above.push(next);
                }
            }
        }
        if above.is_empty() {
            return Ok(false);
        }
        level = above;
    }
    Ok(false)
}

/// The replicas that are connected to a server now, asked once.
///
/// # Errors
/// As [`discover`].
pub async fn attached(server: &Server) -> Result<Vec<Candidate>> {
    discover(&mut Asker::new(server.clone())).await
}

/// What servers that replicate each other mean for the search of a primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rings {
    /// Nobody can tell who the primary is.
    Refuse,
    /// The last server before the ring closes is taken (gh-ost's `--allow-master-master`).
    EndBefore,
}

/// The primary above a server; the server itself if it replicates nothing.
///
/// # Errors
/// Refused: several sources, or servers that replicate each other, leave open who the primary is.
/// Otherwise, a server on the way that cannot be asked.
pub async fn find_primary(
    server: &Server,
    account: &ConnectOptions,
    rings: Rings,
) -> Result<Server> {
    let undecided = |why: String| {
        Failure::new(
            FailureKind::Refused,
            format!("cannot tell the primary of {}: {why}", server.address()),
        )
        .remedy("say which it is with --assume-primary HOST:PORT, or connect to the primary itself")
    };
    let mut seen = BTreeSet::from([server.facts().identity()]);
    let mut current = server.clone();
    for _ in 0..DEPTH_MAX {
        let sources = sources(&current).await?;
        let source = match sources.as_slice() {
            [] => return Ok(current),
            [source] => source,
            [first, second, ..] => {
                return Err(undecided(format!(
                    "{} replicates {}:{} and {}:{}",
                    current.address(),
                    first.host,
                    first.port,
                    second.host,
                    second.port
                )));
            }
        };
        // It may have been made the primary without being told to forget its former one.
        if let Some(why) = &source.stopped {
            return Err(undecided(format!(
                "{} is set up as a replica of {}:{} and {why}",
                current.address(),
                source.host,
                source.port
            )));
        }
        let next = Server::connect(account.at(&source.host, source.port))
            .await
            .doing(|| format!("follow {} to its source", current.address()))?;
        if !seen.insert(next.facts().identity()) {
            if rings == Rings::EndBefore {
                return Ok(current);
            }
            return Err(undecided(format!(
                "{} is part of a ring of servers that replicate each other",
                next.address()
            )));
        }
        current = next;
    }
    Err(undecided(format!(
        "more than {DEPTH_MAX} servers lie above it"
    )))
}

/// A listed replica that has been proven to be one.
#[derive(Clone, Debug)]
pub struct Replica {
    /// `replica host:port`.
    pub name: String,
    /// The way to it.
    pub server: Server,
}

/// Proves that each listed host replicates the server.
///
/// # Errors
/// Refused, naming every host that does not, or cannot be asked.
pub async fn check_listed(
    server: &Server,
    plan: &ThrottlePlan,
    hosts: &[(String, u16)],
) -> Result<Vec<Replica>> {
    let account = account(plan, server);
    let mut replicas = Vec::new();
    let mut wrong = BTreeMap::new();
    for (host, port) in hosts {
        let address = format!("{host}:{port}");
        match check_one(server, &account, host, *port).await {
            Ok(replica) => replicas.push(replica),
            Err(failure) => {
                wrong.insert(address, failure.to_string());
            }
        }
    }
    if wrong.is_empty() {
        return Ok(replicas);
    }
    let list: Vec<String> = wrong
        .into_iter()
        .map(|(address, why)| format!("{address}: {why}"))
        .collect();
    Err(Failure::new(
        FailureKind::Refused,
        format!("cannot throttle on these replicas: {}", list.join("; ")),
    )
    .remedy(
        "list hosts that replicate this server and that the account can reach, or leave \
         --replicas out to have them found",
    ))
}

async fn check_one(
    server: &Server,
    account: &ConnectOptions,
    host: &str,
    port: u16,
) -> Result<Replica> {
    let replica = Server::connect(account.at(host, port)).await?;
    if replica.facts().identity() == server.facts().identity() {
        return Err(Failure::failed("it is the migrated server itself"));
    }
    if !replicates(&replica, server, account).await? {
        return Err(Failure::failed(format!(
            "it does not replicate {}",
            server.address()
        )));
    }
    Ok(Replica {
        name: format!("replica {host}:{port}"),
        server: replica,
    })
}

/// The account for replicas.
pub fn account(plan: &ThrottlePlan, server: &Server) -> ConnectOptions {
    plan.replica_account
        .clone()
        .unwrap_or_else(|| server.options().clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registered(host: &str, port: u16, id: u64) -> Registered {
        Registered {
            host: (!host.is_empty()).then(|| host.to_string()),
            port,
            server_id: Some(id),
        }
    }

    #[test]
    fn named_replicas_are_asked_where_they_say() {
        let found = candidates(&[registered("r1", 3307, 2)], &["10.0.0.2".to_string()]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].name(), "replica r1:3307");
        assert!(found[0].registered);
    }

    #[test]
    fn nameless_replicas_are_looked_for_among_the_readers() {
        let readers = ["10.0.0.2".to_string(), "10.0.0.3".to_string()];
        let found = candidates(&[registered("", 3307, 2)], &readers);
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].addresses,
            [
                ("10.0.0.2".to_string(), 3307),
                ("10.0.0.3".to_string(), 3307)
            ]
        );
        assert_eq!(
            candidates(&[registered("", 3306, 7)], &[])[0].name(),
            "replica with server id 7"
        );
    }

    #[test]
    fn readers_beyond_the_registered_are_asked_too() {
        let readers = ["10.0.0.2".to_string(), "10.0.0.3".to_string()];
        let found = candidates(&[registered("10.0.0.2", 3306, 2)], &readers);
        assert_eq!(found.len(), 2);
        assert!(
            found
                .iter()
                .any(|c| !c.registered && c.name() == "replica 10.0.0.3:3306")
        );
    }

    #[test]
    fn client_hosts_lose_their_port() {
        assert_eq!(client_host("10.0.0.2:43210").as_deref(), Some("10.0.0.2"));
        assert_eq!(client_host("localhost").as_deref(), Some("localhost"));
        assert_eq!(client_host(""), None);
    }
}
