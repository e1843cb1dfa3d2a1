//! Damage over which redb panics: it believes what stands in a page, and a page is not checked when it is read.

use crate::store::StoreError;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs a call that reads, and that writes by [`written`] alone. Nothing is half done when it panics: a read transaction leaves
/// nothing behind, and redb holds none of its locks while it looks into a page.
///
/// # Errors
/// [`StoreError::Corrupt`] for a panic; what the call fails with.
pub(super) fn told<T>(call: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    if cfg!(planted = "read_panics") {
        return call();
    }
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| {
        Err(StoreError::Corrupt {
            table: "unknown",
            key: "on a damaged page".into(),
        })
    })
}

/// Runs what writes. A handle on which it has panicked is not to be used again: the store is opened anew, and what only the
/// journal has is done again.
///
/// # Errors
/// [`StoreError::Failed`] for a panic; what the call fails with.
pub(super) fn written<T>(call: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| {
        Err(StoreError::Failed {
            message: "pages of the file do not fit together".into(),
        })
    })
}

/// Closes a file. redb frees pages as it closes, and panics where what it knows of them is damaged: whoever drops a store
/// has asked for nothing. What it would have written is left to the next open, as after a crash.
pub(super) fn closed<T>(open: T) {
    if cfg!(planted = "close_panics") {
        return drop(open);
    }
    let _ = catch_unwind(AssertUnwindSafe(|| drop(open)));
}
