//! A table with writers on it whose acknowledged writes are known, and a stand-in for replay that knows
//! nothing of windows: it copies the whole, small table under the lock, and reads the binlog's list of
//! events to tell what came after a marker.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use changeling::cutover::{
    Attempt, CutOverPlan, LastChanges, Ownership, Protocol, Readiness, Swap, Swapped, ownership,
    run,
};
use changeling::failure::{ErrorClass, Failure, Result};
use changeling::mysql::{ConnectOptions, Facts, Purpose, Server, Session, quote};
use changeling::names::{Names, TableName};
use changeling::progress::Progress;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::{Client, TestDb, TestServer};

/// Rows that each writer starts with.
const ROWS_EACH: u32 = 20;
/// Ids of one writer: `writer * RANGE ..`.
const RANGE: u32 = 1000;

/// Replay's stand-in.
pub struct WholeTable {
    db: String,
    session: Mutex<Session>,
    /// Binlog file and position of the last marker.
    marked: Mutex<(String, u64)>,
    /// Times it was suspended minus times it was resumed: at most one at the end.
    pub suspended: AtomicU32,
    /// So often what was committed has not been received in time.
    pub late: AtomicU32,
    /// Rows that wait to be applied, as replay would tell.
    pub waiting: Arc<AtomicU64>,
    /// Called at the beginning of each part, with its name: tests interfere here.
    pub interfere: Interfere,
}

