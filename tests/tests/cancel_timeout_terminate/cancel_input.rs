//! `run.cancel`: for one input, which never ends the turn of another.

use crate::{NO_GRACE, Stage, in_time, known, on, opened, secs};
use outlive::{
    Builder, ControlError, Ctx, Ended, Engine, HandlerError, Outcome, Reply, ResultError, Run,
    Status, TaskDef, WaitReason,
};
use outlive_storage::MemStore;
use outlive_tests::gate::Notes;
use std::sync::Arc;

const ONE: TaskDef<u32, u32> = TaskDef::new("one");
const CHAT: TaskDef<u32, u32> = TaskDef::new("chat").steerable(9);

/// Inputs by what the handler does with them.
const WAITS_THEN_AGREES: u32 = 1;
const WAITS_THEN_REPLIES: u32 = 2;
const SUSPENDS: u32 = 10;

fn chat(stage: &Stage, builder: Builder, def: TaskDef<u32, u32>) -> Builder {
    let stage = stage.clone();
    builder.task(def, move |ctx: Ctx, input| {
        let stage = stage.clone();
        async move {
            if input >= SUSPENDS {
                return Ok(Reply::suspend(input, "more"));
            }
            while ctx
                .cause()
                .is_none_or(|causes| causes.cancel_requested().is_none())
            {
                stage.gate.arrive();
                ctx.cancelled().await;
                tokio::time::sleep(secs(1)).await;
            }
            match input {
                WAITS_THEN_REPLIES => Ok(Reply::output(input)),
                _ => Err(HandlerError::cancelled()),
            }
        }
    })
}

#[track_caller]
fn assert_cancelled(result: Result<u32, ResultError>, because: &str) {
    match result {
        Err(ResultError::Cancelled { reason }) if &*reason == because => {}
        other => panic!("{other:?}"),
    }
}

