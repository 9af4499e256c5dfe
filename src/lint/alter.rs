//! Judges the clauses of ALTER TABLE.

use super::Remark;
use super::advice::{beginning, drop_index, migrate, rename_table, shorten};
use super::catalogue::{Catalogue, Table};
use super::rules::{self, Rule};
use super::source::Statement;
use crate::alter::{AlterStatement, Clause, ClauseKind};
use crate::schema::table::IndexKind;

/// Judges a whole ALTER TABLE.
pub(super) fn judge(statement: &Statement<'_>, catalogue: &mut Catalogue) -> Vec<Remark> {
    let alter = match AlterStatement::parse(statement.text) {
        Ok(alter) => alter,
        Err(failure) => {
            return vec![Remark::new(
                &rules::UNREADABLE,
                statement.line,
                failure.cause(),
            )];
        }
    };
    let Some((schema, name)) = alter.table.clone() else {
        return vec![Remark::new(
            &rules::UNREADABLE,
            statement.line,
            "the table's name is missing",
        )];
    };
    let table = Table::new(schema, name);
    let is_new = catalogue.is_new(&table);
    let mut judge = Judge {
        table: &table,
        alter: &alter,
        catalogue,
        remarks: Vec::new(),
        line: statement.line,
    };
    if alter.ignore {
        judge.remark(
            &rules::ALTER_IGNORE,
            format!("rows of {} may be deleted", table.sql()),
            [],
        );
    }
    let mut from = 0;
    for clause in &alter.clauses {
        // Clauses are slices of the text in its order.
        if let Some(at) = statement.text[from..].find(&clause.text) {
            let start = from + at;
            judge.line = statement.line + statement.text[..start].matches('\n').count();
            from = start + clause.text.len();
        }
        judge.clause(clause);
    }
    let mut remarks = judge.remarks;
    if is_new {
        return Vec::new();
    }
    if catalogue.altered_before(&table) {
        remarks.push(
            Remark::new(
                &rules::MULTIPLE_ALTERS,
                statement.line,
                format!("{} is altered again in the same file", table.sql()),
            )
            .instead(["put all clauses into one ALTER TABLE"]),
        );
    }
    without_what_the_server_refuses(&alter, &mut remarks);
    remarks
}

/// With ALGORITHM=INSTANT, or INPLACE and LOCK=NONE, the server refuses what it could only do slowly.
fn without_what_the_server_refuses(alter: &AlterStatement, remarks: &mut Vec<Remark>) {
    let says = |wanted: &ClauseKind| alter.clauses.iter().any(|clause| clause.kind == *wanted);
    let instant = says(&ClauseKind::Algorithm("INSTANT".into()));
    let unlocked = says(&ClauseKind::Lock("NONE".into()));
    remarks.retain(|remark| {
        let slow = [
            &rules::TABLE_REBUILD,
            &rules::ADD_INDEX,
            &rules::CHANGE_PRIMARY_KEY,
        ]
        .iter()
        .any(|rule| rule.id == remark.rule.id);
        let blocking = remark.rule.id == rules::BLOCKING_ALTER.id;
        !(instant && (slow || blocking) || unlocked && blocking)
    });
}

/// One ALTER TABLE as it is judged, clause by clause.
pub(super) struct Judge<'s, 'c> {
    pub(super) table: &'s Table,
    alter: &'s AlterStatement,
    pub(super) catalogue: &'c mut Catalogue,
    pub(super) remarks: Vec<Remark>,
    pub(super) line: usize,
}

impl Judge<'_, '_> {
    pub(super) fn remark<const N: usize>(
        &mut self,
        rule: &'static Rule,
        message: String,
        instead: [String; N],
    ) {
        self.remarks
            .push(Remark::new(rule, self.line, message).instead(instead));
    }

    /// A remark whose remedy is to let changeling make the change.
    pub(super) fn online(&mut self, rule: &'static Rule, message: String, clause: &Clause) {
        let command = migrate(self.table, &clause.text);
        self.remark(rule, message, [command]);
    }

