//! What README.md and docs/ tell people to type, typed.
//!
//! A fenced block's info string says what becomes of it:
//!
//! | info string | |
//! |---|---|
//! | `sh` | run by bash, in order, within one page; must end with code 0 |
//! | `sh exit=N` | … with code N |
//! | `sh fresh` | … after the tables of the page have been made anew |
//! | `sh background` | started beside what follows, which begins when it is held |
//! | `sh wait` | … after that has ended; by the end of the page it has ended in any case |
//! | `sh parse` | needs what a test cannot have: every `changeling` in it must be a right command line |
//! | `sh hook` | a hook: its syntax is checked |
//! | `sh elsewhere` | not looked at: what it runs is tested by itself, or is not about this program |
//! | `sql`, `sql mysql`, `sql mariadb` | run by root on both flavours or one |
//! | `sql lint` | `changeling lint` has nothing against it |
//! | `text`, `json`, `ini`, `yaml` | shown only |

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Parser;

use crate::support::{TestServer, eventually, is_another_version, is_wanted, server};

/// A fenced block of a page.
#[derive(Clone, Debug)]
struct Block {
    page: String,
    line: usize,
    info: Vec<String>,
    text: String,
}

impl Block {
    fn is(&self, word: &str) -> bool {
        self.info.iter().any(|info| info == word)
    }

    fn place(&self) -> String {
        format!("{}:{}", self.page, self.line)
    }

