//! A moment, and the moments that stand for "not by time".

use serde::{Deserialize, Serialize};

/// A moment on the wall clock: microseconds since 1970-01-01 UTC.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
pub struct Micros(pub u64);

impl Micros {
    /// Sorts after every real moment: nothing but an event moves the task.
    pub const NEVER: Micros = Micros(u64::MAX);
    /// Sorts after every real moment, before [`Micros::NEVER`]: looked at once at each open.
    pub const AT_OPEN: Micros = Micros(u64::MAX - 1);
    /// Sorts after every real moment, before [`Micros::AT_OPEN`]: suspected of killing its process, entered only
    /// by the poison guard.
    pub const ISOLATED: Micros = Micros(u64::MAX - 2);

    /// The last real moment.
    pub(crate) const LAST: Micros = Micros(u64::MAX - 3);

    /// This moment plus a number of microseconds, never past the last real moment.
    #[must_use]
    pub fn plus(self, micros: u64) -> Micros {
        Micros(self.0.saturating_add(micros)).min(Micros::LAST)
    }
}
