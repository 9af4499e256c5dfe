//! What the live block says: some lines of at most 79 characters.

use super::snapshot::StatusSnapshot;
use super::text::{bytes, copy_rate, finish_text, grouped, revertible_text, span};

/// Characters of the bar, where there is room.
const BAR: usize = 30;
/// A shorter one says nothing.
const BAR_MIN: usize = 5;
/// What else is on the bar's line.
const BESIDE_BAR: usize = 42;
/// No wider, however wide the terminal is; reasons may be.
const WIDTH_MAX: usize = 79;
/// Lines of one reason; it is cut after them.
const REASON_LINES_MAX: usize = 4;

/// The lines of the block for a terminal of so many columns.
pub fn lines(status: &StatusSnapshot, columns: usize) -> Vec<String> {
    // Some terminals wrap a line that reaches the last column.
    let room = columns.saturating_sub(1);
    let mut lines = vec![
        both_ends(
            room.min(WIDTH_MAX),
            &format!("{} on {}", status.table, status.server),
            &format!("{} in all", span(status.elapsed_s)),
        ),
        work(status, room),
    ];
    lines.extend(wrapped(&copied(status), room.min(WIDTH_MAX)));
    lines.push(replay(status));
    if let Some(lag) = status.replica_lag_s {
        lines.push(format!("  replicas {} behind at most", span(lag)));
    }
    if !status.past_phases.is_empty() {
        let past: Vec<String> = status
            .past_phases
            .iter()
            .map(|(phase, seconds)| format!("{phase} {}", span(*seconds)))
            .collect();
        let past = format!("  before that {}", past.join(", "));
        lines.extend(wrapped(&past, room.min(WIDTH_MAX)));
    }
    if let Some(text) = revertible_text(status) {
        lines.extend(wrapped(&format!("  {text}"), room.min(WIDTH_MAX)));
    }
    lines.push(format!("  finished {}", finish_text(status)));
    for reason in hindrances(status) {
        lines.extend(wrapped(&reason, room));
    }
    lines
}

/// Rows, bytes, and where in the key.
fn copied(status: &StatusSnapshot) -> String {
    let rate = copy_rate(status);
    let mut text = format!(
        "  {} of {} rows, {} rows/s",
        grouped(status.rows_copied),
        grouped(status.rows_total),
        grouped(rate)
    );
    if status.bytes_total > 0 {
        let row_bytes = status.bytes_total as f64 / status.rows_total.max(1) as f64;
        text.push_str(&format!(
            ", about {} of {}, {}/s",
            bytes(status.bytes_copied),
            bytes(status.bytes_total),
            bytes((rate as f64 * row_bytes) as u64)
        ));
    }
    if status.phase == "copy"
        && let Some(key) = &status.copied_up_to
    {
        text.push_str(&format!(", up to {key}"));
    }
    if status.phase == "copy" && status.rows_verified > 0 {
        let compared = grouped(status.rows_verified);
        text.push_str(&format!(", {compared} compared"));
    }
    text
}

/// Breaks a line between words; what goes on is indented further. A word that is too long is broken.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    const INDENT: &str = "    ";
    let width = width.max(2 * INDENT.len());
    let mut lines = vec![String::from("  ")];
    let mut length = 2;
    let mut is_first = true;
    for word in text.split_whitespace() {
        let mut word: Vec<char> = word.chars().collect();
        if !is_first && length + 1 + word.len() > width {
            lines.push(INDENT.to_string());
            length = INDENT.len();
            is_first = true;
        }
        while length + word.len() + usize::from(!is_first) > width {
            let rest = word.split_off(width - length);
            push(&mut lines, word.iter());
            lines.push(INDENT.to_string());
            length = INDENT.len();
            word = rest;
        }
        if !is_first {
            push(&mut lines, [' '].iter());
            length += 1;
        }
        length += word.len();
        push(&mut lines, word.iter());
        is_first = false;
    }
    if lines.len() > REASON_LINES_MAX {
        lines.truncate(REASON_LINES_MAX);
        push(&mut lines, ['…'].iter());
    }
    lines
}

