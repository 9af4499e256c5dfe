//! The copy alone: no binlog, no replay.

mod fits;
mod keys;
mod setup;
