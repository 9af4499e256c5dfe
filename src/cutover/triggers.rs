//! The original's triggers on the new table.
//!
//! A trigger's name is unique in its schema, so the new table's triggers cannot have the old one's
//! names from the first moment. They are created under the lock, when the last changes are applied,
//! with a tilde before their names: from the swap on, every write fires them. After it, under a short
//! lock of its own, the old table's triggers go and the new table's are created again under the names
//! proper. Only in that moment a lost connection leaves a trigger missing; its text is in the log.
//!
//! With a suffix, triggers of the new table have names of their own and the old table keeps its: all of
//! that is left out.

use std::time::Duration;

use tokio::time::Instant;

use super::crew::{bounded, open_locker, open_watch, unlock};
use crate::alter::lexer::{self, Dialect};
use crate::failure::{Context, Failure, FailureKind, Result};
use crate::mysql::quote::{self, OWN_DDL};
use crate::mysql::{Server, Session};
use crate::names::{TABLE_NAME_CHARS_MAX, TableName};
use crate::settings::TriggerSuffix;

/// Before the name of a trigger that is not yet called by it.
const MARK: char = '~';
/// How long the lock for the names is waited for, and how long it rests after that: one part in 25.
const LOCK_WAIT: Duration = Duration::from_millis(60);
const LOCK_PAUSE: Duration = Duration::from_millis(1500);
/// How long the names are tried.
const TRY_LIMIT: Duration = Duration::from_secs(120);
/// How long DDL under the lock may take, all of it.
const UNDER_LOCK: Duration = Duration::from_secs(2);

/// One trigger as information_schema has it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Trigger {
    name: String,
    /// What it is created as on the ghost.
    new_name: String,
    timing: String,
    event: String,
    statement: String,
    definer: String,
    sql_mode: String,
    charset: String,
    collation: String,
}

type Row = (String, String, String, String, String, String, String);

/// The triggers of a table, in the order in which they fire.
///
/// # Errors
/// What the server answered; a text that cannot be taken apart.
pub(super) async fn load(session: &mut Session, table: &TableName) -> Result<Vec<Trigger>> {
    let rows: Vec<Row> = session
        .query(&format!(
            "SELECT TRIGGER_NAME, ACTION_TIMING, EVENT_MANIPULATION, DEFINER, SQL_MODE, \
             CHARACTER_SET_CLIENT, COLLATION_CONNECTION FROM information_schema.TRIGGERS \
             WHERE EVENT_OBJECT_SCHEMA = {} AND EVENT_OBJECT_TABLE = {} \
             ORDER BY EVENT_MANIPULATION, ACTION_TIMING, ACTION_ORDER",
            quote::string(&table.schema),
            quote::string(&table.table)
        ))
        .await
        .doing(|| format!("read the triggers of {table}"))?;
    let mut triggers = Vec::new();
    for row in rows {
        let (name, timing, event, definer, sql_mode, charset, collation) = row;
        // Not ACTION_STATEMENT: in it MySQL writes `'it''s'` as `'it's'` (seen on 9.7).
        let shown: mysql_async::Row = session
            .one(&format!(
                "SHOW CREATE TRIGGER {}",
                quote::table(&table.sibling(name.as_str()))
            ))
            .await
            .doing(|| format!("read the trigger {name} of {table}"))?;
        let text: String = shown.get(2).unwrap_or_default();
        let Some(statement) = body(&text, &sql_mode) else {
            return Err(Failure::failed(format!(
                "the trigger {name} cannot be understood: {text}"
            ))
            .remedy("drop it, and create it again after the migration"));
        };
        triggers.push(Trigger {
            statement: statement.to_string(),
            new_name: format!("{MARK}{name}"),
            name,
            timing,
            event,
            definer,
            sql_mode,
            charset,
            collation,
        });
    }
    Ok(triggers)
}

