//! The bench's report.

use std::fmt::{self, Write};
use std::path::Path;
use std::time::SystemTime;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use serde::Serialize;

use crate::Result;
use crate::traffic::Latencies;

/// Writes NAME.json with all that was measured, and NAME.md with a table of it: its head, and a line each.
///
/// # Errors
/// The files cannot be written.
pub fn write_table<T: Serialize>(
    folder: &Path,
    name: &str,
    all: &[T],
    head: &str,
    line: impl Fn(&T) -> String,
) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let json = serde_json::to_string_pretty(all)? + "\n";
    std::fs::write(folder.join(format!("{name}.json")), json)?;
    let lines = all.iter().map(|measured| line(measured) + "\n");
    let text: String = [head.to_string()].into_iter().chain(lines).collect();
    std::fs::write(folder.join(format!("{name}.md")), text)?;
    Ok(())
}

/// The baseline of the ratios.
const BASELINE: &str = "native COPY";

/// All runs.
#[derive(Serialize)]
pub struct Report {
    pub machine: Machine,
    /// Of the plain table.
    pub rows: u64,
    pub runs: Vec<Measured>,
}

/// Where it was measured.
#[derive(Serialize)]
pub struct Machine {
    date: String,
    processor: String,
    cores: usize,
    memory_gib: f64,
    server: String,
    /// `sync_binlog`, `innodb_flush_log_at_trx_commit`, buffer pool in MiB.
    settings: String,
}

/// One run.
#[derive(Serialize)]
pub struct Measured {
    pub shape: String,
    /// Write transactions a second beside it; 0: a probe.
    pub load_rate: u32,
    pub tool: String,
    /// What it said if it failed.
    pub failure: Option<String>,
    pub wall_seconds: f64,
    pub cpu_seconds: f64,
    pub peak_memory_mib: f64,
    /// Written by the tool and the load together.
    pub binlog_mib: f64,
    pub application: Latencies,
}

impl Machine {
    pub async fn look(conn: &mut Conn) -> Result<Machine> {
        let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
        let field = |text: &str, name: &str| -> String {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.split_once(':'))
                .map_or_else(String::new, |(_, value)| value.trim().to_string())
        };
        let memory_kib = field(&read("/proc/meminfo"), "MemTotal");
        let memory_kib: f64 = memory_kib.trim_end_matches(" kB").parse().unwrap_or(0.0);
        let (server, settings): (String, String) = conn
            .query_first(
                "SELECT CONCAT(@@version, ' ', @@version_comment), CONCAT('sync_binlog=', @@sync_binlog, \
                 ', innodb_flush_log_at_trx_commit=', @@innodb_flush_log_at_trx_commit, \
                 ', innodb_buffer_pool_size=', @@innodb_buffer_pool_size DIV 1048576, 'M')",
            )
            .await?
            .ok_or("no answer")?;
        Ok(Machine {
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            processor: field(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_gib: memory_kib / 1_048_576.0,
            server,
            settings,
        })
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.tool)?;
        if let Some(failure) = &self.failure {
            write!(f, "FAILED ({failure}), ")?;
        }
        write!(
            f,
            "{:.1} s, {:.1} s of CPU, {:.0} MiB, binlog {:.0} MiB; {}",
            self.wall_seconds,
            self.cpu_seconds,
            self.peak_memory_mib,
            self.binlog_mib,
            self.application
        )
    }
}

impl Report {
    /// Writes copy.json and copy.md.
    pub fn write(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder)?;
        std::fs::write(
            folder.join("copy.json"),
            serde_json::to_string_pretty(self)? + "\n",
        )?;
        std::fs::write(folder.join("copy.md"), self.markdown()?)?;
        Ok(())
    }

    fn markdown(&self) -> Result<String> {
        let mut out = String::new();
        let machine = &self.machine;
        writeln!(
            out,
            "{}; {} × {}, {:.0} GiB; {}; {}.\n",
            machine.date,
            machine.cores,
            machine.processor,
            machine.memory_gib,
            machine.server,
            machine.settings
        )?;
        let mut groups: Vec<(&str, u32)> = Vec::new();
        for run in &self.runs {
            let group = (run.shape.as_str(), run.load_rate);
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
        for group in groups {
            self.group(&mut out, group)?;
        }
        Ok(out)
    }

    /// One table: the runs with this shape and rate.
    fn group(&self, out: &mut String, (shape, rate): (&str, u32)) -> Result<()> {
        let beside = match rate {
            0 => "idle (a probe only)".to_string(),
            rate => format!("{rate} write transactions a second"),
        };
        writeln!(out, "### {shape}, {beside}\n")?;
        writeln!(
            out,
            "| | wall s | × {BASELINE} | CPU, % of wall | peak MiB | binlog MiB | rate kept | p50 ms | p99 ms | max ms |"
        )?;
        writeln!(out, "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|")?;
        let runs = || {
            self.runs
                .iter()
                .filter(|run| run.shape == shape && run.load_rate == rate)
        };
        let baseline = runs()
            .find(|run| run.tool == BASELINE)
            .map(|run| run.wall_seconds);
        for run in runs() {
            let failed = if run.failure.is_some() {
                " (failed)"
            } else {
                ""
            };
            let ratio = match baseline {
                Some(baseline) if run.tool != "nothing" => {
                    format!("{:.2}", run.wall_seconds / baseline)
                }
                _ => String::new(),
            };
            let (cpu, memory) = if run.peak_memory_mib > 0.0 {
                (
                    format!("{:.0}", run.cpu_seconds / run.wall_seconds * 100.0),
                    format!("{:.0}", run.peak_memory_mib),
                )
            } else {
                (String::new(), String::new())
            };
            let seen = &run.application;
            writeln!(
                out,
                "| {}{failed} | {:.1} | {ratio} | {cpu} | {memory} | {:.0} | {:.0} % | {:.1} | {:.1} | {:.0} |",
                run.tool,
                run.wall_seconds,
                run.binlog_mib,
                seen.rate_kept * 100.0,
                seen.p50_ms,
                seen.p99_ms,
                seen.max_ms
            )?;
        }
        writeln!(out)?;
        Ok(())
    }
}
