//! Orders to a task: resume, cancel, terminate, retry.

use crate::api::answer::{Answer, Path};
use crate::api::inputs::ReasonBody;
use crate::api::start::told;
use crate::body::JsonOr;
use crate::conditions::{self, IfMatch};
use crate::params::Params;
use crate::problem::Problem;
use crate::raw::Raw;
use crate::state::App;
use crate::{idempotency, prefer};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use outlive::{Ended, Fault, Order, Reenter, Status};
use serde::Deserialize;
use utoipa::ToSchema;

/// Nothing to say: `{}`, or no body.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmptyBody {}

/// How a task is tried again.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetryOrder {
    /// Without the steps recorded so far.
    #[serde(default)]
    from_start: bool,
}

/// Enters a task that waits for an input without a new one: a further turn with the bytes of the last.
#[utoipa::path(
    post, path = "/v1/tasks/{id}/resume", tag = "orders", request_body = EmptyBody,
    params(
        ("id" = String, Path), ("Idempotency-Key" = Option<String>, Header),
        ("If-Match" = Option<String>, Header), ("Prefer" = Option<String>, Header),
    ),
    responses(
        (status = 202, body = crate::api::start::StartedView), (status = 404), (status = 409),
        (status = 412), (status = 503),
    )
)]
pub(crate) async fn resume(
    State(app): State<App>,
    Path([id]): Path<1>,
    params: Params,
    headers: HeaderMap,
    JsonOr(EmptyBody {}): JsonOr<EmptyBody>,
) -> Answer {
    params.end()?;
    let key = idempotency::key(&headers)?;
    let mut order = app.engine.resume_untyped(id);
    if let Some(input_id) = idempotency::input_id(None, key.as_deref())? {
        order = order.input_id(input_id);
    }
    reentered(&app, order, &headers).await
}

/// Opens a further run of a task that failed, was cancelled or terminated, with the same input; or releases one that is
/// parked.
#[utoipa::path(
    post, path = "/v1/tasks/{id}/retry", tag = "orders", request_body = RetryOrder,
    params(
        ("id" = String, Path), ("If-Match" = Option<String>, Header),
        ("Prefer" = Option<String>, Header),
    ),
    responses(
        (status = 202, body = crate::api::start::StartedView), (status = 404), (status = 409),
        (status = 412), (status = 503),
    )
)]
pub(crate) async fn retry(
    State(app): State<App>,
    Path([id]): Path<1>,
    params: Params,
    headers: HeaderMap,
    JsonOr(body): JsonOr<RetryOrder>,
) -> Answer {
    params.end()?;
    let mut order = app.engine.retry_untyped(id);
    if body.from_start {
        order = order.from_start();
    }
    reentered(&app, order, &headers).await
}

async fn reentered(app: &App, mut order: Reenter<Raw, Raw>, headers: &HeaderMap) -> Answer {
    let condition = IfMatch::of(headers)?;
    if let Some(etag) = condition.etag() {
        order = order.if_etag(etag);
    }
    let run = order.await;
    let run = run.map_err(|error| conditions::missing(error.into(), &condition))?;
    told(run, prefer::wait(headers, app.options.limits.wait_time)).await
}

/// Asks for the end of a task: durable with the answer, 202. A task that waits ends at once; a handler that runs is told,
/// and its own reply still counts. Asked again, also after it has ended so, it changes nothing.
#[utoipa::path(
    post, path = "/v1/tasks/{id}/cancel", tag = "orders", request_body = ReasonBody,
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 202), (status = 404), (status = 409), (status = 412), (status = 503))
)]
pub(crate) async fn cancel(
    State(app): State<App>,
    Path([id]): Path<1>,
    params: Params,
    headers: HeaderMap,
    JsonOr(body): JsonOr<ReasonBody>,
) -> Answer {
    params.end()?;
    let order = app.engine.cancel(&id, body.reason);
    let is_so = |ended: &Ended| matches!(ended, Ended::Cancelled { .. });
    ordered((&app, &id), order, &headers, is_so).await
}

/// Stops a task at once, without its handler: durable with the answer, 202.
#[utoipa::path(
    post, path = "/v1/tasks/{id}/terminate", tag = "orders", request_body = ReasonBody,
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 202), (status = 404), (status = 409), (status = 412), (status = 503))
)]
pub(crate) async fn terminate(
    State(app): State<App>,
    Path([id]): Path<1>,
    params: Params,
    headers: HeaderMap,
    JsonOr(body): JsonOr<ReasonBody>,
) -> Answer {
    params.end()?;
    let order = app.engine.terminate(&id, body.reason);
    let is_so = |ended: &Ended| matches!(ended, Ended::Terminated { .. });
    ordered((&app, &id), order, &headers, is_so).await
}

/// An order whose answer was lost is repeated: where the task has ended as it was ordered to, that is its answer.
async fn ordered(
    (app, id): (&App, &str),
    mut order: Order,
    headers: &HeaderMap,
    is_so: impl Fn(&Ended) -> bool,
) -> Answer {
    let condition = IfMatch::of(headers)?;
    if let Some(etag) = condition.etag() {
        order = order.if_etag(etag);
    }
    let fault: Fault = match order.await {
        Ok(()) => return Ok(StatusCode::ACCEPTED.into_response()),
        Err(error) => error.into(),
    };
    let ended = matches!(
        &fault,
        Fault::Conflict {
            status: Status::Completed,
            ..
        }
    );
    if ended && condition == IfMatch::Nothing {
        let task = app.engine.get(id).await.map_err(Problem::from)?;
        if task
            .and_then(|task| task.ended)
            .is_some_and(|ended| is_so(&ended))
        {
            return Ok(StatusCode::ACCEPTED.into_response());
        }
    }
    Err(conditions::missing(fault, &condition).into())
}
