//! A refund that waits for somebody's decision, for days if need be: between the request and the decision no process
//! runs.

use outlive::{
    Ctx, Ended, Engine, Entry, HandlerError, OpenError, Reply, StartError, Status, TaskDef,
    WaitReason,
};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::path::Path;
use std::time::Duration;

const REFUND: TaskDef<Said, Refund> = TaskDef::new("refund");

/// What reaches the task: first a request, then a decision about it. Each is an input, and each input is a turn.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Said {
    Request { order: String, cents: u64 },
    Decision { approved: bool, by: String },
}

/// What the task answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Refund {
    Asked,
    Paid { order: String, cents: u64 },
    Declined { by: String },
}

async fn refund(ctx: Ctx, said: Said) -> Result<Reply<Refund>, HandlerError> {
    match said {
        Said::Request { order, cents } => {
            // Entered once for the request, and again whenever somebody resumes the task without a decision.
            let what = match ctx.entry() {
                Entry::Resumed => "reminder",
                _ => "request",
            };
            let asked = ctx.metadata().increment("asked", 1)?;
            println!("  mail {asked} ({what}): pay {cents} cents back for {order}?");
            // The task costs a few hundred bytes of disk while it waits, and nothing else.
            Ok(Reply::suspend(Refund::Asked, "a decision"))
        }
        Said::Decision { approved, by } => {
            // What was asked for is the input of the turn before: the person who decides need not repeat it.
            let Some(Said::Request { order, cents }) = ctx.previous_input()? else {
                return Err(HandlerError::terminal("a decision about nothing"));
            };
            if !approved {
                return Ok(Refund::Declined { by }.into());
            }
            // Both ids are the same after every crash, so a payment under this key is made once.
            println!("  paid under the key {}/{}", ctx.id(), ctx.input_id());
            Ok(Refund::Paid { order, cents }.into())
        }
    }
}

/// What a program does whenever it is started.
async fn open(store: &Path) -> Result<Engine, OpenError> {
    Engine::builder(store).task(REFUND, refund).open().await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let store = directory.path().join("approval.redb");
    monday(&store).await?;
    tuesday(&store).await?;
    thursday(&store).await
}

fn request(order: &str, cents: u64) -> Said {
    let order = order.to_owned();
    Said::Request { order, cents }
}

fn decision(approved: bool) -> Said {
    let by = "ada".to_owned();
    Said::Decision { approved, by }
}

/// Three customers want their money back. Nobody is there to decide, and the program ends.
async fn monday(store: &Path) -> Result<(), Box<dyn Error>> {
    println!("monday:");
    let engine = open(store).await?;
    for (id, order, cents) in [("r-1", "17", 2500), ("r-2", "18", 900), ("r-3", "19", 100)] {
        let run = engine.start(REFUND, id, &request(order, cents));
        let outcome = run.input_id("request").await?.outcome().await?;
        assert!(outcome.is_suspended());
        assert_eq!(outcome.reason(), Some("a decision"));
    }
    engine.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

/// The program runs again. All requests wait as before; one is asked about once more, one is withdrawn.
async fn tuesday(store: &Path) -> Result<(), Box<dyn Error>> {
    println!("tuesday:");
    let engine = open(store).await?;
    let task = engine.get("r-1").await?.ok_or("the task is there")?;
    assert_eq!(task.status, Status::Suspended);
    let waits = task.wait;
    assert!(matches!(&waits, Some(WaitReason::Input { reason }) if &**reason == "a decision"));
    println!("  r-1 is {} and waits for a decision", task.status);

    // A further turn without an input of its own.
    let reminded = engine.resume(REFUND, "r-1").await?;
    assert_eq!(reminded.result().await?, Refund::Asked);

    engine.cancel("r-3", "the customer keeps it").await?;
    // The request's own answer was "asked", and stays so; how the task ended is told by the task.
    let task = engine.get("r-3").await?.ok_or("the task is kept")?;
    let Some(Ended::Cancelled { reason }) = task.ended else {
        panic!("a task that waits ends at once: {:?}", task.ended);
    };
    println!("  r-3 is cancelled: {reason}");
    engine.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

/// The decisions are there.
async fn thursday(store: &Path) -> Result<(), Box<dyn Error>> {
    println!("thursday:");
    let engine = open(store).await?;
    let decided = engine.start(REFUND, "r-1", &decision(true));
    let outcome = decided.input_id("decision").await?.outcome().await?;
    assert!(outcome.is_completed());
    assert_eq!(outcome.turn(), 3, "the request, the reminder, the decision");
    println!("  r-1: {:?}", outcome.output());

    // Whoever is not sure that a decision arrived gives it again, under the same id: nothing is paid twice.
    let again = engine.start(REFUND, "r-1", &decision(true));
    let again = again.input_id("decision").await?.result().await?;
    assert_eq!(&again, outcome.output());

    // Another decision comes too late.
    let late = engine.start(REFUND, "r-1", &decision(false)).await;
    let Err(StartError::Conflict { status, .. }) = late else {
        panic!("the task has ended: {late:?}");
    };
    println!("  r-1: a second decision is refused, the task is {status}");

    // A decision can be tied to what the person saw.
    let seen = engine.get("r-2").await?.ok_or("the task is there")?;
    let declined = engine.start(REFUND, "r-2", &decision(false));
    let declined = declined.if_etag(seen.etag).await?.result().await?;
    println!("  r-2: {declined:?}");
    engine.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
