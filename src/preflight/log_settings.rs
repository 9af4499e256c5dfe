//! The binlog: it must have every change of the table, as rows.

use mysql_async::{Row, Value};

use super::finding::{Finding, Findings};
use crate::failure::{ErrorClass, Result};
use crate::mysql::{Facts, Session};
use crate::names::TableName;

/// Checks the settings that decide what is in the binlog.
///
/// # Errors
/// What the server answered.
pub async fn check(
    session: &mut Session,
    table: &TableName,
    findings: &mut Findings,
) -> Result<()> {
    settings(session.server().facts(), findings);
    if session.server().facts().is_on("log_bin") {
        filtered(session, table, findings).await?;
    }
    Ok(())
}

fn settings(facts: &Facts, findings: &mut Findings) {
    if !facts.is_on("log_bin") {
        findings.push(Finding::refuse(
            "binlog-off",
            "the server writes no binlog (log_bin is OFF)",
            "start the server with --log-bin",
        ));
        return;
    }
    // Gone in versions that only know ROW.
    if let Some(format) = facts.variable("binlog_format")
        && !format.eq_ignore_ascii_case("ROW")
    {
        findings.push(Finding::refuse(
            "binlog-format",
            format!("binlog_format is {format}, ROW is needed"),
            "SET GLOBAL binlog_format = ROW, and let all sessions reconnect: they keep the old format",
        ));
    }
    if facts.variable("binlog_order_commits").is_some() && !facts.is_on("binlog_order_commits") {
        findings.push(match facts.has_gtid() {
            true => Finding::note(
                "binlog-order",
                "binlog_order_commits is OFF: the copy takes shared row locks",
                "turn it on for a copy without locks",
            ),
            // A transaction may be in the binlog before the position where the stream begins, and become
            // visible after the table's last key was read: nobody would ever see its rows.
            false => Finding::refuse(
                "binlog-order",
                "binlog_order_commits is OFF and gtid_mode is not ON: nothing tells which transactions of \
                 the binlog are visible",
                "turn one of them on, for the time of the migration at least",
            ),
        });
    }
}

/// `binlog_do_db` and `binlog_ignore_db` are no variables everywhere; the status of the binlog has them.
async fn filtered(session: &mut Session, table: &TableName, findings: &mut Findings) -> Result<()> {
    let statement = session.server().facts().binary_log_status();
    let rows: Vec<Row> = match session.query(statement).await {
        Ok(rows) => rows,
        // The missing grant is a finding of its own.
        Err(failure) if failure.class() == Some(ErrorClass::Refused) => return Ok(()),
        Err(failure) => return Err(failure),
    };
    let Some(status) = rows.first() else {
        return Ok(());
    };
    let list = |column: &str| -> Vec<String> {
        status
            .columns_ref()
            .iter()
            .position(|known| known.name_str().eq_ignore_ascii_case(column))
            .and_then(|place| match status.as_ref(place) {
                Some(Value::Bytes(bytes)) => Some(String::from_utf8_lossy(bytes).into_owned()),
                _ => None,
            })
            .unwrap_or_default()
            .split(',')
            .filter(|name| !name.is_empty())
            .map(str::to_string)
            .collect()
    };
    if leaves_out(
        &list("Binlog_Do_DB"),
        &list("Binlog_Ignore_DB"),
        &table.schema,
    ) {
        findings.push(Finding::refuse(
            "binlog-filter",
            format!("the binlog leaves out schema {}", table.schema),
            "take it out of binlog_do_db or binlog_ignore_db and restart the server",
        ));
    }
    Ok(())
}

/// Rows are filtered by the schema of their table (manual, "Evaluation of Database-Level Replication
/// and Binary Logging Options"). Case is not looked at, to be on the safe side.
fn leaves_out(only: &[String], not: &[String], schema: &str) -> bool {
    let has = |list: &[String]| list.iter().any(|name| name.eq_ignore_ascii_case(schema));
    !only.is_empty() && !has(only) || only.is_empty() && has(not)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(variables: &[(&str, &str)]) -> Vec<&'static str> {
        let variables = variables
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()));
        let mut findings = Findings::default();
        settings(&Facts::new("9.7.4", variables), &mut findings);
        findings
            .sorted()
            .iter()
            .map(|finding| finding.code)
            .collect()
    }

    #[test]
    fn every_change_must_be_logged_as_a_row() {
        assert_eq!(found(&[("log_bin", "OFF")]), ["binlog-off"]);
        assert!(found(&[("log_bin", "ON")]).is_empty());
        let rows = [
            ("log_bin", "ON"),
            ("binlog_format", "ROW"),
            ("binlog_order_commits", "OFF"),
        ];
        assert_eq!(found(&rows), ["binlog-order"]);
        let refused = |gtid_mode: &str| {
            let variables = rows.into_iter().chain([("gtid_mode", gtid_mode)]);
            let variables = variables.map(|(name, value)| (name.to_string(), value.to_string()));
            let mut findings = Findings::default();
            settings(&Facts::new("9.7.4", variables), &mut findings);
            findings.refused()
        };
        assert!(refused("OFF") && !refused("ON"));
        for format in ["MIXED", "STATEMENT"] {
            let variables = [("log_bin", "ON"), ("binlog_format", format)];
            assert_eq!(found(&variables), ["binlog-format"]);
        }
    }

    #[test]
    fn filters_are_understood() {
        let names =
            |names: &[&str]| -> Vec<String> { names.iter().map(|name| name.to_string()).collect() };
        assert!(!leaves_out(&[], &[], "d"));
        assert!(leaves_out(&names(&["e"]), &[], "d"));
        assert!(!leaves_out(&names(&["e", "d"]), &names(&["d"]), "d"));
        assert!(leaves_out(&[], &names(&["d"]), "d"));
    }
}
