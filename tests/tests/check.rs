//! What an upgraded program would make of the tasks in flight, told before it takes any work, and without touching any.

use outlive::{
    Builder, CHECK_NAMED_MAX, CheckError, CheckReport, Ctx, Engine, HandlerError, OpenError,
    Problem, Reply, Status, TASK_PROBLEMS_MAX, TaskCheck, TaskDef, ValueType, WaitReason,
};
use outlive_storage::id::TaskId;
use outlive_storage::row::Etag;
use outlive_storage::{MemStore, Scan, Store, StoreError};
use outlive_tests::faulty::Faulty;
use outlive_tests::gate::Notes;
use outlive_tests::home::Home;
use redb::{ReadableDatabase, ReadableTable};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const NO_GRACE: Duration = Duration::ZERO;
const HOUR: Duration = Duration::from_secs(3600);

/// What the program before the upgrade knows: numbers, and steps that are numbers.
const WORK: TaskDef<u32, u32> = TaskDef::new("work").steerable(9);
/// The same name after an upgrade that reads texts.
const TEXTS: TaskDef<String, u32> = TaskDef::new("work").steerable(9);
const RENAMED: TaskDef<u32, u32> = TaskDef::new("labour").formerly("work");
const OTHER: TaskDef<u32, u32> = TaskDef::new("other");

/// Records two steps, then does what its input says: 0 waits for ever, 1 waits for an input, others are the answer.
async fn work(ctx: Ctx, n: u32) -> Result<Reply<u32>, HandlerError> {
    ctx.step(("fetch", n), async || Ok::<_, std::io::Error>(n))
        .await?;
    ctx.step("total", async || Ok::<_, std::io::Error>(7_u64))
        .await?;
    match n {
        0 => std::future::pending().await,
        1 => Ok(Reply::suspend(1, "more")),
        n => Ok(n.into()),
    }
}

async fn texts(_: Ctx, text: String) -> Result<u32, HandlerError> {
    Ok(text.len() as u32)
}

fn on(store: &Arc<MemStore>) -> Builder {
    Engine::on_store(Arc::<MemStore>::clone(store)).inline()
}

/// The program before the upgrade leaves tasks in each state behind: `ended`, `runs` with a queued input, `suspended`,
/// `delayed`.
async fn left_behind(builder: Builder) {
    let engine = builder.task(WORK, work).open().await.unwrap();
    engine.run(WORK, "ended", &2).await.unwrap();
    let run = engine.start(WORK, "suspended", &1).await.unwrap();
    run.outcome().await.unwrap();
    engine
        .start(WORK, "delayed", &2)
        .start_in(HOUR)
        .await
        .unwrap();
    engine.start(WORK, "runs", &0).await.unwrap();
    until_recorded(&engine, "runs").await;
    engine.start(WORK, "runs", &3).await.unwrap();
    engine.shutdown(NO_GRACE).await;
}

async fn until_recorded(engine: &Engine, id: &str) {
    let both = async || engine.steps(id).await.unwrap().len() == 2;
    outlive_tests::gate::until(both).await;
}

async fn in_memory() -> Arc<MemStore> {
    let store = Arc::default();
    left_behind(on(&store)).await;
    store
}

/// The report, and what was told of each task.
async fn checked(builder: &Builder) -> (CheckReport, Vec<TaskCheck>) {
    let notes: Notes<TaskCheck> = Notes::default();
    let told = notes.clone();
    let report = builder.check().each(move |task| told.add(task.clone()));
    (report.await.unwrap(), notes.take())
}

fn of<'a>(tasks: &'a [TaskCheck], id: &str) -> &'a TaskCheck {
    let found = tasks.iter().find(|task| task.id.as_str() == id);
    found.expect("it is told of")
}

#[tokio::test(start_paused = true)]
async fn a_program_that_reads_everything_finds_each_task_in_flight_ok() {
    let builder = on(&in_memory().await).task(WORK, work);
    let builder = builder.step_type(WORK, "fetch", ValueType::of::<u32>());
    let (report, tasks) = checked(&builder).await;
    assert!(report.is_ok() && report.problems.is_empty(), "{report:?}");
    assert_eq!((report.tasks, report.ok), (3, 3));
    let seen: Vec<_> = tasks
        .iter()
        .map(|task| (task.id.as_str(), task.status))
        .collect();
    let newest_first = [
        ("runs", Status::InProgress),
        ("delayed", Status::Pending),
        ("suspended", Status::Suspended),
    ];
    assert_eq!(seen, newest_first);
    // Nobody said what the other step is.
    let [total] = &report.undeclared[..] else {
        panic!("{report:?}");
    };
    let told = (&*total.name, &*total.step, &*total.recorded, total.count);
    assert_eq!(told, ("work", "total", "u64", 1));
}

