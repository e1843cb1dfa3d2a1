//! Handlers that cannot be stopped: their tasks end all the same, and in time.

use outlive::{
    Builder, Ctx, Ended, Engine, FlushError, HandlerError, ResultError, Run, Status, TaskDef,
};
use outlive_storage::MemStore;
use outlive_tests::gate::{Gate, Notes};
use outlive_tests::latch::Latch;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

const TIMEOUT: Duration = Duration::from_millis(100);
const GRACE: Duration = Duration::from_millis(100);
/// What a busy machine may add; an engine that was held up takes as long as the handler, for ever.
const SLACK: Duration = Duration::from_secs(5);

const LIMITED: TaskDef<u32, u32> = TaskDef::new("limited").timeout(TIMEOUT).grace(GRACE);
const FORCED: TaskDef<u32, u32> = TaskDef::new("forced").cancel_grace(GRACE);
const FREE: TaskDef<u32, u32> = TaskDef::new("free");

fn workers(count: usize) -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(count).enable_time().build().unwrap()
}

/// Registers a handler that holds its thread until the latch opens, by a call or by spinning, and then returns well.
fn holding(builder: Builder, def: TaskDef<u32, u32>, latch: &Latch, spins: bool) -> Builder {
    let latch = latch.clone();
    builder.task(def, move |_: Ctx, n| {
        let latch = latch.clone();
        async move {
            while spins && !latch.is_open() {
                std::hint::spin_loop();
            }
            latch.wait();
            Ok::<_, HandlerError>(n)
        }
    })
}

async fn ended_in_time(run: &Run<u32>) -> ResultError {
    let ended = tokio::time::timeout(TIMEOUT + GRACE + SLACK, run.result()).await;
    ended.expect("the end is recorded in time").unwrap_err()
}

/// Two workers, each held by a handler whose time runs out.
fn the_time_out_is_recorded_although_every_worker_is_held(spins: bool) {
    let (callers, handlers) = (workers(1), workers(2));
    // Opened before the runtimes go, which wait for their workers.
    let (latch, _opens) = Latch::closed();
    let builder = Engine::on_store(Arc::new(MemStore::new())).runtime(handlers.handle().clone());
    let builder = holding(builder, LIMITED, &latch, spins);
    callers.block_on(async {
        let engine = builder.open().await.unwrap();
        let began = Instant::now();
        let mut runs = Vec::new();
        for n in 0..2 {
            runs.push(engine.start(LIMITED, format!("t{n}"), &n).await.unwrap());
        }
        for run in &runs {
            let ended = ended_in_time(run).await;
            assert!(
                matches!(
                    ended,
                    ResultError::Terminated {
                        timed_out: true,
                        ..
                    }
                ),
                "{ended:?}"
            );
        }
        println!(
            "held workers, time-out and grace of 200 ms: {:?}",
            began.elapsed()
        );
        assert!(
            began.elapsed() >= TIMEOUT + GRACE,
            "not before the grace is over"
        );
    });
}

#[test]
fn handlers_that_block_their_workers_time_out() {
    the_time_out_is_recorded_although_every_worker_is_held(false);
}

#[test]
fn handlers_that_spin_on_their_workers_time_out() {
    the_time_out_is_recorded_although_every_worker_is_held(true);
}

#[test]
fn a_handler_that_blocks_its_worker_is_cancelled_after_the_grace_of_a_cancel() {
    let (callers, handlers) = (workers(1), workers(1));
    let (latch, _opens) = Latch::closed();
    let builder = Engine::on_store(Arc::new(MemStore::new())).runtime(handlers.handle().clone());
    let builder = holding(builder, FORCED, &latch, false);
    callers.block_on(async {
        let engine = builder.open().await.unwrap();
        let run = engine.start(FORCED, "a", &1).await.unwrap();
        latch.waited_for_by(1);
        engine.cancel("a", "stop").await.unwrap();
        let ended = ended_in_time(&run).await;
        assert!(matches!(ended, ResultError::Cancelled { .. }), "{ended:?}");
    });
}

