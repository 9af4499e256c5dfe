//! The old table, dropped later and paced.

use changeling::mysql::Server;

use super::Migration;
use crate::support::{Client, Program, TestDb, TestServer, both, is_wanted, server};

/// The end of the binlog.
async fn end_of_binlog(client: &Client, server: &TestServer) -> (String, u64) {
    let server = Server::connect(server.options()).await.unwrap();
    let row: mysql_async::Row = client.one(server.facts().binary_log_status()).await;
    (row.get(0).unwrap(), row.get(1).unwrap())
}

/// The statements on the old table that the binlog has from there on.
async fn statements(client: &Client, from: &(String, u64), db: &TestDb) -> Vec<String> {
    let (file, position) = from;
    let sql = format!("SHOW BINLOG EVENTS IN '{file}' FROM {position}");
    let rows: Vec<mysql_async::Row> = client.rows(sql).await;
    let mut found = Vec::new();
    for row in rows {
        let text: String = row.get("Info").unwrap();
        if text.contains(&db.name) && text.contains("`_t_del`") {
            let (_, rest) = text.split_once("`_t_del`").unwrap();
            // MySQL notes the transaction's number behind.
            let (rest, _) = rest.split_once(" /*").unwrap_or((rest, ""));
            found.push(match text.contains("DROP TABLE") {
                true => "DROP".to_string(),
                false => rest.trim().to_string(),
            });
        }
    }
    found
}

/// After the time it was given, while nothing throttles, a partitioned table goes one partition after the
/// other; told to stop before, the run leaves it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partitioned_table_goes_piece_by_piece() {
    let servers: Vec<&'static TestServer> = ["mysql", "mariadb"]
        .into_iter()
        .filter(|flavour| is_wanted(flavour))
        .map(|flavour| match flavour {
            "mysql" => server("mysql-primary"),
            _ => server("mariadb-primary"),
        })
        .collect();
    // At the same time: most of it is waiting.
    futures_util::future::join_all(servers.into_iter().map(piece_by_piece)).await;
}

async fn piece_by_piece(server: &'static TestServer) {
    let db = TestDb::create(server, "old").await;
    db.sql(
        "CREATE TABLE t (id INT PRIMARY KEY, a INT) PARTITION BY RANGE (id) (\
         PARTITION low VALUES LESS THAN (10), PARTITION `mid dle` VALUES LESS THAN (20), \
         PARTITION high VALUES LESS THAN MAXVALUE)",
    )
    .await;
    let rows: Vec<String> = (0..30).map(|id| format!("({id}, {id})")).collect();
    db.sql(format!("INSERT INTO t VALUES {}", rows.join(", ")))
        .await;
    let flag = std::env::temp_dir().join(format!("{}.throttle", db.name));
    let arguments = [
        "--max-lag",
        "1h",
        "--drop-old-table=after:1m",
        "--throttle-flag-file",
        flag.to_str().unwrap(),
    ];
    let mut migration = Migration::start(&db, server, &arguments);
    let why = migration.answers(&["why"], "the time to drop").await;
    assert!(why.contains("interrupting leaves it"), "{why}");
    std::fs::write(&flag, "").unwrap();
    migration.answers(&["why"], "a calm moment to drop").await;
    let count = "SELECT COUNT(*) FROM _t_del";
    assert_eq!(db.one::<u64>(count).await, 30, "dropped while throttled");
    let log = server.connect().await;
    let from = end_of_binlog(&log, server).await;
    std::fs::remove_file(&flag).unwrap();
    let end = migration.live_ended().await;
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    assert_eq!(
        statements(&log, &from, &db).await,
        [
            "TRUNCATE PARTITION `low`",
            "TRUNCATE PARTITION `mid dle`",
            "TRUNCATE PARTITION `high`",
            "DROP"
        ]
    );
    log.close().await;
    assert_eq!(db.tables().await, ["_changeling_history", "t"]);
    assert_eq!(db.one::<u64>("SELECT COUNT(*) FROM t").await, 30);
}

#[tokio::test]
async fn told_to_stop_meanwhile_the_run_leaves_it() {
    both(async |server| {
        let db = TestDb::create(server, "old").await;
        db.sql("CREATE TABLE t (id INT PRIMARY KEY)").await;
        let arguments = ["--max-lag", "1h", "--drop-old-table=after:1h"];
        let mut migration = Migration::start(&db, server, &arguments);
        migration.answers(&["why"], "the time to drop").await;
        migration.live.signal(libc::SIGINT);
        let end = migration.live_ended().await;
        assert_eq!(end.code, Some(0), "{}", end.stderr);
        assert!(
            end.stderr.contains("_t_del is still there"),
            "{}",
            end.stderr
        );
        assert_eq!(db.tables().await, ["_changeling_history", "_t_del", "t"]);
    })
    .await;
}

/// Nothing is dropped at the swap itself.
#[tokio::test]
async fn too_soon_is_refused() {
    for soon in ["0s", "0"] {
        let run = Program::new(["migrate", "ALTER TABLE d.t ADD COLUMN c INT"])
            .args([format!("--drop-old-table=after:{soon}")])
            .run()
            .await
            .expect_code(2);
        for words in ["too soon after the swap", "after:1m", "changeling cleanup"] {
            assert!(run.stderr.contains(words), "{words}: {}", run.stderr);
        }
    }
}
