//! The whole engine on a disk that fails at its n-th call: nothing acknowledged is lost, nothing refused is there, and
//! what is unknown is known when it is asked again. What was told is told again, results and items; no step that is recorded
//! runs again, and none twice in one life. It has so many lines because each call, and all that is read back of it, is here.
//!
//! An engine that ends is followed by a power cut at every other call that fails, and by another process on the running
//! system at the rest.
//!
//! `OUTLIVE_FAULT_STRIDE=1 cargo test --release -p outlive-tests --test disk_faults -- --nocapture` fails each call; by
//! default every so many are, beginning with another one for each kind.

use outlive::{
    AttachError, Ctx, Engine, GetError, HandlerError, InputError, OpenError, ResultError,
    StartError, StoreError, StreamError, StreamEvent, TaskDef,
};
use outlive_storage::redb::{RedbOptions, RedbStore};
use outlive_storage::row::TaskNumber;
use outlive_storage::{Commit, Expect, Store, Write};
use outlive_tests::faulty_disk::{Fault, FaultyDisk, Kind};
use outlive_tests::made::template;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

const TASK: TaskDef<u32, String, u64> = TaskDef::new("task").steerable(3);
/// Inputs from here on wait until they are steered.
const WAITS: u32 = 100;
/// Longer than a store is borne with, and any call may take.
const LONG: Duration = Duration::from_secs(60);
/// A stream that gives nothing for so long has nothing more for now.
const STILL: Duration = Duration::from_millis(10);
/// Without `OUTLIVE_FAULT_STRIDE`: of so many calls one fails.
const STRIDE: u64 = 97;

/// What a caller does, in this order.
#[derive(Debug, Clone, Copy)]
enum Call {
    Start(&'static str, &'static str, u32),
    Result(&'static str, &'static str),
    Delete(&'static str),
}

const SCRIPT: [Call; 14] = [
    Call::Start("a", "a1", 1),
    Call::Result("a", "a1"),
    Call::Start("held", "h1", WAITS),
    Call::Start("b", "b1", 20),
    Call::Start("held", "h2", 3),
    Call::Result("held", "h1"),
    Call::Result("b", "b1"),
    Call::Start("c", "c1", 60),
    Call::Delete("a"),
    Call::Result("held", "h2"),
    Call::Result("c", "c1"),
    Call::Start("a", "a2", 90),
    Call::Start("d", "d1", 2),
    Call::Result("a", "a2"),
];

/// What a call that was not carried out came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    /// It may have been carried out.
    Unknown,
    /// Nothing happened.
    Refused,
    /// Nobody answers.
    Silent,
}

/// Bytes of a journal that is full after a few batches.
const SOON_FULL: u32 = 16 << 10;

/// What outlives every engine.
#[derive(Default)]
struct World {
    /// How its files are repaired: what a failed sync leaves is hidden by the quick way.
    quick_repair: bool,
    journal_bytes: u32,
    /// Engines so far.
    lives: u64,
    steps: Arc<Mutex<Steps>>,
    told: BTreeMap<&'static str, String>,
    /// What a reader was shown when the result of an input had been told: the items of its task, by their numbers.
    shown: BTreeMap<&'static str, Vec<(u64, u64)>>,
    at: usize,
}

/// The steps of the inputs, as their handlers see them.
#[derive(Debug, Default)]
struct Steps {
    /// The life in which it ran last.
    ran: BTreeMap<String, u64>,
    /// Its handler had its result, which is recorded then.
    recorded: BTreeSet<String>,
    /// Ran again after that, or twice in one life.
    doubled: Vec<String>,
}

impl Steps {
    fn run(&mut self, input: &str, life: u64) {
        let before = self.ran.insert(input.to_owned(), life);
        if before == Some(life) || self.recorded.contains(input) {
            self.doubled
                .push(format!("{input} in {before:?} and {life}"));
        }
    }
}

