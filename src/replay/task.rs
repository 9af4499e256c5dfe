//! The pieces of work of a flush: each is idempotent, each leaves no transaction open.

use std::collections::HashSet;

use super::statements::{Row, RowLock, Statements, Verb};
use super::window::KeyBytes;
use crate::failure::{ErrorClass, Failure, FailureKind, Result};
use crate::mysql::Session;
use crate::mysql::error::{ER_DATA_OUT_OF_RANGE, ER_DUP_ENTRY, is_advice};
use crate::walk::Side;
use crate::walk::keys::read;

/// A piece of work on some rows.
#[derive(Debug)]
pub(super) struct Task<'a> {
    pub(super) statements: &'a Statements,
    pub(super) rows: &'a [Row<'a>],
    pub(super) kind: Kind,
    /// Whether rows may only be put in where nothing is in the way.
    pub(super) exact: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Delete the rows.
    Delete,
    /// Put in rows from their images.
    Images,
    /// Put in rows by reading them again.
    Reread(RowLock),
    /// Put in by reading again those rows that nobody has locked, and say which.
    RereadFree,
    /// Put in one row (image or not) and whatever is in its way out, and say what it was.
    Evict,
    /// Put in rows that are in each other's way: all out, all in, as one transaction. They keep what replay
    /// does not feed.
    Exchange(Source),
}

/// Where a row's values are taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// From the binlog.
    Images,
    /// From the original.
    Original,
}

/// What came of a piece of work.
#[derive(Debug)]
pub(super) enum Performed {
    /// All of it is done.
    Done,
    /// Nothing is done: a row was locked, or another row was in the way. With the server's answer.
    Refused(Failure),
    /// These rows are done.
    Only(HashSet<KeyBytes>),
    /// Done, and these rows of the ghost had to go.
    Evicted(Vec<KeyBytes>),
}

