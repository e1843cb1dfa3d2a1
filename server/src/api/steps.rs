//! The recorded steps of a task, and what became of one that nobody knows of.

use crate::api::answer::{Answer, Path, json};
use crate::body::Json;
use crate::conditions::{self, IfMatch};
use crate::params::Params;
use crate::raw::{self, Raw};
use crate::state::App;
use crate::times;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use outlive::{Resolution, Step};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A step of a task's latest turn.
#[derive(Serialize, ToSchema)]
pub(crate) struct StepView {
    key: String,
    /// As it is kept; empty while there is none.
    #[schema(value_type = Option<serde_json::Value>)]
    result: Option<Raw>,
    sleeps_until: Option<String>,
    type_name: String,
    attempt: u32,
    at: String,
}

impl From<Step> for StepView {
    fn from(step: Step) -> StepView {
        StepView {
            key: step.key,
            result: step.result.as_deref().and_then(raw::of_text),
            sleeps_until: step.sleeps_until_us.map(times::text),
            type_name: step.type_name,
            attempt: step.attempt,
            at: times::text(step.at_us),
        }
    }
}

/// The steps, by key.
#[derive(Serialize, ToSchema)]
pub(crate) struct StepsView {
    task_id: String,
    steps: Vec<StepView>,
}

/// What became of a step.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(tag = "outcome", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum ResolutionBody {
    /// It happened, with this result.
    Done {
        #[schema(value_type = serde_json::Value)]
        result: serde_json::Value,
    },
    /// It did not happen: the turn runs it.
    NotDone,
    /// Whatever happened, the task ends as failed.
    Failed { message: String },
}

/// The recorded steps of a task's latest turn, by key.
#[utoipa::path(
    get, path = "/v1/tasks/{id}/steps", tag = "tasks", params(("id" = String, Path)),
    responses((status = 200, body = StepsView), (status = 400), (status = 503))
)]
pub(crate) async fn list(
    State(app): State<App>,
    Path([task_id]): Path<1>,
    params: Params,
) -> Answer {
    params.end()?;
    let steps = app.engine.steps(&task_id).await?;
    let steps = steps.into_iter().map(StepView::from).collect();
    Ok(json(&StepsView { task_id, steps }))
}

/// Says what became of the step a task waits for, because it may run only once, was begun, and its result is not
/// recorded: 204.
#[utoipa::path(
    post, path = "/v1/tasks/{id}/steps/{key}", tag = "orders", request_body = ResolutionBody,
    params(("id" = String, Path), ("key" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204), (status = 404), (status = 409), (status = 412), (status = 503))
)]
pub(crate) async fn resolve(
    State(app): State<App>,
    Path([id, key]): Path<2>,
    params: Params,
    headers: HeaderMap,
    Json(body): Json<ResolutionBody>,
) -> Answer {
    params.end()?;
    let condition = IfMatch::of(&headers)?;
    let resolution = match body {
        ResolutionBody::Done { result } => Resolution::done(&result),
        ResolutionBody::NotDone => Resolution::not_done(),
        ResolutionBody::Failed { message } => Resolution::failed(message),
    };
    let mut resolve = app.engine.resolve(id, key, resolution);
    if let Some(etag) = condition.etag() {
        resolve = resolve.if_etag(etag);
    }
    let resolved = resolve.await;
    resolved.map_err(|error| conditions::missing(error.into(), &condition))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
