use changeling::alter::{AlterStatement, GhostBuilt, IndexTiming, deferred, ghost};
use changeling::mysql::{Purpose, Session};
use changeling::names::{Names, TableName};

use super::{definition, session};
use crate::support::wait::PATIENCE;
use crate::support::{TestDb, TestServer, both, eventually};

/// A table of many features, and one line an ALTER.
const CREATE: &str = "CREATE TABLE t (
    id INT NOT NULL AUTO_INCREMENT,
    a INT NOT NULL DEFAULT 5 COMMENT 'it''s, `a`',
    b VARCHAR(30) CHARACTER SET latin1 DEFAULT 'x',
    c ENUM('x','y') DEFAULT NULL,
    d DATETIME(3) DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),
    g INT GENERATED ALWAYS AS (a + 1) VIRTUAL,
    PRIMARY KEY (id),
    UNIQUE KEY ub (b),
    KEY k1 (a, c DESC),
    KEY k2 (b(7)) COMMENT 'second, with `comma`',
    KEY k3 (g),
    CHECK (a > 0),
    CONSTRAINT sane CHECK (a < 1000000),
    CHECK (a <> 777777)
  ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 STATS_PERSISTENT=1 ROW_FORMAT=DYNAMIC COMMENT='the ''table'''";

const ALTERS: &str = "
    ENGINE=InnoDB
    ADD COLUMN n INT NOT NULL DEFAULT 7 AFTER a, ADD KEY n (n)
    DROP COLUMN c
    CHANGE a a2 BIGINT, DROP KEY k3, DROP COLUMN g, DROP CONSTRAINT sane, DROP CONSTRAINT t_chk_1, DROP CONSTRAINT t_chk_2
    MODIFY b VARCHAR(40) CHARACTER SET utf8mb4 FIRST
    CONVERT TO CHARACTER SET utf8mb3
    ADD UNIQUE KEY ua (a), DROP KEY ub
    DROP PRIMARY KEY, ADD PRIMARY KEY (id, a), ADD KEY (id)
    COMMENT='new', ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=8
    AUTO_INCREMENT=500
    RENAME INDEX k1 TO k9, ADD KEY k0 (d), ALTER COLUMN a SET DEFAULT 6
    ADD CONSTRAINT fresh CHECK (a <> 3)";

const MYSQL_ALTERS: &str = "
    ADD KEY fn ((a * 2)), ALTER INDEX k1 INVISIBLE
    ALTER CHECK sane NOT ENFORCED, DROP CHECK t_chk_2, ADD CHECK (a <> 4)
    RENAME COLUMN a TO b, RENAME COLUMN b TO a, DROP CHECK sane, DROP CHECK t_chk_1, DROP CHECK t_chk_2, DROP KEY k3, DROP COLUMN g
    DROP CHECK sane, ADD CONSTRAINT sane CHECK (a < 7)";

const MARIADB_ALTERS: &str = "
    RENAME COLUMN IF EXISTS d TO d2, DROP CONSTRAINT sane
    DROP CONSTRAINT CONSTRAINT_1, ADD COLUMN IF NOT EXISTS a INT, ADD z INET6";

fn alters(server: &TestServer) -> Vec<&'static str> {
    let own = if server.is_mariadb() {
        MARIADB_ALTERS
    } else {
        MYSQL_ALTERS
    };
    let lines = ALTERS.lines().chain(own.lines());
    lines
        .map(str::trim)
        .filter(|line| !line.is_empty())
        // MariaDB calls it by another name.
        .filter(|line| !(server.is_mariadb() && line.contains("t_chk_1")))
        .collect()
}