async fn started(engine: &Engine, def: TaskDef<u32, u32>, input: u32) -> Run<u32> {
    engine.start(def, "a", &input).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn on_a_task_of_one_input_the_task_is_cancelled() {
    let stage = Stage::new();
    let engine = opened(chat(&stage, Engine::in_memory(), ONE)).await;
    let run = started(&engine, ONE, WAITS_THEN_AGREES).await;
    in_time(stage.gate.came(1)).await;
    run.cancel("stop").await.unwrap();
    assert_cancelled(in_time(run.result()).await, "stop");
    let task = known(engine.get("a").await);
    assert!(matches!(task.ended, Some(Ended::Cancelled { .. })));
}

#[tokio::test(start_paused = true)]
async fn on_a_steerable_task_the_turn_ends_and_the_task_waits_for_more() {
    let stage = Stage::new();
    let engine = opened(chat(&stage, Engine::in_memory(), CHAT)).await;
    let run = started(&engine, CHAT, WAITS_THEN_AGREES).await;
    in_time(stage.gate.came(1)).await;
    run.cancel("this one not").await.unwrap();
    assert_cancelled(in_time(run.result()).await, "this one not");
    let task = known(engine.get("a").await);
    assert_eq!(
        (task.status, task.cancel_requested),
        (Status::Suspended, None)
    );
    assert!(matches!(task.wait, Some(WaitReason::Input { .. })));
    let next = started(&engine, CHAT, SUSPENDS).await;
    assert_eq!(
        in_time(next.result()).await.unwrap(),
        SUSPENDS,
        "it goes on"
    );
    assert_eq!(known(engine.get("a").await).turn, 2);
}

#[tokio::test(start_paused = true)]
async fn on_a_task_that_was_once_suspended_the_turn_ends_and_the_task_waits_for_more() {
    let stage = Stage::new();
    let engine = opened(chat(&stage, Engine::in_memory(), ONE)).await;
    in_time(started(&engine, ONE, SUSPENDS).await.result())
        .await
        .unwrap();
    let run = started(&engine, ONE, WAITS_THEN_AGREES).await;
    in_time(stage.gate.came(1)).await;
    run.cancel("this one not").await.unwrap();
    assert_cancelled(in_time(run.result()).await, "this one not");
    assert_eq!(known(engine.get("a").await).status, Status::Suspended);
}

#[tokio::test(start_paused = true)]
async fn the_turn_gives_way_to_what_is_queued() {
    let stage = Stage::new();
    let engine = opened(chat(&stage, Engine::in_memory(), CHAT)).await;
    let run = started(&engine, CHAT, WAITS_THEN_AGREES).await;
    in_time(stage.gate.came(1)).await;
    let next = started(&engine, CHAT, SUSPENDS).await;
    run.cancel("this one not").await.unwrap();
    assert_cancelled(in_time(run.result()).await, "this one not");
    let outcome = in_time(next.outcome()).await.unwrap();
    assert!(matches!(outcome, Outcome::Suspended { turn: 2, .. }));
}

#[tokio::test(start_paused = true)]
async fn the_reply_of_the_turn_counts_and_the_task_ends_with_it() {
    let stage = Stage::new();
    let engine = opened(chat(&stage, Engine::in_memory(), CHAT)).await;
    let run = started(&engine, CHAT, WAITS_THEN_REPLIES).await;
    in_time(stage.gate.came(1)).await;
    run.cancel("stop").await.unwrap();
    assert_eq!(in_time(run.result()).await.unwrap(), WAITS_THEN_REPLIES);
    assert_eq!(known(engine.get("a").await).ended, Some(Ended::Succeeded));
}

#[tokio::test(start_paused = true)]
async fn the_reply_of_the_turn_counts_and_what_is_queued_goes_on() {
    let stage = Stage::new();
    let engine = opened(chat(&stage, Engine::in_memory(), CHAT)).await;
    let run = started(&engine, CHAT, WAITS_THEN_REPLIES).await;
    in_time(stage.gate.came(1)).await;
    let next = started(&engine, CHAT, SUSPENDS).await;
    run.cancel("stop").await.unwrap();
    let outcome = in_time(run.outcome()).await.unwrap();
    assert!(outcome.is_superseded());
    assert_eq!(in_time(next.result()).await.unwrap(), SUSPENDS);
}

#[tokio::test(start_paused = true)]
async fn a_queued_input_is_taken_back_alone() {
    let stage = Stage::new();
    let engine = opened(chat(&stage, Engine::in_memory(), CHAT)).await;
    let first = started(&engine, CHAT, WAITS_THEN_AGREES).await;
    in_time(stage.gate.came(1)).await;
    let second = started(&engine, CHAT, SUSPENDS + 2).await;
    let third = started(&engine, CHAT, SUSPENDS + 3).await;
    second.cancel("changed my mind").await.unwrap();
    assert_cancelled(in_time(second.result()).await, "changed my mind");
    let task = known(engine.get("a").await);
    assert_eq!(
        (task.inputs_waiting, task.cancel_requested),
        (1, None),
        "the turn is not touched"
    );
    second.cancel("once more").await.unwrap();
    assert_cancelled(second.result().await, "changed my mind");
    let asked_again = engine
        .start(CHAT, "a", &(SUSPENDS + 2))
        .input_id(second.input_id().as_str());
    assert_cancelled(asked_again.await.unwrap().result().await, "changed my mind");
    first.cancel("stop").await.unwrap();
    let outcome = in_time(third.outcome()).await.unwrap();
    assert_eq!(
        (outcome.turn(), *outcome.output()),
        (2, SUSPENDS + 3),
        "it had no turn"
    );
}

#[tokio::test(start_paused = true)]
async fn the_last_accepted_input_may_be_taken_back() {
    let stage = Stage::new();
    let engine = opened(chat(&stage, Engine::in_memory(), CHAT)).await;
    started(&engine, CHAT, WAITS_THEN_AGREES).await;
    let last = started(&engine, CHAT, SUSPENDS).await;
    last.cancel("changed my mind").await.unwrap();
    let task = known(engine.get("a").await);
    assert_eq!(task.inputs_waiting, 0);
    assert_eq!(
        &task.last_input_id,
        last.input_id(),
        "it was accepted, whatever became of it"
    );
}

#[tokio::test(start_paused = true)]
async fn a_handle_never_ends_the_turn_of_a_later_input() {
    let stage = Stage::new();
    let engine = opened(chat(&stage, Engine::in_memory(), CHAT)).await;
    let old = started(&engine, CHAT, SUSPENDS).await;
    in_time(old.result()).await.unwrap();
    let late = old.cancel("stop").await;
    assert!(matches!(
        late,
        Err(ControlError::Conflict {
            status: Status::Suspended,
            ..
        })
    ));
    started(&engine, CHAT, WAITS_THEN_AGREES).await;
    in_time(stage.gate.came(1)).await;
    let task = known(engine.get("a").await);
    let late = old.cancel("stop").await;
    assert!(matches!(
        late,
        Err(ControlError::Conflict {
            status: Status::InProgress,
            ..
        })
    ));
    let late = old.terminate("stop").await;
    assert!(matches!(
        late,
        Err(ControlError::Conflict {
            status: Status::InProgress,
            ..
        })
    ));
    assert_eq!(known(engine.get("a").await), task, "nothing was written");
    assert!(stage.told.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_cancel_of_the_task_comes_over_a_cancel_of_its_turn() {
    let stage = Stage::new();
    let engine = opened(chat(&stage, Engine::in_memory(), CHAT)).await;
    let run = started(&engine, CHAT, WAITS_THEN_AGREES).await;
    in_time(stage.gate.came(1)).await;
    let next = started(&engine, CHAT, SUSPENDS).await;
    run.cancel("this one not").await.unwrap();
    engine.cancel("a", "all of it").await.unwrap();
    run.cancel("this one not").await.unwrap();
    let result = in_time(next.result()).await;
    assert!(matches!(result, Err(ResultError::Conflict { .. })));
    assert_cancelled(run.result().await, "all of it");
    let task = known(engine.get("a").await);
    assert!(matches!(task.ended, Some(Ended::Cancelled { reason }) if reason == "all of it"));
}

#[tokio::test(start_paused = true)]
async fn an_engines_cancel_ends_a_steerable_task_that_waits_for_more() {
    let stage = Stage::new();
    let engine = opened(chat(&stage, Engine::in_memory(), CHAT)).await;
    in_time(started(&engine, CHAT, SUSPENDS).await.result())
        .await
        .unwrap();
    engine.cancel("a", "enough").await.unwrap();
    assert_eq!(known(engine.get("a").await).status, Status::Completed);
}

#[tokio::test(start_paused = true)]
async fn after_a_stop_a_cancelled_turn_is_over_and_its_task_goes_on() {
    let (store, stage, entered) = (Arc::new(MemStore::new()), Stage::new(), Notes::default());
    let engine = opened(stage.deaf(on(&store), CHAT)).await;
    let run = started(&engine, CHAT, 1).await;
    in_time(stage.gate.came(1)).await;
    started(&engine, CHAT, 2).await;
    run.cancel("this one not").await.unwrap();
    let first = run.input_id().clone();
    engine.shutdown(NO_GRACE).await;

    let notes = entered.clone();
    let builder = on(&store).task(CHAT, move |ctx: Ctx, input| {
        notes.add((input, ctx.turn(), ctx.cause().is_some()));
        async move { Ok::<_, HandlerError>(Reply::suspend(input, "more")) }
    });
    let engine = opened(builder).await;
    let next = engine.attach(CHAT, "a").await.unwrap();
    assert_eq!(in_time(next.result()).await.unwrap(), 2);
    assert_eq!(
        entered.take(),
        [(2, 2, false)],
        "the cancelled turn is not entered again"
    );
    let again = engine
        .start(CHAT, "a", &1)
        .input_id(first.as_str())
        .await
        .unwrap();
    assert_cancelled(again.result().await, "this one not");
}
