//! Statements in the binlog: which of them end transactions, and which touch our tables.
//!
//! In row format the binlog has statements only for DDL and transaction control; a session may still
//! have chosen statement format. A statement that could change the original is not replayed by
//! guessing: the reader stops.

use super::event::Xid;
use super::token::{Backslash, Token, tokens};
use crate::mysql::quote::OWN_DDL;
use crate::names::TableName;

/// What a statement means to the reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A transaction begins.
    Begin,
    /// A transaction ends.
    Commit,
    /// A transaction ends and what it changed in transactional tables is undone.
    Rollback,
    /// A savepoint of this name is set.
    Savepoint(String),
    /// What was changed since the savepoint of this name is undone.
    RollbackTo(String),
    /// An XA transaction begins.
    XaStart(Xid),
    /// A prepared XA transaction is committed.
    XaCommit(Xid),
    /// A prepared XA transaction is undone.
    XaRollback(Xid),
    /// Nothing to us.
    Harmless,
    /// It changes, or may change, rows of the original as a statement.
    Changes,
    /// It makes something through which statements may reach the original without naming it.
    Reaches,
    /// It changes the definition of the original or of the ghost, or what they are.
    Redefines(TableName),
}

/// The tables that no statement may touch.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The original.
    pub original: TableName,
    /// The ghost, whose definition is ours alone.
    pub ghost: TableName,
    /// Whether statements can change the original without naming it: by views, triggers, functions,
    /// cascades.
    pub reached_indirectly: bool,
}

/// Judges a statement that ran in a default schema.
pub fn judge(schema: &[u8], text: &[u8], watched: &Watched) -> Verdict {
    if text
        .trim_ascii_start()
        .starts_with(OWN_DDL.trim_end().as_bytes())
    {
        return Verdict::Harmless;
    }
    let schema = String::from_utf8_lossy(schema);
    let text = String::from_utf8_lossy(text);
    let verdict = judge_tokens(&schema, &tokens(&text, Backslash::Escapes), watched);
    if verdict == Verdict::Harmless && text.contains('\\') {
        // Under NO_BACKSLASH_ESCAPES the text falls apart otherwise, and what looked like a string may
        // be a name.
        return judge_tokens(&schema, &tokens(&text, Backslash::Plain), watched);
    }
    verdict
}

fn judge_tokens(schema: &str, tokens: &[Token], watched: &Watched) -> Verdict {
    if let Some(verdict) = transaction_control(tokens) {
        return verdict;
    }
    let statement = Statement { schema, tokens };
    if let Some(verdict) = statement.judge_data(watched) {
        return verdict;
    }
    statement.judge_definition(watched)
}

fn transaction_control(tokens: &[Token]) -> Option<Verdict> {
    let word = |index: usize| {
        tokens
            .get(index)
            .and_then(Token::keyword)
            .unwrap_or_default()
    };
    Some(match word(0).as_str() {
        "BEGIN" => Verdict::Begin,
        "START" if word(1) == "TRANSACTION" => Verdict::Begin,
        "COMMIT" => Verdict::Commit,
        "ROLLBACK" if word(1) == "TO" => Verdict::RollbackTo(last_name(tokens)),
        "ROLLBACK" => Verdict::Rollback,
        "SAVEPOINT" => Verdict::Savepoint(last_name(tokens)),
        "RELEASE" => Verdict::Harmless,
        "XA" => match (word(1).as_str(), xid(tokens.get(2..)?)) {
            ("START" | "BEGIN", Some(xid)) => Verdict::XaStart(xid),
            ("COMMIT", Some(xid)) => Verdict::XaCommit(xid),
            ("ROLLBACK", Some(xid)) => Verdict::XaRollback(xid),
            ("END" | "PREPARE", Some(_)) => Verdict::Harmless,
            _ => Verdict::Changes,
        },
        "" if tokens.is_empty() => Verdict::Harmless,
        _ => return None,
    })
}

fn last_name(tokens: &[Token]) -> String {
    let name = tokens.last().and_then(Token::name).unwrap_or_default();
    // Names of savepoints are compared without case (manual, "SAVEPOINT").
    name.to_lowercase()
}

