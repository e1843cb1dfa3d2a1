//! A disk in memory that fails at one call, and forgets at a power cut what no sync had reached.

use crate::chance::Chance;
use outlive_storage::StoreError;
use outlive_storage::redb::Medium;
use parking_lot::Mutex;
use redb::StorageBackend;
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::Arc;

/// What the system keeps in memory, and writes, as a whole.
const PAGE: usize = 4096;

/// Which calls fail, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any call, with an error of the device.
    Any,
    /// A read.
    Read,
    /// A write or a change of the length, for want of room.
    Full,
    /// A write, of which the first half is there.
    Short,
    /// A sync. As a system may do, it then takes what it could not write for written.
    Sync,
    /// A copy's taking of the file's place: it is seen at once, and not durable.
    Publish,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 6] = [
        Kind::Any,
        Kind::Read,
        Kind::Full,
        Kind::Short,
        Kind::Sync,
        Kind::Publish,
    ];

    fn is_hit_by(self, call: Call) -> bool {
        match self {
            Kind::Any => true,
            Kind::Read => call == Call::Read,
            Kind::Full => matches!(call, Call::Write | Call::SetLen),
            Kind::Short => call == Call::Write,
            Kind::Sync => call == Call::Sync,
            Kind::Publish => call == Call::Publish,
        }
    }

    fn error(self) -> io::Error {
        match self {
            Kind::Full => io::ErrorKind::StorageFull.into(),
            Kind::Short => io::ErrorKind::WriteZero.into(),
            Kind::Any | Kind::Read | Kind::Sync | Kind::Publish => io::Error::other("told to fail"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Read,
    Write,
    SetLen,
    Sync,
    Publish,
}

/// One failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Of which calls.
    pub kind: Kind,
    /// At which of these, from 1.
    pub at: u64,
    /// Whether all later ones fail as well, until [`FaultyDisk::mend`].
    pub lasts: bool,
}

/// A file: what is seen of it, and what is on the disk.
#[derive(Debug, Default)]
struct File {
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// Pages that differ, and are known to.
    dirty: BTreeSet<usize>,
}

impl File {
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if self.seen.len() < end {
            self.seen.resize(end, 0);
        }
        self.seen[offset..end].copy_from_slice(bytes);
        self.dirty.extend(offset / PAGE..end.div_ceil(PAGE));
    }

    fn sync(&mut self) {
        self.durable.resize(self.seen.len(), 0);
        for page in std::mem::take(&mut self.dirty) {
            self.keep(page);
        }
    }

    /// Some pages reach the disk, the others never will.
    fn fail_to_sync(&mut self, chance: &mut Chance) {
        self.durable.resize(self.seen.len(), 0);
        for page in std::mem::take(&mut self.dirty) {
            if chance.below(2) == 0 {
                self.keep(page);
            }
        }
    }

    fn keep(&mut self, page: usize) {
        let end = ((page + 1) * PAGE).min(self.seen.len());
        let begin = (page * PAGE).min(end);
        self.durable[begin..end].copy_from_slice(&self.seen[begin..end]);
    }
}

struct State {
    /// The file by its name, as the system shows it.
    file: Arc<Mutex<File>>,
    /// The file by its name, as it is on the disk.
    durable: Arc<Mutex<File>>,
    copy: Option<Arc<Mutex<File>>>,
    /// A sync has failed since the last copy, as every process of this system is told.
    sync_failed: bool,
    fault: Option<Fault>,
    /// What fails once that has.
    then: Option<Fault>,
    /// Calls that the fault's kind would hit, so far.
    hits: u64,
    /// How often it failed.
    failures: u64,
    /// How often a copy took the place of the file.
    copies: u64,
    chance: Chance,
}

/// The disk. Clones are the same one.
#[derive(Clone)]
pub struct FaultyDisk(Arc<Mutex<State>>);

impl fmt::Debug for FaultyDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.lock();
        f.debug_struct("FaultyDisk")
            .field("fault", &state.fault)
            .field("failures", &state.failures)
            .finish_non_exhaustive()
    }
}

impl FaultyDisk {
    /// A disk with this on it, which fails at nothing.
    pub fn new(image: Vec<u8>, seed: u64) -> FaultyDisk {
        let file = File {
            durable: image.clone(),
            seen: image,
            dirty: BTreeSet::new(),
        };
        let file = Arc::new(Mutex::new(file));
        FaultyDisk(Arc::new(Mutex::new(State {
            durable: Arc::clone(&file),
            file,
            copy: None,
            sync_failed: false,
            fault: None,
            then: None,
            hits: 0,
            failures: 0,
            copies: 0,
            chance: Chance(seed),
        })))
    }

