//! How turns end before their time: time-out, cancel, terminate, forced removal, and what a shutdown is not.

mod cancel;
mod cancel_input;
mod causes;
mod killed;
mod remove;
mod shutdown;
mod slotless;
mod stubborn;
mod terminate;
mod timeout;
mod waits;

use outlive::{Builder, Causes, Ctx, Engine, HandlerError, Snapshot, TaskDef};
use outlive_storage::id::TaskId;
use outlive_storage::row::{Etag, TaskRow};
use outlive_storage::{Commit, Expect, MemStore, Store, Write};
use outlive_tests::gate::{Drops, Gate};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

pub(crate) const NO_GRACE: Duration = Duration::ZERO;
/// Far longer than anything here takes: with a paused clock a wait without end is over at once.
pub(crate) const NEVER: Duration = Duration::from_secs(30 * 24 * 3600);
/// Timers are no finer than a millisecond, and a reopened engine reads the real clock.
pub(crate) const TICK: Duration = Duration::from_millis(10);

pub(crate) const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// An engine inside this runtime, on a store that outlives it.
pub(crate) fn on(store: &Arc<MemStore>) -> Builder {
    Engine::on_store(Arc::<MemStore>::clone(store)).inline()
}

/// Opens, and waits until starts are claimed at once.
pub(crate) async fn opened(builder: Builder) -> Engine {
    let engine = builder.open().await.unwrap();
    engine.recovery().await;
    engine
}

/// The task, which is there.
#[track_caller]
pub(crate) fn known(task: Result<Option<Snapshot>, outlive::GetError>) -> Snapshot {
    task.unwrap().expect("the task is there")
}

/// The answer; a caller that is never answered fails here instead of hanging.
pub(crate) async fn in_time<T>(waiting: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(NEVER, waiting);
    waited.await.expect("an answer")
}

#[track_caller]
pub(crate) fn assert_about(found: Duration, expected: Duration) {
    let late = found.saturating_sub(expected);
    assert!(
        found >= expected && late <= TICK,
        "{found:?} is not {expected:?}"
    );
}

/// Changes the row of a task while no engine runs: a test's way to let time pass, or to set clocks.
pub(crate) fn edit(store: &MemStore, id: &str, change: impl FnOnce(&mut TaskRow)) {
    let task = store.find(&TaskId::new(id).unwrap()).unwrap().unwrap();
    let mut row = store.get(task).unwrap().unwrap();
    let expect = Expect::Etag(row.etag);
    row.etag = Etag(store.counters().unwrap().etag.0 + 1);
    change(&mut row);
    let writes = vec![Write::Row(Arc::new(row))];
    let commit = Commit {
        task,
        expect,
        writes,
    };
    let [Ok(_)] = store.commit(&[commit]).unwrap()[..] else {
        panic!("nobody else writes");
    };
}

/// What a handler saw of the end of its turn.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Told {
    /// How long it had run.
    pub(crate) after: Duration,
    /// The causes when its signal was set.
    pub(crate) causes: Option<Causes>,
}

/// What handlers of a test share: they come, are told, and go.
#[derive(Debug, Clone)]
pub(crate) struct Stage {
    pub(crate) gate: Gate,
    pub(crate) told: outlive_tests::gate::Notes<Told>,
    pub(crate) gone: Drops,
}

impl Stage {
    pub(crate) fn new() -> Stage {
        Stage {
            gate: Gate::closed(),
            told: outlive_tests::gate::Notes::default(),
            gone: Drops::default(),
        }
    }

    /// Comes, waits for its signal, notes it, and then does `then`; a guard tells when the future is gone.
    pub(crate) async fn play<T>(&self, ctx: &Ctx, then: impl Future<Output = T>) -> T {
        let (_guard, began) = (self.gone.guard(), Instant::now());
        self.gate.arrive();
        ctx.cancelled().await;
        self.told.add(Told {
            after: began.elapsed(),
            causes: ctx.cause(),
        });
        then.await
    }

    /// A handler that hears its signal and goes on for ever.
    pub(crate) fn deaf<I: serde::de::DeserializeOwned + Send + 'static>(
        &self,
        builder: Builder,
        def: TaskDef<I, u32>,
    ) -> Builder {
        let stage = self.clone();
        builder.task(def, move |ctx: Ctx, _: I| {
            let stage = stage.clone();
            async move {
                stage.play(&ctx, std::future::pending::<()>()).await;
                Ok::<u32, HandlerError>(0)
            }
        })
    }

    /// A handler that hears its signal and then ends with what `end` makes.
    pub(crate) fn ending<R>(
        &self,
        builder: Builder,
        def: TaskDef<u32, u32>,
        end: impl Fn(Ctx) -> Result<R, HandlerError> + Clone + Send + Sync + 'static,
    ) -> Builder
    where
        R: Into<outlive::Reply<u32>> + Send + 'static,
    {
        let stage = self.clone();
        builder.task(def, move |ctx: Ctx, _| {
            let (stage, end) = (stage.clone(), end.clone());
            async move {
                stage.play(&ctx, std::future::ready(())).await;
                end(ctx)
            }
        })
    }
}
