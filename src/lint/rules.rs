//! The rules: what each is called, how bad it is, and why.

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Blocks, takes long, or fails on some data.
    Warning,
    /// Destroys data, or breaks the deployed application.
    Error,
}

impl Severity {
    /// `error`, `warning`, `note`.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

/// A rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// What `changeling:allow` and `--disable` call it.
    pub id: &'static str,
    /// How bad a finding of it is.
    pub severity: Severity,
    /// Why, in one sentence.
    pub why: &'static str,
}

macro_rules! rules {
    ($($constant:ident $severity:ident $id:literal $why:literal)+) => {
        $(
            #[doc = $why]
            pub static $constant: Rule = Rule {
                id: $id,
                severity: Severity::$severity,
                why: $why,
            };
        )+
        /// All of them, in the order of the documentation.
        pub static RULES: &[&Rule] = &[$(&$constant),+];
    };
}

rules! {
    DROP_TABLE Error "drop-table"
        "the rows are gone, and the deployed application fails on its next query of the table"
    DROP_DATABASE Error "drop-database"
        "all tables of the schema are gone at once"
    TRUNCATE Error "truncate"
        "all rows are gone at once, and no transaction brings them back"
    DROP_COLUMN Error "drop-column"
        "the values are gone, and the deployed application fails where it still names the column"
    DROP_PARTITION Error "drop-partition"
        "the rows of the partition are gone at once"
    DISCARD_TABLESPACE Error "discard-tablespace"
        "the table's data file is deleted"
    ALTER_IGNORE Error "alter-ignore"
        "ALTER IGNORE deletes rows that do not fit instead of failing"
    DELETE_WITHOUT_WHERE Error "delete-without-where"
        "every row of the table is deleted, in one transaction that locks all of them"
    UPDATE_WITHOUT_WHERE Error "update-without-where"
        "every row of the table is changed, in one transaction that locks all of them and holds up replicas"
    RENAME_TABLE Error "rename-table"
        "the deployed application still asks for the old name"
    RENAME_COLUMN Error "rename-column"
        "the deployed application still asks for the old name"
    ADD_NOT_NULL Error "add-not-null-without-default"
        "the deployed application inserts rows without the column, which strict mode refuses"
    DROP_DEFAULT Error "drop-default"
        "the deployed application may insert rows without the column, which strict mode then refuses"
    NARROW_TYPE Error "narrow-type"
        "values that do not fit the new type fail the change, and writes of such values fail afterwards"
    ENUM_REMOVAL Error "enum-removal"
        "rows with a removed label fail the change, and the deployed application may still write it"
    BINLOG_OFF Error "binlog-off"
        "what follows does not reach replicas, backups and change feeds"
    SET_NOT_NULL Warning "set-not-null"
        "rows with NULL fail the change, and writes of NULL fail afterwards"
    CHANGE_TYPE Warning "change-type"
        "the server copies the whole table and lets nobody write meanwhile, unless a VARCHAR only gets longer; whether values fit shows then"
    ENUM_CHANGE Warning "enum-change"
        "only labels added at the end are cheap; removed ones lose rows, and reordered ones copy the table and sort otherwise"
    CHANGE_CHARSET Warning "change-charset"
        "the table is copied, indexes may become too long, values equal under the new collation collide in unique keys, and joins with unchanged columns lose their index"
    ADD_UNIQUE Warning "add-unique"
        "duplicates that exist fail the change, and writes of duplicates fail afterwards"
    CHANGE_PRIMARY_KEY Warning "change-primary-key"
        "the table is copied in the order of the new key, and every secondary index with it"
    DROP_PRIMARY_KEY Error "drop-primary-key"
        "replicas look for each changed row by a scan, and the table cannot be changed online any more"
    DROP_INDEX Warning "drop-index"
        "queries that use the index become scans at once, and building it again takes long"
    RENAME_INDEX Warning "rename-index"
        "queries that name the index in a hint fail"
    ADD_INDEX Note "add-index"
        "the server builds it while writes go on, but replicas build it afterwards and fall behind by that time"
    ADD_FOREIGN_KEY Warning "add-foreign-key"
        "both tables are locked while rows are checked, and online schema change becomes hard for both"
    ADD_CHECK Warning "add-check"
        "rows that break it fail the change, and the table is copied while nobody may write"
    TABLE_REBUILD Warning "table-rebuild"
        "the whole table is built anew, which takes its time and its size in disk, and holds up replicas"
    BLOCKING_ALTER Warning "blocking-alter"
        "nobody can write to the table as long as the statement runs"
    MULTIPLE_ALTERS Warning "multiple-alters"
        "each statement may build the table anew; one statement with all clauses does it once"
    LOCK_TABLES Warning "lock-tables"
        "everybody else waits until the lock is given back"
    DROP_OBJECT Warning "drop-object"
        "the deployed application may still use it"
    NO_PRIMARY_KEY Warning "no-primary-key"
        "replicas look for each changed row by a scan, and the table cannot be changed online later"
    UNREADABLE Error "unreadable-statement"
        "what cannot be read cannot be judged"
    UNKNOWN Warning "unknown-statement"
        "a statement of an unknown kind may do anything"
    ALLOW_WITHOUT_REASON Error "allow-without-reason"
        "whoever reads the migration later must know why it was accepted"
    UNUSED_ALLOW Warning "unused-allow"
        "an acceptance that accepts nothing hides that the statement has changed"
}

/// The rule with that id.
pub fn by_id(id: &str) -> Option<&'static Rule> {
    RULES.iter().copied().find(|rule| rule.id == id)
}