/// What a trigger does: all that comes after FOR EACH ROW and the place in the order.
fn body<'t>(text: &'t str, sql_mode: &str) -> Option<&'t str> {
    let tokens = lexer::tokens(text, Dialect::of_sql_mode(sql_mode));
    let tokens: Vec<_> = tokens.iter().filter(|token| !token.is_comment()).collect();
    let header = tokens
        .windows(3)
        .position(|three| three[0].is("FOR") && three[1].is("EACH") && three[2].is("ROW"))?;
    let mut rest = &tokens[header + 3..];
    if rest.first()?.is("FOLLOWS") || rest.first()?.is("PRECEDES") {
        rest = rest.get(2..)?;
    }
    Some(&text[rest.first()?.start..])
}

/// Whether all of them can be recreated.
///
/// # Errors
/// The first that cannot, and why.
pub(super) fn check(triggers: &[Trigger]) -> Result<()> {
    for trigger in triggers {
        let why = if trigger.name.starts_with(MARK) {
            "its name begins with the mark of triggers in the middle of a swap"
        } else if trigger.new_name.chars().count() > TABLE_NAME_CHARS_MAX {
            "its name has no room for a mark or suffix"
        } else if !trigger.charset.starts_with("utf8") && !trigger.statement.is_ascii() {
            "its text was written in another character set than UTF-8"
        } else {
            continue;
        };
        return Err(Failure::new(
            FailureKind::Refused,
            format!("the trigger {} cannot be recreated: {why}", trigger.name),
        )
        .remedy("drop it, and create it again after the migration"));
    }
    Ok(())
}

/// Creates triggers under their new names on the ghost, in the session that has it locked.
///
/// # Errors
/// What the server answered.
pub(super) async fn create_new(
    session: &mut Session,
    triggers: &[Trigger],
    ghost: &TableName,
) -> Result<()> {
    for trigger in triggers {
        trigger.create(session, &trigger.new_name, ghost).await?;
    }
    Ok(())
}

/// Drops a ghost's triggers, which only a swap puts there: the table is a ghost again.
///
/// # Errors
/// What the server answered.
pub(super) async fn drop_all(session: &mut Session, ghost: &TableName) -> Result<()> {
    for trigger in load(session, ghost).await? {
        trigger.drop(session, ghost).await?;
    }
    Ok(())
}

/// Gives the new table's marked triggers their names, for which the old table's go. Tries for two
/// minutes, each time asking for the lock for some milliseconds only.
///
/// # Errors
/// What the server answered last.
pub(super) async fn take_names(
    server: &Server,
    original: &TableName,
    old: &TableName,
) -> Result<()> {
    let mut session = open_locker(server, UNDER_LOCK).await?;
    let marked = |all: Vec<Trigger>| all.into_iter().filter(|one| one.name.starts_with(MARK));
    if marked(load(&mut session, original).await?).next().is_none() {
        session.close().await;
        return Ok(());
    }
    let mut watch = open_watch(server).await?;
    let lock = format!(
        "{OWN_DDL}LOCK TABLES {} WRITE, {} WRITE",
        quote::table(original),
        quote::table(old)
    );
    let deadline = Instant::now() + TRY_LIMIT;
    loop {
        let (id, now) = (session.id(), Instant::now());
        let locked = bounded(&mut watch, id, now + LOCK_WAIT, session.execute(&lock)).await;
        match locked {
            Ok(_) => break,
            Err(failure) if failure.is_disconnected() || now >= deadline => return Err(failure),
            Err(_) => tokio::time::sleep(LOCK_PAUSE).await,
        }
    }
    let (id, until) = (session.id(), Instant::now() + UNDER_LOCK);
    let renamed = bounded(&mut watch, id, until, exchange(&mut session, original, old)).await;
    unlock(&mut session).await?;
    session.close().await;
    watch.close().await;
    renamed
}

async fn exchange(session: &mut Session, original: &TableName, old: &TableName) -> Result<()> {
    let olds = load(session, old).await?;
    for marked in load(session, original).await? {
        let Some(name) = marked.name.strip_prefix(MARK) else {
            continue;
        };
        tracing::info!(
            event = "trigger",
            "trigger {name} of {original} is recreated: {}",
            marked.text(name, original)
        );
        if let Some(old_one) = olds.iter().find(|one| one.name == name) {
            old_one.drop(session, old).await?;
        }
        marked.drop(session, original).await?;
        marked.create(session, name, original).await?;
    }
    Ok(())
}

