//! The one seam with a kernel.

use crate::input::SinkFault;
use crate::output::Transaction;
use crate::ruleset::{Ruleset, Touched};

/// A kernel that holds the table. Blocking; the agent gives it a thread.
pub trait Kernel {
    /// Why something failed.
    type Error: core::error::Error + Clone + Into<SinkFault>;

    /// Commits all of `transaction` or nothing.
    fn apply(&mut self, transaction: &Transaction) -> Result<(), Self::Error>;

    /// Reads the table back; empty when there is none. Elements of dynamic sets are left out.
    fn observe(&mut self) -> Result<Ruleset, Self::Error>;

    /// Reads back what somebody else has touched since the table was last read or written; all of it when that is not known.
    fn observe_touched(&mut self) -> Result<Observation, Self::Error> {
        self.observe().map(Observation::Whole)
    }
}

/// What was read back.
#[derive(Clone, PartialEq, Debug)]
pub enum Observation {
    /// Only what was touched.
    Touched(Touched),
    /// The whole table.
    Whole(Ruleset),
}
