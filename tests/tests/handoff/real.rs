//! The real writer on threads of the system: callers race with its stop, its failure and its death.

use crate::number;
use outlive::{Builder, Ctx, Engine, HandlerError, StartError, TaskDef};
use outlive_storage::id::TaskId;
use outlive_storage::{MemStore, Store};
use outlive_tests::chance::Chance;
use outlive_tests::faulty::Faulty;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

const LATER: TaskDef<u32, u32> = TaskDef::new("later");
/// Callers at once, each with so many starts.
const CALLERS: u64 = 6;
const STARTS: u64 = 8;

#[derive(Debug, Clone, Copy)]
enum End {
    /// It is told to stop.
    Stop,
    /// A commit fails, in the store or not, and all after it.
    Failure,
    /// A commit fails, in the store or not, and all after it; before anybody's patience is over it is told to stop.
    StopAfterFailure,
    /// A commit panics.
    Death,
}

/// What became of one start.
enum Told {
    Ok,
    Stopped,
    Unknown,
}

async fn starts(engine: Engine, caller: u64) -> Vec<(String, Told)> {
    let mut told = Vec::new();
    for n in 0..STARTS {
        let id = format!("{caller}-{n}");
        let start = engine
            .start(LATER, &id, &1)
            .start_in(Duration::from_secs(1 << 30));
        let answer = match start.await {
            Ok(_) => Told::Ok,
            Err(StartError::ShuttingDown | StartError::Store(_)) => Told::Stopped,
            Err(StartError::Unknown { .. }) => Told::Unknown,
            Err(other) => panic!("{other:?}"),
        };
        told.push((id, answer));
    }
    told
}

fn builder(store: &Arc<Faulty>) -> Builder {
    let later = |_: Ctx, n| async move { Ok::<_, HandlerError>(n) };
    Engine::on_store(Arc::<Faulty>::clone(store)).task(LATER, later)
}

/// Waits for its commit, and panics in it, on the writer's thread.
fn dies(store: &Weak<Faulty>, at: u64) {
    let Some(faulty) = store.upgrade() else {
        return;
    };
    assert!(faulty.commits.load(Ordering::SeqCst) < at, "told to die");
    let again = Weak::clone(store);
    faulty.before_commit.set(move || dies(&again, at));
}

/// One life of an engine. How many starts were acknowledged, refused and left open.
async fn round(end: End, chance: &mut Chance) -> [u64; 3] {
    let rows = Arc::new(MemStore::new());
    let store = Faulty::on(&rows);
    let patience = match end {
        End::Stop | End::Failure | End::Death => Duration::ZERO,
        End::StopAfterFailure => Duration::from_secs(600),
    };
    let builder = builder(&store).store_patience(patience);
    let engine = builder.open().await.expect("it opens");
    // So many commits, of one start or of all callers at once.
    let at = store.commits.load(Ordering::SeqCst) + chance.below(STARTS);
    match end {
        End::Stop => {}
        End::Failure | End::StopAfterFailure => {
            store
                .answer_lost
                .store(chance.below(2) == 0, Ordering::SeqCst);
            store.broken_from.store(at + 1, Ordering::SeqCst);
        }
        End::Death => {
            let (dying, left) = (Arc::downgrade(&store), at);
            store.before_commit.set(move || dies(&dying, left));
        }
    }
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..CALLERS {
        callers.spawn(starts(engine.clone(), caller));
    }
    if let End::Stop | End::StopAfterFailure = end {
        while store.commits.load(Ordering::SeqCst) < at {
            tokio::task::yield_now().await;
        }
        engine.shutdown(Duration::ZERO).await;
    }
    let mut counts = [0; 3];
    while let Some(told) = callers.join_next().await {
        for (id, told) in told.expect("a caller ends") {
            let task = rows.find(&TaskId::new(&id).expect("an id"));
            let is_there = task.expect("the store answers").is_some();
            let (which, holds) = match told {
                Told::Ok => (0, is_there),
                Told::Stopped => (1, !is_there),
                Told::Unknown => (2, !matches!(end, End::Stop)),
            };
            assert!(holds, "{end:?}: {id} is there: {is_there}, answer {which}");
            counts[which] += 1;
        }
    }
    // However it ended, it ends.
    engine.shutdown(Duration::ZERO).await;
    counts
}

/// A caller whose start had failed to be committed, and was in the store all the same, was told that nothing had happened,
/// when the engine was told to stop right behind it.
#[test]
fn every_caller_of_the_real_writer_is_answered_once_and_rightly() {
    let rounds = number("OUTLIVE_ROUNDS").unwrap_or(150);
    let seed = number("OUTLIVE_SEED").unwrap_or(1);
    println!("OUTLIVE_SEED={seed}");
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(4).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let mut chance = Chance(seed);
    for end in [End::Stop, End::Failure, End::StopAfterFailure, End::Death] {
        let mut counts = [0; 3];
        for _ in 0..rounds {
            let one = runtime.block_on(round(end, &mut chance));
            counts
                .iter_mut()
                .zip(one)
                .for_each(|(sum, one)| *sum += one);
        }
        let [ok, stopped, unknown] = counts;
        println!(
            "the real writer, {end:?}: {rounds} lives, {ok} acknowledged, {stopped} refused, {unknown} Unknown"
        );
        assert!(stopped > 0, "nobody raced with the end");
    }
}
