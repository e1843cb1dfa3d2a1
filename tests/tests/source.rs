//! Who and what created a task: owner, session, source; written once, and read by everybody.

use outlive::{
    Builder, Ctx, Engine, FactsError, HandlerError, OpenError, Snapshot, Start, StartError, TaskDef,
};
use outlive_storage::id::TaskId;
use outlive_storage::row::State;
use outlive_storage::{MemStore, Store};
use outlive_tests::process;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

const TASK: TaskDef<u32, Vec<String>> = TaskDef::new("task");
const VARIABLE: &str = "OUTLIVE_SESSION";

/// A handler that says what it is told of its task's creation.
fn telling(builder: Builder) -> Builder {
    builder.task(TASK, |ctx: Ctx, _| async move {
        let source = ctx.source();
        Ok::<_, HandlerError>(vec![
            ctx.owner().to_owned(),
            ctx.session().unwrap_or("-").to_owned(),
            source.kind.to_owned(),
            source.name,
            source.server_version,
            ctx.name().to_owned(),
        ])
    })
}

fn on(store: &Arc<MemStore>) -> Builder {
    telling(Engine::on_store(Arc::<MemStore>::clone(store)).inline())
}

async fn open(builder: Builder) -> Engine {
    let engine = builder.open().await.unwrap();
    engine.recovery().await;
    engine
}

async fn task(engine: &Engine, id: &str) -> Snapshot {
    engine.get(id).await.unwrap().expect("the task is there")
}

#[tokio::test(start_paused = true)]
async fn each_task_carries_what_created_it() {
    let engine = open(on(&Arc::default()).owner("agent").session("morning")).await;
    let told = engine.run(TASK, "a", &1).await.unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        told,
        ["agent", "morning", "outlive.task", "task", version, "task"]
    );
    let task = task(&engine, "a").await;
    assert_eq!(
        (task.owner.as_str(), task.session.as_deref()),
        ("agent", Some("morning"))
    );
    assert_eq!(
        (task.source.kind, task.source.name.as_str()),
        ("outlive.task", "task")
    );
    assert_eq!(task.source.server_version, version);
}

#[tokio::test(start_paused = true)]
async fn the_owner_is_the_programs_name_unless_the_engine_says_another() {
    let engine = open(on(&Arc::default())).await;
    engine.run(TASK, "a", &1).await.unwrap();
    let program = std::env::current_exe().unwrap();
    let name = program.file_stem().unwrap().to_str().unwrap();
    assert_eq!(task(&engine, "a").await.owner, name);
}

#[tokio::test(start_paused = true)]
async fn what_another_program_goes_on_with_stays_its_creators() {
    let store = Arc::new(MemStore::new());
    let waits = Engine::on_store(Arc::<MemStore>::clone(&store)).inline();
    let waits = waits
        .owner("first")
        .session("morning")
        .task(TASK, |_: Ctx, _| {
            std::future::pending::<Result<Vec<String>, HandlerError>>()
        });
    let engine = open(waits).await;
    engine.start(TASK, "a", &1).await.unwrap();
    engine.shutdown(Duration::ZERO).await;

    let engine = open(on(&store).owner("second").session("evening")).await;
    let told = engine
        .attach(TASK, "a")
        .await
        .unwrap()
        .result()
        .await
        .unwrap();
    assert_eq!(told[..2], ["first", "morning"]);
    let told = engine.run(TASK, "b", &1).await.unwrap();
    assert_eq!(told[..2], ["second", "evening"]);
}

#[tokio::test(start_paused = true)]
async fn a_call_may_name_its_own_session() {
    let engine = open(on(&Arc::default()).session("morning")).await;
    let run = engine.start(TASK, "a", &1).session("mine").await.unwrap();
    assert_eq!(run.result().await.unwrap()[1], "mine");
    let attached = engine
        .start(TASK, "a", &1)
        .input_id(run.input_id().as_str())
        .session("other");
    attached.await.unwrap();
    assert_eq!(
        task(&engine, "a").await.session.as_deref(),
        Some("mine"),
        "written once"
    );
}

