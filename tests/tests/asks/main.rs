//! Questions of handlers: asked, listed, answered once, expired, withdrawn, whatever happens to the process meanwhile.

mod answered;
mod beside;
mod crashes;
mod expiry;
mod listed;
mod random;
mod withdrawn;

use outlive::{
    Ask, AskError, Builder, Ctx, Engine, HandlerError, OpenAsk, ResultError, RetryPolicy, Run,
    Snapshot, Status, TaskDef, WaitReason,
};
use outlive_storage::MemStore;
use outlive_tests::gate::{Gate, Notes};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// Its input says what a handler makes of it.
pub(crate) const TASK: TaskDef<u32, String> = TaskDef::new("task").retry(
    RetryPolicy::fixed()
        .attempts(3)
        .initial(Duration::from_secs(1))
        .jitter(false),
);
pub(crate) const ID: &str = "a";
pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);
pub(crate) const NO_GRACE: Duration = Duration::ZERO;

/// What the handlers of a test share.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) store: Arc<MemStore>,
    /// How each entry of the handler began.
    pub(crate) ran: Notes<String>,
    pub(crate) gate: Gate,
}

impl World {
    pub(crate) fn new() -> World {
        World {
            store: Arc::new(MemStore::new()),
            ran: Notes::default(),
            gate: Gate::closed(),
        }
    }

    pub(crate) fn builder(&self) -> Builder {
        Engine::on_store(Arc::<MemStore>::clone(&self.store)).inline()
    }

    /// An engine whose handler is this; a former one has been shut down.
    pub(crate) async fn open<F, Fut>(&self, handler: F) -> Engine
    where
        F: Fn(World, Ctx, u32) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<String, HandlerError>> + Send + 'static,
    {
        self.open_as(TASK, handler).await
    }

    /// As [`World::open`], under another form of the definition.
    pub(crate) async fn open_as<F, Fut>(&self, def: TaskDef<u32, String>, handler: F) -> Engine
    where
        F: Fn(World, Ctx, u32) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<String, HandlerError>> + Send + 'static,
    {
        let world = self.clone();
        let call = move |ctx, input| handler(world.clone(), ctx, input);
        let engine = self.builder().task(def, call).open().await.unwrap();
        engine.recovery().await;
        engine
    }
}

/// Asks whether it may, and says what it was told.
pub(crate) async fn asks(world: World, ctx: Ctx, _: u32) -> Result<String, HandlerError> {
    world.ran.add(format!("{:?}", ctx.entry()));
    let may: String = ctx.ask("may", Ask::new("may I?")).await?;
    Ok(format!("told {may}"))
}

/// As [`asks`], for a day.
pub(crate) async fn asks_for_a_day(world: World, ctx: Ctx, _: u32) -> Result<String, HandlerError> {
    world.ran.add(format!("{:?}", ctx.entry()));
    match ctx
        .ask::<String>("may", Ask::new("may I?").deadline(DAY))
        .await
    {
        Ok(may) => Ok(format!("told {may}")),
        Err(AskError::Expired) => Ok("told nothing".to_owned()),
        Err(error) => Err(error.into()),
    }
}

/// What a run comes to, if it does within a week.
pub(crate) async fn in_time(run: &Run<String>) -> Result<String, ResultError> {
    let result = tokio::time::timeout(7 * DAY, run.result()).await;
    result.expect("it ends within a week")
}

/// The task, which is there.
pub(crate) async fn task(engine: &Engine) -> Snapshot {
    engine.get(ID).await.unwrap().expect("the task is there")
}

/// Waits until the task is as wanted.
pub(crate) async fn until(engine: &Engine, wanted: impl Fn(&Snapshot) -> bool) -> Snapshot {
    outlive_tests::gate::until(async || wanted(&task(engine).await)).await;
    task(engine).await
}

/// Waits until the task waits for an answer.
pub(crate) async fn until_it_asks(engine: &Engine) -> Snapshot {
    until(engine, is_asking).await
}

pub(crate) fn is_asking(task: &Snapshot) -> bool {
    task.status == Status::Suspended && matches!(task.wait, Some(WaitReason::Answer { .. }))
}

/// The open questions, all of them.
pub(crate) async fn open_asks(engine: &Engine) -> Vec<OpenAsk> {
    let list = engine.asks().await.unwrap();
    assert!(list.damaged.is_empty() && list.next.is_none(), "{list:?}");
    list.asks
}

/// The keys of the open questions.
pub(crate) async fn open_keys(engine: &Engine) -> Vec<String> {
    let open = open_asks(engine).await;
    open.into_iter().map(|ask| ask.key).collect()
}
