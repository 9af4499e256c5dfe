//! What other tests rely on: the comparison sees every difference, the proxy cuts.

use std::time::Duration;

use crate::support::{
    Client, Network, Proxy, TestDb, assert_same_rows, both, compare_tables, server,
};

const TABLE: &str = "CREATE TABLE a (id INT PRIMARY KEY, s VARCHAR(20) COLLATE utf8mb4_general_ci, \
    f FLOAT, e ENUM('x', ''), b BIT(10), g POINT, d DECIMAL(10, 3), y VARBINARY(10), t TIMESTAMP(3) NULL, \
    k INT)";
const ROW: &str = "(1, 'Aa', 1.5, 'x', b'101', ST_GeomFromText('POINT(1 2)'), 1.250, x'00FF', \
    '2020-01-02 03:04:05.678', NULL)";

#[tokio::test]
async fn the_comparison_sees_every_difference() {
    both(async |server| {
        let db = TestDb::create(server, "compare").await;
        db.sql("SET SESSION sql_mode = ''").await;
        db.sql(TABLE).await;
        db.sql(format!("INSERT INTO a VALUES {ROW}")).await;
        db.sql("CREATE TABLE b LIKE a").await;
        let reset = async || {
            db.sql("DELETE FROM b").await;
            db.sql(format!("INSERT INTO b VALUES {ROW}")).await;
        };
        reset().await;
        assert_same_rows(&db, "a", "b").await;
        for damage in [
            "UPDATE b SET s = 'aa'",
            "UPDATE b SET s = 'Aa '",
            "UPDATE b SET f = 1.5000001",
            "UPDATE b SET e = ''",
            "UPDATE b SET b = 4",
            "UPDATE b SET g = ST_GeomFromText('POINT(1 2)', 4326)",
            "UPDATE b SET d = 1.251",
            "UPDATE b SET y = x'00FF00'",
            "UPDATE b SET t = '2020-01-02 03:04:05.679'",
            "UPDATE b SET k = 0",
            "UPDATE b SET s = NULL, k = NULL",
            "UPDATE b SET id = 2",
            "DELETE FROM b",
            "INSERT INTO b (id) VALUES (2)",
        ] {
            db.sql(damage).await;
            let differences = compare_tables(server, (&db.name, "a"), (&db.name, "b")).await;
            assert!(!differences.is_empty(), "not seen: {damage}");
            reset().await;
        }
        db.sql("UPDATE a SET e = ''").await;
        db.sql("UPDATE b SET e = 'no such label'").await;
        let differences = compare_tables(server, (&db.name, "a"), (&db.name, "b")).await;
        assert!(
            !differences.is_empty(),
            "an ENUM's error value is taken for an empty label"
        );
    })
    .await;
}

#[tokio::test]
async fn the_proxy_cuts() {
    let behind = server("mysql-primary");
    let proxy = Proxy::to(behind).await;
    let through = proxy.server(behind);
    let client = Client::connect(&through, None).await;
    proxy.set(Network::Frozen);
    let answer = client.one::<u8>("SELECT 1");
    tokio::pin!(answer);
    let early = tokio::time::timeout(Duration::from_millis(500), &mut answer).await;
    assert!(early.is_err(), "an answer came through");
    proxy.set(Network::Passes);
    assert_eq!(answer.await, 1);
    proxy.set(Network::Cut);
    assert!(client.try_sql("DO 1").await.is_err());
    assert!(Client::try_connect(&through, None).await.is_err());
}
