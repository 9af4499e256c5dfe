use changeling::mysql::Purpose;
use changeling::names::TableName;
use changeling::schema::{self, Generated, IndexKind, TableKind};

use super::{definition, session};
use crate::support::{TestDb, both};

#[tokio::test]
async fn a_definition_is_read_in_full() {
    both(async |server| {
        let db = TestDb::create(server, "load").await;
        let other = TestDb::create(server, "load-ü").await;
        db.sql(
            "CREATE TABLE t (
               id INT UNSIGNED NOT NULL AUTO_INCREMENT,
               name VARCHAR(20) CHARACTER SET latin1 DEFAULT 'x',
               e ENUM('a','b''c','d\\\\e','f,g') NOT NULL COMMENT 'it''s',
               at DATETIME(3) NULL,
               amount DECIMAL(10,3) INVISIBLE,
               twice INT GENERATED ALWAYS AS (amount * 2) STORED,
               thrice INT GENERATED ALWAYS AS (amount * 3) VIRTUAL,
               body BLOB,
               text1 TEXT,
               PRIMARY KEY (id),
               KEY z (name(5), e DESC),
               UNIQUE KEY u (e, at),
               KEY a (at),
               FULLTEXT KEY f (text1)
             ) ENGINE=InnoDB AUTO_INCREMENT=100 DEFAULT CHARSET=utf8mb4 COMMENT='KEY `a` ('",
        )
        .await;
        db.sql("CREATE TRIGGER late AFTER INSERT ON t FOR EACH ROW SET @a = 1")
            .await;
        db.sql("CREATE TRIGGER early BEFORE INSERT ON t FOR EACH ROW SET @a = 1")
            .await;
        other
            .sql(format!(
                "CREATE TABLE `c-$ä` (r INT UNSIGNED, CONSTRAINT points FOREIGN KEY (r) \
                 REFERENCES `{}`.t (id) ON DELETE CASCADE) ENGINE=InnoDB",
                db.name
            ))
            .await;
        let mut session = session(&db, Purpose::Ddl).await;
        let table = definition(&mut session, &db, "t").await;

        assert_eq!(table.kind, TableKind::Table);
        assert_eq!(table.engine, "InnoDB");
        assert_eq!(table.auto_increment, Some(100));
        assert!(!table.partitioned && table.create_statement.starts_with("CREATE TABLE `t`"));
        assert_eq!(table.triggers, ["early", "late"]);
        let names: Vec<&str> = table.columns.iter().map(|c| c.name.as_str()).collect();
        let expected = [
            "id", "name", "e", "at", "amount", "twice", "thrice", "body", "text1",
        ];
        assert_eq!(names, expected);
        let id = table.column("ID").unwrap();
        assert!(id.unsigned() && id.auto_increment() && !id.nullable && id.position == 0);
        let name = table.column("name").unwrap();
        assert_eq!(name.charset.as_deref(), Some("latin1"));
        assert_eq!((name.octet_length, name.nullable), (Some(20), true));
        let e = table.column("e").unwrap();
        assert_eq!(e.labels(), ["a", "b'c", "d\\e", "f,g"]);
        assert_eq!(e.comment, "it's");
        assert_eq!(table.column("at").unwrap().fraction_digits, 3);
        let amount = table.column("amount").unwrap();
        assert_eq!((amount.decimal, amount.invisible), (Some((10, 3)), true));
        let generated = |name| {
            let column = table.column(name).unwrap();
            (column.generated, column.generation_expression.is_some())
        };
        assert_eq!(generated("twice"), (Some(Generated::Stored), true));
        assert_eq!(generated("thrice"), (Some(Generated::Virtual), true));
        assert_eq!(generated("at"), (None, false));
        assert_eq!(table.column("body").unwrap().charset, None);

        let indexes: Vec<(&str, bool, IndexKind)> = table
            .indexes
            .iter()
            .map(|index| (index.name.as_str(), index.unique, index.kind))
            .collect();
        let expected = [
            ("PRIMARY", true, IndexKind::Btree),
            ("u", true, IndexKind::Btree),
            ("z", false, IndexKind::Btree),
            ("a", false, IndexKind::Btree),
            ("f", false, IndexKind::Fulltext),
        ];
        assert_eq!(indexes, expected);
        let z = table.index("z").unwrap();
        assert_eq!(z.columns[0].prefix, Some(5));
        // MariaDB has descending keys from 10.8.
        let descending = table.create_statement.contains("DESC)");
        assert_eq!(z.columns[1].descending, descending);
        assert!(!z.columns[0].descending && (descending || server.is_mariadb()));

        let [child] = table.referenced_by.as_slice() else {
            panic!("{:?}", table.referenced_by);
        };
        assert_eq!(child.child, TableName::new(&other.name, "c-$ä"));
        assert_eq!(
            (child.name.as_str(), child.on_delete.as_str()),
            ("points", "CASCADE")
        );
        let pointing = definition(&mut session, &other, "c-$ä").await;
        assert_eq!(pointing.foreign_keys, table.referenced_by);
        assert_eq!(pointing.foreign_keys[0].parent, table.name);
        session.close().await;
    })
    .await;
}

#[tokio::test]
async fn what_is_no_table_is_told() {
    both(async |server| {
        let db = TestDb::create(server, "load").await;
        db.sql("CREATE TABLE p (id INT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 2")
            .await;
        db.sql("CREATE VIEW v AS SELECT id FROM p").await;
        let mut session = session(&db, Purpose::Monitor).await;
        assert!(definition(&mut session, &db, "p").await.partitioned);
        let view = definition(&mut session, &db, "v").await;
        assert_eq!(view.kind, TableKind::View);
        let missing = TableName::new(&db.name, "none");
        assert_eq!(schema::load(&mut session, &missing).await.unwrap(), None);
        if server.is_mariadb() {
            db.sql("CREATE TABLE h (id INT PRIMARY KEY) WITH SYSTEM VERSIONING")
                .await;
            let table = definition(&mut session, &db, "h").await;
            assert_eq!(table.kind, TableKind::SystemVersioned);
            db.sql("CREATE TABLE o (id INT PRIMARY KEY, a INT, KEY k (a) IGNORED)")
                .await;
            let table = definition(&mut session, &db, "o").await;
            assert!(!table.index("k").unwrap().visible);
        } else {
            db.sql("CREATE TABLE o (id INT PRIMARY KEY, a INT, UNIQUE k ((a + 1), a) INVISIBLE)")
                .await;
            let table = definition(&mut session, &db, "o").await;
            let index = table.index("k").unwrap();
            assert!(!index.visible && index.columns[0].expression.is_some());
            assert_eq!(index.columns[0].column, None);
            assert_eq!(table.columns.len(), 2);
        }
        session.close().await;
    })
    .await;
}
