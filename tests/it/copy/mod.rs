//! The copy alone: no binlog, no replay.

mod duplicates;
mod fits;
mod keys;
mod locks;
mod plans;
pub mod setup;
mod steering;
