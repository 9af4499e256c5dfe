//! Compares two tables chunk by chunk, of one server or of two. Changes nothing.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::binlog;
use crate::chunk::LowWatermark;
use crate::failure::{Context, Failure, FailureKind, Result};
use crate::mysql::{Purpose, Server, role};
use crate::names::TableName;
use crate::pace::Pace;
use crate::progress::Progress;
use crate::schema::{self, ColumnMap, ColumnMoves, MigrationKey, TableDefinition};
use crate::tunables::Tunables;
use crate::verify::{self, Comparison, Settle, VerifyPlan};
use crate::walk::{Controls, Part};

/// What a comparison covered.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// Rows of the first table.
    pub rows: u64,
    /// Columns that only the first table has.
    pub only_first: Vec<String>,
    /// Columns that only the second table has.
    pub only_second: Vec<String>,
}

/// Compares the columns that both tables have, by name. `second_server` is where the second table is, if
/// not on the first one's server.
///
/// # Errors
/// [`FailureKind::Difference`] with rows and columns named; [`FailureKind::Refused`] if a table is
/// missing or no key pairs their rows; what a server answered.
pub async fn compare(
    server: &Server,
    first: &TableName,
    second_server: Option<&Server>,
    second: &TableName,
    workers: usize,
    stop: &CancellationToken,
) -> Result<Compared> {
    let one = definition(server, first).await?;
    let other = definition(second_server.unwrap_or(server), second).await?;
    let missing = |from: &TableDefinition, to: &TableDefinition| -> Vec<String> {
        let names = from.columns.iter().map(|column| column.name.clone());
        names.filter(|name| to.column(name).is_none()).collect()
    };
    let moves = ColumnMoves {
        dropped: missing(&one, &other),
        added: missing(&other, &one),
        ..ColumnMoves::default()
    };
    let map = ColumnMap::build(&one, &other, &moves)?;
    let key = MigrationKey::choose(&one, &other, &map).map_err(|reasons| {
        Failure::new(
            FailureKind::Refused,
            format!(
                "no key pairs the rows of {first} and {second}: {}",
                reasons.join("; ")
            ),
        )
        .remedy("both tables need a NOT NULL unique key with the same columns")
    })?;
    let names = |columns: &[schema::Column]| columns.iter().map(|c| c.name.clone()).collect();
    let (only_first, only_second) = (names(&map.dropped), names(&map.added));
    let progress = Arc::new(Progress::default());
    let plan = VerifyPlan {
        leaves_changing: false,
        server: server.clone(),
        target_server: second_server.cloned(),
        comparison: Arc::new(Comparison::new(
            server.facts(),
            &one,
            &other,
            &map,
            Arc::new(key),
        )),
        settle: settle(server, second_server).await?,
        mend: None,
        trail: None,
        row_bytes_estimate: one.row_bytes_estimate,
        chunk_time_max: verify::CHUNK_TIME_MAX,
    };
    let tunables = watch::Sender::new(Tunables {
        copy_workers: workers,
        ..Tunables::default()
    });
    let pace = watch::Sender::new(Pace::default());
    let controls = Controls {
        pace: pace.subscribe(),
        tunables: tunables.subscribe(),
        cancel: stop.clone(),
    };
    let watermark = watch::Sender::new(LowWatermark::default());
    let end = verify::run(plan, Part::All(None), controls, progress.clone(), watermark).await?;
    if !end.finished {
        return Err(super::run::stopped());
    }
    Ok(Compared {
        rows: progress.rows_verified.get(),
        only_first,
        only_second,
    })
}

/// How long a change may take from one table to the other where nothing tells when it is there.
const MOMENT: Duration = Duration::from_millis(500);
/// How long a replica may take to catch up.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(60);

/// How changes get from the first table to the second.
async fn settle(first: &Server, second: Option<&Server>) -> Result<Arc<dyn Settle>> {
    let Some(replica) = second else {
        return Ok(Arc::new(Moment));
    };
    let mut session = replica.session(Purpose::Monitor).await?;
    let follows = role::is_replica(&mut session)
        .await
        .doing(|| format!("look whether {} is a replica", replica.address()))?;
    session.close().await;
    Ok(match follows {
        true => Arc::new(Replication {
            primary: first.clone(),
            replica: replica.clone(),
        }),
        false => Arc::new(Moment),
    })
}

/// Somebody may keep the second table up to date: rows that differ are looked at again a moment later.
struct Moment;

impl Settle for Moment {
    fn settle(&self, limit: Duration) -> BoxFuture<'_, Result<bool>> {
        Box::pin(async move {
            tokio::time::sleep(MOMENT.min(limit)).await;
            Ok(true)
        })
    }
}

/// The second table is on a replica of the first one's server, or of a server that this one replicates too.
struct Replication {
    primary: Server,
    replica: Server,
}

impl Settle for Replication {
    fn settle(&self, limit: Duration) -> BoxFuture<'_, Result<bool>> {
        Box::pin(async move {
            let mut session = self.primary.session(Purpose::Monitor).await?;
            let now = binlog::current_coordinates(&mut session).await?;
            session.close().await;
            let mut session = self.replica.session(Purpose::Monitor).await?;
            let caught_up = role::caught_up(&mut session, &now, limit.min(CATCH_UP_LIMIT)).await?;
            session.close().await;
            Ok(caught_up)
        })
    }
}

async fn definition(server: &Server, name: &TableName) -> Result<TableDefinition> {
    let mut session = server.session(Purpose::Monitor).await?;
    let found = schema::load::load(&mut session, name)
        .await
        .doing(|| format!("read the definition of {name}"))?;
    session.close().await;
    found.ok_or_else(|| {
        Failure::new(
            FailureKind::Refused,
            format!("{name} does not exist on {}", server.address()),
        )
        .remedy("check schema and table")
    })
}
