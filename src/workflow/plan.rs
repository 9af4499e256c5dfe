//! What a migration would do, and what stands against it. Nothing is left on the server: the ALTER is
//! tried on an empty scratch table that is dropped at once, rows in a temporary one.

use std::sync::Arc;

use serde::Serialize;

use super::behind;
use super::index_timing;
use super::run::Run;
use super::{native, rehearse};
use crate::alter::{AlterStatement, NativeAnswer, NativeWay};
use crate::binlog;
use crate::copy::choose_mode;
use crate::cutover;
use crate::failure::{ErrorClass, Result};
use crate::lint::{self, Linter, ServerTable};
use crate::mysql::Purpose;
use crate::observe::forecast::KeptForecast;
use crate::observe::text;
use crate::preflight::{self, Severity};
use crate::replay::uniqueness::Uniqueness;
use crate::settings::VerifySetting;
use crate::survey::{self, ReplicaNow, Retention, RowsTried, Space, Verdict};
use crate::verify::Comparison;

/// The answer of `changeling plan`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Plan {
    /// `schema.table`.
    pub table: String,
    /// The ALTER.
    pub alter: String,
    /// Flavour and version of the server.
    pub server: String,
    /// Whether a migration would be refused.
    pub refused: bool,
    /// Everything found.
    pub findings: Vec<PlanFinding>,
    /// How the server itself would do it; `None` where it could not be asked.
    pub server_way: Option<ServerWay>,
    /// How this program would do it.
    pub our_way: OurWay,
    /// The index that identifies rows in both tables.
    pub migration_key: Option<String>,
    /// How rows would be copied, and why.
    pub copy: Option<Choice>,
    /// How changes would be replayed, and why.
    pub replay: Option<Choice>,
    /// When secondary indexes would be built, and why.
    pub indexes: Option<Choice>,
    /// When original and ghost would be compared, and why.
    pub verification: Option<Choice>,
    /// Rows, by the server's estimate.
    pub rows: u64,
    /// Bytes of data and indexes, by the server's estimate.
    pub bytes: u64,
    /// Room on disk.
    pub space: Option<Space>,
    /// How long binlogs are kept.
    pub retention: Option<Retention>,
    /// What the kept forecast of a rehearsal of this statement says.
    pub forecast: Option<KeptForecast>,
    /// Whether binlogs are kept for long enough.
    pub retention_verdict: Option<String>,
    /// Replicas attached.
    pub replicas: Vec<ReplicaNow>,
    /// Why the replicas could not all be told.
    pub replicas_trouble: Option<String>,
    /// Sessions that hold the table now and would stand in the way of the swap.
    pub blockers: Vec<String>,
    /// Those of them that `--kill-blockers=all` would end.
    pub would_be_killed: Vec<String>,
    /// Whether duplicates stand against new unique keys.
    pub duplicates: Option<Verdict>,
    /// Whether a sample of rows fits.
    pub sample: Option<Verdict>,
    /// What the change means to the deployed application, with the safe order of steps.
    pub application: Vec<Effect>,
    /// How to go back.
    pub way_back: Vec<String>,
}

