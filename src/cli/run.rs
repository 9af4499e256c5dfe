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
    let form = cli.log_format;
    match cli.command {
        Command::Migrate(arguments) => migrate(arguments.resolve(), screen, form).await,
        Command::Rehearse(arguments) => migrate(arguments.resolve(), screen, form).await,
        Command::Revert(arguments) => revert(*arguments, screen, form).await,
        Command::History(arguments) => plain(form, arguments.run().await),
        Command::Plan(arguments) => plain(form, arguments.run().await),
        Command::Ctl(arguments) => plain(form, arguments.run().await),
        Command::Cleanup(arguments) => plain(form, arguments.run().await),
        Command::Verify(arguments) => plain(form, arguments.run().await),
        Command::Lint(arguments) => plain(
            form,
            arguments
                .run(&mut std::io::stdout())
                .await
                .map(ExitCode::from),
        ),
        Command::Completions(arguments) => plain(
            form,
            arguments
                .run(&mut std::io::stdout().lock())
                .map(|()| ExitCode::SUCCESS),
        ),
        Command::Man(arguments) => plain(
            form,
            arguments
                .run(&mut std::io::stdout().lock())
                .map(|()| ExitCode::SUCCESS),
        ),
    }
}

async fn revert(
    arguments: super::revert::RevertArgs,
    screen: Arc<Screen>,
    form: LogFormat,
) -> ExitCode {
    match arguments.ask_keeper().await {
        Ok(None) => {}
        Ok(Some(code)) => return code,
        Err(failure) => return failed(&failure, &Ending::nothing_changed(), form),
    }
    if arguments.dry_run {
        return plain(form, arguments.plan().await);
    }
    migrate(arguments.resolve(), screen, form).await
}

/// The end of a command that changes no table.
fn plain(form: LogFormat, result: crate::failure::Result<ExitCode>) -> ExitCode {
    let failure = match result {
        Ok(code) => return code,
        Err(failure) => failure,
    };
    let code = failure.kind().exit_code();
    let hint = failure
        .remedy_text()
        .map_or_else(String::new, |remedy| format!("\nhint: {remedy}"));
    match form {
        LogFormat::Text => eprintln!("error: {failure}{hint}"),
        LogFormat::Json => {
            tracing::error!(event = "ended", exit_code = code, "error: {failure}{hint}");
        }
    }
    ExitCode::from(code)
}

async fn migrate(
    settings: crate::failure::Result<Settings>,
    screen: Arc<Screen>,
    form: LogFormat,
) -> ExitCode {
    let settings = match settings {
        Ok(settings) => settings,
        Err(failure) => return failed(&failure, &Ending::nothing_changed(), form),
    };
    let outcome = match workflow::migrate_through_failovers(settings, screen).await {
        Ok(outcome) => outcome,
        Err(failure) => return failed(&failure, &Ending::nothing_changed(), form),
    };
    match outcome.failure {
        None => {
            if form == LogFormat::Json {
                tracing::info!(event = "ended", exit_code = 0, "done");
            }
            println!("{}", outcome.report.summary());
            ExitCode::SUCCESS
        }
        Some((failure, ending)) => failed(&failure, &ending, form),
    }
}

/// The last words on stderr: lines for people, one event for machines.
fn failed(failure: &Failure, ending: &Ending, form: LogFormat) -> ExitCode {
    let code = failure.kind().exit_code();
    match form {
        LogFormat::Text => eprintln!("{}", ending.report(failure)),
        LogFormat::Json => tracing::error!(
            event = "ended",
            exit_code = code,
            resumable = ending.resumable,
            "{}",
            ending.report(failure)
        ),
    }
    ExitCode::from(code)
}
