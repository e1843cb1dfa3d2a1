//! A renamed definition goes on with the tasks of its former names, and nothing in the file is changed by it.

use crate::{NO_GRACE, in_time, on, opened, secs, task};
use outlive::{
    AttachError, Builder, Ctx, Ended, Engine, FORMER_NAMES_MAX, HandlerError, Index, Listing,
    OnConflict, OpenError, StartError, Status, StreamEvent, TASK_TAG, TaskDef, WaitReason,
};
use outlive_storage::{MemStore, Store};
use outlive_tests::faulty::Faulty;
use outlive_tests::gate::{Gate, Notes};
use outlive_tests::home::Home;
use outlive_tests::play::{Act, Play, ask, held, say, until};
use std::sync::Arc;
use std::sync::atomic::Ordering;

const ONE: TaskDef<Act, String> = TaskDef::new("one").steerable(2);
const TWO: TaskDef<Act, String> = TaskDef::new("two").formerly("one").steerable(2);
const THREE: TaskDef<Act, String> = TaskDef::new("three")
    .formerly("two")
    .formerly("one")
    .steerable(2);
/// The last one in a program that knows nothing of the former names.
const STRANGER: TaskDef<Act, String> = TaskDef::new("three").steerable(2);

/// Tasks in each state, by an engine that registered `def`; their ids begin with its name.
async fn in_every_state(engine: &Engine, def: TaskDef<Act, String>, play: &Play) {
    let id = |what: &str| format!("{}-{what}", def.name());
    let delayed = engine.start(def, id("delayed"), &say("delayed"));
    delayed.start_in(secs(60)).await.unwrap();
    let ended = engine.start(def, id("ended"), &say("ended")).await.unwrap();
    ended.result().await.unwrap();
    let chat = engine.start(def, id("suspended"), &ask("a")).await.unwrap();
    chat.outcome().await.unwrap();
    let runs = engine.start(def, id("runs"), &held(say("runs")));
    runs.input_id("first").await.unwrap();
    play.gate.came(1).await;
    let queued = engine.start(def, id("runs"), &say("queued"));
    assert!(queued.input_id("queued").await.unwrap().is_queued());
}

/// Every task of this first name is gone on with by an engine of the present one.
async fn goes_on(engine: &Engine, def: TaskDef<Act, String>, first: &str, play: &Play) {
    let id = |what: &str| format!("{first}-{what}");
    play.gate.came(1).await;
    play.gate.let_through(1);
    let first_input = engine
        .start(def, id("runs"), &say("other"))
        .input_id("first");
    in_time(first_input.await.unwrap().result()).await.unwrap();
    let queued = engine
        .start(def, id("runs"), &say("other"))
        .input_id("queued");
    let queued = queued.await.unwrap();
    assert_eq!(in_time(queued.result()).await.unwrap(), "queued");
    let resumed = engine.start(def, id("suspended"), &say("b")).await.unwrap();
    assert_eq!(in_time(resumed.result()).await.unwrap(), "b");
    let ended = engine.attach(def, id("ended")).await.unwrap();
    assert_eq!(ended.result().await.unwrap(), "ended");
    let again = engine.start(def, id("ended"), &say("again"));
    let again = again.on_conflict(OnConflict::Restart).await.unwrap();
    assert_eq!(in_time(again.result()).await.unwrap(), "again");
    assert_eq!(engine.history(id("ended")).await.unwrap().len(), 1);
    let delayed = engine.attach(def, id("delayed")).await.unwrap();
    assert_eq!(in_time(delayed.result()).await.unwrap(), "delayed");
    let seen = task(engine, &id("delayed")).await;
    assert_eq!(
        (&*seen.name, &*seen.tags[TASK_TAG]),
        (def.name(), def.name())
    );
}

