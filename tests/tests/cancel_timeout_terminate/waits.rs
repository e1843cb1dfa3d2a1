//! A task in each state in which no handler of it runs.

use crate::{on, opened, secs};
use outlive::{Ctx, Engine, HandlerError, Reply, RetryPolicy, Run, TaskDef, WaitReason};
use outlive_storage::MemStore;
use outlive_tests::gate::{Notes, until};
use std::sync::Arc;
use std::time::Duration;

/// What the handler does depends on the input.
pub(crate) const TASK: TaskDef<u32, u32> = TaskDef::new("task").retry(
    RetryPolicy::fixed()
        .attempts(9)
        .initial(LATER)
        .max(LATER)
        .jitter(false),
);
/// The same name with inputs that the handler cannot read.
const OTHER_INPUT: TaskDef<String, u32> = TaskDef::new("task");
const LATER: Duration = secs(3600);

/// Inputs by what the handler does with them.
const FAILS: u32 = 1;
const SUSPENDS: u32 = 2;
const RUNS: u32 = 3;

/// What a task waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waits {
    Delayed,
    ForASlot,
    InBackOff,
    ForInput,
    Parked,
}

impl Waits {
    pub(crate) const ALL: [Waits; 5] = [
        Waits::Delayed,
        Waits::ForASlot,
        Waits::InBackOff,
        Waits::ForInput,
        Waits::Parked,
    ];

    fn is(self, wait: &WaitReason) -> bool {
        match self {
            Waits::Delayed => matches!(wait, WaitReason::Delayed),
            Waits::ForASlot => matches!(wait, WaitReason::Slot),
            Waits::InBackOff => matches!(wait, WaitReason::BackOff),
            Waits::ForInput => matches!(wait, WaitReason::Input { .. }),
            Waits::Parked => matches!(wait, WaitReason::Undecodable { .. }),
        }
    }

    /// Whether the turn of the task's input is over: then its result stands, whatever becomes of the task.
    pub(crate) fn is_between_turns(self) -> bool {
        self == Waits::ForInput
    }
}

/// The task `a`, which waits.
pub(crate) struct Waiting {
    pub(crate) store: Arc<MemStore>,
    pub(crate) engine: Engine,
    pub(crate) run: Run<u32>,
    /// The inputs handlers were entered with.
    pub(crate) entered: Notes<u32>,
}

impl Waiting {
    pub(crate) async fn set_up(waits: Waits) -> Waiting {
        let (store, entered) = (Arc::new(MemStore::new()), Notes::default());
        let engine = engine(&store, &entered).await;
        let run = match waits {
            Waits::Delayed => engine.start(TASK, "a", &FAILS).start_in(LATER).await,
            Waits::ForASlot => {
                engine.start(TASK, "other", &RUNS).await.unwrap();
                engine.start(TASK, "a", &RUNS).await
            }
            Waits::InBackOff => engine.start(TASK, "a", &FAILS).await,
            Waits::ForInput => engine.start(TASK, "a", &SUSPENDS).await,
            Waits::Parked => engine.start(OTHER_INPUT, "a", &"text".to_owned()).await,
        };
        let run = run.unwrap();
        until(async || {
            let task = run.refresh().await.unwrap();
            task.wait.is_some_and(|wait| waits.is(&wait))
        })
        .await;
        Waiting {
            store,
            engine,
            run,
            entered,
        }
    }

    /// Long afterwards, and after another open, the handler of `a` was not entered again.
    pub(crate) async fn assert_rests(self) {
        let before = self.entered.take();
        let others = before.iter().filter(|input| **input == RUNS).count();
        tokio::time::sleep(LATER * 3).await;
        self.engine.shutdown(Duration::ZERO).await;
        let engine = engine(&self.store, &self.entered).await;
        tokio::time::sleep(LATER * 3).await;
        let after = self.entered.take();
        assert_eq!(
            after.len(),
            others,
            "only what ran beside it is recovered: {after:?}"
        );
        engine.shutdown(Duration::ZERO).await;
    }
}

async fn engine(store: &Arc<MemStore>, entered: &Notes<u32>) -> Engine {
    let entered = entered.clone();
    let builder = on(store).max_running(1).task(TASK, move |_: Ctx, input| {
        entered.add(input);
        async move {
            match input {
                FAILS => Err(HandlerError::from("no")),
                SUSPENDS => Ok(Reply::suspend(input, "more")),
                _ => std::future::pending().await,
            }
        }
    });
    opened(builder).await
}
