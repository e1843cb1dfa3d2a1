//! `POST /tasks/resume`: six answers, and a body to none of them.

use crate::world::World;
use outlive_tests::gate::until;
use outlive_tests::play::{ask, say};
use serde_json::json;
use std::time::Duration;

const PATH: &str = "/tasks/resume";

#[tokio::test]
async fn a_suspended_task_is_entered_again_and_told_by_the_status_alone() {
    let world = World::open().await;
    world.play("a", ask("one")).await;
    let turn = async || world.client.get("/v1/tasks/a").await.json()["turn"].clone();
    let status = async || world.client.get("/v1/tasks/a").await.json()["status"].clone();
    until(async || status().await == "suspended").await;
    let resumed = world.client.post(PATH, json!({"task_id": "a"})).await;
    assert_eq!((resumed.status, resumed.body.len()), (202, 0));
    assert_eq!(turn().await, 2);
}

#[tokio::test]
async fn what_cannot_be_resumed_is_told_by_the_status_alone() {
    let world = World::open().await;
    world.play("a", say("done")).await;
    until(async || world.client.get("/v1/tasks/a/result").await.status == 200).await;
    let bodies: [(&[u8], u16); 8] = [
        (b"{\"task_id\": \"none\"}", 404),
        (b"{\"task_id\": \"a\"}", 409),
        (b"{\"task_id\": \"no spaces\"}", 400),
        (b"{\"task_id\": \"\"}", 400),
        (b"{\"task_id\": 17}", 400),
        (b"{\"task_id\": \"a\", \"more\": 1}", 400),
        (b"{}", 400),
        (b"", 400),
    ];
    for (body, status) in bodies {
        let answer = world.client.call("POST", PATH, Some(body)).await;
        assert_eq!((answer.status, answer.body.len()), (status, 0), "{body:?}");
    }
    let form = world.client.with("content-type", "text/plain");
    let answer = form.call("POST", PATH, Some(b"{\"task_id\": \"a\"}")).await;
    assert_eq!((answer.status, answer.body.len()), (400, 0));
    world.engine.shutdown(Duration::ZERO).await;
    let answer = world.client.post(PATH, json!({"task_id": "a"})).await;
    assert_eq!((answer.status, answer.body.len()), (503, 0));
}

#[tokio::test]
async fn the_path_of_tasks_itself_is_left_free() {
    let world = World::open().await;
    assert_eq!(world.client.get("/tasks").await.code(), "no_such_path");
    assert_eq!(world.client.get("/tasks/a").await.code(), "no_such_path");
}