/// Waits until so many more have come to the gate.
async fn came(gate: &Gate, count: u32) {
    let came = tokio::time::timeout(SLACK, gate.came(count)).await;
    came.expect("they come");
}

/// What a handler that runs on without its turn noted.
#[derive(Debug)]
struct Late {
    lease_lost: bool,
    flushed: Result<(), FlushError>,
}

/// A blocking handler that waits for the latch, then does what it can; it counts those that came.
fn blocking(
    builder: Builder,
    def: TaskDef<u32, u32>,
    (latch, gate): (&Latch, &Gate),
    late: &Notes<Late>,
) -> Builder {
    let (latch, gate, late) = (latch.clone(), gate.clone(), late.clone());
    builder.blocking(def, move |ctx: Ctx, n| {
        gate.arrive();
        latch.wait();
        ctx.metadata().set("late", true).unwrap();
        let runtime = tokio::runtime::Handle::current();
        late.add(Late {
            lease_lost: ctx.cause().is_some_and(|causes| causes.lease_lost()),
            flushed: runtime.block_on(ctx.flush_metadata()),
        });
        gate.arrive();
        Ok::<_, HandlerError>(n)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocking_handler_times_out_and_what_it_does_afterwards_is_refused() {
    let (latch, opens) = Latch::closed();
    let (gate, late) = (Gate::closed(), Notes::default());
    let builder = Engine::on_store(Arc::new(MemStore::new()));
    let engine = blocking(builder, LIMITED, (&latch, &gate), &late)
        .open()
        .await
        .unwrap();
    let run = engine.start(LIMITED, "a", &1).await.unwrap();
    let ended = ended_in_time(&run).await;
    assert!(
        matches!(
            ended,
            ResultError::Terminated {
                timed_out: true,
                ..
            }
        ),
        "{ended:?}"
    );
    came(&gate, 1).await;
    let task = engine.get("a").await.unwrap().unwrap();
    assert_eq!(task.status, Status::Completed);

    drop(opens);
    came(&gate, 1).await;
    let late = late.take();
    assert!(
        matches!(
            late[..],
            [Late {
                lease_lost: true,
                flushed: Err(FlushError::TurnOver)
            }]
        ),
        "{late:?}"
    );
    engine.shutdown(SLACK).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_late_reply_of_a_blocking_handler_changes_nothing() {
    let (latch, opens) = Latch::closed();
    let (gate, late) = (Gate::closed(), Notes::default());
    let builder = Engine::on_store(Arc::new(MemStore::new()));
    let engine = blocking(builder, FREE, (&latch, &gate), &late)
        .open()
        .await
        .unwrap();
    let run = engine.start(FREE, "a", &7).await.unwrap();
    came(&gate, 1).await;
    run.terminate("gone mad").await.unwrap();
    let task = engine.get("a").await.unwrap().unwrap();
    drop(opens);
    came(&gate, 1).await;
    // Nothing of it is under way any more when the engine has stopped in order.
    assert_eq!(engine.get("a").await.unwrap().unwrap(), task);
    let ended = Some(Ended::Terminated {
        reason: "gone mad".into(),
        timed_out: false,
    });
    assert_eq!((task.ended, task.output), (ended, None));
    assert!(matches!(
        run.result().await,
        Err(ResultError::Terminated { .. })
    ));
    engine.shutdown(SLACK).await;
}

/// A terminated task once ran again beside the thread of its former self.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_is_not_entered_again_before_its_former_thread_has_ended() {
    let (latch, opens) = Latch::closed();
    let (gate, late) = (Gate::closed(), Notes::default());
    let builder = Engine::on_store(Arc::new(MemStore::new()));
    let builder = blocking(builder, FREE, (&latch, &gate), &late);
    // Something else to do meanwhile, so that a second entry would have had its chance.
    let builder = builder.task(LIMITED, |_: Ctx, n| async move { Ok::<_, HandlerError>(n) });
    let engine = builder.open().await.unwrap();
    engine.start(FREE, "a", &7).await.unwrap();
    came(&gate, 1).await;
    engine.terminate("a", "gone mad").await.unwrap();
    let again = engine.retry(FREE, "a").await.unwrap();
    for n in 0..20 {
        engine.run(LIMITED, format!("other{n}"), &n).await.unwrap();
    }
    assert_eq!(gate.uncounted(), 0, "two handlers of one task run at once");
    drop(opens);
    assert_eq!(again.result().await.unwrap(), 7);
    // The first one's end, the second one's beginning and its end.
    came(&gate, 3).await;
    let lost: Vec<_> = late.take().iter().map(|late| late.lease_lost).collect();
    assert_eq!(lost, [true, false]);
}

/// Does something bad when it is dropped.
struct Bad<F: FnMut()>(F);

impl<F: FnMut()> Drop for Bad<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// An engine with one slot, whose handler never ends when its input is 1, and does something bad when it is dropped.
async fn dropped_badly(
    builder: Builder,
    gate: &Gate,
    bad: impl Fn() + Clone + Send + Sync + 'static,
) -> Engine {
    let gate = gate.clone();
    let builder = builder.max_running(1).task(FREE, move |_: Ctx, n| {
        let (bad, gate) = (bad.clone(), gate.clone());
        async move {
            if n == 1 {
                let _bad = Bad(bad);
                gate.arrive();
                std::future::pending::<()>().await;
            }
            Ok::<_, HandlerError>(n)
        }
    });
    let engine = builder.open().await.unwrap();
    engine.recovery().await;
    engine
}

#[tokio::test]
async fn a_handler_that_panics_when_it_is_dropped_holds_up_nobody() {
    let builder = Engine::on_store(Arc::new(MemStore::new()));
    // Quietly: the report on the terminal tells nothing.
    let (gate, quietly) = (Gate::closed(), || {
        std::panic::resume_unwind(Box::new("dropped"))
    });
    let engine = dropped_badly(builder, &gate, quietly).await;
    let run = engine.start(FREE, "a", &1).await.unwrap();
    came(&gate, 1).await;
    engine.terminate("a", "gone mad").await.unwrap();
    let ended = ended_in_time(&run).await;
    assert!(matches!(ended, ResultError::Terminated { .. }), "{ended:?}");
    assert_eq!(
        engine.run(FREE, "b", &2).await.unwrap(),
        2,
        "its slot is free"
    );
    engine.retry(FREE, "a").await.unwrap();
    engine.delete("a").force().await.unwrap();
    assert_eq!(
        engine.run(FREE, "a", &3).await.unwrap(),
        3,
        "and so is its id"
    );
}

#[test]
fn a_handler_that_blocks_when_it_is_dropped_does_not_hold_up_the_engine() {
    let (callers, handlers) = (workers(1), workers(1));
    let (latch, opens) = Latch::closed();
    let builder = Engine::on_store(Arc::new(MemStore::new())).runtime(handlers.handle().clone());
    let (held, gate) = (latch.clone(), Gate::closed());
    callers.block_on(async {
        let engine = dropped_badly(builder, &gate, move || held.wait()).await;
        let run = engine.start(FREE, "a", &1).await.unwrap();
        came(&gate, 1).await;
        engine.terminate("a", "gone mad").await.unwrap();
        let ended = ended_in_time(&run).await;
        assert!(matches!(ended, ResultError::Terminated { .. }), "{ended:?}");
        let next = engine.start(FREE, "b", &2).await.unwrap();
        assert_eq!(
            next.status().await.unwrap(),
            Status::Pending,
            "there is no slot yet"
        );
        drop(opens);
        assert_eq!(next.result().await.unwrap(), 2);
    });
}
