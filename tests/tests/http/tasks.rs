//! Tasks started, listed, shown and removed over HTTP.

use crate::world::World;
use outlive_tests::gate::until;
use outlive_tests::play::{ask, held, say};
use serde_json::{Value, json};

#[tokio::test]
async fn a_task_is_started_and_its_result_waited_for() {
    let world = World::open().await;
    let started = world.play("a", held(say("done"))).await;
    assert_eq!(
        (started.status, started.header("location")),
        (202, Some("/v1/tasks/a"))
    );
    let told = started.json();
    assert_eq!(told["task_id"], "a");
    assert_eq!(
        (&told["turn"], &told["status"]),
        (&json!(1), &json!("in_progress"))
    );
    assert!(told["input_id"].is_string() && told["session_id"].is_null());
    let before = world.client.get("/v1/tasks/a/result").await;
    assert_eq!(before.status, 202);
    world.play.gate.let_through(1);
    let client = world.client.with("prefer", "wait=30");
    let result = client.get("/v1/tasks/a/result").await;
    assert_eq!(
        (result.status, result.header("preference-applied")),
        (200, Some("wait=30"))
    );
    let told = result.json();
    assert_eq!(
        (&told["outcome"]["kind"], &told["output"]),
        (&json!("succeeded"), &json!("done"))
    );
}

#[tokio::test]
async fn a_start_waits_for_the_outcome_only_when_it_is_asked_to() {
    let world = World::open().await;
    let client = world.client.with("prefer", "wait=30");
    let body = json!({"task": "play", "task_id": "a", "input": say("done")});
    let outcome = client.post("/v1/tasks", body).await;
    assert_eq!(
        (outcome.status, &outcome.json()["output"]),
        (200, &json!("done"))
    );
    let failed = json!({"task": "play", "task_id": "b", "input": {"Never": "no"}});
    let failed = client.post("/v1/tasks", failed).await;
    let error = &failed.json()["outcome"]["error"];
    assert_eq!(
        (failed.status, &error["type"], &error["message"]),
        (200, &json!("error"), &json!("no"))
    );
    let none = world.client.with("prefer", "wait=0");
    let body = json!({"task": "play", "task_id": "c", "input": held(say("late"))});
    assert_eq!(none.post("/v1/tasks", body).await.status, 202);
}

#[tokio::test]
async fn a_start_repeated_under_its_key_is_carried_out_once_and_tells_the_outcome() {
    let world = World::open().await;
    let client = world
        .client
        .with("idempotency-key", "\"order 17\"")
        .with("prefer", "wait=30");
    let body = json!({"task": "play", "input": say("once")});
    let first = client.post("/v1/tasks", body.clone()).await;
    let again = client.post("/v1/tasks", body).await;
    assert_eq!((first.status, again.status), (200, 200));
    assert_eq!(first.json(), again.json());
    assert_eq!(world.play.seen.len(), 1);
    let named = world.client.with("idempotency-key", "k-1");
    let body = json!({"task": "play", "task_id": "a", "input_id": "k-2", "input": say("no")});
    assert_eq!(named.post("/v1/tasks", body).await.code(), "two_input_ids");
}

#[tokio::test]
async fn an_input_that_attaches_to_an_ended_turn_is_answered_with_its_outcome() {
    let world = World::open().await;
    let body = json!({"task": "play", "task_id": "a", "input_id": "i", "input": say("done")});
    assert_eq!(
        world.client.post("/v1/tasks", body.clone()).await.status,
        202
    );
    until(async || world.client.get("/v1/tasks/a/result").await.status == 200).await;
    let attached = world.client.post("/v1/tasks", body).await;
    assert_eq!(
        (attached.status, &attached.json()["output"]),
        (200, &json!("done"))
    );
}

