//! What is seen of tasks from outside: one by one, and in lists.

use outlive::{
    Ctx, Cursor, Ended, Engine, EventKind, FailureKind, GetError, HandlerError, Index, LIST_MAX,
    Listing, Reply, RetryPolicy, Snapshot, Status, StoreError, TASK_TAG, TaskDef, WaitReason,
};
use outlive_storage::redb::bare_database;
use outlive_storage::row::{Etag, TaskNumber, TaskRow};
use outlive_storage::store::PAGE_MAX;
use outlive_storage::{MemStore, Scan, Store};
use outlive_tests::faulty::Faulty;
use outlive_tests::gate::Gate;
use outlive_tests::latch::Latch;
use outlive_tests::play::{Act, MISREAD, MORE, PLAY, Play, ask, fail_until, held, say, until};
use redb::{ReadableTable, TableDefinition};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const NO_GRACE: Duration = Duration::ZERO;
/// Of no handler here.
const OTHER: TaskDef<Act, String> = TaskDef::new("other");
/// [`PLAY`] in a program that lists its tasks by everything.
const INDEXED: TaskDef<Act, String> =
    PLAY.index(&[Index::Session, Index::Owner, Index::Tag("colour")]);

async fn in_memory(play: &Play) -> Engine {
    let builder = Engine::in_memory().task(PLAY, play.handler());
    builder.open().await.expect("it opens")
}

/// An engine on this store, as a program that registered `def`; [`TaskDef::index`] is all that may differ.
async fn on(store: &Arc<MemStore>, def: TaskDef<Act, String>) -> Engine {
    let builder = Engine::on_store(Arc::clone(store) as Arc<dyn Store>).inline();
    let builder = builder.owner("us").task(def, Play::default().handler());
    builder.open().await.expect("it opens")
}

async fn seen(engine: &Engine, id: &str) -> Snapshot {
    let task = engine.get(id).await.expect("the store answers");
    task.expect("it is there")
}

/// The ids on one page.
async fn ids(listing: Listing) -> Vec<String> {
    let page = listing.await.expect("the store answers");
    assert!(page.damaged.is_empty());
    page.tasks.iter().map(|task| task.id.to_string()).collect()
}

/// The ids of all pages, each of `limit` tasks at most, and how many pages there were.
async fn paged(listing: Listing, limit: usize) -> (Vec<String>, usize) {
    let (mut all, mut pages, mut after) = (Vec::new(), 0, None);
    loop {
        let listing = listing.clone().limit(limit).after(after);
        let page = listing.await.expect("the store answers");
        assert!(page.tasks.len() <= limit && page.damaged.is_empty());
        all.extend(page.tasks.iter().map(|task| task.id.to_string()));
        pages += 1;
        after = page.next;
        if after.is_none() {
            return (all, pages);
        }
    }
}

