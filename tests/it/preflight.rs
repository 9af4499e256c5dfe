//! Every finding with its message, and nothing left behind.

use std::time::Duration;

use changeling::alter::AlterStatement;
use changeling::failure::FailureKind;
use changeling::mysql::{ConnectOptions, Purpose, Server, Session, SslMode};
use changeling::names::{Names, TableName};
use changeling::preflight::{self, Report, Requirements, Severity};

use crate::support::{TestDb, both, eventually, server};

/// Inspects and checks that no table came or went.
async fn inspect(db: &TestDb, table: &str, alter: &str) -> Report {
    inspect_for(db, table, alter, Requirements::default()).await
}

async fn inspect_for(db: &TestDb, table: &str, alter: &str, wanted: Requirements) -> Report {
    let server = Server::connect(db.server.options()).await.unwrap();
    let before = db.tables().await;
    let report = ask(
        &server,
        &TableName::new(&db.name, table),
        alter,
        wanted.clone(),
    )
    .await;
    assert_eq!(db.tables().await, before, "{alter}");
    report
}

async fn ask(server: &Server, table: &TableName, alter: &str, wanted: Requirements) -> Report {
    let mut session = server.session(Purpose::Ddl).await.unwrap();
    let names = Names::new(table, None, None);
    let alter = AlterStatement::parse(alter).unwrap();
    let report = preflight::inspect(&mut session, &names, Some(&alter), &wanted)
        .await
        .unwrap();
    session.close().await;
    report
}

/// The only refusal is this one, its message has these words, and it has a remedy.
fn assert_refused(report: Report, code: &str, words: &[&str]) {
    let refusals: Vec<_> = report
        .findings
        .sorted()
        .into_iter()
        .filter(|finding| finding.severity == Severity::Refuse)
        .collect();
    let [finding] = refusals.as_slice() else {
        panic!("{code} alone expected: {refusals:#?}");
    };
    assert_eq!(finding.code, code, "{finding:?}");
    for word in words {
        assert!(finding.what.contains(word), "{word}: {}", finding.what);
    }
    assert!(!finding.remedy.is_empty());
    let failure = report.clone().approve().unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Refused);
    assert_eq!(failure.kind().exit_code(), 3);
}

fn warned(report: &Report, code: &str) -> String {
    let found = report.findings.sorted().into_iter().find(|finding| {
        finding.code == code && matches!(finding.severity, Severity::Warn | Severity::Note)
    });
    let found = found.unwrap_or_else(|| panic!("no {code} in {:#?}", report.findings));
    format!("{} ({})", found.what, found.remedy)
}

const PLAIN: &str =
    "CREATE TABLE t (id INT NOT NULL PRIMARY KEY, a INT, b VARCHAR(20)) ENGINE=InnoDB";

#[tokio::test]
async fn a_plain_table_is_approved() {
    both(async |server| {
        let db = TestDb::create(server, "preflight").await;
        db.sql(PLAIN).await;
        let report = inspect(&db, "t", "MODIFY a BIGINT").await;
        assert!(!report.findings.refused(), "{:#?}", report.findings);
        assert!(report.native.is_some() && report.map.is_some());
        assert_eq!(report.key.clone().unwrap().source_index, "PRIMARY");
        assert_eq!(report.approve().unwrap().name.table, "t");
    })
    .await;
}

