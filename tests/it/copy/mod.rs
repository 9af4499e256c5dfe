//! The copy alone: no binlog, no replay.

mod duplicates;
mod fits;
mod keys;
mod locks;
mod plans;
mod resumed;
pub mod setup;
mod steering;