#[derive(Debug, Default)]
struct Tally {
    faults: u64,
    /// Nobody noticed.
    healed: u64,
    unknown: u64,
    refused: u64,
    silent: u64,
    refused_opens: u64,
    /// Answers of a store that has no room, and cannot be opened again for want of it.
    read_when_full: u64,
    /// That there is no room, in place of one.
    not_read_when_full: u64,
    /// Items read back.
    items: u64,
    /// Copies that took the place of a file which had failed to sync.
    copies: u64,
}

fn output(n: u32) -> String {
    "x".repeat(n as usize * 499)
}

async fn work(
    (steps, life): (Arc<Mutex<Steps>>, u64),
    ctx: Ctx<u64>,
    n: u32,
) -> Result<String, HandlerError> {
    let input = ctx.input_id().to_string();
    let pay = || {
        steps.lock().run(&input, life);
        async move { Ok::<_, HandlerError>(n) }
    };
    let n = ctx.step("pay", pay).await?;
    steps.lock().recorded.insert(input);
    ctx.emit(u64::from(n)).await?;
    if n >= WAITS {
        ctx.cancelled().await;
    }
    Ok(output(n % WAITS))
}

async fn open(disk: &FaultyDisk, world: &World) -> Result<Engine, OpenError> {
    let options = RedbOptions {
        cache_bytes: 64 << 10,
        quick_repair: world.quick_repair,
        journal_bytes: world.journal_bytes,
        ..RedbOptions::default()
    };
    let store =
        RedbStore::on_medium(Arc::new(disk.clone()), options, 7).map_err(OpenError::File)?;
    let (steps, life) = (Arc::clone(&world.steps), world.lives);
    let builder = Engine::on_store(Arc::new(store))
        .inline()
        .poison_guard(false);
    let builder = builder.task(TASK, move |ctx, n| work((Arc::clone(&steps), life), ctx, n));
    builder.open().await
}

/// A store in which nothing has happened yet.
fn empty(journal_bytes: u32) -> Vec<u8> {
    let disk = FaultyDisk::new(Vec::new(), 1);
    let options = RedbOptions {
        journal_bytes,
        ..RedbOptions::default()
    };
    let store = RedbStore::on_medium(Arc::new(disk.clone()), options, 7);
    drop(store.expect("an empty store"));
    disk.image()
}

/// What an error of the store means to its caller.
fn of_store(error: &StoreError) -> Broken {
    assert!(!error.is_of_one_entry(), "nothing is damaged: {error}");
    Broken::Refused
}

/// The input of this id.
fn given(input: &str) -> u32 {
    let given = SCRIPT.iter().find_map(|call| match call {
        Call::Start(_, known, n) if *known == input => Some(*n),
        Call::Start(..) | Call::Result(..) | Call::Delete(_) => None,
    });
    given.expect("the script gives it")
}

/// Asks for the result of an input that was given before, by its ids.
async fn again(engine: &Engine, id: &str, input: &'static str) -> Result<String, Broken> {
    let n = given(input);
    match engine.start(TASK, id, &n).input_id(input).await {
        Ok(run) => match run.result().await {
            Ok(output) => Ok(output),
            Err(ResultError::Store(_) | ResultError::ShuttingDown) => Err(Broken::Unknown),
            Err(other) => panic!("{id}/{input}: {other:?}"),
        },
        Err(StartError::Unknown { .. } | StartError::Store(_) | StartError::ShuttingDown) => {
            Err(Broken::Unknown)
        }
        Err(other) => panic!("{id}/{input}: {other:?}"),
    }
}

