//! How long what has ended is kept, and how it goes.

use outlive::{
    Accepted, Ctx, Engine, EventKind, HandlerError, KEEP, LogItem, OnConflict, ResultError, Status,
    TaskDef,
};
use outlive_storage::redb::{RedbOptions, bare_database};
use outlive_storage::{MemStore, RedbStore, Store};
use outlive_tests::aged::age;
use outlive_tests::faulty::Faulty;
use outlive_tests::play::{PLAY, Play, ask, held, say};
use outlive_tests::tables;
use redb::{ReadableDatabase, ReadableTable, TableDefinition};
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const HOUR: Duration = Duration::from_secs(60 * 60);
/// What is due is gone after this at the latest: a look comes once a minute.
const SOON: Duration = Duration::from_secs(90);
/// When an engine looks for the first time.
const FIRST_LOOK: Duration = Duration::from_secs(5);
/// From one look to the next.
const BETWEEN_LOOKS: Duration = Duration::from_secs(60);
const NO_GRACE: Duration = Duration::ZERO;

const ECHO: TaskDef<u32, u32> = TaskDef::new("echo");
/// Its output lies beside its row.
const LARGE: TaskDef<usize, String> = TaskDef::new("large");
const LARGE_LEN: usize = 100_000;

async fn echo(_: Ctx, n: u32) -> Result<u32, HandlerError> {
    Ok(n)
}

async fn large(_: Ctx, len: usize) -> Result<String, HandlerError> {
    Ok("x".repeat(len))
}

async fn in_memory(play: &Play) -> Engine {
    let builder = Engine::in_memory().task(PLAY, play.handler());
    let builder = builder.task(ECHO, echo).task(LARGE, large);
    builder.open().await.expect("it opens")
}

/// An engine on this store that lives by the runtime's clock.
async fn on(store: &Arc<impl Store>) -> Engine {
    let builder = Engine::on_store(Arc::clone(store) as Arc<dyn Store>);
    let builder = builder.inline().task(ECHO, echo).task(LARGE, large);
    builder.open().await.expect("it opens")
}

/// Lets so much time go by, which costs none.
async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

async fn is_kept(engine: &Engine, id: &str) -> bool {
    engine.get(id).await.expect("the store answers").is_some()
}

/// Ends so many tasks.
async fn end(engine: &Engine, count: u32) {
    let tasks = (0..count).map(|n| (format!("t{n}"), n));
    for run in engine.start_many(ECHO, tasks).await {
        run.expect("it starts").result().await.expect("it ends");
    }
}

#[tokio::test(start_paused = true)]
async fn an_ended_task_is_kept_for_seven_days_and_then_its_id_is_free() {
    let engine = in_memory(&Play::default()).await;
    engine.run(LARGE, "a", &LARGE_LEN).await.unwrap();
    pass(KEEP - SOON).await;
    let kept = engine.attach(LARGE, "a").await.unwrap();
    assert_eq!(kept.result().await.unwrap().len(), LARGE_LEN);
    assert_eq!(KEEP, 7 * DAY);

    pass(2 * SOON).await;
    assert!(!is_kept(&engine, "a").await);
    assert!(matches!(
        kept.result().await,
        Err(ResultError::NotFound { .. })
    ));
    assert!(engine.list_all().await.unwrap().tasks.is_empty());
    let again = engine.start(LARGE, "a", &1).await.unwrap();
    assert_eq!(again.accepted(), Some(Accepted::Started));
    assert_eq!(again.result().await.unwrap(), "x");
}

#[tokio::test(start_paused = true)]
async fn a_definition_or_a_call_says_how_long() {
    let engine = in_memory(&Play::default()).await;
    engine.run(ECHO.keep_for(HOUR), "hour", &1).await.unwrap();
    engine.run(ECHO.keep_forever(), "ever", &1).await.unwrap();
    let call = engine.start(ECHO.keep_forever(), "day", &1).keep_for(DAY);
    call.await.unwrap().result().await.unwrap();
    pass(HOUR - SOON).await;
    assert!(is_kept(&engine, "hour").await);
    pass(2 * SOON).await;
    assert!(!is_kept(&engine, "hour").await);
    assert!(is_kept(&engine, "day").await);
    pass(DAY).await;
    assert!(!is_kept(&engine, "day").await);
    pass(30 * DAY).await;
    assert!(is_kept(&engine, "ever").await);
}

