//! Secrets: what lies in the file, what is shown of it, and what a change of keys leaves.

mod at_rest;
mod page;
mod rotation;
mod shown;

use outlive::sealed::{Key, Keys};
use std::time::Duration;

/// What nobody is to find.
const NEEDLE: &str = "correct horse battery staple";
const SOON: Duration = Duration::from_secs(10);

fn old_key() -> Key {
    Key::new([1; 32])
}

fn new_key() -> Key {
    Key::new([2; 32])
}

fn old() -> Keys {
    Keys::new(old_key())
}

fn both() -> Keys {
    Keys::new(new_key()).older(old_key())
}

fn new() -> Keys {
    Keys::new(new_key())
}

/// A text with the needle in it.
fn said(what: &str) -> String {
    format!("{what}: {NEEDLE}")
}
