//! A death at every commit of a conversation: an answer that was accepted counts, once, and nothing is asked in vain.

use super::{ID, TASK, World};
use outlive::{AnswerError, Ask, Ctx, Engine, HandlerError, Run};
use outlive_storage::{MemStore, Store};
use outlive_tests::faulty::Faulty;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A plan, a question about it, its execution, and another question.
async fn talks(world: World, ctx: Ctx, _: u32) -> Result<String, HandlerError> {
    let plan = ctx.step("plan", async || {
        Ok::<_, std::io::Error>("a plan".to_owned())
    });
    let ask = Ask::new("carry it out?").action(&plan.await?);
    let first: String = ctx.ask("first", ask).await?;
    let done = ctx.step("do", async || {
        world.ran.add("done".to_owned());
        Ok::<_, std::io::Error>(())
    });
    done.await?;
    let second: String = ctx.ask("second", Ask::new("happy?")).await?;
    Ok(format!("{first} {second}"))
}

/// What a process came to.
#[derive(Default)]
struct Life {
    /// The answers that were accepted.
    accepted: Vec<&'static str>,
    result: Option<String>,
}

/// Answers each question when it is open, with this voice.
async fn converse(engine: &Engine, run: &Run<String>, voice: [&'static str; 2]) -> Life {
    let mut life = Life::default();
    for (key, answer) in ["first", "second"].into_iter().zip(voice) {
        let open = async {
            loop {
                if let Ok(Some(ask)) = engine.ask(ID, key).await {
                    return ask;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let asked = tokio::select! {
            biased;
            result = run.result() => {
                life.result = result.ok();
                return life;
            }
            asked = open => Some(asked),
            // It was answered in a life before.
            () = tokio::time::sleep(Duration::from_secs(1)) => None,
        };
        let Some(asked) = asked else { continue };
        let told = engine.answer(ID, key, answer).digest(asked.digest).await;
        match told {
            Ok(()) => life.accepted.push(answer),
            Err(AnswerError::Control(_)) => return life,
            Err(other) => panic!("{key}: {other}"),
        }
    }
    life.result = run.result().await.ok();
    life
}

/// Runs the conversation with a death at the commit of this number: before it, or after it when its answer is lost.
async fn with_death_at(commit: u64, answer_lost: bool) -> (Life, Life, usize) {
    let world = World::new();
    let faulty = Faulty::on(&world.store);
    faulty.broken_from.store(commit, Ordering::SeqCst);
    faulty.answer_lost.store(answer_lost, Ordering::SeqCst);
    let (first, second) = (world.clone(), world.clone());
    let builder = Engine::on_store(Arc::clone(&faulty) as Arc<dyn Store>).inline();
    let builder = builder.store_patience(Duration::ZERO);
    let builder = builder.task(TASK, move |ctx, n| talks(first.clone(), ctx, n));
    let engine = builder.open().await.unwrap();
    let before = match engine.start(TASK, ID, &0).input_id("one").await {
        Ok(run) => converse(&engine, &run, ["yes", "very"]).await,
        Err(_) => Life::default(),
    };
    drop(engine);
    tokio::task::yield_now().await;

    let builder = Engine::on_store(Arc::<MemStore>::clone(&world.store)).inline();
    let builder = builder.task(TASK, move |ctx, n| talks(second.clone(), ctx, n));
    let engine = builder.open().await.unwrap();
    let run = engine.start(TASK, ID, &0).input_id("one").await.unwrap();
    let after = converse(&engine, &run, ["no", "hardly"]).await;
    assert!(engine.asks().await.unwrap().asks.is_empty());
    (before, after, world.ran.len())
}

#[tokio::test(start_paused = true)]
async fn a_death_at_any_commit_loses_no_answer_and_takes_none_twice() {
    let mut deaths = 0;
    for answer_lost in [false, true] {
        for commit in 1.. {
            let (before, after, done) = with_death_at(commit, answer_lost).await;
            let result = after.result.expect("the second life ends it");
            let words: Vec<&str> = result.split(' ').collect();
            for word in before.accepted.iter().chain(&after.accepted) {
                assert!(words.contains(word), "commit {commit}: {result}");
            }
            // One whose answer was lost with the process may have been taken, and then no other was.
            let taken = before.accepted.len() + after.accepted.len();
            assert!(
                taken + usize::from(answer_lost) >= 2,
                "commit {commit}: {taken}"
            );
            assert!(taken <= 2, "commit {commit}: {taken}");
            assert!(
                done <= 2 && (done == 1 || !answer_lost),
                "commit {commit}: {done}"
            );
            if before.result.is_some() {
                assert_eq!(before.result.as_deref(), Some("yes very"));
                break;
            }
            deaths += 1;
        }
    }
    assert!(deaths > 16, "{deaths} deaths");
}
