//! The end of a turn and what it emitted are one commit; a turn that is over adds nothing; a reader is never left
//! waiting.

use crate::{Seen, TASK, good, in_time, items, memory, next, on, some, whole};
use outlive::{
    Ctx, EmitError, Engine, HandlerError, Reply, Status, StreamError, StreamEvent, TaskDef,
};
use outlive_storage::{MemStore, Store};
use outlive_tests::faulty::Faulty;
use outlive_tests::gate::Gate;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// As [`emits_three`], once the gate lets it through.
fn held_back(gate: &Gate) -> impl Fn(Ctx<u32>, u32) -> Three + Send + Sync + 'static + use<> {
    let gate = gate.clone();
    move |ctx, n| {
        let gate = gate.clone();
        Box::pin(async move {
            gate.pass().await;
            emits_three(ctx, n).await
        })
    }
}

type Three = std::pin::Pin<Box<dyn Future<Output = Result<u32, HandlerError>> + Send>>;

/// The next commit fails.
fn break_next(faulty: &Faulty) {
    let next = faulty.commits.load(Ordering::SeqCst) + 1;
    faulty.broken_from.store(next, Ordering::SeqCst);
}

async fn emits_three(ctx: Ctx<u32>, n: u32) -> Result<u32, HandlerError> {
    for n in 1..=3 {
        ctx.emit(n).await?;
    }
    Ok(n)
}

/// What the store has: how the task stands, and how many entries its stream has.
fn stored(store: &MemStore, id: &str) -> (bool, u64) {
    let id = outlive::TaskId::new(id).unwrap();
    let task = store.find(&id).unwrap().expect("it was started");
    let row = store.get(task).unwrap().expect("its row");
    let ended = matches!(row.state, outlive_storage::row::State::Completed { .. });
    let end = store.stream_end(task).unwrap();
    (ended, end.map_or(0, |end| end.last))
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_turn_and_what_it_emitted_are_one_commit() {
    for answer_lost in [false, true] {
        let store = memory();
        let (faulty, gate) = (Faulty::on(&store), Gate::closed());
        faulty.answer_lost.store(answer_lost, Ordering::SeqCst);
        let engine = on(&faulty)
            .task(TASK, held_back(&gate))
            .open()
            .await
            .unwrap();
        let run = engine.start(TASK, "a", &7).await.unwrap();
        let mut stream = run.stream(0);
        gate.came(1).await;
        break_next(&faulty);
        gate.let_through(1);
        // Who asks the store may find the end there, although nobody was told of it.
        assert_eq!(in_time(run.result()).await.is_ok(), answer_lost);
        let found = stored(&store, "a");
        assert_eq!(found, if answer_lost { (true, 3) } else { (false, 0) });
        if !answer_lost {
            let told = in_time(stream.next()).await;
            assert!(matches!(told, Some(Err(StreamError::Store(_)))), "{told:?}");
        }

        let engine = on(&store).task(TASK, emits_three).open().await.unwrap();
        let mut stream = engine.stream(TASK, "a", 0).await.unwrap();
        let mut seen = items(1, 1..=3);
        seen.push(Seen::End(3));
        assert_eq!(whole(&mut stream).await, seen);
    }
}

/// A reader is shown an item when it is durable, and not before.
#[tokio::test(start_paused = true)]
async fn no_reader_is_ahead_of_the_disk() {
    let (faulty, gate, lent) = (Faulty::on(&memory()), Gate::closed(), Lent::default());
    let builder = on(&faulty).task(TASK, lending(&gate, &lent));
    let engine = builder.open().await.unwrap();
    let run = engine.start(TASK, "a", &7).await.unwrap();
    let mut stream = run.stream(0);
    assert_eq!(next(&mut stream).await, Seen::Item(1, 7));
    let ctx = lent.lock().remove(0);
    break_next(&faulty);
    let emitted = ctx.emit_durable(8).await;
    assert!(matches!(emitted, Err(EmitError::Store(_))), "{emitted:?}");
    let told = in_time(stream.next()).await;
    assert!(matches!(told, Some(Err(StreamError::Store(_)))), "{told:?}");
}

/// Hands out its context, and suspends after each turn.
fn lending(
    gate: &Gate,
    lent: &Lent,
) -> impl Fn(Ctx<u32>, u32) -> Turn + Send + Sync + 'static + use<> {
    let (gate, lent) = (gate.clone(), Arc::clone(lent));
    move |ctx, n| {
        let (gate, lent) = (gate.clone(), Arc::clone(&lent));
        Box::pin(async move {
            ctx.emit(n).await?;
            lent.lock().push(ctx);
            gate.pass().await;
            Ok(Reply::suspend(n, "more"))
        })
    }
}

