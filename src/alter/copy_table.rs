//! An empty copy of the original: what the ghost begins as, and what the server is asked about.
//!
//! `CREATE TABLE … LIKE` keeps everything but foreign keys, DATA DIRECTORY, the AUTO_INCREMENT counter
//! and, on MySQL, the names of CHECK constraints, which are unique within the schema there. Generated
//! names follow the table's through a RENAME, so the copy gets them back under its own name; names that
//! a user gave cannot exist twice and get a leading underscore, or lose it.

use super::clauses::ClauseKind;
use super::lexer::{Dialect, tokens};
use super::show_create;
use super::statement::AlterStatement;
use crate::failure::{Context, Failure, FailureKind, Result};
use crate::mysql::Session;
use crate::mysql::quote::{self, OWN_DDL};
use crate::names::TableName;
use crate::schema::table::{TableDefinition, same_name};

/// Creates the copy under a name that is free, and gives the ALTER as it must be written for it.
///
/// # Errors
/// What the server answered; the copy may then exist and is the caller's to drop.
pub async fn create(
    session: &mut Session,
    original: &TableDefinition,
    copy: &TableName,
    alter: &AlterStatement,
) -> Result<AlterStatement> {
    stays_within_table(alter)?;
    reads_the_same(session, alter).await?;
    // Names in an expression, as of a sequence, belong to the default database.
    session
        .execute(&format!("USE {}", quote::ident(&copy.schema)))
        .await?;
    session
        .execute(&format!(
            "{OWN_DDL}CREATE TABLE {} LIKE {}",
            quote::table(copy),
            quote::table(&original.name)
        ))
        .await
        .doing(|| format!("create {copy}"))?;
    if session.server().facts().check_names_are_per_table() {
        return Ok(alter.clone());
    }
    let renamed = checks(original, copy);
    if renamed.is_empty() {
        return Ok(alter.clone());
    }
    rename_checks(session, copy, &renamed).await?;
    Ok(rewrite(alter, &renamed))
}

/// Refuses what would reach beyond the table it is run on: on a copy, EXCHANGE PARTITION would move
/// rows of a real table into the copy, and dropping the copy would drop them.
///
/// # Errors
/// Refused, naming the clause.
pub fn stays_within_table(alter: &AlterStatement) -> Result<()> {
    let reaches_out = |kind: &ClauseKind| match kind {
        ClauseKind::RenameTable { .. }
        | ClauseKind::Tablespace
        | ClauseKind::AddForeignKey { .. }
        | ClauseKind::DropForeignKey { .. }
        | ClauseKind::Versioning
        | ClauseKind::Other => true,
        ClauseKind::PartitionOperation { verb } => {
            !matches!(verb.as_str(), "ADD" | "REORGANIZE" | "COALESCE" | "REBUILD")
        }
        _ => false,
    };
    match alter
        .clauses
        .iter()
        .find(|clause| reaches_out(&clause.kind))
    {
        None => Ok(()),
        Some(clause) => Err(Failure::new(
            FailureKind::Refused,
            format!("`{}` cannot be done on a copy of the table", clause.text),
        )
        .remedy("run this clause with the server's own ALTER TABLE")),
    }
}

/// Refuses an ALTER that the server would split otherwise: its `sql_mode` changes what quotes and
/// backslashes mean, and a clause could hide in what was taken for a string.
///
/// # Errors
/// Refused; what the server answered.
pub async fn reads_the_same(session: &mut Session, alter: &AlterStatement) -> Result<()> {
    let sql_mode: String = session.one("SELECT @@SESSION.sql_mode").await?;
    let there = AlterStatement::parse_in(&alter.to_string(), Dialect::of_sql_mode(&sql_mode));
    if there.is_ok_and(|there| there == *alter) {
        return Ok(());
    }
    Err(Failure::new(
        FailureKind::Refused,
        format!("under the server's sql_mode ({sql_mode}) the ALTER has another meaning"),
    )
    .remedy("write it without backslashes and double quotes"))
}

/// An ALTER without a change in it.
pub(super) fn nothing_to_do() -> Failure {
    Failure::new(
        FailureKind::Refused,
        "the ALTER has nothing but ALGORITHM and LOCK",
    )
    .remedy("say what is to be changed; ENGINE=InnoDB rebuilds the table as it is")
}

/// A CHECK constraint of the original and its name in the copy.
#[derive(Debug, PartialEq)]
struct Check {
    name: String,
    copy_name: String,
    /// From CHECK on.
    definition: String,
}

fn checks(original: &TableDefinition, copy: &TableName) -> Vec<Check> {
    show_create::parts(&original.create_statement)
        .into_iter()
        .filter_map(show_create::check_constraint)
        .map(|(name, definition)| Check {
            copy_name: name_in_copy(&name, &original.name.table, &copy.table),
            name,
            definition: definition.to_string(),
        })
        .collect()
}

