//! The table of everything that can be set while a migration runs.

use std::time::Duration;

use crate::failure::{Failure, Result};
use crate::throttle::{http, parse_loads};
use crate::time_window::{parse_windows, windows_text};
use crate::tunables::Tunables;

/// One setting.
pub struct Setting {
    /// Its name; that of the option at the start, `--NAME`, but for [`OTHER_NAMES`].
    pub name: &'static str,
    /// The form of its value, for help.
    pub form: &'static str,
    /// What it is, for help.
    pub help: &'static str,
    /// Sets it from text; changes nothing on error.
    pub set: fn(&mut Tunables, &str) -> Result<()>,
    /// Its value as text.
    pub show: fn(&Tunables) -> String,
}

/// Settings whose option at the start is called otherwise: either name is understood here.
const OTHER_NAMES: [(&str, &str); 3] = [
    ("chunk-rows", "chunk-rows-max"),
    ("chunk-rows-fixed", "chunk-size"),
    ("ignore-replicas", "ignore-replica"),
];

impl Setting {
    /// The option that sets it at the start, without `--`.
    pub fn option(&self) -> &'static str {
        OTHER_NAMES
            .iter()
            .find(|(name, _)| *name == self.name)
            .map_or(self.name, |(_, option)| option)
    }
}

/// All settings, in the order of the help text.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "chunk-time",
        form: "DURATION",
        help: "how long the copy of one chunk should take",
        set: |t, text| {
            t.chunk_time = duration(text, Duration::from_millis(1), Duration::from_secs(60))?;
            Ok(())
        },
        show: |t| show_duration(t.chunk_time),
    },
    Setting {
        name: "chunk-rows",
        form: "NUMBER",
        help: "at most this many rows a chunk",
        set: |t, text| {
            t.chunk_rows_max = number(text, 1, 10_000_000)?;
            Ok(())
        },
        show: |t| t.chunk_rows_max.to_string(),
    },
    Setting {
        name: "chunk-rows-fixed",
        form: "NUMBER|auto",
        help: "exactly this many rows a chunk; auto: by chunk-time",
        set: |t, text| {
            t.chunk_rows_fixed = match text {
                "auto" => None,
                _ => Some(number(text, 1, 10_000_000)?),
            };
            Ok(())
        },
        show: |t| {
            t.chunk_rows_fixed
                .map_or("auto".to_string(), |rows| rows.to_string())
        },
    },
    Setting {
        name: "workers",
        form: "NUMBER",
        help: "chunks copied side by side",
        set: |t, text| {
            t.copy_workers = number(text, 1, 64)? as usize;
            Ok(())
        },
        show: |t| t.copy_workers.to_string(),
    },
    Setting {
        name: "apply-workers",
        form: "NUMBER",
        help: "connections that apply changes",
        set: |t, text| {
            t.apply_workers = number(text, 1, 64)? as usize;
            Ok(())
        },
        show: |t| t.apply_workers.to_string(),
    },
    Setting {
        name: "nice-ratio",
        form: "NUMBER",
        help: "rest for this multiple of each chunk's time",
        set: |t, text| {
            let bad = || usage(text, "a number from 0 to 100");
            let ratio: f64 = text.parse().map_err(|_| bad())?;
            if !(0.0..=100.0).contains(&ratio) {
                return Err(bad());
            }
            t.nice_ratio = ratio;
            Ok(())
        },
        show: |t| t.nice_ratio.to_string(),
    },
    Setting {
        name: "max-lag",
        form: "DURATION",
        help: "replication lag above which the copy pauses",
        set: |t, text| {
            t.lag_max = duration(
                text,
                Duration::from_millis(100),
                Duration::from_secs(86_400),
            )?;
            Ok(())
        },
        show: |t| show_duration(t.lag_max),
    },
    Setting {
        name: "max-replay-lag",
        form: "DURATION|none",
        help: "how far the ghost may be behind before the copy pauses",
        set: |t, text| {
            t.replay_lag_max = unless_none_duration(text)?;
            Ok(())
        },
        show: |t| show_or_none(t.replay_lag_max.map(show_duration)),
    },
    Setting {
        name: "max-commit-latency",
        form: "DURATION|none",
        help: "mean duration of a COMMIT at which the copy pauses",
        set: |t, text| {
            t.commit_latency_max = unless_none_duration(text)?;
            Ok(())
        },
        show: |t| show_or_none(t.commit_latency_max.map(show_duration)),
    },
    Setting {
        name: "max-checkpoint-age",
        form: "PERCENT|none",
        help: "share of the redo log that waits for a checkpoint at which the copy pauses",
        set: |t, text| {
            t.checkpoint_age_max = some(text).as_deref().map(percent).transpose()?;
            Ok(())
        },
        show: |t| {
            let percent = |share: f64| format!("{}%", (share * 1000.0).round() / 10.0);
            show_or_none(t.checkpoint_age_max.map(percent))
        },
    },
    Setting {
        name: "max-latency-factor",
        form: "NUMBER|none",
        help: "the table's statements may take so many times as long as before the copy",
        set: |t, text| {
            t.latency_factor_max = some(text).as_deref().map(factor).transpose()?;
            Ok(())
        },
        show: |t| show_or_none(t.latency_factor_max.map(|factor| factor.to_string())),
    },
    Setting {
        name: "copy-window",
        form: "WINDOW,…|none",
        help: "when the copy may run: `22:00-06:00`, `Mon-Fri 20:00-07:00 Europe/Berlin`",
        set: |t, text| {
            t.copy_windows = parse_windows(unless_none(text))?;
            Ok(())
        },
        show: |t| none_if_empty(windows_text(&t.copy_windows)),
    },
    Setting {
        name: "cut-over-window",
        form: "WINDOW,…|none",
        help: "when it may be cut over",
        set: |t, text| {
            t.cutover_windows = parse_windows(unless_none(text))?;
            Ok(())
        },
        show: |t| none_if_empty(windows_text(&t.cutover_windows)),
    },
    Setting {
        name: "max-load",
        form: "NAME=N,…|none",
        help: "status variables at or above which the copy pauses",
        set: |t, text| {
            t.max_load = parse_loads(unless_none(text))?;
            Ok(())
        },
        show: |t| show_loads(&t.max_load),
    },
    Setting {
        name: "critical-load",
        form: "NAME=N,…|none",
        help: "status variables at or above which the run stops, resumably",
        set: |t, text| {
            t.critical_load = parse_loads(unless_none(text))?;
            Ok(())
        },
        show: |t| show_loads(&t.critical_load),
    },
    Setting {
        name: "throttle-query",
        form: "SQL|none",
        help: "a query whose first value above 0 pauses the copy",
        set: |t, text| {
            t.throttle_query = some(text);
            Ok(())
        },
        show: |t| t.throttle_query.clone().unwrap_or("none".to_string()),
    },
    Setting {
        name: "throttle-http",
        form: "URL|none",
        help: "a URL whose answer other than 200 pauses the copy",
        set: |t, text| {
            let url = some(text);
            if let Some(url) = &url {
                http::parse_url(url)?;
            }
            t.throttle_http = url;
            Ok(())
        },
        show: |t| t.throttle_http.clone().unwrap_or("none".to_string()),
    },
    Setting {
        name: "ignore-replicas",
        form: "HOST[:PORT],…|none",
        help: "replicas not asked for their lag, beside those named at the start",
        set: |t, text| {
            t.ignored_replicas = unless_none(text)
                .split(',')
                .map(str::trim)
                .filter(|host| !host.is_empty())
                .map(String::from)
                .collect();
            Ok(())
        },
        show: |t| {
            let hosts: Vec<&str> = t.ignored_replicas.iter().map(String::as_str).collect();
            none_if_empty(hosts.join(","))
        },
    },
];

