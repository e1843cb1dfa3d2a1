//! Items that are not stored: for those who read at the moment, and nobody else.

use crate::{Seen, memory, next, on, whole};
use outlive::{Ctx, HandlerError, TaskDef};
use outlive_storage::Store;
use outlive_tests::faulty::Faulty;
use outlive_tests::gate::Gate;
use std::sync::atomic::Ordering;

const LIVE: TaskDef<u32, u32, u32> = TaskDef::new("live").live_items();
const TEXT: TaskDef<u32, u32, String> = TaskDef::new("text").live_items();

/// Emits as many items as its input says, each time it is let through.
fn held(gate: &Gate) -> impl Fn(Ctx<u32>, u32) -> Turn + Send + Sync + 'static + use<> {
    let gate = gate.clone();
    move |ctx, count| {
        let gate = gate.clone();
        Box::pin(async move {
            for _ in 0..2 {
                gate.pass().await;
                for n in 1..=count {
                    ctx.emit_durable(n).await?;
                }
                gate.arrive();
            }
            if ctx.attempt() == 1 && count == 2 {
                return Err("again".into());
            }
            Ok(count)
        })
    }
}

type Turn = std::pin::Pin<Box<dyn Future<Output = Result<u32, HandlerError>> + Send>>;

/// The values of items, whose numbers ascend, and `0` for a mark that they are abandoned.
fn values(seen: &[Seen]) -> Vec<u32> {
    let mut last = 0;
    let mut values = Vec::new();
    for one in seen {
        let (Seen::Item(sequence, _) | Seen::Reset(sequence) | Seen::End(sequence)) = one else {
            panic!("{one:?}");
        };
        assert!(*sequence >= last);
        last = *sequence;
        match one {
            Seen::Item(_, value) => values.push(*value),
            Seen::Reset(_) => values.push(0),
            Seen::Gap(_) | Seen::End(_) => {}
        }
    }
    values
}

#[tokio::test(start_paused = true)]
async fn live_items_are_shown_to_those_who_read_and_stored_for_nobody() {
    let (store, gate) = (memory(), Gate::closed());
    let faulty = Faulty::on(&store);
    let engine = on(&faulty).task(LIVE, held(&gate)).open().await.unwrap();
    let run = engine.start(LIVE, "a", &3).await.unwrap();
    gate.came(1).await;
    let commits = faulty.commits.load(Ordering::SeqCst);
    gate.let_through(1);
    gate.came(1).await;
    // The items of the first round have passed: nobody read them.
    let mut present = run.stream(0);
    gate.came(1).await;
    assert_eq!(faulty.commits.load(Ordering::SeqCst), commits);
    gate.let_through(1);
    let seen = whole(&mut present).await;
    assert_eq!(values(&seen), [1, 2, 3]);
    let late = whole(&mut run.stream(0)).await;
    assert!(values(&late).is_empty(), "{late:?}");
    let task = store.find(run.id()).unwrap().unwrap();
    assert_eq!(store.stream_end(task), Ok(None));
}

#[tokio::test(start_paused = true)]
async fn a_live_reader_is_told_of_a_new_attempt() {
    let gate = Gate::closed();
    let engine = on(&memory()).task(LIVE, held(&gate)).open().await.unwrap();
    let run = engine.start(LIVE, "a", &2).await.unwrap();
    let mut present = run.stream(0);
    gate.let_through(4);
    let seen = whole(&mut present).await;
    assert_eq!(values(&seen), [1, 2, 1, 2, 0, 1, 2, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_live_reader_that_is_too_slow_is_told_of_the_gap() {
    let gate = Gate::closed();
    let held = gate.clone();
    let handler = move |ctx: Ctx<String>, count: u32| {
        let held = held.clone();
        async move {
            held.pass().await;
            for n in 0..count {
                ctx.emit(format!("{n}{}", "x".repeat(10_000))).await?;
            }
            Ok::<_, HandlerError>(count)
        }
    };
    let engine = on(&memory()).task(TEXT, handler).open().await.unwrap();
    let run = engine.start(TEXT, "a", &100).await.unwrap();
    let mut slow = run.stream(0);
    gate.came(1).await;
    gate.let_through(1);
    run.result().await.unwrap();
    let first = next(&mut slow).await;
    let Seen::Gap(until) = first else {
        panic!("{first:?}");
    };
    let rest = whole(&mut slow).await;
    assert!((20..30).contains(&rest.len()), "{}", rest.len());
    assert!(matches!(rest[0], Seen::Item(sequence, _) if sequence == until + 1));
    let last = &rest[rest.len() - 2];
    assert!(matches!(last, Seen::Item(_, text) if text.starts_with("99x")));
}
