//! What is found in files.

use super::*;

pub(super) fn report(files: &[&str]) -> Report {
    let mut linter = Linter::new([]);
    for (index, text) in files.iter().enumerate() {
        linter.read(&format!("{index}.sql"), text);
    }
    linter.finish()
}

/// What is open, as `line rule`.
pub(super) fn open(report: &Report) -> Vec<String> {
    report
        .open()
        .map(|finding| format!("{} {}", finding.line, finding.rule.id))
        .collect()
}

fn check(text: &str, expect: &[&str]) {
    assert_eq!(open(&report(&[text])), expect, "{text}");
}

#[test]
fn what_destroys() {
    check(
        "DROP TABLE IF EXISTS a, `b c`",
        &["1 drop-table", "1 drop-table"],
    );
    check(
        "CREATE OR REPLACE TABLE a (id INT PRIMARY KEY)",
        &["1 drop-table"],
    );
    check("DROP DATABASE d", &["1 drop-database"]);
    check("TRUNCATE TABLE d.t", &["1 truncate"]);
    check("truncate t", &["1 truncate"]);
    check(
        "ALTER TABLE t DROP a, DROP COLUMN b",
        &["1 drop-column", "1 drop-column"],
    );
    check("ALTER TABLE t\n ADD x INT,\n DROP\n a", &["3 drop-column"]);
    check("ALTER TABLE t DROP PARTITION p0, p1", &["1 drop-partition"]);
    check("ALTER TABLE t TRUNCATE PARTITION p0", &["1 drop-partition"]);
    check(
        "ALTER TABLE t EXCHANGE PARTITION p WITH TABLE u",
        &["1 drop-partition"],
    );
    check(
        "ALTER TABLE t DISCARD TABLESPACE",
        &["1 discard-tablespace"],
    );
    check("ALTER TABLE t IMPORT TABLESPACE", &[]);
    check(
        "ALTER IGNORE TABLE t ADD UNIQUE (a)",
        &["1 alter-ignore", "1 add-unique"],
    );
    check("DELETE FROM t", &["1 delete-without-where"]);
    check("DELETE FROM t WHERE 1", &["1 delete-without-where"]);
    check(
        "DELETE FROM t WHERE 1=1 LIMIT 5",
        &["1 delete-without-where"],
    );
    check("DELETE FROM t WHERE id IN (SELECT 1)", &[]);
    check("DELETE a FROM a JOIN b ON a.x = b.x", &[]);
    check(
        "UPDATE t SET a = (SELECT 1 FROM u WHERE 1 = 2)",
        &["1 update-without-where"],
    );
    check(
        "UPDATE t SET a = 1 WHERE TRUE ORDER BY id",
        &["1 update-without-where"],
    );
    check("UPDATE t SET a = 1 WHERE id = 1", &[]);
    check(
        "WITH x AS (SELECT 1 FROM y WHERE a) DELETE FROM t",
        &["1 delete-without-where"],
    );
    check("WITH x AS (SELECT 1) SELECT * FROM x", &[]);
    check("SET sql_log_bin = 0", &["1 binlog-off"]);
    check("SET @@session.sql_log_bin := OFF, x = 1", &["1 binlog-off"]);
}

