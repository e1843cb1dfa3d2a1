//! How much, how deep, how long and how many: whoever asks for more is refused, and harms nobody else.

use crate::world::World;
use outlive_server::{Limits, Options};
use outlive_tests::http::Connection;
use outlive_tests::play::say;
use serde_json::json;
use std::time::Duration;

fn limits(change: impl FnOnce(&mut Limits)) -> Options {
    let mut limits = Limits::default();
    change(&mut limits);
    Options::new().limits(limits)
}

async fn connect(world: &World) -> Connection {
    let connection = Connection::open(world.client.address).await;
    connection.expect("somebody listens")
}

/// S9.
#[tokio::test]
async fn a_body_that_is_too_large_is_refused_also_where_it_has_no_end() {
    let world = World::open().await;
    let large = vec![b' '; 12 * 1024 * 1024];
    let mut connection = connect(&world).await;
    let head = world.client.request("POST", "/v1/tasks", Some(&large));
    // The server need not take it to say no.
    let head_end = head.len() - large.len();
    connection.send(&head[..head_end]).await.unwrap();
    let refused = connection.reply().await.unwrap();
    assert_eq!(
        (refused.status, refused.code()),
        (413, "body_too_large".to_owned())
    );
    let chunked = world
        .client
        .with("transfer-encoding", "chunked")
        .with("content-type", "application/json");
    let mut connection = connect(&world).await;
    connection
        .send(&chunked.request("POST", "/v1/tasks", None))
        .await
        .unwrap();
    let mut chunk = format!("{:x}\r\n", 1024 * 1024).into_bytes();
    chunk.extend(vec![b' '; 1024 * 1024]);
    chunk.extend(b"\r\n");
    for _ in 0..12 {
        connection.send(&chunk).await.unwrap();
    }
    assert_eq!(connection.reply().await.unwrap().status, 413);
}

/// S9 and S14.
#[tokio::test]
async fn what_nests_too_deep_is_refused_before_it_is_read() {
    let world = World::open().await;
    for (depth, status) in [(63, 202), (64, 400), (100_000, 400)] {
        let input = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let body = format!(r#"{{"task": "bytes", "input": {input}}}"#);
        let answer = world
            .client
            .call("POST", "/v1/tasks", Some(body.as_bytes()))
            .await;
        assert_eq!(answer.status, status, "{depth}");
        assert!(status == 202 || answer.code() == "too_deep");
    }
}

/// S9.
#[tokio::test]
async fn a_target_or_a_head_that_is_too_long_is_refused() {
    let world = World::open().await;
    let target = format!("/v1/tasks?cursor={}", "x".repeat(9000));
    let refused = world.client.get(&target).await;
    assert_eq!(
        (refused.status, refused.code()),
        (414, "uri_too_long".to_owned())
    );
    let head = world.client.with("x-long", &"x".repeat(20_000));
    assert_eq!(head.get("/v1/tasks").await.status, 431);
}

/// S10: a head that never ends held a connection for ever.
#[tokio::test]
async fn a_head_or_a_body_that_does_not_come_is_not_waited_for() {
    let options = limits(|limits| {
        limits.header_time = Duration::from_millis(200);
        limits.body_time = Duration::from_millis(200);
    });
    let world = World::with(options, &[]).await;
    for begun in [&b""[..], b"GET /v1/tasks HTTP/1.1\r\nhost: local"] {
        let mut connection = connect(&world).await;
        connection.send(begun).await.unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(10), connection.reply()).await;
        assert!(ended.expect("it is ended").is_err());
    }
    let mut connection = connect(&world).await;
    let request = world
        .client
        .request("POST", "/v1/tasks", Some(&[b' '; 100]));
    connection
        .send(&request[..request.len() - 50])
        .await
        .unwrap();
    let slow = connection.reply().await.unwrap();
    assert_eq!(
        (slow.status, slow.code()),
        (408, "body_too_slow".to_owned())
    );
}

/// S10.
#[tokio::test]
async fn a_pause_between_requests_is_longer_than_a_head_may_take_and_has_an_end() {
    let options = limits(|limits| {
        limits.header_time = Duration::from_millis(150);
        limits.idle_time = Duration::from_millis(600);
    });
    let world = World::with(options, &[]).await;
    let mut connection = connect(&world).await;
    let request = world.client.request("GET", "/livez", None);
    for _ in 0..2 {
        connection.send(&request).await.unwrap();
        assert_eq!(connection.reply().await.unwrap().status, 200);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let ended = tokio::time::timeout(Duration::from_secs(10), connection.reply()).await;
    assert!(ended.expect("it is ended").is_err());
}

/// S10: hundreds of connections on which nothing is asked left no room for anybody.
#[tokio::test]
async fn a_crowd_that_asks_for_nothing_keeps_nobody_out() {
    let world = World::with(Options::new(), &[("connections", "64")]).await;
    let mut crowd = Vec::new();
    for _ in 0..500 {
        let mut connection = connect(&world).await;
        connection
            .send(b"GET /v1/tasks HTTP/1.1\r\nx-slow: ")
            .await
            .unwrap();
        crowd.push(connection);
    }
    let began = std::time::Instant::now();
    let answer = world.client.get("/v1/tasks").await;
    assert_eq!(answer.status, 200);
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "it took {:?}",
        began.elapsed()
    );
    let first = &mut crowd[0];
    let ended = tokio::time::timeout(Duration::from_secs(5), first.reply()).await;
    assert!(ended.expect("it made room").is_err());
    let last = crowd.last_mut().unwrap();
    last.send(b"x\r\nhost: localhost\r\n\r\n").await.unwrap();
    assert_eq!(last.reply().await.unwrap().status, 200);
}

/// S10: whoever takes nothing of what he asked for holds it in memory.
#[tokio::test]
async fn a_client_that_takes_nothing_is_left() {
    let options = limits(|limits| {
        limits.write_time = Duration::from_millis(300);
        limits.slow_reader = Duration::from_secs(3600);
    });
    let world = World::with(options, &[]).await;
    let input = format!("\"{}\"", "x".repeat(9_000_000));
    let body = format!(r#"{{"task": "bytes", "task_id": "a", "input": {input}}}"#);
    let wait = world.client.with("prefer", "wait=60");
    assert_eq!(
        wait.call("POST", "/v1/tasks", Some(body.as_bytes()))
            .await
            .status,
        200
    );
    let mut connection = connect(&world).await;
    let request = world.client.request("GET", "/v1/tasks/a", None);
    // More than the sockets between the two hold.
    for _ in 0..3 {
        connection.send(&request).await.unwrap();
    }
    let ended = async {
        while connection.send(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(60), ended).await;
    assert!(ended.is_ok(), "it is still connected");
}

#[tokio::test]
async fn a_value_of_the_largest_size_is_taken() {
    let world = World::open().await;
    let input = format!("\"{}\"", "x".repeat(10 * 1024 * 1024 - 2));
    let body = format!(r#"{{"task": "bytes", "task_id": "a", "input": {input}}}"#);
    assert_eq!(
        world
            .client
            .call("POST", "/v1/tasks", Some(body.as_bytes()))
            .await
            .status,
        202
    );
    let body = format!(
        r#"{{"task": "bytes", "task_id": "b", "input": "x{}}}"#,
        &input[1..]
    );
    let refused = world
        .client
        .call("POST", "/v1/tasks", Some(body.as_bytes()))
        .await;
    assert_eq!(
        (refused.status, refused.code()),
        (413, "too_large".to_owned())
    );
    assert_eq!(refused.json()["limit"], json!(10 * 1024 * 1024));
    assert_eq!(world.play("c", say("x")).await.status, 202);
}
