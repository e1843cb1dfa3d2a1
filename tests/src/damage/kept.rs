//! The files of a world, kept in a directory, so that a damage can be looked at alone: each new world has other bytes.

use super::world::{World, tasks};
use std::fs;
use std::io;
use std::path::Path;

/// The file that was killed, the one after a stop in order, an earlier one; the last transition in their log, and when they were
/// taken.
const NAMES: [&str; 4] = ["killed.redb", "stopped.redb", "before.redb", "last"];

/// The world of so many tasks that was kept there, if there is one.
pub fn load(place: &Path, count: usize) -> Option<World> {
    let [killed, stopped, before, last] = NAMES.map(|name| fs::read(place.join(name)).ok());
    let last = String::from_utf8(last?).ok()?;
    let (last, taken) = last.split_once(' ')?;
    Some(World {
        tasks: tasks(count),
        killed: killed?,
        stopped: stopped?,
        last_etag: last.parse().ok()?,
        before: before?,
        taken_us: taken.parse().ok()?,
    })
}

/// Keeps a world.
///
/// # Errors
/// What the system says.
pub fn keep(place: &Path, world: &World) -> io::Result<()> {
    fs::create_dir_all(place)?;
    let last = format!("{} {}", world.last_etag, world.taken_us);
    let files = [&world.killed, &world.stopped, &world.before].map(Vec::as_slice);
    let [killed, stopped, before] = files;
    for (name, bytes) in NAMES
        .into_iter()
        .zip([killed, stopped, before, last.as_bytes()])
    {
        fs::write(place.join(name), bytes)?;
    }
    Ok(())
}
