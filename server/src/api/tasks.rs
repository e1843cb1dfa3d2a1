//! Tasks listed, shown and removed.

use crate::api::answer::{Answer, Path, json};
use crate::conditions::{self, IfMatch};
use crate::params::{Params, invalid};
use crate::problem::Problem;
use crate::state::App;
use crate::times;
use crate::view::TaskView;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use outlive::{Cursor, Fault, LIST_LIMIT, LIST_MAX, Listing, Status, TASK_TAG, TaskId};
use serde::Serialize;
use std::ops::Bound;
use std::time::SystemTime;
use utoipa::ToSchema;

/// A page of tasks, newest first. There may be none although more follow.
#[derive(Serialize, ToSchema)]
pub(crate) struct ListView {
    tasks: Vec<TaskView>,
    /// Damaged rows that were passed over.
    damaged: usize,
    /// Give it as `cursor` for the next page; empty at the end.
    next: Option<String>,
}

/// Lists tasks, newest first. All conditions must hold; a page looks at no more than 500 tasks, for no longer than 100 ms,
/// so that it may have fewer than asked for and still a `next`.
#[utoipa::path(
    get, path = "/v1/tasks", tag = "tasks",
    params(
        ("task" = Option<String>, Query, description = "of this definition"),
        ("status" = Option<String>, Query), ("session_id" = Option<String>, Query),
        ("owner" = Option<String>, Query),
        ("tag" = Option<Vec<String>>, Query, description = "`key:value`, as often as needed"),
        ("created_from" = Option<String>, Query), ("created_to" = Option<String>, Query),
        ("parked" = Option<bool>, Query, description = "those that wait for a person"),
        ("limit" = Option<usize>, Query, description = "1 to 500; 100 by default"),
        ("cursor" = Option<String>, Query),
    ),
    responses((status = 200, body = ListView), (status = 400), (status = 503))
)]
pub(crate) async fn list(State(app): State<App>, params: Params) -> Answer {
    let page = listing(&app, params)?.await?;
    Ok(json(&ListView {
        tasks: page.tasks.into_iter().map(TaskView::from).collect(),
        damaged: page.damaged.len(),
        next: page.next.map(|next| next.to_string()),
    }))
}

/// Ids of tasks.
#[derive(Serialize, ToSchema)]
pub(crate) struct IdsView {
    task_ids: Vec<String>,
}

/// The ids that begin so, in their order: for who types a part of one.
#[utoipa::path(
    get, path = "/v1/task-ids", tag = "tasks",
    params(
        ("prefix" = Option<String>, Query),
        ("limit" = Option<usize>, Query, description = "1 to 500; 100 by default"),
    ),
    responses((status = 200, body = IdsView), (status = 400), (status = 503))
)]
pub(crate) async fn ids(State(app): State<App>, mut params: Params) -> Answer {
    let prefix = params.one("prefix")?.unwrap_or_default();
    let limit = limit(&mut params)?.unwrap_or(LIST_LIMIT);
    params.end()?;
    let ids = app.engine.ids(prefix, limit).await?;
    let task_ids = ids.iter().map(ToString::to_string).collect();
    Ok(json(&IdsView { task_ids }))
}

fn listing(app: &App, mut params: Params) -> Result<Listing, Problem> {
    let mut listing = app.engine.list_all();
    if let Some(task) = params.one("task")? {
        listing = listing.tag(TASK_TAG, task);
    }
    if let Some(status) = params.one("status")? {
        listing = listing.status(self::status(&status)?);
    }
    if let Some(session) = params.one("session_id")? {
        listing = listing.session(session);
    }
    if let Some(owner) = params.one("owner")? {
        listing = listing.owner(owner);
    }
    for tag in params.all("tag") {
        let (key, value) = tag
            .split_once(':')
            .ok_or_else(|| invalid("tag", "it is key:value"))?;
        listing = listing.tag(key, value);
    }
    let from = moment(&mut params, "created_from")?.map_or(Bound::Unbounded, Bound::Included);
    let to = moment(&mut params, "created_to")?.map_or(Bound::Unbounded, Bound::Excluded);
    listing = listing.created((from, to));
    if params.parsed::<bool>("parked")? == Some(true) {
        listing = listing.parked();
    }
    if let Some(limit) = limit(&mut params)? {
        listing = listing.limit(limit);
    }
    if let Some(cursor) = params.one("cursor")? {
        let cursor: Cursor = cursor.parse().map_err(Fault::InvalidCursor)?;
        listing = listing.after(cursor);
    }
    params.end()?;
    Ok(listing)
}

