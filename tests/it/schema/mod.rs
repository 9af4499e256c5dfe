//! Definitions, keys, the ghost table and the server's own answer, on real servers.

mod ghost;
mod keys;
mod load;
mod native;

use changeling::mysql::{Purpose, Server, Session};
use changeling::names::TableName;
use changeling::schema::{self, TableDefinition};

use crate::support::TestDb;

pub async fn session(db: &TestDb, purpose: Purpose) -> Session {
    let server = Server::connect(db.server.options()).await.unwrap();
    server.session(purpose).await.unwrap()
}

pub async fn definition(session: &mut Session, db: &TestDb, table: &str) -> TableDefinition {
    schema::load(session, &TableName::new(&db.name, table))
        .await
        .unwrap()
        .unwrap_or_else(|| panic!("there is no table {table}"))
}