/// The items of a task, by their numbers: those that stay, as far as there are any by now.
async fn items(engine: &Engine, id: &str) -> Result<Vec<(u64, u64)>, Broken> {
    let mut stream = match engine.stream(TASK, id, 0).await {
        Ok(stream) => stream,
        Err(AttachError::Get(GetError::Store(_) | GetError::ShuttingDown)) => {
            return Err(Broken::Unknown);
        }
        Err(other) => panic!("the stream of {id}: {other:?}"),
    };
    let (mut shown, mut last) = (Vec::new(), 0);
    while let Ok(Some(event)) = tokio::time::timeout(STILL, stream.next()).await {
        let event = match event {
            Ok(event) => event,
            Err(StreamError::Store(_) | StreamError::ShuttingDown) => return Err(Broken::Unknown),
            Err(other) => panic!("the stream of {id}: {other:?}"),
        };
        let follows = event.sequence() == last + 1;
        last = event.sequence();
        match event {
            StreamEvent::Item { turn, item, .. } if follows => shown.push((last, turn, item)),
            StreamEvent::Reset { turn, .. } if follows => {
                shown.retain(|(_, emitted, _)| *emitted != turn);
            }
            StreamEvent::End { .. } if !follows => break,
            other => panic!("the stream of {id}: {other:?} after {shown:?}"),
        }
    }
    let shown = shown.into_iter().map(|(at, _, item)| (at, item));
    Ok(shown.collect())
}

