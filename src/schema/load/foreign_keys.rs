//! Foreign keys of a table in both directions, from any schema.

use super::rows::{self, NamedRow};
use crate::failure::{ErrorClass, Result};
use crate::mysql::{Session, quote};
use crate::names::TableName;
use crate::schema::table::ForeignKey;

/// What the table itself points to.
///
/// # Errors
/// What the server answered.
pub async fn of_child(session: &mut Session, child: &TableName) -> Result<Vec<ForeignKey>> {
    let sql = format!(
        "SELECT * FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE {} ORDER BY CONSTRAINT_NAME",
        rows::is_table("CONSTRAINT_SCHEMA", "TABLE_NAME", child)
    );
    Ok(rows::select(session, &sql)
        .await?
        .iter()
        .map(foreign_key)
        .collect())
}

/// What points to the table.
///
/// REFERENTIAL_CONSTRAINTS shows only tables on which the account has some privilege, and MariaDB must
/// open every table of the server to answer it. InnoDB's own list has neither fault but needs the
/// PROCESS privilege: it is asked first, and the other fills in what is known of its entries.
///
/// # Errors
/// What the server answered.
pub async fn of_parent(session: &mut Session, parent: &TableName) -> Result<Vec<ForeignKey>> {
    let Some(all) = children_in_innodb(session, parent).await? else {
        let sql = format!(
            "SELECT * FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE {} \
             ORDER BY CONSTRAINT_SCHEMA, CONSTRAINT_NAME",
            rows::is_table("UNIQUE_CONSTRAINT_SCHEMA", "REFERENCED_TABLE_NAME", parent)
        );
        return Ok(rows::select(session, &sql)
            .await?
            .iter()
            .map(foreign_key)
            .collect());
    };
    let mut found = Vec::new();
    for child in all {
        let known: Vec<ForeignKey> = of_child(session, &child)
            .await?
            .into_iter()
            .filter(|key| key.parent == *parent)
            .collect();
        if known.is_empty() {
            found.push(ForeignKey {
                name: String::new(),
                child,
                parent: parent.clone(),
                on_delete: String::new(),
                on_update: String::new(),
            });
        } else {
            found.extend(known);
        }
    }
    Ok(found)
}

/// The child tables that InnoDB knows of; `None` if the account may not ask. MySQL 8 renamed the table
/// and writes plain names; before, and in MariaDB, names are in the encoding of file names, which the
/// server knows as the character set `filename`.
async fn children_in_innodb(
    session: &mut Session,
    parent: &TableName,
) -> Result<Option<Vec<TableName>>> {
    let (schema, table) = (quote::string(&parent.schema), quote::string(&parent.table));
    let sql = if session.server().facts().innodb_lists_encoded_names() {
        let encoded = |name: &str| format!("CAST(CONVERT({name} USING filename) AS BINARY)");
        let decoded = |place: i8| {
            format!(
                "CONVERT(CONVERT(CAST(SUBSTRING_INDEX(FOR_NAME, '/', {place}) AS BINARY) \
                 USING filename) USING utf8mb4)"
            )
        };
        format!(
            "SELECT DISTINCT {} AS s, {} AS t FROM information_schema.INNODB_SYS_FOREIGN \
             WHERE REF_NAME = CONCAT({}, '/', {}) ORDER BY s, t",
            decoded(1),
            decoded(-1),
            encoded(&schema),
            encoded(&table)
        )
    } else {
        format!(
            "SELECT DISTINCT SUBSTRING_INDEX(FOR_NAME, '/', 1) AS s, \
             SUBSTRING(FOR_NAME, LOCATE('/', FOR_NAME) + 1) AS t \
             FROM information_schema.INNODB_FOREIGN \
             WHERE REF_NAME = CONCAT({schema}, '/', {table}) ORDER BY s, t"
        )
    };
    match session.query::<(String, String)>(&sql).await {
        Ok(names) => Ok(Some(
            names
                .into_iter()
                .map(|(schema, table)| TableName::new(schema, table))
                .collect(),
        )),
        Err(failure) if failure.class() == Some(ErrorClass::Refused) => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn foreign_key(row: &NamedRow) -> ForeignKey {
    let text = |column: &str| row.text(column).unwrap_or_default();
    ForeignKey {
        name: text("CONSTRAINT_NAME"),
        child: TableName::new(text("CONSTRAINT_SCHEMA"), text("TABLE_NAME")),
        parent: TableName::new(
            text("UNIQUE_CONSTRAINT_SCHEMA"),
            text("REFERENCED_TABLE_NAME"),
        ),
        on_delete: text("DELETE_RULE"),
        on_update: text("UPDATE_RULE"),
    }
}
