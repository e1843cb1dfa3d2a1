//! Sinks: a task's stream goes elsewhere as well, and the task never knows.

use outlive::{
    Ctx, Ended, Engine, Entry, HandlerError, OnConflict, Reply, SinkEnd, SinkError, StreamEvent,
    StreamSink, TaskDef, TaskId,
};
use outlive_storage::MemStore;
use outlive_tests::gate::{Gate, Notes, until};
use outlive_tests::process::{self, Other};
use parking_lot::Mutex;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Emits as many items as its input says, fails once for 7, suspends for odd ones.
const TASK: TaskDef<u32, u32, u32> = TaskDef::new("task").steerable(9);

/// What was done to the sinks of a test, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Done {
    Made,
    Item(u64, u32),
    Reset(u64),
    Closed(SinkEnd),
    Dropped,
}

/// Where the sinks of a test write, and how they misbehave.
#[derive(Debug, Clone, Default)]
struct Books {
    notes: Notes<Done>,
    /// The last sequence number, for sinks that know what they have.
    last: Arc<Mutex<Option<u64>>>,
    knows: bool,
    bad: Option<Bad>,
    /// Where each item waits.
    hangs: Option<Gate>,
    /// Where each close waits.
    closes: Option<Gate>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bad {
    FactoryFails,
    FactoryPanics,
    LastFails,
    LastPanics,
    PutFails,
    PutPanics,
    CloseFails,
    ClosePanics,
    DropPanics,
}

struct Sink(Books);

impl Books {
    fn make(&self) -> Result<Sink, SinkError> {
        match self.bad {
            Some(Bad::FactoryFails) => return Err("no sink today".into()),
            Some(Bad::FactoryPanics) => panic!("no sink today"),
            _ => {}
        }
        self.notes.add(Done::Made);
        Ok(Sink(self.clone()))
    }

    fn factory(
        &self,
    ) -> impl Fn(&TaskId) -> Result<Sink, SinkError> + Send + Sync + 'static + use<> {
        let books = self.clone();
        move |_| books.make()
    }

    fn is(&self, bad: Bad) -> bool {
        self.bad == Some(bad)
    }

    async fn closed(&self, count: usize) -> Vec<Done> {
        let all = Arc::new(Mutex::new(Vec::new()));
        until(async || {
            all.lock().extend(self.notes.take());
            let is_drop = |done: &&Done| **done == Done::Dropped;
            all.lock().iter().filter(is_drop).count() >= count
        })
        .await;
        let all = all.lock();
        all.clone()
    }
}

impl StreamSink<u32> for Sink {
    async fn last(&mut self) -> Result<Option<u64>, SinkError> {
        if self.0.is(Bad::LastFails) {
            return Err("not known".into());
        }
        assert!(!self.0.is(Bad::LastPanics), "not known");
        let last = self.0.last.lock().unwrap_or(0);
        Ok(self.0.knows.then_some(last))
    }

    async fn put(&mut self, event: StreamEvent<u32>) -> Result<(), SinkError> {
        if let Some(gate) = &self.0.hangs {
            gate.pass().await;
        }
        if self.0.is(Bad::PutFails) {
            return Err("no room".into());
        }
        assert!(!self.0.is(Bad::PutPanics), "no room");
        *self.0.last.lock() = Some(event.sequence());
        self.0.notes.add(match event {
            StreamEvent::Item { sequence, item, .. } => Done::Item(sequence, item),
            StreamEvent::Reset { sequence, .. } => Done::Reset(sequence),
            other => panic!("{other:?}"),
        });
        Ok(())
    }

    async fn close(&mut self, how: SinkEnd) -> Result<(), SinkError> {
        if let Some(gate) = &self.0.closes {
            gate.pass().await;
        }
        self.0.notes.add(Done::Closed(how));
        if self.0.is(Bad::CloseFails) {
            return Err("it does not close".into());
        }
        assert!(!self.0.is(Bad::ClosePanics), "it does not close");
        Ok(())
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.0.notes.add(Done::Dropped);
        assert!(
            !self.0.is(Bad::DropPanics) || std::thread::panicking(),
            "it does not go"
        );
    }
}

async fn emits(ctx: Ctx<u32>, count: u32) -> Result<Reply<u32>, HandlerError> {
    for n in 1..=count {
        ctx.emit(n).await?;
    }
    match count {
        7 if ctx.attempt() == 1 => Err("once more".into()),
        0 => Err(HandlerError::terminal("no")),
        _ if count % 2 == 1 => Ok(Reply::suspend(count, "more")),
        _ => Ok(Reply::output(count)),
    }
}

