//! Brings names and triggers back in order after an attempt with the sentry protocol, or after a crash in one.

use std::time::Duration;

use tokio::time::Instant;

use super::catalogue::{Ownership, ownership};
use super::crew::open_locker;
use super::sorted::SortedNames;
use super::triggers;
use crate::failure::{Context, Result};
use crate::mysql::quote::{self, OWN_DDL};
use crate::mysql::{Server, Session};
use crate::names::{Names, TableName};
use crate::schema;

/// How the sentry is known again: a table of its name without this comment is somebody else's, or the
/// old table.
pub(super) const SENTRY_COMMENT: &str = "changeling sentry";
/// How long the renames are tried: a backup may block all DDL for a while.
const TRY_LIMIT: Duration = Duration::from_secs(600);
const TRY_PAUSE: Duration = Duration::from_secs(1);

/// Looks who is the table and gives ghost and old table the names they should have: to be called before
/// anything else when a migration goes on after an interruption. Leaves everything as it is when that
/// cannot be told.
///
/// # Errors
/// What the server answered.
pub async fn settle(server: &Server, names: &Names) -> Result<Ownership> {
    let found = ownership(server, names).await?;
    match found {
        Ownership::Original => put_back(server, names).await?,
        Ownership::Swapped => {
            let old = name_old(server, names).await?;
            triggers::take_names(server, &names.original, &old).await?;
        }
        Ownership::Unknown(_) => {}
    }
    Ok(found)
}

/// Undoes a swap, by one RENAME: the former table has its name back, the new one is the ghost again.
/// For tests on a replica to which nobody writes; what was written since the swap stays with the ghost.
///
/// # Errors
/// What the server answered, after ten minutes of trying if it was a lock.
pub async fn swap_back(server: &Server, names: &Names) -> Result<()> {
    let sql = format!(
        "{OWN_DDL}RENAME TABLE {original} TO {ghost}, {old} TO {original}",
        original = quote::table(&names.original),
        ghost = quote::table(&names.ghost),
        old = quote::table(&names.old),
    );
    let deadline = Instant::now() + TRY_LIMIT;
    loop {
        let mut session = open_locker(server, TRY_PAUSE).await?;
        let renamed = session.execute(&sql).await;
        session.close().await;
        match renamed {
            Ok(_) => return Ok(()),
            Err(failure) if failure.is_transient() && Instant::now() < deadline => {
                tokio::time::sleep(TRY_PAUSE).await;
            }
            Err(failure) => {
                return Err(failure)
                    .doing(|| format!("swap {} back", names.original))
                    .remedy(&format!("swap them by hand: {sql}"));
            }
        }
    }
}

/// The original is the table: drops the sentry and gives the ghost its usual name.
///
/// # Errors
/// What the server answered, after ten minutes of trying if it was a lock.
pub(super) async fn put_back(server: &Server, names: &Names) -> Result<()> {
    let ghost = SortedNames::new(&names.original).ghost;
    again_and_again(server, names, Ownership::Original)
        .await
        .doing(|| format!("put {} back after a cut-over attempt", names.ghost))
        .remedy(&format!(
            "give the ghost its name back by hand (RENAME TABLE {} TO {}), then start again",
            quote::table(&ghost),
            quote::table(&names.ghost)
        ))
}

/// The ghost is the table: gives the old table its usual name. Returns the name that it has.
///
/// # Errors
/// What the server answered, after ten minutes of trying if it was a lock.
pub(super) async fn name_old(server: &Server, names: &Names) -> Result<TableName> {
    again_and_again(server, names, Ownership::Swapped)
        .await
        .doing(|| format!("give the old table its name {}", names.old))?;
    Ok(names.old.clone())
}

/// While it is a lock or the connection that fails.
async fn again_and_again(server: &Server, names: &Names, owner: Ownership) -> Result<()> {
    let deadline = Instant::now() + TRY_LIMIT;
    loop {
        let failure = match set_right(server, names, &owner).await {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        let again = failure.is_transient() || failure.is_disconnected();
        if !again || Instant::now() >= deadline {
            return Err(failure);
        }
        tracing::warn!(
            event = "cutover_names",
            "cannot set the names right yet: {failure}"
        );
        tokio::time::sleep(TRY_PAUSE).await;
    }
}

async fn set_right(server: &Server, names: &Names, owner: &Ownership) -> Result<()> {
    let sorted = SortedNames::new(&names.original);
    let mut session = open_locker(server, TRY_PAUSE).await?;
    let sentry = schema::comment(&mut session, &sorted.sentry).await?;
    if *owner == Ownership::Swapped {
        if sentry.is_some() {
            rename(&mut session, &sorted.sentry, &names.old).await?;
        }
    } else {
        if sentry.as_deref() == Some(SENTRY_COMMENT) {
            let drop = format!("{OWN_DDL}DROP TABLE {}", quote::table(&sorted.sentry));
            session.execute(&drop).await?;
        }
        if schema::comment(&mut session, &sorted.ghost)
            .await?
            .is_some()
        {
            rename(&mut session, &sorted.ghost, &names.ghost).await?;
        }
        triggers::drop_all(&mut session, &names.ghost).await?;
    }
    session.close().await;
    Ok(())
}

async fn rename(session: &mut Session, from: &TableName, to: &TableName) -> Result<()> {
    session
        .execute(&format!(
            "{OWN_DDL}RENAME TABLE {} TO {}",
            quote::table(from),
            quote::table(to)
        ))
        .await?;
    Ok(())
}
