//! A checkpoint that does not belong to what is asked for now: what differs is said, and nothing is lost.

use super::field::{ALTER, Field};
use super::on_scratch;
use crate::support::Program;

/// A run that was interrupted in its copy.
async fn interrupted(field: &Field) {
    let mut live = field.program(field.db.server).spawn();
    live.printed("entering phase `copy`").await;
    field.commits_pass().await;
    live.signal(libc::SIGINT);
    live.wait().await.expect_code(7);
}

#[tokio::test]
async fn what_differs_is_said_and_nothing_is_removed() {
    on_scratch(async |server| {
        let field = Field::start(server).await;
        interrupted(&field).await;
        let with = |alter: &str| {
            Program::on(
                server,
                "migrate",
                [
                    format!("--database={}", field.db.name),
                    "--table=t".to_string(),
                    format!("--alter={alter}"),
                ],
            )
        };
        let left = ["_t_gho", "_t_ghc", "_t_ghk"];
        let is_left = async || {
            let tables = field.db.tables().await;
            left.iter().all(|table| tables.iter().any(|t| t == table))
        };

        with("ADD COLUMN other INT")
            .run()
            .await
            .expect_code(3)
            .expect_text("of another statement: `ADD COLUMN added INT")
            .expect_text("begin anew with --restart");
        assert!(is_left().await, "a mistyped statement has cost the copy");

        // Not in the binlog: what is there is refused in any case, since the run would meet it.
        field.db.sql("SET SESSION sql_log_bin = 0").await;
        field
            .db
            .sql("ALTER TABLE _t_gho ADD COLUMN strange INT")
            .await;
        field
            .db
            .sql("ALTER TABLE t COMMENT 'changed meanwhile'")
            .await;
        with(ALTER)
            .args(["--resume=require"])
            .run()
            .await
            .expect_code(3)
            .expect_text("COMMENT='changed meanwhile'")
            .expect_text("_t_gho is not as it was left: + `strange` int");
        assert!(is_left().await);
        field.db.sql("ALTER TABLE _t_gho DROP COLUMN strange").await;
        field.db.sql("ALTER TABLE t COMMENT ''").await;

        // A later program's form, and what a later program only adds.
        let set = async |path: &str, value: &str| {
            field
                .db
                .sql(format!(
                    "UPDATE _t_ghk SET state = JSON_SET(state, '{path}', {value})"
                ))
                .await;
        };
        set("$.version", "77").await;
        with(ALTER)
            .run()
            .await
            .expect_code(3)
            .expect_text("version 77");
        assert!(is_left().await);
        set("$.version", "2").await;
        set("$.colour", "'blue'").await;
        field
            .program(server)
            .args(["--resume=require"])
            .run()
            .await
            .expect_code(0)
            .expect_text("going on with the interrupted run");
        field.db.sql("ALTER TABLE shadow COMMENT ''").await;
        field.assert_exact(server).await;
    })
    .await;
}

#[tokio::test]
async fn require_needs_something_to_go_on_with_and_restart_begins_anew() {
    on_scratch(async |server| {
        let field = Field::start(server).await;
        for resume in ["--resume=require", "--resume=repair"] {
            field
                .program(server)
                .args([resume])
                .run()
                .await
                .expect_code(3)
                .expect_text("there is no interrupted run to go on with");
        }
        interrupted(&field).await;
        let run = field
            .program(server)
            .args(["--restart"])
            .run()
            .await
            .expect_code(0);
        assert!(!run.stderr.contains("going on with the interrupted run"));
        field.assert_exact(server).await;
    })
    .await;
}

/// Somebody has dropped the ghost of an interrupted run: there is nothing to go on with, and nothing to
/// decide either.
#[tokio::test]
async fn a_ghost_that_is_gone_is_made_anew() {
    on_scratch(async |server| {
        let field = Field::start(server).await;
        interrupted(&field).await;
        field.db.sql("DROP TABLE _t_gho").await;
        field
            .program(server)
            .run()
            .await
            .expect_code(0)
            .expect_text("its ghost table is gone: beginning anew");
        field.assert_exact(server).await;
    })
    .await;
}
