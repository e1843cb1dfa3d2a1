//! Factories: they make what is said of a task from its input and its id, once, when it is created.

use crate::{FIXED, PLAIN, Pairs, memory, open, pairs, started, tags};
use outlive::{
    Accepted, Builder, Ctx, Engine, FactsError, HandlerError, OpenError, Reply, RetryPolicy, Run,
    StartError, TASK_TAG, TITLE_MAX, TaskDef, TaskId,
};
use outlive_storage::MemStore;
use outlive_tests::gate::Notes;
use std::sync::Arc;
use std::time::Duration;

/// Factories that note each of their calls, and make values nobody could make twice.
fn with_factories(builder: Builder, calls: &Notes<String>) -> Builder {
    let [of_title, of_description, of_tags] = [(); 3].map(|()| calls.clone());
    builder
        .title_by(PLAIN, move |input: &String, id: &TaskId| {
            of_title.add(format!("title {id}"));
            Ok::<_, FactoryClosed>(format!("{input} of {id}, {}", of_title.len()))
        })
        .description_by(PLAIN, move |input: &String, _: &TaskId| {
            of_description.add("description".into());
            Ok::<_, FactoryClosed>(input.to_uppercase())
        })
        .tags_by(PLAIN, move |input: &String, _: &TaskId| {
            of_tags.add("tags".into());
            Ok::<_, FactoryClosed>(pairs(&[
                ("kind", "made"),
                ("len", &input.len().to_string()),
            ]))
        })
}

#[derive(Debug, thiserror::Error)]
#[error("the factory is closed")]
pub(crate) struct FactoryClosed;

#[tokio::test(start_paused = true)]
async fn what_factories_make_comes_over_the_definition_and_under_the_call() {
    let engine = open(with_factories(memory(), &Notes::default())).await;
    let task = started(&engine, |start| {
        start.tag("len", "mine").description("mine")
    })
    .await;
    assert_eq!(task.title.as_deref(), Some("text of a, 1"));
    assert_eq!(task.description.as_deref(), Some("mine"));
    let expected = [
        ("team", "blue"),
        ("kind", "made"),
        ("len", "mine"),
        (TASK_TAG, "task"),
    ];
    assert_eq!(task.tags, tags(&expected));
}

#[tokio::test(start_paused = true)]
async fn a_factory_sees_the_id_a_task_is_given() {
    let engine = open(with_factories(memory(), &Notes::default())).await;
    let run = engine.start(PLAIN, (), &"text".to_owned()).await.unwrap();
    let title = run.refresh().await.unwrap().title;
    assert_eq!(title, Some(format!("text of {}, 1", run.id())));
}

#[tokio::test(start_paused = true)]
async fn a_value_of_the_call_needs_no_factory() {
    let calls = Notes::default();
    let engine = open(with_factories(memory(), &calls)).await;
    started(&engine, |start| start.title("mine").description("mine")).await;
    assert_eq!(calls.take(), ["tags"]);
}

/// A handler that suspends, fails once a turn, and says what it was told of its task.
fn telling(builder: Builder) -> Builder {
    let retry = RetryPolicy::fixed().initial(Duration::ZERO);
    builder.task(
        PLAIN.steerable(9).retry(retry),
        |ctx: Ctx, _: String| async move {
            if ctx.attempt() == 1 {
                return Err("again".into());
            }
            let tags: Vec<_> = ctx
                .tags()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            let (title, description) =
                (ctx.title().unwrap_or("-"), ctx.description().unwrap_or("-"));
            let told = format!("{title}; {description}; {}", tags.join(" "));
            Ok::<_, HandlerError>(Reply::suspend(told, "more"))
        },
    )
}

#[tokio::test(start_paused = true)]
async fn what_was_made_at_creation_holds_through_attempts_turns_and_opens() {
    let (store, calls) = (Arc::new(MemStore::new()), Notes::default());
    let on = || Engine::on_store(Arc::<MemStore>::clone(&store)).inline();
    let engine = open(with_factories(telling(on()), &calls)).await;
    let first = engine.run(PLAIN, "a", &"text".to_owned()).await.unwrap();
    assert_eq!(
        first, "text of a, 1; TEXT; kind=made len=4",
        "the engine's tag is its name"
    );
    assert_eq!(calls.take().len(), 3);
    engine.shutdown(Duration::ZERO).await;

    // Another program: other fixed values, no factories.
    let engine = open(telling(
        on().task(TaskDef::<u8, u8>::new("other"), |_: Ctx, n| async move {
            Ok::<_, HandlerError>(n)
        }),
    ))
    .await;
    let start = engine
        .start(PLAIN, "a", &"longer".to_owned())
        .title("new")
        .tag("new", "tag");
    let second = start.await.unwrap().result().await.unwrap();
    assert_eq!(second, first);
    let task = engine.get("a").await.unwrap().unwrap();
    assert_eq!(
        (task.turn, task.title.as_deref()),
        (2, Some("text of a, 1"))
    );
    assert!(calls.is_empty());
}

