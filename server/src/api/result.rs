//! The outcome of an input, and the wait for it.

use crate::api::answer::{Answer, Path, json};
use crate::api::start::{StartedView, started};
use crate::params::Params;
use crate::prefer;
use crate::problem::Problem;
use crate::raw::Raw;
use crate::state::App;
use crate::view::ResultView;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use outlive::{Fault, InputStatus, Run, Status, WaitReason};
use std::time::Duration;

/// What came of a wait.
pub(crate) enum Waited {
    Ended(Box<ResultView>),
    NotYet,
}

/// Waits for the outcome of the handle's input: at most so long, or, without a bound, for one that is there.
pub(crate) async fn waited(run: &Run<Raw, Raw>, wait: Option<Duration>) -> Result<Waited, Problem> {
    let outcome = match wait {
        None => run.outcome().await,
        Some(wait) => match tokio::time::timeout(wait, run.outcome()).await {
            Ok(outcome) => outcome,
            Err(_) => return Ok(Waited::NotYet),
        },
    };
    let (task_id, input_id) = (run.id().to_string(), run.input_id().to_string());
    let view = match outcome {
        Ok(outcome) => ResultView::replied(task_id, input_id, outcome),
        Err(error) => ResultView::ended(task_id, input_id, &Fault::of_result(error)?),
    };
    Ok(Waited::Ended(Box::new(view)))
}

/// The handle a request is about: to the input it names, else to the one the task works or worked on.
async fn handle(app: &App, id: &str, input_id: Option<&str>) -> Result<Run<Raw, Raw>, Problem> {
    Ok(match input_id {
        Some(input_id) => app.engine.attach_input(id, input_id).await?,
        None => app.engine.attach_untyped(id).await?,
    })
}

/// Whether there is an outcome, or an error, to be had without a wait.
async fn is_settled(run: &Run<Raw, Raw>) -> Result<bool, Problem> {
    let settled = match run.receipt().await? {
        InputStatus::Consumed { .. } | InputStatus::Withdrawn { .. } | InputStatus::TaskEnded => {
            true
        }
        InputStatus::Queued { .. } | InputStatus::InTurn { .. } => false,
        // INVARIANT: this crate and the engine are released together.
        _ => false,
    };
    if settled {
        return Ok(true);
    }
    let seen = run.refresh().await?;
    // The outcome of a task is that of its last turn, whichever input began it. One that cannot be read here is told.
    let is_parked = matches!(seen.wait, Some(WaitReason::Undecodable { .. }));
    Ok(seen.status == Status::Completed || is_parked)
}

/// The outcome of the task's latest input, or of the one that is named: 200 once its turn is over, however it ended;
/// 202 before. It waits for it with `Prefer: wait=seconds`.
#[utoipa::path(
    get, path = "/v1/tasks/{id}/result", tag = "tasks",
    params(
        ("id" = String, Path), ("input_id" = Option<String>, Query),
        ("Prefer" = Option<String>, Header, description = "`wait=seconds`"),
    ),
    responses(
        (status = 200, body = ResultView), (status = 202, body = StartedView),
        (status = 400), (status = 404), (status = 409), (status = 410), (status = 503),
    )
)]
pub(crate) async fn result(
    State(app): State<App>,
    Path([id]): Path<1>,
    mut params: Params,
    headers: HeaderMap,
) -> Answer {
    let input_id = params.one("input_id")?;
    params.end()?;
    let run = handle(&app, &id, input_id.as_deref()).await?;
    let wait = prefer::wait(&headers, app.options.limits.wait_time);
    let waited = match is_settled(&run).await? {
        true => waited(&run, None).await?,
        false => match wait {
            Some(wait) => waited(&run, Some(wait)).await?,
            None => Waited::NotYet,
        },
    };
    let mut response = match waited {
        Waited::Ended(view) => json(&view),
        Waited::NotYet => (StatusCode::ACCEPTED, json(&started(&run).await)).into_response(),
    };
    if let Some(wait) = wait {
        let headers = response.headers_mut();
        headers.insert(prefer::PREFERENCE_APPLIED, prefer::applied(wait));
    }
    Ok(response)
}

/// What the task's last turn returned, byte for byte as it is kept, as a file to download.
#[utoipa::path(
    get, path = "/v1/tasks/{id}/output", tag = "tasks", params(("id" = String, Path)),
    responses((status = 200, content_type = "application/octet-stream"), (status = 404))
)]
pub(crate) async fn output(State(app): State<App>, Path([id]): Path<1>, params: Params) -> Answer {
    params.end()?;
    let found = app.engine.get(&id).await?;
    let output = found.and_then(|task| task.output_json);
    let none = || {
        let problem = Problem::new(crate::problem::Kind::NotFound, "no_output");
        problem.hint("the task has not returned anything yet, or is not there")
    };
    let output = output.ok_or_else(none)?.into_string();
    let headers = [
        // Whatever it is, a browser shall not take it for a page.
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        ),
        (
            header::CONTENT_DISPOSITION,
            HeaderValue::from_static("attachment; filename=\"output.json\""),
        ),
    ];
    Ok((headers, output).into_response())
}
