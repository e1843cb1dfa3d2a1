//! Following: every event once, over the death of the server.

use crate::program::{Ran, begun};
use crate::world::World;
use outlive_tests::process::Other;
use outlive_tests::reporter;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};

/// Recorded steps, each of which emits one item.
const STEPS: u64 = 40;
/// How long a step takes, so that there is something to kill.
const STEP: Duration = Duration::from_millis(30);
/// Events that are waited for before each of the kills.
const KILLED_AFTER: [usize; 2] = [15, 45];

/// In a process of its own, which is killed.
#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_serves() {
    reporter::serve(STEP).await;
}

fn serve(directory: &Path) -> (Other, SocketAddr) {
    reporter::begun("watched::a_program_that_serves", directory)
}

/// Each number once and in order; the log of transitions has gaps in its numbers, and no number twice.
fn judge(lines: &[String], gapless: bool) {
    let event = |line: &String| serde_json::from_str::<Value>(line).expect("an event");
    let events: Vec<Value> = lines.iter().map(event).collect();
    let id = |event: &Value| event["id"].as_str().map(str::to_owned);
    let numbers: Vec<u64> = events
        .iter()
        .filter_map(id)
        .filter_map(|id| id.parse().ok())
        .collect();
    assert!(
        numbers.is_sorted_by(|a, b| a < b),
        "one came twice: {numbers:?}"
    );
    if gapless {
        let all: Vec<u64> = (1..=numbers.len() as u64).collect();
        assert_eq!(numbers, all, "one is missing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_and_a_wait_go_on_when_their_server_is_killed_and_comes_back() {
    let world = World::empty();
    let (mut server, address) = serve(world.directory());
    let url = format!("http://{address}");
    let at = ["--url", url.as_str(), "-o", "jsonl"];
    let steps = STEPS.to_string();
    let start = [&at[..], &["start", "report", &steps, "--id", "a"]].concat();
    crate::program::run(world.directory(), &start)
        .await
        .ended(0);
    let watch = [&at[..], &["watch", "a", "--from", "start"]].concat();
    let mut watch = begun(world.directory(), &watch);
    let result = ["--url", url.as_str(), "result", "a", "--timeout", "60"];
    let result = begun(world.directory(), &result);
    let all = [&at[..], &["watch", "--from", "start"]].concat();
    let mut all = begun(world.directory(), &all);
    let mut lines = BufReader::new(watch.stdout.take().expect("its output")).lines();
    let mut seen: Vec<String> = Vec::new();
    for killed_after in KILLED_AFTER {
        while seen.len() < killed_after {
            seen.push(lines.next_line().await.expect("read").expect("a line"));
        }
        server.kill();
        (server, _) = serve(world.directory());
    }
    while let Some(line) = lines.next_line().await.expect("read") {
        seen.push(line);
    }
    judge(&seen, true);
    let end: Value = serde_json::from_str(seen.last().expect("an end")).expect("an event");
    assert_eq!(end["event"], "end");
    assert_eq!(end["data"]["outcome"]["kind"], "succeeded");
    Ran::of(watch.wait_with_output().await.expect("it ends")).ended(0);
    let result = Ran::of(result.wait_with_output().await.expect("it ends"));
    assert_eq!(result.ended(0).out, steps);

    let mut lines = BufReader::new(all.stdout.take().expect("its output")).lines();
    let mut transitions = Vec::new();
    while !transitions
        .last()
        .is_some_and(|line: &String| line.contains("\"succeeded\""))
    {
        transitions.push(lines.next_line().await.expect("read").expect("a line"));
    }
    judge(&transitions, false);
    let count = |what: &str| {
        let what = format!("\"what\":\"{what}\"");
        transitions
            .iter()
            .filter(|line| line.contains(&what))
            .count()
    };
    assert_eq!(
        (count("started"), count("recovered"), count("succeeded")),
        (1, 2, 1)
    );
    server.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_on_a_file_shows_what_there_is_and_ends_as_the_task_did() {
    let world = World::filled().await;
    let ran = world.file(&["watch", "emits", "--items"]).await.ended(0);
    assert_eq!(ran.out, "{\"n\": 1.0}\n{\"n\": 2.0}\n{\"n\": 3.0}\n");
    let ran = world
        .file(&["watch", "emits", "--items", "--from", "2"])
        .await
        .ended(0);
    assert_eq!(ran.out, "{\"n\": 3.0}\n");
    world.file(&["watch", "bad-1"]).await.ended(5);
    world.file(&["watch", "gone-1"]).await.ended(6);
    world.file(&["watch", "none"]).await.ended(3);
    let ran = world.file(&["watch", "-o", "jsonl"]).await.ended(0);
    judge(
        &ran.out.lines().map(str::to_owned).collect::<Vec<_>>(),
        false,
    );
}
