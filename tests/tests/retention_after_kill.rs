//! A process that is killed while it sweeps leaves each task whole or gone, and nothing behind.

use outlive::{Accepted, Ctx, Engine, EventKind, HandlerError, LogItem, TaskDef};
use outlive_storage::id::TaskId;
use outlive_storage::redb::RedbOptions;
use outlive_storage::row::{Etag, Micros, TaskNumber};
use outlive_storage::store::PAGE_MAX;
use outlive_storage::{RedbStore, Scan, Store};
use outlive_tests::play::{PLAY, Play, ask, say};
use outlive_tests::process::{self, Other};
use outlive_tests::tables;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(60 * 60);
/// A look comes once a minute.
const SOON: Duration = Duration::from_secs(90);
const NO_GRACE: Duration = Duration::ZERO;

const ECHO: TaskDef<u32, u32> = TaskDef::new("echo").keep_for(HOUR);
const TASKS: u32 = 2400;
/// Chains of turns: more hangs on each than goes with one commit.
const CHAINS: u32 = 6;
const TURNS: u32 = 25;
/// The killed process says so each time it has seen so many removals.
const A_WORD_EACH: usize = 150;
/// How many words of a process are heard before it is killed.
const WORDS: [usize; 5] = [1, 2, 1, 3, 1];

/// An engine that lives by the runtime's clock, so that an hour costs nothing.
async fn open(path: &Path) -> Engine {
    let builder = Engine::builder(path).inline();
    let builder = builder.task(PLAY.keep_for(HOUR), Play::default().handler());
    let builder = builder.task(ECHO, |_: Ctx, n| async move { Ok::<_, HandlerError>(n) });
    builder.open().await.expect("it opens")
}

fn ids() -> BTreeSet<String> {
    let tasks = (0..TASKS).map(|n| format!("t{n}"));
    tasks
        .chain((0..CHAINS).map(|n| format!("chain{n}")))
        .collect()
}

async fn end(engine: &Engine, tasks: std::ops::Range<u32>) {
    let tasks = tasks.map(|n| (format!("t{n}"), n));
    for run in engine.start_many(ECHO, tasks).await {
        run.expect("it starts").result().await.expect("it ends");
    }
}

/// Ends all tasks, the chains among them.
async fn fill(path: &Path) {
    let engine = open(path).await;
    end(&engine, 0..TASKS / 3).await;
    for chain in 0..CHAINS {
        let id = format!("chain{chain}");
        for turn in 0..TURNS {
            let long = ask(format!("turn {turn} {}", "x".repeat(1500)));
            engine.run(PLAY, id.as_str(), &long).await.expect("a turn");
        }
        engine.run(PLAY, id, &say("the end")).await.expect("an end");
    }
    end(&engine, TASKS / 3..TASKS).await;
    engine.shutdown(NO_GRACE).await;
}

/// Not a test of its own: the process that is killed while it sweeps.
#[tokio::test(start_paused = true)]
async fn child() {
    let Some(path) = process::path() else {
        return;
    };
    let engine = open(&path).await;
    let mut events = engine.events(None);
    while events.try_next().await.expect("the log").is_some() {}
    // A task of its own takes turns with the sweep; the test's own future would be polled much later.
    let follower = tokio::spawn(async move {
        let mut removed = 0;
        while let Ok(item) = tokio::time::timeout(2 * HOUR, events.next()).await {
            let LogItem::Event(event) = item.expect("the log") else {
                panic!("something is missing");
            };
            assert_eq!(event.what, EventKind::Removed);
            removed += 1;
            if removed % A_WORD_EACH == 0 {
                process::say("sweeping");
            }
        }
    });
    follower.await.expect("it followed");
}

