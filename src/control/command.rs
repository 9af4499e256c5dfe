//! The words of `changeling ctl`: one line in, some lines out.

use super::{Controller, Handler, settings};
use crate::failure::{Failure, Result};
use crate::observe::status_text;

/// A command as it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// All about the run, as text or JSON.
    Status {
        /// As JSON.
        json: bool,
    },
    /// What it waits for.
    Why,
    /// Pause the copy.
    Pause,
    /// Take the pause back.
    Resume,
    /// Show all settings.
    Settings,
    /// Change a setting.
    Set {
        /// Its name.
        name: String,
        /// Its new value.
        value: String,
    },
    /// Cut over now.
    CutOver,
    /// Hold the cut-over.
    Postpone,
    /// Swap back.
    Revert,
    /// Stop, to be continued.
    Abort,
    /// Stop and remove everything.
    Drop,
    /// Where the binlog reader is.
    Coordinates,
    /// What there is.
    Help,
}

/// The commands with their help, in order.
pub const HELP: &[(&str, &str)] = &[
    ("status [json]", "all about the run"),
    (
        "why",
        "what it waits for, since when, on whom, and what comes next",
    ),
    ("pause", "pause the copy; changes are still applied"),
    ("resume", "take the pause back"),
    ("settings", "everything that can be set, with its value"),
    ("set NAME VALUE", "change a setting"),
    (
        "cut-over",
        "swap the tables as soon as all is ready, whatever postpones it",
    ),
    ("postpone", "hold the cut-over until `cut-over`"),
    (
        "revert",
        "swap back, while the run stays for --keep-revertible",
    ),
    ("abort", "stop; the same command line continues later"),
    ("drop", "stop and remove everything that this run made"),
    ("coordinates", "where the binlog reader is"),
    ("help", "this list"),
];

/// Reads one line.
///
/// # Errors
/// Usage: an unknown command, or wrong arguments.
pub fn parse(line: &str) -> Result<Command> {
    let line = line.trim();
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let command = match word {
        "status" if matches!(rest, "json" | "--json") => {
            return Ok(Command::Status { json: true });
        }
        "set" => {
            let (name, value) = rest
                .split_once(|c: char| c.is_whitespace() || c == '=')
                .ok_or_else(|| Failure::usage("`set` needs a name and a value").remedy(hint()))?;
            return Ok(Command::Set {
                name: name.to_string(),
                value: value.trim().to_string(),
            });
        }
        "status" => Command::Status { json: false },
        "why" => Command::Why,
        "pause" => Command::Pause,
        "resume" => Command::Resume,
        "settings" => Command::Settings,
        "cut-over" => Command::CutOver,
        "postpone" => Command::Postpone,
        "revert" => Command::Revert,
        "abort" => Command::Abort,
        "drop" => Command::Drop,
        "coordinates" => Command::Coordinates,
        "help" | "" => Command::Help,
        _ => {
            return Err(Failure::usage(format!("there is no command `{word}`")).remedy(hint()));
        }
    };
    if rest.is_empty() {
        Ok(command)
    } else {
        Err(Failure::usage(format!("`{word}` takes no `{rest}`")).remedy(hint()))
    }
}

fn hint() -> String {
    let words: Vec<&str> = HELP.iter().map(|(usage, _)| *usage).collect();
    format!("the commands are: {}", words.join(", "))
}

