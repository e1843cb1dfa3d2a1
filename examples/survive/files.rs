//! The files of a directory, in a fixed order, and what was passed over.

use crate::Failure;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What tells that a file changed.
type Stamp = (u64, Option<SystemTime>);

pub(crate) struct Found {
    root: PathBuf,
    /// Paths below the root, sorted.
    pub(crate) files: Vec<String>,
    stamps: Vec<Stamp>,
    bytes: u64,
    skipped: Skipped,
}

#[derive(Default)]
struct Skipped {
    symlinks: u64,
    special: u64,
    unreadable: u64,
    not_utf8: u64,
    directories: Vec<String>,
}

/// Lists what can be read below `root`.
pub(crate) fn find(root: &Path) -> Result<Found, Failure> {
    if !root.is_dir() {
        return Err(format!("{} is not a directory", root.display()).into());
    }
    let mut skipped = Skipped::default();
    let mut found = Vec::new();
    let mut to_visit = vec![root.to_owned()];
    while let Some(directory) = to_visit.pop() {
        let Ok(entries) = fs::read_dir(&directory) else {
            skipped.unreadable += 1;
            continue;
        };
        for entry in entries {
            let path = entry?.path();
            let Some(name) = path.strip_prefix(root)?.to_str().map(str::to_owned) else {
                skipped.not_utf8 += 1;
                continue;
            };
            match kind(&path) {
                Kind::Symlink => skipped.symlinks += 1,
                Kind::Special => skipped.special += 1,
                Kind::Unreadable => skipped.unreadable += 1,
                Kind::LeftOut => skipped.directories.push(name),
                Kind::Directory => to_visit.push(path),
                Kind::File(stamp) => found.push((name, stamp)),
            }
        }
    }
    found.sort_unstable();
    skipped.directories.sort_unstable();
    let bytes = found.iter().map(|(_, (bytes, _))| bytes).sum();
    let (files, stamps) = found.into_iter().unzip();
    Ok(Found {
        root: root.to_owned(),
        files,
        stamps,
        bytes,
        skipped,
    })
}

enum Kind {
    File(Stamp),
    Directory,
    /// A directory of git or of build output.
    LeftOut,
    Symlink,
    Special,
    Unreadable,
}

fn kind(path: &Path) -> Kind {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return Kind::Unreadable;
    };
    if metadata.is_symlink() {
        return Kind::Symlink;
    }
    if metadata.is_dir() {
        return match is_left_out(path) {
            true => Kind::LeftOut,
            false => Kind::Directory,
        };
    }
    if !metadata.is_file() {
        return Kind::Special;
    }
    match File::open(path) {
        Ok(_) => Kind::File((metadata.len(), metadata.modified().ok())),
        Err(_) => Kind::Unreadable,
    }
}

/// Not every `target` holds build output: a source module may have that name.
fn is_left_out(directory: &Path) -> bool {
    let named = |name: &str| directory.file_name().is_some_and(|found| found == name);
    named(".git")
        || directory.join("CACHEDIR.TAG").is_file()
        || (named("target") && directory.with_file_name("Cargo.toml").is_file())
}

impl Found {
    /// Files that are not any more what they were when they were found.
    pub(crate) fn changed(&self) -> Vec<&str> {
        let files = self.files.iter().zip(&self.stamps);
        files
            .filter(|(name, stamp)| match kind(&self.root.join(name)) {
                Kind::File(now) => now != **stamp,
                _ => true,
            })
            .map(|(name, _)| name.as_str())
            .collect()
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} files, {} bytes", self.files.len(), self.bytes)?;
        let Skipped {
            symlinks,
            special,
            unreadable,
            not_utf8,
            directories,
        } = &self.skipped;
        let counted = [
            (symlinks, "symlinks"),
            (special, "special files"),
            (unreadable, "unreadable files and directories"),
            (not_utf8, "names that are not UTF-8"),
        ];
        for (count, what) in counted.into_iter().filter(|(count, _)| **count > 0) {
            write!(f, "; skipped {what}: {count}")?;
        }
        match directories.as_slice() {
            [] => Ok(()),
            [one] => write!(f, "; skipped {one}"),
            [first, rest @ ..] => write!(f, "; skipped {first} and {} like it", rest.len()),
        }
    }
}
