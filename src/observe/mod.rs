//! What people and machines get to see of a run: status, forecast, log, terminal, metrics, report.
//!
//! Everything here is read from [`crate::progress::Progress`] and the throttle's journal; nothing here
//! knows a server.

mod block;
mod chart;
pub mod eta;
mod exposition;
pub mod forecast;
pub mod gh_ost_line;
mod html;
pub mod log;
pub mod metrics;
pub mod recorder;
pub mod rehearsal;
pub mod report;
pub mod snapshot;
pub mod statsd;
pub mod status;
pub mod terminal;
pub mod text;
mod watch;

pub use eta::{Forecast, Forecaster};
pub use recorder::{Attempts, Point};
pub use report::{Ending, Report, Verification};
pub use snapshot::{StatusSnapshot, ThrottleNow};
pub use status::StatusSource;
pub use terminal::Screen;
pub use text::status_text;
pub use watch::{Lines, watch};
