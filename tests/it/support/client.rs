//! A session for tests: short calls, panics instead of errors unless an error is asked for.

use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, OptsBuilder};
use tokio::sync::Mutex;

use super::server::TestServer;

/// One session. Calls wait for each other, so a shared reference is enough.
pub struct Client {
    conn: Mutex<Conn>,
}

impl Client {
    /// A new session; `database` becomes the default one.
    ///
    /// # Panics
    /// If the server refuses it.
    pub async fn connect(server: &TestServer, database: Option<&str>) -> Client {
        Client::try_connect(server, database)
            .await
            .unwrap_or_else(|error| panic!("cannot connect to {}: {error}", server.name))
    }

    /// The same for tests that expect a server to be away.
    pub async fn try_connect(
        server: &TestServer,
        database: Option<&str>,
    ) -> mysql_async::Result<Client> {
        let options = OptsBuilder::default()
            .ip_or_hostname(server.host.clone())
            .tcp_port(server.port)
            .user(Some(server.user.clone()))
            .pass(Some(server.password.clone()))
            .db_name(database)
            .prefer_socket(false);
        Ok(Client {
            conn: Mutex::new(Conn::new(options).await?),
        })
    }

    /// Runs a statement and returns the number of rows it affected.
    ///
    /// # Panics
    /// On an error, naming the statement.
    pub async fn sql(&self, sql: impl AsRef<str>) -> u64 {
        match self.try_sql(sql.as_ref()).await {
            Ok(affected) => affected,
            Err(error) => panic!("{error}\nin: {}", shortened(sql.as_ref())),
        }
    }

    /// The same, giving the error back.
    pub async fn try_sql(&self, sql: impl AsRef<str>) -> mysql_async::Result<u64> {
        let mut conn = self.conn.lock().await;
        conn.query_drop(sql.as_ref()).await?;
        Ok(conn.affected_rows())
    }

    /// All rows of a query, read as `T`: a type for a single column, a tuple for several.
    pub async fn rows<T: FromRow + Send + 'static>(&self, sql: impl AsRef<str>) -> Vec<T> {
        match self.try_rows(sql.as_ref()).await {
            Ok(rows) => rows,
            Err(error) => panic!("{error}\nin: {}", shortened(sql.as_ref())),
        }
    }

    /// The same, giving the error back.
    pub async fn try_rows<T: FromRow + Send + 'static>(
        &self,
        sql: impl AsRef<str>,
    ) -> mysql_async::Result<Vec<T>> {
        self.conn.lock().await.query(sql.as_ref()).await
    }

    /// The first row of a query that must have one.
    pub async fn one<T: FromRow + Send + 'static>(&self, sql: impl AsRef<str>) -> T {
        self.rows(sql.as_ref())
            .await
            .into_iter()
            .next()
            .unwrap_or_else(|| panic!("no row from: {}", shortened(sql.as_ref())))
    }

    /// Names of a query's columns.
    pub async fn columns(&self, sql: impl AsRef<str>) -> mysql_async::Result<Vec<String>> {
        let mut conn = self.conn.lock().await;
        let result = conn.query_iter(sql.as_ref()).await?;
        let columns = result
            .columns_ref()
            .iter()
            .map(|column| column.name_str().into_owned())
            .collect();
        result.drop_result().await?;
        Ok(columns)
    }

    /// The server's number for this session, as KILL takes it.
    pub async fn id(&self) -> u32 {
        self.conn.lock().await.id()
    }

    /// Ends the session and waits until the server knows.
    pub async fn close(self) {
        // The server may have ended it already, which is as good.
        let _ = self.conn.into_inner().disconnect().await;
    }
}

/// Enough of a statement to recognise it.
fn shortened(sql: &str) -> String {
    let start: String = sql.chars().take(2000).collect();
    if start.len() < sql.len() {
        format!("{start}… ({} bytes)", sql.len())
    } else {
        start
    }
}
