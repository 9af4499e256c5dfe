//! What the server itself would do with the ALTER: it is asked, on an empty copy of the table.

use std::collections::BTreeSet;
use std::fmt;

use super::statement::AlterStatement;
use super::{copy_table, show_create};
use crate::failure::{Context, ErrorClass, Failure, Result};
use crate::mysql::error::ER_LOCK_WAIT_TIMEOUT;
use crate::mysql::quote::{self, OWN_DDL};
use crate::mysql::{Facts, Session};
use crate::names::{Names, TableName};
use crate::schema::{self, TableDefinition};

/// The cheapest way the server offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NativeWay {
    /// `ALGORITHM=INSTANT`.
    Instant,
    /// `ALGORITHM=INPLACE, LOCK=NONE` (MariaDB: `NOCOPY`) that builds nothing: metadata only.
    Metadata,
    /// The same with indexes that are built from the rows, which stay as they are. Also where the account
    /// may not know whether indexes are built (the server tells it with the PROCESS privilege).
    IndexBuild,
    /// `ALGORITHM=INPLACE, LOCK=NONE`, with a new copy of all rows. Also where the account may not know
    /// whether rows are copied (MySQL tells it with the PROCESS privilege).
    InplaceRebuild,
    /// `ALGORITHM=INPLACE`, writers wait.
    InplaceShared,
    /// `ALGORITHM=COPY`, writers wait.
    Copy,
}

