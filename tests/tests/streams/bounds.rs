//! Nothing grows without end: items, streams, buffers, tails and slow readers.

use crate::{Seen, TASK, in_time, items, memory, next, on, whole};
use outlive::{
    Ctx, EmitError, Engine, HandlerError, ITEM_MAX, OnConflict, Reply, STREAM_BUFFER, STREAM_MAX,
    STREAM_READER_MAX, TaskDef,
};
use outlive_storage::row::{Generation, Micros, SegmentRow, StreamEntry};
use outlive_storage::{Commit, Expect, MemStore, Scan, Store, Write};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

const TEXT: TaskDef<u32, u32, String> = TaskDef::new("text");
const KEEPING: TaskDef<u32, u32, String> = TaskDef::new("keeping");

#[tokio::test(start_paused = true)]
async fn an_item_beyond_the_limit_is_refused_and_leaves_nothing() {
    let handler = |ctx: Ctx<String>, _| async move {
        // Two quotes belong to its JSON.
        let largest = "x".repeat(ITEM_MAX as usize - 2);
        let refused = ctx.emit(format!("{largest}x")).await;
        let Err(EmitError::TooLarge { size, limit }) = refused else {
            return Err(HandlerError::terminal(format!("{refused:?}")));
        };
        assert_eq!((size, limit), (ITEM_MAX + 1, ITEM_MAX));
        Ok(ctx.emit(largest).await? as u32)
    };
    let engine = on(&memory()).task(TEXT, handler).open().await.unwrap();
    let run = engine.start(TEXT, "a", &0).await.unwrap();
    assert_eq!(run.result().await.unwrap(), 1);
    assert_eq!(whole(&mut run.stream(0)).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_item_without_a_json_form_is_refused() {
    const MAPS: TaskDef<u32, u32, HashMap<Vec<u8>, u8>> = TaskDef::new("maps");
    let handler = |ctx: Ctx<HashMap<Vec<u8>, u8>>, n| async move {
        let refused = ctx.emit(HashMap::from([(vec![1], 1)])).await;
        assert!(matches!(refused, Err(EmitError::NotJson(_))), "{refused:?}");
        Ok::<u32, HandlerError>(n)
    };
    let engine = on(&memory()).task(MAPS, handler).open().await.unwrap();
    engine.run(MAPS, "a", &0).await.unwrap();
}

/// Emits until it is refused, and waits; then says how many were taken.
async fn filling(ctx: Ctx<u32>, most: u32) -> Result<Reply<u32>, HandlerError> {
    for n in 0..most {
        match ctx.emit(n).await {
            Ok(_) => {}
            Err(EmitError::StreamFull { max }) => {
                assert_eq!(max, STREAM_MAX);
                return Ok(Reply::suspend(n, "no room"));
            }
            Err(other) => return Err(other.into()),
        }
    }
    Ok(Reply::suspend(most, "more"))
}

/// The only task's stream goes on behind this number, as if so many had been emitted.
fn put_stream_up_to(store: &MemStore, last: u64) {
    let found = store.scan(Scan::All, None, 1).unwrap().rows.remove(0);
    let row = found.row.unwrap();
    let segment = Arc::new(SegmentRow {
        run: 1,
        turn: 1,
        attempt: 1,
        generation: Generation(1),
        input_seq: 0,
        at: Micros(1),
        entries: vec![StreamEntry::Item {
            step: None,
            bytes: b"0".to_vec(),
        }],
    });
    let commit = Commit {
        task: found.task,
        expect: Expect::Etag(row.etag),
        writes: vec![Write::Segment {
            first: last,
            segment,
        }],
    };
    assert!(store.commit(&[commit]).unwrap()[0].is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_stream_takes_a_million_items_and_no_more() {
    let store = memory();
    let engine = on(&store).task(TASK, filling).open().await.unwrap();
    assert_eq!(engine.run(TASK, "a", &1).await.unwrap(), 1);
    put_stream_up_to(&store, STREAM_MAX - 3);
    assert_eq!(engine.run(TASK, "a", &100).await.unwrap(), 3);
    assert_eq!(engine.run(TASK, "a", &100).await.unwrap(), 0);
    let mut stream = engine.stream(TASK, "a", STREAM_MAX - 3).await.unwrap();
    for sequence in STREAM_MAX - 2..=STREAM_MAX {
        assert!(matches!(next(&mut stream).await, Seen::Item(found, _) if found == sequence));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_keeps_few_items_has_no_end() {
    let store = memory();
    let keeps_few = TASK.keep_items(10);
    let engine = on(&store).task(keeps_few, filling).open().await.unwrap();
    engine.run(TASK, "a", &1).await.unwrap();
    put_stream_up_to(&store, STREAM_MAX);
    assert_eq!(engine.run(TASK, "a", &100).await.unwrap(), 100);
}

/// Emits numbers, each in a segment of its own.
async fn singly(ctx: Ctx<u32>, to: u32) -> Result<u32, HandlerError> {
    for n in 1..=to {
        ctx.emit_durable(n).await?;
    }
    Ok(to)
}

#[tokio::test(start_paused = true)]
async fn old_items_go_and_a_reader_is_told() {
    let keeps_few = TASK.keep_items(10);
    let engine = on(&memory()).task(keeps_few, singly).open().await.unwrap();
    let run = engine.start(TASK, "a", &50).await.unwrap();
    run.result().await.unwrap();
    let mut seen = vec![Seen::Gap(40)];
    seen.extend(items(41, 41..=50));
    seen.push(Seen::End(50));
    assert_eq!(whole(&mut run.stream(0)).await, seen);
    assert_eq!(whole(&mut run.stream(39)).await, seen);
    assert_eq!(whole(&mut run.stream(40)).await, seen[1..]);
    // The numbers go on where they were.
    let again = engine.start(TASK, "a", &1).on_conflict(OnConflict::Restart);
    let again = again.await.unwrap();
    again.result().await.unwrap();
    assert_eq!(
        whole(&mut again.stream(50)).await,
        [Seen::Item(51, 1), Seen::End(51)]
    );
}

#[tokio::test(start_paused = true)]
async fn an_option_of_a_call_says_how_many_items_are_kept() {
    let engine = on(&memory()).task(TASK, singly).open().await.unwrap();
    let keep = outlive::TaskOptions::new().keep_items(1);
    let run = engine.start(TASK, "a", &30).options(keep).await.unwrap();
    run.result().await.unwrap();
    let seen = [Seen::Gap(29), Seen::Item(30, 30), Seen::End(30)];
    assert_eq!(whole(&mut run.stream(0)).await, seen);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_emits_faster_than_the_disk_waits() {
    let handler = |ctx: Ctx<String>, _| async move {
        let mut at_once = 0;
        for _ in 0..300 {
            let emitting = ctx.emit("x".repeat(10_000));
            tokio::pin!(emitting);
            let mut emitted = false;
            tokio::select! {
                biased;
                done = &mut emitting => {
                    done?;
                    emitted = true;
                }
                () = std::future::ready(()) => {}
            }
            if !emitted {
                break;
            }
            at_once += 1;
        }
        Ok::<u32, HandlerError>(at_once)
    };
    let engine = on(&memory()).task(TEXT, handler).open().await.unwrap();
    let at_once = engine.run(TEXT, "a", &0).await.unwrap() as usize;
    assert!(
        (20..=STREAM_BUFFER / 10_000).contains(&at_once),
        "{at_once}"
    );
}

/// A hundred turns fill what all of them may buffer, with the writer held up by the first commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_turns_together_wait_for_the_disk() {
    const TASKS: usize = 100;
    let (latch, opens) = outlive_tests::latch::Latch::closed();
    let store = outlive_tests::faulty::Faulty::on(&memory());
    let emitted = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counts = Arc::clone(&emitted);
    let came = outlive_tests::gate::Gate::closed();
    let gate = came.clone();
    let handler = move |ctx: Ctx<String>, _: u32| {
        let (counts, gate) = (Arc::clone(&counts), gate.clone());
        async move {
            gate.pass().await;
            ctx.emit("x".repeat(240_000)).await?;
            counts.fetch_add(240_000, std::sync::atomic::Ordering::SeqCst);
            Ok::<u32, HandlerError>(0)
        }
    };
    let builder = Engine::on_store(Arc::<outlive_tests::faulty::Faulty>::clone(&store));
    let (keeps, kept) = std::sync::mpsc::channel();
    let keeping = move |ctx: Ctx<String>, n: u32| {
        let kept = keeps.send(ctx).is_ok();
        async move { Ok::<u32, HandlerError>(n + u32::from(kept)) }
    };
    let builder = builder.task(KEEPING, keeping);
    let engine = builder.task(TEXT, handler).open().await.unwrap();
    engine.run(KEEPING, "keeps", &1).await.unwrap();
    let kept = kept.recv().unwrap();
    let starts = (0..TASKS).map(|at| (format!("t{at}"), 0));
    let runs = engine.start_many(TEXT, starts).await;
    came.came(TASKS as u32).await;
    let blocks = latch.clone();
    store.before_commit.set(move || blocks.wait());
    came.let_through(TASKS);
    latch.waited_for_by(1);
    let full = || engine.stream_memory().emitted > outlive::STREAM_BUFFERS - 240_000;
    outlive_tests::gate::until(async || full()).await;
    assert!(engine.stream_memory().emitted <= outlive::STREAM_BUFFERS);
    tokio::task::yield_now().await;
    let taken = emitted.load(std::sync::atomic::Ordering::SeqCst);
    assert!(taken <= outlive::STREAM_BUFFERS, "{taken}");
    // Whose turn is over has no part in the wait.
    let late = tokio::time::timeout(Duration::from_secs(10), kept.emit("x".repeat(240_000)));
    assert!(matches!(late.await, Ok(Err(EmitError::TurnOver))));
    drop(opens);
    for run in runs {
        run.unwrap().result().await.unwrap();
    }
    assert_eq!(
        emitted.load(std::sync::atomic::Ordering::SeqCst),
        TASKS * 240_000
    );
}

/// As fast as the writer lets it, some MiB.
async fn flooding(ctx: Ctx<String>, count: u32) -> Result<u32, HandlerError> {
    for _ in 0..count {
        ctx.emit("x".repeat(5_000)).await?;
    }
    Ok(count)
}

#[tokio::test(start_paused = true)]
async fn what_a_turn_emits_is_bounded_and_all_of_it_comes() {
    let engine = on(&memory()).task(TEXT, flooding).open().await.unwrap();
    let run = engine.start(TEXT, "a", &400).await.unwrap();
    let mut stream = run.stream(0);
    let mut most = 0;
    for sequence in 1..=400 {
        assert!(matches!(next(&mut stream).await, Seen::Item(found, _) if found == sequence));
        most = most.max(engine.stream_memory().emitted);
    }
    assert!(most <= STREAM_BUFFER, "{most}");
    assert_eq!(next(&mut stream).await, Seen::End(400));
    assert_eq!(engine.stream_memory().emitted, 0);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stands_still_for_a_minute_holds_a_bounded_number_of_bytes() {
    let handler = |ctx: Ctx<String>, seconds: u32| async move {
        for n in 0..seconds * 10 {
            ctx.emit(format!("{n}{}", "x".repeat(20_000))).await?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok::<_, HandlerError>(seconds)
    };
    let engine = on(&memory()).task(TEXT, handler).open().await.unwrap();
    let run = engine.start(TEXT, "a", &60).await.unwrap();
    let mut slow = run.stream(0);
    next(&mut slow).await;
    let mut held = 0;
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let memory = engine.stream_memory();
        held = held.max(slow.held_bytes());
        assert!(
            slow.held_bytes() <= STREAM_READER_MAX,
            "{}",
            slow.held_bytes()
        );
        assert!(memory.followed <= 256 * 1024, "{memory:?}");
    }
    assert!(held > 0, "what it holds is counted");
    for sequence in 2..=600 {
        let seen = next(&mut slow).await;
        assert!(
            matches!(&seen, Seen::Item(found, text) if *found == sequence
            && text.trim_end_matches('x') == (sequence - 1).to_string())
        );
        assert!(slow.held_bytes() <= STREAM_READER_MAX);
    }
    assert_eq!(next(&mut slow).await, Seen::End(600));
    drop(slow);
    assert_eq!(engine.stream_memory().followed, 0);
}

#[tokio::test(start_paused = true)]
async fn all_that_is_kept_for_readers_is_bounded() {
    const TASKS: usize = 80;
    let handler = |ctx: Ctx<String>, _: u32| async move {
        ctx.emit_durable("x".repeat(240_000)).await?;
        Ok::<u32, HandlerError>(0)
    };
    let engine = on(&memory()).task(TEXT, handler).open().await.unwrap();
    let mut streams = Vec::new();
    for at in 0..TASKS {
        let run = engine
            .start(TEXT, format!("t{at}"), &0)
            .start_in(Duration::from_secs(1));
        streams.push(run.await.unwrap().stream(0));
    }
    // Every reader is there before the first item is.
    let mut first = Vec::new();
    for stream in &mut streams {
        let waits = tokio::time::timeout(Duration::from_millis(1), stream.next()).await;
        first.push(waits.is_err());
    }
    assert_eq!(first, [true; TASKS]);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let followed = engine.stream_memory().followed;
    assert!((12 << 20..=16 << 20).contains(&followed), "{followed}");
    for stream in &mut streams {
        assert_eq!(in_time(whole(stream)).await.len(), 2);
    }
}

/// However much is emitted by how many, one commit carries at most 1 MiB of it.
#[tokio::test(start_paused = true)]
async fn no_commit_is_larger_for_what_is_emitted() {
    let gate = outlive_tests::gate::Gate::closed();
    let held = gate.clone();
    let handler = move |ctx: Ctx<String>, ends: u32| {
        let held = held.clone();
        async move {
            ctx.emit("x".repeat(200_000)).await?;
            if ends == 0 {
                held.pass().await;
            }
            Ok::<u32, HandlerError>(0)
        }
    };
    let store = outlive_tests::faulty::Faulty::on(&memory());
    let engine: Engine = on(&store).task(TEXT, handler).open().await.unwrap();
    engine.recovery().await;
    let starts = (0..60).map(|at| (format!("t{at}"), at % 2));
    let runs = engine.start_many(TEXT, starts).await;
    gate.came(30).await;
    gate.let_through(30);
    for run in runs {
        let mut stream = run.unwrap().stream(0);
        assert_eq!(whole(&mut stream).await.len(), 2, "its item and its end");
    }
    let largest = store
        .largest_segments
        .load(std::sync::atomic::Ordering::SeqCst);
    assert!((600_000..=1 << 20).contains(&largest), "{largest}");
}