    fn exit_code(&self) -> i32 {
        let given = self.info.iter().find_map(|word| word.strip_prefix("exit="));
        given.map_or(0, |code| code.parse().expect("exit=N"))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// README.md first, then docs/ by name.
fn pages() -> Vec<(String, String)> {
    let mut paths: Vec<PathBuf> = fs::read_dir(root().join("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "md"))
        .collect();
    paths.sort();
    paths.insert(0, root().join("README.md"));
    paths
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(root()).unwrap().display().to_string();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect()
}

fn blocks(page: &str, text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<Block> = None;
    for (at, line) in text.lines().enumerate() {
        if let Some(info) = line.trim_start().strip_prefix("```") {
            match open.take() {
                Some(block) => found.push(block),
                None => {
                    open = Some(Block {
                        page: page.to_string(),
                        line: at + 1,
                        info: info.split_whitespace().map(String::from).collect(),
                        text: String::new(),
                    });
                }
            }
        } else if let Some(block) = &mut open {
            block.text.push_str(line);
            block.text.push('\n');
        }
    }
    assert!(open.is_none(), "{page}: a block has no end");
    found
}

/// A place where the commands of a page are run: a home with the option file that README.md tells to
/// write, and `changeling` and `mysql` first in the path.
struct Stage {
    server: &'static TestServer,
    folder: PathBuf,
}

const PASSWORD: &str = "a-long-secret";

impl Stage {
    fn new(server: &'static TestServer, name: &str) -> Stage {
        let name = name.replace(['/', '.'], "-");
        let folder = std::env::temp_dir().join(format!(
            "changeling-docs-{}-{name}-{}",
            server.name,
            std::process::id()
        ));
        let _ = fs::remove_dir_all(&folder);
        for inside in ["bin", "migrations"] {
            fs::create_dir_all(folder.join(inside)).unwrap();
        }
        std::os::unix::fs::symlink(
            env!("CARGO_BIN_EXE_changeling"),
            folder.join("bin/changeling"),
        )
        .unwrap();
        let stage = Stage { server, folder };
        let TestServer { host, port, .. } = server;
        stage.file(
            "migrations/V1__init.sql",
            "CREATE TABLE orders (id INT PRIMARY KEY);\n",
        );
        stage.file(
            ".my.cnf",
            &format!("[client]\nhost={host}\nport={port}\nuser=migrator\npassword={PASSWORD}\n"),
        );
        stage
    }

    fn file(&self, name: &str, text: &str) {
        let path = self.folder.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn bash(&self, script: &str) -> Command {
        let mut command = Command::new("/bin/bash");
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CHANGELING_") || text.starts_with("MYSQL_") {
                command.env_remove(&name);
            }
        }
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .args(["-euo", "pipefail", "-c", script])
            .env("HOME", &self.folder)
            .env("TMPDIR", &self.folder)
            .env(
                "PATH",
                format!("{}:{path}", self.folder.join("bin").display()),
            )
            .current_dir(&self.folder)
            .stdin(Stdio::null());
        command
    }

    /// The schema of all pages, as README.md describes it.
    async fn tables(&self) {
        let client = self.server.connect().await;
        for statement in [
            "DROP DATABASE IF EXISTS shop",
            "CREATE DATABASE shop",
            "CREATE TABLE shop.customers (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(50) NOT NULL)",
            "CREATE TABLE shop.orders (id BIGINT PRIMARY KEY AUTO_INCREMENT, customer_id INT NOT NULL, \
             status VARCHAR(10) NOT NULL DEFAULT 'new', created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP)",
            "INSERT INTO shop.customers (name) VALUES ('a'), ('b'), ('c'), ('d'), ('e'), ('f'), ('g')",
            "INSERT INTO shop.orders (customer_id) SELECT a.id FROM shop.customers a, shop.customers b, \
             shop.customers c, shop.customers d",
        ] {
            client.sql(statement).await;
        }
        client.close().await;
    }

    async fn accounts(&self) {
        let client = self.server.connect().await;
        for name in ["migrator", "checker", "cleaner"] {
            client.sql(format!("DROP USER IF EXISTS {name}")).await;
        }
        client.close().await;
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

const SHOWN_ONLY: [&str; 6] = ["text", "json", "ini", "yaml", "html", "rust"];

/// The pages name a port for metrics, which only one can have.
static PORT: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn play(flavour: &str, primary: &'static str) {
    let _port = PORT.lock().await;
    if !is_wanted(flavour) {
        return;
    }
    let server = server(primary);
    for (page, text) in pages() {
        let stage = Stage::new(server, &page);
        stage.accounts().await;
        stage.tables().await;
        if page != "README.md" && page != "docs/grants.md" {
            // The other pages go on from where README.md ends.
            let (_, readme) = pages().swap_remove(0);
            for block in blocks("README.md", &readme)
                .iter()
                .filter(|block| block.is("sql"))
            {
                sql(&stage, flavour, block).await;
            }
        }
        let mut beside = Vec::new();
        for block in blocks(&page, &text) {
            match block.info.first().map(String::as_str) {
                Some("sql") if block.is("lint") => lint(&stage, &block),
                Some("sql") => sql(&stage, flavour, &block).await,
                Some("sh") if block.is("parse") => parse(&stage, &block),
                Some("sh") if block.is("elsewhere") => {}
                Some("sh") if block.is("hook") => {
                    let checked = Command::new("sh").args(["-n", "-c", &block.text]).status();
                    assert!(checked.unwrap().success(), "{}", block.place());
                }
                Some("sh") => shell(&stage, &block, &mut beside).await,
                Some(kind) if SHOWN_ONLY.contains(&kind) => {}
                kind => panic!("{}: what is a block of {kind:?}?", block.place()),
            }
        }
        ended(&stage, &mut beside).await;
        stage.accounts().await;
        let client = server.connect().await;
        client.sql("DROP DATABASE shop").await;
        client.close().await;
    }
}

fn lint(stage: &Stage, block: &Block) {
    stage.file("migrations/V2__block.sql", &block.text);
    let output = stage
        .bash("changeling lint migrations/V2__block.sql")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}: {output:?}", block.place());
}

async fn sql(stage: &Stage, flavour: &str, block: &Block) {
    let wanted = block.info.get(1).is_none_or(|info| info == flavour);
    if !wanted {
        return;
    }
    let client = stage.server.connect().await;
    for statement in block
        .text
        .split(';')
        .map(str::trim)
        .filter(|s| !s.is_empty())
    {
        let done = client.try_sql(statement).await;
        // Old versions have other privileges.
        let is_new = is_another_version() && statement.starts_with("GRANT ");
        assert!(
            done.is_ok() || is_new,
            "{}: {statement}: {done:?}",
            block.place()
        );
    }
    client.close().await;
}

/// Waits for what was started beside, and looks how it has ended.
async fn ended(stage: &Stage, beside: &mut Vec<(Block, std::process::Child)>) {
    for (block, mut child) in beside.drain(..) {
        let status = eventually(Duration::from_secs(120), &block.place(), async || {
            child.try_wait().unwrap()
        })
        .await;
        let log = fs::read_to_string(stage.folder.join("beside.log")).unwrap_or_default();
        assert_eq!(
            status.code(),
            Some(block.exit_code()),
            "{}:\n{log}",
            block.place()
        );
    }
}

async fn shell(stage: &Stage, block: &Block, beside: &mut Vec<(Block, std::process::Child)>) {
    if block.is("wait") || block.is("fresh") {
        ended(stage, beside).await;
    }
    if block.is("fresh") {
        stage.tables().await;
    }
    if block.is("background") {
        let log = fs::File::create(stage.folder.join("beside.log")).unwrap();
        let child = stage
            .bash(&block.text)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        beside.push((block.clone(), child));
        let held = || {
            stage
                .bash("changeling ctl --database shop --table orders why")
                .output()
                .unwrap()
        };
        eventually(Duration::from_secs(120), &block.place(), async || {
            let ended = beside.last_mut().unwrap().1.try_wait().unwrap();
            let log = fs::read_to_string(stage.folder.join("beside.log")).unwrap_or_default();
            assert!(ended.is_none(), "{}: it has ended:\n{log}", block.place());
            String::from_utf8_lossy(&held().stdout)
                .contains("operator")
                .then_some(())
        })
        .await;
        return;
    }
    let script = block.text.clone();
    let mut command = stage.bash(&format!(
        "timeout 150 bash -euo pipefail -c {}",
        quoted(&script)
    ));
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    assert_eq!(
        output.status.code(),
        Some(block.exit_code()),
        "{}:\n{script}\nstdout:\n{}\nstderr:\n{}",
        block.place(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Runs the block where nothing but a `changeling` that notes its arguments can be found, and has these
/// read by the program's own parser.
fn parse(stage: &Stage, block: &Block) {
    let bin = stage.folder.join("parse");
    fs::create_dir_all(&bin).unwrap();
    let notes = stage.folder.join("notes");
    let _ = fs::remove_file(&notes);
    for name in ["changeling", "gh-ost"] {
        let first = if name == "gh-ost" { "gh-ost\\0" } else { "" };
        let note = format!(
            "#!/bin/bash\nprintf '%b' '{first}' >>{0}\nprintf '%s\\0' \"$@\" >>{0}\nprintf '\\036' >>{0}\n",
            notes.display()
        );
        fs::write(bin.join(name), note).unwrap();
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let script = format!(
        "command_not_found_handle() {{ return 0; }}\nset +e\n{}",
        block.text
    );
    let output = stage.bash(&script).env("PATH", &bin).output().unwrap();
    let noted = fs::read_to_string(&notes).unwrap_or_default();
    assert!(
        !noted.is_empty(),
        "{}: no changeling in it: {}",
        block.place(),
        String::from_utf8_lossy(&output.stderr)
    );
    for line in noted.split_terminator('\u{1e}') {
        let words: Vec<&str> = line.split_terminator('\0').collect();
        let read = match words.split_first() {
            Some((&"gh-ost", rest)) => {
                let words: Vec<std::ffi::OsString> = rest.iter().map(Into::into).collect();
                changeling::cli::gh_ost::parse(words)
                    .map(|_| ())
                    .map_err(|error| format!("{error:?}"))
            }
            _ => {
                let all = changeling::cli::arguments::normalise(
                    ["changeling"]
                        .into_iter()
                        .chain(words.iter().copied())
                        .map(Into::into)
                        .collect(),
                );
                changeling::cli::Cli::try_parse_from(all)
                    .map(|_| ())
                    .or_else(|error| {
                        if error.use_stderr() {
                            Err(error.to_string())
                        } else {
                            Ok(())
                        }
                    })
            }
        };
        assert_eq!(read, Ok(()), "{}: {words:?}", block.place());
    }
}

#[tokio::test]
async fn commands_of_the_documents_work_on_mysql() {
    play("mysql", "mysql-primary").await;
}

#[tokio::test]
async fn commands_of_the_documents_work_on_mariadb() {
    play("mariadb", "mariadb-primary").await;
}

/// Links between the pages, and to files, lead somewhere.
#[test]
fn links_lead_somewhere() {
    for (page, text) in pages().into_iter().chain([(
        "ARCHITECTURE.md".to_string(),
        fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap(),
    )]) {
        let folder = root().join(&page).parent().unwrap().to_path_buf();
        for part in text.split("](").skip(1) {
            let target = part.split(')').next().unwrap();
            let file = target.split('#').next().unwrap();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            assert!(folder.join(file).exists(), "{page}: {target}");
        }
    }
}

/// docs/logs.md has the events that the program's text has, with their fields.
#[test]
fn log_events_are_documented() {
    let mut there: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in sources(&root().join("src")) {
        let text = fs::read_to_string(&path).unwrap();
        for level in ["error", "warn", "info", "debug", "trace"] {
            for call in text.split(&format!("tracing::{level}!(")).skip(1) {
                let fields = fields(call);
                let event = fields
                    .iter()
                    .find_map(|field| field.strip_prefix("event = "));
                let event = event.unwrap_or_else(|| {
                    panic!(
                        "{}: a log line without an event: {fields:?}",
                        path.display()
                    )
                });
                let known = there
                    .entry(event.trim_matches('"').to_string())
                    .or_default();
                // Its levels stand among its fields, in capitals.
                let level = level.to_uppercase();
                if !known.contains(&level) {
                    known.push(level);
                }
                for field in &fields {
                    let name = field
                        .split(" = ")
                        .next()
                        .unwrap()
                        .trim_start_matches(['%', '?']);
                    if name != "event" && !known.contains(&name.to_string()) {
                        known.push(name.to_string());
                    }
                }
            }
        }
    }
    let page = fs::read_to_string(root().join("docs/logs.md")).unwrap();
    let documented: BTreeMap<String, Vec<String>> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        // An empty cell has one space only.
        .map(|row| row.replace("| |", "|  |"))
        .map(|row| {
            let cells: Vec<&str> = row.split(" | ").collect();
            let fields = cells[2].split('`').skip(1).step_by(2);
            let all = cells[1].split(", ").chain(fields).map(String::from);
            (cells[0].trim_end_matches('`').to_string(), all.collect())
        })
        .collect();
    for (event, fields) in &mut there {
        fields.sort();
        let mut listed = documented
            .get(event)
            .cloned()
            .unwrap_or_else(|| panic!("{event} is not in docs/logs.md"));
        listed.sort();
        assert_eq!(&listed, fields, "levels and fields of {event}");
    }
    for event in documented.keys() {
        assert!(
            there.contains_key(event),
            "docs/logs.md has {event}, the program has not"
        );
    }
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(path);
        }
    }
    found
}

/// The arguments of a logging macro before its message, as they are written.
fn fields(call: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut depth = 0;
    let mut part = String::new();
    let mut in_text = false;
    let mut chars = call.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if in_text => {
                part.push(c);
                part.extend(chars.next());
                continue;
            }
            '"' => in_text = !in_text,
            '(' | '[' | '{' if !in_text => depth += 1,
            ')' | ']' | '}' if !in_text && depth == 0 => break,
            ')' | ']' | '}' if !in_text => depth -= 1,
            ',' if !in_text && depth == 0 => {
                found.push(part.trim().to_string());
                part.clear();
                continue;
            }
            _ => {}
        }
        part.push(c);
    }
    found.push(part.trim().to_string());
    // The message and what it is filled with come last.
    let message = found.iter().position(|part| part.starts_with('"'));
    found.truncate(message.unwrap_or(found.len()));
    found
}

/// docs/errors.md explains what the program says.
#[test]
fn explained_messages_exist() {
    let mut program = String::new();
    for path in sources(&root().join("src")) {
        program.push_str(&fs::read_to_string(path).unwrap());
    }
    // A message may be broken over lines of source.
    let program = program
        .replace("\\\n", "")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    let page = fs::read_to_string(root().join("docs/errors.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let mut count = 0;
    for row in rows {
        let cell = format!("`{}", row.split(" | ").next().unwrap());
        for words in cell.split('`').skip(1).step_by(2) {
            if words.starts_with("server answered ") {
                continue;
            }
            count += 1;
            assert!(
                program.contains(words.trim()),
                "docs/errors.md explains {words:?}, which nothing says"
            );
        }
    }
    assert!(count > 15, "{count}");
}
