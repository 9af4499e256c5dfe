//! One case from its table to the comparison.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fastrand::Rng;

use super::cases::Case;
use super::rows::{Rows, Shape, WRITERS};
use super::writer::{Traffic, Writer, all_rows, assert_unique};
use crate::support::{Program, TestDb, TestServer, compare_tables, eventually};

/// Rows in one INSERT.
const BATCH: usize = 200;
/// What the writers commit at least before the program starts and after it has ended.
const COMMITS_ASIDE: u64 = 60;

/// A table with writers on it, and its twin in another database: the same table before the ALTER, to be
/// altered by the server itself.
pub struct Field {
    pub db: TestDb,
    twin: TestDb,
    pub traffic: Arc<Traffic>,
    tasks: Vec<tokio::task::JoinHandle<Writer>>,
}

impl Field {
    /// The table with its rows, and the writers at work.
    pub async fn start(server: &'static TestServer, case: Case) -> Field {
        let db = TestDb::create(server, "model").await;
        let twin = TestDb::create(server, "twin").await;
        for db in [&db, &twin] {
            db.sql("SET SESSION time_zone = '+00:00'").await;
            db.sql(case.create()).await;
        }
        db.sql("CREATE TABLE ledger (w INT PRIMARY KEY, turn BIGINT NOT NULL)")
            .await;
        let new_columns = new_columns(&twin, &case).await;
        let shape = Shape::of(&case);
        let mut rng = Rng::with_seed(case.seed);
        let mut known = Vec::new();
        for writer in 0..WRITERS {
            db.sql(format!("INSERT INTO ledger VALUES ({writer}, 0)"))
                .await;
            known.push(Rows::initial(&shape, writer, &mut rng));
        }
        load(
            &db,
            &shape,
            known.iter().flat_map(|known| known.rows.values()),
        )
        .await;
        let traffic = Arc::new(Traffic {
            server,
            database: db.name.clone(),
            case,
            shape,
            new_columns,
            commits: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let mut tasks = Vec::new();
        for known in known {
            let writer = Writer::new(Arc::clone(&traffic), known, rng.fork()).await;
            tasks.push(tokio::spawn(writer.run()));
        }
        let field = Field {
            db,
            twin,
            traffic,
            tasks,
        };
        field.commits_pass().await;
        field
    }

    /// The command that alters the table.
    pub fn program(&self) -> Program {
        let case = &self.traffic.case;
        let arguments = [
            format!("--database={}", self.db.name),
            "--table=t".to_string(),
            format!("--alter={}", case.clauses()),
        ];
        Program::on(self.db.server, "migrate", arguments).args(&case.options)
    }

    /// Waits until writers have committed some more.
    ///
    /// Returns also when one of them has failed; [`Field::stop`] tells.
    ///
    /// # Panics
    /// If none commits.
    pub async fn commits_pass(&self) {
        let goal = self.traffic.commits.load(Ordering::Relaxed) + COMMITS_ASIDE;
        eventually(Duration::from_secs(60), "writers commit", async || {
            let ended = self.tasks.iter().any(tokio::task::JoinHandle::is_finished);
            let now = self.traffic.commits.load(Ordering::Relaxed);
            (ended || now >= goal).then_some(())
        })
        .await;
    }

    /// Alters the table by the server itself; by copying, since its online way takes values that are
    /// exchanged under a unique key for duplicates.
    pub async fn alter_natively(&self) {
        self.db.sql("SET SESSION old_alter_table = 1").await;
        let clauses = self.traffic.case.clauses();
        self.db.sql(format!("ALTER TABLE t {clauses}")).await;
    }

    /// Whether the table has the new definition.
    pub async fn is_altered(&self) -> bool {
        self.db.show_create("t").await == self.twin.show_create("t").await
    }

    /// Lets the writers write some more, and ends them.
    pub async fn stop(self) -> Ended {
        self.commits_pass().await;
        self.traffic.stop.store(true, Ordering::Relaxed);
        let mut writers = Vec::new();
        for task in self.tasks {
            match task.await {
                Ok(writer) => writers.push(writer),
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
        Ended {
            db: self.db,
            twin: self.twin,
            traffic: self.traffic,
            writers,
        }
    }
}

/// A field whose writers have ended.
pub struct Ended {
    pub db: TestDb,
    twin: TestDb,
    traffic: Arc<Traffic>,
    writers: Vec<Writer>,
}

impl Ended {
    /// What is not as it should be, by the server's comparison: the definition with the twin's, the rows
    /// with those that the writers know, put into the old definition and altered by the server.
    pub async fn differences(&self) -> Vec<String> {
        assert_unique(&self.traffic.shape, &self.writers);
        let case = &self.traffic.case;
        let (altered, native) = (
            self.db.show_create("t").await,
            self.twin.show_create("t").await,
        );
        if altered != native {
            return vec![format!(
                "the definition is\n{altered}\nand should be\n{native}"
            )];
        }
        self.twin.sql("DROP TABLE t").await;
        self.twin.sql(case.create()).await;
        load(
            &self.twin,
            &self.traffic.shape,
            all_rows(&self.writers).into_iter(),
        )
        .await;
        self.twin
            .sql(format!("ALTER TABLE t {}", case.clauses()))
            .await;
        compare_tables(self.db.server, (&self.db.name, "t"), (&self.twin.name, "t")).await
    }

    /// Asserts that there is no difference.
    ///
    /// # Panics
    /// If there is one.
    pub async fn assert_exact(self) {
        let differences = self.differences().await;
        assert!(
            differences.is_empty(),
            "the table in {} and the model, as altered by the server in {}, differ:\n{}",
            self.db.name,
            self.twin.name,
            differences.join("\n")
        );
        let longest = self
            .writers
            .iter()
            .map(|writer| &writer.longest)
            .max_by_key(|l| l.time);
        let commits = self.traffic.commits.load(Ordering::Relaxed);
        if let Some(longest) = longest {
            println!(
                "   {commits} transactions; the longest statement took {} ms: {}",
                longest.time.as_millis(),
                longest.sql
            );
        }
    }
}

/// Alters the twin, and gives the names of its columns then.
async fn new_columns(twin: &TestDb, case: &Case) -> Vec<String> {
    let client = twin.connect().await;
    let columns = async || {
        client
            .columns("SELECT * FROM t LIMIT 0")
            .await
            .expect("columns")
    };
    let before = columns().await;
    twin.sql(format!("ALTER TABLE t {}", case.clauses())).await;
    let after = columns().await;
    assert!(
        !case.writers_must_look() || before != after,
        "writers cannot tell the definitions apart: {before:?}"
    );
    client.close().await;
    after
}

/// Inserts rows under the original definition.
async fn load<'a>(db: &TestDb, shape: &Shape, rows: impl Iterator<Item = &'a Vec<String>>) {
    let names: Vec<&str> = shape
        .columns
        .iter()
        .map(|column| column.0.as_str())
        .collect();
    let rows: Vec<String> = rows.map(|row| format!("({})", row.join(", "))).collect();
    for batch in rows.chunks(BATCH) {
        let sql = format!(
            "INSERT INTO t ({}) VALUES {}",
            names.join(", "),
            batch.join(", ")
        );
        db.sql(sql).await;
    }
}