type Lent = Arc<parking_lot::Mutex<Vec<Ctx<u32>>>>;
type Turn = std::pin::Pin<Box<dyn Future<Output = Result<Reply<u32>, HandlerError>> + Send>>;

#[track_caller]
fn assert_over(answer: Result<u64, EmitError>) {
    assert!(matches!(answer, Err(EmitError::TurnOver)), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_is_over_adds_nothing() {
    let (gate, lent) = (Gate::closed(), Lent::default());
    let builder = on(&memory()).task(TASK, lending(&gate, &lent));
    let engine = builder.open().await.unwrap();
    gate.let_through(1);
    engine.run(TASK, "a", &1).await.unwrap();
    let old = lent.lock().remove(0);
    assert_over(old.emit(8).await);
    let run = engine.start(TASK, "a", &2).await.unwrap();
    gate.came(2).await;
    // Another turn of the same task runs.
    assert_over(old.emit(9).await);
    assert_over(old.emit_durable(9).await);
    let present = lent.lock().remove(0);
    present.emit(3).await.unwrap();
    engine.terminate("a", "enough").await.unwrap();
    assert_over(present.emit(10).await);
    assert_over(present.emit_durable(10).await);
    let mut seen = items(1, 1..=3);
    seen.push(Seen::End(3));
    assert_eq!(whole(&mut run.stream(0)).await, seen);
}

/// The claim is lost while items are in memory: what is emitted under it is refused with it.
#[tokio::test(start_paused = true)]
async fn a_stale_workers_items_are_refused() {
    let (gate, lent) = (Gate::closed(), Lent::default());
    let builder = on(&memory()).task(TASK, lending(&gate, &lent));
    let engine = builder.open().await.unwrap();
    engine.start(TASK, "a", &1).await.unwrap();
    gate.came(1).await;
    let stale = lent.lock().remove(0);
    // In one batch: the task is stopped and entered anew, and its former worker still emits.
    let stop = IntoFuture::into_future(engine.terminate("a", "enough"));
    let retry = IntoFuture::into_future(engine.retry(TASK, "a"));
    let (stopped, retried) = tokio::join!(stop, retry);
    stopped.unwrap();
    let run = match retried {
        Ok(run) => run,
        // It was asked before the stop was carried out.
        Err(_) => engine.retry(TASK, "a").await.unwrap(),
    };
    gate.came(1).await;
    assert_over(stale.emit_durable(99).await);
    engine.terminate("a", "enough").await.unwrap();
    let seen = whole(&mut run.stream(0)).await;
    assert!(
        !seen.iter().any(|seen| matches!(seen, Seen::Item(_, 99))),
        "{seen:?}"
    );
}

/// What was emitted before the order goes with it, although it had not been written yet.
#[tokio::test(start_paused = true)]
async fn an_order_that_ends_a_turn_leaves_it_its_items() {
    let (gate, lent) = (Gate::closed(), Lent::default());
    let builder = on(&memory()).task(TASK, lending(&gate, &lent));
    let engine = builder.open().await.unwrap();
    let run = engine.start(TASK, "a", &1).await.unwrap();
    gate.came(1).await;
    engine.terminate("a", "enough").await.unwrap();
    assert_eq!(
        whole(&mut run.stream(0)).await,
        [Seen::Item(1, 1), Seen::End(1)]
    );
}

#[tokio::test(start_paused = true)]
async fn a_stop_in_order_leaves_a_turn_its_items() {
    let (store, gate, lent) = (memory(), Gate::closed(), Lent::default());
    let engine = on(&store)
        .task(TASK, lending(&gate, &lent))
        .open()
        .await
        .unwrap();
    engine.start(TASK, "a", &1).await.unwrap();
    gate.came(1).await;
    engine.shutdown(Duration::ZERO).await;
    assert_eq!(stored(&store, "a"), (false, 1));
    let ctx = lent.lock().remove(0);
    let late = ctx.emit(2).await;
    assert!(
        matches!(late, Err(EmitError::ShuttingDown | EmitError::TurnOver)),
        "{late:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_stream_of_an_ephemeral_task_is_shown_to_those_who_read_it() {
    const PASSING: TaskDef<u32, u32, u32> = TASK.ephemeral();
    let gate = Gate::closed();
    let held = gate.clone();
    let handler = move |ctx: Ctx<u32>, count: u32| {
        let held = held.clone();
        async move {
            ctx.emit_durable(1).await?;
            held.pass().await;
            for n in 2..=count {
                ctx.emit(n).await?;
            }
            Ok::<_, HandlerError>(count)
        }
    };
    let engine = on(&memory()).task(PASSING, handler).open().await.unwrap();
    let run = engine.start(PASSING, "a", &4).await.unwrap();
    gate.came(1).await;
    let mut present = run.stream(0);
    assert_eq!(next(&mut present).await, Seen::Item(1, 1));
    let mut fast = run.stream(0);
    gate.let_through(1);
    run.result().await.unwrap();
    let mut rest = items(2, 2..=4);
    rest.push(Seen::End(4));
    assert_eq!(whole(&mut present).await, rest);
    // It follows since before the end, although it has not read anything yet; the first item went with the task.
    let seen = whole(&mut fast).await;
    assert_eq!(seen[seen.len() - 4..], rest[..]);
    let late = in_time(run.stream(0).next()).await;
    assert!(
        matches!(late, Some(Err(StreamError::Gone { .. }))),
        "{late:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_a_task_that_is_deleted_is_told() {
    let (gate, lent) = (Gate::closed(), Lent::default());
    let builder = on(&memory()).task(TASK, lending(&gate, &lent));
    let engine = builder.open().await.unwrap();
    let run = engine.start(TASK, "a", &1).await.unwrap();
    let mut stream = run.stream(0);
    assert_eq!(next(&mut stream).await, Seen::Item(1, 1));
    let mut waiting = run.stream(1);
    let present = lent.lock().remove(0);
    present.emit(2).await.unwrap();
    assert!(engine.delete("a").force().await.unwrap());
    for stream in [&mut stream, &mut waiting] {
        assert_eq!(next(stream).await, Seen::Item(2, 2));
        let gone = in_time(stream.next()).await;
        assert!(
            matches!(gone, Some(Err(StreamError::Gone { .. }))),
            "{gone:?}"
        );
        assert!(in_time(stream.next()).await.is_none());
    }
    // The same id is another task, with a stream of its own.
    let again = engine.start(TASK, "a", &5).await.unwrap();
    assert_eq!(next(&mut again.stream(0)).await, Seen::Item(1, 5));
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_behind_when_its_task_is_removed_is_told_how_it_ended() {
    let engine = on(&memory()).task(TASK, emits_three).open().await.unwrap();
    let run = engine.start(TASK, "a", &1).await.unwrap();
    let mut stream = run.stream(0);
    assert_eq!(some(&mut stream, 1).await, [Seen::Item(1, 1)]);
    run.result().await.unwrap();
    assert!(engine.delete("a").await.unwrap());
    let seen = whole(&mut stream).await;
    assert_eq!(seen.last(), Some(&Seen::End(3)));
}

/// Two runs that follow one another before the reader came to the end of the first are one stream to it.
#[tokio::test(start_paused = true)]
async fn every_reader_of_two_runs_sees_one_end() {
    let engine = on(&memory()).task(TASK, emits_three).open().await.unwrap();
    let run = engine.start(TASK, "a", &1).await.unwrap();
    let mut stream = run.stream(0);
    let first = good(in_time(stream.next()).await);
    assert!(matches!(first, StreamEvent::Item { sequence: 1, .. }));
    run.result().await.unwrap();
    let again = engine.start(TASK, "a", &1);
    let again = again
        .on_conflict(outlive::OnConflict::Restart)
        .await
        .unwrap();
    again.result().await.unwrap();
    assert_eq!(again.status().await.unwrap(), Status::Completed);
    let mut seen = items(2, [2, 3, 1, 2, 3]);
    seen.push(Seen::End(6));
    assert_eq!(whole(&mut stream).await, seen);
}

/// Damage hurts what is damaged: the reader is told once, and goes on behind it.
#[tokio::test(start_paused = true)]
async fn a_damaged_segment_is_named_and_passed_over() {
    let faulty = Faulty::on(&memory());
    let handler = |ctx: Ctx<u32>, to: u32| async move {
        for n in 1..=to {
            ctx.emit_durable(n).await?;
        }
        Ok::<_, HandlerError>(Reply::suspend(to, "more"))
    };
    let engine = on(&faulty).task(TASK, handler).open().await.unwrap();
    engine.run(TASK, "a", &4).await.unwrap();
    faulty.damaged_segment.store(2, Ordering::SeqCst);
    let mut stream = engine.stream(TASK, "a", 0).await.unwrap();
    assert_eq!(next(&mut stream).await, Seen::Item(1, 1));
    let damaged = in_time(stream.next()).await;
    let Some(Err(StreamError::Store(error))) = damaged else {
        panic!("{damaged:?}");
    };
    assert!(error.is_of_one_entry(), "{error:?}");
    // The segment behind it says how much is missing.
    assert_eq!(next(&mut stream).await, Seen::Gap(2));
    assert_eq!(some(&mut stream, 2).await, items(3, [3, 4]));
    engine.run(TASK, "a", &1).await.unwrap();
    assert_eq!(next(&mut stream).await, Seen::Item(5, 1));
    // The last one there is, read from the store because nobody follows it.
    drop(stream);
    faulty.damaged_segment.store(5, Ordering::SeqCst);
    let mut stream = engine.stream(TASK, "a", 4).await.unwrap();
    assert!(matches!(
        in_time(stream.next()).await,
        Some(Err(StreamError::Store(_)))
    ));
    let waits = tokio::time::timeout(Duration::from_secs(9), stream.next());
    assert!(waits.await.is_err());
    engine.run(TASK, "a", &1).await.unwrap();
    assert_eq!(some(&mut stream, 2).await, [Seen::Gap(5), Seen::Item(6, 1)]);
}

/// Where a stream goes on is not known, so its turn is not entered: like one whose input cannot be read.
#[tokio::test(start_paused = true)]
async fn a_turn_whose_stream_cannot_be_read_is_parked() {
    let faulty = Faulty::on(&memory());
    let damages = Arc::clone(&faulty);
    let handler = move |ctx: Ctx<u32>, n: u32| {
        let damages = Arc::clone(&damages);
        async move {
            ctx.emit_durable(n).await?;
            damages.damaged_segment.store(u64::MAX, Ordering::SeqCst);
            Err::<u32, HandlerError>("once more".into())
        }
    };
    let engine = on(&faulty).task(TASK, handler).open().await.unwrap();
    let parked = engine.run(TASK, "a", &1).await;
    let Err(outlive::RunError::Result(outlive::ResultError::Undecodable { what, .. })) = parked
    else {
        panic!("{parked:?}");
    };
    assert_eq!(&*what, "stream");
}

#[tokio::test(start_paused = true)]
async fn a_stopped_engine_gives_no_stream() {
    let store = memory();
    let engine: Engine = on(&store).task(TASK, emits_three).open().await.unwrap();
    let run = engine.start(TASK, "a", &1).await.unwrap();
    run.result().await.unwrap();
    engine.shutdown(Duration::ZERO).await;
    let stopped = in_time(run.stream(0).next()).await;
    assert!(
        matches!(stopped, Some(Err(StreamError::ShuttingDown))),
        "{stopped:?}"
    );
}