/// Finds a setting by name.
///
/// # Errors
/// Usage, with the names there are.
pub fn find(name: &str) -> Result<&'static Setting> {
    SETTINGS
        .iter()
        .find(|setting| setting.name == name || setting.option() == name)
        .ok_or_else(|| {
            let names: Vec<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
            Failure::usage(format!("there is no setting `{name}`"))
                .remedy(format!("the settings are: {}", names.join(", ")))
        })
}

fn usage(text: &str, wanted: &str) -> Failure {
    Failure::usage(format!("`{text}` is not {wanted}")).remedy(format!("give {wanted}"))
}

fn number(text: &str, min: u64, max: u64) -> Result<u64> {
    match text.parse() {
        Ok(number) if (min..=max).contains(&number) => Ok(number),
        _ => Err(usage(text, &format!("a whole number from {min} to {max}"))),
    }
}

fn duration(text: &str, min: Duration, max: Duration) -> Result<Duration> {
    match humantime::parse_duration(text) {
        Ok(duration) if (min..=max).contains(&duration) => Ok(duration),
        _ => Err(usage(
            text,
            &format!(
                "a duration from {} to {}, for example `500ms` or `2s`",
                show_duration(min),
                show_duration(max)
            ),
        )),
    }
}

fn unless_none_duration(text: &str) -> Result<Option<Duration>> {
    let bounds = (Duration::from_millis(1), Duration::from_secs(86_400));
    let given = some(text);
    given
        .map(|text| duration(&text, bounds.0, bounds.1))
        .transpose()
}

