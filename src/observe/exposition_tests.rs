use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::observe::status::tests::source;

#[test]
fn the_text_is_well_formed() {
    let source = source();
    source.attempted(Duration::from_millis(20), "over budget");
    source.attempted(Duration::from_millis(300), "swapped");
    source.progress.rows_copied.set(1234);
    let text = render(&source);
    let mut families = BTreeSet::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(families.insert(name.to_string()), "{name} twice");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
            current = name.to_string();
        } else if !line.starts_with('#') {
            assert!(line.starts_with(&current), "{line} is not of {current}");
            let (_, value) = line.rsplit_once(' ').unwrap();
            value.parse::<f64>().unwrap();
        }
    }
    assert!(text.contains("changeling_copy_rows_total 1234\n"));
    assert!(text.contains("changeling_cutover_stall_seconds_bucket{le=\"0.05\"} 1\n"));
    assert!(text.contains("changeling_cutover_stall_seconds_bucket{le=\"+Inf\"} 2\n"));
    assert!(text.contains("changeling_info{table=\"d.t\",server=\"h:3306\""));
    assert!(!text.contains("replica_lag"), "unknown values are left out");
    assert_eq!(escape("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
}

/// What `promtool check metrics` and Prometheus' page on naming ask for: base units, no type in the
/// name, a help text, endings that are kept for what they mean.
#[test]
fn names_follow_the_conventions() {
    let page = include_str!("../../docs/metrics.md");
    for name in families() {
        let bare = name.strip_prefix("changeling_").unwrap();
        assert!(
            bare.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
            "{name}"
        );
        for word in bare.split('_') {
            let wrong = [
                "ms",
                "millis",
                "micros",
                "minutes",
                "hours",
                "percent",
                "kb",
                "mib",
                "gauge",
                "counter",
                "histogram",
            ];
            assert!(!wrong.contains(&word), "{name}: {word}");
        }
        for ending in ["_count", "_sum", "_bucket"] {
            assert!(!name.ends_with(ending), "{name}");
        }
        let row = page
            .lines()
            .find(|line| line.starts_with(&format!("| `{name}` |")));
        let is_counter = row.is_some_and(|row| row.contains("| counter |"));
        assert_eq!(
            is_counter,
            name.ends_with("_total"),
            "{name} in docs/metrics.md"
        );
    }
    let text = render(&source());
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = line.split(' ').next().unwrap();
        let help = text
            .lines()
            .find_map(|line| line.strip_prefix(&format!("# HELP {name} ")))
            .unwrap();
        assert!(help.ends_with('.') && help.len() > 10, "{name}: {help}");
    }
}

/// What Grafana needs to load a dashboard and to draw its panels.
#[test]
fn the_dashboard_is_whole() {
    let dashboard: serde_json::Value =
        serde_json::from_str(include_str!("../../docs/grafana.json")).unwrap();
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 36);
    let variables: Vec<&str> = dashboard["templating"]["list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|variable| variable["name"].as_str().unwrap())
        .collect();
    let mut ids = BTreeSet::new();
    let mut cells = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        assert!(panel["type"].is_string(), "{title}");
        let place = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        assert!(place("x") + place("w") <= 24, "{title}");
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(cells.insert((x, y)), "{title} lies on another panel");
            }
        }
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"].as_str().unwrap();
            assert!(query.contains("changeling_"), "{title}: {query}");
            let opened = query.matches('(').count() + query.matches('{').count();
            let closed = query.matches(')').count() + query.matches('}').count();
            assert_eq!(opened, closed, "{title}: {query}");
            for variable in query.split('$').skip(1) {
                let name: String = variable
                    .trim_start_matches('{')
                    .chars()
                    .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                    .collect();
                let is_known = variables.contains(&name.as_str()) || name.starts_with("__");
                assert!(is_known, "{title}: ${name}");
            }
        }
    }
}

/// All families, with a throttle and everything known.
fn families() -> BTreeSet<String> {
    let source = source();
    source.checkpoint_written();
    for micros in [
        &source.progress.binlog_kept_micros,
        &source.progress.replay_lag_micros,
        &source.progress.replica_lag_micros,
    ] {
        micros.store(1, Ordering::Relaxed);
    }
    source.progress.heartbeat_at_micros.set(1);
    *source.progress.index_build.lock().unwrap() = Some(crate::progress::IndexBuild {
        stage: "sorting".to_string(),
        done: Some(0.5),
    });
    source.attach(crate::throttle::Throttle {
        pace: tokio::sync::watch::channel(crate::pace::Pace::default()).1,
        journal: Arc::default(),
        replicas: tokio::sync::watch::channel(Default::default()).1,
    });
    let text = render(&source);
    text.lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .map(String::from)
        // A forecast needs a run of some seconds.
        .chain(["p50", "p90"].map(|p| format!("changeling_forecast_{p}_seconds")))
        .collect()
}

#[test]
fn documents_have_the_metrics_there_are() {
    let families = families();
    let page = include_str!("../../docs/metrics.md");
    let documented: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .filter(|name| name.starts_with("changeling_"))
        .map(String::from)
        .collect();
    assert_eq!(documented, families);
    for (file, text) in [
        ("alerts.yml", include_str!("../../docs/alerts.yml")),
        ("grafana.json", include_str!("../../docs/grafana.json")),
    ] {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        for word in text.split(|c: char| !is_part(c)) {
            let name = word.trim_end_matches("_bucket");
            if name.starts_with("changeling_") {
                assert!(families.contains(name), "{file} has {name}");
            }
        }
    }
    let dashboard: serde_json::Value =
        serde_json::from_str(include_str!("../../docs/grafana.json")).unwrap();
    assert_eq!(dashboard["panels"].as_array().unwrap().len(), 14);
}
