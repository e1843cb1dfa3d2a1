//! The files of a world, kept in a directory, so that a damage can be looked at alone: each new world has other bytes.

use super::world::{World, tasks};
use std::fs;
use std::io;
use std::path::Path;

/// The file that was killed, the one after a stop in order, an earlier one, and the last transition in their log.
const NAMES: [&str; 4] = ["killed.redb", "stopped.redb", "before.redb", "last"];

/// The world of so many tasks that was kept there, if there is one.
pub fn load(place: &Path, count: usize) -> Option<World> {
    let [killed, stopped, before, last] = NAMES.map(|name| fs::read(place.join(name)).ok());
    let last = String::from_utf8(last?).ok()?;
    Some(World {
        tasks: tasks(count),
        killed: killed?,
        stopped: stopped?,
        last_etag: last.trim().parse().ok()?,
        before: before?,
    })
}

/// Keeps a world.
///
/// # Errors
/// What the system says.
pub fn keep(place: &Path, world: &World) -> io::Result<()> {
    fs::create_dir_all(place)?;
    let last = world.last_etag.to_string();
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
