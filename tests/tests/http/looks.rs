//! What the server tells of itself: types, store, versions, probes, metrics, and its own description.

use crate::world::World;
use outlive::{Engine, HandlerError};
use outlive_server::Options;
use outlive_tests::play::{ask, say};
use serde_json::json;
use std::path::Path;

#[tokio::test]
async fn the_types_the_store_and_the_versions_are_told() {
    let world = World::open().await;
    let types = world.client.get("/v1/task-types").await.json();
    let hidden = types["task_types"].as_array().unwrap().iter();
    let hidden: Vec<_> = hidden.filter(|def| def["remote"] == false).collect();
    assert_eq!((hidden.len(), &hidden[0]["task"]), (1, &json!("hidden")));
    let store = world.client.get("/v1/store").await.json();
    assert_eq!(
        (&store["health"], &store["logs_events"]),
        (&json!("running"), &json!(true))
    );
    assert!(!store.to_string().contains("tasks.redb"));
    let version = world.client.get("/version").await.json();
    assert_eq!(version["name"], "outlive-server");
}

#[tokio::test]
async fn why_a_task_waits_is_told_in_words_and_as_data() {
    let world = World::open().await;
    world.play("a", ask("one")).await;
    let wait = world.client.with("prefer", "wait=30");
    assert_eq!(
        wait.get("/v1/tasks/a/result").await.json()["outcome"]["kind"],
        "suspended"
    );
    let why = world.client.get("/v1/tasks/a/explain").await.json();
    assert_eq!(why["waits_for"], json!({"kind": "input", "reason": "more"}));
    assert_eq!(why["release"], json!({"kind": "input"}));
    assert!(why["words"].as_str().unwrap().starts_with("a: "));
    assert_eq!(world.client.get("/v1/tasks/none/explain").await.status, 404);
}

#[tokio::test]
async fn the_probes_say_one_line_for_each_check() {
    let world = World::open().await;
    assert_eq!(world.client.get("/livez").await.text(), "ok\n");
    let ready = world.client.get("/readyz").await;
    assert_eq!((ready.status, ready.text().lines().count()), (200, 3));
    world.engine.shutdown(std::time::Duration::ZERO).await;
    let ready = world.client.get("/readyz").await;
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("engine: shutting down"));
    assert_eq!(world.client.get("/livez").await.status, 200);
}

#[tokio::test]
async fn the_metrics_count_what_was_answered_and_add_what_the_program_has() {
    let options = Options::new().metrics(|| "of_the_program 17\n".to_owned());
    let world = World::with(options, &[]).await;
    world.play("a", say("x")).await;
    let text = world.client.get("/metrics").await.text();
    for line in [
        "outlive_http_answers_total{class=\"2xx\"} 1",
        "outlive_engine_up 1",
        "outlive_http_streams 0",
        "of_the_program 17",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in:\n{text}"
        );
    }
}

#[tokio::test]
async fn the_description_is_the_one_that_is_kept() {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json"));
    let described = outlive_server::openapi() + "\n";
    if std::env::var_os("OUTLIVE_KEEP_OPENAPI").is_some() {
        std::fs::write(path, &described).expect("it is written");
    }
    let kept = std::fs::read_to_string(path).expect("docs/openapi.json");
    assert!(
        kept == described,
        "run this test with OUTLIVE_KEEP_OPENAPI=1 and look at the difference"
    );
    let world = World::open().await;
    assert_eq!(
        world.client.get("/openapi.json").await.text() + "\n",
        described
    );
}

#[tokio::test]
async fn a_router_is_mounted_under_any_path_of_any_application() {
    let engine = Engine::in_memory()
        .task(crate::world::BYTES, |_: outlive::Ctx, value| async move {
            Ok::<_, HandlerError>(outlive::Reply::from(value))
        });
    let engine = engine.open().await.unwrap();
    let app = axum::Router::new().nest("/x/{name}", outlive_server::router(engine));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = outlive_tests::http::Client::new(listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let body = json!({"task": "bytes", "task_id": "a", "input": 1});
    let started = client.post("/x/y/v1/tasks", body).await;
    assert_eq!(
        (started.status, started.header("location")),
        (202, Some("/x/y/v1/tasks/a"))
    );
    assert_eq!(client.get("/x/y/v1/tasks/a").await.json()["task_id"], "a");
}