/// Starts it and waits for the end of its turn.
async fn play_out(engine: &Engine, id: &str, act: Act) {
    // How it ends is looked at afterwards.
    let _ = engine
        .start(PLAY, id, &act)
        .await
        .expect("it starts")
        .result()
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_task_is_shown_in_each_of_its_states() {
    let play = Play::default();
    let engine = in_memory(&play).await;
    let later = Duration::from_secs(60);
    engine
        .start(PLAY, "delayed", &say("x"))
        .start_in(later)
        .await
        .unwrap();
    let delayed = seen(&engine, "delayed").await;
    assert_eq!(delayed.status, Status::Pending);
    assert_eq!(delayed.wait, Some(WaitReason::Delayed));
    assert_eq!(delayed.due_at_us, Some(delayed.created_at_us + 60_000_000));
    assert_eq!(
        (delayed.generation, delayed.attempt, delayed.turn),
        (0, 0, 1)
    );

    let start = engine.start(PLAY, "runs", &held(say("x")));
    start.timeout(later).await.unwrap();
    play.gate.came(1).await;
    let running = seen(&engine, "runs").await;
    assert_eq!((running.status, running.wait), (Status::InProgress, None));
    assert!(running.generation > 0 && running.attempt == 1);
    assert_eq!(running.deadline_us, Some(running.since_us + 60_000_000));
    engine.cancel("runs", "enough").await.unwrap();
    let cancelling = seen(&engine, "runs").await;
    assert_eq!(cancelling.cancel_requested.as_deref(), Some("enough"));
    assert!(cancelling.etag > running.etag);

    play_out(&engine, "waits", ask("what?")).await;
    let suspended = seen(&engine, "waits").await;
    assert_eq!(suspended.status, Status::Suspended);
    let reason = MORE.into();
    assert_eq!(suspended.wait, Some(WaitReason::Input { reason }));
    assert_eq!(suspended.output, Some("what?".into()));
    assert_eq!((suspended.ended, suspended.expires_at_us), (None, None));

    engine.start(MISREAD, "unread", &7).await.unwrap();
    let unread = until(&engine, "unread", |task| task.status == Status::Suspended).await;
    assert!(matches!(unread.wait, Some(WaitReason::Undecodable { what, .. }) if &*what == "input"));
}

#[tokio::test(start_paused = true)]
async fn an_ended_task_shows_how_it_ended() {
    let play = Play::default();
    let engine = in_memory(&play).await;
    play_out(&engine, "well", say("done")).await;
    let well = seen(&engine, "well").await;
    assert_eq!((well.status, well.wait), (Status::Completed, None));
    assert_eq!(
        (well.ended, well.output),
        (Some(Ended::Succeeded), Some("done".into()))
    );
    assert!(well.expires_at_us.is_some_and(|at| at > well.since_us));

    play_out(&engine, "badly", Act::Never("no".to_owned())).await;
    let badly = seen(&engine, "badly").await;
    let Some(Ended::Failed(failure)) = badly.ended else {
        panic!("{badly:?}")
    };
    assert_eq!(
        (failure.kind, &*failure.message, failure.attempts),
        (FailureKind::Error, "no", 1)
    );
    assert_eq!(badly.output, None);

    engine
        .start(PLAY, "a", &say("x"))
        .start_in(NO_GRACE + Duration::from_secs(9))
        .await
        .unwrap();
    engine.cancel("a", "not needed").await.unwrap();
    let reason = "not needed".to_owned();
    assert_eq!(
        seen(&engine, "a").await.ended,
        Some(Ended::Cancelled { reason })
    );

    engine.start(PLAY, "b", &held(say("x"))).await.unwrap();
    play.gate.came(1).await;
    engine.terminate("b", "stop").await.unwrap();
    let ended = seen(&engine, "b").await.ended;
    assert!(
        matches!(ended, Some(Ended::Terminated { reason, timed_out: false }) if reason == "stop")
    );
}

#[tokio::test]
async fn who_is_not_there_is_none_and_what_is_no_id_is_an_error() {
    let engine = in_memory(&Play::default()).await;
    assert!(engine.get("nobody").await.unwrap().is_none());
    let no_id = engine.get("no id").await;
    assert!(matches!(no_id, Err(GetError::InvalidId(_))));
}

#[tokio::test(start_paused = true)]
async fn the_interim_error_is_shown_between_attempts_and_cleared_by_success() {
    let engine = in_memory(&Play::default()).await;
    let retry = RetryPolicy::fixed();
    let start = engine.start(PLAY, "a", &fail_until(1, say("x")));
    let run = start.retry(retry).await.unwrap();
    let waiting = until(&engine, "a", |task| task.last_failure.is_some()).await;
    assert_eq!(
        (waiting.status, waiting.wait),
        (Status::Pending, Some(WaitReason::BackOff))
    );
    assert!(
        waiting
            .due_at_us
            .is_some_and(|at| at > waiting.updated_at_us)
    );
    let interim = waiting.last_failure.unwrap();
    assert_eq!((&*interim.message, interim.attempts), ("attempt 1", 1));
    assert_eq!((waiting.ended, waiting.output), (None, None));
    assert_eq!(run.result().await.unwrap(), "x");
    let ended = seen(&engine, "a").await;
    assert_eq!((ended.last_failure, ended.attempt), (None, 2));
}

#[tokio::test(start_paused = true)]
async fn the_timeline_is_in_order_and_keeps_the_latest_16() {
    let engine = in_memory(&Play::default()).await;
    play_out(&engine, "short", say("x")).await;
    let kinds = |task: &Snapshot| {
        task.timeline
            .iter()
            .map(|entry| entry.what)
            .collect::<Vec<_>>()
    };
    let short = seen(&engine, "short").await;
    assert_eq!(*kinds(&short).first().unwrap(), EventKind::Started);
    assert_eq!(*kinds(&short).last().unwrap(), EventKind::Succeeded);
    for turn in 0..20 {
        tokio::time::advance(Duration::from_millis(5)).await;
        play_out(&engine, "long", ask(format!("turn {turn}"))).await;
    }
    let long = seen(&engine, "long").await;
    assert_eq!((long.timeline.len(), long.turn), (16, 20));
    assert!(
        long.timeline
            .is_sorted_by_key(|entry| (entry.at_us, entry.turn))
    );
    let (first, last) = (long.timeline[0], long.timeline[15]);
    assert_eq!((last.what, last.turn), (EventKind::Suspended, 20));
    assert!(first.at_us < last.at_us && first.turn > 1, "{first:?}");
}

/// The row and what lies beside it are read one after the other. An engine that did not look again showed the metadata
/// of a turn that had not begun when the row was read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_is_of_one_moment() {
    const COUNT: TaskDef<(), ()> = TaskDef::new("count");
    async fn count(ctx: Ctx, (): ()) -> Result<Reply<()>, HandlerError> {
        ctx.metadata().set("turn", ctx.turn())?;
        Ok(Reply::suspend((), MORE))
    }
    let store = Faulty::on(&Arc::new(MemStore::new()));
    let engine = Engine::on_store(Arc::clone(&store) as Arc<dyn Store>);
    let engine = engine.task(COUNT, count).open().await.unwrap();
    engine.run(COUNT, "a", &()).await.unwrap();
    let (latch, opens) = Latch::closed();
    let read = Gate::closed();
    let reading = read.clone();
    store.before_value.set(move || {
        reading.arrive();
        latch.wait();
    });
    let looking = engine.clone();
    let look = tokio::spawn(async move { looking.get("a").await });
    read.came(1).await;
    engine.run(COUNT, "a", &()).await.unwrap();
    drop(opens);
    let seen = look.await.unwrap().unwrap().expect("it is there");
    let turn = seen.metadata["default"]["turn"].as_u64();
    assert_eq!(turn, Some(u64::from(seen.turn)));
    assert_eq!((seen.status, seen.turn), (Status::Suspended, 2));
}

