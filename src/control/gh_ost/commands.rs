//! gh-ost's interactive commands: one line in, its answer out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{GhOst, lists};
use crate::failure::{Failure, Result};

/// What follows an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Print {
    /// Nothing.
    Nothing,
    /// The status line.
    Status,
    /// The hint and the status line.
    All,
}

type Answer = Result<(String, Print)>;

const THROTTLE_NOTE: &str =
    "# Note: you may only throttle for as long as your binary logs are not purged";

const HELP: &[(&str, &str)] = &[
    ("status", "hint and status line"),
    ("sup", "status line"),
    ("coordinates", "where the binlog reader is"),
    ("applier", "the server that is migrated"),
    ("inspector", "the server of --host"),
    ("chunk-size=ROWS", "rows a chunk, from the next one on"),
    (
        "dml-batch-size=CHANGES",
        "taken, and shown; windows of changes need none",
    ),
    (
        "nice-ratio=RATIO",
        "rest for this multiple of each chunk's time",
    ),
    (
        "max-lag-millis=MILLIS",
        "replication lag above which the copy pauses",
    ),
    (
        "max-load=LOAD",
        "status variables above which the copy pauses",
    ),
    (
        "critical-load=LOAD",
        "status variables above which the run ends",
    ),
    ("replication-lag-query", "deprecated"),
    (
        "throttle-query=QUERY",
        "a query that pauses the copy while it returns more than 0",
    ),
    (
        "throttle-http=URL",
        "a URL that pauses the copy while it answers other than 200",
    ),
    (
        "throttle-control-replicas=LIST",
        "which of the replicas named at the start count",
    ),
    ("throttle", "pause the copy"),
    ("no-throttle", "take the pause back; others may still apply"),
    (
        "postpone-cut-over-flag-file=PATH",
        "make the file, and hold the cut-over while it exists",
    ),
    ("unpostpone", "cut over now; only while postponing"),
    ("panic", "end at once, without cleaning up"),
    ("help", "this list"),
];

impl GhOst {
    /// Answers one line, without a newline at the answer's end.
    pub async fn answer(&self, line: &str) -> String {
        let (command, argument) = match line.split_once('=') {
            Some((command, argument)) => (command.trim(), unquoted(argument.trim())),
            None => (line.trim(), String::new()),
        };
        let allowed = self.announce_command(command).await;
        match allowed.and_then(|()| self.carry_out(command, &argument)) {
            Ok((text, print)) => {
                let mut lines = Vec::new();
                lines.extend((!text.is_empty()).then_some(text));
                lines.extend((print == Print::All).then(|| self.hint()));
                lines.extend((print != Print::Nothing).then(|| self.status_line()));
                lines.join("\n")
            }
            Err(failure) => {
                tracing::error!(event = "interactive_command", "{failure}");
                failure.to_string()
            }
        }
    }

    fn carry_out(&self, command: &str, argument: &str) -> Answer {
        match command {
            "help" => Ok((help(), Print::Nothing)),
            "sup" => Ok((String::new(), Print::Status)),
            "info" | "status" => Ok((String::new(), Print::All)),
            "coordinates" if matches!(argument, "" | "?") => {
                Ok((self.controller.status().position, Print::Nothing))
            }
            "coordinates" => Err(Failure::failed("coordinates are read-only")),
            "applier" => Ok((server_line(&self.facts.applier), Print::Nothing)),
            "inspector" => Ok((server_line(&self.facts.inspector), Print::Nothing)),
            "cpu-profile" => Err(Failure::failed("cpu profiling is not available")),
            "replication-lag-query" => Err(Failure::failed(
                "replication-lag-query is deprecated. gh-ost uses an internal, subsecond resolution query",
            )),
            "throttle" | "pause" | "suspend" => {
                self.same_table("throttle", argument)?;
                self.controller.pause();
                Ok((THROTTLE_NOTE.to_string(), Print::All))
            }
            "no-throttle" | "unthrottle" | "resume" | "continue" => {
                self.same_table("no-throttle", argument)?;
                self.controller.resume();
                Ok((String::new(), Print::All))
            }
            "postpone-cut-over-flag-file" => self.postpone(argument),
            "unpostpone" | "no-postpone" | "cut-over" => self.unpostpone(argument),
            "panic" => self.panic(argument),
            _ => self.limit(command, argument),
        }
    }

