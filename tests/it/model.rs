//! The model test: writers that know the state of their rows, a table altered under them, and afterwards
//! the server's own comparison of the table with what they know, and of its definition with the one that
//! the server's own ALTER gives.
//!
//! `scripts/torture` runs it with many seeds.

pub mod cases;
pub mod families;
pub mod rows;
pub mod run;
pub mod statements;
pub mod writer;

use std::time::{Duration, Instant};

use cases::{ALTERS, Case};
use run::Field;

use crate::support::{TestServer, is_wanted, server, setting};

/// All ALTERs on this server, under as many seeds as asked for, each with the family of key that is its
/// turn. Goes on after a failure, and fails at the end.
fn all_cases(server: &'static TestServer) {
    let first: u64 = setting("CHANGELING_SEED").unwrap_or(1);
    let count: u64 = setting("CHANGELING_SEEDS").unwrap_or(1);
    let minutes: Option<u64> = setting("CHANGELING_MINUTES");
    let flavour = server.flavour.to_string().to_lowercase();
    let only: Option<String> = setting("CHANGELING_CASE");
    let start = Instant::now();
    let (mut passed, mut failed) = (0, Vec::new());
    for (seed, number) in
        (first..first + count).flat_map(|seed| (0..ALTERS.len()).map(move |n| (seed, n)))
    {
        if only
            .as_ref()
            .is_some_and(|only| only != ALTERS[number].name)
        {
            continue;
        }
        if minutes.is_some_and(|minutes| start.elapsed() > Duration::from_secs(60 * minutes)) {
            break;
        }
        let case = Case::new(server.flavour, seed, number);
        let (name, began) = (case.name(), Instant::now());
        match on_own_thread(server, case) {
            Ok(()) => passed += 1,
            Err(_) => failed.push(format!(
                "{name}: scripts/torture --on {flavour} --seed {seed} --case {}",
                ALTERS[number].name
            )),
        }
        let end = if failed.last().is_some_and(|line| line.starts_with(&name)) {
            "FAILED"
        } else {
            "ok"
        };
        println!(
            "seed {seed}, {name}: {end}, {:.1} s",
            began.elapsed().as_secs_f64()
        );
    }
    assert!(
        failed.is_empty(),
        "{} of {} cases failed on {}; each again by:\n{}",
        failed.len(),
        passed + failed.len(),
        server.name,
        failed.join("\n")
    );
    assert!(passed > 0, "no case was run");
}

/// A case with a runtime of its own, so that a panic ends the case only.
fn on_own_thread(server: &'static TestServer, case: Case) -> std::thread::Result<()> {
    std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(one_case(server, case));
    })
    .join()
}

async fn one_case(server: &'static TestServer, case: Case) {
    let field = Field::start(server, case).await;
    if setting::<u8>("CHANGELING_NATIVE") == Some(1) {
        field.alter_natively().await;
    } else {
        field.program().run().await.expect_code(0);
    }
    field.stop().await.assert_exact().await;
}

#[test]
fn table_equals_model_on_mysql() {
    if is_wanted("mysql") {
        all_cases(server("mysql-primary"));
    }
}

#[test]
fn table_equals_model_on_mariadb() {
    if is_wanted("mariadb") {
        all_cases(server("mariadb-primary"));
    }
}

/// The comparison at the end is worth something: it sees a single damaged row.
#[tokio::test]
async fn the_model_sees_damage() {
    let number = ALTERS
        .iter()
        .position(|alter| alter.name == "reorder")
        .expect("there is one");
    let case = Case::new(server("mysql-primary").flavour, 3, number);
    let field = Field::start(server("mysql-primary"), case).await;
    field.alter_natively().await;
    let ended = field.stop().await;
    let before = ended.differences().await;
    assert!(before.is_empty(), "{}", before.join("\n"));
    for (number, damage) in [
        "DELETE FROM t ORDER BY x LIMIT 1",
        "UPDATE t SET bin = x'00' ORDER BY x LIMIT 1",
        "UPDATE t SET e = 'red' WHERE e IS NULL ORDER BY x DESC LIMIT 1",
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(ended.db.sql(damage).await, 1, "{damage}");
        // A lost row is one line, a changed row is two.
        let seen = ended.differences().await.len();
        assert_eq!(seen, 1 + 2 * number, "after {damage}");
    }
}
