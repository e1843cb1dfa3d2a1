//! A file that is read and never written: what redb writes while it opens and checks it stays in memory.

use super::progress::{Counted, Watch};
use super::shape::Shape;
use super::shifted::Shifted;
use parking_lot::Mutex;
use redb::backends::FileBackend;
use redb::{BackendError, DatabaseError, StorageBackend};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Bound;

/// Writes are kept in pieces of this length, aligned.
const PIECE: u64 = 4096;

/// The file, and what would have been written to it.
#[derive(Debug)]
pub(super) struct Untouched {
    file: Shifted<FileBackend>,
    counted: Counted,
    written: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    len: u64,
    /// Bytes of the file from here on were cut off, and read as zeros when it grew again.
    kept: u64,
    pieces: BTreeMap<u64, Box<[u8; PIECE as usize]>>,
}

impl Untouched {
    /// # Errors
    /// The file is locked by an engine, or cannot be read.
    pub(super) fn new(file: File, watch: &Watch) -> Result<Untouched, DatabaseError> {
        let file = Shifted::of(FileBackend::new(file)?).map_err(redb::StorageError::Io)?;
        let len = file.len().map_err(redb::StorageError::Io)?;
        let written = Mutex::new(Written {
            len,
            kept: len,
            pieces: BTreeMap::new(),
        });
        let counted = Counted::new(watch, len + file.shape.database_at());
        Ok(Untouched {
            file,
            counted,
            written,
        })
    }

    /// How the file is divided.
    pub(super) fn shape(&self) -> Shape {
        self.file.shape
    }

    /// All bytes of the journal; none where the file has none.
    pub(super) fn journal(&self) -> io::Result<Vec<u8>> {
        self.counted.add(self.file.shape.database_at());
        self.file.journal()
    }

    fn read_file(&self, kept: u64, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let stored = kept.saturating_sub(offset).min(out.len() as u64) as usize;
        let (stored, beyond) = out.split_at_mut(stored);
        beyond.fill(0);
        if stored.is_empty() {
            return Ok(());
        }
        self.counted.add(stored.len() as u64);
        self.file.read(offset, stored)
    }
}

/// The parts of a range that lie in one piece each: the piece's number, where in it, and where in the range.
fn parts(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done as u64;
        let within = (at % PIECE) as usize;
        let step = (PIECE as usize - within).min(len - done);
        let part = (at / PIECE, within, done..done + step);
        done += step;
        Some(part)
    })
}

type Range = Bound<u64>;

impl StorageBackend for Untouched {
    fn len(&self) -> io::Result<u64> {
        Ok(self.written.lock().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let written = self.written.lock();
        if offset + out.len() as u64 > written.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.read_file(written.kept, offset, out)?;
        for (piece, within, range) in parts(offset, out.len()) {
            if let Some(bytes) = written.pieces.get(&piece) {
                let len = range.len();
                out[range].copy_from_slice(&bytes[within..within + len]);
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut written = self.written.lock();
        let kept = written.kept;
        for (piece, within, range) in parts(offset, data.len()) {
            let bytes = match written.pieces.entry(piece) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) => {
                    let mut bytes = Box::new([0; PIECE as usize]);
                    self.read_file(kept, piece * PIECE, &mut bytes[..])?;
                    entry.insert(bytes)
                }
            };
            let len = range.len();
            bytes[within..within + len].copy_from_slice(&data[range]);
        }
        written.len = written.len.max(offset + data.len() as u64);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut written = self.written.lock();
        if len < written.len {
            written.kept = written.kept.min(len);
            written.pieces.retain(|piece, _| piece * PIECE < len);
            let last = len / PIECE;
            if let Some(bytes) = written.pieces.get_mut(&last) {
                bytes[(len % PIECE) as usize..].fill(0);
            }
        }
        written.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    // Shared, as the file is open for reading alone: that keeps every engine away as well.
    fn try_lock_range(&self, start: Range, end: Range) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Range, end: Range) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Range, end: Range) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn lock_shared_range(&self, start: Range, end: Range) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Range, end: Range) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Range, end: Range) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_is_written_is_read_and_the_file_stays_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let content: Vec<u8> = (0..10_000_u32).map(|n| n as u8).collect();
        fs::write(&path, &content).unwrap();
        let file = File::open(&path).unwrap();
        let untouched = Untouched::new(file, &Watch::default()).unwrap();
        untouched.write(4_090, &[1; 20]).unwrap();
        untouched.write(9_995, &[2; 10]).unwrap();
        let mut expected = content.clone();
        expected[4_090..4_110].fill(1);
        expected.truncate(9_995);
        expected.extend([2; 10]);
        let read = |len: usize| {
            let mut bytes = vec![9; len];
            untouched.read(0, &mut bytes).map(|()| bytes)
        };
        assert_eq!(read(10_005).unwrap(), expected);
        assert!(read(10_006).is_err());
        untouched.set_len(4_100).unwrap();
        untouched.set_len(8_200).unwrap();
        expected.truncate(4_100);
        expected.resize(8_200, 0);
        assert_eq!(read(8_200).unwrap(), expected);
        assert_eq!(fs::read(&path).unwrap(), content);
    }
}
