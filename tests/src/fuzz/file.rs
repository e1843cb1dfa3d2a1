//! Whole files: a small store with something in its tables is damaged, opened, and all of it is read.

use super::Verdict;
use crate::play::{Act, MORE, Play, STEERED, ask, held, say, until};
use outlive::{Ctx, Engine, HandlerError, Status, StepError, TaskDef};
use outlive_storage::redb::{OpenError, RedbOptions};
use outlive_storage::row::{
    DefNumber, Etag, Family, Micros, TaskNumber, TaskRow, Times, ValueKey, ValueKind,
};
use outlive_storage::store::PAGE_MAX;
use outlive_storage::{RedbStore, Scan, Store, StoreError};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::time::Duration;

/// A part of a file that is written over: where, with what.
pub struct Patch<'a> {
    /// The first byte, counted over those that may be worth damaging.
    pub at: usize,
    /// What it is written over with.
    pub bytes: &'a [u8],
}

/// So many bytes of a file are looked at together: where they are all zero, nothing is to be damaged.
const BLOCK: usize = 64;

/// A whole file, and the id of each of its tasks.
pub struct Whole {
    bytes: Vec<u8>,
    /// Where the blocks begin in which there is something.
    used: Vec<usize>,
    ids: BTreeMap<TaskNumber, String>,
}

const WORK: TaskDef<u32, u32, u32> = TaskDef::new("work");

async fn work(ctx: Ctx<u32>, n: u32) -> Result<u32, HandlerError> {
    for key in ["one", "two"] {
        let step = ctx.step(key, || async move { Ok::<_, HandlerError>(n) });
        let step: Result<u32, StepError<HandlerError>> = step.await;
        step.map_err(|error| HandlerError::terminal(format!("{error:?}")))?;
        ctx.emit_durable(n)
            .await
            .map_err(|error| HandlerError::terminal(format!("{error:?}")))?;
    }
    ctx.metadata().set("n", n)?;
    Ok(n)
}

impl Whole {
    /// A store with tasks in every state, with inputs that wait, outputs beside their rows, steps, streams and a log.
    ///
    /// # Panics
    /// When an engine does not do as it is asked.
    pub fn new() -> Whole {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("tasks.redb");
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build().expect("a runtime");
        runtime.block_on(fill(&path));
        drop(runtime);
        let store = open(&path).expect("it opens");
        let mut ids = BTreeMap::new();
        for found in store.scan(Scan::All, None, PAGE_MAX).expect("a page").rows {
            let row = found.row.expect("a row");
            ids.insert(found.task, row.id.to_string());
        }
        drop(store);
        let bytes = std::fs::read(&path).expect("the file");
        let blocks = bytes.chunks(BLOCK).enumerate();
        let used = blocks.filter(|(_, block)| block.iter().any(|byte| *byte != 0));
        let used = used.map(|(number, _)| number * BLOCK).collect();
        Whole { bytes, used, ids }
    }

    /// How many bytes of the file may be worth damaging.
    pub fn places(&self) -> usize {
        self.used.len() * BLOCK
    }

    /// Damages the file, opens it, reads all of it.
    ///
    /// # Panics
    /// When a row is given for another's, or an error is not one of damage.
    pub fn damaged(&self, directory: &Path, patches: &[Patch<'_>]) -> Verdict {
        let mut bytes = self.bytes.clone();
        for patch in patches {
            let place = patch.at % self.places();
            let at = self.used[place / BLOCK] + place % BLOCK;
            let len = patch.bytes.len().min(bytes.len() - at);
            bytes[at..at + len].copy_from_slice(&patch.bytes[..len]);
        }
        let path = directory.join("tasks.redb");
        std::fs::write(&path, &bytes).expect("a file");
        let verdict = match open(&path) {
            Ok(store) => match read_all(&store, &self.ids) {
                Ok(()) => Verdict::Accepted,
                Err(error) => {
                    assert!(is_damage(&error), "{error:?}");
                    Verdict::Refused
                }
            },
            Err(
                OpenError::Damaged { .. } | OpenError::NotAStore { .. } | OpenError::TooNew { .. },
            ) => Verdict::Refused,
            Err(other) => panic!("{other:?}"),
        };
        std::fs::remove_file(&path).expect("a file");
        verdict
    }
}

impl Default for Whole {
    fn default() -> Self {
        Whole::new()
    }
}

/// Any bytes, as changes of a whole file: three bytes of where, one of how much, and so many bytes.
pub fn patches(data: &[u8]) -> Vec<Patch<'_>> {
    let mut rest = data;
    let mut patches = Vec::new();
    while let Some(([a, b, c, len], after)) = rest.split_first_chunk() {
        let len = usize::from(*len).min(after.len());
        let at = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        let bytes = &after[..len];
        patches.push(Patch { at, bytes });
        rest = &after[len..];
    }
    patches
}

/// A table whose own definition is damaged stops the store; from then on each read is told so.
fn is_damage(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Corrupt { .. }
            | StoreError::TooNew { .. }
            | StoreError::Failed { .. }
            | StoreError::Poisoned { .. }
    )
}

