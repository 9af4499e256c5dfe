//! `kill -9` of the program at random moments, with writers on the table: the table stays whole and
//! usable, the same command again goes on, and the end is exact.

use std::time::Duration;

use fastrand::Rng;

use crate::model::cases::{ALTERS, Case};
use crate::model::run::Field;
use crate::support::{TestServer, is_wanted, server, setting};

/// The longest life of a run before it is killed. A whole run takes about as long as this.
const LIFE_MAX: Duration = Duration::from_millis(2500);
/// ALTERs that a run is killed in, in turn.
const IN: [&str; 3] = ["add_column", "rename", "drop_column"];

/// Kills as many runs as asked for; a table that is finished before is compared, and another one taken.
async fn kill_runs(server: &'static TestServer) {
    let kills: u32 = setting("CHANGELING_KILLS").unwrap_or(4);
    let first: u64 = setting("CHANGELING_SEED").unwrap_or(1);
    let mut rng = Rng::with_seed(first);
    let (mut killed, mut seed) = (0, first);
    while killed < kills {
        let name = IN[(seed % 3) as usize];
        let number = ALTERS.iter().position(|alter| alter.name == name);
        let mut case = Case::new(server.flavour, seed, number.expect("there is one"));
        // Small chunks make the run long enough.
        case.options
            .retain(|option| !option.starts_with("--chunk-size"));
        case.options.push("--chunk-size=20".to_string());
        println!("seed {seed}, {}", case.name());
        let field = Field::start(server, case).await;
        killed += kill_until_altered(&field, kills - killed, &mut rng).await;
        finish(field).await;
        seed += 1;
    }
}

/// Starts and kills up to `kills` runs; returns how many were killed before the table was altered.
async fn kill_until_altered(field: &Field, kills: u32, rng: &mut Rng) -> u32 {
    let mut killed = 0;
    while killed < kills && !field.is_altered().await {
        let mut live = field.program().spawn();
        let life = LIFE_MAX.mul_f64(rng.f64());
        tokio::time::sleep(life).await;
        if !live.is_running() {
            live.wait().await.expect_code(0);
            break;
        }
        let run = live.kill().await;
        println!(
            "   killed after {} ms; {}",
            life.as_millis(),
            last_line(&run.stderr)
        );
        killed += 1;
        // The table is usable.
        field.commits_pass().await;
    }
    killed
}

/// Runs to the end what has not come to it, and compares.
async fn finish(field: Field) {
    if !field.is_altered().await {
        let run = field.program().run().await;
        // The swap of a killed run can have been under way in the server, and come first.
        if run.code != Some(0) && !field.is_altered().await {
            run.expect_code(0);
        }
    }
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
