//! A database for one test.

use std::sync::atomic::{AtomicU32, Ordering};

use mysql_async::prelude::FromRow;

use super::client::Client;
use super::server::{TestServer, is_another_version};

/// A database of the test's own, with a session in it. Dropped with the value; kept for a look when the
/// test panics, and its name printed.
pub struct TestDb {
    pub server: &'static TestServer,
    pub name: String,
    client: Client,
}

impl TestDb {
    /// A new database; `subject` is a word to recognise it by.
    pub async fn create(server: &'static TestServer, subject: &str) -> TestDb {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "it_{subject}_{}_{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        let client = server.connect().await;
        client.sql(format!("CREATE DATABASE `{name}`")).await;
        client.sql(format!("USE `{name}`")).await;
        TestDb {
            server,
            name,
            client,
        }
    }

    /// Whether this version of the server has this type of column; that of every day must.
    pub async fn knows_type(&self, declaration: &str) -> bool {
        let create = format!("CREATE TEMPORARY TABLE knows_type (n INT, c {declaration})");
        let known = self.try_sql(create).await.is_ok();
        if known {
            self.sql("DROP TEMPORARY TABLE knows_type").await;
        }
        assert!(known || is_another_version(), "{declaration}");
        known
    }

    /// Runs a statement and returns the number of rows it affected; panics on an error.
    pub async fn sql(&self, sql: impl AsRef<str>) -> u64 {
        self.client.sql(sql).await
    }

    /// The same, giving the error back.
    pub async fn try_sql(&self, sql: impl AsRef<str>) -> mysql_async::Result<u64> {
        self.client.try_sql(sql).await
    }

    /// All rows of a query, read as `T`: a type for a single column, a tuple for several.
    pub async fn rows<T: FromRow + Send + 'static>(&self, sql: impl AsRef<str>) -> Vec<T> {
        self.client.rows(sql).await
    }

    /// The first row of a query that must have one.
    pub async fn one<T: FromRow + Send + 'static>(&self, sql: impl AsRef<str>) -> T {
        self.client.one(sql).await
    }

    /// One more session, with this database as its default.
    pub async fn connect(&self) -> Client {
        Client::connect(self.server, Some(&self.name)).await
    }

    /// Names of all tables and views, sorted by their bytes.
    pub async fn tables(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .rows(format!(
                "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{}'",
                self.name
            ))
            .await;
        names.sort();
        names
    }

    /// The same without the history of runs.
    pub async fn tables_but_history(&self) -> Vec<String> {
        let mut names = self.tables().await;
        names.retain(|name| name != "_changeling_history");
        names
    }

    /// `SHOW CREATE TABLE`, without the counter `AUTO_INCREMENT=…`, which depends on what was inserted.
    pub async fn show_create(&self, table: &str) -> String {
        let (_, text): (String, String) = self.one(format!("SHOW CREATE TABLE `{table}`")).await;
        match text.find(" AUTO_INCREMENT=") {
            Some(start) => {
                let rest = &text[start + " AUTO_INCREMENT=".len()..];
                let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
                format!("{}{rest}", &text[..start])
            }
            None => text,
        }
    }
}

impl Drop for TestDb {
    fn drop(&mut self) {
        let (server, name) = (self.server, self.name.clone());
        if std::thread::panicking() {
            eprintln!(
                "kept for a look: testenv/sql {} --database={name}",
                server.name
            );
            return;
        }
        // Dropping cannot await, and the test's own runtime may be about to end: a thread with another.
        let dropped = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime")
                .block_on(async {
                    let client = server.connect().await;
                    client.sql("SET SESSION lock_wait_timeout = 60").await;
                    client
                        .sql(format!("DROP DATABASE IF EXISTS `{name}`"))
                        .await;
                    client.close().await;
                });
        })
        .join();
        assert!(
            dropped.is_ok(),
            "the database {} cannot be dropped",
            self.name
        );
    }
}
