//! Random short histories of small tables whose unique values move between rows, copied meanwhile in
//! tiny chunks and replayed in tiny windows; some events arrive before their transaction has committed.
//! At the end ghost and original are equal, every time. Guards "why no row is lost".
//!
//! `CHANGELING_TEST_HISTORIES` sets how many of each kind, `CHANGELING_TEST_SEED` the first seed.

use std::collections::{BTreeMap, VecDeque};

use changeling::change::RowChange;
use changeling::chunk::Chunk;
use changeling::interlock::Interlock;
use changeling::key::Key;
use changeling::mysql::quote::write_cell;
use changeling::row::Cell;
use fastrand::Rng;

use super::rig::{Rig, after};
use crate::copy::setup::Tables;
use crate::support::{Client, TestDb, both, compare_tables};

/// What a row has besides its key, by column; the model of the original.
type Rest = Vec<Cell>;

/// A table to play with.
struct Ground {
    subject: &'static str,
    create: &'static str,
    alter: &'static str,
    keys: fn(&mut Rng) -> Cell,
    /// Two keys that the server takes for one.
    same: fn(&Cell, &Cell) -> bool,
    rest: fn(&mut Rng) -> Rest,
}

const GROUNDS: [Ground; 4] = [
    Ground {
        subject: "uniques",
        create: "CREATE TABLE t (k INT PRIMARY KEY, u INT UNIQUE, w INT, x INT, \
                 v INT, UNIQUE w_x (w, x)) ENGINE=InnoDB",
        alter: "MODIFY v BIGINT",
        keys: |rng| Cell::Int(rng.i64(0..8)),
        same: |a, b| a == b,
        rest: |rng| {
            vec![
                small_or_null(rng, 5),
                small_or_null(rng, 3),
                small_or_null(rng, 2),
                Cell::Int(rng.i64(0..1000)),
            ]
        },
    },
    Ground {
        // The same to the original; to replay, which does not know that numbers stay distinct as texts,
        // a reason to go the exact way.
        subject: "exact",
        create: "CREATE TABLE t (k INT PRIMARY KEY, u INT UNIQUE, w INT UNIQUE, v INT) ENGINE=InnoDB",
        alter: "MODIFY u VARCHAR(20)",
        keys: |rng| Cell::Int(rng.i64(0..8)),
        same: |a, b| a == b,
        rest: |rng| {
            vec![
                small_or_null(rng, 5),
                small_or_null(rng, 5),
                Cell::Int(rng.i64(0..1000)),
            ]
        },
    },
    Ground {
        subject: "text",
        create: "CREATE TABLE t (k VARCHAR(10) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci \
                 PRIMARY KEY, u VARCHAR(10) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci UNIQUE, \
                 v INT) ENGINE=InnoDB",
        alter: "MODIFY v BIGINT",
        keys: |rng| Cell::Bytes(rng.choice(WORDS).unwrap().into()),
        same: |a, b| folded(a) == folded(b),
        rest: |rng| {
            vec![
                Cell::Bytes(rng.choice(WORDS).unwrap().into()),
                Cell::Int(rng.i64(0..1000)),
            ]
        },
    },
    Ground {
        subject: "keyonly",
        create: "CREATE TABLE t (k INT PRIMARY KEY, v INT, i INT) ENGINE=InnoDB",
        alter: "ADD KEY (v)",
        keys: |rng| Cell::Int(rng.i64(0..10)),
        same: |a, b| a == b,
        rest: |rng| vec![Cell::Int(rng.i64(0..1000)), small_or_null(rng, 9)],
    },
];

const WORDS: [&str; 8] = ["a", "A", "a ", "A  ", "b", "B", "b ", "c"];

fn small_or_null(rng: &mut Rng, limit: i64) -> Cell {
    match rng.u8(0..4) {
        0 => Cell::Null,
        _ => Cell::Int(rng.i64(0..limit)),
    }
}

fn folded(cell: &Cell) -> String {
    match cell {
        Cell::Bytes(bytes) => String::from_utf8_lossy(bytes).trim_end().to_lowercase(),
        other => panic!("{other:?}"),
    }
}

