//! Load: status variables of the primary against `max_load` (pauses) and `critical_load` (ends the
//! run, after a second look). The threads of this program are not counted.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Common;
use super::asker::{Asker, cannot_be_asked};
use super::reading::Reading;
use crate::failure::{Failure, FailureKind, Result};
use crate::mysql::quote;

pub(super) const SLOT: &str = "load of the primary";
const SOURCE: &str = "max-load";
const INTERVAL: Duration = Duration::from_millis(400);
const VALID: Duration = Duration::from_secs(4);

/// Reads `Threads_running=50,Threads_connected=1000`. Names are kept as given.
///
/// # Errors
/// Usage, with the part that is wrong.
pub fn parse_loads(text: &str) -> Result<BTreeMap<String, u64>> {
    let mut loads = BTreeMap::new();
    for part in text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let bad = || {
            Failure::usage(format!("`{part}` is no load limit"))
                .remedy("write NAME=NUMBER, for example `Threads_running=50`")
        };
        let (name, limit) = part.split_once('=').ok_or_else(bad)?;
        let name = name.trim();
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(bad());
        }
        loads.insert(name.to_string(), limit.trim().parse().map_err(|_| bad())?);
    }
    Ok(loads)
}

pub(super) async fn run(mut common: Common) -> Result<()> {
    let mut asker = Asker::new(common.server.clone());
    let mut first_look: Option<Instant> = None;
    loop {
        let (max, critical) = {
            let tunables = common.tunables.borrow_and_update();
            (tunables.max_load.clone(), tunables.critical_load.clone())
        };
        let mut readings = Vec::new();
        if !max.is_empty() || !critical.is_empty() {
            let names: Vec<&str> = max
                .keys()
                .chain(critical.keys())
                .map(String::as_str)
                .collect();
            match look(&mut asker, &names).await {
                Ok(values) => {
                    readings.extend(
                        max.iter()
                            .map(|(name, limit)| compare(&values, name, *limit)),
                    );
                    let worst = critical
                        .iter()
                        .filter_map(|(name, limit)| above(&values, name, *limit))
                        .next();
                    let looked = second_look(worst, first_look, &common);
                    first_look = match (looked, common.plan.critical_load_rest) {
                        (Ok(first), _) => first,
                        (Err(critical), None) => return Err(critical),
                        (Err(critical), Some(rest)) => {
                            if !hibernate(&common, &critical, rest).await {
                                return Ok(());
                            }
                            None
                        }
                    };
                }
                Err(failure) => {
                    readings.push(Reading::trouble(SOURCE, SLOT, cannot_be_asked(&failure)))
                }
            }
        }
        common.board.post(SLOT, SOURCE, readings, VALID);
        if !common.rest(INTERVAL).await {
            return Ok(());
        }
    }
}

/// Pauses the copy for a fixed time instead of ending the run. False when the run ends.
async fn hibernate(common: &Common, critical: &Failure, rest: Duration) -> bool {
    let text = humantime::format_duration(rest);
    tracing::warn!(event = "hibernate", "{critical}; hibernating for {text}");
    let reading = Reading::trouble(
        "critical-load-hibernate",
        SLOT,
        format!("{critical}; hibernating for {text}"),
    );
    common.board.post(SLOT, SOURCE, vec![reading], rest + VALID);
    common.rest(rest).await
}

/// Critical load: remembers the first look above the limit; fails when it is still above it after the
/// pause.
fn second_look(
    above: Option<(String, u64, u64)>,
    first_look: Option<Instant>,
    common: &Common,
) -> Result<Option<Instant>> {
    let Some((name, value, limit)) = above else {
        return Ok(None);
    };
    let pause = common.plan.critical_load_pause;
    match first_look {
        Some(first) if first.elapsed() >= pause => Err(Failure::new(
            FailureKind::Stopped,
            format!(
                "critical load: {name} is {value}, limit {limit}, and was so {} ago",
                humantime::format_duration(Duration::from_millis(
                    first.elapsed().as_millis() as u64
                ))
            ),
        )
        .remedy("wait for the load to go down, then start the same command again: it goes on")),
        Some(first) => Ok(Some(first)),
        None => {
            tracing::warn!(
                event = "critical_load",
                name,
                value,
                limit,
                "critical load: {name} is {value}, limit {limit}; a second look in {} decides",
                humantime::format_duration(pause)
            );
            Ok(Some(Instant::now()))
        }
    }
}

