//! Connections.

use std::str::FromStr;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};

use crate::{Error, Result};

/// Where the server is and who works on it.
#[derive(Clone)]
pub struct Target {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: String,
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(text: &str) -> Result<Target> {
        let mut parts = text.splitn(4, ':');
        let mut next = || parts.next().ok_or("not HOST:PORT:USER:PASSWORD");
        Ok(Target {
            host: next()?.to_string(),
            port: next()?.parse()?,
            user: next()?.to_string(),
            password: next()?.to_string(),
        })
    }
}

impl Target {
    /// A session, with a default database if one is given.
    pub async fn connect(&self, database: Option<&str>) -> Result<Conn> {
        let options = OptsBuilder::default()
            .ip_or_hostname(self.host.clone())
            .tcp_port(self.port)
            .user(Some(self.user.clone()))
            .pass(Some(self.password.clone()))
            .db_name(database)
            .prefer_socket(false);
        Ok(Conn::new(options).await?)
    }
}

/// Runs a statement.
pub async fn run(conn: &mut Conn, sql: &str) -> Result<()> {
    conn.query_drop(sql).await.map_err(|error| {
        format!("{error}\nin: {}", sql.chars().take(500).collect::<String>()).into()
    })
}

/// Bytes of all binary logs that the server keeps: only ever grows while none is purged.
pub async fn binlog_bytes(conn: &mut Conn) -> Result<u64> {
    let rows: Vec<mysql_async::Row> = conn.query("SHOW BINARY LOGS").await?;
    Ok(rows.iter().filter_map(|row| row.get::<u64, _>(1)).sum())
}
