//! The reader: one thread that follows the binlog and hands on what it means.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::foreign::Foreign;
use super::interpreter::Interpreter;
use super::plan::Wishes;
use super::position;
use super::reach;
use super::statement::Watched;
use super::stream::{self, Stream};
use super::tables::Subject;
use crate::change::{BinlogEvent, ChangeSink};
use crate::coordinates::Coordinates;
use crate::failure::{ErrorClass, Failure, Result};
use crate::mysql::Server;
use crate::mysql::error::{DumpRefusal, dump_refusal, is_crowded};
use crate::mysql::retry::Patience;
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

    /// How the reader ended, if it has; to be asked no more after that.
    pub fn try_finished(&mut self) -> Option<Result<()>> {
        match self.result.try_recv() {
            Ok(result) => Some(result),
            Err(oneshot::error::TryRecvError::Empty) => None,
            Err(oneshot::error::TryRecvError::Closed) => Some(Err(broke())),
        }
    }

    /// Waits until the reader has ended: `Ok` when it was cancelled.
    ///
    /// # Errors
    /// Why it cannot go on.
    pub async fn finished(self) -> Result<()> {
        self.result.await.unwrap_or_else(|_| Err(broke()))
    }
}

fn broke() -> Failure {
    Failure::failed("the binlog reader's thread broke").remedy("report this with the log")
}

