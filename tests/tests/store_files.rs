//! What is done to a file apart from any engine: told of, repaired, exported, and imported again.

use outlive::sealed::{Key, Keys};
use outlive::store::{self, CopyError, ImportError, LineFault, OpenError, Progress, Watch};
use outlive::{Builder, Ctx, Engine, HandlerError, TaskDef};
use outlive_tests::chance::Chance;
use outlive_tests::damage::trial::{self, Truth};
use outlive_tests::damage::world::{Stage, World};
use parking_lot::Mutex;
use std::fs;
use std::io::{self, BufReader, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::oneshot;

/// One of each kind of task, and a few more.
const TASKS: usize = 27;
/// Lines changed at random.
const CHANGES: usize = 60;
/// One in so many of the files that changed lines still make is opened by an engine.
const OPENED_EVERY: usize = 3;

struct Scene {
    directory: TempDir,
    world: World,
}

impl Scene {
    async fn build() -> Scene {
        let directory = tempfile::tempdir().expect("a directory");
        let world = World::build(directory.path(), TASKS).await;
        Scene { directory, world }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).expect("a file");
        path
    }
}

fn exported(path: &Path) -> Vec<Vec<u8>> {
    let mut text = Vec::new();
    let report = store::export(path, &mut text, &Watch::default()).expect("an export");
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    let lines: Vec<Vec<u8>> = text
        .split_inclusive(|byte| *byte == b'\n')
        .map(Vec::from)
        .collect();
    assert_eq!(lines.len() as u64, report.lines);
    lines
}

fn imported(lines: &[Vec<u8>], to: &Path) -> Result<store::ImportReport, ImportError> {
    store::import(&mut lines.concat().as_slice(), to)
}