/// What a CHECK constraint of `table` is called on its copy: `t_chk_1` → `_t_gho_chk_1`; `positive` ↔
/// `_positive`.
pub fn name_in_copy(name: &str, table: &str, copy: &str) -> String {
    if let Some(number) = generated_number(name, table) {
        return format!("{copy}_chk_{number}");
    }
    const NAME_CHARS_MAX: usize = 64;
    match name.strip_prefix('_') {
        Some(bare) if !bare.is_empty() => bare.to_string(),
        _ if name.chars().count() < NAME_CHARS_MAX => format!("_{name}"),
        _ => name.chars().skip(1).collect(),
    }
}

/// The number in a name that the server made: `t_chk_1`.
pub fn generated_number<'n>(name: &'n str, table: &str) -> Option<&'n str> {
    let number = name.strip_prefix(table)?.strip_prefix("_chk_")?;
    (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(number)
}

/// The copy's constraints have names by number in another order; on an empty table it costs nothing to
/// make them anew.
async fn rename_checks(session: &mut Session, copy: &TableName, wanted: &[Check]) -> Result<()> {
    let create: (String, String) = session
        .one(&format!("SHOW CREATE TABLE {}", quote::table(copy)))
        .await?;
    let drops = show_create::parts(&create.1)
        .into_iter()
        .filter_map(show_create::check_constraint)
        .map(|(name, _)| format!("DROP CHECK {}", quote::ident(&name)));
    let adds = wanted.iter().map(|check| {
        format!(
            "ADD CONSTRAINT {} {}",
            quote::ident(&check.copy_name),
            check.definition
        )
    });
    let clauses: Vec<String> = drops.chain(adds).collect();
    let sql = format!(
        "{OWN_DDL}ALTER TABLE {} {}",
        quote::table(copy),
        clauses.join(", ")
    );
    session.execute(&sql).await?;
    Ok(())
}

/// The ALTER with the names of constraints as the copy has them.
fn rewrite(alter: &AlterStatement, renamed: &[Check]) -> AlterStatement {
    let mut alter = alter.clone();
    for clause in &mut alter.clauses {
        let name = match &clause.kind {
            ClauseKind::DropConstraint { name } | ClauseKind::AlterConstraint { name } => name,
            ClauseKind::AddCheck { name: Some(name) } => name,
            _ => continue,
        };
        if let Some(check) = renamed.iter().find(|check| same_name(&check.name, name)) {
            clause.text = replace_name(&clause.text, name, &check.copy_name);
        }
    }
    alter
}

/// Replaces a name where it first stands behind the two words that begin the clause.
fn replace_name(text: &str, old: &str, new: &str) -> String {
    let found = tokens(text, Dialect::default())
        .into_iter()
        .filter(|token| !token.is_comment())
        .skip(2)
        .find(|token| token.name().is_some_and(|name| same_name(&name, old)));
    match found {
        Some(token) => format!(
            "{}{}{}",
            &text[..token.start],
            quote::ident(new),
            &text[token.end()..]
        ),
        None => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_checks_are_told_apart() {
        assert_eq!(name_in_copy("t_chk_12", "t", "_t_gho"), "_t_gho_chk_12");
        assert_eq!(name_in_copy("positive", "t", "_t_gho"), "_positive");
        assert_eq!(name_in_copy("_positive", "t", "_t_gho"), "positive");
        assert_eq!(name_in_copy("t_chk_x", "t", "_t_gho"), "_t_chk_x");
        let long = "x".repeat(64);
        assert_eq!(name_in_copy(&long, "t", "_t_gho"), "x".repeat(63));
    }

    #[test]
    fn the_alter_follows_the_names() {
        let renamed = [Check {
            name: "c1".to_string(),
            copy_name: "_c1".to_string(),
            definition: String::new(),
        }];
        let alter = AlterStatement::parse(
            "DROP CHECK c1, ALTER CONSTRAINT `C1` NOT ENFORCED, ADD CONSTRAINT c1 CHECK (c1 > 0), DROP COLUMN c1",
        )
        .unwrap();
        assert_eq!(
            rewrite(&alter, &renamed).clauses_sql(),
            "DROP CHECK `_c1`, ALTER CONSTRAINT `_c1` NOT ENFORCED, ADD CONSTRAINT `_c1` CHECK (c1 > 0), DROP COLUMN c1"
        );
    }

    #[test]
    fn what_reaches_beyond_the_table_is_refused() {
        for text in [
            "EXCHANGE PARTITION p WITH TABLE x",
            "/*!99999 EXCHANGE PARTITION p WITH TABLE x */",
            "ADD a INT, RENAME TO x",
            "CONVERT TABLE x TO PARTITION p",
            "DISCARD TABLESPACE",
            "DROP PARTITION p",
            "ADD FOREIGN KEY (a) REFERENCES p (id)",
        ] {
            let alter = AlterStatement::parse(text).unwrap();
            assert!(stays_within_table(&alter).is_err(), "{text}");
        }
        let alter =
            AlterStatement::parse("REORGANIZE PARTITION p INTO (PARTITION q VALUES IN (1))");
        assert!(stays_within_table(&alter.unwrap()).is_ok());
    }
}
