//! Orders: the same on a file and through a server; nothing that cannot be undone without somebody's word.

use crate::program::Ran;
use crate::world::{Served, World};

/// Orders one after the other, with the status each ends with.
const ORDERS: [(&[&str], i32); 20] = [
    (&["cancel"], 2),
    (&["cancel", "none"], 3),
    (&["cancel", "done-1"], 4),
    (&["cancel", "gone-1"], 0),
    (&["cancel", "later-1", "--reason", "over"], 0),
    (&["cancel", "later-1", "later-2"], 2),
    (&["terminate", "later-2"], 0),
    (&["retry", "done-1"], 4),
    (&["resume", "done-1"], 4),
    (&["resume", "chat-1", "--key", "again"], 0),
    (&["answer", "asks-1", "other", "true"], 3),
    (&["answer", "asks-1", "agree", "true", "--digest", "x"], 4),
    (&["answer", "asks-1", "agree", "true"], 0),
    (&["rm", "none"], 3),
    (&["rm", "done-1"], 0),
    (&["rm", "done-1"], 3),
    (&["rm", "--status", "completed"], 2),
    (&["rm", "--all", "bad-1"], 2),
    (
        &["rm", "--status", "completed", "--tag", "team=red", "-y"],
        0,
    ),
    (&["show", "later-1"], 3),
];

enum Way<'a> {
    File(&'a World),
    Url(&'a Served),
}

impl Way<'_> {
    async fn call(&self, args: &[&str]) -> Ran {
        match self {
            Way::File(world) => world.file(args).await,
            Way::Url(served) => served.call(args).await,
        }
    }
}

async fn ordered(way: Way<'_>) {
    for (args, code) in ORDERS {
        let ran = way.call(args).await;
        assert_eq!(ran.code, code, "{args:?}: {ran:?}");
        if code != 0 {
            assert_eq!(ran.out, "", "{args:?}");
            assert!(ran.err.starts_with("error: "), "{args:?}: {ran:?}");
        }
    }
    let left = way.call(&["ls", "--tag", "team=red", "-o", "jsonl"]).await;
    assert_eq!(left.ended(0).out, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_ends_the_same_way_on_a_file() {
    ordered(Way::File(&World::filled().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_ends_the_same_way_through_a_server() {
    let world = World::filled().await;
    let served = world.served().await;
    ordered(Way::Url(&served)).await;
    let answered = served.call(&["result", "asks-1", "--timeout", "30"]).await;
    assert_eq!(answered.ended(0).out, "\"true\"");
    let chat = served
        .call(&["result", "chat-1", "--timeout", "30", "-o", "json"])
        .await;
    assert_eq!(chat.ended(7).json()["input_id"], "again");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_batch_each_is_told_and_one_that_is_refused_hinders_no_other() {
    let world = World::filled().await;
    let ran = world
        .file(&["cancel", "later-1", "done-1", "later-2", "-y"])
        .await
        .ended(4);
    assert_eq!(ran.out.lines().count(), 2, "{ran:?}");
    let open = world
        .file(&[
            "ls", "--tag", "team=red", "--status", "pending", "-o", "jsonl",
        ])
        .await;
    assert_eq!(open.out, "");
    let ran = world
        .file(&["rm", "done-1", "zzz", "emits", "-y"])
        .await
        .ended(3);
    assert_eq!(
        ran.out.lines().count(),
        2,
        "one that is missing hinders no other: {ran:?}"
    );
    let ran = world
        .file(&["retry", "--task", "work", "-y", "-o", "jsonl"])
        .await
        .ended(0);
    assert_eq!(
        ran.out.lines().count(),
        4,
        "all that failed or were cancelled: {ran:?}"
    );
}