#[tokio::test(start_paused = true)]
async fn what_has_not_ended_is_never_swept() {
    let play = Play::default();
    let engine = in_memory(&play).await;
    let short = PLAY.keep_for(Duration::from_secs(1));
    engine.start(short, "runs", &held(say("a"))).await.unwrap();
    engine.run(short, "waits", &ask("more?")).await.unwrap();
    let later = engine.start(short, "later", &say("b")).start_in(DAY);
    later.await.unwrap();
    pass(3 * HOUR).await;
    let status = async |id| engine.get(id).await.unwrap().map(|task| task.status);
    assert_eq!(status("runs").await, Some(Status::InProgress));
    assert_eq!(status("waits").await, Some(Status::Suspended));
    assert_eq!(status("later").await, Some(Status::Pending));
}

#[tokio::test(start_paused = true)]
async fn an_ephemeral_task_is_gone_with_its_end_and_its_caller_has_the_output() {
    let engine = in_memory(&Play::default()).await;
    let run = engine.start(LARGE.ephemeral(), "a", &LARGE_LEN);
    let output = run.await.unwrap().result().await.unwrap();
    assert_eq!(output.len(), LARGE_LEN);
    assert!(!is_kept(&engine, "a").await);
    let again = engine.start(LARGE.ephemeral(), "a", &2).await.unwrap();
    assert_eq!(again.accepted(), Some(Accepted::Started));
    assert_eq!(again.result().await.unwrap(), "xx");
}

#[tokio::test(start_paused = true)]
async fn a_restarted_task_is_not_swept_at_its_former_time() {
    let play = Play::default();
    let engine = in_memory(&play).await;
    let def = PLAY.keep_for(HOUR);
    engine.run(def, "a", &say("one")).await.unwrap();
    pass(HOUR / 2).await;
    let again = engine.start(def, "a", &held(say("two")));
    let again = again.on_conflict(OnConflict::Restart).await.unwrap();
    pass(2 * HOUR).await;
    assert_eq!(again.status().await.unwrap(), Status::InProgress);
    play.gate.let_through(1);
    assert_eq!(again.result().await.unwrap(), "two");
    pass(HOUR - SOON).await;
    assert!(is_kept(&engine, "a").await);
    pass(2 * SOON).await;
    assert!(!is_kept(&engine, "a").await);
}

#[tokio::test(start_paused = true)]
async fn old_receipts_are_forgotten_and_the_last_turns_stay() {
    let engine = in_memory(&Play::default()).await;
    let chat = PLAY.keep_for(HOUR).keep_turns(2);
    let mut turns = Vec::new();
    for turn in 1..=5 {
        let input = ask(format!("turn {turn}"));
        let run = engine.start(chat, "a", &input).input_id(turn.to_string());
        let run = run.await.unwrap();
        assert_eq!(run.result().await.unwrap(), format!("turn {turn}"));
        turns.push(run);
    }
    for (turn, run) in (1..).zip(&turns[..3]) {
        let gone = run.result().await;
        assert!(matches!(gone, Err(ResultError::Gone { turn: of }) if of == turn));
    }
    pass(10 * HOUR).await;
    for run in &turns[..3] {
        let forgotten = run.result().await;
        assert!(matches!(forgotten, Err(ResultError::NotFound { .. })));
    }
    for (turn, run) in (4..).zip(&turns[3..]) {
        assert_eq!(run.result().await.unwrap(), format!("turn {turn}"));
    }
    // The id of a forgotten input is that of a new one; the id of one that is kept attaches.
    let start = |id: &str| engine.start(chat, "a", &ask("again")).input_id(id);
    assert_eq!(
        start("5").await.unwrap().accepted(),
        Some(Accepted::Attached)
    );
    assert_eq!(
        start("1").await.unwrap().accepted(),
        Some(Accepted::Resumed)
    );
}

