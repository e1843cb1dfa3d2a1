//! The body of a request: JSON alone, whole and in time, no larger and no deeper than is taken, and nothing unknown in it.

use crate::problem::{Kind, Problem};
use crate::raw;
use crate::state::App;
use axum::body::{Body as Bytes, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_json::error::Category;

/// A body that must be there.
pub(crate) struct Json<T>(pub(crate) T);

/// A body that may be left out.
pub(crate) struct JsonOr<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<App> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let bytes = read(request, app).await?;
        Ok(Json(parsed(&bytes)?))
    }
}

impl<T: DeserializeOwned + Default> FromRequest<App> for JsonOr<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let bytes = read(request, app).await?;
        if bytes.is_empty() {
            return Ok(JsonOr(T::default()));
        }
        Ok(JsonOr(parsed(&bytes)?))
    }
}

/// The bytes, if they may be looked at.
pub(crate) async fn read(request: Request, app: &App) -> Result<Vec<u8>, Problem> {
    let limits = &app.options.limits;
    only_json(request.headers())?;
    let max = limits.body_bytes;
    let too_large = || Problem::new(Kind::TooLarge, "body_too_large").field("limit", max);
    let body: Bytes = request.into_body();
    let unbounded = cfg!(planted = "server_any_body");
    if body.size_hint().lower() > max as u64 && !unbounded {
        return Err(too_large());
    }
    let max = if unbounded { usize::MAX } else { max };
    let collected = tokio::time::timeout(limits.body_time, Limited::new(body, max).collect());
    let collected = collected
        .await
        .map_err(|_| Problem::new(Kind::Timeout, "body_too_slow").hint("send the body faster"))?;
    let bytes = collected.map_err(|error| match error.is::<LengthLimitError>() {
        true => too_large(),
        false => Problem::new(Kind::Invalid, "body_broken").detail("the body did not come whole"),
    })?;
    let bytes = bytes.to_bytes().to_vec();
    let limit = limits.json_depth;
    if raw::depth(&bytes) > limit && !cfg!(planted = "server_any_depth") {
        let problem = Problem::new(Kind::Invalid, "too_deep").hint("make the value flatter");
        return Err(problem.field("limit", limit));
    }
    Ok(bytes)
}

/// A form of a foreign page comes as something else.
fn only_json(headers: &HeaderMap) -> Result<(), Problem> {
    let mut given = headers.get_all(header::CONTENT_TYPE).iter();
    let (first, second) = (given.next(), given.next());
    let form = first
        .and_then(|form| form.to_str().ok())
        .unwrap_or_default();
    let essence = form.split(';').next().unwrap_or_default().trim();
    let json = essence.eq_ignore_ascii_case("application/json") && second.is_none();
    if json || cfg!(planted = "server_any_content_type") {
        return Ok(());
    }
    let hint = "send `Content-Type: application/json`, also where there is no body";
    Err(Problem::new(Kind::MediaType, "not_json_type").hint(hint))
}

pub(crate) fn parsed<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| {
        let problem = match error.classify() {
            Category::Data => Problem::new(Kind::Invalid, "invalid_body")
                .hint("GET /openapi.json describes the body; unknown fields are refused"),
            Category::Syntax | Category::Eof | Category::Io => {
                Problem::new(Kind::Invalid, "malformed_json").hint("send JSON")
            }
        };
        problem.detail(error.to_string())
    })
}
