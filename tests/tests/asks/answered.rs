//! The answer: taken once, recorded like a step, for the question that was seen.

use super::{
    DAY, ID, NO_GRACE, TASK, World, asks, asks_for_a_day, in_time, is_asking, open_asks, open_keys,
    task, until, until_it_asks,
};
use outlive::{
    Accepted, AnswerError, Ask, ControlError, Ctx, EventKind, HandlerError, OnConflict, Release,
    StartError, Status, ValueError, WaitReason, WaitsFor,
};
use serde_json::json;

#[tokio::test(start_paused = true)]
async fn a_question_waits_outside_of_memory_until_it_is_answered() {
    let world = World::new();
    let engine = world.open(asks).await;
    let run = engine.start(TASK, ID, &0).await.unwrap();
    let seen = until_it_asks(&engine).await;
    assert_eq!(seen.attempt, 0, "nobody failed");
    assert!(matches!(&seen.wait, Some(WaitReason::Answer { step, .. }) if &**step == "may"));
    let why = engine.explain(ID).await.unwrap().unwrap();
    let question = Some("may I?".to_owned());
    let step = "may".into();
    let until_us = None;
    assert_eq!(
        why.waits_for,
        WaitsFor::Answer {
            step,
            question,
            until_us
        }
    );
    assert_eq!(why.release, Release::Answer);
    let asked = open_asks(&engine).await.remove(0);
    assert_eq!((asked.id.as_str(), &*asked.key), (ID, "may"));
    assert_eq!((&*asked.name, asked.question), ("task", json!("may I?")));
    assert_eq!((asked.deadline_us, asked.run, asked.turn), (None, 1, 1));

    tokio::time::sleep(30 * DAY).await;
    assert!(is_asking(&task(&engine).await), "it waits for ever");
    engine.answer(ID, "may", &"yes").await.unwrap();
    assert_eq!(open_keys(&engine).await, [""; 0]);
    assert_eq!(run.result().await.unwrap(), "told yes");
    assert_eq!(world.ran.take(), ["Fresh", "Resumed"]);
    let steps = engine.steps(ID).await.unwrap();
    assert_eq!(steps[0].result.as_deref(), Some("\"yes\""));
    let what: Vec<_> = task(&engine)
        .await
        .timeline
        .iter()
        .map(|line| line.what)
        .collect();
    assert!(what.contains(&EventKind::Answered), "{what:?}");
}

#[tokio::test(start_paused = true)]
async fn a_question_is_answered_once() {
    let world = World::new();
    let engine = world.open(asks).await;
    let run = engine.start(TASK, ID, &0).await.unwrap();
    until_it_asks(&engine).await;
    let (one, other) = tokio::join!(
        engine.answer(ID, "may", &"yes").into_future(),
        engine.answer(ID, "may", &"no").into_future(),
    );
    one.unwrap();
    let told = other.unwrap_err();
    assert!(
        matches!(told, AnswerError::AlreadyAnswered { same: false, .. }),
        "{told:?}"
    );
    let told = engine.answer(ID, "may", &"yes").await.unwrap_err();
    assert!(
        matches!(told, AnswerError::AlreadyAnswered { same: true, .. }),
        "{told:?}"
    );
    assert_eq!(run.result().await.unwrap(), "told yes");
    let told = engine.answer(ID, "may", &"no").await.unwrap_err();
    assert!(
        matches!(told, AnswerError::AlreadyAnswered { same: false, .. }),
        "{told:?}"
    );
}

/// A person has seen one question and answers it, while the task asks another one by now.
#[tokio::test(start_paused = true)]
async fn an_answer_to_another_question_is_refused() {
    let world = World::new();
    let engine = world.open(asks).await;
    engine.start(TASK, ID, &0).await.unwrap();
    until_it_asks(&engine).await;
    let asked = open_asks(&engine).await.remove(0);
    let other = Ask::new("may I really?").digest();
    let told = engine.answer(ID, "may", &"yes").digest(&other).await;
    let Err(AnswerError::DigestMismatch { expected, .. }) = told else {
        panic!("{told:?}");
    };
    assert_eq!(expected, asked.digest);
    assert_eq!(expected, Ask::new("may I?").digest());
    assert_eq!(open_keys(&engine).await, ["may"]);
    engine
        .answer(ID, "may", &"yes")
        .digest(expected)
        .await
        .unwrap();
}

