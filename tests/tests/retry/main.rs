//! Failed attempts: when they are tried again, how often, by whose word, and what a crash leaves of that.

mod after_end;
mod budget;
mod policies;
mod predicates;
mod runs;
mod said;

use outlive::{Ctx, Engine, HandlerError, RetryPolicy, Snapshot, TaskDef};
use outlive_tests::gate::Notes;
use outlive_tests::play::Act;
use std::future::Ready;
use tokio::time::Instant;

pub(crate) type Def = TaskDef<Act, String>;

/// The task of most tests.
pub(crate) const ID: &str = "the-task";
/// Never succeeds.
pub(crate) const FAILING: TaskDef<(), ()> = TaskDef::new("failing");
/// To the millisecond.
pub(crate) const EXACT: RetryPolicy = RetryPolicy::exponential().jitter(false);

/// When the handler was entered.
pub(crate) type Times = Notes<Instant>;

/// A handler that only notes when it was entered.
pub(crate) fn failing(
    times: &Times,
) -> impl Fn(Ctx, ()) -> Ready<Result<(), HandlerError>> + Send + Sync + 'static {
    let times = times.clone();
    move |_, ()| {
        times.add(Instant::now());
        std::future::ready(Err("no".into()))
    }
}

/// The seconds between the entries.
pub(crate) fn delays(times: &Times) -> Vec<f64> {
    let times = times.take();
    let pairs = times.windows(2);
    pairs
        .map(|pair| (pair[1] - pair[0]).as_secs_f64())
        .collect()
}

/// The engine wakes a little after a deadline, never before it.
#[track_caller]
pub(crate) fn assert_delays(found: &[f64], expected: &[f64]) {
    let close = (found.iter().zip(expected)).all(|(found, expected)| {
        let late = found - expected;
        (0.0..0.01).contains(&late)
    });
    assert!(
        close && found.len() == expected.len(),
        "{found:?} is not {expected:?}"
    );
}

pub(crate) async fn task(engine: &Engine) -> Snapshot {
    let found = engine.get(ID).await.expect("the store answers");
    found.expect("there is such a task")
}
