//! The list of open questions: whole, in order, by page, and by what it is asked for.

use super::{DAY, ID, TASK, World, asks, in_time, open_keys};
use outlive::{ASKS_MAX, Ask, AskCursor, AskError, Ctx, HandlerError, TaskDef};
use std::pin::Pin;
use std::task::Poll;

const OTHER: TaskDef<u32, String> = TaskDef::new("other");

/// Asks as many questions as its input says.
async fn asks_many(_: World, ctx: Ctx, count: u32) -> Result<String, HandlerError> {
    let mut asked = Vec::new();
    for n in 0..count {
        let ctx = ctx.clone();
        asked.push(Box::pin(async move {
            let ask = Ask::new(serde_json::json!({ "number": n }));
            ctx.ask::<u32>(("number", n), ask).await
        }));
    }
    let sum: u32 = all(asked).await?.into_iter().sum();
    Ok(sum.to_string())
}

/// Polls all of them until each is ready, or one has failed.
async fn all<F, T, E>(futures: Vec<F>) -> Result<Vec<T>, E>
where
    F: Future<Output = Result<T, E>> + Unpin,
{
    let mut slots: Vec<(F, Option<T>)> = futures.into_iter().map(|f| (f, None)).collect();
    std::future::poll_fn(|context| {
        for (future, output) in &mut slots {
            if output.is_none()
                && let Poll::Ready(ready) = Pin::new(future).poll(context)
            {
                match ready {
                    Ok(ready) => *output = Some(ready),
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
        }
        match slots.iter().all(|(_, output)| output.is_some()) {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    })
    .await?;
    Ok(slots.into_iter().filter_map(|(_, output)| output).collect())
}

#[tokio::test(start_paused = true)]
async fn a_list_names_each_question_once_page_by_page() {
    let world = World::new();
    let engine = world.open(asks_many).await;
    for (id, count) in [("a", 3), ("b", 2), ("c", 2)] {
        engine.start(TASK, id, &count).await.unwrap();
        let listed = async || engine.asks().id(id).await.unwrap().asks.len() == count as usize;
        outlive_tests::gate::until(listed).await;
    }
    let all = engine.asks().await.unwrap().asks;
    let ids: Vec<_> = all.iter().map(|ask| ask.id.as_str()).collect();
    assert_eq!(ids, ["a", "a", "a", "b", "b", "c", "c"]);
    for limit in 1..=8 {
        let (mut seen, mut next) = (Vec::new(), None::<AskCursor>);
        loop {
            let page = engine.asks().limit(limit).after(next).await.unwrap();
            assert!(page.asks.len() <= limit);
            seen.extend(page.asks);
            let Some(cursor) = page.next else { break };
            // It may be handed out, and questions may come and go meanwhile.
            next = Some(cursor.to_string().parse().unwrap());
        }
        assert_eq!(seen, all, "{limit}");
    }
    let second = engine.asks().limit(2).await.unwrap().next;
    engine.answer("a", &all[0].key, &1).await.unwrap();
    let rest = engine.asks().after(second).await.unwrap().asks;
    assert_eq!(rest, all[2..]);
}

#[tokio::test(start_paused = true)]
async fn a_list_shows_what_it_is_asked_for() {
    let world = World::new();
    let (one, other) = (world.clone(), world.clone());
    let builder = world.builder();
    let builder = builder.task(TASK, move |ctx, input| asks(one.clone(), ctx, input));
    let builder = builder.task(OTHER, move |ctx, input| asks(other.clone(), ctx, input));
    let engine = builder.open().await.unwrap();
    engine.start(TASK, "a", &0).session("s").await.unwrap();
    engine
        .start(OTHER, "b", &0)
        .session("s")
        .title("B")
        .await
        .unwrap();
    engine.start(OTHER, "c", &0).await.unwrap();
    outlive_tests::gate::until(async || open_keys(&engine).await.len() == 3).await;
    let ids = |list: outlive::AskList| {
        let ids = list.asks.into_iter().map(|ask| ask.id.to_string());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(ids(engine.asks().of(OTHER).await.unwrap()), ["b", "c"]);
    assert_eq!(ids(engine.asks().session("s").await.unwrap()), ["a", "b"]);
    assert_eq!(
        ids(engine.asks().of(OTHER).session("s").await.unwrap()),
        ["b"]
    );
    assert_eq!(ids(engine.asks().id("c").await.unwrap()), ["c"]);
    assert_eq!(ids(engine.asks().id("nobody").await.unwrap()), [""; 0]);
    assert!(engine.asks().id("..").await.is_err());
    const UNKNOWN: TaskDef<u32, String> = TaskDef::new("unknown");
    assert_eq!(ids(engine.asks().of(UNKNOWN).await.unwrap()), [""; 0]);
    let asked = engine.ask("b", "may").await.unwrap().unwrap();
    assert_eq!(
        (asked.title.as_deref(), asked.session.as_deref()),
        (Some("B"), Some("s"))
    );
    assert_eq!(engine.ask("b", "other").await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_task_has_so_many_questions_open_and_no_more() {
    let world = World::new();
    let engine = world.open(asks_many).await;
    let most = u32::try_from(ASKS_MAX).unwrap();
    engine.start(TASK, ID, &most).await.unwrap();
    let open = async || engine.asks().id(ID).limit(500).await.unwrap().asks.len();
    outlive_tests::gate::until(async || open().await == ASKS_MAX).await;
    let run = engine.start(TASK, "b", &(most + 1)).await.unwrap();
    let told = in_time(&run).await.unwrap_err().to_string();
    let too_many = AskError::TooMany { max: ASKS_MAX }.to_string();
    assert!(told.contains(&too_many), "{told}");
    // What is answered is not counted any more.
    engine.answer(ID, ("number", 0), &1).await.unwrap();
    tokio::time::sleep(DAY).await;
    assert_eq!(open().await, ASKS_MAX - 1);
}
