//! What the core asks for.

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::model::{ObjectId, Problem};
use crate::ruleset::Op;

/// One request of the core to its surroundings.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Output {
    /// Commit this, then answer with `Applied` or `Refused`. At most one is in flight.
    Apply(Transaction),
    /// Answer with `Input::Observed`.
    Observe,
    /// Answer with `Input::ObservedTouched`, or with `Input::Observed` when it is not known what was touched.
    ObserveTouched,
    /// For people: an object's problems have changed.
    Report(Report),
}

/// Numbers transactions, from 1.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An atomic change of the table: the kernel takes all of it or nothing.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Transaction {
    /// Its number.
    pub generation: Generation,
    /// What it starts from.
    pub scope: Scope,
    /// The operations, in the order in which the kernel must see them.
    pub ops: Vec<Op>,
}

/// What a transaction starts from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Scope {
    /// The table as it is (it is created when missing).
    Change,
    /// An empty table: whatever is in it is deleted in the same commit.
    Replace,
}

/// All problems of an object; none means that earlier ones are solved.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// The object.
    pub object: ObjectId,
    /// What cannot be enforced, and where it is written.
    pub problems: Vec<Problem>,
}
