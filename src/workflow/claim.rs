//! What a checkpoint claims of the comparison, so that a run that was interrupted need not compare all rows
//! again.
//!
//! A row may count as compared if it was found equal and has not changed since. Three sets make up everything
//! that has:
//!
//! - changes that replay applied before the checkpoint's coordinates: their keys were recorded before the
//!   coordinates moved over them, and stand in the checkpoint, unless they have been compared again;
//! - changes behind the coordinates: they come through the binlog again, and are recorded when they are
//!   applied, since recording begins before replay does;
//! - nothing else: only replay changes rows of the ghost behind the copy, and every change of the original
//!   comes to it.
//!
//! So the checkpointer reads first how far rows are compared, then the coordinates, then the recorded keys;
//! and where those are too many to keep, or some were lost, nothing is claimed. Nothing is claimed either
//! where the ghost may have changed otherwise: on a server that is not the one of the checkpoint (what the
//! ghost has there came by replication), or was restarted since (a crash may cost it changes in the binlog that
//! the table has), after missed changes, where rows go for others
//! ([`Uniqueness::Stricter`]), and on a way back, whose proof holds for rows that fit only. Another version of
//! the program may compare otherwise, and begins anew.

use std::time::Duration;

use super::proof::DIRTY_BYTES_MAX;
use super::run::Run;
use crate::change::now_micros;
use crate::checkpoint::{self, Checkpoint, Verified};
use crate::chunk::LowWatermark;
use crate::failure::{Context, Failure, Result};
use crate::mysql::Purpose;
use crate::replay::uniqueness::Uniqueness;
use crate::replay::{DirtyKeys, Replay};
use crate::schema::MigrationKey;
use crate::settings::{Extent, VerifySetting};
use crate::walk::keys::describe;

/// So many keys are kept in a checkpoint, which is written every second.
const CHANGED_MAX: usize = 2000;
/// No more bytes of them, as they are written.
const CHANGED_BYTES_MAX: usize = 256 << 10;

/// Whether checkpoints of this run may claim anything.
pub fn may_be_made(run: &Run, uniqueness: Uniqueness) -> bool {
    run.back.is_none()
        && uniqueness != Uniqueness::Stricter
        && run.settings.verify != VerifySetting::Off
        && !matches!(run.settings.extent, Extent::Rehearsal(_))
}

/// What can be claimed now of rows that are compared up to `mark`, a moment ago; `dirty` is read after the
/// coordinates.
pub fn now(mark: &LowWatermark, dirty: &DirtyKeys) -> Option<Verified> {
    if mark.next.is_none() && !mark.finished {
        return None;
    }
    let changed = dirty.unsettled(CHANGED_MAX)?;
    let changed: Vec<String> = changed.iter().map(checkpoint::watermark_text).collect();
    if changed.iter().map(String::len).sum::<usize>() > CHANGED_BYTES_MAX {
        return None;
    }
    Some(Verified {
        next: mark.next.as_ref().map(checkpoint::watermark_text),
        finished: mark.finished,
        chunks: mark.chunks,
        rows: mark.rows,
        changed,
    })
}

/// What an interrupted run has compared; begins to record changes if there is anything. To be called before
/// replay applies anything.
///
/// # Errors
/// A damaged checkpoint.
pub async fn of_interrupted(
    run: &Run,
    found: &Checkpoint,
    key: &MigrationKey,
    replay: &Replay,
) -> Result<LowWatermark> {
    let nothing = LowWatermark::default();
    let Some(verified) = &found.verified else {
        return Ok(nothing);
    };
    let same_server = found.server == Some(run.server.facts().identity());
    if !same_server
        || found.repair
        || found.program != env!("CARGO_PKG_VERSION")
        || restarted_since(run, found).await?
    {
        return Ok(nothing);
    }
    let keys = |texts: &[String]| -> Result<Vec<_>> {
        texts
            .iter()
            .map(|text| checkpoint::key_of_text(text))
            .collect()
    };
    let mark = LowWatermark {
        next: keys(verified.next.as_slice())?.pop(),
        finished: verified.finished,
        chunks: verified.chunks,
        rows: verified.rows,
        suspects: Vec::new(),
    };
    replay.dirty().record(DIRTY_BYTES_MAX);
    replay.dirty().seed(&keys(&verified.changed)?);
    run.progress.rows_verified.set(mark.rows);
    let up_to = match &mark.next {
        Some(next) if !mark.finished => format!("up to {}", describe(key, next)),
        _ => "all".to_string(),
    };
    tracing::info!(
        event = "verify_goes_on",
        rows = mark.rows,
        changed = verified.changed.len(),
        "the interrupted run has compared {} rows, {up_to}: of these only what has changed is compared again",
        mark.rows
    );
    Ok(mark)
}

/// Whether the server was started after the interrupted run was.
async fn restarted_since(run: &Run, found: &Checkpoint) -> Result<bool> {
    let what = || "ask how long the server has been running";
    let mut session = run.server.session(Purpose::Monitor).await?;
    let answer: Option<(String, u64)> = session
        .first("SHOW GLOBAL STATUS LIKE 'Uptime'")
        .await
        .doing(what)?;
    session.close().await;
    let (_, seconds) = answer
        .ok_or_else(|| Failure::failed("no answer"))
        .doing(what)?;
    let up = Duration::from_secs(seconds);
    let run_began = Duration::from_micros(now_micros().saturating_sub(found.started_micros));
    Ok(up < run_began)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Key;
    use crate::row::Cell;

    fn claimed(keys: &[Key], next: Option<Key>) -> Option<usize> {
        let dirty = DirtyKeys::default();
        dirty.record(DIRTY_BYTES_MAX);
        dirty.seed(keys);
        let mark = LowWatermark {
            next,
            ..LowWatermark::default()
        };
        now(&mark, &dirty).map(|verified| verified.changed.len())
    }

    #[test]
    fn only_what_can_be_kept_is_claimed() {
        let number = |n: i64| Key(vec![Cell::Int(n)]);
        let next = Some(number(5));
        assert_eq!(claimed(&[], None), None, "nothing is compared");
        assert_eq!(claimed(&[number(1), number(2)], next.clone()), Some(2));
        let many: Vec<Key> = (0..=CHANGED_MAX as i64).map(number).collect();
        assert_eq!(claimed(&many[1..], next.clone()), Some(CHANGED_MAX));
        assert_eq!(claimed(&many, next.clone()), None, "too many keys");
        let long: Vec<Key> = (0..100u8)
            .map(|n| Key(vec![Cell::Bytes(vec![n; 2000])]))
            .collect();
        assert_eq!(claimed(&long[..50], next.clone()), Some(50));
        assert_eq!(claimed(&long, next), None, "too many bytes");
    }
}
