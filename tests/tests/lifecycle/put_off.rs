//! What commits put off is done beside the writer, and by the store itself where nobody does.

use outlive::{Ctx, Engine, HandlerError, TaskDef};
use outlive_storage::redb::RedbOptions;
use outlive_storage::{Front, MemStore, Store, StoreError};
use outlive_tests::home::Home;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

const ECHO: TaskDef<u64, u64> = TaskDef::new("echo");
const TASKS: u64 = 200;

async fn echo(_: Ctx, number: u64) -> Result<u64, HandlerError> {
    Ok(number)
}

/// A store that notes which threads catch up.
struct Noted {
    store: Arc<dyn Store>,
    threads: Mutex<Vec<String>>,
}

impl Front for Noted {
    fn behind(&self) -> &dyn Store {
        &*self.store
    }

    fn catch_up(&self) -> Result<(), StoreError> {
        let name = std::thread::current().name().unwrap_or("none").to_owned();
        self.threads.lock().push(name);
        self.store.catch_up()
    }
}

/// A file with room for few commits in its journal.
fn small_journal() -> RedbOptions {
    RedbOptions {
        journal_bytes: 16 * 4_096,
        ..RedbOptions::default()
    }
}

async fn run_all(engine: &Engine) {
    engine.recovery().await;
    for number in 0..TASKS {
        let id = format!("task-{number}");
        assert_eq!(engine.run(ECHO, id, &number).await.unwrap(), number);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_beside_the_writer_does_what_commits_put_off() {
    let home = Home::file();
    let store: Arc<dyn Store> = home.redb(small_journal());
    let noted = Arc::new(Noted {
        store,
        threads: Mutex::default(),
    });
    let builder = Engine::on_store(Arc::<Noted>::clone(&noted));
    let engine = builder.task(ECHO, echo).open().await.unwrap();
    run_all(&engine).await;
    engine.shutdown(Duration::from_secs(9)).await;
    drop(engine);
    let threads = std::mem::take(&mut *noted.threads.lock());
    assert!(!threads.is_empty());
    assert!(
        threads.iter().all(|name| name == "outlive-follower"),
        "{threads:?}"
    );
    // It has ended with the engine: nobody else has the store, and the file may be opened.
    let noted = Arc::into_inner(noted).expect("the thread has let go of it");
    drop(noted);
    let store = home.redb(small_journal());
    assert!((0..TASKS).all(|number| {
        let id = format!("task-{number}").parse().unwrap();
        store.find(&id).unwrap().is_some()
    }));
}

#[tokio::test]
async fn where_nobody_does_it_the_store_helps_itself() {
    let home = Home::file();
    let store: Arc<dyn Store> = home.redb(small_journal());
    let noted = Arc::new(Noted {
        store,
        threads: Mutex::default(),
    });
    let builder = Engine::on_store(Arc::<Noted>::clone(&noted)).inline();
    let engine = builder.task(ECHO, echo).open().await.unwrap();
    run_all(&engine).await;
    assert!(noted.threads.lock().is_empty());
}

/// A store that is always behind, and whose catching up is as it is told.
struct Slow {
    store: MemStore,
    begun: mpsc::Sender<()>,
    until: Mutex<mpsc::Receiver<()>>,
}

impl Front for Slow {
    fn behind(&self) -> &dyn Store {
        &self.store
    }

    fn is_behind(&self) -> bool {
        true
    }

    fn catch_up(&self) -> Result<(), StoreError> {
        let _ = self.begun.send(());
        // As if it took long, and failed in the end.
        let _ = self.until.lock().recv();
        Err(StoreError::Failed {
            message: "as the test wants it".into(),
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_do_not_wait_for_what_was_put_off_nor_fail_with_it() {
    let (begun, has_begun) = mpsc::channel();
    let (end, until) = mpsc::channel();
    let store = Slow {
        store: MemStore::new(),
        begun,
        until: Mutex::new(until),
    };
    let builder = Engine::on_store(Arc::new(store));
    let engine = builder.task(ECHO, echo).open().await.unwrap();
    run_all(&engine).await;
    has_begun.recv().expect("it has begun, and has not ended");
    drop(end);
    let id = "after-its-failure";
    assert_eq!(engine.run(ECHO, id, &7).await.unwrap(), 7);
    engine.shutdown(Duration::from_secs(9)).await;
}
