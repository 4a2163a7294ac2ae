//! Time as plain data.

use core::time::Duration;

use serde::{Deserialize, Serialize};

/// Monotonic time since the agent started. The core never reads a clock: whoever calls it says what time it is.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Time(pub Duration);

impl Time {
    /// The moment `after` this one; the end of time when that cannot be represented.
    #[must_use]
    pub const fn plus(self, after: Duration) -> Self {
        Self(self.0.saturating_add(after))
    }
}