/// Every row of a store, with its number, and how far its counters are.
fn whole(store: &MemStore) -> (Vec<(TaskNumber, TaskRow)>, Etag, usize) {
    let page = store.scan(Scan::All, None, PAGE_MAX).expect("a page");
    let rows = page.rows.into_iter();
    let rows = rows
        .map(|found| (found.task, found.row.expect("a row")))
        .collect();
    let etag = store.counters().expect("counters").etag;
    let log = store.events(Etag(0), PAGE_MAX).expect("the log");
    (rows, etag, log.events.len())
}

#[tokio::test(start_paused = true)]
async fn looking_changes_nothing() {
    let store = Arc::new(MemStore::new());
    let engine = on(&store, PLAY).await;
    play_out(&engine, "done", say("x")).await;
    play_out(&engine, "waits", ask("x")).await;
    let start = engine.start(PLAY, "later", &say("x"));
    start.start_in(Duration::from_secs(9)).await.unwrap();
    let before = whole(&store);
    for id in ["done", "waits", "later", "nobody"] {
        engine.get(id).await.unwrap();
        engine.explain(id).await.unwrap();
        engine.history(id).await.unwrap();
        // Whether there is a handle does not matter here.
        let _ = engine.attach(PLAY, id).await;
    }
    assert_eq!(engine.list(PLAY).await.unwrap().tasks.len(), 3);
    assert_eq!(
        engine
            .list_all()
            .tag("no", "such")
            .collect(9)
            .await
            .unwrap()
            .tasks
            .len(),
        0
    );
    assert_eq!(whole(&store), before);
}