/// Reads back what was emitted for an input whose result is told, and what was before it.
async fn read_back(
    engine: &Engine,
    world: &mut World,
    (id, input): (&str, &'static str),
) -> Result<(), Broken> {
    let shown = items(engine, id).await?;
    let of_input = shown
        .iter()
        .filter(|(_, item)| *item == u64::from(given(input)));
    assert_eq!(of_input.count(), 1, "{id}/{input}: {shown:?}");
    world.shown.insert(input, shown);
    Ok(())
}

async fn call(engine: &Engine, world: &mut World, call: Call) -> Result<(), Broken> {
    match call {
        Call::Start(id, input, n) => match engine.start(TASK, id, &n).input_id(input).await {
            Ok(_) => Ok(()),
            Err(StartError::Unknown { .. }) => Err(Broken::Unknown),
            Err(StartError::Store(error)) => Err(of_store(&error)),
            Err(StartError::ShuttingDown) => Err(Broken::Refused),
            Err(other) => panic!("{call:?}: {other:?}"),
        },
        Call::Result(id, input) => match again(engine, id, input).await {
            Ok(output) => {
                let before = world.told.insert(input, output.clone());
                assert!(before.is_none_or(|before| before == output));
                read_back(engine, world, (id, input)).await
            }
            Err(broken) => Err(broken),
        },
        Call::Delete(id) => match engine.delete(id).await {
            Ok(_) | Err(outlive::ControlError::NotFound(_)) => Ok(()),
            Err(outlive::ControlError::Unknown { .. }) => Err(Broken::Unknown),
            Err(outlive::ControlError::Store(error)) => Err(of_store(&error)),
            Err(outlive::ControlError::ShuttingDown) => Err(Broken::Refused),
            Err(other) => panic!("{call:?}: {other:?}"),
        },
    }
}

async fn play_on(engine: &Engine, world: &mut World) -> Result<(), Broken> {
    while let Some(next) = SCRIPT.get(world.at) {
        let done = tokio::time::timeout(LONG, call(engine, world, *next)).await;
        done.unwrap_or(Err(Broken::Silent))?;
        world.at += 1;
    }
    Ok(())
}

/// What was acknowledged and not deleted since.
fn acknowledged(world: &World) -> impl Iterator<Item = Call> {
    let at = world.at;
    let deleted = move |id: &str, since: usize| {
        let later = &SCRIPT[since..SCRIPT.len().min(at + 1)];
        later
            .iter()
            .any(|call| matches!(call, Call::Delete(gone) if *gone == id))
    };
    let done = SCRIPT[..at].iter().copied().enumerate();
    let stays = done.filter(move |(since, call)| match call {
        Call::Start(id, ..) | Call::Result(id, _) => !deleted(id, *since),
        Call::Delete(_) => false,
    });
    stays.map(|(_, call)| call)
}

/// What was acknowledged and not deleted since is there, and what was told is told again: results, and items under the
/// numbers that they had.
async fn check(engine: &Engine, world: &World, tally: &mut Tally) {
    for done in acknowledged(world) {
        match done {
            Call::Start(id, input, _) => {
                let found = engine.input(id, input).await;
                assert!(found.is_ok(), "{done:?} was acknowledged: {found:?}");
            }
            Call::Result(id, input) => {
                let told = again(engine, id, input).await.expect("it was told");
                assert_eq!(Some(&told), world.told.get(input), "{done:?}");
                let shown = items(engine, id).await.expect("the disk is well");
                let before = &world.shown[input];
                assert!(shown.starts_with(before), "{done:?}: {before:?}, {shown:?}");
                tally.items += before.len() as u64;
            }
            Call::Delete(_) => {}
        }
    }
}

/// When everything is over each task has the items of its inputs, once and in order.
async fn check_items(engine: &Engine, tally: &mut Tally) {
    let whole: [(&str, &[u64]); 5] = [
        ("a", &[90]),
        ("held", &[100, 3]),
        ("b", &[20]),
        ("c", &[60]),
        ("d", &[2]),
    ];
    for (id, expected) in whole {
        let shown = items(engine, id).await.expect("the disk is well");
        let shown: Vec<u64> = shown.into_iter().map(|(_, item)| item).collect();
        assert_eq!(shown, expected, "{id}");
        tally.items += shown.len() as u64;
    }
}

/// On a disk without room, on which the file cannot be opened again either, whoever asks is told what is there or that
/// there is no room: never that it is not there, nor that the engine has stopped.
async fn look_when_full(engine: &Engine, world: &World, tally: &mut Tally) {
    for done in acknowledged(world) {
        let (Call::Start(id, input, _) | Call::Result(id, input)) = done else {
            continue;
        };
        let asked = engine.input(id, input);
        match tokio::time::timeout(LONG, asked).await {
            Ok(Ok(_)) => tally.read_when_full += 1,
            Ok(Err(InputError::Store(StoreError::Full))) => tally.not_read_when_full += 1,
            other => panic!("{done:?} was acknowledged: {other:?} on a full disk"),
        }
        let Some(before) = world.shown.get(input) else {
            continue;
        };
        match items(engine, id).await {
            Ok(shown) => assert!(shown.starts_with(before), "{before:?}, {shown:?}"),
            Err(_) => tally.not_read_when_full += 1,
        }
    }
}

/// Whatever was refused is not there.
async fn check_refused(engine: &Engine, world: &World) {
    if let Some(Call::Start(id, input, _)) = SCRIPT.get(world.at) {
        let found = engine.input(*id, *input).await;
        assert!(
            matches!(found, Err(InputError::NotFound { .. })),
            "{id}/{input} was refused: {found:?}"
        );
    }
}

/// How a script is played.
#[derive(Debug, Clone, Copy)]
struct Way {
    fault: Fault,
    quick_repair: bool,
    journal_bytes: u32,
    /// An engine that has ended is followed by a power cut; else by another process on the running system.
    cuts_power: bool,
    seed: u64,
}

impl Way {
    /// The disk of the next engine, when the one before it has ended.
    async fn next(self, disk: FaultyDisk, lives: u64) -> FaultyDisk {
        if self.cuts_power {
            return FaultyDisk::new(disk.image(), self.seed + lives);
        }
        // What the process left behind ends with it.
        tokio::time::sleep(LONG).await;
        disk.mend();
        disk
    }
}

/// Plays the script on a disk that fails so, through as many engines as it takes, and a power cut at the end.
async fn play(image: &[u8], way: Way, tally: &mut Tally) -> u64 {
    let Way { fault, seed, .. } = way;
    let mut disk = FaultyDisk::new(image.to_vec(), seed);
    let mut world = World {
        quick_repair: way.quick_repair,
        journal_bytes: way.journal_bytes,
        ..World::default()
    };
    disk.arm(fault);
    let mut noticed = false;
    loop {
        world.lives += 1;
        let lives = world.lives;
        assert!(lives < 5, "{fault:?}: it does not come to its end");
        let engine = match open(&disk, &world).await {
            Ok(engine) => engine,
            Err(error) => {
                assert!(disk.failures() > 0, "{fault:?}: {error:?}");
                tally.refused_opens += 1;
                noticed = true;
                disk = way.next(disk, lives).await;
                continue;
            }
        };
        if lives > 1 {
            check(&engine, &world, tally).await;
        }
        let mut played = play_on(&engine, &mut world).await;
        if let Err(broken) = played {
            assert!(
                disk.failures() > 0,
                "{fault:?}: {broken:?} at {:?}",
                SCRIPT[world.at]
            );
            noticed = true;
            match broken {
                Broken::Unknown => tally.unknown += 1,
                Broken::Refused => tally.refused += 1,
                Broken::Silent => tally.silent += 1,
            }
            if fault.kind == Kind::Full && fault.lasts {
                look_when_full(&engine, &world, tally).await;
            }
            disk.mend();
            // A disk that is full stops no engine, so that this one goes on by itself.
            if fault.kind == Kind::Full && fault.lasts {
                tokio::time::sleep(Duration::from_secs(2)).await;
                let lives = engine.get("nobody").await;
                assert!(lives.is_ok(), "{fault:?}: it stopped: {lives:?}");
                if broken == Broken::Refused && engine.get("nobody").await.is_ok() {
                    check_refused(&engine, &world).await;
                }
                played = play_on(&engine, &mut world).await;
            }
            if played.is_err() {
                drop(engine);
                disk = way.next(disk, lives).await;
                if broken == Broken::Refused {
                    world.lives += 1;
                    let engine = open(&disk, &world).await.expect("a well disk");
                    check_refused(&engine, &world).await;
                    drop(engine);
                    disk = way.next(disk, lives).await;
                }
                continue;
            }
        }
        tally.copies += disk.copies();
        let hits = disk.hits();
        drop(engine);
        // The power is cut: what was acknowledged since the failure must be on the disk as well.
        let left = FaultyDisk::new(disk.image(), seed);
        world.lives += 1;
        let engine = open(&left, &world).await;
        let engine = engine.unwrap_or_else(|error| panic!("{fault:?}: a dead file: {error:?}"));
        check(&engine, &world, tally).await;
        let last = again(&engine, "d", "d1").await;
        assert_eq!(last.expect("it was acknowledged"), output(2));
        check_items(&engine, tally).await;
        let doubled = std::mem::take(&mut world.steps.lock().doubled);
        assert!(doubled.is_empty(), "{fault:?}: {doubled:?}");
        tally.healed += u64::from(!noticed && disk.failures() > 0);
        return hits;
    }
}

fn on_a_clock_that_stands<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(future)
}

