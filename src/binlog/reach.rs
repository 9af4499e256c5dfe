//! Whether statements can change the original without naming it.
//!
//! In statement format the binlog has `INSERT INTO other …` and nothing of what a trigger on `other`, a
//! function in it, or a cascading foreign key did to the original; `UPDATE v …` does not say what the view
//! `v` stands for. All of these name the original in their own text. Where there is none, a statement that
//! does not name the original cannot reach it.

use crate::failure::Result;
use crate::mysql::{Purpose, Server, quote};
use crate::schema::TableDefinition;

/// Whether any view, trigger or routine names the original, or may do so in a text that this account
/// cannot see, or a foreign key of it cascades. A name that stands in it by chance counts.
pub(super) async fn reached_indirectly(
    server: &Server,
    definition: &TableDefinition,
) -> Result<bool> {
    let cascades = |action: &str| !matches!(action, "RESTRICT" | "NO ACTION");
    let keys = &definition.foreign_keys;
    if keys
        .iter()
        .any(|key| cascades(&key.on_delete) || cascades(&key.on_update))
    {
        return Ok(true);
    }
    let name = quote::string(&definition.name.table.to_lowercase());
    let own = quote::string(&definition.name.schema.to_lowercase());
    let texts = [
        ("VIEWS", "TABLE_SCHEMA", "VIEW_DEFINITION"),
        ("TRIGGERS", "TRIGGER_SCHEMA", "ACTION_STATEMENT"),
        ("ROUTINES", "ROUTINE_SCHEMA", "ROUTINE_DEFINITION"),
    ];
    let found = texts.map(|(table, schema, text)| {
        format!(
            "(SELECT 1 FROM information_schema.{table} WHERE {schema} NOT IN ('mysql', 'sys', \
             'information_schema', 'performance_schema') \
             AND COALESCE(LOCATE({name}, LOWER({text})), 1) > 0 \
             AND (LOWER({schema}) = {own} OR COALESCE(LOCATE({own}, LOWER({text})), 1) > 0) LIMIT 1)"
        )
    });
    let mut session = server.session(Purpose::Monitor).await?;
    let found: Result<Vec<u32>> = session.query(&found.join(" UNION ALL ")).await;
    session.close().await;
    match found {
        Ok(found) => Ok(!found.is_empty()),
        // Too many to look through, or not to be looked at.
        Err(failure) => {
            tracing::debug!(
                event = "reach_unknown",
                "cannot look for views, triggers and routines that use {}: {failure}",
                definition.name
            );
            Ok(true)
        }
    }
}