fn moment(params: &mut Params, name: &'static str) -> Result<Option<SystemTime>, Problem> {
    let text = params.one(name)?;
    text.map(|text| times::parse(name, &text)).transpose()
}

/// How many a page may have: more than there may be is refused, not cut in silence.
pub(crate) fn limit(params: &mut Params) -> Result<Option<usize>, Problem> {
    match params.parsed::<usize>("limit")? {
        Some(limit) if !(1..=LIST_MAX).contains(&limit) && !cfg!(planted = "server_any_limit") => {
            Err(invalid("limit", "it is 1 to 500"))
        }
        limit => Ok(limit),
    }
}

fn status(text: &str) -> Result<Status, Problem> {
    let all = [
        Status::Pending,
        Status::InProgress,
        Status::Suspended,
        Status::Completed,
    ];
    let found = all.into_iter().find(|status| status.as_str() == text);
    found.ok_or_else(|| {
        invalid(
            "status",
            "it is pending, in_progress, suspended or completed",
        )
    })
}

/// The task as of its last commit, with its output and its metadata. `ETag` is a strong validator of what is shown; for
/// `If-Match` it stands for the task's etag.
#[utoipa::path(
    get, path = "/v1/tasks/{id}", tag = "tasks",
    params(("id" = String, Path), ("If-None-Match" = Option<String>, Header)),
    responses((status = 200, body = TaskView), (status = 304), (status = 400), (status = 404))
)]
pub(crate) async fn show(
    State(app): State<App>,
    Path([id]): Path<1>,
    params: Params,
    headers: HeaderMap,
) -> Answer {
    params.end()?;
    let found = app.engine.get(&id).await?;
    let Some(task) = found else {
        let id = TaskId::new(id).map_err(Fault::InvalidId)?;
        return Err(Fault::NotFound { id }.into());
    };
    let etag = [(header::ETAG, conditions::etag(&task))];
    if conditions::is_known(&headers, &task) && !cfg!(planted = "server_never_not_modified") {
        return Ok((StatusCode::NOT_MODIFIED, etag).into_response());
    }
    Ok((etag, json(&TaskView::from(task))).into_response())
}

/// Removes a task and all that belongs to it: 204, also when there was none. One that runs is removed with `force=true`
/// alone.
#[utoipa::path(
    delete, path = "/v1/tasks/{id}", tag = "tasks",
    params(
        ("id" = String, Path), ("force" = Option<bool>, Query),
        ("If-Match" = Option<String>, Header),
    ),
    responses((status = 204), (status = 400), (status = 409), (status = 412), (status = 503))
)]
pub(crate) async fn remove(
    State(app): State<App>,
    Path([id]): Path<1>,
    mut params: Params,
    headers: HeaderMap,
) -> Answer {
    let force = params.parsed::<bool>("force")?.unwrap_or(false);
    params.end()?;
    let condition = IfMatch::of(&headers)?;
    let mut delete = app.engine.delete(&id);
    if force {
        delete = delete.force();
    }
    if let Some(etag) = condition.etag() {
        delete = delete.if_etag(etag);
    }
    let existed = delete.await?;
    if !existed && condition != IfMatch::Nothing {
        let id = TaskId::new(id).map_err(Fault::InvalidId)?;
        return Err(conditions::missing(Fault::NotFound { id }, &condition).into());
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}
