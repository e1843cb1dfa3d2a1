//! Further inputs for a task that runs: queued, in order, each with its own answer.

use crate::{Gate, NO_GRACE};
use outlive::{
    Accepted, Ctx, Engine, Entry, HandlerError, ResultError, RetryPolicy, STEERABLE_MAX,
    StartError, Status, TaskDef,
};
use outlive_storage::MemStore;
use parking_lot::Mutex;
use std::sync::Arc;

const CHAT: TaskDef<String, String> = TaskDef::new("chat").steerable(3);
const LONG: TaskDef<u32, u32> = TaskDef::new("long").steerable(STEERABLE_MAX);

async fn chat(store: &Arc<MemStore>, gate: &Gate) -> Engine {
    let gate = gate.clone();
    Engine::on_store(Arc::<MemStore>::clone(store))
        .task(CHAT, move |ctx: Ctx, text: String| {
            let gate = gate.clone();
            async move {
                gate.pass().await;
                if text == "fail" {
                    return Err(HandlerError::terminal("asked to"));
                }
                Ok(format!("{}:{text}", ctx.turn()))
            }
        })
        .open()
        .await
        .unwrap()
}

fn text(text: &str) -> String {
    text.to_owned()
}

#[tokio::test]
async fn inputs_are_worked_on_in_order_and_each_handle_answers_for_its_own() {
    let (store, gate) = (Arc::new(MemStore::new()), Gate::closed());
    let engine = chat(&store, &gate).await;
    let first = engine.start(CHAT, "a", &text("one")).await.unwrap();
    gate.came(1).await;
    let second = engine.start(CHAT, "a", &text("two")).await.unwrap();
    let third = engine.start(CHAT, "a", &text("three")).await.unwrap();
    assert_eq!(first.accepted(), Some(Accepted::Started));
    assert!(second.is_queued() && third.is_queued());
    gate.let_through(3);
    // Asked for in another order than they end.
    assert_eq!(third.result().await.unwrap(), "3:three");
    assert_eq!(first.result().await.unwrap(), "1:one");
    let second = second.outcome().await.unwrap();
    assert_eq!(
        (
            second.output().as_str(),
            second.turn(),
            second.is_superseded(),
        ),
        ("2:two", 2, true)
    );
    assert!(!third.outcome().await.unwrap().is_superseded());
    assert_eq!(
        engine.get("a").await.unwrap().unwrap().status,
        Status::Completed
    );
}

#[tokio::test]
async fn a_full_queue_refuses_and_keeps_no_trace() {
    let (store, gate) = (Arc::new(MemStore::new()), Gate::closed());
    let engine = chat(&store, &gate).await;
    let mut runs = vec![engine.start(CHAT, "a", &text("0")).await.unwrap()];
    gate.came(1).await;
    for n in 1..=3 {
        runs.push(engine.start(CHAT, "a", &n.to_string()).await.unwrap());
    }
    let before = engine.get("a").await.unwrap();
    let full = engine.start(CHAT, "a", &text("4")).input_id("four").await;
    assert!(matches!(
        full,
        Err(StartError::SteeringQueueFull { max: 3 })
    ));
    assert_eq!(engine.get("a").await.unwrap(), before);
    gate.let_through(1);
    gate.came(1).await;
    // A place is free again, and the same input id is a new input: nothing of the refused one was kept.
    let four = engine
        .start(CHAT, "a", &text("4"))
        .input_id("four")
        .await
        .unwrap();
    assert!(four.is_queued());
    gate.let_through(4);
    assert_eq!(four.result().await.unwrap(), "5:4");
}

#[tokio::test]
async fn inputs_that_wait_when_their_task_fails_learn_that_it_ended() {
    let (store, gate) = (Arc::new(MemStore::new()), Gate::closed());
    let engine = chat(&store, &gate).await;
    let first = engine.start(CHAT, "a", &text("fail")).await.unwrap();
    gate.came(1).await;
    let second = engine
        .start(CHAT, "a", &text("two"))
        .input_id("two")
        .await
        .unwrap();
    gate.let_through(1);
    assert!(matches!(first.result().await, Err(ResultError::Failed(_))));
    assert!(matches!(
        second.result().await,
        Err(ResultError::Conflict { .. })
    ));
    let again = engine
        .start(CHAT, "a", &text("two"))
        .input_id("two")
        .await
        .unwrap();
    assert_eq!(again.accepted(), Some(Accepted::Attached));
    assert!(matches!(
        again.result().await,
        Err(ResultError::Conflict { .. })
    ));
}

#[tokio::test]
async fn queued_inputs_outlive_a_restart_in_their_order() {
    let (store, gate) = (Arc::new(MemStore::new()), Gate::closed());
    let engine = chat(&store, &gate).await;
    for input in ["one", "two", "three"] {
        let started = engine.start(CHAT, "a", &text(input)).input_id(input);
        started.await.unwrap();
    }
    gate.came(1).await;
    engine.shutdown(NO_GRACE).await;
    let gate = Gate::closed();
    gate.let_through(3);
    let engine = chat(&store, &gate).await;
    for (turn, input) in (1..).zip(["one", "two", "three"]) {
        let again = engine
            .start(CHAT, "a", &text(input))
            .input_id(input)
            .await
            .unwrap();
        assert_eq!(again.accepted(), Some(Accepted::Attached));
        assert_eq!(again.result().await.unwrap(), format!("{turn}:{input}"));
    }
}

/// More inputs than the store gives in one page.
#[tokio::test]
async fn more_inputs_than_a_page_stay_in_order() {
    const INPUTS: u32 = STEERABLE_MAX as u32;
    let (seen, gate) = (Arc::new(Mutex::new(Vec::new())), Gate::closed());
    let (order, at_gate) = (Arc::clone(&seen), gate.clone());
    let engine = Engine::in_memory()
        .task(LONG, move |ctx: Ctx, n| {
            let (order, gate) = (Arc::clone(&order), at_gate.clone());
            async move {
                order.lock().push(n);
                if matches!(ctx.entry(), Entry::Fresh) {
                    gate.pass().await;
                }
                Ok::<_, HandlerError>(n)
            }
        })
        .open()
        .await
        .unwrap();
    let first = engine.start(LONG, "a", &0).await.unwrap();
    gate.came(1).await;
    let mut last = first;
    for n in 1..INPUTS {
        last = engine.start(LONG, "a", &n).await.unwrap();
    }
    gate.let_through(1);
    assert_eq!(last.result().await.unwrap(), INPUTS - 1);
    assert!(seen.lock().iter().copied().eq(0..INPUTS));
}

#[tokio::test(start_paused = true)]
async fn a_later_turn_has_a_retry_budget_of_its_own() {
    const TWICE: TaskDef<u32, u32> = TaskDef::new("twice")
        .steerable(5)
        .retry(RetryPolicy::fixed().attempts(2));
    let entries = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&entries);
    let engine = Engine::in_memory()
        .task(TWICE, move |ctx: Ctx, n: u32| {
            noted.lock().push((ctx.turn(), ctx.attempt()));
            std::future::ready(if ctx.attempt() == 1 {
                Err(HandlerError::from("the first attempt fails"))
            } else {
                Ok(n)
            })
        })
        .open()
        .await
        .unwrap();
    engine.start(TWICE, "a", &1).await.unwrap();
    let second = engine.start(TWICE, "a", &2).await.unwrap();
    assert_eq!(second.result().await.unwrap(), 2);
    assert_eq!(*entries.lock(), [(1, 1), (1, 2), (2, 1), (2, 2)]);
}