fn literal(cell: &Cell) -> String {
    let mut out = String::new();
    let charset = matches!(cell, Cell::Bytes(_)).then_some("utf8mb4");
    write_cell(&mut out, cell, charset);
    out
}

/// How rows are replayed in a history.
#[derive(Clone, Copy, Debug)]
enum Images {
    All,
    None,
    Some,
}

/// The application: its rows, its session, and the events that are not handed over yet.
struct Application<'a> {
    ground: &'a Ground,
    images: Images,
    client: &'a Client,
    rows: Vec<(Cell, Rest)>,
    events: VecDeque<Vec<RowChange>>,
}

impl Application<'_> {
    /// Some statements of an open transaction; returns their events. A statement that the server refuses
    /// has not happened.
    async fn statements(&mut self, rng: &mut Rng, most: usize) -> Vec<RowChange> {
        let mut changes = Vec::new();
        for _ in 0..rng.usize(1..=most) {
            let key = (self.ground.keys)(rng);
            let old = self
                .rows
                .iter()
                .position(|(k, _)| (self.ground.same)(k, &key));
            match old {
                None => self.insert(rng, key, &mut changes).await,
                Some(at) if rng.u8(0..3) == 0 => self.delete(at, &mut changes).await,
                Some(at) => self.update(rng, at, &mut changes).await,
            }
        }
        changes
    }

    async fn insert(&mut self, rng: &mut Rng, key: Cell, changes: &mut Vec<RowChange>) {
        let rest = (self.ground.rest)(rng);
        let values: Vec<String> = [&key].into_iter().chain(&rest).map(literal).collect();
        let sql = format!("INSERT INTO t VALUES ({})", values.join(", "));
        if self.client.try_sql(sql).await.is_ok() {
            changes.push(RowChange {
                before: None,
                after: Some(self.after(rng, &key, &rest)),
            });
            self.rows.push((key, rest));
        }
    }

    async fn delete(&mut self, at: usize, changes: &mut Vec<RowChange>) {
        let (key, _) = self.rows.swap_remove(at);
        let sql = format!("DELETE FROM t WHERE k = {}", literal(&key));
        assert_eq!(self.client.sql(sql).await, 1);
        changes.push(RowChange {
            before: Some(Key(vec![key])),
            after: None,
        });
    }

    async fn update(&mut self, rng: &mut Rng, at: usize, changes: &mut Vec<RowChange>) {
        let (old_key, old_rest) = self.rows[at].clone();
        let new_rest = (self.ground.rest)(rng);
        let columns = columns_of(self.ground);
        let mut rest = old_rest.clone();
        let mut sets = Vec::new();
        for (index, value) in new_rest.into_iter().enumerate() {
            if rng.bool() {
                sets.push(format!("{} = {}", columns[index + 1], literal(&value)));
                rest[index] = value;
            }
        }
        let key = match rng.u8(0..4) {
            0 => (self.ground.keys)(rng),
            _ => old_key.clone(),
        };
        sets.push(format!("k = {}", literal(&key)));
        let sql = format!(
            "UPDATE t SET {} WHERE k = {}",
            sets.join(", "),
            literal(&old_key)
        );
        // No event where nothing changed, as in the binlog.
        if matches!(self.client.try_sql(sql).await, Ok(1)) {
            changes.push(RowChange {
                before: Some(Key(vec![old_key])),
                after: Some(self.after(rng, &key, &rest)),
            });
            self.rows[at] = (key, rest);
        }
    }

    fn after(&self, rng: &mut Rng, key: &Cell, rest: &Rest) -> changeling::change::After {
        let image = match self.images {
            Images::All => true,
            Images::None => false,
            Images::Some => rng.bool(),
        };
        let row: Vec<Cell> = [key].into_iter().chain(rest).cloned().collect();
        after(key.clone(), image.then_some(row.as_slice()))
    }

    /// Hands over up to `most` transactions in their order.
    fn deliver(&mut self, rig: &Rig, most: usize) {
        for changes in self.events.drain(..most.min(self.events.len())) {
            rig.feed(changes);
        }
    }
}

