//! Ranges of the key are read as ranges: the server reads the rows of a chunk and no others.

use changeling::chunk::Chunk;
use changeling::key::Key;
use changeling::mysql::{Purpose, Session};
use changeling::row::Cell;
use changeling::walk::Side;
use changeling::walk::bounds::{self, ends};
use changeling::walk::chunker::Keyed;

use super::setup::Tables;
use crate::support::{TestDb, both};

/// Key columns, their index, and the key of the number `n`, which grows in the order of the index.
const KEYS: &[(&str, &str)] = &[
    ("a INT, PRIMARY KEY (a)", "n"),
    ("a INT, b INT, PRIMARY KEY (a, b)", "n DIV 500, n % 500"),
    (
        "a INT, b INT, c INT, PRIMARY KEY (a, b DESC, c)",
        "n DIV 500, 10 - n DIV 50 % 10, n % 50",
    ),
    (
        "a INT, b INT, c INT, d INT, PRIMARY KEY (a DESC, b, c DESC, d)",
        "-(n DIV 500), n DIV 50 % 10, 5 - n DIV 10 % 5, n % 10",
    ),
    (
        "a ENUM('z','b','a','m'), b INT, PRIMARY KEY (a, b)",
        "1 + n DIV 500, n % 500",
    ),
    (
        "a SET('z','b','a'), b INT, PRIMARY KEY (a, b)",
        "n DIV 300, n % 300",
    ),
    (
        "a VARCHAR(20) COLLATE utf8mb4_general_ci, b CHAR(10) CHARACTER SET latin1, PRIMARY KEY (a, b)",
        "CONCAT('Key ', n DIV 100), LPAD(n % 100, 5, '0')",
    ),
    (
        "a BINARY(16), PRIMARY KEY (a)",
        "UNHEX(LPAD(HEX(n * 7919), 32, '0'))",
    ),
    (
        "a TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, b DECIMAL(10, 2), PRIMARY KEY (a, b)",
        "TIMESTAMP('2020-01-01') + INTERVAL n DIV 100 HOUR, (n % 100) / 4",
    ),
    (
        "a INT NOT NULL, b INT NOT NULL, id INT PRIMARY KEY AUTO_INCREMENT",
        "n, n, n + 1",
    ),
];
const ROWS: u64 = 2000;

#[tokio::test]
async fn chunks_read_their_rows_and_no_others() {
    both(async |server| {
        let db = TestDb::create(server, "plans").await;
        db.sql("SET SESSION time_zone = '+00:00'").await;
        db.sql("CREATE TABLE seq (n INT PRIMARY KEY)").await;
        let numbers: Vec<String> = (0..ROWS).map(|n| format!("({n})")).collect();
        db.sql(format!("INSERT INTO seq VALUES {}", numbers.join(", ")))
            .await;
        for (columns, key) in KEYS {
            db.sql("DROP TABLE IF EXISTS t, _t_gho").await;
            db.sql(format!(
                "CREATE TABLE t ({columns}, v VARCHAR(50) NOT NULL DEFAULT '')"
            ))
            .await;
            db.sql(format!(
                "INSERT INTO t SELECT {key}, REPEAT('x', 40) FROM seq"
            ))
            .await;
            db.sql("ANALYZE TABLE t").await;
            let tables = Tables::new(&db, "").await;
            let mut session = tables.server.session(Purpose::Copy).await.unwrap();
            // All of a key's columns differ between these bounds, or only some of them.
            for (from, rows) in [
                (0, 700),
                (123, 3),
                (123, 40),
                (450, 300),
                (999, 1),
                (1990, 9),
            ] {
                check_range(&mut session, &tables, from, rows).await;
            }
        }
    })
    .await;
}

