//! Migrations by gh-ost's command line while the table is written to, one file of `cases/` each.
//!
//! A file begins with lines of comment: `-- arg: ` an argument, `-- on: ` the only flavour it is for,
//! `-- fails: ` words of the failure that is expected, `-- compare: ` the columns that are compared, of
//! the old table and of the new one with a slash between them, `-- holds: ` words of the new definition,
//! `-- always` for those few that every test run takes. Then the statements that make the table `t`, and
//! after `-- during` those that run again and again while the table is migrated.
//!
//! `CHANGELING_GH_OST_CASES=all`, or a part of names, runs the others too (`scripts/torture --gh-ost`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt;

use super::gh_ost;
use crate::support::{TestDb, TestServer, both};

/// So many at once on one server.
const AT_ONCE: usize = 4;

#[derive(Debug, Default)]
struct Case {
    name: String,
    arguments: Vec<String>,
    flavour: Option<String>,
    fails: Option<String>,
    compare: Option<(String, String)>,
    holds: Option<String>,
    always: bool,
    setup: Vec<String>,
    during: Vec<String>,
}

impl Case {
    fn read(name: &str, text: &str) -> Case {
        let mut case = Case {
            name: name.to_string(),
            ..Case::default()
        };
        let mut body = String::new();
        for line in text.lines() {
            let Some(comment) = line.strip_prefix("-- ") else {
                body.push_str(line);
                body.push('\n');
                continue;
            };
            match comment.split_once(": ") {
                Some(("arg", words)) => case.arguments.push(words.to_string()),
                Some(("on", words)) => case.flavour = Some(words.to_string()),
                Some(("fails", words)) => case.fails = Some(words.to_string()),
                Some(("holds", words)) => case.holds = Some(words.to_string()),
                Some(("compare", words)) => {
                    let (old, new) = words.split_once(" / ").unwrap_or((words, words));
                    case.compare = Some((old.to_string(), new.to_string()));
                }
                _ if comment == "always" => case.always = true,
                _ if comment == "during" => {
                    case.setup = statements(&std::mem::take(&mut body));
                }
                _ => {}
            }
        }
        match case.setup.is_empty() {
            true => case.setup = statements(&body),
            false => case.during = statements(&body),
        }
        assert!(!case.setup.is_empty(), "{name} makes no table");
        case
    }
}

/// A statement ends with a semicolon at a line's end; what is indented goes on.
fn statements(text: &str) -> Vec<String> {
    text.split(";\n")
        .map(str::trim)
        .filter(|statement| !statement.is_empty())
        .map(String::from)
        .collect()
}

fn cases(server: &TestServer) -> Vec<Case> {
    let wanted = std::env::var("CHANGELING_GH_OST_CASES").unwrap_or_default();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/gh_ost/cases");
    let mut cases: Vec<Case> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            Case::read(&name, &std::fs::read_to_string(&path).unwrap())
        })
        .filter(|case| match wanted.as_str() {
            "" => case.always,
            "all" => true,
            part => case.name.contains(part),
        })
        .filter(|case| {
            let flavour = if server.is_mariadb() {
                "mariadb"
            } else {
                "mysql"
            };
            case.flavour.as_deref().is_none_or(|only| only == flavour)
        })
        .collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(!cases.is_empty(), "there is no case {wanted}");
    cases
}

#[tokio::test]
async fn tables_are_migrated_under_load() {
    both(async |server| {
        let cases = cases(server);
        let count = cases.len();
        let mut runs = futures_util::stream::iter(cases)
            .map(|case| run(server, case))
            .buffer_unordered(AT_ONCE);
        while let Some(name) = runs.next().await {
            println!("{}: {name}", server.name);
        }
        println!("{}: {count} cases", server.name);
    })
    .await;
}

async fn run(server: &'static TestServer, case: Case) -> String {
    let db = TestDb::create(server, "ghcase").await;
    for statement in &case.setup {
        db.sql(statement).await;
    }
    let throttle =
        "--throttle-query=select timestampdiff(second, min(last_update), now()) < 2 from _t_ghc";
    let program = gh_ost(
        server,
        &db,
        &[
            "--alter=engine=innodb",
            "--allow-on-master",
            "--execute",
            "--verbose",
            "--exact-rowcount",
            "--max-lag-millis=60000",
            "--chunk-size=10",
            throttle,
        ],
    )
    .args([format!("--serve-socket-file=/tmp/{}.sock", db.name)])
    .args(&case.arguments);
    if let Some(words) = &case.fails {
        program.run().await.expect_code(1).expect_text(words);
        assert!(!db.tables().await.contains(&"_t_del".to_string()));
        return case.name;
    }
    // The writer stops before the swap: what the old table has then, the new one must have.
    let flag = std::env::temp_dir().join(format!("{}.postpone", db.name));
    let mut live = program
        .args([format!("--postpone-cut-over-flag-file={}", flag.display())])
        .spawn();
    let over = Arc::new(AtomicBool::new(false));
    let writer = {
        let (client, over) = (db.connect().await, over.clone());
        let during = case.during.clone();
        tokio::spawn(async move {
            while !over.load(Ordering::Relaxed) {
                for statement in &during {
                    client.sql(statement).await;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        })
    };
    live.printed("Row copy complete").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    over.store(true, Ordering::Relaxed);
    writer.await.unwrap();
    std::fs::remove_file(&flag).unwrap();
    println!("{}", case.name);
    live.wait().await.expect_code(0).expect_text("# Done");
    if let Some(words) = &case.holds {
        let (_, definition): (String, String) = db.one("SHOW CREATE TABLE t").await;
        assert!(definition.contains(words), "{}: {definition}", case.name);
    }
    same_content(&db, &case).await;
    case.name
}

/// Both tables have the same rows.
async fn same_content(db: &TestDb, case: &Case) {
    let (old, new) = match &case.compare {
        Some((old, new)) => (old.clone(), new.clone()),
        None => ("*".to_string(), "*".to_string()),
    };
    let rows = async |columns: &str, table: &str| -> Vec<String> {
        let rows: Vec<mysql_async::Row> = db.rows(format!("SELECT {columns} FROM {table}")).await;
        let mut rows: Vec<String> = rows
            .into_iter()
            .map(|row| {
                let values = row.unwrap();
                let texts: Vec<String> = values.iter().map(|value| value.as_sql(true)).collect();
                texts.join(",")
            })
            .collect();
        rows.sort();
        rows
    };
    let (before, after) = (rows(&old, "_t_del").await, rows(&new, "t").await);
    assert_eq!(before, after, "{}: old and new table", case.name);
}
