//! The text of an ALTER: `ADD COLUMN …` or a whole `ALTER TABLE …`, split into its clauses, which are
//! kept as they were written.

use std::fmt;

use super::clauses::{ClauseKind, recognise};
use super::lexer::{Dialect, Token, TokenKind, tokens};
use crate::failure::{Failure, Result};
use crate::mysql::quote::{self, OWN_DDL};
use crate::names::TableName;
use crate::schema::ColumnMoves;

/// A parsed ALTER TABLE.
#[derive(Clone, Debug, PartialEq)]
pub struct AlterStatement {
    /// Schema (if written) and table, if the text was a whole statement.
    pub table: Option<(Option<String>, String)>,
    /// Whether it says ALTER IGNORE TABLE, by which MariaDB deletes rows that do not fit.
    pub ignore: bool,
    /// Its clauses, at least one.
    pub clauses: Vec<Clause>,
}

/// One clause.
#[derive(Clone, Debug, PartialEq)]
pub struct Clause {
    /// As written, comments before and after it left out.
    pub text: String,
    /// What it means.
    pub kind: ClauseKind,
    /// Whether a comma stands before it: not before the first, nor before PARTITION BY and REMOVE
    /// PARTITIONING, which may follow without one.
    comma_before: bool,
}

impl AlterStatement {
    /// Parses a text in the usual dialect.
    ///
    /// ```
    /// use changeling::alter::{AlterStatement, ClauseKind};
    /// let alter = AlterStatement::parse("ALTER TABLE shop.t ADD c ENUM('a,b') /* why */, DROP `d`")?;
    /// assert_eq!(alter.table, Some((Some("shop".into()), "t".into())));
    /// let kinds: Vec<_> = alter.kinds().collect();
    /// assert_eq!(kinds[1], &ClauseKind::DropColumn { name: "d".into() });
    /// // What the meaning of the split hangs on is refused.
    /// assert!(AlterStatement::parse("ADD c INT; DROP TABLE t").is_err());
    /// # Ok::<(), changeling::failure::Failure>(())
    /// ```
    ///
    /// # Errors
    /// [`AlterStatement::parse_in`].
    pub fn parse(text: &str) -> Result<AlterStatement> {
        AlterStatement::parse_in(text, Dialect::default())
    }

    /// Parses a text. Grammar is the server's business; only what would change the meaning of the
    /// split is refused here.
    ///
    /// # Errors
    /// Usage: nothing to do, an empty clause, something not closed, a second statement, an executable
    /// comment that holds several clauses.
    pub fn parse_in(text: &str, dialect: Dialect) -> Result<AlterStatement> {
        let all = statement_tokens(text, dialect)?;
        let (header, rest) = Header::read(&all)?;
        let mut clauses = Vec::new();
        for (comma_before, part) in split(rest)? {
            let (Some(first), Some(last)) = (part.first(), part.last()) else {
                return Err(malformed("it has an empty clause"));
            };
            // `--#…`: no clause ends so, and without the comment behind it `--` would begin one.
            if text[first.start..last.end()].ends_with("--") {
                return Err(malformed("a clause ends in `--`"));
            }
            let plain: Vec<Token<'_>> = part.iter().copied().filter(|t| !is_mark(t)).collect();
            clauses.push(Clause {
                text: text[first.start..last.end()].to_string(),
                kind: recognise(&plain),
                comma_before: comma_before && !clauses.is_empty(),
            });
        }
        Ok(AlterStatement {
            table: header.table,
            ignore: header.ignore,
            clauses,
        })
    }

    /// The clauses as they go behind `ALTER TABLE …`.
    pub fn clauses_sql(&self) -> String {
        join(self.clauses.iter())
    }

    /// The statement for a table, without ALGORITHM and LOCK, which are about how the server would do
    /// it; `None` if nothing else is in it.
    pub fn sql_for(&self, table: &TableName) -> Option<String> {
        self.sql_with(table, "")
    }

    /// The statement for a table with these ALGORITHM and LOCK clauses in place of its own; `None` if
    /// it has nothing else.
    ///
    /// ```
    /// use changeling::{alter::AlterStatement, names::TableName};
    /// let alter = AlterStatement::parse("ADD c INT, LOCK=SHARED")?;
    /// let sql = alter.sql_with(&TableName::new("shop", "t"), "ALGORITHM=INSTANT");
    /// let expect = "/* changeling */ ALTER TABLE `shop`.`t` ALGORITHM=INSTANT, ADD c INT";
    /// assert_eq!(sql.as_deref(), Some(expect));
    /// # Ok::<(), changeling::failure::Failure>(())
    /// ```
    pub fn sql_with(&self, table: &TableName, modifiers: &str) -> Option<String> {
        let clauses: Vec<&Clause> = self
            .clauses
            .iter()
            .filter(|clause| !clause.is_modifier())
            .collect();
        let first = clauses.first()?;
        // Modifiers may stand before every kind of clause, but not behind PARTITION BY.
        let joint = match &first.kind {
            _ if modifiers.is_empty() => "",
            ClauseKind::PartitionBy | ClauseKind::RemovePartitioning => " ",
            _ => ", ",
        };
        Some(format!(
            "{OWN_DDL}ALTER TABLE {} {modifiers}{joint}{}",
            quote::table(table),
            join(clauses.iter().copied())
        ))
    }

