//! A table that is not there: what may have been meant.

use super::finding::Finding;
use crate::failure::Result;
use crate::mysql::{Session, quote};
use crate::names::TableName;

/// How many names are looked at.
const NAMES_MAX: usize = 10_000;

/// The finding, with the nearest name if one is near.
///
/// # Errors
/// What the server answered.
pub async fn missing(session: &mut Session, table: &TableName) -> Result<Finding> {
    let schemas: Vec<String> = session
        .query("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA")
        .await?;
    if !schemas.contains(&table.schema) {
        let what = format!("there is no schema {}", table.schema);
        return Ok(Finding::refuse(
            "table-missing",
            what,
            hint(nearest(&table.schema, &schemas)),
        ));
    }
    let tables: Vec<String> = session
        .query(&format!(
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} LIMIT {NAMES_MAX}",
            quote::string(&table.schema)
        ))
        .await?;
    Ok(Finding::refuse(
        "table-missing",
        format!("there is no table {table}"),
        hint(nearest(&table.table, &tables)),
    ))
}

fn hint(near: Option<&str>) -> String {
    match near {
        Some(name) => format!("did you mean `{name}`?"),
        None => "check the name, and that the account may see it".to_string(),
    }
}

/// The name that takes the fewest changes, if they are few for its length.
fn nearest<'n>(wanted: &str, names: &'n [String]) -> Option<&'n str> {
    let wanted_low = wanted.to_lowercase();
    names
        .iter()
        .map(|name| (distance(&wanted_low, &name.to_lowercase()), name.as_str()))
        .min()
        .filter(|(distance, _)| *distance <= 2.min(wanted.chars().count() / 2))
        .map(|(_, name)| name)
}

/// How many characters must be added, left out or replaced.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found() {
        let names: Vec<String> = ["orders", "Customers", "t1"].map(str::to_string).to_vec();
        assert_eq!(nearest("oders", &names), Some("orders"));
        assert_eq!(nearest("CUSTOMERS", &names), Some("Customers"));
        assert_eq!(nearest("invoices", &names), None);
        assert_eq!(nearest("t2", &names), Some("t1"));
        assert_eq!(nearest("x", &names), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
