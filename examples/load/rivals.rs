//! The tools that the bench measures, and how each is told to rebuild a table.

use std::path::{Path, PathBuf};

use crate::server::Target;
use crate::shapes::Shape;

/// How a table is rebuilt.
pub enum Way {
    /// Not at all: for as many seconds, to see the load alone.
    Nothing(u64),
    /// By this statement.
    Statement(String),
    /// By this program.
    Program {
        program: PathBuf,
        arguments: Vec<String>,
    },
}

/// A tool with its settings.
pub struct Rival {
    pub name: &'static str,
    pub way: Way,
}

impl Rival {
    /// Whether it tells something new about this table beside this load. What is not verified is there
    /// for the ratio to tools that do not verify, the server's INPLACE for the sake of completeness.
    pub fn is_worth(&self, shape: Shape, rate: u32) -> bool {
        match self.name {
            "native INPLACE" => rate == 0,
            "changeling, deferred indexes, not verified" => shape == Shape::OneIndex && rate == 0,
            _ => true,
        }
    }
}

/// Of every tool: rebuild the table, its definition stays. What is compared is the work, and the table can
/// be used again.
const ALTER: &str = "ENGINE=InnoDB";

/// All that this machine has, in the order of the report.
pub fn rivals(target: &Target, database: &str, changeling: &Path) -> Vec<Rival> {
    let mut rivals = vec![
        Rival {
            name: "nothing",
            way: Way::Nothing(5),
        },
        native("native COPY", "COPY"),
        native("native INPLACE", "INPLACE"),
    ];
    let ours: [(&str, &[&str]); 3] = [
        ("changeling", &["--defer-indexes=off"]),
        ("changeling, deferred indexes", &["--defer-indexes=on"]),
        (
            "changeling, deferred indexes, not verified",
            &["--defer-indexes=on", "--verify=off"],
        ),
    ];
    for (name, options) in ours {
        let mut arguments = words(&["migrate", "--table=t"]);
        arguments.extend(connection(target));
        arguments.push(format!("--database={database}"));
        arguments.push(format!("--alter={ALTER}"));
        arguments.extend(words(options));
        let program = changeling.to_path_buf();
        rivals.push(Rival {
            name,
            way: Way::Program { program, arguments },
        });
    }
    rivals.extend(others(target, database));
    rivals
}

fn native(name: &'static str, algorithm: &str) -> Rival {
    Rival {
        name,
        way: Way::Statement(format!("ALTER TABLE t {ALTER}, ALGORITHM={algorithm}")),
    }
}

/// The tools of others that are on PATH.
fn others(target: &Target, database: &str) -> Vec<Rival> {
    let gh_ost = |options: &[&str]| -> Vec<String> {
        let mut arguments = words(&[
            "--allow-on-master",
            "--execute",
            "--initially-drop-ghost-table",
            "--initially-drop-old-table",
            "--ok-to-drop-table",
            "--table=t",
        ]);
        arguments.extend(connection(target));
        arguments.push(format!("--database={database}"));
        arguments.push(format!("--alter={ALTER}"));
        arguments.extend(words(options));
        arguments
    };
    let spirit = vec![
        "migrate".to_string(),
        format!("--host={}:{}", target.host, target.port),
        format!("--username={}", target.user),
        format!("--password={}", target.password),
        format!("--database={database}"),
        "--table=t".to_string(),
        format!("--alter={ALTER}"),
    ];
    let percona = vec![
        "--execute".to_string(),
        "--no-check-replication-filters".to_string(),
        "--recursion-method=none".to_string(),
        // Version 3.2.1 cannot read the EXPLAIN that MySQL 9 gives, takes the table for empty, and copies it by
        // one statement. (A server that does not know the variable costs a warning.)
        "--set-vars=explain_format=TRADITIONAL".to_string(),
        format!("--alter={ALTER}"),
        format!(
            "h={},P={},u={},p={},D={database},t=t",
            target.host, target.port, target.user, target.password
        ),
    ];
    [
        ("gh-ost", "gh-ost", gh_ost(&[])),
        (
            "gh-ost, tuned",
            "gh-ost",
            gh_ost(&["--chunk-size=5000", "--dml-batch-size=100"]),
        ),
        ("Spirit", "spirit", spirit),
        (
            "pt-online-schema-change",
            "pt-online-schema-change",
            percona,
        ),
    ]
    .into_iter()
    .filter_map(|(name, program, arguments)| {
        let program = on_path(program)?;
        Some(Rival {
            name,
            way: Way::Program { program, arguments },
        })
    })
    .collect()
}

/// What changeling and gh-ost both understand.
fn connection(target: &Target) -> [String; 4] {
    [
        format!("--host={}", target.host),
        format!("--port={}", target.port),
        format!("--user={}", target.user),
        format!("--password={}", target.password),
    ]
}

/// Arguments of a migration of table `t` that is asked through a socket.
pub fn migration(
    target: &Target,
    database: &str,
    socket: &Path,
    options: &[String],
) -> Vec<String> {
    let own = [
        format!("--database={database}"),
        "--table=t".to_string(),
        format!("--alter={ALTER}"),
        format!("--control-socket={}", socket.display()),
    ];
    let mut arguments = vec!["migrate".to_string()];
    arguments.extend(connection(target));
    arguments.extend(own);
    arguments.extend_from_slice(options);
    arguments
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}