impl Trigger {
    /// Takes its new name by a suffix instead of the mark.
    pub(super) fn rename(&mut self, suffix: &TriggerSuffix) {
        self.new_name = suffix.name(&self.name);
    }

    fn text(&self, name: &str, table: &TableName) -> String {
        // A role has no host.
        let definer = match self.definer.rsplit_once('@') {
            Some((user, host)) if !host.is_empty() => {
                format!("{}@{}", quote::ident(user), quote::ident(host))
            }
            Some((role, _)) => quote::ident(role),
            None => quote::ident(&self.definer),
        };
        format!(
            "{OWN_DDL}CREATE DEFINER = {definer} TRIGGER {} {} {} ON {} FOR EACH ROW {}",
            quote::table(&table.sibling(name)),
            self.timing,
            self.event,
            quote::table(table),
            self.statement
        )
    }

    /// Creates it with the settings it was first created with, which the server keeps with it.
    async fn create(&self, session: &mut Session, name: &str, table: &TableName) -> Result<()> {
        let text = self.text(name, table);
        // An ASCII text is the same in every character set that a client may have.
        let names = if self.charset.starts_with("utf8") || text.is_ascii() {
            format!("SET NAMES {} COLLATE {}", self.charset, self.collation)
        } else {
            "SET NAMES utf8mb4".to_string()
        };
        let settings = [
            "SET @changeling_sql_mode = @@SESSION.sql_mode".to_string(),
            format!(
                "SET SESSION sql_mode = '{}'",
                self.sql_mode.replace('\'', "")
            ),
            names,
        ];
        for setting in settings {
            session.execute(&setting).await?;
        }
        let created = session.execute(&text).await;
        for setting in [
            "SET NAMES utf8mb4",
            "SET SESSION sql_mode = @changeling_sql_mode",
        ] {
            session.execute(setting).await?;
        }
        created.doing(|| format!("create the trigger {name} on {table}"))?;
        Ok(())
    }

    async fn drop(&self, session: &mut Session, table: &TableName) -> Result<()> {
        let name = quote::table(&table.sibling(self.name.as_str()));
        session
            .execute(&format!("{OWN_DDL}DROP TRIGGER IF EXISTS {name}"))
            .await
            .doing(|| format!("drop the trigger {} of {table}", self.name))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trigger(name: &str) -> Trigger {
        Trigger {
            name: name.into(),
            new_name: format!("~{name}"),
            timing: "BEFORE".into(),
            event: "INSERT".into(),
            statement: "SET NEW.a = 'x'".into(),
            definer: "an@app@%".into(),
            sql_mode: String::new(),
            charset: "latin1".into(),
            collation: "latin1_swedish_ci".into(),
        }
    }

    #[test]
    fn texts_name_definer_and_table() {
        assert_eq!(
            trigger("tr").text("~tr", &TableName::new("d", "t")),
            "/* changeling */ CREATE DEFINER = `an@app`@`%` TRIGGER `d`.`~tr` BEFORE INSERT ON `d`.`t` \
             FOR EACH ROW SET NEW.a = 'x'"
        );
    }

    #[test]
    fn bodies_are_taken_out() {
        let text = "CREATE DEFINER=`for`@`%` TRIGGER `each row` BEFORE INSERT ON t /* FOR EACH ROW */\n\
                    for EACH ROW FOLLOWS `x` BEGIN SET NEW.a = 'it''s'; END";
        assert_eq!(body(text, ""), Some("BEGIN SET NEW.a = 'it''s'; END"));
        assert_eq!(
            body("TRIGGER a AFTER DELETE ON t FOR EACH ROW SET @a = 1", ""),
            Some("SET @a = 1")
        );
        assert_eq!(body("nothing of the kind", ""), None);
    }

    #[test]
    fn what_cannot_be_recreated_is_refused() {
        assert!(check(&[trigger("a"), trigger("b")]).is_ok());
        let foreign = Trigger {
            statement: "SET NEW.a = 'é'".into(),
            ..trigger("a")
        };
        for refused in [trigger("~a"), trigger(&"x".repeat(64)), foreign] {
            let failure = check(&[refused]).unwrap_err();
            assert_eq!(failure.kind(), FailureKind::Refused);
        }
    }
}
