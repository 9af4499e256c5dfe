//! One look at one thing, and what it means.

use std::time::{Duration, Instant};

use crate::pace::ThrottleReason;

/// A measured value against its limit, or the news that it could not be measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The kind of source: the label in metrics and reports.
    pub source: &'static str,
    /// What was looked at; stays the same from look to look.
    pub subject: String,
    /// The value.
    pub value: f64,
    /// The limit; at or above it the copy stops. 0: any value above 0 stops.
    pub limit: f64,
    /// What the value is when nothing is wrong: the way to the limit begins here.
    pub calm: f64,
    /// Unit of both.
    pub unit: &'static str,
    /// Instead of a value: why there is none, or a state that has no number. Stops the copy.
    pub trouble: Option<String>,
    /// Whether the copy slows down on the way to the limit.
    pub graded: bool,
    /// Once stopped, the copy goes on when the value is below this share of the limit.
    pub release: f64,
    /// Whether the value grows by itself since it was taken: an unanswered lag.
    pub grows: bool,
    /// When it was taken.
    pub at: Instant,
}

/// A lag that was read this long ago is not yet counted up: the next look is on its way.
const GROWS_AFTER: Duration = Duration::from_millis(400);

impl Reading {
    /// A value with a limit that the copy approaches by slowing down.
    pub fn graded(
        source: &'static str,
        subject: impl Into<String>,
        value: f64,
        limit: f64,
        unit: &'static str,
    ) -> Reading {
        Reading {
            source,
            subject: subject.into(),
            value,
            limit,
            calm: 0.0,
            unit,
            trouble: None,
            graded: true,
            release: 0.9,
            grows: false,
            at: Instant::now(),
        }
    }

    /// A value that either stops or does not.
    pub fn switch(
        source: &'static str,
        subject: impl Into<String>,
        value: f64,
        limit: f64,
        unit: &'static str,
    ) -> Reading {
        Reading {
            graded: false,
            release: 1.0,
            ..Reading::graded(source, subject, value, limit, unit)
        }
    }

    /// A stop without a number: why, in words that go on from the subject (`cannot be asked: …`).
    pub fn trouble(
        source: &'static str,
        subject: impl Into<String>,
        why: impl Into<String>,
    ) -> Reading {
        Reading {
            trouble: Some(why.into()),
            ..Reading::switch(source, subject, f64::NAN, f64::NAN, "")
        }
    }

    /// The value now.
    pub fn value_at(&self, now: Instant) -> f64 {
        let age = now.saturating_duration_since(self.at);
        if self.grows && age > GROWS_AFTER {
            self.value + age.as_secs_f64()
        } else {
            self.value
        }
    }

    /// How bad it is: 1 and above stops.
    pub fn severity(&self, now: Instant) -> f64 {
        if self.trouble.is_some() {
            return f64::INFINITY;
        }
        let value = self.value_at(now);
        if self.limit > self.calm {
            ((value - self.calm) / (self.limit - self.calm)).max(0.0)
        } else if value > 0.0 {
            f64::INFINITY
        } else {
            0.0
        }
    }

    /// The reason as it is told.
    pub fn reason(&self, now: Instant) -> ThrottleReason {
        ThrottleReason {
            source: self.source,
            subject: match &self.trouble {
                Some(why) => format!("{} {why}", self.subject),
                None => self.subject.clone(),
            },
            value: self.value_at(now),
            limit: self.limit,
            unit: self.unit,
        }
    }

    /// What identifies it from look to look.
    pub fn key(&self) -> (&'static str, &str) {
        (self.source, &self.subject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severity_is_the_share_of_the_limit() {
        let now = Instant::now();
        let severity = |value, limit| Reading::graded("x", "y", value, limit, "").severity(now);
        assert_eq!(severity(0.5, 2.0), 0.25);
        assert_eq!(severity(2.0, 2.0), 1.0);
        assert_eq!(severity(0.0, 0.0), 0.0);
        assert!(severity(1.0, 0.0).is_infinite());
        let mut factor = Reading::graded("x", "y", 2.0, 3.0, "");
        factor.calm = 1.0;
        assert_eq!(factor.severity(now), 0.5);
        factor.value = 0.3;
        assert_eq!(factor.severity(now), 0.0);
        assert!(Reading::trouble("x", "y", "cannot be asked").severity(now) >= 1.0);
    }

    #[test]
    fn a_lag_without_news_grows() {
        let mut lag = Reading::graded("lag", "replica h:1", 0.2, 1.5, "s");
        lag.grows = true;
        let later = lag.at + Duration::from_secs(2);
        assert!((lag.value_at(later) - 2.2).abs() < 1e-9);
        assert_eq!(lag.value_at(lag.at), 0.2);
        assert_eq!(
            lag.reason(later).to_string(),
            "lag of replica h:1 is 2.2s, limit 1.5s"
        );
        assert_eq!(
            Reading::trouble("lag", "replica h:1", "cannot be asked: no route")
                .reason(later)
                .to_string(),
            "lag: replica h:1 cannot be asked: no route"
        );
    }
}
