//! The reader: one thread that follows the binlog and hands on what it means.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::change::ChangeSink;
use crate::coordinates::Coordinates;
use crate::failure::{Failure, Result};
use crate::mysql::Server;
use crate::names::TableName;
use crate::progress::Progress;
use crate::schema::{ColumnMap, MigrationKey, TableDefinition};

/// What to follow.
#[derive(Clone, Debug)]
pub struct Feed {
    /// Whose binlog.
    pub server: Server,
    /// From where: everything after it is delivered.
    pub start: Coordinates,
    /// The table whose rows are delivered.
    pub original: TableName,
    /// The table whose rows are delivered as [`crate::change::BinlogEvent::Changelog`].
    pub changelog: TableName,
    /// The table on which nobody else may run DDL.
    pub ghost: TableName,
    /// The original's definition.
    pub definition: Arc<TableDefinition>,
    /// What identifies a row.
    pub key: MigrationKey,
    /// Which values are delivered when `images`.
    pub map: ColumnMap,
    /// Whether changes carry values (image mode) or keys alone (reread mode).
    pub images: bool,
    /// How long to try again when the connection is lost, without one event arriving.
    pub reconnect_limit: Duration,
}

/// [`Feed::reconnect_limit`] where nothing else is asked for.
pub const RECONNECT_LIMIT: Duration = Duration::from_secs(300);

/// A running reader.
#[derive(Debug)]
pub struct ReaderHandle {
    result: oneshot::Receiver<Result<()>>,
    received: watch::Receiver<Coordinates>,
}

impl ReaderHandle {
    /// Up to where all has been handed to the sink, whole transactions only.
    pub fn received(&self) -> watch::Receiver<Coordinates> {
        self.received.clone()
    }

    /// Waits until the reader has ended: `Ok` when it was cancelled.
    ///
    /// # Errors
    /// Why it cannot go on.
    pub async fn finished(self) -> Result<()> {
        self.result
            .await
            .unwrap_or_else(|_| Err(Failure::failed("the binlog reader broke")))
    }
}

/// Starts the reader in a thread of its own, the one place besides the supervisor that starts one:
/// it blocks while the sink is full, which no task of the shared runtime may do.
///
/// # Errors
/// The thread cannot be started.
pub fn start(
    feed: Feed,
    sink: Arc<dyn ChangeSink>,
    progress: Arc<Progress>,
    cancel: CancellationToken,
) -> Result<ReaderHandle> {
    let (ended, result) = oneshot::channel();
    let (received_to, received) = watch::channel(feed.start.clone());
    std::thread::Builder::new()
        .name("binlog-reader".to_string())
        .spawn(move || {
            let _keep = (feed, sink, progress, cancel, received_to);
            let _ = ended.send(Err(Failure::failed("the binlog reader is not built yet")));
        })
        .map_err(|error| Failure::failed(format!("cannot start a thread: {error}")))?;
    Ok(ReaderHandle { result, received })
}
