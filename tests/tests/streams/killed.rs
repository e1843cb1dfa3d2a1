//! Streams through real kills: nothing acknowledged is lost, and every reader sees the same.

use crate::{Seen, TASK, good, in_time, next};
use outlive::{Ctx, Engine, HandlerError, StreamEvent};
use outlive_tests::process::{self, Other};
use std::path::Path;
use std::time::Duration;

/// Emits numbers without end, and says each once it is durable. After a kill it goes on from 1.
async fn open(path: &Path, speaks: bool) -> Engine {
    let handler = move |ctx: Ctx<u32>, _| async move {
        for n in 1.. {
            ctx.emit(n).await?;
            let sequence = ctx.emit_durable(n).await?;
            if speaks {
                // Said only now: what is said is promised.
                process::say(&sequence.to_string());
            }
        }
        Ok::<u32, HandlerError>(0)
    };
    // It is killed so often that the guard would take it for what kills its process.
    let builder = Engine::builder(path).poison_guard(false);
    builder.task(TASK, handler).open().await.unwrap()
}

/// Not a test of its own: the process that is killed while it emits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(path) = process::path() else {
        return;
    };
    let engine = open(&path, true).await;
    engine.start(TASK, "a", &1).await.unwrap();
    // Somebody reads meanwhile, so that what is committed is also handed out.
    let mut stream = engine.stream(TASK, "a", 0).await.unwrap();
    tokio::spawn(async move { while let Some(Ok(_)) = stream.next().await {} });
    process::wait_for_end();
}

/// Everything up to a number, as a reader sees it that comes and goes after each so many events.
async fn read(engine: &Engine, until: u64, at_once: usize) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut position = 0;
    while position < until {
        let mut stream = engine.stream(TASK, "a", position).await.unwrap();
        for _ in 0..at_once {
            if position >= until {
                break;
            }
            seen.push(next(&mut stream).await);
            position = stream.position();
        }
    }
    seen
}

/// The first number that a new life of the process adds: there it says that what was before is abandoned.
fn resets(seen: &[Seen]) -> usize {
    let mut expected = 1;
    let mut resets = 0;
    for (number, one) in (1..).zip(seen) {
        match one {
            Seen::Item(sequence, item) => {
                assert_eq!(*sequence, number);
                // Each is emitted twice.
                assert!(
                    *item == expected || *item == expected + 1,
                    "{item} at {number}"
                );
                expected = *item;
            }
            Seen::Reset(sequence) => {
                assert_eq!(*sequence, number);
                resets += 1;
                expected = 1;
            }
            Seen::Gap(_) | Seen::End(_) => panic!("{one:?} at {number}"),
        }
    }
    resets
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_durable_item_is_lost_to_a_kill_and_every_reader_sees_the_same() {
    const KILLS: usize = 6;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tasks.redb");
    let mut told = 0;
    for round in 0..KILLS {
        let mut killed = Other::test("killed::child", &path);
        let until = told + 3 + round as u64 * 7;
        while told < until {
            told = killed.word().expect("it runs").parse().unwrap();
        }
        killed.kill();
    }

    let engine = open(&path, false).await;
    // Whatever the lives before made durable: the reset of this one comes behind it.
    let mut stream = engine.stream(TASK, "a", told).await.unwrap();
    let last = loop {
        if let StreamEvent::Reset { sequence, .. } = good(in_time(stream.next()).await) {
            break sequence;
        }
    };
    assert!(
        last > told,
        "told {told}, and the last life begins at {last}"
    );
    let whole = read(&engine, last, usize::MAX).await;
    assert_eq!(resets(&whole), KILLS, "{whole:?}");
    for at_once in [1, 5, 64] {
        assert_eq!(read(&engine, last, at_once).await, whole);
    }
    engine.shutdown(Duration::from_millis(100)).await;
}
