//! `POST /tasks/resume`: a suspended task is entered again, told by the status alone.

use crate::body::{parsed, read};
use crate::problem::{Kind, Problem};
use crate::raw::Raw;
use crate::state::App;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use outlive::Run;
use serde::Deserialize;
use utoipa::ToSchema;

/// Which task.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResumeBody {
    task_id: String,
}

/// Enters a task that waits for an input once more: 202 when that is durable, with no body whatever comes of it.
#[utoipa::path(
    post, path = "/tasks/resume", tag = "orders", request_body = ResumeBody,
    responses(
        (status = 202), (status = 400), (status = 404), (status = 409), (status = 500),
        (status = 503),
    )
)]
pub(crate) async fn resume(State(app): State<App>, request: Request) -> StatusCode {
    match resumed(&app, request).await {
        Ok(_) => StatusCode::ACCEPTED,
        Err(problem) => {
            if let Some(error) = &problem.logged {
                tracing::error!(target: "outlive::http", code = problem.code, error, "a call failed");
            }
            status(problem.kind)
        }
    }
}

async fn resumed(app: &App, request: Request) -> Result<Run<Raw, Raw>, Problem> {
    let body: ResumeBody = parsed(&read(request, app).await?)?;
    Ok(app.engine.resume_untyped(body.task_id).await?)
}

/// Each kind of a problem is one of six answers.
fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::Invalid
        | Kind::Unauthorized
        | Kind::Forbidden
        | Kind::Method
        | Kind::Timeout
        | Kind::TooLarge
        | Kind::UriTooLong
        | Kind::MediaType
        | Kind::Misdirected
        | Kind::Unprocessable => StatusCode::BAD_REQUEST,
        Kind::NotFound | Kind::Gone => StatusCode::NOT_FOUND,
        Kind::Conflict | Kind::Precondition => StatusCode::CONFLICT,
        Kind::TooMany | Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
