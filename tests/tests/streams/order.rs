//! One sequence over turns, attempts and runs, shown to each reader whole and in order.

use crate::{Seen, TASK, end, good, in_time, items, memory, next, on, some, whole};
use outlive::{
    AttachError, Ctx, Ended, Engine, HandlerError, OnConflict, Reply, Status, StreamError,
    StreamEvent, TaskDef,
};
use outlive_tests::gate::Gate;
use std::pin::Pin;
use std::task::Poll;

/// Emits as many items as its input says, and waits for another input unless it is 0.
async fn chain(ctx: Ctx<u32>, count: u32) -> Result<Reply<u32>, HandlerError> {
    for n in 1..=count {
        ctx.emit(ctx.turn() * 100 + n).await?;
    }
    if count == 0 {
        return Ok(Reply::output(0));
    }
    Ok(Reply::suspend(count, "the next input"))
}

async fn chained() -> Engine {
    Engine::in_memory().task(TASK, chain).open().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn items_are_numbered_on_over_turns_and_runs() {
    let engine = chained().await;
    for count in [2, 3, 0] {
        engine.run(TASK, "a", &count).await.unwrap();
    }
    let again = engine.start(TASK, "a", &1).on_conflict(OnConflict::Restart);
    again.await.unwrap().result().await.unwrap();
    engine.run(TASK, "a", &0).await.unwrap();

    let mut stream = engine.stream(TASK, "a", 0).await.unwrap();
    let mut seen = items(1, [101, 102, 201, 202, 203, 101]);
    seen.push(Seen::End(6));
    assert_eq!(whole(&mut stream).await, seen);
    assert_eq!(stream.position(), 6);
}

#[tokio::test(start_paused = true)]
async fn an_item_says_where_it_was_emitted() {
    let engine = chained().await;
    engine.run(TASK, "a", &1).await.unwrap();
    let run = engine.start(TASK, "a", &1).await.unwrap();
    run.result().await.unwrap();
    let mut stream = run.stream(1);
    let event = good(in_time(stream.next()).await);
    assert_eq!(event.sequence(), 2);
    let StreamEvent::Item {
        run, turn, attempt, ..
    } = event
    else {
        panic!("{event:?}");
    };
    assert_eq!((run, turn, attempt), (1, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_reader_is_shown_what_is_there_and_then_what_comes() {
    let gate = Gate::closed();
    let held = gate.clone();
    let handler = move |ctx: Ctx<u32>, count: u32| {
        let held = held.clone();
        async move {
            for n in 1..=count {
                ctx.emit_durable(n).await?;
                held.pass().await;
            }
            Ok::<_, HandlerError>(count)
        }
    };
    let engine = Engine::in_memory()
        .task(TASK, handler)
        .open()
        .await
        .unwrap();
    let run = engine.start(TASK, "a", &4).await.unwrap();
    gate.came(1).await;
    gate.let_through(1);
    gate.came(1).await;
    let mut early = run.stream(0);
    assert_eq!(some(&mut early, 2).await, items(1, [1, 2]));
    gate.let_through(1);
    assert_eq!(next(&mut early).await, Seen::Item(3, 3));
    let mut late = engine.stream(TASK, "a", 1).await.unwrap();
    assert_eq!(some(&mut late, 2).await, items(2, [2, 3]));
    gate.let_through(2);
    for stream in [&mut early, &mut late] {
        assert_eq!(whole(stream).await, [Seen::Item(4, 4), Seen::End(4)]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_goes_on_from_any_number() {
    let engine = chained().await;
    engine.run(TASK, "a", &40).await.unwrap();
    engine.run(TASK, "a", &0).await.unwrap();
    for after in [0, 1, 7, 39, 40, 41, u64::MAX] {
        let mut stream = engine.stream(TASK, "a", after).await.unwrap();
        let mut seen = items(
            after.saturating_add(1),
            100 + u32::try_from(after).unwrap_or(40).min(40) + 1..=140,
        );
        seen.push(Seen::End(after.max(40)));
        assert_eq!(whole(&mut stream).await, seen, "after {after}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_stream_of_a_task_that_waits_stays_open() {
    let engine = chained().await;
    let run = engine.start(TASK, "a", &1).await.unwrap();
    run.result().await.unwrap();
    let mut stream = run.stream(0);
    assert_eq!(next(&mut stream).await, Seen::Item(1, 101));
    assert_eq!(run.status().await.unwrap(), Status::Suspended);
    let waits = std::time::Duration::from_secs(60);
    let waited = tokio::time::timeout(waits, stream.next()).await;
    assert!(waited.is_err(), "{waited:?}");
    engine.run(TASK, "a", &1).await.unwrap();
    engine.run(TASK, "a", &0).await.unwrap();
    assert_eq!(whole(&mut stream).await, [Seen::Item(2, 201), Seen::End(2)]);
}

#[tokio::test(start_paused = true)]
async fn the_end_says_how_the_run_ended() {
    let gate = Gate::closed();
    let held = gate.clone();
    let handler = move |ctx: Ctx<u32>, what: u32| {
        let held = held.clone();
        async move {
            ctx.emit(what).await?;
            held.pass().await;
            match what {
                0 => Ok(0),
                _ => Err(HandlerError::terminal("no")),
            }
        }
    };
    let engine = Engine::in_memory()
        .task(TASK, handler)
        .open()
        .await
        .unwrap();
    let mut streams = Vec::new();
    for (what, id) in [(0, "good"), (1, "bad"), (1, "cancelled"), (1, "stopped")] {
        let run = engine.start(TASK, id, &what).await.unwrap();
        streams.push(run.stream(0));
    }
    gate.came(4).await;
    engine.terminate("stopped", "enough").await.unwrap();
    engine.cancel("cancelled", "changed my mind").await.unwrap();
    gate.let_through(4);
    let mut ends = Vec::new();
    for stream in &mut streams {
        ends.push(end(stream).await);
    }
    assert!(matches!(ends[0], Ended::Succeeded), "{ends:?}");
    assert!(matches!(&ends[1], Ended::Failed(failure) if &*failure.message == "no"));
    assert!(matches!(&ends[2], Ended::Cancelled { reason } if reason == "changed my mind"));
    assert!(matches!(&ends[3], Ended::Terminated { reason, .. } if reason == "enough"));
    // After the end the same is read from the store.
    for (id, ended) in ["good", "bad", "cancelled", "stopped"].iter().zip(ends) {
        let mut stream = engine.stream(TASK, id, 0).await.unwrap();
        assert_eq!(end(&mut stream).await, ended);
    }
}

/// Text, where [`TASK`] has numbers.
const MISREAD: TaskDef<u32, u32, String> = TaskDef::new("task");

#[tokio::test(start_paused = true)]
async fn an_item_of_another_type_is_named_and_passed_over() {
    let mixed = |ctx: Ctx<serde_json::Value>, _| async move {
        for item in [1.into(), "two".into(), 3.into()] {
            ctx.emit(item).await?;
        }
        Ok::<u32, HandlerError>(0)
    };
    const MIXED: TaskDef<u32, u32, serde_json::Value> = TaskDef::new("task");
    let engine = Engine::in_memory().task(MIXED, mixed).open().await.unwrap();
    engine.run(MIXED, "a", &0).await.unwrap();
    let mut numbers = engine.stream(TASK, "a", 0).await.unwrap();
    assert_eq!(next(&mut numbers).await, Seen::Item(1, 1));
    let misread = numbers.next().await;
    let Some(Err(StreamError::Undecodable { id, sequence, .. })) = misread else {
        panic!("{misread:?}");
    };
    assert_eq!((id.as_str(), sequence), ("a", 2));
    assert_eq!(whole(&mut numbers).await, [Seen::Item(3, 3), Seen::End(3)]);
    let mut text = engine.stream(MISREAD, "a", 1).await.unwrap();
    assert_eq!(next(&mut text).await, Seen::Item(2, "two".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_no_task_or_another_definition_is_refused() {
    const OTHER: TaskDef<u32, u32, u32> = TaskDef::new("other");
    let engine = chained().await;
    engine.run(TASK, "a", &1).await.unwrap();
    let missing = engine.stream(TASK, "b", 0).await;
    assert!(
        matches!(missing, Err(AttachError::NotFound(_))),
        "{missing:?}"
    );
    let other = engine.stream(OTHER, "a", 0).await;
    assert!(
        matches!(other, Err(AttachError::OtherDefinition { .. })),
        "{other:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn it_is_a_stream_of_the_futures_kind() {
    let engine = chained().await;
    engine.run(TASK, "a", &2).await.unwrap();
    engine.run(TASK, "a", &0).await.unwrap();
    let mut stream = engine.stream(TASK, "a", 0).await.unwrap();
    let mut seen = 0;
    loop {
        let polled = std::future::poll_fn(|context| {
            use futures_core::Stream;
            match Pin::new(&mut stream).poll_next(context) {
                Poll::Ready(item) => Poll::Ready(item),
                Poll::Pending => Poll::Pending,
            }
        });
        let Some(event) = in_time(polled).await else {
            break;
        };
        event.unwrap();
        seen += 1;
    }
    assert_eq!(seen, 3);
}

/// The handler ends in the very moment in which readers attach: none of them may miss what it emitted last, nor its end.
#[tokio::test(start_paused = true)]
async fn a_reader_that_comes_as_the_run_ends_misses_nothing() {
    let handler = |ctx: Ctx<u32>, count| async move {
        for n in 0..count {
            ctx.emit(n).await?;
            tokio::task::yield_now().await;
        }
        Ok::<_, HandlerError>(count)
    };
    let store = memory();
    let engine = on(&store).task(TASK, handler).open().await.unwrap();
    for wait in 0..40 {
        let id = format!("t{wait}");
        let run = engine.start(TASK, &id, &10).await.unwrap();
        for _ in 0..wait {
            tokio::task::yield_now().await;
        }
        let mut seen = items(1, 0..10);
        seen.push(Seen::End(10));
        assert_eq!(whole(&mut run.stream(0)).await, seen, "{wait}");
    }
}
