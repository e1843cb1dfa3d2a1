//! What the operating system says of the place of the file: rights, kind of file system, room, and limits.

use super::Check;
#[cfg(unix)]
pub(super) use unix::{file_system, open_files, rights, space};

#[cfg(unix)]
mod unix {
    use super::Check;
    use crate::exit::Exit;
    use crate::facts::bytes;
    use rustix::fs::{Access, statvfs};
    use rustix::process::{Resource, getrlimit};
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    const RIGHTS: &str = "rights";
    const SPACE: &str = "space";
    const FILES: &str = "open files";
    /// Room below which a file soon stops growing, in bytes.
    const SPACE_MIN: u64 = 64 << 20;
    /// Sockets, files and the engine's own take about so many.
    const FILES_MIN: u64 = 512;

    /// Who may read and write the file and its directory.
    pub(in crate::doctor) fn rights(path: &Path, directory: &Path) -> Vec<Check> {
        let mut checks = Vec::new();
        if rustix::fs::access(directory, Access::WRITE_OK | Access::EXEC_OK).is_err() {
            checks.push(Check::fail(
                (RIGHTS, Exit::Other),
                format!("{} cannot be written to", directory.display()),
                "an engine makes a lock file there: mend its rights, or give another --store",
            ));
        }
        let mode = |path: &Path| {
            std::fs::symlink_metadata(path)
                .ok()
                .map(|found| found.mode())
        };
        if mode(directory).is_some_and(|mode| mode & 0o022 != 0 && mode & 0o1000 == 0) {
            checks.push(Check::warn(
                RIGHTS,
                format!("others may write to {}", directory.display()),
                "they could put another file in the place of this one: chmod go-w",
            ));
        }
        match mode(path) {
            Some(mode) if mode & 0o077 != 0 => checks.push(Check::warn(
                RIGHTS,
                format!("others may read or write the file ({:03o})", mode & 0o777),
                "inputs and results are in it: chmod 600",
            )),
            Some(_) if rustix::fs::access(path, Access::READ_OK | Access::WRITE_OK).is_err() => {
                checks.push(Check::fail(
                    (RIGHTS, Exit::Other),
                    "the file cannot be read and written",
                    "run as its owner, or mend its rights",
                ));
            }
            Some(_) if checks.is_empty() => {
                checks.push(Check::ok(RIGHTS, "its owner's alone"));
            }
            None if checks.is_empty() => checks.push(Check::ok(RIGHTS, "a file can be made")),
            Some(_) | None => {}
        }
        checks
    }

    /// The kinds of file system on which locks or syncs are not what they are elsewhere; by their numbers in Linux.
    #[cfg(target_os = "linux")]
    pub(in crate::doctor) fn file_system(directory: &Path) -> Option<Check> {
        const KIND: &str = "file system";
        let found = rustix::fs::statfs(directory).ok()?;
        let elsewhere =
            "a lock may not be seen by another machine: keep the file on a disk of this one";
        let passing =
            "it is in memory: nothing of it survives a power cut or a restart of the machine";
        // The numbers have 32 bits whatever the type they come in.
        Some(match found.f_type as u32 {
            0x6969 => Check::warn(KIND, "NFS", elsewhere),
            0x517b | 0xff53_4d42 | 0xfe53_4d42 => Check::warn(KIND, "SMB", elsewhere),
            0x0102_1997 => Check::warn(KIND, "9p", elsewhere),
            0x6573_5546 => Check::warn(KIND, "FUSE", elsewhere),
            0x0102_1994 | 0x8584_58f6 => Check::warn(KIND, "memory (tmpfs)", passing),
            0xef53 => Check::ok(KIND, "ext4"),
            0x5846_5342 => Check::ok(KIND, "XFS"),
            0x9123_683e => Check::ok(KIND, "btrfs"),
            0x2fc1_2fc1 => Check::ok(KIND, "ZFS"),
            0x794c_7630 => Check::warn(
                KIND,
                "overlay",
                "it is a container's own: keep the file on a volume, or it goes with the container",
            ),
            other => Check::ok(KIND, format!("of kind {other:#x}")),
        })
    }

    /// Elsewhere the kinds have other names.
    #[cfg(not(target_os = "linux"))]
    pub(in crate::doctor) fn file_system(_directory: &Path) -> Option<Check> {
        None
    }

    /// What is left to write.
    pub(in crate::doctor) fn space(directory: &Path, file_bytes: u64) -> Option<Check> {
        let found = statvfs(directory).ok()?;
        let left = found.f_bavail.saturating_mul(found.f_frsize);
        let said = format!("{} left", bytes(left));
        Some(match left {
            left if left < SPACE_MIN => Check::fail(
                (SPACE, Exit::Other),
                said,
                "make room: starts are refused when it is full, deletes are not",
            ),
            left if left < file_bytes => Check::warn(
                SPACE,
                said,
                "less than a copy of the file takes: make room before a backup or a repair",
            ),
            _ => Check::ok(SPACE, said),
        })
    }

    /// How many files and sockets a process may have.
    pub(in crate::doctor) fn open_files() -> Check {
        let limit = getrlimit(Resource::Nofile).current;
        match limit {
            Some(limit) if limit < FILES_MIN => Check::warn(
                FILES,
                format!("at most {limit}"),
                "each connection takes one: raise it (ulimit -n 4096)",
            ),
            Some(limit) => Check::ok(FILES, format!("at most {limit}")),
            None => Check::ok(FILES, "no limit"),
        }
    }
}

#[cfg(not(unix))]
mod other {
    use super::Check;
    use std::path::Path;

    pub(in crate::doctor) fn rights(_path: &Path, _directory: &Path) -> Vec<Check> {
        Vec::new()
    }

    pub(in crate::doctor) fn file_system(_directory: &Path) -> Option<Check> {
        None
    }

    pub(in crate::doctor) fn space(_directory: &Path, _file_bytes: u64) -> Option<Check> {
        None
    }

    pub(in crate::doctor) fn open_files() -> Check {
        Check::ok("open files", "not known here")
    }
}

#[cfg(not(unix))]
pub(super) use other::{file_system, open_files, rights, space};