#[test]
fn what_breaks_the_deployed_application() {
    check(
        "RENAME TABLE a TO b, d.c TO d.e",
        &["1 rename-table", "1 rename-table"],
    );
    check("ALTER TABLE a RENAME TO b", &["1 rename-table"]);
    check("ALTER TABLE t RENAME COLUMN a TO b", &["1 rename-column"]);
    check(
        "ALTER TABLE t CHANGE a b INT",
        &["1 rename-column", "1 change-type"],
    );
    check("ALTER TABLE t CHANGE `A` a INT", &["1 change-type"]);
    check(
        "ALTER TABLE t ADD a INT NOT NULL",
        &["1 add-not-null-without-default"],
    );
    check(
        "ALTER TABLE t ADD COLUMN (a INT NOT NULL, b INT)",
        &["1 add-not-null-without-default"],
    );
    check(
        "ALTER TABLE t ADD a INT NOT NULL DEFAULT 0, ADD b INT, ADD c INT AS (1) NOT NULL",
        &[],
    );
    check("ALTER TABLE t ALTER a DROP DEFAULT", &["1 drop-default"]);
    check(
        "ALTER TABLE t ALTER COLUMN a SET DEFAULT 'DROP DEFAULT'",
        &[],
    );
    check("ALTER TABLE t RENAME INDEX a TO b", &["1 rename-index"]);
    check("ALTER TABLE t DROP INDEX a", &["1 drop-index"]);
    check(
        "ALTER TABLE t DROP INDEX a, ADD INDEX a (b)",
        &["1 add-index"],
    );
    check("DROP INDEX a ON t", &["1 drop-index"]);
    check(
        "DROP VIEW v; DROP TRIGGER IF EXISTS g",
        &["1 drop-object", "1 drop-object"],
    );
}

#[test]
fn what_blocks_or_takes_long() {
    check("ALTER TABLE t ADD UNIQUE KEY a (b)", &["1 add-unique"]);
    check("CREATE UNIQUE INDEX a ON t (b)", &["1 add-unique"]);
    check("CREATE INDEX a ON t (b)", &["1 add-index"]);
    check("CREATE FULLTEXT INDEX a ON t (b)", &["1 blocking-alter"]);
    check("ALTER TABLE t ADD SPATIAL INDEX (g)", &["1 blocking-alter"]);
    check(
        "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u (b)",
        &["1 add-foreign-key"],
    );
    check("ALTER TABLE t DROP FOREIGN KEY f", &[]);
    check(
        "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0)",
        &["1 add-check"],
    );
    check("ALTER TABLE t DROP PRIMARY KEY", &["1 drop-primary-key"]);
    check(
        "ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (a, b)",
        &["1 change-primary-key"],
    );
    check(
        "ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4",
        &["1 change-charset"],
    );
    check(
        "ALTER TABLE t DEFAULT CHARSET utf8mb4, COMMENT 'ENGINE=x'",
        &[],
    );
    check("ALTER TABLE t ENGINE=InnoDB", &["1 table-rebuild"]);
    check("ALTER TABLE t ROW_FORMAT=DYNAMIC", &["1 table-rebuild"]);
    check("ALTER TABLE t FORCE", &["1 table-rebuild"]);
    check("ALTER TABLE t PARTITION BY HASH (id)", &["1 table-rebuild"]);
    check(
        "OPTIMIZE TABLE a, b",
        &["1 table-rebuild", "1 table-rebuild"],
    );
    check(
        "ALTER TABLE t ADD c INT AS (1) STORED",
        &["1 table-rebuild"],
    );
    check(
        "ALTER TABLE t ADD c INT AUTO_INCREMENT UNIQUE",
        &["1 blocking-alter", "1 add-unique"],
    );
    check(
        "ALTER TABLE t ADD INDEX (a), ALGORITHM=COPY",
        &["1 add-index", "1 blocking-alter"],
    );
    check(
        "ALTER TABLE t ADD c INT, LOCK=SHARED",
        &["1 blocking-alter"],
    );
    check("ALTER TABLE t ADD FULLTEXT (a), LOCK=NONE", &[]);
    check("ALTER TABLE t ENGINE=InnoDB, ALGORITHM=INSTANT", &[]);
    check("LOCK TABLES t WRITE; UNLOCK TABLES", &["1 lock-tables"]);
    check(
        "FLUSH TABLES WITH READ LOCK; FLUSH LOGS",
        &["1 lock-tables"],
    );
    check(
        "ALTER TABLE t ADD a INT;\nALTER TABLE u ADD a INT;\nALTER TABLE t ADD b INT;",
        &["3 multiple-alters"],
    );
    check("CREATE TABLE t (a INT, b INT)", &["1 no-primary-key"]);
    check(
        "CREATE TABLE t (a INT, UNIQUE (a)); CREATE TABLE u LIKE t; CREATE TEMPORARY TABLE v (a INT)",
        &[],
    );
    check("CREATE TABLE t AS SELECT 1", &["1 no-primary-key"]);
}

