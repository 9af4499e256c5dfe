//! The lines that begin with `#`: what is migrated where, and with which limits.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::GhOst;
use crate::mysql::quote::{civil_from_days, ident};
use crate::observe::gh_ost_line;

impl GhOst {
    /// The hint, without a newline at its end.
    pub fn hint(&self) -> String {
        let facts = &self.facts;
        let tunables = self.controller.tunables();
        let names = &self.controller.source().names;
        let table = |table: &crate::names::TableName| {
            format!("{}.{}", ident(&table.schema), ident(&table.table))
        };
        let mut lines = vec![
            format!(
                "# Migrating {}; Ghost table is {}",
                table(&names.original),
                table(&names.ghost)
            ),
            format!(
                "# Migrating {}; inspecting {}; executing on {}",
                facts.applier.address(),
                facts.inspector.address(),
                facts.executing_host
            ),
            format!("# Migration started at {}", ruby_date(facts.started)),
            format!(
                "# chunk-size: {}; max-lag-millis: {}ms; dml-batch-size: {}; max-load: {}; \
                 critical-load: {}; nice-ratio: {:.6}",
                self.chunk_size(),
                tunables.lag_max.as_millis(),
                self.changed().dml_batch_size,
                super::commands::loads(&tunables.max_load),
                super::commands::loads(&tunables.critical_load),
                tunables.nice_ratio
            ),
        ];
        let flag_file = |name: &str, path: &Path| {
            let set = if path.exists() { "[set]" } else { "" };
            format!("# {name}: {} {set}", path.display())
        };
        let given = |name: &str, path: &Option<std::path::PathBuf>| {
            path.as_deref().map(|path| flag_file(name, path))
        };
        lines.extend(given("throttle-flag-file", &facts.throttle_flag_file));
        lines.extend(given(
            "throttle-additional-flag-file",
            &facts.additional_flag_file,
        ));
        lines.extend(
            tunables
                .throttle_query
                .map(|query| format!("# throttle-query: {query}")),
        );
        let replicas = self.replicas().len();
        if replicas > 0 {
            lines.push(format!("# throttle-control-replicas count: {replicas}"));
        }
        let postpone = self
            .changed()
            .flag_file
            .clone()
            .or(facts.postpone_flag_file.clone());
        lines.extend(given("postpone-cut-over-flag-file", &postpone));
        lines.extend(
            facts
                .panic_flag_file
                .as_ref()
                .map(|path| format!("# panic-flag-file: {}", path.display())),
        );
        lines.push(format!(
            "# Serving on unix socket: {}",
            facts.socket_file.display()
        ));
        lines.extend(
            facts
                .tcp_port
                .map(|port| format!("# Serving on TCP port: {port}")),
        );
        lines.join("\n")
    }

    /// The status line.
    pub fn status_line(&self) -> String {
        gh_ost_line::status_line(&self.controller.status())
    }

    /// Rows a chunk: fixed by `chunk-size`, or what the last chunk had.
    pub(super) fn chunk_size(&self) -> u64 {
        let fixed = self.controller.tunables().chunk_rows_fixed;
        fixed.unwrap_or_else(|| self.controller.status().chunk_rows)
    }
}

/// `Tue Jun 07 11:45:16 +0000 2016`
fn ruby_date(time: SystemTime) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let days = seconds / 86_400;
    let (year, month, day) = civil_from_days(days.cast_signed());
    let month = MONTHS[usize::try_from(month).map_or(0, |m| m.saturating_sub(1)) % 12];
    format!(
        "{} {month} {day:02} {:02}:{:02}:{:02} +0000 {year}",
        // 1970-01-01 was a Thursday.
        DAYS[usize::try_from(days % 7).unwrap_or(0)],
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn dates_are_rubys() {
        let at = |seconds| ruby_date(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "Thu Jan 01 00:00:00 +0000 1970");
        assert_eq!(at(1_465_299_916), "Tue Jun 07 11:45:16 +0000 2016");
        assert_eq!(at(1_709_251_199), "Thu Feb 29 23:59:59 +0000 2024");
    }
}
