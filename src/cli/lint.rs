//! `changeling lint`.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use clap::builder::FalseyValueParser;
use clap::{Args, ValueEnum};

use super::connection::ConnectionArgs;

use crate::failure::{Failure, Result};
use crate::lint::rules::{self, RULES, Severity};
use crate::lint::{Linter, ServerTable, output, tables_of};
use crate::mysql::{Purpose, Server, Session, quote};
use crate::names::TableName;
use crate::observe::text;

/// Reads migration files and reports what is destructive, blocking, or incompatible with the deployed
/// application
#[derive(Args, Clone, Debug)]
pub struct LintArgs {
    /// SQL files, folders of *.sql files, or - for standard input
    #[arg(value_name = "FILE", required_unless_present = "list_rules")]
    pub files: Vec<PathBuf>,

    /// How to write the report
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        env = "CHANGELING_LINT_FORMAT"
    )]
    pub format: LintFormat,

    /// From which severity on a finding makes the exit code 1
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "SEVERITY",
        env = "CHANGELING_LINT_FAIL_ON"
    )]
    pub fail_on: FailOn,

    /// Rules to leave out
    #[arg(
        long,
        value_name = "RULE,…",
        value_delimiter = ',',
        env = "CHANGELING_LINT_DISABLE"
    )]
    pub disable: Vec<String>,

    /// Show the rules and their reasons
    #[arg(long)]
    pub list_rules: bool,

    /// Look the tables up on a server: sizes are shown, and changes are judged by what is there
    #[arg(long, env = "CHANGELING_LINT_SERVER", value_parser = FalseyValueParser::new())]
    pub server: bool,

    /// The schema of tables that are named without one
    #[arg(short = 'D', long, env = "CHANGELING_DATABASE")]
    pub database: Option<String>,

    #[command(flatten)]
    connection: ConnectionArgs,
}

/// How the report is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LintFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object.
    Json,
    /// For code scanning.
    Sarif,
    /// Annotations of GitHub workflows.
    Github,
}

/// What makes the exit code 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// Errors.
    #[default]
    Error,
    /// Errors and warnings.
    Warning,
    /// Everything.
    Note,
    /// Nothing.
    Never,
}

impl FailOn {
    fn fails(self, worst: Option<Severity>) -> bool {
        let least = match self {
            FailOn::Error => Severity::Error,
            FailOn::Warning => Severity::Warning,
            FailOn::Note => Severity::Note,
            FailOn::Never => return false,
        };
        worst.is_some_and(|worst| worst >= least)
    }
}

impl LintArgs {
    /// Judges the files, writes the report, and returns the exit code: 0 when nothing is as bad as
    /// `--fail-on`, 1 otherwise.
    ///
    /// # Errors
    /// Usage: a file that cannot be read, a rule that does not exist. A report that cannot be written.
    pub async fn run(&self, out: &mut impl Write) -> Result<u8> {
        if self.list_rules {
            write(out, &listed_rules())?;
            return Ok(0);
        }
        for rule in &self.disable {
            if rules::by_id(rule).is_none() {
                return Err(Failure::usage(format!("there is no rule `{rule}`"))
                    .remedy("`changeling lint --list-rules` shows them"));
            }
        }
        let mut linter = Linter::new(self.disable.iter().cloned());
        let files = self.all_files()?;
        let texts = files
            .iter()
            .map(|file| text_of(file))
            .collect::<Result<Vec<_>>>()?;
        if self.server {
            self.look_up(&texts, &mut linter).await?;
        }
        for (file, text) in files.iter().zip(&texts) {
            linter.read(&shown_name(file), text);
        }
        let report = linter.finish();
        let text = match self.format {
            LintFormat::Text => output::text(&report),
            LintFormat::Json => output::json(&report),
            LintFormat::Sarif => output::sarif(&report),
            LintFormat::Github => output::github(&report),
        };
        write(out, &text)?;
        Ok(u8::from(self.fail_on.fails(report.worst())))
    }

