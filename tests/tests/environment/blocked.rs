//! A runtime of which every worker is held up by what somebody runs on it, or that nobody drives.

use outlive::{Builder, Ctx, Engine, HandlerError, TaskDef};
use outlive_storage::MemStore;
use outlive_tests::faulty::Faulty;
use parking_lot::{Condvar, Mutex};
use std::future::Future;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;
use tokio::runtime::{self, Runtime};

const TASK: TaskDef<u32, u32> = TaskDef::new("task");
/// Far longer than an answer takes.
const LONG: Duration = Duration::from_secs(30);
const TASKS: u32 = 200;

fn driven_by_who_waits() -> Runtime {
    let mut builder = runtime::Builder::new_current_thread();
    builder.enable_time().build().unwrap()
}

/// Waits on another runtime than the engine's.
fn told<F: Future>(callers: &Runtime, answer: F) -> F::Output {
    let told = callers.block_on(async { tokio::time::timeout(LONG, answer).await });
    told.expect("no worker is needed for an answer")
}

fn handled(builder: Builder) -> Builder {
    builder.task(TASK, |_: Ctx, n| async move { Ok::<_, HandlerError>(n) })
}

fn tasks() -> impl Iterator<Item = (String, u32)> {
    (0..TASKS).map(|n| (format!("t{n}"), n))
}

/// A runtime whose one worker does nothing until this is dropped.
struct Blocked {
    // Declared, and so dropped, before the runtime, which waits for its workers.
    _release: mpsc::Sender<()>,
    runtime: Runtime,
}

impl Blocked {
    fn new() -> Blocked {
        let mut builder = runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_time().build().unwrap();
        let (release, released) = mpsc::channel();
        let (blocks, is_blocked) = mpsc::channel();
        runtime.spawn(async move {
            blocks.send(()).unwrap();
            let _: Result<(), _> = released.recv();
        });
        is_blocked.recv().unwrap();
        Blocked {
            _release: release,
            runtime,
        }
    }

    fn release(self) -> Runtime {
        self.runtime
    }
}

/// Workers are to say the answers of a batch. Who waits elsewhere is not to wait for them.
#[test]
fn callers_are_answered_while_every_worker_is_blocked() {
    let directory = tempfile::tempdir().unwrap();
    let (callers, blocked) = (driven_by_who_waits(), Blocked::new());
    let builder = Engine::builder(directory.path().join("tasks.redb"));
    let builder = handled(builder.runtime(blocked.runtime.handle().clone()));
    let engine = told(&callers, builder.open()).unwrap();
    let started = told(&callers, engine.start_many(TASK, tasks()));
    assert_eq!(started.len(), TASKS as usize);

    let _handlers = blocked.release();
    callers.block_on(async {
        for (n, run) in (0..TASKS).zip(started) {
            assert_eq!(run.unwrap().result().await.unwrap(), n);
        }
        engine.shutdown(Duration::ZERO).await;
    });
}

/// The store, and a permit for each of its commits, which says when it waits for it.
fn permitted() -> (Arc<Faulty>, mpsc::Receiver<()>, mpsc::Sender<()>) {
    fn arm(store: &Arc<Faulty>, ends: Arc<Mutex<(mpsc::Sender<()>, mpsc::Receiver<()>)>>) {
        let again = Arc::clone(store);
        store.before_commit.set(move || {
            let permitted = {
                let (waits, permits) = &*ends.lock();
                waits.send(()).is_ok() && permits.recv().is_ok()
            };
            if permitted {
                arm(&again, ends);
            }
        });
    }
    let store = Faulty::on(&Arc::new(MemStore::new()));
    let ((waits, is_waiting), (permit, permits)) = (mpsc::channel(), mpsc::channel());
    arm(&store, Arc::new(Mutex::new((waits, permits))));
    (store, is_waiting, permit)
}

/// Nobody knows how long a commit takes: who is in the one before has been durable for as long.
#[test]
fn no_answer_waits_for_the_next_commit() {
    let (callers, blocked) = (driven_by_who_waits(), Blocked::new());
    let (store, is_waiting, permit) = permitted();
    let builder = Engine::on_store(Arc::<Faulty>::clone(&store));
    let builder = handled(builder.runtime(blocked.runtime.handle().clone()));
    let engine = told(&callers, builder.open()).unwrap();
    // Let others run until nobody has anything to do: what they ask for is on its way then.
    let settle = || callers.block_on(async { tokio::time::sleep(Duration::from_millis(50)).await });

    // The first is alone; the others are the batch that comes together while it is committed.
    let several = engine.clone();
    let started = callers.spawn(async move { several.start_many(TASK, tasks()).await });
    settle();
    is_waiting.recv().unwrap();
    permit.send(()).unwrap();
    is_waiting.recv().unwrap();
    let one = engine.clone();
    let next = callers.spawn(async move { one.start(TASK, "next", &1).await });
    settle();
    permit.send(()).unwrap();
    is_waiting.recv().unwrap();
    let started = told(&callers, started).unwrap();
    assert!(started.iter().all(Result::is_ok));
    assert!(!next.is_finished(), "its commit is under way");

    drop(permit);
    let _handlers = blocked.release();
    assert!(told(&callers, next).unwrap().is_ok());
    callers.block_on(engine.shutdown(Duration::ZERO));
}

