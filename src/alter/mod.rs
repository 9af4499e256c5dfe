//! The ALTER: its text, what the server would do with it, and the ghost table it makes.

pub mod clauses;
pub mod lexer;
pub mod script;
pub mod statement;
mod table_options;

pub use clauses::ClauseKind;
pub use statement::{AlterStatement, Clause};
