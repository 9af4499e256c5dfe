//! The ALTER's text: clauses that a copy of the table cannot do, or that mean nothing here.

use super::finding::{Finding, Findings};
use crate::alter::{AlterStatement, Clause, ClauseKind, copy_table};
use crate::failure::{ErrorClass, FailureKind, Result};
use crate::mysql::{Session, quote};
use crate::names::Names;

/// Judges every clause.
///
/// # Errors
/// What the server answered.
pub async fn check(
    session: &mut Session,
    names: &Names,
    alter: &AlterStatement,
    findings: &mut Findings,
) -> Result<()> {
    if alter.ignore {
        findings.push(Finding::refuse(
            "ignore",
            "ALTER IGNORE deletes rows that do not fit",
            "leave out IGNORE: rows that do not fit are then named, and nothing is lost",
        ));
    }
    if let Some((schema, table)) = &alter.table {
        let other_schema = schema.as_ref().is_some_and(|s| *s != names.original.schema);
        if other_schema || *table != names.original.table {
            findings.push(Finding::refuse(
                "other-table",
                format!(
                    "the statement alters {table}, the run is for {}",
                    names.original
                ),
                "name one table only",
            ));
        }
    }
    for clause in &alter.clauses {
        if clause.kind == ClauseKind::Other {
            findings.push(unknown(session, names, clause).await?);
        } else if let Some(finding) = judge(clause) {
            findings.push(finding);
        }
    }
    if let Err(failure) = copy_table::reads_the_same(session, alter).await {
        if failure.kind() != FailureKind::Refused {
            return Err(failure);
        }
        let remedy = failure.remedy_text().unwrap_or_default();
        findings.push(Finding::refuse("sql-mode", failure.cause(), remedy));
    }
    if alter.sql_for(&names.original).is_none() {
        findings.push(Finding::refuse(
            "no-change",
            "the ALTER has nothing but ALGORITHM and LOCK",
            "say what is to be changed; ENGINE=InnoDB rebuilds the table as it is",
        ));
    }
    Ok(())
}

fn judge(clause: &Clause) -> Option<Finding> {
    let text = &clause.text;
    let natively = "run this clause with the server's own ALTER TABLE";
    Some(match &clause.kind {
        ClauseKind::RenameTable { .. } => Finding::refuse(
            "rename-table",
            format!("`{text}` renames the table"),
            "leave it out and use RENAME TABLE, which takes a moment",
        ),
        ClauseKind::PartitionOperation { verb }
            if !matches!(verb.as_str(), "ADD" | "REORGANIZE" | "COALESCE" | "REBUILD") =>
        {
            Finding::refuse(
                "partition-operation",
                format!("`{text}` works on partitions and their rows, a copy cannot do it"),
                "run it with the server's own ALTER TABLE, which does not copy the table",
            )
        }
        ClauseKind::AddForeignKey { .. } => Finding::refuse(
            "add-foreign-key",
            format!(
                "`{text}` adds a foreign key, which would not be checked while rows are copied"
            ),
            "add it to the new table afterwards with the server's own ALTER TABLE",
        ),
        ClauseKind::DropForeignKey { .. } => Finding::refuse(
            "drop-foreign-key",
            format!("`{text}` drops a foreign key, which no copy of the table has"),
            "drop it before with the server's own ALTER TABLE, which takes a moment",
        ),
        ClauseKind::Tablespace => Finding::refuse(
            "tablespace",
            format!("`{text}` replaces the table's file, a copy cannot do it"),
            natively,
        ),
        ClauseKind::Versioning => Finding::refuse(
            "versioning",
            format!("`{text}` changes how the table keeps its history"),
            natively,
        ),
        ClauseKind::Algorithm(word)
            if matches!(word.as_str(), "INSTANT" | "INPLACE" | "NOCOPY") =>
        {
            Finding::refuse(
                "algorithm",
                format!("`{text}` asks for the server's own way"),
                "leave it out, or run the statement with the server's own ALTER TABLE",
            )
        }
        ClauseKind::Algorithm(_) | ClauseKind::Lock(_) => Finding::note(
            "modifier",
            format!("`{text}` means nothing here and is left out"),
            "the table stays readable and writable but for the swap",
        ),
        _ => return None,
    })
}

/// A clause that is not recognised here: the server says whether it is one. It only prepares the
/// statement, which changes nothing.
async fn unknown(session: &mut Session, names: &Names, clause: &Clause) -> Result<Finding> {
    let sql = format!(
        "ALTER TABLE {} {}",
        quote::table(&names.original),
        clause.text
    );
    session
        .execute(&format!(
            "SET @changeling_statement = {}",
            quote::string(&sql)
        ))
        .await?;
    let prepared = session
        .execute("PREPARE changeling_clause FROM @changeling_statement")
        .await;
    match prepared {
        Ok(_) => {
            session
                .execute("DEALLOCATE PREPARE changeling_clause")
                .await?;
            Ok(Finding::refuse(
                "clause-unknown",
                format!(
                    "`{}` is not known to this program, which may do harm on a copy",
                    clause.text
                ),
                "run it with the server's own ALTER TABLE",
            ))
        }
        Err(failure) if failure.class() == Some(ErrorClass::Definite) => Ok(Finding::refuse(
            "alter-rejected",
            format!(
                "the server does not understand `{}`: {}",
                clause.text,
                failure.cause()
            ),
            "correct the clause",
        )),
        Err(failure) => Err(failure),
    }
}