pub type Interfere =
    Box<dyn Fn(&'static str) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

impl WholeTable {
    async fn position(session: &mut Session, facts: &Facts) -> Result<(String, u64)> {
        let row = session.query::<mysql_async::Row>(facts.binary_log_status());
        let row = row.await?.remove(0);
        Ok((row.get(0).unwrap(), row.get(1).unwrap()))
    }
}

impl LastChanges for WholeTable {
    async fn receive_all(&self, _deadline: Instant) -> Result<()> {
        let less = |late: u32| late.checked_sub(1);
        match self
            .late
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
        {
            // Too late, or somebody has killed the marker's statement.
            Ok(late) if late % 2 == 0 => {
                Err(Failure::from_server(ErrorClass::Killed, None, "killed"))
            }
            Ok(_) => Err(Failure::from_server(ErrorClass::Transient, None, "late")),
            Err(_) => Ok(()),
        }
    }

    async fn quiesce(&self) -> Result<()> {
        self.suspended.fetch_add(1, Ordering::SeqCst);
        (self.interfere)("quiesce").await;
        Ok(())
    }

    async fn marker(&self, _deadline: Instant) -> Result<()> {
        (self.interfere)("marker").await;
        let mut session = self.session.lock().await;
        let facts = session.server().facts().clone();
        session
            .execute(&format!("REPLACE INTO `{}`._t_ghc VALUES (1)", self.db))
            .await?;
        *self.marked.lock().await = WholeTable::position(&mut session, &facts).await?;
        Ok(())
    }

    async fn arrived_since_marker(&self, _deadline: Instant) -> Result<u64> {
        (self.interfere)("arrived").await;
        let mut session = self.session.lock().await;
        let (file, position) = self.marked.lock().await.clone();
        let events: Vec<mysql_async::Row> = session
            .query(&format!("SHOW BINLOG EVENTS IN '{file}' FROM {position}"))
            .await?;
        Ok(row_events(&events, &format!("({}.t)", self.db)))
    }

    async fn apply_rest(&self, session: &mut Session, ghost: &TableName) -> Result<u64> {
        (self.interfere)("rest").await;
        let (ghost, db) = (quote::table(ghost), &self.db);
        let delete = format!("DELETE FROM {ghost} WHERE id NOT IN (SELECT id FROM `{db}`.t)");
        session.execute(&delete).await?;
        let copy = format!("REPLACE INTO {ghost} (id, v) SELECT id, v FROM `{db}`.t");
        Ok(session.execute(&copy).await?.affected)
    }

    async fn check_last(&self, session: &mut Session, ghost: &TableName) -> Result<()> {
        (self.interfere)("check").await;
        let sum =
            |table: &str| format!("SELECT COUNT(*), SUM(CRC32(CONCAT(id, '-', v))) FROM {table}");
        let old: (u64, Option<String>) = session.one(&sum(&format!("`{}`.t", self.db))).await?;
        let new: (u64, Option<String>) = session.one(&sum(&quote::table(ghost))).await?;
        if old != new {
            return Err(Failure::failed(format!("{old:?} is not {new:?}")));
        }
        Ok(())
    }

    fn resume(&self) {
        self.suspended.fetch_sub(1, Ordering::SeqCst);
    }

    fn readiness(&self) -> Readiness {
        Readiness {
            lag: Some(Duration::ZERO),
            backlog_rows: self.waiting.load(Ordering::SeqCst),
            ..Readiness::default()
        }
    }

    fn own_sessions(&self) -> Vec<u32> {
        Vec::new()
    }
}

/// How many rows events of a table there are in a list of binlog events, a TRUNCATE counted with them.
/// A map of the table alone is none: a session under LOCK TABLES writes it with whatever it changes.
fn row_events(events: &[mysql_async::Row], table: &str) -> u64 {
    let (mut id, mut count) = (String::new(), 0);
    for event in events {
        let text = |column: usize| {
            let bytes: Vec<u8> = event.get(column).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let (kind, info) = (text(2), text(5));
        if kind == "Table_map" && info.ends_with(table) {
            id = info[..info.len() - table.len()].to_string();
        } else {
            let rows = kind.contains("rows") && !id.is_empty() && info.starts_with(&id);
            let truncate = kind == "Query" && info.contains("TRUNCATE");
            count += u64::from(rows || truncate);
        }
    }
    count
}

/// The table, its writers, and the plan to swap it.
pub struct Field {
    pub db: Arc<TestDb>,
    pub plan: CutOverPlan,
    pub changes: WholeTable,
    pub hold: watch::Sender<bool>,
    pub progress: Progress,
    pub cancel: CancellationToken,
    generation: AtomicU32,
    stop: Arc<AtomicBool>,
    writers: Vec<JoinHandle<BTreeMap<u32, u32>>>,
    probe: Option<JoinHandle<Vec<Duration>>>,
}

impl Field {
    /// A table `t` of its own, with this many writers at full speed.
    pub async fn start(db: TestDb, protocol: Protocol, writers: u32) -> Field {
        let options = db.server.options();
        Field::start_as(db, options, protocol, writers).await
    }

    /// The same; the cut-over connects by `options`.
    pub async fn start_as(
        db: TestDb,
        options: ConnectOptions,
        protocol: Protocol,
        writers: u32,
    ) -> Field {
        db.sql("CREATE TABLE t (id INT NOT NULL PRIMARY KEY, v INT NOT NULL)")
            .await;
        db.sql("CREATE TABLE _t_ghc (id INT NOT NULL PRIMARY KEY)")
            .await;
        db.sql("INSERT INTO t VALUES (0, 0)").await;
        let replay = Server::connect(db.server.options()).await.unwrap();
        let server = Server::connect(options).await.unwrap();
        let mut replay = replay.session(Purpose::Monitor).await.unwrap();
        // The marker does not heed its deadline, but gives up some time.
        replay
            .execute("SET SESSION lock_wait_timeout = 20")
            .await
            .unwrap();
        let names = Names::new(&TableName::new(db.name.as_str(), "t"), None, None);
        let mut plan = CutOverPlan::new(server, names);
        plan.protocol = protocol;
        plan.calm_for = Duration::ZERO;
        plan.deadline = Some(Duration::from_secs(120));
        let changes = WholeTable {
            db: db.name.clone(),
            session: Mutex::new(replay),
            marked: Mutex::default(),
            suspended: AtomicU32::new(0),
            late: AtomicU32::new(0),
            waiting: Arc::default(),
            interfere: Box::new(|_| Box::pin(async {})),
        };
        let mut field = Field {
            db: Arc::new(db),
            plan,
            changes,
            hold: watch::Sender::new(false),
            progress: Progress::default(),
            cancel: CancellationToken::new(),
            generation: AtomicU32::new(0),
            stop: Arc::default(),
            writers: Vec::new(),
            probe: None,
        };
        field.ghost().await;
        for number in 1..=writers {
            let client = field.db.connect().await;
            let stop = field.stop.clone();
            field
                .writers
                .push(tokio::spawn(write(client, number * RANGE, stop)));
        }
        let client = field.db.connect().await;
        field.probe = Some(tokio::spawn(probe(client, field.stop.clone())));
        field
    }

    /// A ghost that is told from the original by a column of its own. The old table of the last swap is
    /// put aside: to drop it would make writers wait for longer than the swaps do.
    pub async fn ghost(&self) {
        let generation = self.generation.fetch_add(1, Ordering::SeqCst) + 1;
        self.changes.suspended.store(0, Ordering::SeqCst);
        if generation > 1 {
            let aside = format!("RENAME TABLE _t_del TO aside_{generation}");
            self.db.sql(aside).await;
        }
        self.db
            .sql(format!(
                "CREATE TABLE _t_gho (id INT NOT NULL PRIMARY KEY, v BIGINT NOT NULL, \
                 g{generation} INT NOT NULL DEFAULT 7, KEY (v))"
            ))
            .await;
    }

    /// Runs the cut-over; returns its end and all attempts.
    pub async fn cut_over(&self) -> (Result<Swap>, Vec<Attempt>) {
        let attempts = std::sync::Mutex::new(Vec::new());
        let tell = |attempt: &Attempt| {
            println!("   {attempt}; stall {:?}", attempt.stall);
            attempts.lock().unwrap().push(attempt.clone());
        };
        let end = may_be_spawned(run(
            &self.plan,
            &self.changes,
            self.hold.subscribe(),
            &self.progress,
            &tell,
            &self.cancel,
        ))
        .await;
        let attempts = std::mem::take(&mut *attempts.lock().unwrap());
        (end, attempts)
    }

    /// Ends the writers and compares the surviving table with what they know. Returns what the probe saw.
    pub async fn assert_nothing_lost(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let mut expected = BTreeMap::new();
        for writer in self.writers.drain(..) {
            expected.extend(writer.await.expect("a writer"));
        }
        if let Some(probe) = self.probe.take() {
            probe.await.expect("the probe");
        }
        let rows: Vec<(u32, u32)> = self.db.rows("SELECT id, v FROM t WHERE id > 0").await;
        let found: BTreeMap<u32, u32> = rows.into_iter().collect();
        let lost: Vec<_> = expected
            .iter()
            .filter(|(id, v)| found.get(id) != Some(v))
            .map(|(id, v)| (id, v, found.get(id)))
            .collect();
        assert!(lost.is_empty(), "acknowledged, but not there: {lost:?}");
        assert_eq!(found, expected);
    }

    /// Ends the probe and returns how long each of its updates took.
    pub async fn end_probe(&mut self) -> Vec<Duration> {
        self.stop.store(true, Ordering::SeqCst);
        self.probe
            .take()
            .expect("a probe")
            .await
            .expect("the probe")
    }

    /// The catalogue, the tables and the columns all say the same, and nothing else is left; replay goes
    /// on if the original is the table.
    pub async fn assert_whole(&self, expected: Ownership) {
        let (server, names) = (&self.plan.server, &self.plan.names);
        assert_eq!(ownership(server, names).await.unwrap(), expected);
        let (tables, altered) = match expected {
            Ownership::Original => (["_t_ghc", "_t_gho", "t"], false),
            Ownership::Swapped => (["_t_del", "_t_ghc", "t"], true),
            Ownership::Unknown(seen) => panic!("{seen}"),
        };
        self.assert_tables(&tables).await;
        let column = format!("`g{}`", self.generation.load(Ordering::SeqCst));
        assert_eq!(self.db.show_create("t").await.contains(&column), altered);
        if tables.contains(&"_t_gho") {
            assert_eq!(self.changes.suspended.load(Ordering::SeqCst), 0);
        }
    }

    /// Of the original and what belongs to it, only these tables are there.
    pub async fn assert_tables(&self, expected: &[&str]) {
        let mut tables = self.db.tables().await;
        tables.retain(|table| table.starts_with('t') || table.starts_with("_t_"));
        tables.sort();
        assert_eq!(tables, expected);
    }
}

/// The workflow gives it to a task.
fn may_be_spawned<F: Future + Send>(future: F) -> F {
    future
}

/// The protocol for this server.
pub fn protocol_of(server: &TestServer) -> Protocol {
    if server.is_mariadb() {
        Protocol::Sentry
    } else {
        Protocol::LockAndRename
    }
}

/// The end of a successful cut-over.
pub fn swapped(end: Result<Swap>) -> Swapped {
    match end {
        Ok(Swap::Swapped(swapped)) => swapped,
        other => panic!("not swapped: {other:?}"),
    }
}

/// Inserts, updates and deletes rows of its own at full speed; returns what the table must have of them.
async fn write(client: Client, first: u32, stop: Arc<AtomicBool>) -> BTreeMap<u32, u32> {
    let mut rows = BTreeMap::new();
    let mut rng = fastrand::Rng::with_seed(u64::from(first));
    let mut n = 0;
    while !stop.load(Ordering::SeqCst) {
        n += 1;
        let id = first + rng.u32(0..ROWS_EACH);
        let statement = match rows.contains_key(&id) {
            false => format!("INSERT INTO t (id, v) VALUES ({id}, {n})"),
            true if rng.u32(0..4) == 0 => format!("DELETE FROM t WHERE id = {id}"),
            true => format!("UPDATE t SET v = {n} WHERE id = {id}"),
        };
        acknowledged(&client, &statement).await;
        if statement.starts_with("DELETE") {
            rows.remove(&id);
        } else {
            rows.insert(id, n);
        }
    }
    rows
}

/// Runs a statement until it is acknowledged; only deadlocks and lock timeouts are tried again, and it
/// must change exactly one row.
async fn acknowledged(client: &Client, sql: &str) {
    loop {
        match client.try_sql(sql).await {
            Ok(affected) => {
                assert_eq!(affected, 1, "{sql}");
                return;
            }
            Err(mysql_async::Error::Server(error)) if matches!(error.code, 1205 | 1213) => {}
            Err(error) => panic!("{error}\nin: {sql}"),
        }
    }
}

/// Updates one row every five milliseconds; how long each took.
async fn probe(client: Client, stop: Arc<AtomicBool>) -> Vec<Duration> {
    let mut beats = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let since = Instant::now();
        acknowledged(&client, "UPDATE t SET v = v + 1 WHERE id = 0").await;
        beats.push(since.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    beats
}
