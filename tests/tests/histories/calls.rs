//! Threads that call one engine: start, steer, cancel, delete, start again and look, on a few ids.

use crate::register::{Answer, Asked, Caller, Known, LATER, Register, later, refused};
use crate::{Campaign, KEYS, THREADS};
use outlive::{Builder, Engine};
use outlive_storage::MemStore;
use outlive_tests::history::History;
use outlive_tests::home::Home;
use std::sync::Arc;
use tokio::runtime::{Handle, Runtime};

/// What each thread asks for in one history.
const OPERATIONS: usize = 40;

fn history(runtime: &Runtime, engine: Builder, seed: u64) -> History<Asked, Answer> {
    let history = Arc::new(History::default());
    runtime.block_on(async {
        let engine = engine.task(LATER, later).open().await.expect("it opens");
        let mut threads = Vec::new();
        for thread in 0..THREADS {
            let (engine, history) = (engine.clone(), Arc::clone(&history));
            threads.push(tokio::task::spawn_blocking(move || {
                let seed = seed.wrapping_mul(31).wrapping_add(thread as u64 * 7919);
                let mut caller = Caller::new(seed, KEYS);
                for _ in 0..OPERATIONS {
                    let goes_on = Handle::current().block_on(caller.call(&engine, &history));
                    assert!(goes_on, "the engine stopped");
                }
            }));
        }
        for thread in threads {
            thread.await.expect("a thread ends");
        }
    });
    Arc::into_inner(history).expect("every thread has ended")
}

#[track_caller]
fn check(runtime: &Runtime, what: &'static str, usual: u64, engine: impl Fn() -> Builder) {
    let mut campaign = Campaign::of(what);
    for seed in campaign.seeds(usual) {
        let history = history(runtime, engine(), seed);
        campaign.check::<Register>(seed, &Known::nothing(), &history, refused);
    }
    campaign.ends();
}

fn many_threads() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build();
    runtime.expect("a runtime")
}

#[test]
fn calls_of_many_threads_are_one_after_another() {
    let runtime = many_threads();
    check(&runtime, "calls of an engine, rows in memory", 10, || {
        Engine::on_store(Arc::new(MemStore::new()))
    });
    let homes = std::cell::RefCell::new(Vec::new());
    check(&runtime, "calls of an engine on a file", 2, || {
        let home = Home::file();
        let builder = Engine::on_store(home.store());
        homes.borrow_mut().push(home);
        builder
    });
}

/// The engine runs inside the runtime of one thread, the callers are others.
#[test]
fn calls_of_many_threads_on_an_engine_of_one_are_one_after_another() {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().expect("a runtime");
    check(&runtime, "calls of an engine in memory", 10, || {
        Engine::in_memory()
    });
}
