//! `terminate`: at once, without the handler, whose further doings are refused.

use crate::waits::{TASK, Waiting, Waits};
use crate::{NO_GRACE, Stage, in_time, known, on, opened, secs};
use outlive::{
    Builder, ControlError, Ctx, Ended, Engine, FlushError, HandlerError, ResultError, StartError,
    Status, TaskDef,
};
use outlive_storage::MemStore;
use outlive_tests::gate::{Gate, Notes};
use std::sync::Arc;

const ONE: TaskDef<u32, u32> = TaskDef::new("one");
const CHAT: TaskDef<u32, u32> = TaskDef::new("chat").steerable(9);

#[track_caller]
fn assert_terminated(result: Result<u32, ResultError>, because: &str) {
    match result {
        Err(ResultError::Terminated {
            reason,
            timed_out: false,
        }) if &*reason == because => {}
        other => panic!("{other:?}"),
    }
}

fn terminated_for(reason: &str) -> Ended {
    Ended::Terminated {
        reason: reason.to_owned(),
        timed_out: false,
    }
}

#[tokio::test(start_paused = true)]
async fn a_running_handler_is_dropped_at_once_and_never_entered_again() {
    let (store, stage) = (Arc::new(MemStore::new()), Stage::new());
    let engine = opened(stage.deaf(on(&store), ONE)).await;
    let run = engine.start(ONE, "a", &1).await.unwrap();
    in_time(stage.gate.came(1)).await;
    let before = known(engine.get("a").await);
    let began = tokio::time::Instant::now();
    engine.terminate("a", "gone mad").await.unwrap();
    assert_terminated(in_time(run.result()).await, "gone mad");
    tokio::task::yield_now().await;
    assert_eq!(
        (stage.gone.count(), stage.told.len()),
        (1, 0),
        "without a word"
    );
    assert_eq!(began.elapsed(), secs(0));
    let task = known(engine.get("a").await);
    assert_eq!(task.ended, Some(terminated_for("gone mad")));
    assert!(
        task.generation > before.generation,
        "a generation that nobody holds"
    );
    engine.shutdown(NO_GRACE).await;

    let engine = opened(stage.deaf(on(&store), ONE)).await;
    tokio::time::sleep(secs(100)).await;
    assert_eq!(stage.gate.uncounted(), 0, "it is not recovered");
    assert_eq!(known(engine.get("a").await), task);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_waits_ends_at_once_and_rests() {
    for waits in Waits::ALL {
        let waiting = Waiting::set_up(waits).await;
        waiting.engine.terminate("a", "gone mad").await.unwrap();
        let task = known(waiting.engine.get("a").await);
        assert_eq!(task.ended, Some(terminated_for("gone mad")), "{waits:?}");
        let result = in_time(waiting.run.result()).await;
        if waits.is_between_turns() {
            assert_eq!(result.unwrap(), 2, "its turn had ended well");
        } else {
            assert_terminated(result, "gone mad");
        }
        let more = waiting.engine.start(TASK, "a", &9).await;
        assert!(matches!(more, Err(StartError::Conflict { .. })));
        waiting.assert_rests().await;
    }
}

/// A handler whose context outlives it: what it tried afterwards is noted.
fn zombie(builder: Builder, def: TaskDef<u32, u32>, gate: &Gate, notes: &Notes<Tried>) -> Builder {
    let (gate, notes) = (gate.clone(), notes.clone());
    builder.task(def, move |ctx: Ctx, _| {
        let (gate, notes) = (gate.clone(), notes.clone());
        async move {
            ctx.metadata().set("stage", "before")?;
            ctx.flush_metadata().await?;
            let zombie = ctx.clone();
            tokio::spawn(async move {
                gate.pass().await;
                notes.add(Tried::by(&zombie).await);
            });
            std::future::pending::<Result<u32, HandlerError>>().await
        }
    })
}

#[derive(Debug)]
struct Tried {
    lease_lost: bool,
    signalled: bool,
    flushed: Result<(), FlushError>,
}

impl Tried {
    async fn by(ctx: &Ctx) -> Tried {
        ctx.metadata().set("stage", "after").unwrap();
        let mut cancelled = std::pin::pin!(ctx.cancelled());
        let signalled = std::future::poll_fn(|context| {
            let polled = cancelled.as_mut().poll(context);
            std::task::Poll::Ready(polled.is_ready())
        });
        Tried {
            lease_lost: ctx.cause().is_some_and(|causes| causes.lease_lost()),
            signalled: signalled.await,
            flushed: ctx.flush_metadata().await,
        }
    }

    #[track_caller]
    fn assert_refused(self) {
        assert!(self.lease_lost && self.signalled, "{self:?}");
        assert!(
            matches!(self.flushed, Err(FlushError::TurnOver)),
            "{self:?}"
        );
    }
}

/// Waits until a zombie has tried what it could.
async fn tried(gate: &Gate, notes: &Notes<Tried>) -> Tried {
    in_time(gate.came(1)).await;
    gate.let_through(1);
    notes.some().await.remove(0)
}

#[tokio::test(start_paused = true)]
async fn what_a_terminated_turn_still_does_is_refused() {
    let (gate, notes) = (Gate::closed(), Notes::default());
    let engine = opened(zombie(Engine::in_memory(), ONE, &gate, &notes)).await;
    engine.start(ONE, "a", &1).await.unwrap();
    in_time(gate.came(1)).await;
    gate.arrive();
    engine.terminate("a", "gone mad").await.unwrap();
    let task = known(engine.get("a").await);
    tried(&gate, &notes).await.assert_refused();
    tokio::time::sleep(secs(10)).await;
    let after = known(engine.get("a").await);
    assert_eq!(after, task);
    assert_eq!(after.metadata["default"]["stage"], "before");
}

#[tokio::test(start_paused = true)]
async fn what_a_terminated_turn_still_does_is_refused_although_the_task_runs_again() {
    let (gate, notes) = (Gate::closed(), Notes::default());
    let engine = opened(zombie(Engine::in_memory(), ONE, &gate, &notes)).await;
    engine.start(ONE, "a", &1).await.unwrap();
    in_time(gate.came(1)).await;
    engine.terminate("a", "gone mad").await.unwrap();
    engine.retry(ONE, "a").await.unwrap();
    // The zombie of the second run waits at the same gate, behind that of the first.
    in_time(gate.came(1)).await;
    gate.arrive();
    tried(&gate, &notes).await.assert_refused();
    let task = known(engine.get("a").await);
    assert_eq!((task.status, task.run), (Status::InProgress, 2));
    assert_eq!(task.metadata["default"]["stage"], "before");
}

#[tokio::test(start_paused = true)]
async fn what_was_queued_learns_that_the_task_ended() {
    let (store, stage) = (Arc::new(MemStore::new()), Stage::new());
    let engine = opened(stage.deaf(on(&store), CHAT)).await;
    let run = engine.start(CHAT, "a", &1).await.unwrap();
    in_time(stage.gate.came(1)).await;
    let queued = engine.start(CHAT, "a", &2).await.unwrap();
    engine.terminate("a", "gone mad").await.unwrap();
    let told = in_time(queued.result()).await;
    assert!(
        matches!(told, Err(ResultError::Conflict { .. })),
        "{told:?}"
    );
    assert_terminated(run.result().await, "gone mad");
    assert_eq!(known(engine.get("a").await).inputs_waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn a_handle_terminates_for_its_own_input_alone() {
    let stage = Stage::new();
    let engine = opened(stage.deaf(Engine::in_memory(), CHAT)).await;
    let run = engine.start(CHAT, "a", &1).await.unwrap();
    in_time(stage.gate.came(1)).await;
    let queued = engine.start(CHAT, "a", &2).await.unwrap();
    queued.terminate("changed my mind").await.unwrap();
    let told = in_time(queued.result()).await;
    assert!(
        matches!(told, Err(ResultError::Cancelled { .. })),
        "{told:?}"
    );
    assert_eq!(known(engine.get("a").await).status, Status::InProgress);
    run.terminate("gone mad").await.unwrap();
    assert_terminated(in_time(run.result()).await, "gone mad");
    assert_eq!(stage.gone.count(), 1, "its future is dropped");
    let task = known(engine.get("a").await);
    assert_eq!(task.status, Status::Suspended, "it takes the next input");
    let next = engine.start(CHAT, "a", &3).await.unwrap();
    in_time(stage.gate.came(1)).await;
    let late = run.terminate("gone mad").await;
    assert!(matches!(late, Err(ControlError::Conflict { .. })));
    assert_eq!(known(engine.get("a").await).status, Status::InProgress);
    next.terminate("enough").await.unwrap();
    assert_terminated(in_time(next.result()).await, "enough");
}

#[tokio::test(start_paused = true)]
async fn a_termination_that_does_not_fit_is_refused_and_writes_nothing() {
    let stage = Stage::new();
    let engine = opened(stage.ending(Engine::in_memory(), ONE, |_| Ok(7))).await;
    let run = engine.start(ONE, "a", &1).await.unwrap();
    in_time(stage.gate.came(1)).await;
    let task = known(engine.get("a").await);
    let wrong = engine.terminate("a", "stop").if_etag(task.etag + 1).await;
    assert!(matches!(
        wrong,
        Err(ControlError::PreconditionFailed { .. })
    ));
    assert_eq!(known(engine.get("a").await), task);
    engine.cancel("a", "stop").await.unwrap();
    in_time(run.result()).await.unwrap();
    let ended = known(engine.get("a").await);
    let late = engine.terminate("a", "stop").await;
    assert!(matches!(
        late,
        Err(ControlError::Conflict {
            status: Status::Completed,
            ..
        })
    ));
    let late = run.terminate("stop").await;
    assert!(matches!(
        late,
        Err(ControlError::Conflict {
            status: Status::Completed,
            ..
        })
    ));
    assert_eq!(known(engine.get("a").await), ended);
    let unknown = engine.terminate("b", "stop").await;
    assert!(matches!(unknown, Err(ControlError::NotFound(_))));
    assert!(matches!(
        engine.terminate("/", "stop").await,
        Err(ControlError::InvalidId(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn a_slot_is_free_as_soon_as_its_handler_is_dropped() {
    let stage = Stage::new();
    let engine = opened(stage.deaf(Engine::in_memory(), ONE).max_running(1)).await;
    engine.start(ONE, "a", &1).await.unwrap();
    in_time(stage.gate.came(1)).await;
    engine.start(ONE, "b", &1).await.unwrap();
    engine.terminate("a", "gone mad").await.unwrap();
    in_time(stage.gate.came(1)).await;
    assert_eq!(known(engine.get("b").await).status, Status::InProgress);
}
