//! The doors for programs that pass values on and never look into them, and the faults they tell others.

use outlive::{
    Accepted, AttachError, ControlError, Ctx, Ended, Engine, Fault, HandlerError, Health, Index,
    InputError, InputStatus, OnConflict, Reply, ResultError, Run, StartError, Status, StoreError,
    TaskDef,
};
use outlive_tests::home::Home;
use outlive_tests::play::{PLAY, Play, STEERED, ask, held, say, until};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeSet;
use std::time::Duration;

type Raw = Box<RawValue>;

/// Answers with what it was given, whatever that is.
const MIRROR: TaskDef<Value, Value> = TaskDef::new("mirror").remote();
/// As another program sees it, which never looks into the values.
const RAW_MIRROR: TaskDef<Raw, Raw> = TaskDef::new("mirror");
/// Answers with the very bytes it was given.
const BYTES: TaskDef<Raw, Raw> = TaskDef::new("bytes");

async fn mirror() -> Engine {
    let builder = Engine::in_memory()
        .task(MIRROR, |_: Ctx, value| async move {
            Ok::<Value, HandlerError>(value)
        })
        .task(BYTES, |_: Ctx, value| async move {
            Ok::<Reply<Raw>, HandlerError>(Reply::from(value))
        });
    builder.open().await.expect("it opens")
}

fn raw(text: &str) -> Raw {
    RawValue::from_string(text.to_owned()).expect("it is JSON")
}

#[tokio::test]
async fn a_raw_value_goes_in_and_comes_out_byte_for_byte() {
    let engine = mirror().await;
    let text = r#"{"b": 1.50, "a": [1e2, 123456789012345678901234567890, "\u00e4"]}"#;
    let run = engine.start(BYTES, "a", &raw(text)).await.unwrap();
    assert_eq!(run.result().await.unwrap().get(), text);
    let task = engine.get("a").await.unwrap().unwrap();
    assert_eq!(task.output_json.as_deref(), Some(text));
    let run = engine.start(RAW_MIRROR, "b", &raw("[1, 2]")).await.unwrap();
    assert_eq!(run.result().await.unwrap().get(), "[1,2]");
}

#[tokio::test]
async fn an_input_for_a_task_that_must_be_there_starts_none() {
    let engine = mirror().await;
    let start = || engine.start(MIRROR, "a", &Value::Null);
    let refused = start().must_exist().await.unwrap_err();
    assert!(matches!(&refused, StartError::NotFound(id) if id.as_str() == "a"));
    assert!(engine.get("a").await.unwrap().is_none());
    start().await.unwrap().result().await.unwrap();
    let restart = start().must_exist().on_conflict(OnConflict::Restart);
    assert_eq!(restart.await.unwrap().accepted(), Some(Accepted::Restarted));
}

#[tokio::test]
async fn a_task_is_attached_to_resumed_and_retried_whatever_its_definition_is() {
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(PLAY, &play).await;
    engine
        .start(PLAY, "a", &ask("one"))
        .await
        .unwrap()
        .outcome()
        .await
        .unwrap();
    let attached: Run<Raw> = engine.attach_untyped("a").await.unwrap();
    assert_eq!(attached.result().await.unwrap().get(), "\"one\"");
    let resumed: Run<Raw> = engine.resume_untyped("a").await.unwrap();
    assert_eq!(resumed.outcome().await.unwrap().turn(), 2);
    engine.cancel("a", "enough").await.unwrap();
    let retried: Run<Raw> = engine.retry_untyped("a").await.unwrap();
    assert_eq!(retried.run(), 2);
    let none = engine.attach_untyped::<Raw, ()>("b").await.unwrap_err();
    assert!(matches!(none, AttachError::NotFound(_)));
}

/// Whoever resumed a task and did not learn of it resumed it a second time.
#[tokio::test]
async fn a_resumption_that_is_repeated_under_its_id_attaches_to_the_turn_it_began() {
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(PLAY, &play).await;
    engine
        .start(PLAY, "a", &ask("one"))
        .await
        .unwrap()
        .outcome()
        .await
        .unwrap();
    let resume = || engine.resume(PLAY, "a").input_id("again");
    assert_eq!(resume().await.unwrap().outcome().await.unwrap().turn(), 2);
    let repeated = resume().await.unwrap();
    assert_eq!(repeated.accepted(), Some(Accepted::Attached));
    assert_eq!(repeated.outcome().await.unwrap().turn(), 2);
    let resumed = engine.resume(PLAY, "a").input_id("once more").await;
    assert!(matches!(
        resumed.map_err(Fault::from),
        Err(Fault::InvalidId(_))
    ));
    engine
        .resume(PLAY, "a")
        .await
        .unwrap()
        .outcome()
        .await
        .unwrap();
    let late = resume().await.unwrap();
    assert_eq!(late.accepted(), Some(Accepted::Attached));
    assert_eq!(late.outcome().await.unwrap().turn(), 2);
}

