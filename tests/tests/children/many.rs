//! Ten thousand children of one turn.

use outlive::{Ctx, Engine, EventKind, HandlerError, Status, TaskDef};
use outlive_storage::row::Etag;
use outlive_storage::{MemStore, Store};
use std::sync::Arc;
use tokio::sync::watch;

const CHILDREN: u64 = 10_000;
const SUM: TaskDef<u64, u64> = TaskDef::new("sum");
const ONE: TaskDef<u64, u64> = TaskDef::new("one");

async fn sum(ctx: Ctx, children: u64) -> Result<u64, HandlerError> {
    let children = (0..children).map(|child| (("one", child), child));
    let children = ctx.start_many("ones", ONE, children).await?;
    let mut sum = 0;
    for one in ctx.all("all", &children).await? {
        sum += one?;
    }
    Ok(sum)
}

/// The kinds of all transitions of a task, by the log.
fn transitions(store: &dyn Store, id: &str) -> Vec<EventKind> {
    let (mut after, mut kinds) = (Etag(0), Vec::new());
    loop {
        let page = store.events(after, 1024).unwrap();
        let Some(last) = page.events.last() else {
            return kinds;
        };
        after = last.etag;
        let own = page.events.iter().filter(|event| event.id.as_str() == id);
        kinds.extend(own.map(|event| event.kind));
    }
}

/// The parent's row is written when it waits, and once more when all have ended.
#[tokio::test(start_paused = true)]
async fn ten_thousand_children_are_joined_with_one_wake() {
    let store = Arc::new(MemStore::new());
    let engine = Engine::on_store(Arc::clone(&store) as Arc<dyn Store>).inline();
    let begin = watch::Sender::new(false);
    let shared = begin.clone();
    let engine = engine.task(SUM, sum).task(ONE, move |_: Ctx, one: u64| {
        let mut begin = shared.subscribe();
        async move {
            begin.wait_for(|begin| *begin).await?;
            Ok::<_, HandlerError>(one)
        }
    });
    let engine = engine.open().await.unwrap();
    let run = engine.start(SUM, "sum", &CHILDREN).await.unwrap();
    let waits = async || run.status().await.unwrap() == Status::Suspended;
    outlive_tests::gate::until(waits).await;
    begin.send_replace(true);
    assert_eq!(run.result().await.unwrap(), CHILDREN * (CHILDREN - 1) / 2);
    use EventKind::{BecameParent, Claimed, Started, Succeeded, Waits, Woken};
    let seen = transitions(&*store, "sum");
    // Whether a slot was free at once is not the point.
    let seen = seen.into_iter().filter(|kind| *kind != Claimed);
    let expected = [Started, BecameParent, Waits, Woken, Succeeded];
    assert_eq!(seen.collect::<Vec<_>>(), expected);
    // Nothing is left of the family when the last child was told.
    let told = async || store.families_over(None, 9).unwrap().is_empty();
    outlive_tests::gate::until(told).await;
}
