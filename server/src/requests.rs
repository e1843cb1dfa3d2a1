//! What every request gets: an id, a line in the log, and its problem written down.

use crate::problem::Problem;
use crate::state::App;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;

/// The header of the id.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id that is taken from a caller.
const REQUEST_ID_MAX: usize = 128;
/// Bytes of chance in an id of our own making.
const CHANCE: usize = 12;

/// The id of a request, for whoever tells of it.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) String);

impl RequestId {
    /// The caller's, where it can be written into a log as it is; else one of our own.
    fn of(request: &Request) -> RequestId {
        let given = request.headers().get(REQUEST_ID);
        let given = given.and_then(|given| given.to_str().ok());
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
        let fits = |id: &&str| {
            (1..=REQUEST_ID_MAX).contains(&id.len())
                && (id.bytes().all(plain) || cfg!(planted = "server_logs_any_request_id"))
        };
        RequestId(given.filter(fits).map_or_else(fresh, str::to_owned))
    }
}

fn fresh() -> String {
    let mut chance = [0; CHANCE];
    // Without randomness two requests may share an id, and nothing else is wrong.
    let _ = getrandom::fill(&mut chance);
    chance.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The outermost layer.
pub(crate) async fn identified(
    State(app): State<App>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = RequestId::of(&request);
    request.extensions_mut().insert(id.clone());
    // A path that is none of ours is not repeated, and no query ever is: a token may be in it.
    let path = request.extensions().get::<MatchedPath>();
    let path = match cfg!(planted = "server_logs_queries") {
        true => request.uri().to_string(),
        false => path.map_or("-", MatchedPath::as_str).to_owned(),
    };
    let method = request.method().clone();
    let span = tracing::info_span!(
        target: "outlive::http", "request", request_id = %id.0, method = %method, path = %path
    );
    let counted = app.counters.begin();
    let response = next.run(request).instrument(span.clone()).await;
    let _entered = span.enter();
    let response = finished(response, &id);
    counted.end(response.status());
    tracing::info!(target: "outlive::http", status = response.status().as_u16(), "answered");
    response
}

fn finished(mut response: Response, id: &RequestId) -> Response {
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        if let Some(error) = &problem.logged {
            tracing::error!(target: "outlive::http", code = problem.code, error, "a call failed");
        }
        let allow = response.headers_mut().remove(header::ALLOW);
        response = problem.written(&id.0);
        if let Some(allow) = allow {
            response.headers_mut().insert(header::ALLOW, allow);
        }
    }
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}
