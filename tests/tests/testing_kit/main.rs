//! The test kit finds what a crash can do to a task, finds nothing where there is nothing, and says the same each time.

mod bugs;
mod cases;
mod crashes;
mod ends;
mod pipeline;

use outlive::testing::{CrashTest, Effects};
use outlive::{Ctx, HandlerError, RetryPolicy, StepOptions, TaskDef};
use std::future::Future;
use std::io;
use std::time::Duration;

pub(crate) const PAY: TaskDef<u64, String> = TaskDef::new("pay").retry(
    RetryPolicy::fixed()
        .attempts(3)
        .initial(Duration::from_secs(60 * 60)),
);
pub(crate) const ID: &str = "invoice-7";

/// A test of one task under this handler, without a script.
pub(crate) fn under<F, Fut>(handler: F) -> CrashTest<'static, Effects>
where
    F: Fn(Ctx, u64, Effects) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<String, HandlerError>> + Send + 'static,
{
    CrashTest::new(Effects::new).engine(move |builder, bank| {
        let (bank, handler) = (bank.clone(), handler.clone());
        builder.task(PAY, move |ctx, cents| handler(ctx, cents, bank.clone()))
    })
}

/// The same with a script that waits for the task's result.
pub(crate) fn with<F, Fut>(handler: F) -> CrashTest<'static, Effects, String>
where
    F: Fn(Ctx, u64, Effects) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<String, HandlerError>> + Send + 'static,
{
    under(handler).script(async |engine, _| {
        let run = engine.start(PAY, ID, &100).input_id("once").await?;
        Ok(run.result().await?)
    })
}

/// The invoice is paid, and no more than that.
pub(crate) fn paid_once(bank: &Effects, _: &String) -> Result<(), String> {
    match bank.count("payment") {
        1 => Ok(()),
        count => Err(format!("{count} payments")),
    }
}

/// Pays outside of a step.
pub(crate) async fn careless(_: Ctx, _: u64, bank: Effects) -> Result<String, HandlerError> {
    bank.record("payment");
    Ok("paid".to_owned())
}

/// Pays in a step, to a bank that knows nothing of keys.
pub(crate) async fn recorded(ctx: Ctx, _: u64, bank: Effects) -> Result<String, HandlerError> {
    let pay = ctx.step("pay", || async {
        bank.record("payment");
        Ok::<_, io::Error>("paid".to_owned())
    });
    Ok(pay.await?)
}

/// Pays in a step, under a key; fails once before, and once after it.
pub(crate) async fn careful(ctx: Ctx, _: u64, bank: Effects) -> Result<String, HandlerError> {
    if ctx.attempt() == 1 {
        return Err("the bank is closed".into());
    }
    let pay = ctx.step_with("pay", StepOptions::new(), |s| {
        bank.record_once(s.effect_id(), "payment");
        async { Ok::<_, io::Error>("paid".to_owned()) }
    });
    let paid = pay.await?;
    if ctx.attempt() == 2 {
        return Err("the printer is out of paper".into());
    }
    Ok(paid)
}
