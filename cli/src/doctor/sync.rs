//! How long the disk takes to make a write durable: what every start of a task waits for.

use super::Check;
use crate::exit::Exit;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

const SYNC: &str = "sync";
/// Writes that are tried.
const TRIES: usize = 9;
/// They end after this, however many there were.
const TIME_MAX: Duration = Duration::from_secs(3);
/// A disk that takes longer keeps everybody waiting.
const SLOW: Duration = Duration::from_millis(50);
/// No disk is faster: what is written so fast stays in memory.
const IMPLAUSIBLE: Duration = Duration::from_micros(10);

/// Writes a page and syncs it, a few times.
pub(super) fn latency(directory: &Path) -> Check {
    match probe(directory) {
        Ok(mut times) => {
            times.sort();
            let median = times.get(times.len() / 2).copied().unwrap_or_default();
            let found = format!("{:.2} ms for a durable write", median.as_secs_f64() * 1e3);
            match median {
                median if median > SLOW => Check::warn(
                    SYNC,
                    found,
                    "every start waits for it: choose a faster disk, or start many at once",
                ),
                median if median < IMPLAUSIBLE => Check::warn(
                    SYNC,
                    found,
                    "no disk is so fast: what is acknowledged may not survive a power cut",
                ),
                _ => Check::ok(SYNC, found),
            }
        }
        Err(error) => Check::fail(
            (SYNC, Exit::Other),
            format!("nothing can be written beside the file: {error}"),
            "mend the rights of the directory, or give another --store",
        ),
    }
}

fn probe(directory: &Path) -> io::Result<Vec<Duration>> {
    let path = directory.join(format!(".outlive-doctor.{}.tmp", std::process::id()));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)?;
    // It has no name any more while it is written to, so that nothing of it is left whatever happens.
    fs::remove_file(&path)?;
    let began = Instant::now();
    let mut times = Vec::new();
    while times.len() < TRIES && began.elapsed() < TIME_MAX {
        file.write_all(&[0xa5; 4096])?;
        let before = Instant::now();
        file.sync_data()?;
        times.push(before.elapsed());
    }
    Ok(times)
}