fn columns_of(ground: &Ground) -> Vec<&'static str> {
    match ground.subject {
        "uniques" => vec!["k", "u", "w", "x", "v"],
        "exact" => vec!["k", "u", "w", "v"],
        "text" => vec!["k", "u", "v"],
        _ => vec!["k", "v", "i"],
    }
}

/// The ranges of keys that the copy goes through; the last has no upper end.
fn chunks(ground: &Ground, rng: &mut Rng) -> VecDeque<Chunk> {
    let mut bounds: Vec<Key> = match ground.subject {
        "text" => vec![Key(vec![Cell::Bytes(b"b".to_vec())])],
        _ => (1..9)
            .filter(|_| rng.bool())
            .map(|n| Key(vec![Cell::Int(n)]))
            .collect(),
    };
    bounds.dedup();
    let mut chunks = VecDeque::new();
    let mut lower = None;
    for upper in bounds.into_iter().map(Some).chain([None]) {
        chunks.push_back(Chunk {
            number: chunks.len() as u64,
            lower: lower.clone(),
            upper: upper.clone(),
            upper_included: false,
            rows_expected: 1,
        });
        lower = upper;
    }
    chunks
}

fn range(chunk: &Chunk) -> String {
    let mut parts = vec!["TRUE".to_string()];
    if let Some(lower) = &chunk.lower {
        parts.push(format!("k >= {}", literal(&lower.0[0])));
    }
    if let Some(upper) = &chunk.upper {
        parts.push(format!("k < {}", literal(&upper.0[0])));
    }
    parts.join(" AND ")
}

