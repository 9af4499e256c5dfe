//! From the process's arguments to its exit code.

use std::process::ExitCode;
use std::sync::Arc;

use super::{Cli, Command, LogFormat, arguments};
use crate::failure::{Failure, FailureKind};
use crate::observe::log::{LogForm, LogLevel};
use crate::observe::{self, Screen};
use crate::settings::Settings;
use crate::workflow::{self, Ending};

/// Runs the program.
pub fn run() -> ExitCode {
    let taken = arguments::take();
    if arguments::is_gh_ost(&taken.arguments) {
        let named = taken.arguments.get(1).is_some_and(|word| word == "gh-ost");
        let words = taken.arguments.into_iter().skip(if named { 2 } else { 1 });
        return super::gh_ost::execute(words.collect());
    }
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
    let screen = Arc::new(match cli.log_format {
        LogFormat::Text if !cli.quiet => Screen::new(),
        LogFormat::Text | LogFormat::Json => Screen::plain(),
    });
    if let Err(failure) = init_log(&cli, &screen) {
        eprintln!("error: {failure}");
        return ExitCode::from(failure.kind().exit_code());
    }
    if let Some(warning) = taken.warning {
        tracing::warn!(event = "password_on_command_line", "{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(dispatch(cli, screen)),
        Err(error) => {
            eprintln!("error: cannot start the program's threads: {error}");
            ExitCode::from(FailureKind::Failed.exit_code())
        }
    }
}

/// Sets up the log; lines and the live block share the screen.
fn init_log(cli: &Cli, screen: &Arc<Screen>) -> crate::failure::Result<()> {
    let level = match (cli.quiet, cli.verbose) {
        (true, _) => LogLevel::Warn,
        (false, 0) => LogLevel::Info,
        (false, _) => LogLevel::Debug,
    };
    let form = match cli.log_format {
        LogFormat::Text => LogForm::Text,
        LogFormat::Json => LogForm::Json,
    };
    observe::log::init(form, level, screen.clone())
}

async fn dispatch(cli: Cli, screen: Arc<Screen>) -> ExitCode {
    match cli.command {
        Command::Migrate(arguments) => migrate(arguments.resolve(), screen).await,
        Command::Rehearse(arguments) => migrate(arguments.rehearsal(), screen).await,
        Command::Plan(arguments) => plain(arguments.run().await),
        Command::Ctl(arguments) => plain(arguments.run().await),
        Command::Cleanup(arguments) => plain(arguments.run().await),
        Command::Verify(arguments) => plain(arguments.run().await),
        Command::Lint(arguments) => plain(
            arguments
                .run(&mut std::io::stdout())
                .await
                .map(ExitCode::from),
        ),
        Command::Completions(arguments) => plain(
            arguments
                .run(&mut std::io::stdout().lock())
                .map(|()| ExitCode::SUCCESS),
        ),
        Command::Man(arguments) => plain(
            arguments
                .run(&mut std::io::stdout().lock())
                .map(|()| ExitCode::SUCCESS),
        ),
    }
}

/// The end of a command that changes no table.
fn plain(result: crate::failure::Result<ExitCode>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("error: {failure}");
            if let Some(remedy) = failure.remedy_text() {
                eprintln!("hint: {remedy}");
            }
            ExitCode::from(failure.kind().exit_code())
        }
    }
}

async fn migrate(settings: crate::failure::Result<Settings>, screen: Arc<Screen>) -> ExitCode {
    let settings = match settings {
        Ok(settings) => settings,
        Err(failure) => return failed(&failure, &Ending::nothing_changed()),
    };
    let outcome = match workflow::migrate_through_failovers(settings, screen).await {
        Ok(outcome) => outcome,
        Err(failure) => return failed(&failure, &Ending::nothing_changed()),
    };
    match outcome.failure {
        None => {
            println!("{}", outcome.report.summary());
            ExitCode::SUCCESS
        }
        Some((failure, ending)) => failed(&failure, &ending),
    }
}

fn failed(failure: &Failure, ending: &Ending) -> ExitCode {
    eprintln!("{}", ending.report(failure));
    ExitCode::from(failure.kind().exit_code())
}