/// One factory of the three that fails.
fn failing(what: &str, builder: Builder) -> Builder {
    let fails = |_: &String, _: &TaskId| Err::<String, _>(FactoryClosed);
    match what {
        "title" => builder.title_by(PLAIN, fails),
        "description" => builder.description_by(PLAIN, fails),
        _ => builder.tags_by(PLAIN, |_: &String, _: &TaskId| {
            Err::<Pairs, _>(FactoryClosed)
        }),
    }
}

#[tokio::test(start_paused = true)]
async fn the_error_of_a_factory_goes_to_the_caller_and_no_task_exists() {
    for what in ["title", "description", "tags"] {
        let entered = Notes::default();
        let notes = entered.clone();
        let builder = Engine::in_memory().task(FIXED, move |_: Ctx, text: String| {
            notes.add(());
            async move { Ok::<_, HandlerError>(text) }
        });
        let engine = open(failing(what, builder)).await;
        let refused = engine.start(PLAIN, "a", &"text".to_owned()).await;
        match refused {
            Err(StartError::Facts(FactsError::Factory { what: found, error })) => {
                assert_eq!(found, what);
                assert!(error.is::<FactoryClosed>(), "its own error: {error:?}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(engine.get("a").await.unwrap(), None);
        let many = engine
            .start_many(PLAIN, [("b", String::new()), ("c", String::new())])
            .await;
        assert!(many.iter().all(Result::is_err) && many.len() == 2);
        assert!(entered.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_exists_needs_no_factory() {
    let long = |builder: Builder| {
        builder.title_by(PLAIN, |_: &String, _: &TaskId| {
            Ok::<_, FactoryClosed>("x".repeat(TITLE_MAX + 1))
        })
    };
    let reserved = |builder: Builder| {
        builder.tags_by(PLAIN, |_: &String, _: &TaskId| {
            Ok::<_, FactoryClosed>(pairs(&[(TASK_TAG, "x")]))
        })
    };
    let fails = |builder| failing("title", builder);
    let broken: [&dyn Fn(Builder) -> Builder; 3] = [&fails, &long, &reserved];
    for breaks in broken {
        let store = Arc::new(MemStore::new());
        let on = || telling(Engine::on_store(Arc::<MemStore>::clone(&store)).inline());
        let engine = open(on()).await;
        let first = engine
            .start(PLAIN, "a", &"1".to_owned())
            .input_id("first")
            .await
            .unwrap();
        first.result().await.unwrap();
        engine.shutdown(Duration::ZERO).await;

        let engine = open(breaks(on())).await;
        let again = engine
            .start(PLAIN, "a", &"1".to_owned())
            .input_id("first")
            .await
            .unwrap();
        assert_eq!(again.accepted(), Some(Accepted::Attached));
        let resumed: Run<String> = engine.start(PLAIN, "a", &"2".to_owned()).await.unwrap();
        assert_eq!(resumed.accepted(), Some(Accepted::Resumed));
        resumed.result().await.unwrap();
        let refused = engine.start(PLAIN, "b", &"1".to_owned()).await;
        assert!(matches!(refused, Err(StartError::Facts(_))), "{refused:?}");
        assert_eq!(engine.get("b").await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_factory_needs_a_registered_definition() {
    let no_handler = |builder: Builder| async move {
        let opened = builder.open().await;
        assert!(
            matches!(opened, Err(OpenError::NoHandler { name: "task" })),
            "{opened:?}"
        );
    };
    let of_text = |_: &String, _: &TaskId| Ok::<_, FactoryClosed>(String::new());
    no_handler(Engine::in_memory().title_by(PLAIN, of_text)).await;
    no_handler(
        Engine::in_memory()
            .description_by(PLAIN, of_text)
            .task(PLAIN, crate::echo),
    )
    .await;
    let of_tags = |_: &String, _: &TaskId| Ok::<_, FactoryClosed>(Pairs::new());
    no_handler(Engine::in_memory().tags_by(PLAIN, of_tags)).await;
}
