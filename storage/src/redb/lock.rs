//! The lock file beside the store: one engine per file, and its name for those who come second.

use super::open::refused;
use super::open_error::OpenError;
use super::platform::{self, FileId};
use parking_lot::Mutex;
use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// Rounds of asking for the lock and for its holder's name. The name is written microseconds after the lock is
/// taken; a round yields the processor to the one who writes it.
const ROUNDS_MAX: u32 = 10_000;
/// Rounds of asking for a lock that is held for a look. Looks take milliseconds, and these rounds well below a second; one
/// that takes longer, as an export of a large file, is told of as an engine is.
const LOOK_ROUNDS_MAX: u32 = 50_000;
/// A lock file is a few short lines; more is not read.
const TEXT_MAX: u64 = 4096;
/// The line that says that a sync of the store has failed and that no copy has taken its place since.
const UNSYNCED: &[u8] = b"unsynced";
/// The line that says that the file is only read, for a moment as a rule.
const LOOK: &str = "look";
/// What the lines begin with that say where the engine is reached.
const REACHED_AT: &str = "reached_at ";
/// Most addresses that are written down; with the longest the file is still read whole.
const ADDRESSES_MAX: usize = 8;
/// Longest address that is written down, in bytes.
const ADDRESS_MAX: usize = 256;

/// What a lock is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// The file is worked on.
    Work,
    /// It is only read: whoever comes meanwhile may wait for that.
    Look,
}

/// The held lock. Dropping it empties the file and leaves it in place, because removing it would let a third
/// engine lock a new file of this name while a second one locks the removed one.
///
/// It also says, to whoever takes it next, that a sync of the store has failed: the system goes on showing what will never
/// be on the disk. That line is never synced, as a power cut settles what it warns of, and it survives each signature.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    path: PathBuf,
    id: FileId,
    /// A sync of the store has failed; held while the file is written.
    unsynced: Mutex<bool>,
}

impl Lock {
    /// Takes the lock of the store at `path` and writes who holds it. Where it is held for a look, that is waited for, well
    /// below a second.
    ///
    /// # Errors
    /// [`OpenError::AlreadyRunning`] with the holder; otherwise why the lock file cannot be had.
    pub(crate) fn take(path: &Path, instance: u128, now_us: u64) -> Result<Lock, OpenError> {
        Lock::take_for(Purpose::Work, path, (instance, now_us))
    }

    fn take_for(
        purpose: Purpose,
        path: &Path,
        (instance, now_us): (u128, u64),
    ) -> Result<Lock, OpenError> {
        let lock_path = lock_path(path);
        if std::fs::symlink_metadata(&lock_path).is_ok_and(|found| found.is_symlink()) {
            return Err(OpenError::Symlink { path: lock_path });
        }
        let failed = |error: io::Error| refused(&lock_path, "lock the store", &error);
        let mut last: Option<Holder> = None;
        for round in 0..LOOK_ROUNDS_MAX {
            let mut file = platform::open_or_create(&lock_path).map_err(failed)?;
            match file.try_lock() {
                Ok(()) => {
                    let id = FileId::of(&file).map_err(failed)?;
                    // Somebody may have removed the file between its opening and its locking.
                    if FileId::at(&lock_path).is_ok_and(|named| named == id) {
                        let unsynced = says_unsynced(&text(&mut file).map_err(failed)?);
                        let signed = sign(&mut file, (instance, now_us), purpose, unsynced);
                        signed.or_else(without_room).map_err(failed)?;
                        return Ok(Lock {
                            file,
                            path: lock_path,
                            id,
                            unsynced: Mutex::new(unsynced),
                        });
                    }
                }
                Err(TryLockError::WouldBlock) => {
                    last = holder(&mut file).or(last);
                    if !is_waited_for(last.as_ref(), round) {
                        break;
                    }
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            std::thread::yield_now();
        }
        Err(OpenError::AlreadyRunning {
            pid: last.as_ref().map(|holder| holder.pid),
            still_running: last.as_ref().and_then(|holder| holder.still_running),
            reached_at: last.map(|holder| holder.reached_at).unwrap_or_default(),
            path: path.to_owned(),
        })
    }

    /// As [`Lock::take`], for a file that is only read, and says so; `None` where no lock file can be written: nobody works on a file
    /// there, or the locks on the file itself tell.
    ///
    /// # Errors
    /// As for [`Lock::take`].
    pub(crate) fn take_to_read(
        path: &Path,
        instance: u128,
        now_us: u64,
    ) -> Result<Option<Lock>, OpenError> {
        match Lock::take_for(Purpose::Look, path, (instance, now_us)) {
            Err(OpenError::ReadOnly { .. } | OpenError::PermissionDenied { .. })
                if !cfg!(planted = "lock_file_insisted_on") =>
            {
                Ok(None)
            }
            taken => taken.map(Some),
        }
    }

    /// Writes down that the engine has stopped but for so many handlers, for those who come second.
    pub(crate) fn leave(&self, still_running: usize) {
        let _unsynced = self.unsynced.lock();
        // Nothing depends on it: the lock is held either way.
        let _ = self.append(format!("still_running {still_running}\n").as_bytes());
    }

    /// Writes down where the engine is reached, for those who come second.
    pub(crate) fn reached_at(&self, addresses: &[String]) {
        let _unsynced = self.unsynced.lock();
        let fits = |address: &&String| {
            address.len() <= ADDRESS_MAX
                && (!address.contains(char::is_control) || cfg!(planted = "lock_file_any_address"))
        };
        let of_interest = addresses.iter().filter(fits).take(ADDRESSES_MAX);
        let lines: String = of_interest
            .map(|address| format!("{REACHED_AT}{address}\n"))
            .collect();
        // Nothing depends on it: who comes second is refused either way.
        let _ = self.append(lines.as_bytes());
    }

    /// A sync of the store has failed.
    pub(crate) fn note_unsynced(&self) {
        let mut unsynced = self.unsynced.lock();
        if !*unsynced && let Err(error) = self.append(&[UNSYNCED, b"\n"].concat()) {
            // This process knows; another one would not.
            tracing::error!(path = %self.path.display(), %error, "a failed sync could not be noted");
        }
        *unsynced = true;
    }

    /// True when a sync of the store has failed, in this process or in one before it.
    pub(crate) fn is_unsynced(&self) -> bool {
        *self.unsynced.lock()
    }

    /// A copy has taken the place of the store that had failed to sync.
    pub(crate) fn forget_unsynced(&self) {
        let mut unsynced = self.unsynced.lock();
        *unsynced = false;
        // Whoever still finds the line copies once more than needed.
        let mut file = &self.file;
        let _ = text(&mut file).and_then(|text| {
            let lines = text.split_inclusive(|byte| *byte == b'\n');
            let kept: Vec<&[u8]> = lines.filter(|line| !says_unsynced(line)).collect();
            replace(&mut file, &kept.concat())
        });
    }

    fn append(&self, line: &[u8]) -> io::Result<()> {
        let mut file = &self.file;
        file.seek(io::SeekFrom::End(0))?;
        file.write_all(line)
    }

    /// True while the path still names the file that is locked.
    pub(crate) fn is_in_place(&self) -> bool {
        FileId::at(&self.path).is_ok_and(|named| named == self.id)
    }

    /// The path of the lock file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A name left behind would only mislead; the lock itself ends with the handle.
        if !self.is_unsynced() || cfg!(planted = "lock_file_forgets_failed_sync") {
            let _ = self.file.set_len(0);
        }
    }
}

/// The lock file of a store: its path with `.lock` added.
fn lock_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".lock");
    PathBuf::from(name)
}

