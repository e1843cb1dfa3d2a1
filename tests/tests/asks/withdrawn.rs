//! A question is withdrawn with the turn that asked, however that ends.

use super::{DAY, ID, NO_GRACE, TASK, World, asks, open_keys, task, until, until_it_asks};
use outlive::{AnswerError, Ask, Ctx, Engine, HandlerError, OnConflict, Reply, Status, TaskDef};
use std::time::Duration;

/// Asks, and goes on without waiting for the answer. Its input says how it ends.
async fn asks_in_vain(world: World, ctx: Ctx, input: u32) -> Result<String, HandlerError> {
    let gate = world.gate.clone();
    // Beside a step a question is put down while the turn runs.
    let step = ctx.step("step", async || {
        gate.pass().await;
        Ok::<_, std::io::Error>(())
    });
    let told = ctx.ask::<String>("may", Ask::new("may I?"));
    tokio::select! {
        told = told => return Ok(told?),
        stepped = step => stepped?,
    }
    match input {
        0 => Ok("done".to_owned()),
        1 => Err(HandlerError::terminal("failed")),
        2 => Err(HandlerError::cancelled()),
        _ => std::future::pending().await,
    }
}

async fn nothing_is_asked(engine: &Engine) {
    assert_eq!(open_keys(engine).await, [""; 0]);
    assert_eq!(engine.ask(ID, "may").await.unwrap(), None);
    let told = engine.answer(ID, "may", &"yes").await;
    assert!(
        matches!(told, Err(AnswerError::NotAsked { .. })),
        "{told:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn every_end_of_a_handler_withdraws_what_it_asked() {
    for input in 0..3 {
        let world = World::new();
        let engine = world.open(asks_in_vain).await;
        engine.start(TASK, ID, &input).await.unwrap();
        outlive_tests::gate::until(async || open_keys(&engine).await == ["may"]).await;
        world.gate.let_through(1);
        until(&engine, |task| task.status == Status::Completed).await;
        nothing_is_asked(&engine).await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_end_from_outside_withdraws_what_was_asked() {
    for parked in [false, true] {
        for end in 0..4 {
            let world = World::new();
            let limited = TASK.timeout(DAY);
            let engine = match parked {
                true => world.open_as(limited, asks).await,
                false => world.open_as(limited, asks_in_vain).await,
            };
            engine.start(limited, ID, &9).await.unwrap();
            outlive_tests::gate::until(async || open_keys(&engine).await == ["may"]).await;
            match end {
                0 => engine.cancel(ID, "enough").await.unwrap(),
                1 => engine.terminate(ID, "enough").await.unwrap(),
                2 => assert!(engine.delete(ID).force().await.unwrap()),
                // A time-out ends what runs; what waits for people has time.
                _ if parked => continue,
                _ => world.gate.let_through(1),
            }
            if !parked {
                world.gate.let_through(1);
                tokio::time::sleep(DAY + Duration::from_secs(60)).await;
            }
            if end == 2 {
                assert_eq!(engine.get(ID).await.unwrap(), None);
                assert_eq!(open_keys(&engine).await, [""; 0]);
                continue;
            }
            if end == 0 && !parked {
                // It does not look at its signal: the time-out ends it.
                assert!(task(&engine).await.ended.is_some());
            }
            until(&engine, |task| task.status == Status::Completed).await;
            nothing_is_asked(&engine).await;
        }
    }
}

/// The handler of a chain suspends its task: the turn is over, and so are its questions.
#[tokio::test(start_paused = true)]
async fn a_turn_that_suspends_its_task_withdraws_what_it_asked() {
    const CHAT: TaskDef<u32, String> = TaskDef::new("chat");
    let chat = |ctx: Ctx, _: u32| async move {
        let soon = Ask::new("may I?").deadline(Duration::from_secs(20));
        let told = ctx.ask::<String>("may", soon);
        tokio::select! {
            told = told => return Ok(told?.into()),
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
        Ok::<Reply<String>, HandlerError>(Reply::suspend("later".to_owned(), "more"))
    };
    let engine = Engine::in_memory().task(CHAT, chat).open().await.unwrap();
    let run = engine.start(CHAT, ID, &0).await.unwrap();
    outlive_tests::gate::until(async || open_keys(&engine).await == ["may"]).await;
    assert_eq!(run.outcome().await.unwrap().output(), "later");
    nothing_is_asked(&engine).await;
    engine.start(CHAT, ID, &1).await.unwrap();
    outlive_tests::gate::until(async || open_keys(&engine).await == ["may"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_attempt_leaves_its_question_open() {
    let world = World::new();
    let engine = world
        .open(async |world: World, ctx: Ctx, input| {
            let attempt = ctx.attempt();
            world.ran.add(format!("attempt {attempt}"));
            let told = ctx.ask::<String>("may", Ask::new("may I?"));
            if input == 0 && attempt == 1 && world.ran.len() == 2 {
                drop(told);
                return Err("once more".into());
            }
            Ok(told.await?)
        })
        .await;
    let run = engine.start(TASK, ID, &0).await.unwrap();
    until_it_asks(&engine).await;
    let asked = engine.ask(ID, "may").await.unwrap();
    engine.shutdown(NO_GRACE).await;
    drop(run);
    let engine = world.builder();
    drop(engine);
    let second = world.clone();
    let engine = world
        .open_as(TASK.steerable(1), move |_, ctx: Ctx, input| {
            let world = second.clone();
            async move {
                world.ran.add(format!("attempt {}", ctx.attempt()));
                if world.ran.len() == 2 {
                    return Err::<String, HandlerError>("once more".into());
                }
                let _ = input;
                Ok(ctx.ask::<String>("may", Ask::new("may I?")).await?)
            }
        })
        .await;
    // An input that interrupts enters it; it fails, and its second attempt finds the question.
    engine.start(TASK.steerable(1), ID, &1).await.unwrap();
    outlive_tests::gate::until(async || world.ran.len() == 3).await;
    until_it_asks(&engine).await;
    assert_eq!(engine.ask(ID, "may").await.unwrap(), asked);
}

#[tokio::test(start_paused = true)]
async fn a_retry_asks_anew_and_a_restart_as_well() {
    let world = World::new();
    let engine = world.open(asks).await;
    engine.start(TASK, ID, &0).await.unwrap();
    until_it_asks(&engine).await;
    for from_start in [false, true] {
        tokio::time::sleep(DAY).await;
        let before = engine.ask(ID, "may").await.unwrap().unwrap();
        engine.cancel(ID, "enough").await.unwrap();
        nothing_is_asked(&engine).await;
        let again = engine.retry(TASK, ID);
        match from_start {
            true => again.from_start().await.unwrap(),
            false => again.await.unwrap(),
        };
        until_it_asks(&engine).await;
        let after = engine.ask(ID, "may").await.unwrap().unwrap();
        assert!(after.asked_at_us > before.asked_at_us);
        assert_eq!(after.run, before.run + 1);
    }
    engine.cancel(ID, "enough").await.unwrap();
    let run = engine.start(TASK, ID, &1).on_conflict(OnConflict::Restart);
    let run = run.await.unwrap();
    until_it_asks(&engine).await;
    engine.answer(ID, "may", &"yes").await.unwrap();
    assert_eq!(run.result().await.unwrap(), "told yes");
}

/// What was answered before the end is not asked again by a retry.
#[tokio::test(start_paused = true)]
async fn a_retry_keeps_the_answers_there_are() {
    let world = World::new();
    let engine = world
        .open(async |_: World, ctx: Ctx, _| {
            let told: String = ctx.ask("may", Ask::new("may I?")).await?;
            match ctx.run() {
                1 => Err(HandlerError::terminal("failed")),
                _ => Ok(told),
            }
        })
        .await;
    engine.start(TASK, ID, &0).await.unwrap();
    until_it_asks(&engine).await;
    engine.answer(ID, "may", &"yes").await.unwrap();
    until(&engine, |task| task.ended.is_some()).await;
    let again = engine.retry(TASK, ID).await.unwrap();
    assert_eq!(again.result().await.unwrap(), "yes");
}
