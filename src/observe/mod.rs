//! What people and machines get to see of a run: status, forecast, log, terminal, metrics, report.
//!
//! Everything here is read from [`crate::progress::Progress`] and the throttle's journal; nothing here
//! knows a server.

pub mod eta;
pub mod status;
pub mod text;

pub use eta::{Forecast, Forecaster};
pub use status::{StatusSnapshot, StatusSource, ThrottleNow};
pub use text::status_text;
