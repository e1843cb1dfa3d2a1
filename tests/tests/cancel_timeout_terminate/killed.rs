//! What was acknowledged before a real kill holds after it.

use outlive::{Ctx, Ended, Engine, Entry, HandlerError, ResultError, Snapshot, Status, TaskDef};
use outlive_tests::gate::{Gate, Notes};
use outlive_tests::process::{self, Other};
use std::path::Path;
use std::time::Duration;

const TASK: TaskDef<u32, u32> = TaskDef::new("task");
const CHAT: TaskDef<u32, u32> = TaskDef::new("chat").steerable(9);
const LIMITED: TaskDef<u32, u32> = TaskDef::new("limited").timeout(Duration::from_secs(3600));

const DEFS: [TaskDef<u32, u32>; 3] = [TASK, CHAT, LIMITED];

type Entries = Notes<(String, Entry)>;

/// Handlers that note why they are entered, and never end.
async fn open(path: &Path, entries: &Entries, came: &Gate) -> Engine {
    let mut builder = Engine::builder(path);
    for def in DEFS {
        let (entries, came) = (entries.clone(), came.clone());
        builder = builder.task(def, move |ctx: Ctx, _| {
            entries.add((ctx.id().to_string(), ctx.entry()));
            came.arrive();
            std::future::pending::<Result<u32, HandlerError>>()
        });
    }
    builder.open().await.unwrap()
}

async fn task(engine: &Engine, id: &str) -> Snapshot {
    engine.get(id).await.unwrap().expect("the task is there")
}

/// Not a test of its own: the process that is killed as soon as everything was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(path) = process::path() else {
        return;
    };
    let came = Gate::closed();
    let engine = open(&path, &Entries::default(), &came).await;
    for id in ["cancelled", "terminated", "deleted", "goes-on"] {
        engine.start(TASK, id, &1).await.unwrap();
    }
    let turn = engine
        .start(CHAT, "turn", &1)
        .input_id("first")
        .await
        .unwrap();
    engine.start(LIMITED, "limited", &1).await.unwrap();
    came.came(6).await;
    let queued = engine
        .start(CHAT, "turn", &2)
        .input_id("second")
        .await
        .unwrap();
    engine
        .start(CHAT, "turn", &3)
        .input_id("third")
        .await
        .unwrap();
    let deadline = task(&engine, "limited").await.deadline_us.unwrap();

    engine.cancel("cancelled", "stop").await.unwrap();
    engine.terminate("terminated", "gone mad").await.unwrap();
    engine.delete("deleted").force().await.unwrap();
    turn.cancel("this one not").await.unwrap();
    queued.cancel("nor that one").await.unwrap();
    process::say(&deadline.to_string());
    process::wait_for_end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_ordered_before_a_kill_is_done_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tasks.redb");
    let mut killed = Other::test("killed::child", &path);
    let deadline: u64 = killed.word().expect("it ran").parse().unwrap();
    killed.kill();

    let (entries, came) = (Entries::default(), Gate::closed());
    let engine = open(&path, &entries, &came).await;
    let report = engine.recovery().await;
    assert_eq!(report.found, 4, "cancelled, turn, limited, goes-on");
    came.came(3).await;

    let cancelled = task(&engine, "cancelled").await;
    assert_eq!(
        cancelled.ended,
        Some(Ended::Cancelled {
            reason: "stop".into()
        })
    );
    let terminated = task(&engine, "terminated").await;
    let gone_mad = Ended::Terminated {
        reason: "gone mad".into(),
        timed_out: false,
    };
    assert_eq!(terminated.ended, Some(gone_mad));
    assert_eq!(engine.get("deleted").await.unwrap(), None);
    assert_eq!(task(&engine, "goes-on").await.status, Status::InProgress);
    let limited = task(&engine, "limited").await;
    assert_eq!(
        (limited.deadline_us, limited.crashes),
        (Some(deadline), 1),
        "its time runs on"
    );

    let turn = task(&engine, "turn").await;
    assert_eq!(
        (turn.input_id.as_str(), turn.turn, turn.inputs_waiting),
        ("third", 2, 0)
    );
    for (input_id, input) in [("first", 1), ("second", 2)] {
        let asked = engine
            .start(CHAT, "turn", &input)
            .input_id(input_id)
            .await
            .unwrap();
        let told = asked.result().await;
        assert!(
            matches!(told, Err(ResultError::Cancelled { .. })),
            "{input_id}: {told:?}"
        );
    }
    let mut entered: Vec<_> = entries.take();
    entered.sort_by(|one, other| one.0.cmp(&other.0));
    let expected = [
        ("goes-on".to_owned(), Entry::Recovered { crashes: 1 }),
        ("limited".to_owned(), Entry::Recovered { crashes: 1 }),
        ("turn".to_owned(), Entry::Resumed),
    ];
    assert_eq!(entered, expected, "nothing that was ended is entered again");
}
