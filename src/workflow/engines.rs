//! Starts what runs all the time: binlog reader, replay, heartbeats, throttle, checkpoints.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::watch;

use super::checkpointer::Checkpointer;
use super::claim;
use super::horizon;
use super::last_changes::Rest;
use super::prepare::Prepared;
use super::proof;
use super::resume;
use super::run::{Run, stopped};
use crate::binlog::{self, reader};
use crate::change::now_micros;
use crate::changelog::Heartbeats;
use crate::checkpoint::{self, Checkpoint, Stage, definition_identity};
use crate::chunk::LowWatermark;
use crate::coordinates::Coordinates;
use crate::copy::{CopyMode, choose_mode};
use crate::cutover;
use crate::failure::{Context, Failure, FailureKind, Result};
use crate::interlock::Interlock;
use crate::mysql::Purpose;
use crate::observe::StatusSource;
use crate::replay::backlog::{Backlog, BacklogLimits};
use crate::replay::uniqueness::Uniqueness;
use crate::replay::{Replay, ReplayPlan};
use crate::settings::{CopySetting, Extent, ReplaySetting};
use crate::supervise::Supervisor;
use crate::throttle::{self, Throttle, ThrottlePlan};
use crate::verify::Comparison;
use crate::walk::trail::Trail;

/// So many rows that do not fit an old table are gathered before a way back is given up.
const MISFITS_MAX: usize = 10_000;
/// How long the first heartbeat may take to come back through the binlog.
const FIRST_HEARTBEAT_LIMIT: Duration = Duration::from_secs(60);

/// Everything that runs beside the story.
pub struct Engines {
    /// Where copy and replay meet.
    pub interlock: Arc<Interlock>,
    /// Applies it.
    pub replay: Arc<Replay>,
    /// What unique keys the ghost has.
    pub uniqueness: Uniqueness,
    /// Says how fast the copy may go.
    pub throttle: Throttle,
    /// Writes checkpoints.
    pub checkpointer: Arc<Checkpointer>,
    /// How far the copy has come.
    pub watermark: watch::Sender<LowWatermark>,
    /// Where it has cut the table.
    pub trail: Arc<Trail>,
    /// How far rows have been compared, of those that are compared in their order.
    pub verified: watch::Sender<LowWatermark>,
    /// Rows that were compared again since they had changed.
    pub rechecked: AtomicU64,
    /// How the copy reads.
    pub copy_mode: CopyMode,
    /// For the cut-over and for settling.
    pub rest: Arc<Rest>,
    /// How the tables are compared.
    pub comparison: Arc<Comparison>,
}

