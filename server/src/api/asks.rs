//! Questions of handlers, and their answers.

use crate::api::answer::{Answer, Path, json};
use crate::api::tasks::limit;
use crate::body::Json;
use crate::conditions::{self, IfMatch};
use crate::params::Params;
use crate::problem::Problem;
use crate::raw::Raw;
use crate::state::App;
use crate::times;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use outlive::{AskCursor, AskListing, Fault, OpenAsk};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// A question that waits for an answer.
#[derive(Serialize, ToSchema)]
pub(crate) struct AskView {
    task_id: String,
    task: String,
    title: Option<String>,
    session_id: Option<String>,
    key: String,
    question: Value,
    /// The JSON schema of the answer.
    schema: Option<Value>,
    /// The answer that counts when nobody has given one by the deadline.
    default: Option<Value>,
    /// Names what is asked: give it with the answer.
    digest: String,
    asked_at: String,
    deadline: Option<String>,
    run: u32,
    turn: u32,
}

impl From<OpenAsk> for AskView {
    fn from(ask: OpenAsk) -> AskView {
        AskView {
            task_id: ask.id.to_string(),
            task: ask.name,
            title: ask.title,
            session_id: ask.session,
            key: ask.key,
            question: ask.question,
            schema: ask.schema,
            default: ask.default,
            digest: ask.digest,
            asked_at: times::text(ask.asked_at_us),
            deadline: ask.deadline_us.map(times::text),
            run: ask.run,
            turn: ask.turn,
        }
    }
}

/// A page of questions.
#[derive(Serialize, ToSchema)]
pub(crate) struct AsksView {
    asks: Vec<AskView>,
    /// Damaged entries that were passed over.
    damaged: usize,
    /// Give it as `cursor` for the next page; empty at the end.
    next: Option<String>,
}

/// An answer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AnswerBody {
    #[schema(value_type = serde_json::Value)]
    answer: Raw,
    /// Only if this is what is asked.
    digest: Option<String>,
}

/// The open questions of all tasks, those of the oldest task first.
#[utoipa::path(
    get, path = "/v1/asks", tag = "asks",
    params(
        ("session_id" = Option<String>, Query), ("limit" = Option<usize>, Query),
        ("cursor" = Option<String>, Query),
    ),
    responses((status = 200, body = AsksView), (status = 400), (status = 503))
)]
pub(crate) async fn all(State(app): State<App>, mut params: Params) -> Answer {
    let mut listing = app.engine.asks();
    if let Some(session) = params.one("session_id")? {
        listing = listing.session(session);
    }
    page(listing, params).await
}

/// The open questions of one task, by key.
#[utoipa::path(
    get, path = "/v1/tasks/{id}/asks", tag = "asks",
    params(
        ("id" = String, Path), ("limit" = Option<usize>, Query),
        ("cursor" = Option<String>, Query),
    ),
    responses((status = 200, body = AsksView), (status = 400), (status = 503))
)]
pub(crate) async fn of_task(State(app): State<App>, Path([id]): Path<1>, params: Params) -> Answer {
    page(app.engine.asks().id(id), params).await
}

async fn page(mut listing: AskListing, mut params: Params) -> Result<Response, Problem> {
    if let Some(limit) = limit(&mut params)? {
        listing = listing.limit(limit);
    }
    if let Some(cursor) = params.one("cursor")? {
        let cursor: AskCursor = cursor.parse().map_err(Fault::InvalidCursor)?;
        listing = listing.after(cursor);
    }
    params.end()?;
    let page = listing.await?;
    Ok(json(&AsksView {
        asks: page.asks.into_iter().map(AskView::from).collect(),
        damaged: page.damaged.len(),
        next: page.next.map(|next| next.to_string()),
    }))
}

/// Answers a question, once: 204 when it is durable, also for the same answer again.
#[utoipa::path(
    post, path = "/v1/tasks/{id}/asks/{key}", tag = "asks", request_body = AnswerBody,
    params(("id" = String, Path), ("key" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204), (status = 400), (status = 404), (status = 409), (status = 503))
)]
pub(crate) async fn answer(
    State(app): State<App>,
    Path([id, key]): Path<2>,
    params: Params,
    headers: HeaderMap,
    Json(body): Json<AnswerBody>,
) -> Answer {
    params.end()?;
    let condition = IfMatch::of(&headers)?;
    let mut answer = app.engine.answer(id, key, &body.answer);
    if let Some(digest) = body.digest {
        answer = answer.digest(digest);
    }
    if let Some(etag) = condition.etag() {
        answer = answer.if_etag(etag);
    }
    match answer
        .await
        .map_err(|error| conditions::missing(error.into(), &condition))
    {
        // Whoever did not learn whether the first call arrived has nothing to do.
        Ok(()) | Err(Fault::AlreadyAnswered { same: true, .. }) => {
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        Err(fault) => Err(fault.into()),
    }
}
