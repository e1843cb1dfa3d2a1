//! How a turn is told that it may want to end, by each of the five causes, and what its handler can make of it.

use outlive::{
    Causes, Ctx, Ended, Engine, Entry, HandlerError, OpenError, ResultError, Run, TaskDef,
};
use std::error::Error;
use std::path::Path;
use std::time::Duration;
use tokio::sync::Notify;

/// Reads pages until it is told to stop; then it hands in what it has.
const CRAWL: TaskDef<Wish, Pages> = TaskDef::new("crawl");
/// The same for at most 200 ms a turn. When the time is up, it has 300 ms to come to its end.
const CRAWL_BRIEFLY: TaskDef<Wish, Pages> = CRAWL.with(
    outlive::TaskOptions::new()
        .timeout(Duration::from_millis(200))
        .grace(Duration::from_millis(300)),
);
/// Takes a further wish while it works.
const GUIDED: TaskDef<Wish, Pages> = TaskDef::new("guided-crawl").steerable(1);
/// A blocking function, on a thread of its own: nobody can drop it.
const GRIND: TaskDef<Wish, Pages> = TaskDef::new("grind");

/// How many pages.
type Pages = u64;

/// What a handler does once it is told.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
enum Wish {
    HandIn,
    Agree,
    PayNoHeed,
}

const PAGE: Duration = Duration::from_millis(5);

async fn crawl(ctx: Ctx, wish: Wish) -> Result<Pages, HandlerError> {
    // A stop and a start lose no page that is in the metadata.
    let mut pages: Pages = ctx.metadata().get("pages")?.unwrap_or(0);
    if let Entry::Recovered { crashes } = ctx.entry() {
        println!("  entered again with {pages} pages, after {crashes} crashes");
        return Ok(pages);
    }
    while wish == Wish::PayNoHeed || ctx.cause().is_none() {
        tokio::time::sleep(PAGE).await; // a page is read
        pages += 1;
        ctx.metadata().set("pages", pages)?;
        if pages == 1 {
            // Others see metadata a second later at most, and this at once.
            ctx.flush_metadata().await?;
        }
    }
    // All causes so far; they add up.
    let causes = ctx.cause().unwrap_or_default();
    println!("  told: {}", named(&causes));
    if causes.shutdown() {
        // The turn is neither failed nor finished: it is left to the next open.
        ctx.flush_metadata().await?;
        ctx.exit_for_recovery().await?;
    }
    match wish {
        Wish::Agree => Err(HandlerError::cancelled()),
        Wish::HandIn | Wish::PayNoHeed => Ok(pages),
    }
}

/// Notified when the blocking function runs, and when it gives up.
static GRINDS: Notify = Notify::const_new();
static GAVE_UP: Notify = Notify::const_new();

fn grind(ctx: &Ctx) -> Result<Pages, HandlerError> {
    GRINDS.notify_one();
    // A blocking function has to ask; here for the news that its task was taken from it.
    while !ctx.cause().is_some_and(|causes| causes.lease_lost()) {
        std::thread::sleep(PAGE);
    }
    println!("  told: {}", named(&ctx.cause().unwrap_or_default()));
    GAVE_UP.notify_one();
    Ok(1) // Nobody hears it.
}

/// The causes in words.
fn named(causes: &Causes) -> String {
    let cancel = causes.cancel_requested();
    let cancel = cancel.map(|reason| format!("cancel requested ({reason})"));
    let named = [
        (causes.shutdown(), "shutdown"),
        (causes.timed_out(), "time-out"),
        (causes.steered(), "steered"),
        (causes.lease_lost(), "lease lost"),
    ];
    let named = named.into_iter().filter(|(is, _)| *is);
    let named = named.map(|(_, name)| name.to_owned());
    cancel
        .into_iter()
        .chain(named)
        .collect::<Vec<_>>()
        .join(", ")
}

