//! Streams followed over HTTP: replayed, live, gone on with, and ended once.

use crate::world::{Count, World, numbers};
use outlive_server::{Limits, Options};
use outlive_tests::gate::until;
use outlive_tests::http::Follower;
use outlive_tests::play::{held, say};
use serde_json::json;
use std::time::Duration;

async fn counting(world: &World, task: &str, count: Count) {
    let body = json!({"task": task, "task_id": "a", "input": count});
    assert_eq!(world.client.post("/v1/tasks", body).await.status, 202);
}

async fn follow(world: &World, path: &str) -> Follower {
    let followed = world.client.follow(path).await.expect("the server answers");
    followed.expect("there are events")
}

fn to(to: u64) -> Count {
    Count {
        to,
        hold: false,
        bytes: 0,
    }
}

fn limits(change: impl FnOnce(&mut Limits)) -> Options {
    let mut limits = Limits::default();
    change(&mut limits);
    Options::new().limits(limits)
}

#[tokio::test]
async fn a_stream_is_replayed_then_live_and_ends_once() {
    let world = World::open().await;
    let hold = Count {
        hold: true,
        ..to(3)
    };
    counting(&world, "count", hold).await;
    world.gate.came(1).await;
    let mut events = follow(&world, "/v1/tasks/a/stream").await;
    let mut seen = Vec::new();
    while seen.len() < 3 {
        seen.push(events.next().await.unwrap().expect("an item"));
    }
    world.gate.let_through(1);
    seen.extend(events.until("end").await.unwrap());
    let ids: Vec<&str> = seen.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids, ["1", "2", "3", "4", "5", "6", "6.end"]);
    assert_eq!(numbers(&seen), [1, 2, 3, 4, 5, 6]);
    assert!(
        seen[0].data.contains(r#""item":{"n": 1.0, "x":""}"#),
        "{}",
        seen[0].data
    );
    assert_eq!(seen[6].json()["outcome"]["kind"], "succeeded");
    assert_eq!(
        (events.next().await.unwrap(), events.retry),
        (None, Some(1000))
    );
}

