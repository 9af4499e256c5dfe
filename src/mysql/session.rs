//! One connection with one purpose.

use std::time::Duration;

use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, Row};

use super::server::{OwnConnection, Server};
use crate::failure::{Context, ErrorClass, Failure, Result};

/// What a connection is for. It decides the session's settings, and shows up as a comment of nothing:
/// each purpose has its own connections, which are never shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Reads facts, looks at others, kills statements; short statements only.
    Monitor,
    /// Copies chunks.
    Copy,
    /// Applies changes.
    Apply,
    /// Holds the table locks of a cut-over.
    Lock,
    /// Runs DDL that a user would run: the ALTER on the ghost, index builds. It keeps the server's own
    /// `sql_mode` and time zone, so that defaults and conversions are those of a native ALTER.
    Ddl,
    /// Compares tables.
    Verify,
}

/// What a statement did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Rows affected as the server counts them (REPLACE counts deleted and inserted rows).
    pub affected: u64,
    /// How many warnings wait to be read.
    pub warnings: u16,
    /// How many rows an `INSERT … SELECT` has read (`Records` in the server's answer); `None` where the
    /// server does not say.
    pub records: Option<u64>,
}

/// One row of `SHOW WARNINGS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// `Note`, `Warning` or `Error`.
    pub level: String,
    /// The error code.
    pub code: u16,
    /// The server's words.
    pub message: String,
}

/// One connection. Every statement has a time limit; one that passes it is killed on the server and
/// the session is broken from then on (its outcome is unknown: class `Disconnected`).
///
/// Not cancellation-safe: a dropped future leaves the protocol in the middle of an answer. Cancel by
/// [`Server::kill_query`] on [`Session::id`], then await the answer.
pub struct Session {
    conn: Option<Conn>,
    server: Server,
    id: u32,
    limit: Duration,
    own: OwnConnection,
    /// So many kills had been sent to it when its last statement ended.
    kills_seen: u64,
}

impl Session {
    pub(super) fn new(conn: Conn, server: Server, limit: Duration) -> Session {
        Session {
            id: conn.id(),
            own: server.mark_own(conn.id()),
            kills_seen: 0,
            conn: Some(conn),
            server,
            limit,
        }
    }

    /// The server's connection id, for KILL and for finding oneself in lists.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The server this session is connected to.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Changes the time limit of the statements that follow.
    pub fn set_limit(&mut self, limit: Duration) {
        self.limit = limit;
    }

    /// From now on the server itself ends a query that takes longer, with an error of class `Killed`.
    ///
    /// # Errors
    /// As [`Session::execute`].
    pub async fn limit_reads(&mut self, limit: Duration) -> Result<()> {
        let setting = self.server.facts().read_limit(limit);
        self.execute(&format!("SET SESSION {setting}")).await?;
        Ok(())
    }

    /// Runs a statement that returns no rows.
    ///
    /// # Errors
    /// What the server answered, with its class; `Disconnected` if the limit passed; `Killed` also where the
    /// server claims success, if this program has sent the session a kill since its last statement: killed
    /// while it plans, a DELETE may say that there was nothing to delete, and a SELECT that there are no rows
    /// (seen on MariaDB 10.11: a DELETE of eight rows that were there).
    pub async fn execute(&mut self, sql: &str) -> Result<Outcome> {
        self.with_conn(sql, async |conn| {
            conn.query_drop(sql).await?;
            Ok(Outcome {
                affected: conn.affected_rows(),
                warnings: conn.get_warnings(),
                records: records(&conn.info()),
            })
        })
        .await
    }

    /// Runs a statement that changes rows of a table by its keys or copies them. Where the server may claim
    /// success for a statement that somebody else has killed, one that met no row is run again.
    ///
    /// # Errors
    /// As [`Session::execute`].
    pub async fn execute_surely(&mut self, sql: &str) -> Result<Outcome> {
        let outcome = self.execute(sql).await?;
        let nothing = outcome.affected == 0 && outcome.records.unwrap_or_default() == 0;
        if nothing && self.server.facts().claims_killed_statements() {
            return self.execute(sql).await;
        }
        Ok(outcome)
    }

