//! Each rule has an example, and what it advises can be run.

use super::rules;
use super::tests::{open, report};
use crate::alter::lexer::{Dialect, TokenKind, tokens};
use crate::alter::{AlterStatement, ClauseKind};
use crate::mysql::reserved::is_reserved;

/// A statement for each rule, after what earlier files have defined.
const PAST: &str = "CREATE TABLE `my db`.`order` (id INT PRIMARY KEY, `my col` INT NOT NULL DEFAULT 0, `key` INT NOT NULL, \
    `a ``b` ENUM('it''s','x') NOT NULL, `set` SET('it''s','y','z'), u INT, KEY `by group` (`key`), KEY `index` (u))";
const EXAMPLES: &[(&str, &str)] = &[
    ("drop-table", "DROP TABLE `my db`.`order`"),
    ("drop-database", "DROP DATABASE `my db`"),
    ("truncate", "TRUNCATE `my db`.`order`"),
    (
        "drop-column",
        "ALTER TABLE `my db`.`order` DROP COLUMN `key`",
    ),
    ("drop-column", "ALTER TABLE `my db`.`order` DROP `a ``b`"),
    ("drop-column", "ALTER TABLE `where` DROP `from`"),
    (
        "drop-partition",
        "ALTER TABLE `my db`.`order` DROP PARTITION p0",
    ),
    (
        "discard-tablespace",
        "ALTER TABLE `order` DISCARD TABLESPACE",
    ),
    ("alter-ignore", "ALTER IGNORE TABLE `order` ADD UNIQUE (u)"),
    ("delete-without-where", "DELETE FROM `my db`.`order`"),
    ("update-without-where", "UPDATE `my db`.`order` SET u = 1"),
    (
        "rename-table",
        "RENAME TABLE `my db`.`order` TO `my db`.`group`",
    ),
    (
        "rename-column",
        "ALTER TABLE `my db`.`order` RENAME COLUMN `key` TO `my key`",
    ),
    (
        "rename-column",
        "ALTER TABLE `my db`.`order` CHANGE `a ``b` `my ``b` ENUM('it''s','x')",
    ),
    (
        "add-not-null-without-default",
        "ALTER TABLE `my db`.`order` ADD `desc` VARCHAR(5) NOT NULL",
    ),
    (
        "drop-default",
        "ALTER TABLE `my db`.`order` ALTER `my col` DROP DEFAULT",
    ),
    (
        "narrow-type",
        "ALTER TABLE `my db`.`order` MODIFY `key` SMALLINT NOT NULL",
    ),
    (
        "enum-removal",
        "ALTER TABLE `my db`.`order` MODIFY `a ``b` ENUM('x') NOT NULL",
    ),
    (
        "enum-removal",
        "ALTER TABLE `my db`.`order` MODIFY `set` SET('y')",
    ),
    ("binlog-off", "SET sql_log_bin = 0"),
    (
        "set-not-null",
        "ALTER TABLE `my db`.`order` MODIFY `set` SET('it''s','y','z') NOT NULL",
    ),
    (
        "change-type",
        "ALTER TABLE `my db`.`order` MODIFY `key` BIGINT NOT NULL",
    ),
    (
        "enum-change",
        "ALTER TABLE `my db`.`order` MODIFY `a ``b` ENUM('x','it''s') NOT NULL",
    ),
    (
        "change-charset",
        "ALTER TABLE `my db`.`order` CONVERT TO CHARACTER SET utf8mb4",
    ),
    (
        "add-unique",
        "CREATE UNIQUE INDEX `select` ON `my db`.`order` (u) ALGORITHM=INPLACE LOCK=SHARED",
    ),
    (
        "add-unique",
        "ALTER TABLE `my db`.`order` ADD UNIQUE `select` (u)",
    ),
    (
        "change-primary-key",
        "ALTER TABLE `order` DROP PRIMARY KEY, ADD PRIMARY KEY (`key`, id)",
    ),
    ("drop-primary-key", "ALTER TABLE `order` DROP PRIMARY KEY"),
    (
        "drop-index",
        "ALTER TABLE `my db`.`order` DROP INDEX `by group`",
    ),
    ("drop-index", "DROP INDEX `index` ON `my db`.`order`"),
    (
        "rename-index",
        "ALTER TABLE `order` RENAME INDEX `index` TO `key`",
    ),
    (
        "add-index",
        "CREATE INDEX `select` ON `my db`.`order` (`key` DESC);",
    ),
    (
        "add-foreign-key",
        "ALTER TABLE `order` ADD FOREIGN KEY (u) REFERENCES v (id)",
    ),
    ("add-check", "ALTER TABLE `order` ADD CHECK (`key` > 0)"),
    ("table-rebuild", "OPTIMIZE TABLE `my db`.`order`"),
    (
        "blocking-alter",
        "CREATE FULLTEXT INDEX `match` ON `my db`.`order` (`key`)",
    ),
    (
        "blocking-alter",
        "ALTER TABLE `order` ADD INDEX (u), LOCK=SHARED",
    ),
    (
        "multiple-alters",
        "ALTER TABLE `order` ADD x INT; ALTER TABLE `order` ADD y INT",
    ),
    ("lock-tables", "LOCK TABLES `order` WRITE"),
    ("drop-object", "DROP VIEW v"),
    ("no-primary-key", "CREATE TABLE `my new` (a INT)"),
    ("unreadable-statement", "ALTER TABLE t ADD ("),
    ("unknown-statement", "FROBNICATE t"),
    (
        "allow-without-reason",
        "-- changeling:allow drop-object\nDROP VIEW v",
    ),
    (
        "unused-allow",
        "-- changeling:allow drop-table it is empty\nSELECT 1",
    ),
];

