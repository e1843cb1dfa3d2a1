//! One id, many callers: one task, and one handler at a time.

use crate::{GATED, Gate, gated};
use outlive::{Accepted, Ctx, Engine, HandlerError, Run, StartError, Status, TaskDef};
use outlive_storage::MemStore;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

const CALLERS: u32 = 64;
const STEERED: TaskDef<u32, u32> = TaskDef::new("steered").steerable(CALLERS as u64);

type Answers = Vec<Result<Run<u32>, StartError>>;

/// Starts `id` on so many threads at the same instant, each with its own input.
fn started_at_once(engine: &Engine, def: TaskDef<u32, u32>, input: fn(u32) -> u32) -> Answers {
    let (runtime, ready) = (
        tokio::runtime::Handle::current(),
        Barrier::new(CALLERS as usize),
    );
    let start = |caller| {
        ready.wait();
        runtime.block_on(async { engine.start(def, "the-one", &input(caller)).await })
    };
    thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| scope.spawn(move || start(caller)))
            .collect();
        callers
            .into_iter()
            .map(|caller| caller.join().unwrap())
            .collect()
    })
}

fn count(answers: &Answers, how: Accepted) -> usize {
    let accepted = answers.iter().flatten();
    accepted.filter(|run| run.accepted() == Some(how)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_threads_that_start_one_id_with_one_input_get_one_task_and_one_entry() {
    let (store, gate) = (Arc::new(MemStore::new()), Gate::closed());
    let engine = gated(&store, &gate).await;
    let answers = started_at_once(&engine, GATED, |_| 7);
    assert_eq!(count(&answers, Accepted::Started), 1);
    assert_eq!(count(&answers, Accepted::Attached), 63);
    gate.let_through(CALLERS as usize);
    for run in answers {
        assert_eq!(run.unwrap().result().await.unwrap(), 8);
    }
    gate.came(1).await;
    assert_eq!(gate.uncounted(), 0, "one entry");
    assert_eq!(engine.list_all().limit(10).await.unwrap().tasks.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_threads_that_start_one_id_with_their_own_inputs_get_one_task() {
    let (store, gate) = (Arc::new(MemStore::new()), Gate::closed());
    let engine = gated(&store, &gate).await;
    let answers = started_at_once(&engine, GATED, |caller| caller);
    assert_eq!(count(&answers, Accepted::Started), 1);
    // Pending or in progress: a slot may come a moment after the start.
    let refused = answers.iter().filter(|answer| {
        matches!(answer, Err(StartError::Conflict { status, .. }) if *status != Status::Completed)
    });
    assert_eq!(refused.count(), 63);
    gate.let_through(CALLERS as usize);
    for run in answers.into_iter().flatten() {
        run.result().await.unwrap();
    }
    gate.came(1).await;
    assert_eq!(gate.uncounted(), 0, "one entry");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_handlers_of_one_id_are_entered_one_after_the_other() {
    let (live, entries) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counters = (Arc::clone(&live), Arc::clone(&entries));
    let engine = Engine::on_store(Arc::new(MemStore::new()))
        .task(STEERED, move |_: Ctx, n| {
            let (live, entries) = counters.clone();
            async move {
                let _alone = Alone::enter(live);
                entries.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                Ok::<_, HandlerError>(n)
            }
        })
        .open()
        .await
        .unwrap();
    let mut turns = 0;
    for answer in started_at_once(&engine, STEERED, |caller| caller) {
        match answer {
            Ok(run) => {
                run.result().await.unwrap();
                turns += 1;
            }
            // The task may have ended before the last of the callers came.
            Err(refused) => assert!(matches!(refused, StartError::Conflict { .. })),
        }
    }
    assert_eq!(
        entries.load(Ordering::SeqCst),
        turns,
        "each input is worked on once"
    );
    assert_eq!(live.load(Ordering::SeqCst), 0);
}

/// Held by a handler that must be the only one, up to the end of its future's drop.
struct Alone(Arc<AtomicUsize>);

impl Alone {
    fn enter(live: Arc<AtomicUsize>) -> Alone {
        assert_eq!(
            live.fetch_add(1, Ordering::SeqCst),
            0,
            "two handlers of one id"
        );
        Alone(live)
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        // A slow drop is part of the call: the next one may not begin before it is over.
        thread::yield_now();
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The end of a turn is on its way before its handler's future is dropped; the next turn is entered after that.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_turn_begins_before_the_handler_of_the_one_before_is_gone() {
    let live = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&live);
    let engine = Engine::on_store(Arc::new(MemStore::new()))
        .task(STEERED, move |_: Ctx, n| {
            let guard = Arc::clone(&counter);
            async move {
                let _alone = Alone::enter(guard);
                Ok::<_, HandlerError>(n)
            }
        })
        .open()
        .await
        .unwrap();
    for task in 0..20 {
        let mut runs = Vec::new();
        for input in 0..20 {
            let id = format!("task-{task}");
            // Refused once the task has ended, which a quick handler may reach first.
            runs.extend(engine.start(STEERED, id, &input).await);
        }
        for run in runs {
            run.result().await.unwrap();
        }
    }
}