    /// Interrupts the statement that another connection is running, as [`Server::kill_query`] does.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn kill_query(&mut self, id: u32) -> Result<()> {
        self.server.announce_kill(id);
        self.execute(&format!("KILL QUERY {id}")).await.map(|_| ())
    }

    /// Runs a query and returns all rows.
    ///
    /// # Errors
    /// As [`Session::execute`]; a row of another shape than `T` is a `Definite` error.
    pub async fn query<T: FromRow + Send + 'static>(&mut self, sql: &str) -> Result<Vec<T>> {
        let rows: Vec<Row> = self
            .with_conn(sql, async |conn| conn.query(sql).await)
            .await?;
        rows.into_iter().map(typed).collect()
    }

    /// Runs a query through the binary protocol (values come typed: integers, dates, raw bytes) and
    /// returns all rows. The statement has no parameters; it is not kept in the statement cache.
    ///
    /// # Errors
    /// As [`Session::query`].
    pub async fn query_binary(&mut self, sql: &str) -> Result<Vec<Row>> {
        self.with_conn(sql, async |conn| {
            let statement = conn.prep(sql).await?;
            let rows = conn.exec(&statement, ()).await;
            conn.close(statement).await?;
            rows
        })
        .await
    }

    /// The first row of a query, if there is one.
    ///
    /// # Errors
    /// As [`Session::query`].
    pub async fn first<T: FromRow + Send + 'static>(&mut self, sql: &str) -> Result<Option<T>> {
        Ok(self.query(sql).await?.into_iter().next())
    }

    /// The first row of a query that must have one.
    ///
    /// # Errors
    /// As [`Session::query`]; no row is an error.
    pub async fn one<T: FromRow + Send + 'static>(&mut self, sql: &str) -> Result<T> {
        self.first(sql)
            .await?
            .ok_or_else(|| Failure::failed(format!("the server gave no row for: {}", shorten(sql))))
    }

    /// The warnings of the last statement.
    ///
    /// # Errors
    /// As [`Session::query`].
    pub async fn warnings(&mut self) -> Result<Vec<Warning>> {
        let rows: Vec<(String, u16, String)> = self.query("SHOW WARNINGS").await?;
        Ok(rows
            .into_iter()
            .map(|(level, code, message)| Warning {
                level,
                code,
                message,
            })
            .collect())
    }

    /// Has `information_schema` tell sizes and counters as they are: MySQL 8 serves them from a cache of a day's
    /// age otherwise (`information_schema_stats_expiry`).
    ///
    /// # Errors
    /// As [`Session::execute`].
    pub async fn want_fresh_statistics(&mut self) -> Result<()> {
        const CACHE: &str = "information_schema_stats_expiry";
        if self.server().facts().variable(CACHE).is_some() {
            self.execute(&format!("SET SESSION {CACHE} = 0")).await?;
        }
        Ok(())
    }

    /// Closes the connection politely; errors are of no interest any more.
    pub async fn close(mut self) {
        if let Some(conn) = self.conn.take() {
            let _ = tokio::time::timeout(Duration::from_secs(2), conn.disconnect()).await;
        }
    }

    async fn with_conn<T>(
        &mut self,
        sql: &str,
        run: impl AsyncFnOnce(&mut Conn) -> std::result::Result<T, mysql_async::Error>,
    ) -> Result<T> {
        let Some(conn) = self.conn.as_mut() else {
            return Err(Failure::from_server(
                ErrorClass::Disconnected,
                None,
                "this connection was given up after an earlier statement passed its time limit",
            ));
        };
        let answer = tokio::time::timeout(self.limit, run(conn)).await;
        let kills = self.own.kills();
        let killed = std::mem::replace(&mut self.kills_seen, kills) != kills;
        match answer {
            Ok(Ok(_)) if killed => Err(Failure::from_server(
                ErrorClass::Killed,
                None,
                "it was killed; what it answered is not believed",
            )
            .doing(format!("run `{}`", shorten(sql)))),
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                let failure = Failure::from(error);
                if failure.is_disconnected() {
                    self.conn = None;
                }
                Err(failure).doing(|| format!("run `{}`", shorten(sql)))
            }
            Err(_elapsed) => {
                self.conn = None;
                let killed = self.server.kill_connection(self.id).await;
                let end = match killed {
                    Ok(()) => "it was killed".to_string(),
                    Err(error) => format!("killing it failed: {error}"),
                };
                Err(Failure::from_server(
                    ErrorClass::Disconnected,
                    None,
                    format!(
                        "no answer within {}; {end}",
                        humantime::format_duration(self.limit)
                    ),
                )
                .doing(format!("run `{}`", shorten(sql))))
            }
        }
    }
}

/// The number behind `Records:` in `Records: 3  Duplicates: 1  Warnings: 1`.
fn records(info: &str) -> Option<u64> {
    info.strip_prefix("Records:")?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

fn typed<T: FromRow>(row: Row) -> Result<T> {
    mysql_async::from_row_opt(row).map_err(|error| {
        Failure::failed(format!(
            "the server gave a row of an unexpected shape: {error}"
        ))
    })
}

/// A statement's beginning, for messages.
fn shorten(sql: &str) -> String {
    const CHARS_MAX: usize = 160;
    super::shape(sql, CHARS_MAX)
}