/// Starts the reader in a thread of its own, the one place besides the supervisor that starts
/// anything: it blocks while the sink is full, which no task of the shared runtime may do.
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
    let reader = Reader {
        subject: Subject {
            watched: Watched {
                original: feed.original.clone(),
                ghost: feed.ghost.clone(),
                // Looked up before the first event.
                reached_indirectly: true,
            },
            changelog: feed.changelog.clone(),
            wishes: Wishes::new(&feed.definition, &feed.key, &feed.map, feed.images),
            case_blind: feed.server.facts().number("lower_case_table_names") != Some(0),
        },
        feed,
        sink,
        progress,
        cancel,
        received: received_to,
        foreign: None,
        server_id: stream::random_server_id(),
        last_event: Instant::now(),
    };
    let cannot = |error: std::io::Error| Failure::failed(format!("cannot start a thread: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(cannot)?;
    std::thread::Builder::new()
        .name("binlog-reader".to_string())
        .spawn(move || {
            // Nobody listens any more: then nobody cares how it ended.
            let _ = ended.send(runtime.block_on(reader.run()));
        })
        .map_err(cannot)?;
    Ok(ReaderHandle { result, received })
}

/// Waits between attempts to connect again.
const PATIENCE: Patience = Patience {
    first_pause: Duration::from_millis(100),
    longest_pause: Duration::from_secs(10),
    limit: RECONNECT_LIMIT,
};

/// So many connections in a row may be lost without one transaction coming through, whatever the time.
const LOST_MAX: u32 = 100;
/// An event that comes broken is asked for again this often.
const BROKEN_MAX: u32 = 5;
/// How often people are told where the reader is.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// How a stream ended.
enum End {
    /// The reader was told to stop.
    Cancelled,
    /// The connection is gone; what was received stays true.
    Lost(Failure),
    /// An event came broken: on the way, or in the file.
    Broken(Failure),
    /// Going on is not possible.
    Final(Failure),
}

struct Reader {
    feed: Feed,
    subject: Subject,
    sink: Arc<dyn ChangeSink>,
    progress: Arc<Progress>,
    cancel: CancellationToken,
    received: watch::Sender<Coordinates>,
    /// XA transactions from before the stream; read before the first one.
    foreign: Option<Foreign>,
    server_id: u32,
    last_event: Instant,
}

impl Reader {
    /// Follows the binlog until cancelled, over as many connections as it takes.
    async fn run(mut self) -> Result<()> {
        let (mut lost, mut broken) = (0, 0);
        loop {
            let from = self.received.borrow().clone();
            let end = self.stream_once(&from).await;
            if *self.received.borrow() != from {
                (lost, broken) = (0, 0);
            }
            let failure = match end {
                End::Cancelled => return Ok(()),
                End::Final(failure) => return Err(failure),
                End::Lost(failure) => failure,
                End::Broken(failure) => {
                    broken += 1;
                    failure
                }
            };
            lost += 1;
            let failure = self.may_go_on(failure, &from)?;
            if broken > BROKEN_MAX {
                return Err(failure.remedy("check the binlog with mysqlbinlog"));
            }
            if lost > LOST_MAX || self.last_event.elapsed() > self.feed.reconnect_limit {
                return Err(failure.remedy("bring the server back, then start again to go on"));
            }
            self.progress.reconnects.add(1);
            let pause = PATIENCE.pause(lost - 1);
            tracing::warn!(
                event = "binlog_lost",
                "lost the binlog of {}: {failure}; trying again in {} from {from}",
                self.feed.server.address(),
                humantime::format_duration(Duration::from_millis(pause.as_millis() as u64)),
            );
            tokio::select! {
                () = self.cancel.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Whether trying again makes sense: gives the failure back if so.
    fn may_go_on(&mut self, failure: Failure, from: &Coordinates) -> Result<Failure> {
        match dump_refusal(&failure) {
            Some(DumpRefusal::DuplicateServerId) => {
                self.server_id = stream::random_server_id();
                Ok(failure)
            }
            Some(DumpRefusal::Purged) => Err(failure
                .remedy(
                    "raise binlog_expire_logs_seconds, then start the same command with --resume=repair, which \
                     compares all rows and copies those again that differ, or with --restart, which begins anew",
                )
                .doing(format!("the binlog after {from} was purged"))),
            Some(DumpRefusal::Other) => Err(failure.remedy(
                "the server cannot send its binlog from there, for what it says: start the migration \
                 again",
            )),
            // Somebody killed the statement, which is the stream.
            None if failure.class() == Some(ErrorClass::Killed) => Ok(failure),
            None if failure.is_disconnected() || is_crowded(&failure) => Ok(failure),
            None => Err(failure
                .remedy("check the account's privileges (REPLICATION SLAVE) and the server's log")),
        }
    }

    async fn stream_once(&mut self, from: &Coordinates) -> End {
        let cancel = self.cancel.clone();
        let mut stream = tokio::select! {
            biased;
            () = cancel.cancelled() => return End::Cancelled,
            opened = self.open(from) => {
                match opened {
                    Ok(stream) => stream,
                    Err(failure) => return End::Lost(failure),
                }
            }
        };
        tracing::info!(
            event = "binlog_connected",
            server_id = self.server_id,
            "reading the binlog of {} from {from}",
            self.feed.server.address(),
        );
        let end = self.pump(&mut stream, from).await;
        if stream.is_broken()
            && let End::Lost(failure) = end
        {
            return End::Broken(failure);
        }
        stream.close().await;
        end
    }

    async fn open(&mut self, from: &Coordinates) -> Result<Stream> {
        if self.foreign.is_none() {
            let Feed {
                server, definition, ..
            } = &self.feed;
            let reached = reach::reached_indirectly(server, definition).await?;
            self.subject.watched.reached_indirectly = reached;
            self.foreign = Some(self.look_for_prepared().await?);
        }
        Stream::open(&self.feed.server, from, self.server_id).await
    }

    async fn look_for_prepared(&self) -> Result<Foreign> {
        let now = Instant::now();
        let Some(prepared) = position::prepared_transactions(&self.feed.server).await? else {
            return Ok(Foreign::default());
        };
        if !prepared.is_empty() {
            tracing::warn!(
                event = "xa_prepared",
                "{} XA transactions are prepared on {}; the copy cannot begin before they are committed \
                 or rolled back (XA RECOVER shows them)",
                prepared.len(),
                self.feed.server.address(),
            );
        }
        Ok(Foreign::new(prepared, now))
    }

    async fn pump(&mut self, stream: &mut Stream, from: &Coordinates) -> End {
        let foreign = self.foreign.take().unwrap_or_default();
        let mut interpreter = Interpreter::new(self.subject.clone(), from, foreign);
        let end = self.pump_into(stream, &mut interpreter).await;
        self.foreign = Some(interpreter.into_foreign());
        end
    }

    async fn pump_into(&mut self, stream: &mut Stream, interpreter: &mut Interpreter) -> End {
        let mut told = Instant::now() - TELL_EVERY;
        loop {
            let event = tokio::select! {
                biased;
                () = self.cancel.cancelled() => return End::Cancelled,
                event = stream.next() => match event {
                    Ok(event) => event,
                    Err(failure) => return End::Lost(failure),
                },
            };
            let raw = stream::raw(&event);
            let changes = interpreter.changes;
            let handled = {
                let (sink, received, cancel) = (&self.sink, &self.received, &self.cancel);
                let mut emit = |event: BinlogEvent| {
                    let step = match &event {
                        BinlogEvent::Commit { step, .. } => Some(step.clone()),
                        _ => None,
                    };
                    sink.accept(event);
                    if let Some(step) = step {
                        received.send_modify(|at| at.advance(&step));
                    }
                    sink.wait_for_room(&|| cancel.is_cancelled());
                };
                interpreter.handle(&raw, stream::tagged(&event), &mut emit)
            };
            self.progress.binlog_bytes.add(u64::from(raw.size));
            self.progress
                .changes_received
                .add(interpreter.changes - changes);
            let now = Instant::now();
            if raw.is_alive() {
                self.last_event = now;
            }
            if now.duration_since(told) >= TELL_EVERY || handled.is_err() {
                told = now;
                let mut place = self
                    .progress
                    .reader_position
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                *place = interpreter.place();
            }
            if let Err(failure) = handled {
                return End::Final(failure);
            }
        }
    }
}
