//! gh-ost's status line, which scripts parse, and when it is printed.
//!
//! `Copy: 5/10 50.0%; Applied: 3; Backlog: 0/1000; Time: 10s(total), 9s(copy); streamer:
//! binlog.000001:4711; Lag: 0.01s, HeartbeatLag: 0.02s, State: migrating; ETA: 9s` on one line. The form
//! is that of gh-ost's `go/logic/migrator.go`; numbers are this program's.

use super::snapshot::{StatusSnapshot, ThrottleNow};

/// gh-ost's queue of changes has this many places, and its scripts know the number.
pub(super) const BACKLOG_MAX: u64 = 1000;

/// The line.
pub fn status_line(status: &StatusSnapshot) -> String {
    let copy_is_over = status.percent >= 100.0;
    // When the copy is over, gh-ost takes what was copied for the total.
    let total = if copy_is_over {
        status.rows_copied
    } else {
        status.rows_total
    };
    format!(
        "Copy: {}/{total} {:.1}%; Applied: {}; Backlog: {}/{BACKLOG_MAX}; \
         Time: {}(total), {}(copy); streamer: {}; Lag: {:.2}s, HeartbeatLag: {:.2}s, \
         State: {}; ETA: {}",
        status.rows_copied,
        status.percent,
        status.changes_applied,
        status.backlog_rows.min(BACKLOG_MAX),
        duration(status.elapsed_s),
        duration(status.copy_s),
        status.position,
        status.replica_lag_s.or(status.replay_lag_s).unwrap_or(0.0),
        status.heartbeat_age_s.unwrap_or(0.0),
        state(status),
        eta(status)
    )
}

/// A duration as Go prints it, without what is below a second: `1h2m3s`, `10s`, `0s`.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// gh-ost's `State`.
pub fn state(status: &StatusSnapshot) -> String {
    if is_postponing(status) {
        return "postponing cut-over".to_string();
    }
    match status.throttled.first() {
        Some(stop) => format!("throttled, {}", throttle_reason(stop)),
        None => "migrating".to_string(),
    }
}

fn is_postponing(status: &StatusSnapshot) -> bool {
    status.phase == "postponed"
}

/// gh-ost's `ETA`: `due`, `N/A`, or a duration.
pub fn eta(status: &StatusSnapshot) -> String {
    if is_postponing(status) {
        return "due".to_string();
    }
    match status.forecast {
        Some(forecast) if forecast.p50_s >= 1.0 => duration(forecast.p50_s),
        Some(_) => "due".to_string(),
        None if status.percent >= 100.0 => "due".to_string(),
        None => "N/A".to_string(),
    }
}

/// A reason in gh-ost's words, where it has any.
pub fn throttle_reason(stop: &ThrottleNow) -> String {
    let subject = stop.subject.trim_start_matches("replica ");
    match stop.source {
        "commanded" => "commanded by user".to_string(),
        "flag-file" => "flag-file".to_string(),
        "query" => "throttle-query".to_string(),
        "critical-load-hibernate" => stop.source.to_string(),
        "lag" if stop.value.is_finite() => format!("{subject} replica-lag={:.6}s", stop.value),
        "lag" => subject.to_string(),
        "max-load" if stop.value.is_finite() => {
            format!("max-load {subject}={:.0} >= {:.0}", stop.value, stop.limit)
        }
        "http" => http_reason(subject),
        _ => stop.reason.clone(),
    }
}

fn http_reason(subject: &str) -> String {
    let Some((url, code)) = subject.rsplit_once(" answered ") else {
        return subject.to_string();
    };
    let is_freno = url.contains("freno");
    let words = match (code, is_freno) {
        ("404", false) => "Not found",
        ("417", false) => "Expectation failed",
        ("429", false) => "Too many requests",
        ("500", false) => "Internal server error",
        ("404", true) => "freno: unknown metric",
        ("417", true) => "freno: access forbidden",
        ("429", true) => "freno: threshold exceeded",
        ("500", true) => "freno: internal error",
        _ => return format!("http={code}"),
    };
    format!("{words} (http={code})")
}