/// After the swap the definition is the one that a native ALTER makes on a twin, counters included, with
/// indexes built at once or afterwards.
#[tokio::test]
async fn the_ghost_becomes_what_a_native_alter_makes() {
    both(async |server| {
        let db = TestDb::create(server, "ghost").await;
        let twin = TestDb::create(server, "twin").await;
        for alter in alters(server) {
            twin.sql(CREATE).await;
            fill(&twin).await;
            twin.sql(format!("ALTER TABLE t {alter}")).await;
            let expected = show_create(&twin).await;
            for timing in [IndexTiming::WithTable, IndexTiming::AfterCopy] {
                db.sql(CREATE).await;
                fill(&db).await;
                let built = build(&db, alter, timing).await;
                let ghost_has = db.show_create("_t_gho").await;
                assert_eq!(built.deferred.is_empty(), timing == IndexTiming::WithTable);
                for clause in &built.deferred {
                    let definition = clause.strip_prefix("ADD ").unwrap();
                    assert!(!ghost_has.contains(definition), "{alter}: {clause}");
                }
                finish(&db, &built).await;
                db.sql("RENAME TABLE t TO _t_del, _t_gho TO t").await;
                let found = show_create(&db).await;
                assert_eq!(
                    found,
                    names_of_checks(server, &expected),
                    "{alter}, {timing:?}"
                );
                db.sql("DROP TABLE t, _t_del").await;
            }
            twin.sql("DROP TABLE t").await;
        }
    })
    .await;
}

/// Names that users gave to CHECK constraints are unique in a schema of MySQL: the old table keeps them.
fn names_of_checks(server: &TestServer, expected: &str) -> String {
    if server.is_mariadb() {
        return expected.to_string();
    }
    // `fresh` is made by the ALTER and taken by nobody.
    let text = expected.replace("CONSTRAINT `sane`", "CONSTRAINT `_sane`");
    sort_checks(&text)
}

/// The server lists constraints by name.
fn sort_checks(text: &str) -> String {
    let is_check = |line: &&str| line.trim_start().starts_with("CONSTRAINT `");
    let bare = |line: &str| line.trim_end_matches(',').to_string();
    let mut checks: Vec<String> = text.lines().filter(is_check).map(bare).collect();
    checks.sort();
    let last = checks.len().saturating_sub(1);
    let mut sorted = checks
        .into_iter()
        .enumerate()
        .map(|(at, line)| if at < last { line + "," } else { line });
    text.lines()
        .map(|line| {
            if is_check(&line) {
                sorted.next().unwrap()
            } else {
                line.to_string()
            }
        })
        .collect::<Vec<_>>()
        .join("\n")
}

/// Rows, and a counter that is ahead of them.
async fn fill(db: &TestDb) {
    db.sql("INSERT INTO t (a, b) VALUES (1, 'p'), (2, 'q')")
        .await;
    db.sql("DELETE FROM t WHERE id = 2").await;
}

async fn show_create(db: &TestDb) -> String {
    let (_, text): (String, String) = db.one("SHOW CREATE TABLE t").await;
    text
}

async fn build(db: &TestDb, alter: &str, timing: IndexTiming) -> GhostBuilt {
    let mut session = session(db, Purpose::Ddl).await;
    let original = definition(&mut session, db, "t").await;
    let names = Names::new(&original.name, None, None);
    let alter = AlterStatement::parse(alter).unwrap();
    let built = ghost::create(&mut session, &names, &original, &alter, timing)
        .await
        .unwrap();
    session.close().await;
    built
}

/// Builds what was deferred, twice, as after an interruption.
async fn finish(db: &TestDb, built: &GhostBuilt) {
    let ghost = TableName::new(&db.name, "_t_gho");
    let mut session = session(db, Purpose::Ddl).await;
    if !built.deferred.is_empty() {
        let early = ghost::check_complete(&mut session, &ghost, &built.complete_create).await;
        assert!(early.is_err());
    }
    for _ in 0..2 {
        deferred::build(&mut session, &ghost, &built.deferred)
            .await
            .unwrap();
    }
    ghost::check_complete(&mut session, &ghost, &built.complete_create)
        .await
        .unwrap();
    session.close().await;
}

