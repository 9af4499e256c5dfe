//! The checkpoint table: what a resume needs, written together.
//!
//! A checkpoint is the low watermark of the copy, the applied coordinates of replay, the work that is
//! still to come and the identity of both tables. The copy is idempotent, and replay from an older
//! coordinate converges; so a checkpoint may be old, but it may never claim more than is in the ghost.
//! That is why the watermark and the coordinates are read *before* they are written, and only committed
//! chunks and applied changes count.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::chunk::{Chunk, LowWatermark};
use crate::coordinates::Coordinates;
use crate::failure::{Context, Failure, FailureKind, Result};
use crate::key::{Key, hex};
use crate::mysql::Session;
use crate::mysql::quote::{self, OWN_DDL};
use crate::names::TableName;
use crate::schema;

/// The version of the checkpoint's form. A program reads its own and older ones. It grows only when an older
/// program must not go on: fields that it does not know it leaves alone.
///
/// 2: [`Checkpoint::repair`].
pub const VERSION: u32 = 2;

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Rows are being copied.
    Copy,
    /// All rows are copied; indexes may be left to build.
    Indexes,
    /// The ghost is complete, but for changes.
    Complete,
}

/// What is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// See [`VERSION`].
    pub version: u32,
    /// The program that wrote it.
    pub program: String,
    /// The ALTER, as parsed and printed.
    pub statement: String,
    /// [`definition_identity`] of the original.
    pub original: String,
    /// [`definition_identity`] of the ghost, before its deferred indexes.
    pub ghost: String,
    /// SHOW CREATE TABLE of the ghost as it must be before the swap.
    pub ghost_complete: String,
    /// What the original is renamed to.
    pub old_table: String,
    /// How far the run has come.
    pub stage: Stage,
    /// The end of the contiguous finished prefix of the copy, as hex of the key's bytes.
    pub watermark: Option<String>,
    /// Chunks that must be verified in any case.
    #[serde(default)]
    pub suspects: Vec<Range>,
    /// Everything up to here is in the ghost.
    pub applied: String,
    /// Indexes that are left to build, as clauses of an ALTER.
    pub deferred: Vec<String>,
    /// Rows copied so far.
    pub rows_copied: u64,
    /// Whether the operator holds the cut-over.
    pub postponed: bool,
    /// Whether the operator has released it, whatever else holds it.
    #[serde(default)]
    pub released: bool,
    /// What the server whose binlog is read is known by; `None` in checkpoints that do not say: the
    /// server with the table.
    #[serde(default)]
    pub binlog_server: Option<String>,
    /// Whether it is a rehearsal's, which nobody goes on with.
    #[serde(default)]
    pub rehearsal: bool,
    /// When the run began, microseconds since 1970.
    pub started_micros: u64,
    /// The server that it was written on, see [`crate::mysql::Facts::identity`]. (From version 2.)
    #[serde(default)]
    pub server: Option<String>,
    /// The migration key, as [`crate::schema::MigrationKey`] describes itself. (From version 2.)
    #[serde(default)]
    pub key: Option<String>,
    /// Settings that decide what is in the ghost. (From version 2.)
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// Changes were missed: what is in the ghost must be compared and put right before anything else is
    /// believed of it. (From version 2.)
    #[serde(default)]
    pub repair: bool,
    /// The run's row in the history.
    #[serde(default)]
    pub history: Option<u64>,
    /// The run of the history that is taken back, or kept revertible: the ghost is its old table.
    #[serde(default)]
    pub reverts: Option<u64>,
    /// Rows that do not fit the ghost, as hex of their keys' bytes: the applied coordinates do not cover
    /// them.
    #[serde(default)]
    pub misfits: Vec<String>,
    /// How far rows are compared already; `None`: nothing is claimed.
    #[serde(default)]
    pub verified: Option<Verified>,
}

/// Rows that were compared and found equal, but for those that have changed since.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verified {
    /// The end of the contiguous compared prefix, as hex of the key's bytes.
    pub next: Option<String>,
    /// Whether all rows are compared.
    pub finished: bool,
    /// Chunks of the prefix.
    pub chunks: u64,
    /// Rows of the prefix.
    pub rows: u64,
    /// Keys that changes up to the applied coordinates have touched since, as hex of their bytes.
    pub changed: Vec<String>,
}

/// A chunk, as kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// Its first key, as hex of the key's bytes.
    pub lower: Option<String>,
    /// Its end.
    pub upper: Option<String>,
    /// Whether the end belongs to it.
    pub upper_included: bool,
}

impl Range {
    /// The kept form of a chunk.
    pub fn of(chunk: &Chunk) -> Range {
        Range {
            lower: chunk.lower.as_ref().map(watermark_text),
            upper: chunk.upper.as_ref().map(watermark_text),
            upper_included: chunk.upper_included,
        }
    }

