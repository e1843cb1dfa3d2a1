//! Further inputs of a task: given, listed, looked at, taken back.

use crate::api::answer::{Answer, Path, json};
use crate::api::start::{DeliveryBody, told};
use crate::body::Json;
use crate::conditions::{self, IfMatch};
use crate::names::{name, tagged};
use crate::params::Params;
use crate::problem::Problem;
use crate::raw::{self, Raw};
use crate::state::App;
use crate::{idempotency, prefer, times};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use outlive::{Fault, TaskId, WaitingInput};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// A further input.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InputBody {
    /// Kept byte for byte. Left out, it is `null`.
    #[schema(value_type = Option<serde_json::Value>)]
    input: Option<Raw>,
    /// The idempotency key of the input; or give the header `Idempotency-Key`.
    input_id: Option<String>,
    /// Only if this is the task's last accepted input.
    after: Option<String>,
    #[serde(default)]
    delivery: DeliveryBody,
}

/// An input that waits, or that the open turn has taken.
#[derive(Serialize, ToSchema)]
pub(crate) struct InputView {
    input_id: String,
    delivery: String,
    accepted_at: String,
    /// The bytes of its JSON.
    size: u64,
    /// The key under which the open turn has taken it; empty while it waits.
    taken: Option<String>,
}

impl From<WaitingInput> for InputView {
    fn from(input: WaitingInput) -> InputView {
        InputView {
            input_id: input.input_id.to_string(),
            delivery: name(&input.delivery),
            accepted_at: times::text(input.accepted_at_us),
            size: input.size,
            taken: input.taken,
        }
    }
}

/// The inputs that wait, oldest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct InputsView {
    inputs: Vec<InputView>,
}

/// Where one input stands.
#[derive(Serialize, ToSchema)]
pub(crate) struct InputStatusView {
    task_id: String,
    input_id: String,
    /// `kind` is `queued`, `in_turn`, `consumed`, `withdrawn` or `task_ended`.
    status: Value,
}

/// The reason of an order.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReasonBody {
    /// Kept to 1,024 bytes.
    #[serde(default)]
    pub(crate) reason: String,
}

/// Gives a task that is there a further input: it resumes one that waits for an input, and steers one that runs. 202
/// once it is durable; 404 where there is no such task.
#[utoipa::path(
    post, path = "/v1/tasks/{id}/inputs", tag = "inputs", request_body = InputBody,
    params(
        ("id" = String, Path), ("Idempotency-Key" = Option<String>, Header),
        ("If-Match" = Option<String>, Header), ("Prefer" = Option<String>, Header),
    ),
    responses(
        (status = 202, body = crate::api::start::StartedView),
        (status = 200, body = crate::view::ResultView), (status = 400), (status = 403),
        (status = 404), (status = 409), (status = 412), (status = 503),
    )
)]
pub(crate) async fn give(
    State(app): State<App>,
    Path([id]): Path<1>,
    params: Params,
    headers: HeaderMap,
    Json(body): Json<InputBody>,
) -> Answer {
    params.end()?;
    let condition = IfMatch::of(&headers)?;
    let key = idempotency::key(&headers)?;
    let input_id = idempotency::input_id(body.input_id, key.as_deref())?;
    let found = app.engine.get(&id).await?;
    let Some(task) = found else {
        let id = TaskId::new(id).map_err(Fault::InvalidId)?;
        return Err(conditions::missing(Fault::NotFound { id }, &condition).into());
    };
    let definition = app.remote(&task.name)?;
    let input = body.input.unwrap_or_default();
    // Should it go in between, it is not made anew.
    let mut start = app
        .engine
        .start(raw::untyped(definition), id, &input)
        .must_exist();
    start = start.delivery(body.delivery.into());
    if let Some(input_id) = input_id {
        start = start.input_id(input_id);
    }
    if let Some(after) = body.after {
        start = start.after(after);
    }
    if let Some(etag) = condition.etag() {
        start = start.if_etag(etag);
    }
    let run = start
        .await
        .map_err(|error| conditions::missing(error.into(), &condition))?;
    told(run, prefer::wait(&headers, app.options.limits.wait_time)).await
}

/// The inputs that wait for a turn, or that the open turn has taken; the one it began with is not among them.
#[utoipa::path(
    get, path = "/v1/tasks/{id}/inputs", tag = "inputs", params(("id" = String, Path)),
    responses((status = 200, body = InputsView), (status = 404))
)]
pub(crate) async fn list(State(app): State<App>, Path([id]): Path<1>, params: Params) -> Answer {
    params.end()?;
    let inputs = app.engine.inputs(id).await?;
    let inputs = inputs.into_iter().map(InputView::from).collect();
    Ok(json(&InputsView { inputs }))
}

/// Where one input stands, also long after its turn.
#[utoipa::path(
    get, path = "/v1/tasks/{id}/inputs/{input_id}", tag = "inputs",
    params(("id" = String, Path), ("input_id" = String, Path)),
    responses((status = 200, body = InputStatusView), (status = 404))
)]
pub(crate) async fn show(
    State(app): State<App>,
    Path([task_id, input_id]): Path<2>,
    params: Params,
) -> Answer {
    params.end()?;
    let status = app.engine.input(&task_id, &input_id).await?;
    Ok(json(&InputStatusView {
        status: Value::Object(tagged(&status)),
        task_id,
        input_id,
    }))
}

/// Takes an input back that no turn has yet: 204. A second withdrawal changes nothing.
#[utoipa::path(
    delete, path = "/v1/tasks/{id}/inputs/{input_id}", tag = "inputs",
    params(
        ("id" = String, Path), ("input_id" = String, Path),
        ("reason" = Option<String>, Query),
    ),
    responses((status = 204), (status = 404), (status = 409), (status = 503))
)]
pub(crate) async fn withdraw(
    State(app): State<App>,
    Path([id, input_id]): Path<2>,
    mut params: Params,
) -> Result<impl IntoResponse, Problem> {
    let reason = params.one("reason")?.unwrap_or_default();
    params.end()?;
    app.engine.withdraw(id, input_id, reason).await?;
    Ok(StatusCode::NO_CONTENT)
}