#[tokio::test]
async fn a_reader_goes_on_behind_the_last_event_it_saw_however_it_says_so() {
    let world = World::open().await;
    counting(&world, "count", to(6)).await;
    let path = "/v1/tasks/a/stream";
    follow(&world, path).await.until("end").await.unwrap();
    let rest = async |mut events: Follower| numbers(&events.until("end").await.unwrap());
    for query in ["?last_event_id=4", "?after=4", "?last_event_id=4&after=1"] {
        let events = follow(&world, &format!("{path}{query}")).await;
        assert_eq!(rest(events).await, [5, 6], "{query}");
    }
    let client = world.client.with("last-event-id", "5");
    let events = client
        .follow(&format!("{path}?after=1"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(rest(events).await, [6]);
    let refused = world.client.get(&format!("{path}?after=x")).await;
    assert_eq!(
        (refused.status, refused.code()),
        (400, "invalid_parameter".to_owned())
    );
    let missing = world.client.get("/v1/tasks/none/stream").await;
    assert_eq!(
        (missing.status, missing.code()),
        (404, "not_found".to_owned())
    );
}

#[tokio::test]
async fn who_saw_the_end_is_told_that_there_is_no_more_and_who_did_not_sees_it() {
    let world = World::open().await;
    counting(&world, "count", to(2)).await;
    let path = "/v1/tasks/a/stream";
    follow(&world, path).await.until("end").await.unwrap();
    let saw = world.client.with("last-event-id", "2.end").get(path).await;
    assert_eq!((saw.status, saw.body.len()), (204, 0));
    let client = world.client.with("last-event-id", "2");
    let mut events = client.follow(path).await.unwrap().unwrap();
    assert_eq!(events.until("end").await.unwrap().len(), 1);
    let body = json!({"task": "count", "task_id": "a", "input": to(1), "on_conflict": "restart"});
    assert_eq!(world.client.post("/v1/tasks", body).await.status, 202);
    let client = world.client.with("last-event-id", "2.end");
    let mut events = client.follow(path).await.unwrap().expect("a further run");
    assert_eq!(numbers(&events.until("end").await.unwrap()), [1]);
}

#[tokio::test]
async fn what_is_not_kept_any_more_is_told_before_what_is() {
    let world = World::open().await;
    let large = Count {
        bytes: 10_000,
        ..to(200)
    };
    counting(&world, "few", large).await;
    let mut events = follow(&world, "/v1/tasks/a/stream").await;
    events.until("end").await.unwrap();
    let mut events = follow(&world, "/v1/tasks/a/stream").await;
    let seen = events.until("end").await.unwrap();
    let until = seen[0].json()["until"].as_u64().expect("a gap");
    assert_eq!((&*seen[0].name, &seen[0].id), ("gap", &until.to_string()));
    assert_eq!(numbers(&seen), (until + 1..=200).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_stream_with_nothing_to_say_says_that_it_lives() {
    let options = limits(|limits| limits.keep_alive = Duration::from_millis(20));
    let world = World::with(options, &[]).await;
    world.play("a", held(say("x"))).await;
    let mut events = follow(&world, "/v1/tasks/a/stream").await;
    events.comment().await.unwrap();
    events.comment().await.unwrap();
}

#[tokio::test]
async fn a_connection_that_ends_takes_no_task_with_it() {
    let world = World::open().await;
    counting(
        &world,
        "count",
        Count {
            hold: true,
            ..to(1)
        },
    )
    .await;
    let mut events = follow(&world, "/v1/tasks/a/stream").await;
    events.next().await.unwrap();
    drop(events);
    until(async || {
        world
            .client
            .get("/metrics")
            .await
            .text()
            .contains("outlive_http_streams 0\n")
    })
    .await;
    world.gate.let_through(1);
    let wait = world.client.with("prefer", "wait=30");
    assert_eq!(
        wait.get("/v1/tasks/a/result").await.json()["outcome"]["kind"],
        "succeeded"
    );
}

#[tokio::test]
async fn a_client_that_does_not_read_is_dropped_and_loses_nothing() {
    let options = limits(|limits| limits.slow_reader = Duration::from_millis(200));
    let world = World::with(options, &[]).await;
    counting(
        &world,
        "count",
        Count {
            bytes: 250_000,
            ..to(80)
        },
    )
    .await;
    let mut slow = follow(&world, "/v1/tasks/a/stream").await;
    let first = slow.next().await.unwrap().expect("an item");
    let dropped = "outlive_http_slow_readers_total 1\n";
    until(async || world.client.get("/metrics").await.text().contains(dropped)).await;
    let mut seen = vec![first];
    while let Ok(Some(event)) = slow.next().await {
        seen.push(event);
    }
    let last = seen.last().expect("an event").id.clone();
    let client = world.client.with("last-event-id", &last);
    let mut again = client.follow("/v1/tasks/a/stream").await.unwrap().unwrap();
    seen.extend(again.until("end").await.unwrap());
    let told: Vec<_> = seen
        .iter()
        .map(|event| (&*event.id, &*event.name))
        .collect();
    assert_eq!(
        numbers(&seen),
        (1..=80).collect::<Vec<_>>(),
        "{last}: {told:?}"
    );
}

#[tokio::test]
async fn a_caller_follows_so_many_streams_and_no_more() {
    let world = World::with(Options::new(), &[("streams", "2")]).await;
    world.play("a", held(say("x"))).await;
    let path = "/v1/tasks/a/stream";
    let (first, _second) = (follow(&world, path).await, follow(&world, path).await);
    let refused = tokio::time::timeout(Duration::from_secs(10), world.client.get(path)).await;
    let refused = refused.expect("it is no stream without an end");
    assert_eq!(
        (refused.status, refused.code()),
        (429, "too_many_streams".to_owned())
    );
    drop(first);
    until(async || world.client.follow(path).await.unwrap().is_ok()).await;
}

#[tokio::test]
async fn a_server_that_ends_lets_its_readers_come_back() {
    let mut world = World::open().await;
    counting(
        &world,
        "count",
        Count {
            hold: true,
            ..to(1)
        },
    )
    .await;
    world.gate.came(1).await;
    let path = "/v1/tasks/a/stream";
    let mut events = follow(&world, path).await;
    assert_eq!(events.next().await.unwrap().expect("an item").id, "1");
    world.stop();
    assert_eq!(
        (events.next().await.unwrap(), events.retry),
        (None, Some(1000))
    );
    let ready = world.client.get("/readyz").await;
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("server: closing"));
    // Any other answer would be the end of everything to an event source.
    let mut early = follow(&world, path).await;
    assert_eq!(
        (early.next().await.unwrap(), early.retry),
        (None, Some(1000))
    );
    world.gate.let_through(1);
    assert_eq!(world.stopped().await.still_running, 0);
}

#[tokio::test]
async fn every_transition_of_the_store_is_followed_from_any_position_on() {
    let world = World::open().await;
    world.play("a", say("x")).await;
    let mut events = follow(&world, "/v1/events").await;
    let mut seen = Vec::new();
    loop {
        let event = events.next().await.unwrap().expect("a transition");
        let what = event.json()["what"].clone();
        seen.push(event);
        if what == "succeeded" {
            break;
        }
    }
    assert_eq!(seen[0].json()["what"], "started");
    assert_eq!(
        (seen[0].json()["etag"].as_str(), &*seen[0].name),
        (Some(&*seen[0].id), "transition")
    );
    let client = world.client.with("last-event-id", &seen[0].id);
    let mut rest = client.follow("/v1/events").await.unwrap().unwrap();
    for event in &seen[1..] {
        assert_eq!(rest.next().await.unwrap().as_ref(), Some(event));
    }
}