/// What is stored of a task of which nothing is said is made once; what a call says of its own is of that task alone.
#[tokio::test(start_paused = true)]
async fn what_one_call_says_is_said_of_no_other_task() {
    type Says = fn(Start<Vec<String>>) -> Start<Vec<String>>;
    let calls: [(&str, Says); 6] = [
        ("session", |start| start.session("mine")),
        ("title", |start| start.title("mine")),
        ("description", |start| start.description("mine")),
        ("tag", |start| start.tag("whose", "mine")),
        ("priority", |start| start.priority(7)),
        ("keep", |start| start.keep_forever()),
    ];
    let said = |task: &Snapshot| {
        let texts = [&task.session, &task.title, &task.description].map(Clone::clone);
        (
            texts,
            task.tags.clone(),
            task.priority,
            task.expires_at_us.is_none(),
        )
    };
    for (what, says) in calls {
        let engine = open(on(&Arc::default()).session("morning")).await;
        for (id, says) in [
            ("a", None),
            ("b", Some(says)),
            ("c", None),
            ("d", Some(says)),
        ] {
            let start = engine.start(TASK, id, &1);
            let says = says.unwrap_or(|start| start);
            says(start).await.unwrap().result().await.unwrap();
        }
        let [a, b] = [
            said(&task(&engine, "a").await),
            said(&task(&engine, "b").await),
        ];
        let [c, d] = [
            said(&task(&engine, "c").await),
            said(&task(&engine, "d").await),
        ];
        assert_eq!((&a, &b), (&c, &d), "{what}");
        assert_ne!(a, b, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_keeps_the_rules_of_ids() {
    let engine = open(on(&Arc::default())).await;
    let long = "s".repeat(257);
    for session in ["", ".", "..", "a b", "a/b", &long] {
        let refused = engine.start(TASK, "a", &1).session(session).await;
        assert!(
            matches!(refused, Err(StartError::Facts(FactsError::Session(_)))),
            "{session}: {refused:?}"
        );
        assert_eq!(engine.get("a").await.unwrap(), None, "nothing was written");
        let opened = on(&Arc::default()).session(session).open().await;
        assert!(
            matches!(opened, Err(OpenError::Session(_))),
            "{session}: {opened:?}"
        );
    }
    let longest = &long[..256];
    let run = engine.start(TASK, "a", &1).session(longest).await.unwrap();
    assert_eq!(
        run.refresh().await.unwrap().session.as_deref(),
        Some(longest)
    );
}

/// Not a test of its own: what a process with a session in its environment says.
#[tokio::test(start_paused = true)]
async fn child() {
    if process::path().is_none() {
        return;
    }
    let opened = on(&Arc::default()).open().await;
    let engine = match opened {
        Ok(engine) => engine,
        Err(OpenError::Session(_)) => return process::say("refused"),
        Err(other) => panic!("{other:?}"),
    };
    process::say(&engine.run(TASK, "a", &1).await.unwrap()[1]);
    let named = engine.start(TASK, "b", &1).session("call").await.unwrap();
    process::say(&named.result().await.unwrap()[1]);
    let engine = open(on(&Arc::default()).session("builder")).await;
    process::say(&engine.run(TASK, "a", &1).await.unwrap()[1]);
}

/// What [`child`] says in an environment with this session.
fn said_with(session: Option<&str>) -> Vec<String> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "child", "--nocapture"])
        .env("OUTLIVE_CHILD_PATH", "unused");
    match session {
        Some(session) => command.env(VARIABLE, session),
        None => command.env_remove(VARIABLE),
    };
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let words = text.lines().filter_map(|line| line.strip_prefix('@'));
    words.map(str::to_owned).collect()
}

#[test]
fn the_session_comes_from_the_call_else_the_engine_else_the_environment_else_there_is_none() {
    assert_eq!(said_with(Some("env")), ["env", "call", "builder"]);
    assert_eq!(said_with(None), ["-", "call", "builder"]);
    assert_eq!(
        said_with(Some("")),
        ["-", "call", "builder"],
        "empty is none"
    );
    assert_eq!(said_with(Some("not a session")), ["refused"]);
}

#[tokio::test(start_paused = true)]
async fn each_open_is_an_instance_of_its_own() {
    let store = Arc::new(MemStore::new());
    let mut instances = Vec::new();
    for _ in 0..3 {
        let builder = Engine::on_store(Arc::<MemStore>::clone(&store)).inline();
        let builder = builder.owner("same").task(TASK, |_: Ctx, _| {
            std::future::pending::<Result<Vec<String>, HandlerError>>()
        });
        let engine = open(builder).await;
        engine.start(TASK, "a", &1).await.unwrap();
        engine.shutdown(Duration::ZERO).await;
        let number = store.find(&TaskId::new("a").unwrap()).unwrap().unwrap();
        let State::InProgress { lease, .. } = store.get(number).unwrap().unwrap().state else {
            panic!("it is left in progress");
        };
        assert_eq!(&*lease.owner, "same");
        instances.push(lease.instance);
    }
    instances.dedup();
    assert_eq!(
        instances.len(),
        3,
        "whoever claims is told apart from whoever died"
    );
}
