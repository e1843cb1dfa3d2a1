//! Following from outside: the log of all transitions, and one task.

use outlive::{
    Ctx, EVENTS_KEPT, EVENTS_KEPT_FOR, Engine, EventKind, Events, EventsError, GetError,
    HandlerError, LogEvent, LogItem, RetryPolicy, Status, StoreError, TaskDef,
};
use outlive_storage::redb::{RedbOptions, bare_database};
use outlive_storage::row::{Etag, Micros};
use outlive_storage::{MemStore, RedbStore, Store};
use outlive_tests::aged::age;
use outlive_tests::faulty::Faulty;
use outlive_tests::gate::Gate;
use outlive_tests::play::{PLAY, Play, ask, fail_until};
use redb::{ReadableTable, TableDefinition};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const ECHO: TaskDef<u32, u32> = TaskDef::new("echo");
/// Counts up to its input in its metadata, each number once it is let through.
const COUNT: TaskDef<u32, u32> = TaskDef::new("count");
const NO_GRACE: Duration = Duration::ZERO;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// With a paused clock: when nothing happens any more without time. Else: far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// After this a sweep has come.
const SWEPT: Duration = Duration::from_secs(90);

async fn echo(_: Ctx, n: u32) -> Result<u32, HandlerError> {
    Ok(n)
}

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, work).await;
    done.expect("it comes to an end")
}

/// An engine on this store that lives by the runtime's clock.
async fn on(store: &Arc<impl Store>) -> Engine {
    let builder = Engine::on_store(Arc::clone(store) as Arc<dyn Store>);
    builder
        .inline()
        .task(ECHO, echo)
        .open()
        .await
        .expect("it opens")
}

fn redb(path: &Path) -> Arc<RedbStore> {
    let opened = RedbStore::open(path, RedbOptions::default(), 1, 1);
    Arc::new(opened.expect("the store opens"))
}

/// Runs so many tasks, one after the other.
async fn run(engine: &Engine, count: u32) {
    for n in 0..count {
        engine.run(ECHO, (), &n).await.expect("it runs");
    }
}

#[track_caller]
fn event(item: LogItem) -> LogEvent {
    match item {
        LogItem::Event(event) => event,
        other => panic!("a transition is missing: {other:?}"),
    }
}

/// What is in the log now, from here on.
async fn rest(events: &mut Events) -> Vec<LogItem> {
    let mut rest = Vec::new();
    while let Some(item) = events.try_next().await.expect("the log is read") {
        rest.push(item);
    }
    rest
}

#[tokio::test(start_paused = true)]
async fn an_event_tells_what_became_of_its_task() {
    let play = Play::default();
    let steady = PLAY.retry(RetryPolicy::none().attempts(2));
    let builder = Engine::in_memory().task(steady, play.handler());
    let engine = builder.open().await.unwrap();
    engine.recovery().await;
    let mut events = engine.events(None);
    engine
        .run(PLAY, "a", &fail_until(1, ask("x")))
        .await
        .unwrap();
    let seen: Vec<_> = rest(&mut events).await.into_iter().map(event).collect();
    let told: Vec<_> = seen
        .iter()
        .map(|event| (event.what, event.attempt))
        .collect();
    let expected = [
        (EventKind::Started, 1),
        (EventKind::BackedOff, 1),
        (EventKind::Claimed, 2),
        (EventKind::Suspended, 2),
    ];
    assert_eq!(told, expected);
    let last = seen.last().unwrap();
    let task = engine.get("a").await.unwrap().unwrap();
    assert_eq!((&last.id, &last.name), (&task.id, &task.name));
    assert_eq!((last.run, last.turn), (task.run, task.turn));
    assert_eq!((last.etag, last.generation), (task.etag, task.generation));
    assert_eq!(last.at_us, task.updated_at_us);
}