/// Whether a lock that is held may be free after so many rounds.
fn is_waited_for(holder: Option<&Holder>, round: u32) -> bool {
    match holder {
        Some(holder) if platform::is_alive(holder.pid) => {
            holder.is_look && !cfg!(planted = "look_refuses_engine")
        }
        // A dead process is the name a killed holder left; the living one has yet to write its own.
        Some(_) | None => round < ROUNDS_MAX,
    }
}

fn sign(
    file: &mut File,
    (instance, now_us): (u128, u64),
    purpose: Purpose,
    unsynced: bool,
) -> io::Result<()> {
    let pid = std::process::id();
    let mut text = format!("pid {pid}\ninstance {instance:032x}\nstarted {now_us}\n").into_bytes();
    match purpose {
        Purpose::Work => {}
        Purpose::Look => text.extend([LOOK.as_bytes(), b"\n"].concat()),
    }
    if unsynced {
        text.extend([UNSYNCED, b"\n"].concat());
    }
    replace(&mut &*file, &text)
}

/// The name is for those who come second, and the lock is held without it. A line that stays was there before, and needs
/// no room.
fn without_room(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            if !cfg!(planted = "lock_insists_on_its_name") =>
        {
            Ok(())
        }
        _ => Err(error),
    }
}

/// Written first and cut then: in no moment is a line missing that stays.
fn replace(file: &mut &File, text: &[u8]) -> io::Result<()> {
    file.rewind()?;
    file.write_all(text)?;
    file.set_len(text.len() as u64)
}

fn text(file: &mut (impl Read + Seek)) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    file.rewind()?;
    file.take(TEXT_MAX).read_to_end(&mut text)?;
    Ok(text)
}

fn says_unsynced(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'\n')
        .any(|line| line == UNSYNCED)
}

/// Who holds a lock.
pub(super) struct Holder {
    pub(super) pid: u32,
    /// Set when its engine has stopped but for so many handlers.
    pub(super) still_running: Option<usize>,
    /// Where its engine is reached.
    pub(super) reached_at: Vec<String>,
    /// When it took the lock, in microseconds since 1970.
    pub(super) started_us: Option<u64>,
    /// It only reads the file.
    pub(super) is_look: bool,
}

/// Whether somebody holds the lock of the store at `path`, and who, without taking it: only shared, for a moment.
pub(super) fn held(path: &Path) -> (bool, Option<Holder>) {
    let Ok(mut file) = platform::open_to_read(&lock_path(path)) else {
        return (false, None);
    };
    if !matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)) {
        return (false, None);
    }
    (true, holder(&mut file))
}

/// The process a lock file names, once it is written whole.
fn holder(file: &mut File) -> Option<Holder> {
    let text = String::from_utf8(text(file).ok()?).ok()?;
    let lines: Vec<&str> = text.lines().collect();
    let pid = lines.first()?.strip_prefix("pid ")?.parse().ok()?;
    let left = lines
        .iter()
        .skip(3)
        .find_map(|line| line.strip_prefix("still_running "));
    let still_running = left.and_then(|count| count.parse().ok());
    let addresses = lines.iter().skip(3);
    let addresses = addresses.filter_map(|line| line.strip_prefix(REACHED_AT));
    let reached_at = addresses.map(str::to_owned).collect();
    let is_look = lines.iter().skip(3).any(|line| *line == LOOK);
    let whole = lines.len() >= 3 && text.ends_with('\n');
    let started = lines.get(2).and_then(|line| line.strip_prefix("started "));
    let started_us = started.and_then(|us| us.parse().ok());
    whole.then_some(Holder {
        pid,
        still_running,
        reached_at,
        started_us,
        is_look,
    })
}