    /// Asks the server for the tables that the files name.
    async fn look_up(&self, texts: &[String], linter: &mut Linter) -> Result<()> {
        let server = Server::connect(self.connection.clone().resolve()?).await?;
        let mut session = server.session(Purpose::Monitor).await?;
        let wanted: BTreeSet<_> = texts.iter().flat_map(|text| tables_of(text)).collect();
        for (schema, name) in wanted {
            let Some(database) = schema.as_ref().or(self.database.as_ref()) else {
                continue;
            };
            let table = TableName::new(database, &name);
            if let Some((create, size)) = describe(&mut session, &table).await? {
                linter.learn(ServerTable {
                    schema,
                    name,
                    create,
                    size,
                });
            }
        }
        session.close().await;
        Ok(())
    }

    /// The files in the order given, folders opened.
    fn all_files(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for path in &self.files {
            if path.is_dir() {
                let mut inside = Vec::new();
                collect(path, &mut inside)?;
                inside.sort_by_cached_key(|path| natural_key(&path.to_string_lossy()));
                files.extend(inside);
            } else {
                files.push(path.clone());
            }
        }
        Ok(files)
    }
}

/// SHOW CREATE TABLE and the size in words; `None` if there is no such table.
async fn describe(session: &mut Session, table: &TableName) -> Result<Option<(String, String)>> {
    let sizes = format!(
        "SELECT CAST(table_rows AS UNSIGNED), CAST(data_length + index_length AS UNSIGNED) \
         FROM information_schema.tables \
         WHERE table_schema = {} AND table_name = {} AND table_type = 'BASE TABLE'",
        quote::string(&table.schema),
        quote::string(&table.table)
    );
    let Some((rows, bytes)): Option<(Option<u64>, Option<u64>)> = session.first(&sizes).await?
    else {
        return Ok(None);
    };
    let show = format!("SHOW CREATE TABLE {}", quote::table(table));
    let (_, create): (String, String) = session.one(&show).await?;
    let size = format!(
        "about {} rows, {}",
        text::grouped(rows.unwrap_or(0)),
        text::bytes(bytes.unwrap_or(0))
    );
    Ok(Some((create, size)))
}

/// A reader that has gone away (`| head`) has read what it wanted.
fn write(out: &mut impl Write, text: &str) -> Result<()> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("cannot write the report: {error}")))
        }
        _ => Ok(()),
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let unreadable = |error| {
        Failure::usage(format!(
            "cannot read the folder {}: {error}",
            folder.display()
        ))
    };
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path
            .extension()
            .is_some_and(|end| end.eq_ignore_ascii_case("sql"))
        {
            files.push(path);
        }
    }
    Ok(())
}

/// Sorts `V10__x.sql` behind `V2__x.sql`, as migration tools run them.
fn natural_key(name: &str) -> Vec<(u128, String)> {
    let mut key = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let text = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (words, after) = rest.split_at(text);
        let digits = after
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(after.len());
        let (number, after) = after.split_at(digits);
        key.push((0, words.to_string()));
        if !number.is_empty() {
            // A number too long to be one sorts last.
            key.push((number.parse().unwrap_or(u128::MAX), String::new()));
        }
        rest = after;
    }
    key
}

fn shown_name(path: &Path) -> String {
    match path.to_str() {
        Some("-") => "<stdin>".to_string(),
        _ => path.display().to_string(),
    }
}

fn text_of(path: &Path) -> Result<String> {
    let read = if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(path)
    };
    let bytes =
        read.map_err(|error| Failure::usage(format!("cannot read {}: {error}", shown_name(path))))?;
    // Text in another charset still has its keywords in ASCII.
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.strip_prefix('\u{feff}').unwrap_or(&text).to_string())
}

fn listed_rules() -> String {
    let width = RULES.iter().map(|rule| rule.id.len()).max().unwrap_or(0);
    RULES
        .iter()
        .map(|rule| {
            format!(
                "{:width$}  {:7}  {}\n",
                rule.id,
                rule.severity.word(),
                rule.why
            )
        })
        .collect()
}

#[cfg(test)]
#[path = "lint_tests.rs"]
mod tests;
