use changeling::alter::{AlterStatement, NativeWay, native};
use changeling::failure::ErrorClass;
use changeling::mysql::Purpose;
use changeling::names::Names;

use super::{definition, session};
use crate::support::wait::PATIENCE;
use crate::support::{TestDb, both, eventually};

#[tokio::test]
async fn the_server_says_how_it_would_do_it() {
    use NativeWay::*;
    both(async |server| {
        let db = TestDb::create(server, "native").await;
        db.sql("CREATE TABLE t (id INT PRIMARY KEY, a INT, b VARCHAR(20), c TEXT) PARTITION BY HASH (id)")
            .await;
        db.sql("CREATE TABLE `t-1` (id INT PRIMARY KEY, a INT, b VARCHAR(20), c TEXT, KEY by_b (b)) DEFAULT CHARSET=utf8mb4")
            .await;
        let mut session = session(&db, Purpose::Ddl).await;
        let plain = definition(&mut session, &db, "t-1").await;
        let names = Names::new(&plain.name, None, None);
        for (alter, way) in [
            ("ADD n INT, ALGORITHM=COPY", Instant),
            ("ALTER a SET DEFAULT 5", Instant),
            ("ADD KEY k (a)", IndexBuild),
            ("DROP KEY by_b", Metadata),
            ("RENAME KEY by_b TO by_b2", if server.is_mariadb() { Instant } else { Metadata }),
            ("ADD n INT, ADD KEY k (n)", InplaceRebuild),
            ("ENGINE=InnoDB", InplaceRebuild),
            ("MODIFY a INT NOT NULL", InplaceRebuild),
            ("ADD FULLTEXT KEY f (c)", InplaceShared),
            ("MODIFY a BIGINT", Copy),
            ("PARTITION BY HASH (id) PARTITIONS 2", Copy),
        ] {
            let parsed = AlterStatement::parse(alter).unwrap();
            let answer = native::probe(&mut session, &names, &plain, &parsed)
                .await
                .unwrap();
            assert_eq!(answer.way, way, "{alter}: {:?}", answer.refused);
            assert_eq!(answer.refused.is_empty(), way == Instant);
            assert!(answer.refused.iter().all(|(_, words)| !words.is_empty()));
            assert_eq!(answer.changes_nothing(&plain), alter == "ENGINE=InnoDB");
        }
        if !server.is_mariadb() {
            db.sql("ALTER TABLE `t-1` ADD z INT, ALGORITHM=INSTANT").await;
            let parsed = AlterStatement::parse("ADD n INT").unwrap();
            let plain = definition(&mut session, &db, "t-1").await;
            let answer = native::probe(&mut session, &names, &plain, &parsed);
            assert_eq!(answer.await.unwrap().row_versions, Some(1));
        }
        let partitioned = definition(&mut session, &db, "t").await;
        let names = Names::new(&partitioned.name, None, None);
        let parsed = AlterStatement::parse("COALESCE PARTITION 1").unwrap();
        let failure = native::probe(&mut session, &names, &partitioned, &parsed)
            .await
            .unwrap_err();
        assert_eq!(failure.class(), Some(ErrorClass::Definite));
        assert_eq!(db.tables().await, ["t", "t-1"]);
        session.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_left_over_scratch_table_is_replaced_unless_it_has_rows() {
    both(async |server| {
        let db = TestDb::create(server, "native").await;
        db.sql("CREATE TABLE t (id INT PRIMARY KEY)").await;
        db.sql("CREATE TABLE _t_ghp (id INT PRIMARY KEY)").await;
        let mut session = session(&db, Purpose::Ddl).await;
        let original = definition(&mut session, &db, "t").await;
        let names = Names::new(&original.name, None, None);
        let parsed = AlterStatement::parse("ADD n INT").unwrap();
        let answer = native::probe(&mut session, &names, &original, &parsed).await;
        assert_eq!(answer.unwrap().way, NativeWay::Instant);
        assert_eq!(db.tables().await, ["t"]);
        db.sql("CREATE TABLE _t_ghp (id INT PRIMARY KEY)").await;
        db.sql("INSERT INTO _t_ghp VALUES (1)").await;
        let refused = native::probe(&mut session, &names, &original, &parsed).await;
        assert!(refused.unwrap_err().to_string().contains("has rows"));
        assert_eq!(db.tables().await.len(), 2);
        session.close().await;
    })
    .await;
}

/// On MySQL an ALTER that waits for its table keeps InnoDB's dictionary from those who look into it.
#[tokio::test]
async fn the_server_answers_while_other_ddl_waits() {
    both(async |server| {
        let db = TestDb::create(server, "native").await;
        db.sql("CREATE TABLE t (id INT PRIMARY KEY, a INT)").await;
        db.sql("CREATE TABLE u (id INT PRIMARY KEY, a INT)").await;
        let reader = db.connect().await;
        reader.sql("BEGIN").await;
        reader.rows::<i32>("SELECT id FROM u").await;
        let other = db.connect().await;
        let id = other.id().await;
        let altered = tokio::spawn(async move {
            other
                .sql("ALTER TABLE u ADD KEY k (a), ALGORITHM=INPLACE, LOCK=NONE")
                .await
        });
        let state = format!("SELECT STATE FROM information_schema.PROCESSLIST WHERE ID = {id}");
        eventually(PATIENCE, "the ALTER waits", async || {
            let state: Option<String> = db.one(&state).await;
            (state.as_deref() == Some("Waiting for table metadata lock")).then_some(())
        })
        .await;
        let mut session = session(&db, Purpose::Ddl).await;
        let original = definition(&mut session, &db, "t").await;
        let names = Names::new(&original.name, None, None);
        for (alter, way) in [
            ("ADD n INT", NativeWay::Instant),
            ("ADD KEY k (a), COMMENT 'x'", NativeWay::IndexBuild),
        ] {
            let parsed = AlterStatement::parse(alter).unwrap();
            let answer = native::probe(&mut session, &names, &original, &parsed).await;
            let answer = answer.unwrap().way;
            // Where it cannot be told from a rebuild it is taken for one.
            assert!(
                answer == way || answer == NativeWay::InplaceRebuild,
                "{alter}: {answer}"
            );
        }
        reader.sql("COMMIT").await;
        altered.await.unwrap();
        session.close().await;
    })
    .await;
}