    /// The meanings of all clauses, those inside `ADD (…)` one by one.
    pub fn kinds(&self) -> impl Iterator<Item = &ClauseKind> {
        self.clauses.iter().flat_map(|clause| match &clause.kind {
            ClauseKind::AddSeveral(parts) => parts.as_slice(),
            kind => std::slice::from_ref(kind),
        })
    }

    /// Whether it changes how the table is partitioned.
    pub fn partitions(&self) -> bool {
        self.kinds().any(|kind| {
            matches!(
                kind,
                ClauseKind::PartitionBy
                    | ClauseKind::RemovePartitioning
                    | ClauseKind::PartitionOperation { .. }
            )
        })
    }

    /// Which columns it renames, drops and adds.
    pub fn column_moves(&self) -> ColumnMoves {
        let mut moves = ColumnMoves::default();
        for kind in self.kinds() {
            match kind {
                ClauseKind::Change { old, new } | ClauseKind::RenameColumn { old, new } => {
                    moves.renamed.push((old.clone(), new.clone()));
                }
                ClauseKind::DropColumn { name } => moves.dropped.push(name.clone()),
                ClauseKind::AddColumn { name } => moves.added.push(name.clone()),
                _ => {}
            }
        }
        moves
    }
}

impl Clause {
    fn is_modifier(&self) -> bool {
        matches!(self.kind, ClauseKind::Algorithm(_) | ClauseKind::Lock(_))
    }
}

impl fmt::Display for AlterStatement {
    /// A text that parses to the same statement.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((schema, table)) = &self.table {
            let ignore = if self.ignore { "IGNORE " } else { "" };
            write!(f, "ALTER {ignore}TABLE ")?;
            if let Some(schema) = schema {
                write!(f, "{}.", quote::ident(schema))?;
            }
            write!(f, "{} ", quote::ident(table))?;
        }
        f.write_str(&self.clauses_sql())
    }
}

fn join<'c>(clauses: impl Iterator<Item = &'c Clause>) -> String {
    let mut out = String::new();
    for clause in clauses {
        if !out.is_empty() {
            out.push_str(if clause.comma_before { ", " } else { " " });
        }
        out.push_str(&clause.text);
    }
    out
}

/// The tokens that mean something: no comments, one statement, everything closed.
fn statement_tokens(text: &str, dialect: Dialect) -> Result<Vec<Token<'_>>> {
    let mut all: Vec<Token<'_>> = tokens(text, dialect)
        .into_iter()
        .filter(|token| !token.is_comment())
        .collect();
    while all.last().is_some_and(|token| token.is_char(';')) {
        all.pop();
    }
    if all.iter().any(|token| token.is_char(';')) {
        return Err(malformed("it has more than one statement"));
    }
    if all.iter().any(|token| token.kind == TokenKind::Unclosed) {
        return Err(malformed(
            "a string, a quoted name or a comment is not closed",
        ));
    }
    Ok(all)
}

struct Header {
    table: Option<(Option<String>, String)>,
    ignore: bool,
}

