//! How fast the copy may go, and why not faster: what the throttle tells the engines.

use std::fmt;

/// A reason to pause or slow down, with a name and a number.
#[derive(Clone, Debug, PartialEq)]
pub struct ThrottleReason {
    /// Which source says so: `lag`, `max-load`, `flag-file`, `commanded` …; the label in metrics.
    pub source: &'static str,
    /// What was looked at: `replica 10.0.0.2:3306`, `Threads_running`.
    pub subject: String,
    /// The measured value.
    pub value: f64,
    /// The limit it passed.
    pub limit: f64,
    /// Unit of both, as printed (`s`, ``).
    pub unit: &'static str,
}

impl fmt::Display for ThrottleReason {
    /// `lag of replica 10.0.0.2:3306 is 3.2s, limit 1.5s`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.limit.is_nan() {
            return write!(f, "{}: {}", self.source, self.subject);
        }
        write!(
            f,
            "{} of {} is {:.1}{unit}, limit {:.1}{unit}",
            self.source,
            self.subject,
            self.value,
            self.limit,
            unit = self.unit
        )
    }
}

/// What the copy (and the verification) may do now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pace {
    /// Do nothing, for this reason.
    pub stop: Option<ThrottleReason>,
    /// Rest after each chunk for this multiple of the time it took: 0 is full speed, 1 is half.
    pub nice_ratio: f64,
    /// Use this share of the workers and of the chunk time, above 0 up to 1; `None` is all.
    pub share: Option<f64>,
}
