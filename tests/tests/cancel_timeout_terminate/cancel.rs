//! `engine.cancel`: on record before anybody acts on it, heard by a running handler, final for a task that waits.

use crate::waits::{TASK, Waiting, Waits};
use crate::{NEVER, NO_GRACE, Stage, assert_about, in_time, known, on, opened, secs};
use outlive::{
    ControlError, Ctx, Ended, Engine, HandlerError, Outcome, Reply, ResultError, RetryPolicy,
    StartError, Status, TaskDef,
};
use outlive_storage::MemStore;
use outlive_tests::gate::{Gate, Notes};
use std::sync::Arc;

const ONE: TaskDef<u32, u32> = TaskDef::new("one").retry(
    RetryPolicy::fixed()
        .attempts(5)
        .initial(secs(1))
        .jitter(false),
);
const CHAT: TaskDef<u32, u32> = TaskDef::new("chat").steerable(9);

fn cancelled_for(reason: &str) -> Ended {
    Ended::Cancelled {
        reason: reason.to_owned(),
    }
}

#[track_caller]
fn assert_cancelled<T: std::fmt::Debug>(result: Result<T, ResultError>, because: &str) {
    match result {
        Err(ResultError::Cancelled { reason }) if &*reason == because => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_running_handler_hears_why_it_is_cancelled_and_may_agree() {
    let stage = Stage::new();
    let builder = stage.ending(Engine::in_memory(), ONE, |_| {
        Err::<u32, _>(HandlerError::cancelled())
    });
    let engine = opened(builder).await;
    let run = engine.start(ONE, "a", &1).await.unwrap();
    in_time(stage.gate.came(1)).await;
    assert_eq!(stage.told.len(), 0);
    engine.cancel("a", "not needed").await.unwrap();
    assert_cancelled(in_time(run.result()).await, "not needed");
    let told = stage.told.take();
    let causes = told[0]
        .causes
        .as_ref()
        .expect("the cause is there when the signal is");
    assert_eq!(causes.cancel_requested(), Some("not needed"));
    assert!(!causes.timed_out() && !causes.steered() && !causes.lease_lost());
    let task = known(engine.get("a").await);
    assert_eq!(task.ended, Some(cancelled_for("not needed")));
    assert_eq!((task.attempt, task.cancel_requested), (1, None));
}

#[tokio::test(start_paused = true)]
async fn a_cancel_is_on_record_until_the_handler_answers_it() {
    let stage = Stage::new();
    let engine = opened(stage.deaf(Engine::in_memory(), ONE)).await;
    engine.start(ONE, "a", &1).await.unwrap();
    in_time(stage.gate.came(1)).await;
    let before = known(engine.get("a").await);
    engine.cancel("a", "stop").await.unwrap();
    let task = known(engine.get("a").await);
    assert_eq!(task.cancel_requested.as_deref(), Some("stop"));
    assert_eq!(task.status, Status::InProgress);
    assert!(task.etag > before.etag, "it is a transition");
    assert_eq!(task.generation, before.generation, "and no claim");
    tokio::time::sleep(NEVER / 2).await;
    assert_eq!(
        stage.gone.count(),
        0,
        "without a grace of its own it takes as long as it likes"
    );
}

#[tokio::test(start_paused = true)]
async fn the_reply_of_a_cancelled_handler_counts() {
    let stage = Stage::new();
    let engine = opened(stage.ending(Engine::in_memory(), ONE, |_| Ok(7))).await;
    let run = engine.start(ONE, "a", &1).await.unwrap();
    in_time(stage.gate.came(1)).await;
    engine.cancel("a", "stop").await.unwrap();
    assert_eq!(in_time(run.result()).await.unwrap(), 7);
    let task = known(engine.get("a").await);
    assert_eq!(
        (task.ended, task.cancel_requested),
        (Some(Ended::Succeeded), None)
    );
}

#[tokio::test(start_paused = true)]
async fn an_error_of_a_cancelled_handler_is_the_cancel_and_is_not_retried() {
    type End = fn() -> HandlerError;
    let ends: [End; 3] = [
        || "broken off".into(),
        || HandlerError::terminal("broken off"),
        || {
            if true {
                std::panic::resume_unwind(Box::new("broken off"));
            }
            HandlerError::cancelled()
        },
    ];
    for end in ends {
        let stage = Stage::new();
        let builder = stage.ending(Engine::in_memory(), ONE, move |_| Err::<u32, _>(end()));
        let engine = opened(builder).await;
        let run = engine.start(ONE, "a", &1).await.unwrap();
        in_time(stage.gate.came(1)).await;
        engine.cancel("a", "stop").await.unwrap();
        assert_cancelled(in_time(run.result()).await, "stop");
        tokio::time::sleep(secs(100)).await;
        assert_eq!(stage.told.len(), 1, "entered once");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_handler_that_suspends_ends_its_task_with_its_output() {
    let stage = Stage::new();
    let builder = stage.ending(Engine::in_memory(), ONE, |_| Ok(Reply::suspend(7, "more")));
    let engine = opened(builder).await;
    let run = engine.start(ONE, "a", &1).await.unwrap();
    in_time(stage.gate.came(1)).await;
    engine.cancel("a", "stop").await.unwrap();
    assert_cancelled(in_time(run.result()).await, "stop");
    let task = known(engine.get("a").await);
    assert_eq!(task.ended, Some(cancelled_for("stop")));
    assert_eq!(task.output, Some(serde_json::json!(7)));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_waits_ends_at_once_and_rests() {
    for waits in Waits::ALL {
        let waiting = Waiting::set_up(waits).await;
        waiting.engine.cancel("a", "not needed").await.unwrap();
        let task = known(waiting.engine.get("a").await);
        assert_eq!(task.ended, Some(cancelled_for("not needed")), "{waits:?}");
        assert_eq!((task.wait, task.due_at_us), (None, None));
        let result = in_time(waiting.run.result()).await;
        if waits.is_between_turns() {
            assert_eq!(result.unwrap(), 2, "its turn had ended well");
        } else {
            assert_cancelled(result, "not needed");
        }
        let more = waiting.engine.start(TASK, "a", &9).await;
        assert!(matches!(
            more,
            Err(StartError::Conflict {
                status: Status::Completed,
                ..
            })
        ));
        waiting.assert_rests().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_queued_learns_that_the_task_ended() {
    type End = fn(Ctx) -> Result<u32, HandlerError>;
    let ends: [End; 2] = [|_| Ok(7), |_| Err(HandlerError::cancelled())];
    for end in ends {
        let (store, gate) = (Arc::new(MemStore::new()), Gate::closed());
        let held = gate.clone();
        let builder = on(&store).task(CHAT, move |ctx: Ctx, _| {
            let gate = held.clone();
            async move {
                gate.pass().await;
                end(ctx)
            }
        });
        let engine = opened(builder).await;
        engine.start(CHAT, "a", &1).await.unwrap();
        in_time(gate.came(1)).await;
        let mut queued = Vec::new();
        for n in 2..5 {
            queued.push(engine.start(CHAT, "a", &n).await.unwrap());
        }
        engine.cancel("a", "stop").await.unwrap();
        gate.let_through(9);
        for run in &queued {
            let ended = in_time(run.result()).await;
            assert!(
                matches!(ended, Err(ResultError::Conflict { .. })),
                "{ended:?}"
            );
        }
        let task = known(engine.get("a").await);
        assert_eq!(
            (task.status, task.inputs_waiting, task.turn),
            (Status::Completed, 0, 1)
        );
        let asked_again = engine
            .start(CHAT, "a", &2)
            .input_id(queued[0].input_id().as_str())
            .await;
        let again = asked_again.unwrap().result().await;
        assert!(
            matches!(again, Err(ResultError::Conflict { .. })),
            "its receipt says so: {again:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_cancel_changes_nothing() {
    const SLOW: TaskDef<u32, u32> = TaskDef::new("slow").cancel_grace(secs(100));
    let stage = Stage::new();
    let engine = opened(stage.deaf(Engine::in_memory(), SLOW)).await;
    let run = engine.start(SLOW, "a", &1).await.unwrap();
    in_time(stage.gate.came(1)).await;
    engine.cancel("a", "first").await.unwrap();
    let once = known(engine.get("a").await);
    tokio::time::sleep(secs(60)).await;
    engine.cancel("a", "second").await.unwrap();
    run.cancel("third").await.unwrap();
    assert_eq!(known(engine.get("a").await), once);
    let began = tokio::time::Instant::now();
    assert_cancelled(in_time(run.result()).await, "first");
    assert_about(began.elapsed(), secs(40));
    let causes = stage.told.take().remove(0).causes.unwrap();
    assert_eq!(causes.cancel_requested(), Some("first"));
}

#[tokio::test(start_paused = true)]
async fn a_cancel_that_does_not_fit_is_refused_and_writes_nothing() {
    let stage = Stage::new();
    let engine = opened(stage.ending(Engine::in_memory(), ONE, |_| Ok(7))).await;
    let run = engine.start(ONE, "a", &1).await.unwrap();
    in_time(stage.gate.came(1)).await;
    let task = known(engine.get("a").await);
    let wrong = engine.cancel("a", "stop").if_etag(task.etag + 1).await;
    let Err(ControlError::PreconditionFailed { etag, .. }) = wrong else {
        panic!("{wrong:?}");
    };
    assert_eq!(etag, Some(task.etag));
    assert_eq!(known(engine.get("a").await), task);
    engine.cancel("a", "stop").if_etag(task.etag).await.unwrap();
    in_time(run.result()).await.unwrap();
    let ended = known(engine.get("a").await);
    let late = engine.cancel("a", "stop").await;
    assert!(matches!(
        late,
        Err(ControlError::Conflict {
            status: Status::Completed,
            ..
        })
    ));
    assert_eq!(known(engine.get("a").await), ended);
    let unknown = engine.cancel("b", "stop").await;
    assert!(matches!(unknown, Err(ControlError::NotFound(_))));
    assert!(engine.get("b").await.unwrap().is_none());
    assert!(matches!(
        engine.cancel("", "stop").await,
        Err(ControlError::InvalidId(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn a_reason_is_kept_to_1024_bytes() {
    let waiting = Waiting::set_up(Waits::Delayed).await;
    waiting.engine.cancel("a", "é".repeat(1000)).await.unwrap();
    let task = known(waiting.engine.get("a").await);
    assert_eq!(task.ended, Some(cancelled_for(&"é".repeat(512))));
}

#[tokio::test(start_paused = true)]
async fn a_handler_may_cancel_its_task_although_nobody_asked() {
    let builder = Engine::in_memory().task(ONE, |_: Ctx, _| async {
        Err::<u32, _>(HandlerError::cancelled())
    });
    let engine = opened(builder).await;
    let run = engine.start(ONE, "a", &1).await.unwrap();
    let ended = in_time(run.result()).await;
    assert!(
        matches!(ended, Err(ResultError::Cancelled { .. })),
        "{ended:?}"
    );
    let task = known(engine.get("a").await);
    assert_eq!(
        (task.status, task.attempt),
        (Status::Completed, 1),
        "and is not retried"
    );
}

#[tokio::test(start_paused = true)]
async fn a_steered_handler_that_gives_up_gives_way_to_the_next_input() {
    let stage = Stage::new();
    let told = stage.clone();
    let builder = Engine::in_memory().task(CHAT, move |ctx: Ctx, n| {
        let stage = told.clone();
        async move {
            if n > 1 {
                return Ok(n);
            }
            stage.play(&ctx, async {}).await;
            Err(HandlerError::cancelled())
        }
    });
    let engine = opened(builder).await;
    let first = engine.start(CHAT, "a", &1).await.unwrap();
    in_time(stage.gate.came(1)).await;
    let second = engine.start(CHAT, "a", &2).await.unwrap();
    assert_eq!(in_time(second.result()).await.unwrap(), 2);
    let ended = first.result().await;
    assert!(
        matches!(ended, Err(ResultError::Cancelled { .. })),
        "{ended:?}"
    );
    let causes = stage.told.take().remove(0).causes.unwrap();
    assert!(causes.steered() && causes.cancel_requested().is_none());
}

#[tokio::test(start_paused = true)]
async fn with_a_grace_a_cancel_is_enforced() {
    const FORCED: TaskDef<u32, u32> = TaskDef::new("forced").cancel_grace(secs(4));
    let stage = Stage::new();
    let engine = opened(stage.deaf(Engine::in_memory(), FORCED)).await;
    let run = engine.start(FORCED, "a", &1).await.unwrap();
    in_time(stage.gate.came(1)).await;
    tokio::time::sleep(secs(50)).await;
    let before = known(engine.get("a").await);
    engine.cancel("a", "stop").await.unwrap();
    let began = tokio::time::Instant::now();
    assert_cancelled(in_time(run.result()).await, "stop");
    assert_about(began.elapsed(), secs(4));
    tokio::task::yield_now().await;
    assert_eq!(stage.gone.count(), 1);
    let task = known(engine.get("a").await);
    assert_eq!(
        task.ended,
        Some(cancelled_for("stop")),
        "it was cancelled, not terminated"
    );
    assert!(
        task.generation > before.generation,
        "what it still writes is refused"
    );
}

#[tokio::test(start_paused = true)]
async fn a_reply_within_the_grace_of_a_cancel_counts() {
    const FORCED: TaskDef<u32, u32> = TaskDef::new("forced").cancel_grace(secs(4));
    let builder = Engine::in_memory().task(FORCED, |ctx: Ctx, n| async move {
        ctx.cancelled().await;
        tokio::time::sleep(secs(3)).await;
        Ok::<_, HandlerError>(n)
    });
    let engine = opened(builder).await;
    let run = engine.start(FORCED, "a", &7).await.unwrap();
    engine.cancel("a", "stop").await.unwrap();
    assert_eq!(in_time(run.result()).await.unwrap(), 7);
    tokio::time::sleep(secs(100)).await;
    assert_eq!(known(engine.get("a").await).ended, Some(Ended::Succeeded));
}

#[tokio::test(start_paused = true)]
async fn after_a_stop_a_cancelled_turn_is_not_entered_again() {
    let (store, stage, entered) = (Arc::new(MemStore::new()), Stage::new(), Notes::default());
    let engine = opened(stage.deaf(on(&store), ONE)).await;
    engine.start(ONE, "a", &1).await.unwrap();
    in_time(stage.gate.came(1)).await;
    engine.cancel("a", "stop").await.unwrap();
    engine.shutdown(NO_GRACE).await;

    let notes = entered.clone();
    let builder = on(&store).task(ONE, move |_: Ctx, n| {
        notes.add(n);
        async move { Ok::<_, HandlerError>(n) }
    });
    let engine = opened(builder).await;
    let run = engine.attach(ONE, "a").await.unwrap();
    assert_cancelled(in_time(run.result()).await, "stop");
    assert_eq!(
        known(engine.get("a").await).ended,
        Some(cancelled_for("stop"))
    );
    tokio::time::sleep(secs(100)).await;
    assert!(entered.is_empty());
}

#[tokio::test(start_paused = true)]
async fn after_a_stop_a_program_without_the_handler_ends_a_cancelled_turn_as_well() {
    let (store, stage) = (Arc::new(MemStore::new()), Stage::new());
    let engine = opened(stage.deaf(on(&store), ONE)).await;
    engine.start(ONE, "a", &1).await.unwrap();
    in_time(stage.gate.came(1)).await;
    engine.cancel("a", "stop").await.unwrap();
    engine.shutdown(NO_GRACE).await;

    let engine = opened(on(&store)).await;
    let task = known(engine.get("a").await);
    assert_eq!(task.ended, Some(cancelled_for("stop")));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_task_may_be_retried_with_clear_causes() {
    let (seen, gate) = (Notes::default(), Gate::closed());
    let (notes, held) = (seen.clone(), gate.clone());
    let builder = Engine::in_memory().task(ONE, move |ctx: Ctx, n| {
        let (notes, gate) = (notes.clone(), held.clone());
        async move {
            gate.pass().await;
            notes.add((ctx.run(), ctx.attempt(), ctx.cause().is_some()));
            match ctx.cause() {
                Some(_) => Err(HandlerError::cancelled()),
                None => Ok(n),
            }
        }
    });
    let engine = opened(builder).await;
    let run = engine.start(ONE, "a", &7).await.unwrap();
    in_time(gate.came(1)).await;
    engine.cancel("a", "stop").await.unwrap();
    gate.let_through(1);
    assert_cancelled(in_time(run.result()).await, "stop");
    let again = engine.retry(ONE, "a").await.unwrap();
    gate.let_through(1);
    let outcome = in_time(again.outcome()).await.unwrap();
    assert!(matches!(outcome, Outcome::Completed { output: 7, .. }));
    assert_eq!(seen.take(), [(1, 1, true), (2, 1, false)]);
    let history = engine.history("a").await.unwrap();
    assert_eq!(history.len(), 1);
    assert_eq!(history[0].ended, cancelled_for("stop"));
}
