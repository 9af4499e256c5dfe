//! What a plan asks the server besides preflight: replicas and their lag, room on disk, how long binlogs
//! are kept, and whether some rows fit. Changes nothing: rows that are tried go into a temporary table.

mod replicas;
mod rows;
mod space;

pub use replicas::{ReplicaNow, replicas};
pub use rows::{RowsTried, Verdict, duplicates, try_rows};
pub use space::{Retention, Space, retention, space};
