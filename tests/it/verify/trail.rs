//! The comparison takes the bounds that the copy has found.

use std::sync::Arc;
use std::time::Duration;

use changeling::chunk::LowWatermark;
use changeling::failure::{ErrorClass, FailureKind};
use changeling::mysql::Purpose;
use changeling::progress::Progress;
use changeling::verify::{self, NoReplay, VerifyPlan};
use changeling::walk::Part;
use changeling::walk::trail::Trail;
use tokio::sync::watch;

use super::setup::{plan, verify_with};
use crate::copy::setup::{Steering, Tables, copy_with};
use crate::support::wait::PATIENCE;
use crate::support::{TestDb, TestServer, both};

/// `t` with 1000 rows, copied in chunks of 100, and the plan to compare it by the bounds of these.
async fn copied(server: &'static TestServer) -> (TestDb, Tables, VerifyPlan) {
    let db = TestDb::create(server, "trail").await;
    db.sql("CREATE TABLE t (id INT PRIMARY KEY, v INT)").await;
    let rows: Vec<String> = (1..=1000).map(|n| format!("({n}, {n})")).collect();
    db.sql(format!("INSERT INTO t VALUES {}", rows.join(", ")))
        .await;
    let tables = Tables::new(&db, "ADD KEY (v)").await;
    let trail: Arc<Trail> = Arc::default();
    let copying = changeling::copy::CopyPlan {
        trail: trail.clone(),
        ..tables.plan()
    };
    copy_with(copying, tables.interlock(), 100).await.unwrap();
    let plan = VerifyPlan {
        trail: Some(trail),
        ..plan(&tables, Arc::new(NoReplay))
    };
    (db, tables, plan)
}

#[tokio::test]
async fn the_copy_s_bounds_are_taken_and_everything_is_compared() {
    both(async |server| {
        let (db, tables, along) = copied(server).await;
        let chunks = |end: LowWatermark| (end.chunks, end.rows);
        // Bounds of 100 rows are joined to chunks of 200; behind the last of them, the greatest key, is that row.
        let end = verify_with(along.clone(), 250).await.unwrap();
        assert_eq!(chunks(end), (6, 1000));
        let end = verify_with(plan(&tables, Arc::new(NoReplay)), 250)
            .await
            .unwrap();
        assert_eq!(chunks(end), (4, 1000), "without the bounds");
        // Smaller than the bounds are apart, chunks are cut between them.
        let end = verify_with(along.clone(), 40).await.unwrap();
        assert_eq!(chunks(end), (31, 1000));

        // Whatever has come since: before the first bound, between two, and behind the last.
        for table in ["t", "_t_gho"] {
            db.sql(format!(
                "INSERT INTO {table} VALUES (-5, 1), (1001, 1), (5000, 1)"
            ))
            .await;
        }
        let end = verify_with(along.clone(), 250).await.unwrap();
        assert_eq!(end.rows, 1003);
        for (damage, id) in [
            ("INSERT INTO t VALUES (-6, 1)", "id=-6"),
            ("UPDATE _t_gho SET v = -1 WHERE id = 500", "id=500"),
            ("DELETE FROM _t_gho WHERE id = 1000", "id=1000"),
            ("DELETE FROM _t_gho WHERE id = 5000", "id=5000"),
        ] {
            db.sql(damage).await;
            let failure = verify_with(along.clone(), 250).await.unwrap_err();
            assert_eq!(failure.kind(), FailureKind::Difference, "{failure}");
            assert!(failure.to_string().contains(id), "{damage}: {failure}");
            db.sql("DELETE FROM t WHERE id = -6").await;
            db.sql("REPLACE INTO _t_gho SELECT * FROM t").await;
        }
    })
    .await;
}

