//! Durable sleeps: in memory while they are short, outside of it while they are long, over once and at their time.

use outlive::{
    Ctx, Delivery, Engine, Entry, HandlerError, Release, RetryPolicy, SleepError, Snapshot, Status,
    StepOptions, TaskDef, WaitReason, WaitsFor,
};
use outlive_storage::{MemStore, Store};
use outlive_tests::gate::{Gate, Notes, until};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const NAP: TaskDef<(), String> = TaskDef::new("nap");
const STEERED: TaskDef<(), String> = NAP.steerable(3);
const ID: &str = "a";
const HOUR: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);
const NO_GRACE: Duration = Duration::ZERO;

/// What the handler of a test shares with it.
#[derive(Clone)]
struct World {
    notes: Notes<String>,
    gate: Gate,
}

impl Default for World {
    fn default() -> World {
        World {
            notes: Notes::default(),
            gate: Gate::closed(),
        }
    }
}

async fn open<F, Fut>(store: &Arc<MemStore>, world: &World, handler: F) -> Engine
where
    F: Fn(World, Ctx) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<String, HandlerError>> + Send + 'static,
{
    let world = world.clone();
    let builder = Engine::on_store(Arc::clone(store) as Arc<dyn Store>).inline();
    let builder = builder.max_running(1);
    let engine = builder.task(STEERED, move |ctx, ()| handler(world.clone(), ctx));
    let engine = engine.open().await.unwrap();
    engine.recovery().await;
    engine
}

async fn task(engine: &Engine) -> Snapshot {
    engine.get(ID).await.unwrap().expect("it is there")
}

async fn asleep(engine: &Engine) -> Snapshot {
    let sleeps = |seen: &Snapshot| matches!(seen.wait, Some(WaitReason::Sleeping { .. }));
    until(async || sleeps(&task(engine).await)).await;
    task(engine).await
}

