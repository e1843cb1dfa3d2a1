//! Further inputs, and questions, over HTTP.

use crate::world::World;
use outlive_tests::gate::until;
use outlive_tests::play::{held, say};
use serde_json::{Value, json};

async fn steered(world: &World) {
    let body = json!({"task": "steer", "task_id": "a", "input_id": "one", "input": held(say("1"))});
    assert_eq!(world.client.post("/v1/tasks", body).await.status, 202);
    world.play.gate.came(1).await;
}

#[tokio::test]
async fn a_task_that_runs_is_steered_and_what_waits_is_listed_and_taken_back() {
    let world = World::open().await;
    steered(&world).await;
    let give = async |id: &str| {
        let body = json!({"input_id": id, "input": say(id), "delivery": "after_turn"});
        world.client.post("/v1/tasks/a/inputs", body).await
    };
    let queued = give("two").await;
    assert_eq!(
        (queued.status, &queued.json()["accepted"]),
        (202, &json!("queued"))
    );
    assert_eq!(give("three").await.status, 202);
    let full = give("four").await;
    assert_eq!(
        (full.status, full.code()),
        (409, "steering_queue_full".to_owned())
    );
    let listed = world.client.get("/v1/tasks/a/inputs").await.json();
    assert_eq!(listed["inputs"][1]["input_id"], "three");
    assert_eq!(listed["inputs"][1]["delivery"], "after_turn");
    let status = async |id: &str| {
        let status = world.client.get(&format!("/v1/tasks/a/inputs/{id}")).await;
        status.json()["status"].clone()
    };
    assert_eq!(status("three").await, json!({"kind": "queued", "ahead": 1}));
    let withdrawn = world
        .client
        .delete("/v1/tasks/a/inputs/three?reason=no")
        .await;
    assert_eq!(withdrawn.status, 204);
    assert_eq!(
        status("three").await,
        json!({"kind": "withdrawn", "reason": "no"})
    );
    world.play.gate.let_through(1);
    let client = world.client.with("prefer", "wait=30");
    let second = client.get("/v1/tasks/a/result?input_id=two").await.json();
    assert_eq!(
        (&second["output"], &second["turn"]),
        (&json!("two"), &json!(2))
    );
    let third = client.get("/v1/tasks/a/result?input_id=three").await.json();
    assert_eq!(
        third["outcome"],
        json!({"kind": "cancelled", "reason": "no"})
    );
    let unknown = client.get("/v1/tasks/a/result?input_id=five").await;
    assert_eq!(
        (unknown.status, unknown.code()),
        (404, "input_not_found".to_owned())
    );
}

#[tokio::test]
async fn an_input_for_a_task_that_is_not_there_starts_none() {
    let world = World::open().await;
    let refused = world
        .client
        .post("/v1/tasks/none/inputs", json!({"input": say("x")}))
        .await;
    assert_eq!(
        (refused.status, refused.code()),
        (404, "not_found".to_owned())
    );
    assert_eq!(world.client.get("/v1/tasks/none/inputs").await.status, 404);
    assert_eq!(world.client.get("/v1/tasks/none").await.status, 404);
}

#[tokio::test]
async fn an_input_repeated_under_its_key_is_given_once() {
    let world = World::open().await;
    steered(&world).await;
    let client = world.client.with("idempotency-key", "k-1");
    for accepted in ["queued", "attached"] {
        let given = client
            .post("/v1/tasks/a/inputs", json!({"input": say("2")}))
            .await;
        assert_eq!(
            (given.status, &given.json()["accepted"]),
            (202, &json!(accepted))
        );
    }
}

#[tokio::test]
async fn a_question_is_listed_and_answered_once() {
    let world = World::open().await;
    let body = json!({"task": "asker", "task_id": "a", "input": null});
    assert_eq!(world.client.post("/v1/tasks", body).await.status, 202);
    let asked = async || world.client.get("/v1/tasks/a/asks").await.json()["asks"][0].clone();
    until(async || asked().await != Value::Null).await;
    let question = asked().await;
    assert_eq!(
        (&question["question"], &question["key"]),
        (&json!("go on?"), &json!("may go"))
    );
    assert_eq!(
        world.client.get("/v1/asks").await.json()["asks"][0],
        question
    );
    let answer = async |body: Value| world.client.post("/v1/tasks/a/asks/may%20go", body).await;
    let other = answer(json!({"answer": true, "digest": "0".repeat(32)})).await;
    assert_eq!(
        (other.status, other.code()),
        (409, "digest_mismatch".to_owned())
    );
    let body = json!({"answer": true, "digest": question["digest"]});
    assert_eq!(answer(body.clone()).await.status, 204);
    assert_eq!(answer(body).await.status, 204);
    let second = answer(json!({"answer": false})).await;
    assert_eq!(
        (second.status, second.code()),
        (409, "already_answered".to_owned())
    );
    let client = world.client.with("prefer", "wait=30");
    assert_eq!(
        client.get("/v1/tasks/a/result").await.json()["output"],
        true
    );
    let steps = world.client.get("/v1/tasks/a/steps").await.json();
    assert_eq!(
        (&steps["steps"][0]["key"], &steps["steps"][0]["result"]),
        (&json!("may go"), &json!(true))
    );
}
