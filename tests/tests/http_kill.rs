//! A stream that is followed while its server is killed and started again: no event is missing, and none comes twice.

use outlive_tests::http::{Client, Event};
use outlive_tests::process::Other;
use outlive_tests::reporter;
use serde_json::json;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// Recorded steps, each of which emits one item.
const STEPS: u64 = 60;
/// How often the server is killed.
const KILLS: usize = 3;
/// Events that are waited for before each kill.
const BETWEEN: usize = 25;
/// How long a step takes, so that there is something to kill.
const STEP: Duration = Duration::from_millis(5);
/// In a process of its own, which is killed.
#[tokio::test]
async fn a_process_that_serves() {
    reporter::serve(STEP).await;
}

fn serve(directory: &Path) -> (Other, SocketAddr) {
    reporter::begun("a_process_that_serves", directory)
}

/// Each number once and in order, and what is not abandoned is all there is.
fn judge(events: &[Event], kills: usize) {
    let (end, rest) = events.split_last().expect("events");
    assert_eq!(end.name, "end");
    let ids: Vec<u64> = rest
        .iter()
        .map(|event| event.id.parse().expect("a number"))
        .collect();
    let all: Vec<u64> = (1..=rest.len() as u64).collect();
    assert_eq!(ids, all, "an event is missing, or came twice");
    assert_eq!(end.id, format!("{}.end", rest.len()));
    let resets = rest.iter().filter(|event| event.name == "reset").count();
    assert!(resets >= kills, "{resets} resets of {kills} kills");
    let mut open: Vec<(String, u64)> = Vec::new();
    let mut kept = Vec::new();
    for event in rest {
        let data = event.json();
        let step = data["step"].as_str().unwrap_or_default().to_owned();
        match event.name.as_str() {
            "item" => open.push((step, data["item"].as_u64().expect("a number"))),
            "kept" => {
                let of_step = |(owner, _): &(String, u64)| *owner == step;
                kept.extend(open.iter().filter(|item| of_step(item)).map(|(_, n)| *n));
                open.retain(|item| !of_step(item));
            }
            "reset" if step.is_empty() => open.clear(),
            "reset" => open.retain(|(owner, _)| *owner != step),
            other => panic!("nobody knows {other}"),
        }
    }
    assert_eq!(kept, (1..=STEPS).collect::<Vec<_>>());
}

async fn started(client: &Client) {
    let body = json!({"task": "report", "task_id": "a", "input_id": "once", "input": STEPS});
    assert_eq!(client.post("/v1/tasks", body).await.status, 202);
}

/// Reads on from where it was, until so many have come, or the end, or the connection breaks.
async fn read_on(client: &Client, seen: &mut Vec<Event>, count: usize) {
    let last = seen
        .last()
        .map_or_else(String::new, |event| event.id.clone());
    let client = client.with("last-event-id", &last);
    let followed = client
        .follow("/v1/tasks/a/stream")
        .await
        .expect("it answers");
    let mut events = followed.expect("there are events");
    for _ in 0..count {
        match events.next().await {
            Ok(Some(event)) => seen.push(event),
            Ok(None) | Err(_) => return,
        }
        if seen.last().is_some_and(|event| event.name == "end") {
            return;
        }
    }
}

#[tokio::test]
async fn a_stream_goes_on_without_gap_or_duplicate_while_its_server_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    for life in 0..=KILLS {
        let (server, address) = serve(directory.path());
        let client = Client::new(address);
        if life == 0 {
            started(&client).await;
        }
        let count = if life < KILLS { BETWEEN } else { usize::MAX };
        read_on(&client, &mut seen, count).await;
        server.kill();
    }
    judge(&seen, KILLS);
}

/// As an unmodified program does, which knows nothing of us: it is only told the id of the last event it saw.
#[tokio::test]
async fn curl_follows_a_stream_through_kills() {
    if std::process::Command::new("curl")
        .arg("--version")
        .output()
        .is_err()
    {
        println!("there is no curl here");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut text = String::new();
    for life in 0..=KILLS {
        let (server, address) = serve(directory.path());
        if life == 0 {
            started(&Client::new(address)).await;
        }
        let last = text
            .lines()
            .filter_map(|line| line.strip_prefix("id: "))
            .next_back();
        let curl = tokio::process::Command::new("curl")
            .args([
                "-sN",
                "-H",
                &format!("Last-Event-ID: {}", last.unwrap_or_default()),
            ])
            .arg(format!("http://{address}/v1/tasks/a/stream"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("curl runs");
        let reading = tokio::spawn(curl.wait_with_output());
        if life < KILLS {
            tokio::time::sleep(STEP * BETWEEN as u32).await;
            server.kill();
            text.push_str(&whole(reading.await.unwrap().unwrap().stdout));
            continue;
        }
        text.push_str(&whole(reading.await.unwrap().unwrap().stdout));
        server.kill();
    }
    judge(&events(&text), KILLS);
}

/// What came whole; the rest is sent again to whoever comes back.
fn whole(bytes: Vec<u8>) -> String {
    let mut text = String::from_utf8(bytes).expect("text");
    let end = text.rfind("\n\n").map_or(0, |at| at + 2);
    text.truncate(end);
    text
}

fn events(text: &str) -> Vec<Event> {
    let blocks = text.split("\n\n").filter(|block| block.contains("data: "));
    let field = |block: &str, name: &str| {
        let mut lines = block.lines();
        let found = lines.find_map(|line| line.strip_prefix(name));
        found.unwrap_or_default().to_owned()
    };
    let events = blocks.map(|block| Event {
        id: field(block, "id: "),
        name: field(block, "event: "),
        data: field(block, "data: "),
    });
    events.collect()
}