    /// The chunk again.
    ///
    /// # Errors
    /// Bytes that are no key: the table was damaged.
    pub fn chunk(&self) -> Result<Chunk> {
        let key = |text: &Option<String>| text.as_deref().map(key_of_text).transpose();
        Ok(Chunk {
            number: 0,
            lower: key(&self.lower)?,
            upper: key(&self.upper)?,
            upper_included: self.upper_included,
            rows_expected: 0,
        })
    }
}

impl Checkpoint {
    /// The low watermark that the copy goes on from.
    ///
    /// # Errors
    /// Bytes that are no key: the table was damaged.
    pub fn low_watermark(&self) -> Result<LowWatermark> {
        Ok(LowWatermark {
            next: self.watermark_key()?,
            finished: self.stage != Stage::Copy,
            chunks: 0,
            rows: self.rows_copied,
            suspects: self
                .suspects
                .iter()
                .map(Range::chunk)
                .collect::<Result<_>>()?,
        })
    }

    /// The watermark as a key.
    ///
    /// # Errors
    /// Bytes that are no key: the table was damaged.
    pub fn watermark_key(&self) -> Result<Option<Key>> {
        self.watermark.as_deref().map(key_of_text).transpose()
    }

    /// The applied coordinates.
    ///
    /// # Errors
    /// Text that is no coordinates: the table was damaged.
    pub fn applied_coordinates(&self) -> Result<Coordinates> {
        self.applied
            .parse()
            .map_err(|_| damaged("its coordinates cannot be read"))
    }
}

/// The hex form of a key for [`Checkpoint::watermark`].
pub fn watermark_text(key: &Key) -> String {
    hex(&key.to_bytes())
}

/// The key of a text that [`watermark_text`] made.
///
/// # Errors
/// Bytes that are no key: the table was damaged.
pub fn key_of_text(text: &str) -> Result<Key> {
    unhex(text)
        .and_then(|bytes| Key::from_bytes(&bytes))
        .ok_or_else(|| damaged("a key in it cannot be read"))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok())
        .collect()
}

fn damaged(what: &str) -> Failure {
    Failure::new(
        FailureKind::Refused,
        format!("the checkpoint of the interrupted run cannot be used: {what}"),
    )
    .remedy("begin anew with --restart")
}

/// What a definition is recognised by: SHOW CREATE TABLE without the AUTO_INCREMENT counter, which
/// changes with every insert.
pub fn definition_identity(create_statement: &str) -> String {
    let mut out = String::with_capacity(create_statement.len());
    let mut rest = create_statement;
    // The table option stands behind the closing parenthesis, outside of any comment or default.
    while let Some(at) = rest.find(" AUTO_INCREMENT=") {
        let (head, tail) = rest.split_at(at);
        let digits = tail[" AUTO_INCREMENT=".len()..]
            .chars()
            .take_while(char::is_ascii_digit)
            .count();
        out.push_str(head);
        if digits == 0 {
            out.push_str(&tail[.." AUTO_INCREMENT=".len()]);
        }
        rest = &tail[" AUTO_INCREMENT=".len() + digits..];
    }
    out.push_str(rest);
    out
}

/// What a checkpoint table is recognised by, even before anything is in it.
const TABLE_COMMENT: &str = "changeling checkpoint";

/// Whether a run of this program has made its checkpoint table here. The first table to be made and the
/// last to go: where it is, the other helper tables are this program's.
///
/// # Errors
/// What the server answered.
pub async fn is_ours(session: &mut Session, table: &TableName) -> Result<bool> {
    let comment = schema::comment(session, table).await?;
    Ok(comment.as_deref() == Some(TABLE_COMMENT))
}

/// Creates the checkpoint table.
///
/// # Errors
/// What the server answered.
pub async fn create(session: &mut Session, table: &TableName) -> Result<()> {
    session
        .execute(&format!(
            "{OWN_DDL}CREATE TABLE {} (id INT NOT NULL PRIMARY KEY, \
             state LONGTEXT CHARACTER SET utf8mb4 NOT NULL, \
             last_update TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)) \
             ENGINE=InnoDB COMMENT={}",
            quote::table(table),
            quote::text(TABLE_COMMENT)
        ))
        .await
        .map(drop)
        .doing(|| format!("create the checkpoint table {table}"))
}

/// Writes a checkpoint over the former one.
///
/// # Errors
/// What the server answered. A run that cannot write its checkpoint must stop: it would promise a
/// resume that is not there.
pub async fn write(
    session: &mut Session,
    table: &TableName,
    checkpoint: &Checkpoint,
) -> Result<()> {
    let state = serde_json::to_string(checkpoint)
        .map_err(|error| Failure::failed(format!("the checkpoint has no JSON form: {error}")))?;
    session
        .execute(&format!(
            "REPLACE INTO {} (id, state) VALUES (1, {})",
            quote::table(table),
            quote::string(&state)
        ))
        .await
        .map(drop)
        .doing(|| format!("write the checkpoint into {table}"))
}

