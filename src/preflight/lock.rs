//! The lock that keeps a second run away from the same table.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::failure::{Context, Failure, FailureKind, Result};
use crate::mysql::retry::Endurance;
use crate::mysql::{Purpose, Server, Session, quote};
use crate::names::Names;

/// How long to wait: the server may need a moment to notice that the connection of a killed run is gone.
const WAIT_S: u32 = 3;
/// As long as the server allows (a year, manual: `wait_timeout`): the session says nothing during a run.
const IDLE_S: u32 = 31_536_000;

/// How often the holder looks whether it still has the lock.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The advisory lock of a table. It is gone with its session, however the program ends; it is the server's,
/// so runs on another server do not see it.
#[derive(Clone)]
pub struct MigrationLock {
    server: Server,
    names: Names,
    /// `None`: lost with its connection.
    session: Arc<Mutex<Option<Session>>>,
}

/// Takes the advisory lock of the table.
///
/// # Errors
/// [`FailureKind::Refused`] if another run has it, with the connection that holds it; what the server
/// answered.
pub async fn acquire_migration_lock(server: &Server, names: &Names) -> Result<MigrationLock> {
    let session = acquire(server, names).await?;
    Ok(MigrationLock {
        server: server.clone(),
        names: names.clone(),
        session: Arc::new(Mutex::new(Some(session))),
    })
}

async fn acquire(server: &Server, names: &Names) -> Result<Session> {
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

impl MigrationLock {
    /// Looks again and again whether the lock is still held, and takes it again when its connection was
    /// lost, until cancelled.
    ///
    /// # Errors
    /// [`FailureKind::Interrupted`] if another run has taken it meanwhile; a server that stays away.
    pub async fn keep(&self, cancel: &CancellationToken) -> Result<()> {
        let mut endurance = Endurance::default();
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = cancel.cancelled() => return Ok(()),
            }
            match self.ensure().await {
                Ok(()) => endurance = Endurance::default(),
                Err(failure) => {
                    if !endurance.endure(failure, cancel).await? {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Makes sure that the lock is held now; takes it again when its connection was lost.
    ///
    /// # Errors
    /// [`FailureKind::Interrupted`] if another run has taken it meanwhile; what the server answered.
    pub async fn ensure(&self) -> Result<()> {
        match self.look().await {
            Err(failure) if failure.kind() == FailureKind::Refused => Err(failure
                .kind_is(FailureKind::Interrupted)
                .doing("the connection that kept other runs away was lost")),
            looked => looked,
        }
    }

    async fn look(&self) -> Result<()> {
        let mut held = self.session.lock().await;
        if let Some(session) = held.as_mut() {
            let sql = format!(
                "SELECT IS_USED_LOCK({}) = CONNECTION_ID()",
                quote::string(&lock_name(&self.names))
            );
            match session.first::<Option<i64>>(&sql).await {
                Ok(Some(Some(1))) => return Ok(()),
                Ok(_) => {}
                Err(failure) => tracing::debug!(event = "lock_lost", "{failure}"),
            }
            *held = None;
        }
        *held = Some(acquire(&self.server, &self.names).await?);
        tracing::info!(
            event = "lock_again",
            "took the advisory lock of {} again: its connection was lost",
            self.names.original
        );
        Ok(())
    }

    /// Gives the lock back.
    pub async fn release(self) {
        if let Some(session) = self.session.lock().await.take() {
            session.close().await;
        }
    }
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
