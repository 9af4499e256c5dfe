//! The changelog table: what we write into the server to see it come back through the binlog.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::change::{HEARTBEAT, now_micros};
use crate::failure::{Context, Failure, Result};
use crate::mysql::error::is_read_only;
use crate::mysql::quote::{self, OWN_DDL};
use crate::mysql::{Purpose, Server, Session};
use crate::names::TableName;
use crate::progress::Count;

/// The heartbeat's own row.
const HEARTBEAT_ID: u32 = 1;

/// Creates the table; one of that name must not exist.
///
/// # Errors
/// What the server answered.
pub async fn create(session: &mut Session, table: &TableName) -> Result<()> {
    // Ids below 256 are for rows that are written again and again, as in gh-ost's table.
    session
        .execute(&format!(
            "{OWN_DDL}CREATE TABLE {} (\
             id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, \
             last_update TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), \
             hint VARCHAR(64) CHARACTER SET ascii NOT NULL UNIQUE, \
             value VARCHAR(4096) CHARACTER SET utf8mb4 NOT NULL\
             ) ENGINE = InnoDB AUTO_INCREMENT = 256",
            quote::table(table)
        ))
        .await
        .doing(|| format!("create changelog table {table}"))?;
    Ok(())
}

/// Drops the table, if it is there.
///
/// # Errors
/// What the server answered.
pub async fn drop(session: &mut Session, table: &TableName) -> Result<()> {
    session
        .execute(&format!(
            "{OWN_DDL}DROP TABLE IF EXISTS {}",
            quote::table(table)
        ))
        .await
        .doing(|| format!("drop changelog table {table}"))?;
    Ok(())
}

/// Writes a marker: `name` is unique in the run, ASCII, at most 64 characters.
///
/// # Errors
/// What the server answered; the same name again is a duplicate.
pub async fn write_marker(session: &mut Session, table: &TableName, name: &str) -> Result<()> {
    session
        .execute(&format!(
            "INSERT INTO {} (hint, value) VALUES ({}, {})",
            quote::table(table),
            quote::string(name),
            quote::string(&now_micros().to_string())
        ))
        .await
        .doing(|| format!("write marker {name} into {table}"))?;
    Ok(())
}

/// Writes a state for people and jobs that look into the table (gh-ost writes such rows): a row a hint.
///
/// # Errors
/// What the server answered.
pub async fn write_state(
    session: &mut Session,
    table: &TableName,
    hint: &str,
    value: &str,
) -> Result<()> {
    let value = quote::string(value);
    session
        .execute(&format!(
            "INSERT INTO {} (hint, value) VALUES ({}, {value}) ON DUPLICATE KEY UPDATE value = {value}",
            quote::table(table),
            quote::string(hint),
        ))
        .await
        .doing(|| format!("write state {hint} into {table}"))?;
    Ok(())
}

/// Writes a heartbeat again and again.
#[derive(Debug)]
pub struct Heartbeats {
    /// Where to.
    pub server: Server,
    /// The changelog table.
    pub table: TableName,
    /// How often.
    pub every: Duration,
    /// How long it may fail before the run does.
    pub limit: Duration,
    /// How many were written.
    pub written: Count,
}

impl Heartbeats {
    /// Every 100 ms, and no patience beyond two minutes.
    pub fn new(server: Server, table: TableName) -> Heartbeats {
        Heartbeats {
            server,
            table,
            every: Duration::from_millis(100),
            limit: Duration::from_secs(120),
            written: Count::default(),
        }
    }

    /// Writes until cancelled, through a connection of its own. A lock wait, a lost connection or a server
    /// that is read-only for a while is tried again.
    ///
    /// # Errors
    /// Any other answer of the server; nothing written within `limit`.
    pub async fn run(&self, cancel: &CancellationToken) -> Result<()> {
        let mut session: Option<Session> = None;
        let mut last_written = Instant::now();
        loop {
            match self.beat(&mut session).await {
                Ok(()) => {
                    self.written.add(1);
                    last_written = Instant::now();
                }
                Err(failure) if self.may_wait(&failure, last_written) => {
                    tracing::debug!(event = "heartbeat_failed", "no heartbeat: {failure}");
                }
                Err(failure) => {
                    return Err(failure)
                        .doing(|| format!("write a heartbeat into {}", self.table))
                        .remedy("check that the server is writable and answers, then start again");
                }
            }
            tokio::select! {
                () = cancel.cancelled() => break,
                () = tokio::time::sleep(self.every) => {}
            }
        }
        if let Some(session) = session {
            session.close().await;
        }
        Ok(())
    }

    fn may_wait(&self, failure: &Failure, last_written: Instant) -> bool {
        let passes = failure.is_transient() || failure.is_disconnected() || is_read_only(failure);
        passes && last_written.elapsed() < self.limit
    }

    async fn beat(&self, session: &mut Option<Session>) -> Result<()> {
        let mut own = match session.take() {
            Some(own) => own,
            None => {
                let mut own = self.server.session(Purpose::Monitor).await?;
                own.set_limit(Duration::from_secs(10));
                own
            }
        };
        let value = now_micros();
        let written = own
            .execute(&format!(
                "INSERT INTO {} (id, hint, value) VALUES ({HEARTBEAT_ID}, '{HEARTBEAT}', '{value}') \
                 ON DUPLICATE KEY UPDATE value = '{value}'",
                quote::table(&self.table)
            ))
            .await;
        // A connection that was given up is opened anew.
        if !written.as_ref().is_err_and(Failure::is_disconnected) {
            *session = Some(own);
        }
        written.map(|_| ())
    }
}