async fn truth(scene: &Scene, bytes: &[u8]) -> Truth {
    let path = scene.file("truth.redb", bytes);
    let engine = Stage::default().on(Engine::builder(&path));
    let engine = engine.open().await.expect("it opens");
    trial::read(&engine, &scene.world).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_task_stands_after_an_import_as_it_stood() {
    let scene = Scene::build().await;
    for (name, bytes) in [
        ("killed", &scene.world.killed),
        ("stopped", &scene.world.stopped),
    ] {
        let truth = truth(&scene, bytes).await;
        let from = scene.file(&format!("{name}.redb"), bytes);
        let lines = exported(&from);
        assert_eq!(fs::read(&from).unwrap(), *bytes, "the file is not changed");
        let to = scene.path(&format!("{name}.imported"));
        let report = imported(&lines, &to).expect("an import");
        assert!(report.findings.is_empty(), "{:?}", report.findings);
        assert!(report.tasks >= TASKS as u64);
        assert!(store::verify(&to).expect("a look").is_whole());
        let again = exported(&to);
        for (line, so) in again.iter().zip(&lines).skip(1) {
            let [line, so] = [line, so].map(|line| String::from_utf8_lossy(line));
            assert_eq!(line, so, "{name}");
        }
        assert_eq!(again.len(), lines.len(), "{name}: nothing is lost or added");
        let trial = trial::run(&to, &scene.world, &truth, false).await;
        assert!(
            !trial.noticed() && trial.wrong.is_empty(),
            "{name}: {trial:#?}"
        );
    }
}

/// Etags and generations, as the first line tells them.
fn counters(lines: &[Vec<u8>]) -> (u64, u64) {
    let first: serde_json::Value = serde_json::from_slice(&lines[0]).unwrap();
    let head = &first["outlive_export"];
    (
        head["etag"].as_u64().unwrap(),
        head["generation"].as_u64().unwrap(),
    )
}

#[tokio::test]
async fn nothing_decided_on_the_exported_file_counts_in_the_imported_one() {
    let scene = Scene::build().await;
    let from = scene.file("from.redb", &scene.world.stopped);
    let to = scene.path("to.redb");
    let lines = exported(&from);
    imported(&lines, &to).unwrap();
    let (before, after) = (counters(&lines), counters(&exported(&to)));
    assert!(after.0 >= before.0 + (1 << 32) && after.1 >= before.1 + (1 << 32));
    let [from, to] = [from, to].map(|path| store::info(path).unwrap().inside.unwrap());
    assert_ne!(from.incarnation, to.incarnation);
    assert_eq!((from.tasks, from.in_progress), (to.tasks, to.in_progress));
    assert_eq!(from.definitions, to.definitions);
}

fn refused(scene: &Scene, lines: &[Vec<u8>]) -> ImportError {
    let to = scene.path("refused.redb");
    let error = imported(lines, &to).expect_err("it is refused");
    let left: Vec<_> = fs::read_dir(scene.directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("refused.redb") && !name.ends_with(".lock"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    error
}

fn at(found: &ImportError) -> Option<(u64, &LineFault)> {
    match found {
        ImportError::Line { line, fault } => Some((*line, fault)),
        _ => None,
    }
}

#[tokio::test]
async fn a_line_that_is_not_right_is_named_by_its_number() {
    let scene = Scene::build().await;
    let lines = exported(&scene.file("from.redb", &scene.world.stopped));
    let find = |start: &str| {
        let found = lines
            .iter()
            .position(|line| line.starts_with(start.as_bytes()));
        found.expect("such a line")
    };
    let with = |index: usize, line: &[u8]| {
        let mut changed = lines.clone();
        changed[index] = line.to_vec();
        refused(&scene, &changed)
    };
    let number = |index: usize| index as u64 + 1;
    let step = find("{\"step\"");
    let found = with(step, b"{\"step\":{\"task\":1}}\n");
    assert!(
        matches!(at(&found), Some((line, LineFault::Malformed { .. })) if line == number(step))
    );
    let text = String::from_utf8(lines[step].clone()).unwrap();
    let (before, rest) = text.split_once("\"task\":").unwrap();
    let (_, behind) = rest.split_once(',').unwrap();
    let found = with(
        step,
        format!("{before}\"task\":7777777,{behind}").as_bytes(),
    );
    assert_eq!(at(&found), Some((number(step), &LineFault::OfNothing)));
    let found = with(step + 1, &lines[step]);
    assert_eq!(at(&found), Some((number(step + 1), &LineFault::Twice)));
    let task = find("{\"task\"");
    let text = String::from_utf8(lines[task].clone()).unwrap();
    let found = with(task, text.replace("\"id\":\"t", "\"id\":\"../t").as_bytes());
    assert!(matches!(at(&found), Some((line, LineFault::Invalid { .. })) if line == number(task)));
    let found = with(step, &lines[0]);
    assert_eq!(at(&found), Some((number(step), &LineFault::Misplaced)));
    let mut more = lines.clone();
    more.push(lines[step].clone());
    let found = refused(&scene, &more);
    assert_eq!(at(&found), Some((more.len() as u64, &LineFault::Misplaced)));
}

/// What an engine counts on from, by the kind of the line: where it is in the line, and the highest that is taken.
const COUNTED: [(&str, &str, u64); 28] = [
    ("outlive_export", "/etag", WIDE),
    ("outlive_export", "/generation", WIDE),
    ("definition", "/number", NARROW),
    ("task", "/task", WIDE),
    ("task", "/row/etag", WIDE),
    ("task", "/row/generation", WIDE),
    ("task", "/row/run", NARROW),
    ("task", "/row/turn", NARROW),
    ("task", "/row/turns_total", WIDE),
    ("task", "/row/attempt", NARROW),
    ("task", "/row/crashes", NARROW),
    ("task", "/row/guard/deaths", NARROW),
    ("task", "/row/guard/alone", NARROW),
    ("task", "/row/input_seq", WIDE),
    ("task", "/row/inputs_accepted", WIDE),
    ("task", "/row/inputs_waiting", WIDE),
    ("task", "/row/inputs_taken", WIDE),
    ("task", "/row/steps_of", WIDE),
    ("value", "/index", WIDE),
    ("turn", "/slot", WIDE),
    ("turn", "/row/total", WIDE),
    ("step", "/turn", WIDE),
    ("step", "/row/attempt", NARROW),
    ("segment", "/first", WIDE),
    ("segment", "/row/generation", WIDE),
    ("event", "/row/generation", WIDE),
    ("event", "/row/attempt", NARROW),
    ("life", "/position", WIDE),
];
const WIDE: u64 = 1 << 62;
const NARROW: u64 = u32::MAX as u64 - (1 << 30);

#[tokio::test]
async fn a_number_that_leaves_no_room_to_count_on_is_refused_with_its_line() {
    let scene = Scene::build().await;
    let lines = exported(&scene.file("from.redb", &scene.world.stopped));
    let mut counted_on = 0;
    for (kind, pointer, highest) in COUNTED {
        let start = format!("{{\"{kind}\":");
        let found = lines
            .iter()
            .position(|line| line.starts_with(start.as_bytes()));
        let index = found.unwrap_or_else(|| panic!("a line of the kind {kind}"));
        let pointer = format!("/{kind}{pointer}");
        let mut changed = lines.clone();
        changed[index] = with_number(&lines[index], &pointer, highest + 1);
        let error = refused(&scene, &changed);
        let Some((line, LineFault::NoRoom { what, found, most })) = at(&error) else {
            panic!("{pointer}: {error:?}");
        };
        assert_eq!(
            (line, *most, *found),
            (index as u64 + 1, highest, highest + 1)
        );
        assert!(
            pointer.replace('/', ".").ends_with(*what),
            "{pointer}: {what}"
        );
        // The last one with room is refused for its place alone, if at all.
        changed[index] = with_number(&lines[index], &pointer, highest);
        let taken = imported(&changed, &scene.path("taken.redb"));
        let fault = taken.as_ref().err().and_then(at);
        let is_of_room = matches!(fault, Some((_, LineFault::NoRoom { .. })));
        assert!(!is_of_room, "{pointer}: {taken:?}");
        if taken.is_ok() {
            let path = scene.path("taken.redb");
            let engine = Stage::default().on(Engine::builder(&path)).open().await;
            let engine = engine.unwrap_or_else(|error| panic!("{pointer}: {error}"));
            engine.shutdown(Duration::ZERO).await;
            fs::remove_file(&path).expect("removed");
            counted_on += 1;
        }
    }
    assert!(counted_on > COUNTED.len() / 3, "{counted_on}");
}

/// A line with another number at one place.
fn with_number(line: &[u8], pointer: &str, number: u64) -> Vec<u8> {
    let mut value: serde_json::Value = serde_json::from_slice(line).expect("a line");
    let place = value.pointer_mut(pointer).expect(pointer);
    *place = number.into();
    let mut line = serde_json::to_vec(&value).expect("a line");
    line.push(b'\n');
    line
}

/// Bytes without a line break, as many as there may be in the test, and how many of them were read.
struct Endless {
    read: u64,
}

/// Most that an endless line is read to: four times the longest line.
const ENDLESS_MAX: u64 = 256 << 20;

impl Read for Endless {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.read >= ENDLESS_MAX {
            return Ok(0);
        }
        to.fill(b' ');
        self.read += to.len() as u64;
        Ok(to.len())
    }
}

#[tokio::test]
async fn a_line_without_an_end_is_refused_before_it_is_in_memory() {
    let scene = Scene::build().await;
    let lines = exported(&scene.file("from.redb", &scene.world.stopped));
    let to = scene.path("refused.redb");
    let mut endless = Endless { read: 0 };
    let mut from = lines[..2].concat();
    let behind = BufReader::with_capacity(1 << 20, &mut endless);
    let found = store::import(&mut from.as_slice().chain(behind), &to).expect_err("refused");
    let Some((3, LineFault::TooLong { most })) = at(&found) else {
        panic!("{found:?}");
    };
    // The largest value that an engine takes fits, whatever is in it.
    assert!(*most >= 6 * outlive::VALUE_MAX);
    assert!(endless.read <= *most + (2 << 20), "{} bytes", endless.read);

    let mut endless = Endless { read: 0 };
    from.clear();
    let mut behind = BufReader::with_capacity(1 << 20, &mut endless);
    let found = store::import(&mut behind, &to).expect_err("refused");
    assert!(matches!(found, ImportError::NotAnExport), "{found:?}");
    assert!(endless.read <= 1 << 20, "what is no export is not read on");
}

#[tokio::test]
async fn an_export_that_is_not_whole_or_of_another_version_is_refused() {
    let scene = Scene::build().await;
    let lines = exported(&scene.file("from.redb", &scene.world.stopped));
    for kept in [1, lines.len() / 2, lines.len() - 1] {
        let found = refused(&scene, &lines[..kept]);
        assert!(
            matches!(found, ImportError::CutOff { lines } if lines == kept as u64),
            "{found:?}"
        );
    }
    let mut missing = lines.clone();
    missing.remove(lines.len() - 2);
    assert!(matches!(
        refused(&scene, &missing),
        ImportError::CutOff { .. }
    ));
    let mut newer = lines.clone();
    newer[0] = b"{\"outlive_export\":{\"version\":2,\"else\":1}}\n".to_vec();
    let found = refused(&scene, &newer);
    assert!(
        matches!(
            found,
            ImportError::TooNew {
                found: 2,
                supported: 1
            }
        ),
        "{found:?}"
    );
    for other in [
        &b""[..],
        b"\n",
        b"{\"task\":1}\n",
        b"redb\x1a\n",
        b"\xff\xfe",
    ] {
        let found = refused(&scene, &[other.to_vec()]);
        assert!(matches!(found, ImportError::NotAnExport), "{found:?}");
    }
}

#[tokio::test]
async fn what_lies_under_the_path_is_never_written_over() {
    let scene = Scene::build().await;
    let from = scene.file("from.redb", &scene.world.stopped);
    let there = scene.file("there", b"something");
    let lines = exported(&from);
    let found = imported(&lines, &there).expect_err("refused");
    assert!(
        matches!(found, ImportError::To(CopyError::Exists { .. })),
        "{found:?}"
    );
    let found = store::export_to(&from, &there, &Watch::default()).expect_err("refused");
    assert!(matches!(found, CopyError::Exists { .. }), "{found:?}");
    assert_eq!(fs::read(&there).unwrap(), b"something");
    let to = scene.path("lines.jsonl");
    store::export_to(&from, &to, &Watch::default()).expect("an export");
    assert_eq!(fs::read(&to).unwrap(), lines.concat());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_line_is_refused_or_makes_a_whole_file() {
    let seed = std::env::var("OUTLIVE_SEED").map_or(20_269, |seed| seed.parse().unwrap_or(20_269));
    let mut chance = Chance(seed);
    let scene = Scene::build().await;
    let lines = exported(&scene.file("from.redb", &scene.world.killed));
    let to = scene.path("changed.redb");
    let (mut refused, mut without_room, mut made, mut opened) = (0, 0, 0, 0);
    for n in 0..CHANGES {
        let mut changed = lines.clone();
        let line = chance.below(changed.len() as u64) as usize;
        let len = changed[line].len() as u64 - 1;
        let from = chance.below(len) as usize;
        let other = match chance.below(4) {
            0 => vec![b'0' + chance.below(10) as u8],
            1 => vec![1 << chance.below(8)],
            2 => vec![changed[line][chance.below(len) as usize]],
            _ => u64::MAX.to_string().into_bytes(),
        };
        let number = |byte: &&u8| byte.is_ascii_digit();
        // A whole number is taken for another one.
        let end = match other.len() {
            1 => from + 1,
            _ => from + changed[line][from..].iter().take_while(number).count(),
        };
        changed[line].splice(from..end, other);
        let done = catch_unwind(AssertUnwindSafe(|| imported(&changed, &to)));
        let told = format!("seed {seed}, change {n}, line {}", line + 1);
        match done.unwrap_or_else(|_| panic!("a panic: {told}")) {
            Err(ImportError::To(error)) => panic!("{error}: {told}"),
            Err(error) => {
                refused += 1;
                let fault = at(&error).map(|(_, fault)| fault);
                without_room += u64::from(matches!(fault, Some(LineFault::NoRoom { .. })));
            }
            Ok(_) => {
                made += 1;
                let pages = store::verify(&to).expect("a look").pages;
                assert_eq!(pages, store::PageCheck::Whole, "{told}");
                if made % OPENED_EVERY == 0 {
                    let engine = Stage::default().on(Engine::builder(&to)).open().await;
                    engine.expect(&told).shutdown(Duration::ZERO).await;
                    opened += 1;
                }
                fs::remove_file(&to).expect("removed");
            }
        }
    }
    println!(
        "seed {seed}: {CHANGES} changed lines: {refused} refused ({without_room} for want of room), {made} made a whole file, {opened} opened"
    );
    assert!(refused > 0 && opened > 0);
}

const ECHO: TaskDef<u32, u32> = TaskDef::new("echo");

fn echo(builder: Builder) -> Builder {
    builder.task(ECHO, |_: Ctx, n| async move { Ok::<_, HandlerError>(n) })
}

#[tokio::test]
async fn a_file_tells_what_it_is_and_who_has_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t");
    assert!(matches!(store::info(&path), Err(OpenError::Missing { .. })));
    let engine = echo(Engine::builder(&path)).open().await.unwrap();
    engine.run(ECHO, "a", &1).await.unwrap();
    let later = engine
        .start(ECHO, "b", &2)
        .start_in(Duration::from_secs(3600));
    later.await.unwrap();
    let live = store::info(&path).unwrap();
    let holder = live.holder.expect("an engine has it");
    assert_eq!(holder.pid, Some(std::process::id()));
    assert!(holder.since.is_some() && live.inside.is_none() && live.file_bytes > 0);
    engine.shutdown(Duration::ZERO).await;
    drop(engine);
    let inside = store::info(&path).unwrap().inside.expect("nobody has it");
    assert_eq!(
        (
            inside.tasks,
            inside.waiting,
            inside.ended,
            inside.in_progress
        ),
        (2, 1, 1, 0)
    );
    let echo = inside
        .definitions
        .iter()
        .find(|found| &*found.name == "echo")
        .unwrap();
    assert_eq!((echo.tasks, echo.waiting), (2, 1));
    assert!(inside.last_life.expect("a life").stopped_at.is_some());
}

const SAY: TaskDef<String, String> = TaskDef::new("say");

async fn sealed(path: &Path) -> Engine {
    let say = |_: Ctx, text| async move { Ok::<_, HandlerError>(text) };
    let builder = Engine::builder(path).payload_codec(Keys::new(Key::new([7; 32])));
    builder.task(SAY, say).open().await.expect("it opens")
}

#[tokio::test]
async fn a_sealed_file_stays_sealed_in_its_lines_and_opens_with_its_keys() {
    let directory = tempfile::tempdir().unwrap();
    let [path, to] = ["t", "copy"].map(|name| directory.path().join(name));
    let secret = "not to be read by anybody ".repeat(100);
    let engine = sealed(&path).await;
    engine.run(SAY, "a", &secret).await.unwrap();
    engine.shutdown(Duration::ZERO).await;
    drop(engine);
    let lines = exported(&path);
    let told = lines.concat();
    let clear = secret.split_at(20).0.as_bytes();
    assert!(!told.windows(clear.len()).any(|window| window == clear));
    imported(&lines, &to).expect("an import");
    let info = store::info(&to).unwrap().inside.unwrap();
    assert!(info.is_sealed && info.definitions.len() == 1, "{info:?}");
    assert!(
        echo(Engine::builder(&to)).open().await.is_err(),
        "without keys"
    );
    let engine = sealed(&to).await;
    let [before, after] = [sealed(&path).await, engine];
    let seen = async |engine: &Engine| engine.get("a").await.unwrap().unwrap().output;
    assert_eq!(
        format!("{:?}", seen(&after).await),
        format!("{:?}", seen(&before).await)
    );
}

#[tokio::test]
async fn a_repair_creates_nothing_and_says_what_it_found() {
    let scene = Scene::build().await;
    let missing = scene.path("missing");
    let found = store::repair(&missing, None, &Watch::default());
    assert!(matches!(found, Err(OpenError::Missing { .. })), "{found:?}");
    assert!(!missing.exists());
    let killed = scene.file("killed.redb", &scene.world.killed);
    let report = store::repair(&killed, None, &Watch::default()).expect("a repair");
    assert!(report.verified.is_whole() && !report.opened.created);
}

#[tokio::test]
async fn whoever_waits_is_told_how_far_it_has_come() {
    let scene = Scene::build().await;
    let from = scene.file("from.redb", &scene.world.stopped);
    let told: Arc<Mutex<Vec<Progress>>> = Arc::default();
    let notes = Arc::clone(&told);
    let watch = Watch::new(move |progress| notes.lock().push(progress));
    let len = scene.world.stopped.len() as u64;
    let count = |name: &str| {
        let told = std::mem::take(&mut *told.lock());
        assert!(
            told.iter()
                .any(|progress| progress.of == len && progress.done > 0),
            "{name}"
        );
    };
    store::verify_watched(&from, &watch).unwrap();
    count("verify");
    store::export(&from, &mut Vec::new(), &watch).unwrap();
    count("export");
    store::restore_watched(&from, scene.path("b"), &watch).unwrap();
    count("restore");
    store::salvage_watched(&from, scene.path("c"), &watch).unwrap();
    count("salvage");
    let keys = Keys::new(Key::new([7; 32]));
    let report = store::reseal_watched(&from, keys, &watch).unwrap();
    count("reseal");
    assert!(report.is_whole() && report.resealed > TASKS as u64);
}

/// Engines that come while somebody looks.
const LOOKS: usize = 10;

/// Takes the lines of an export, and says so at the first one, when the file is held for a look.
struct Looking<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Write for Looking<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(held) = self.0.take() {
            held();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A look holds the lock for as long as it reads, a few milliseconds as a rule. An engine that was opened in such a moment,
/// as when a shell completed an id, was refused as if another engine were there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_comes_while_somebody_looks_waits_for_the_look() {
    let scene = Scene::build().await;
    let path = scene.file("t.redb", &scene.world.stopped);
    for round in 0..LOOKS {
        let (looks, looked) = oneshot::channel();
        let (go, going) = mpsc::channel();
        let held = move || {
            let _ = looks.send(());
            let _ = going.recv();
        };
        let from = path.clone();
        let look = tokio::task::spawn_blocking(move || {
            store::export(&from, &mut Looking(Some(held)), &Watch::default())
        });
        looked.await.expect("it looks");
        go.send(()).expect("it waits");
        let opened = Stage::default().on(Engine::builder(&path)).open().await;
        let engine = opened.unwrap_or_else(|error| panic!("round {round}: {error}"));
        look.await.expect("no panic").expect("an export");
        engine.shutdown(Duration::ZERO).await;
    }
}

#[tokio::test]
async fn a_look_that_goes_on_is_told_of_by_its_process() {
    let scene = Scene::build().await;
    let path = scene.file("t.redb", &scene.world.stopped);
    let mut refused = None;
    let held = || refused = store::compact(&path).err();
    store::export(&path, &mut Looking(Some(held)), &Watch::default()).expect("an export");
    let Some(OpenError::AlreadyRunning { pid, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(pid, Some(std::process::id()));
    store::compact(&path).expect("nobody looks any more");
}