/// The server's answer.
#[derive(Clone, Debug, PartialEq)]
pub struct NativeAnswer {
    /// The cheapest way.
    pub way: NativeWay,
    /// Each cheaper way that the server refused, with its words.
    pub refused: Vec<(&'static str, String)>,
    /// The definition that the ALTER makes.
    pub definition: TableDefinition,
    /// The ALGORITHM and LOCK clauses that ask for this way.
    pub modifiers: &'static str,
    /// How many INSTANT changes of columns the original has had since its last rebuild. The server takes
    /// a limited number (64; MySQL 9.1: 255) and the scratch table has had none, so that INSTANT may
    /// still be refused on the original. `None` where it cannot be known.
    pub row_versions: Option<u64>,
}

/// MariaDB takes `ALGORITHM=INSTANT PARTITION BY …` and copies the table all the same (seen on 10.11).
const PARTITIONING_UNASKED: &str =
    "the server does not keep to an ALGORITHM where partitioning changes";

/// How long InnoDB's own tables are waited for. For one row of them MySQL goes through all tables, and asks for
/// the metadata lock of each: whoever waits to alter one of them keeps it.
const DICTIONARY_WAIT_S: u64 = 1;

/// The suffix of the scratch table: `_t_ghp`.
const SCRATCH: &str = "ghp";

/// The scratch table of a migration.
pub fn scratch(names: &Names) -> TableName {
    names.helper(SCRATCH)
}

/// Asks the server; the scratch table is removed before returning. A scratch table that an interrupted
/// probe left is replaced: it never has rows that anybody wants.
///
/// # Errors
/// The server's own words where it takes the ALTER in no way (class `Definite`); its other errors.
/// Refused for an ALTER that must not be run on a copy.
pub async fn probe(
    session: &mut Session,
    names: &Names,
    original: &TableDefinition,
    alter: &AlterStatement,
) -> Result<NativeAnswer> {
    copy_table::stays_within_table(alter)?;
    let scratch = scratch(names);
    remove_left_over(session, &scratch).await?;
    let answer = ask(session, original, &scratch, alter).await;
    if !matches!(&answer, Err(failure) if failure.is_disconnected()) {
        session
            .execute(&format!(
                "{OWN_DDL}DROP TABLE IF EXISTS {}",
                quote::table(&scratch)
            ))
            .await
            .doing(|| format!("drop the scratch table {scratch}"))?;
    }
    answer
}

/// Drops a left-over scratch table, but only an empty one: a table with rows is not ours.
async fn remove_left_over(session: &mut Session, scratch: &TableName) -> Result<()> {
    if schema::load(session, scratch).await?.is_none() {
        return Ok(());
    }
    let table = quote::table(scratch);
    let row: Option<u8> = session
        .first(&format!("SELECT 1 FROM {table} LIMIT 1"))
        .await?;
    if row.is_some() {
        return Err(Failure::new(
            crate::failure::FailureKind::Refused,
            format!("{scratch} exists and has rows"),
        )
        .remedy("rename or drop it: the name is needed for asking the server about the ALTER"));
    }
    session
        .execute(&format!("{OWN_DDL}DROP TABLE {table}"))
        .await?;
    Ok(())
}

async fn ask(
    session: &mut Session,
    original: &TableDefinition,
    scratch: &TableName,
    alter: &AlterStatement,
) -> Result<NativeAnswer> {
    let written = copy_table::create(session, original, scratch, alter).await?;
    let sql = |modifiers: &str| {
        written
            .sql_with(scratch, modifiers)
            .ok_or_else(copy_table::nothing_to_do)
    };
    let id_before = innodb_number(session, "TABLE_ID", scratch).await?;
    let indexes_before = index_ids(session, scratch).await?;
    let row_versions = innodb_number(session, "TOTAL_ROW_VERSIONS", &original.name).await?;
    let mut refused = Vec::new();
    let mut taken = None;
    let has_nocopy = session.server().facts().has_nocopy();
    let cheap = if has_nocopy && alter.partitions() {
        refused.push(("ALGORITHM", PARTITIONING_UNASKED.to_string()));
        Vec::new()
    } else {
        ways(has_nocopy).collect()
    };
    for (way, clause) in cheap {
        match session.execute(&sql(clause)?).await {
            Ok(_) => {
                taken = Some((way, clause));
                break;
            }
            Err(failure) if failure.class() == Some(ErrorClass::Definite) => {
                refused.push((clause, failure.cause().to_string()));
            }
            Err(failure) => return Err(failure),
        }
    }
    let (mut way, modifiers) = match taken {
        Some(taken) => taken,
        None => {
            // Neither ALGORITHM nor LOCK is said: what it refuses now it refuses for good.
            session.execute(&sql("")?).await?;
            (NativeWay::Copy, "")
        }
    };
    if way == NativeWay::InplaceRebuild
        && id_before.is_some()
        && id_before == innodb_number(session, "TABLE_ID", scratch).await?
    {
        way = NativeWay::IndexBuild;
    }
    if way == NativeWay::IndexBuild {
        let now = index_ids(session, scratch).await?;
        if !now.is_empty() && now.is_subset(&indexes_before) {
            way = NativeWay::Metadata;
        }
    }
    let mut definition = schema::load(session, scratch)
        .await?
        .ok_or_else(|| Failure::failed(format!("{scratch} is gone")))?;
    definition.name = original.name.clone();
    Ok(NativeAnswer {
        way,
        refused,
        definition,
        modifiers,
        row_versions,
    })
}

/// The ways from cheap to dear. MariaDB can be asked for one that copies no rows; with MySQL the table's
/// id tells afterwards.
fn ways(has_nocopy: bool) -> impl Iterator<Item = (NativeWay, &'static str)> {
    let nocopy = has_nocopy.then_some((NativeWay::IndexBuild, "ALGORITHM=NOCOPY, LOCK=NONE"));
    [(NativeWay::Instant, "ALGORITHM=INSTANT")]
        .into_iter()
        .chain(nocopy)
        .chain([
            (NativeWay::InplaceRebuild, "ALGORITHM=INPLACE, LOCK=NONE"),
            (NativeWay::InplaceShared, "ALGORITHM=INPLACE, LOCK=SHARED"),
        ])
}

/// What InnoDB keeps of a table: its id, which a rebuild changes, or its row versions; `None` where it
/// cannot be known: MariaDB (which has NOCOPY instead), no PROCESS privilege, a version without the
/// column, a name that InnoDB encodes beyond ASCII, other DDL that keeps the dictionary.
async fn innodb_number(
    session: &mut Session,
    column: &str,
    table: &TableName,
) -> Result<Option<u64>> {
    const ER_BAD_FIELD: u16 = 1054;
    let facts = session.server().facts();
    if facts.has_nocopy() || facts.innodb_lists_encoded_names() {
        return Ok(None);
    }
    let (Some(schema), Some(name)) = (file_name(&table.schema), file_name(&table.table)) else {
        return Ok(None);
    };
    let sql = format!(
        "SELECT {column} FROM information_schema.INNODB_TABLES WHERE NAME = {}",
        quote::string(&format!("{schema}/{name}"))
    );
    match dictionary(session, &sql).await {
        Ok(numbers) => Ok(numbers.into_iter().next()),
        Err(failure) if is_unknowable(&failure) || failure.code() == Some(ER_BAD_FIELD) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// The ids of the table's indexes, those of its partitions too; a new id is a new index. Empty where they
/// cannot be known: no PROCESS privilege, a name that InnoDB encodes beyond ASCII, other DDL that keeps the
/// dictionary.
async fn index_ids(session: &mut Session, table: &TableName) -> Result<BTreeSet<u64>> {
    let (Some(schema), Some(name)) = (file_name(&table.schema), file_name(&table.table)) else {
        return Ok(BTreeSet::new());
    };
    let prefix = session.server().facts().innodb_dictionary_prefix();
    let whole = format!("{schema}/{name}");
    let sql = format!(
        "SELECT i.INDEX_ID FROM information_schema.{prefix}_INDEXES i \
         JOIN information_schema.{prefix}_TABLES t ON t.TABLE_ID = i.TABLE_ID \
         WHERE t.NAME = {whole} OR LEFT(t.NAME, {length}) = {partitions}",
        whole = quote::string(&whole),
        length = whole.len() + 3,
        partitions = quote::string(&format!("{whole}#p#")),
    );
    match dictionary(session, &sql).await {
        Ok(ids) => Ok(ids.into_iter().collect()),
        Err(failure) if is_unknowable(&failure) => Ok(BTreeSet::new()),
        Err(failure) => Err(failure),
    }
}

async fn dictionary(session: &mut Session, sql: &str) -> Result<Vec<u64>> {
    let lock_wait_s: u64 = session.one("SELECT @@SESSION.lock_wait_timeout").await?;
    set_lock_wait(session, DICTIONARY_WAIT_S).await?;
    let numbers = session.query(sql).await;
    if !numbers.as_ref().is_err_and(Failure::is_disconnected) {
        set_lock_wait(session, lock_wait_s).await?;
    }
    numbers
}

async fn set_lock_wait(session: &mut Session, seconds: u64) -> Result<()> {
    let sql = format!("SET SESSION lock_wait_timeout = {seconds}");
    session.execute(&sql).await?;
    Ok(())
}

/// Whether InnoDB's own tables are not to be read, for good or because other DDL keeps them.
fn is_unknowable(failure: &Failure) -> bool {
    failure.class() == Some(ErrorClass::Refused) || failure.code() == Some(ER_LOCK_WAIT_TIMEOUT)
}

/// A name in the server's encoding for file names, where it is ASCII: what is no letter, digit or `_` is
/// written as `@` and four hexadecimal digits.
fn file_name(name: &str) -> Option<String> {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_alphanumeric() || c == '_' {
            out.push(c);
        } else if c.is_ascii() {
            out.push_str(&format!("@{:04x}", u32::from(c)));
        } else {
            return None;
        }
    }
    Some(out)
}

impl NativeWay {
    /// Whether the server changes its catalogue only, so that it takes a moment on every server, the
    /// replicas included, however large the table is.
    pub fn takes_a_moment(self) -> bool {
        match self {
            NativeWay::Instant | NativeWay::Metadata => true,
            NativeWay::IndexBuild
            | NativeWay::InplaceRebuild
            | NativeWay::InplaceShared
            | NativeWay::Copy => false,
        }
    }
}

impl fmt::Display for NativeWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NativeWay::Instant => "INSTANT",
            NativeWay::Metadata => "INPLACE, metadata only",
            NativeWay::IndexBuild => "INPLACE, index build",
            NativeWay::InplaceRebuild => "INPLACE, rebuild",
            NativeWay::InplaceShared => "INPLACE, writers wait",
            NativeWay::Copy => "COPY, writers wait",
        })
    }
}

impl NativeAnswer {
    /// How many more INSTANT changes of columns the original can take; `None` where it cannot be known.
    pub fn row_versions_left(&self, facts: &Facts) -> Option<u64> {
        Some(facts.row_versions_max()?.saturating_sub(self.row_versions?))
    }

    /// Whether the definition after the ALTER is the one before it.
    pub fn changes_nothing(&self, original: &TableDefinition) -> bool {
        show_create::comparable(&self.definition.create_statement)
            == show_create::comparable(&original.create_statement)
    }
}
