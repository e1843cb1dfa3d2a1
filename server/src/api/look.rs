//! Looking at a task: its earlier runs, and why it stands where it stands.

use crate::api::answer::{Answer, Path, json};
use crate::names::tagged;
use crate::params::Params;
use crate::state::App;
use crate::times;
use crate::view::{EndedView, FailureView, RunView};
use axum::extract::State;
use outlive::{Explanation, Fault, TaskId, WaitsFor};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// The earlier runs of a task, oldest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct HistoryView {
    task_id: String,
    runs: Vec<RunView>,
}

/// The earlier runs of a task that was restarted or retried, oldest first, at most 100.
#[utoipa::path(
    get, path = "/v1/tasks/{id}/history", tag = "tasks", params(("id" = String, Path)),
    responses((status = 200, body = HistoryView), (status = 400), (status = 503))
)]
pub(crate) async fn history(
    State(app): State<App>,
    Path([task_id]): Path<1>,
    params: Params,
) -> Answer {
    params.end()?;
    let runs = app.engine.history(&task_id).await?;
    let runs = runs.iter().map(RunView::from).collect();
    Ok(json(&HistoryView { task_id, runs }))
}

/// Why a task stands where it stands. The words are for people and may change.
#[derive(Serialize, ToSchema)]
pub(crate) struct ExplanationView {
    task_id: String,
    task: String,
    status: &'static str,
    /// What it waits for: `kind`, and what belongs to it.
    waits_for: Value,
    since: String,
    /// What would make it go on: `kind`, and the moment where there is one.
    release: Value,
    at: String,
    /// All of it as sentences.
    words: String,
}

impl From<Explanation> for ExplanationView {
    fn from(why: Explanation) -> ExplanationView {
        ExplanationView {
            words: why.to_string(),
            status: why.status.as_str(),
            waits_for: waits_for(&why.waits_for),
            since: times::text(why.since_us),
            release: Value::Object(tagged(&why.release)),
            at: times::text(why.at_us),
            task_id: why.id.to_string(),
            task: why.name,
        }
    }
}

fn waits_for(waits_for: &WaitsFor) -> Value {
    let mut object = tagged(waits_for);
    let view = |view: serde_json::Result<Value>| view.unwrap_or_default();
    if let WaitsFor::Nothing { ended, .. } = waits_for {
        let ended = view(serde_json::to_value(EndedView::from(ended)));
        object.insert("ended".to_owned(), ended);
    }
    if let WaitsFor::BackOff {
        failure: Some(failure),
        ..
    } = waits_for
    {
        let failure = view(serde_json::to_value(FailureView::from(failure)));
        object.insert("failure".to_owned(), failure);
    }
    Value::Object(object)
}

/// What a task waits for, since when, and what would make it go on: in words and as data.
#[utoipa::path(
    get, path = "/v1/tasks/{id}/explain", tag = "tasks", params(("id" = String, Path)),
    responses((status = 200, body = ExplanationView), (status = 400), (status = 404))
)]
pub(crate) async fn explain(State(app): State<App>, Path([id]): Path<1>, params: Params) -> Answer {
    params.end()?;
    match app.engine.explain(&id).await? {
        Some(why) => Ok(json(&ExplanationView::from(why))),
        None => {
            let id = TaskId::new(id).map_err(Fault::InvalidId)?;
            Err(Fault::NotFound { id }.into())
        }
    }
}
