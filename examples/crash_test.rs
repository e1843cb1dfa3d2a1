//! A test of a task of one's own: killed at each of its commits, a payment outside of a step is found to be made twice, and
//! one in a step, under a key, is not.

use outlive::testing::{CrashTest, Effects, Failure, Problem, Report};
use outlive::{Ctx, HandlerError, RetryPolicy, StepOptions, TaskDef};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::io;

const PAY: TaskDef<Invoice, String> = TaskDef::new("pay").retry(RetryPolicy::exponential());

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Invoice {
    number: String,
    cents: u64,
}

/// Pays, and forgets it with its process.
async fn careless(ctx: Ctx, invoice: Invoice, bank: Effects) -> Result<String, HandlerError> {
    let checked = ctx.step("check", || async { Ok::<_, io::Error>(invoice.cents > 0) });
    if !checked.await? {
        return Err(HandlerError::terminal("nothing to pay"));
    }
    bank.record(format!("{} paid", invoice.number));
    Ok(format!("{} cents", invoice.cents))
}

/// Pays in a step, under the key that the step has in every try. The bank knows a key that it has seen.
async fn careful(ctx: Ctx, invoice: Invoice, bank: Effects) -> Result<String, HandlerError> {
    let checked = ctx.step("check", || async { Ok::<_, io::Error>(invoice.cents > 0) });
    if !checked.await? {
        return Err(HandlerError::terminal("nothing to pay"));
    }
    let paid = ctx.step_with("pay", StepOptions::new(), |s| {
        bank.record_once(s.effect_id(), format!("{} paid", invoice.number));
        async { Ok::<_, io::Error>(format!("{} cents", invoice.cents)) }
    });
    Ok(paid.await?)
}

/// The test, in whichever way the handler pays.
fn tested<F>(handler: fn(Ctx, Invoice, Effects) -> F) -> Result<Report, Box<Failure>>
where
    F: Future<Output = Result<String, HandlerError>> + Send + 'static,
{
    let invoice = Invoice {
        number: "2041".to_owned(),
        cents: 1_200,
    };
    CrashTest::new(Effects::new)
        .engine(|builder, bank| {
            let bank = bank.clone();
            builder.task(PAY, move |ctx, invoice| handler(ctx, invoice, bank.clone()))
        })
        .script(async |engine, _| {
            // As a program that is started again: the same ids.
            let run = engine.start(PAY, "2041", &invoice).input_id("once").await?;
            Ok(run.result().await?)
        })
        .check(|bank, _| match bank.count("2041 paid") {
            1 => Ok(()),
            times => Err(format!("2041 was paid {times} times")),
        })
        .double_crashes(20)
        .try_run()
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("a payment outside of a step:\n");
    let failure = tested(careless).err().ok_or("a double payment is found")?;
    println!("{failure}\n");
    assert_eq!(
        failure.problem,
        Problem::Check("2041 was paid 2 times".to_owned())
    );
    println!("a payment in a step, under its key:\n");
    let report = tested(careful)?;
    println!("{report}");
    assert_eq!(report.cases, 2 * report.commits.len());
    Ok(())
}
