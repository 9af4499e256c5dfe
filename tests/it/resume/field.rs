//! A table with a writer on it that bears every outage. Each of its transactions changes a second table in
//! the same way: whatever was committed, and whoever knows it, both tables have the same rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::support::wait::PATIENCE;
use crate::support::{Client, Program, TestDb, TestServer, compare_tables, eventually};

/// Rows at the beginning.
const ROWS: u32 = 3000;
/// Ids that the writer uses.
const IDS: u32 = 4500;

/// The ALTER of these tests.
pub const ALTER: &str =
    "ADD COLUMN added INT NOT NULL DEFAULT 7, MODIFY a BIGINT NOT NULL, ADD KEY by_b (b)";

pub struct Field {
    pub db: TestDb,
    commits: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    writes_to: watch::Sender<&'static TestServer>,
    writer: JoinHandle<()>,
}

impl Field {
    pub async fn start(server: &'static TestServer) -> Field {
        println!("-- on {}", server.name);
        let db = TestDb::create(server, "resume").await;
        for table in ["t", "shadow"] {
            db.sql(format!(
                "CREATE TABLE {table} (id INT NOT NULL, a INT NOT NULL, b VARCHAR(40), u INT NOT NULL, \
                 PRIMARY KEY (id), UNIQUE KEY by_u (u), KEY by_a (a))"
            ))
            .await;
        }
        let rows: Vec<String> = (0..ROWS)
            .map(|id| format!("({id}, {}, 'row {id}', {id})", id % 97))
            .collect();
        for table in ["t", "shadow"] {
            db.sql(format!("INSERT INTO {table} VALUES {}", rows.join(", ")))
                .await;
        }
        let commits = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let writes_to = watch::Sender::new(server);
        let writer = tokio::spawn(write(
            db.name.clone(),
            writes_to.subscribe(),
            commits.clone(),
            stop.clone(),
        ));
        let field = Field {
            db,
            commits,
            stop,
            writes_to,
            writer,
        };
        field.commits_pass().await;
        field
    }

    /// The migration on this server, at some seconds for the copy.
    pub fn program(&self, on: &TestServer) -> Program {
        let arguments = [
            format!("--database={}", self.db.name),
            "--table=t".to_string(),
            format!("--alter={ALTER}"),
        ];
        Program::on(on, "migrate", arguments)
            .args(["--chunk-size=60", "--workers=1", "--nice-ratio=4"])
            .args(["--max-lag=1h", "--checkpoint-interval=200ms"])
    }

    /// From now on the writer writes there.
    pub fn write_to(&self, server: &'static TestServer) {
        self.writes_to.send_replace(server);
    }

    /// Waits until some more was committed.
    pub async fn commits_pass(&self) {
        let goal = self.commits.load(Ordering::Relaxed) + 60;
        eventually(PATIENCE, "the writer commits", async || {
            (self.commits.load(Ordering::Relaxed) >= goal).then_some(())
        })
        .await;
    }

    /// Waits until a checkpoint is written that was begun after now.
    pub async fn checkpoints_pass(&self) {
        let written = async || -> Option<String> {
            let sql = format!(
                "SELECT CAST(last_update AS CHAR) FROM {}._t_ghk",
                self.db.name
            );
            self.db.rows(&sql).await.pop()
        };
        for _ in 0..2 {
            let before = written().await;
            eventually(PATIENCE, "a checkpoint is written", async || {
                (written().await != before).then_some(())
            })
            .await;
        }
    }

    /// Ends the writer, and compares on the server where the tables are now.
    pub async fn assert_exact(self, on: &'static TestServer) {
        self.commits_pass().await;
        self.stop.store(true, Ordering::Relaxed);
        self.writer.await.expect("the writer does not panic");
        let client = Client::connect(on, Some(&self.db.name)).await;
        client.sql(format!("ALTER TABLE shadow {ALTER}")).await;
        let differences = compare_tables(on, (&self.db.name, "t"), (&self.db.name, "shadow")).await;
        assert!(differences.is_empty(), "{}", differences.join("\n"));
        let mut tables: Vec<String> = client.rows("SHOW TABLES").await;
        tables.sort();
        assert_eq!(tables, ["_changeling_history", "_t_del", "shadow", "t"]);
        client.close().await;
    }
}

async fn write(
    database: String,
    server: watch::Receiver<&'static TestServer>,
    commits: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) {
    let mut rng = fastrand::Rng::with_seed(7);
    let mut open: Option<(Client, &'static str)> = None;
    while !stop.load(Ordering::Relaxed) {
        let to = *server.borrow();
        let client = match open.take() {
            Some((client, name)) if name == to.name => client,
            _ => match Client::try_connect(to, Some(&database)).await {
                Ok(client) => client,
                Err(_away) => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        match transaction(&client, &mut rng).await {
            Ok(()) => {
                commits.fetch_add(1, Ordering::Relaxed);
                open = Some((client, to.name));
            }
            // Whatever it was: a new connection, a new transaction.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
        tokio::time::sleep(Duration::from_millis(rng.u64(1..6))).await;
    }
}

async fn transaction(client: &Client, rng: &mut fastrand::Rng) -> mysql_async::Result<()> {
    client.try_sql("START TRANSACTION").await?;
    for _ in 0..rng.u32(1..4) {
        let (id, other, a) = (rng.u32(..IDS), rng.u32(..IDS), rng.i32(-1000..1000));
        let change = match rng.u32(..6) {
            0 => format!("DELETE FROM {{}} WHERE id = {id}"),
            1 => format!(
                "UPDATE {{}} SET a = {a} WHERE id BETWEEN {id} AND {}",
                id + 20
            ),
            // Moves a row to another key, or over it.
            2 => format!("REPLACE INTO {{}} (id, a, b, u) VALUES ({id}, {a}, NULL, {other})"),
            _ => format!("REPLACE INTO {{}} (id, a, b, u) VALUES ({id}, {a}, 'b {a}', {id})"),
        };
        for table in ["t", "shadow"] {
            client.try_sql(change.replace("{}", table)).await?;
        }
    }
    client.try_sql("COMMIT").await.map(drop)
}
