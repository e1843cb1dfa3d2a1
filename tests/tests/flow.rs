//! How many handlers run at once, who waits, and that nobody waits for ever.

use outlive::{
    Builder, Ctx, Engine, HandlerError, MAX_BLOCKING, MAX_RUNNING, Reply, RetryPolicy, Run,
    Snapshot, Status, TaskDef, WaitReason,
};
use outlive_storage::MemStore;
use outlive_tests::gate::{Gate, Notes};
use outlive_tests::latch::Latch;
use outlive_tests::process::{self, Other};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const ONE: TaskDef<u32, u32> = TaskDef::new("one");
const OTHER: TaskDef<u32, u32> = TaskDef::new("other");
const NO_GRACE: Duration = Duration::ZERO;
/// Far longer than anything here takes: with a paused clock a wait without end is over at once.
const NEVER: Duration = Duration::from_secs(24 * 3600);

/// How many are inside at once, and the most that ever were. Clones count together.
#[derive(Debug, Clone, Default)]
struct Crowd {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

/// One of them.
struct Inside(Crowd);

impl Crowd {
    fn enter(&self) -> Inside {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        Inside(self.clone())
    }

    fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

fn on(store: &Arc<MemStore>) -> Builder {
    Engine::on_store(Arc::<MemStore>::clone(store)).inline()
}

async fn opened(builder: Builder) -> Engine {
    let engine = builder.open().await.unwrap();
    engine.recovery().await;
    engine
}

async fn in_time<T>(waiting: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(NEVER, waiting);
    waited.await.expect("an answer")
}

async fn task(engine: &Engine, id: &str) -> Snapshot {
    engine.get(id).await.unwrap().expect("the task is there")
}

/// A handler that comes to the gate, and ends when it is let through.
fn gated(builder: Builder, def: TaskDef<u32, u32>, gate: &Gate, crowd: &Crowd) -> Builder {
    let (gate, crowd) = (gate.clone(), crowd.clone());
    builder.task(def, move |_: Ctx, n| {
        let (gate, crowd) = (gate.clone(), crowd.clone());
        async move {
            let _inside = crowd.enter();
            gate.pass().await;
            Ok::<_, HandlerError>(n)
        }
    })
}

async fn start_all(
    engine: &Engine,
    def: TaskDef<u32, u32>,
    ids: &str,
    count: u32,
) -> Vec<Run<u32>> {
    let tasks = (0..count).map(|n| (format!("{ids}{n}"), n));
    let runs = engine.start_many(def, tasks).await;
    runs.into_iter().map(Result::unwrap).collect()
}

/// Lets everybody out of the engine, whatever is still running.
async fn settle() {
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn by_default_1024_async_and_64_blocking_handlers_run_at_once() {
    assert_eq!((MAX_RUNNING, MAX_BLOCKING), (1024, 64));
}

#[tokio::test(start_paused = true)]
async fn by_default_no_more_than_1024_handlers_are_entered() {
    let (gate, crowd) = (Gate::closed(), Crowd::default());
    let engine = opened(gated(Engine::in_memory(), ONE, &gate, &crowd)).await;
    let runs = start_all(&engine, ONE, "t", 1100).await;
    in_time(gate.came(1024)).await;
    settle().await;
    assert_eq!((gate.uncounted(), crowd.most()), (0, 1024));
    let waiting = task(&engine, "t1099").await;
    assert_eq!(
        (waiting.status, waiting.wait),
        (Status::Pending, Some(WaitReason::Slot))
    );
    gate.let_through(1100);
    for run in runs {
        in_time(run.result()).await.unwrap();
    }
    assert_eq!(crowd.most(), 1024);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_default_no_more_than_64_blocking_handlers_are_entered() {
    let (latch, opens) = Latch::closed();
    let (held, crowd) = (latch.clone(), Crowd::default());
    let counted = crowd.clone();
    let builder = Engine::on_store(Arc::new(MemStore::new())).blocking(ONE, move |_: Ctx, n| {
        let _inside = counted.enter();
        held.wait();
        Ok::<_, HandlerError>(n)
    });
    let engine = builder.open().await.unwrap();
    let runs = start_all(&engine, ONE, "t", 80).await;
    latch.waited_for_by(64);
    drop(opens);
    for run in runs {
        run.result().await.unwrap();
    }
    assert_eq!(crowd.most(), 64);
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_nothing_is_a_limit_of_one() {
    let (gate, crowd) = (Gate::closed(), Crowd::default());
    let builder = gated(Engine::in_memory(), ONE.concurrency(0), &gate, &crowd);
    let engine = opened(builder.max_running(0)).await;
    let runs = start_all(&engine, ONE, "t", 3).await;
    gate.let_through(3);
    for run in runs {
        in_time(run.result()).await.unwrap();
    }
    assert_eq!(crowd.most(), 1);
}

/// Tasks of one definition that allows itself three, beside another one that does not mind.
#[tokio::test(start_paused = true)]
async fn a_definition_keeps_to_its_own_limit_and_holds_up_no_other() {
    let (gate, crowd) = (Gate::closed(), Crowd::default());
    let (free, others) = (Gate::closed(), Crowd::default());
    let builder = gated(Engine::in_memory(), ONE.concurrency(3), &gate, &crowd);
    let engine = opened(gated(builder, OTHER, &free, &others).max_running(8)).await;
    let runs = start_all(&engine, ONE, "t", 30).await;
    in_time(gate.came(3)).await;
    let more = start_all(&engine, OTHER, "o", 30).await;
    in_time(free.came(5)).await;
    settle().await;
    assert_eq!(
        (gate.uncounted(), free.uncounted()),
        (0, 0),
        "the engine's eight slots are full"
    );
    assert_eq!(task(&engine, "t20").await.wait, Some(WaitReason::Slot));
    free.let_through(30);
    for run in more {
        in_time(run.result()).await.unwrap();
    }
    assert_eq!(crowd.most(), 3, "not even when every slot is free");
    gate.let_through(30);
    for run in runs {
        in_time(run.result()).await.unwrap();
    }
    assert_eq!((crowd.most(), others.most()), (3, 5));
}

#[tokio::test(start_paused = true)]
async fn a_start_claims_at_once_only_within_its_definitions_limit() {
    let (gate, crowd) = (Gate::closed(), Crowd::default());
    let engine = opened(gated(
        Engine::in_memory(),
        ONE.concurrency(2),
        &gate,
        &crowd,
    ))
    .await;
    for n in 0..4 {
        let run = engine.start(ONE, format!("t{n}"), &n).await.unwrap();
        let status = run.status().await.unwrap();
        let expected = if n < 2 {
            Status::InProgress
        } else {
            Status::Pending
        };
        assert_eq!(status, expected, "t{n}");
    }
    gate.let_through(4);
    in_time(engine.attach(ONE, "t3").await.unwrap().result())
        .await
        .unwrap();
    assert_eq!(crowd.most(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_definitions_limit_holds_for_what_is_recovered() {
    let store = Arc::new(MemStore::new());
    let (gate, crowd) = (Gate::closed(), Crowd::default());
    let engine = opened(gated(on(&store), ONE, &gate, &crowd)).await;
    start_all(&engine, ONE, "t", 20).await;
    in_time(gate.came(20)).await;
    engine.shutdown(NO_GRACE).await;

    let (gate, crowd, others) = (Gate::closed(), Crowd::default(), Crowd::default());
    let builder = gated(on(&store), ONE.concurrency(4), &gate, &crowd);
    let engine = opened(gated(builder, OTHER, &gate, &others)).await;
    in_time(gate.came(4)).await;
    settle().await;
    assert_eq!(gate.uncounted(), 0);
    let new = engine.start(ONE, "new", &7).await.unwrap();
    assert_eq!(
        new.status().await.unwrap(),
        Status::Pending,
        "what ran comes first"
    );
    gate.let_through(100);
    for n in 0..20 {
        let run = engine.attach(ONE, format!("t{n}")).await.unwrap();
        assert_eq!(in_time(run.result()).await.unwrap(), n);
    }
    assert_eq!(in_time(new.result()).await.unwrap(), 7);
    assert_eq!(in_time(engine.run(OTHER, "other", &1)).await.unwrap(), 1);
    assert_eq!(crowd.most(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_definitions_limit_holds_for_retries_and_further_turns() {
    let store = Arc::new(MemStore::new());
    let crowd = Crowd::default();
    let counted = crowd.clone();
    let def = ONE
        .concurrency(2)
        .steerable(9)
        .retry(RetryPolicy::fixed().initial(Duration::from_secs(1)));
    let builder = on(&store).task(def, move |ctx: Ctx, n| {
        let crowd = counted.clone();
        async move {
            let _inside = crowd.enter();
            tokio::time::sleep(Duration::from_millis(100)).await;
            match ctx.attempt() {
                1 => Err(HandlerError::from("once more")),
                _ => Ok(Reply::suspend(n, "more")),
            }
        }
    });
    let engine = opened(builder).await;
    let mut runs = Vec::new();
    for n in 0..10 {
        for _ in 0..3 {
            runs.push(engine.start(ONE, format!("t{n}"), &n).await.unwrap());
        }
    }
    for run in runs {
        in_time(run.result()).await.unwrap();
    }
    assert_eq!(crowd.most(), 2);
}

/// Two definitions whose handlers take a while and note their names when they end.
fn rivals(slots: usize, order: &Notes<&'static str>) -> Builder {
    let mut builder = Engine::in_memory().max_running(slots);
    for def in [ONE, OTHER] {
        let order = order.clone();
        builder = builder.task(def, move |ctx: Ctx, n| {
            let (order, name) = (
                order.clone(),
                if ctx.name() == ONE.name() {
                    "one"
                } else {
                    "other"
                },
            );
            async move {
                tokio::time::sleep(Duration::from_millis(10)).await;
                order.add(name);
                Ok::<_, HandlerError>(n)
            }
        });
    }
    builder
}

/// The definition that came first in the file once got every slot that came free, for as long as it had work.
#[tokio::test(start_paused = true)]
async fn a_backlog_of_thousands_starves_no_other_definition() {
    const FEW: u32 = 20;
    for (crowded, lonely) in [(ONE, OTHER), (OTHER, ONE)] {
        for slots in [1, 2, 7] {
            let order = Notes::default();
            let engine = opened(rivals(slots, &order)).await;
            start_all(&engine, crowded, "crowd", 2000).await;
            for run in start_all(&engine, lonely, "few", FEW).await {
                in_time(run.result()).await.unwrap();
            }
            let ended = order.take();
            let share = ended.iter().filter(|name| **name == crowded.name()).count();
            // One for one, and those that were under way at the beginning and at the end.
            assert!(
                share <= FEW as usize + 4 * slots,
                "{slots} slots: {share} of the crowd came first"
            );
            engine.shutdown(NO_GRACE).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_slot_is_free_while_its_task_backs_off_or_is_suspended() {
    let entered = Notes::default();
    let notes = entered.clone();
    let hour = Duration::from_secs(3600);
    let patient = ONE.retry(RetryPolicy::fixed().initial(hour).jitter(false));
    let builder = Engine::in_memory()
        .max_running(1)
        .task(patient, move |ctx: Ctx, n| {
            notes.add(n);
            async move {
                match n {
                    1 if ctx.attempt() == 1 => Err(HandlerError::from("in an hour")),
                    2 => Ok(Reply::suspend(n, "more")),
                    _ => Ok(Reply::output(n)),
                }
            }
        });
    let engine = opened(builder).await;
    let began = tokio::time::Instant::now();
    let backs_off = engine.start(ONE, "backs off", &1).await;
    assert!(backs_off.is_err(), "an id without blanks, please");
    let backs_off = engine.start(ONE, "backs-off", &1).await.unwrap();
    engine.start(ONE, "suspended", &2).await.unwrap();
    assert_eq!(in_time(engine.run(ONE, "c", &3)).await.unwrap(), 3);
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(entered.take(), [1, 2, 3]);
    assert_eq!(task(&engine, "backs-off").await.status, Status::Pending);
    assert_eq!(task(&engine, "suspended").await.status, Status::Suspended);
    assert_eq!(in_time(backs_off.result()).await.unwrap(), 1);
    assert!(began.elapsed() >= hour);
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_comes_free_is_taken_whatever_freed_it() {
    let (gate, crowd) = (Gate::closed(), Crowd::default());
    let engine = opened(gated(Engine::in_memory(), ONE, &gate, &crowd).max_running(1)).await;
    let runs = start_all(&engine, ONE, "t", 4).await;
    in_time(gate.came(1)).await;
    runs[0].terminate("enough").await.unwrap();
    in_time(gate.came(1)).await;
    engine.delete("t1").force().await.unwrap();
    in_time(gate.came(1)).await;
    gate.let_through(1);
    in_time(gate.came(1)).await;
    assert_eq!(task(&engine, "t3").await.status, Status::InProgress);
}

/// Tasks that wait before memory is looked at, those that come after them, and the bytes of each of their inputs.
const FIRST: u32 = 300;
const MORE: u32 = 2_800;
const INPUT: usize = 16 * 1024;
/// How many are given in one call: what is given is in memory until it is in the file.
const AT_ONCE: usize = 100;
/// The inputs that came later would take twice as much.
const MEMORY: u64 = MORE as u64 * INPUT as u64 / 2;

/// Bytes of memory this process holds.
#[cfg(target_os = "linux")]
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = text.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// Not a test of its own: a process in which thousands of tasks wait; it says by how much it grew meanwhile.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    const LARGE: TaskDef<String, usize> = TaskDef::new("large");
    let Some(path) = process::path() else {
        return;
    };
    let open = async || {
        let builder = Engine::builder(&path)
            .cache_bytes(4 * 1024 * 1024)
            .max_running(4);
        let builder = builder.task(LARGE, |_: Ctx, _: String| {
            std::future::pending::<Result<usize, HandlerError>>()
        });
        builder.open().await.unwrap()
    };
    let input = "x".repeat(INPUT);
    let start = async |engine: &Engine, from: u32, count: u32| {
        let tasks = (from..from + count).map(|n| (format!("t{n}"), &input));
        // Who keeps a thousand handles keeps a thousand handles: they go.
        let runs = engine.start_many(LARGE, tasks).await;
        assert!(runs.iter().all(Result::is_ok));
    };
    let engine = open().await;
    start(&engine, 0, FIRST).await;
    let before = resident();
    for from in (FIRST..FIRST + MORE).step_by(AT_ONCE) {
        start(&engine, from, AT_ONCE as u32).await;
    }
    process::say(&resident().saturating_sub(before).to_string());
    engine.shutdown(NO_GRACE).await;
    drop(engine);
    let engine = open().await;
    assert_eq!(engine.recovery().await.found, 4);
    process::say(&resident().saturating_sub(before).to_string());
    let last = task(&engine, &format!("t{}", FIRST + MORE - 1)).await;
    assert_eq!(last.wait, Some(WaitReason::Slot));
}

#[cfg(target_os = "linux")]
#[test]
fn tasks_over_the_limit_wait_in_the_file_and_not_in_memory() {
    let directory = tempfile::tempdir().unwrap();
    let mut other = Other::test("child", &directory.path().join("tasks.redb"));
    for moment in ["started", "reopened"] {
        let grown: u64 = other.word().expect("it runs").parse().unwrap();
        println!(
            "{MORE} more tasks of {INPUT} bytes wait, {moment}: {} KiB more",
            grown / 1024
        );
        assert!(grown < MEMORY, "{moment}: {grown} bytes");
    }
    other.end();
}