    /// The commands that show or set a limit.
    fn limit(&self, command: &str, argument: &str) -> Answer {
        let asks = argument == "?";
        let tunables = self.controller.tunables();
        let shown = |value: String| Ok((value, Print::Nothing));
        match command {
            "chunk-size" if asks => shown(self.chunk_size().to_string()),
            "chunk-size" => {
                let rows = go_int(argument)?.clamp(10, 100_000);
                self.controller
                    .change(|t| t.chunk_rows_fixed = u64::try_from(rows).ok());
                Ok((String::new(), Print::All))
            }
            "dml-batch-size" if asks => shown(self.changed().dml_batch_size.to_string()),
            "dml-batch-size" => {
                let changes = go_int(argument)?.clamp(1, 1000);
                self.changed().dml_batch_size = changes.unsigned_abs();
                Ok((String::new(), Print::All))
            }
            "max-lag-millis" if asks => shown(tunables.lag_max.as_millis().to_string()),
            "max-lag-millis" => {
                let millis = go_int(argument)?.max(100).unsigned_abs();
                self.controller
                    .change(|t| t.lag_max = Duration::from_millis(millis));
                Ok((String::new(), Print::All))
            }
            "nice-ratio" if asks => shown(tunables.nice_ratio.to_string()),
            "nice-ratio" => {
                let ratio = go_float(argument)?.clamp(0.0, 100.0);
                self.controller.change(|t| t.nice_ratio = ratio);
                Ok((String::new(), Print::All))
            }
            "max-load" if asks => shown(loads(&tunables.max_load)),
            "max-load" => {
                let limits = lists::load(argument)?;
                self.controller.change(|t| t.max_load = limits);
                Ok((String::new(), Print::All))
            }
            "critical-load" if asks => shown(loads(&tunables.critical_load)),
            "critical-load" => {
                let limits = lists::load(argument)?;
                self.controller.change(|t| t.critical_load = limits);
                Ok((String::new(), Print::All))
            }
            "throttle-query" if asks => shown(tunables.throttle_query.unwrap_or_default()),
            "throttle-query" => {
                self.controller
                    .change(|t| t.throttle_query = some(argument));
                Ok((THROTTLE_NOTE.to_string(), Print::All))
            }
            "throttle-http" if asks => shown(tunables.throttle_http.unwrap_or_default()),
            "throttle-http" => {
                if !argument.is_empty() {
                    crate::throttle::http::parse_url(argument)?;
                }
                self.controller.change(|t| t.throttle_http = some(argument));
                Ok((THROTTLE_NOTE.to_string(), Print::All))
            }
            "throttle-control-replicas" if asks => shown(self.replicas().join(",")),
            "throttle-control-replicas" => self.control_replicas(argument),
            _ => Err(Failure::failed(format!("unknown command: {command}"))),
        }
    }

    /// A name given with a command is a safeguard: it must be the table's.
    fn same_table(&self, command: &str, argument: &str) -> Result<()> {
        let table = &self.facts.table.table;
        if argument.is_empty() || argument == table {
            return Ok(());
        }
        Err(Failure::failed(format!(
            "user commanded '{command}' on {argument}, but migrated table is {table}; ignoring request"
        )))
    }

    fn control_replicas(&self, argument: &str) -> Answer {
        let mut wanted = BTreeSet::new();
        for item in argument.split(',').filter(|_| !argument.is_empty()) {
            let (host, port) = lists::instance(item)?;
            wanted.insert(format!("{host}:{port}"));
        }
        if let Some(new) = wanted
            .iter()
            .find(|replica| !self.facts.replicas.contains(replica))
        {
            return Err(Failure::failed(format!(
                "{new} is not among the replicas given at the start, which are the only ones that can \
                 be watched"
            )));
        }
        self.watch_only(&wanted);
        Ok((self.replicas().join(","), Print::All))
    }