    fn clause(&mut self, clause: &Clause) {
        match &clause.kind {
            ClauseKind::AddColumn { .. } => self.add_columns(clause),
            ClauseKind::AddSeveral(parts) => {
                self.add_columns(clause);
                for part in parts {
                    self.key_or_constraint(part, clause);
                }
            }
            ClauseKind::DropColumn { name } => self.drop_column(name),
            ClauseKind::Change { old, new } => {
                if old.to_lowercase() != new.to_lowercase() {
                    self.rename_column(old, new, clause);
                }
                self.change_columns(old, clause);
            }
            ClauseKind::RenameColumn { old, new } => self.rename_column(old, new, clause),
            ClauseKind::Modify { name } => self.change_columns(name, clause),
            ClauseKind::AlterColumn { name } => self.alter_column(name, clause),
            ClauseKind::RenameTable {
                schema,
                table: name,
            } => {
                let new = Table::new(schema.clone(), name.clone());
                self.remarks.push(rename_table(self.table, &new, self.line));
                self.catalogue.rename(self.table, &new);
            }
            ClauseKind::PartitionOperation { verb } => self.partition(verb, clause),
            ClauseKind::TableOptions(options) => self.table_options(options, clause),
            _ => self.whole_table(clause),
        }
    }

    /// Clauses about the table as a whole, and about how the server is to do it.
    fn whole_table(&mut self, clause: &Clause) {
        let table = self.table.sql();
        match &clause.kind {
            ClauseKind::ConvertCharset => self.online(
                &rules::CHANGE_CHARSET,
                format!("all text of {table} is converted"),
                clause,
            ),
            ClauseKind::OrderBy
            | ClauseKind::Force
            | ClauseKind::PartitionBy
            | ClauseKind::RemovePartitioning => self.online(
                &rules::TABLE_REBUILD,
                format!("{table} is built anew by {}", beginning(&clause.text)),
                clause,
            ),
            ClauseKind::Algorithm(word) if word == "COPY" => self.blocking("ALGORITHM=COPY"),
            ClauseKind::Lock(word) if word == "SHARED" || word == "EXCLUSIVE" => {
                self.blocking(&format!("LOCK={word}"));
            }
            ClauseKind::Tablespace if beginning(&clause.text).starts_with("DISCARD") => self
                .remark(
                    &rules::DISCARD_TABLESPACE,
                    format!("the data file of {table} is deleted"),
                    [],
                ),
            ClauseKind::Versioning | ClauseKind::Other => self.remark(
                &rules::UNKNOWN,
                format!(
                    "what `{}` does to {table} is not known",
                    shorten(&clause.text)
                ),
                [],
            ),
            // Only about how, about checks that are lifted, or about what is not data.
            ClauseKind::Algorithm(_)
            | ClauseKind::Lock(_)
            | ClauseKind::Tablespace
            | ClauseKind::Validation
            | ClauseKind::Keys
            | ClauseKind::AlterIndex { .. }
            | ClauseKind::AlterConstraint { .. }
            | ClauseKind::DropForeignKey { .. }
            | ClauseKind::DropConstraint { .. } => {}
            key => self.key_or_constraint(key, clause),
        }
    }

    fn blocking(&mut self, words: &str) {
        let clauses: Vec<&str> = self
            .alter
            .clauses
            .iter()
            .filter(|c| !matches!(c.kind, ClauseKind::Algorithm(_) | ClauseKind::Lock(_)))
            .map(|clause| clause.text.as_str())
            .collect();
        let command = migrate(self.table, &clauses.join(", "));
        self.remark(
            &rules::BLOCKING_ALTER,
            format!("{words} locks {}", self.table.sql()),
            [command],
        );
    }

