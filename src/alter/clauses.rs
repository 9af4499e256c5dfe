//! What a clause of an ALTER TABLE means, as far as it changes which column is which, or the verdict on
//! the whole. Everything else is left to the server.

use super::lexer::{Token, TokenKind};
use super::table_options::table_options;
use crate::schema::table::IndexKind;

/// The meaning of one clause.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the fields are the names in the clause")]
pub enum ClauseKind {
    /// `ADD [COLUMN] name …`
    AddColumn { name: String },
    /// `ADD (…, …)`: columns, indexes and constraints, in this order.
    AddSeveral(Vec<ClauseKind>),
    /// `DROP [COLUMN] name`
    DropColumn { name: String },
    /// `CHANGE [COLUMN] old new …`
    Change { old: String, new: String },
    /// `RENAME COLUMN old TO new`
    RenameColumn { old: String, new: String },
    /// `MODIFY [COLUMN] name …`
    Modify { name: String },
    /// `ALTER [COLUMN] name SET …`
    AlterColumn { name: String },
    /// `ADD [UNIQUE | FULLTEXT | SPATIAL | VECTOR] INDEX …`
    AddIndex {
        name: Option<String>,
        unique: bool,
        kind: IndexKind,
    },
    /// `DROP INDEX name`
    DropIndex { name: String },
    /// `RENAME INDEX old TO new`
    RenameIndex { old: String, new: String },
    /// `ALTER INDEX name VISIBLE` and the like
    AlterIndex { name: String },
    /// `ADD PRIMARY KEY …`
    AddPrimaryKey,
    /// `DROP PRIMARY KEY`
    DropPrimaryKey,
    /// `ADD [CONSTRAINT name] FOREIGN KEY …`
    AddForeignKey { name: Option<String> },
    /// `DROP FOREIGN KEY name`
    DropForeignKey { name: String },
    /// `ADD [CONSTRAINT name] CHECK (…)`
    AddCheck { name: Option<String> },
    /// `DROP CONSTRAINT name`, `DROP CHECK name`
    DropConstraint { name: String },
    /// `ALTER CONSTRAINT name …`, `ALTER CHECK name …`
    AlterConstraint { name: String },
    /// `CONVERT TO CHARACTER SET …`
    ConvertCharset,
    /// `ENGINE = …`, `COMMENT = …` and all others: names in upper case with their values as written.
    TableOptions(Vec<(String, String)>),
    /// `ORDER BY …`
    OrderBy,
    /// `FORCE`
    Force,
    /// `PARTITION BY …`
    PartitionBy,
    /// `REMOVE PARTITIONING`
    RemovePartitioning,
    /// `DROP PARTITION …`, `EXCHANGE PARTITION …` and others that work on partitions: the verb, in
    /// upper case.
    PartitionOperation { verb: String },
    /// `RENAME [TO] [schema.]table`
    RenameTable {
        schema: Option<String>,
        table: String,
    },
    /// `ALGORITHM = …`, in upper case
    Algorithm(String),
    /// `LOCK = …`, in upper case
    Lock(String),
    /// `WITH VALIDATION`, `WITHOUT VALIDATION`
    Validation,
    /// `DISABLE KEYS`, `ENABLE KEYS`
    Keys,
    /// `DISCARD TABLESPACE`, `IMPORT TABLESPACE`
    Tablespace,
    /// `ADD SYSTEM VERSIONING`, `DROP SYSTEM VERSIONING`, `ADD PERIOD …`, `DROP PERIOD …` of MariaDB
    Versioning,
    /// Not recognised: for the server to judge.
    Other,
}