#[test]
fn a_digest_names_the_question_its_schema_and_its_action() {
    let plain = Ask::new("delete?").digest();
    let with_schema = Ask::new("delete?")
        .schema(json!({"type": "boolean"}))
        .digest();
    let about_a = Ask::new("delete?").action(&["a"]).digest();
    let about_b = Ask::new("delete?").action(&["b"]).digest();
    let all = [&plain, &with_schema, &about_a, &about_b];
    let different: std::collections::BTreeSet<_> = all.into_iter().collect();
    assert_eq!(different.len(), 4, "{all:?}");
    assert_eq!(plain, Ask::new("delete?").deadline(DAY).digest());
    // A map has one digest in every process, in whatever order it is.
    let entries = (0..20).map(|n| (format!("k{n}"), n));
    let map = |entries: Vec<_>| {
        Ask::new(
            entries
                .into_iter()
                .collect::<std::collections::HashMap<_, _>>(),
        )
    };
    let digests: std::collections::BTreeSet<_> = (0..5)
        .map(|_| map(entries.clone().collect()).digest())
        .collect();
    assert_eq!(digests.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_asked_is_not_answered() {
    let world = World::new();
    let engine = world
        .open(async |_: World, ctx: Ctx, _| {
            ctx.step("done", async || Ok::<_, std::io::Error>(1))
                .await?;
            Ok(ctx.ask::<String>("may", Ask::new("?")).await?)
        })
        .await;
    let told = engine.answer(ID, "may", &"yes").await;
    assert!(
        matches!(told, Err(AnswerError::Control(ControlError::NotFound(_)))),
        "{told:?}"
    );
    engine.start(TASK, ID, &0).await.unwrap();
    let seen = until_it_asks(&engine).await;
    for key in ["other", "done"] {
        let told = engine.answer(ID, key, &"yes").await;
        assert!(
            matches!(told, Err(AnswerError::NotAsked { .. })),
            "{told:?}"
        );
    }
    let stale = engine
        .answer(ID, "may", &"yes")
        .if_etag(seen.etag - 1)
        .await;
    assert!(matches!(
        stale,
        Err(AnswerError::Control(
            ControlError::PreconditionFailed { .. }
        ))
    ));
    let large = "x".repeat(11 << 20);
    let told = engine.answer(ID, "may", &large).await;
    assert!(matches!(
        told,
        Err(AnswerError::Answer(ValueError::TooLarge { .. }))
    ));
    let told = engine.answer("..", "may", &"yes").await;
    assert!(matches!(
        told,
        Err(AnswerError::Control(ControlError::InvalidId(_)))
    ));
    assert_eq!(task(&engine).await, seen, "nothing was changed");
    engine
        .answer(ID, "may", &"yes")
        .if_etag(seen.etag)
        .await
        .unwrap();
}

/// Both types and the key are named, and the answer stays.
#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_read_puts_the_task_aside() {
    let world = World::new();
    let engine = world.open(asks).await;
    engine.start(TASK, ID, &0).await.unwrap();
    until_it_asks(&engine).await;
    engine.answer(ID, "may", &17_u64).await.unwrap();
    let seen = until(&engine, |task| {
        matches!(task.wait, Some(WaitReason::Undecodable { .. }))
    })
    .await;
    let Some(WaitReason::Undecodable { what, expected }) = seen.wait else {
        panic!("{seen:?}");
    };
    assert!(what.contains("may"), "{what}");
    assert!(
        expected.contains("String") && expected.contains("u64"),
        "{expected}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_taken_while_no_program_has_a_handler_and_while_the_turn_runs() {
    let world = World::new();
    let engine = world.open(asks).await;
    engine.start(TASK, ID, &0).await.unwrap();
    until_it_asks(&engine).await;
    engine.shutdown(NO_GRACE).await;
    let inbox = world.builder().open().await.unwrap();
    inbox.answer(ID, "may", &"yes").await.unwrap();
    inbox.shutdown(NO_GRACE).await;
    let engine = world.open(asks).await;
    let run = engine.attach(TASK, ID).await.unwrap();
    assert_eq!(run.result().await.unwrap(), "told yes");

    let world = World::new();
    let engine = world
        .open(async |_: World, ctx: Ctx, _| {
            let asked = async {
                let ask = ctx.ask::<String>("may", Ask::new("?"));
                Ok::<_, HandlerError>(ask.await?)
            };
            let fails = ctx.step("fails", async || {
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                match ctx.attempt() {
                    1 => Err("not yet"),
                    _ => Ok(()),
                }
            });
            let (told, fails) = tokio::join!(asked, fails);
            fails?;
            told
        })
        .await;
    let run = engine.start(TASK, ID, &0).await.unwrap();
    until(&engine, |task| task.status == Status::InProgress).await;
    outlive_tests::gate::until(async || open_keys(&engine).await == ["may"]).await;
    engine.answer(ID, "may", &"yes").await.unwrap();
    assert_eq!(run.result().await.unwrap(), "yes");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_asked_is_told_at_the_call() {
    let world = World::new();
    let engine = world
        .open(async |_: World, ctx: Ctx, _| {
            let large = Ask::new("x".repeat(70_000));
            let large = ctx.ask::<String>("large", large).await;
            assert!(
                matches!(
                    &large,
                    Err(outlive::AskError::Ask(ValueError::TooLarge { .. }))
                ),
                "{large:?}"
            );
            let default = Ask::new("?").deadline(DAY).default_answer(&17);
            let default = ctx.ask::<String>("default", default).await;
            assert!(
                matches!(&default, Err(outlive::AskError::Default { .. })),
                "{default:?}"
            );
            Ok("told".to_owned())
        })
        .await;
    let run = engine.start(TASK, ID, &0).await.unwrap();
    assert_eq!(in_time(&run).await.unwrap(), "told");
    assert!(engine.steps(ID).await.unwrap().is_empty());
}

/// A plan that was made anew led to another question under the same key: the answer to the first one counted for it.
#[tokio::test(start_paused = true)]
async fn another_question_under_the_key_is_asked_anew() {
    let world = World::new();
    let plans = |world: World, ctx: Ctx, _| async move {
        world.ran.add("planned".to_owned());
        let plan = world.ran.len();
        let ask = Ask::new("may I?").action(&plan);
        let told: String = ctx.ask("may", ask).await?;
        Ok::<_, HandlerError>(format!("{told} to plan {plan}"))
    };
    let engine = world.open(plans).await;
    let run = engine.start(TASK, ID, &0).await.unwrap();
    until_it_asks(&engine).await;
    let first = open_asks(&engine).await.remove(0);
    engine
        .answer(ID, "may", &"yes")
        .digest(&first.digest)
        .await
        .unwrap();
    outlive_tests::gate::until(async || world.ran.len() == 2).await;
    until_it_asks(&engine).await;
    let second = open_asks(&engine).await.remove(0);
    assert_ne!(first.digest, second.digest);
    let told = engine.answer(ID, "may", &"yes").digest(&first.digest).await;
    assert!(
        matches!(told, Err(AnswerError::DigestMismatch { .. })),
        "{told:?}"
    );
    engine.shutdown(NO_GRACE).await;
    // The same plan as the one that is open.
    world.ran.take();
    world.ran.add("planned".to_owned());
    let engine = world.open(plans).await;
    engine
        .answer(ID, "may", &"no")
        .digest(&second.digest)
        .await
        .unwrap();
    let run = match run.result().await {
        Ok(told) => Ok(told),
        Err(_) => engine.attach(TASK, ID).await.unwrap().result().await,
    };
    assert_eq!(run.unwrap(), "no to plan 2");
}

#[tokio::test(start_paused = true)]
async fn the_deadline_is_listed_and_not_moved_by_being_entered_again() {
    let world = World::new();
    let engine = world.open(asks_for_a_day).await;
    engine.start(TASK, ID, &0).await.unwrap();
    until_it_asks(&engine).await;
    let asked = open_asks(&engine).await.remove(0);
    let day_us = u64::try_from(DAY.as_micros()).unwrap();
    assert_eq!(asked.deadline_us, Some(asked.asked_at_us + day_us));
    engine.shutdown(NO_GRACE).await;
    tokio::time::sleep(DAY / 2).await;
    let engine = world.open(asks_for_a_day).await;
    assert_eq!(open_asks(&engine).await, [asked]);
}

/// A batch that is started again must not fail on those that wait for somebody.
#[tokio::test(start_paused = true)]
async fn the_same_start_attaches_to_a_task_that_asks_and_another_one_is_a_conflict() {
    let world = World::new();
    let engine = world.open(asks).await;
    engine.start(TASK, ID, &0).await.unwrap();
    until_it_asks(&engine).await;
    let again = engine.start(TASK, ID, &0).await.unwrap();
    assert_eq!(again.accepted(), Some(Accepted::Attached));
    let other = engine.start(TASK, ID, &1).await;
    assert!(matches!(other, Err(StartError::Conflict { .. })));
    engine.answer(ID, "may", &"yes").await.unwrap();
    assert_eq!(in_time(&again).await.unwrap(), "told yes");
}

/// Consent is for what was seen, and the next turn may ask the same.
#[tokio::test(start_paused = true)]
async fn an_answer_to_what_an_earlier_turn_asked_is_refused() {
    let world = World::new();
    let chain = TASK.steerable(3);
    let engine = world.open_as(chain, asks).await;
    engine.start(chain, ID, &0).await.unwrap();
    until_it_asks(&engine).await;
    let first = open_asks(&engine).await.remove(0);
    engine.answer(ID, "may", &"yes").to(&first).await.unwrap();
    until(&engine, |seen| seen.status == Status::Completed).await;
    engine
        .start(chain, ID, &1)
        .on_conflict(OnConflict::Restart)
        .await
        .unwrap();
    until_it_asks(&engine).await;
    let second = open_asks(&engine).await.remove(0);
    assert_eq!(first.digest, second.digest, "the words are the same");
    let late = engine.answer(ID, "may", &"yes").to(&first).await;
    assert!(matches!(late, Err(AnswerError::DigestMismatch { .. })));
    engine.answer(ID, "may", &"no").to(&second).await.unwrap();
}
