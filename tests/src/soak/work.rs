//! The handlers of the soak, and the world they act on, which notices what happens twice.

use outlive::{Builder, Ctx, Engine, HandlerError, Reply, RetryPolicy, StepOptions, TaskDef};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long ended tasks are kept: short beside the run.
pub const KEEP: Duration = Duration::from_secs(60);
/// Sleeps from this length on leave memory.
const PARK_AFTER: Duration = Duration::from_millis(100);
/// Recorded steps of a task.
pub const STEPS: u64 = 3;

const QUICKLY: RetryPolicy = RetryPolicy::fixed()
    .attempts(3)
    .initial(Duration::from_millis(5));

/// Steps, a stream, and a first attempt that may fail.
pub const WORK: TaskDef<u64, u64, u64> = TaskDef::new("work").retry(QUICKLY).keep_for(KEEP);
/// A chain of turns, steered.
pub const CHAT: TaskDef<u64, u64> = TaskDef::new("chat").steerable(4).keep_for(KEEP);
/// A sleep, in memory or outside of it.
pub const NAP: TaskDef<u64, u64> = TaskDef::new("nap").keep_for(KEEP);
/// Starts children and waits for them.
pub const FAMILY: TaskDef<u64, u64> = TaskDef::new("family").keep_for(KEEP);
/// One of these.
pub const CHILD: TaskDef<u64, u64> = TaskDef::new("child").keep_for(KEEP);
/// Works on a thread.
pub const BLOCKING: TaskDef<u64, u64> = TaskDef::new("blocking").keep_for(KEEP);

/// Turns of a chain.
pub const TURNS: u64 = 3;
const CHILDREN: u64 = 3;

/// Spreads numbers: what a task does follows from its number.
pub fn mixed(number: u64, salt: u64) -> u64 {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt.wrapping_mul(0xff51_afd7);
    let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ mixed >> 31
}

/// What the handlers act on.
#[derive(Debug, Default)]
pub struct World {
    live: Mutex<HashSet<String>>,
    /// Steps that are recorded, of tasks that nobody has checked yet.
    recorded: Mutex<HashMap<(u64, u64), u64>>,
    /// Handlers entered.
    pub entered: AtomicU64,
    /// Handlers of one id that ran at once, and recorded steps that ran again.
    pub doubled: AtomicU64,
}

/// A handler of this id runs.
struct Living<'a>(&'a World, String);

impl World {
    fn enter(&self, id: &str) -> Living<'_> {
        self.entered.fetch_add(1, Ordering::Relaxed);
        if !self.live.lock().insert(id.to_owned()) {
            self.doubled(&format!("{id} runs twice at once"));
        }
        Living(self, id.to_owned())
    }

    fn step_runs(&self, task: u64, step: u64) {
        if self.recorded.lock().contains_key(&(task, step)) {
            self.doubled(&format!(
                "step {step} of {task} was recorded and runs again"
            ));
        }
    }

    fn step_is(&self, task: u64, step: u64, value: u64) {
        let before = *self.recorded.lock().entry((task, step)).or_insert(value);
        if before != value {
            self.doubled(&format!(
                "step {step} of {task} was {before} and is {value}"
            ));
        }
    }

    fn doubled(&self, what: &str) {
        println!("VIOLATION doubled: {what}");
        self.doubled.fetch_add(1, Ordering::Relaxed);
    }

    /// The task was checked: it is forgotten.
    pub fn checked(&self, task: u64) {
        let mut recorded = self.recorded.lock();
        recorded.retain(|(of, _), _| *of != task);
    }

    /// What it remembers.
    pub fn remembers(&self) -> usize {
        self.recorded.lock().len() + self.live.lock().len()
    }
}

impl Drop for Living<'_> {
    fn drop(&mut self) {
        self.0.live.lock().remove(&self.1);
    }
}

