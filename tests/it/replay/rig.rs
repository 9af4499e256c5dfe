//! A replay engine that is fed by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use changeling::change::{After, BinlogEvent, ChangeSink, RowChange};
use changeling::coordinates::{Coordinates, Step};
use changeling::failure::Result;
use changeling::interlock::Interlock;
use changeling::key::Key;
use changeling::mysql::quote::write_cell;
use changeling::progress::Progress;
use changeling::replay::{Backlog, BacklogLimits, Replay, ReplayPlan, Uniqueness};
use changeling::row::Cell;
use changeling::tunables::Tunables;
use fastrand::Rng;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::copy::setup::Tables;
use crate::support::wait::PATIENCE;

pub struct Rig {
    pub tables: Tables,
    pub interlock: Arc<Interlock>,
    pub backlog: Arc<Backlog>,
    pub replay: Arc<Replay>,
    pub progress: Arc<Progress>,
    pub cancel: CancellationToken,
    pub task: JoinHandle<Result<()>>,
    /// Kept, so that the engine's receiver stays open.
    _tunables: watch::Sender<Tunables>,
    position: AtomicU64,
}

impl Rig {
    pub fn start(tables: Tables, window_rows_max: usize) -> Rig {
        Rig::compressing(tables, window_rows_max, true)
    }

    /// One whose own transactions are compressed in the binlog, or not.
    pub fn compressing(tables: Tables, window_rows_max: usize, compress: bool) -> Rig {
        let interlock = tables.interlock();
        let progress = Arc::new(Progress::default());
        let backlog = Backlog::new(
            Coordinates::File {
                name: "f".into(),
                position: 0,
            },
            tables.key.comparable(),
            BacklogLimits {
                window_rows_max,
                ..BacklogLimits::default()
            },
            interlock.clone(),
            progress.clone(),
        );
        let (sender, tunables) = watch::channel(Tunables {
            apply_workers: 2,
            ..Tunables::default()
        });
        let plan = ReplayPlan {
            server: tables.server.clone(),
            original: tables.original.name.clone(),
            ghost: tables.ghost.name.clone(),
            map: tables.map.clone(),
            key: tables.key.clone(),
            uniqueness: Uniqueness::of(&tables.original, &tables.ghost, &tables.map, &tables.key),
            statement_rows_max: ReplayPlan::STATEMENT_ROWS_MAX,
            compress,
            misfits_max: 0,
        };
        let replay = Replay::new(plan, backlog.clone(), tunables, progress.clone());
        let cancel = CancellationToken::new();
        let engine = replay.clone();
        let token = cancel.clone();
        Rig {
            tables,
            interlock,
            backlog,
            replay,
            progress,
            task: tokio::spawn(async move { engine.run(token).await }),
            cancel,
            _tunables: sender,
            position: AtomicU64::new(0),
        }
    }

    /// Hands over one transaction, whole.
    pub fn feed(&self, changes: impl IntoIterator<Item = RowChange>) -> u64 {
        self.backlog.accept(BinlogEvent::Begin { step: None });
        for change in changes {
            self.backlog.accept(BinlogEvent::Change(change));
        }
        let position = self.position.fetch_add(1, Ordering::Relaxed) + 1;
        self.backlog.accept(BinlogEvent::Commit {
            step: Step::File("f".into(), position),
            committed_micros: 0,
        });
        position
    }

    /// Waits until all that was handed over is in the ghost.
    pub async fn settle(&self) {
        let name = format!("settle_{}", self.position.load(Ordering::Relaxed));
        self.backlog.accept(BinlogEvent::Changelog {
            hint: name.clone(),
            value: String::new(),
        });
        self.feed([]);
        let applied = self.backlog.marker_applied(&name, PATIENCE).await;
        if self.task.is_finished() {
            panic!("replay has ended");
        }
        applied.unwrap();
        assert_eq!(self.backlog.applied(), self.backlog.received());
    }

    pub fn applied(&self) -> u64 {
        match self.backlog.applied() {
            Coordinates::File { position, .. } => position,
            other => panic!("{other}"),
        }
    }

    /// Stops the engine; it must not have failed.
    pub async fn stop(self) -> Tables {
        self.cancel.cancel();
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .expect("replay ends when cancelled")
            .unwrap()
            .unwrap();
        self.tables
    }

    /// Waits for the engine to fail by itself.
    pub async fn failure(self) -> changeling::failure::Failure {
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .expect("replay fails")
            .unwrap()
            .unwrap_err()
    }
}

/// A row as the binlog reader tells it: `None` rereads.
pub fn after(key: Cell, values: Option<&[Cell]>) -> After {
    After {
        key: Key(vec![key]),
        values: values.map(|cells| {
            let mut text = String::new();
            for (index, cell) in cells.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                let charset = match cell {
                    Cell::Bytes(_) => Some("utf8mb4"),
                    _ => None,
                };
                write_cell(&mut text, cell, charset);
            }
            text.into()
        }),
    }
}

pub fn insert(key: i64, values: Option<&[Cell]>) -> RowChange {
    RowChange {
        before: None,
        after: Some(after(Cell::Int(key), values)),
    }
}

pub fn delete(key: i64) -> RowChange {
    RowChange {
        before: Some(Key(vec![Cell::Int(key)])),
        after: None,
    }
}

pub fn update(key: i64, values: Option<&[Cell]>) -> RowChange {
    RowChange {
        before: Some(Key(vec![Cell::Int(key)])),
        after: Some(after(Cell::Int(key), values)),
    }
}

impl Rig {
    /// Gives replay time: none, or until it has applied all that it may apply (what is held back, or
    /// locked, stays).
    pub async fn moment(&self, rng: &mut Rng) {
        if rng.bool() {
            return;
        }
        let end = Instant::now() + Duration::from_millis(60);
        while self.backlog.rows() > 0 && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}
