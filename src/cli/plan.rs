//! `changeling plan`.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use tokio_util::sync::CancellationToken;

use super::migrate::MigrateArgs;
use crate::failure::{Failure, FailureKind, Result};
use crate::observe::text;
use crate::survey::{Space, Verdict};
use crate::workflow::{self, Plan, Run};

/// What to plan: the command line of a migration.
#[derive(Args, Debug, Clone)]
pub struct PlanArgs {
    /// How the plan is written
    #[arg(
        long,
        env = "CHANGELING_FORMAT",
        value_enum,
        default_value_t,
        help_heading = "Plan"
    )]
    format: Format,
    /// The migration that is planned
    #[command(flatten)]
    pub migrate: MigrateArgs,
}

/// How the plan is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

impl PlanArgs {
    /// Looks and prints. Exit code 3 if a migration would be refused.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn run(self) -> Result<ExitCode> {
        let settings = self.migrate.resolve()?;
        let run = Run::connect(settings, CancellationToken::new()).await?;
        let plan = workflow::plan(&run).await?;
        match self.format {
            Format::Text => print_text(&plan),
            Format::Json => println!(
                "{}",
                serde_json::to_string_pretty(&plan)
                    .map_err(|error| Failure::failed(format!("put the plan into JSON: {error}")))?
            ),
        }
        Ok(if plan.refused {
            ExitCode::from(FailureKind::Refused.exit_code())
        } else {
            ExitCode::SUCCESS
        })
    }
}

fn line(name: &str, value: &str) {
    println!("  {name:<14} {value}");
}

fn print_text(plan: &Plan) {
    println!("ALTER TABLE {} {}", plan.table, plan.alter);
    line("server", &plan.server);
    line(
        "table",
        &format!(
            "about {} rows, {}",
            text::grouped(plan.rows),
            text::bytes(plan.bytes)
        ),
    );
    print_ways(plan);
    if let Some(key) = &plan.migration_key {
        line("migration key", key);
    }
    for (name, choice) in [
        ("copy", &plan.copy),
        ("replay", &plan.replay),
        ("indexes", &plan.indexes),
        ("comparison", &plan.verification),
    ] {
        if let Some(choice) = choice {
            line(name, &format!("{}: {}", choice.mode, choice.why));
        }
    }
    print_surroundings(plan);
    for (name, verdict) in [("duplicates", &plan.duplicates), ("sample", &plan.sample)] {
        match verdict {
            Some(Verdict::Fits(words)) => line(name, words),
            Some(Verdict::DoesNotFit(words)) => line(name, &format!("DOES NOT FIT: {words}")),
            Some(Verdict::NotTried(words)) => line(name, &format!("not tried: {words}")),
            None => {}
        }
    }
    for effect in &plan.application {
        line("application", &format!("{} [{}]", effect.what, effect.rule));
        line("", &format!("since {}", effect.why));
        for (number, step) in effect.instead.iter().enumerate() {
            line("", &format!("{}. {step}", number + 1));
        }
    }
    for step in &plan.way_back {
        line("way back", step);
    }
    for finding in &plan.findings {
        println!("{}: {} [{}]", finding.severity, finding.what, finding.code);
        println!("  hint: {}", finding.remedy);
    }
    println!("{}", verdict(plan));
}

fn verdict(plan: &Plan) -> &'static str {
    let misfit = |verdict: &Option<Verdict>| matches!(verdict, Some(Verdict::DoesNotFit(_)));
    if plan.refused {
        "a migration would be refused"
    } else if misfit(&plan.sample) || misfit(&plan.duplicates) {
        "a migration would stop at rows that do not fit"
    } else {
        "nothing stands against a migration"
    }
}

fn print_ways(plan: &Plan) {
    if let Some(way) = &plan.server_way {
        line("server's way", &format!("{}: {}", way.way, way.here));
        line("", &way.on_replicas);
        for refusal in &way.refused {
            line("", &format!("not {}: {}", refusal.asked, refusal.answer));
        }
        if let (Some(used), Some(left)) = (way.row_versions_used, way.row_versions_left) {
            line(
                "",
                &format!("row versions for INSTANT: {used} used, {left} left"),
            );
        }
    }
    line(
        "our way",
        &format!("{}: {}", plan.our_way.way, plan.our_way.why),
    );
}

fn print_surroundings(plan: &Plan) {
    match (&plan.replicas_trouble, plan.replicas.is_empty()) {
        (Some(trouble), _) => line("replicas", &format!("not known: {trouble}")),
        (None, true) => line("replicas", "none is attached"),
        (None, false) => {
            for replica in &plan.replicas {
                let lag = match (replica.lag_s, &replica.trouble) {
                    (Some(seconds), _) => format!("{} behind", text::span(seconds as f64)),
                    (None, trouble) => format!(
                        "lag not known: {}",
                        trouble.as_deref().unwrap_or("it does not say")
                    ),
                };
                line("replicas", &format!("{}: {lag}", replica.name));
            }
        }
    }
    if let Some(space) = &plan.space {
        line("disk", &space_words(space));
    }
    if let Some(retention) = &plan.retention_verdict {
        line("binlog", retention);
    }
    if let Some(forecast) = &plan.forecast {
        line(
            "forecast",
            &format!(
                "{} (P50) to {} (P90), by the rehearsal of {} UTC",
                text::span(forecast.p50_s),
                text::span(forecast.p90_s),
                text::utc(forecast.made_unix_s)
            ),
        );
    }
    if plan.blockers.is_empty() {
        line("in the way", "nobody holds the table now");
    }
    for blocker in &plan.blockers {
        let killed = if plan.would_be_killed.contains(blocker) {
            "; --kill-blockers=all would end it"
        } else {
            ""
        };
        line("in the way", &format!("{blocker}{killed}"));
    }
}

fn space_words(space: &Space) -> String {
    let free = match (space.free_bytes, space.enough) {
        (Some(free), Some(true)) => format!("{} are free", text::bytes(free)),
        (Some(free), _) => format!("ONLY {} ARE FREE", text::bytes(free)),
        (None, _) => "what is free is not known".to_string(),
    };
    format!(
        "{} at the peak: new table {}, sorting {}, binlog up to {}; {free} ({})",
        text::bytes(space.peak_bytes),
        text::bytes(space.new_table_bytes),
        text::bytes(space.sort_bytes),
        text::bytes(space.binlog_bytes),
        space.free_from
    )
}