impl Header {
    /// Reads `ALTER [ONLINE] [IGNORE] TABLE [IF EXISTS] [schema.]table [WAIT n | NOWAIT]`, if the text
    /// begins so, and gives what follows.
    fn read<'t, 'a>(all: &'t [Token<'a>]) -> Result<(Header, &'t [Token<'a>])> {
        let mut header = Header {
            table: None,
            ignore: false,
        };
        let Some((first, mut rest)) = all.split_first() else {
            return Err(malformed("it is empty"));
        };
        if !first.is("ALTER") {
            return Ok((header, all));
        }
        while let Some(word) = rest.first()
            && ["ONLINE", "OFFLINE", "IGNORE"].iter().any(|w| word.is(w))
        {
            header.ignore |= word.is("IGNORE");
            rest = &rest[1..];
        }
        if !rest.first().is_some_and(|word| word.is("TABLE")) {
            // A clause: ALTER COLUMN c SET DEFAULT …
            header.ignore = false;
            return Ok((header, all));
        }
        rest = &rest[1..];
        if let [first, second, ..] = rest
            && first.is("IF")
            && second.is("EXISTS")
        {
            rest = &rest[2..];
        }
        let mut name = || {
            let (first, after) = rest.split_first()?;
            rest = after;
            first.name()
        };
        let nameless = || malformed("the table's name is missing behind ALTER TABLE");
        let first = name().ok_or_else(nameless)?;
        header.table = Some(if rest.first().is_some_and(|token| token.is_char('.')) {
            rest = &rest[1..];
            let (second, after) = rest.split_first().ok_or_else(nameless)?;
            rest = after;
            (Some(first), second.name().ok_or_else(nameless)?)
        } else {
            (None, first)
        });
        match rest {
            [word, after @ ..] if word.is("NOWAIT") => rest = after,
            [word, _seconds, after @ ..] if word.is("WAIT") => rest = after,
            _ => {}
        }
        if rest.is_empty() {
            return Err(malformed("it changes nothing"));
        }
        Ok((header, rest))
    }
}

/// A clause's tokens, and whether a comma stood before them.
type Part<'t, 'a> = (bool, &'t [Token<'a>]);

/// Splits at the commas that separate clauses, and before PARTITION BY and REMOVE PARTITIONING.
fn split<'t, 'a>(all: &'t [Token<'a>]) -> Result<Vec<Part<'t, 'a>>> {
    let mut parts = Vec::new();
    let mut depth = 0usize;
    let mut executable = 0usize;
    let mut start = 0;
    let mut comma_before = false;
    for (at, token) in all.iter().enumerate() {
        match token.kind {
            TokenKind::ExecutableStart => executable += 1,
            TokenKind::ExecutableEnd => executable = executable.saturating_sub(1),
            _ => {}
        }
        let comma = token.is_char(',');
        if token.is_char('(') {
            depth += 1;
        } else if token.is_char(')') {
            depth = depth
                .checked_sub(1)
                .ok_or_else(|| malformed("a parenthesis is closed that was not opened"))?;
        } else if depth == 0
            && (comma && !list_goes_on(&all[start..at], &all[at + 1..])
                || start < at && begins_partitioning(all, at))
        {
            if executable > 0 {
                return Err(malformed("an executable comment holds several clauses")
                    .remedy("write for this server's version, without /*! … */ around clauses"));
            }
            parts.push((comma_before, &all[start..at]));
            start = if comma { at + 1 } else { at };
            comma_before = comma;
        }
    }
    if depth > 0 || executable > 0 {
        return Err(malformed(
            "a parenthesis or an executable comment is not closed",
        ));
    }
    parts.push((comma_before, &all[start..]));
    Ok(parts)
}

/// These two follow other clauses without a comma; they are words of the server's own in this order.
fn begins_partitioning(all: &[Token<'_>], at: usize) -> bool {
    let [first, second, ..] = &all[at..] else {
        return false;
    };
    let names_column = at > 0 && all[at - 1].is("AFTER");
    first.is("PARTITION") && second.is("BY")
        || first.is("REMOVE") && second.is("PARTITIONING") && !names_column
}

/// Whether a comma continues a list of names inside a clause: `ORDER BY a, b`, `DROP PARTITION p, q`.
fn list_goes_on(clause: &[Token<'_>], after: &[Token<'_>]) -> bool {
    const NEXT_CLAUSE: [&str; 16] = [
        "ADD",
        "DROP",
        "ALTER",
        "CHANGE",
        "MODIFY",
        "RENAME",
        "CONVERT",
        "ORDER",
        "FORCE",
        "LOCK",
        "ALGORITHM",
        "ENGINE",
        "COMMENT",
        "DISABLE",
        "ENABLE",
        "WITH",
    ];
    let plain: Vec<&Token<'_>> = clause.iter().filter(|token| !is_mark(token)).collect();
    let is_list = match plain.as_slice() {
        [first, second, ..] if first.is("ORDER") && second.is("BY") => true,
        [_, second, ..] => second.is("PARTITION") && !plain[0].is("ADD"),
        _ => false,
    };
    is_list
        && !after
            .first()
            .is_some_and(|token| NEXT_CLAUSE.iter().any(|word| token.is(word)))
}

fn is_mark(token: &Token<'_>) -> bool {
    matches!(
        token.kind,
        TokenKind::ExecutableStart | TokenKind::ExecutableEnd
    )
}

fn malformed(why: &str) -> Failure {
    Failure::usage(format!("the ALTER cannot be read: {why}"))
        .remedy("give the clauses of one ALTER TABLE, or one whole statement")
}

#[cfg(test)]
#[path = "statement_tests.rs"]
mod tests;
