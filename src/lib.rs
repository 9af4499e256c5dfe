//! Changeling: online schema change for MySQL and MariaDB.
//!
//! ARCHITECTURE.md has the words, the order of events and why no row is lost.

pub mod alter;
pub mod binlog;
pub mod change;
pub mod changelog;
pub mod checkpoint;
pub mod chunk;
pub mod cli;
pub mod control;
pub mod coordinates;
pub mod copy;
pub mod cutover;
pub mod failure;
pub mod history;
pub mod interlock;
pub mod key;
pub mod leftovers;
pub mod lint;
pub mod memory;
pub mod mysql;
pub mod names;
pub mod observe;
pub mod pace;
pub mod preflight;
pub mod probe;
pub mod progress;
pub mod repair;
pub mod replay;
pub mod row;
pub mod schema;
pub mod settings;
pub mod supervise;
pub mod survey;
pub mod throttle;
pub mod time_window;
pub mod tunables;
pub mod verify;
pub mod walk;
pub mod workflow;
