//! The engine in a program without an async runtime, and the place of its file when the program does not care.

use outlive::{
    BlockingEngine, BlockingError, Ctx, DataDirError, Engine, Entry, HandlerError, InsideRuntime,
    OpenError, Release, Reply, ResultError, StartError, Status, TaskDef,
};
use outlive_tests::latch::Latch;
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

const NO_GRACE: Duration = Duration::ZERO;
const SOON: Duration = Duration::from_secs(60);

/// Fails with it.
const UNLUCKY: u32 = 1313;
const DOUBLE: TaskDef<u32, u32> = TaskDef::new("double");
/// Waits for its next input, which it adds.
const CHAT: TaskDef<u32, u32> = TaskDef::new("chat");
/// Ends only when it is told to.
const PATIENT: TaskDef<(), ()> = TaskDef::new("patient");

async fn double(_: Ctx, n: u32) -> Result<u32, HandlerError> {
    if n == UNLUCKY {
        return Err(HandlerError::terminal("unlucky"));
    }
    Ok(n * 2)
}

async fn chat(ctx: Ctx, n: u32) -> Result<Reply<u32>, HandlerError> {
    let before: u32 = ctx.previous_input()?.unwrap_or_default();
    Ok(Reply::suspend(before + n, "the next number"))
}

async fn patient(ctx: Ctx, (): ()) -> Result<(), HandlerError> {
    ctx.cancelled().await;
    Err(HandlerError::cancelled())
}

fn open(path: &Path) -> BlockingEngine {
    let builder = Engine::builder(path).task(DOUBLE, double).task(CHAT, chat);
    builder
        .task(PATIENT, patient)
        .open_blocking()
        .expect("it opens")
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("tasks.redb");
    (directory, path)
}

#[test]
fn a_program_without_a_runtime_does_all_that_others_do() {
    let (_directory, path) = place();
    let engine = open(&path);
    assert_eq!(engine.recovery().unwrap().found, 0);
    assert_eq!(engine.run(DOUBLE, "a", &21).unwrap(), 42);
    let run = engine.start(DOUBLE, "b", &4).unwrap();
    assert_eq!(engine.result(&run).unwrap(), 8);
    assert_eq!(engine.wait(run).unwrap(), 8);
    assert_eq!(engine.wait(engine.attach(DOUBLE, "b").unwrap()).unwrap(), 8);
    let seen = engine.get("b").unwrap().expect("it is there");
    assert_eq!(
        (seen.status, seen.output),
        (Status::Completed, Some(8.into()))
    );
    assert!(engine.get("nobody").unwrap().is_none());

    engine
        .wait(engine.start(CHAT, "c", &1).unwrap().outcome())
        .unwrap();
    let explained = engine.explain("c").unwrap().expect("it is there");
    assert_eq!(explained.release, Release::Input);
    let resumed = engine.resume(CHAT, "c").unwrap();
    assert_eq!(engine.result(&resumed).unwrap(), 2, "the same input again");

    let patient = engine.start(PATIENT, "p", &()).unwrap();
    engine.cancel("p", "enough").unwrap();
    let ended = engine.result(&patient);
    assert!(matches!(
        ended,
        Err(BlockingError::Call(ResultError::Cancelled { .. }))
    ));
    let patient = engine.retry(PATIENT, "p").unwrap();
    engine.terminate("p", "now").unwrap();
    let ended = engine.result(&patient);
    assert!(matches!(
        ended,
        Err(BlockingError::Call(ResultError::Terminated { .. }))
    ));
    assert!(engine.delete("p").unwrap());
    assert!(!engine.delete("p").unwrap());

    let tagged = engine.engine().start(DOUBLE, "d", &1).tag("k", "v");
    engine.result(&engine.wait(tagged).unwrap()).unwrap();
    let page = engine.list(DOUBLE, |list| list.tag("k", "v")).unwrap();
    assert_eq!(page.tasks.len(), 1);
    assert_eq!(
        engine.list_all(|list| list.limit(2)).unwrap().tasks.len(),
        2
    );
    assert_eq!(engine.shutdown(SOON).unwrap().still_running, 0);
}

