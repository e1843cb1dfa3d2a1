//! Whose task is this, and what is it about? What a task says of its origin, and tasks found by it.

use outlive::{
    Builder, Ctx, Engine, FactsError, HandlerError, Index, List, StartError, TASK_TAG, TaskDef,
};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::error::Error;
use std::path::Path;
use std::time::Duration;

/// Tasks of this definition are found by session, by owner and by topic without looking at the others: one more
/// index entry each.
const WRITE: TaskDef<Wish, String> = TaskDef::new("write-article")
    .description("Writes one article for the paper of tomorrow.")
    .tags(&[("desk", "news"), ("language", "en")])
    .index(&[Index::Session, Index::Owner, Index::Tag("topic")]);

#[derive(Debug, Serialize, Deserialize)]
struct Wish {
    topic: String,
    words: u32,
}

async fn write(ctx: Ctx, wish: Wish) -> Result<String, HandlerError> {
    // The handler sees the same as everybody else.
    let session = ctx.session().unwrap_or("no session");
    let title = ctx.title().unwrap_or_default();
    Ok(format!(
        "{} words: {title} ({}, {session})",
        wish.words,
        ctx.owner()
    ))
}

/// A title is made once, when the task is created, and stored. A factory that fails tells the caller, and there is no
/// task.
fn title(wish: &Wish) -> Result<String, String> {
    if wish.words == 0 {
        return Err("an article needs words".to_owned());
    }
    Ok(format!("About {}", wish.topic))
}

fn builder(store: &Path) -> Builder {
    Engine::builder(store)
        .task(WRITE, write)
        .title_by(WRITE, |wish, _id| title(wish))
        .tags_by(WRITE, |wish, _id| {
            let topic = ("topic".to_owned(), wish.topic.clone());
            Ok::<_, Infallible>(vec![topic])
        })
}

fn wish(topic: &str) -> Wish {
    let (topic, words) = (topic.to_owned(), 800);
    Wish { topic, words }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let store = directory.path().join("provenance.redb");
    // Two programs, one after the other: the owner is the program's name unless it says another.
    let night = builder(&store).owner("night-desk").session("monday");
    fill(&night.open().await?).await?;
    let day = builder(&store).owner("day-desk").session("tuesday");
    let engine = day.open().await?;
    engine.run(WRITE, "d-1", &wish("weather")).await?;

    shown(&engine).await?;
    refused(&engine).await?;
    found(&engine).await?;
    engine.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

async fn fill(engine: &Engine) -> Result<(), Box<dyn Error>> {
    engine.run(WRITE, "n-1", &wish("weather")).await?;
    engine.run(WRITE, "n-2", &wish("harbour")).await?;
    // A call may say it all in its own words.
    let extra = engine
        .start(WRITE, "n-3", &wish("harbour"))
        .title("Storm over the harbour")
        .description("Front page.")
        .tag("desk", "front")
        .session("monday-extra")
        .await?;
    println!("n-3 returned: {}", extra.result().await?);
    engine.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

async fn shown(engine: &Engine) -> Result<(), Box<dyn Error>> {
    let task = engine.get("n-3").await?.ok_or("the task is kept")?;
    println!("n-3: {:?}, {:?}", task.title, task.description);
    println!("  owner {}, session {:?}", task.owner, task.session);
    println!("  source {:?}", task.source);
    println!("  tags {:?}", task.tags);
    assert_eq!(
        (task.owner.as_str(), task.session.as_deref()),
        ("night-desk", Some("monday-extra"))
    );
    // The stamp says what created the task. It is written once, by the engine alone.
    assert_eq!(
        (task.source.kind, task.source.name.as_str()),
        ("outlive.task", WRITE.name())
    );
    // The call's tags over the factory's over the definition's, and the name of the definition.
    let tags = task
        .tags
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()));
    let expected = [
        ("desk", "front"),
        ("language", "en"),
        (TASK_TAG, "write-article"),
        ("topic", "harbour"),
    ];
    assert!(tags.eq(expected));
    Ok(())
}

async fn refused(engine: &Engine) -> Result<(), Box<dyn Error>> {
    let forged = engine
        .start(WRITE, "x-1", &wish("art"))
        .tag(TASK_TAG, "another")
        .await;
    assert!(matches!(
        forged,
        Err(StartError::Facts(FactsError::ReservedTag { .. }))
    ));
    let nothing = Wish {
        words: 0,
        ..wish("art")
    };
    let empty = engine.start(WRITE, "x-2", &nothing).await;
    let Err(StartError::Facts(error @ FactsError::Factory { .. })) = empty else {
        panic!("the factory refuses: {empty:?}");
    };
    println!("x-2 was not started: {error}");
    assert!(engine.get("x-1").await?.is_none() && engine.get("x-2").await?.is_none());
    Ok(())
}

async fn found(engine: &Engine) -> Result<(), Box<dyn Error>> {
    let by_session = engine.list(WRITE).session("monday").await?;
    assert_eq!(ids("of the session monday", &by_session), ["n-2", "n-1"]);
    let by_owner = engine.list(WRITE).owner("day-desk").await?;
    assert_eq!(ids("of the day desk", &by_owner), ["d-1"]);
    let by_topic = engine.list(WRITE).tag("topic", "weather").await?;
    assert_eq!(ids("about the weather", &by_topic), ["d-1", "n-1"]);
    // Conditions add up, and what has no index is found by looking at each task.
    let by_both = engine
        .list(WRITE)
        .tag("topic", "harbour")
        .tag("desk", "front")
        .await?;
    assert_eq!(
        ids("about the harbour, for the front page", &by_both),
        ["n-3"]
    );
    let by_name = engine.list_all().tag(TASK_TAG, WRITE.name()).await?;
    assert_eq!(
        ids("of the definition", &by_name),
        ["d-1", "n-3", "n-2", "n-1"]
    );
    Ok(())
}

/// Newest first.
fn ids<'a>(what: &str, list: &'a List) -> Vec<&'a str> {
    let ids: Vec<&str> = list.tasks.iter().map(|task| task.id.as_str()).collect();
    println!("{what}: {}", ids.join(", "));
    ids
}
