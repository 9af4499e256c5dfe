//! How a report is written: for people, as JSON, as SARIF for code scanning, as GitHub annotations.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::rules::{RULES, Severity};
use super::{Finding, Report};

/// For people: one line a finding with its reason and the way to do it safely, and a sum.
pub fn text(report: &Report) -> String {
    let mut out = String::new();
    for finding in report.open() {
        let Finding {
            file,
            line,
            rule,
            message,
            ..
        } = finding;
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "{file}:{line}: {} {}: {message}",
            rule.severity.word(),
            rule.id
        );
        let _ = writeln!(out, "    {}", rule.why);
        match finding.instead.as_slice() {
            [] => {}
            [one] => {
                let _ = writeln!(out, "    instead: {one}");
            }
            steps => {
                let _ = writeln!(out, "    instead:");
                for (index, step) in steps.iter().enumerate() {
                    let _ = writeln!(out, "      {}. {step}", index + 1);
                }
            }
        }
    }
    let _ = writeln!(out, "{}", sum(report));
    out
}

/// `2 errors, 1 warning, 0 notes in 5 statements of 2 files (1 accepted)`
fn sum(report: &Report) -> String {
    let count = |severity: Severity| {
        report
            .open()
            .filter(|f| f.rule.severity == severity)
            .count()
    };
    let plural = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    let mut line = format!(
        "{}, {}, {} in {} of {}",
        plural(count(Severity::Error), "error"),
        plural(count(Severity::Warning), "warning"),
        plural(count(Severity::Note), "note"),
        plural(report.statements, "statement"),
        plural(report.files, "file"),
    );
    let accepted = report.findings.len() - report.open().count();
    if accepted > 0 {
        let _ = write!(line, ", {accepted} accepted");
    }
    if report.way_back > 0 {
        let _ = write!(
            line,
            ", {} of the way back not judged",
            plural(report.way_back, "statement")
        );
    }
    line
}

/// One JSON object.
pub fn json(report: &Report) -> String {
    let findings: Vec<Value> = report
        .findings
        .iter()
        .map(|finding| {
            json!({
                "file": finding.file,
                "line": finding.line,
                "rule": finding.rule.id,
                "severity": finding.rule.severity.word(),
                "message": finding.message,
                "why": finding.rule.why,
                "instead": finding.instead,
                "accepted": finding.accepted,
            })
        })
        .collect();
    let value = json!({
        "files": report.files,
        "statements": report.statements,
        "statements_of_the_way_back": report.way_back,
        "findings": findings,
    });
    format!("{value:#}\n")
}

/// SARIF 2.1.0; what was accepted is suppressed in the source.
pub fn sarif(report: &Report) -> String {
    let level = |severity: Severity| match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    let rules: Vec<Value> = RULES
        .iter()
        .map(|rule| {
            json!({
                "id": rule.id,
                "shortDescription": { "text": rule.why },
                "defaultConfiguration": { "level": level(rule.severity) },
            })
        })
        .collect();
    let results: Vec<Value> = report
        .findings
        .iter()
        .map(|finding| {
            let mut text = format!("{}: {}", finding.message, finding.rule.why);
            for step in &finding.instead {
                let _ = write!(text, "\n- {step}");
            }
            let mut result = json!({
                "ruleId": finding.rule.id,
                "level": level(finding.rule.severity),
                "message": { "text": text },
                "locations": [{
                    "physicalLocation": {
                        "artifactLocation": { "uri": finding.file },
                        "region": { "startLine": finding.line },
                    },
                }],
            });
            if let Some(reason) = &finding.accepted {
                result["suppressions"] = json!([{ "kind": "inSource", "justification": reason }]);
            }
            result
        })
        .collect();
    let value = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {
                "driver": {
                    "name": "changeling lint",
                    "version": env!("CARGO_PKG_VERSION"),
                    "rules": rules,
                },
            },
            "results": results,
        }],
    });
    format!("{value:#}\n")
}

/// Workflow commands that GitHub shows beside the lines of a pull request.
pub fn github(report: &Report) -> String {
    let mut out = String::new();
    for finding in report.open() {
        let command = match finding.rule.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "notice",
        };
        let mut message = format!("{}: {}", finding.message, finding.rule.why);
        for step in &finding.instead {
            let _ = write!(message, "\n- {step}");
        }
        let _ = writeln!(
            out,
            "::{command} file={},line={},title={}::{}",
            property(&finding.file),
            finding.line,
            property(finding.rule.id),
            data(&message),
        );
    }
    out
}

fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
