//! A change of keys that is interrupted after every call of the disk: each value is there under one of the two keys, and
//! whoever begins again ends with the new one alone.

use super::*;
use outlive::{Ctx, Engine, HandlerError, Reply, TaskDef};
use outlive_storage::redb::{RedbOptions, RedbStore};
use outlive_storage::row::{TaskNumber, ValueKey, ValueKind};
use outlive_storage::sealed::SealedStore;
use outlive_storage::{Scan, Store, StoreError};
use outlive_tests::chance::Chance;
use outlive_tests::simdisk::disk::{Call, Entry, Journal, Pages, SimDisk};
use outlive_tests::simdisk::image;
use std::sync::Arc;

/// Torn images of each size after each call.
const TORN: usize = 1;
/// Tasks of each kind: their rows fill some pages.
const TASKS: usize = 6;
/// Of so many calls one is the last before a crash; `OUTLIVE_FAULT_STRIDE=1` tries each.
const STRIDE: usize = 3;

const WORK: TaskDef<String, String, String> = TaskDef::new("work");
const CHAT: TaskDef<String, String> = TaskDef::new("chat");

async fn work(ctx: Ctx<String>, input: String) -> Result<String, HandlerError> {
    ctx.emit(said("item")).await?;
    let step = ctx.step("fetch", async || Ok::<_, std::io::Error>(input.clone()));
    Ok(step.await?)
}

async fn chat(_: Ctx, input: String) -> Result<Reply<String>, HandlerError> {
    Ok(Reply::suspend(input, said("reason")))
}

fn on(disk: SimDisk) -> RedbStore {
    let options = RedbOptions {
        cache_bytes: 256 << 10,
        ..RedbOptions::default()
    };
    RedbStore::on_medium(Arc::new(disk), options, 7).expect("the file opens")
}

/// A file with values of several kinds, sealed under the old key.
async fn filled() -> Pages {
    let disk = SimDisk::unlogged(Pages::default());
    let store = Arc::new(on(disk.clone()));
    let engine = Engine::on_store(store).inline().payload_codec(old());
    let engine = engine.task(WORK, work).task(CHAT, chat);
    let engine = engine.open().await.unwrap();
    for number in 0..TASKS {
        let input = said(&"long ".repeat(number * 40));
        let id = format!("work-{number}");
        engine.run(WORK, &id, &input).await.unwrap();
        let id = format!("chat-{number}");
        engine.run(CHAT, &id, &input).await.unwrap();
    }
    engine.shutdown(SOON).await;
    drop(engine);
    disk.pages()
}

/// Everything of the user's in a file, for who has these keys.
fn contents(pages: Pages, keys: Keys) -> Result<Vec<String>, StoreError> {
    let below = Arc::new(on(SimDisk::unlogged(pages)));
    let store = SealedStore::open(below, Arc::new(keys))?;
    let mut contents = Vec::new();
    for found in store.scan(Scan::All, None, 1_000)?.rows {
        contents.push(format!("{:?}", found.row?));
        contents.extend(of_task(&store, found.task)?);
    }
    Ok(contents)
}

fn of_task(store: &SealedStore, task: TaskNumber) -> Result<Vec<String>, StoreError> {
    let value = |kind| ValueKey {
        task,
        kind,
        index: 0,
    };
    let mut segments = Vec::new();
    for segment in store.segments(task, 0, 1 << 20)? {
        segments.push(segment.row?);
    }
    Ok(vec![
        format!("{:?}", store.value(value(ValueKind::Input))?),
        format!("{:?}", store.value(value(ValueKind::Output))?),
        format!("{:?}", store.steps(task, 1, None, 100)?),
        format!("{:?}", store.turn(task, 1)?),
        format!("{segments:?}"),
    ])
}

fn resealed(pages: Pages, keys: Keys) -> (Pages, Vec<Entry>, u64) {
    let journal = Journal::default();
    let disk = SimDisk::logged(pages, &journal);
    let store = on(disk.clone());
    let report = store.reseal(Arc::new(keys)).expect("the disk is well");
    assert!(report.is_whole());
    drop(store);
    (disk.pages(), journal.take(), report.resealed)
}

#[tokio::test]
async fn a_crash_in_a_change_of_keys_loses_no_value() {
    let before = filled().await;
    let expected = contents(before.clone(), old()).unwrap();
    assert!(expected.iter().any(|text| text.contains("Suspended")));
    let (after, entries, entries_resealed) = resealed(before.clone(), both());
    assert_eq!(contents(after, new()), Ok(expected.clone()));
    let (mut synced, mut unsynced) = (before, Vec::new());
    let mut chance = Chance(0x5eed);
    let (mut images, mut begun_again) = (0, 0);
    let stride = std::env::var("OUTLIVE_FAULT_STRIDE").ok();
    let stride = stride.and_then(|stride| stride.parse().ok());
    let stride: usize = stride.unwrap_or(STRIDE);
    for (at, entry) in entries.into_iter().enumerate() {
        let Entry::Call(call) = entry else { continue };
        let is_sync = matches!(call, Call::Sync);
        unsynced.push(call);
        let mut kinds = image::fixed(&unsynced);
        if is_sync {
            kinds.extend(image::further(&unsynced, TORN, &mut chance));
        } else if !at.is_multiple_of(stride) {
            kinds.clear();
        }
        for kind in kinds {
            let left = image::build(&synced, &unsynced, kind);
            let found = contents(left.clone(), both());
            assert!(found == Ok(expected.clone()), "call {at}, {kind}");
            images += 1;
            // Every so often it is brought to its end.
            if images % 32 == 0 {
                let (after, ..) = resealed(left, both());
                assert_eq!(contents(after, new()), Ok(expected.clone()), "{kind}");
                begun_again += 1;
            }
        }
        if is_sync {
            for call in unsynced.drain(..) {
                synced.apply(&call);
            }
        }
    }
    println!(
        "{entries_resealed} entries resealed, {images} images of a crash on the way, {begun_again} brought to the end: no value lost"
    );
    assert!(images > 50 && begun_again > 3, "{images}, {begun_again}");
}
