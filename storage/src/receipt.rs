//! A receipt as it lies in a store: with the moment it is listed under.

use crate::row::{Micros, Receipt};
use serde::{Deserialize, Serialize};

/// A receipt and its key in `receipt_expiry`.
///
/// Without the key beside it, a receipt that is replaced, or removed with its task, would leave its entry in
/// `receipt_expiry` behind: an entry at the head of that table which nobody could remove any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptReceipt {
    /// What became of the input.
    pub(crate) receipt: Receipt,
    /// The moment it is listed under; empty while it is not listed.
    pub(crate) listed_at: Option<Micros>,
}
