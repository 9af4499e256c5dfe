//! The status in words and numbers for people; also the forms of numbers used all over.

use std::fmt::Write;
use std::time::Duration;

use super::snapshot::StatusSnapshot;

/// `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `4.2 MiB`.
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = number as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{number} B")
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// Two figures of what matters.
///
/// ```
/// use changeling::observe::text::span;
/// assert_eq!([0.23, 12.34, 200.0, 3840.0].map(span), ["230 ms", "12.3 s", "3m 20s", "1h 4m"]);
/// ```
pub fn span(seconds: f64) -> String {
    let seconds = seconds.max(0.0);
    if seconds < 1.0 {
        return format!("{:.0} ms", seconds * 1e3);
    }
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    let whole = Duration::from_secs_f64(seconds.min(1e12)).as_secs();
    let (days, hours, minutes) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes}m {}s", whole % 60),
        (0, hours) => format!("{hours}h {minutes}m"),
        (days, hours) => format!("{days}d {hours}h"),
    }
}

/// `2026-11-28 13:00:00` of seconds since 1970, UTC.
pub fn utc(seconds: u64) -> String {
    let days = i64::try_from(seconds / 86_400).unwrap_or(i64::MAX);
    let (year, month, day) = crate::mysql::quote::civil_from_days(days);
    let rest = seconds % 86_400;
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

/// The whole status, some lines, at most 80 columns except for names and reasons.
pub fn status_text(status: &StatusSnapshot) -> String {
    let mut out = String::new();
    let mut line = |label: &str, text: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{label:<10} {text}");
    };
    line("table", format!("{} on {}", status.table, status.server));
    line("alter", status.alter.clone());
    line(
        "phase",
        format!(
            "{} since {}, running for {}",
            status.phase,
            span(status.phase_s),
            span(status.elapsed_s)
        ),
    );
    line(
        "copy",
        format!(
            "{} of {} rows ({:.1} %), {} rows/s",
            grouped(status.rows_copied),
            grouped(status.rows_total),
            status.percent,
            grouped(copy_rate(status))
        ),
    );
    if status.rows_verified > 0 {
        line(
            "verified",
            format!("{} rows", grouped(status.rows_verified)),
        );
    }
    if let Some(stage) = &status.index_stage {
        let done = status
            .index_percent
            .map_or(String::new(), |percent| format!(", {percent:.0} %"));
        line("indexes", format!("{stage}{done}"));
    }
    line(
        "replay",
        format!(
            "{} changes applied, {} rows ({}) waiting, {}",
            grouped(status.changes_applied),
            grouped(status.backlog_rows),
            bytes(status.backlog_bytes),
            status
                .replay_lag_s
                .map_or("lag not known yet".to_string(), |lag| format!(
                    "{} behind",
                    span(lag)
                ))
        ),
    );
    if let Some(lag) = status.replica_lag_s {
        line("replicas", format!("{} behind", span(lag)));
    }
    if !status.position.is_empty() {
        let kept = status.binlog_kept_s.map_or(String::new(), |left| {
            format!(", kept for another {}", span(left))
        });
        line("binlog", format!("{}{kept}", status.position));
    }
    if let Some(slowed) = status.slowed() {
        line("speed", slowed);
    }
    for stop in &status.throttled {
        line(
            "stopped",
            format!("{} (for {})", stop.reason, span(stop.for_s)),
        );
    }
    for wait in &status.waits {
        let whom = wait
            .whom
            .as_ref()
            .map_or(String::new(), |whom| format!(", held by {whom}"));
        line(
            "waits for",
            format!("{}{whom} (for {})", wait.what, span(wait.for_s)),
        );
    }
    if !status.held_by.is_empty() {
        line(
            "cut-over",
            format!("held back by {}", status.held_by.join(" and by ")),
        );
    }
    if let Some(text) = revertible_text(status) {
        line("way back", text);
    }
    line("finished", finish_text(status));
    out.truncate(out.trim_end().len());
    out
}

/// Rows a second: of the last seconds while the copy runs, of all its time afterwards.
pub fn copy_rate(status: &StatusSnapshot) -> u64 {
    let rate = if status.percent < 100.0 {
        status.rows_per_s
    } else if status.copy_s > 0.0 {
        status.rows_copied as f64 / status.copy_s
    } else {
        0.0
    };
    rate as u64
}

/// `still revertible for 1h 4m, 3 rows would not fit`, while the old table is kept in step.
pub fn revertible_text(status: &StatusSnapshot) -> Option<String> {
    let revertible = status.revertible.as_ref()?;
    let refused = match &revertible.refused {
        Some(why) => format!("; the last revert was refused: {why}"),
        None => String::new(),
    };
    Some(format!(
        "still revertible for {}, {} rows would not fit{refused}",
        span(revertible.left_s),
        grouped(revertible.misfits)
    ))
}

/// `in 12m 30s to 15m 0s`, or why that is not known.
pub fn finish_text(status: &StatusSnapshot) -> String {
    if let Some(revertible) = &status.revertible {
        return format!("in {}", span(revertible.left_s));
    }
    match status.forecast {
        _ if status.phase == "postponed" => "when it may cut over".to_string(),
        Some(forecast) => format!("in {} to {}", span(forecast.p50_s), span(forecast.p90_s)),
        None => "not known yet".to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(1234), "1,234");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(4_404_019), "4.2 MiB");
        assert_eq!(span(0.23), "230 ms");
        assert_eq!(span(12.34), "12.3 s");
        assert_eq!(span(200.0), "3m 20s");
        assert_eq!(span(3840.0), "1h 4m");
        assert_eq!(span(90_000.0), "1d 1h");
        assert_eq!(span(-5.0), "0 ms");
        assert_eq!(utc(1_704_067_200 + 86_399), "2024-01-01 23:59:59");
    }
}