#[tokio::test(start_paused = true)]
async fn a_clock_far_ahead_removes_nothing_in_the_first_hour() {
    let store = Arc::new(MemStore::new());
    let engine = on(&store).await;
    end(&engine, 3).await;
    engine.shutdown(NO_GRACE).await;
    age(&*store, 31 * DAY);

    let engine = on(&store).await;
    // A task of today does not make the clock right.
    engine.run(ECHO, "new", &1).await.unwrap();
    pass(HOUR - SOON).await;
    assert!(is_kept(&engine, "t0").await);
    let oldest = engine.events(None).next().await.unwrap();
    assert!(
        matches!(oldest, LogItem::Event(_)),
        "nor is the log trimmed"
    );
    pass(2 * SOON).await;
    assert!(!is_kept(&engine, "t0").await);
    assert!(is_kept(&engine, "new").await);
    let later = engine.events(None).next().await.unwrap();
    assert!(later.etag() > oldest.etag(), "{oldest:?}, {later:?}");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_lay_for_some_weeks_is_swept_at_once() {
    let store = Arc::new(MemStore::new());
    let engine = on(&store).await;
    end(&engine, 3).await;
    engine.shutdown(NO_GRACE).await;
    age(&*store, 29 * DAY);
    let engine = on(&store).await;
    pass(SOON).await;
    assert!(engine.list_all().await.unwrap().tasks.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_sweep_is_a_sequence_of_small_commits() {
    /// Nobody waits for more than this many removals.
    const SMALL: usize = 64;
    let store = Arc::new(MemStore::new());
    let engine = on(&store).await;
    end(&engine, 1000).await;
    engine.shutdown(NO_GRACE).await;
    age(&*store, 8 * DAY);
    let store = Faulty::on(&store);
    let engine = on(&store).await;
    pass(SOON).await;
    assert!(engine.list_all().await.unwrap().tasks.is_empty());
    let largest = store.largest_commit.load(Ordering::SeqCst);
    assert!((1..=SMALL).contains(&largest), "{largest}");
}

/// Retention once looked for the first time five seconds after an open: a program that never lived so long removed
/// nothing, and its file grew for ever.
#[tokio::test(start_paused = true)]
async fn a_program_whose_lives_are_all_short_removes_what_has_expired() {
    const LIVES: u32 = 100;
    const PER_LIFE: u32 = 20;
    let store = Arc::new(MemStore::new());
    for life in 0..LIVES {
        let engine = on(&store).await;
        let tasks = (0..PER_LIFE).map(|n| (format!("l{life}-{n}"), n));
        for run in engine.start_many(ECHO.keep_for(HOUR), tasks).await {
            run.unwrap().result().await.unwrap();
        }
        pass(FIRST_LOOK / 10).await;
        engine.shutdown(NO_GRACE).await;
        age(&*store, 2 * HOUR);
    }
    let engine = on(&store).await;
    let kept = engine.list_all().limit(500).await.unwrap().tasks.len();
    assert!(kept <= 2 * PER_LIFE as usize, "{kept}");
}

#[tokio::test(start_paused = true)]
async fn a_sweep_beside_deletions_removes_each_task_once() {
    let store = Arc::new(MemStore::new());
    let engine = on(&store).await;
    let tasks = (0..500).map(|n| (format!("t{n}"), n));
    let def = ECHO.keep_for(BETWEEN_LOOKS / 2);
    for run in engine.start_many(def, tasks).await {
        run.unwrap().result().await.unwrap();
    }
    let mut events = engine.events(None);
    // The sweep begins at this moment, and each meets what the other has removed.
    pass(FIRST_LOOK + BETWEEN_LOOKS).await;
    let mut deleted = 0;
    for n in (0..500).rev() {
        deleted += usize::from(engine.delete(format!("t{n}")).await.unwrap());
    }
    pass(SOON).await;
    let mut removed = HashSet::new();
    while let Some(LogItem::Event(event)) = events.try_next().await.unwrap() {
        if event.what == EventKind::Removed {
            assert!(removed.insert(event.id));
        }
    }
    assert_eq!(removed.len(), 500);
    assert!((1..500).contains(&deleted), "{deleted} by hand");
}

fn redb(path: &Path) -> Arc<RedbStore> {
    let opened = RedbStore::open(path, RedbOptions::default(), 1, 1);
    Arc::new(opened.expect("the store opens"))
}

#[tokio::test(start_paused = true)]
async fn an_idle_engine_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = redb(&directory.path().join("tasks.redb"));
    let engine = on(&store).await;
    end(&engine, 3).await;
    pass(SOON).await;
    let before = store.io();
    pass(DAY).await;
    let after = store.io();
    assert_eq!((after.writes, after.syncs), (before.writes, before.syncs));
}

/// Each look at a receipt that stays is a write, and a chain has as many of them as it keeps turns.
#[tokio::test(start_paused = true)]
async fn a_chain_that_waits_is_not_written_to_each_minute() {
    let directory = tempfile::tempdir().unwrap();
    let store = redb(&directory.path().join("tasks.redb"));
    let builder = Engine::on_store(Arc::<RedbStore>::clone(&store)).inline();
    let chat = PLAY.ephemeral();
    let builder = builder.task(chat, Play::default().handler());
    let engine = builder.open().await.unwrap();
    for turn in 0..5 {
        engine.run(chat, "a", &ask(turn.to_string())).await.unwrap();
    }
    pass(SOON).await;
    let before = store.io();
    pass(HOUR / 2).await;
    assert_eq!(store.io().syncs, before.syncs);
}

/// Flips a bit of every row, behind the store's back.
fn damage_all(path: &Path) {
    const TASKS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("tasks");
    let database = bare_database(path).unwrap();
    let rows: Vec<_> = {
        let read = database.begin_read().unwrap();
        let table = read.open_table(TASKS).unwrap();
        let rows = table.iter().unwrap().map(|entry| entry.unwrap());
        rows.map(|(number, row)| (number.value(), row.value().to_vec()))
            .collect()
    };
    let write = database.begin_write().unwrap();
    {
        let mut table = write.open_table(TASKS).unwrap();
        for (number, mut row) in rows {
            let at = row.len() / 2;
            row[at] ^= 1;
            table.insert(number, row.as_slice()).unwrap();
        }
    }
    write.commit().unwrap();
}

/// More damaged rows than a batch has, at the head of what is to be swept.
#[tokio::test(start_paused = true)]
async fn damaged_tasks_stay_and_hold_up_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tasks.redb");
    let engine = on(&redb(&path)).await;
    end(&engine, 100).await;
    engine.shutdown(NO_GRACE).await;
    drop(engine);
    damage_all(&path);
    let engine = on(&redb(&path)).await;
    let short = ECHO.keep_for(8 * DAY);
    for n in 0..3 {
        engine.run(short, format!("new{n}"), &n).await.unwrap();
    }
    assert_eq!(engine.list_all().limit(200).await.unwrap().tasks.len(), 3);
    pass(9 * DAY).await;
    let left = engine.list_all().limit(200).await.unwrap();
    assert_eq!((left.tasks.len(), left.damaged.len()), (0, 100));
}

/// What hangs on a task and is too much for one commit goes with later ones.
#[tokio::test(start_paused = true)]
async fn a_chain_of_many_turns_goes_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tasks.redb");
    let store = redb(&path);
    let play = Play::default();
    let builder = Engine::on_store(Arc::<RedbStore>::clone(&store)).inline();
    let chat = PLAY.keep_for(HOUR);
    let engine = builder.task(chat, play.handler()).open().await.unwrap();
    for n in 0..120 {
        let long = ask(format!("turn {n} {}", "x".repeat(1500)));
        engine.run(chat, "a", &long).await.unwrap();
    }
    engine.run(chat, "a", &say("the end")).await.unwrap();
    assert!(is_kept(&engine, "a").await);
    pass(HOUR + SOON).await;
    assert!(!is_kept(&engine, "a").await);
    engine.shutdown(NO_GRACE).await;
    drop((engine, store));
    assert_eq!(tables::of_tasks(&path), BTreeMap::new());
}