/// Items of a task's stream: those of its steps, and those of its last attempt.
pub fn items() -> (Vec<u64>, Vec<u64>) {
    let of_steps = (0..STEPS).flat_map(|step| [step * 10, step * 10 + 1]);
    (
        of_steps.collect(),
        (0..STEPS).map(|step| 1000 + step).collect(),
    )
}

/// An engine on the file at `path`, whose handlers run on `runtime`.
pub fn builder(path: &Path, world: &Arc<World>, runtime: tokio::runtime::Handle) -> Builder {
    let worlds: [Arc<World>; 6] = std::array::from_fn(|_| Arc::clone(world));
    let [work_of, chat_of, nap_of, family_of, child_of, blocking_of] = worlds;
    Engine::builder(path)
        .park_after(PARK_AFTER)
        .runtime(runtime)
        .task(WORK, move |ctx, n| work(Arc::clone(&work_of), ctx, n))
        .task(CHAT, move |ctx, n| chat(Arc::clone(&chat_of), ctx, n))
        .task(NAP, move |ctx, n| nap(Arc::clone(&nap_of), ctx, n))
        .task(FAMILY, move |ctx, n| family(Arc::clone(&family_of), ctx, n))
        .task(CHILD, move |ctx: Ctx, n: u64| {
            let world = Arc::clone(&child_of);
            async move {
                let _living = world.enter(ctx.id().as_str());
                pause(mixed(n, 5) % 10).await;
                Ok::<_, HandlerError>(n + 1)
            }
        })
        .blocking(BLOCKING, move |ctx: Ctx, n: u64| {
            let _living = blocking_of.enter(ctx.id().as_str());
            std::thread::sleep(Duration::from_millis(mixed(n, 6) % 10));
            Ok::<_, HandlerError>(n)
        })
}

async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

async fn work(world: Arc<World>, ctx: Ctx<u64>, n: u64) -> Result<u64, HandlerError> {
    let _living = world.enter(ctx.id().as_str());
    let mut sum = 0;
    for step in 0..STEPS {
        let (seen, generation) = (&world, ctx.generation());
        let run = |s: outlive::StepCtx<u64>| async move {
            seen.step_runs(n, step);
            s.emit(step * 10).await?;
            pause(mixed(n, step) % 8).await;
            s.emit(step * 10 + 1).await?;
            Ok::<_, outlive::EmitError>(generation)
        };
        let value = ctx
            .step_with(("part", step), StepOptions::new(), run)
            .await?;
        world.step_is(n, step, value);
        ctx.emit(1000 + step).await?;
        ctx.metadata().set("at", step)?;
        sum += step;
    }
    if mixed(n, 9).is_multiple_of(9) && ctx.attempt() == 1 {
        return Err("the first attempt fails".into());
    }
    Ok(n + sum)
}

async fn chat(world: Arc<World>, ctx: Ctx, input: u64) -> Result<Reply<u64>, HandlerError> {
    let _living = world.enter(ctx.id().as_str());
    pause(mixed(input, 7) % 10).await;
    if input % TURNS == TURNS - 1 {
        return Ok(Reply::output(input));
    }
    Ok(Reply::suspend(input, "the next input"))
}

async fn nap(world: Arc<World>, ctx: Ctx, n: u64) -> Result<u64, HandlerError> {
    let _living = world.enter(ctx.id().as_str());
    let nap = Duration::from_millis(mixed(n, 8) % 400);
    ctx.sleep("nap", nap).await?;
    Ok(n)
}

async fn family(world: Arc<World>, ctx: Ctx, n: u64) -> Result<u64, HandlerError> {
    let _living = world.enter(ctx.id().as_str());
    let children = (0..CHILDREN).map(|child| (("child", child), n * CHILDREN + child));
    let children = ctx.start_many("children", CHILD, children).await?;
    let outputs = ctx.all("ended", &children).await?;
    let mut sum = 0;
    for output in outputs {
        sum += output?;
    }
    Ok(sum)
}

/// The output of a family.
pub fn sum(n: u64) -> u64 {
    (0..CHILDREN).map(|child| n * CHILDREN + child + 1).sum()
}