async fn check_range(session: &mut Session, tables: &Tables, from: u64, rows: u64) {
    let table = Keyed {
        table: &tables.original.name,
        key: &tables.key,
        side: Side::Source,
    };
    let lower = table.key_at(session, None, None, from).await.unwrap();
    let end = table.last_key(session).await.unwrap();
    let whole = Chunk {
        number: 0,
        lower,
        upper: end,
        upper_included: true,
        rows_expected: ROWS,
    };
    let (lower, upper) = ends(&whole);
    let bound_query = table.bound_query(lower, upper, false, rows);
    let (chunk, left) = table.cut(session, &whole, rows).await.unwrap();
    assert!(left.is_some());
    let condition = bounds::within(&tables.key, Side::Source, &chunk);
    let chunk_query = format!(
        "SELECT * FROM {} WHERE {condition}{}",
        table.from_clause(),
        bounds::ordered(&tables.key, Side::Source, &chunk)
    );

    let read = rows_read(session, &bound_query).await;
    assert!(
        read <= rows + 12,
        "{read} rows read for a bound: {bound_query}"
    );
    let read = rows_read(session, &chunk_query).await;
    assert!(
        (rows..=rows + 12).contains(&read),
        "{read} rows read for a chunk of {rows}: {chunk_query}"
    );
    for query in [bound_query, chunk_query] {
        check_plan(session, tables, &query).await;
    }
}

/// One row at a time covers every row that was there, also where rows come in before it.
#[tokio::test]
async fn single_rows_cover_a_range() {
    both(async |server| {
        let db = TestDb::create(server, "singly").await;
        db.sql("CREATE TABLE t (id INT PRIMARY KEY, v INT NOT NULL DEFAULT 0)")
            .await;
        let tables = Tables::new(&db, "").await;
        let mut session = tables.server.session(Purpose::Copy).await.unwrap();
        let table = Keyed {
            table: &tables.original.name,
            key: &tables.key,
            side: Side::Source,
        };
        let key = |id| Key(vec![Cell::Int(id)]);
        let whole = Chunk {
            number: 0,
            lower: None,
            upper: Some(key(90)),
            upper_included: false,
            rows_expected: 3,
        };
        let (piece, left) = table.cut_first(&mut session, &whole).await.unwrap();
        assert_eq!((piece, left), (whole.clone(), None), "no row");
        db.sql("INSERT INTO t (id) VALUES (20), (30), (90)").await;
        let (piece, left) = table.cut_first(&mut session, &whole).await.unwrap();
        assert_eq!(
            (&piece.lower, &piece.upper),
            (&Some(key(20)), &Some(key(20)))
        );
        assert!(piece.upper_included);
        // What comes in now has changes of its own; the rows that were there keep their places.
        db.sql("INSERT INTO t (id) VALUES (10), (25), (27)").await;
        let left = left.expect("another row");
        assert_eq!((&left.lower, &left.upper), (&Some(key(30)), &whole.upper));
        assert_eq!(left.rows_expected, 2);
        let (piece, left) = table.cut_first(&mut session, &left).await.unwrap();
        assert_eq!(
            (&piece.lower, &piece.upper),
            (&Some(key(30)), &Some(key(30)))
        );
        assert_eq!(left, None);
    })
    .await;
}

/// How many rows the storage engine handed out: at most one more for each range of the index.
async fn rows_read(session: &mut Session, query: &str) -> u64 {
    session.execute("FLUSH STATUS").await.unwrap();
    let _: Vec<mysql_async::Row> = session.query(query).await.unwrap();
    let status: Vec<(String, u64)> = session
        .query("SHOW SESSION STATUS LIKE 'Handler_read%'")
        .await
        .unwrap();
    status.iter().map(|(_, value)| value).sum()
}

async fn check_plan(session: &mut Session, tables: &Tables, query: &str) {
    let traditional = match tables.server.facts().is_mariadb() {
        true => "EXPLAIN",
        false => "EXPLAIN FORMAT=TRADITIONAL",
    };
    let plan = session
        .query_binary(&format!("{traditional} {query}"))
        .await
        .unwrap();
    let [line] = plan.as_slice() else {
        panic!("a plan of {} lines: {query}", plan.len());
    };
    let field = |name: &str| {
        line.get::<Option<String>, _>(name)
            .unwrap()
            .unwrap_or_default()
    };
    assert_eq!(field("type"), "range", "{query}");
    assert_eq!(field("key"), tables.key.source_index, "{query}");
    assert!(
        !field("Extra").contains("filesort"),
        "{}: {query}",
        field("Extra")
    );
}
