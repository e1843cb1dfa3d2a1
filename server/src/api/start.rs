//! Starting tasks.

use crate::api::answer::{Answer, json};
use crate::api::result::{self, Waited};
use crate::body::Json;
use crate::conditions::IfMatch;
use crate::problem::Problem;
use crate::raw::{self, Raw};
use crate::state::App;
use crate::{idempotency, prefer, times};
use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use outlive::{
    Accepted, Delivery, Fault, InputStatus, OnConflict, RetryPolicy, Run, Start, TaskOptions,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// When a failed attempt is tried again. What is left out is as the kind has it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetryBody {
    kind: RetryKind,
    /// Attempts in all, counting the first.
    attempts: Option<u32>,
    initial_ms: Option<u64>,
    max_ms: Option<u64>,
    coefficient: Option<f64>,
    jitter: Option<bool>,
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum RetryKind {
    Exponential,
    Fixed,
    Linear,
    None,
}

impl RetryBody {
    fn policy(&self) -> RetryPolicy {
        let mut policy = match self.kind {
            RetryKind::Exponential => RetryPolicy::exponential(),
            RetryKind::Fixed => RetryPolicy::fixed(),
            RetryKind::Linear => RetryPolicy::linear(),
            RetryKind::None => RetryPolicy::none(),
        };
        if let Some(attempts) = self.attempts {
            policy = policy.attempts(attempts);
        }
        if let Some(ms) = self.initial_ms {
            policy = policy.initial(times::millis(ms));
        }
        if let Some(ms) = self.max_ms {
            policy = policy.max(times::millis(ms));
        }
        if let Some(coefficient) = self.coefficient {
            policy = policy.coefficient(coefficient);
        }
        self.jitter.map_or(policy, |jitter| policy.jitter(jitter))
    }
}

/// What happens where the task's state refuses the input.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ConflictBody {
    /// It is refused.
    #[default]
    Refuse,
    /// An ended task begins a further run with it.
    Restart,
    /// The answer is for the input the task works or worked on.
    Attach,
}

/// How an input comes to a turn that runs.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DeliveryBody {
    /// The turn is told, and the next one begins with it.
    #[default]
    Interrupt,
    /// The turn may take it at a boundary of its own.
    AtBoundary,
    /// Nobody is told, and the next turn begins with it.
    AfterTurn,
}

impl From<DeliveryBody> for Delivery {
    fn from(body: DeliveryBody) -> Delivery {
        match body {
            DeliveryBody::Interrupt => Delivery::Interrupt,
            DeliveryBody::AtBoundary => Delivery::AtBoundary,
            DeliveryBody::AfterTurn => Delivery::AfterTurn,
        }
    }
}

/// A task to start.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StartBody {
    /// The name of its definition: one of `/v1/task-types` that is remote.
    task: String,
    /// Its id: 1 to 256 characters of `A-Za-z0-9._:-`; one is made where it is left out.
    task_id: Option<String>,
    /// What its handler is given; kept byte for byte. Left out, it is `null`.
    #[schema(value_type = Option<serde_json::Value>)]
    input: Option<Raw>,
    /// The idempotency key of the input; or give the header `Idempotency-Key`.
    input_id: Option<String>,
    /// Only if this is the task's last accepted input.
    after: Option<String>,
    session_id: Option<String>,
    title: Option<String>,
    description: Option<String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    retry: Option<RetryBody>,
    timeout_ms: Option<u64>,
    /// 0 first to 7 last.
    priority: Option<u8>,
    keep_ms: Option<u64>,
    /// The moment it is due, as RFC 3339; or `start_in_ms`.
    start_at: Option<String>,
    start_in_ms: Option<u64>,
    #[serde(default)]
    on_conflict: ConflictBody,
    #[serde(default)]
    delivery: DeliveryBody,
}

/// A task whose input is durable.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StartedView {
    pub(crate) task_id: String,
    pub(crate) input_id: String,
    pub(crate) session_id: Option<String>,
    /// The turn the task is in.
    pub(crate) turn: u32,
    pub(crate) status: &'static str,
    /// `started`, `queued`, `resumed`, `restarted` or `attached`; empty where only the task was looked at.
    pub(crate) accepted: Option<&'static str>,
}

/// How an input was accepted, on the wire.
pub(crate) fn accepted(how: Accepted) -> &'static str {
    match how {
        Accepted::Started => "started",
        Accepted::Queued => "queued",
        Accepted::Resumed => "resumed",
        Accepted::Restarted => "restarted",
        Accepted::Attached => "attached",
    }
}