#[test]
fn modifications_without_a_past() {
    check("ALTER TABLE t MODIFY a INT", &["1 change-type"]);
    check(
        "ALTER TABLE t MODIFY a INT NOT NULL",
        &["1 change-type", "1 set-not-null"],
    );
    check(
        "ALTER TABLE t MODIFY a VARCHAR(5) COLLATE utf8mb4_bin",
        &["1 change-type", "1 change-charset"],
    );
    check("ALTER TABLE t MODIFY a ENUM('x')", &["1 enum-change"]);
}

#[test]
fn modifications_of_what_earlier_files_defined() {
    let past = "CREATE TABLE t (id BIGINT PRIMARY KEY, v VARCHAR(20) NOT NULL DEFAULT 'x', \
                e ENUM('a','b'), s VARCHAR(5) CHARACTER SET latin1, n INT);";
    let check = |text: &str, expect: &[&str]| {
        assert_eq!(open(&report(&[past, text])), expect, "{text}");
    };
    check("ALTER TABLE t MODIFY n BIGINT", &["1 change-type"]);
    check("ALTER TABLE t MODIFY n SMALLINT", &["1 narrow-type"]);
    check("ALTER TABLE T MODIFY n SMALLINT", &["1 change-type"]);
    check("ALTER TABLE t MODIFY N SMALLINT", &["1 narrow-type"]);
    check(
        "ALTER TABLE t CHANGE n m SMALLINT",
        &["1 rename-column", "1 narrow-type"],
    );
    check(
        "ALTER TABLE t MODIFY v VARCHAR(30) NOT NULL DEFAULT 'x'",
        &[],
    );
    check(
        "ALTER TABLE t MODIFY v VARCHAR(30) NOT NULL",
        &["1 drop-default"],
    );
    check(
        "ALTER TABLE t MODIFY v VARCHAR(10) NULL",
        &["1 narrow-type"],
    );
    check(
        "ALTER TABLE t MODIFY v INT NOT NULL DEFAULT 0",
        &["1 change-type"],
    );
    check("ALTER TABLE t MODIFY e ENUM('a','b','c')", &[]);
    check(
        "ALTER TABLE t MODIFY e ENUM('c','a','b')",
        &["1 enum-change"],
    );
    check("ALTER TABLE t MODIFY e ENUM('a')", &["1 enum-removal"]);
    check(
        "ALTER TABLE t MODIFY s VARCHAR(5) CHARACTER SET utf8mb4",
        &["1 change-charset"],
    );
    check(
        "ALTER TABLE t MODIFY s VARCHAR(5) CHARACTER SET latin1",
        &[],
    );
    check("ALTER TABLE t MODIFY n INT NOT NULL", &["1 set-not-null"]);
    check("ALTER TABLE t MODIFY id BIGINT NOT NULL", &[]);
}

#[test]
fn the_past_goes_on_from_file_to_file() {
    let files = [
        "CREATE TABLE a (id INT PRIMARY KEY, x INT)",
        "ALTER TABLE a ADD y BIGINT; ALTER TABLE a RENAME COLUMN y TO z; RENAME TABLE a TO b",
        "ALTER TABLE b MODIFY z INT",
        "ALTER TABLE b DROP z",
        "ALTER TABLE b MODIFY z INT",
    ];
    let report = report(&files);
    let last: Vec<(&str, &str)> = report
        .open()
        .map(|finding| (finding.file.as_str(), finding.rule.id))
        .filter(|(file, _)| *file >= "2.sql")
        .collect();
    assert_eq!(
        last,
        [
            ("2.sql", "narrow-type"),
            ("3.sql", "drop-column"),
            ("4.sql", "change-type")
        ]
    );
}

