//! The lock that keeps a second run away from the same table.

use crate::failure::{Context, Failure, FailureKind, Result};
use crate::mysql::{Purpose, Server, Session, quote};
use crate::names::Names;

/// How long to wait: the server may need a moment to notice that the connection of a killed run is gone.
const WAIT_S: u32 = 3;
/// As long as the server allows (a year, manual: `wait_timeout`): the session says nothing during a run.
const IDLE_S: u32 = 31_536_000;

/// Takes the advisory lock of the table and gives the session that holds it. The lock is gone with the
/// session, however the program ends; it is the server's, so runs on another server do not see it.
///
/// # Errors
/// [`FailureKind::Refused`] if another run has it, with the connection that holds it; what the server
/// answered.
pub async fn acquire_migration_lock(server: &Server, names: &Names) -> Result<Session> {
    let name = lock_name(names);
    let mut session = server.session(Purpose::Monitor).await?;
    let taken: Option<i64> = session
        .one(&format!(
            "SELECT GET_LOCK({}, {WAIT_S})",
            quote::string(&name)
        ))
        .await
        .doing(|| format!("take the advisory lock of {}", names.original))?;
    if taken == Some(1) {
        session
            .execute(&format!("SET SESSION wait_timeout = {IDLE_S}"))
            .await?;
        return Ok(session);
    }
    let holder: Option<u64> = session
        .one(&format!("SELECT IS_USED_LOCK({})", quote::string(&name)))
        .await?;
    session.close().await;
    let holder = match holder {
        Some(id) => format!(" (connection {id})"),
        None => String::new(),
    };
    Err(Failure::new(
        FailureKind::Refused,
        format!(
            "another run is altering {} on this server{holder}",
            names.original
        ),
    )
    .remedy("wait until it has ended; `changeling ctl status` shows what it does"))
}

/// Lock names are at most 64 characters and know no case (manual, GET_LOCK): of the table's name only a
/// hash is in it.
fn lock_name(names: &Names) -> String {
    let hash = names
        .original
        .to_string()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    format!("changeling_run_{hash:016x}")
}
