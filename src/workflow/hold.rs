//! What holds the cut-over back: the operator, a flag file, windows. The operator's release counts more
//! than the other two.

use std::path::Path;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::run::Run;
use crate::failure::Result;
use crate::observe::StatusSource;
use crate::time_window;
use crate::tunables::Tunables;

/// How often files and the clock are looked at.
const POLL: Duration = Duration::from_millis(50);

/// Says until the run ends whether the cut-over is held, and to `status` by what.
///
/// # Errors
/// None.
pub async fn watch(
    run: &Run,
    status: &StatusSource,
    hold: watch::Sender<bool>,
    cancel: &CancellationToken,
) -> Result<()> {
    let mut tunables = run.tunables.subscribe();
    loop {
        let file = run.settings.cutover.postpone_flag_file.as_deref();
        let by = held_by(
            &tunables.borrow_and_update(),
            file,
            time_window::now_unix_s(),
        );
        let held = !by.is_empty();
        status.held_by(by);
        hold.send_if_modified(|now| std::mem::replace(now, held) != held);
        tokio::select! {
            () = tokio::time::sleep(POLL) => {}
            Ok(()) = tunables.changed() => {}
            () = cancel.cancelled() => return Ok(()),
        }
    }
}

/// What holds it now, each as it goes on from "held back by".
pub fn held_by(tunables: &Tunables, file: Option<&Path>, unix_s: u64) -> Vec<String> {
    if tunables.postpone_cutover {
        return vec!["the operator until `cut-over`".to_string()];
    }
    if tunables.cutover_released {
        return Vec::new();
    }
    let mut by = Vec::new();
    // A file that cannot be looked for may be there.
    if let Some(file) = file.filter(|file| file.try_exists().unwrap_or(true)) {
        by.push(format!(
            "its flag file {} until that is gone, or until `cut-over`",
            file.display()
        ));
    }
    let windows = &tunables.cutover_windows;
    if !time_window::any_open(windows, unix_s) {
        let opens = time_window::opens_in_s(windows, unix_s).map_or(String::new(), |seconds| {
            let wait = Duration::from_secs(seconds);
            format!(", which opens in {}", humantime::format_duration(wait))
        });
        by.push(format!(
            "its window {}{opens}, or until `cut-over`",
            time_window::windows_text(windows)
        ));
    }
    by
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operators_word_counts_most() {
        let mut tunables = Tunables::default();
        let here = Path::new("/");
        assert!(held_by(&tunables, None, 0).is_empty());
        assert!(held_by(&tunables, Some(here), 0)[0].starts_with("its flag file / until"));
        // 1970-01-01 00:00 was a Thursday.
        tunables.cutover_windows = time_window::parse_windows("Thu 02:00-05:00").unwrap();
        assert_eq!(
            held_by(&tunables, None, 60),
            ["its window Thu 02:00-05:00, which opens in 1h 59m, or until `cut-over`"]
        );
        assert_eq!(held_by(&tunables, Some(here), 60).len(), 2);
        assert!(held_by(&tunables, None, 3 * 3600).is_empty());
        tunables.cutover_released = true;
        assert!(held_by(&tunables, Some(here), 60).is_empty());
        tunables.postpone_cutover = true;
        assert!(held_by(&tunables, None, 3 * 3600)[0].contains("operator"));
    }
}
