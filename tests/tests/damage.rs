//! Damaged files under an engine. A few damages of each kind here; `cargo run --release -p outlive-tests --bin damage 7500`
//! makes many.

use outlive::OnConflict::Restart;
use outlive::{
    Builder, Ctx, Engine, GetError, HandlerError, OpenError, ResultError, StoreError, TaskDef,
    store,
};
use outlive_storage::redb::bare_database;
use outlive_tests::damage::campaign::Campaign;
use outlive_tests::faulty::Faulty;
use redb::{TableDefinition, WriteTransaction};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// As many as there is time for.
const DAMAGES: u64 = 40;
/// Few tasks, so that a damage hits something.
const TASKS: usize = 45;

const ECHO: TaskDef<String, String> = TaskDef::new("echo");
/// Of which the output of each run lies where that of the run before lay.
const LAST: TaskDef<String, String> = TaskDef::new("last").keep_turns(1);
/// An output of this size lies beside its row.
const LARGE: usize = 5_000;

type DueKey = (u32, u8, u64, i64, u64, u64);
const DUE: TableDefinition<'_, DueKey, ()> = TableDefinition::new("due");
const VALUES: TableDefinition<'_, (u64, u8, u64), &[u8]> = TableDefinition::new("values");

#[test]
fn damage_is_never_served_and_never_a_panic() {
    let seed = std::env::var("OUTLIVE_SEED").map_or(20_261, |seed| seed.parse().unwrap_or(20_261));
    let counts = Campaign::new(TASKS).run(0..DAMAGES, seed, |_| {});
    println!("seed {seed}: {counts}");
    let told = &counts.examples;
    assert_eq!(counts.wrong, 0, "seed {seed}: {told:#?}");
    assert_eq!(counts.panics + counts.hung, 0, "seed {seed}: {told:#?}");
    assert_eq!(counts.unverified, 0, "seed {seed}: {told:#?}");
    assert_eq!(counts.salvaged_wrong, 0, "seed {seed}: {told:#?}");
}

fn echo(builder: Builder) -> Builder {
    builder.task(
        ECHO,
        |_: Ctx, text| async move { Ok::<_, HandlerError>(text) },
    )
}

fn last(builder: Builder) -> Builder {
    builder.task(
        LAST,
        |_: Ctx, text| async move { Ok::<_, HandlerError>(text) },
    )
}

/// Changes what a closed file holds.
fn tamper(path: &Path, tamper: impl FnOnce(&WriteTransaction)) {
    let database = bare_database(path).expect("the file opens");
    let txn = database.begin_write().expect("a write");
    tamper(&txn);
    txn.commit().expect("a commit");
}

/// A value that was gone was shown as no output at all.
#[tokio::test]
async fn a_lost_output_is_told_and_not_shown_as_none() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t");
    let engine = echo(Engine::builder(&path)).open().await.unwrap();
    engine.run(ECHO, "large", &"x".repeat(LARGE)).await.unwrap();
    engine.shutdown(Duration::ZERO).await;
    drop(engine);
    tamper(&path, |txn| {
        let mut values = txn.open_table(VALUES).unwrap();
        values.retain(|(_, kind, _), _| kind != 2).unwrap();
    });
    let engine = echo(Engine::builder(&path)).open().await.unwrap();
    let seen = engine.get("large").await;
    let told = matches!(
        seen,
        Err(GetError::Store(StoreError::Corrupt {
            table: "values",
            ..
        }))
    );
    assert!(told, "{seen:?}");
}

/// A page of values that the disk had brought back held the output of the run before, whole and under the right key: it
/// was served as the last one.
#[tokio::test]
async fn an_output_of_an_earlier_run_is_never_served_as_the_last_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t");
    let mut former = Vec::new();
    for text in ["first", "second"] {
        let engine = last(Engine::builder(&path)).open().await.unwrap();
        let text = text.repeat(LARGE);
        let again = engine.start(LAST, "large", &text).on_conflict(Restart);
        again.await.unwrap().result().await.unwrap();
        engine.shutdown(Duration::ZERO).await;
        drop(engine);
        tamper(&path, |txn| {
            let mut values = txn.open_table(VALUES).unwrap();
            let outputs = |(_, kind, _): (u64, u8, u64), _: &[u8]| kind == 2;
            let taken = values.extract_if(outputs).unwrap();
            let taken = taken.map(|entry| entry.unwrap());
            let taken: Vec<_> = taken
                .map(|(k, v)| (k.value(), v.value().to_vec()))
                .collect();
            if former.is_empty() {
                former.clone_from(&taken);
            }
            assert_eq!(taken.len(), 1);
            for (key, value) in &former {
                values.insert(*key, value.as_slice()).unwrap();
            }
        });
    }
    let engine = last(Engine::builder(&path)).open().await.unwrap();
    let is_damage = |error: &StoreError| {
        matches!(
            error,
            StoreError::Corrupt {
                table: "values",
                ..
            }
        )
    };
    let seen = engine.get("large").await;
    assert!(
        matches!(&seen, Err(GetError::Store(error)) if is_damage(error)),
        "{seen:?}"
    );
    let run = engine.attach(LAST, "large").await.unwrap();
    let told = run.result().await;
    assert!(
        matches!(&told, Err(ResultError::Store(error)) if is_damage(error)),
        "{told:?}"
    );
    engine.shutdown(Duration::ZERO).await;
    drop(engine);
    assert!(!store::verify(&path).unwrap().is_whole());
}

/// An entry of `due` that damage had turned to a task that is not there was claimed at every look, in place of the tasks
/// behind it.
#[tokio::test]
async fn an_entry_that_names_nobody_holds_nobody_up() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t");
    let engine = echo(Engine::builder(&path)).open().await.unwrap();
    for id in ["a", "b", "c", "d"] {
        // One that is kept is listed by no time.
        let kept = engine.start(ECHO, id, &id.to_owned()).keep_forever();
        kept.await.unwrap().result().await.unwrap();
    }
    engine.shutdown(Duration::ZERO).await;
    drop(engine);
    tamper(&path, |txn| {
        let mut due = txn.open_table(DUE).unwrap();
        for stray in 1..=3 {
            due.insert((1, 0, 0, 2, 1, 40_000 + stray), ()).unwrap();
        }
    });
    let one_slot = echo(Engine::builder(&path)).max_running(1);
    let engine = one_slot.open().await.unwrap();
    let second = engine.start(ECHO, "second", &"b".to_owned()).await.unwrap();
    let result = tokio::time::timeout(Duration::from_secs(20), second.result()).await;
    assert_eq!(result.expect("it is not held up").unwrap(), "b");
}

/// An open writes where it is awaited, and a store that panicked there took its caller along.
#[tokio::test]
async fn a_store_that_panics_as_it_is_opened_is_an_error() {
    let store = Arc::new(Faulty::default());
    store.panic_at_life.store(true, Ordering::SeqCst);
    let opened = echo(Engine::on_store(store).inline()).open().await;
    let told = matches!(opened, Err(OpenError::Store(StoreError::Failed { .. })));
    assert!(told, "{:?}", opened.err());
}
