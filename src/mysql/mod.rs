//! Everything that knows MySQL and MariaDB as servers: connections, versions, error numbers, quoting.
//! No other module compares versions or names an error number's meaning.

pub mod cancel;
pub mod error;
pub mod flavour;
pub mod login_path;
pub mod option_files;
pub mod options;
pub mod quote;
pub mod reserved;
pub mod resolve;
pub mod retry;
pub mod role;
pub mod server;
pub mod session;
mod shape;

pub use flavour::{Facts, Flavour};
pub use options::{ConnectOptions, SslMode};
pub use server::{OwnConnection, Server};
pub use session::{Outcome, Purpose, Session, Warning};
pub use shape::shape;