/// `X'6162',X'',1`: as the servers write it into the binlog.
fn xid(tokens: &[Token]) -> Option<Xid> {
    let mut at = 0;
    let mut hex = || {
        // `X` and the string stand apart; a comma stands before the second.
        while !matches!(tokens.get(at)?, Token::Text(_)) {
            at += 1;
        }
        let Some(Token::Text(text)) = tokens.get(at) else {
            return None;
        };
        at += 1;
        unhex(text)
    };
    let (global, branch) = (hex()?, hex()?);
    let format = tokens.iter().rev().find_map(|token| match token {
        Token::Word(word) => word.parse().ok(),
        _ => None,
    })?;
    Some(Xid {
        format,
        global,
        branch,
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len() / 2)
        .map(|index| u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok())
        .collect()
}

struct Statement<'a> {
    schema: &'a str,
    tokens: &'a [Token],
}

impl Statement<'_> {
    fn keyword(&self, index: usize) -> String {
        self.tokens
            .get(index)
            .and_then(Token::keyword)
            .unwrap_or_default()
    }

    /// DML in statement format.
    fn judge_data(&self, watched: &Watched) -> Option<Verdict> {
        let touches = match self.keyword(0).as_str() {
            // The target is the first name; what stands behind is only read.
            "INSERT" | "REPLACE" => {
                let target = self
                    .target_after(&["INTO"])
                    .unwrap_or_else(|| self.first_name(1));
                self.name_at(target, &watched.original)
            }
            "LOAD" => match self.target_after(&["TABLE"]) {
                Some(target) => self.name_at(target, &watched.original),
                None => true,
            },
            // What stands behind these words is only read.
            "UPDATE" => self.names_between(1, self.before("SET"), &watched.original),
            "DELETE" => self.names_between(1, self.before("WHERE"), &watched.original),
            "WITH" => self.names_from(1, &watched.original),
            // Logged only if a function in it changes something.
            "SELECT" | "DO" | "CALL" | "SET" | "VALUES" | "(" => false,
            _ => return None,
        };
        Some(if touches || watched.reached_indirectly {
            Verdict::Changes
        } else {
            Verdict::Harmless
        })
    }

    fn judge_definition(&self, watched: &Watched) -> Verdict {
        for table in [&watched.original, &watched.ghost] {
            if self.redefines(table) {
                return Verdict::Redefines(table.clone());
            }
        }
        let makes_text = matches!(
            self.object(1).as_str(),
            "VIEW" | "TRIGGER" | "FUNCTION" | "PROCEDURE" | "PACKAGE"
        );
        if makes_text
            && matches!(self.keyword(0).as_str(), "CREATE" | "ALTER")
            && self.mentions(&watched.original.table)
            && (same(self.schema, &watched.original.schema)
                || self.mentions(&watched.original.schema))
        {
            return Verdict::Reaches;
        }
        Verdict::Harmless
    }

    fn redefines(&self, table: &TableName) -> bool {
        let first = self.keyword(0);
        match first.as_str() {
            "ANALYZE" | "OPTIMIZE" | "CHECK" | "CHECKSUM" | "REPAIR" | "GRANT" | "REVOKE"
            | "FLUSH" | "KILL" | "HELP" | "USE" => false,
            "CREATE" => self.creates(table),
            "DROP" => self.drops(table),
            "ALTER" => match self.object(1).as_str() {
                // Nothing of these is a table; a database's defaults touch no table.
                "USER" | "ROLE" | "PROCEDURE" | "FUNCTION" | "EVENT" | "VIEW" | "SERVER"
                | "DATABASE" | "SCHEMA" | "INSTANCE" | "RESOURCE" | "LOGFILE" | "TABLESPACE"
                | "UNDO" | "SEQUENCE" => false,
                "TABLE" => self.alters(table),
                _ => self.names_from(1, table),
            },
            // TRUNCATE, RENAME, and anything that is not known here.
            _ => self.names_from(1, table),
        }
    }

    fn creates(&self, table: &TableName) -> bool {
        match self.object(1).as_str() {
            "TABLE" => {
                if self.has_keyword("TEMPORARY") {
                    return false;
                }
                let at = self.first_name(1);
                let itself = self.name_at(at, table);
                // The table is there, so this does nothing; had it gone, its DROP would have been seen.
                let if_missing = (1..at).any(|index| self.keyword(index) == "EXISTS");
                // A foreign key to the original would come to point at the old table.
                (itself && !if_missing) || self.references(table)
            }
            "INDEX" | "TRIGGER" => match self.target_after(&["ON"]) {
                Some(target) => self.name_at(target, table),
                None => self.names_from(1, table),
            },
            _ => false,
        }
    }

    fn drops(&self, table: &TableName) -> bool {
        match self.object(1).as_str() {
            "TABLE" | "TABLES" => !self.has_keyword("TEMPORARY") && self.names_from(1, table),
            "INDEX" => match self.target_after(&["ON"]) {
                Some(target) => self.name_at(target, table),
                None => self.names_from(1, table),
            },
            "DATABASE" | "SCHEMA" => self.mentions(&table.schema),
            _ => false,
        }
    }

    /// What kind of object a CREATE, ALTER or DROP is about: the first word of the known ones.
    fn object(&self, from: usize) -> String {
        const OBJECTS: [&str; 23] = [
            "TABLE",
            "TABLES",
            "INDEX",
            "TRIGGER",
            "VIEW",
            "PROCEDURE",
            "FUNCTION",
            "EVENT",
            "DATABASE",
            "SCHEMA",
            "USER",
            "ROLE",
            "SERVER",
            "TABLESPACE",
            "LOGFILE",
            "UNDO",
            "INSTANCE",
            "RESOURCE",
            "SEQUENCE",
            "PACKAGE",
            "SPATIAL",
            "LIBRARY",
            "STATISTICS",
        ];
        (from..self.tokens.len())
            .map(|index| self.keyword(index))
            .find(|word| *word != "SPATIAL" && OBJECTS.contains(&word.as_str()))
            .unwrap_or_default()
    }

    fn has_keyword(&self, word: &str) -> bool {
        // TEMPORARY stands before TABLE; a column may be called so.
        self.tokens
            .iter()
            .take(4)
            .any(|token| token.keyword().as_deref() == Some(word))
    }

    /// The place behind the first of these words.
    fn target_after(&self, words: &[&str]) -> Option<usize> {
        (1..self.tokens.len())
            .find(|index| words.contains(&self.keyword(*index).as_str()))
            .map(|index| index + 1)
    }

    /// The place of the first name that is none of the words that may stand before a table's name.
    fn first_name(&self, from: usize) -> usize {
        const BEFORE: [&str; 16] = [
            "LOW_PRIORITY",
            "DELAYED",
            "HIGH_PRIORITY",
            "IGNORE",
            "INTO",
            "TABLE",
            "IF",
            "NOT",
            "EXISTS",
            "OR",
            "REPLACE",
            "TEMPORARY",
            "QUICK",
            "FROM",
            "ONLINE",
            "TABLES",
        ];
        (from..self.tokens.len())
            .find(|index| match &self.tokens[*index] {
                Token::Word(_) => !BEFORE.contains(&self.keyword(*index).as_str()),
                Token::Quoted(_) => true,
                _ => false,
            })
            .unwrap_or(self.tokens.len())
    }

    fn references(&self, table: &TableName) -> bool {
        self.follows_any(&["REFERENCES"], table)
    }

    /// The table is the one that is altered, or takes part in it: it gets a new name, exchanges a
    /// partition, is pointed to by a foreign key. Columns may be called like it.
    fn alters(&self, table: &TableName) -> bool {
        const BEFORE: [&str; 5] = ["TABLE", "RENAME", "TO", "AS", "REFERENCES"];
        self.name_at(self.first_name(1), table) || self.follows_any(&BEFORE, table)
    }

    fn follows_any(&self, words: &[&str], table: &TableName) -> bool {
        (0..self.tokens.len()).any(|index| {
            words.contains(&self.keyword(index).as_str()) && self.name_at(index + 1, table)
        })
    }

    /// The place of the first such word; the end if there is none.
    fn before(&self, word: &str) -> usize {
        (0..self.tokens.len())
            .find(|index| self.keyword(*index) == word)
            .unwrap_or(self.tokens.len())
    }

    /// Whether the name at this place is the table's.
    fn name_at(&self, at: usize, table: &TableName) -> bool {
        let Some(first) = self.tokens.get(at).and_then(Token::name) else {
            return false;
        };
        let second = match self.tokens.get(at + 1) {
            Some(Token::Symbol('.')) => self.tokens.get(at + 2).and_then(Token::name),
            _ => None,
        };
        match second {
            Some(second) => same(first, &table.schema) && same(second, &table.table),
            None => same(self.schema, &table.schema) && same(first, &table.table),
        }
    }

    /// Whether the table is named anywhere from this place on.
    fn names_from(&self, from: usize, table: &TableName) -> bool {
        self.names_between(from, self.tokens.len(), table)
    }

    fn names_between(&self, from: usize, to: usize, table: &TableName) -> bool {
        (from..to).any(|at| {
            let qualified = at > 0 && self.tokens[at - 1] == Token::Symbol('.');
            !qualified && (self.name_at(at, table) || self.qualifies(at, table))
        })
    }

    /// `t.c` or `t.*`, where the table itself qualifies.
    fn qualifies(&self, at: usize, table: &TableName) -> bool {
        self.tokens.get(at + 1) == Some(&Token::Symbol('.'))
            && same(self.schema, &table.schema)
            && self.tokens[at]
                .name()
                .is_some_and(|name| same(name, &table.table))
    }

    fn mentions(&self, wanted: &str) -> bool {
        self.tokens
            .iter()
            .any(|token| token.name().is_some_and(|name| same(name, wanted)))
    }
}

