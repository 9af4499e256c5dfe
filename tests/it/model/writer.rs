//! A writer: transactions on its own rows, whose state it knows whatever happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fastrand::Rng;
use mysql_async::Error;
use tokio::time::Instant;

use super::cases::Case;
use super::families::Kind;
use super::rows::{Changes, Rows, Shape};
use super::statements::Statements;
use crate::support::{Client, TestServer};

/// What a writer shares with the test that runs it.
pub struct Traffic {
    pub server: &'static TestServer,
    pub database: String,
    pub case: Case,
    pub shape: Shape,
    /// Names of the table's columns after the ALTER.
    pub new_columns: Vec<String>,
    /// Transactions acknowledged, of all writers.
    pub commits: AtomicU64,
    pub stop: AtomicBool,
}

/// How a transaction ended that was not committed.
enum Ended {
    /// Rolled back, by us or by the server for a reason that the application repeats for.
    RolledBack,
    /// The connection is gone, and with it the knowledge whether the commit took place.
    Lost,
}

/// The statement that waited longest, for the report.
#[derive(Default, Clone, Debug)]
pub struct Longest {
    pub time: Duration,
    pub sql: String,
}

pub struct Writer {
    traffic: Arc<Traffic>,
    client: Client,
    pub known: Rows,
    rng: Rng,
    /// The number of the transaction in the ledger.
    turn: u64,
    pub longest: Longest,
}

impl Writer {
    pub async fn new(traffic: Arc<Traffic>, known: Rows, rng: Rng) -> Writer {
        Writer {
            client: connect(&traffic).await,
            traffic,
            known,
            rng,
            turn: 0,
            longest: Longest::default(),
        }
    }

    /// Writes until told to stop.
    pub async fn run(mut self) -> Writer {
        while !self.traffic.stop.load(Ordering::Relaxed) {
            let blind = !self.traffic.case.writers_must_look() && self.rng.u8(..3) == 0;
            let done = if blind {
                self.single_statement().await
            } else {
                self.transaction().await
            };
            if done {
                self.traffic.commits.fetch_add(1, Ordering::Relaxed);
            }
            tokio::time::sleep(Duration::from_millis(self.rng.u64(1..8))).await;
        }
        self
    }

    /// One statement that commits by itself.
    async fn single_statement(&mut self) -> bool {
        let traffic = Arc::clone(&self.traffic);
        let statements = Statements::new(&traffic, false);
        let mut changes = Changes::default();
        let plan = statements.plan_one(&mut self.known, &mut changes, &mut self.rng);
        for sql in plan {
            match self.execute(&sql).await {
                Ok(()) => {}
                Err(error) if is_to_repeat(&error) => return false,
                Err(error) => panic!("writer {}: {error}\nin: {sql}", self.known.writer),
            }
        }
        changes.commit(&mut self.known);
        true
    }

    /// A transaction with a line in the ledger; true if it was committed.
    async fn transaction(&mut self) -> bool {
        self.turn += 1;
        let mut changes = Changes::default();
        let killer = self.maybe_killed().await;
        let ended = self.attempt(&mut changes).await;
        let killed = match killer {
            Some(killer) => {
                killer.await.expect("the killer does not panic");
                true
            }
            None => false,
        };
        let committed = match ended {
            Ok(()) => true,
            Err(Ended::RolledBack) => false,
            Err(Ended::Lost) => {
                assert!(
                    killed,
                    "writer {} lost its connection though nobody was asked to kill it",
                    self.known.writer
                );
                self.client = connect(&self.traffic).await;
                self.ledger_has_turn().await
            }
        };
        if committed {
            changes.commit(&mut self.known);
        }
        if killed {
            // The kill may have come after the end of the transaction: a new session either way.
            self.client = connect(&self.traffic).await;
        }
        committed
    }

    async fn attempt(&mut self, changes: &mut Changes) -> Result<(), Ended> {
        let level = ["READ COMMITTED", "REPEATABLE READ"][self.rng.usize(..2)];
        self.step(&format!("SET TRANSACTION ISOLATION LEVEL {level}"))
            .await?;
        self.step("START TRANSACTION").await?;
        let traffic = Arc::clone(&self.traffic);
        let statements = Statements::new(&traffic, self.is_altered().await?);
        let is_long = self.rng.u8(..100) == 0;
        for _ in 0..self.rng.usize(1..5) {
            self.operation(&statements, changes).await?;
            if is_long {
                tokio::time::sleep(Duration::from_millis(self.rng.u64(100..400))).await;
            }
        }
        if self.rng.u8(..50) == 0 {
            self.count_rows(changes).await?;
        }
        let (turn, writer) = (self.turn, self.known.writer);
        self.step(&format!(
            "UPDATE ledger SET turn = {turn} WHERE w = {writer}"
        ))
        .await?;
        if self.rng.u8(..10) == 0 {
            self.step("ROLLBACK").await?;
            return Err(Ended::RolledBack);
        }
        self.step("COMMIT").await
    }

