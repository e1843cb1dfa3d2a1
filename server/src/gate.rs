//! Who may knock at all: a request for a host that is expected, from no foreign page, of a bounded length.

use crate::options::Options;
use crate::problem::{Kind, Problem};
use crate::state::App;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Lets a request through, or says why not.
pub(crate) async fn kept(State(app): State<App>, request: Request, next: Next) -> Response {
    let bound = app.options.limits.uri_bytes;
    match checked(&app.options, request.uri(), request.headers(), bound) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn checked(
    options: &Options,
    uri: &Uri,
    headers: &HeaderMap,
    uri_max: usize,
) -> Result<(), Problem> {
    let target = uri
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    if target > uri_max && !cfg!(planted = "server_any_uri") {
        return Err(Problem::new(Kind::UriTooLong, "uri_too_long").field("limit", uri_max));
    }
    let host = host(options, uri, headers)?;
    origin(options, &host, headers)
}

/// The host the request is for, with its port, as it was written.
fn host(options: &Options, uri: &Uri, headers: &HeaderMap) -> Result<String, Problem> {
    let mut named = headers.get_all(header::HOST).iter();
    let of_header = named.next().map(|host| host.to_str().unwrap_or_default());
    let of_target = uri.authority().map(|authority| authority.as_str());
    if named.next().is_some() {
        return Err(Problem::new(Kind::Invalid, "invalid_host").detail("several hosts are named"));
    }
    if cfg!(planted = "server_any_host") || options.any_host {
        return Ok(of_header
            .or(of_target)
            .unwrap_or_default()
            .to_ascii_lowercase());
    }
    for host in [of_header, of_target].into_iter().flatten() {
        let name = without_port(host).to_ascii_lowercase();
        if name.is_empty() {
            return Err(Problem::new(Kind::Invalid, "invalid_host").detail("no host is named"));
        }
        if !options.hosts.contains(&name) {
            let hint = "name the server by a host it expects; its operator may add one";
            return Err(Problem::new(Kind::Misdirected, "unknown_host").hint(hint));
        }
    }
    let host = of_header.or(of_target);
    let missing = || Problem::new(Kind::Invalid, "missing_host").detail("no host is named");
    Ok(host.ok_or_else(missing)?.to_ascii_lowercase())
}

/// `[::1]:80`, `localhost:80` and `localhost` without the port. Brackets stay.
fn without_port(host: &str) -> &str {
    let after = host.rfind(']').map_or(0, |at| at + 1);
    match host[after..].find(':') {
        Some(at) => &host[..after + at],
        None => host,
    }
}

/// A page may send requests to its own server, and to none else.
fn origin(options: &Options, host: &str, headers: &HeaderMap) -> Result<(), Problem> {
    let foreign = || {
        let hint = "requests of pages are taken from the server's own origin alone";
        Problem::new(Kind::Forbidden, "foreign_origin").hint(hint)
    };
    if cfg!(planted = "server_any_origin") {
        return Ok(());
    }
    let site = headers.get(SEC_FETCH_SITE);
    if site.is_some_and(|site| site == "cross-site") {
        return Err(foreign());
    }
    for origin in headers.get_all(header::ORIGIN) {
        let origin = origin.to_str().unwrap_or_default().to_ascii_lowercase();
        let own = ["http://", "https://"]
            .into_iter()
            .any(|scheme| origin.strip_prefix(scheme).is_some_and(|of| of == host));
        if !own && !options.origins.contains(&origin) {
            return Err(foreign());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_told_from_its_port() {
        for (host, name) in [
            ("localhost", "localhost"),
            ("localhost:80", "localhost"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("127.0.0.1:", "127.0.0.1"),
            (":80", ""),
        ] {
            assert_eq!(without_port(host), name);
        }
    }
}