/// An interrupted run's ALTER may still be going on in the server, and end while the next one waits for it.
#[tokio::test]
async fn indexes_may_come_from_a_build_that_was_left_alone() {
    both(async |server| {
        let db = TestDb::create(server, "ghost").await;
        db.sql("CREATE TABLE t (id INT PRIMARY KEY, a INT, b INT, KEY a (a), KEY b (b))")
            .await;
        let built = build(
            &db,
            "ADD COLUMN c INT, ADD KEY c (c)",
            IndexTiming::AfterCopy,
        )
        .await;
        assert!(!built.deferred.is_empty());
        // Who has read the ghost keeps both from coming to an end.
        let reader = db.connect().await;
        reader.sql("BEGIN").await;
        reader.rows::<i32>("SELECT id FROM _t_gho").await;
        let ghost = TableName::new(&db.name, "_t_gho");
        let mut sessions = [
            session(&db, Purpose::Ddl).await,
            session(&db, Purpose::Ddl).await,
        ];
        let ids = sessions.each_ref().map(Session::id);
        let [first, second] = &mut sessions;
        let release = async {
            let waiting = format!(
                "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID IN ({}, {}) \
                 AND STATE = 'Waiting for table metadata lock'",
                ids[0], ids[1]
            );
            eventually(PATIENCE, "both wait", async || {
                (db.one::<u32>(&waiting).await == 2).then_some(())
            })
            .await;
            reader.sql("COMMIT").await;
        };
        let (one, other, ()) = tokio::join!(
            deferred::build(first, &ghost, &built.deferred),
            deferred::build(second, &ghost, &built.deferred),
            release
        );
        one.unwrap();
        other.unwrap();
        ghost::check_complete(first, &ghost, &built.complete_create)
            .await
            .unwrap();
    })
    .await;
}

/// Indexes that InnoDB builds one at a time, and blocking writers.
#[tokio::test]
async fn fulltext_and_spatial_indexes_are_deferred_too() {
    both(async |server| {
        let db = TestDb::create(server, "ghost").await;
        let twin = TestDb::create(server, "twin").await;
        let create = "CREATE TABLE t (id INT PRIMARY KEY, e TEXT, f TEXT, p POINT NOT NULL, \
                      KEY a (e(5)), SPATIAL KEY sp (p), KEY b (f(5)), FULLTEXT KEY fe (e), FULLTEXT KEY ff (f)) \
                      ENGINE=InnoDB";
        let alter = "DROP KEY ff, ADD FULLTEXT KEY f2 (e, f)";
        twin.sql(create).await;
        twin.sql(format!("ALTER TABLE t {alter}")).await;
        db.sql(create).await;
        let built = build(&db, alter, IndexTiming::AfterCopy).await;
        assert_eq!(built.deferred.len(), 5);
        finish(&db, &built).await;
        db.sql("RENAME TABLE t TO _t_del, _t_gho TO t").await;
        assert_eq!(show_create(&db).await, show_create(&twin).await);
    })
    .await;
}