#[tokio::test(start_paused = true)]
async fn a_task_without_a_handler_is_told_unless_its_definition_was_renamed() {
    let store = in_memory().await;
    let (report, tasks) = checked(&on(&store).task(OTHER, work)).await;
    assert_eq!((report.tasks, report.no_handler, report.ok), (3, 3, 0));
    assert!(
        tasks
            .iter()
            .all(|task| task.problems == [Problem::NoHandler] && task.name == "work")
    );
    assert_eq!(report.problems, tasks);
    let (report, tasks) = checked(&on(&store).task(RENAMED, work)).await;
    assert!(report.is_ok(), "{report:?}");
    assert!(tasks.iter().all(|task| task.name == "labour"));
}

#[tokio::test(start_paused = true)]
async fn inputs_that_do_not_decode_are_told_also_those_that_wait_and_large_ones() {
    let (report, tasks) = checked(&on(&in_memory().await).task(TEXTS, texts)).await;
    assert_eq!((report.tasks, report.input, report.ok), (3, 3, 0));
    let runs = of(&tasks, "runs");
    assert_eq!(
        runs.problems.len(),
        2,
        "its own input and the one that waits: {runs:?}"
    );
    for problem in &runs.problems {
        let Problem::Input { expected, .. } = problem else {
            panic!("{problem:?}");
        };
        assert!(expected.starts_with(std::any::type_name::<String>()));
    }

    const LISTS: TaskDef<Vec<u32>, u32> = TaskDef::new("work");
    let store = Arc::default();
    let lists = on(&store).task(LISTS, async |_: Ctx, _| Ok::<u32, HandlerError>(0));
    let engine = lists.open().await.unwrap();
    let large: Vec<u32> = (0..10_000).collect();
    engine
        .start(LISTS, "large", &large)
        .start_in(HOUR)
        .await
        .unwrap();
    engine.shutdown(NO_GRACE).await;
    let (report, _) = checked(&on(&store).task(WORK, work)).await;
    assert_eq!((report.tasks, report.input), (1, 1));
    let same = on(&store).task(LISTS, async |_: Ctx, _| Ok::<u32, HandlerError>(0));
    assert!(checked(&same).await.0.is_ok());
}

#[tokio::test(start_paused = true)]
async fn recorded_steps_that_do_not_decode_are_told_with_both_types() {
    let store = in_memory().await;
    let builder = on(&store).task(WORK, work);
    let builder = builder
        .step_type(WORK, "fetch", ValueType::of::<String>())
        .step_type(WORK, "tot", ValueType::of::<String>())
        .step_type(WORK, "total", ValueType::of::<u64>());
    let (report, tasks) = checked(&builder).await;
    assert_eq!(
        (report.tasks, report.step, report.ok),
        (3, 1, 2),
        "{report:?}"
    );
    assert!(report.undeclared.is_empty());
    let [
        Problem::Step {
            key,
            recorded,
            expected,
        },
    ] = &of(&tasks, "runs").problems[..]
    else {
        panic!("{tasks:?}");
    };
    assert_eq!((&**key, &**recorded), ("fetch(0)", "u32"));
    assert!(expected.starts_with(std::any::type_name::<String>()));
    // The next turn of the one that waits for an input begins without steps.
    assert!(of(&tasks, "suspended").problems.is_empty());
}

/// The type of a step as the program reads it that parks the task.
#[derive(Serialize, Deserialize)]
struct Page {
    text: String,
}