/// Carries a command out and returns the answer, without a newline at its end.
///
/// # Errors
/// What the command's method returns.
pub fn execute(controller: &Controller, command: Command) -> Result<String> {
    Ok(match command {
        Command::Status { json: false } => status_text(&controller.status()),
        Command::Status { json: true } => serde_json::to_string_pretty(&controller.status())
            .map_err(|error| Failure::failed(format!("cannot write the status: {error}")))?,
        Command::Why => controller.why(),
        Command::Pause => {
            controller.pause();
            "the copy pauses; changes are still applied".to_string()
        }
        Command::Resume => {
            controller.resume();
            match controller.status().throttled.as_slice() {
                [] => "the copy goes on".to_string(),
                stops => {
                    let others = stops.iter().find(|stop| stop.source != "commanded");
                    match others {
                        Some(stop) => format!("the pause is over, but: {}", stop.reason),
                        None => "the copy goes on".to_string(),
                    }
                }
            }
        }
        Command::Settings => show_settings(controller),
        Command::Set { name, value } => {
            let shown = controller.set(&name, &value)?;
            format!("{name} is now {shown}")
        }
        Command::CutOver => {
            controller.cut_over();
            "will cut over as soon as all is ready".to_string()
        }
        Command::Postpone => {
            controller.postpone();
            "the cut-over waits for `cut-over`".to_string()
        }
        Command::Abort => {
            controller.abort()?;
            "stopping; the same command line continues".to_string()
        }
        Command::Revert => {
            controller.revert()?;
            "going back".to_string()
        }
        Command::Drop => {
            controller.drop_all()?;
            "stopping and removing everything that this run made".to_string()
        }
        Command::Coordinates => controller.status().position,
        Command::Help => help(),
    })
}

fn show_settings(controller: &Controller) -> String {
    let tunables = controller.tunables();
    let lines: Vec<String> = settings::SETTINGS
        .iter()
        .map(|setting| format!("{:<18} {}", setting.name, (setting.show)(&tunables)))
        .collect();
    lines.join("\n")
}

fn help() -> String {
    let mut lines: Vec<String> = HELP
        .iter()
        .map(|(usage, help)| format!("{usage:<18} {help}"))
        .collect();
    lines.push(String::new());
    lines.push("settings:".to_string());
    for setting in settings::SETTINGS {
        let usage = format!("{} {}", setting.name, setting.form);
        lines.push(format!("{usage:<36} {}", setting.help));
    }
    lines.join("\n")
}

/// These commands for [`super::Listener::serve`].
pub fn handler(controller: Controller) -> Handler {
    std::sync::Arc::new(move |line| {
        let answer = answer(&controller, &line);
        Box::pin(std::future::ready(answer))
    })
}

/// Reads a line, carries it out, and returns the answer; failures begin with `error: `.
pub fn answer(controller: &Controller, line: &str) -> String {
    match parse(line).and_then(|command| execute(controller, command)) {
        Ok(answer) => answer,
        Err(failure) => match failure.remedy_text() {
            Some(remedy) => format!("error: {failure}\nhint: {remedy}"),
            None => format!("error: {failure}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::ControlCommand;
    use super::super::tests::controller;
    use super::*;

    #[test]
    fn lines_are_commands() {
        assert_eq!(parse(" status\n").unwrap(), Command::Status { json: false });
        assert_eq!(
            parse("status json").unwrap(),
            Command::Status { json: true }
        );
        assert_eq!(
            parse("set throttle-query SELECT 1 = 2").unwrap(),
            Command::Set {
                name: "throttle-query".into(),
                value: "SELECT 1 = 2".into()
            }
        );
        assert_eq!(
            parse("set max-load=Threads_running=50").unwrap(),
            Command::Set {
                name: "max-load".into(),
                value: "Threads_running=50".into()
            }
        );
        for bad in ["explode", "pause now", "set", "set workers", "drop table"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        for (usage, _) in HELP {
            let word = usage.split_whitespace().next().unwrap();
            assert!(parse(&format!("{word} a b")).is_err() || word == "set");
            assert!(word == "set" || parse(word).is_ok(), "{word}");
        }
    }

    #[test]
    fn answers_tell_what_happens() {
        let (controller, mut commands) = controller();
        assert_eq!(answer(&controller, "set workers 2"), "workers is now 2");
        assert!(answer(&controller, "set workers 0").starts_with("error: "));
        assert!(answer(&controller, "what").contains("hint: the commands are: status"));
        assert!(answer(&controller, "abort").contains("continues"));
        assert_eq!(commands.try_recv().unwrap(), ControlCommand::Abort);
        assert!(answer(&controller, "settings").contains("workers            2"));
        let json: serde_json::Value =
            serde_json::from_str(&answer(&controller, "status json")).unwrap();
        assert_eq!(json["table"], "d.t");
        assert_eq!(json["phase"], "preflight");
        assert!(answer(&controller, "help").contains("cut-over"));
    }
}