#[test]
fn what_a_server_says_is_known_before_the_first_file() {
    let text = "ALTER TABLE ${db}.orders MODIFY n SMALLINT; ALTER TABLE orders MODIFY n SMALLINT; \
                ALTER TABLE d.orders MODIFY n SMALLINT; CREATE INDEX i ON d.orders (n)";
    assert_eq!(
        tables_of(text),
        [
            (None, "orders".to_string()),
            (None, "orders".to_string()),
            (Some("d".to_string()), "orders".to_string()),
        ]
    );
    let mut linter = Linter::new([]);
    for schema in [None, Some("d".to_string())] {
        linter.learn(ServerTable {
            schema,
            name: "orders".into(),
            create: "CREATE TABLE `orders` (\n  `id` int NOT NULL,\n  `n` int DEFAULT NULL,\n  \
                     PRIMARY KEY (`id`)\n) ENGINE=InnoDB"
                .into(),
            size: "about 7 rows, 16 KiB".into(),
        });
    }
    linter.read("x", text);
    let report = linter.finish();
    assert_eq!(
        open(&report),
        [
            "1 narrow-type",
            "1 narrow-type",
            "1 narrow-type",
            "1 add-index"
        ]
    );
    for finding in report.open() {
        assert!(
            finding.message.ends_with(" (about 7 rows, 16 KiB)"),
            "{}",
            finding.message
        );
    }
}

#[test]
fn a_table_that_the_file_creates_has_nobody_yet() {
    check(
        "CREATE TABLE t (a INT PRIMARY KEY); ALTER TABLE t DROP a; CREATE INDEX i ON t (b); \
         ALTER TABLE t ENGINE=InnoDB; TRUNCATE t; DELETE FROM t; ALTER TABLE t RENAME u; \
         ALTER TABLE u DROP b; DROP TABLE u; DROP TABLE t",
        &["1 drop-table"],
    );
    check(
        "CREATE TABLE IF NOT EXISTS t (a INT PRIMARY KEY); ALTER TABLE t DROP a",
        &["1 drop-column"],
    );
}

#[test]
fn a_structure_dump_is_read_to_its_end() {
    let dump = "-- MySQL dump\n/*!40101 SET NAMES utf8mb4 */;\n\
        /*!40014 SET @OLD_UNIQUE_CHECKS=@@UNIQUE_CHECKS, UNIQUE_CHECKS=0 */;\n\
        /*!50503 SET character_set_client = utf8mb4 */;\n\
        CREATE TABLE `users` (\n  `id` bigint NOT NULL AUTO_INCREMENT,\n  `name` varchar(255) COLLATE utf8mb4_bin DEFAULT NULL,\n  PRIMARY KEY (`id`),\n  KEY `n` (`name`)\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 /* ; */;\n\
        DELIMITER ;;\n/*!50003 CREATE*/ /*!50017 DEFINER=`a`@`%`*/ /*!50003 TRIGGER g BEFORE INSERT ON users FOR EACH ROW BEGIN SET NEW.name = 'a;b'; END */;;\nDELIMITER ;\n\
        INSERT INTO `schema_migrations` (version) VALUES ('1'),('2');\n";
    check(dump, &[]);
    assert_eq!(report(&[dump]).statements, 6);
}

#[test]
fn flyway_goose_and_liquibase() {
    check("ALTER TABLE ${schema}.t DROP a", &["1 drop-column"]);
    let goose = "-- +goose Up\nALTER TABLE t ADD a INT;\n-- +goose Down\nALTER TABLE t DROP a;\n";
    check(goose, &[]);
    assert_eq!(report(&[goose]).way_back, 1);
    check(
        "--changeset me:1\nDROP TABLE t;\n--rollback nothing to do",
        &["2 drop-table"],
    );
}

#[test]
fn what_is_not_known_is_said() {
    check("FROBNICATE t", &["1 unknown-statement"]);
    check(
        "CALL p(); EXECUTE s",
        &["1 unknown-statement", "1 unknown-statement"],
    );
    check("ALTER TABLE t FROB x", &["1 unknown-statement"]);
    check(
        "ALTER TABLE t DROP SYSTEM VERSIONING",
        &["1 unknown-statement"],
    );
    check(
        "ALTER FROB x; CREATE FROB x; DROP FROB x; RENAME x",
        &["1 unknown-statement"; 4],
    );
    check("ALTER TABLE t ADD a VARCHAR(5", &["1 unreadable-statement"]);
    check("SELECT 'open", &["1 unreadable-statement"]);
    check("ALTER TABLE", &["1 unreadable-statement"]);
    check("DROP TABLE", &["1 unreadable-statement"]);
    check("", &[]);
    check("-- nothing", &[]);
}