#[tokio::test(start_paused = true)]
async fn a_chain_of_renames_goes_on_with_tasks_in_every_state() {
    for home in Home::both() {
        let play = Play::default();
        let engine = home.open(ONE, &play).await;
        in_every_state(&engine, ONE, &play).await;
        engine.shutdown(NO_GRACE).await;
        let engine = home.open(TWO, &play).await;
        assert_eq!(engine.recovery().await.dispatched, 1);
        play.gate.came(1).await;
        in_every_state(&engine, TWO, &play).await;
        engine.shutdown(NO_GRACE).await;
        let engine = home.open(THREE, &play).await;
        assert_eq!(engine.recovery().await.dispatched, 2);
        goes_on(&engine, THREE, "one", &play).await;
        goes_on(&engine, THREE, "two", &play).await;
        let listed = engine.list(THREE).await.unwrap().tasks;
        assert_eq!(listed.len(), 8);
        assert!(engine.list(ONE).await.unwrap().tasks.is_empty());
        engine.shutdown(NO_GRACE).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_program_without_the_former_name_leaves_its_tasks_waiting_and_an_older_one_finds_its_own()
{
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(ONE, &play).await;
    in_every_state(&engine, ONE, &play).await;
    engine.shutdown(NO_GRACE).await;
    let engine = home.open(STRANGER, &play).await;
    engine.recovery().await;
    for id in ["one-runs", "one-delayed"] {
        let seen = task(&engine, id).await;
        assert_eq!(
            (&*seen.name, &seen.wait),
            ("one", &Some(WaitReason::WaitingHandler))
        );
    }
    let refused = engine.start(STRANGER, "one-delayed", &say("other")).await;
    assert!(matches!(&refused, Err(StartError::OtherDefinition { name, .. }) if name == "one"));
    engine.shutdown(NO_GRACE).await;
    let engine = home.open(TWO, &play).await;
    engine.start(TWO, "new", &held(say("new"))).await.unwrap();
    engine.shutdown(NO_GRACE).await;
    // The program before the rename again: what it started is its own, what it knows nothing of waits.
    let engine = home.open(ONE, &play).await;
    engine.recovery().await;
    assert_eq!(
        task(&engine, "new").await.wait,
        Some(WaitReason::WaitingHandler)
    );
    goes_on(&engine, ONE, "one", &play).await;
    engine.shutdown(NO_GRACE).await;
    let engine = home.open(TWO, &play).await;
    play.gate.let_through(1);
    let new = engine.attach(TWO, "new").await.unwrap();
    assert_eq!(in_time(new.result()).await.unwrap(), "new");
}

#[tokio::test(start_paused = true)]
async fn a_handle_of_the_former_name_is_refused_and_told_the_present_one() {
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(ONE, &play).await;
    engine.run(ONE, "a", &say("x")).await.unwrap();
    engine.shutdown(NO_GRACE).await;
    let engine = home.open(TWO, &play).await;
    let attached = engine.attach(ONE, "a").await;
    assert!(matches!(&attached, Err(AttachError::OtherDefinition { name, .. }) if name == "two"));
    let started = engine.start(ONE, "b", &say("x")).await;
    assert!(matches!(
        started,
        Err(StartError::NoHandler { name: "one" })
    ));
}

#[tokio::test(start_paused = true)]
async fn a_task_of_a_former_name_is_retried_and_cancelled() {
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(ONE, &play).await;
    let failed = engine
        .run(ONE, "failed", &Act::Never("no".to_owned()))
        .await;
    assert!(failed.is_err());
    let waits = engine.start(ONE, "waits", &say("x")).start_in(secs(60));
    waits.await.unwrap();
    engine.shutdown(NO_GRACE).await;
    let engine = home.open(TWO, &play).await;
    let again = engine.retry(TWO, "failed").await.unwrap();
    assert!(in_time(again.result()).await.is_err());
    let failed = until(&engine, "failed", |task| task.ended.is_some()).await;
    assert!(matches!(failed.ended, Some(Ended::Failed(_))) && failed.run == 2);
    engine.cancel("waits", "enough").await.unwrap();
    let waits = task(&engine, "waits").await;
    assert!(matches!(waits.ended, Some(Ended::Cancelled { .. })));
}

async fn names(builder: Builder) -> (&'static str, &'static str, &'static str) {
    match builder.open().await {
        Err(OpenError::FormerName { name, of, also }) => (name, of, also),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_former_name_belongs_to_one_definition() {
    const A: TaskDef<u32, u32> = TaskDef::new("a");
    const B: TaskDef<u32, u32> = TaskDef::new("b").formerly("a");
    const C: TaskDef<u32, u32> = TaskDef::new("c").formerly("a");
    const SELF: TaskDef<u32, u32> = TaskDef::new("d").formerly("d");
    let store = Faulty::on(&Arc::new(MemStore::new()));
    let engine = || Engine::on_store(Arc::<Faulty>::clone(&store)).inline();
    let echo = |_: Ctx, n| async move { Ok::<_, HandlerError>(n) };
    assert_eq!(
        names(engine().task(B, echo).task(C, echo)).await,
        ("a", "c", "b")
    );
    assert_eq!(
        names(engine().task(B, echo).task(A, echo)).await,
        ("a", "b", "a")
    );
    assert_eq!(names(engine().task(SELF, echo)).await, ("d", "d", "d"));
    assert!(
        store.definitions().unwrap().is_empty(),
        "nothing was written"
    );
}

#[test]
fn a_former_name_keeps_the_rules_of_names_and_there_are_no_more_than_eight() {
    let with = |name: &'static str| std::panic::catch_unwind(move || ONE.formerly(name));
    for name in ["", ".", "a b", "é"] {
        assert!(with(name).is_err(), "{name:?}");
    }
    let mut def = ONE;
    for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        def = def.formerly(name);
    }
    assert_eq!(FORMER_NAMES_MAX, 8);
    assert!(std::panic::catch_unwind(move || def.formerly("i")).is_err());
}

/// One of these runs at once, whatever it was started as.
const LIMITED: TaskDef<u32, u32> = TaskDef::new("limited").concurrency(1);
const RENAMED: TaskDef<u32, u32> = TaskDef::new("renamed").formerly("limited").concurrency(1);

/// An engine whose handler notes the inputs it is entered with and waits at the gate.
async fn gated(
    store: &Arc<MemStore>,
    def: TaskDef<u32, u32>,
    (gate, entered): (&Gate, &Notes<u32>),
) -> Engine {
    let (gate, entered) = (gate.clone(), entered.clone());
    let handler = move |_: Ctx, n| {
        let gate = gate.clone();
        entered.add(n);
        async move {
            gate.pass().await;
            Ok::<_, HandlerError>(n)
        }
    };
    opened(on(store).task(def, handler)).await
}

#[tokio::test(start_paused = true)]
async fn tasks_of_both_names_share_the_limit_of_the_definition_and_run_in_one_order() {
    let (store, gate, entered) = (Arc::default(), Gate::closed(), Notes::default());
    let engine = gated(&store, LIMITED, (&gate, &entered)).await;
    // In progress, then waiting: by rank, then by age.
    for (n, rank) in [(0, 4), (1, 4), (2, 6), (3, 2)] {
        let start = engine.start(LIMITED, format!("t{n}"), &n);
        start.priority(rank).await.unwrap();
        tokio::time::sleep(secs(1)).await;
    }
    gate.came(1).await;
    engine.shutdown(NO_GRACE).await;
    entered.take();
    let engine = gated(&store, RENAMED, (&gate, &entered)).await;
    gate.came(1).await;
    for (n, rank) in [(4, 4), (5, 1), (6, 7)] {
        let start = engine.start(RENAMED, format!("t{n}"), &n);
        start.priority(rank).await.unwrap();
        tokio::time::sleep(secs(1)).await;
    }
    assert_eq!(entered.len(), 1, "one of them runs at once");
    let why = engine.explain("t1").await.unwrap().unwrap();
    assert!(
        matches!(
            why.waits_for,
            outlive::WaitsFor::Slot {
                running: 1,
                allowed: 1,
                of_definition: true,
                ..
            }
        ),
        "{why:?}"
    );
    for n in 1..=6 {
        gate.let_through(1);
        in_time(gate.came(1)).await;
        assert_eq!(entered.len(), n + 1, "one of them runs at once");
    }
    assert_eq!(entered.take(), [0, 5, 3, 1, 4, 2, 6]);
}

/// An input that the former program could not read is tried again by the renamed one.
#[tokio::test(start_paused = true)]
async fn a_task_parked_under_a_former_name_is_tried_again_at_the_open() {
    const TEXTS: TaskDef<String, u32> = TaskDef::new("limited");
    const READS: TaskDef<String, u32> = TaskDef::new("renamed").formerly("limited");
    let store = Arc::new(MemStore::new());
    let numbers = on(&store).task(LIMITED, |_: Ctx, n| async move { Ok::<_, HandlerError>(n) });
    let engine = opened(numbers).await;
    engine.start(TEXTS, "a", &"text".to_owned()).await.unwrap();
    until(&engine, "a", |task| task.status == Status::Suspended).await;
    engine.shutdown(NO_GRACE).await;
    let reads = on(&store).task(READS, |_: Ctx, text: String| async move {
        Ok::<_, HandlerError>(text.len() as u32)
    });
    let engine = opened(reads).await;
    let run = engine.attach(READS, "a").await.unwrap();
    assert_eq!(in_time(run.result()).await.unwrap(), 4);
}

/// The ids of all pages of a listing.
async fn paged(listing: Listing, limit: usize) -> Vec<String> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = listing.clone().limit(limit).after(after).await.unwrap();
        assert!(page.tasks.len() <= limit && !(page.tasks.is_empty() && page.next.is_some()));
        all.extend(page.tasks.iter().map(|task| task.id.to_string()));
        after = page.next;
        if after.is_none() {
            return all;
        }
    }
}

/// Tasks of the old name, the new one, and the old one again, after a way back to the program before.
#[tokio::test(start_paused = true)]
async fn a_list_shows_the_tasks_of_all_names_newest_first() {
    for (old, new) in [
        (&[][..], &[][..]),
        (&[Index::Session], &[]),
        (&[Index::Session], &[Index::Session]),
    ] {
        let (home, play) = (Home::memory(), Play::default());
        let (old, new) = (ONE.index(old), TWO.index(new));
        let mut ids = Vec::new();
        for (round, def) in [old, new, old, new].into_iter().enumerate() {
            let engine = home.open(def, &play).await;
            for n in 0..5 {
                let id = format!("{round}-{n}");
                let session = if n % 2 == 0 { "even" } else { "odd" };
                let run = engine
                    .start(def, &id, &say("x"))
                    .session(session)
                    .await
                    .unwrap();
                in_time(run.result()).await.unwrap();
                ids.insert(0, id);
            }
            engine.shutdown(NO_GRACE).await;
        }
        let engine = home.open(new, &play).await;
        let indexes = home.store().indexes().unwrap();
        let said = [old, new].map(|def| format!("{def:?}").matches("Session").count());
        assert_eq!(
            indexes.len(),
            said[0] + said[1],
            "each number keeps its own"
        );
        let even = |id: &String| id.ends_with(['0', '2', '4']);
        let evens: Vec<_> = ids.iter().filter(|id| even(id)).cloned().collect();
        for limit in [1, 3, 7, 20, 100] {
            assert_eq!(paged(engine.list(TWO), limit).await, ids);
            assert_eq!(paged(engine.list(TWO).session("even"), limit).await, evens);
            let by_tag = engine.list_all().tag(TASK_TAG, "two");
            assert_eq!(paged(by_tag.session("even"), limit).await, evens);
        }
        assert!(
            paged(engine.list_all().tag(TASK_TAG, "one"), 9)
                .await
                .is_empty()
        );
        engine.shutdown(NO_GRACE).await;
    }
}

/// Its input is how many steps it has.
const WORK: TaskDef<u32, String> = TaskDef::new("work");
const LABOUR: TaskDef<u32, String> = TaskDef::new("labour").formerly("work");

async fn labour(ctx: Ctx, steps: u32, ran: Notes<u32>) -> Result<String, HandlerError> {
    let mut text = String::new();
    for n in 0..steps {
        ran.add(n);
        text += &ctx
            .step(("step", n), async || Ok::<_, std::io::Error>(n.to_string()))
            .await?;
    }
    Ok(text)
}

fn program(store: Arc<dyn Store>, def: TaskDef<u32, String>, ran: &Notes<u32>) -> Builder {
    let ran = ran.clone();
    let handler = move |ctx, steps| labour(ctx, steps, ran.clone());
    Engine::on_store(store).inline().task(def, handler)
}

/// The old program dies at each of its commits, the renamed one at each of its own, and a third ends the task.
#[tokio::test(start_paused = true)]
async fn a_death_at_any_commit_before_or_after_the_rename_loses_nothing() {
    for (before, after) in (2..7).flat_map(|before| (1..6).map(move |after| (before, after))) {
        let (store, ran) = (Arc::new(MemStore::new()), Notes::default());
        for (def, commit) in [(WORK, before), (LABOUR, after)] {
            let faulty = Faulty::on(&store);
            faulty.broken_from.store(commit, Ordering::SeqCst);
            let engine = program(faulty, def, &ran).open().await.unwrap();
            if let Ok(run) = engine.start(def, "a", &4).input_id("one").await {
                let _ = in_time(run.result()).await;
            }
            drop(engine);
            tokio::task::yield_now().await;
        }
        let engine = program(Arc::<MemStore>::clone(&store), LABOUR, &ran);
        let engine = engine.open().await.unwrap();
        let run = engine.start(LABOUR, "a", &4).input_id("one").await.unwrap();
        assert_eq!(
            in_time(run.result()).await.unwrap(),
            "0123",
            "{before} {after}"
        );
        assert_eq!(engine.list(LABOUR).await.unwrap().tasks.len(), 1);
        engine.shutdown(NO_GRACE).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_stream_of_a_task_goes_on_under_the_new_name() {
    const OLD: TaskDef<u32, u32, u32> = TaskDef::new("counts");
    const NEW: TaskDef<u32, u32, u32> = TaskDef::new("emits").formerly("counts");
    async fn emit(ctx: Ctx<u32>, n: u32) -> Result<outlive::Reply<u32>, HandlerError> {
        ctx.emit_durable(n).await?;
        Ok(outlive::Reply::suspend(n, "more"))
    }
    let store = Arc::new(MemStore::new());
    let engine = opened(on(&store).task(OLD, emit)).await;
    engine.run(OLD, "a", &1).await.unwrap();
    engine.shutdown(NO_GRACE).await;
    let engine = opened(on(&store).task(NEW, emit)).await;
    engine.run(NEW, "a", &2).await.unwrap();
    let mut stream = engine.stream(NEW, "a", 0).await.unwrap();
    let mut items = Vec::new();
    while items.len() < 2 {
        if let Some(Ok(StreamEvent::Item { item, .. })) = in_time(stream.next()).await {
            items.push(item);
        }
    }
    assert_eq!(items, [1, 2]);
}