/// Reads the checkpoint; `None` if there is no table or nothing in it.
///
/// # Errors
/// What the server answered; a checkpoint of a newer program, or a damaged one.
pub async fn read(session: &mut Session, table: &TableName) -> Result<Option<Checkpoint>> {
    let found: Option<String> = match session
        .first(&format!(
            "SELECT state FROM {} WHERE id = 1",
            quote::table(table)
        ))
        .await
    {
        Err(failure) if failure.code() == Some(crate::mysql::error::ER_NO_SUCH_TABLE) => {
            return Ok(None);
        }
        other => other.doing(|| format!("read the checkpoint in {table}"))?,
    };
    let Some(state) = found else { return Ok(None) };
    parse(&state)
        .doing(|| format!("read the checkpoint in {table}"))
        .map(Some)
}

/// The checkpoint in a text of this or an older version.
fn parse(state: &str) -> Result<Checkpoint> {
    let version = serde_json::from_str::<serde_json::Value>(state)
        .ok()
        .and_then(|value| value.get("version")?.as_u64());
    match version {
        Some(version) if version <= u64::from(VERSION) => {}
        Some(version) => {
            return Err(Failure::new(
                FailureKind::Refused,
                format!("it has version {version}; this program reads up to {VERSION}"),
            )
            .remedy(
                "continue with the newer program that began the run, or begin anew with --restart",
            ));
        }
        None => return Err(damaged("it has no version")),
    }
    serde_json::from_str(state).map_err(|error| damaged(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Cell;

    #[test]
    fn identity_ignores_the_counter_alone() {
        assert_eq!(
            definition_identity(
                "CREATE TABLE `t` (a INT) ENGINE=InnoDB AUTO_INCREMENT=17 DEFAULT CHARSET=utf8mb4"
            ),
            "CREATE TABLE `t` (a INT) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"
        );
        assert_eq!(
            definition_identity("x AUTO_INCREMENT=y"),
            "x AUTO_INCREMENT=y"
        );
    }

    #[test]
    fn watermarks_survive() {
        let key = Key(vec![Cell::Int(-1), Cell::Bytes(b"a\0".to_vec())]);
        let checkpoint = Checkpoint {
            version: VERSION,
            program: "changeling".into(),
            statement: "ADD COLUMN c INT".into(),
            original: String::new(),
            ghost: String::new(),
            ghost_complete: String::new(),
            old_table: "_t_del".into(),
            stage: Stage::Copy,
            watermark: Some(watermark_text(&key)),
            suspects: vec![],
            applied: "file b.1:4".into(),
            deferred: vec![],
            rows_copied: 5,
            postponed: false,
            released: false,
            binlog_server: None,
            rehearsal: false,
            started_micros: 1,
            server: Some("a".into()),
            key: None,
            settings: BTreeMap::from([("drop-renamed".into(), "no".into())]),
            repair: true,
            history: Some(3),
            reverts: None,
            misfits: vec![],
            verified: Some(Verified {
                next: Some(watermark_text(&key)),
                finished: false,
                chunks: 2,
                rows: 3,
                changed: vec![watermark_text(&key)],
            }),
        };
        let text = serde_json::to_string(&checkpoint).unwrap();
        let back: Checkpoint = serde_json::from_str(&text).unwrap();
        assert_eq!(back, checkpoint);
        assert_eq!(back.watermark_key().unwrap(), Some(key));
        assert!(
            Checkpoint {
                watermark: Some("zz".into()),
                ..checkpoint
            }
            .watermark_key()
            .is_err()
        );
    }

    /// As the first version wrote it.
    const OF_VERSION_1: &str = r#"{"version":1,"program":"0.1.0","statement":"ADD COLUMN `c` INT",
        "original":"o","ghost":"g","ghost_complete":"g","old_table":"_t_del","stage":"copy",
        "watermark":null,"suspects":[],"applied":"file b.1:4","deferred":[],"rows_copied":5,
        "postponed":false,"started_micros":1}"#;

    #[test]
    fn older_versions_are_read() {
        let checkpoint = parse(OF_VERSION_1).unwrap();
        assert_eq!((checkpoint.version, checkpoint.rows_copied), (1, 5));
        assert_eq!((checkpoint.server, checkpoint.repair), (None, false));
        assert_eq!(checkpoint.verified, None);
    }

    #[test]
    fn what_a_later_program_adds_is_left_alone() {
        let more = OF_VERSION_1.replacen('{', r#"{"colour":{"of":["the","sky"]},"#, 1);
        assert_eq!(parse(&more).unwrap(), parse(OF_VERSION_1).unwrap());
    }

    #[test]
    fn a_form_of_a_later_program_is_refused() {
        for (text, says) in [
            (
                OF_VERSION_1.replace("\"version\":1", "\"version\":77"),
                "version 77",
            ),
            (OF_VERSION_1.replace("\"version\":1,", ""), "no version"),
            (OF_VERSION_1.replace("\"copy\"", "\"dance\""), "dance"),
        ] {
            let failure = parse(&text).unwrap_err();
            assert_eq!(failure.kind(), FailureKind::Refused);
            assert!(failure.to_string().contains(says), "{failure}");
            assert!(
                failure
                    .remedy_text()
                    .is_some_and(|text| text.contains("--restart"))
            );
        }
    }
}
