//! Whether rows fit the new definition: some of them, spread over the key, are copied into a temporary
//! table, which no binlog and no other session sees, and which is gone with its session.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::alter::AlterStatement;
use crate::copy::{self, CopyMode, CopyPlan, DuplicateScan};
use crate::failure::{Failure, FailureKind, Result};
use crate::mysql::quote::{self, OWN_DDL};
use crate::mysql::{Purpose, Server, Session};
use crate::names::Names;
use crate::schema::{ColumnMap, MigrationKey, TableDefinition};
use crate::walk::spread;

/// Places of the key at which rows are tried.
const PLACES: usize = 16;
/// Rows at each place.
const ROWS_A_PLACE: u64 = 250;
/// How long looking for duplicates may take: a plan answers in seconds.
const SCAN_LIMIT: Duration = Duration::from_secs(3);
/// How long a statement of the try may take.
const TRY_LIMIT: Duration = Duration::from_secs(10);

/// What came out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "verdict", content = "words")]
pub enum Verdict {
    /// Nothing stands against it, as far as was looked.
    Fits(String),
    /// Rows do not fit: which, and why.
    DoesNotFit(String),
    /// It could not be tried, and why.
    NotTried(String),
}

/// Rows of the table that were tried.
#[derive(Clone, Debug)]
pub struct RowsTried<'a> {
    /// The table.
    pub original: &'a TableDefinition,
    /// What the ALTER makes of it.
    pub target: &'a TableDefinition,
    /// Which column goes where.
    pub map: &'a ColumnMap,
    /// The key.
    pub key: &'a MigrationKey,
}

/// Tries some rows.
///
/// # Errors
/// The connection's failure.
pub async fn try_rows(
    server: &Server,
    names: &Names,
    alter: &AlterStatement,
    what: &RowsTried<'_>,
) -> Result<Verdict> {
    let mut session = server.session(Purpose::Copy).await?;
    session.set_limit(TRY_LIMIT);
    let tried = in_a_temporary_table(&mut session, names, alter, what).await;
    session.close().await;
    match tried {
        Ok(rows) => Ok(Verdict::Fits(format!(
            "{rows} rows at up to {PLACES} places of the key fit"
        ))),
        Err(failure) if failure.kind() == FailureKind::DoesNotFit => {
            Ok(Verdict::DoesNotFit(failure.cause().to_string()))
        }
        Err(failure) if failure.code().is_some() => {
            Ok(Verdict::NotTried(failure.cause().to_string()))
        }
        Err(failure) => Err(failure),
    }
}

async fn in_a_temporary_table(
    session: &mut Session,
    names: &Names,
    alter: &AlterStatement,
    what: &RowsTried<'_>,
) -> Result<u64> {
    let temporary = names.helper("ghs");
    let table = quote::table(&temporary);
    session
        .execute(&format!(
            "{OWN_DDL}CREATE TEMPORARY TABLE {table} LIKE {}",
            quote::table(&what.original.name)
        ))
        .await?;
    let Some(sql) = alter.sql_for(&temporary) else {
        return Err(Failure::new(
            FailureKind::Refused,
            "there is nothing to try",
        ));
    };
    session.execute(&sql).await?;
    let strata = spread::strata(session, &what.original.name, what.key, PLACES).await?;
    let plan = CopyPlan {
        server: session.server().clone(),
        original: Arc::new(what.original.clone()),
        ghost: Arc::new(TableDefinition {
            name: temporary,
            ..what.target.clone()
        }),
        map: Arc::new(what.map.clone()),
        key: Arc::new(what.key.clone()),
        mode: CopyMode::LockFree,
        from: None,
        sample: None,
        splits_max: None,
        trail: Arc::default(),
        compress: false,
    };
    copy::try_places(session, &plan, strata, ROWS_A_PLACE).await
}

/// Looks for duplicates under new unique keys, as far as that is done in seconds: by an index that has
/// their order, or in a table that is small enough.
///
/// # Errors
/// What the server answered.
pub async fn duplicates(server: &Server, what: &RowsTried<'_>) -> Result<Verdict> {
    let cancel = CancellationToken::new();
    let scan = DuplicateScan {
        original: what.original,
        ghost: what.target,
        map: what.map,
        key: what.key,
    };
    if !scan.has_work() {
        return Ok(Verdict::Fits(
            "no unique key is stricter than before".to_string(),
        ));
    }
    let end = async {
        tokio::time::sleep(SCAN_LIMIT).await;
        cancel.cancel();
        // The scan kills its statement and ends by itself.
        std::future::pending::<()>().await;
    };
    let scanned = tokio::select! {
        scanned = copy::scan_duplicates(server, scan, &cancel) => scanned,
        () = end => Ok(()),
    };
    match scanned {
        Ok(()) if cancel.is_cancelled() => Ok(Verdict::NotTried(format!(
            "looking for duplicates takes longer than {}; the migration does it before it copies",
            humantime::format_duration(SCAN_LIMIT)
        ))),
        Ok(()) => Ok(Verdict::Fits(
            "no duplicates under the new unique keys".to_string(),
        )),
        Err(failure) if failure.kind() == FailureKind::DoesNotFit => {
            Ok(Verdict::DoesNotFit(failure.cause().to_string()))
        }
        Err(failure) => Err(failure),
    }
}
