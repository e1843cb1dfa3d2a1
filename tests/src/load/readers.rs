//! Who follows the server through its deaths, by nothing but the id of the last event.

use super::{AGAIN, MARKER, Shared};
use crate::http::{Client, Event};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What one reader saw.
#[derive(Debug, Default)]
pub struct Followed {
    /// Events in all.
    pub events: u64,
    /// Connections that broke, after which it went on.
    pub broken: u64,
    /// Tasks whose start it saw, of those that follow transitions.
    pub started: BTreeSet<String>,
    /// Tasks whose end it saw.
    pub succeeded: BTreeSet<String>,
}

/// Reads on and on, from where it was, until `take` has seen the last event, or something is wrong with one.
async fn follow(
    shared: &Shared,
    path: &str,
    mut take: impl FnMut(Event) -> Result<bool, String>,
) -> u64 {
    let (mut last, mut broken) = (String::new(), 0);
    loop {
        let client = Client::new(shared.address).with("last-event-id", &last);
        if let Ok(Ok(mut events)) = client.follow(path).await {
            while let Ok(Some(event)) = events.next().await {
                last.clone_from(&event.id);
                match take(event) {
                    Ok(false) => {}
                    Ok(true) => return broken,
                    Err(what) => {
                        shared.violation(what);
                        return broken;
                    }
                }
            }
        }
        broken += 1;
        tokio::time::sleep(AGAIN).await;
    }
}

/// Follows the transitions of the whole store, to the end of the marker.
pub async fn events(shared: Arc<Shared>) -> Followed {
    let mut followed = Followed::default();
    let mut position = 0;
    let broken = follow(&shared, "/v1/events", |event| {
        let at: u64 = event.id.parse().map_err(|_| format!("{event:?}"))?;
        if at <= position || event.name != "transition" {
            return Err(format!("after {position} came {event:?}"));
        }
        position = at;
        followed.events += 1;
        let data = event.json();
        let id = data["task_id"].as_str().unwrap_or_default().to_owned();
        let new = match data["what"].as_str() {
            Some("started") => followed.started.insert(id),
            Some("succeeded") if id == MARKER => return Ok(true),
            Some("succeeded") => followed.succeeded.insert(id),
            _ => true,
        };
        match new {
            true => Ok(false),
            false => Err(format!("twice: {event:?}")),
        }
    });
    let broken = broken.await;
    Followed { broken, ..followed }
}

/// Follows the stream of a task to its end: each number once, and none is left out.
pub async fn ticks(shared: Arc<Shared>, id: String) -> Followed {
    let mut seen = 0_u64;
    let path = format!("/v1/tasks/{id}/stream");
    let broken = follow(&shared, &path, |event| {
        if event.name == "end" {
            return Ok(true);
        }
        if event.id != (seen + 1).to_string() {
            return Err(format!("{id}: after {seen} came {event:?}"));
        }
        seen += 1;
        Ok(false)
    });
    let broken = broken.await;
    Followed {
        events: seen,
        broken,
        ..Followed::default()
    }
}
