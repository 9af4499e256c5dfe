//! Who holds the table, or may, for longer than the budget.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::report::Blocker;
use crate::failure::{Context, ErrorClass, Result};
use crate::mysql::error::is_unreadable_text;
use crate::mysql::{Purpose, Server, Session, quote, shape};
use crate::names::TableName;

/// Between two looks. information_schema.INNODB_TRX is a copy that the server renews only when the
/// last look at it is more than 100 ms ago (manual, "INNODB_TRX"): looking more often shows the same
/// old copy for ever.
const BETWEEN_LOOKS: Duration = Duration::from_millis(130);
/// A session that has run nothing for so many seconds is idle; below, it may be between two statements
/// of a busy transaction.
const IDLE_S: u32 = 2;
/// How much of a statement is shown.
const STATEMENT_CHARS_MAX: usize = 100;

/// What the server lets us see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    /// performance_schema.metadata_locks.
    MetadataLocks,
    /// MariaDB's plugin `metadata_lock_info`.
    LockInfoPlugin,
    /// Neither: open transactions only, whatever table they have used.
    TransactionsOnly,
}

impl Sight {
    async fn of(session: &mut Session) -> Result<Sight> {
        if session.server().facts().shows_metadata_locks() {
            // The table is there also where nothing is written into it (MySQL 5.7 as shipped).
            let instrument: Result<Option<String>> = session
                .first(
                    "SELECT NAME FROM performance_schema.setup_instruments \
                     WHERE NAME = 'wait/lock/metadata/sql/mdl' AND ENABLED = 'YES'",
                )
                .await;
            match instrument {
                Ok(Some(_)) => return Ok(Sight::MetadataLocks),
                Err(failure) if failure.class() != Some(ErrorClass::Refused) => {
                    return Err(failure);
                }
                Ok(None) | Err(_) => {}
            }
        }
        let plugin: Option<String> = session
            .first(
                "SELECT PLUGIN_NAME FROM information_schema.PLUGINS \
                 WHERE PLUGIN_NAME = 'METADATA_LOCK_INFO' AND PLUGIN_STATUS = 'ACTIVE'",
            )
            .await?;
        Ok(match plugin {
            Some(_) => Sight::LockInfoPlugin,
            None => Sight::TransactionsOnly,
        })
    }
}

/// Looks at those who hold the table.
pub(super) struct Lookout {
    session: Session,
    sight: Sight,
    table: TableName,
    /// When each was first seen: start times come in whole seconds, too coarse for the budget.
    first_seen: HashMap<(u32, String), Instant>,
    last_look: Option<Instant>,
}

/// One row of a look: id, user, host, command, age in µs, transaction number, rows changed, statement.
type Row = (
    Option<u32>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<i64>,
    Option<String>,
    Option<u64>,
    Option<String>,
);

