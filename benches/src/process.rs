//! What the system tells of this process: its memory, its threads, how often it woke, what it wrote.

use crate::Failed;
use std::fs;

/// Read from `/proc/self`, so on Linux alone.
#[derive(Debug, Clone, Copy)]
pub struct Process {
    /// Memory that is resident now, in MiB.
    pub resident_mib: f64,
    /// The most that ever was, in MiB.
    pub peak_mib: f64,
    /// Its threads.
    pub threads: usize,
    /// How often a thread of it that had gone to sleep was woken, all threads together.
    pub wake_ups: u64,
    /// Bytes it had written to the disk.
    pub written: u64,
}

/// As it is now. Reading it wakes nobody.
///
/// # Errors
/// The system does not tell.
pub fn now() -> Result<Process, Failed> {
    let status = fs::read_to_string("/proc/self/status")?;
    let io = fs::read_to_string("/proc/self/io")?;
    let mut threads = 0;
    let mut wake_ups = 0;
    for thread in fs::read_dir("/proc/self/task")? {
        // One that ends meanwhile has no status any more.
        if let Ok(status) = fs::read_to_string(thread?.path().join("status")) {
            threads += 1;
            wake_ups += value(&status, "voluntary_ctxt_switches:")? as u64;
        }
    }
    Ok(Process {
        resident_mib: value(&status, "VmRSS:")? / 1024.0,
        peak_mib: value(&status, "VmHWM:")? / 1024.0,
        threads,
        wake_ups,
        written: value(&io, "write_bytes:")? as u64,
    })
}

/// The number of the line that begins so.
fn value(text: &str, name: &str) -> Result<f64, Failed> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.ok_or("the system does not tell")?.parse()?)
}
