//! The five causes: apart from each other, adding up within a turn, there before the signal.

use crate::{NO_GRACE, in_time, known, on, opened, secs};
use outlive::{Builder, Causes, Ctx, Engine, HandlerError, Status, TaskDef};
use outlive_storage::MemStore;
use outlive_tests::gate::{Gate, Notes};
use outlive_tests::latch::Latch;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

const CHAT: TaskDef<u32, u32> = TaskDef::new("chat")
    .steerable(9)
    .timeout(secs(100))
    .grace(secs(100));

/// Whether a future is ready now.
async fn is_ready(future: impl Future<Output = ()>) -> bool {
    let mut future = pin!(future);
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await
}

/// What a handler saw when it looked.
#[derive(Debug)]
struct Seen {
    causes: Option<Causes>,
    signalled: bool,
    shutting_down: bool,
}

impl Seen {
    async fn by(ctx: &Ctx) -> Seen {
        Seen {
            signalled: is_ready(ctx.cancelled()).await,
            causes: ctx.cause(),
            shutting_down: ctx.is_shutting_down() && is_ready(ctx.shutdown()).await,
        }
    }

    /// Which of the causes it saw: shutdown, cancel, time-out, steered, lease lost.
    fn which(&self) -> [bool; 5] {
        let causes = self.causes.clone().unwrap_or_default();
        [
            causes.shutdown(),
            causes.cancel_requested().is_some(),
            causes.timed_out(),
            causes.steered(),
            causes.lease_lost(),
        ]
    }
}

/// A handler that looks each time it is let through, for ever.
fn looking(builder: Builder, gate: &Gate, seen: &Notes<Seen>) -> Builder {
    let (gate, seen) = (gate.clone(), seen.clone());
    builder.task(CHAT, move |ctx: Ctx, _| {
        let (gate, seen) = (gate.clone(), seen.clone());
        async move {
            loop {
                gate.pass().await;
                seen.add(Seen::by(&ctx).await);
            }
            #[allow(unreachable_code)] // It says what the loop never returns.
            Ok::<u32, HandlerError>(0)
        }
    })
}

struct Scene {
    engine: Engine,
    gate: Gate,
    seen: Notes<Seen>,
}

impl Scene {
    /// Lets the handler look once more, and answers what it saw.
    async fn look(&self) -> Seen {
        self.gate.let_through(1);
        in_time(self.gate.came(1)).await;
        self.seen.take().remove(0)
    }
}