#[test]
fn each_call_gives_its_own_error() {
    let engine = Engine::in_memory()
        .task(DOUBLE, double)
        .open_blocking()
        .unwrap();
    let failed = engine.run(DOUBLE, "a", &UNLUCKY);
    let Err(BlockingError::Call(outlive::RunError::Result(ResultError::Failed(failure)))) = failed
    else {
        panic!("{failed:?}")
    };
    assert_eq!(&*failure.message, "unlucky");
    let again = engine.start(DOUBLE, "a", &UNLUCKY);
    assert!(matches!(
        again,
        Err(BlockingError::Call(StartError::Conflict { .. }))
    ));
    let unknown = engine.start(CHAT, "b", &1);
    assert!(matches!(
        unknown,
        Err(BlockingError::Call(StartError::NoHandler { .. }))
    ));
    engine.shutdown(NO_GRACE).unwrap();
    let late = engine.start(DOUBLE, "c", &1);
    assert!(matches!(
        late,
        Err(BlockingError::Call(StartError::ShuttingDown))
    ));
}

#[test]
fn several_threads_share_one_engine() {
    let engine = Engine::in_memory()
        .task(DOUBLE, double)
        .open_blocking()
        .unwrap();
    let callers = (0..8).map(|caller| {
        let engine = engine.clone();
        std::thread::spawn(move || {
            for n in 0..20 {
                let doubled = engine.run(DOUBLE, format!("{caller}-{n}"), &n).unwrap();
                assert_eq!(doubled, n * 2);
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.join().unwrap();
    }
    assert_eq!(
        engine
            .list(DOUBLE, |list| list.limit(500))
            .unwrap()
            .tasks
            .len(),
        160
    );
}

/// A program that has a runtime after all is told, not stopped, and the engine is none the worse.
#[test]
fn inside_a_runtime_each_call_is_refused_by_a_typed_error() {
    let engine = Engine::in_memory()
        .task(DOUBLE, double)
        .open_blocking()
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let opened = Engine::in_memory().open_blocking();
        assert!(matches!(opened, Err(OpenError::InsideRuntime)));
        let started = engine.start(DOUBLE, "a", &1);
        assert!(matches!(started, Err(BlockingError::InsideRuntime)));
        assert!(matches!(engine.get("a"), Err(BlockingError::InsideRuntime)));
        assert_eq!(engine.recovery(), Err(InsideRuntime));
        assert_eq!(engine.shutdown(NO_GRACE), Err(InsideRuntime));
        // The engine itself can be awaited in any runtime.
        assert_eq!(engine.engine().run(DOUBLE, "b", &2).await.unwrap(), 4);
    });
    assert!(engine.get("a").unwrap().is_none(), "nothing was done");
    assert_eq!(engine.run(DOUBLE, "a", &1).unwrap(), 2);
    // Neither does the last clone mind where it is dropped.
    runtime.block_on(async move { drop(engine) });
}

#[test]
fn a_blocking_handler_may_call_the_engine_it_runs_on() {
    const OUTER: TaskDef<u32, u32> = TaskDef::new("outer");
    let known: Arc<OnceLock<Mutex<Option<BlockingEngine>>>> = Arc::default();
    let inside = Arc::clone(&known);
    let outer = move |_: Ctx, n: u32| {
        let engine = inside.wait().lock().clone().expect("it is open");
        Ok::<_, HandlerError>(engine.run(DOUBLE, "inner", &n)? + 1)
    };
    let builder = Engine::in_memory()
        .task(DOUBLE, double)
        .blocking(OUTER, outer);
    let engine = builder.open_blocking().unwrap();
    known.set(Mutex::new(Some(engine.clone()))).unwrap();
    assert_eq!(engine.run(OUTER, "a", &5).unwrap(), 11);
    // What it knows would keep it open.
    known.get().unwrap().lock().take();
}

#[test]
fn dropping_the_engine_leaves_its_tasks_to_the_next_open() {
    let (_directory, path) = place();
    let entries: Arc<Mutex<Vec<Entry>>> = Arc::default();
    let (came, opens) = (
        Arc::new(tokio::sync::Semaphore::new(0)),
        Arc::new(tokio::sync::Semaphore::new(0)),
    );
    let open = || {
        let (entries, came, opens) = (entries.clone(), came.clone(), opens.clone());
        let handler = move |ctx: Ctx, n: u32| {
            let (entries, came, opens) = (entries.clone(), came.clone(), opens.clone());
            async move {
                entries.lock().push(ctx.entry());
                came.add_permits(1);
                let _pass = opens.acquire().await?;
                Ok::<_, HandlerError>(n)
            }
        };
        let mut builder = Engine::builder(&path)
            .task(DOUBLE, handler.clone())
            .open_blocking();
        // The engine before gives the file up when its threads have ended, for which nobody waited.
        while let Err(OpenError::AlreadyRunning { .. }) = builder {
            std::thread::yield_now();
            builder = Engine::builder(&path)
                .task(DOUBLE, handler.clone())
                .open_blocking();
        }
        builder.unwrap()
    };
    let engine = open();
    let run = engine.start(DOUBLE, "a", &7).unwrap();
    engine
        .wait(async { came.acquire().await.map(|came| came.forget()) })
        .unwrap();
    let clone = engine.clone();
    drop(engine);
    assert_eq!(
        clone.get("a").unwrap().unwrap().status,
        Status::InProgress,
        "one is left"
    );
    drop(clone);
    drop(run);
    let engine = open();
    opens.add_permits(1);
    assert_eq!(engine.wait(engine.attach(DOUBLE, "a").unwrap()).unwrap(), 7);
    let entries = std::mem::take(&mut *entries.lock());
    assert_eq!(entries, [Entry::Fresh, Entry::Recovered { crashes: 0 }]);
    engine.shutdown(SOON).unwrap();
}

/// The engine is dropped without waiting for a handler that blocks its thread.
#[test]
fn a_handler_that_blocks_does_not_hold_up_the_drop() {
    const STUBBORN: TaskDef<(), ()> = TaskDef::new("stubborn");
    let (latch, opens) = Latch::closed();
    let waits = latch.clone();
    let block = move |_: Ctx, (): ()| {
        waits.wait();
        Ok::<_, HandlerError>(())
    };
    let engine = Engine::in_memory()
        .blocking(STUBBORN, block)
        .open_blocking()
        .unwrap();
    engine.start(STUBBORN, "a", &()).unwrap();
    latch.waited_for_by(1);
    drop(engine);
    assert!(!latch.is_open());
    drop(opens);
}

/// Where the other process keeps its data; set only there.
const DATA: &str = "OUTLIVE_TEST_DATA";

/// Not a test of its own: what the other process does.
#[test]
fn another_process_opens_its_default_file() {
    let Some(data) = std::env::var_os(DATA).map(PathBuf::from) else {
        return;
    };
    if data.as_os_str().is_empty() {
        let opened = Engine::open_default("com.example.tool").map(drop);
        assert!(matches!(opened, Err(DataDirError::NoHome)), "{opened:?}");
        return;
    }
    let expected = data.join("share").join("com.example.tool");
    for n in 0..2 {
        let engine = Engine::open_default("com.example.tool").unwrap();
        let engine = engine.task(DOUBLE, double).open_blocking().unwrap();
        assert_eq!(engine.run(DOUBLE, format!("t{n}"), &n).unwrap(), n * 2);
        assert_eq!(
            engine.list(DOUBLE, |list| list).unwrap().tasks.len(),
            n as usize + 1
        );
        engine.shutdown(SOON).unwrap();
    }
    assert!(expected.join("tasks.redb").is_file());
    #[cfg(unix)]
    for directory in [data.join("share"), expected] {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(directory).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
    let taken = data.join("file");
    std::fs::write(&taken, "").unwrap();
    let refused = Engine::open_default("com.example/tool").map(drop);
    assert!(
        matches!(refused, Err(DataDirError::Application { .. })),
        "{refused:?}"
    );
}

/// Runs the other process with its data below `data`.
#[track_caller]
fn elsewhere(data: &Path, variables: &[(&str, &Path)]) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([
        "--exact",
        "another_process_opens_its_default_file",
        "--nocapture",
    ]);
    command.env_remove("XDG_DATA_HOME").env(DATA, data);
    for (name, value) in variables {
        command.env(name, value);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[cfg(all(unix, not(target_vendor = "apple")))]
#[test]
fn the_default_file_is_in_the_users_data_directory_and_for_the_user_alone() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    elsewhere(data, &[("XDG_DATA_HOME", &data.join("share"))]);
    // Without that variable it is below the home directory, and a relative one is none.
    let home = directory.path().join("home");
    std::fs::create_dir(&home).unwrap();
    let local = home.join(".local");
    elsewhere(&local, &[("HOME", &home)]);
    elsewhere(Path::new(""), &[("HOME", Path::new("nowhere"))]);
}

#[cfg(unix)]
#[test]
fn a_default_directory_that_cannot_be_created_is_told() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("share"), "a file").unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "another_process_cannot_create_it", "--nocapture"]);
    command.env("XDG_DATA_HOME", directory.path().join("share"));
    let output = command
        .env("HOME", directory.path())
        .env(DATA, "x")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Not a test of its own: what the other process does.
#[test]
fn another_process_cannot_create_it() {
    if std::env::var_os(DATA).is_none() {
        return;
    }
    let refused = Engine::open_default("com.example.tool").map(drop);
    let told = matches!(&refused, Err(DataDirError::Create { path, .. }) if path.ends_with("share/com.example.tool"));
    assert!(told, "{refused:?}");
}
