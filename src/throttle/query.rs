//! The operator's own query: a first value above 0 pauses the copy. Names in it without a schema mean
//! the table's.

use std::time::Duration;

use mysql_async::{Row, Value};

use super::Common;
use super::asker::Asker;
use super::reading::Reading;
use crate::failure::{Failure, Result};

pub(super) const SLOT: &str = "throttle query";
const SOURCE: &str = "query";
const INTERVAL: Duration = Duration::from_millis(500);
const VALID: Duration = Duration::from_secs(4);

pub(super) async fn run(mut common: Common) -> Result<()> {
    let mut asker = Asker::in_schema(common.server.clone(), &common.plan.changelog.schema);
    loop {
        let query = common.tunables.borrow_and_update().throttle_query.clone();
        let readings = match query {
            None => Vec::new(),
            Some(query) => vec![match ask(&mut asker, &query).await {
                Ok(value) => Reading::switch(SOURCE, "the throttle query's result", value, 0.0, ""),
                Err(failure) => {
                    Reading::trouble(SOURCE, "the throttle query", format!("failed: {failure}"))
                }
            }],
        };
        common.board.post(SLOT, SOURCE, readings, VALID);
        if !common.rest(INTERVAL).await {
            return Ok(());
        }
    }
}

async fn ask(asker: &mut Asker, query: &str) -> Result<f64> {
    match asker.first::<Row>(query).await? {
        None => Ok(0.0),
        Some(row) => number(row.as_ref(0)),
    }
}

/// The first column as a number; NULL and no column are 0.
fn number(value: Option<&Value>) -> Result<f64> {
    match value {
        None | Some(Value::NULL) => Ok(0.0),
        Some(Value::Bytes(bytes)) => {
            let text = String::from_utf8_lossy(bytes);
            text.trim().parse().map_err(|_| {
                Failure::failed(format!("its first value `{text}` is no number"))
                    .remedy("let the query return a number; above 0 pauses")
            })
        }
        Some(other) => Err(Failure::failed(format!(
            "its first value {} is no number",
            other.as_sql(false)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_decide() {
        assert_eq!(number(None).unwrap(), 0.0);
        assert_eq!(number(Some(&Value::NULL)).unwrap(), 0.0);
        assert_eq!(number(Some(&Value::Bytes(b"3.5".to_vec()))).unwrap(), 3.5);
        assert!(number(Some(&Value::Bytes(b"yes".to_vec()))).is_err());
    }
}