/// The numbers and ids a scan shows.
fn scanned(store: &RedbStore, scan: &Scan) -> BTreeMap<TaskNumber, TaskId> {
    let mut found = BTreeMap::new();
    let mut after = None;
    loop {
        let page = store.scan(scan.clone(), after, PAGE_MAX).expect("a page");
        found.extend(
            page.rows
                .into_iter()
                .map(|found| (found.task, found.row.expect("a row").id)),
        );
        after = page.next;
        if after.is_none() {
            return found;
        }
    }
}

/// Looks at what a killed process has left: each task is whole or gone. The ids that are left.
fn left(path: &Path) -> BTreeSet<String> {
    let store = RedbStore::open(path, RedbOptions::default(), 7, 1).expect("the store opens");
    let all = scanned(&store, &Scan::All);
    let mut by_definition = BTreeMap::new();
    for (def, _) in store.definitions().expect("the definitions") {
        by_definition.extend(scanned(&store, &Scan::Definition(def)));
    }
    assert_eq!(all, by_definition);
    let expired = store
        .expired(Micros(u64::MAX - 3), PAGE_MAX)
        .expect("a page");
    assert!(expired.iter().all(|task| all.contains_key(task)));
    assert_eq!(expired.len(), all.len().min(PAGE_MAX));
    let mut left = BTreeSet::new();
    for id in ids() {
        let found = store
            .find(&TaskId::new(&id).expect("an id"))
            .expect("an answer");
        let Some(task) = found else { continue };
        assert_eq!(all.get(&task).map(TaskId::as_str), Some(&*id));
        if id.starts_with("chain") {
            let kept = (1..=u64::from(TURNS)).map(|turn| store.turn(task, turn).expect("a turn"));
            assert!(
                kept.into_iter().all(|turn| turn.is_some()),
                "{id} is not whole"
            );
        }
        left.insert(id);
    }
    assert_eq!(left.len(), all.len());
    left
}

/// How often the log says of each task that it was removed.
fn removals(path: &Path) -> BTreeMap<String, u32> {
    let store = RedbStore::open(path, RedbOptions::default(), 8, 1).expect("the store opens");
    let mut removals = BTreeMap::new();
    let mut after = Etag(0);
    loop {
        let events = store.events(after, PAGE_MAX).expect("the log").events;
        let Some(last) = events.last() else {
            return removals;
        };
        after = last.etag;
        for event in events
            .into_iter()
            .filter(|event| event.kind == EventKind::Removed)
        {
            *removals.entry(event.id.to_string()).or_default() += 1;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_sweep_that_is_killed_again_and_again_removes_each_task_whole_and_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tasks.redb");
    fill(&path).await;
    let mut before = left(&path);
    assert_eq!(before, ids());
    for words in WORDS {
        let mut sweeping = Other::test("child", &path);
        for _ in 0..words {
            assert_eq!(sweeping.word().as_deref(), Some("sweeping"));
        }
        sweeping.kill();
        let now = left(&path);
        assert!(now.is_subset(&before), "nothing comes back");
        let gone = before.len() - now.len();
        println!("killed after {gone} removals, {} left", now.len());
        assert!(gone >= words * A_WORD_EACH, "{gone}");
        before = now;
    }
    assert!(
        !before.is_empty(),
        "the last one was killed in the middle as well"
    );

    let engine = open(&path).await;
    tokio::time::sleep(HOUR + SOON).await;
    assert!(engine.list_all().await.unwrap().tasks.is_empty());
    engine.shutdown(NO_GRACE).await;
    drop(engine);
    assert_eq!(tables::of_tasks(&path), BTreeMap::new());
    let removals = removals(&path);
    assert!(removals.values().all(|count| *count == 1));
    assert!(removals.into_keys().eq(ids()));

    let engine = open(&path).await;
    let anew = engine
        .start_many(ECHO, ids().into_iter().map(|id| (id, 1)))
        .await;
    let started = |run: &Result<outlive::Run<u32>, _>| matches!(run, Ok(run) if run.accepted() == Some(Accepted::Started));
    assert!(anew.iter().all(started));
}
