//! Deadlines: from then on no answer counts, and the default does.

use super::{
    DAY, ID, NO_GRACE, TASK, World, asks_for_a_day, is_asking, open_keys, task, until,
    until_it_asks,
};
use outlive::{AnswerError, Ask, Ctx, EventKind, HandlerError, Release, Status, WaitsFor};
use std::time::Duration;

/// Asks for a day, else takes it for a no.
async fn no_by_default(world: World, ctx: Ctx, _: u32) -> Result<String, HandlerError> {
    world.ran.add(format!("{:?}", ctx.entry()));
    let ask = Ask::new("may I?").deadline(DAY).default_answer("no");
    let may: String = ctx.ask("may", ask).await?;
    Ok(format!("told {may}"))
}

#[tokio::test(start_paused = true)]
async fn the_default_counts_when_nobody_answers_in_time() {
    let world = World::new();
    let engine = world.open(no_by_default).await;
    let run = engine.start(TASK, ID, &0).await.unwrap();
    let seen = until_it_asks(&engine).await;
    let why = engine.explain(ID).await.unwrap().unwrap();
    assert!(
        matches!(
            why.waits_for,
            WaitsFor::Answer {
                until_us: Some(_),
                ..
            }
        ),
        "{why:?}"
    );
    assert_eq!(why.release, Release::Answer);
    tokio::time::sleep(DAY - Duration::from_secs(60)).await;
    assert_eq!(task(&engine).await, seen, "not before its time");
    tokio::time::sleep(Duration::from_secs(62)).await;
    assert_eq!(run.result().await.unwrap(), "told no");
    assert_eq!(world.ran.take(), ["Fresh", "Resumed"]);
    let told = engine.answer(ID, "may", &"yes").await;
    assert!(matches!(told, Err(AnswerError::Expired { .. })), "{told:?}");
    let steps = engine.steps(ID).await.unwrap();
    assert_eq!(steps[0].result.as_deref(), Some("\"no\""));
}

#[tokio::test(start_paused = true)]
async fn a_question_without_a_default_expires_for_good() {
    let world = World::new();
    let engine = world
        .open(async |world: World, ctx: Ctx, input| {
            let told = asks_for_a_day(world, ctx.clone(), input).await?;
            // The second attempt finds the expiry, and not another day.
            match ctx.attempt() {
                1 => Err("once more".into()),
                _ => Ok(told),
            }
        })
        .await;
    let run = engine.start(TASK, ID, &0).await.unwrap();
    until_it_asks(&engine).await;
    tokio::time::sleep(DAY + Duration::from_secs(10)).await;
    assert_eq!(run.result().await.unwrap(), "told nothing");
    assert_eq!(world.ran.len(), 3);
    assert_eq!(engine.steps(ID).await.unwrap()[0].result, None);
    let timeline = task(&engine).await.timeline;
    let expired = timeline
        .iter()
        .filter(|line| line.what == EventKind::AskExpired);
    assert_eq!(expired.count(), 1);
}

/// Nobody can enter the task, so it stands as it stood; the answer is too late all the same.
#[tokio::test(start_paused = true)]
async fn an_answer_after_the_deadline_is_refused_before_anybody_has_looked() {
    let world = World::new();
    let engine = world.open(no_by_default).await;
    engine.start(TASK, ID, &0).await.unwrap();
    until_it_asks(&engine).await;
    engine.shutdown(NO_GRACE).await;
    tokio::time::sleep(DAY + Duration::from_secs(1)).await;
    let inbox = world.builder().open().await.unwrap();
    assert!(is_asking(&task(&inbox).await));
    assert_eq!(open_keys(&inbox).await, [""; 0], "nobody can answer it");
    assert_eq!(inbox.ask(ID, "may").await.unwrap(), None);
    let told = inbox.answer(ID, "may", &"yes").await;
    assert!(matches!(told, Err(AnswerError::Expired { .. })), "{told:?}");
    inbox.shutdown(NO_GRACE).await;
    let engine = world.open(no_by_default).await;
    let run = engine.attach(TASK, ID).await.unwrap();
    assert_eq!(run.result().await.unwrap(), "told no");
}

#[tokio::test(start_paused = true)]
async fn a_near_deadline_is_waited_for_in_memory_and_listed() {
    let world = World::new();
    let engine = world
        .open(async |world: World, ctx: Ctx, _| {
            world.ran.add(format!("{:?}", ctx.entry()));
            let soon = Ask::new("quick!").deadline(Duration::from_secs(20));
            let told: String = ctx.ask("quick", soon.default_answer("too slow")).await?;
            let soon = Ask::new("and now?").deadline(Duration::from_secs(20));
            let again: String = ctx.ask("again", soon.default_answer("too slow")).await?;
            Ok(format!("{told}, {again}"))
        })
        .await;
    let run = engine.start(TASK, ID, &0).await.unwrap();
    outlive_tests::gate::until(async || open_keys(&engine).await == ["quick"]).await;
    assert_eq!(task(&engine).await.status, Status::InProgress);
    engine.answer(ID, "quick", &"here").await.unwrap();
    assert_eq!(run.result().await.unwrap(), "here, too slow");
    assert_eq!(world.ran.take(), ["Fresh"]);
}

/// Time spent waiting for people is not the turn's.
#[tokio::test(start_paused = true)]
async fn a_wait_for_an_answer_is_not_charged_to_the_time_out() {
    let world = World::new();
    let short = TASK.timeout(Duration::from_secs(60));
    let engine = world.open_as(short, super::asks).await;
    let run = engine.start(short, ID, &0).await.unwrap();
    until_it_asks(&engine).await;
    tokio::time::sleep(DAY).await;
    until(&engine, is_asking).await;
    engine.answer(ID, "may", &"yes").await.unwrap();
    assert_eq!(run.result().await.unwrap(), "told yes");
}