fn push<'a>(lines: &mut [String], chars: impl Iterator<Item = &'a char>) {
    if let Some(last) = lines.last_mut() {
        last.extend(chars);
    }
}

/// The phase with its bar.
fn work(status: &StatusSnapshot, room: usize) -> String {
    // What is at work is never done; some servers do not tell how far an index build is.
    let percent = match status.phase.as_str() {
        "verify" => {
            let share = status.rows_verified as f64 / status.rows_copied.max(1) as f64;
            Some((share * 100.0).min(99.9))
        }
        "indexes" => status.index_percent.map(|percent| percent.min(99.9)),
        _ => Some(status.percent),
    };
    let width = room.saturating_sub(BESIDE_BAR).min(BAR);
    let done = percent.unwrap_or(0.0) / 100.0;
    let full = (done.clamp(0.0, 1.0) * width as f64) as usize;
    let bar = match width < BAR_MIN {
        true => String::new(),
        false => format!("[{}{}] ", "#".repeat(full), ".".repeat(width - full)),
    };
    let percent = percent.map_or_else(|| "?".to_string(), |percent| format!("{percent:.1}"));
    format!(
        "  {:<10} {bar}{percent:>5} %  for {}",
        status.phase,
        span(status.phase_s)
    )
}

fn replay(status: &StatusSnapshot) -> String {
    let lag = match status.replay_lag_s {
        Some(lag) => format!("{} behind", span(lag)),
        None => "not heard of yet".to_string(),
    };
    let waiting = if status.backlog_rows > 0 {
        format!(
            ", {} rows ({}) waiting",
            grouped(status.backlog_rows),
            bytes(status.backlog_bytes)
        )
    } else {
        String::new()
    };
    format!(
        "  replay {} changes, {lag}{waiting}",
        grouped(status.changes_applied)
    )
}

/// What stands in the way, in words.
fn hindrances(status: &StatusSnapshot) -> Vec<String> {
    let mut lines = Vec::new();
    for wait in status.waits.iter().take(2) {
        let whom = wait
            .whom
            .as_ref()
            .map_or(String::new(), |whom| format!(", held by {whom}"));
        lines.push(format!(
            "  waits for {} for {}{whom}",
            wait.what,
            span(wait.for_s)
        ));
    }
    if let Some(stop) = status.throttled.first() {
        lines.push(format!(
            "  stopped for {}: {}",
            span(stop.for_s),
            stop.reason
        ));
    } else if let Some(slowed) = status.slowed() {
        lines.push(format!("  {slowed}"));
    }
    if !status.held_by.is_empty() {
        let by = status.held_by.join(" and by ");
        lines.push(format!("  the cut-over is held back by {by}"));
    }
    lines
}

/// One text at each end of a line; the left one is cut when both do not fit.
fn both_ends(width: usize, left: &str, right: &str) -> String {
    let room = width.saturating_sub(right.chars().count() + 2);
    let left: String = if left.chars().count() > room {
        let mut cut: String = left.chars().take(room.saturating_sub(1)).collect();
        cut.push('…');
        cut
    } else {
        left.to_string()
    };
    let gap = width.saturating_sub(left.chars().count() + right.chars().count());
    format!("{left}{}{right}", " ".repeat(gap))
}

#[cfg(test)]
mod tests {
    use super::super::eta::Forecast;
    use super::super::snapshot::{ThrottleNow, WaitNow};
    use super::super::status::tests::snapshot;
    use super::*;