fn open(path: &Path) -> Result<RedbStore, OpenError> {
    RedbStore::open(path, RedbOptions::default(), 1, 1)
}

async fn fill(path: &Path) {
    let play = Play::default();
    let builder = Engine::builder(path)
        .inline()
        .owner("somebody")
        .session("s");
    let engine = builder.task(STEERED, play.handler()).task(WORK, work);
    let engine = engine.open().await.expect("it opens");
    for n in 0..3 {
        engine
            .run(WORK, format!("work-{n}"), &n)
            .await
            .expect("it works");
    }
    let large = "x".repeat(3000);
    for (id, act) in [
        ("said", say("a word")),
        ("large", say(large)),
        ("asked", ask(MORE)),
        ("failed", Act::Never("it broke".into())),
        ("backs-off", Act::FailFor("again".into(), 1 << 30)),
        ("steered", held(say("late"))),
    ] {
        let start = engine.start(STEERED, id, &act).tag("team", "blue");
        start.title("A title").await.expect("it starts");
    }
    for n in 0..2 {
        let start = engine.start(STEERED, "steered", &say(n.to_string()));
        start
            .input_id(format!("input-{n}"))
            .await
            .expect("it is queued");
    }
    let later = engine.start(STEERED, "later", &say("later"));
    later
        .start_in(Duration::from_secs(1 << 30))
        .await
        .expect("it starts");
    engine
        .cancel("later", "not needed")
        .await
        .expect("it is cancelled");
    until(&engine, "backs-off", |task| {
        task.status == Status::Pending && task.attempt == 1
    })
    .await;
    until(&engine, "asked", |task| task.status == Status::Suspended).await;
    engine.shutdown(Duration::ZERO).await;
}

/// Reads all there is; a row that is damaged hides nothing else.
fn read_all(store: &RedbStore, ids: &BTreeMap<TaskNumber, String>) -> Result<(), StoreError> {
    let mut worst = Ok(());
    let mut note = |result: Result<(), StoreError>| {
        if result.is_err() {
            worst = result;
        }
    };
    note(store.counters().map(drop));
    note(store.definitions().map(drop));
    note(store.lives().map(drop));
    note(store.indexes().map(drop));
    note(store.events(Etag(0), PAGE_MAX).map(drop));
    note(store.asks(Bound::Unbounded, PAGE_MAX).map(drop));
    note(store.families_over(None, PAGE_MAX).map(drop));
    let end = Micros(u64::MAX - 1);
    note(store.expired(end, PAGE_MAX).map(drop));
    note(store.expired_receipts(end, PAGE_MAX).map(drop));
    for scan in [Scan::All, Scan::Running, Scan::Definition(DefNumber(1))] {
        note(pages(store, &scan, ids));
    }
    for def in [DefNumber(1), DefNumber(2)] {
        note(
            store
                .due_exactly(def, Micros::AT_OPEN, None, PAGE_MAX)
                .map(drop),
        );
        note(store.due(def, Times::still(end), PAGE_MAX).map(drop));
    }
    for (task, id) in ids {
        match store.get(*task) {
            Ok(None) => {}
            Ok(Some(row)) => {
                assert_eq!(row.id.as_str(), id, "another task's row");
                note(beside(store, *task, &row));
            }
            Err(error) => note(Err(error)),
        }
    }
    worst
}

fn pages(
    store: &RedbStore,
    scan: &Scan,
    ids: &BTreeMap<TaskNumber, String>,
) -> Result<(), StoreError> {
    let mut after = None;
    // A page that leads in circles would be read for ever.
    for _ in 0..100 {
        let page = store.scan(scan.clone(), after, 16)?;
        for found in page.rows {
            if let (Ok(row), Some(id)) = (found.row, ids.get(&found.task)) {
                assert_eq!(row.id.as_str(), id, "another task's row");
            }
        }
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
    panic!("a scan does not end");
}

/// What hangs on a task.
fn beside(store: &RedbStore, task: TaskNumber, row: &TaskRow) -> Result<(), StoreError> {
    let mut worst = Ok(());
    let mut note = |result: Result<(), StoreError>| {
        if result.is_err() {
            worst = result;
        }
    };
    note(store.find(&row.id).map(drop));
    note(store.inbox(task).map(drop));
    note(store.inputs(task, PAGE_MAX).map(drop));
    note(store.receipt(task, &row.input_id).map(drop));
    note(store.runs(task).map(drop));
    note(store.stream_end(task).map(drop));
    note(store.segments(task, 0, 1 << 20).map(drop));
    note(store.steps(task, row.steps_of, None, PAGE_MAX).map(drop));
    note(store.turn(task, row.slot()).map(drop));
    let family = Family { task, turn: 1 };
    note(store.ended_children(family).map(drop));
    note(store.children(family, None, PAGE_MAX).map(drop));
    for kind in [ValueKind::Input, ValueKind::Output, ValueKind::Metadata] {
        for index in 0..3 {
            note(store.value(ValueKey { task, kind, index }).map(drop));
        }
    }
    worst
}
