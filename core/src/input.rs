//! What can happen to the core.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::model::{Kind, Object, ObjectId};
use crate::output::Generation;
use crate::ruleset::{Ruleset, Touched};

/// One event. Everything the core ever learns comes through here, so a journal of inputs replays a run exactly.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Input {
    /// The kernel committed the transaction of this generation.
    Applied(Generation),
    /// What the kernel holds in our table; empty when there is no such table.
    Observed(Ruleset),
    /// What the kernel holds of what somebody else has touched since the table was last read or written.
    ObservedTouched(Touched),
    /// The kernel refused the transaction of this generation; its state is unchanged.
    Refused {
        /// Whose refusal it is.
        generation: Generation,
        /// Why.
        fault: SinkFault,
    },
    /// The complete truth for one kind of object; what is not listed is gone.
    Relist {
        /// The kind; objects of other kinds in the list are ignored.
        kind: Kind,
        /// All objects of the kind.
        objects: Vec<Object>,
    },
    /// An object is gone.
    Remove(ObjectId),
    /// Somebody else changed our table, or notifications of changes were lost.
    Tampered,
    /// Time passed.
    Tick,
    /// The kernel's table could not be read.
    Unobservable,
    /// An object is new or has changed.
    Upsert(Object),
}

/// Why the kernel refused a transaction, as far as it decides what to do next. Derived from the error number,
/// never from a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum SinkFault {
    /// Somebody else committed in between, or the kernel was busy: observe and try again (ERESTART, EBUSY, EAGAIN,
    /// EINTR, ENOBUFS).
    Busy,
    /// No permission (EPERM, EACCES).
    Denied,
    /// Something to be created was there already (EEXIST).
    Exists,
    /// Something to be changed was not there (ENOENT).
    Missing,
    /// Any other error.
    Other,
}