/// Recognises a clause by its tokens, comments and the marks of executable comments left out.
pub(super) fn recognise(tokens: &[Token<'_>]) -> ClauseKind {
    let mut words = Words { tokens };
    clause(&mut words).unwrap_or(ClauseKind::Other)
}

fn clause(words: &mut Words<'_, '_>) -> Option<ClauseKind> {
    if let Some(kind) = partition_clause(words) {
        return Some(kind);
    }
    let mut rest = *words;
    if rest.eat("ADD") {
        return add(&mut rest);
    }
    if rest.eat("DROP") {
        return drop(&mut rest);
    }
    if rest.eat("CHANGE") {
        rest.column_name_follows();
        let old = rest.qualified_name()?;
        return Some(ClauseKind::Change {
            old,
            new: rest.qualified_name()?,
        });
    }
    if rest.eat("MODIFY") {
        rest.column_name_follows();
        return Some(ClauseKind::Modify {
            name: rest.qualified_name()?,
        });
    }
    if rest.eat("RENAME") {
        return rename(&mut rest);
    }
    if rest.eat("ALTER") {
        return alter(&mut rest);
    }
    if rest.eat_all(&["CONVERT", "TO"]) {
        return Some(ClauseKind::ConvertCharset);
    }
    if rest.eat_all(&["ORDER", "BY"]) {
        return Some(ClauseKind::OrderBy);
    }
    if rest.eat("FORCE") && rest.tokens.is_empty() {
        return Some(ClauseKind::Force);
    }
    words
        .setting("ALGORITHM", ClauseKind::Algorithm)
        .or_else(|| words.setting("LOCK", ClauseKind::Lock))
        .or_else(|| words.pair(&["WITH", "WITHOUT"], "VALIDATION", ClauseKind::Validation))
        .or_else(|| words.pair(&["DISABLE", "ENABLE"], "KEYS", ClauseKind::Keys))
        .or_else(|| words.pair(&["DISCARD", "IMPORT"], "TABLESPACE", ClauseKind::Tablespace))
        .or_else(|| table_options(words.tokens).map(ClauseKind::TableOptions))
}

/// Clauses about partitions. Two of them may stand behind others without a comma.
fn partition_clause(words: &mut Words<'_, '_>) -> Option<ClauseKind> {
    const VERBS: [&str; 13] = [
        "ADD",
        "DROP",
        "TRUNCATE",
        "EXCHANGE",
        "REORGANIZE",
        "COALESCE",
        "REBUILD",
        "ANALYZE",
        "CHECK",
        "OPTIMIZE",
        "REPAIR",
        "DISCARD",
        "IMPORT",
    ];
    let mut rest = *words;
    if rest.eat_all(&["PARTITION", "BY"]) {
        return Some(ClauseKind::PartitionBy);
    }
    if rest.eat_all(&["REMOVE", "PARTITIONING"]) {
        return Some(ClauseKind::RemovePartitioning);
    }
    for verb in VERBS {
        let mut rest = *words;
        if rest.eat(verb) && rest.eat("PARTITION") {
            return Some(ClauseKind::PartitionOperation {
                verb: verb.to_string(),
            });
        }
    }
    // MariaDB: CONVERT PARTITION p TO TABLE t, CONVERT TABLE t TO PARTITION p.
    let converts = |what| (*words).clone_eat_all(&["CONVERT", what]);
    (converts("PARTITION") || converts("TABLE")).then(|| ClauseKind::PartitionOperation {
        verb: "CONVERT".to_string(),
    })
}

fn add(rest: &mut Words<'_, '_>) -> Option<ClauseKind> {
    if rest.next_is_char('(') {
        return add_several(rest);
    }
    if let Some(kind) = definition_of_index_or_constraint(rest) {
        return kind;
    }
    if rest.clone_eat_all(&["SYSTEM", "VERSIONING"]) || rest.clone_eat_all(&["PERIOD", "FOR"]) {
        return Some(ClauseKind::Versioning);
    }
    let says_column = rest.eat("COLUMN");
    rest.eat_all(&["IF", "NOT", "EXISTS"]);
    if says_column && rest.next_is_char('(') {
        return add_several(rest);
    }
    Some(ClauseKind::AddColumn {
        name: rest.qualified_name()?,
    })
}

/// `(a INT, KEY (a), CHECK (a > 0))`
fn add_several(rest: &Words<'_, '_>) -> Option<ClauseKind> {
    let [open, inside @ .., close] = rest.tokens else {
        return None;
    };
    if !open.is_char('(') || !close.is_char(')') {
        return None;
    }
    let mut parts = Vec::new();
    for part in split_at_commas(inside) {
        let mut words = Words { tokens: part };
        parts.push(match definition_of_index_or_constraint(&mut words) {
            Some(kind) => kind?,
            None => ClauseKind::AddColumn {
                name: words.qualified_name()?,
            },
        });
    }
    Some(ClauseKind::AddSeveral(parts))
}

/// The outer `None`: it defines a column. The inner: not understood.
fn definition_of_index_or_constraint(rest: &mut Words<'_, '_>) -> Option<Option<ClauseKind>> {
    let start = *rest;
    let mut constraint = None;
    if rest.eat("CONSTRAINT") {
        rest.eat_all(&["IF", "NOT", "EXISTS"]);
        let unnamed = ["PRIMARY", "UNIQUE", "FOREIGN", "CHECK"]
            .iter()
            .any(|word| rest.next_is(word));
        if !unnamed {
            constraint = rest.name();
            if constraint.is_none() {
                return Some(None);
            }
        }
    }
    if rest.eat_all(&["PRIMARY", "KEY"]) {
        return Some(Some(ClauseKind::AddPrimaryKey));
    }
    if rest.eat_all(&["FOREIGN", "KEY"]) {
        rest.eat_all(&["IF", "NOT", "EXISTS"]);
        let own = rest.index_name();
        return Some(Some(ClauseKind::AddForeignKey {
            name: constraint.or(own),
        }));
    }
    if rest.eat("CHECK") {
        return Some(Some(ClauseKind::AddCheck { name: constraint }));
    }
    let (unique, kind) = if rest.eat("UNIQUE") {
        (true, IndexKind::Btree)
    } else if rest.eat("FULLTEXT") {
        (false, IndexKind::Fulltext)
    } else if rest.eat("SPATIAL") {
        (false, IndexKind::Spatial)
    } else if rest.clone_eat_all(&["VECTOR", "INDEX"]) || rest.clone_eat_all(&["VECTOR", "KEY"]) {
        rest.eat("VECTOR");
        (false, IndexKind::Other)
    } else if rest.next_is("INDEX") || rest.next_is("KEY") {
        (false, IndexKind::Btree)
    } else {
        let nothing = rest.tokens.len() == start.tokens.len();
        return if nothing { None } else { Some(None) };
    };
    let _ = rest.eat("INDEX") || rest.eat("KEY");
    rest.eat_all(&["IF", "NOT", "EXISTS"]);
    let name = rest.index_name().or(constraint);
    Some(Some(ClauseKind::AddIndex { name, unique, kind }))
}

fn drop(rest: &mut Words<'_, '_>) -> Option<ClauseKind> {
    if rest.eat_all(&["PRIMARY", "KEY"]) {
        return Some(ClauseKind::DropPrimaryKey);
    }
    if rest.eat_all(&["FOREIGN", "KEY"]) {
        rest.eat_all(&["IF", "EXISTS"]);
        return Some(ClauseKind::DropForeignKey { name: rest.name()? });
    }
    if rest.eat("INDEX") || rest.eat("KEY") {
        rest.eat_all(&["IF", "EXISTS"]);
        return Some(ClauseKind::DropIndex { name: rest.name()? });
    }
    if rest.eat("CONSTRAINT") || rest.eat("CHECK") {
        rest.eat_all(&["IF", "EXISTS"]);
        return Some(ClauseKind::DropConstraint { name: rest.name()? });
    }
    if rest.clone_eat_all(&["SYSTEM", "VERSIONING"]) || rest.clone_eat_all(&["PERIOD", "FOR"]) {
        return Some(ClauseKind::Versioning);
    }
    rest.column_name_follows();
    Some(ClauseKind::DropColumn {
        name: rest.qualified_name()?,
    })
}

fn rename(rest: &mut Words<'_, '_>) -> Option<ClauseKind> {
    if rest.eat("COLUMN") {
        rest.eat_all(&["IF", "EXISTS"]);
        let old = rest.qualified_name()?;
        let new = rest.eat("TO").then(|| rest.qualified_name())??;
        return Some(ClauseKind::RenameColumn { old, new });
    }
    if rest.eat("INDEX") || rest.eat("KEY") {
        rest.eat_all(&["IF", "EXISTS"]);
        let old = rest.name()?;
        let new = rest.eat("TO").then(|| rest.name())??;
        return Some(ClauseKind::RenameIndex { old, new });
    }
    let _ = rest.eat("TO") || rest.eat("AS") || rest.eat_char('=');
    let first = rest.name()?;
    let (schema, table) = if rest.eat_char('.') {
        (Some(first), rest.name()?)
    } else {
        (None, first)
    };
    Some(ClauseKind::RenameTable { schema, table })
}

fn alter(rest: &mut Words<'_, '_>) -> Option<ClauseKind> {
    if rest.eat("INDEX") || rest.eat("KEY") {
        rest.eat_all(&["IF", "EXISTS"]);
        return Some(ClauseKind::AlterIndex { name: rest.name()? });
    }
    if rest.eat("CONSTRAINT") || rest.eat("CHECK") {
        return Some(ClauseKind::AlterConstraint { name: rest.name()? });
    }
    rest.column_name_follows();
    Some(ClauseKind::AlterColumn {
        name: rest.qualified_name()?,
    })
}

/// The parts between commas that are in no parentheses.
fn split_at_commas<'t, 'a>(tokens: &'t [Token<'a>]) -> Vec<&'t [Token<'a>]> {
    let mut depth = 0usize;
    tokens
        .split(|token| {
            if token.is_char('(') {
                depth += 1;
            } else if token.is_char(')') {
                depth = depth.saturating_sub(1);
            }
            depth == 0 && token.is_char(',')
        })
        .collect()
}

