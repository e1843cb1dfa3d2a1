//! Rows that engines come and go on, in memory or in a file.

use crate::play::{Act, Play};
use outlive::{Builder, Engine, TaskDef};
use outlive_storage::redb::RedbOptions;
use outlive_storage::{MemStore, RedbStore, Store};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;

/// Where the rows of a test live. A file is opened by one engine at a time.
#[derive(Debug)]
pub enum Home {
    /// In memory; they outlive each engine, not the test.
    Memory(Arc<MemStore>),
    /// In a file of a directory of its own.
    File(TempDir),
}

impl Home {
    /// Nothing yet, in memory.
    pub fn memory() -> Home {
        Home::Memory(Arc::default())
    }

    /// Nothing yet, in a file.
    ///
    /// # Panics
    /// When there is no directory to be had.
    pub fn file() -> Home {
        Home::File(tempfile::tempdir().expect("a directory"))
    }

    /// One of each, for what must hold on both.
    pub fn both() -> [Home; 2] {
        [Home::memory(), Home::file()]
    }

    /// Where the file is.
    ///
    /// # Panics
    /// In memory there is none.
    pub fn path(&self) -> PathBuf {
        let Home::File(directory) = self else {
            panic!("rows in memory have no path");
        };
        directory.path().join("tasks.redb")
    }

    /// The store, for the engine that comes next.
    ///
    /// # Panics
    /// When the file does not open.
    pub fn store(&self) -> Arc<dyn Store> {
        match self {
            Home::Memory(store) => Arc::<MemStore>::clone(store),
            Home::File(_) => self.redb(RedbOptions::default()),
        }
    }

    /// The store on the file, by its own type.
    ///
    /// # Panics
    /// When the file does not open.
    pub fn redb(&self, options: RedbOptions) -> Arc<RedbStore> {
        static INSTANCES: AtomicU64 = AtomicU64::new(1);
        let instance = u128::from(INSTANCES.fetch_add(1, Ordering::Relaxed));
        Arc::new(RedbStore::open(self.path(), options, instance, 1).expect("the file opens"))
    }

    /// An engine that runs inside the test's runtime, whose clock may be paused.
    pub fn engine(&self, def: TaskDef<Act, String>, play: &Play) -> Builder {
        let builder = Engine::on_store(self.store()).inline();
        builder.task(def, play.handler())
    }

    /// As [`Home::engine`], opened.
    ///
    /// # Panics
    /// When it does not open.
    pub async fn open(&self, def: TaskDef<Act, String>, play: &Play) -> Engine {
        let engine = self.engine(def, play).open().await;
        engine.expect("the engine opens")
    }
}