    /// From now on it fails so.
    pub fn arm(&self, fault: Fault) {
        let mut state = self.0.lock();
        (state.fault, state.hits) = (Some(fault), 0);
    }

    /// Once it has failed as it is armed, it fails so.
    pub fn arm_then(&self, fault: Fault) {
        self.0.lock().then = Some(fault);
    }

    /// It fails at nothing any more.
    pub fn mend(&self) {
        let mut state = self.0.lock();
        (state.fault, state.then) = (None, None);
    }

    /// Calls that the armed fault's kind would hit, since it was armed.
    pub fn hits(&self) -> u64 {
        self.0.lock().hits
    }

    /// How often it failed.
    pub fn failures(&self) -> u64 {
        self.0.lock().failures
    }

    /// How often a copy took the place of the file.
    pub fn copies(&self) -> u64 {
        self.0.lock().copies
    }

    /// Whether there is a copy that has not taken the place of the file.
    pub fn has_half_copy(&self) -> bool {
        self.0.lock().copy.is_some()
    }

    /// What is left after a power cut.
    pub fn image(&self) -> Vec<u8> {
        let file = Arc::clone(&self.0.lock().durable);
        let file = file.lock();
        file.durable.clone()
    }

    fn handle(&self, file: &Arc<Mutex<File>>) -> Box<dyn StorageBackend> {
        Box::new(Handle {
            disk: self.clone(),
            file: Arc::clone(file),
        })
    }

    /// Whether this call fails.
    fn meet(&self, call: Call) -> Option<Kind> {
        let mut state = self.0.lock();
        let fault = state.fault.filter(|fault| fault.kind.is_hit_by(call))?;
        state.hits += 1;
        let hit = state.hits == fault.at || fault.lasts && state.hits > fault.at;
        state.failures += u64::from(hit);
        if hit && let Some(then) = state.then.take() {
            (state.fault, state.hits) = (Some(then), 0);
        }
        hit.then_some(fault.kind)
    }
}

impl Medium for FaultyDisk {
    fn open(&self) -> io::Result<Box<dyn StorageBackend>> {
        let file = Arc::clone(&self.0.lock().file);
        Ok(self.handle(&file))
    }

    fn note_failed_sync(&self) {
        self.0.lock().sync_failed = true;
    }

    fn has_failed_to_sync(&self) -> bool {
        self.0.lock().sync_failed
    }

    fn begin_copy(&self, _len: u64) -> io::Result<Box<dyn StorageBackend>> {
        let copy = Arc::<Mutex<File>>::default();
        self.0.lock().copy = Some(Arc::clone(&copy));
        Ok(self.handle(&copy))
    }

    fn publish_copy(&self) -> io::Result<()> {
        let hit = self.meet(Call::Publish);
        let mut state = self.0.lock();
        state.file = state.copy.take().ok_or(io::ErrorKind::NotFound)?;
        if let Some(kind) = hit {
            return Err(kind.error());
        }
        state.durable = Arc::clone(&state.file);
        state.sync_failed = false;
        state.copies += 1;
        Ok(())
    }

    fn abandon_copy(&self) {
        self.0.lock().copy = None;
    }

    fn check_in_place(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

struct Handle {
    disk: FaultyDisk,
    file: Arc<Mutex<File>>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.disk).finish()
    }
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).expect("a small file")
}

impl StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.lock().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if let Some(kind) = self.disk.meet(Call::Read) {
            return Err(kind.error());
        }
        let file = self.file.lock();
        let begin = place(offset);
        let found = file.seen.get(begin..begin + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if let Some(kind) = self.disk.meet(Call::SetLen) {
            return Err(kind.error());
        }
        let mut file = self.file.lock();
        let (before, after) = (file.seen.len(), place(len));
        file.seen.resize(after, 0);
        file.dirty
            .extend(before.min(after) / PAGE..after.div_ceil(PAGE));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        if let Some(kind) = self.disk.meet(Call::Sync) {
            let mut state = self.disk.0.lock();
            self.file.lock().fail_to_sync(&mut state.chance);
            return Err(kind.error());
        }
        self.file.lock().sync();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut data = data;
        let hit = self.disk.meet(Call::Write);
        match hit {
            None => {}
            Some(Kind::Short) => data = &data[..data.len() / 2],
            Some(kind) => return Err(kind.error()),
        }
        self.file.lock().write(place(offset), data);
        hit.map_or(Ok(()), |kind| Err(kind.error()))
    }
}
