//! Ending the connections of those who hold the table: only when asked for, and looked at again just
//! before.

use std::time::Duration;

use super::KillPolicy;
use super::blockers::Lookout;
use super::report::Blocker;
use crate::failure::Result;
use crate::mysql::Server;
use crate::names::TableName;

/// Why a blocker would not be killed whatever was asked for, or with which policies it would be: for
/// people, before the act.
pub fn fate(blocker: &Blocker, rows_max: u64) -> String {
    let may = |policy| may_kill(blocker, policy, rows_max);
    if may(KillPolicy::Idle) {
        "--kill-blockers=idle or all would kill it".to_string()
    } else if may(KillPolicy::All) {
        "--kill-blockers=all would kill it, idle would not: it is at work".to_string()
    } else if blocker.rows_modified.is_some_and(|rows| rows > rows_max) {
        format!("never killed: it has changed more than {rows_max} rows (--kill-rows-max)")
    } else {
        "never killed".to_string()
    }
}

/// Whether a blocker may be killed. Never: one that is only suspected, one that has changed too many
/// rows (its rollback would hold the table for longer than it does), a thread of the server's own
/// (replication, events), and one without a transaction: somebody has locked the table by hand.
pub fn may_kill(blocker: &Blocker, policy: KillPolicy, rows_max: u64) -> bool {
    const SERVERS_OWN: [&str; 2] = ["system user", "event_scheduler"];
    let asked_for = match policy {
        KillPolicy::Never => false,
        KillPolicy::Idle => blocker.idle,
        KillPolicy::All => true,
    };
    asked_for
        && blocker.certain
        && blocker.id != 0
        && blocker.rows_modified.is_some_and(|rows| rows <= rows_max)
        && !blocker.transaction.is_empty()
        && !SERVERS_OWN.contains(&blocker.user.as_str())
}

/// Who holds `table` now, or may, in a transaction older than `age_min`.
///
/// # Errors
/// What the server answered.
pub async fn who_holds(
    server: &Server,
    table: &TableName,
    age_min: Duration,
    own: &[u32],
) -> Result<Vec<Blocker>> {
    let mut lookout = Lookout::open(server, table).await?;
    let holders = lookout.look(own, age_min).await?;
    lookout.close().await;
    Ok(holders)
}

/// Kills those of `blockers` that may be and that still hold the table in the same transaction. Returns
/// whom it killed. A kill that the server refuses is told in the log.
///
/// # Errors
/// What the server answered to the look.
pub(super) async fn kill_blockers(
    lookout: &mut Lookout,
    server: &Server,
    blockers: &[Blocker],
    policy: KillPolicy,
    rows_max: u64,
    own: &[u32],
) -> Result<Vec<Blocker>> {
    if !blockers.iter().any(|one| may_kill(one, policy, rows_max)) {
        return Ok(Vec::new());
    }
    let mut killed = Vec::new();
    for blocker in lookout.look(own, Duration::ZERO).await? {
        let known = blockers
            .iter()
            .any(|one| one.id == blocker.id && one.transaction == blocker.transaction);
        if !known || !may_kill(&blocker, policy, rows_max) {
            continue;
        }
        tracing::warn!(
            event = "blocker_kill",
            "killing {blocker}, which holds {} in the way of the swap",
            lookout.table()
        );
        match server.kill_connection(blocker.id).await {
            Ok(()) => {
                tracing::warn!(event = "blocker_killed", "killed connection {}", blocker.id);
                killed.push(blocker);
            }
            Err(failure) => {
                tracing::warn!(
                    event = "blocker_not_killed",
                    "cannot kill {blocker}: {failure}"
                );
            }
        }
    }
    Ok(killed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_that_were_asked_for() {
        let idle = Blocker {
            id: 7,
            user: "app".into(),
            host: "h".into(),
            age: Duration::from_secs(9),
            statement: "SELECT ?".into(),
            idle: true,
            rows_modified: Some(10),
            transaction: "4711".into(),
            certain: true,
        };
        let running = Blocker {
            idle: false,
            ..idle.clone()
        };
        let may = |blocker: &Blocker, policy| may_kill(blocker, policy, 10);
        assert!(fate(&idle, 10).contains("idle or all"));
        assert!(fate(&running, 10).contains("at work"));
        assert!(fate(&idle, 9).starts_with("never killed: it has changed more than 9 rows"));
        assert!(!may(&idle, KillPolicy::Never));
        assert!(may(&idle, KillPolicy::Idle) && !may(&running, KillPolicy::Idle));
        assert!(may(&idle, KillPolicy::All) && may(&running, KillPolicy::All));
        let spared = [
            Blocker {
                rows_modified: Some(11),
                ..idle.clone()
            },
            Blocker {
                certain: false,
                ..idle.clone()
            },
            Blocker {
                id: 0,
                ..idle.clone()
            },
            Blocker {
                user: "system user".into(),
                ..idle.clone()
            },
            Blocker {
                transaction: String::new(),
                ..idle.clone()
            },
        ];
        assert!(spared.iter().all(|blocker| !may(blocker, KillPolicy::All)));
    }
}