impl Lookout {
    /// Opens the session and finds out what can be seen.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn open(server: &Server, table: &TableName) -> Result<Lookout> {
        let mut session = server.session(Purpose::Monitor).await?;
        let sight = Sight::of(&mut session).await?;
        Ok(Lookout {
            session,
            sight,
            table: table.clone(),
            first_seen: HashMap::new(),
            last_look: None,
        })
    }

    /// Whether those who hold the table can be told from those who do not.
    pub fn sees_holders(&self) -> bool {
        self.sight != Sight::TransactionsOnly
    }

    /// The table that is looked at.
    pub fn table(&self) -> &TableName {
        &self.table
    }

    /// Its session, for other looks that may take a moment.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    pub async fn close(self) {
        self.session.close().await;
    }

    /// Everybody but `own` who holds the table, or may, in a transaction older than `age_min`; the
    /// oldest first. Waits until a look tells something new.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn look(&mut self, own: &[u32], age_min: Duration) -> Result<Vec<Blocker>> {
        if let Some(last) = self.last_look {
            tokio::time::sleep_until(last + BETWEEN_LOOKS).await;
        }
        let sql = match self.sight {
            Sight::MetadataLocks => self.sql_metadata_locks(),
            Sight::LockInfoPlugin => self.sql_plugin(),
            Sight::TransactionsOnly => self.sql_transactions(),
        };
        let (rows, knows_rows) = self
            .ask(&sql)
            .await
            .doing(|| "look who holds the table")
            .remedy("grant PROCESS, and SELECT on performance_schema, to the account")?;
        let now = Instant::now();
        self.last_look = Some(now);
        let own_id = self.session.id();
        let mut found: Vec<Blocker> = rows
            .into_iter()
            .map(|row| self.blocker(row, knows_rows))
            .filter(|blocker| blocker.id != own_id && !own.contains(&blocker.id))
            .collect();
        let mut seen = HashMap::new();
        for blocker in &mut found {
            let key = (blocker.id, blocker.transaction.clone());
            let first = self.first_seen.get(&key).copied().unwrap_or(now);
            blocker.age = blocker.age.max(now - first);
            seen.insert(key, first);
        }
        self.first_seen = seen;
        found.retain(|blocker| blocker.age >= age_min);
        found.sort_by_key(|blocker| (std::cmp::Reverse(blocker.age), blocker.id));
        found.dedup_by_key(|blocker| blocker.id);
        Ok(found)
    }

    /// Runs a look, and says whether it tells how many rows a transaction has changed. While somebody's
    /// statement makes INNODB_TRX unreadable, those who hold the table are still seen, without what that
    /// table adds; where open transactions are all that can be seen, nobody is.
    async fn ask(&mut self, sql: &str) -> Result<(Vec<Row>, bool)> {
        match self.session.query(sql).await {
            Err(failure) if is_unreadable_text(&failure) => {}
            rows => return rows.map(|rows| (rows, true)),
        }
        if !self.sees_holders() {
            return Ok((Vec::new(), false));
        }
        let without = sql.replace("information_schema.INNODB_TRX", NO_TRANSACTIONS);
        Ok((self.session.query(&without).await?, false))
    }

    fn blocker(&self, row: Row, knows_rows: bool) -> Blocker {
        let (id, user, host, command, age_micros, transaction, rows_modified, statement) = row;
        let micros = u64::try_from(age_micros.unwrap_or(0)).unwrap_or(0);
        Blocker {
            // A prepared XA transaction whose connection is gone holds its locks without a thread.
            id: id.unwrap_or(0),
            user: user.unwrap_or_else(|| "nobody: a prepared transaction".to_string()),
            host: host.unwrap_or_default(),
            age: Duration::from_micros(micros),
            statement: statement_shape(statement.as_deref()),
            idle: command.is_none_or(|command| command == "Sleep"),
            rows_modified: rows_modified.or(knows_rows.then_some(0)),
            transaction: transaction.unwrap_or_default(),
            certain: self.sees_holders(),
        }
    }

    /// Start times are whole seconds, cut: the age may be up to a second less than it seems. Threads of
    /// InnoDB are left out: purge holds a table for one record at a time, but its thread is as old as the
    /// server, and after many changes it is met at nearly every look.
    fn sql_metadata_locks(&self) -> String {
        format!(
            "SELECT t.PROCESSLIST_ID, IF(t.NAME LIKE '%one_connection', t.PROCESSLIST_USER, \
             IF(t.THREAD_ID IS NULL, NULL, 'system user')), t.PROCESSLIST_HOST, \
             IF(t.PROCESSLIST_COMMAND = 'Sleep' AND t.PROCESSLIST_TIME < {IDLE_S}, 'Pause', \
             t.PROCESSLIST_COMMAND), \
             COALESCE(IF(et.STATE = 'ACTIVE', CAST(et.TIMER_WAIT DIV 1000000 AS SIGNED), NULL), \
             TIMESTAMPDIFF(MICROSECOND, trx.trx_started, NOW(6)) - 999999, \
             (t.PROCESSLIST_TIME - 1) * 1000000, 1000000 * IF(t.THREAD_ID IS NULL, 86400, 0)), \
             CAST(trx.trx_id AS CHAR), trx.trx_rows_modified, \
             COALESCE(es.DIGEST_TEXT, t.PROCESSLIST_INFO) \
             FROM performance_schema.metadata_locks ml \
             LEFT JOIN performance_schema.threads t ON t.THREAD_ID = ml.OWNER_THREAD_ID \
             LEFT JOIN information_schema.INNODB_TRX trx ON trx.trx_mysql_thread_id = t.PROCESSLIST_ID \
             LEFT JOIN performance_schema.events_transactions_current et \
             ON et.THREAD_ID = ml.OWNER_THREAD_ID \
             LEFT JOIN performance_schema.events_statements_current es \
             ON es.THREAD_ID = ml.OWNER_THREAD_ID \
             WHERE ml.OBJECT_TYPE = 'TABLE' AND ml.OBJECT_SCHEMA = {} AND ml.OBJECT_NAME = {} \
             AND ml.LOCK_STATUS = 'GRANTED' AND COALESCE(t.NAME, '') NOT LIKE 'thread/innodb/%'",
            quote::string(&self.table.schema),
            quote::string(&self.table.table)
        )
    }

    /// Every open transaction of the server, but for InnoDB's own, which belong to nobody.
    fn sql_transactions(&self) -> String {
        format!(
            "SELECT CAST(trx.trx_mysql_thread_id AS UNSIGNED), p.USER, p.HOST, p.COMMAND, \
             TIMESTAMPDIFF(MICROSECOND, trx.trx_started, NOW(6)) - 999999, \
             CAST(trx.trx_id AS CHAR), trx.trx_rows_modified, trx.trx_query \
             FROM information_schema.INNODB_TRX trx \
             LEFT JOIN {} p ON p.ID = trx.trx_mysql_thread_id \
             WHERE trx.trx_mysql_thread_id <> 0",
            self.session.server().facts().processlist()
        )
    }

    fn sql_plugin(&self) -> String {
        format!(
            "SELECT CAST(ml.THREAD_ID AS UNSIGNED), p.USER, p.HOST, \
             IF(p.COMMAND = 'Sleep' AND p.TIME < {IDLE_S}, 'Pause', p.COMMAND), \
             COALESCE(TIMESTAMPDIFF(MICROSECOND, trx.trx_started, NOW(6)) - 999999, 0), \
             CAST(trx.trx_id AS CHAR), trx.trx_rows_modified, p.INFO \
             FROM information_schema.METADATA_LOCK_INFO ml \
             LEFT JOIN information_schema.PROCESSLIST p ON p.ID = ml.THREAD_ID \
             LEFT JOIN information_schema.INNODB_TRX trx ON trx.trx_mysql_thread_id = ml.THREAD_ID \
             WHERE ml.LOCK_TYPE = 'Table metadata lock' AND ml.TABLE_SCHEMA = {} AND ml.TABLE_NAME = {}",
            quote::string(&self.table.schema),
            quote::string(&self.table.table)
        )
    }
}

/// Stands for INNODB_TRX where that cannot be read.
const NO_TRANSACTIONS: &str = "(SELECT CAST(NULL AS UNSIGNED) AS trx_mysql_thread_id, \
     CAST(NULL AS DATETIME) AS trx_started, CAST(NULL AS CHAR) AS trx_id, \
     CAST(NULL AS UNSIGNED) AS trx_rows_modified)";

/// What a session runs, without its values.
fn statement_shape(sql: Option<&str>) -> String {
    match shape(sql.unwrap_or_default(), STATEMENT_CHARS_MAX) {
        shape if shape.is_empty() => "not known".to_string(),
        shape => shape,
    }
}