/// The SQL of a step of the safe way, if it has any; words that say what it is for stand before it.
fn command(step: &str) -> Option<String> {
    let sql = |text: &str| {
        ["UPDATE ", "DROP VIEW ", "CREATE VIEW ", "ALTER TABLE "]
            .iter()
            .any(|verb| text.starts_with(verb))
    };
    let text = match step.split_once(": ") {
        Some((_, after)) if sql(after) || after.starts_with("changeling migrate '") => after,
        _ => step,
    };
    if let Some(quoted) = text.strip_prefix("changeling migrate ") {
        // As a shell reads it.
        let inside = quoted.strip_prefix('\'')?.strip_suffix('\'')?;
        let parts: Vec<&str> = inside.split(r"'\''").collect();
        assert!(parts.iter().all(|part| !part.contains('\'')), "{quoted}");
        return Some(parts.join("'"));
    }
    let text = text.split(", again until").next().unwrap_or(text);
    let text = text.split(" (MariaDB").next().unwrap_or(text);
    sql(text).then(|| text.to_string())
}

#[test]
fn each_rule_has_an_example_and_its_safe_way_is_sql() {
    let mut shown: Vec<&str> = Vec::new();
    let mut commands = 0;
    for (rule, statement) in EXAMPLES {
        let report = report(&[PAST, statement]);
        let finding = report.open().find(|finding| finding.rule.id == *rule);
        let finding = finding.unwrap_or_else(|| panic!("{rule}: {statement}: {:?}", open(&report)));
        shown.push(rule);
        for step in &finding.instead {
            let Some(sql) = command(step) else { continue };
            commands += 1;
            if step.contains("changeling migrate") {
                let alter = AlterStatement::parse(&sql)
                    .unwrap_or_else(|failure| panic!("{step}: {failure}"));
                let unknown = alter.kinds().any(|kind| *kind == ClauseKind::Other);
                assert!(alter.table.is_some() && !unknown, "{step}: {alter:?}");
            }
            let again = open(&super::tests::report(&[&sql]));
            let refused = again.iter().any(|found| {
                found.ends_with("unreadable-statement") || found.ends_with("unknown-statement")
            });
            assert!(!refused, "{step}: {again:?}");
            // Names are in small letters here, keywords in capitals.
            let bare = tokens(&sql, Dialect::default()).into_iter().find(|token| {
                token.kind == TokenKind::Word
                    && token.text.chars().all(|c| c.is_ascii_lowercase())
                    && is_reserved(token.text)
            });
            assert!(bare.is_none(), "{step}: {bare:?}");
        }
    }
    assert!(commands > 30, "{commands}");
    let missing: Vec<&str> = rules::RULES
        .iter()
        .map(|rule| rule.id)
        .filter(|id| !shown.contains(id))
        .collect();
    assert!(missing.is_empty(), "no example of {missing:?}");
}
