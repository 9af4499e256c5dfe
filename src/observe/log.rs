//! The log: text for people, JSON lines for machines, both on stderr.
//!
//! JSON lines have `timestamp`, `level`, `message`, and `event`, whose values are stable names
//! (`phase`, `throttle_begin`, `throttle_end` …); other fields depend on the event and are only ever
//! added.

use std::io::{self, Write};
use std::sync::Arc;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::fmt::time::FormatTime;

use super::terminal::Screen;
use crate::failure::{Failure, Result};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogForm {
    /// `2026-11-28 13:00:00 INFO message`.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// From which importance on lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// The run stops.
    Error,
    /// It goes on regardless.
    Warn,
    /// Something changed.
    #[default]
    Info,
    /// Also what helps to find a mistake of this program.
    Debug,
}

impl LogLevel {
    fn filter(self) -> EnvFilter {
        let level = match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
        };
        // The driver reports, as errors, answers that we expect and handle, and statements with values in them.
        EnvFilter::new(format!("off,changeling={level}"))
    }
}

/// Sets the log up for the process; lines go through the screen, so that they do not run into the
/// live block.
///
/// # Errors
/// It has been set up before.
pub fn init(form: LogForm, level: LogLevel, screen: Arc<Screen>) -> Result<()> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(level.filter())
        .with_writer(ScreenWriter(screen))
        .with_ansi(false)
        .with_target(false);
    let set = match form {
        LogForm::Json => builder.json().flatten_event(true).try_init(),
        LogForm::Text => builder
            .with_timer(Clock)
            .fmt_fields(debug_fn(|writer, field, value| match field.name() {
                "message" => write!(writer, "{value:?}"),
                // Messages say all that people need; fields are for machines.
                _ => Ok(()),
            }))
            .try_init(),
    };
    set.map_err(|error| Failure::failed(format!("set up the log: {error}")))
}

/// `2026-11-28 13:00:00`, UTC.
struct Clock;

impl FormatTime for Clock {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        let seconds = crate::change::now_micros() / 1_000_000;
        writer.write_str(&super::text::utc(seconds))
    }
}

/// Hands finished lines to the screen.
struct ScreenWriter(Arc<Screen>);

/// Collects one event; the screen gets it whole.
struct Line {
    screen: Arc<Screen>,
    bytes: Vec<u8>,
}

impl<'a> MakeWriter<'a> for ScreenWriter {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line {
            screen: self.0.clone(),
            bytes: Vec::new(),
        }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.screen.print(&String::from_utf8_lossy(&self.bytes));
    }
}
