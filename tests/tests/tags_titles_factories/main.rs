//! Title, description and tags: fixed, made by factories or said by a call; once, within limits, and never the engine's.

mod factories;
mod limits;

use outlive::{
    Builder, Ctx, Engine, HandlerError, Snapshot, Start, TASK_TAG, TaskDef, TaskOptions,
};
use std::collections::BTreeMap;

pub(crate) const PLAIN: TaskDef<String, String> = TaskDef::new("task");
pub(crate) const FIXED: TaskDef<String, String> = PLAIN
    .title("of the definition")
    .description("what it is about")
    .tags(&[("team", "blue"), ("kind", "fixed")]);

pub(crate) type Pairs = Vec<(String, String)>;

pub(crate) async fn echo(_: Ctx, text: String) -> Result<String, HandlerError> {
    Ok(text)
}

pub(crate) fn memory() -> Builder {
    Engine::in_memory().task(FIXED, echo)
}

pub(crate) async fn open(builder: Builder) -> Engine {
    let engine = builder.open().await.unwrap();
    engine.recovery().await;
    engine
}

/// Starts the task `a` as `say` says, and looks at it.
pub(crate) async fn started(
    engine: &Engine,
    say: impl Fn(Start<String>) -> Start<String>,
) -> Snapshot {
    let start = engine.start(PLAIN, "a", &"text".to_owned());
    let run = say(start).await.unwrap();
    run.refresh().await.unwrap()
}

pub(crate) fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = pairs
        .iter()
        .map(|(key, value)| ((*key).into(), (*value).into()));
    owned.collect()
}

pub(crate) fn pairs(pairs: &[(&str, &str)]) -> Pairs {
    tags(pairs).into_iter().collect()
}

#[tokio::test(start_paused = true)]
async fn what_the_definition_says_is_said_of_each_task() {
    let engine = open(memory()).await;
    let task = started(&engine, |start| start).await;
    assert_eq!(task.title.as_deref(), Some("of the definition"));
    assert_eq!(task.description.as_deref(), Some("what it is about"));
    let expected = [("team", "blue"), ("kind", "fixed"), (TASK_TAG, "task")];
    assert_eq!(task.tags, tags(&expected));
}

#[tokio::test(start_paused = true)]
async fn without_a_word_there_is_nothing_but_the_engines_tag() {
    let engine = open(Engine::in_memory().task(PLAIN, echo)).await;
    let task = started(&engine, |start| start).await;
    assert_eq!((task.title, task.description), (None, None));
    assert_eq!(task.tags, tags(&[(TASK_TAG, "task")]));
}

#[tokio::test(start_paused = true)]
async fn a_variant_replaces_what_the_definition_says() {
    const VARIANT: TaskOptions = TaskOptions::new()
        .title("variant")
        .tags(&[("kind", "variant")]);
    let engine = open(memory()).await;
    let start = engine.start(FIXED.with(VARIANT), "a", &String::new());
    let task = start.await.unwrap().refresh().await.unwrap();
    assert_eq!(task.title.as_deref(), Some("variant"));
    assert_eq!(
        task.description.as_deref(),
        Some("what it is about"),
        "of which it says nothing"
    );
    assert_eq!(task.tags, tags(&[("kind", "variant"), (TASK_TAG, "task")]));
}

#[tokio::test(start_paused = true)]
async fn a_call_replaces_texts_and_merges_tags() {
    let engine = open(memory()).await;
    let task = started(&engine, |start| {
        let start = start.title("of the call").description("here");
        start.tag("kind", "call").tag("user", "7").tag("user", "8")
    })
    .await;
    assert_eq!(task.title.as_deref(), Some("of the call"));
    assert_eq!(task.description.as_deref(), Some("here"));
    let expected = [
        ("team", "blue"),
        ("kind", "call"),
        ("user", "8"),
        (TASK_TAG, "task"),
    ];
    assert_eq!(task.tags, tags(&expected));
}