/// Each batch would leave a task in a runtime that runs none.
#[test]
fn a_runtime_that_nobody_drives_answers_threads_and_does_not_grow() {
    const THREADS: u32 = 8;
    const EACH: u32 = 50;
    let directory = tempfile::tempdir().unwrap();
    let undriven = driven_by_who_waits();
    let path = directory.path().join("tasks.redb");
    let engine = undriven.block_on(handled(Engine::builder(path)).open());
    let engine = engine.unwrap();
    let before = undriven.metrics().num_alive_tasks();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let engine = &engine;
            scope.spawn(move || {
                let caller = driven_by_who_waits();
                for n in 0..EACH {
                    let start = engine.start(TASK, format!("{thread}-{n}"), &n);
                    // Not claimed: a handler is a task of the runtime.
                    let started = async { start.start_in(LONG * 100).await };
                    told(&caller, started).unwrap();
                }
            });
        }
    });
    let more = undriven.metrics().num_alive_tasks() - before;
    assert!(more < (THREADS * EACH) as usize / 20, "{more} tasks");
    undriven.block_on(engine.shutdown(Duration::ZERO));
}

/// Handlers that go on in pairs, each holding its thread up until the other one of its pair is there.
#[derive(Default)]
struct Pairs {
    entered: Mutex<u32>,
    one_more: Condvar,
}

impl Pairs {
    /// Whether the other one came.
    fn meet(&self) -> bool {
        let mut entered = self.entered.lock();
        *entered += 1;
        let pair = entered.next_multiple_of(2);
        self.one_more.notify_all();
        let wait = self
            .one_more
            .wait_while_for(&mut entered, |entered| *entered < pair, LONG / 3);
        !wait.timed_out()
    }
}

/// An engine whose handlers run on so many workers, which go with the runtime.
fn on_workers(workers: usize, builder: Builder, callers: &Runtime) -> (Runtime, Engine) {
    let mut runtime = runtime::Builder::new_multi_thread();
    runtime.worker_threads(workers).enable_time();
    let runtime = runtime.build().unwrap();
    let opened = builder.runtime(runtime.handle().clone()).open();
    let engine = told(callers, opened).unwrap();
    (runtime, engine)
}

/// Whose partner did not come.
const ALONE: u32 = u32::MAX;

/// Those that come to their handlers together come by the same task of the runtime, and whoever is next must not be left
/// with a worker that is held up.
#[test]
fn handlers_that_hold_their_workers_up_hold_up_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let pairs = Arc::new(Pairs::default());
    let handler = move |_: Ctx, n| {
        let pairs = Arc::clone(&pairs);
        async move {
            let output = if pairs.meet() { n } else { ALONE };
            Ok::<_, HandlerError>(output)
        }
    };
    let builder = Engine::builder(directory.path().join("tasks.redb")).task(TASK, handler);
    let callers = driven_by_who_waits();
    let (_workers, engine) = on_workers(2, builder, &callers);
    callers.block_on(async {
        for (n, run) in (0..).zip(engine.start_many(TASK, tasks()).await) {
            assert_eq!(run.unwrap().result().await.unwrap(), n);
        }
        engine.shutdown(Duration::ZERO).await;
    });
}

/// A task that waits is polled on by the worker that polled it first, unless another one takes it. It must not be left with a
/// worker that goes on with the next handler.
#[test]
fn a_handler_that_has_waited_is_not_left_behind_one_that_holds_its_worker_up() {
    const ROUNDS: u32 = 20;
    let directory = tempfile::tempdir().unwrap();
    let pairs = Arc::new(Pairs::default());
    let handler = move |_: Ctx, n| {
        let pairs = Arc::clone(&pairs);
        async move {
            // The first of three is alone in its batch, and the others come together.
            match n % 3 {
                0 => return Ok::<_, HandlerError>(n),
                1 => tokio::task::yield_now().await,
                _ => {}
            }
            Ok(if pairs.meet() { n } else { ALONE })
        }
    };
    let builder = Engine::builder(directory.path().join("tasks.redb")).task(TASK, handler);
    let callers = driven_by_who_waits();
    let (_workers, engine) = on_workers(2, builder, &callers);
    callers.block_on(async {
        for round in 0..ROUNDS {
            let three = (3 * round..3 * round + 3).map(|n| (format!("t{n}"), n));
            for (n, run) in (3 * round..).zip(engine.start_many(TASK, three).await) {
                assert_eq!(run.unwrap().result().await.unwrap(), n);
            }
        }
        engine.shutdown(Duration::ZERO).await;
    });
}

/// Its claim was taken away before its handler was entered: it was terminated, and whoever asked for that was told so.
#[test]
fn a_task_that_was_terminated_on_its_way_to_its_handler_never_comes_there() {
    let directory = tempfile::tempdir().unwrap();
    let (release, released) = mpsc::channel::<()>();
    let (enters, entered) = mpsc::channel();
    let released = Arc::new(Mutex::new(released));
    let handler = move |_: Ctx, n| {
        let (enters, released) = (enters.clone(), Arc::clone(&released));
        async move {
            enters.send(n).unwrap();
            let _: Result<(), _> = released.lock().recv();
            Ok::<_, HandlerError>(n)
        }
    };
    let builder = Engine::builder(directory.path().join("tasks.redb")).task(TASK, handler);
    let callers = driven_by_who_waits();
    let (_worker, engine) = on_workers(1, builder, &callers);
    let started = told(&callers, engine.start_many(TASK, tasks()));
    let first = entered.recv().unwrap();
    let others = started
        .iter()
        .flatten()
        .filter(|run| run.id().as_str() != format!("t{first}"));
    for run in others {
        told(&callers, run.terminate("no longer")).unwrap();
    }
    drop(release);
    callers.block_on(engine.shutdown(LONG));
    assert_eq!(entered.try_iter().next(), None);
}