/// A share in per cent, with or without the sign, as a number above 0 up to 1.
///
/// # Errors
/// Usage: it is none.
pub fn percent(text: &str) -> Result<f64> {
    match text.trim_end_matches('%').trim().parse::<f64>() {
        Ok(percent) if percent > 0.0 && percent <= 100.0 => Ok(percent / 100.0),
        _ => Err(usage(text, "per cent, above 0% up to 100%")),
    }
}

/// How many times as long something may take.
///
/// # Errors
/// Usage: not above 1.
pub fn factor(text: &str) -> Result<f64> {
    match text.parse::<f64>() {
        Ok(factor) if factor > 1.0 && factor <= 1000.0 => Ok(factor),
        _ => Err(usage(text, "a number above 1 up to 1000")),
    }
}

fn show_or_none(text: Option<String>) -> String {
    text.unwrap_or_else(|| "none".to_string())
}

fn show_duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

fn show_loads(loads: &std::collections::BTreeMap<String, u64>) -> String {
    let list: Vec<String> = loads
        .iter()
        .map(|(name, limit)| format!("{name}={limit}"))
        .collect();
    none_if_empty(list.join(","))
}

fn none_if_empty(text: String) -> String {
    if text.is_empty() {
        "none".to_string()
    } else {
        text
    }
}

fn unless_none(text: &str) -> &str {
    if text == "none" { "" } else { text }
}

fn some(text: &str) -> Option<String> {
    let text = unless_none(text.trim());
    (!text.is_empty()).then(|| text.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_takes_what_it_shows() {
        let examples = [
            ("chunk-time", "50ms"),
            ("chunk-rows", "1000"),
            ("chunk-rows-fixed", "250"),
            ("workers", "2"),
            ("apply-workers", "8"),
            ("nice-ratio", "0.5"),
            ("max-lag", "2s 500ms"),
            ("max-replay-lag", "5s"),
            ("max-commit-latency", "20ms"),
            ("max-checkpoint-age", "75.5%"),
            ("max-latency-factor", "2.5"),
            ("copy-window", "22:00-06:00,Sat-Sun 00:00-24:00"),
            ("cut-over-window", "02:00-05:00 Europe/Berlin"),
            ("max-load", "Threads_connected=100,Threads_running=50"),
            ("critical-load", "Threads_running=500"),
            ("throttle-query", "SELECT COUNT(*) > 5 FROM d.q"),
            ("throttle-http", "http://freno:8111/check"),
            ("ignore-replicas", "r1,r2:3307"),
        ];
        assert_eq!(examples.len(), SETTINGS.len());
        for (name, value) in examples {
            let setting = find(name).unwrap();
            let mut tunables = Tunables::default();
            let before = (setting.show)(&tunables);
            (setting.set)(&mut tunables, value).unwrap();
            assert_eq!((setting.show)(&tunables), value);
            assert_ne!(tunables, Tunables::default());
            (setting.set)(&mut tunables, &before).unwrap();
            assert_eq!(tunables, Tunables::default(), "{name}");
        }
    }

    #[test]
    fn nonsense_changes_nothing() {
        for (name, value) in [
            ("chunk-time", "0s"),
            ("chunk-rows", "-1"),
            ("workers", "0"),
            ("workers", "1000"),
            ("nice-ratio", "NaN"),
            ("max-lag", "1"),
            ("max-checkpoint-age", "0"),
            ("max-checkpoint-age", "101%"),
            ("max-latency-factor", "1"),
            ("cut-over-window", "02:00-05:00 Mars/Olympus"),
            ("max-load", "x"),
            ("throttle-http", "https://x"),
        ] {
            let mut tunables = Tunables::default();
            assert!(
                (find(name).unwrap().set)(&mut tunables, value).is_err(),
                "{name} {value}"
            );
            assert_eq!(tunables, Tunables::default());
        }
    }
}
