//! `changeling gh-ost …`: gh-ost's command line on this program's engine.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use super::{
    GhOstBinlogFormat, GhOstCommand, GhOstLogLevel, GhOstPlace, GhOstRenames, GhOstRun, GhOstTask,
    conf, parse, usage, words,
};
use crate::alter::AlterStatement;
use crate::control::gh_ost::{GhOstFacts, GhOstServer, Limits, Reread, lists};
use crate::failure::{Context, Failure, FailureKind, Result};
use crate::mysql::{ConnectOptions, Purpose, Server};
use crate::observe::log::{LogForm, LogLevel};
use crate::observe::{self, Lines, Screen};
use crate::settings::{
    CountRows, CutOverSettings, Extent, NativeSetting, OldTable, ResumeSetting, Settings,
    StatsdTarget, Task, ThrottleSettings, TriggerSuffix, Triggers, WhichRun,
};
use crate::throttle::topology::{self, Rings};
use crate::tunables::Tunables;
use crate::workflow::{self, FaceKind, Run};

/// The swap is tried at least so long: our attempts take milliseconds each.
const PATIENCE_MIN: Duration = Duration::from_secs(60);
/// gh-ost's default of `--chunk-size`; with it the size of chunks adapts.
const CHUNK_SIZE_DEFAULT: u64 = 1000;