#[tokio::test]
async fn values_go_through_byte_for_byte() {
    let world = World::open().await;
    let input = r#"{"b": 1.50, "a": [1e2, 123456789012345678901234567890, "\u00e4"]}"#;
    let body = format!(r#"{{"task": "bytes", "task_id": "a", "input": {input}}}"#);
    let client = world.client.with("prefer", "wait=30");
    let outcome = client
        .call("POST", "/v1/tasks", Some(body.as_bytes()))
        .await;
    assert_eq!(outcome.status, 200);
    assert!(outcome.text().contains(&format!("\"output\":{input}")));
    let shown = world.client.get("/v1/tasks/a").await;
    assert!(shown.text().contains(&format!("\"output\":{input}")));
    assert_eq!(world.client.get("/v1/tasks/a/output").await.text(), input);
}

#[tokio::test]
async fn what_nobody_knows_is_refused() {
    let world = World::open().await;
    let refused = async |body: Value| world.client.post("/v1/tasks", body).await;
    let unknown = refused(json!({"task": "play", "input": say("x"), "prio": 1})).await;
    assert_eq!(
        (unknown.status, unknown.code()),
        (400, "invalid_body".to_owned())
    );
    assert_eq!(refused(json!({"task": "none"})).await.code(), "no_handler");
    let retry = json!({"task": "play", "retry": {"kind": "fixed", "attempts": 0}});
    assert_eq!(refused(retry).await.code(), "invalid_retry");
    let tags = json!({"task": "play", "input": say("x"), "tags": {"outlive.x": "y"}});
    assert_eq!(refused(tags).await.code(), "reserved_tag");
    let parameter = world.client.get("/v1/tasks?limt=1").await;
    assert_eq!(
        (parameter.status, parameter.code()),
        (400, "unknown_parameter".to_owned())
    );
    assert_eq!(world.client.get("/v1/nothing").await.code(), "no_such_path");
    let method = world.client.delete("/v1/tasks").await;
    assert_eq!(
        (method.status, method.header("allow")),
        (405, Some("GET,HEAD,POST"))
    );
    let malformed = world.client.call("POST", "/v1/tasks", Some(b"{")).await;
    assert_eq!(malformed.code(), "malformed_json");
}

#[tokio::test]
async fn what_a_call_says_about_its_task_is_kept_with_it() {
    let world = World::open().await;
    let body = json!({
        "task": "play", "task_id": "a", "input": ask("one"), "session_id": "s", "title": "t",
        "description": "d", "tags": {"k": "v"}, "priority": 2, "timeout_ms": 60_000,
        "retry": {"kind": "linear", "attempts": 2, "initial_ms": 5},
    });
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let client = world.client.with("traceparent", trace);
    assert_eq!(client.post("/v1/tasks", body).await.status, 202);
    let task = world.client.get("/v1/tasks/a").await.json();
    for (key, value) in [
        ("session_id", "s"),
        ("title", "t"),
        ("description", "d"),
        ("traceparent", trace),
    ] {
        assert_eq!(task[key], value);
    }
    assert_eq!(
        (&task["tags"]["k"], &task["priority"]),
        (&json!("v"), &json!(2))
    );
    assert_eq!(task["source"]["type"], "outlive.task");
    let at = json!({"task": "play", "task_id": "b", "input": say("x"), "start_at": "2999-01-01T00:00:00Z"});
    assert_eq!(
        world.client.post("/v1/tasks", at).await.json()["status"],
        "pending"
    );
    let task = world.client.get("/v1/tasks/b").await.json();
    assert_eq!(
        (&task["due_at"], &task["wait"]["kind"]),
        (&json!("2999-01-01T00:00:00Z"), &json!("delayed"))
    );
}

#[tokio::test]
async fn a_change_is_made_only_while_the_task_is_as_it_was_seen() {
    let world = World::open().await;
    world.play("a", ask("one")).await;
    until(async || world.client.get("/v1/tasks/a").await.json()["status"] == "suspended").await;
    let seen = world.client.get("/v1/tasks/a").await;
    let etag = seen.header("etag").expect("an etag").to_owned();
    let known = world
        .client
        .with("if-none-match", &etag)
        .get("/v1/tasks/a")
        .await;
    assert_eq!(
        (known.status, known.body.len(), known.header("etag")),
        (304, 0, Some(&*etag))
    );
    let client = world.client.with("if-match", &etag);
    assert_eq!(
        client.post("/v1/tasks/a/resume", json!({})).await.status,
        202
    );
    for path in ["resume", "cancel", "terminate", "retry", "inputs"] {
        let body = if path == "inputs" {
            json!({"input": say("x")})
        } else {
            json!({})
        };
        let refused = client.post(&format!("/v1/tasks/a/{path}"), body).await;
        assert_eq!(
            (refused.status, refused.code()),
            (412, "precondition_failed".to_owned()),
            "{path}"
        );
    }
    assert_eq!(client.delete("/v1/tasks/a").await.status, 412);
    assert_eq!(client.delete("/v1/tasks/b").await.status, 412);
    let changed = world
        .client
        .with("if-none-match", &etag)
        .get("/v1/tasks/a")
        .await;
    assert_eq!(changed.status, 200);
}

#[tokio::test]
async fn tasks_are_listed_in_pages_and_by_conditions() {
    let world = World::open().await;
    for n in 0..5 {
        let tag = if n % 2 == 0 { "even" } else { "odd" };
        let id = format!("t-{n}");
        let body = json!({"task": "play", "task_id": id, "input": say("x"), "tags": {"is": tag}});
        assert_eq!(world.client.post("/v1/tasks", body).await.status, 202);
    }
    let ids = |page: &Value| {
        let tasks = page["tasks"].as_array().expect("tasks").iter();
        let ids = tasks.map(|task| task["task_id"].as_str().expect("an id").to_owned());
        ids.collect::<Vec<_>>()
    };
    let first = world.client.get("/v1/tasks?limit=3").await.json();
    assert_eq!(ids(&first), ["t-4", "t-3", "t-2"]);
    let next = first["next"].as_str().expect("a cursor");
    let second = world
        .client
        .get(&format!("/v1/tasks?limit=3&cursor={next}"))
        .await
        .json();
    assert_eq!(
        (ids(&second), &second["next"]),
        (vec!["t-1".to_owned(), "t-0".to_owned()], &Value::Null)
    );
    let odd = world
        .client
        .get("/v1/tasks?tag=is:odd&task=play")
        .await
        .json();
    assert_eq!(ids(&odd), ["t-3", "t-1"]);
    assert_eq!(
        ids(&world.client.get("/v1/tasks?task=steer").await.json()),
        Vec::<String>::new()
    );
    let later = world
        .client
        .get("/v1/tasks?created_from=2999-01-01T00:00:00Z")
        .await
        .json();
    assert_eq!(ids(&later), Vec::<String>::new());
    for (query, code) in [
        ("limit=501", "invalid_parameter"),
        ("status=ended", "invalid_parameter"),
        ("cursor=x", "invalid_cursor"),
        ("created_to=yesterday", "invalid_time"),
    ] {
        let refused = world.client.get(&format!("/v1/tasks?{query}")).await;
        assert_eq!((refused.status, refused.code()), (400, code.to_owned()));
    }
}

#[tokio::test]
async fn a_removal_is_repeated_without_harm_and_refused_while_the_task_runs() {
    let world = World::open().await;
    world.play("a", held(say("x"))).await;
    world.play.gate.came(1).await;
    let refused = world.client.delete("/v1/tasks/a").await;
    assert_eq!(
        (refused.status, refused.code()),
        (409, "conflict".to_owned())
    );
    assert_eq!(refused.json()["task_status"], "in_progress");
    assert_eq!(
        world.client.delete("/v1/tasks/a?force=true").await.status,
        204
    );
    assert_eq!(world.client.delete("/v1/tasks/a").await.status, 204);
    let gone = world.client.get("/v1/tasks/a").await;
    assert_eq!((gone.status, gone.code()), (404, "not_found".to_owned()));
}