/// The locking copy of one chunk, as the copy engine does it.
async fn copy_locking(client: &Client, ground: &Ground, chunk: &Chunk) {
    let columns = columns_of(ground).join(", ");
    loop {
        let copied = client
            .try_sql(format!(
                "INSERT IGNORE INTO _t_gho ({columns}) SELECT {columns} FROM t FORCE INDEX (PRIMARY) \
                 WHERE {} LOCK IN SHARE MODE",
                range(chunk)
            ))
            .await;
        match copied {
            Ok(_) => return,
            Err(mysql_async::Error::Server(error)) if matches!(error.code, 1205 | 1213) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// The first half of a lock-free copy of one chunk: its rows as a snapshot has them.
async fn read_snapshot(client: &Client, ground: &Ground, chunk: &Chunk) -> Vec<String> {
    let columns: Vec<String> = columns_of(ground)
        .iter()
        .map(|column| format!("IFNULL(QUOTE({column}), 'NULL')"))
        .collect();
    client
        .rows(format!(
            "SELECT CONCAT_WS(', ', {}) FROM t WHERE {}",
            columns.join(", "),
            range(chunk)
        ))
        .await
}

async fn write_snapshot(client: &Client, rows: &[String]) {
    for row in rows {
        loop {
            let sql = format!("INSERT IGNORE INTO _t_gho VALUES ({row})");
            match client.try_sql(sql).await {
                Ok(_) => break,
                Err(mysql_async::Error::Server(error)) if matches!(error.code, 1205 | 1213) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// One history.
async fn play(
    rig: &Rig,
    ground: &Ground,
    application: &mut Application<'_>,
    copier: &Client,
    rng: &mut Rng,
) {
    let lock_free = ground.subject != "text" && rng.bool();
    let mut chunks = chunks(ground, rng);
    // Rows from before the stream: only the copy brings them.
    application.statements(rng, 12).await;
    for _ in 0..rng.usize(4..16) {
        match rng.u8(0..7) {
            // A transaction, whose events come later.
            0 | 1 => {
                application.client.sql("BEGIN").await;
                let changes = application.statements(rng, 5).await;
                application.client.sql("COMMIT").await;
                application.events.push_back(changes);
            }
            2 => application.deliver(rig, rng.usize(1..4)),
            // A transaction whose events come before its commit, while the copy goes on.
            3 => {
                application.client.sql("BEGIN").await;
                let changes = application.statements(rng, 5).await;
                application.deliver(rig, usize::MAX);
                rig.feed(changes);
                // Replay may be through with it before the copy reads.
                rig.moment(rng).await;
                let chunk = match lock_free {
                    true => None,
                    false => chunks.pop_front(),
                };
                let copied = async {
                    if let Some(chunk) = chunk {
                        copy_locking(copier, ground, &chunk).await;
                    }
                };
                let committed = async {
                    rig.moment(rng).await;
                    application.client.sql("COMMIT").await;
                };
                tokio::join!(copied, committed);
            }
            4 => rig.moment(rng).await,
            _ => match chunks.pop_front() {
                Some(chunk) if lock_free => {
                    copy_lock_free(rig, ground, application, copier, rng, &chunk).await;
                }
                Some(chunk) => copy_locking(copier, ground, &chunk).await,
                None => {}
            },
        }
    }
    for chunk in chunks {
        copy_locking(copier, ground, &chunk).await;
    }
    application.deliver(rig, usize::MAX);
    rig.settle().await;
}

/// The lock-free copy of one chunk: opened, read when everything received has committed (which it has
/// here), written while more is changed and received.
async fn copy_lock_free(
    rig: &Rig,
    ground: &Ground,
    application: &mut Application<'_>,
    copier: &Client,
    rng: &mut Rng,
    chunk: &Chunk,
) {
    let interlock: &Interlock = &rig.interlock;
    let open = interlock.open(chunk);
    let rows = read_snapshot(copier, ground, chunk).await;
    for _ in 0..rng.usize(0..3) {
        application.client.sql("BEGIN").await;
        let changes = application.statements(rng, 5).await;
        application.client.sql("COMMIT").await;
        application.events.push_back(changes);
        application.deliver(rig, rng.choice([1, usize::MAX]).unwrap());
        rig.moment(rng).await;
    }
    write_snapshot(copier, &rows).await;
    drop(open);
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

async fn histories(ground: &Ground) {
    both(async |server| {
        let db = TestDb::create(server, ground.subject).await;
        db.sql(ground.create).await;
        let tables = Tables::new(&db, ground.alter).await;
        let seed = setting("CHANGELING_TEST_SEED", 1);
        let application = db.connect().await;
        let copier = db.connect().await;
        for client in [&application, &copier] {
            client
                .sql("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
                .await;
        }
        let mut rig = Rig::start(tables, 1);
        for number in 0..setting("CHANGELING_TEST_HISTORIES", 25) {
            let seed = seed + number;
            let mut rng = Rng::with_seed(seed);
            if number % 10 == 0 {
                // Windows of another size.
                rig = Rig::start(rig.stop().await, rng.usize(1..6));
                rig.replay.watch_evictions(ground.subject == "exact").await;
            }
            let images = [Images::All, Images::None, Images::Some][number as usize % 3];
            let mut player = Application {
                ground,
                images,
                client: &application,
                rows: Vec::new(),
                events: VecDeque::new(),
            };
            play(&rig, ground, &mut player, &copier, &mut rng).await;
            let differences = compare_tables(server, (&db.name, "t"), (&db.name, "_t_gho")).await;
            assert!(
                differences.is_empty(),
                "{} with seed {seed}, images: {images:?}:\n{}\nrepeat with CHANGELING_TEST_HISTORIES=1 \
                 CHANGELING_TEST_SEED={seed}",
                ground.subject,
                differences.join("\n")
            );
            let model: BTreeMap<String, ()> = player
                .rows
                .iter()
                .map(|(key, _)| (literal(key), ()))
                .collect();
            assert_eq!(
                db.one::<usize>("SELECT COUNT(*) FROM t").await,
                model.len(),
                "the test's own model is right"
            );
            db.sql("DELETE FROM t").await;
            db.sql("DELETE FROM _t_gho").await;
        }
        rig.stop().await;
    })
    .await;
}

#[tokio::test]
async fn several_unique_keys() {
    histories(&GROUNDS[0]).await;
}

#[tokio::test]
async fn the_exact_way() {
    histories(&GROUNDS[1]).await;
}

#[tokio::test]
async fn keys_that_differ_in_case_and_spaces() {
    histories(&GROUNDS[2]).await;
}

#[tokio::test]
async fn no_unique_key_but_the_migration_key() {
    histories(&GROUNDS[3]).await;
}
