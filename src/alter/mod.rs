//! The ALTER: its text, what the server would do with it, and the ghost table it makes.

pub mod clauses;
pub mod copy_table;
pub mod deferred;
pub mod ghost;
pub mod lexer;
pub mod native;
pub mod script;
pub mod show_create;
pub mod statement;
mod table_options;

pub use clauses::ClauseKind;
pub use ghost::{GhostBuilt, IndexTiming};
pub use native::{NativeAnswer, NativeWay};
pub use statement::{AlterStatement, Clause};