#[tokio::test]
async fn the_table_must_be_one_that_can_be_copied() {
    both(async |server| {
        let db = TestDb::create(server, "preflight").await;
        db.sql("CREATE TABLE orders (id INT PRIMARY KEY) ENGINE=InnoDB")
            .await;
        db.sql("CREATE VIEW v AS SELECT id FROM orders").await;
        db.sql("CREATE TABLE m (id INT PRIMARY KEY) ENGINE=MyISAM")
            .await;
        let add = "ADD n INT";
        let report = inspect(&db, "oders", add).await;
        let failure = report.clone().approve().unwrap_err();
        assert_eq!(failure.remedy_text(), Some("did you mean `orders`?"));
        assert_refused(report, "table-missing", &["there is no table", "oders"]);
        let gone = TableName::new(format!("{}x", db.name), "t");
        let connected = Server::connect(server.options()).await.unwrap();
        let report = ask(&connected, &gone, add, Requirements::default()).await;
        assert_refused(report, "table-missing", &["there is no schema"]);
        assert_refused(inspect(&db, "v", add).await, "view", &["is a view"]);
        assert_refused(inspect(&db, "m", add).await, "engine", &["MyISAM"]);
        if server.is_mariadb() {
            db.sql("CREATE TABLE h (id INT PRIMARY KEY) WITH SYSTEM VERSIONING")
                .await;
            db.sql("CREATE SEQUENCE s").await;
            let report = inspect(&db, "h", add).await;
            assert_refused(report, "system-versioned", &["history"]);
            assert_refused(inspect(&db, "s", add).await, "not-a-table", &["no table"]);
        }
    })
    .await;
}

#[tokio::test]
async fn a_key_must_identify_rows_in_both_definitions() {
    both(async |server| {
        let db = TestDb::create(server, "preflight").await;
        db.sql(PLAIN).await;
        db.sql("CREATE TABLE none (a INT) ENGINE=InnoDB").await;
        db.sql(
            "CREATE TABLE weak (a INT, f DOUBLE NOT NULL, s VARCHAR(20) NOT NULL, \
             UNIQUE ka (a), UNIQUE kf (f), UNIQUE ks (s(5))) ENGINE=InnoDB",
        )
        .await;
        let report = inspect(&db, "none", "ADD n INT").await;
        assert_refused(report, "no-key", &["neither a PRIMARY KEY nor"]);
        let report = inspect(&db, "weak", "ADD n INT").await;
        let words = [
            "ka (`a`): column a may be NULL",
            "kf (`f`): column f is DOUBLE",
            "ks (`s`): has only the first 5",
        ];
        assert_refused(report, "no-key", &words);
        let report = inspect(&db, "t", "DROP PRIMARY KEY, ADD PRIMARY KEY (id, b)").await;
        assert_refused(report, "no-key", &["no unique index over the same columns"]);
        let report = inspect(&db, "t", "MODIFY id VARCHAR(20)").await;
        assert_refused(report, "no-key", &["column id changes from int"]);
        db.sql("ALTER TABLE t ADD UNIQUE u (b), MODIFY b VARCHAR(20) NOT NULL")
            .await;
        let report = inspect(
            &db,
            "t",
            "DROP PRIMARY KEY, MODIFY b VARCHAR(20) CHARACTER SET ucs2 NOT NULL",
        )
        .await;
        assert_eq!(report.key.clone().unwrap().source_index, "u");
        assert!(warned(&report, "key-collation").contains("collation of key u"));
    })
    .await;
}

#[tokio::test]
async fn the_statement_must_be_one_for_a_copy() {
    both(async |server| {
        let db = TestDb::create(server, "preflight").await;
        db.sql(PLAIN).await;
        db.sql("CREATE TABLE p (id INT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 2")
            .await;
        for (alter, code, words) in [
            ("RENAME TO t2, ADD n INT", "rename-table", "RENAME TO t2"),
            ("TRUNCATE PARTITION p0", "partition-operation", "partitions"),
            (
                "EXCHANGE PARTITION p0 WITH TABLE t",
                "partition-operation",
                "EXCHANGE",
            ),
            (
                "ADD FOREIGN KEY (id) REFERENCES t (id)",
                "add-foreign-key",
                "would not be checked",
            ),
            (
                "DROP FOREIGN KEY f",
                "drop-foreign-key",
                "DROP FOREIGN KEY f",
            ),
            ("DISCARD TABLESPACE", "tablespace", "file"),
            ("ADD SYSTEM VERSIONING", "versioning", "history"),
            (
                "ADD n INT, ALGORITHM=INSTANT",
                "algorithm",
                "ALGORITHM=INSTANT",
            ),
            ("LOCK=NONE", "no-change", "nothing but"),
            ("ALTER IGNORE TABLE p ADD n INT", "ignore", "IGNORE"),
            ("ALTER TABLE other ADD n INT", "other-table", "other"),
            (
                "ADD n INT, SOMETHING STRANGE",
                "alter-rejected",
                "SOMETHING STRANGE",
            ),
            ("ADD n NOTYPE", "alter-rejected", "the server rejects"),
            ("DROP COLUMN none, ADD n INT", "alter-rejected", "none"),
        ] {
            assert_refused(inspect(&db, "p", alter).await, code, &[words]);
        }
        let report = inspect(&db, "p", "ADD n INT, ALGORITHM=COPY, LOCK=SHARED").await;
        assert!(warned(&report, "modifier").contains("left out"));
        assert!(!report.findings.refused());
        if server.is_mariadb() {
            return;
        }
        // The server knows this clause, the program does not.
        let report = inspect(&db, "t", "SECONDARY_LOAD").await;
        assert_refused(report, "clause-unknown", &["SECONDARY_LOAD"]);
    })
    .await;
}

