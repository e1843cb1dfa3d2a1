//! A request of the API, as a verb makes it.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Request};
use serde::Serialize;

/// A request. Whatever is put into it is encoded for its place.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    method: Method,
    path: String,
    query: Vec<(String, String)>,
    headers: Vec<(HeaderName, String)>,
    body: Vec<u8>,
}

impl Call {
    fn new(method: Method, path: &[&str]) -> Call {
        let mut target = String::new();
        for segment in path {
            target.push('/');
            target.extend(
                form_urlencoded::byte_serialize(segment.as_bytes()).map(|part| {
                    // In a path a plus is a plus.
                    if part == "+" { "%20" } else { part }
                }),
            );
        }
        Call {
            method,
            path: target,
            query: Vec::new(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Asks for what is under these segments.
    pub(crate) fn get(path: &[&str]) -> Call {
        Call::new(Method::GET, path)
    }

    /// Orders something; with `{}` unless [`Call::json`] says more.
    pub(crate) fn post(path: &[&str]) -> Call {
        let mut call = Call::new(Method::POST, path);
        call.body = b"{}".to_vec();
        call
    }

    /// Removes something.
    pub(crate) fn delete(path: &[&str]) -> Call {
        Call::new(Method::DELETE, path)
    }

    /// A parameter.
    pub(crate) fn query(mut self, name: &str, value: impl AsRef<str>) -> Call {
        self.query
            .push((name.to_owned(), value.as_ref().to_owned()));
        self
    }

    /// A parameter that may be left out.
    pub(crate) fn query_if(self, name: &str, value: Option<impl AsRef<str>>) -> Call {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    /// A header.
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Call {
        self.headers
            .push((HeaderName::from_static(name), value.into()));
        self
    }

    /// A header that may be left out.
    pub(crate) fn header_if(self, name: &'static str, value: Option<String>) -> Call {
        match value {
            Some(value) => self.header(name, value),
            None => self,
        }
    }

    /// The body.
    pub(crate) fn json(mut self, body: &impl Serialize) -> Call {
        // Our own bodies have a JSON form.
        self.body = serde_json::to_vec(body).unwrap_or_default();
        self
    }

    /// The request, below `base` and for `host`.
    ///
    /// # Errors
    /// Where a value can be in no header.
    pub(super) fn request(
        self,
        base: &str,
        host: &str,
        token: Option<&str>,
    ) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let query = query.extend_pairs(&self.query).finish();
        let mark = if query.is_empty() { "" } else { "?" };
        let mut request = Request::builder()
            .method(&self.method)
            .uri(format!("{base}{}{mark}{query}", self.path))
            .header(header::HOST, host)
            .header(
                header::USER_AGENT,
                concat!("outlive-cli/", env!("CARGO_PKG_VERSION")),
            );
        if self.method == Method::POST {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(token) = token {
            let mut bearer = HeaderValue::try_from(format!("Bearer {token}"))?;
            bearer.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, bearer);
        }
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        request.body(Full::new(Bytes::from(self.body)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_into_a_request_stays_where_it_is_put() {
        let call = Call::get(&["v1", "tasks", "a b/../?x#y"]).query("tag", "k:v&w=1");
        let request = call.request("/base", "h", None).unwrap();
        let target = request.uri().to_string();
        assert_eq!(
            target,
            "/base/v1/tasks/a%20b%2F..%2F%3Fx%23y?tag=k%3Av%26w%3D1"
        );
    }
}