/// The tokens that are still to be read.
#[derive(Clone, Copy)]
struct Words<'t, 'a> {
    tokens: &'t [Token<'a>],
}

impl Words<'_, '_> {
    fn next_is(&self, keyword: &str) -> bool {
        self.tokens.first().is_some_and(|token| token.is(keyword))
    }

    fn next_is_char(&self, character: char) -> bool {
        self.tokens
            .first()
            .is_some_and(|token| token.is_char(character))
    }

    fn eat(&mut self, keyword: &str) -> bool {
        let found = self.next_is(keyword);
        if found {
            self.tokens = &self.tokens[1..];
        }
        found
    }

    fn eat_char(&mut self, character: char) -> bool {
        let found = self.next_is_char(character);
        if found {
            self.tokens = &self.tokens[1..];
        }
        found
    }

    /// All of the keywords or none.
    fn eat_all(&mut self, keywords: &[&str]) -> bool {
        let mut rest = *self;
        let found = keywords.iter().all(|keyword| rest.eat(keyword));
        if found {
            *self = rest;
        }
        found
    }

    fn clone_eat_all(mut self, keywords: &[&str]) -> bool {
        self.eat_all(keywords)
    }

    fn name(&mut self) -> Option<String> {
        let (first, rest) = self.tokens.split_first()?;
        let name = first.name()?;
        self.tokens = rest;
        Some(name)
    }

