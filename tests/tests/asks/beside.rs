//! Questions beside each other, beside steps, sleeps and inputs, and in handlers that block.

use super::{DAY, ID, NO_GRACE, TASK, World, asks, is_asking, open_keys, task, until_it_asks};
use outlive::{Ask, AskError, Ctx, Engine, HandlerError, Status, TaskDef};
use outlive_tests::gate::until;
use std::time::Duration;

/// Asks two people at once.
async fn asks_two(world: World, ctx: Ctx, _: u32) -> Result<String, HandlerError> {
    world.ran.add(format!("{:?}", ctx.entry()));
    let ada = ctx.ask::<String>("ada", Ask::new("may I, Ada?"));
    let bob = ctx.ask::<String>("bob", Ask::new("may I, Bob?"));
    let (ada, bob) = tokio::join!(ada, bob);
    Ok(format!("{} and {}", ada?, bob?))
}

#[tokio::test(start_paused = true)]
async fn questions_beside_each_other_are_listed_in_one_commit_and_stay_open_one_by_one() {
    let world = World::new();
    let engine = world.open(asks_two).await;
    let run = engine.start(TASK, ID, &0).await.unwrap();
    until_it_asks(&engine).await;
    assert_eq!(open_keys(&engine).await, ["ada", "bob"]);
    let asked = engine.asks().await.unwrap().asks;
    assert_eq!(asked[0].asked_at_us, asked[1].asked_at_us);
    let commits = task(&engine).await.timeline;
    assert_eq!(
        commits.len(),
        2,
        "a start with its claim, and one wait: {commits:?}"
    );

    engine.answer(ID, "bob", &"yes").await.unwrap();
    until(async || world.ran.len() == 2).await;
    until_it_asks(&engine).await;
    assert_eq!(open_keys(&engine).await, ["ada"]);
    assert_eq!(
        engine.asks().await.unwrap().asks[0],
        asked[0],
        "it is not asked anew"
    );
    engine.answer(ID, "ada", &"no").await.unwrap();
    assert_eq!(run.result().await.unwrap(), "no and yes");
}

/// The answer comes while the other step runs: nobody is entered again for it.
#[tokio::test(start_paused = true)]
async fn a_question_beside_a_step_is_listed_at_once_and_answered_while_the_turn_runs() {
    let world = World::new();
    let engine = world
        .open(async |world: World, ctx: Ctx, _| {
            world.ran.add(format!("{:?}", ctx.entry()));
            let gate = &world.gate;
            let step = ctx.step("slow", async || {
                gate.pass().await;
                Ok::<_, std::io::Error>("done".to_owned())
            });
            let told = ctx.ask::<String>("may", Ask::new("may I?"));
            let (told, step) = tokio::join!(told, step);
            Ok(format!("{} and {}", told?, step?))
        })
        .await;
    let run = engine.start(TASK, ID, &0).await.unwrap();
    until(async || open_keys(&engine).await == ["may"]).await;
    assert_eq!(task(&engine).await.status, Status::InProgress);
    engine.answer(ID, "may", &"yes").await.unwrap();
    world.gate.came(1).await;
    world.gate.let_through(1);
    assert_eq!(run.result().await.unwrap(), "yes and done");
    assert_eq!(world.ran.take(), ["Fresh"]);
}

/// The step is over first: then the turn leaves memory, and the question stays as it is.
#[tokio::test(start_paused = true)]
async fn a_question_outlasts_the_step_beside_it() {
    let world = World::new();
    let engine = world
        .open(async |world: World, ctx: Ctx, _| {
            world.ran.add(format!("{:?}", ctx.entry()));
            let gate = &world.gate;
            let step = ctx.step("slow", async || {
                gate.pass().await;
                Ok::<_, std::io::Error>("done".to_owned())
            });
            let told = ctx.ask::<String>("may", Ask::new("may I?"));
            let (told, step) = tokio::join!(told, step);
            Ok(format!("{} and {}", told?, step?))
        })
        .await;
    let run = engine.start(TASK, ID, &0).await.unwrap();
    until(async || open_keys(&engine).await == ["may"]).await;
    let asked = engine.ask(ID, "may").await.unwrap();
    world.gate.let_through(1);
    until_it_asks(&engine).await;
    assert_eq!(engine.ask(ID, "may").await.unwrap(), asked);
    engine.answer(ID, "may", &"yes").await.unwrap();
    assert_eq!(run.result().await.unwrap(), "yes and done");
    assert_eq!(world.ran.take(), ["Fresh", "Resumed"]);
    assert_eq!(world.gate.uncounted(), 1, "the step ran once");
}

