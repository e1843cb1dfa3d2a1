//! Tasks in every state there is, each listed, and each explained: what it waits for, since when, and what would make
//! it go on.

use outlive::{
    Builder, Ctx, Engine, HandlerError, Release, Reply, RetryPolicy, Status, TaskDef, WaitsFor,
};
use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::time::Duration;
use tokio::sync::Notify;

/// One at a time, so that others wait.
const PRINT: TaskDef<String, String> = TaskDef::new("print").concurrency(1).retry(
    RetryPolicy::fixed()
        .attempts(2)
        .initial(Duration::from_secs(3600)),
);
const ASK: TaskDef<String, String> = TaskDef::new("ask");
/// Of this one only an earlier version of the program had a handler.
const FAX: TaskDef<String, String> = TaskDef::new("fax");

/// Lets the page go that is being printed.
static PRINTED: Notify = Notify::const_new();

async fn print(ctx: Ctx, page: String) -> Result<String, HandlerError> {
    match page.as_str() {
        "jammed" => return Err("paper jam".into()),
        "torn" => return Err(HandlerError::terminal("the page is torn")),
        "long" => tokio::select! {
            () = PRINTED.notified() => {}
            () = ctx.cancelled() => return Err(HandlerError::cancelled()),
        },
        _ => {}
    }
    Ok(page)
}

async fn ask(_ctx: Ctx, question: String) -> Result<Reply<String>, HandlerError> {
    Ok(Reply::suspend(question, "somebody's answer"))
}

fn builder(store: &Path) -> Builder {
    Engine::builder(store).task(PRINT, print).task(ASK, ask)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let store = directory.path().join("list.redb");
    yesterday(&store).await?;
    let engine = builder(&store).open().await?;
    fill(&engine).await?;
    counted(&engine).await?;
    paged(&engine).await?;
    explained(&engine).await?;
    engine.shutdown(Duration::ZERO).await;
    Ok(())
}

/// An earlier version of the program leaves a fax behind.
async fn yesterday(store: &Path) -> Result<(), Box<dyn Error>> {
    let fax = |_: Ctx, text: String| async move { Ok::<_, HandlerError>(text) };
    let engine = builder(store).task(FAX, fax).open().await?;
    let later = engine.start(FAX, "fax", &"hello".to_owned());
    later.start_in(Duration::from_secs(1)).await?;
    engine.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

/// One task in each state. Pages that end at once go first, for one is printed at a time.
async fn fill(engine: &Engine) -> Result<(), Box<dyn Error>> {
    let page = |text: &str| text.to_owned();
    engine.run(PRINT, "printed", &page("short")).await?;
    let torn = engine.start(PRINT, "torn", &page("torn")).await?;
    assert!(torn.result().await.is_err());
    engine.start(PRINT, "jammed", &page("jammed")).await?;
    reaches(engine, "jammed", |waits| {
        matches!(waits, WaitsFor::BackOff { .. })
    })
    .await?;
    engine.start(PRINT, "printing", &page("long")).await?;
    reaches(engine, "printing", |waits| {
        matches!(waits, WaitsFor::TurnEnd { .. })
    })
    .await?;
    engine.start(PRINT, "in-line", &page("short")).await?;
    engine.start(PRINT, "given-up", &page("short")).await?;
    engine.cancel("given-up", "read on the screen").await?;
    let tonight = engine.start(PRINT, "tonight", &page("short"));
    tonight.start_in(Duration::from_secs(5 * 3600)).await?;
    engine
        .run(ASK, "question", &"colour or black?".to_owned())
        .await?;
    Ok(())
}

async fn reaches(
    engine: &Engine,
    id: &str,
    there: impl Fn(&WaitsFor) -> bool,
) -> Result<(), Box<dyn Error>> {
    loop {
        let explanation = engine.explain(id).await?.ok_or("the task is there")?;
        if there(&explanation.waits_for) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn counted(engine: &Engine) -> Result<(), Box<dyn Error>> {
    for (status, expected) in [
        (Status::Pending, 4),
        (Status::InProgress, 1),
        (Status::Suspended, 1),
        (Status::Completed, 3),
    ] {
        let tasks = engine.list_all().status(status).await?.tasks;
        let ids: Vec<&str> = tasks.iter().map(|task| task.id.as_str()).collect();
        println!("{status}: {}", ids.join(", "));
        assert_eq!(ids.len(), expected);
    }
    Ok(())
}

/// Pages stay right while tasks are added: a cursor is a place among the tasks, not a count of them.
async fn paged(engine: &Engine) -> Result<(), Box<dyn Error>> {
    let (mut seen, mut pages, mut after) = (Vec::new(), 0, None);
    loop {
        let page = engine.list(PRINT).after(after).limit(3).await?;
        seen.extend(page.tasks.into_iter().map(|task| task.id.to_string()));
        pages += 1;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    println!("{} print tasks on {pages} pages, newest first", seen.len());
    assert_eq!(seen.first().map(String::as_str), Some("tonight"));
    assert_eq!(seen.len(), 7);
    Ok(())
}

async fn explained(engine: &Engine) -> Result<(), Box<dyn Error>> {
    println!();
    let mut released = BTreeMap::new();
    for task in engine.list_all().await?.tasks {
        let explanation = engine.explain(&task.id).await?.ok_or("the task is there")?;
        // In words, for people; and as data, for programs.
        println!("{explanation}");
        released.insert(task.id.to_string(), explanation.release);
    }
    let expected = |id: &str, released: Option<&Release>| match id {
        "fax" => matches!(released, Some(Release::Handler)),
        "in-line" => matches!(released, Some(Release::Slot)),
        "jammed" | "tonight" => matches!(released, Some(Release::Time { .. })),
        "printing" => matches!(released, Some(Release::TurnEnd)),
        "question" => matches!(released, Some(Release::Input)),
        "torn" | "given-up" => matches!(released, Some(Release::Retry)),
        "printed" => matches!(released, Some(Release::Restart)),
        _ => false,
    };
    for (id, release) in &released {
        assert!(expected(id, Some(release)), "{id}: {release:?}");
    }
    assert_eq!(released.len(), 9);

    // What was said comes true: when the page that is printed is through, the next one is.
    PRINTED.notify_one();
    assert_eq!(
        engine.attach(PRINT, "in-line").await?.result().await?,
        "short"
    );
    println!("\nthe page in line was printed");
    Ok(())
}
