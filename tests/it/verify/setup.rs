//! A verification of a test's tables.

use std::sync::Arc;
use std::time::Duration;

use changeling::chunk::LowWatermark;
use changeling::failure::{FailureKind, Result};
use changeling::progress::Progress;
use changeling::verify::{self, Comparison, NoReplay, Settle, VerifyPlan};
use changeling::walk::Part;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::copy::setup::{Steering, Tables};

/// The plan to compare both tables, with this way for changes to get through.
pub fn plan(tables: &Tables, settle: Arc<dyn Settle>) -> VerifyPlan {
    VerifyPlan {
        leaves_changing: false,
        server: tables.server.clone(),
        target_server: None,
        comparison: Arc::new(Comparison::new(
            tables.server.facts(),
            &tables.original,
            &tables.ghost,
            &tables.map,
            tables.key.clone(),
        )),
        settle,
        mend: None,
        trail: None,
        row_bytes_estimate: 100,
        chunk_time_max: verify::CHUNK_TIME_MAX,
    }
}

/// Compares everything in small chunks.
pub async fn verify_with(plan: VerifyPlan, chunk_rows: u64) -> Result<LowWatermark> {
    let steering = Steering::new(chunk_rows);
    let (watermark, _) = watch::channel(LowWatermark::default());
    verify::run(
        plan,
        Part::All(None),
        steering.controls(),
        Arc::new(Progress::default()),
        watermark,
    )
    .await
}

/// Compares tables that nobody changes.
pub async fn verify(tables: &Tables) -> Result<LowWatermark> {
    verify_with(plan(tables, Arc::new(NoReplay)), 25).await
}

/// Asserts that the tables are found to differ, and gives the words.
pub async fn difference(tables: &Tables, damage: &str) -> String {
    match verify(tables).await {
        Ok(_) => panic!("not seen: {damage}"),
        Err(failure) => {
            assert_eq!(
                failure.kind(),
                FailureKind::Difference,
                "{damage}: {failure}"
            );
            failure.to_string()
        }
    }
}

/// A replay of the test's making: called each time changes should get through, with the time that they
/// may take.
pub struct Replaying<F>(pub F);

impl<F> Settle for Replaying<F>
where
    F: Fn(Duration) -> BoxFuture<'static, bool> + Send + Sync + 'static,
{
    fn settle(&self, limit: Duration) -> BoxFuture<'_, Result<bool>> {
        let settled = (self.0)(limit);
        Box::pin(async move { Ok(settled.await) })
    }
}