#[tokio::test]
async fn it_is_gone_on_from_any_of_the_bounds() {
    both(async |server| {
        let (_db, _, along) = copied(server).await;
        let mut half: Option<LowWatermark> = None;
        // Up to a bound of the copy, and from there on.
        for _ in 0..2 {
            let steering = Steering::new(100);
            let (watermark, mut compared) = watch::channel(half.clone().unwrap_or_default());
            let walking = tokio::spawn(verify::run(
                along.clone(),
                Part::All(half.as_ref().and_then(|mark| mark.next.clone())),
                steering.controls(),
                Arc::new(Progress::default()),
                watermark,
            ));
            if half.is_none() {
                let some = compared.wait_for(|mark| mark.next.is_some());
                let mark = tokio::time::timeout(PATIENCE, some).await.unwrap().unwrap();
                half = Some(LowWatermark {
                    finished: false,
                    ..mark.clone()
                });
            }
            walking.await.unwrap().unwrap();
            assert_eq!(compared.borrow().rows, 1000);
        }
    })
    .await;
}

/// A chunk of a comparison is ended by the server when it takes too long.
#[tokio::test]
async fn reads_can_be_limited() {
    both(async |server| {
        let (_db, tables, _) = copied(server).await;
        let mut session = tables.server.session(Purpose::Verify).await.unwrap();
        let long = format!(
            "SELECT COUNT(*), BIT_XOR(a.v * b.v ^ c.v) FROM {0}.t a, {0}.t b, {0}.t c",
            tables.original.name.schema
        );
        session
            .limit_reads(Duration::from_millis(300))
            .await
            .unwrap();
        let failure = session.one::<(u64, u64)>(&long).await.unwrap_err();
        assert_eq!(failure.class(), Some(ErrorClass::Killed), "{failure}");
        session.one::<u64>("SELECT 1").await.unwrap();
    })
    .await;
}

/// A chunk that takes too long goes in pieces, and nothing of it is left out.
#[tokio::test]
async fn a_chunk_that_takes_too_long_goes_in_pieces() {
    const ROWS: u64 = 50_000;
    both(async |server| {
        let db = TestDb::create(server, "pieces").await;
        db.sql("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(200))").await;
        let digits = "(SELECT 0 d UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 \
                      UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9)";
        db.sql(format!(
            "INSERT INTO t SELECT n, REPEAT(n, 20) FROM (SELECT a.d + 10 * b.d + 100 * c.d + 1000 * d.d + 10000 * e.d n \
             FROM {digits} a, {digits} b, {digits} c, {digits} d, {digits} e) numbers WHERE n < {ROWS}"
        ))
        .await;
        let tables = Tables::new(&db, "ADD KEY (v)").await;
        db.sql("INSERT INTO _t_gho SELECT * FROM t").await;
        let compare = async |chunk_time_max: Duration| {
            let plan = VerifyPlan {
                chunk_time_max,
                ..plan(&tables, Arc::new(NoReplay))
            };
            let progress = Arc::new(Progress::default());
            let steering = Steering::new(2 * ROWS);
            let (watermark, _) = watch::channel(LowWatermark::default());
            let end = verify::run(plan, Part::All(None), steering.controls(), progress.clone(), watermark).await;
            (end, progress.retries.get())
        };
        let (end, refused) = compare(verify::CHUNK_TIME_MAX).await;
        assert_eq!((end.unwrap().rows, refused), (ROWS, 0));
        // Some tenths of a microsecond a row, so some ten milliseconds all rows.
        let (end, refused) = compare(Duration::from_millis(4)).await;
        assert_eq!(end.unwrap().rows, ROWS);
        assert!(refused > 0, "nothing took too long");
        db.sql("DELETE FROM _t_gho WHERE id = 31415").await;
        let (end, _) = compare(Duration::from_millis(4)).await;
        let failure = end.unwrap_err();
        assert_eq!(failure.kind(), FailureKind::Difference, "{failure}");
        assert!(failure.to_string().contains("id=31415"), "{failure}");
    })
    .await;
}
