//! What is asked at each look: the newest tasks, what runs, open questions, and how the engine is.

use crate::app::App;
use crate::error::CliError;
use crate::reach::Call;
use crate::view::Task;
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashSet;

/// Most tasks of one request.
const PAGE_MAX: &str = "500";
/// Pages of the newest tasks; what is older is seen only while it runs.
const PAGES: usize = 4;
/// Pages of what runs.
const RUNNING_PAGES: usize = 2;

/// One look.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// The newest tasks, and all that run.
    pub(super) tasks: Vec<Task>,
    /// There are older ones.
    pub(super) more: bool,
    /// Open questions.
    pub(super) asks: usize,
    /// There are further ones.
    pub(super) more_asks: bool,
    pub(super) health: String,
    pub(super) handlers: Handlers,
}

/// How many handlers run, and how many may.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(super) struct Handlers {
    pub(super) running: usize,
    pub(super) allowed: usize,
}

#[derive(Deserialize)]
struct Page {
    tasks: Vec<Task>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Asks {
    asks: Vec<Value>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Store {
    health: String,
    handlers: Handlers,
}

#[derive(Deserialize)]
struct Explanation {
    words: String,
}

/// Asks all of it.
pub(super) async fn look(app: &App) -> Result<Seen, CliError> {
    let (running, _) = pages(app, Some("in_progress"), RUNNING_PAGES).await?;
    let (newest, more) = pages(app, None, PAGES).await?;
    let asks = app
        .send(Call::get(&["v1", "asks"]).query("limit", PAGE_MAX))
        .await?;
    let asks: Asks = asks.parsed()?;
    let store = app.send(Call::get(&["v1", "store"])).await?;
    let store: Store = store.parsed()?;
    let mut known = HashSet::new();
    // Of a task that is on both, the later look counts.
    let mut tasks: Vec<Task> = newest.into_iter().chain(running).collect();
    tasks.retain(|task| known.insert(task.task_id.clone()));
    Ok(Seen {
        tasks,
        more,
        asks: asks.asks.len(),
        more_asks: asks.next.is_some(),
        health: store.health,
        handlers: store.handlers,
    })
}

async fn pages(
    app: &App,
    status: Option<&str>,
    most: usize,
) -> Result<(Vec<Task>, bool), CliError> {
    let (mut tasks, mut cursor) = (Vec::new(), None::<String>);
    for _ in 0..most {
        let call = Call::get(&["v1", "tasks"])
            .query("limit", PAGE_MAX)
            .query_if("status", status)
            .query_if("cursor", cursor.as_deref());
        let page: Page = app.send(call).await?.parsed()?;
        tasks.extend(page.tasks);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    Ok((tasks, cursor.is_some()))
}

/// What a task waits for, in words.
pub(super) async fn explain(app: &App, id: &str) -> Result<String, CliError> {
    let answer = app.send(Call::get(&["v1", "tasks", id, "explain"])).await?;
    let explanation: Explanation = answer.parsed()?;
    Ok(format!("{id}\n\n{}", explanation.words))
}
