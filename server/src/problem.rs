//! What went wrong, as a problem document (RFC 9457) with a code that stays.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

/// What kind of an answer a problem is: one status each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The request is wrong, whatever the tasks are.
    Invalid,
    /// A token is missing or wrong.
    Unauthorized,
    /// It may not be done from outside, or not with this token.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// The path takes other methods.
    Method,
    /// The request did not come in time.
    Timeout,
    /// The task does not take it as it stands.
    Conflict,
    /// It was there, and is not kept any more.
    Gone,
    /// The task is not as the caller saw it.
    Precondition,
    /// More bytes than are taken.
    TooLarge,
    /// A longer target than is taken.
    UriTooLong,
    /// Not JSON.
    MediaType,
    /// For another host.
    Misdirected,
    /// It is well formed, and cannot be done.
    Unprocessable,
    /// More at once than is given.
    TooMany,
    /// Ours to mend.
    Internal,
    /// It may be done later.
    Unavailable,
}

impl Kind {
    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Kind::Invalid => StatusCode::BAD_REQUEST,
            Kind::Unauthorized => StatusCode::UNAUTHORIZED,
            Kind::Forbidden => StatusCode::FORBIDDEN,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::Method => StatusCode::METHOD_NOT_ALLOWED,
            Kind::Timeout => StatusCode::REQUEST_TIMEOUT,
            Kind::Conflict => StatusCode::CONFLICT,
            Kind::Gone => StatusCode::GONE,
            Kind::Precondition => StatusCode::PRECONDITION_FAILED,
            Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::UriTooLong => StatusCode::URI_TOO_LONG,
            Kind::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Kind::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Kind::Unprocessable => StatusCode::UNPROCESSABLE_ENTITY,
            Kind::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// After how many seconds it is worth asking again, where it is.
    const fn retry_after(self) -> Option<u8> {
        match self {
            Kind::Unavailable | Kind::TooMany => Some(1),
            Kind::Invalid
            | Kind::Unauthorized
            | Kind::Forbidden
            | Kind::NotFound
            | Kind::Method
            | Kind::Timeout
            | Kind::Conflict
            | Kind::Gone
            | Kind::Precondition
            | Kind::TooLarge
            | Kind::UriTooLong
            | Kind::MediaType
            | Kind::Misdirected
            | Kind::Unprocessable
            | Kind::Internal => None,
        }
    }
}

/// A problem on its way out. The middleware that knows the request's id writes it.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) kind: Kind,
    pub(crate) code: &'static str,
    detail: Option<String>,
    hint: &'static str,
    fields: Map<String, Value>,
    /// What is written to the log and told to nobody.
    pub(crate) logged: Option<String>,
}

impl Problem {
    pub(crate) fn new(kind: Kind, code: &'static str) -> Problem {
        Problem {
            kind,
            code,
            detail: None,
            hint: "",
            fields: Map::new(),
            logged: None,
        }
    }

    /// What is wrong this time.
    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Problem {
        self.detail = Some(detail.into());
        self
    }

    /// What to do next.
    pub(crate) fn hint(mut self, hint: &'static str) -> Problem {
        self.hint = hint;
        self
    }

    /// What a program decides by.
    pub(crate) fn field(mut self, key: &str, value: impl Into<Value>) -> Problem {
        self.fields.insert(key.to_owned(), value.into());
        self
    }

    pub(crate) fn fields(mut self, fields: Map<String, Value>) -> Problem {
        self.fields.extend(fields);
        self
    }

    pub(crate) fn logged(mut self, error: impl Into<String>) -> Problem {
        self.logged = Some(error.into());
        self
    }

    /// The document.
    pub(crate) fn document(&self, request_id: &str) -> Value {
        let status = self.kind.status();
        let mut document = json!({
            "type": format!("urn:outlive:problem:{}", self.code),
            "title": status.canonical_reason().unwrap_or_default(),
            "status": status.as_u16(),
            "code": self.code,
            "request_id": request_id,
        });
        if let Value::Object(members) = &mut document {
            let detail = self.detail.clone().map(Value::from);
            members.extend(detail.map(|detail| ("detail".to_owned(), detail)));
            if !self.hint.is_empty() {
                members.insert("hint".to_owned(), self.hint.into());
            }
            for (key, value) in &self.fields {
                members.entry(key).or_insert_with(|| value.clone());
            }
        }
        document
    }

    /// The answer, for the request of this id.
    pub(crate) fn written(&self, request_id: &str) -> Response {
        let mut response = Response::new(Body::from(self.document(request_id).to_string()));
        *response.status_mut() = self.kind.status();
        let headers = response.headers_mut();
        let form = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, form);
        if let Some(seconds) = self.kind.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(u16::from(seconds)));
        }
        if self.kind == Kind::Unauthorized {
            let scheme = HeaderValue::from_static("Bearer realm=\"outlive\"");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.kind.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}