/// Every so many of these calls fails: also of few calls some do.
fn stride(calls: u64) -> usize {
    let given = std::env::var("OUTLIVE_FAULT_STRIDE").ok();
    let stride = given.map_or(STRIDE, |given| given.parse().expect("a number"));
    usize::try_from(stride.min(calls / 6).max(1)).expect("a small number")
}

/// Fails calls of these kinds, one after the other.
fn fail(kinds: &[Kind], (quick_repair, journal_bytes): (bool, u32)) -> Tally {
    let image = empty(journal_bytes);
    let mut tally = Tally::default();
    for (nth, kind) in kinds.iter().copied().enumerate() {
        let way = |at, lasts, cuts_power| Way {
            fault: Fault { kind, at, lasts },
            quick_repair,
            journal_bytes,
            cuts_power,
            seed: at.max(1),
        };
        let never = way(0, false, true);
        let calls = on_a_clock_that_stands(play(&image, never, &mut Tally::default()));
        assert!(calls > 10, "{kind:?} hits {calls} calls");
        let at = (1 + nth as u64..=calls).step_by(stride(calls));
        for (at, cuts_power) in at.zip([true, false].into_iter().cycle()) {
            for lasts in [false, true] {
                let way = way(at, lasts, cuts_power);
                on_a_clock_that_stands(play(&image, way, &mut tally));
                tally.faults += 1;
            }
        }
    }
    println!(
        "{tally:?}: nothing acknowledged lost, nothing refused there, all unknown resolved, no dead file"
    );
    tally
}