    #[test]
    fn the_block_fits_into_80_columns() {
        let mut status = snapshot();
        status.table = format!("{}.{}", "d".repeat(64), "t".repeat(64));
        status.phase = "copy".to_string();
        status.percent = 43.2;
        status.rows_copied = 4_321_000_000;
        status.rows_total = 10_000_000_000;
        status.rows_per_s = 123_456.7;
        status.bytes_total = 1 << 40;
        status.bytes_copied = 1 << 39;
        status.copied_up_to = Some("id=4321000000".into());
        status.past_phases = vec![("preflight".into(), 0.5), ("prepare".into(), 0.25)];
        status.changes_applied = 12_345_678;
        status.replay_lag_s = Some(0.2);
        status.backlog_rows = 123_456;
        status.backlog_bytes = 12_345_678;
        status.replica_lag_s = Some(1.25);
        status.forecast = Some(Forecast {
            p50_s: 40_000.0,
            p90_s: 50_000.0,
        });
        let lines = lines(&status, 80);
        for line in &lines {
            assert!(line.chars().count() < 80, "{line}");
        }
        assert_eq!(
            lines[1],
            "  copy       [############..................]  43.2 %  for 0 ms"
        );
        assert_eq!(
            lines[4],
            "  replay 12,345,678 changes, 200 ms behind, 123,456 rows (11.8 MiB) waiting"
        );
        assert_eq!(
            lines[2..4],
            [
                "  4,321,000,000 of 10,000,000,000 rows, 123,456 rows/s, about 512.0 GiB of 1.0",
                "    TiB, 12.9 MiB/s, up to id=4321000000"
            ]
        );
        assert_eq!(lines[6], "  before that preflight 500 ms, prepare 250 ms");
        assert_eq!(lines[7], "  finished in 11h 6m to 13h 53m");
        for columns in [20, 50, 160] {
            for line in super::lines(&status, columns).iter().skip(2).take(2) {
                assert!(line.chars().count() < columns, "{columns}: {line}");
            }
        }
    }

    #[test]
    fn the_bar_is_of_the_work_at_hand() {
        let mut status = snapshot();
        status.percent = 100.0;
        status.phase = "indexes".to_string();
        assert!(lines(&status, 80)[1].contains("[..............................]     ? %"));
        assert!(lines(&status, 40)[1].starts_with("  indexes        ? %  for "));
        status.index_percent = Some(50.0);
        assert!(lines(&status, 80)[1].contains("[###############...............]  50.0 %"));
        status.phase = "verify".to_string();
        (status.rows_copied, status.rows_verified) = (100, 100);
        assert!(lines(&status, 80)[1].contains("  99.9 %"));
    }

    #[test]
    fn reasons_are_wrapped() {
        assert_eq!(
            wrapped("  one two three four", 12),
            ["  one two", "    three", "    four"]
        );
        assert_eq!(
            wrapped("  a12345678901234", 10),
            ["  a1234567", "    890123", "    4"]
        );
        let long = wrapped(&"word ".repeat(50), 20);
        assert_eq!(long.len(), REASON_LINES_MAX);
        assert!(long[3].ends_with('…'));
    }

    #[test]
    fn what_stands_in_the_way_is_said() {
        let mut status = snapshot();
        status.throttled = vec![ThrottleNow {
            source: "lag",
            reason: "lag of replica r:1 is 3.2s, limit 1.5s".into(),
            subject: "replica r:1".into(),
            value: 3.2,
            limit: 1.5,
            for_s: 4.0,
        }];
        status.waits = vec![WaitNow {
            what: "the lock of d.t".into(),
            whom: Some("connection 42".into()),
            next: None,
            for_s: 0.1,
        }];
        status.held_by = vec!["the operator until `cut-over`".to_string()];
        let narrow = lines(&status, 40);
        assert!(
            narrow.iter().all(|line| line.chars().count() < 44),
            "{narrow:#?}"
        );
        let text = lines(&status, 100).join("\n");
        assert!(text.contains("stopped for 4.0 s: lag of replica r:1 is 3.2s, limit 1.5s"));
        assert!(text.contains("waits for the lock of d.t for 100 ms, held by connection 42"));
        assert!(text.contains("held back by the operator until `cut-over`"));
    }
}
