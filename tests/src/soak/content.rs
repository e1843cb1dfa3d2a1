//! How much is in the file, whatever room redb keeps beside it.

use outlive::{Engine, store};
use std::error::Error;
use std::path::Path;

/// How many times what is in it a file may take: its pages are filled by three quarters where those of a copy are full, and
/// redb doubles a file in which no page is free.
pub const FILE_MAX: f64 = 3.0;

/// The MiB of a copy made as small as it gets.
///
/// # Errors
/// The copy is not made, or not made small.
pub async fn content(
    engine: &Engine,
    directory: &Path,
) -> Result<f64, Box<dyn Error + Send + Sync>> {
    let copy = directory.join("copy.redb");
    engine.backup(&copy).await?;
    let report = store::compact(&copy)?;
    std::fs::remove_file(&copy)?;
    Ok(report.bytes_after as f64 / super::samples::MIB)
}
