//! What kind a statement is of, and what is to be said of statements other than ALTER TABLE.

use super::Remark;
use super::advice::{drop_index, migrate, rename_table, shorten};
use super::alter;
use super::catalogue::{Catalogue, Table};
use super::definition::{columns_in_parentheses, definitions, is_index_or_constraint, plain};
use super::rules;
use super::source::Statement;
use crate::alter::lexer::{Token, TokenKind};
use crate::mysql::quote::shown;

/// Judges one statement, and takes what it says of tables into the catalogue.
pub(super) fn judge(statement: &Statement<'_>, catalogue: &mut Catalogue) -> Vec<Remark> {
    let tokens = plain(statement.text);
    if tokens.iter().any(|token| token.kind == TokenKind::Unclosed) {
        return vec![Remark::new(
            &rules::UNREADABLE,
            statement.line,
            "a string, a quoted name or a comment is not closed",
        )];
    }
    let words = Words {
        statement,
        rest: &tokens,
    };
    words.judge(catalogue)
}

/// The columns of a CREATE TABLE.
pub(super) fn created_columns(create: &str) -> Vec<super::definition::Column> {
    let tokens = plain(create);
    let open = tokens.iter().position(|token| token.is_char('('));
    columns_in_parentheses(&tokens[open.unwrap_or(tokens.len())..])
}

/// A statement and what of it has not been looked at.
#[derive(Clone, Copy)]
struct Words<'t, 'a> {
    statement: &'t Statement<'t>,
    rest: &'t [Token<'a>],
}

/// Statements that change neither data that is there nor definitions, or that only add.
const HARMLESS: [&str; 29] = [
    "INSERT",
    "REPLACE",
    "LOAD",
    "SELECT",
    "SHOW",
    "EXPLAIN",
    "DESC",
    "DESCRIBE",
    "USE",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT",
    "RELEASE",
    "DO",
    "GRANT",
    "REVOKE",
    "ANALYZE",
    "CHECK",
    "CHECKSUM",
    "UNLOCK",
    "VALUES",
    "TABLE",
    "SIGNAL",
    "HELP",
    "PREPARE",
    "DEALLOCATE",
    "WITH",
    "(",
];

impl<'t, 'a> Words<'t, 'a> {
    fn judge(mut self, catalogue: &mut Catalogue) -> Vec<Remark> {
        let Some(first) = self.rest.first() else {
            return Vec::new();
        };
        let verb = first.text.to_ascii_uppercase();
        let whole = self;
        self.rest = &self.rest[1..];
        match verb.as_str() {
            "ALTER" => self.alter(catalogue),
            "CREATE" => self.create(catalogue),
            "DROP" => self.drop(catalogue),
            "RENAME" if self.eat("TABLE") || self.eat("TABLES") => self.rename(catalogue),
            "RENAME" if self.eat("USER") => Vec::new(),
            "TRUNCATE" => self.truncate(catalogue),
            "DELETE" | "UPDATE" | "WITH" => whole.write(catalogue),
            "SET" => self.set(),
            "LOCK" => self.say(&rules::LOCK_TABLES, "tables are locked".to_string(), &[]),
            "FLUSH" if self.has("LOCK") || self.has("EXPORT") => {
                self.say(&rules::LOCK_TABLES, "tables are locked".to_string(), &[])
            }
            "FLUSH" => Vec::new(),
            "OPTIMIZE" | "REPAIR" => self.optimize(catalogue),
            "START" if self.eat("TRANSACTION") => Vec::new(),
            "EXECUTE" => self.unknown("runs a text that is put together elsewhere"),
            "CALL" => self.unknown("runs a procedure"),
            "SOURCE" => self.unknown("runs another file"),
            verb if HARMLESS.contains(&verb) => Vec::new(),
            _ => self.unknown("is of a kind that is not known"),
        }
    }

    fn say(&self, rule: &'static rules::Rule, message: String, instead: &[&str]) -> Vec<Remark> {
        vec![Remark::new(rule, self.statement.line, message).instead(instead.iter().copied())]
    }

    fn unknown(&self, why: &str) -> Vec<Remark> {
        let text = shorten(self.statement.text);
        self.say(&rules::UNKNOWN, format!("`{text}` {why}"), &[])
    }