    /// One operation, or one taken back by a savepoint.
    async fn operation(
        &mut self,
        statements: &Statements<'_>,
        changes: &mut Changes,
    ) -> Result<(), Ended> {
        let taken_back = (self.rng.u8(..12) == 0).then(|| changes.clone());
        if taken_back.is_some() {
            self.step("SAVEPOINT here").await?;
        }
        for sql in statements.plan(&mut self.known, changes, &mut self.rng) {
            self.step(&sql).await?;
        }
        if let Some(before) = taken_back {
            self.step("ROLLBACK TO SAVEPOINT here").await?;
            *changes = before;
        }
        Ok(())
    }

    /// Which definition this transaction sees. The look takes the table's metadata lock, so that it stays
    /// the same up to the end of the transaction.
    async fn is_altered(&mut self) -> Result<bool, Ended> {
        let columns = match self.client.columns("SELECT * FROM t LIMIT 0").await {
            Ok(columns) => columns,
            Err(error) => return Err(self.ended(error, "SELECT * FROM t LIMIT 0").await),
        };
        Ok(columns == self.traffic.new_columns)
    }

    /// The writer sees as many rows as it has written.
    async fn count_rows(&mut self, changes: &Changes) -> Result<(), Ended> {
        let sql = format!("SELECT COUNT(*) FROM t WHERE w = {}", self.known.writer);
        let counted: Vec<u64> = match self.client.try_rows(&sql).await {
            Ok(counted) => counted,
            Err(error) => return Err(self.ended(error, &sql).await),
        };
        let expected = changes.slots(&self.known).len() as u64;
        assert_eq!(
            counted,
            [expected],
            "rows that writer {} sees",
            self.known.writer
        );
        Ok(())
    }

    async fn step(&mut self, sql: &str) -> Result<(), Ended> {
        match self.execute(sql).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.ended(error, sql).await),
        }
    }

    async fn execute(&mut self, sql: &str) -> mysql_async::Result<()> {
        let start = Instant::now();
        let result = self.client.try_sql(sql).await;
        if start.elapsed() > self.longest.time {
            self.longest = Longest {
                time: start.elapsed(),
                sql: sql.chars().take(200).collect(),
            };
        }
        result.map(drop)
    }

    async fn ended(&mut self, error: Error, sql: &str) -> Ended {
        if is_lost(&error) {
            return Ended::Lost;
        }
        assert!(
            is_to_repeat(&error),
            "writer {}: {error}\nin: {sql}",
            self.known.writer
        );
        match self.client.try_sql("ROLLBACK").await {
            Ok(_) => Ended::RolledBack,
            Err(_) => Ended::Lost,
        }
    }

    /// Whether the transaction of this turn was committed. The lock waits for the session that was killed,
    /// which may be committing still.
    async fn ledger_has_turn(&self) -> bool {
        let sql = format!(
            "SELECT turn FROM ledger WHERE w = {} FOR UPDATE",
            self.known.writer
        );
        self.client.one::<u64>(sql).await == self.turn
    }

    /// Now and then has its own connection killed at some moment of the transaction.
    async fn maybe_killed(&mut self) -> Option<tokio::task::JoinHandle<()>> {
        if self.rng.u8(..60) != 0 {
            return None;
        }
        let (server, id) = (self.traffic.server, self.client.id().await);
        let delay = Duration::from_micros(self.rng.u64(..20_000));
        Some(tokio::spawn(async move {
            let client = server.connect().await;
            tokio::time::sleep(delay).await;
            client.sql(format!("KILL {id}")).await;
            client.close().await;
        }))
    }
}

async fn connect(traffic: &Traffic) -> Client {
    let client = Client::connect(traffic.server, Some(&traffic.database)).await;
    for sql in [
        "SET SESSION time_zone = '+00:00'",
        "SET SESSION innodb_lock_wait_timeout = 20",
        "SET SESSION lock_wait_timeout = 60",
    ] {
        client.sql(sql).await;
    }
    client
}

/// Errors after which an application starts its transaction anew: deadlock, lock wait timeout, a
/// snapshot older than the table's definition.
fn is_to_repeat(error: &Error) -> bool {
    matches!(error, Error::Server(server) if [1205, 1213, 1412].contains(&server.code))
}

fn is_lost(error: &Error) -> bool {
    match error {
        Error::Io(_) | Error::Driver(_) => true,
        // Interrupted (the first thing that a killed statement says), connection killed.
        Error::Server(server) => [1053, 1317, 1927, 4031].contains(&server.code),
        _ => false,
    }
}

/// Rows of all writers together.
pub fn all_rows(writers: &[Writer]) -> Vec<&super::rows::Row> {
    writers
        .iter()
        .flat_map(|writer| writer.known.rows.values())
        .collect()
}

/// Asserts what the model itself rests on: no two rows share a unique value.
pub fn assert_unique(shape: &Shape, writers: &[Writer]) {
    for kind in [Kind::Unique, Kind::MaybeUnique] {
        let at = shape.at(kind);
        let mut values: Vec<&String> = all_rows(writers).into_iter().map(|row| &row[at]).collect();
        values.retain(|value| *value != "NULL");
        let count = values.len();
        values.sort();
        values.dedup();
        assert_eq!(
            values.len(),
            count,
            "the model gave a value of {kind:?} twice"
        );
    }
}