#[test]
fn a_failed_call_loses_nothing() {
    let tally = fail(&[Kind::Any, Kind::Read, Kind::Short], (true, SOON_FULL));
    assert!(tally.healed * 3 > tally.faults, "{tally:?}");
    assert!(tally.unknown + tally.refused > 0, "{tally:?}");
}

#[test]
fn a_full_disk_loses_nothing() {
    for journal_bytes in [0, SOON_FULL] {
        let tally = fail(&[Kind::Full], (true, journal_bytes));
        assert!(
            tally.unknown + tally.silent + tally.refused > 0,
            "{tally:?}"
        );
        let asked = tally.read_when_full + tally.not_read_when_full;
        assert!(asked > 0, "{tally:?}");
    }
}

/// Going on with a file that a sync has failed for leaves it unreadable after the next power cut.
#[test]
fn a_failed_sync_is_copied_out_of() {
    for way in [(true, SOON_FULL), (true, 0), (false, SOON_FULL), (false, 0)] {
        let tally = fail(&[Kind::Sync], way);
        assert!(tally.copies > 0, "{tally:?}");
    }
}

/// What only the journal has must be written to be whole, and there is no room for that: it is read all the same, and work
/// goes on when there is room.
#[test]
fn a_file_that_was_killed_is_read_on_a_full_disk() {
    on_a_clock_that_stands(async {
        let world = World {
            quick_repair: true,
            journal_bytes: SOON_FULL,
            ..World::default()
        };
        let disk = FaultyDisk::new(empty(SOON_FULL), 1);
        let engine = open(&disk, &world).await.expect("a well disk");
        let run = engine.start(TASK, "a", &1).input_id("a1").await;
        let output = run.expect("a start").result().await.expect("its end");
        let killed = FaultyDisk::new(disk.image(), 1);
        killed.arm(Fault {
            kind: Kind::Full,
            at: 1,
            lasts: true,
        });
        let options = RedbOptions::default();
        let store = RedbStore::on_medium(Arc::new(killed.clone()), options, 8);
        let store = Arc::new(store.expect("an open without room"));
        let looks = Engine::on_store(Arc::<RedbStore>::clone(&store)).inline();
        let looks = looks.open().await.expect("a look without room");
        let found = looks.get("a").await.expect("a read");
        let found = found.and_then(|found| found.output_json);
        assert_eq!(found.as_deref(), Some(&*format!("{output:?}")));
        assert_eq!(store.define(&["more"]), Err(StoreError::Full));
        killed.mend();
        store.reopen().expect("there is room");
        assert!(store.define(&["more"]).is_ok());
        assert!(store.io().writes > 0);
    });
}

/// redb knows nothing of a record that failed: closed in order, it would call a file whole whose pages may be lost.
#[test]
fn a_store_whose_record_failed_writes_nothing_more() {
    for kind in [Kind::Any, Kind::Full, Kind::Short, Kind::Sync] {
        let disk = FaultyDisk::new(empty(SOON_FULL), 1);
        let options = RedbOptions::default();
        let store = RedbStore::on_medium(Arc::new(disk.clone()), options, 7).expect("a store");
        let row = template();
        store.define(&["later"]).expect("a definition");
        disk.arm(Fault {
            kind,
            at: 1,
            lasts: false,
        });
        let commit = Commit {
            task: TaskNumber(row.etag.0),
            expect: Expect::Absent,
            writes: vec![Write::Row(row.into())],
        };
        assert!(store.commit(&[commit]).is_err(), "{kind:?}");
        let before = disk.image();
        drop(store);
        assert!(disk.image() == before, "{kind:?}: it was written to");
    }
}
