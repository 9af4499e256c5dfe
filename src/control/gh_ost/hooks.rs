//! gh-ost's hooks: `gh-ost-on-EVENT*` with their `GH_OST_…` environment.

use super::GhOst;
use crate::control::HookEvent;
use crate::failure::{FailureKind, Result};
use crate::observe::{StatusSnapshot, gh_ost_line};
use crate::progress::Phase;

impl GhOst {
    /// Calls the hooks of an event.
    ///
    /// # Errors
    /// Stopped: a hook of an event that can be vetoed failed. Other events' failures are logged.
    pub async fn announce(&self, event: HookEvent) -> Result<()> {
        match event {
            // gh-ost's log says this, which scripts wait for.
            HookEvent::RowCopyComplete => {
                tracing::info!(event = "row_copy_complete", "Row copy complete");
            }
            // With gh-ost it is called once, and before the cut-over is postponed.
            HookEvent::BeginPostponed => self.before_cut_over().await?,
            HookEvent::BeforeCutOver => return self.before_cut_over().await,
            // gh-ost does not compare the tables.
            HookEvent::Verified => return Ok(()),
            _ => {}
        }
        self.fire(event).await
    }

    async fn before_cut_over(&self) -> Result<()> {
        let called = std::mem::replace(&mut self.changed().before_cut_over_called, true);
        match called {
            true => Ok(()),
            false => self.fire(HookEvent::BeforeCutOver).await,
        }
    }

    async fn fire(&self, event: HookEvent) -> Result<()> {
        let status = self.controller.status();
        let more = match event {
            HookEvent::Status => {
                // The value has quotes in it, as with gh-ost.
                let line = gh_ost_line::status_line(&status);
                vec![("STATUS", format!("'{line}'"))]
            }
            HookEvent::Success => vec![("INSTANT_DDL", self.was_native().to_string())],
            HookEvent::BatchCopyRetry => {
                vec![("LAST_BATCH_COPY_ERROR", status.last_refusal.clone())]
            }
            // gh-ost does not look after replicas.
            HookEvent::ReplicaStalled => return Ok(()),
            HookEvent::Startup
            | HookEvent::Validated
            | HookEvent::BeforeRowCopy
            | HookEvent::RowCopyComplete
            | HookEvent::Verified
            | HookEvent::BeginPostponed
            | HookEvent::BeforeCutOver
            | HookEvent::RowcountComplete
            | HookEvent::StopReplication
            | HookEvent::StartReplication
            | HookEvent::Failure => Vec::new(),
        };
        match self.call(event.name(), &status, &more).await {
            Err(failure) if !event.can_veto() => {
                tracing::warn!(event = "hook_failed", hook = event.name(), "{failure}");
                Ok(())
            }
            result => result,
        }
    }

    /// Whether the server's own ALTER did it: that phase was entered, and the one of the swap was not.
    fn was_native(&self) -> bool {
        let progress = &self.controller.source().progress;
        let mut phases: Vec<Phase> = progress.phases().into_iter().map(|(one, _)| one).collect();
        phases.push(progress.phase().0);
        let native = phases.iter().any(|phase| phase.to_string() == "native");
        native && !phases.contains(&Phase::CutOver)
    }

    /// An interactive command can be vetoed.
    pub(super) async fn announce_command(&self, command: &str) -> Result<()> {
        let more = [("COMMAND", format!("'{command}'"))];
        self.call("interactive-command", &self.controller.status(), &more)
            .await
    }

    async fn call(
        &self,
        name: &str,
        status: &StatusSnapshot,
        more: &[(&str, String)],
    ) -> Result<()> {
        let mut environment = self.environment(status);
        environment.extend(
            more.iter()
                .map(|(name, value)| (name.to_string(), value.clone())),
        );
        self.hooks
            .run(name, &environment)
            .await
            .map_err(|failure| failure.kind_is(FailureKind::Stopped))
    }

    /// What every hook is told, names without `GH_OST_`.
    fn environment(&self, status: &StatusSnapshot) -> Vec<(String, String)> {
        let facts = &self.facts;
        let fraction = |value: f64| format!("{value:.6}");
        // gh-ost's number for an unknown end.
        let eta = status
            .forecast
            .map_or(i64::MIN, |forecast| forecast.p50_s as i64);
        let lag = status.replica_lag_s.or(status.replay_lag_s).unwrap_or(0.0);
        [
            ("DATABASE_NAME", facts.table.schema.clone()),
            ("TABLE_NAME", facts.table.table.clone()),
            ("GHOST_TABLE_NAME", status.ghost.clone()),
            ("OLD_TABLE_NAME", status.old.clone()),
            ("DDL", status.alter.clone()),
            ("ELAPSED_SECONDS", fraction(status.elapsed_s)),
            ("ELAPSED_COPY_SECONDS", fraction(status.copy_s)),
            ("ESTIMATED_ROWS", status.rows_total.to_string()),
            ("COPIED_ROWS", status.rows_copied.to_string()),
            ("MIGRATED_HOST", facts.applier.host.clone()),
            ("INSPECTED_HOST", facts.inspector.host.clone()),
            ("EXECUTING_HOST", facts.executing_host.clone()),
            ("INSPECTED_LAG", fraction(lag)),
            (
                "HEARTBEAT_LAG",
                fraction(status.heartbeat_age_s.unwrap_or(0.0)),
            ),
            ("PROGRESS", fraction(status.percent)),
            ("ETA_SECONDS", eta.to_string()),
            ("HOOKS_HINT", facts.hint.clone()),
            ("HOOKS_HINT_OWNER", facts.hint_owner.clone()),
            ("HOOKS_HINT_TOKEN", facts.hint_token.clone()),
            ("DRY_RUN", facts.dry_run.to_string()),
            ("REVERT", facts.revert.to_string()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_string(), value))
        .collect()
    }
}
