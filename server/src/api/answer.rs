//! What handlers answer with: JSON whose values are passed on as they are, and the ids of paths.

use crate::problem::{Kind, Problem};
use axum::body::Body;
use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// How a handler answers.
pub(crate) type Answer = Result<Response, Problem>;

/// A view as a body.
pub(crate) fn json(view: &impl Serialize) -> Response {
    match serde_json::to_vec(view) {
        Ok(bytes) => {
            let mut response = Response::new(Body::from(bytes));
            let form = HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, form);
            response
        }
        Err(error) => Problem::new(Kind::Internal, "unwritable")
            .logged(error.to_string())
            .into_response(),
    }
}

/// The parts of a path, in order, decoded. What they may be is for the engine to say.
pub(crate) struct Path<const N: usize>(pub(crate) [String; N]);

impl<S: Send + Sync, const N: usize> FromRequestParts<S> for Path<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let invalid = || Problem::new(Kind::Invalid, "invalid_path").hint("encode it as UTF-8");
        let found = RawPathParams::from_request_parts(parts, state).await;
        let found = found.map_err(|_| invalid())?;
        let values: Vec<String> = found.iter().map(|(_, value)| value.to_owned()).collect();
        // A router that is mounted under a path of its own may have parameters before these.
        let last = values.len().checked_sub(N).map(|at| values[at..].to_vec());
        let values = last.and_then(|values| values.try_into().ok());
        values.map(Path).ok_or_else(invalid)
    }
}