#[tokio::test(start_paused = true)]
async fn a_task_parked_for_a_step_is_told_until_a_program_says_that_it_reads_it() {
    let store = in_memory().await;
    let parks = async |ctx: Ctx, n| {
        let page = ctx.step(("fetch", n), async || Err::<Page, _>("no")).await;
        Ok::<_, HandlerError>(page.map_or(0, |page| page.text.len() as u32))
    };
    let engine = on(&store).task(WORK, parks).open().await.unwrap();
    let is_parked = async || {
        let task = engine.get("runs").await.unwrap().unwrap();
        matches!(task.wait, Some(WaitReason::Undecodable { .. }))
    };
    outlive_tests::gate::until(is_parked).await;
    engine.shutdown(NO_GRACE).await;
    let (_, tasks) = checked(&on(&store).task(WORK, work)).await;
    let [
        Problem::Step {
            key,
            recorded,
            expected,
        },
    ] = &of(&tasks, "runs").problems[..]
    else {
        panic!("{tasks:?}");
    };
    assert_eq!((&**key, &**recorded), ("fetch(0)", "u32"));
    assert!(expected.starts_with(std::any::type_name::<Page>()));
    let reads = on(&store).task(WORK, work);
    let reads = reads.step_type(WORK, "fetch", ValueType::of::<u32>());
    let (report, tasks) = checked(&reads).await;
    assert!(
        of(&tasks, "runs").problems.is_empty() && report.is_ok(),
        "{tasks:?}"
    );
    // Such a task is tried again at the open.
    let engine = reads.open().await.unwrap();
    let runs = async || engine.get("runs").await.unwrap().unwrap().status == Status::InProgress;
    outlive_tests::gate::until(runs).await;
}

/// Everything that is said of tasks, and of the file.
fn all_of(store: &dyn Store) -> String {
    let rows = store.scan(Scan::All, None, 100).unwrap();
    let of_each = rows.rows.iter().map(|found| {
        let row = found.row.as_ref().unwrap();
        let steps = store.steps(found.task, row.steps_of, None, 100).unwrap();
        let inputs = store.inputs(found.task, 100).unwrap();
        format!("{row:?} {steps:?} {inputs:?}")
    });
    let of_each: Vec<_> = of_each.collect();
    let events = store.events(Etag(0), 1000).unwrap();
    let (lives, indexes) = (store.lives().unwrap(), store.indexes().unwrap());
    let (names, counters) = (store.definitions().unwrap(), store.counters().unwrap());
    format!("{of_each:?} {events:?} {lives:?} {indexes:?} {names:?} {counters:?}")
}

#[tokio::test(start_paused = true)]
async fn a_check_changes_nothing_and_recovers_nothing() {
    let store = in_memory().await;
    let before = all_of(&*store);
    let faulty = Faulty::on(&store);
    // Whatever it would write fails.
    faulty.fail_before_commit.store(true, Ordering::SeqCst);
    let builder = || Engine::on_store(Arc::<Faulty>::clone(&faulty)).inline();
    assert!(checked(&builder().task(WORK, work)).await.0.is_ok());
    assert!(!checked(&builder().task(TEXTS, texts)).await.0.is_ok());
    assert!(
        checked(&builder().task(RENAMED, work).task(OTHER, work))
            .await
            .0
            .is_ok()
    );
    assert_eq!(faulty.commits.load(Ordering::SeqCst), 0);
    assert_eq!(all_of(&*store), before);
    let engine = on(&store).task(WORK, work).open().await.unwrap();
    assert_eq!(
        engine.recovery().await.dispatched,
        1,
        "what ran is recovered now"
    );
}

/// The rows of tasks, as they are in the file.
fn rows(home: &Home) -> Vec<(u64, Vec<u8>)> {
    let database = outlive_storage::redb::bare_database(&home.path()).unwrap();
    let read = database.begin_read().unwrap();
    let table = read
        .open_table(redb::TableDefinition::<u64, &[u8]>::new("tasks"))
        .unwrap();
    let entries = table.iter().unwrap().map(Result::unwrap);
    let entries: Vec<_> = entries
        .map(|(key, row)| (key.value(), row.value().to_owned()))
        .collect();
    assert_eq!(entries.len(), 4);
    entries
}

#[tokio::test]
async fn a_file_is_checked_under_its_lock_and_closed_again_as_it_was() {
    let home = Home::file();
    left_behind(Engine::builder(home.path())).await;
    // One after the other: a file is open once.
    let said = all_of(&*home.store());
    let before = rows(&home);
    let builder = Engine::builder(home.path()).task(TEXTS, texts);
    let (report, _) = checked(&builder).await;
    assert_eq!((report.tasks, report.input), (3, 3));
    assert_eq!(all_of(&*home.store()), said);
    assert!(rows(&home) == before, "not a byte of a row has changed");
    // Whoever runs it is not disturbed, and can be asked itself.
    let builder = Engine::builder(home.path()).task(WORK, work);
    let engine = Engine::builder(home.path()).task(WORK, work);
    let engine = engine.open().await.unwrap();
    let refused = builder.check().await;
    assert!(
        matches!(
            refused,
            Err(CheckError::Open(OpenError::AlreadyRunning { .. }))
        ),
        "{refused:?}"
    );
    assert!(engine.check().await.unwrap().is_ok());
    engine.shutdown(NO_GRACE).await;
    assert!(matches!(
        engine.check().await,
        Err(CheckError::ShuttingDown)
    ));
    assert!(builder.check().await.unwrap().is_ok());
}