#[tokio::test(start_paused = true)]
async fn a_sleep_beside_a_question_is_a_time_out() {
    let world = World::new();
    let engine = world
        .open(async |world: World, ctx: Ctx, _| {
            world.ran.add(format!("{:?}", ctx.entry()));
            let told = ctx.ask::<String>("may", Ask::new("may I?"));
            let told = tokio::select! {
                biased;
                told = told => told?,
                slept = ctx.sleep("patience", DAY) => {
                    slept?;
                    "nothing".to_owned()
                }
            };
            Ok(told)
        })
        .await;
    let run = engine.start(TASK, ID, &0).await.unwrap();
    let seen = until_it_asks(&engine).await;
    tokio::time::sleep(DAY - Duration::from_secs(60)).await;
    assert_eq!(task(&engine).await, seen);
    tokio::time::sleep(Duration::from_secs(62)).await;
    assert_eq!(run.result().await.unwrap(), "nothing");
    assert_eq!(open_keys(&engine).await, [""; 0], "it ended with its turn");

    let run = engine.start(TASK, "b", &0).await.unwrap();
    until(async || open_keys(&engine).await == ["may"]).await;
    tokio::time::sleep(DAY / 2).await;
    engine.answer("b", "may", &"yes").await.unwrap();
    assert_eq!(run.result().await.unwrap(), "yes");
}

/// The handler is entered with the signal set, and may go on waiting.
#[tokio::test(start_paused = true)]
async fn an_input_that_interrupts_leaves_the_question_open() {
    let steered = TASK.steerable(2);
    let world = World::new();
    let engine = world
        .open_as(steered, async |world: World, ctx: Ctx, input| {
            let told = ctx.cause().is_some_and(|causes| causes.steered());
            world.ran.add(format!("{input}: steered {told}"));
            if input > 0 {
                return Ok("the next one".to_owned());
            }
            Ok(ctx.ask::<String>("may", Ask::new("may I?")).await?)
        })
        .await;
    let run = engine.start(steered, ID, &0).await.unwrap();
    until_it_asks(&engine).await;
    let asked = engine.ask(ID, "may").await.unwrap();
    let next = engine.start(steered, ID, &1).await.unwrap();
    until(async || world.ran.len() == 2).await;
    until_it_asks(&engine).await;
    assert_eq!(
        engine.ask(ID, "may").await.unwrap(),
        asked,
        "it is the same question"
    );
    engine.answer(ID, "may", &"yes").await.unwrap();
    assert_eq!(run.result().await.unwrap(), "yes");
    assert_eq!(next.result().await.unwrap(), "the next one");
    assert_eq!(
        world.ran.take(),
        [
            "0: steered false",
            "0: steered true",
            "0: steered true",
            "1: steered false"
        ]
    );
}

/// Such a handler cannot be dropped: it waits on its thread, and the question is listed meanwhile.
#[test]
fn a_blocking_handler_asks_and_waits() {
    const BLOCKS: TaskDef<u32, String> = TaskDef::new("blocks");
    fn block(ctx: Ctx, _: u32) -> Result<String, HandlerError> {
        let runtime = tokio::runtime::Handle::current();
        let told: Result<String, AskError> =
            runtime.block_on(ctx.ask("may", Ask::new("may I?").options(["yes", "no"])));
        Ok(told?)
    }
    let engine = Engine::in_memory().blocking(BLOCKS, block);
    let engine = engine.open_blocking().unwrap();
    let run = engine.start(BLOCKS, ID, &0).unwrap();
    let asked = loop {
        let list = engine.asks(|asks| asks.of(BLOCKS).id(ID)).unwrap();
        if let Some(asked) = list.asks.into_iter().next() {
            break asked;
        }
        std::thread::yield_now();
    };
    let options = serde_json::json!({"enum": ["yes", "no"]});
    assert_eq!(asked.schema, Some(options));
    engine.answer(&asked.id, &asked.key, "yes").unwrap();
    assert_eq!(engine.result(&run).unwrap(), "yes");
}

/// They lie in the task's row and beside it, not in memory: a program may have as many as the disk takes.
#[tokio::test(start_paused = true)]
async fn tasks_that_ask_hold_no_slot() {
    let world = World::new();
    let shared = world.clone();
    let builder = world.builder().max_running(2);
    let engine = builder
        .task(TASK, move |ctx, input| asks(shared.clone(), ctx, input))
        .open()
        .await
        .unwrap();
    for n in 0..20 {
        engine.start(TASK, format!("t{n}"), &n).await.unwrap();
    }
    until(async || engine.asks().await.unwrap().asks.len() == 20).await;
    let task = engine.get("t19").await.unwrap().unwrap();
    assert!(is_asking(&task), "{task:?}");
    engine.shutdown(NO_GRACE).await;
}