#[test]
fn findings_are_accepted_with_a_reason() {
    check(
        "-- changeling:allow drop-column nobody reads it since 4.2\nALTER TABLE t DROP a",
        &[],
    );
    check(
        "-- changeling:allow drop-column\nALTER TABLE t DROP a",
        &["1 allow-without-reason", "2 drop-column"],
    );
    check(
        "-- changeling:allow drop-table wrong rule\nALTER TABLE t DROP a",
        &["1 unused-allow", "2 drop-column"],
    );
    check(
        "-- changeling:allow drop-colum typing error\nALTER TABLE t DROP a",
        &["1 unused-allow", "2 drop-column"],
    );
    check(
        "ALTER TABLE t DROP a; -- changeling:allow drop-column old\nALTER TABLE u DROP a;",
        &["2 drop-column"],
    );
    check(
        "-- changeling:allow-file drop-column cleaning up\nALTER TABLE t DROP a;\nALTER TABLE u DROP a, DROP b;",
        &[],
    );
    let accepted = report(&["-- changeling:allow drop-table, truncate gone\nDROP TABLE t"]);
    assert_eq!(open(&accepted), ["1 unused-allow"]);
    assert_eq!(accepted.findings[1].accepted.as_deref(), Some("gone"));
}

#[test]
fn rules_can_be_left_out() {
    let mut linter = Linter::new(["drop-column".to_string()]);
    linter.read(
        "x",
        "-- changeling:allow drop-column why\nALTER TABLE t DROP a, DROP INDEX b",
    );
    assert_eq!(open(&linter.finish()), ["2 drop-index"]);
}

#[test]
fn the_safe_way_is_ready_to_use() {
    let report =
        report(&["ALTER TABLE `my db`.t DROP COLUMN c;\nALTER TABLE u\n  MODIFY e ENUM('x','y')"]);
    let steps = &report.findings[0].instead;
    assert_eq!(
        steps.last().map(String::as_str),
        Some("changeling migrate 'ALTER TABLE `my db`.t DROP COLUMN c'")
    );
    assert_eq!(
        report.findings[1].instead,
        [r"changeling migrate 'ALTER TABLE u MODIFY e ENUM('\''x'\'','\''y'\'')'"]
    );
}

#[test]
fn every_rule_can_be_found_by_its_id_once() {
    let mut ids: Vec<&str> = rules::RULES.iter().map(|rule| rule.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), rules::RULES.len());
    assert!(ids.iter().all(|id| rules::by_id(id).is_some()));
}

proptest::proptest! {
    #[test]
    fn nothing_panics(text in proptest::arbitrary::any::<String>()) {
        report(&[&text]);
    }

    #[test]
    fn nothing_panics_on_what_looks_like_sql(
        words in proptest::collection::vec(
            proptest::sample::select(vec![
                "ALTER", "TABLE", "t", "ADD", "COLUMN", "(", ")", ",", "DROP", "MODIFY", "CHANGE", "a", "INT",
                "ENUM", "'x'", "NOT", "NULL", "DEFAULT", "CREATE", "INDEX", "ON", "UNIQUE", ";", "RENAME",
                "TO", ".", "`q`", "/*!", "*/", "-- changeling:allow", "drop-column", "\n", "DELETE", "FROM",
                "WHERE", "1", "=", "LIKE", "KEY", "PRIMARY", "PARTITION", "${x}", "DELIMITER",
            ]),
            0..40,
        )
    ) {
        let text = words.join(" ");
        let found = report(&[&text]);
        let lines = text.lines().count().max(1);
        proptest::prop_assert!(found.findings.iter().all(|f| f.line >= 1 && f.line <= lines));
    }
}
