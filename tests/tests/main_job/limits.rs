//! How many handlers run at once.

use crate::{GATED, Gate, NO_GRACE};
use outlive::{Builder, Ctx, Engine, Entry, HandlerError, Status, TaskDef, WaitReason};
use outlive_storage::MemStore;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const MAX: usize = 3;
const TASKS: usize = 20;

/// How many run, and the most that ever did.
#[derive(Debug, Clone, Default)]
struct Crowd {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    recovered: Arc<AtomicUsize>,
}

/// One of them.
struct Inside(Crowd);

impl Crowd {
    fn enter(&self, entry: &Entry) -> Inside {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        if matches!(entry, Entry::Recovered { .. }) {
            self.recovered.fetch_add(1, Ordering::SeqCst);
        }
        Inside(self.clone())
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

fn crowded(store: &Arc<MemStore>, gate: &Gate, crowd: &Crowd) -> Builder {
    let (gate, crowd) = (gate.clone(), crowd.clone());
    Engine::on_store(Arc::<MemStore>::clone(store)).task(GATED, move |ctx: Ctx, n| {
        let (gate, crowd) = (gate.clone(), crowd.clone());
        async move {
            let _inside = crowd.enter(&ctx.entry());
            gate.pass().await;
            Ok::<_, HandlerError>(n)
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_handlers_run_than_allowed_and_the_rest_waits_for_a_slot() {
    let (store, gate, crowd) = (Arc::new(MemStore::new()), Gate::closed(), Crowd::default());
    let engine = crowded(&store, &gate, &crowd)
        .max_running(MAX)
        .open()
        .await
        .unwrap();
    engine.recovery().await;
    let starts = (0..TASKS as u32).map(|n| (format!("t{n}"), n));
    let runs = engine.start_many(GATED, starts).await;
    gate.came(MAX as u32).await;
    let listed = engine.list(GATED).limit(TASKS).await.unwrap().tasks;
    let waiting = listed.iter().filter(|task| task.status == Status::Pending);
    assert!(
        waiting
            .clone()
            .all(|task| task.wait == Some(WaitReason::Slot))
    );
    assert_eq!(waiting.count(), TASKS - MAX);
    gate.let_through(TASKS);
    for run in runs {
        run.unwrap().result().await.unwrap();
    }
    assert_eq!(crowd.most.load(Ordering::SeqCst), MAX);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recovery_keeps_to_the_limit_and_leaves_nobody_out() {
    let (store, gate) = (Arc::new(MemStore::new()), Gate::closed());
    let engine = crowded(&store, &gate, &Crowd::default())
        .open()
        .await
        .unwrap();
    for n in 0..TASKS as u32 {
        engine.start(GATED, format!("t{n}"), &n).await.unwrap();
    }
    gate.came(TASKS as u32).await;
    engine.shutdown(NO_GRACE).await;

    let (gate, crowd) = (Gate::closed(), Crowd::default());
    let engine = crowded(&store, &gate, &crowd)
        .max_running(MAX)
        .open()
        .await
        .unwrap();
    gate.came(MAX as u32).await;
    gate.let_through(TASKS);
    for n in 0..TASKS as u32 {
        let run = engine.attach(GATED, format!("t{n}")).await.unwrap();
        assert_eq!(run.result().await.unwrap(), n);
    }
    let report = engine.recovery().await;
    assert_eq!(
        (report.found, report.dispatched),
        (TASKS as u64, TASKS as u64)
    );
    assert_eq!(crowd.recovered.load(Ordering::SeqCst), TASKS);
    assert_eq!(crowd.most.load(Ordering::SeqCst), MAX);
}

#[tokio::test]
async fn a_new_task_does_not_pass_one_that_waits() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let (seen, gate) = (Arc::clone(&order), Gate::closed());
    let at_gate = gate.clone();
    let engine = Engine::in_memory()
        .max_running(1)
        .task(GATED, move |_: Ctx, n| {
            let (seen, gate) = (Arc::clone(&seen), at_gate.clone());
            async move {
                seen.lock().push(n);
                gate.pass().await;
                Ok::<_, HandlerError>(n)
            }
        })
        .open()
        .await
        .unwrap();
    let mut runs = Vec::new();
    for n in 0..6 {
        runs.push(engine.start(GATED, format!("t{n}"), &n).await.unwrap());
        gate.let_through(usize::from(n % 2 == 1));
    }
    gate.let_through(6);
    for run in runs {
        run.result().await.unwrap();
    }
    assert_eq!(*order.lock(), [0, 1, 2, 3, 4, 5]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocking_handlers_have_a_limit_of_their_own() {
    const BLOCKING: TaskDef<(), ()> = TaskDef::new("blocking");
    let (release, held) = releases();
    let crowd = Crowd::default();
    let counted = crowd.clone();
    let engine = Engine::on_store(Arc::new(MemStore::new()))
        .max_blocking(2)
        .blocking(BLOCKING, move |ctx: Ctx, ()| {
            let _inside = counted.enter(&ctx.entry());
            held.lock().recv()?;
            Ok::<_, HandlerError>(())
        })
        .task(GATED, |_: Ctx, n| async move { Ok::<_, HandlerError>(n) })
        .open()
        .await
        .unwrap();
    let runs = engine
        .start_many(BLOCKING, (0..6).map(|n| (format!("b{n}"), ())))
        .await;
    // Async tasks pass while all blocking slots are taken.
    assert_eq!(engine.run(GATED, "a", &5).await.unwrap(), 5);
    for _ in 0..6 {
        release.send(()).unwrap();
    }
    for run in runs {
        run.unwrap().result().await.unwrap();
    }
    assert!(crowd.most.load(Ordering::SeqCst) <= 2);
}

type Released = Arc<Mutex<std::sync::mpsc::Receiver<()>>>;

/// A channel whose end the handlers share.
fn releases() -> (std::sync::mpsc::Sender<()>, Released) {
    let (release, held) = std::sync::mpsc::channel();
    (release, Arc::new(Mutex::new(held)))
}