    /// Keys and constraints, in a clause of their own or among others in `ADD (…)`.
    pub(super) fn key_or_constraint(&mut self, kind: &ClauseKind, clause: &Clause) {
        let table = self.table.sql();
        match kind {
            ClauseKind::AddIndex {
                name, unique: true, ..
            } => self.add_unique(name.as_deref().unwrap_or("without a name"), clause),
            ClauseKind::AddIndex {
                kind: IndexKind::Fulltext | IndexKind::Spatial,
                ..
            } => self.online(
                &rules::BLOCKING_ALTER,
                format!("a FULLTEXT or SPATIAL index of {table} is built while nobody may write"),
                clause,
            ),
            ClauseKind::AddIndex { name, .. } => {
                let name = name.as_deref().unwrap_or("without a name");
                self.online(
                    &rules::ADD_INDEX,
                    format!("index {name} is added to {table}"),
                    clause,
                );
            }
            ClauseKind::AddPrimaryKey => self.online(
                &rules::CHANGE_PRIMARY_KEY,
                format!("{table} gets another primary key"),
                clause,
            ),
            ClauseKind::DropPrimaryKey if !self.adds(|k| *k == ClauseKind::AddPrimaryKey) => self
                .remark(
                    &rules::DROP_PRIMARY_KEY,
                    format!("{table} is left without a primary key"),
                    ["add the new primary key in the same statement".to_string()],
                ),
            ClauseKind::AddForeignKey { .. } => self.remark(
                &rules::ADD_FOREIGN_KEY,
                format!("{table} gets a foreign key"),
                [
                    "look for rows without a parent first".to_string(),
                    "consider keeping the reference in the application".to_string(),
                ],
            ),
            ClauseKind::AddCheck { .. } => {
                self.online(&rules::ADD_CHECK, format!("{table} gets a check"), clause)
            }
            ClauseKind::DropIndex { name } => self.drop_index(name),
            ClauseKind::RenameIndex { old, new } => self.remark(
                &rules::RENAME_INDEX,
                format!("index {old} of {table} becomes {new}"),
                [format!(
                    "look for `INDEX ({old})` in the application's queries first"
                )],
            ),
            _ => {}
        }
    }

    fn adds(&self, wanted: impl Fn(&ClauseKind) -> bool) -> bool {
        self.alter.kinds().any(wanted)
    }

    fn drop_index(&mut self, dropped: &str) {
        let replaced = self.adds(|kind| {
            matches!(kind, ClauseKind::AddIndex { name: Some(name), .. } if name.eq_ignore_ascii_case(dropped))
        });
        if !replaced {
            self.remarks
                .push(drop_index(self.table, dropped, self.line));
        }
    }

    pub(super) fn add_unique(&mut self, name: &str, clause: &Clause) {
        let table = self.table.sql();
        self.online(
            &rules::ADD_UNIQUE,
            format!("unique key {name} is added to {table}"),
            clause,
        );
        if let Some(remark) = self.remarks.last_mut() {
            remark.instead.insert(
                0,
                "look for duplicates first (`changeling plan` does), and let the application expect error 1062"
                    .to_string(),
            );
        }
    }

    fn partition(&mut self, verb: &str, clause: &Clause) {
        let table = self.table.sql();
        match verb {
            "DROP" | "TRUNCATE" | "EXCHANGE" | "CONVERT" => self.remark(
                &rules::DROP_PARTITION,
                format!("rows leave {table} by {verb} PARTITION"),
                ["keep a copy of the rows until nobody misses them".to_string()],
            ),
            "DISCARD" => self.remark(
                &rules::DISCARD_TABLESPACE,
                format!("data files of {table} are deleted"),
                [],
            ),
            "REORGANIZE" | "COALESCE" | "REBUILD" | "OPTIMIZE" | "REPAIR" => self.online(
                &rules::TABLE_REBUILD,
                format!("partitions of {table} are built anew"),
                clause,
            ),
            _ => {}
        }
    }

    fn table_options(&mut self, options: &[(String, String)], clause: &Clause) {
        const REBUILDING: [&str; 7] = [
            "ENGINE",
            "ROW_FORMAT",
            "KEY_BLOCK_SIZE",
            "ENCRYPTION",
            "COMPRESSION",
            "TABLESPACE",
            "PAGE_COMPRESSED",
        ];
        if let Some((name, value)) = options
            .iter()
            .find(|(name, _)| REBUILDING.contains(&name.as_str()))
        {
            self.online(
                &rules::TABLE_REBUILD,
                format!("{} is built anew for {name}={value}", self.table.sql()),
                clause,
            );
        }
    }
}
