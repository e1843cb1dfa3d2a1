//! Turns that were taken from their handlers, and handlers that go on writing: the lease of an id as an object.

use crate::{Campaign, KEYS, THREADS};
use outlive::{
    ControlError, Ctx, Engine, FlushError, HandlerError, OnConflict, StartError, TaskDef,
};
use outlive_storage::MemStore;
use outlive_tests::chance::Chance;
use outlive_tests::history::History;
use outlive_tests::home::Home;
use outlive_tests::linear::Thing;
use std::sync::Arc;
use tokio::runtime::{Handle, Runtime};

/// What each thread asks for in one history.
const OPERATIONS: usize = 15;
/// How often each handler writes, whether the turn is still its own or not.
const WRITES: u32 = 8;
/// Which id, and when it was started.
const HELD: TaskDef<(usize, u64), u32> = TaskDef::new("held");

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Stage {
    /// There is no task, or one that has ended.
    Over { kept: bool },
    /// It waits for a handler to be entered.
    Waits,
    /// A handler has it, under this generation.
    Runs(u64),
}

/// The lease of an id, and the highest generation it had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Lease {
    stage: Stage,
    highest: u64,
}

#[derive(Debug, Clone, Copy)]
enum Asked {
    Start,
    /// A handler is entered under a generation.
    Enter(u64),
    /// A handler of this generation writes.
    Write(u64),
    Terminate,
    /// By force.
    Delete,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Done,
    Conflict,
    Gone,
    /// The turn is not the handler's any more.
    TurnOver,
}

struct Leases;

impl Thing for Leases {
    type State = Lease;
    type Asked = Asked;
    type Answer = Answer;

    fn after(state: &Lease, asked: &Asked, answer: Option<&Answer>) -> Option<Lease> {
        let stage = |stage| Ok(Lease { stage, ..*state });
        let next = match (asked, state.stage) {
            (Asked::Start, Stage::Over { .. }) => stage(Stage::Waits),
            (Asked::Start, Stage::Waits | Stage::Runs(_)) => Err(Answer::Conflict),
            // A handler that is entered before it was its turn, or under an old generation, is explained by nothing.
            (Asked::Enter(generation), Stage::Waits) if *generation > state.highest => Ok(Lease {
                stage: Stage::Runs(*generation),
                highest: *generation,
            }),
            (Asked::Enter(_), _) => return None,
            (Asked::Write(generation), Stage::Runs(held)) if *generation == held => Ok(*state),
            (Asked::Write(_), _) => Err(Answer::TurnOver),
            (Asked::Terminate, Stage::Waits | Stage::Runs(_)) => stage(Stage::Over { kept: true }),
            (Asked::Terminate, Stage::Over { kept: true }) => Err(Answer::Conflict),
            (Asked::Delete, Stage::Over { kept: false })
            | (Asked::Terminate, Stage::Over { .. }) => Err(Answer::Gone),
            (Asked::Delete, _) => stage(Stage::Over { kept: false }),
        };
        match (next, answer) {
            (Ok(next), Some(Answer::Done) | None) => Some(next),
            (Err(refusal), Some(answer)) => (refusal == *answer).then_some(*state),
            (Ok(_), Some(_)) | (Err(_), None) => None,
        }
    }

    fn only_looked(_: &Asked, answer: &Answer) -> bool {
        *answer != Answer::Done
    }
}

type Noted = Arc<History<Asked, Answer>>;

/// Notes its entry, leaves behind what writes on, and never ends by itself.
async fn held(ctx: Ctx, (key, from): (usize, u64), noted: Noted) -> Result<u32, HandlerError> {
    let generation = ctx.generation();
    noted.note(key, from, Asked::Enter(generation), Some(Answer::Done));
    let writer = ctx.clone();
    tokio::spawn(async move {
        for n in 0..WRITES {
            let from = noted.now();
            // A turn that is over may say so at once, or at the flush.
            let set = writer.metadata().set("n", n);
            let answer = match (set, writer.flush_metadata().await) {
                (Ok(()), Ok(())) => Answer::Done,
                (Ok(()), Err(FlushError::TurnOver)) => Answer::TurnOver,
                // The history is over.
                (Ok(()), Err(FlushError::ShuttingDown)) => return,
                other => panic!("{other:?}"),
            };
            noted.note(key, from, Asked::Write(generation), Some(answer));
            tokio::task::yield_now().await;
        }
    });
    std::future::pending().await
}

async fn call(engine: &Engine, chance: &mut Chance, noted: &Noted) {
    let key = chance.below(KEYS as u64) as usize;
    let id = format!("key-{key}");
    let from = noted.now();
    let (asked, answer) = match chance.below(5) {
        0 | 1 => {
            let start = engine.start(HELD, &id, &(key, from));
            let answer = match start.on_conflict(OnConflict::Restart).await {
                Ok(_) => Answer::Done,
                Err(StartError::Conflict { .. }) => Answer::Conflict,
                Err(other) => panic!("{other:?}"),
            };
            (Asked::Start, answer)
        }
        2 | 3 => {
            let answer = match engine.terminate(&id, "of a caller").await {
                Ok(()) => Answer::Done,
                Err(ControlError::Conflict { .. }) => Answer::Conflict,
                Err(ControlError::NotFound(_)) => Answer::Gone,
                Err(other) => panic!("{other:?}"),
            };
            (Asked::Terminate, answer)
        }
        _ => {
            let removed = engine.delete(&id).force().await.expect("it may be removed");
            (
                Asked::Delete,
                if removed { Answer::Done } else { Answer::Gone },
            )
        }
    };
    noted.note(key, from, asked, Some(answer));
}

fn history(runtime: &Runtime, home: &Home, seed: u64) -> Noted {
    let noted = Noted::default();
    runtime.block_on(async {
        let of_handler = Arc::clone(&noted);
        let handler = move |ctx, input| held(ctx, input, Arc::clone(&of_handler));
        let builder = Engine::on_store(home.store()).task(HELD, handler);
        let engine = builder.open().await.expect("it opens");
        let mut threads = Vec::new();
        for thread in 0..THREADS {
            let (engine, noted) = (engine.clone(), Arc::clone(&noted));
            threads.push(tokio::task::spawn_blocking(move || {
                let seed = seed.wrapping_mul(31).wrapping_add(thread as u64 * 7919);
                let mut chance = Chance(seed);
                for _ in 0..OPERATIONS {
                    Handle::current().block_on(call(&engine, &mut chance, &noted));
                }
            }));
        }
        for thread in threads {
            thread.await.expect("a thread ends");
        }
        engine.shutdown(std::time::Duration::ZERO).await;
    });
    noted
}

#[test]
fn a_handler_that_lost_its_turn_writes_nothing_any_more() {
    let mut campaign = Campaign::of("handlers that lose their turns");
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let begins = Lease {
        stage: Stage::Over { kept: false },
        highest: 0,
    };
    let homes = |n| {
        if n % 5 == 0 {
            Home::file()
        } else {
            Home::Memory(Arc::new(MemStore::new()))
        }
    };
    for seed in campaign.seeds(10) {
        let history = history(&runtime, &homes(seed), seed);
        campaign.check::<Leases>(seed, &begins, &history, |answer| *answer != Answer::Done);
    }
    campaign.ends();
}
