//! The verification of chunks and of single keys.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::comparison::Comparison;
use super::explain::{Mend, Settle, explain};
use super::look::Look;
use crate::chunk::Chunk;
use crate::failure::{Context, Result};
use crate::mysql::{Purpose, Server, Session};
use crate::progress::Progress;
use crate::schema::MigrationKey;
use crate::walk::bounds::{Side, SidedKey};
use crate::walk::trail::Trail;
use crate::walk::{ChunkWork, Worked};

/// What a verification needs to know. Cheap to clone.
#[derive(Clone)]
pub struct VerifyPlan {
    /// Where the original is.
    pub server: Server,
    /// Where the ghost is, if on another server (a replica).
    pub target_server: Option<Server>,
    /// How the tables are compared.
    pub comparison: Arc<Comparison>,
    /// Waits for changes to get through.
    pub settle: Arc<dyn Settle>,
    /// Puts right what differs, instead of it being a difference.
    pub mend: Option<Arc<dyn Mend>>,
    /// Rows that have changed again are left to a later comparison, rather than being taken over (see
    /// [`Settle::takes_over`]) or locked for a moment, one after the other (1,000 rows that change all the time:
    /// up to 3.6 s). For those who compare again what has changed, and do without this in the end.
    pub leaves_changing: bool,
    /// The bounds of the original's chunks as the copy found them, if it did.
    pub trail: Option<Arc<Trail>>,
    /// Average bytes of a row, for the size of chunks.
    pub row_bytes_estimate: u64,
    /// No chunk is read for longer: it goes in pieces then.
    pub chunk_time_max: Duration,
}

/// What [`VerifyPlan::chunk_time_max`] is by default: each chunk that is read keeps a snapshot, and a chunk by the
/// copy's bounds can have become much larger since.
pub const CHUNK_TIME_MAX: Duration = Duration::from_secs(10);

/// What the workers of a verification share.
pub(super) struct VerifyWork {
    plan: VerifyPlan,
    /// Which side's chunks come, and in which order, where the sides are ordered differently.
    along: Option<(Side, Arc<MigrationKey>)>,
    progress: Arc<Progress>,
    /// Sessions to the ghost's server that nobody uses just now.
    targets: Mutex<Vec<Session>>,
}

impl VerifyWork {
    pub(super) fn new(
        plan: VerifyPlan,
        along: Option<(Side, Arc<MigrationKey>)>,
        progress: Arc<Progress>,
    ) -> VerifyWork {
        VerifyWork {
            plan,
            along,
            progress,
            targets: Mutex::default(),
        }
    }

    async fn target(&self) -> Result<Option<Session>> {
        let Some(server) = &self.plan.target_server else {
            return Ok(None);
        };
        if let Some(session) = self.targets.lock().await.pop() {
            return Ok(Some(session));
        }
        let mut session = server.session(Purpose::Verify).await?;
        self.prepare(&mut session).await?;
        Ok(Some(session))
    }

    /// Compares a chunk, and explains what differs.
    async fn chunk(&self, look: &mut Look<'_>, chunk: &Chunk) -> Result<Worked> {
        let began = Instant::now();
        let (rows, suspects) = match &self.along {
            Some((side, order)) => look.differing_along(*side, order, chunk).await?,
            None => match look.compare(chunk).await? {
                (rows, true) => (rows, Vec::new()),
                (rows, false) => (rows, look.differing_in(chunk).await?),
            },
        };
        let took = began.elapsed();
        explain(&self.plan, look, suspects).await?;
        self.progress.rows_verified.add(rows);
        Ok(Worked::Done {
            rows,
            took,
            suspect: false,
        })
    }

    /// Compares the rows of some keys, and explains what differs.
    pub(super) async fn keys(&self, session: &mut Session, keys: &[SidedKey]) -> Result<()> {
        let mut target = self.target().await?;
        let mut look = Look {
            comparison: &self.plan.comparison,
            source: session,
            target: target.as_mut(),
        };
        let suspects = look.differing_of(keys).await?;
        explain(&self.plan, &mut look, suspects).await?;
        self.targets.lock().await.extend(target);
        Ok(())
    }
}

impl ChunkWork for VerifyWork {
    fn purpose(&self) -> Purpose {
        Purpose::Verify
    }

    async fn prepare(&self, session: &mut Session) -> Result<()> {
        self.plan.comparison.prepare(session).await?;
        session.limit_reads(self.plan.chunk_time_max).await
    }

    async fn work(&self, session: &mut Session, chunk: &Chunk, _patient: bool) -> Result<Worked> {
        let mut target = self.target().await?;
        let mut look = Look {
            comparison: &self.plan.comparison,
            source: session,
            target: target.as_mut(),
        };
        let worked = self.chunk(&mut look, chunk).await.doing(|| {
            format!(
                "compare {} with {}",
                self.plan.comparison.original, self.plan.comparison.ghost
            )
        })?;
        // Only a session that has done its work is used again.
        self.targets.lock().await.extend(target);
        Ok(worked)
    }
}