/// The rows of a file, by number.
const TASKS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("tasks");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_row_is_an_error_and_never_missing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tasks.redb");
    let open = async || {
        let builder = Engine::builder(&path).task(PLAY, Play::default().handler());
        builder.open().await.unwrap()
    };
    let engine = open().await;
    for id in ["a", "b", "c"] {
        play_out(&engine, id, say(id)).await;
    }
    engine.shutdown(NO_GRACE).await;
    drop(engine);
    {
        let database = bare_database(&path).unwrap();
        let write = database.begin_write().unwrap();
        {
            let mut tasks = write.open_table(TASKS).unwrap();
            let second = tasks.iter().unwrap().nth(1).unwrap().unwrap();
            let (number, mut row) = (second.0.value(), second.1.value().to_vec());
            drop(second);
            *row.last_mut().unwrap() ^= 1;
            tasks.insert(number, &*row).unwrap();
        }
        write.commit().unwrap();
    }
    let engine = open().await;
    let damaged = |error: &StoreError| matches!(error, StoreError::Corrupt { table: "tasks", .. });
    let error = engine.get("b").await.unwrap_err();
    assert!(
        matches!(&error, GetError::Store(error) if damaged(error)),
        "{error:?}"
    );
    let error = engine.explain("b").await.unwrap_err();
    assert!(
        matches!(&error, GetError::Store(error) if damaged(error)),
        "{error:?}"
    );
    let page = engine.list(PLAY).await.unwrap();
    let listed: Vec<_> = page.tasks.iter().map(|task| task.id.as_str()).collect();
    assert_eq!(listed, ["c", "a"], "its neighbours are there");
    assert!(page.damaged.len() == 1 && page.damaged.iter().all(damaged));
    assert_eq!(seen(&engine, "a").await.output, Some("a".into()));
}

#[tokio::test]
async fn a_list_is_of_its_definition_newest_first() {
    let engine = Engine::in_memory()
        .task(PLAY, Play::default().handler())
        .task(OTHER, Play::default().handler())
        .open()
        .await
        .unwrap();
    for n in 0..4 {
        engine.run(PLAY, format!("p{n}"), &say("x")).await.unwrap();
        engine.run(OTHER, format!("o{n}"), &say("x")).await.unwrap();
    }
    assert_eq!(ids(engine.list(PLAY)).await, ["p3", "p2", "p1", "p0"]);
    assert_eq!(ids(engine.list_all().limit(3)).await, ["o3", "p3", "o2"]);
    assert_eq!(ids(engine.list_all().limit(LIST_MAX * 9)).await.len(), 8);
    assert_eq!(
        ids(engine.list(PLAY).limit(0)).await,
        ["p3"],
        "a page has at least one"
    );
    let all = engine.list_all().limit(3).collect(7).await.unwrap();
    assert_eq!(all.tasks.len(), 7);
    let rest = engine.list_all().after(all.next);
    assert_eq!(ids(rest).await, ["p0"], "collect says where to go on");
    let listed = engine.list(PLAY).await.unwrap();
    let mut whole = seen(&engine, "p3").await;
    assert!(whole.output.take().is_some() && whole.output_json.take().is_some());
    assert_eq!(
        listed.tasks[0], whole,
        "a page is small, and otherwise the same"
    );
}

#[tokio::test]
async fn what_nobody_registered_here_is_listed_by_its_name() {
    let store = Arc::new(MemStore::new());
    let engine = on(&store, PLAY).await;
    play_out(&engine, "a", say("x")).await;
    engine.shutdown(NO_GRACE).await;
    let engine = Engine::on_store(store).inline().open().await.unwrap();
    assert_eq!(ids(engine.list(PLAY)).await, ["a"]);
    assert_eq!(
        ids(engine.list(OTHER)).await,
        [""; 0],
        "a name no file knows"
    );
}

