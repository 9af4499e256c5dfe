//! `changeling gh-ost …`: gh-ost's command line on this program's engine.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use super::{
    GhOstCommand, GhOstLogLevel, GhOstPlace, GhOstRenames, GhOstRun, GhOstTask, parse, usage,
};
use crate::alter::AlterStatement;
use crate::control::gh_ost::{GhOstFacts, GhOstServer};
use crate::failure::{Failure, FailureKind, Result};
use crate::mysql::{ConnectOptions, Server};
use crate::observe::log::{LogForm, LogLevel};
use crate::observe::{self, Lines, Screen};
use crate::settings::{
    CutOverSettings, Extent, OldTable, ResumeSetting, Settings, ThrottleSettings, Triggers,
};
use crate::throttle::topology;
use crate::tunables::Tunables;
use crate::workflow::{self, FaceKind, Run};

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
    if let GhOstTask::Revert { old_table } = &run.task {
        return Err(
            Failure::failed(format!("--revert to {old_table} is not supported"))
                .remedy("migrate the reverse ALTER; the old table still has dropped values"),
        );
    }
    if run.triggers.is_some() {
        tracing::warn!(
            event = "gh_ost_flag",
            "triggers are recreated within the swap under their own names: --trigger-suffix changes nothing"
        );
    }
    check_renames(&run)?;
    let inspector = Server::connect(run.inspect.clone()).await?;
    let applier = find_applier(&run, &inspector).await?;
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

/// The server on which the table is migrated.
async fn find_applier(run: &GhOstRun, inspector: &Server) -> Result<ConnectOptions> {
    match run.topology.place {
        GhOstPlace::Replica | GhOstPlace::TestOnReplica { .. } => Ok(run.inspect.clone()),
        GhOstPlace::Primary => {
            if let Some(primary) = &run.primary {
                return Ok(primary.clone());
            }
            let primary = topology::find_primary(inspector, &run.inspect).await?;
            if primary.facts().identity() != inspector.facts().identity() {
                return Ok(primary.options().clone());
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
        drop_renamed: run.permissions.renames == GhOstRenames::Dropped,
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
            flag_files: run.throttle.flag_files.clone(),
            panic_flag_file: run.throttle.panic_flag_file.clone(),
            critical_load_interval: run.throttle.critical_load_interval,
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
        socket: Some(run.control.socket_file.clone()),
        ..Settings::new(connect, run.table.clone(), run.alter.clone())
    }
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
    }
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "localhost".to_string(), |name| name.trim().to_string())
}

/// gh-ost's last line, exit code 1. Scripts look for gh-ost's words, so those that belong to a finding
/// stand beside ours.
fn fatal(failure: &Failure) -> ExitCode {
    let text = failure.to_string();
    for (ours, theirs) in WORDS {
        if text.contains(ours) {
            eprintln!("FATAL {theirs}");
        }
    }
    eprintln!("FATAL {text}");
    if let Some(remedy) = failure.remedy_text() {
        eprintln!("hint: {remedy}");
    }
    ExitCode::from(1)
}

/// Words of our findings, and what gh-ost says of the same thing.
const WORDS: [(&str, &str); 8] = [
    (
        " has triggers: ",
        "Found triggers on the table. Tables with triggers are supported only when using \
         \"include-triggers\" flag. Bailing out",
    ),
    (
        "foreign keys point to ",
        "Found parent-side foreign keys. Parent-side foreign keys are not supported. Bailing out",
    ),
    (
        " has foreign keys: ",
        "Found child-side foreign keys. Child-side foreign keys are not supported. Bailing out",
    ),
    (
        "no key identifies a row in both definitions",
        "No shared unique key can be found after ALTER! Bailing out",
    ),
    (
        "there is no NOT NULL unique key",
        "No PRIMARY nor UNIQUE key found in table! Bailing out",
    ),
    (
        "renames the table",
        "ALTER statement seems to RENAME the table. This is not supported, and you should run your RENAME \
         outside gh-ost.",
    ),
    (
        " is a view",
        "the table is a VIEW, not a real table. Bailing out",
    ),
    ("there is no table ", "Cannot find table!"),
];