/// One finding.
#[derive(Clone, Debug, Serialize)]
pub struct PlanFinding {
    /// `refuse`, `warn` or `note`.
    pub severity: &'static str,
    /// A stable name.
    pub code: &'static str,
    /// What was found.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

/// The server's own way.
#[derive(Clone, Debug, Serialize)]
pub struct ServerWay {
    /// `INSTANT`, `INPLACE, metadata only`, …
    pub way: String,
    /// What that means on this server.
    pub here: &'static str,
    /// What that means on replicas.
    pub on_replicas: String,
    /// The cheaper ways that the server refused, with its words.
    pub refused: Vec<Refusal>,
    /// INSTANT changes of columns that the table has had since its last rebuild.
    pub row_versions_used: Option<u64>,
    /// … and can still take.
    pub row_versions_left: Option<u64>,
}

/// A way that the server refused.
#[derive(Clone, Debug, Serialize)]
pub struct Refusal {
    /// What it was asked for.
    pub asked: &'static str,
    /// What it answered.
    pub answer: String,
}

/// Which way this program takes.
#[derive(Clone, Debug, Default, Serialize)]
pub struct OurWay {
    /// `native`, `ghost` or `refused`.
    pub way: &'static str,
    /// Why.
    pub why: String,
}

/// Something chosen, and why.
#[derive(Clone, Debug, Serialize)]
pub struct Choice {
    /// What.
    pub mode: String,
    /// Why.
    pub why: String,
}

/// Something that the deployed application feels.
#[derive(Clone, Debug, Serialize)]
pub struct Effect {
    /// The rule of `changeling lint`.
    pub rule: &'static str,
    /// What happens.
    pub what: String,
    /// Why that matters.
    pub why: &'static str,
    /// The safe sequence, step by step, with ready commands.
    pub instead: Vec<String>,
}

/// Looks at everything.
///
/// # Errors
/// What the server answered to questions that it should have answered; findings are no errors.
pub async fn plan(run: &Run) -> Result<Plan> {
    let alter = AlterStatement::parse(&run.settings.alter)?;
    let mut session = run.server.session(Purpose::Ddl).await?;
    let report = preflight::inspect(
        &mut session,
        &run.names,
        Some(&alter),
        &preflight::Requirements {
            replicas_given: !run.settings.throttle.replicas.is_empty(),
            ..preflight::Requirements::default()
        },
    )
    .await?;
    session.close().await;
    let facts = run.server.facts();
    let native = report.native.as_ref();
    let chosen = native::choose(run, &alter, native);
    let native_stands = chosen.is_ok() && report.findings.concern_ghost_only();
    let refused = report.findings.refused() && !native_stands;
    let mut plan = Plan {
        table: run.names.original.to_string(),
        alter: alter.clauses_sql(),
        server: facts.to_string(),
        refused,
        findings: findings(&report),
        server_way: native.map(|answer| server_way(run, answer, report.replicas)),
        our_way: match chosen {
            _ if refused => OurWay {
                way: "refused",
                why: "see the findings".to_string(),
            },
            Ok(way) => OurWay {
                way: "native",
                why: format!(
                    "{way}: within the lock budget of {}, with retries, then by the ghost table",
                    humantime::format_duration(run.settings.cutover.budget)
                ),
            },
            Err(why) => OurWay { way: "ghost", why },
        },
        ..Plan::default()
    };
    plan.way_back = way_back(run, plan.our_way.way, &alter);
    match survey::replicas(&run.server).await {
        Ok(replicas) => plan.replicas = replicas,
        Err(trouble) => plan.replicas_trouble = Some(trouble),
    }
    if let Some(original) = &report.original {
        plan.rows = original.rows_estimate;
        let (timing, why) = index_timing::decide(
            run.settings.defer_indexes,
            original,
            &alter,
            report.replicas,
            run.settings.tunables.lag_max,
        );
        plan.indexes = Some(Choice {
            mode: index_timing::words(timing).to_string(),
            why,
        });
        plan.bytes = original.bytes_estimate;
        plan.application = effects(run, &original.create_statement, &alter);
        ask_around(run, &mut plan, original).await?;
    }
    if let Some(key) = &report.key {
        plan.migration_key = Some(key.source_index.clone());
        plan.copy = Some(match choose_mode(facts, key, run.settings.copy) {
            Ok((mode, why)) => Choice {
                mode: mode.to_string(),
                why,
            },
            Err(refusal) => Choice {
                mode: "refused".to_string(),
                why: refusal.to_string(),
            },
        });
    }
    if let Some(map) = &report.map {
        let (mode, why) = match binlog::image_pairs_cleared(map) {
            Ok(()) => (
                "image",
                "every shared column goes over exactly from the binlog".to_string(),
            ),
            Err(why) => ("reread", why),
        };
        plan.replay = Some(Choice {
            mode: mode.to_string(),
            why,
        });
    }
    if let (Some(original), Some(answer), Some(map), Some(key)) =
        (&report.original, native, &report.map, &report.key)
    {
        let what = RowsTried {
            original,
            target: &answer.definition,
            map,
            key,
        };
        plan.verification = Some(verification(run, &what));
        plan.duplicates = Some(survey::duplicates(&run.server, &what).await?);
        plan.sample = Some(survey::try_rows(&run.server, &run.names, &alter, &what).await?);
    }
    Ok(plan)
}

/// When rows would be compared.
fn verification(run: &Run, rows: &RowsTried<'_>) -> Choice {
    let uniqueness = Uniqueness::of(rows.original, rows.target, rows.map, rows.key);
    let key = Arc::new(rows.key.clone());
    let facts = run.server.facts();
    let comparison = Comparison::new(facts, rows.original, rows.target, rows.map, key);
    let (mode, why) = match run.settings.verify {
        VerifySetting::After => (
            "after",
            "all rows are compared between the copy and the swap",
        ),
        VerifySetting::During => {
            match behind::hindrance(&run.settings.extent, uniqueness, &comparison) {
                None => ("during", "rows are compared behind the copy, as asked for"),
                Some(why) => ("after", why),
            }
        }
        VerifySetting::Off if uniqueness == Uniqueness::Stricter => (
            "after",
            "the new table has a unique key that the original does not imply, so a row could go for another",
        ),
        VerifySetting::Off => (
            "off",
            "as asked for; only chunks in which the copy meets a conflict are compared",
        ),
    };
    Choice {
        mode: mode.to_string(),
        why: why.to_string(),
    }
}

/// Space, binlogs, and who holds the table.
async fn ask_around(
    run: &Run,
    plan: &mut Plan,
    original: &crate::schema::TableDefinition,
) -> Result<()> {
    let mut session = run.server.session(Purpose::Monitor).await?;
    plan.space = Some(survey::space(&mut session, original).await?);
    let retention = survey::retention(&mut session).await?;
    session.close().await;
    plan.forecast = rehearse::kept(run, &plan.alter);
    plan.retention_verdict = Some(retention_verdict(&retention, plan));
    plan.retention = Some(retention);
    let settings = &run.settings.cutover;
    let own = run.server.own_connections();
    let holders = cutover::who_holds(&run.server, &run.names.original, settings.budget, &own).await;
    let holders = match holders {
        // The grant that is missing is among the findings.
        Err(failure) if failure.class() == Some(ErrorClass::Refused) => Vec::new(),
        holders => holders?,
    };
    plan.blockers = holders.iter().map(ToString::to_string).collect();
    plan.would_be_killed = holders
        .iter()
        .filter(|one| cutover::may_kill(one, cutover::KillPolicy::All, settings.kill_rows_max))
        .map(ToString::to_string)
        .collect();
    Ok(())
}

fn findings(report: &preflight::Report) -> Vec<PlanFinding> {
    let one = |finding: &preflight::Finding| PlanFinding {
        severity: match finding.severity {
            Severity::Refuse => "refuse",
            Severity::Warn => "warn",
            Severity::Note => "note",
        },
        code: finding.code,
        what: finding.what.clone(),
        remedy: finding.remedy.clone(),
    };
    report.findings.sorted().into_iter().map(one).collect()
}

fn server_way(run: &Run, answer: &NativeAnswer, replicas: usize) -> ServerWay {
    let here = match answer.way {
        NativeWay::Instant => "the catalogue is changed, which takes a moment",
        NativeWay::Metadata => "nothing is built; the catalogue is changed, which takes a moment",
        NativeWay::IndexBuild => {
            "indexes are built while writers go on; it cannot be paused, and ends with an exclusive lock"
        }
        NativeWay::InplaceRebuild => {
            "the whole table is built anew while writers go on; it cannot be paused, and ends with an \
             exclusive lock"
        }
        NativeWay::InplaceShared => "writers wait until it is done",
        NativeWay::Copy => "the table is copied, and writers wait until it is done",
    };
    let on_replicas = match (replicas, answer.way) {
        (0, _) => "no replica is attached".to_string(),
        (_, NativeWay::Instant | NativeWay::Metadata) => {
            "replicas do it in a moment too, once nobody holds the table there".to_string()
        }
        (count, _) => format!(
            "each of {count} replica(s) begins when the primary is done, and falls behind by as long as it \
             takes"
        ),
    };
    ServerWay {
        way: answer.way.to_string(),
        here,
        on_replicas,
        refused: answer
            .refused
            .iter()
            .map(|(asked, answer)| Refusal {
                asked,
                answer: answer.clone(),
            })
            .collect(),
        row_versions_used: answer.row_versions,
        row_versions_left: answer.row_versions_left(run.server.facts()),
    }
}

/// What retention of the binlog means for the run: it reads along, so only an interruption needs old files.
fn retention_verdict(retention: &Retention, plan: &Plan) -> String {
    let Some(seconds) = retention.seconds else {
        return "binlogs are kept until somebody purges them: an interrupted run can go on as long as they \
                are there"
            .to_string();
    };
    let kept = text::span(seconds as f64);
    let limit = retention.bytes.map_or_else(String::new, |bytes| {
        format!(", {} in all at most", text::bytes(bytes))
    });
    let known = match &plan.forecast {
        Some(forecast) if forecast.p90_s > seconds as f64 => {
            "; that is less than the forecast P90 of the whole run"
        }
        Some(_) => "; the forecast P90 of the whole run is less",
        None => "; how long the run takes, a rehearsal tells",
    };
    format!("binlogs are kept for {kept}{limit}: an interrupted run can go on for that long{known}")
}

/// What the change means to the application that is deployed while it happens: by the rules of `lint`.
fn effects(run: &Run, create: &str, alter: &AlterStatement) -> Vec<Effect> {
    /// These speak of how the server would do it, which is told elsewhere.
    const ABOUT_HOW: [&str; 4] = [
        "table-rebuild",
        "blocking-alter",
        "add-index",
        "change-type",
    ];
    let table = &run.names.original;
    let mut linter = Linter::new(ABOUT_HOW.map(String::from));
    linter.learn(ServerTable {
        schema: Some(table.schema.clone()),
        name: table.table.clone(),
        create: create.to_string(),
        size: String::new(),
    });
    let whole = AlterStatement {
        table: Some((Some(table.schema.clone()), table.table.clone())),
        ..alter.clone()
    };
    linter.read("plan", &whole.to_string());
    let report: lint::Report = linter.finish();
    report
        .findings
        .into_iter()
        .map(|finding| Effect {
            rule: finding.rule.id,
            what: finding.message,
            why: finding.rule.why,
            instead: finding.instead,
        })
        .collect()
}

fn way_back(run: &Run, way: &str, alter: &AlterStatement) -> Vec<String> {
    let names = &run.names;
    if way == "native" {
        return vec![format!(
            "no old table is left by the server's own ALTER: the statement in reverse goes back; with \
             --native=never the old table stays as {}",
            names.old
        )];
    }
    let quoted = |table: &crate::names::TableName| crate::mysql::quote::table(table);
    let mut steps = vec![format!(
        "until the swap: nothing to go back from; `changeling ctl --database {} --table {} drop` removes what \
         was made",
        names.original.schema, names.original.table
    )];
    steps.push(format!(
        "after the swap the old table stays as {}; at once, losing what was written since: RENAME TABLE {} TO \
         {}, {} TO {}",
        names.old,
        quoted(&names.original),
        quoted(&names.ghost),
        quoted(&names.old),
        quoted(&names.original)
    ));
    let moves = alter.column_moves();
    let mut reverse: Vec<String> = moves
        .renamed
        .iter()
        .filter(|(old, new)| !old.eq_ignore_ascii_case(new))
        .map(|(old, new)| format!("`{new}` becomes `{old}` again"))
        .collect();
    reverse.extend(
        moves
            .dropped
            .iter()
            .map(|name| format!("`{name}` comes back; its values are in the old table only")),
    );
    reverse.extend(moves.added.iter().map(|name| format!("`{name}` goes")));
    steps.push(format!(
        "without losing writes, as long as the old table and the binlog since the swap are there: `changeling \
         revert {}`; --keep-revertible makes it a matter of seconds{}",
        names.original,
        if reverse.is_empty() {
            String::new()
        } else {
            format!(" ({})", reverse.join("; "))
        }
    ));
    steps
}