    /// A column's name, which MariaDB lets one write with its table and schema before it.
    fn qualified_name(&mut self) -> Option<String> {
        let mut name = self.name()?;
        while self.eat_char('.') {
            name = self.name()?;
        }
        Some(name)
    }

    /// The name of an index that is being added, if it has one: not its USING and not its columns.
    fn index_name(&mut self) -> Option<String> {
        if self.next_is("USING") || self.next_is("TYPE") && self.tokens.len() > 1 {
            let next = self.tokens.get(1);
            let is_type = next.is_some_and(|t| t.is("BTREE") || t.is("HASH") || t.is("RTREE"));
            if self.next_is("USING") || is_type {
                return None;
            }
        }
        self.name()
    }

    /// Skips `COLUMN` and `IF EXISTS` before a column's name.
    fn column_name_follows(&mut self) {
        self.eat("COLUMN");
        self.eat_all(&["IF", "EXISTS"]);
    }

    /// `WORD [=] value` and nothing more.
    fn setting(&self, word: &str, kind: fn(String) -> ClauseKind) -> Option<ClauseKind> {
        let mut rest = *self;
        if !rest.eat(word) {
            return None;
        }
        rest.eat_char('=');
        match rest.tokens {
            [value] if value.kind == TokenKind::Word => Some(kind(value.text.to_ascii_uppercase())),
            _ => None,
        }
    }

    fn pair(&self, firsts: &[&str], second: &str, kind: ClauseKind) -> Option<ClauseKind> {
        let [first, other] = self.tokens else {
            return None;
        };
        (firsts.iter().any(|word| first.is(word)) && other.is(second)).then_some(kind)
    }
}
