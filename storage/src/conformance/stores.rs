//! The stores of this crate, made for the promises.

use super::Factory;
use crate::mem::MemStore;

/// Makes stores in memory.
pub(crate) struct Memory;

impl Factory for Memory {
    type Store = MemStore;

    fn fresh(&self) -> MemStore {
        MemStore::new()
    }

    fn reopen(&self, store: MemStore) -> MemStore {
        store
    }
}

#[cfg(feature = "redb")]
pub(crate) use file::File;
#[cfg(feature = "seal")]
pub(crate) use sealed::Sealed;

#[cfg(feature = "seal")]
mod sealed {
    use super::Factory;
    use crate::mem::MemStore;
    use crate::sealed::{Key, Keys, SealedStore};
    use std::sync::Arc;

    /// Makes sealed stores over stores in memory.
    pub(crate) struct Sealed;

    impl Factory for Sealed {
        type Store = SealedStore;

        fn fresh(&self) -> SealedStore {
            let keys = Keys::new(Key::new([7; 32]));
            SealedStore::open(Arc::new(MemStore::new()), Arc::new(keys)).unwrap()
        }

        fn reopen(&self, store: SealedStore) -> SealedStore {
            store
        }
    }
}

#[cfg(feature = "redb")]
mod file {
    use super::Factory;
    use crate::redb::{RedbOptions, RedbStore};
    use std::cell::Cell;

    /// Makes stores on files of one temporary directory.
    pub(crate) struct File {
        directory: tempfile::TempDir,
        made: Cell<u64>,
    }

    impl File {
        pub(crate) fn new() -> File {
            File {
                directory: tempfile::tempdir().unwrap(),
                made: Cell::new(0),
            }
        }
    }

    impl Factory for File {
        type Store = RedbStore;

        fn fresh(&self) -> RedbStore {
            self.made.set(self.made.get() + 1);
            let path = self
                .directory
                .path()
                .join(format!("{}.redb", self.made.get()));
            RedbStore::open(path, RedbOptions::default(), u128::from(self.made.get()), 0).unwrap()
        }

        fn reopen(&self, store: RedbStore) -> RedbStore {
            let path = store.path().to_owned();
            drop(store);
            RedbStore::open(path, RedbOptions::default(), 99, 0).unwrap()
        }
    }
}
