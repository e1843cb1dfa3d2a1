//! Orders over HTTP: cancel, terminate, retry, resume; repeated, they change nothing.

use crate::world::World;
use outlive_tests::gate::until;
use outlive_tests::play::{Act, ask, held, say};
use serde_json::json;

#[tokio::test]
async fn an_order_that_is_repeated_changes_nothing_and_is_answered_alike() {
    let world = World::open().await;
    for (id, order, other) in [("a", "cancel", "terminate"), ("b", "terminate", "cancel")] {
        world.play(id, ask("one")).await;
        let path = |order: &str| format!("/v1/tasks/{id}/{order}");
        let status =
            async || world.client.get(&format!("/v1/tasks/{id}")).await.json()["status"].clone();
        until(async || status().await == "suspended").await;
        for _ in 0..2 {
            let ordered = world
                .client
                .post(&path(order), json!({"reason": "enough"}))
                .await;
            assert_eq!(ordered.status, 202);
        }
        let conflict = world.client.post(&path(other), json!({})).await;
        assert_eq!(
            (conflict.status, conflict.code()),
            (409, "conflict".to_owned())
        );
        let task = world.client.get(&format!("/v1/tasks/{id}")).await.json();
        assert_eq!(task["outcome"]["reason"], "enough");
    }
    let missing = world.client.post("/v1/tasks/none/cancel", json!({})).await;
    assert_eq!(
        (missing.status, missing.code()),
        (404, "not_found".to_owned())
    );
}

#[tokio::test]
async fn a_task_that_failed_is_retried_and_its_old_outcome_is_history() {
    let world = World::open().await;
    world.play("a", Act::Never("no".to_owned())).await;
    let wait = world.client.with("prefer", "wait=30");
    assert_eq!(
        wait.get("/v1/tasks/a/result").await.json()["outcome"]["kind"],
        "failed"
    );
    let retried = wait
        .post("/v1/tasks/a/retry", json!({"from_start": true}))
        .await;
    assert_eq!(
        (retried.status, &retried.json()["outcome"]["kind"]),
        (200, &json!("failed"))
    );
    let history = world.client.get("/v1/tasks/a/history").await.json();
    let past = &history["runs"][0];
    assert_eq!(
        (&past["run"], &past["outcome"]["error"]["message"]),
        (&json!(1), &json!("no"))
    );
    let explained = world.client.get("/v1/tasks/a/explain").await.json();
    assert_eq!(explained["waits_for"]["ended"]["kind"], "failed");
    assert_eq!(explained["release"]["kind"], "retry");
}

#[tokio::test]
async fn a_resumption_repeated_under_its_key_is_carried_out_once() {
    let world = World::open().await;
    world.play("a", ask("one")).await;
    let wait = world.client.with("prefer", "wait=30");
    assert_eq!(wait.get("/v1/tasks/a/result").await.status, 200);
    let client = wait.with("idempotency-key", "again");
    for _ in 0..2 {
        let resumed = client.post("/v1/tasks/a/resume", json!({})).await;
        assert_eq!((resumed.status, &resumed.json()["turn"]), (200, &json!(2)));
    }
}

#[tokio::test]
async fn a_handler_that_runs_is_told_of_a_cancel_and_its_own_reply_counts() {
    let world = World::open().await;
    world.play("a", held(say("mine"))).await;
    world.play.gate.came(1).await;
    let ordered = world
        .client
        .call("POST", "/v1/tasks/a/cancel", Some(b""))
        .await;
    assert_eq!(ordered.status, 202);
    let task = world.client.get("/v1/tasks/a").await.json();
    assert_eq!(
        (&task["status"], &task["cancel_requested"]),
        (&json!("in_progress"), &json!(""))
    );
    world.play.gate.let_through(1);
    let wait = world.client.with("prefer", "wait=30");
    assert_eq!(
        wait.get("/v1/tasks/a/result").await.json()["output"],
        "mine"
    );
}
