//! Flag files and time windows.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::reading::Reading;
use super::{Common, windows};
use crate::failure::Result;

pub(super) const SLOT: &str = "flag files and windows";
const INTERVAL: Duration = Duration::from_millis(250);
/// A file system that does not answer for this long (a network mount) stops the copy.
const VALID: Duration = Duration::from_secs(5);

pub(super) async fn run(common: Common) -> Result<()> {
    loop {
        let mut readings = Vec::new();
        for path in &common.plan.flag_files {
            let subject = path.display().to_string();
            match tokio::fs::try_exists(path).await {
                Ok(true) => readings.push(Reading::trouble("flag-file", subject, "exists")),
                Ok(false) => {}
                Err(error) => readings.push(Reading::trouble(
                    "flag-file",
                    subject,
                    format!("cannot be looked for: {error}"),
                )),
            }
        }
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        if !windows::any_open(&common.plan.windows, now.as_secs()) {
            let list: Vec<String> = common
                .plan
                .windows
                .iter()
                .map(ToString::to_string)
                .collect();
            readings.push(Reading::trouble(
                "window",
                "now",
                format!("is outside of {}", list.join(", ")),
            ));
        }
        common.board.post(SLOT, "flag-file", readings, VALID);
        if !common.rest(INTERVAL).await {
            return Ok(());
        }
    }
}
