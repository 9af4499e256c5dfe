//! Forecasts that are kept, so that a migration can say how good the rehearsal's was.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::rehearsal::Estimate;
use super::text::{span, utc};
use crate::failure::{Failure, Result};

/// What a rehearsal forecast.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptForecast {
    /// `schema.table`.
    pub table: String,
    /// The clauses, as printed.
    pub alter: String,
    /// Seconds since 1970.
    pub made_unix_s: u64,
    /// As likely more as less, seconds.
    pub p50_s: f64,
    /// More in one of ten cases only, seconds.
    pub p90_s: f64,
    /// Rows of the table then.
    pub rows: u64,
}

/// How a forecast came out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// The forecast.
    pub forecast: KeptForecast,
    /// How long it took, without the time in which an operator held the swap, seconds.
    pub took_s: f64,
    /// By how much that is more than the P50, percent; less is negative.
    pub off_percent: f64,
}

impl KeptForecast {
    /// The forecast of a rehearsal that ends now.
    pub fn new(table: String, alter: String, estimate: &Estimate, rows: u64) -> KeptForecast {
        KeptForecast {
            table,
            alter,
            made_unix_s: crate::change::now_micros() / 1_000_000,
            p50_s: estimate.p50_s,
            p90_s: estimate.p90_s,
            rows,
        }
    }

    /// What it came to.
    pub fn outcome(self, took_s: f64) -> Outcome {
        Outcome {
            off_percent: (took_s / self.p50_s.max(1e-9) - 1.0) * 100.0,
            took_s,
            forecast: self,
        }
    }

    /// Writes it; folders on the way are made.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn keep(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Failure::failed(format!("put the forecast into JSON: {error}")))?;
        let folder = path.parent().filter(|folder| *folder != Path::new(""));
        folder
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| std::fs::write(path, text + "\n"))
            .map_err(|error| {
                Failure::failed(format!(
                    "cannot keep the forecast in {}: {error}",
                    path.display()
                ))
                .remedy("name a file that can be written with --forecast")
            })
    }

    /// The forecast kept there for this statement; `None`: there is none, or it is for another.
    ///
    /// # Errors
    /// A file that is there and cannot be read.
    pub fn read(path: &Path, table: &str, alter: &str) -> Result<Option<KeptForecast>> {
        let what = |error: &dyn std::fmt::Display| {
            Failure::failed(format!(
                "cannot read the forecast {}: {error}",
                path.display()
            ))
        };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(what(&error)),
        };
        let kept: KeptForecast = serde_json::from_str(&text).map_err(|error| what(&error))?;
        Ok((kept.table == table && kept.alter == alter).then_some(kept))
    }
}

impl Outcome {
    /// For people.
    pub fn words(&self) -> String {
        let kept = &self.forecast;
        let range = if self.took_s <= kept.p90_s {
            "within"
        } else {
            "beyond"
        };
        format!(
            "the rehearsal of {} UTC forecast {} (P50) to {} (P90): it took {}, {:+.0} % of the P50, {range} the P90",
            utc(kept.made_unix_s),
            span(kept.p50_s),
            span(kept.p90_s),
            span(self.took_s),
            self.off_percent
        )
    }
}

/// Where forecasts for a table are kept unless a file is named: a file for each server and table in
/// `$XDG_STATE_HOME/changeling`, or `~/.local/state/changeling`. `None` without a home.
pub fn default_path(server: &str, table: &str) -> Option<PathBuf> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let state = absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local").join("state")))?;
    let plain: String = format!("{server}.{table}")
        .chars()
        .map(|c| match c {
            c if c.is_alphanumeric() || matches!(c, '.' | '-' | '_') => c,
            _ => '_',
        })
        .collect();
    Some(
        state
            .join("changeling")
            .join(format!("{plain}.forecast.json")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forecasts_are_kept_for_their_statement() {
        let folder = std::env::temp_dir().join(format!("cl-forecast-{}", fastrand::u64(..)));
        let path = folder.join("state").join("f.json");
        let kept = KeptForecast {
            table: "d.t".into(),
            alter: "ADD c INT".into(),
            made_unix_s: 0,
            p50_s: 10.0,
            p90_s: 14.0,
            rows: 5,
        };
        let read = |alter| KeptForecast::read(&path, "d.t", alter);
        assert_eq!(read("ADD c INT").unwrap(), None);
        kept.keep(&path).unwrap();
        assert_eq!(read("ADD d INT").unwrap(), None);
        let outcome = read("ADD c INT").unwrap().unwrap().outcome(12.0);
        assert!((outcome.off_percent - 20.0).abs() < 1e-9);
        let words = outcome.words();
        assert!(
            words.contains("+20 %") && words.contains("within the P90"),
            "{words}"
        );
        std::fs::write(&path, "x").unwrap();
        assert!(read("ADD c INT").is_err());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
