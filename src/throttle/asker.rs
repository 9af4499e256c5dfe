//! A monitor session that is opened when needed and opened again after it broke.

use std::time::Duration;

use mysql_async::prelude::FromRow;

use crate::failure::{ErrorClass, Failure, Result};
use crate::mysql::{Purpose, Server, Session, quote};

/// How long one look may take.
pub const LOOK_LIMIT: Duration = Duration::from_secs(2);

/// Asks one server short questions.
pub struct Asker {
    server: Server,
    /// Names without a schema in the questions mean this one's.
    schema: Option<String>,
    session: Option<Session>,
}

impl Asker {
    /// Not connected yet.
    pub fn new(server: Server) -> Asker {
        Asker {
            server,
            schema: None,
            session: None,
        }
    }

    /// Not connected yet; names without a schema will mean this one's.
    pub fn in_schema(server: Server, schema: &str) -> Asker {
        Asker {
            schema: Some(schema.to_string()),
            ..Asker::new(server)
        }
    }

    /// The server that is asked.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Runs a query within two seconds; a session that broke in the meantime is opened again once.
    ///
    /// # Errors
    /// What the server answered, or that it did not.
    pub async fn query<T: FromRow + Send + 'static>(&mut self, sql: &str) -> Result<Vec<T>> {
        let was_open = self.session.is_some();
        match self.try_query(sql).await {
            Err(failure) if was_open && closed_while_idle(&failure) => self.try_query(sql).await,
            result => result,
        }
    }

    /// The first row, as [`Asker::query`].
    ///
    /// # Errors
    /// As [`Asker::query`].
    pub async fn first<T: FromRow + Send + 'static>(&mut self, sql: &str) -> Result<Option<T>> {
        Ok(self.query(sql).await?.into_iter().next())
    }

    async fn try_query<T: FromRow + Send + 'static>(&mut self, sql: &str) -> Result<Vec<T>> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => {
                let mut session = self.server.session(Purpose::Monitor).await?;
                session.set_limit(LOOK_LIMIT);
                if let Some(schema) = &self.schema {
                    let schema = quote::ident(schema);
                    session.execute(&format!("USE {schema}")).await?;
                }
                session
            }
        };
        let result = session.query(sql).await;
        match result.as_ref().err().and_then(Failure::class) {
            Some(ErrorClass::Disconnected) => {}
            // A global grant counts for new connections only (manual, "When Privilege Changes Take
            // Effect"): the next look must notice when it has been given.
            Some(ErrorClass::Refused) => session.close().await,
            _ => self.session = Some(session),
        }
        result
    }
}

/// What a failed look is told as, short: the statement is always the same one.
pub fn cannot_be_asked(failure: &Failure) -> String {
    match failure.code() {
        Some(code) => format!("cannot be asked: error {code}: {}", failure.cause()),
        None => format!("cannot be asked: {}", failure.cause()),
    }
}

/// Whether the connection had simply been closed since the last look; a look that took too long is
/// not tried again at once.
fn closed_while_idle(failure: &Failure) -> bool {
    failure.is_disconnected() && !failure.cause().starts_with("no answer within")
}
