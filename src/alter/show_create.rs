//! Reads the text of SHOW CREATE TABLE: its parts between the parentheses, each as the server wrote it.

use super::lexer::{Dialect, tokens};
use crate::schema::table::same_name;

/// The parts of a table's definition, verbatim: columns, indexes, constraints.
pub fn parts(create_statement: &str) -> Vec<&str> {
    let all = tokens(create_statement, Dialect::default());
    let Some(open) = all.iter().position(|token| token.is_char('(')) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let mut depth = 0usize;
    let mut start = open + 1;
    for (at, token) in all.iter().enumerate().skip(open + 1) {
        let ends = depth == 0 && (token.is_char(',') || token.is_char(')'));
        if ends && start < at {
            found.push(&create_statement[all[start].start..all[at - 1].end()]);
            start = at + 1;
        }
        if token.is_char('(') {
            depth += 1;
        } else if token.is_char(')') {
            if depth == 0 {
                break;
            }
            depth -= 1;
        }
    }
    found
}

/// A part that defines an index: the index's name (`PRIMARY` for the primary key).
pub fn index_name(part: &str) -> Option<String> {
    let words = tokens(part, Dialect::default());
    let key = words.iter().position(|token| token.is("KEY"))?;
    match &words[..key] {
        [] => {}
        [kind] if kind.is("PRIMARY") => return Some("PRIMARY".to_string()),
        [kind]
            if ["UNIQUE", "FULLTEXT", "SPATIAL", "VECTOR"]
                .iter()
                .any(|k| kind.is(k)) => {}
        _ => return None,
    }
    words.get(key + 1)?.name()
}

/// The part that defines this index.
pub fn index_definition<'t>(create_statement: &'t str, name: &str) -> Option<&'t str> {
    parts(create_statement)
        .into_iter()
        .find(|part| index_name(part).is_some_and(|found| same_name(&found, name)))
}

/// A part `CONSTRAINT name CHECK …`: the name, and the text from CHECK on.
pub fn check_constraint(part: &str) -> Option<(String, &str)> {
    match tokens(part, Dialect::default()).as_slice() {
        [constraint, name, check, ..] if constraint.is("CONSTRAINT") && check.is("CHECK") => {
            Some((name.name()?, &part[check.start..]))
        }
        _ => None,
    }
}

/// The text without the table's name and without the AUTO_INCREMENT counter: equal for tables of one
/// definition.
pub fn comparable(create_statement: &str) -> String {
    without(create_statement, false)
}

/// As [`comparable`], and without the names of constraints, which the server makes from the table's name
/// and makes anew when the table is renamed.
pub fn comparable_renamed(create_statement: &str) -> String {
    without(create_statement, true)
}

fn without(create_statement: &str, constraint_names: bool) -> String {
    let all = tokens(create_statement, Dialect::default());
    let mut kept = String::new();
    let mut at = 0;
    let mut leave_out = |from: usize, to: usize| {
        kept.push_str(create_statement.get(at..from).unwrap_or_default());
        at = to;
    };
    // CREATE TABLE `name` (
    if let [_, _, name, ..] = all.as_slice() {
        leave_out(name.start, name.end());
    }
    let mut depth = 0usize;
    for (index, token) in all.iter().enumerate() {
        if token.is_char('(') {
            depth += 1;
        } else if token.is_char(')') {
            depth = depth.saturating_sub(1);
        } else if depth == 0
            && token.is("AUTO_INCREMENT")
            && let [equals, number, ..] = &all[index + 1..]
            && equals.is_char('=')
        {
            // The blank before it goes too.
            leave_out(token.start.saturating_sub(1), number.end());
        } else if constraint_names
            && depth == 1
            && token.is("CONSTRAINT")
            && let Some(name) = all.get(index + 1)
        {
            leave_out(name.start, name.end());
        }
    }
    leave_out(create_statement.len(), create_statement.len());
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "CREATE TABLE `t (1` (\n  `id` int NOT NULL AUTO_INCREMENT,\n  \
        `e` enum('a,b)','KEY') COMMENT 'x, y',\n  PRIMARY KEY (`id`),\n  \
        UNIQUE KEY `u` (`id`,`e`(3)) /*!80000 INVISIBLE */,\n  KEY `f,``g` (((`id` + 1))),\n  \
        CONSTRAINT `t_chk_1` CHECK ((`id` > 0)) /*!80016 NOT ENFORCED */\n\
        ) ENGINE=InnoDB AUTO_INCREMENT=17 DEFAULT CHARSET=utf8mb4";

    #[test]
    fn parts_are_verbatim() {
        let found = parts(TEXT);
        assert_eq!(found.len(), 6);
        assert_eq!(found[1], "`e` enum('a,b)','KEY') COMMENT 'x, y'");
        let names: Vec<_> = found.iter().filter_map(|part| index_name(part)).collect();
        assert_eq!(names, ["PRIMARY", "u", "f,`g"]);
        assert_eq!(
            index_definition(TEXT, "U"),
            Some("UNIQUE KEY `u` (`id`,`e`(3)) /*!80000 INVISIBLE */")
        );
        assert_eq!(
            check_constraint(found[5]),
            Some((
                "t_chk_1".to_string(),
                "CHECK ((`id` > 0)) /*!80016 NOT ENFORCED */"
            ))
        );
        assert_eq!(check_constraint(found[0]), None);
        assert!(parts("CREATE VIEW x").is_empty());
    }

    #[test]
    fn name_and_counter_do_not_count() {
        let text = comparable(TEXT);
        assert!(text.starts_with("CREATE TABLE  (\n  `id` int NOT NULL AUTO_INCREMENT,"));
        assert!(text.ends_with(") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"));
    }
}