async fn nap(world: World, ctx: Ctx) -> Result<String, HandlerError> {
    world.notes.add(format!("{:?}", ctx.entry()));
    ctx.sleep("nap", HOUR).await?;
    Ok("rested".to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_long_sleep_frees_its_slot_and_its_handler_and_ends_in_time() {
    let (store, world) = (Arc::new(MemStore::new()), World::default());
    let engine = open(&store, &world, nap).await;
    let began = Instant::now();
    let run = engine.start(STEERED, ID, &()).await.unwrap();
    let seen = asleep(&engine).await;
    assert_eq!((seen.status, seen.attempt), (Status::Pending, 0));
    let why = engine.explain(ID).await.unwrap().unwrap();
    assert!(matches!(&why.waits_for, WaitsFor::Sleep { step, .. } if **step == *"nap"));
    assert!(matches!(why.release, Release::Time { .. }));
    // The only slot is free: others run meanwhile.
    let other = engine.start(STEERED, "b", &()).await.unwrap();
    assert_eq!(run.result().await.unwrap(), "rested");
    let slept = began.elapsed();
    assert!(slept >= HOUR && slept < HOUR + SECOND, "{slept:?}");
    assert_eq!(other.result().await.unwrap(), "rested");
    let entries = world.notes.take();
    assert_eq!(entries.iter().filter(|entry| **entry == "Fresh").count(), 2);
    assert_eq!(entries.len(), 4, "{entries:?}");
    assert_eq!(task(&engine).await.attempt, 1);
}

#[tokio::test(start_paused = true)]
async fn a_short_sleep_stays_in_memory() {
    let (store, world) = (Arc::new(MemStore::new()), World::default());
    let engine = open(&store, &world, async |world: World, ctx: Ctx| {
        world.notes.add(format!("{:?}", ctx.entry()));
        let began = Instant::now();
        ctx.sleep("nap", SECOND * 29).await?;
        Ok(format!("{:?}", began.elapsed().as_secs()))
    })
    .await;
    let run = engine.start(STEERED, ID, &()).await.unwrap();
    assert_eq!(run.result().await.unwrap(), "29");
    assert_eq!(world.notes.take(), ["Fresh"]);
}

/// The moment at which it is over is on disk: what is left of it is slept after a restart, and no more.
#[tokio::test(start_paused = true)]
async fn a_restart_neither_shortens_nor_lengthens_a_sleep() {
    for length in [SECOND * 20, HOUR] {
        let (store, world) = (Arc::new(MemStore::new()), World::default());
        let sleeper = move |world: World, ctx: Ctx| async move {
            world.notes.add(format!("{:?}", ctx.entry()));
            ctx.sleep("nap", length).await?;
            Ok("rested".to_owned())
        };
        let began = Instant::now();
        let engine = open(&store, &world, sleeper).await;
        engine.start(STEERED, ID, &()).await.unwrap();
        for _ in 0..3 {
            tokio::time::sleep(length / 5).await;
            engine.shutdown(NO_GRACE).await;
        }
        let engine = open(&store, &world, sleeper).await;
        let run = engine.attach(STEERED, ID).await.unwrap();
        assert_eq!(run.result().await.unwrap(), "rested");
        let slept = began.elapsed();
        assert!(slept >= length && slept < length + SECOND, "{slept:?}");
        engine.shutdown(NO_GRACE).await;
    }
}

#[tokio::test(start_paused = true)]
async fn of_several_sleeps_each_is_over_at_its_own_time() {
    let (store, world) = (Arc::new(MemStore::new()), World::default());
    let engine = open(&store, &world, async |world: World, ctx: Ctx| {
        let sleep = async |key: &'static str, length: Duration| {
            ctx.sleep(key, length).await.unwrap();
            world.notes.add(key.to_owned());
        };
        tokio::join!(
            sleep("two", HOUR * 2),
            sleep("one", HOUR),
            sleep("short", SECOND)
        );
        Ok("rested".to_owned())
    })
    .await;
    let began = Instant::now();
    let run = engine.start(STEERED, ID, &()).await.unwrap();
    assert_eq!(run.result().await.unwrap(), "rested");
    let slept = began.elapsed();
    assert!(slept >= HOUR * 2 && slept < HOUR * 2 + SECOND, "{slept:?}");
}

/// A sleep that is dropped is no reason to leave memory.
#[tokio::test(start_paused = true)]
async fn the_shorter_of_two_sleeps_wins_a_race() {
    let (store, world) = (Arc::new(MemStore::new()), World::default());
    let engine = open(&store, &world, async |_, ctx: Ctx| {
        let won = tokio::select! {
            slept = ctx.sleep("long", HOUR * 5) => slept.map(|()| "long"),
            slept = ctx.sleep("short", HOUR) => slept.map(|()| "short"),
        };
        Ok(won?.to_owned())
    })
    .await;
    let run = engine.start(STEERED, ID, &()).await.unwrap();
    assert_eq!(run.result().await.unwrap(), "short");
}

/// What is under way is recorded before the handler leaves memory, however long it takes; that it sleeps is on disk
/// meanwhile.
#[tokio::test(start_paused = true)]
async fn a_sleep_beside_a_step_lets_it_end_and_is_not_lengthened_by_a_crash_meanwhile() {
    let (store, world) = (Arc::new(MemStore::new()), World::default());
    let handler = async |world: World, ctx: Ctx| {
        let work = async || {
            world.notes.add("work".to_owned());
            world.gate.pass().await;
            Ok::<_, std::io::Error>(())
        };
        let (slept, worked) = tokio::join!(ctx.sleep("nap", HOUR), ctx.step("work", work));
        slept?;
        worked?;
        Ok("done".to_owned())
    };
    let began = Instant::now();
    let engine = open(&store, &world, handler).await;
    engine.start(STEERED, ID, &()).await.unwrap();
    world.gate.came(1).await;
    tokio::time::sleep(HOUR / 2).await;
    assert_eq!(task(&engine).await.status, Status::InProgress);
    let known = engine.steps(ID).await.unwrap();
    assert!(known.iter().any(|step| &*step.key == "nap"), "{known:?}");
    engine.shutdown(NO_GRACE).await;
    let engine = open(&store, &world, handler).await;
    world.gate.came(1).await;
    world.gate.let_through(1);
    let run = engine.attach(STEERED, ID).await.unwrap();
    assert_eq!(run.result().await.unwrap(), "done");
    let slept = began.elapsed();
    assert!(slept >= HOUR && slept < HOUR + SECOND, "{slept:?}");
    assert_eq!(
        world.notes.take(),
        ["work", "work"],
        "the second one was recorded"
    );
}

#[tokio::test(start_paused = true)]
async fn an_input_that_interrupts_wakes_a_sleeper_and_the_sleep_stays_as_it_was() {
    let (store, world) = (Arc::new(MemStore::new()), World::default());
    let engine = open(&store, &world, async |world: World, ctx: Ctx| {
        let steered = ctx.cause().is_some_and(|causes| causes.steered());
        world.notes.add(format!("{steered}"));
        ctx.sleep("nap", HOUR).await?;
        Ok("rested".to_owned())
    })
    .await;
    let began = Instant::now();
    let run = engine.start(STEERED, ID, &()).await.unwrap();
    asleep(&engine).await;
    tokio::time::sleep(HOUR / 2).await;
    let quiet = engine.start(STEERED, ID, &()).delivery(Delivery::AfterTurn);
    quiet.await.unwrap();
    tokio::task::yield_now().await;
    assert_eq!(world.notes.len(), 1);
    engine.start(STEERED, ID, &()).await.unwrap();
    until(async || world.notes.len() == 2).await;
    asleep(&engine).await;
    assert_eq!(run.result().await.unwrap(), "rested");
    let slept = began.elapsed();
    assert!(slept >= HOUR && slept < HOUR + SECOND, "{slept:?}");
    assert_eq!(world.notes.take()[..2], ["false", "true"]);
}

#[tokio::test(start_paused = true)]
async fn a_sleeper_is_cancelled_at_once() {
    let (store, world) = (Arc::new(MemStore::new()), World::default());
    let engine = open(&store, &world, nap).await;
    let run = engine.start(STEERED, ID, &()).await.unwrap();
    asleep(&engine).await;
    engine.cancel(ID, "enough").await.unwrap();
    assert!(run.result().await.is_err());
    assert_eq!(world.notes.take(), ["Fresh"]);
}

#[tokio::test(start_paused = true)]
async fn sleeping_is_not_charged_to_a_time_out() {
    const TIMED: TaskDef<(), String> = TaskDef::new("timed").timeout(Duration::from_secs(100));
    let store = Arc::new(MemStore::new());
    let builder = Engine::on_store(Arc::clone(&store) as Arc<dyn Store>).inline();
    let handler = async |ctx: Ctx, ()| {
        for nap in 0..3 {
            tokio::time::sleep(SECOND * 20).await;
            ctx.sleep(("nap", nap), HOUR).await?;
        }
        Ok::<_, HandlerError>("rested".to_owned())
    };
    let engine = builder.task(TIMED, handler).open().await.unwrap();
    // Entered again from the top, it works 20 + 40 + 60 s, and 60 s more after the last one: too long.
    let run = engine.start(TIMED, ID, &()).await.unwrap();
    assert!(run.result().await.is_err());
    let slept = task(&engine).await;
    assert!(matches!(
        slept.ended,
        Some(outlive::Ended::Terminated {
            timed_out: true,
            ..
        })
    ));
    assert!(slept.updated_at_us - slept.created_at_us > 3 * 3_600_000_000 / 2);
}

/// The call of a blocking handler cannot be dropped, so its sleeps hold its thread.
#[tokio::test(flavor = "multi_thread")]
async fn a_blocking_handler_sleeps_in_memory() {
    let handler = |ctx: Ctx, ()| {
        let nap = ctx.sleep("nap", Duration::from_millis(20));
        tokio::runtime::Handle::current().block_on(nap)?;
        Ok::<_, HandlerError>(format!("{:?}", ctx.entry()))
    };
    let store = Arc::new(MemStore::new()) as Arc<dyn Store>;
    let builder = Engine::on_store(store).park_after(Duration::ZERO);
    let engine = builder.blocking(NAP, handler).open().await.unwrap();
    let run = engine.start(NAP, ID, &()).await.unwrap();
    assert_eq!(run.result().await.unwrap(), "Fresh");
}

#[tokio::test(start_paused = true)]
async fn a_context_kept_beyond_its_turn_does_not_sleep() {
    let (store, world) = (Arc::new(MemStore::new()), World::default());
    let (sender, kept) = std::sync::mpsc::channel();
    let engine = open(&store, &world, move |_, ctx: Ctx| {
        let _ = sender.send(ctx);
        async { Ok("left".to_owned()) }
    })
    .await;
    let run = engine.start(STEERED, ID, &()).await.unwrap();
    run.result().await.unwrap();
    let ctx = kept.recv().unwrap();
    assert_eq!(ctx.sleep("late", HOUR).await, Err(SleepError::TurnOver));
}

/// A program that made a step of what was a sleep is told, and nothing is lost.
#[tokio::test(start_paused = true)]
async fn a_step_is_no_sleep() {
    let (store, world) = (Arc::new(MemStore::new()), World::default());
    let engine = open(&store, &world, nap).await;
    engine.start(STEERED, ID, &()).await.unwrap();
    asleep(&engine).await;
    engine.shutdown(NO_GRACE).await;
    let engine = open(&store, &world, async |_, ctx: Ctx| {
        let step = ctx
            .step("nap", async || Ok::<_, std::io::Error>(7_u32))
            .await?;
        Ok(step.to_string())
    })
    .await;
    engine.start(STEERED, ID, &()).await.unwrap();
    let parked = |seen: &Snapshot| matches!(seen.wait, Some(WaitReason::Undecodable { .. }));
    until(async || parked(&task(&engine).await)).await;
    assert_eq!(
        task(&engine).await.wait.map(
            |wait| matches!(wait, WaitReason::Undecodable { what, .. } if &*what == "step nap")
        ),
        Some(true)
    );
}

#[tokio::test(start_paused = true)]
async fn a_moment_that_has_passed_is_no_sleep() {
    let (store, world) = (Arc::new(MemStore::new()), World::default());
    let engine = open(&store, &world, async |world: World, ctx: Ctx| {
        world
            .notes
            .add(format!("{:?}", ctx.entry() == Entry::Fresh));
        ctx.sleep_until("past", std::time::SystemTime::UNIX_EPOCH)
            .await?;
        ctx.sleep("none", Duration::ZERO).await?;
        Ok("awake".to_owned())
    })
    .await;
    let run = engine.start(STEERED, ID, &()).await.unwrap();
    assert_eq!(run.result().await.unwrap(), "awake");
    assert_eq!(world.notes.take(), ["true"]);
}

/// It would have been tried again only when the sleep was over.
#[tokio::test(start_paused = true)]
async fn a_step_that_pauses_before_its_next_try_is_tried_before_the_handler_leaves_memory() {
    let (store, world) = (Arc::new(MemStore::new()), World::default());
    let engine = open(&store, &world, async |world: World, ctx: Ctx| {
        let tries = StepOptions::new().retry(RetryPolicy::fixed().attempts(2));
        let work = ctx.step_with("work", tries, |s| {
            world.notes.add(s.attempt().to_string());
            async move {
                match s.attempt() {
                    1 => Err(std::io::Error::other("not yet")),
                    _ => Ok(()),
                }
            }
        });
        let (slept, worked) = tokio::join!(ctx.sleep("nap", HOUR), work);
        slept?;
        worked?;
        Ok("done".to_owned())
    })
    .await;
    let run = engine.start(STEERED, ID, &()).await.unwrap();
    asleep(&engine).await;
    assert_eq!(world.notes.take(), ["1", "2"]);
    assert_eq!(run.result().await.unwrap(), "done");
    assert_eq!(world.notes.len(), 0, "it was recorded");
}
