//! Longer work of the killed program: recorded steps with streams and sleeps, questions, and children.

use super::log::{Line, Log};
use super::work::{QUICKLY, chance, key_of, outcome, pause, runs};
use outlive::{Ask, Builder, Ctx, EmitError, HandlerError, StepCtx, StepOptions, TaskDef};
use std::sync::Arc;
use std::time::Duration;

/// Steps that emit, items between them, and a sleep.
pub const PIPELINE: TaskDef<String, String, u64> = TaskDef::new("pipeline").retry(QUICKLY);
/// Starts children, and waits for them.
pub const FAMILY: TaskDef<String, String, u64> = TaskDef::new("family").retry(QUICKLY);
/// Asks, and goes on by itself when nobody answers.
pub const QUESTION: TaskDef<String, String, u64> = TaskDef::new("question").retry(QUICKLY);
/// What a family starts.
pub const CHILD: TaskDef<String, String> = TaskDef::new("child").retry(QUICKLY);

/// Waits from this length on leave memory.
const PARK_AFTER: Duration = Duration::from_millis(8);
/// Steps of a pipeline.
pub const STEPS: u64 = 3;
/// The step before the sleep.
const NAP_AFTER: u64 = 1;
const CHILDREN: u64 = 2;
/// How long a question is open.
const DEADLINE: Duration = Duration::from_millis(30);
/// What counts when nobody answers.
pub const NO_ANSWER: u64 = 0;
/// The key of the question.
pub const QUESTION_KEY: &str = "go on";

/// What the steps of a pipeline emit, in order.
pub fn of_steps() -> Vec<u64> {
    (0..STEPS)
        .flat_map(|step| [step * 10, step * 10 + 1])
        .collect()
}

/// What an attempt of a pipeline emits beside them, in order.
pub fn of_attempt() -> Vec<u64> {
    (0..STEPS).map(|step| 1000 + step).collect()
}

/// Registers their handlers.
pub fn handlers(builder: Builder, log: &Arc<Log>) -> Builder {
    let logs: [Arc<Log>; 4] = std::array::from_fn(|_| Arc::clone(log));
    let [pipelines, families, questions, children] = logs;
    builder
        .park_after(PARK_AFTER)
        .task(PIPELINE, move |ctx, given| {
            pipeline(Arc::clone(&pipelines), ctx, given)
        })
        .task(FAMILY, move |ctx, given| {
            family(Arc::clone(&families), ctx, given)
        })
        .task(QUESTION, move |ctx, given| {
            question(Arc::clone(&questions), ctx, given)
        })
        .task(CHILD, move |ctx, given| {
            child(Arc::clone(&children), ctx, given)
        })
}

async fn pipeline(log: Arc<Log>, ctx: Ctx<u64>, given: String) -> Result<String, HandlerError> {
    let key = key_of(&ctx);
    let _running = runs(&log, &ctx, &key);
    let pause = pause(&key, &given)?;
    let id = key.id.as_str();
    for step in 0..STEPS {
        let (log, generation) = (&log, ctx.generation());
        let run = |s: StepCtx<u64>| async move {
            log.write(&Line::Ran {
                id: id.to_owned(),
                step,
            });
            s.emit(step * 10).await?;
            tokio::time::sleep(pause / 4).await;
            s.emit(step * 10 + 1).await?;
            Ok::<_, EmitError>(generation)
        };
        let value = ctx.step_with(("part", step), StepOptions::new(), run);
        let value = value.await?;
        log.write(&Line::Recorded {
            id: id.to_owned(),
            step,
            value,
        });
        let item = 1000 + step;
        if chance(&key).is_multiple_of(2) {
            let sequence = ctx.emit_durable(item).await?;
            log.write(&Line::Emitted {
                id: id.to_owned(),
                sequence,
                item,
            });
        } else {
            ctx.emit(item).await?;
        }
        if step == NAP_AFTER {
            ctx.sleep("nap", pause).await?;
        }
    }
    outcome(&ctx, &key)
}

async fn family(log: Arc<Log>, ctx: Ctx<u64>, given: String) -> Result<String, HandlerError> {
    let key = key_of(&ctx);
    let _running = runs(&log, &ctx, &key);
    pause(&key, &given)?;
    let inputs = (0..CHILDREN).map(|n| (("child", n), format!("{n} of {}", key.id)));
    let children = ctx.start_many("children", CHILD, inputs).await?;
    for child in &children {
        log.write(&Line::Child {
            id: child.id().to_owned(),
        });
    }
    let outputs = ctx.all("ended", &children).await?;
    for ((n, output), child) in (0..CHILDREN).zip(outputs).zip(&children) {
        if output? != format!("{n} of {}", key.id) {
            return Err(HandlerError::terminal("another child's output"));
        }
        log.write(&Line::ChildEnded {
            id: child.id().to_owned(),
        });
    }
    outcome(&ctx, &key)
}

async fn child(log: Arc<Log>, ctx: Ctx, given: String) -> Result<String, HandlerError> {
    let key = key_of(&ctx);
    let _running = runs(&log, &ctx, &key);
    tokio::time::sleep(Duration::from_millis(chance(&key) % 6)).await;
    Ok(given)
}

async fn question(log: Arc<Log>, ctx: Ctx<u64>, given: String) -> Result<String, HandlerError> {
    let key = key_of(&ctx);
    let _running = runs(&log, &ctx, &key);
    pause(&key, &given)?;
    let ask = Ask::new("may it go on?")
        .deadline(DEADLINE)
        .default_answer(&NO_ANSWER);
    let value = ctx.ask::<u64>(QUESTION_KEY, ask).await?;
    log.write(&Line::Heard {
        id: key.id.clone(),
        value,
    });
    outcome(&ctx, &key)
}