#[tokio::test]
async fn every_input_that_is_known_has_a_handle_and_those_that_wait_are_listed() {
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(STEERED, &play).await;
    let first = engine.start(STEERED, "a", &held(say("one")));
    first.input_id("first").await.unwrap();
    play.gate.came(1).await;
    let second = engine.start(STEERED, "a", &say("two")).input_id("second");
    second.await.unwrap();
    let waiting = engine.inputs("a").await.unwrap();
    let listed: Vec<_> = waiting
        .iter()
        .map(|input| input.input_id.as_str())
        .collect();
    assert_eq!((listed, waiting[0].size), (vec!["second"], 13));
    let handle = |input: &'static str| engine.attach_input::<String, ()>("a", input);
    let (first, second) = (
        handle("first").await.unwrap(),
        handle("second").await.unwrap(),
    );
    assert!(matches!(
        second.receipt().await,
        Ok(InputStatus::Queued { ahead: 0 })
    ));
    play.gate.let_through(1);
    assert_eq!(first.result().await.unwrap(), "one");
    assert_eq!(second.result().await.unwrap(), "two");
    until(&engine, "a", |task| task.status == Status::Completed).await;
    assert_eq!(
        handle("first").await.unwrap().result().await.unwrap(),
        "one"
    );
    let unknown = handle("third").await.unwrap_err();
    assert!(matches!(unknown, InputError::NotFound { .. }));
}

#[tokio::test]
async fn an_engine_tells_what_it_is_and_whether_it_is_well() {
    let engine = mirror().await;
    let names = engine
        .definitions()
        .into_iter()
        .map(|def| (def.name, def.is_remote));
    assert_eq!(
        names.collect::<Vec<_>>(),
        [("bytes", false), ("mirror", true)]
    );
    engine.recovery().await;
    let about = engine.about();
    assert_eq!((about.health, about.handlers.running), (Health::Running, 0));
    engine.run(MIRROR, "a", &Value::Null).await.unwrap();
    assert!(engine.about().last_event > about.last_event);
    engine.shutdown(std::time::Duration::ZERO).await;
    assert_eq!(engine.health(), Health::ShuttingDown);
}

#[tokio::test]
async fn every_fault_has_a_code_of_its_own_and_an_end_is_none() {
    let id = || outlive::TaskId::new("a").unwrap();
    let ended = Fault::of_result(ResultError::Cancelled {
        reason: "why".into(),
    });
    assert!(matches!(ended, Ok(Ended::Cancelled { .. })));
    let stopped = Fault::of_result(ResultError::ShuttingDown);
    assert!(matches!(stopped, Err(Fault::ShuttingDown)));
    let faults: Vec<Fault> = vec![
        StartError::NotFound(id()).into(),
        StartError::NoHandler { name: "none" }.into(),
        StartError::SteeringQueueFull { max: 2 }.into(),
        ControlError::ShuttingDown.into(),
        ControlError::PreconditionFailed {
            id: id(),
            etag: None,
        }
        .into(),
        AttachError::OtherDefinition {
            id: id(),
            name: "other".into(),
        }
        .into(),
        Fault::Store(StoreError::Full),
        Fault::Store(StoreError::Failed {
            message: "no disk".into(),
        }),
    ];
    let codes: BTreeSet<_> = faults.iter().map(Fault::code).collect();
    assert_eq!(codes.len(), faults.len());
}

/// A tool that opens a file by itself starts what only the program behind the file can run.
#[tokio::test]
async fn a_task_started_for_another_program_is_run_and_listed_by_it() {
    const TAGGED: TaskDef<Value, Value> = TaskDef::new("tagged").index(&[Index::Tag("team")]);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tasks.redb");
    let program = || {
        let builder = Engine::builder(&path).task(TAGGED, |_: Ctx, value| async move {
            Ok::<Value, HandlerError>(value)
        });
        builder.open()
    };
    program().await.unwrap().shutdown(Duration::ZERO).await;

    let tool = Engine::builder(&path).start_for_others(["new"]).unwrap();
    let tool = tool.open().await.unwrap();
    let names: Vec<_> = tool.definitions().iter().map(|known| known.name).collect();
    assert_eq!(names, ["new", "tagged"]);
    for (name, id) in [("tagged", "a"), ("new", "b")] {
        let def = TaskDef::<Raw, Raw>::new(name);
        let run = tool
            .start(def, id, &raw("17"))
            .tag("team", "red")
            .await
            .unwrap();
        assert_eq!(run.status().await.unwrap(), Status::Pending);
    }
    let unknown = tool
        .start(TaskDef::<Raw, Raw>::new("other"), "c", &raw("17"))
        .await;
    assert!(matches!(
        unknown,
        Err(StartError::NoHandler { name: "other" })
    ));
    tool.shutdown(Duration::ZERO).await;

    let engine = program().await.unwrap();
    let run = engine.attach_untyped::<Value, ()>("a").await.unwrap();
    assert_eq!(run.result().await.unwrap(), 17);
    let page = engine.list(TAGGED).tag("team", "red").await.unwrap();
    assert_eq!(page.tasks.len(), 1, "the index has it");
    let b = engine.get("b").await.unwrap().unwrap();
    assert_eq!((b.status, b.name.as_str()), (Status::Pending, "new"));
    engine.shutdown(Duration::ZERO).await;
}
