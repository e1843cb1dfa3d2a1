//! A file of lines while it is written: under a name of its own beside its place, and of no use without its writer.

use super::create::{directory, publish_durably};
use super::platform::{self, FileId};
use std::ffi::{OsStr, OsString};
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// Rounds of making the file while somebody takes it for one that a dead process left, in the moment before it is locked.
const ROUNDS_MAX: u32 = 100;
/// What its name ends with. No store that is made has such a name, so neither is ever taken for the other.
const ENDING: &str = ".lines.tmp";

/// The file under its own name, locked for as long as its writer lives. Dropped before [`Part::publish`], it leaves nothing
/// behind; what a killed writer left, the next one for the same place removes.
pub(super) struct Part {
    file: File,
    path: PathBuf,
}

impl Part {
    /// A new file, readable by its owner only, for a place at which nothing may lie. `instance` is a fresh chance number.
    ///
    /// # Errors
    /// The system's refusal.
    pub(super) fn begin(to: &Path, instance: u128) -> io::Result<Part> {
        let mut name = OsString::from(to);
        name.push(format!(".{instance:032x}{ENDING}"));
        let path = PathBuf::from(name);
        for _ in 0..ROUNDS_MAX {
            let file = match platform::create(&path) {
                // The one of the round before, which somebody is about to remove.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    std::thread::yield_now();
                    continue;
                }
                created => created?,
            };
            let is_ours = match file.try_lock() {
                Ok(()) => is_at(&file, &path),
                Err(TryLockError::WouldBlock) => false,
                // Where nothing can be locked, nobody takes it for a dead one's.
                Err(TryLockError::Error(_)) => true,
            };
            if is_ours {
                return Ok(Part { file, path });
            }
        }
        Err(io::ErrorKind::ResourceBusy.into())
    }

    /// The file, to be written.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Makes it durable and gives it its name; `false` when the name is taken.
    ///
    /// # Errors
    /// The system's refusal; nothing has the name then.
    pub(super) fn publish(self, to: &Path) -> io::Result<bool> {
        self.file.sync_all()?;
        publish_durably(&self.path, to)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Published, it has another name; else nothing of it is of use to anybody.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Removes what writers that died have left beside `to`. Nothing depends on it, so what cannot be removed stays.
pub(super) fn remove_leftovers(to: &Path) {
    let Some(name) = to.file_name() else { return };
    let Ok(entries) = std::fs::read_dir(directory(to)) else {
        return;
    };
    let leftovers = entries
        .filter_map(Result::ok)
        .filter(|entry| is_of(name, &entry.file_name()));
    for entry in leftovers {
        let path = entry.path();
        let Ok(file) = platform::open(&path) else {
            continue;
        };
        // Its writer holds the lock for as long as it lives.
        let is_left = file.try_lock().is_ok() || cfg!(planted = "lines_of_the_living_removed");
        if is_left && is_at(&file, &path) && !cfg!(planted = "lines_of_the_dead_kept") {
            let _ = std::fs::remove_file(&path);
        }
    }
}

/// Whether the path names the open file, which somebody may have removed since.
fn is_at(file: &File, path: &Path) -> bool {
    let (of, at) = (FileId::of(file), FileId::at(path));
    of.is_ok_and(|of| at.is_ok_and(|at| of == at))
}

/// True for exactly the names that [`Part::begin`] gives: nobody else's file is removed.
fn is_of(to: &OsStr, name: &OsStr) -> bool {
    let middle = name
        .as_encoded_bytes()
        .strip_prefix(to.as_encoded_bytes())
        .and_then(|rest| rest.strip_prefix(b"."))
        .and_then(|rest| rest.strip_suffix(ENDING.as_bytes()));
    middle.is_some_and(|hex| hex.len() == 32 && hex.iter().all(u8::is_ascii_hexdigit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// A killed process lets go of its lock and leaves its file, as a handle that is closed does.
    #[test]
    fn what_a_dead_writer_left_goes_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let to = directory.path().join("lines");
        let hex = "0".repeat(32);
        let dead = format!("lines.{hex}.lines.tmp");
        let others = [
            format!("lines.{hex}.tmp"),
            format!("lines.{hex}.lines.tmp2"),
            format!("lines.{}.lines.tmp", "g".repeat(32)),
            format!("other.{hex}.lines.tmp"),
        ];
        for name in others.iter().chain([&dead]) {
            fs::write(directory.path().join(name), "half").unwrap();
        }
        let living = Part::begin(&to, 7).unwrap();
        remove_leftovers(&to);
        let mut expected: Vec<String> = others.into();
        let name = living.path.file_name().unwrap();
        expected.push(name.to_str().unwrap().into());
        expected.sort();
        assert_eq!(names(directory.path()), expected);
        assert!(living.publish(&to).unwrap());
        expected.retain(|name| !name.ends_with("7.lines.tmp"));
        expected.insert(0, "lines".into());
        assert_eq!(names(directory.path()), expected);
    }

    #[test]
    fn what_was_not_published_leaves_nothing_and_what_is_there_stays() {
        let directory = tempfile::tempdir().unwrap();
        let to = directory.path().join("lines");
        drop(Part::begin(&to, 1).unwrap());
        assert!(names(directory.path()).is_empty());
        fs::write(&to, "something").unwrap();
        assert!(!Part::begin(&to, 2).unwrap().publish(&to).unwrap());
        assert_eq!(names(directory.path()), ["lines"]);
        assert_eq!(fs::read(&to).unwrap(), b"something");
    }
}