    fn postpone(&self, argument: &str) -> Answer {
        if argument.is_empty() {
            return Err(Failure::failed(
                "user commanded 'postpone-cut-over-flag-file' without specifying file path",
            ));
        }
        touch(Path::new(argument))?;
        self.changed().flag_file = Some(PathBuf::from(argument));
        self.controller.postpone();
        Ok(("Postponed".to_string(), Print::All))
    }

    fn unpostpone(&self, argument: &str) -> Answer {
        if argument.is_empty() && self.facts.name_needed_for_cut_over {
            return Err(Failure::failed(
                "user commanded 'unpostpone' without specifying table name, but --force-named-cut-over is set",
            ));
        }
        self.same_table("unpostpone", argument)?;
        if self.controller.status().phase != "postponed" {
            return Ok((
                "You may only invoke this when gh-ost is actively postponing migration. At this time it is not"
                    .to_string(),
                Print::Nothing,
            ));
        }
        self.changed().flag_file = None;
        self.controller.cut_over();
        Ok(("Unpostponed".to_string(), Print::All))
    }

    fn panic(&self, argument: &str) -> Answer {
        if argument.is_empty() && self.facts.name_needed_for_panic {
            return Err(Failure::failed(
                "user commanded 'panic' without specifying table name, but --force-named-panic is set",
            ));
        }
        self.same_table("panic", argument)?;
        self.controller.panic()?;
        Err(Failure::failed(
            "user commanded 'panic'. The migration will be aborted without cleanup. Please drop the \
             gh-ost tables before trying again",
        ))
    }
}

fn help() -> String {
    let width = HELP.iter().map(|(usage, _)| usage.len()).max().unwrap_or(0);
    let mut text = String::from("available commands:\n");
    for (usage, what) in HELP {
        text.push_str(&format!("{usage:width$} # {what}\n"));
    }
    text.push_str("- with `?` as the argument a command shows its value: `max-load=?`");
    text
}

fn server_line(server: &super::GhOstServer) -> String {
    format!("Host: {}, Version: {}", server.address(), server.version)
}

/// `Threads_connected=50,Threads_running=20`
pub(super) fn loads(limits: &BTreeMap<String, u64>) -> String {
    let list: Vec<String> = limits
        .iter()
        .map(|(name, limit)| format!("{name}={limit}"))
        .collect();
    list.join(",")
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_string())
}

fn touch(path: &Path) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    std::fs::File::create(path).map_err(|error| {
        Failure::failed(format!(
            "failed to create postpone cut-over flag file {}: {error}",
            path.display()
        ))
    })?;
    tracing::info!(
        event = "postpone_flag_file",
        "Created postpone-cut-over-flag-file: {}",
        path.display()
    );
    Ok(())
}

fn go_int(text: &str) -> Result<i64> {
    text.parse().map_err(|error: std::num::ParseIntError| {
        use std::num::IntErrorKind::{NegOverflow, PosOverflow};
        let why = match error.kind() {
            PosOverflow | NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        Failure::failed(format!("strconv.Atoi: parsing {text:?}: {why}"))
    })
}

fn go_float(text: &str) -> Result<f64> {
    match text.parse::<f64>() {
        Ok(number) if !number.is_nan() => Ok(number),
        _ => Err(Failure::failed(format!(
            "strconv.ParseFloat: parsing {text:?}: invalid syntax"
        ))),
    }
}

/// An argument without Go's quotes, if it is quoted as Go quotes.
fn unquoted(text: &str) -> String {
    let inside = |quote: char| {
        text.strip_prefix(quote)
            .and_then(|rest| rest.strip_suffix(quote))
            .filter(|inner| !inner.contains('\n'))
    };
    if let Some(inner) = inside('`').filter(|inner| !inner.contains('`')) {
        return inner.to_string();
    }
    match inside('"').and_then(unescaped) {
        Some(inner) => inner,
        None => text.to_string(),
    }
}

/// The text with its escapes resolved; `None` if Go would not take it for a quoted text.
fn unescaped(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return None,
            '\\' => out.push(match chars.next()? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                same @ ('\\' | '"') => same,
                _ => return None,
            }),
            _ => out.push(c),
        }
    }
    Some(out)
}
