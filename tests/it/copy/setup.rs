//! Original and ghost of a test, and a copy between them.

use std::sync::Arc;

use changeling::chunk::LowWatermark;
use changeling::copy::{self, CopyMode, CopyPlan, CopyReport, choose_mode};
use changeling::failure::Result;
use changeling::interlock::Interlock;
use changeling::mysql::{ConnectOptions, Purpose, Server, Session, SslMode};
use changeling::names::TableName;
use changeling::pace::Pace;
use changeling::progress::Progress;
use changeling::schema::{self, ColumnMap, ColumnMoves, MigrationKey, TableDefinition};
use changeling::settings::CopySetting;
use changeling::tunables::Tunables;
use changeling::walk::Controls;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::support::TestDb;

/// The original `t` and its ghost `_t_gho`.
#[derive(Clone)]
pub struct Tables {
    pub server: Server,
    pub original: Arc<TableDefinition>,
    pub ghost: Arc<TableDefinition>,
    pub map: Arc<ColumnMap>,
    pub key: Arc<MigrationKey>,
}

impl Tables {
    /// Takes `t` of the database, makes `_t_gho` like it and alters that.
    pub async fn new(db: &TestDb, alter: &str) -> Tables {
        Tables::renaming(db, alter, &[]).await
    }

    pub async fn renaming(db: &TestDb, alter: &str, renamed: &[(&str, &str)]) -> Tables {
        db.sql("CREATE TABLE _t_gho LIKE t").await;
        if !alter.is_empty() {
            db.sql(format!("ALTER TABLE _t_gho {alter}")).await;
        }
        Tables::with_ghost(db, renamed).await
    }

    /// Takes `t` and `_t_gho` of the database.
    pub async fn with_ghost(db: &TestDb, renamed: &[(&str, &str)]) -> Tables {
        // Hundreds of connections are opened by these tests: encryption would take most of their time.
        let options = ConnectOptions {
            ssl_mode: SslMode::Disabled,
            ..db.server.options()
        };
        let server = Server::connect(options).await.unwrap();
        let mut session = server.session(Purpose::Monitor).await.unwrap();
        let original = load(&mut session, &db.name, "t").await;
        let ghost = load(&mut session, &db.name, "_t_gho").await;
        session.close().await;
        let dropped = original
            .columns
            .iter()
            .map(|column| column.name.clone())
            .filter(|name| {
                ghost.column(name).is_none() && !renamed.iter().any(|(old, _)| old == name)
            })
            .collect();
        let renamed = renamed
            .iter()
            .map(|(old, new)| (old.to_string(), new.to_string()))
            .collect();
        let map = ColumnMap::build(
            &original,
            &ghost,
            &ColumnMoves {
                renamed,
                dropped,
                ..ColumnMoves::default()
            },
        )
        .unwrap();
        let key = MigrationKey::choose(&original, &ghost, &map).unwrap();
        Tables {
            server,
            original: Arc::new(original),
            ghost: Arc::new(ghost),
            map: Arc::new(map),
            key: Arc::new(key),
        }
    }

    /// A plan with the mode that the program would choose.
    pub fn plan(&self) -> CopyPlan {
        let (mode, _) = choose_mode(self.server.facts(), &self.key, CopySetting::Auto).unwrap();
        self.plan_in(mode)
    }

    pub fn plan_in(&self, mode: CopyMode) -> CopyPlan {
        CopyPlan {
            splits_max: None,
            server: self.server.clone(),
            original: self.original.clone(),
            ghost: self.ghost.clone(),
            map: self.map.clone(),
            key: self.key.clone(),
            mode,
            from: None,
            sample: None,
            compress: true,
            trail: Arc::default(),
        }
    }

    pub fn interlock(&self) -> Arc<Interlock> {
        Arc::new(Interlock::new(self.key.descending()))
    }

    /// Copies with `chunk_rows` rows a chunk.
    pub async fn copy(&self, chunk_rows: u64) -> Result<CopyReport> {
        copy_with(self.plan(), self.interlock(), chunk_rows).await
    }
}

/// Copies undisturbed, with three workers.
pub async fn copy_with(
    plan: CopyPlan,
    interlock: Arc<Interlock>,
    chunk_rows: u64,
) -> Result<CopyReport> {
    let steering = Steering::new(chunk_rows);
    let (watermark, _) = watch::channel(LowWatermark::default());
    copy::run(
        plan,
        interlock,
        steering.controls(),
        Arc::new(Progress::default()),
        watermark,
    )
    .await
}

/// The sending ends of a walk's controls.
pub struct Steering {
    pub pace: watch::Sender<Pace>,
    pub tunables: watch::Sender<Tunables>,
    pub cancel: CancellationToken,
}

impl Steering {
    pub fn new(chunk_rows: u64) -> Steering {
        Steering {
            pace: watch::channel(Pace::default()).0,
            tunables: watch::channel(Tunables {
                chunk_rows_fixed: Some(chunk_rows),
                copy_workers: 3,
                ..Tunables::default()
            })
            .0,
            cancel: CancellationToken::new(),
        }
    }

    pub fn controls(&self) -> Controls {
        Controls {
            pace: self.pace.subscribe(),
            tunables: self.tunables.subscribe(),
            cancel: self.cancel.clone(),
        }
    }
}

async fn load(session: &mut Session, schema: &str, table: &str) -> TableDefinition {
    schema::load(session, &TableName::new(schema, table))
        .await
        .unwrap()
        .unwrap()
}