#[tokio::test]
async fn all_findings_come_together() {
    both(async |server| {
        let db = TestDb::create(server, "preflight").await;
        let other = TestDb::create(server, "preflight").await;
        db.sql("CREATE TABLE up (id INT PRIMARY KEY) ENGINE=InnoDB").await;
        db.sql(
            "CREATE TABLE t (id INT PRIMARY KEY, r INT, CONSTRAINT to_up FOREIGN KEY (r) REFERENCES up (id) \
             ON UPDATE CASCADE) ENGINE=InnoDB",
        )
        .await;
        other
            .sql(format!(
                "CREATE TABLE down (r INT, CONSTRAINT to_t FOREIGN KEY (r) REFERENCES {}.t (id) \
                 ON DELETE SET NULL) ENGINE=InnoDB",
                db.name
            ))
            .await;
        db.sql("CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET @a = 1").await;
        db.sql("CREATE TABLE _t_del (id INT PRIMARY KEY)").await;
        db.sql("CREATE TABLE _t_gho (id INT PRIMARY KEY)").await;
        let report = inspect(&db, "t", "ADD n INT").await;
        let text = report.clone().approve().unwrap_err().to_string();
        for words in [
            "5 things stand against it",
            "_t_gho is left of an earlier run",
            "_t_del is there, which the original is to be renamed to",
            "has triggers: tr",
            "has foreign keys: to_up to ",
            "ON UPDATE CASCADE",
            "foreign keys point to ",
            "to_t of ",
            ".down ON DELETE SET NULL",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        // Each alone, when the others are gone or allowed.
        let wanted = Requirements {
            resumable: true,
            ..Requirements::default()
        };
        let report = inspect(&db, "t", "ADD n INT").await;
        assert!(report.findings.refuses("triggers") && report.findings.refuses("left-over"));
        db.sql("DROP TRIGGER tr").await;
        db.sql("DROP TABLE _t_del").await;
        other.sql("DROP TABLE down").await;
        let report = inspect_for(&db, "t", "ADD n INT", wanted.clone()).await;
        assert_refused(report, "foreign-key-child", &["to_up"]);
        db.sql("ALTER TABLE t DROP FOREIGN KEY to_up").await;
        let report = inspect_for(&db, "t", "ADD n INT", wanted.clone()).await;
        assert!(!report.findings.refused(), "{:#?}", report.findings);
        // A scratch table with rows is somebody's.
        db.sql("DROP TABLE _t_gho").await;
        db.sql("CREATE TABLE _t_ghp SELECT 1 AS a").await;
        let report = inspect_for(&db, "t", "ADD n INT", wanted.clone()).await;
        assert_refused(report, "left-over", &["_t_ghp exists and has rows"]);
    })
    .await;
}

#[tokio::test]
async fn names_of_check_constraints_are_told() {
    let db = TestDb::create(server("mysql-primary"), "preflight").await;
    db.sql(
        "CREATE TABLE t (id INT PRIMARY KEY, a INT CHECK (a > 0), CONSTRAINT pos CHECK (a > 1))",
    )
    .await;
    let report = inspect(&db, "t", "ADD n INT").await;
    assert!(warned(&report, "check-names").contains("pos becomes _pos"));
    let long = "x".repeat(58);
    db.sql(format!(
        "CREATE TABLE {long} (id INT PRIMARY KEY, CHECK (id > 0))"
    ))
    .await;
    let report = inspect(&db, &long, "ADD n INT").await;
    assert_refused(report, "name-too-long", &["longer than 64 characters"]);
}

/// An account is told what it lacks; with the remedy followed it lacks nothing.
#[tokio::test]
async fn missing_grants_are_named_and_the_remedy_works() {
    both(async |server| {
        let db = TestDb::create(server, "preflight_grants").await;
        db.sql(PLAIN).await;
        let user = format!("g{}", std::process::id());
        let account = format!("'{user}'@'%'");
        db.sql(format!("DROP USER IF EXISTS {account}")).await;
        db.sql(format!("CREATE USER {account} IDENTIFIED BY 'secret-1'")).await;
        db.sql(format!("GRANT SELECT, INSERT, CREATE ON `{}`.* TO {account}", db.name)).await;
        db.sql(format!("GRANT DELETE, DROP ON `{}`.t TO {account}", db.name)).await;
        let options = ConnectOptions {
            user: user.clone(),
            password: Some("secret-1".to_string()),
            ..server.options()
        };
        let connected = Server::connect(options).await.unwrap();
        let table = TableName::new(&db.name, "t");
        let wanted = Requirements::default();
        let report = ask(&connected, &table, "ADD n INT", wanted.clone()).await;
        let everywhere = if server.is_mariadb() {
            "REPLICATION SLAVE, BINLOG MONITOR, REPLICATION MASTER ADMIN, PROCESS"
        } else {
            "REPLICATION SLAVE, REPLICATION CLIENT, PROCESS"
        };
        let lacks = format!(
            "account {account} lacks UPDATE, DELETE, DROP, ALTER, LOCK TABLES, TRIGGER on schema {} and \
             {everywhere} on *.*",
            db.name
        );
        let remedy = report.clone().approve().unwrap_err();
        assert_refused(report, "grants", &[&lacks]);
        for statement in remedy.remedy_text().unwrap().split("; ") {
            db.sql(statement).await;
        }
        let report = ask(&connected, &table, "ADD n INT, ADD KEY k (n)", wanted.clone()).await;
        assert!(!report.findings.refused(), "{:#?}", report.findings);
        assert!(report.native.is_some());
        // The half-made scratch table of the first look is gone too.
        assert_eq!(db.tables().await, ["t"]);
        db.sql(format!("DROP USER {account}")).await;
    })
    .await;
}

#[tokio::test]
async fn replicas_are_told_apart_and_counted() {
    let missing = TableName::new("mysql", "no_such_table");
    let wanted = Requirements::default();
    for (primary, replica) in [
        ("mysql-primary", "mysql-replica"),
        ("mariadb-primary", "mariadb-replica"),
    ] {
        let replica = Server::connect(server(replica).options()).await.unwrap();
        let primary = Server::connect(server(primary).options()).await.unwrap();
        // Other tests may stop the replica for a while.
        eventually(
            Duration::from_secs(60),
            "a replica is attached",
            async || {
                let report = ask(&primary, &missing, "ADD n INT", wanted.clone()).await;
                assert!(!report.findings.has("replica"));
                (report.replicas == 1).then_some(())
            },
        )
        .await;
        let report = ask(&replica, &missing, "ADD n INT", wanted.clone()).await;
        assert!(warned(&report, "replica").contains("the server is a replica"));
        assert_refused(report, "table-missing", &[]);
    }
}

/// On a server that no other test migrates on: its state is changed.
#[tokio::test]
async fn read_only_servers_and_prepared_transactions_are_told() {
    let options = ConnectOptions {
        ssl_mode: SslMode::Required,
        ..server("mysql-tls").options()
    };
    let admin = Server::connect(options.clone()).await.unwrap();
    let mut session = admin.session(Purpose::Monitor).await.unwrap();
    let user = format!("r{}", std::process::id());
    for statement in [
        "DROP DATABASE IF EXISTS preflight_state",
        "CREATE DATABASE preflight_state",
        "CREATE TABLE preflight_state.t (id INT PRIMARY KEY)",
        "CREATE TABLE preflight_state.x (id INT PRIMARY KEY)",
        &format!("CREATE USER {user} IDENTIFIED BY 'secret-1'"),
        &format!("GRANT ALL ON preflight_state.* TO {user}"),
        &format!("GRANT REPLICATION SLAVE, REPLICATION CLIENT, PROCESS ON *.* TO {user}"),
    ] {
        session.execute(statement).await.unwrap();
    }
    let table = TableName::new("preflight_state", "t");
    let mut prepared = admin.session(Purpose::Monitor).await.unwrap();
    for statement in [
        "XA START 'preflight'",
        "INSERT INTO preflight_state.x VALUES (1)",
        "XA END 'preflight'",
        "XA PREPARE 'preflight'",
    ] {
        prepared.execute(statement).await.unwrap();
    }
    let wanted = Requirements::default();
    let report = ask(&admin, &table, "ADD n INT", wanted.clone()).await;
    assert!(warned(&report, "xa-prepared").contains("1 prepared XA transaction(s) wait"));
    prepared.execute("XA ROLLBACK 'preflight'").await.unwrap();
    prepared.close().await;

    session.execute("SET GLOBAL read_only = ON").await.unwrap();
    let (plain, allowed) = read_only(&options, &user, &table).await;
    session.execute("SET GLOBAL read_only = OFF").await.unwrap();
    assert!(warned(&plain, "xa-unknown").contains("may not see"));
    assert_refused(plain, "read-only", &["read_only is ON"]);
    assert!(warned(&allowed, "read-only").contains("all the same"));
    drop_all(&mut session, &user).await;
    session.close().await;
}

async fn read_only(options: &ConnectOptions, user: &str, table: &TableName) -> (Report, Report) {
    let wanted = Requirements::default();
    let plain = Server::connect(ConnectOptions {
        user: user.to_string(),
        password: Some("secret-1".to_string()),
        ..options.clone()
    });
    let plain = ask(&plain.await.unwrap(), table, "ADD n INT", wanted.clone()).await;
    let admin = Server::connect(options.clone()).await.unwrap();
    (plain, ask(&admin, table, "ADD n INT", wanted.clone()).await)
}

async fn drop_all(session: &mut Session, user: &str) {
    for statement in [
        "DROP DATABASE preflight_state",
        &format!("DROP USER {user}"),
    ] {
        session.execute(statement).await.unwrap();
    }
}

#[tokio::test]
async fn a_second_run_on_the_table_is_refused() {
    both(async |server| {
        let server = Server::connect(server.options()).await.unwrap();
        let names = Names::new(&TableName::new("preflight_lock", "t"), None, None);
        let first = preflight::acquire_migration_lock(&server, &names)
            .await
            .unwrap();
        let failure = preflight::acquire_migration_lock(&server, &names)
            .await
            .err()
            .unwrap();
        assert_eq!(failure.kind(), FailureKind::Refused);
        assert!(
            failure
                .cause()
                .contains("another run is altering preflight_lock.t")
        );
        assert!(failure.cause().contains("(connection "), "{failure}");
        let other = Names::new(&TableName::new("preflight_lock", "t2"), None, None);
        let second = preflight::acquire_migration_lock(&server, &other)
            .await
            .unwrap();
        first.release().await;
        let again = preflight::acquire_migration_lock(&server, &names)
            .await
            .unwrap();
        again.release().await;
        second.release().await;
    })
    .await;
}