/// The task `a` runs, and nothing has happened to it.
async fn scene() -> Scene {
    let (store, gate, seen) = (Arc::new(MemStore::new()), Gate::closed(), Notes::default());
    let engine = opened(looking(on(&store), &gate, &seen)).await;
    engine.start(CHAT, "a", &1).await.unwrap();
    in_time(gate.came(1)).await;
    Scene { engine, gate, seen }
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_nobody_disturbs_has_no_cause() {
    let scene = scene().await;
    let seen = scene.look().await;
    assert_eq!(
        (&seen.causes, seen.signalled, seen.shutting_down),
        (&None, false, false)
    );
}

#[tokio::test(start_paused = true)]
async fn a_cancel_is_a_cancel_alone() {
    let scene = scene().await;
    scene.engine.cancel("a", "stop").await.unwrap();
    let seen = scene.look().await;
    assert_eq!(
        (seen.which(), seen.signalled),
        ([false, true, false, false, false], true)
    );
}

#[tokio::test(start_paused = true)]
async fn a_time_out_is_a_time_out_alone() {
    let scene = scene().await;
    tokio::time::sleep(secs(101)).await;
    let seen = scene.look().await;
    assert_eq!(
        (seen.which(), seen.signalled),
        ([false, false, true, false, false], true)
    );
}

#[tokio::test(start_paused = true)]
async fn a_further_input_is_a_steer_alone() {
    let scene = scene().await;
    scene.engine.start(CHAT, "a", &2).await.unwrap();
    let seen = scene.look().await;
    assert_eq!(
        (seen.which(), seen.signalled),
        ([false, false, false, true, false], true)
    );
}

/// A shutdown is no reason to give up: what is left of a turn is recovered.
#[tokio::test(start_paused = true)]
async fn a_shutdown_is_a_cause_alone_and_sets_no_signal() {
    let scene = scene().await;
    let stopping = scene.engine.clone();
    let stops = tokio::spawn(async move { stopping.shutdown(secs(10)).await });
    tokio::task::yield_now().await;
    let seen = scene.look().await;
    assert_eq!(
        (seen.which(), seen.signalled),
        ([true, false, false, false, false], false)
    );
    assert!(seen.shutting_down);
    in_time(stops).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn causes_add_up_within_a_turn() {
    let scene = scene().await;
    scene.engine.start(CHAT, "a", &2).await.unwrap();
    assert_eq!(
        scene.look().await.which(),
        [false, false, false, true, false]
    );
    scene.engine.cancel("a", "stop").await.unwrap();
    assert_eq!(
        scene.look().await.which(),
        [false, true, false, true, false]
    );
    tokio::time::sleep(secs(101)).await;
    assert_eq!(scene.look().await.which(), [false, true, true, true, false]);
    let stopping = scene.engine.clone();
    let stops = tokio::spawn(async move { stopping.shutdown(secs(10)).await });
    tokio::task::yield_now().await;
    let all = scene.look().await;
    assert_eq!(all.which(), [true, true, true, true, false]);
    assert_eq!(all.causes.unwrap().cancel_requested(), Some("stop"));
    in_time(stops).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn causes_do_not_reach_the_next_turn() {
    let (gate, seen) = (Gate::closed(), Notes::default());
    let (held, notes) = (gate.clone(), seen.clone());
    let builder = Engine::in_memory().task(CHAT, move |ctx: Ctx, n| {
        let (gate, seen) = (held.clone(), notes.clone());
        async move {
            gate.pass().await;
            seen.add(Seen::by(&ctx).await);
            Ok::<_, HandlerError>(n)
        }
    });
    let engine = opened(builder).await;
    let first = engine.start(CHAT, "a", &1).await.unwrap();
    in_time(gate.came(1)).await;
    tokio::time::sleep(secs(101)).await;
    let second = engine.start(CHAT, "a", &2).await.unwrap();
    first.cancel("this one not").await.unwrap();
    gate.let_through(2);
    in_time(second.result()).await.unwrap();
    let seen: Vec<_> = seen
        .take()
        .iter()
        .map(|seen| (seen.which(), seen.signalled))
        .collect();
    let all_but = [false, true, true, true, false];
    assert_eq!(seen, [(all_but, true), ([false; 5], false)]);
}

#[tokio::test(start_paused = true)]
async fn a_turn_begins_with_the_signal_set_while_more_inputs_wait() {
    let (gate, seen) = (Gate::closed(), Notes::default());
    let (held, notes) = (gate.clone(), seen.clone());
    let builder = Engine::in_memory().task(CHAT, move |ctx: Ctx, n| {
        let (gate, seen) = (held.clone(), notes.clone());
        async move {
            seen.add(Seen::by(&ctx).await);
            gate.pass().await;
            Ok::<_, HandlerError>(n)
        }
    });
    let engine = opened(builder).await;
    engine.start(CHAT, "a", &1).await.unwrap();
    in_time(gate.came(1)).await;
    engine.start(CHAT, "a", &2).await.unwrap();
    let last = engine.start(CHAT, "a", &3).await.unwrap();
    gate.let_through(3);
    in_time(last.result()).await.unwrap();
    let seen = seen.take();
    let steered: Vec<_> = seen
        .iter()
        .map(|seen| (seen.which()[3], seen.signalled))
        .collect();
    assert_eq!(steered, [(false, false), (true, true), (false, false)]);
}

#[tokio::test(start_paused = true)]
async fn a_recovered_turn_begins_with_the_signal_set_while_inputs_wait() {
    let (store, gate, seen) = (Arc::new(MemStore::new()), Gate::closed(), Notes::default());
    let engine = opened(looking(on(&store), &gate, &seen)).await;
    engine.start(CHAT, "a", &1).await.unwrap();
    in_time(gate.came(1)).await;
    engine.start(CHAT, "a", &2).await.unwrap();
    engine.shutdown(NO_GRACE).await;

    let engine = opened(looking(on(&store), &gate, &seen)).await;
    in_time(gate.came(1)).await;
    let scene = Scene { engine, gate, seen };
    let seen = scene.look().await;
    assert_eq!(
        (seen.which(), seen.signalled),
        ([false, false, false, true, false], true)
    );
}

/// A blocking handler cannot be dropped, so it is the one that sees its claim go. It looks once it has heard its signal,
/// and once more when the gate lets it.
fn seeing_its_end(builder: Builder, latch: &Latch, gate: &Gate, seen: &Notes<Seen>) -> Builder {
    let (latch, gate, seen) = (latch.clone(), gate.clone(), seen.clone());
    builder.blocking(CHAT, move |ctx: Ctx, n| {
        let runtime = tokio::runtime::Handle::current();
        gate.arrive();
        // A signal that never comes shall not hold the runtime for ever.
        let _ = runtime.block_on(async { tokio::time::timeout(secs(10), ctx.cancelled()).await });
        seen.add(runtime.block_on(Seen::by(&ctx)));
        gate.arrive();
        latch.wait();
        seen.add(runtime.block_on(Seen::by(&ctx)));
        gate.arrive();
        Ok::<_, HandlerError>(n)
    })
}

async fn came(gate: &Gate) {
    let came = tokio::time::timeout(secs(20), gate.came(1)).await;
    came.expect("it comes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_claim_is_told_to_whoever_still_runs() {
    let (latch, opens) = Latch::closed();
    let (gate, seen) = (Gate::closed(), Notes::default());
    let builder = Engine::on_store(Arc::new(MemStore::new()));
    let builder = seeing_its_end(builder, &latch, &gate, &seen);
    let engine = builder.open().await.unwrap();
    engine.start(CHAT, "a", &1).await.unwrap();
    came(&gate).await;
    engine.terminate("a", "gone mad").await.unwrap();
    came(&gate).await;
    drop(opens);
    let seen = seen.take().remove(0);
    let lost = [false, false, false, false, true];
    assert_eq!((seen.which(), seen.signalled), (lost, true));
    assert_eq!(known(engine.get("a").await).status, Status::Completed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_claim_adds_to_the_causes_before_it() {
    let (latch, opens) = Latch::closed();
    let (gate, seen) = (Gate::closed(), Notes::default());
    let builder = Engine::on_store(Arc::new(MemStore::new()));
    let builder = seeing_its_end(builder, &latch, &gate, &seen);
    let engine = builder.open().await.unwrap();
    engine.start(CHAT, "a", &1).await.unwrap();
    came(&gate).await;
    engine.start(CHAT, "a", &2).await.unwrap();
    came(&gate).await;
    engine.cancel("a", "stop").await.unwrap();
    engine.terminate("a", "gone mad").await.unwrap();
    drop(opens);
    came(&gate).await;
    let seen: Vec<_> = seen.take().iter().map(Seen::which).collect();
    let steered = [false, false, false, true, false];
    assert_eq!(seen, [steered, [false, true, false, true, true]]);
}