/// Starts a task, or gives an input to one that is there: 202 once the input is durable, 200 with the outcome where it
/// attached to a turn that has ended. It waits for the end only for `Prefer: wait=seconds`.
#[utoipa::path(
    post, path = "/v1/tasks", tag = "tasks", request_body = StartBody,
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "the id of the input, kept with it"),
        ("If-Match" = Option<String>, Header, description = "only if the task's etag is still this one"),
        ("Prefer" = Option<String>, Header, description = "`wait=seconds`: waits for the outcome"),
    ),
    responses(
        (status = 202, body = StartedView), (status = 200, body = crate::view::ResultView),
        (status = 400), (status = 403), (status = 404), (status = 409), (status = 412),
        (status = 413), (status = 415), (status = 503),
    )
)]
pub(crate) async fn start(
    State(app): State<App>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    Json(body): Json<StartBody>,
) -> Answer {
    let wait = prefer::wait(&headers, app.options.limits.wait_time);
    let run = begin(&app, &headers, body)?.await.map_err(Problem::from)?;
    let id = run.id().to_string();
    let mut response = told(run, wait).await?;
    let location = format!("{}/{id}", uri.path().trim_end_matches('/'));
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// What is told of an accepted input.
pub(crate) async fn told(run: Run<Raw, Raw>, wait: Option<std::time::Duration>) -> Answer {
    let attached = run.accepted() == Some(Accepted::Attached);
    let ended = attached && has_ended(&run).await;
    let waited = match (wait, ended) {
        (None, false) => Waited::NotYet,
        (wait, ended) => result::waited(&run, wait.filter(|_| !ended)).await?,
    };
    let mut response = match waited {
        Waited::Ended(view) => json(&view),
        Waited::NotYet => {
            let view = started(&run).await;
            (StatusCode::ACCEPTED, json(&view)).into_response()
        }
    };
    if let Some(wait) = wait {
        let headers: &mut HeaderMap = Response::headers_mut(&mut response);
        headers.insert(prefer::PREFERENCE_APPLIED, prefer::applied(wait));
    }
    Ok(response)
}

/// Whether the turn of the input is over, so that its outcome is there.
async fn has_ended(run: &Run<Raw, Raw>) -> bool {
    match run.receipt().await {
        Ok(
            InputStatus::Consumed { .. } | InputStatus::Withdrawn { .. } | InputStatus::TaskEnded,
        ) => true,
        // It is still to come; or nobody knows, and the 202 says so much.
        Ok(_) | Err(_) => false,
    }
}

/// The task as it is now; one that is gone with its end has had its only turn.
pub(crate) async fn started(run: &Run<Raw, Raw>) -> StartedView {
    let seen = run.refresh().await.ok();
    StartedView {
        task_id: run.id().to_string(),
        input_id: run.input_id().to_string(),
        turn: seen.as_ref().map_or(1, |seen| seen.turn),
        status: seen
            .as_ref()
            .map_or("completed", |seen| seen.status.as_str()),
        session_id: seen.and_then(|seen| seen.session),
        accepted: run.accepted().map(accepted),
    }
}

fn begin(app: &App, headers: &HeaderMap, body: StartBody) -> Result<Start<Raw, Raw>, Problem> {
    let definition = app.remote(&body.task)?;
    let key = idempotency::key(headers)?;
    let input_id = idempotency::input_id(body.input_id.clone(), key.as_deref())?;
    let of_key = || {
        key.as_deref()
            .map(|key| idempotency::task_id(&body.task, key))
    };
    let task_id = body.task_id.clone().or_else(of_key);
    let id = task_id.map_or_else(|| ().into(), outlive::NewTaskId::from);
    let input = body.input.clone().unwrap_or_default();
    let mut start = app.engine.start(raw::untyped(definition), id, &input);
    start = start
        .options(options(&body)?)
        .on_conflict(match body.on_conflict {
            ConflictBody::Refuse => OnConflict::Refuse,
            ConflictBody::Restart => OnConflict::Restart,
            ConflictBody::Attach => OnConflict::Attach,
        });
    start = start.delivery(body.delivery.into());
    start = when(start, &body)?;
    start = said(start, body, headers);
    if let Some(input_id) = input_id {
        start = start.input_id(input_id);
    }
    match IfMatch::of(headers)? {
        IfMatch::Nothing => Ok(start),
        IfMatch::Any => Ok(start.must_exist()),
        IfMatch::Etag(etag) => Ok(start.if_etag(etag)),
    }
}

fn options(body: &StartBody) -> Result<TaskOptions, Problem> {
    let mut options = TaskOptions::new();
    if let Some(retry) = &body.retry {
        let policy = retry.policy();
        policy.validate().map_err(Fault::InvalidRetry)?;
        options = options.retry(policy);
    }
    if let Some(ms) = body.timeout_ms {
        options = options.timeout(times::millis(ms));
    }
    if let Some(rank) = body.priority {
        options = options.priority(rank);
    }
    if let Some(ms) = body.keep_ms {
        options = options.keep_for(times::millis(ms));
    }
    Ok(options)
}

fn when(start: Start<Raw, Raw>, body: &StartBody) -> Result<Start<Raw, Raw>, Problem> {
    match (&body.start_at, body.start_in_ms) {
        (None, None) => Ok(start),
        (None, Some(ms)) => Ok(start.start_in(times::millis(ms))),
        (Some(at), None) => Ok(start.start_at(times::parse("start_at", at)?)),
        (Some(_), Some(_)) => {
            let problem = Problem::new(crate::problem::Kind::Invalid, "two_moments");
            Err(problem.hint("give start_at or start_in_ms, not both"))
        }
    }
}

/// What is said about the task.
fn said(mut start: Start<Raw, Raw>, body: StartBody, headers: &HeaderMap) -> Start<Raw, Raw> {
    if let Some(session) = body.session_id {
        start = start.session(session);
    }
    if let Some(title) = body.title {
        start = start.title(title);
    }
    if let Some(description) = body.description {
        start = start.description(description);
    }
    for (key, value) in body.tags {
        start = start.tag(key, value);
    }
    if let Some(after) = body.after {
        start = start.after(after);
    }
    match headers
        .get("traceparent")
        .and_then(|given| given.to_str().ok())
    {
        Some(given) => start.traceparent(given),
        None => start,
    }
}
