//! `why`: one sentence that says what the run waits for, since when, on whom, and what comes next.

use std::time::Duration;

use crate::observe::{StatusSnapshot, ThrottleNow};

/// The sentence.
pub fn sentence(status: &StatusSnapshot) -> String {
    if status.phase == "postponed" {
        let whom = match status.held_by.as_slice() {
            // It has just been let go.
            [] => return "All is ready; the cut-over is about to begin.".to_string(),
            by => by.join(" and by "),
        };
        return format!(
            "All is ready since {}; the cut-over is held back by {whom}.",
            ago(status.phase_s)
        );
    }
    // A wait of the workflow (a lock, the operator's word) is nearer to the cause than a throttle:
    // with the copy over, nobody is stopped by the throttle.
    if let Some(wait) = status.waits.first() {
        let whom = wait
            .whom
            .as_ref()
            .map_or(String::new(), |whom| format!(", held by {whom}"));
        let next = wait
            .next
            .as_ref()
            .map_or(String::new(), |next| format!("; {next}"));
        return format!(
            "In phase {} it waits for {} since {}{whom}{next}.",
            status.phase,
            wait.what,
            ago(wait.for_s)
        );
    }
    if status.phase == "cut-over" {
        return format!(
            "In phase cut-over since {} it waits until replay is near: {}, {} rows waiting.",
            ago(status.phase_s),
            status
                .replay_lag_s
                .map_or("its lag is not known".to_string(), |lag| format!(
                    "{} behind",
                    ago(lag)
                )),
            status.backlog_rows
        );
    }
    if let Some(stop) = status.throttled.first() {
        let others = match status.throttled.len() - 1 {
            0 => String::new(),
            1 => format!(" (and {})", status.throttled[1].reason),
            more => format!(" (and {more} more reasons)"),
        };
        return format!(
            "The copy is stopped since {}: {}{others}; {}.",
            ago(stop.for_s),
            stop.reason,
            what_next(stop)
        );
    }
    if let Some(slowed) = status.slowed() {
        return format!(
            "It waits for nothing, but goes {slowed}; phase {} since {}.",
            status.phase,
            ago(status.phase_s)
        );
    }
    format!(
        "It waits for nothing; phase {} since {}.",
        status.phase,
        ago(status.phase_s)
    )
}

/// What ends a stop.
fn what_next(stop: &ThrottleNow) -> &'static str {
    match stop.source {
        "commanded" => "it goes on after `resume`",
        "commit-latency" => {
            "it goes on by itself when commits are faster, or after `set max-commit-latency`"
        }
        "checkpoint-age" => {
            "it goes on by itself when the server has written its pages, or after \
             `set max-checkpoint-age`"
        }
        "latency" => "it goes on by itself when they are faster, or after `set max-latency-factor`",
        "heartbeat" => "it goes on by itself when heartbeats are written again",
        "flag-file" => "it goes on when the file is gone",
        "window" => "it goes on when the next window opens, or after `set copy-window none`",
        "lag" => {
            "it goes on by itself when the replica has caught up, or \
             after `set max-lag` or `set ignore-replicas`"
        }
        "max-load" => "it goes on by itself when the load is lower, or after `set max-load`",
        "backlog" | "replay-lag" => {
            "replay has the server to itself and the copy goes on by itself when the backlog is \
             worked off"
        }
        "query" => "it goes on when the query returns 0, or after `set throttle-query`",
        "http" => "it goes on when the check answers 200, or after `set throttle-http`",
        _ => "it goes on by itself",
    }
}

fn ago(seconds: f64) -> String {
    let duration = if seconds < 10.0 {
        Duration::from_millis((seconds.max(0.0) * 10.0) as u64 * 100)
    } else {
        Duration::from_secs(seconds as u64)
    };
    humantime::format_duration(duration).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::tests::controller;
    use super::*;
    use crate::observe::snapshot::WaitNow;

    fn stop(source: &'static str, reason: &str) -> ThrottleNow {
        ThrottleNow {
            source,
            reason: reason.to_string(),
            subject: String::new(),
            value: f64::NAN,
            limit: f64::NAN,
            for_s: 12.3,
        }
    }

    #[test]
    fn the_nearest_cause_is_named() {
        let mut status = controller().0.status();
        assert!(sentence(&status).starts_with("It waits for nothing; phase preflight"));
        status.throttled = vec![stop("lag", "lag of replica r1:3306 is 3.2s, limit 1.5s")];
        assert_eq!(
            sentence(&status),
            "The copy is stopped since 12s: lag of replica r1:3306 is 3.2s, limit 1.5s; it goes on \
             by itself when the replica has caught up, or after `set max-lag` or `set ignore-replicas`."
        );
        status.throttled.push(stop(
            "backlog",
            "backlog of changes waiting for replay is 200 MiB",
        ));
        assert!(sentence(&status).contains("(and backlog of changes"));
        status.phase = "cut-over".to_string();
        status.waits = vec![WaitNow {
            what: "the metadata lock of d.t".to_string(),
            whom: Some("connection 42 (app@10.0.0.7)".to_string()),
            next: Some("the attempt ends in 0.2 s and is repeated".to_string()),
            for_s: 0.15,
        }];
        assert_eq!(
            sentence(&status),
            "In phase cut-over it waits for the metadata lock of d.t since 100ms, held by \
             connection 42 (app@10.0.0.7); the attempt ends in 0.2 s and is repeated."
        );
    }

    #[test]
    fn a_held_cut_over_is_named() {
        let mut status = controller().0.status();
        status.phase = "postponed".to_string();
        assert!(sentence(&status).contains("about to begin"));
        status.held_by = vec!["the operator until `cut-over`".to_string()];
        assert!(sentence(&status).ends_with("held back by the operator until `cut-over`."));
        status.held_by = vec!["its flag file /x".to_string(), "its window".to_string()];
        assert!(sentence(&status).contains("held back by its flag file /x and by its window"));
        status.phase = "cut-over".to_string();
        status.replay_lag_s = Some(2.5);
        assert!(sentence(&status).contains("until replay is near: 2s 500ms behind, 0 rows"));
    }
}
