//! Flag files and time windows.

use std::time::Duration;

use super::Common;
use super::reading::Reading;
use crate::failure::Result;
use crate::time_window;

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
        {
            let windows = &common.tunables.borrow().copy_windows;
            if !time_window::any_open(windows, time_window::now_unix_s()) {
                let list = time_window::windows_text(windows);
                let why = format!("is outside of {list}");
                readings.push(Reading::trouble("window", "now", why));
            }
        }
        common.board.post(SLOT, "flag-file", readings, VALID);
        if !common.rest(INTERVAL).await {
            return Ok(());
        }
    }
}
