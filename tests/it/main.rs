//! Tests against real servers, one file per subject, all in one program so that it is linked once.
//!
//! Servers come from `testenv/` and start at first use. `CHANGELING_TEST_ON=mysql` or `=mariadb` limits
//! the tests that run on both flavours to one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic in a test is its report"
)]

mod alters;
mod binlog;
mod changelog;
mod commands;
mod connection;
mod control;
mod copy;
mod cutover;
mod documents;
mod foresight;
mod gh_ost;
mod grants;
mod kill;
mod killed_statements;
mod lint;
mod model;
mod native;
mod odd_names;
mod packages;
mod plan;
mod preflight;
mod rehearse;
mod replay;
mod resume;
mod revert;
mod schema;
mod secrets;
mod steering;
mod support;
mod support_works;
mod throttle;
mod tls;
mod verify;