    fn eat(&mut self, word: &str) -> bool {
        match self.rest {
            [first, rest @ ..] if first.is(word) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn eat_if_exists(&mut self) -> bool {
        let exists = self.eat("IF");
        self.eat("NOT");
        self.eat("EXISTS");
        exists
    }

    fn eat_char(&mut self, character: char) -> bool {
        match self.rest {
            [first, rest @ ..] if first.is_char(character) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn has(&self, word: &str) -> bool {
        self.rest.iter().any(|token| token.is(word))
    }

    /// `[schema.]table`
    fn table(&mut self) -> Option<Table> {
        let first = self.name()?;
        if self.eat_char('.') {
            return Some(Table::new(Some(first), self.name()?));
        }
        Some(Table::new(None, first))
    }

    fn name(&mut self) -> Option<String> {
        let (first, rest) = self.rest.split_first()?;
        let name = first.name()?;
        self.rest = rest;
        Some(name)
    }

    fn tables(&mut self) -> Vec<Table> {
        let mut tables = Vec::new();
        while let Some(table) = self.table() {
            tables.push(table);
            if !self.eat_char(',') {
                break;
            }
        }
        tables
    }

    fn alter(mut self, catalogue: &mut Catalogue) -> Vec<Remark> {
        const OTHERS: [&str; 16] = [
            "DATABASE",
            "SCHEMA",
            "VIEW",
            "PROCEDURE",
            "FUNCTION",
            "EVENT",
            "USER",
            "ROLE",
            "SERVER",
            "SEQUENCE",
            "TABLESPACE",
            "INSTANCE",
            "DEFINER",
            "ALGORITHM",
            "SQL",
            "LOGFILE",
        ];
        let statement = self.statement;
        while self.eat("ONLINE") || self.eat("OFFLINE") || self.eat("IGNORE") {}
        if self.eat("TABLE") {
            return alter::judge(statement, catalogue);
        }
        match OTHERS.iter().any(|word| self.eat(word)) {
            true => Vec::new(),
            false => self.unknown("is of a kind that is not known"),
        }
    }

    fn create(mut self, catalogue: &mut Catalogue) -> Vec<Remark> {
        let replaces = self.eat("OR") && self.eat("REPLACE");
        if self.eat("TEMPORARY") {
            return Vec::new();
        }
        if self.eat("TABLE") {
            return self.create_table(replaces, catalogue);
        }
        let mut index = self;
        let unique = index.eat("UNIQUE");
        let kind = match (unique, index.eat("FULLTEXT"), index.eat("SPATIAL")) {
            (true, ..) => "UNIQUE INDEX",
            (_, true, _) => "FULLTEXT INDEX",
            (.., true) => "SPATIAL INDEX",
            _ => "INDEX",
        };
        if index.eat("INDEX") {
            return index.create_index(kind, catalogue);
        }
        const OTHERS: [&str; 18] = [
            "DATABASE",
            "SCHEMA",
            "VIEW",
            "PROCEDURE",
            "FUNCTION",
            "TRIGGER",
            "EVENT",
            "USER",
            "ROLE",
            "SERVER",
            "SEQUENCE",
            "TABLESPACE",
            "DEFINER",
            "ALGORITHM",
            "SQL",
            "AGGREGATE",
            "PACKAGE",
            "LOGFILE",
        ];
        match OTHERS.iter().any(|word| self.eat(word)) {
            true => Vec::new(),
            false => self.unknown("is of a kind that is not known"),
        }
    }

    fn create_table(mut self, replaces: bool, catalogue: &mut Catalogue) -> Vec<Remark> {
        let only_if_missing = self.eat_if_exists();
        let Some(table) = self.table() else {
            return self.say(
                &rules::UNREADABLE,
                "the table's name is missing".to_string(),
                &[],
            );
        };
        let mut remarks = Vec::new();
        if replaces && !catalogue.is_new(&table) {
            remarks.extend(self.say(
                &rules::DROP_TABLE,
                format!("table {} is dropped where it exists", table.sql()),
                &["create the table under a new name"],
            ));
        }
        let parts = definitions(self.rest);
        let mut columns = columns_in_parentheses(self.rest);
        let like = self.like();
        if let Some(model) = &like {
            columns = catalogue.columns(model);
        }
        let keyed = columns.iter().any(|column| column.primary || column.unique)
            || parts.iter().any(|part| {
                is_index_or_constraint(part)
                    && part.iter().any(|t| t.is("PRIMARY") || t.is("UNIQUE"))
            });
        if !keyed && like.is_none() {
            remarks.extend(self.say(
                &rules::NO_PRIMARY_KEY,
                format!(
                    "table {} has neither a primary nor a unique key",
                    table.sql()
                ),
                &["give it a primary key, if only an AUTO_INCREMENT column"],
            ));
        }
        catalogue.create(&table, columns, !only_if_missing);
        remarks
    }

    /// `LIKE other`, with or without parentheses.
    fn like(mut self) -> Option<Table> {
        self.eat_char('(');
        if self.eat("LIKE") { self.table() } else { None }
    }

    fn create_index(mut self, kind: &str, catalogue: &Catalogue) -> Vec<Remark> {
        self.eat_if_exists();
        let name = self.name().unwrap_or_default();
        while !self.rest.is_empty() && !self.eat("ON") {
            self.rest = &self.rest[1..];
        }
        let Some(table) = self.table() else {
            return self.say(
                &rules::UNREADABLE,
                "the table's name is missing".to_string(),
                &[],
            );
        };
        if catalogue.is_new(&table) {
            return Vec::new();
        }
        // Up to words about how the server is to do it: there they are clauses of their own.
        let end = self
            .rest
            .iter()
            .find(|token| token.is("ALGORITHM") || token.is("LOCK") || token.is_char(';'))
            .map_or(self.statement.text.len(), |token| token.start);
        let columns = self.rest.first().map_or("", |open| {
            self.statement.text.get(open.start..end).unwrap_or_default()
        });
        let clause = format!("ADD {kind} {} {columns}", shown(&name));
        let command = migrate(&table, &clause);
        let (rule, message) = match kind {
            "UNIQUE INDEX" => (
                &rules::ADD_UNIQUE,
                format!("unique key {name} is added to {}", table.sql()),
            ),
            "INDEX" => (
                &rules::ADD_INDEX,
                format!("index {name} is added to {}", table.sql()),
            ),
            _ => (
                &rules::BLOCKING_ALTER,
                format!(
                    "a FULLTEXT or SPATIAL index of {} is built while nobody may write",
                    table.sql()
                ),
            ),
        };
        self.say(rule, message, &[&command])
    }

    fn drop(mut self, catalogue: &mut Catalogue) -> Vec<Remark> {
        if self.eat("TEMPORARY") || self.eat("PREPARE") {
            return Vec::new();
        }
        if self.eat("TABLE") || self.eat("TABLES") {
            self.eat_if_exists();
            return self.drop_tables(catalogue);
        }
        if self.eat("DATABASE") || self.eat("SCHEMA") {
            self.eat_if_exists();
            let name = self.name().unwrap_or_default();
            return self.say(
                &rules::DROP_DATABASE,
                format!("schema {name} is dropped with all its tables"),
                &["drop its tables one by one, each when nothing uses it any more"],
            );
        }
        if self.eat("INDEX") {
            self.eat_if_exists();
            let index = self.name().unwrap_or_default();
            self.eat("ON");
            return match self.table() {
                Some(table) if catalogue.is_new(&table) => Vec::new(),
                Some(table) => vec![drop_index(&table, &index, self.statement.line)],
                None => self.unknown("names no table"),
            };
        }
        const OBJECTS: [&str; 12] = [
            "VIEW",
            "PROCEDURE",
            "FUNCTION",
            "TRIGGER",
            "EVENT",
            "SEQUENCE",
            "USER",
            "ROLE",
            "SERVER",
            "PACKAGE",
            "TABLESPACE",
            "LOGFILE",
        ];
        match OBJECTS.iter().find(|word| self.eat(word)) {
            Some(kind) => {
                self.eat_if_exists();
                let name = self.name().unwrap_or_default();
                let kind = kind.to_ascii_lowercase();
                self.say(
                    &rules::DROP_OBJECT,
                    format!("{kind} {name} is dropped"),
                    &["deploy an application that does not use it first"],
                )
            }
            None => self.unknown("is of a kind that is not known"),
        }
    }

    fn drop_tables(mut self, catalogue: &mut Catalogue) -> Vec<Remark> {
        let tables = self.tables();
        if tables.is_empty() {
            return self.say(
                &rules::UNREADABLE,
                "the table's name is missing".to_string(),
                &[],
            );
        }
        let mut remarks = Vec::new();
        for table in tables {
            if !catalogue.is_new(&table) {
                let name = table.sql();
                remarks.extend(self.say(
                    &rules::DROP_TABLE,
                    format!("table {name} is dropped"),
                    &[
                        "deploy an application that does not use it any more",
                        &format!(
                            "RENAME TABLE {name} TO a name that says when it may go, and wait"
                        ),
                        "drop it when nobody has missed it",
                    ],
                ));
            }
            catalogue.drop(&table);
        }
        remarks
    }

    fn rename(mut self, catalogue: &mut Catalogue) -> Vec<Remark> {
        let mut remarks = Vec::new();
        self.eat_if_exists();
        while let Some(old) = self.table() {
            if self.eat("WAIT") {
                self.rest = self.rest.get(1..).unwrap_or_default();
            }
            self.eat("NOWAIT");
            self.eat("TO");
            let Some(new) = self.table() else {
                return self.say(
                    &rules::UNREADABLE,
                    "the new name is missing".to_string(),
                    &[],
                );
            };
            if !catalogue.is_new(&old) {
                remarks.push(rename_table(&old, &new, self.statement.line));
            }
            catalogue.rename(&old, &new);
            if !self.eat_char(',') {
                break;
            }
        }
        remarks
    }

    fn truncate(mut self, catalogue: &Catalogue) -> Vec<Remark> {
        self.eat("TABLE");
        match self.table() {
            Some(table) if catalogue.is_new(&table) => Vec::new(),
            Some(table) => self.say(
                &rules::TRUNCATE,
                format!("table {} is emptied", table.sql()),
                &[&format!(
                    "put an empty table in its place: RENAME TABLE, and keep the old one for some days ({})",
                    table.sql()
                )],
            ),
            None => self.say(&rules::UNREADABLE, "the table's name is missing".to_string(), &[]),
        }
    }

    /// DELETE and UPDATE, with a WITH before them or not.
    fn write(mut self, catalogue: &Catalogue) -> Vec<Remark> {
        let mut depth = 0usize;
        let verb = self.rest.iter().position(|token| {
            if token.is_char('(') {
                depth += 1;
            } else if token.is_char(')') {
                depth = depth.saturating_sub(1);
            }
            depth == 0 && (token.is("DELETE") || token.is("UPDATE"))
        });
        let Some(verb) = verb else {
            return Vec::new();
        };
        let deletes = self.rest[verb].is("DELETE");
        self.rest = &self.rest[verb + 1..];
        if self.is_filtered() {
            return Vec::new();
        }
        while ["LOW_PRIORITY", "QUICK", "IGNORE", "FROM"]
            .iter()
            .any(|word| self.eat(word))
        {}
        let table = self.table();
        if table.as_ref().is_some_and(|table| catalogue.is_new(table)) {
            return Vec::new();
        }
        let name = table.map_or_else(|| "the table".to_string(), |table| table.sql());
        let (rule, what) = if deletes {
            (&rules::DELETE_WITHOUT_WHERE, "is deleted")
        } else {
            (&rules::UPDATE_WITHOUT_WHERE, "is changed")
        };
        self.say(
            rule,
            format!("every row of {name} {what}"),
            &["go through the key in ranges of some thousand rows, each in a transaction of its own"],
        )
    }

    /// Whether rows are chosen: by WHERE with more than a truth, or by a join.
    fn is_filtered(&self) -> bool {
        let mut depth = 0usize;
        for (at, token) in self.rest.iter().enumerate() {
            if token.is_char('(') {
                depth += 1;
            } else if token.is_char(')') {
                depth = depth.saturating_sub(1);
            } else if depth == 0 && (token.is("JOIN") || token.is("USING")) {
                return true;
            } else if depth == 0 && token.is("WHERE") {
                return !is_always_true(&self.rest[at + 1..]);
            }
        }
        false
    }

    fn set(self) -> Vec<Remark> {
        let off = self.rest.windows(3).any(|three| {
            three[0].is("sql_log_bin")
                && three[1].is_char('=')
                && ["0", "OFF", "FALSE"].iter().any(|word| three[2].is(word))
        });
        let off_by_assignment = self.rest.windows(4).any(|four| {
            four[0].is("sql_log_bin")
                && four[1].is_char(':')
                && four[2].is_char('=')
                && ["0", "OFF", "FALSE"].iter().any(|word| four[3].is(word))
        });
        match off || off_by_assignment {
            true => self.say(
                &rules::BINLOG_OFF,
                "the binlog is switched off".to_string(),
                &[],
            ),
            false => Vec::new(),
        }
    }

    fn optimize(mut self, catalogue: &Catalogue) -> Vec<Remark> {
        let _ = self.eat("NO_WRITE_TO_BINLOG") || self.eat("LOCAL");
        let _ = self.eat("TABLE") || self.eat("TABLES");
        let mut remarks = Vec::new();
        for table in self.tables() {
            if !catalogue.is_new(&table) {
                remarks.extend(self.say(
                    &rules::TABLE_REBUILD,
                    format!("{} is built anew", table.sql()),
                    &[&migrate(&table, "ENGINE=InnoDB")],
                ));
            }
        }
        remarks
    }
}

fn is_always_true(condition: &[Token<'_>]) -> bool {
    let is_end = |tokens: &[Token<'_>]| {
        tokens.first().is_none_or(|token| {
            ["ORDER", "LIMIT", "RETURNING"]
                .iter()
                .any(|word| token.is(word))
        })
    };
    match condition {
        [one, rest @ ..] if (one.is("1") || one.is("TRUE")) && is_end(rest) => true,
        [left, equals, right, rest @ ..] => {
            left.text == right.text && equals.is_char('=') && left.is("1") && is_end(rest)
        }
        _ => false,
    }
}