#[tokio::test]
async fn cursors_stay_good_while_tasks_come_and_go() {
    let engine = in_memory(&Play::default()).await;
    for n in 0..30 {
        engine.run(PLAY, format!("t{n}"), &say("x")).await.unwrap();
    }
    let (mut listed, mut after, mut page) = (Vec::new(), None, 0);
    loop {
        let found = engine.list(PLAY).limit(4).after(after).await.unwrap();
        listed.extend(found.tasks.iter().map(|task| task.id.to_string()));
        let Some(next) = found.next else { break };
        // The cursor goes out as text and comes back.
        after = Some(next.to_string().parse::<Cursor>().unwrap());
        page += 1;
        let id = format!("new{page}");
        engine.run(PLAY, id, &say("x")).await.unwrap();
        // One that was listed goes, one still to come, and at times the one at which the cursor stands.
        let last = listed.last().unwrap();
        let number: u32 = last[1..].parse().unwrap();
        let mut gone = vec![listed[listed.len() - 2].clone()];
        gone.extend(number.checked_sub(3).map(|number| format!("t{number}")));
        gone.extend((page % 2 == 0).then(|| last.clone()));
        for id in gone {
            assert!(engine.delete(id).await.unwrap());
        }
    }
    assert!(page >= 5, "{listed:?}");
    let all: Vec<String> = (0..30).rev().map(|n| format!("t{n}")).collect();
    let missed: Vec<_> = all.iter().filter(|id| !listed.contains(id)).collect();
    let mut once = listed.clone();
    once.dedup();
    assert_eq!(once, listed, "each once");
    assert!(
        listed.iter().all(|id| all.contains(id)),
        "nothing new: {listed:?}"
    );
    for id in missed {
        assert!(
            engine.get(id).await.unwrap().is_none(),
            "{id} was there all the time"
        );
    }
}

#[tokio::test]
async fn tags_are_all_required_and_the_name_is_a_tag() {
    let engine = in_memory(&Play::default()).await;
    let start = |id: &str| engine.start(PLAY, id, &say("x"));
    start("red").tag("colour", "red").await.unwrap();
    start("big")
        .tag("colour", "red")
        .tag("size", "big")
        .await
        .unwrap();
    start("blue")
        .tag("colour", "blue")
        .tag("size", "big")
        .await
        .unwrap();
    start("plain").await.unwrap();
    let list = || engine.list(PLAY);
    assert_eq!(ids(list().tag("colour", "red")).await, ["big", "red"]);
    assert_eq!(
        ids(list().tag("colour", "red").tag("size", "big")).await,
        ["big"]
    );
    assert_eq!(ids(list().tag("size", "big")).await, ["blue", "big"]);
    assert!(
        ids(list().tag("colour", "red").tag("colour", "blue"))
            .await
            .is_empty()
    );
    assert!(ids(list().tag("colour", "re")).await.is_empty());
    let named = || engine.list_all().tag(TASK_TAG, PLAY.name());
    assert_eq!(ids(named()).await.len(), 4);
    assert_eq!(ids(named().tag("size", "big")).await, ["blue", "big"]);
    assert_eq!(ids(list().tag(TASK_TAG, PLAY.name())).await.len(), 4);
    assert!(ids(list().tag(TASK_TAG, OTHER.name())).await.is_empty());
    assert!(ids(named().tag(TASK_TAG, OTHER.name())).await.is_empty());
    let tags = &seen(&engine, "plain").await.tags;
    assert_eq!(tags.get(TASK_TAG).map(String::as_str), Some(PLAY.name()));
}