/// Whether the line is due in this second of the run: gh-ost's schedule. Every second in the first
/// minute and the last, every five up to three minutes from either end or within a minute after
/// something happened, every thirty otherwise.
pub fn is_due(elapsed_s: u64, eta_s: Option<f64>, since_event_s: f64) -> bool {
    let eta_s = eta_s.unwrap_or(f64::INFINITY);
    if elapsed_s <= 60 || eta_s <= 60.0 {
        true
    } else if eta_s <= 180.0 || elapsed_s <= 180 || since_event_s <= 60.0 {
        elapsed_s.is_multiple_of(5)
    } else {
        elapsed_s.is_multiple_of(30)
    }
}

#[cfg(test)]
mod tests {
    use super::super::eta::Forecast;
    use super::super::status::tests::snapshot;
    use super::*;

    fn stop(source: &'static str, subject: &str, value: f64, limit: f64) -> ThrottleNow {
        ThrottleNow {
            source,
            reason: "the reason".to_string(),
            subject: subject.to_string(),
            value,
            limit,
            for_s: 1.0,
        }
    }

    #[test]
    fn the_line_is_that_of_gh_ost() {
        let mut status = snapshot();
        status.rows_copied = 5_000;
        status.rows_total = 10_000;
        status.percent = 50.0;
        status.changes_applied = 3;
        status.backlog_rows = 12;
        status.elapsed_s = 10.9;
        status.copy_s = 9.2;
        status.position = "binlog.000001:4711".to_string();
        status.replica_lag_s = Some(0.012);
        status.heartbeat_age_s = Some(0.02);
        status.forecast = Some(Forecast {
            p50_s: 75.4,
            p90_s: 90.0,
        });
        assert_eq!(
            status_line(&status),
            "Copy: 5000/10000 50.0%; Applied: 3; Backlog: 12/1000; Time: 10s(total), 9s(copy); \
             streamer: binlog.000001:4711; Lag: 0.01s, HeartbeatLag: 0.02s, State: migrating; \
             ETA: 1m15s"
        );
        status.percent = 100.0;
        status.backlog_rows = 5000;
        status.forecast = None;
        assert!(
            status_line(&status)
                .starts_with("Copy: 5000/5000 100.0%; Applied: 3; Backlog: 1000/1000;")
        );
        assert!(status_line(&status).ends_with("State: migrating; ETA: due"));
        status.phase = "postponed".to_string();
        assert!(status_line(&status).ends_with("State: postponing cut-over; ETA: due"));
    }

    #[test]
    fn reasons_have_gh_osts_words() {
        let check = |stop: ThrottleNow, text: &str| assert_eq!(throttle_reason(&stop), text);
        check(
            stop("commanded", "pause …", f64::NAN, f64::NAN),
            "commanded by user",
        );
        check(
            stop("lag", "replica 10.0.0.2:3306", 3.25, 1.5),
            "10.0.0.2:3306 replica-lag=3.250000s",
        );
        check(
            stop(
                "lag",
                "replica r:1 cannot be asked: gone",
                f64::NAN,
                f64::NAN,
            ),
            "r:1 cannot be asked: gone",
        );
        check(
            stop("max-load", "Threads_running", 26.0, 25.0),
            "max-load Threads_running=26 >= 25",
        );
        check(
            stop("http", "http://h/ answered 429", f64::NAN, f64::NAN),
            "Too many requests (http=429)",
        );
        check(
            stop("http", "http://freno/ answered 429", f64::NAN, f64::NAN),
            "freno: threshold exceeded (http=429)",
        );
        check(
            stop("http", "http://h/ answered 503", f64::NAN, f64::NAN),
            "http=503",
        );
        check(stop("backlog", "x", 1.0, 1.0), "the reason");
    }

    #[test]
    fn durations_are_those_of_go() {
        for (seconds, text) in [
            (0.9, "0s"),
            (10.0, "10s"),
            (60.0, "1m0s"),
            (3723.7, "1h2m3s"),
            (3600.0, "1h0m0s"),
            (90_061.0, "25h1m1s"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn the_schedule_is_that_of_gh_ost() {
        assert!(is_due(60, None, 1e9) && !is_due(61, None, 1e9) && is_due(65, None, 1e9));
        assert!(!is_due(185, None, 1e9) && is_due(210, None, 1e9));
        assert!(is_due(1001, Some(59.0), 1e9));
        assert!(is_due(1005, Some(150.0), 1e9) && !is_due(1001, Some(150.0), 1e9));
        assert!(is_due(1005, None, 10.0) && !is_due(1005, None, 100.0));
    }
}