/// Starts them all and waits until our own heartbeat has come back: from then on every change of the
/// original is seen.
///
/// # Errors
/// What the server answered; a heartbeat that does not come back; [`stopped`].
pub async fn start(
    run: &Run,
    prepared: &Prepared,
    status: &Arc<StatusSource>,
    group: &mut Supervisor,
) -> Result<Engines> {
    let facts = run.server.facts();
    let (copy_mode, why) = if run.reads_binlog_elsewhere() {
        lagging_binlog(run.settings.copy)?
    } else {
        choose_mode(facts, &prepared.key, run.settings.copy)?
    };
    tracing::info!(event = "copy_mode", mode = %copy_mode, "copy: {copy_mode}: {why}");
    let images = replay_images(run, prepared)?;
    let comparison = proof::comparison(run, prepared);

    let start = start_coordinates(run, prepared).await?;
    tracing::info!(event = "stream_start", coordinates = %start, "following the binlog from {start}");

    let interlock = Arc::new(Interlock::new(prepared.key.descending()));
    if copy_mode == CopyMode::LockFree {
        interlock.gate();
    }
    let backlog = Backlog::new(
        start.clone(),
        prepared.key.comparable(),
        BacklogLimits {
            bytes_max: run.settings.backlog_bytes_max,
            heartbeat_every: run.settings.heartbeat_interval,
            near: cutover::LAG_MAX,
            ..BacklogLimits::default()
        },
        interlock.clone(),
        run.progress.clone(),
    );
    let uniqueness = Uniqueness::of(
        &prepared.original,
        &prepared.ghost,
        &prepared.map,
        &prepared.key,
    );
    let replay = Replay::new(
        ReplayPlan {
            server: run.server.clone(),
            original: run.names.original.clone(),
            ghost: run.names.ghost.clone(),
            map: prepared.map.clone(),
            key: prepared.key.clone(),
            uniqueness,
            statement_rows_max: ReplayPlan::STATEMENT_ROWS_MAX,
            compress: run.settings.compress_binlog,
            // Rows that do not fit an old table are gathered, to be listed together.
            misfits_max: if run.back.is_some() { MISFITS_MAX } else { 0 },
        },
        backlog.clone(),
        run.tunables.subscribe(),
        run.progress.clone(),
    );
    if let Some(found) = &prepared.resumed {
        for key in &found.misfits {
            backlog.look_again(&checkpoint::key_of_text(key)?);
        }
    }
    // Before replay applies anything: what it changes is to be compared again.
    let claims = claim::may_be_made(run, uniqueness);
    let proven = match &prepared.resumed {
        Some(found) if claims => claim::of_interrupted(run, found, &prepared.key, &replay).await?,
        _ => LowWatermark::default(),
    };
    let verified = watch::Sender::new(proven);
    let cancel = group.token();
    let handle = reader::start(
        reader::Feed {
            server: run.binlog_server.clone(),
            start,
            original: run.names.original.clone(),
            changelog: run.names.changelog.clone(),
            ghost: run.names.ghost.clone(),
            definition: prepared.original.clone(),
            key: (*prepared.key).clone(),
            map: (*prepared.map).clone(),
            images,
            reconnect_limit: run.settings.reconnect_limit,
        },
        backlog.clone(),
        run.progress.clone(),
        cancel.clone(),
    )?;
    group.spawn("follow the binlog", handle.finished());
    group.spawn("replay", {
        let (replay, cancel) = (replay.clone(), cancel.clone());
        async move { replay.run(cancel).await }
    });
    group.spawn("write heartbeats", {
        let mut heartbeats = Heartbeats::new(run.server.clone(), run.names.changelog.clone());
        heartbeats.every = run.settings.heartbeat_interval;
        heartbeats.limit = heartbeats.limit.max(run.settings.reconnect_limit);
        let cancel = cancel.clone();
        async move { heartbeats.run(&cancel).await }
    });
    tokio::select! {
        answer = backlog.heartbeat_applied(FIRST_HEARTBEAT_LIMIT) => answer
            .doing(|| "wait for our own heartbeat in the binlog")
            .remedy("check that the binlog is on and that nothing filters the schema out of it")?,
        () = cancel.cancelled() => return Err(stopped()),
    }
    tracing::info!(
        event = "stream_live",
        "our heartbeat came back: every change is seen from here on"
    );

    group.spawn("watch how long the binlog is kept", {
        let (server, backlog) = (run.server.clone(), backlog.clone());
        let (progress, cancel) = (run.progress.clone(), cancel.clone());
        async move {
            horizon::watch(server, backlog, progress, cancel).await;
            Ok(())
        }
    });

    let throttle = throttle::start(
        ThrottlePlan::from_settings(
            &run.settings.throttle,
            run.names.original.clone(),
            run.names.changelog.clone(),
            run.settings.backlog_bytes_max as u64,
        )?,
        &run.server,
        run.progress.clone(),
        run.tunables.subscribe(),
        group,
    )
    .await?;

    run.record.begin(run, prepared, &backlog.applied()).await;
    let first = first_checkpoint(run, prepared, &backlog);
    let watermark = watch::Sender::new(match &prepared.resumed {
        Some(found) => found.low_watermark()?,
        None => LowWatermark::default(),
    });
    let checkpointer = Arc::new(
        Checkpointer::new(
            run.server.clone(),
            run.names.checkpoint.clone(),
            backlog.clone(),
            run.progress.clone(),
            watermark.subscribe(),
            run.tunables.subscribe(),
            first,
        )
        .with_misfits(replay.clone())
        .with_proof(claims.then(|| verified.subscribe()))
        .tells(status.clone()),
    );
    // A transaction of its own, acknowledged before the table's last key is read: servers commit in the order
    // of the binlog, so everything from before the stream's beginning is visible then. That the heartbeat came
    // back does not say so: the binlog is sent before the commit.
    let mut session = run.server.session(Purpose::Monitor).await?;
    checkpointer.write(&mut session).await?;
    session.close().await;
    group.spawn("write checkpoints", {
        let (checkpointer, cancel) = (checkpointer.clone(), cancel.clone());
        let interval = run.settings.checkpoint_interval;
        async move { checkpointer.run(interval, &cancel).await }
    });
    let rest = Arc::new(Rest::new(
        run,
        backlog.clone(),
        replay.clone(),
        throttle.pace.clone(),
        format!("marker-{}", now_micros()),
        comparison.clone(),
    ));
    Ok(Engines {
        interlock,
        replay,
        uniqueness,
        throttle,
        checkpointer,
        watermark,
        trail: Arc::default(),
        verified,
        rechecked: AtomicU64::new(0),
        copy_mode,
        rest,
        comparison,
    })
}