/// Whether two names may be one: servers differ in whether case counts, so it never does here.
fn same(a: &str, b: &str) -> bool {
    a == b || a.to_lowercase() == b.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched() -> Watched {
        Watched {
            original: TableName::new("d", "t"),
            ghost: TableName::new("d", "_t_gho"),
            reached_indirectly: false,
        }
    }

    fn check(schema: &str, text: &str, expected: Verdict) {
        let verdict = judge(schema.as_bytes(), text.as_bytes(), &watched());
        assert_eq!(verdict, expected, "in {schema}: {text}");
    }

    fn xid(global: &[u8], branch: &[u8], format: u64) -> Xid {
        Xid {
            format,
            global: global.to_vec(),
            branch: branch.to_vec(),
        }
    }

    #[test]
    fn transactions_are_told_apart() {
        check("d", "BEGIN", Verdict::Begin);
        check("d", "COMMIT", Verdict::Commit);
        check("d", "ROLLBACK", Verdict::Rollback);
        check("d", "ROLLBACK TO `S`", Verdict::RollbackTo("s".into()));
        check("d", "SAVEPOINT `t`", Verdict::Savepoint("t".into()));
        check(
            "d",
            "XA START X'6162',X'63',7",
            Verdict::XaStart(xid(b"ab", b"c", 7)),
        );
        check(
            "",
            "XA COMMIT X'61',X'',1",
            Verdict::XaCommit(xid(b"a", b"", 1)),
        );
        check(
            "",
            "XA ROLLBACK X'',X'',4294967295",
            Verdict::XaRollback(xid(b"", b"", 4_294_967_295)),
        );
        check("", "XA END X'61',X'',1", Verdict::Harmless);
        check(
            "",
            "# Dummy event replacing event type 160",
            Verdict::Harmless,
        );
    }

    #[test]
    fn statements_that_may_change_rows_are_seen() {
        for text in [
            "insert into t values (1)",
            "INSERT IGNORE t(id) VALUES (1)",
            "REPLACE LOW_PRIORITY INTO `d`.`t` SELECT * FROM x",
            "update other join d.t on 1 set a = 1",
            "DELETE t.* FROM t USING x",
            "delete from T where id = 1",
            "WITH x AS (SELECT 1) DELETE FROM t WHERE id IN (SELECT * FROM x)",
            "LOAD DATA LOCAL INFILE '/x' REPLACE INTO TABLE `t` (id)",
            "/*!50000 UPDATE */ t SET a = 1",
            "update x join y on a='\\' join t on b='c' set d = '",
        ] {
            check("d", text, Verdict::Changes);
        }
        check("x", "update d . t set a = 1", Verdict::Changes);
    }

    #[test]
    fn statements_on_other_rows_are_let_pass() {
        for text in [
            "insert into other select * from t",
            "insert into other (t) values ('t')",
            "update other set t = 1, x = 't' where y = \"it's\"",
            "delete from _t_ghc",
            "LOAD DATA INFILE '/t' INTO TABLE other",
            "update e.t set a = 1",
        ] {
            check("d", text, Verdict::Harmless);
        }
        check("x", "update t set a = 1", Verdict::Harmless);
        check("x", "SELECT `f`(1)", Verdict::Harmless);
    }

    #[test]
    fn definitions_are_guarded() {
        let original = || Verdict::Redefines(watched().original);
        for text in [
            "TRUNCATE t",
            "truncate table d.t",
            "DROP TABLE IF EXISTS `x`,`t` /* generated by server */",
            "ALTER TABLE t ADD COLUMN a INT",
            "/*!40000 ALTER TABLE `t` DISABLE KEYS */",
            "alter ignore table d.t add index (a)",
            "RENAME TABLE x TO y, t TO z",
            "ALTER TABLE x RENAME TO t",
            "ALTER TABLE x ADD FOREIGN KEY (a) REFERENCES t (id)",
            "CREATE TABLE t (id INT)",
            "CREATE OR REPLACE TABLE t (id INT)",
            "CREATE TABLE c (id INT REFERENCES `d`.`t` (id))",
            "CREATE UNIQUE INDEX i ON t (a)",
            "DROP INDEX i ON t",
            "CREATE DEFINER=`root`@`localhost` TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET NEW.a = 1",
            "DROP DATABASE d",
            "DROP SCHEMA IF EXISTS `d`",
            "SOMETHING NEW t",
        ] {
            check("d", text, original());
        }
        check("x", "ALTER TABLE d.t ADD COLUMN a INT", original());
        let ghost = Verdict::Redefines(watched().ghost);
        check("d", "ALTER TABLE _t_gho ADD COLUMN a INT", ghost.clone());
        check("d", "DROP TABLE `_t_gho` /* generated by server */", ghost);
    }

    #[test]
    fn harmless_definitions_are_let_pass() {
        for text in [
            "/* changeling */ RENAME TABLE t TO _t_del, _t_gho TO t",
            "/* changeling */ ALTER TABLE _t_gho ADD INDEX (a)",
            "ALTER TABLE other ADD COLUMN t INT",
            "CREATE TABLE IF NOT EXISTS t (id INT)",
            "CREATE TABLE other LIKE t",
            "CREATE TABLE `other` (a INT) SELECT * FROM t",
            "CREATE TEMPORARY TABLE t (id INT)",
            "DROP /*!40005 TEMPORARY */ TABLE IF EXISTS `t`",
            "DROP VIEW v",
            "CREATE VIEW t2 AS SELECT * FROM other",
            "ANALYZE TABLE t",
            "OPTIMIZE TABLE t",
            "GRANT SELECT ON d.t TO u",
            "DROP DATABASE x",
            "ALTER DATABASE d CHARACTER SET latin1",
            "FLUSH TABLES",
        ] {
            check("d", text, Verdict::Harmless);
        }
        check("x", "DROP TABLE t", Verdict::Harmless);
    }

    #[test]
    fn what_is_reached_indirectly_is_guarded_too() {
        for text in [
            "CREATE VIEW t2 AS SELECT * FROM t",
            "CREATE TRIGGER g AFTER INSERT ON other FOR EACH ROW DELETE FROM t",
            "CREATE DEFINER=`root`@`%` PROCEDURE p() UPDATE d.t SET a = 1",
            "ALTER ALGORITHM=MERGE VIEW v AS SELECT * FROM `d`.`t`",
        ] {
            check("d", text, Verdict::Reaches);
        }
        check("x", "CREATE VIEW v AS SELECT * FROM t", Verdict::Harmless);
        let watched = Watched {
            reached_indirectly: true,
            ..watched()
        };
        for text in [
            "insert into other values (1)",
            "SELECT `f`(1)",
            "(SELECT f())",
        ] {
            assert_eq!(judge(b"x", text.as_bytes(), &watched), Verdict::Changes);
        }
    }
}
