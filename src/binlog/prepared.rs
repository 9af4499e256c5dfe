//! XA transactions: their rows stand in the binlog where they were prepared, and whether they were
//! committed or rolled back stands somewhere later.
//!
//! The rows are held until then. Coordinates must not move past a prepared transaction, or a reader that
//! begins again from them would never see its rows: with MySQL's GTIDs the set simply lacks the
//! transaction until it is resolved; a position in a file or in a domain of MariaDB stays before the
//! oldest open one.

use super::event::Xid;
use crate::change::RowChange;
use crate::coordinates::Step;

/// A transaction that is prepared and not yet resolved.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Its identity.
    pub xid: Xid,
    /// Its rows of the original.
    pub changes: Vec<RowChange>,
    /// What its own commit adds to the coordinates, where there are MySQL's GTIDs.
    pub step: Option<Step>,
    /// The last step before it.
    pub before: Option<Step>,
}

/// All of them, in the order in which they were prepared.
#[derive(Debug, Default)]
pub struct PreparedTransactions(Vec<Prepared>);

impl PreparedTransactions {
    /// Holds one.
    pub fn hold(&mut self, prepared: Prepared) {
        self.0.push(prepared);
    }

    /// Gives one out.
    pub fn resolve(&mut self, xid: &Xid) -> Option<Prepared> {
        let at = self.0.iter().position(|prepared| prepared.xid == *xid)?;
        Some(self.0.remove(at))
    }

    /// The step that a commit may announce instead of its own: its own, unless an open transaction
    /// stands before it in the same line. `None`: nothing may be announced.
    pub fn allowed(&self, step: &Step) -> Option<Step> {
        let holder = self.0.iter().find(|open| in_line(open, step));
        match holder {
            None => Some(step.clone()),
            Some(open) => open.before.clone(),
        }
    }
}

/// Whether a step would move coordinates past an open transaction.
fn in_line(open: &Prepared, step: &Step) -> bool {
    match (&open.step, step) {
        (Some(Step::Maria(domain, ..)), Step::Maria(other, ..)) => domain == other,
        (Some(Step::Gtid(..)), _) => false,
        (_, Step::File(..)) => true,
        _ => false,
    }
}
