//! `kill -9` of the program at random moments of its whole life, with writers on the table: the table stays
//! whole and usable, the same command again goes on, and the end is exact.
//!
//! Half of the deaths come at a random time; the others a moment after a phase has begun, each phase in its
//! turn, since the index build, the comparison and the swap are short beside the copy.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;

use crate::model::cases::{ALTERS, Case};
use crate::model::run::Field;
use crate::support::{Live, TestServer, eventually, is_wanted, server, setting};

/// The longest life of a run before it is killed. A whole run takes about as long as this.
const LIFE_MAX: Duration = Duration::from_millis(2500);
/// How long a run lives on in the phase that it is to die in.
const IN_PHASE_MAX: Duration = Duration::from_millis(300);
/// ALTERs that a run is killed in, in turn.
const IN: [&str; 4] = ["add_column", "rename", "drop_column", "widen"];
/// Phases to die in, in turn.
const PHASES: [&str; 6] = ["cut-over", "indexes", "verify", "finish", "prepare", "copy"];
/// So many kills must have met each of the phases.
const KILLS_FOR_ALL_PHASES: u32 = 100;

/// Kills as many runs as asked for; a table that is finished before is compared, and another one taken.
async fn kill_runs(server: &'static TestServer) {
    let kills: u32 = setting("CHANGELING_KILLS").unwrap_or(6);
    let first: u64 = setting("CHANGELING_SEED").unwrap_or(1);
    let mut rng = Rng::with_seed(first);
    let mut deaths = Deaths::default();
    let mut seed = first;
    while deaths.killed < kills {
        let name = IN[(seed % IN.len() as u64) as usize];
        let number = ALTERS.iter().position(|alter| alter.name == name);
        let mut case = Case::new(server.flavour, seed, number.expect("there is one"));
        // Small chunks make the run long enough; every phase is there.
        for option in ["--chunk-size=", "--defer-indexes=", "--verify="] {
            case.options.retain(|given| !given.starts_with(option));
        }
        let verify = ["--verify=after", "--verify=during"][(seed / 2 % 2) as usize];
        case.options
            .extend(["--chunk-size=20", "--defer-indexes=on", verify].map(String::from));
        println!("seed {seed}, {}", case.name());
        let field = Field::start(server, case).await;
        kill_until_altered(&field, kills, &mut deaths, &mut rng).await;
        finish(field).await;
        seed += 1;
    }
    println!("killed {}: {:?}", deaths.killed, deaths.in_phase);
    if kills >= KILLS_FOR_ALL_PHASES {
        for phase in PHASES {
            assert!(deaths.in_phase.contains_key(phase), "none died in {phase}");
        }
    }
}

/// Who died, and in which phase.
#[derive(Default)]
struct Deaths {
    killed: u32,
    in_phase: BTreeMap<String, u32>,
}

/// Starts and kills runs until there were `kills` in all, or the table is altered.
async fn kill_until_altered(field: &Field, kills: u32, deaths: &mut Deaths, rng: &mut Rng) {
    while deaths.killed < kills && !field.is_altered().await {
        let mut live = field.program().spawn();
        let phase = PHASES[deaths.killed as usize / 2 % PHASES.len()];
        if deaths.killed.is_multiple_of(2) {
            tokio::time::sleep(LIFE_MAX.mul_f64(rng.f64())).await;
        } else {
            reach(&mut live, phase).await;
            tokio::time::sleep(IN_PHASE_MAX.mul_f64(rng.f64())).await;
        }
        if !live.is_running() {
            live.wait().await.expect_code(0);
            break;
        }
        let run = live.kill().await;
        let died_in = last_phase(&run.stderr);
        println!("   killed in {died_in}; {}", last_line(&run.stderr));
        *deaths.in_phase.entry(died_in).or_default() += 1;
        deaths.killed += 1;
        // The table is usable.
        field.commits_pass().await;
    }
}

/// Waits until a run has come to the phase, or has ended.
async fn reach(live: &mut Live, phase: &str) {
    let text = format!("entering phase `{phase}`");
    eventually(Duration::from_secs(120), &text, async || {
        (!live.is_running() || live.stderr().contains(&text)).then_some(())
    })
    .await;
}

fn last_phase(stderr: &str) -> String {
    let last = stderr.rsplit("entering phase `").next();
    let name = last
        .and_then(|rest| rest.split_once('`'))
        .map(|(name, _)| name);
    match name {
        Some(name) if stderr.contains("entering phase `") => name.to_string(),
        _ => "preflight".to_string(),
    }
}

/// Runs to the end what has not come to it, and compares. A run that died after its swap is started again
/// too: it has to clean up.
async fn finish(field: Field) {
    let is_ended = async || {
        field.is_altered().await && !field.db.tables().await.iter().any(|name| name == "_t_ghk")
    };
    if !is_ended().await {
        let run = field.program().run().await;
        // The swap of a killed run can have been under way in the server, and come first.
        if run.code != Some(0) && !is_ended().await {
            run.expect_code(0);
        }
    }
    let mut tables = field.db.tables().await;
    tables.sort();
    assert_eq!(tables, ["_changeling_history", "_t_del", "ledger", "t"]);
    field.stop().await.assert_exact().await;
}

fn last_line(text: &str) -> &str {
    text.trim_end().lines().next_back().unwrap_or("")
}

#[tokio::test]
async fn killed_runs_go_on_on_mysql() {
    if is_wanted("mysql") {
        kill_runs(server("mysql-primary")).await;
    }
}

#[tokio::test]
async fn killed_runs_go_on_on_mariadb() {
    if is_wanted("mariadb") {
        kill_runs(server("mariadb-primary")).await;
    }
}