/// The copy where the binlog comes by way of a replica. What arrives there may be a replica's own
/// transaction, of which the primary knows nothing, so that its GTIDs prove nothing; and with semi-sync
/// it may arrive before the primary has committed it. The locking copy is right in any case.
fn lagging_binlog(setting: CopySetting) -> Result<(CopyMode, String)> {
    match setting {
        CopySetting::LockFree => Err(Failure::new(
            FailureKind::Refused,
            "the copy cannot do without row locks: the binlog is read from a replica",
        )
        .remedy("use --binlog-from=primary, or leave the choice of --copy to the program")),
        CopySetting::Auto | CopySetting::Locking => Ok((
            CopyMode::Locking,
            "the binlog is read from a replica".to_string(),
        )),
    }
}

fn replay_images(run: &Run, prepared: &Prepared) -> Result<bool> {
    let (images, why) = match (
        run.settings.replay,
        binlog::image_pairs_cleared(&prepared.map),
    ) {
        (ReplaySetting::Reread, _) => (false, "asked for".to_string()),
        (ReplaySetting::Image | ReplaySetting::Auto, Ok(())) => (
            true,
            "every shared column goes over exactly from the binlog".to_string(),
        ),
        (ReplaySetting::Auto, Err(why)) => (false, why),
        (ReplaySetting::Image, Err(why)) => {
            return Err(Failure::new(
                FailureKind::Refused,
                format!("changes cannot be taken from the binlog: {why}"),
            )
            .remedy("use --replay=auto or --replay=reread"));
        }
    };
    let mode = if images { "image" } else { "reread" };
    tracing::info!(event = "replay_mode", mode, "replay: {mode}: {why}");
    Ok(images)
}

async fn start_coordinates(run: &Run, prepared: &Prepared) -> Result<Coordinates> {
    if let Some(found) = &prepared.resumed {
        let from = found.applied_coordinates()?;
        let other = found
            .binlog_server
            .as_ref()
            .is_some_and(|known| *known != run.binlog_server.facts().identity());
        if other && matches!(from, Coordinates::File { .. }) {
            return Err(Failure::new(
                FailureKind::Refused,
                format!(
                    "the interrupted run read the binlog of another server than {}, and without GTIDs \
                     its place means nothing here",
                    run.binlog_server.address()
                ),
            )
            .remedy("give the same host and --binlog-from as before, or begin anew with --restart"));
        }
        return Ok(from);
    }
    let mut session = run.binlog_server.session(Purpose::Monitor).await?;
    let now = binlog::current_coordinates(&mut session)
        .await
        .doing(|| "read the server's binlog position")?;
    session.close().await;
    Ok(now)
}

fn first_checkpoint(run: &Run, prepared: &Prepared, backlog: &Backlog) -> Checkpoint {
    match &prepared.resumed {
        Some(found) => Checkpoint {
            version: checkpoint::VERSION,
            program: env!("CARGO_PKG_VERSION").to_string(),
            deferred: prepared.deferred.clone(),
            old_table: run.names.old.table.clone(),
            server: Some(run.server.facts().identity()),
            key: Some(resume::key_text(&prepared.key)),
            settings: resume::deciding_settings(&run.settings),
            history: run.record.id(),
            binlog_server: Some(run.binlog_server.facts().identity()),
            ..found.clone()
        },
        None => Checkpoint {
            version: checkpoint::VERSION,
            program: env!("CARGO_PKG_VERSION").to_string(),
            statement: prepared.statement.clone(),
            original: definition_identity(&prepared.original.create_statement),
            ghost: prepared.ghost_identity.clone(),
            ghost_complete: prepared.ghost_complete.clone(),
            old_table: run.names.old.table.clone(),
            stage: Stage::Copy,
            watermark: None,
            suspects: Vec::new(),
            applied: backlog.applied().to_string(),
            deferred: prepared.deferred.clone(),
            rows_copied: 0,
            postponed: run.tunables.borrow().postpone_cutover,
            released: run.tunables.borrow().cutover_released,
            binlog_server: Some(run.binlog_server.facts().identity()),
            rehearsal: matches!(run.settings.extent, Extent::Rehearsal(_)),
            started_micros: now_micros(),
            server: Some(run.server.facts().identity()),
            key: Some(resume::key_text(&prepared.key)),
            settings: resume::deciding_settings(&run.settings),
            repair: false,
            history: run.record.id(),
            reverts: None,
            misfits: Vec::new(),
            verified: None,
        },
    }
}