fn compare(values: &BTreeMap<String, f64>, name: &str, limit: u64) -> Reading {
    match values.get(&name.to_ascii_lowercase()) {
        Some(value) => Reading::graded(SOURCE, name, *value, limit as f64, ""),
        None => Reading::trouble(SOURCE, name, "is no numeric status variable of the server"),
    }
}

fn above(values: &BTreeMap<String, f64>, name: &str, limit: u64) -> Option<(String, u64, u64)> {
    let value = *values.get(&name.to_ascii_lowercase())?;
    (value >= limit as f64).then_some((name.to_string(), value as u64, limit))
}

/// The values of status variables, names in lower case, our own threads taken off. Names that the
/// server does not have, or whose values are no numbers, are missing.
async fn look(asker: &mut Asker, names: &[&str]) -> Result<BTreeMap<String, f64>> {
    let list: Vec<String> = names.iter().map(|name| quote::string(name)).collect();
    let sql = format!(
        "SHOW GLOBAL STATUS WHERE Variable_name IN ({})",
        list.join(", ")
    );
    let rows: Vec<(String, String)> = asker.query(&sql).await?;
    let mut values: BTreeMap<String, f64> = rows
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_ascii_lowercase(), value.parse().ok()?)))
        .collect();
    let counts_threads = ["threads_running", "threads_connected"]
        .iter()
        .any(|name| values.contains_key(*name));
    if counts_threads {
        let (connected, running) = own_threads(asker).await?;
        let mut take_off = |name: &str, own: f64| {
            if let Some(value) = values.get_mut(name) {
                *value = (*value - own).max(0.0);
            }
        };
        take_off("threads_connected", connected);
        take_off("threads_running", running);
    }
    Ok(values)
}

/// How many of our own connections there are, and how many of them are running a statement.
async fn own_threads(asker: &mut Asker) -> Result<(f64, f64)> {
    let ids: Vec<String> = asker
        .server()
        .own_connections()
        .iter()
        .map(ToString::to_string)
        .collect();
    if ids.is_empty() {
        return Ok((0.0, 0.0));
    }
    let sql = format!(
        "SELECT CAST(COUNT(*) AS SIGNED), CAST(COALESCE(SUM(command <> 'Sleep'), 0) AS SIGNED) \
         FROM {} WHERE id IN ({})",
        asker.server().facts().processlist(),
        ids.join(", ")
    );
    let (connected, running): (i64, i64) = asker.first(&sql).await?.unwrap_or((0, 0));
    Ok((connected as f64, running as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read() {
        let loads = parse_loads("Threads_running=50, threads_connected = 1000,").unwrap();
        assert_eq!(loads["Threads_running"], 50);
        assert_eq!(loads["threads_connected"], 1000);
        assert!(parse_loads("").unwrap().is_empty());
        for bad in ["Threads_running", "x=y", "=5", "a b=5", "x=-1", "x'=1"] {
            assert!(parse_loads(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn values_meet_their_limits() {
        let values = BTreeMap::from([("threads_running".to_string(), 26.0)]);
        let now = Instant::now();
        let reading = compare(&values, "Threads_running", 25);
        assert!(reading.severity(now) >= 1.0);
        assert_eq!(
            reading.reason(now).to_string(),
            "max-load of Threads_running is 26.0, limit 25.0"
        );
        assert!(compare(&values, "Threads_running", 27).severity(now) < 1.0);
        assert!(compare(&values, "Nonsense", 27).trouble.is_some());
        assert_eq!(
            above(&values, "Threads_running", 26),
            Some(("Threads_running".into(), 26, 26))
        );
        assert_eq!(above(&values, "Threads_running", 27), None);
    }
}