/// Runs gh-ost's command line: the words after the program's name.
pub fn execute(words: Vec<OsString>) -> ExitCode {
    let run = match parse(words) {
        Ok(GhOstCommand::ShowHelp(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Ok(GhOstCommand::ShowVersion) => {
            println!("{}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Ok(GhOstCommand::CheckFlag) => return ExitCode::SUCCESS,
        Ok(GhOstCommand::Run(run)) => run,
        Err(failure) if failure.kind() == FailureKind::Usage => {
            println!("{failure}\n{}", usage());
            return ExitCode::from(2);
        }
        Err(failure) => return fatal(&failure),
    };
    let level = match run.log.level {
        GhOstLogLevel::Error => LogLevel::Warn,
        GhOstLogLevel::Info => LogLevel::Info,
        GhOstLogLevel::Debug => LogLevel::Debug,
    };
    // gh-ost's status lines go to stdout and its log to stderr: nothing is drawn over.
    if let Err(failure) = observe::log::init(LogForm::Text, level, Arc::new(Screen::plain())) {
        return fatal(&failure);
    }
    for warning in &run.warnings {
        tracing::warn!(event = "gh_ost_flag", "{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(migrate(*run)),
        Err(error) => Err(Failure::failed(format!("cannot start threads: {error}"))),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => fatal(&failure),
    }
}

async fn migrate(run: GhOstRun) -> Result<()> {
    if !matches!(run.task, GhOstTask::Revert { .. }) {
        check_renames(&run)?;
    }
    check_password(&run)?;
    let inspector = Server::connect(run.inspect.clone()).await?;
    let applier = find_applier(&run, &inspector).await?;
    if run.topology.binlog_format == GhOstBinlogFormat::SwitchToRow {
        switch_to_row(&inspector).await?;
    }
    if run.control.drop_socket_first {
        // A socket that is not there is what is wanted.
        let _ = std::fs::remove_file(&run.control.socket_file);
    }
    if let Some(file) = &run.cutover.postpone_flag_file
        && run.execute
        && !file.exists()
    {
        // As gh-ost does: the operator removes it to let the cut-over happen.
        std::fs::write(file, "").map_err(|error| {
            Failure::failed(format!("cannot create {}: {error}", file.display()))
        })?;
    }
    let facts = facts(&run, &inspector, &applier);
    let settings = settings(&run, applier);
    let engine = Arc::new(Run::connect(settings, CancellationToken::new()).await?);
    let lines = Lines::To(Box::new(|_, line| println!("{line}")));
    let outcome = workflow::migrate(
        &engine,
        Arc::new(Screen::plain()),
        lines,
        FaceKind::GhOst(Box::new(facts)),
    )
    .await;
    match outcome.failure {
        None => {
            println!("# Done");
            tracing::info!(event = "report", "{}", outcome.report.summary());
            Ok(())
        }
        Some((failure, ending)) => {
            eprintln!("{}", ending.report(&failure));
            Err(failure)
        }
    }
}

/// gh-ost asks for a word about renames, which it only guesses; this program knows them, but scripts
/// rely on being asked.
fn check_renames(run: &GhOstRun) -> Result<()> {
    let renames = AlterStatement::parse(&run.alter)?.column_moves().renamed;
    let real: Vec<String> = renames
        .iter()
        .filter(|(old, new)| !old.eq_ignore_ascii_case(new))
        .map(|(old, new)| format!("{old}:{new}"))
        .collect();
    if real.is_empty() || run.permissions.renames != GhOstRenames::Undecided {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "gh-ost believes the ALTER statement renames columns, as follows: map[{}]; as precaution, you are \
         asked to confirm gh-ost is correct, and provide with `--approve-renamed-columns`, and we're all \
         happy. Or you can skip renamed columns via `--skip-renamed-columns`, in which case column data may \
         be lost",
        real.join(" ")
    )))
}

/// gh-ost reads the binlog as a replica does, for which MySQL takes no longer passwords.
fn check_password(run: &GhOstRun) -> Result<()> {
    const CHARS_MAX: usize = 32;
    match &run.inspect.password {
        Some(password) if password.chars().count() > CHARS_MAX => Err(Failure::failed(
            "MySQL replication length limited to 32 characters. See \
             https://dev.mysql.com/doc/refman/5.7/en/assigning-passwords.html",
        )),
        _ => Ok(()),
    }
}

/// `--switch-to-rbr`: row format from now on, also for what replication writes into the binlog.
async fn switch_to_row(inspector: &Server) -> Result<()> {
    let facts = inspector.facts();
    let format = facts.variable("binlog_format").unwrap_or("ROW");
    if format.eq_ignore_ascii_case("ROW") {
        return Ok(());
    }
    let mut session = inspector.session(Purpose::Monitor).await?;
    session
        .execute("SET GLOBAL binlog_format = 'ROW'")
        .await
        .doing(|| format!("set binlog_format on {}", inspector.address()))?;
    // The applier of replication takes the format when it starts.
    for sql in [facts.stop_replica(), facts.start_replica()] {
        session
            .execute(sql)
            .await
            .doing(|| format!("restart replication on {}", inspector.address()))?;
    }
    session.close().await;
    tracing::info!(
        event = "switch_to_rbr",
        "binlog_format of {} is ROW now; it was {format}",
        inspector.address()
    );
    Ok(())
}

/// The server on which the table is migrated.
async fn find_applier(run: &GhOstRun, inspector: &Server) -> Result<ConnectOptions> {
    let (primary, itself) = match &run.primary {
        Some(primary) => (primary.clone(), primary.address() == run.inspect.address()),
        None => {
            let rings = match run.topology.allow_co_primaries {
                true => Rings::EndBefore,
                false => Rings::Refuse,
            };
            let primary = topology::find_primary(inspector, &run.inspect, rings).await?;
            let itself = primary.facts().identity() == inspector.facts().identity();
            (primary.options().clone(), itself)
        }
    };
    match run.topology.place {
        GhOstPlace::Replica | GhOstPlace::TestOnReplica { .. } if itself => Err(Failure::failed(
            "instructed to --test-on-replica or --migrate-on-replica, but the server we connect to \
             doesn't seem to be a replica",
        )),
        GhOstPlace::Replica | GhOstPlace::TestOnReplica { .. } => Ok(run.inspect.clone()),
        GhOstPlace::Primary => {
            if !itself {
                return Ok(primary);
            }
            if run.topology.allow_on_primary {
                return Ok(run.inspect.clone());
            }
            Err(Failure::failed(
                "It seems like this migration attempt to run directly on master. Preferably it would be \
                 executed on a replica (this reduces load from the master). To proceed please provide \
                 --allow-on-master",
            ))
        }
    }
}

fn settings(run: &GhOstRun, connect: ConnectOptions) -> Settings {
    let engine = &run.engine;
    // gh-ost tries so many times, each for the lock timeout and a second's pause.
    let patience = (run.cutover.lock_timeout + Duration::from_secs(1)) * engine.retries.max(1);
    let patience = patience.max(PATIENCE_MIN);
    Settings {
        tunables: Tunables {
            chunk_rows_fixed: (engine.chunk_size != CHUNK_SIZE_DEFAULT)
                .then_some(engine.chunk_size),
            nice_ratio: engine.nice_ratio,
            lag_max: run.throttle.lag_max,
            max_load: run.throttle.max_load.clone(),
            critical_load: run.throttle.critical_load.clone(),
            throttle_query: run.throttle.query.clone(),
            throttle_http: run.throttle.http.clone(),
            ..Tunables::default()
        },
        extent: match (run.execute, run.topology.place) {
            (false, _) => Extent::Noop,
            (true, GhOstPlace::TestOnReplica { stop_replication }) => {
                Extent::ReplicaTest { stop_replication }
            }
            (true, GhOstPlace::Primary | GhOstPlace::Replica) => Extent::Migration,
        },
        resume: match run.task {
            GhOstTask::Resume => ResumeSetting::Require,
            _ if run.tables.drop_ghost_first => ResumeSetting::Restart,
            _ => ResumeSetting::Auto,
        },
        triggers: if run.triggers.is_some() {
            Triggers::Recreate
        } else {
            Triggers::Refuse
        },
        trigger_suffix: run.triggers.as_ref().map(|triggers| TriggerSuffix {
            suffix: triggers.suffix.clone(),
            toggled: triggers.remove_if_there,
        }),
        sql_mode_without: sql_mode_without(run),
        count_rows: match (engine.exact_rowcount, engine.concurrent_rowcount) {
            (false, _) => CountRows::Never,
            (true, true) => CountRows::WhileCopying,
            (true, false) => CountRows::First,
        },
        splits_max: Some(engine.retries),
        task: match &run.task {
            GhOstTask::Revert { old_table } => Task::Revert(WhichRun {
                id: None,
                old_table: Some(old_table.clone()),
            }),
            _ => Task::Alter,
        },
        // As with gh-ost, what has written checkpoints can be reverted.
        history: engine.checkpoint_interval.is_some()
            || matches!(run.task, GhOstTask::Revert { .. }),
        native: if run.engine.instant_first {
            NativeSetting::Instant
        } else {
            NativeSetting::Never
        },
        drop_renamed: run.permissions.renames == GhOstRenames::Dropped,
        nullable_key: run.permissions.nullable_key,
        discard_foreign_keys: run.permissions.discard_foreign_keys,
        drop_old_first: run.tables.drop_old_first,
        cutover: CutOverSettings {
            deadline: Some(patience),
            postpone_flag_file: run.cutover.postpone_flag_file.clone(),
            ..CutOverSettings::default()
        },
        throttle: ThrottleSettings {
            replicas: run.throttle.replicas.clone(),
            ignore_replicas: Vec::new(),
            replica_account: None,
            flag_files: run.throttle.flag_files.clone(),
            panic_flag_file: run.throttle.panic_flag_file.clone(),
            critical_load_interval: run.throttle.critical_load_interval,
            critical_load_hibernate: run.throttle.critical_load_hibernate,
            http_interval: Some(run.throttle.http_interval),
            http_timeout: Some(run.throttle.http_timeout),
            http_errors_pass: run.throttle.ignore_http_errors,
        },
        old_table: if run.tables.drop_old_after {
            OldTable::DropAfter(Duration::ZERO)
        } else {
            OldTable::Keep
        },
        helper_base: run.tables.base.clone(),
        old_stamp: run.tables.stamp_old.then(crate::cli::stamp_now),
        heartbeat_interval: engine.heartbeat_interval,
        hooks_path: run.hooks.path.clone(),
        hooks_status_interval: run.hooks.status_interval,
        socket: Some(run.control.socket_file.clone()),
        statsd: run.metrics.statsd.clone().map(|address| StatsdTarget {
            address,
            tags: run.metrics.tags.clone(),
        }),
        ..Settings::new(connect, run.table.clone(), run.alter.clone())
    }
}

fn sql_mode_without(run: &GhOstRun) -> Vec<&'static str> {
    let mut modes = Vec::new();
    if run.permissions.zero_in_date {
        modes.extend(["NO_ZERO_DATE", "NO_ZERO_IN_DATE"]);
    }
    if run.permissions.skip_strict_mode {
        modes.extend(["STRICT_ALL_TABLES", "STRICT_TRANS_TABLES"]);
    }
    modes
}

fn facts(run: &GhOstRun, inspector: &Server, applier: &ConnectOptions) -> GhOstFacts {
    let version = inspector.facts().version_text.clone();
    GhOstFacts {
        table: run.table.clone(),
        applier: GhOstServer {
            host: applier.host.clone(),
            port: applier.port,
            version: version.clone(),
        },
        inspector: GhOstServer {
            host: run.inspect.host.clone(),
            port: run.inspect.port,
            version,
        },
        executing_host: host_name(),
        started: SystemTime::now(),
        dml_batch_size: run.engine.dml_batch_size,
        throttle_flag_file: run.throttle.flag_files.first().cloned(),
        additional_flag_file: run.throttle.flag_files.get(1).cloned(),
        replicas: run.throttle.replicas.clone(),
        postpone_flag_file: run.cutover.postpone_flag_file.clone(),
        panic_flag_file: run.throttle.panic_flag_file.clone(),
        socket_file: run.control.socket_file.clone(),
        tcp_port: run.control.tcp_port,
        name_needed_for_cut_over: run.control.name_needed_for_cut_over,
        name_needed_for_panic: run.control.name_needed_for_panic,
        hint: run.hooks.hint.clone(),
        hint_owner: run.hooks.hint_owner.clone(),
        hint_token: run.hooks.hint_token.clone(),
        dry_run: !run.execute,
        revert: matches!(run.task, GhOstTask::Revert { .. }),
        reread: run.conf.clone().map(|path| {
            Reread(Arc::new(move || {
                let conf = conf::read(&path)?;
                Ok(Limits {
                    chunk_rows: conf
                        .chunk_size
                        .map(|rows| rows.clamp(10, 100_000).unsigned_abs()),
                    lag_max: conf
                        .max_lag_millis
                        .map(|millis| Duration::from_millis(millis.max(100).unsigned_abs())),
                    max_load: conf.max_load.as_deref().map(lists::load).transpose()?,
                })
            }))
        }),
    }
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "localhost".to_string(), |name| name.trim().to_string())
}

/// gh-ost's last line, exit code 1.
fn fatal(failure: &Failure) -> ExitCode {
    for line in words::last_lines(failure) {
        eprintln!("{line}");
    }
    ExitCode::from(1)
}