async fn engine(books: &Books) -> Engine {
    let builder = Engine::in_memory().task(TASK, emits);
    let builder = builder.sink_by(TASK, books.factory());
    builder.open().await.expect("it opens")
}

fn given(first: u64, values: impl IntoIterator<Item = u32>) -> Vec<Done> {
    let numbered = (first..).zip(values);
    numbered
        .map(|(sequence, item)| Done::Item(sequence, item))
        .collect()
}

/// What one sink went through: made, given, closed and dropped.
fn life(given: Vec<Done>, end: SinkEnd) -> Vec<Done> {
    let end = [Done::Closed(end), Done::Dropped];
    [Done::Made].into_iter().chain(given).chain(end).collect()
}

const SUCCEEDED: SinkEnd = SinkEnd::Ended(Ended::Succeeded);

#[tokio::test(start_paused = true)]
async fn a_sink_is_given_everything_and_closed() {
    let books = Books::default();
    let engine = engine(&books).await;
    engine.run(TASK, "good", &2).await.unwrap();
    assert_eq!(books.closed(1).await, life(given(1, 1..=2), SUCCEEDED));
    engine.run(TASK, "bad", &0).await.unwrap_err();
    let done = books.closed(1).await;
    assert!(
        matches!(&done[1], Done::Closed(SinkEnd::Ended(Ended::Failed(_)))),
        "{done:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_sink_is_closed_with_a_suspension_and_made_anew_with_the_next_turn() {
    let books = Books::default();
    let engine = engine(&books).await;
    engine.run(TASK, "a", &3).await.unwrap();
    assert_eq!(
        books.closed(1).await,
        life(given(1, 1..=3), SinkEnd::Suspended)
    );
    engine.run(TASK, "a", &2).await.unwrap();
    assert_eq!(books.closed(1).await, life(given(4, 1..=2), SUCCEEDED));
}

#[tokio::test(start_paused = true)]
async fn a_sink_lives_over_turns_that_follow_one_another() {
    let (books, gate) = (Books::default(), Gate::closed());
    let held = gate.clone();
    let handler = move |ctx: Ctx<u32>, n: u32| {
        let held = held.clone();
        async move {
            held.pass().await;
            ctx.emit(n).await?;
            Ok::<_, HandlerError>(n)
        }
    };
    let builder = Engine::in_memory().task(TASK, handler);
    let engine = builder.sink_by(TASK, books.factory()).open().await.unwrap();
    let first = engine.start(TASK, "a", &1).await.unwrap();
    gate.came(1).await;
    let second = engine.start(TASK, "a", &2).await.unwrap();
    let third = engine.start(TASK, "a", &3).await.unwrap();
    gate.let_through(3);
    for run in [first, second, third] {
        run.result().await.unwrap();
    }
    assert_eq!(books.closed(1).await, life(given(1, 1..=3), SUCCEEDED));
}

#[tokio::test(start_paused = true)]
async fn a_sink_lives_over_failed_attempts_and_is_told_what_is_abandoned() {
    let books = Books::default();
    let engine = engine(&books).await;
    engine.run(TASK, "a", &7).await.unwrap();
    let mut all = given(1, 1..=7);
    all.push(Done::Reset(8));
    all.extend(given(9, 1..=7));
    assert_eq!(books.closed(1).await, life(all, SinkEnd::Suspended));
}

/// Emits 1, comes to the gate where it is entered for the first time, emits 2.
async fn interrupted(store: &Arc<MemStore>, books: &Books, gate: &Gate) -> Engine {
    let held = gate.clone();
    let handler = move |ctx: Ctx<u32>, n: u32| {
        let held = held.clone();
        async move {
            ctx.emit(1).await?;
            if ctx.entry() == Entry::Fresh {
                held.pass().await;
            }
            ctx.emit(2).await?;
            Ok::<_, HandlerError>(n)
        }
    };
    let builder = Engine::on_store(Arc::<MemStore>::clone(store)).inline();
    let builder = builder.task(TASK, handler).sink_by(TASK, books.factory());
    builder.open().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_sink_is_made_anew_at_a_recovery_and_loses_nothing() {
    for (knows, hangs) in [(true, true), (true, false), (false, false)] {
        let (store, gate) = (Arc::default(), Gate::closed());
        let books = Books {
            knows,
            ..Books::default()
        };
        // One that hangs has nothing of what was there before the stop.
        let first = Books {
            hangs: hangs.then(Gate::closed),
            ..books.clone()
        };
        let engine = interrupted(&store, &first, &gate).await;
        engine.start(TASK, "a", &1).await.unwrap();
        gate.came(1).await;
        if !hangs {
            // The first item has come to the sink, which the stop then drops as it is.
            until(async || books.notes.len() == 2).await;
        }
        engine.shutdown(Duration::ZERO).await;
        if hangs {
            // It hangs on, and whatever it still does is nothing to anybody.
            drop(engine);
        }
        let mut before = if hangs {
            let mut made = books.notes.take();
            made.push(Done::Dropped);
            made
        } else {
            books.closed(1).await
        };
        let engine = interrupted(&store, &books, &gate).await;
        let run = engine.attach(TASK, "a").await.unwrap();
        run.result().await.unwrap();
        let after = books.closed(1).await;
        assert_eq!(before.remove(0), Done::Made);
        assert_eq!(before.pop(), Some(Done::Dropped), "not closed");
        let mut all = before;
        all.extend(after);
        // Made anew in the middle, and given each number once.
        all.retain(|done| *done != Done::Made);
        let mut expected = given(1, [1]);
        expected.push(Done::Reset(2));
        expected.extend(given(3, 1..=2));
        expected.extend([Done::Closed(SUCCEEDED), Done::Dropped]);
        assert_eq!(all, expected, "knows: {knows}, hangs: {hangs}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_sink_of_a_call_comes_before_the_factorys() {
    let (of_factory, of_call) = (Books::default(), Books::default());
    let engine = engine(&of_factory).await;
    let start = engine.start(TASK, "a", &3).sink(of_call.make().unwrap());
    start.await.unwrap().result().await.unwrap();
    assert_eq!(
        of_call.closed(1).await,
        life(given(1, 1..=3), SinkEnd::Suspended)
    );
    assert!(of_factory.notes.is_empty());
    // It is closed; the next turn asks the factory.
    engine.run(TASK, "a", &3).await.unwrap();
    assert_eq!(
        of_factory.closed(1).await,
        life(given(4, 1..=3), SinkEnd::Suspended)
    );
    let resume = engine.start(TASK, "a", &2).sink(of_call.make().unwrap());
    resume.await.unwrap().result().await.unwrap();
    assert_eq!(of_call.closed(1).await, life(given(7, 1..=2), SUCCEEDED));
    assert!(of_factory.notes.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_definition_without_a_factory_takes_the_sink_of_a_call() {
    let books = Books::default();
    let engine = Engine::in_memory().task(TASK, emits).open().await.unwrap();
    let start = engine.start(TASK, "a", &2).sink(books.make().unwrap());
    start.await.unwrap().result().await.unwrap();
    assert_eq!(books.closed(1).await, life(given(1, 1..=2), SUCCEEDED));
}

/// The sink of a call that begins nothing is dropped, as is that of a task which ends before it is entered.
#[tokio::test(start_paused = true)]
async fn the_sink_of_a_call_that_begins_nothing_is_dropped() {
    let books = Books::default();
    let engine = engine(&Books::default()).await;
    let unused = vec![Done::Made, Done::Dropped];
    engine.start(TASK, "a", &3).input_id("first").await.unwrap();
    let again = engine.start(TASK, "a", &3).input_id("first");
    again.sink(books.make().unwrap()).await.unwrap();
    assert_eq!(books.closed(1).await, unused);
    let delayed = engine
        .start(TASK, "b", &2)
        .start_in(Duration::from_secs(60));
    delayed.sink(books.make().unwrap()).await.unwrap();
    engine.cancel("b", "no").await.unwrap();
    assert_eq!(books.closed(1).await, unused);
    drop(engine.start(TASK, "c", &2).sink(books.make().unwrap()));
    assert_eq!(books.closed(1).await, unused);
}

#[tokio::test(start_paused = true)]
async fn whatever_a_sink_does_wrong_its_task_goes_on() {
    let all = [
        Bad::FactoryFails,
        Bad::FactoryPanics,
        Bad::LastFails,
        Bad::LastPanics,
        Bad::PutFails,
        Bad::PutPanics,
        Bad::CloseFails,
        Bad::ClosePanics,
        Bad::DropPanics,
    ];
    for bad in all {
        let books = Books {
            bad: Some(bad),
            ..Books::default()
        };
        let engine = engine(&books).await;
        assert_eq!(engine.run(TASK, "a", &3).await.unwrap(), 3, "{bad:?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(engine.run(TASK, "a", &2).await.unwrap(), 2, "{bad:?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
        let made = books.notes.take();
        let made = made.iter().filter(|done| **done == Done::Made).count();
        let expected = if matches!(bad, Bad::FactoryFails | Bad::FactoryPanics) {
            0
        } else {
            2
        };
        assert_eq!(made, expected, "{bad:?}: the next turn makes another one");
        assert_eq!(engine.shutdown(Duration::ZERO).await.still_running, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_hangs_holds_up_nobody_and_misses_nothing() {
    let gate = Gate::closed();
    let books = Books {
        hangs: Some(gate.clone()),
        ..Books::default()
    };
    let engine = engine(&books).await;
    let began = tokio::time::Instant::now();
    for _ in 0..20 {
        engine.run(TASK, "a", &101).await.unwrap();
    }
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    gate.let_through(3000);
    engine.run(TASK, "a", &2).await.unwrap();
    until(async || books.notes.len() >= 2022).await;
    let notes = books.notes.take();
    let numbers = notes.iter().filter_map(|done| match done {
        Done::Item(sequence, _) => Some(*sequence),
        _ => None,
    });
    assert_eq!(numbers.collect::<Vec<_>>(), (1..=2022).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_sink_that_hangs() {
    let books = Books {
        hangs: Some(Gate::closed()),
        ..Books::default()
    };
    let engine = engine(&books).await;
    engine.run(TASK, "a", &3).await.unwrap();
    let began = tokio::time::Instant::now();
    assert_eq!(
        engine.shutdown(Duration::from_secs(9)).await.still_running,
        0
    );
    assert_eq!(began.elapsed(), Duration::ZERO);
}

/// A whole run came and went while the sink of the run before was being closed: its pump had seen the end of the first
/// run, looked whether the task had ended, found that it had, and left; the second run had counted on it.
#[tokio::test(start_paused = true)]
async fn a_run_that_begins_as_the_one_before_is_closed_has_a_sink_too() {
    let gate = Gate::closed();
    let books = Books::default();
    let slow = Books {
        closes: Some(gate.clone()),
        ..books.clone()
    };
    let engine = engine(&slow).await;
    engine.run(TASK, "a", &2).await.unwrap();
    gate.came(1).await;
    let again = engine.start(TASK, "a", &4).on_conflict(OnConflict::Restart);
    again.await.unwrap().result().await.unwrap();
    gate.let_through(2);
    let mut expected = life(given(1, 1..=2), SUCCEEDED);
    expected.extend(life(given(3, 1..=4), SUCCEEDED));
    assert_eq!(books.closed(2).await, expected);
}

/// A run that begins while the sink still works on the one before is fed to the same sink.
#[tokio::test(start_paused = true)]
async fn a_run_that_begins_before_a_sink_is_through_is_fed_to_it_as_well() {
    let gate = Gate::closed();
    let books = Books::default();
    let slow = Books {
        hangs: Some(gate.clone()),
        ..books.clone()
    };
    let engine = engine(&slow).await;
    engine.run(TASK, "a", &2).await.unwrap();
    gate.came(1).await;
    let again = engine.start(TASK, "a", &4).on_conflict(OnConflict::Restart);
    again.await.unwrap().result().await.unwrap();
    gate.let_through(100);
    let mut all = given(1, 1..=2);
    all.extend(given(3, 1..=4));
    assert_eq!(books.closed(1).await, life(all, SUCCEEDED));
}

#[tokio::test(start_paused = true)]
async fn the_sink_of_an_ephemeral_task_is_given_everything() {
    const PASSING: TaskDef<u32, u32, u32> = TASK.ephemeral();
    let books = Books::default();
    let builder = Engine::in_memory().task(PASSING, emits);
    let engine = builder
        .sink_by(PASSING, books.factory())
        .open()
        .await
        .unwrap();
    engine.run(PASSING, "a", &40).await.unwrap();
    assert_eq!(books.closed(1).await, life(given(1, 1..=40), SUCCEEDED));
}

#[tokio::test]
async fn a_sink_of_a_name_without_a_handler_is_told_at_the_open() {
    let books = Books::default();
    let opened = Engine::in_memory()
        .sink_by(TASK, books.factory())
        .open()
        .await;
    assert!(
        matches!(opened, Err(outlive::OpenError::NoHandler { name: "task" })),
        "{opened:?}"
    );
}

/// Tells on which thread it is dropped.
struct Faithful(std::sync::mpsc::Sender<Option<String>>);

impl StreamSink<u32> for Faithful {
    async fn put(&mut self, _: StreamEvent<u32>) -> Result<(), SinkError> {
        Ok(())
    }
}

impl Drop for Faithful {
    fn drop(&mut self) {
        let name = std::thread::current().name().map(str::to_owned);
        let _ = self.0.send(name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_sink_is_dropped_by_a_thread_of_the_engine() {
    let (sender, dropped) = std::sync::mpsc::channel();
    let store: Arc<MemStore> = Arc::default();
    let engine = Engine::on_store(store)
        .task(TASK, emits)
        .open()
        .await
        .unwrap();
    let first = engine.start(TASK, "a", &2).input_id("first");
    first.sink(Faithful(sender.clone())).await.unwrap();
    let again = engine.start(TASK, "a", &2).input_id("first");
    again.sink(Faithful(sender)).await.unwrap();
    for _ in 0..2 {
        let thread = dropped
            .recv_timeout(Duration::from_secs(20))
            .expect("it is dropped");
        let thread = thread.unwrap_or_default();
        assert!(!thread.starts_with("outlive-"), "{thread}");
    }
}

/// Appends a line for each event; what it has is in the file.
struct Lines(PathBuf);

impl Lines {
    fn read(path: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        // A kill may have cut the last line short.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        text[..whole].lines().map(str::to_owned).collect()
    }

    fn number(line: &str) -> Option<u64> {
        line.split(' ').next()?.parse().ok()
    }
}

impl StreamSink<u32> for Lines {
    async fn last(&mut self) -> Result<Option<u64>, SinkError> {
        let lines = Lines::read(&self.0);
        // What was cut short is written anew.
        let mut whole = lines.join("\n");
        if !whole.is_empty() {
            whole.push('\n');
        }
        std::fs::write(&self.0, whole)?;
        Ok(Some(
            lines
                .last()
                .and_then(|line| Lines::number(line))
                .unwrap_or(0),
        ))
    }

    async fn put(&mut self, event: StreamEvent<u32>) -> Result<(), SinkError> {
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.0)?;
        let sequence = event.sequence();
        let line = match event.into_item() {
            Some(item) => format!("{sequence} {item}\n"),
            None => format!("{sequence} reset\n"),
        };
        file.write_all(line.as_bytes())?;
        Ok(())
    }
}

/// Emits numbers up to the input, a few at a time, and says how far it is.
async fn open(path: &Path) -> Engine {
    let handler = |ctx: Ctx<u32>, to: u32| async move {
        for n in 1..=to {
            ctx.emit(n).await?;
            if n % 10 == 0 {
                ctx.emit_durable(n).await?;
                process::say(&n.to_string());
            }
        }
        Ok::<_, HandlerError>(to)
    };
    let file = path.with_extension("lines");
    let builder = Engine::builder(path)
        .poison_guard(false)
        .task(TASK, handler);
    let builder = builder.sink_by(TASK, move |_| Ok::<_, SinkError>(Lines(file.clone())));
    builder.open().await.unwrap()
}

/// Not a test of its own: the process that is killed while its sink writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(path) = process::path() else {
        return;
    };
    let engine = open(&path).await;
    let run = engine
        .start(TASK, "a", &2000)
        .input_id("once")
        .await
        .unwrap();
    let _ = run.result().await;
    process::wait_for_end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_loses_nothing_through_kills_and_is_given_nothing_twice() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tasks.redb");
    for round in 0..4 {
        let mut killed = Other::test("child", &path);
        for _ in 0..3 + round * 4 {
            killed.word().expect("it runs");
        }
        killed.kill();
    }
    let engine = open(&path).await;
    let run = engine
        .start(TASK, "a", &2000)
        .input_id("once")
        .await
        .unwrap();
    run.result().await.unwrap();
    let mut stream = engine.stream(TASK, "a", 0).await.unwrap();
    let mut expected = Vec::new();
    while let Some(event) = stream.next().await {
        let event = event.unwrap();
        let sequence = event.sequence();
        match event {
            StreamEvent::Item { item, .. } => expected.push(format!("{sequence} {item}")),
            StreamEvent::Reset { .. } => expected.push(format!("{sequence} reset")),
            _ => {}
        }
    }
    let lines = path.with_extension("lines");
    until(async || Lines::read(&lines).len() >= expected.len()).await;
    assert_eq!(Lines::read(&lines), expected);
    engine.shutdown(Duration::from_secs(1)).await;
}
