//! What one sync of the disk costs: the floor below every durable answer.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// Appends of 4 KiB, each with its fdatasync, for `measured`: the time of each, in milliseconds.
///
/// # Errors
/// The disk's.
pub fn syncs_ms(directory: &Path, measured: Duration) -> io::Result<Vec<f64>> {
    let mut file = File::create(directory.join("syncs"))?;
    let block = [7; 4096];
    let began = Instant::now();
    let mut times = Vec::new();
    while began.elapsed() < measured {
        let before = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        times.push(before.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}