async fn open(store: &Path) -> Result<Engine, OpenError> {
    Engine::builder(store)
        .task(CRAWL, crawl)
        .task(GUIDED, crawl)
        .blocking(GRIND, |ctx, _| grind(&ctx))
        .open()
        .await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let store = directory.path().join("cancel.redb");
    let engine = open(&store).await?;
    cancel(&engine).await?;
    time_out(&engine).await?;
    steer(&engine).await?;
    terminate(&engine).await?;
    shut_down(engine, &store).await
}

/// Waits until a page is read. A task that was cancelled before its handler ran would end without it.
async fn reads<O>(run: &Run<O>) -> Result<(), Box<dyn Error>> {
    while run.metadata().await?.is_empty() {
        tokio::time::sleep(PAGE).await;
    }
    Ok(())
}

async fn cancel(engine: &Engine) -> Result<(), Box<dyn Error>> {
    println!("cancelled by somebody, with a reason:");
    let run = engine.start(CRAWL, "partial", &Wish::HandIn).await?;
    reads(&run).await?;
    engine.cancel("partial", "enough").await?;
    let pages = run.result().await?;
    println!("  it hands in {pages} pages: a reply counts, also after a cancel");

    let run = engine.start(CRAWL, "agreed", &Wish::Agree).await?;
    reads(&run).await?;
    run.cancel("not needed any more").await?;
    let Err(ResultError::Cancelled { reason }) = run.result().await else {
        panic!("the handler agreed");
    };
    println!("  it agrees, and has no result: {reason}");
    Ok(())
}

async fn time_out(engine: &Engine) -> Result<(), Box<dyn Error>> {
    println!("a turn that takes longer than it may:");
    let run = engine
        .start(CRAWL_BRIEFLY, "in-time", &Wish::HandIn)
        .await?;
    assert!(run.result().await? > 0);
    println!("  it hands in what it has, within the grace");

    let run = engine
        .start(CRAWL_BRIEFLY, "too-late", &Wish::PayNoHeed)
        .await?;
    let Err(ResultError::Terminated {
        reason,
        timed_out: true,
    }) = run.result().await
    else {
        panic!("the handler pays no heed");
    };
    println!("  it pays no heed, and is dropped when the grace is over: {reason}");
    Ok(())
}

async fn steer(engine: &Engine) -> Result<(), Box<dyn Error>> {
    println!("steered by a further input:");
    let first = engine.start(GUIDED, "guided", &Wish::HandIn).await?;
    let second = engine.start(GUIDED, "guided", &Wish::Agree).await?;
    let outcome = first.outcome().await?;
    assert!(second.is_queued() && outcome.is_superseded());
    println!(
        "  the first turn makes way, with {} pages",
        outcome.output()
    );
    engine.cancel("guided", "seen enough").await?;
    assert!(matches!(
        second.result().await,
        Err(ResultError::Cancelled { .. })
    ));
    Ok(())
}

async fn terminate(engine: &Engine) -> Result<(), Box<dyn Error>> {
    println!("terminated, without asking the handler:");
    let run = engine.start(GRIND, "grind", &Wish::PayNoHeed).await?;
    GRINDS.notified().await;
    run.terminate("the machine is needed").await?;
    let Err(ResultError::Terminated {
        reason,
        timed_out: false,
    }) = run.result().await
    else {
        panic!("the task ends at once");
    };
    let task = run.refresh().await?;
    assert!(matches!(task.ended, Some(Ended::Terminated { .. })));
    println!("  the task has ended: {reason}");
    GAVE_UP.notified().await;
    Ok(())
}

async fn shut_down(engine: Engine, store: &Path) -> Result<(), Box<dyn Error>> {
    println!("the engine shuts down:");
    let run = engine.start(CRAWL, "for-later", &Wish::HandIn).await?;
    reads(&run).await?;
    let report = engine.shutdown(Duration::from_secs(5)).await;
    assert_eq!(report.still_running, 0);

    let engine = open(store).await?;
    let pages = engine.attach(CRAWL, "for-later").await?.result().await?;
    assert!(pages > 0);
    println!("  no page was lost, and no attempt was charged");
    engine.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