#[tokio::test(start_paused = true)]
async fn a_list_is_of_a_status_a_session_an_owner_and_a_time() {
    let store = Arc::new(MemStore::new());
    let engine = on(&store, PLAY).await;
    let mut moments = Vec::new();
    for (id, act, session) in [
        ("ended", say("x"), "s1"),
        ("waits", ask("x"), "s2"),
        ("failed", Act::Never("no".to_owned()), "s2"),
    ] {
        let run = engine.start(PLAY, id, &act).session(session).await.unwrap();
        let _ = run.outcome().await;
        let created_us = seen(&engine, id).await.created_at_us;
        moments.push(SystemTime::UNIX_EPOCH + Duration::from_micros(created_us));
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    let list = || engine.list(PLAY);
    assert_eq!(
        ids(list().status(Status::Completed)).await,
        ["failed", "ended"]
    );
    assert_eq!(ids(list().status(Status::Suspended)).await, ["waits"]);
    assert!(ids(list().status(Status::InProgress)).await.is_empty());
    assert_eq!(ids(list().session("s2")).await, ["failed", "waits"]);
    assert_eq!(
        ids(list().session("s2").status(Status::Completed)).await,
        ["failed"]
    );
    assert_eq!(ids(list().owner("us")).await.len(), 3);
    assert!(ids(list().owner("them")).await.is_empty());
    assert_eq!(ids(list().created(moments[1]..)).await, ["failed", "waits"]);
    assert_eq!(
        ids(list().created(moments[0]..moments[2])).await,
        ["waits", "ended"]
    );
    assert_eq!(ids(list().created(..=moments[0])).await, ["ended"]);
    assert!(ids(list().created(..moments[0])).await.is_empty());
    assert_eq!(ids(list().created(..).limit(2)).await, ["failed", "waits"]);
}

/// Starts so many, of which the first ones belong to a session of their own.
async fn crowd(engine: &Engine, prefix: &str, count: usize, of_session: usize) {
    for n in 0..count {
        let start = engine.start(PLAY, format!("{prefix}{n}"), &ask("x"));
        let session = if n < of_session { "few" } else { "many" };
        start.session(session).await.unwrap();
    }
}

#[tokio::test]
async fn a_page_looks_at_500_tasks_and_says_how_far_it_came() {
    let engine = in_memory(&Play::default()).await;
    crowd(&engine, "t", 2 * LIST_MAX + 100, 2).await;
    let few = engine.list(PLAY).session("few");
    let first = few.clone().await.unwrap();
    assert!(first.tasks.is_empty() && first.next.is_some(), "{first:?}");
    let (found, pages) = paged(few.clone(), 10).await;
    assert_eq!((found, pages), (vec!["t1".to_owned(), "t0".to_owned()], 3));
    let all = few.collect(10).await.unwrap();
    assert_eq!((all.tasks.len(), all.next), (2, None));
}

#[tokio::test]
async fn an_index_spares_a_list_the_tasks_of_others() {
    let store = Arc::new(MemStore::new());
    let engine = on(&store, INDEXED).await;
    crowd(&engine, "t", 2 * LIST_MAX + 100, 2).await;
    let few = engine.list(PLAY).session("few");
    assert_eq!(
        paged(few.clone(), 10).await,
        (vec!["t1".to_owned(), "t0".to_owned()], 1)
    );
    // Neither is it lost by a restart.
    engine.shutdown(NO_GRACE).await;
    let engine = on(&store, INDEXED).await;
    let few = engine.list(PLAY).session("few");
    assert_eq!(paged(few, 10).await.1, 1);
}

#[tokio::test]
async fn an_index_hides_no_task_that_is_older_or_from_a_time_without_it() {
    let store = Arc::new(MemStore::new());
    for (life, def) in [PLAY, INDEXED, PLAY, INDEXED].into_iter().enumerate() {
        let engine = on(&store, def).await;
        crowd(&engine, &format!("l{life}-"), 3, 2).await;
        engine.shutdown(NO_GRACE).await;
    }
    let engine = on(&store, INDEXED).await;
    let expected = [
        "l3-1", "l3-0", "l2-1", "l2-0", "l1-1", "l1-0", "l0-1", "l0-0",
    ];
    for limit in [1, 2, 3, 100] {
        let (found, _) = paged(engine.list(PLAY).session("few"), limit).await;
        assert_eq!(found, expected, "in pages of {limit}");
    }
}

/// Numbers that look like chance, the same ones each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn one_of(&mut self, all: &[&'static str]) -> Option<&'static str> {
        let at = self.below(all.len() as u64 + 1) as usize;
        all.get(at).copied()
    }
}