/// More than a page, from many callers at once, followed while it happens and once more after a reopen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_transition_is_told_once_and_in_order_under_load() {
    const TASKS: u32 = 700;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tasks.redb");
    let open = async || {
        Engine::builder(&path)
            .task(ECHO, echo)
            .open()
            .await
            .unwrap()
    };
    let engine = open().await;
    let mut events = engine.events(None);
    let follower = tokio::spawn(async move {
        let mut seen = Vec::new();
        let mut ended = 0;
        while ended < TASKS {
            let event = event(events.next().await.expect("the log is read"));
            ended += u32::from(event.what == EventKind::Succeeded);
            seen.push(event);
        }
        seen
    });
    let callers = (0..10).map(|_| {
        let engine = engine.clone();
        tokio::spawn(async move { run(&engine, TASKS / 10).await })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    let seen = in_time(follower).await.unwrap();
    assert!(seen.is_sorted_by(|one, next| one.etag < next.etag));
    let mut of_task: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for event in &seen {
        of_task.entry(&event.id).or_default().push(event.what);
    }
    let claimed = [EventKind::Started, EventKind::Claimed, EventKind::Succeeded];
    let folded = [EventKind::Started, EventKind::Succeeded];
    assert!(
        of_task
            .values()
            .all(|whats| *whats == claimed || *whats == folded)
    );
    assert_eq!(of_task.len(), TASKS as usize);

    engine.shutdown(Duration::from_secs(5)).await;
    drop(engine);
    let engine = open().await;
    let replayed = rest(&mut engine.events(None)).await;
    assert!(replayed.into_iter().map(event).eq(seen));
}

#[tokio::test(start_paused = true)]
async fn a_reader_goes_on_where_another_one_stopped_also_after_a_reopen() {
    let store = Arc::new(MemStore::new());
    let engine = on(&store).await;
    run(&engine, 3).await;
    let mut events = engine.events(None);
    let mut seen = vec![events.next().await.unwrap(), events.next().await.unwrap()];
    let position = events.position();
    assert_eq!(position, seen[1].etag());
    engine.shutdown(NO_GRACE).await;
    let engine = on(&store).await;
    run(&engine, 1).await;
    let mut events = engine.events(Some(position));
    seen.extend(rest(&mut events).await);
    assert_eq!(seen, rest(&mut engine.events(None)).await);
    assert!(
        engine
            .events(Some(events.position()))
            .try_next()
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test(start_paused = true)]
async fn a_reader_waits_for_what_comes() {
    let engine = on(&Arc::new(MemStore::new())).await;
    let mut events = engine.events(None);
    assert!(events.try_next().await.unwrap().is_none());
    let mut follower = tokio::spawn(async move { events.next().await });
    assert!(tokio::time::timeout(PATIENCE, &mut follower).await.is_err());
    run(&engine, 1).await;
    let first = in_time(follower).await.unwrap().unwrap();
    assert_eq!(event(first).what, EventKind::Started);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_fell_too_far_behind_is_told_of_the_gap() {
    let store = Arc::new(MemStore::new());
    let engine = on(&store).await;
    run(&engine, 5).await;
    let mut events = engine.events(None);
    let first = events.next().await.unwrap().etag();
    let old = rest(&mut events).await;
    engine.shutdown(NO_GRACE).await;
    age(&*store, EVENTS_KEPT_FOR + DAY);

    let engine = on(&store).await;
    let mut late = engine.events(Some(first));
    tokio::time::sleep(SWEPT).await;
    run(&engine, 1).await;
    let until = old.last().unwrap().etag();
    let gap = LogItem::Gap { until };
    assert_eq!(in_time(late.next()).await.unwrap(), gap);
    assert_eq!(late.position(), until);
    let later = rest(&mut late).await;
    assert!(later.iter().all(|item| item.etag() > until));
    assert_eq!(later.len(), 5 + 2, "five removals, a start and its end");
    // Whoever had seen them all misses nothing.
    assert_eq!(rest(&mut engine.events(Some(until))).await, later);
    let from_the_start = rest(&mut engine.events(None)).await;
    assert_eq!(from_the_start[0], gap);
    assert_eq!(from_the_start[1..], later);
}

#[tokio::test(start_paused = true)]
async fn the_log_is_trimmed_to_the_last_million_of_seven_days() {
    let store = Faulty::on(&Arc::new(MemStore::new()));
    let engine = on(&store).await;
    engine.run(ECHO, "a", &1).await.unwrap();
    tokio::time::sleep(SWEPT).await;
    let kept = store.kept.lock().expect("it was trimmed");
    assert_eq!((kept.newest, EVENTS_KEPT), (1_000_000, 1_000_000));
    let ended = engine.get("a").await.unwrap().unwrap().updated_at_us;
    let now = ended..ended + SWEPT.as_micros() as u64;
    let seven_days = 7 * DAY.as_micros() as u64;
    assert!(now.contains(&(kept.since.0 + seven_days)), "{kept:?}");
    assert!(kept.since > Micros(0));
}

/// The commit is in the store and its answer is lost: nobody can say whether it is there after the next open.
#[tokio::test(start_paused = true)]
async fn nothing_is_shown_that_is_not_known_to_be_durable() {
    let store = Faulty::on(&Arc::new(MemStore::new()));
    let engine = on(&store).await;
    run(&engine, 1).await;
    let mut events = engine.events(None);
    let before = rest(&mut events).await;
    store.fail_after_commit.store(true, Ordering::SeqCst);
    assert!(engine.start(ECHO, "a", &1).await.is_err());
    let in_store = store.events(Etag(events.position()), 10).unwrap().events;
    assert!(!in_store.is_empty(), "else this test shows nothing");
    assert_eq!(events.try_next().await.unwrap(), None);
    let stopped = in_time(events.next()).await;
    assert!(matches!(stopped, Err(EventsError::Store(_))), "{stopped:?}");
    assert_eq!(rest(&mut engine.events(None)).await, before);
}

#[tokio::test(start_paused = true)]
async fn an_engine_without_a_log_says_so() {
    let builder = Engine::in_memory().task(ECHO, echo).log_events(false);
    let engine = builder.open().await.unwrap();
    run(&engine, 1).await;
    let mut events = engine.events(None);
    assert!(matches!(
        events.try_next().await,
        Err(EventsError::NotLogged)
    ));
    assert!(matches!(events.next().await, Err(EventsError::NotLogged)));
}

#[tokio::test(start_paused = true)]
async fn who_follows_learns_that_the_engine_stopped() {
    let gate = Gate::closed();
    let engine = counting(&gate).await;
    engine.start(COUNT, "a", &1).await.unwrap();
    let mut events = engine.events(None);
    rest(&mut events).await;
    let mut watch = engine.watch("a");
    assert!(watch.changed().await.unwrap().is_some());
    let followers = tokio::spawn(async move { tokio::join!(events.next(), watch.changed()) });
    engine.shutdown(NO_GRACE).await;
    let (event, task) = in_time(followers).await.unwrap();
    assert!(matches!(event, Err(EventsError::ShuttingDown)), "{event:?}");
    assert!(matches!(task, Err(GetError::ShuttingDown)), "{task:?}");
    let late = engine.watch("a").changed().await;
    assert!(matches!(late, Err(GetError::ShuttingDown)), "{late:?}");
}

/// Flips a bit of a stored event, behind the store's back.
fn damage(path: &Path, etag: u64) {
    const EVENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events");
    let database = bare_database(path).unwrap();
    let write = database.begin_write().unwrap();
    {
        let mut table = write.open_table(EVENTS).unwrap();
        let mut bytes = table.get(etag).unwrap().unwrap().value().to_vec();
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        table.insert(etag, bytes.as_slice()).unwrap();
    }
    write.commit().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_damaged_entry_hides_nothing_before_it_and_can_be_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tasks.redb");
    let engine = on(&redb(&path)).await;
    run(&engine, 4).await;
    let whole = rest(&mut engine.events(None)).await;
    engine.shutdown(NO_GRACE).await;
    drop(engine);
    damage(&path, whole[3].etag());

    let engine = on(&redb(&path)).await;
    let mut events = engine.events(None);
    for item in &whole[..3] {
        assert_eq!(events.next().await.unwrap(), *item);
    }
    let damaged = events.next().await;
    let key = whole[3].etag().to_string();
    assert!(
        matches!(
            &damaged,
            Err(EventsError::Store(StoreError::Corrupt { table: "events", key: at })) if **at == *key
        ),
        "{damaged:?}"
    );
    let mut further = engine.events(Some(whole[3].etag()));
    assert_eq!(rest(&mut further).await, whole[4..]);
}

async fn counting(gate: &Gate) -> Engine {
    let gate = gate.clone();
    let count = move |ctx: Ctx, to: u32| {
        let gate = gate.clone();
        async move {
            for _ in 0..to {
                gate.pass().await;
                ctx.metadata().increment("done", 1)?;
                ctx.flush_metadata().await?;
            }
            Ok::<_, HandlerError>(to)
        }
    };
    let builder = Engine::in_memory().task(COUNT, count).task(ECHO, echo);
    builder.open().await.expect("it opens")
}

fn done(task: &outlive::Snapshot) -> u64 {
    let progress = task.metadata.get("default");
    let done = progress.and_then(|progress| progress.get("done"));
    done.and_then(|done| done.as_u64()).unwrap_or(0)
}

#[tokio::test(start_paused = true)]
async fn a_watcher_sees_the_progress_and_the_end() {
    let gate = Gate::closed();
    let engine = counting(&gate).await;
    engine.start(COUNT, "a", &3).await.unwrap();
    let mut watch = engine.watch("a");
    let first = in_time(watch.changed()).await.unwrap().unwrap();
    assert_eq!((first.status, done(&first)), (Status::InProgress, 0));
    for number in 1..=2 {
        gate.let_through(1);
        let task = in_time(watch.changed()).await.unwrap().unwrap();
        assert_eq!((task.status, done(&task)), (Status::InProgress, number));
        assert_eq!(task.etag, first.etag, "metadata is no transition");
    }
    gate.let_through(1);
    let mut last = in_time(watch.changed()).await.unwrap().unwrap();
    if last.status != Status::Completed {
        last = in_time(watch.changed()).await.unwrap().unwrap();
    }
    assert_eq!((last.status, done(&last)), (Status::Completed, 3));
    assert_eq!(last.output, Some(3.into()));
    // Nothing more happens to it until it is removed.
    assert!(tokio::time::timeout(DAY, watch.changed()).await.is_err());
    assert!(engine.delete("a").await.unwrap());
    assert!(in_time(watch.changed()).await.unwrap().is_none());
    engine.run(COUNT, "a", &0).await.unwrap();
    assert!(
        in_time(watch.changed()).await.unwrap().is_none(),
        "another task"
    );
}

#[tokio::test(start_paused = true)]
async fn a_slow_watcher_sees_the_newest_and_no_queue() {
    let gate = Gate::closed();
    let engine = counting(&gate).await;
    let run = engine.start(COUNT, "a", &100).await.unwrap();
    let mut watch = engine.watch("a");
    assert_eq!(done(&watch.changed().await.unwrap().unwrap()), 0);
    gate.let_through(100);
    run.result().await.unwrap();
    let newest = in_time(watch.changed()).await.unwrap().unwrap();
    assert_eq!((newest.status, done(&newest)), (Status::Completed, 100));
    assert!(
        tokio::time::timeout(PATIENCE, watch.changed())
            .await
            .is_err()
    );
}

#[tokio::test(start_paused = true)]
async fn a_watcher_is_not_woken_by_other_tasks() {
    let gate = Gate::closed();
    let engine = counting(&gate).await;
    engine.start(COUNT, "a", &1).await.unwrap();
    let mut watch = engine.watch("a");
    watch.changed().await.unwrap();
    let mut waits = tokio::spawn(async move { watch.changed().await });
    run(&engine, 3).await;
    assert!(tokio::time::timeout(PATIENCE, &mut waits).await.is_err());
    gate.let_through(1);
    assert!(in_time(waits).await.unwrap().unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_cannot_be_watched() {
    let engine = on(&Arc::new(MemStore::new())).await;
    assert!(engine.watch("nobody").changed().await.unwrap().is_none());
    let invalid = engine.watch("no id").changed().await;
    assert!(
        matches!(invalid, Err(GetError::InvalidId(_))),
        "{invalid:?}"
    );
}

/// A future that is dropped half-way has not taken the change along.
#[tokio::test(start_paused = true)]
async fn a_dropped_call_loses_no_change() {
    let gate = Gate::closed();
    let engine = counting(&gate).await;
    engine.start(COUNT, "a", &2).await.unwrap();
    let mut watch = engine.watch("a");
    watch.changed().await.unwrap();
    assert!(
        tokio::time::timeout(PATIENCE, watch.changed())
            .await
            .is_err()
    );
    gate.let_through(1);
    gate.came(2).await;
    assert_eq!(done(&in_time(watch.changed()).await.unwrap().unwrap()), 1);
}
