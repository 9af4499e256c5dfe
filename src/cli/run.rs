//! From the process's arguments to its exit code.

use std::process::ExitCode;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{Cli, Command, LogFormat, arguments};
use crate::failure::{Failure, FailureKind};
use crate::workflow::{self, Ending};

/// Runs the program.
pub fn run() -> ExitCode {
    let taken = arguments::take();
    let cli = match super::parse(taken.arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are errors to clap, but not to us.
            let code = if error.use_stderr() {
                FailureKind::Usage.exit_code()
            } else {
                0
            };
            // Printing fails where nobody reads any more (a closed pipe): nothing is left to say.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    init_log(&cli);
    if let Some(warning) = taken.warning {
        tracing::warn!(event = "password_on_command_line", "{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(dispatch(cli)),
        Err(error) => {
            eprintln!("error: cannot start the program's threads: {error}");
            ExitCode::from(FailureKind::Failed.exit_code())
        }
    }
}

/// Sets up the log on stderr. The driver's own lines are left out: it reports errors that we expect and
/// handle.
fn init_log(cli: &Cli) {
    let level = match (cli.quiet, cli.verbose) {
        (true, _) => "warn",
        (false, 0) => "info",
        (false, 1) => "debug",
        (false, _) => "trace",
    };
    let filter = tracing_subscriber::EnvFilter::new(format!("{level},mysql_async=off"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // A second initialisation cannot happen: the program does this once.
    let _ = match cli.log_format {
        LogFormat::Text => builder
            .with_target(false)
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}

async fn dispatch(cli: Cli) -> ExitCode {
    match cli.command {
        Command::Migrate(arguments) => migrate(*arguments).await,
    }
}

async fn migrate(arguments: super::migrate::MigrateArgs) -> ExitCode {
    let settings = match arguments.resolve() {
        Ok(settings) => settings,
        Err(failure) => return failed(&failure, &Ending::nothing_changed()),
    };
    let run = match workflow::Run::connect(settings, CancellationToken::new()).await {
        Ok(run) => Arc::new(run),
        Err(failure) => return failed(&failure, &Ending::nothing_changed()),
    };
    match workflow::migrate(&run).await {
        Ok(summary) => {
            println!("{summary}");
            ExitCode::SUCCESS
        }
        Err((failure, ending)) => failed(&failure, &ending),
    }
}

fn failed(failure: &Failure, ending: &Ending) -> ExitCode {
    eprintln!("{}", ending.report(failure));
    ExitCode::from(failure.kind().exit_code())
}