#[tokio::test]
async fn what_would_not_open_is_not_checked_and_nothing_is_created() {
    let home = Home::file();
    let twice = Engine::builder(home.path())
        .task(WORK, work)
        .task(TEXTS, texts);
    assert!(matches!(
        twice.check().await,
        Err(CheckError::Open(OpenError::Duplicate { name: "work" }))
    ));
    let unknown = Engine::builder(home.path()).step_type(WORK, "a", ValueType::of::<u32>());
    assert!(matches!(
        unknown.check().await,
        Err(CheckError::Open(OpenError::NoHandler { name: "work" }))
    ));
    let missing = Engine::builder(home.path())
        .task(WORK, work)
        .check()
        .await
        .unwrap();
    assert_eq!(missing, CheckReport::default());
    let directory = home.path().parent().unwrap().read_dir().unwrap();
    assert_eq!(directory.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn damage_is_told_of_each_task_and_stops_nothing() {
    let store = in_memory().await;
    let faulty = Faulty::on(&store);
    let number = |id: &str| store.find(&TaskId::new(id).unwrap()).unwrap().unwrap().0;
    faulty
        .damaged_row
        .store(number("delayed"), Ordering::SeqCst);
    faulty.damaged_steps.store(number("runs"), Ordering::SeqCst);
    let builder = Engine::on_store(Arc::<Faulty>::clone(&faulty)).inline();
    let (report, tasks) = checked(&builder.task(WORK, work)).await;
    assert_eq!(
        (report.tasks, report.ok, report.unreadable, report.damaged),
        (2, 1, 1, 1)
    );
    assert!(!report.is_ok());
    assert!(matches!(
        report.damaged_rows[..],
        [StoreError::Corrupt { .. }]
    ));
    let problems = &of(&tasks, "runs").problems[..];
    assert!(matches!(problems, [Problem::Unreadable { what, .. }] if what == "steps"));
    assert!(of(&tasks, "suspended").problems.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_report_counts_all_and_names_few() {
    let store = Arc::default();
    let engine = on(&store).task(WORK, work).open().await.unwrap();
    for n in 0..3 * CHECK_NAMED_MAX as u32 / 2 {
        let start = engine.start(WORK, format!("t{n}"), &2).start_in(HOUR);
        start.await.unwrap();
    }
    engine.shutdown(NO_GRACE).await;
    let (report, tasks) = checked(&on(&store).task(TEXTS, texts)).await;
    assert_eq!((report.input, tasks.len()), (150, 150));
    assert_eq!(report.problems[..], tasks[..CHECK_NAMED_MAX]);
}

/// The result of a step that no program can read without a panic.
#[derive(Debug)]
struct Trap;

impl<'de> Deserialize<'de> for Trap {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("it snaps")
    }
}

#[tokio::test(start_paused = true)]
async fn a_type_that_panics_is_a_problem_of_its_task_and_few_are_told_of_one() {
    let store = Arc::default();
    let many = async |ctx: Ctx, n: u32| {
        for step in 0..n {
            ctx.step(("many", step), async || Ok::<_, std::io::Error>(step))
                .await?;
        }
        std::future::pending::<Result<u32, HandlerError>>().await
    };
    let engine = on(&store).task(WORK, many).open().await.unwrap();
    engine.start(WORK, "a", &40).await.unwrap();
    let all = async || engine.steps("a").await.unwrap().len() == 40;
    outlive_tests::gate::until(all).await;
    engine.shutdown(NO_GRACE).await;
    let traps = on(&store).task(WORK, many);
    let traps = traps.step_type(WORK, "many", ValueType::of::<Trap>());
    let (report, tasks) = checked(&traps).await;
    assert_eq!((report.tasks, report.step), (1, 1));
    assert_eq!(of(&tasks, "a").problems.len(), TASK_PROBLEMS_MAX);
    let reads = on(&store).task(WORK, many);
    let (report, _) = checked(&reads).await;
    assert_eq!(
        (report.ok, report.undeclared[0].count),
        (1, 40),
        "through all pages"
    );
}
