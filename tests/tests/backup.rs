//! Copies of a file that an engine works on, and what becomes of both.

use outlive::store::{self, CopyError};
use outlive::{Builder, ControlError, Ctx, Engine, Entry, HandlerError, Reply, TaskDef};
use outlive_tests::gate::{Gate, Notes, until};
use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const ECHO: TaskDef<String, String> = TaskDef::new("echo");
const HOLD: TaskDef<u32, u32> = TaskDef::new("hold");
const CHAT: TaskDef<u32, u32> = TaskDef::new("chat");
const HELD: u32 = 5;
const BACKUPS: usize = 3;
/// A copy counts on from 2^32 above.
const FAR: u64 = 1 << 31;

type Acknowledged = Arc<Mutex<Vec<String>>>;

/// What the handlers of one file share.
#[derive(Clone)]
struct Stage {
    gate: Gate,
    /// The generations under which turns that hold were entered again.
    recovered: Notes<u64>,
}

impl Stage {
    fn new() -> Stage {
        Stage {
            gate: Gate::closed(),
            recovered: Notes::default(),
        }
    }

    fn on(&self, builder: Builder) -> Builder {
        let stage = self.clone();
        let hold = move |ctx: Ctx, input: u32| {
            let stage = stage.clone();
            async move {
                if let Entry::Recovered { .. } = ctx.entry() {
                    stage.recovered.add(ctx.generation());
                }
                stage.gate.pass().await;
                Ok::<_, HandlerError>(input)
            }
        };
        builder
            .task(
                ECHO,
                |_: Ctx, text| async move { Ok::<_, HandlerError>(text) },
            )
            .task(HOLD, hold)
            .task(CHAT, |_: Ctx, n: u32| async move {
                Ok::<_, HandlerError>(Reply::suspend(n, "more"))
            })
    }

    async fn open(&self, path: &Path) -> Engine {
        self.on(Engine::builder(path))
            .open()
            .await
            .expect("it opens")
    }
}

/// Starts tasks until it is told to stop, and notes each that was acknowledged.
async fn load(engine: Engine, worker: u32, stop: Arc<AtomicBool>, acknowledged: Acknowledged) {
    let mut n = 0;
    while !stop.load(Ordering::SeqCst) {
        let id = format!("w{worker}-{n}");
        n += 1;
        engine
            .start(ECHO, id.as_str(), &id)
            .await
            .expect("acknowledged");
        acknowledged.lock().push(id);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_has_all_that_was_acknowledged_before_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tasks.redb");
    let stage = Stage::new();
    let engine = stage.open(&path).await;
    for n in 0..HELD {
        engine.start(HOLD, format!("held-{n}"), &n).await.unwrap();
    }
    stage.gate.came(HELD).await;
    let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Acknowledged::default());
    let workers: Vec<_> = (0..4)
        .map(|worker| {
            let work = load(
                engine.clone(),
                worker,
                Arc::clone(&stop),
                Arc::clone(&acknowledged),
            );
            tokio::spawn(work)
        })
        .collect();
    let mut backups = Vec::new();
    for n in 0..BACKUPS {
        let enough = 50 * (n + 1);
        until(async || acknowledged.lock().len() >= enough).await;
        let before = acknowledged.lock().clone();
        let backup = directory.path().join(format!("backup-{n}"));
        engine.backup(&backup).await.expect("a backup");
        backups.push((backup, before));
    }
    stop.store(true, Ordering::SeqCst);
    for worker in workers {
        worker.await.unwrap();
    }
    let all = acknowledged.lock().len();
    for (backup, before) in &backups {
        assert!(before.len() < all, "it went on");
        assert!(store::verify(backup).unwrap().is_whole());
        let copied = Stage::new();
        // The original lives on beside its copy.
        let copy = copied.open(backup).await;
        assert!(copy.recovery().await.dispatched >= u64::from(HELD));
        for id in before {
            let run = copy.attach(ECHO, id).await.expect("it is there");
            assert_eq!(&run.result().await.unwrap(), id);
        }
        copied.gate.came(HELD).await;
        let far = copied
            .recovered
            .take()
            .into_iter()
            .all(|generation| generation > FAR);
        assert!(far, "a generation that the original may hand out");
        copied.gate.let_through(HELD as usize);
        let held = copy.attach(HOLD, "held-3").await.unwrap();
        assert_eq!(held.result().await.unwrap(), 3);
        copy.shutdown(Duration::ZERO).await;
    }
    stage.gate.let_through(HELD as usize);
    let held = engine.attach(HOLD, "held-3").await.unwrap();
    assert_eq!(held.result().await.unwrap(), 3, "the original is not hurt");
    assert_eq!(stage.recovered.take(), Vec::<u64>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_decided_on_the_original_is_a_decision_on_the_copy() {
    let directory = tempfile::tempdir().unwrap();
    let [path, backup, restored] = ["a", "b", "c"].map(|name| directory.path().join(name));
    let engine = Stage::new().open(&path).await;
    assert_eq!(engine.run(CHAT, "chat", &1).await.unwrap(), 1);
    engine.backup(&backup).await.unwrap();
    store::restore(&backup, &restored).unwrap();
    let again = engine.start(CHAT, "chat", &2).input_id("second");
    assert_eq!(again.await.unwrap().result().await.unwrap(), 2);
    let later = engine.get("chat").await.unwrap().unwrap();
    let mut generations = vec![later.generation];
    for file in [&backup, &restored] {
        let copy = Stage::new().open(file).await;
        let refused = copy
            .terminate("chat", "by the original")
            .if_etag(later.etag)
            .await;
        let conflict = matches!(refused, Err(ControlError::PreconditionFailed { .. }));
        assert!(conflict, "{refused:?}");
        let third = copy.start(CHAT, "chat", &3).input_id("second");
        assert_eq!(third.await.unwrap().result().await.unwrap(), 3);
        let seen = copy.get("chat").await.unwrap().unwrap();
        let before = generations.last().copied().unwrap_or_default();
        assert!(
            seen.generation > before + FAR,
            "each copy counts on far above"
        );
        generations.push(seen.generation);
        copy.shutdown(Duration::ZERO).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_writes_over_nothing_and_an_engine_without_a_file_has_none() {
    let directory = tempfile::tempdir().unwrap();
    let [path, taken] = ["a", "b"].map(|name| directory.path().join(name));
    std::fs::write(&taken, b"somebody's").unwrap();
    let engine = Stage::new().open(&path).await;
    for taken in [&taken, &path] {
        let refused = engine.backup(taken).await;
        assert!(
            matches!(refused, Err(CopyError::Exists { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(std::fs::read(&taken).unwrap(), b"somebody's");
    assert_eq!(
        engine.run(ECHO, "on", &"on".to_owned()).await.unwrap(),
        "on"
    );
    engine.shutdown(Duration::ZERO).await;
    let stopped = engine.backup(directory.path().join("c")).await;
    assert!(matches!(stopped, Err(CopyError::Stopped)), "{stopped:?}");
}

#[tokio::test]
async fn an_engine_in_memory_has_no_file_to_copy() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::in_memory().open().await.unwrap();
    let refused = engine.backup(directory.path().join("c")).await;
    assert!(matches!(refused, Err(CopyError::NoFile)), "{refused:?}");
}
