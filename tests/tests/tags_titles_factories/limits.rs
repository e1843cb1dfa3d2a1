//! What is refused: the engine's own tags, texts that are too long, too many tags.

use crate::factories::FactoryClosed;
use crate::{PLAIN, echo, memory, open, pairs, started};
use outlive::{
    DESCRIPTION_MAX, Engine, FactsError, Start, StartError, TAG_KEY_MAX, TAG_VALUE_MAX, TAGS_MAX,
    TASK_TAG, TITLE_MAX, TaskDef, TaskId, TaskOptions,
};

/// Starts a task that must be refused, and looks that nothing was written.
async fn refused(
    engine: &Engine,
    def: TaskDef<String, String>,
    say: impl FnOnce(Start<String>) -> Start<String>,
) -> FactsError {
    let before = engine.list_all().limit(1).await.unwrap().tasks.len();
    let refused = say(engine.start(def, "a", &String::new())).await;
    let Err(StartError::Facts(error)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(engine.get("a").await.unwrap(), None);
    assert_eq!(
        engine.list_all().limit(1).await.unwrap().tasks.len(),
        before
    );
    error
}

#[track_caller]
fn assert_reserved(error: FactsError, expected: &str) {
    match error {
        FactsError::ReservedTag { key } if key == expected => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_engines_tags_are_refused_at_each_door() {
    const TAKEN: &[(&str, &str)] = &[("outlive.mine", "x")];
    let engine = open(memory()).await;
    for key in [TASK_TAG, "outlive.", "outlive.anything"] {
        let error = refused(&engine, PLAIN, |start| start.tag(key, "x")).await;
        assert_reserved(error, key);
    }
    let variant = PLAIN.with(TaskOptions::new().tags(TAKEN));
    assert_reserved(
        refused(&engine, variant, |start| start).await,
        "outlive.mine",
    );
    let options = TaskOptions::new().tags(TAKEN);
    assert_reserved(
        refused(&engine, PLAIN, |start| start.options(options)).await,
        "outlive.mine",
    );

    let engine = open(Engine::in_memory().task(PLAIN.tags(TAKEN), echo)).await;
    assert_reserved(refused(&engine, PLAIN, |start| start).await, "outlive.mine");
    let builder = memory().tags_by(PLAIN, |_: &String, _: &TaskId| {
        Ok::<_, FactoryClosed>(pairs(TAKEN))
    });
    let engine = open(builder).await;
    assert_reserved(refused(&engine, PLAIN, |start| start).await, "outlive.mine");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_only_looks_like_the_engines_is_the_users() {
    let engine = open(memory()).await;
    let task = started(&engine, |start| {
        start.tag("outlive", "a").tag("my.outlive.x", "b")
    })
    .await;
    assert_eq!(
        (
            task.tags["outlive"].as_str(),
            task.tags["my.outlive.x"].as_str()
        ),
        ("a", "b")
    );
}

#[track_caller]
fn assert_too_large(error: FactsError, what: &str, limit: usize) {
    match error {
        FactsError::TooLarge {
            what: found,
            size,
            limit: told,
        } => assert_eq!((found, size, told), (what, limit + 1, limit)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn texts_are_bounded_in_bytes() {
    let engine = open(memory()).await;
    let text = |len: usize| "é".repeat(len / 2) + if len % 2 == 1 { "x" } else { "" };
    let too_long = refused(&engine, PLAIN, |start| start.title(text(TITLE_MAX + 1))).await;
    assert_too_large(too_long, "title", 256);
    let too_long = refused(&engine, PLAIN, |start| {
        start.description(text(DESCRIPTION_MAX + 1))
    })
    .await;
    assert_too_large(too_long, "description", 1024);
    let too_long = refused(&engine, PLAIN, |start| {
        start.tag("key", text(TAG_VALUE_MAX + 1))
    })
    .await;
    assert_too_large(too_long, "tag value", 256);
    let task = started(&engine, |start| {
        let start = start
            .title(text(TITLE_MAX))
            .description(text(DESCRIPTION_MAX));
        start.tag("key", text(TAG_VALUE_MAX))
    })
    .await;
    assert_eq!(
        (task.title, task.tags["key"].len()),
        (Some(text(TITLE_MAX)), TAG_VALUE_MAX)
    );
    assert_eq!(task.description, Some(text(DESCRIPTION_MAX)));
}

#[tokio::test(start_paused = true)]
async fn texts_of_definitions_and_factories_are_bounded_as_well() {
    let long: &'static str = "x".repeat(DESCRIPTION_MAX + 1).leak();
    let engine = open(memory()).await;
    let said = refused(
        &engine,
        PLAIN.with(TaskOptions::new().title(&long[..TITLE_MAX + 1])),
        |s| s,
    );
    assert_too_large(said.await, "title", 256);
    assert_too_large(
        refused(&engine, PLAIN.description(long), |s| s).await,
        "description",
        1024,
    );
    let builder = memory().tags_by(PLAIN, |_: &String, _: &TaskId| {
        Ok::<_, FactoryClosed>(vec![("key".to_owned(), "x".repeat(TAG_VALUE_MAX + 1))])
    });
    assert_too_large(
        refused(&open(builder).await, PLAIN, |s| s).await,
        "tag value",
        256,
    );
}

#[tokio::test(start_paused = true)]
async fn the_key_of_a_tag_has_its_own_alphabet() {
    let engine = open(memory()).await;
    let long = "k".repeat(TAG_KEY_MAX + 1);
    for key in ["", "a b", "a=b", "a/b", "a:b", "é", "a\n", &long] {
        let error = refused(&engine, PLAIN, |start| start.tag(key, "x")).await;
        assert!(
            matches!(&error, FactsError::TagKey { key: found } if found == key),
            "{error:?}"
        );
    }
    let longest = "k".repeat(TAG_KEY_MAX);
    let task = started(&engine, |start| {
        start.tag("A-z_0.9", "").tag(longest.as_str(), "x")
    })
    .await;
    assert!(task.tags.contains_key("A-z_0.9") && task.tags.contains_key(&longest));
}

#[tokio::test(start_paused = true)]
async fn there_are_at_most_16_tags_and_the_engines_is_not_one_of_them() {
    let engine = open(memory()).await;
    let with = |start: Start<String>, count: usize| {
        (0..count).fold(start, |start, n| start.tag(format!("k{n}"), n.to_string()))
    };
    // Two are the definition's own.
    let error = refused(&engine, PLAIN, |start| with(start, TAGS_MAX - 1)).await;
    assert!(
        matches!(
            error,
            FactsError::TooManyTags {
                count: 17,
                limit: 16
            }
        ),
        "{error:?}"
    );
    let error = refused(&engine, PLAIN, |start| with(start, TAGS_MAX + 4)).await;
    assert!(
        matches!(error, FactsError::TooManyTags { limit: 16, .. }),
        "{error:?}"
    );
    let task = started(&engine, |start| with(start, TAGS_MAX - 2)).await;
    assert_eq!(
        (task.tags.len(), task.tags[TASK_TAG].as_str()),
        (17, "task")
    );
}
