//! Two who sync one file.

use super::*;
use crate::redb::shape::BLOCK;
use crate::store::StoreError;
use redb::backends::InMemoryBackend;
use std::sync::mpsc;

/// A file of which one sync fails, when somebody else is about to sync it.
#[derive(Debug)]
struct FailsOnce {
    file: InMemoryBackend,
    others: Mutex<Option<mpsc::Receiver<()>>>,
}

impl StorageBackend for FailsOnce {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        match self.others.lock().take() {
            Some(others) => {
                others.recv().map_err(io::Error::other)?;
                Err(io::ErrorKind::Other.into())
            }
            None => Ok(()),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(offset, data)
    }
}

/// Where it lies is asked for nothing here.
#[derive(Debug)]
struct Nowhere;

impl Medium for Nowhere {
    fn open(&self) -> io::Result<Box<dyn StorageBackend>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn note_failed_sync(&self) {}

    fn has_failed_to_sync(&self) -> bool {
        false
    }

    fn begin_copy(&self, _len: u64) -> io::Result<Box<dyn StorageBackend>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn publish_copy(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn abandon_copy(&self) {}

    fn check_in_place(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// The system tells one caller alone that pages are lost, be they another one's.
#[test]
fn a_sync_beside_one_that_fails_is_no_success() {
    let (about_to, others) = mpsc::channel();
    let file = FailsOnce {
        file: InMemoryBackend::new(),
        others: Mutex::new(Some(others)),
    };
    file.file.set_len(2 * BLOCK).unwrap();
    let medium: Arc<dyn Medium> = Arc::new(Nowhere);
    let disk = Disk::held(Box::new(file), &Arc::default(), &medium).unwrap();
    disk.release().unwrap();
    std::thread::scope(|threads| {
        let first = threads.spawn(|| disk.sync_journal());
        let second = threads.spawn(|| {
            while !disk.syncing.is_locked() {
                std::thread::yield_now();
            }
            about_to.send(()).unwrap();
            disk.put_record(0, &[7; 8])
        });
        assert!(first.join().unwrap().is_err());
        assert!(second.join().unwrap().is_err(), "its pages may be lost");
    });
}