/// What a random task was started with, and how it was left.
#[derive(Debug)]
struct Thrown {
    id: String,
    session: Option<&'static str>,
    colour: Option<&'static str>,
    size: Option<&'static str>,
    status: Status,
}

const SESSIONS: [&str; 2] = ["s", "t"];
const COLOURS: [&str; 3] = ["red", "blue", "s"];
const SIZES: [&str; 2] = ["big", "small"];

async fn throw(engine: &Engine, dice: &mut Dice, number: u64) -> Thrown {
    let ends = dice.below(2) == 0;
    let thrown = Thrown {
        id: format!("t{number}"),
        session: dice.one_of(&SESSIONS),
        colour: dice.one_of(&COLOURS),
        size: dice.one_of(&SIZES),
        status: if ends {
            Status::Completed
        } else {
            Status::Suspended
        },
    };
    let act = if ends { say("x") } else { ask("x") };
    let mut start = engine.start(PLAY, thrown.id.as_str(), &act);
    if let Some(session) = thrown.session {
        start = start.session(session);
    }
    for (key, value) in [("colour", thrown.colour), ("size", thrown.size)] {
        if let Some(value) = value {
            start = start.tag(key, value);
        }
    }
    start
        .await
        .expect("it starts")
        .outcome()
        .await
        .expect("it ends");
    thrown
}

/// A random question, and what its answer should be.
fn question(engine: &Engine, dice: &mut Dice, all: &[Thrown]) -> (Listing, Vec<String>) {
    let session = dice.one_of(&SESSIONS);
    let (colour, size) = (dice.one_of(&COLOURS), dice.one_of(&SIZES));
    let status = [None, Some(Status::Completed), Some(Status::Suspended)][dice.below(3) as usize];
    let mut listing = engine.list(PLAY);
    if let Some(session) = session {
        listing = listing.session(session);
    }
    if let Some(status) = status {
        listing = listing.status(status);
    }
    for (key, value) in [("colour", colour), ("size", size)] {
        if let Some(value) = value {
            listing = listing.tag(key, value);
        }
    }
    if dice.below(2) == 0 {
        listing = listing.owner("us");
    }
    let has = |asked: Option<&str>, is: Option<&str>| asked.is_none() || asked == is;
    let fits = |task: &&Thrown| {
        has(session, task.session)
            && has(colour, task.colour)
            && has(size, task.size)
            && status.is_none_or(|status| status == task.status)
    };
    let fitting = all.iter().rev().filter(fits);
    (listing, fitting.map(|task| task.id.clone()).collect())
}

#[tokio::test(start_paused = true)]
async fn an_indexed_list_and_a_filtered_one_are_the_same() {
    for seed in 0..12 {
        let mut dice = Dice(seed);
        let store = Arc::new(MemStore::new());
        let (mut all, mut started) = (Vec::new(), 0);
        for _ in 0..3 {
            let def = if dice.below(2) == 0 { PLAY } else { INDEXED };
            let engine = on(&store, def).await;
            for _ in 0..dice.below(20) {
                all.push(throw(&engine, &mut dice, started).await);
                started += 1;
            }
            // Some go, so that numbers are missing.
            if !all.is_empty() && dice.below(2) == 0 {
                let gone = all.remove(dice.below(all.len() as u64) as usize);
                assert!(engine.delete(&gone.id).force().await.unwrap());
            }
            engine.shutdown(NO_GRACE).await;
        }
        for def in [INDEXED, PLAY, INDEXED] {
            let engine = on(&store, def).await;
            for _ in 0..12 {
                let limit = 1 + dice.below(7) as usize;
                let (listing, expected) = question(&engine, &mut dice, &all);
                let asked = format!("seed {seed}: {listing:?}");
                assert_eq!(paged(listing, limit).await.0, expected, "{asked}");
            }
            engine.shutdown(NO_GRACE).await;
        }
    }
}