impl Task<'_> {
    /// Whether a failure is an answer to be acted upon, not to be tried again as it is.
    pub(super) fn hands_back(&self, failure: &Failure) -> bool {
        let keeps = self.statements.keeps() && self.kind != Kind::Delete;
        let in_the_way = match failure.code() {
            Some(ER_DUP_ENTRY) => self.exact || keeps,
            // The guard of `Verb::Keep`.
            Some(ER_DATA_OUT_OF_RANGE) => keeps,
            _ => false,
        };
        let locked = self.kind == Kind::Reread(RowLock::Refuse) && failure.is_transient();
        in_the_way || locked
    }

    /// Performs it. `transactions`: whether several statements may be one transaction, which under
    /// LOCK TABLES they may not: it would release the locks, and nobody else is there to see.
    pub(super) async fn perform(
        &self,
        session: &mut Session,
        transactions: bool,
    ) -> Result<Performed> {
        let one_statement = matches!(self.kind, Kind::Delete | Kind::Images | Kind::Reread(_));
        if !transactions || (one_statement && !self.exact) {
            return self.body(session).await;
        }
        session.execute("START TRANSACTION").await?;
        match self.body(session).await {
            Ok(performed) => {
                session.execute("COMMIT").await?;
                Ok(performed)
            }
            Err(failure) => {
                if !failure.is_disconnected()
                    && let Err(rollback) = session.execute("ROLLBACK").await
                {
                    // Whether the transaction is still open is not known: the session must go.
                    return Err(Failure::from_server(
                        ErrorClass::Disconnected,
                        rollback.code(),
                        format!("{failure}; and rolling back failed: {rollback}"),
                    ));
                }
                Err(failure)
            }
        }
    }

    async fn body(&self, session: &mut Session) -> Result<Performed> {
        match self.kind {
            Kind::Delete => {
                session
                    .execute_surely(&self.statements.delete(self.rows))
                    .await?;
            }
            Kind::Images | Kind::Reread(_) => self.put(session, self.rows).await?,
            Kind::RereadFree => return self.reread_free(session).await,
            Kind::Evict => return self.evict(session).await,
            Kind::Exchange(source) => self.exchange(session, source).await?,
        }
        Ok(Performed::Done)
    }

    async fn put(&self, session: &mut Session, rows: &[Row<'_>]) -> Result<()> {
        let verb = match self.exact {
            true => Verb::Insert,
            false => self.statements.plain,
        };
        if self.exact {
            session.execute(&self.statements.delete(rows)).await?;
        }
        let sql = match self.kind {
            Kind::Images => self.statements.put_images(verb, rows),
            Kind::Reread(lock) => self.statements.put_reread(verb, rows, lock),
            // Its rows are locked by ourselves.
            _ => self.statements.put_reread(verb, rows, RowLock::Wait),
        };
        execute_checked(session, &sql).await?;
        Ok(())
    }

    async fn exchange(&self, session: &mut Session, source: Source) -> Result<()> {
        let statements = self.statements;
        let kept = session
            .query_binary(&statements.select_kept(self.rows))
            .await?;
        session.execute(&statements.delete(self.rows)).await?;
        let sql = match source {
            Source::Images => statements.put_images(Verb::Insert, self.rows),
            Source::Original => statements.put_reread(Verb::Insert, self.rows, RowLock::Wait),
        };
        execute_checked(session, &sql).await?;
        for row in &kept {
            let key = read(statements.key(), Side::Source, row)?;
            // Another row of the same key keeps nothing of the former.
            let new = self.rows.iter().any(|own| own.recreated && own.key == key);
            if let Some(sql) = statements.restore(&key, row).filter(|_| !new) {
                session.execute(&sql).await?;
            }
        }
        Ok(())
    }

    async fn reread_free(&self, session: &mut Session) -> Result<Performed> {
        let Some(sql) = self.statements.free_keys(self.rows) else {
            return Ok(Performed::Only(HashSet::new()));
        };
        let mut free: HashSet<KeyBytes> = HashSet::new();
        for row in session.query_binary(&sql).await? {
            free.insert(read(self.statements.key(), Side::Source, &row)?.to_bytes());
        }
        // A key that reads back in other bytes (another case) is not found here and goes the slow way.
        let rows: Vec<Row<'_>> = self
            .rows
            .iter()
            .filter(|row| free.contains(row.bytes))
            .cloned()
            .collect();
        if !rows.is_empty() {
            self.put(session, &rows).await?;
        }
        Ok(Performed::Only(
            rows.iter().map(|row| row.bytes.clone()).collect(),
        ))
    }

    async fn evict(&self, session: &mut Session) -> Result<Performed> {
        /// A table has at most 64 indexes (both manuals), and each can have one row in the way.
        const ROUNDS_MAX: usize = 65;
        let statements = self.statements;
        let mut evicted = Vec::new();
        let [row] = self.rows else {
            return Err(Failure::failed("one row at a time is put in this way"));
        };
        session.execute(&statements.delete(self.rows)).await?;
        for _ in 0..ROUNDS_MAX {
            session.execute(&statements.forget_captured()).await?;
            let inserted = execute_checked(session, &statements.insert_or_capture(row)).await?;
            let captured: i64 = session.one(statements.has_captured()).await?;
            if captured == 0 {
                if inserted == 0 && row.values.is_some() {
                    break;
                }
                return Ok(Performed::Evicted(evicted));
            }
            for found in session.query_binary(&statements.captured_key()).await? {
                let key = read(statements.key(), Side::Source, &found)?;
                evicted.push(key.to_bytes());
            }
            session.execute(&statements.delete_captured()).await?;
        }
        Err(
            Failure::failed("a row of the ghost table stands in the way and cannot be removed")
                .remedy("report this with the definition of the table"),
        )
    }
}

/// Runs a statement that puts rows in and returns how many rows the server counts; a warning that a value
/// was changed to fit is an error.
async fn execute_checked(session: &mut Session, sql: &str) -> Result<u64> {
    let outcome = session.execute_surely(sql).await?;
    if outcome.warnings == 0 {
        return Ok(outcome.affected);
    }
    let warnings = session.warnings().await?;
    match warnings.iter().find(|warning| !is_advice(warning)) {
        None => Ok(outcome.affected),
        Some(warning) => Err(Failure::from_server(
            ErrorClass::Definite,
            Some(warning.code),
            warning.message.clone(),
        )
        .kind_is(FailureKind::DoesNotFit)),
    }
}