#[tokio::test]
async fn partitions_and_odd_names_are_kept() {
    both(async |server| {
        let db = TestDb::create(server, "ghost").await;
        let twin = TestDb::create(server, "twin").await;
        let create = "CREATE TABLE t (`select``x` INT NOT NULL, `b,c` INT, KEY `k)` (`b,c`)) \
                      PARTITION BY RANGE (`select``x`) \
                      (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN MAXVALUE)";
        for alter in [
            "ADD c INT",
            "ADD c INT PARTITION BY HASH (`b,c`) PARTITIONS 3",
            "REMOVE PARTITIONING",
            "REORGANIZE PARTITION p0, p1 INTO (PARTITION p VALUES LESS THAN MAXVALUE)",
        ] {
            twin.sql(create).await;
            twin.sql(format!("ALTER TABLE t {alter}")).await;
            db.sql(create).await;
            let built = build(&db, alter, IndexTiming::AfterCopy).await;
            assert_eq!(built.deferred, ["ADD KEY `k)` (`b,c`)"]);
            finish(&db, &built).await;
            db.sql("RENAME TABLE t TO _t_del, _t_gho TO t").await;
            assert_eq!(show_create(&db).await, show_create(&twin).await, "{alter}");
            db.sql("DROP TABLE t, _t_del").await;
            twin.sql("DROP TABLE t").await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_refused_alter_leaves_no_ghost() {
    both(async |server| {
        let db = TestDb::create(server, "ghost").await;
        db.sql("CREATE TABLE t (id INT PRIMARY KEY)").await;
        db.sql("CREATE TABLE x (id INT PRIMARY KEY)").await;
        let mut session = session(&db, Purpose::Ddl).await;
        let original = definition(&mut session, &db, "t").await;
        let names = Names::new(&original.name, None, None);
        for (alter, words) in [
            ("DROP COLUMN none", "none"),
            ("RENAME TO y", "cannot be done on a copy"),
            (
                "EXCHANGE PARTITION p WITH TABLE x",
                "cannot be done on a copy",
            ),
            ("LOCK=NONE", "nothing but ALGORITHM and LOCK"),
        ] {
            let parsed = AlterStatement::parse(alter).unwrap();
            let failure = ghost::create(
                &mut session,
                &names,
                &original,
                &parsed,
                IndexTiming::WithTable,
            )
            .await
            .unwrap_err();
            assert!(failure.to_string().contains(words), "{failure}");
            assert_eq!(db.tables().await, ["t", "x"]);
        }
        // A table that is there already is not ours to drop.
        db.sql("CREATE TABLE _t_gho (id INT PRIMARY KEY)").await;
        let parsed = AlterStatement::parse("ADD a INT").unwrap();
        let timing = IndexTiming::WithTable;
        let made = ghost::create(&mut session, &names, &original, &parsed, timing).await;
        assert_eq!(made.unwrap_err().code(), Some(1050));
        assert_eq!(db.tables().await.len(), 3);
        session.close().await;
    })
    .await;
}

/// The program reads quotes and backslashes as the server does by default; under another `sql_mode` only
/// what means the same is taken.
#[tokio::test]
async fn an_alter_that_reads_otherwise_is_refused() {
    both(async |server| {
        let db = TestDb::create(server, "ghost").await;
        db.sql(
            "CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(20) DEFAULT 'x\\\\y', KEY k (a) COMMENT 'a\\\\b\\'c')",
        )
        .await;
        let mut session = session(&db, Purpose::Ddl).await;
        session
            .execute("SET SESSION sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT'")
            .await
            .unwrap();
        let original = definition(&mut session, &db, "t").await;
        let names = Names::new(&original.name, None, None);
        for (text, taken) in [
            (r"ADD b INT COMMENT 'x\', DROP COLUMN a, COMMENT 'y\''", false),
            (r#"ADD "b" INT COMMENT 'it''s'"#, true),
        ] {
            let alter = AlterStatement::parse(text).unwrap();
            let timing = IndexTiming::AfterCopy;
            let made = ghost::create(&mut session, &names, &original, &alter, timing).await;
            assert_eq!(made.is_ok(), taken, "{text}: {made:?}");
            let Ok(built) = made else { continue };
            deferred::build(&mut session, &names.ghost, &built.deferred)
                .await
                .unwrap();
            ghost::check_complete(&mut session, &names.ghost, &built.complete_create)
                .await
                .unwrap();
        }
        let mode: String = session.one("SELECT @@SESSION.sql_mode").await.unwrap();
        assert!(mode.contains("ANSI_QUOTES") && mode.contains("NO_BACKSLASH_ESCAPES"));
        session.close().await;
    })
    .await;
}

/// The primary key that MySQL makes by itself where a table has none is a column like others.
#[tokio::test]
async fn a_generated_invisible_primary_key_is_kept() {
    let server = crate::support::server("mysql-primary");
    let db = TestDb::create(server, "ghost").await;
    let twin = TestDb::create(server, "twin").await;
    for db in [&db, &twin] {
        db.sql("SET SESSION sql_generate_invisible_primary_key = ON")
            .await;
        db.sql("CREATE TABLE t (a INT)").await;
        db.sql("INSERT INTO t VALUES (1), (2)").await;
    }
    twin.sql("ALTER TABLE t ADD b INT").await;
    let built = build(&db, "ADD b INT", IndexTiming::AfterCopy).await;
    let row_id = built.definition.column("my_row_id").unwrap();
    assert!(row_id.invisible && row_id.auto_increment());
    db.sql("RENAME TABLE t TO _t_del, _t_gho TO t").await;
    assert_eq!(show_create(&db).await, show_create(&twin).await);
}
