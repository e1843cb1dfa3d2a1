//! The one way to the tasks: requests of the HTTP API, answered by a server elsewhere or by the same router in this process.

mod call;
mod file;
mod follow;
pub(crate) mod sse;
mod url;

use crate::error::CliError;
use crate::problem::Problem;
use crate::settings::Place;
pub(crate) use call::Call;
use file::Opened;
pub(crate) use file::{Opening, opened_to_serve};
pub(crate) use follow::Follow;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::Response;
use hyper::body::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
pub(crate) use url::Remote;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// A body as it comes.
pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A whole answer; of [`Reach::send`] one that says yes.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The body, byte for byte.
    pub(crate) body: Bytes,
}

impl Answer {
    /// The body as what it is.
    ///
    /// # Errors
    /// [`CliError::Refused`] where it is none of this API.
    pub(crate) fn parsed<'a, T: Deserialize<'a>>(&'a self) -> Result<T, CliError> {
        serde_json::from_slice(&self.body).map_err(|_| self.foreign())
    }

    /// A part of the body as what it is.
    ///
    /// # Errors
    /// As for [`Answer::parsed`].
    pub(crate) fn of<T: DeserializeOwned>(&self, part: &RawValue) -> Result<T, CliError> {
        serde_json::from_str(part.get()).map_err(|_| self.foreign())
    }

    /// The answer, where it says yes.
    ///
    /// # Errors
    /// [`CliError::Refused`] with the problem that was answered.
    pub(crate) fn accepted(self) -> Result<Answer, CliError> {
        match (200..300).contains(&self.status) {
            true => Ok(self),
            false => Err(self.refusal()),
        }
    }

    fn refusal(&self) -> CliError {
        Problem::of(self.status, &self.body).into()
    }

    fn foreign(&self) -> CliError {
        Problem::of(self.status, b"").into()
    }
}

/// Where the requests go.
pub(crate) enum Reach {
    /// To an engine of this process, on the file.
    File(Box<Opened>),
    /// To a server.
    Url(Remote),
}

impl Reach {
    /// Opens the file, or gets ready to ask the server.
    pub(crate) async fn open(
        place: &Place,
        token: Option<String>,
        opening: Opening,
    ) -> Result<Reach, CliError> {
        match place {
            Place::File(path) => Ok(Reach::File(Box::new(Opened::open(path, opening).await?))),
            Place::Url(url) => Ok(Reach::Url(Remote::parse(url, token)?)),
        }
    }

    /// Sends a request, and takes the whole answer.
    ///
    /// # Errors
    /// [`CliError::Refused`] with the problem that was answered; [`CliError::Unreachable`].
    pub(crate) async fn send(&self, call: Call) -> Result<Answer, CliError> {
        let response = self.begin(call).await?;
        self.whole(response).await
    }

    /// Sends a request, and takes the head of the answer: the body is still to come.
    ///
    /// # Errors
    /// As for [`Reach::send`].
    pub(crate) async fn begin(&self, call: Call) -> Result<Response<Body>, CliError> {
        let response = self.answered(call).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.whole(response).await?.refusal())
    }

    /// Sends a request, and takes the whole answer, whatever it says.
    ///
    /// # Errors
    /// [`CliError::Unreachable`].
    pub(crate) async fn said(&self, call: Call) -> Result<Answer, CliError> {
        let response = self.answered(call).await?;
        self.whole(response).await
    }

    async fn answered(&self, call: Call) -> Result<Response<Body>, CliError> {
        match self {
            Reach::File(opened) => opened.begin(call).await,
            Reach::Url(remote) => remote.begin(call).await,
        }
    }

    async fn whole(&self, response: Response<Body>) -> Result<Answer, CliError> {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| self.broken(&error))?;
        Ok(Answer {
            status: parts.status.as_u16(),
            body: body.to_bytes(),
        })
    }

    /// An answer that ended before its end.
    pub(crate) fn broken(&self, error: &BoxError) -> CliError {
        let at = match self {
            Reach::File(opened) => opened.path().display().to_string(),
            Reach::Url(remote) => remote.to_string(),
        };
        CliError::Unreachable {
            at,
            why: format!("the answer broke off ({error})"),
        }
    }

    /// Whether what is asked goes to a file that nobody else works on.
    pub(crate) fn is_file(&self) -> bool {
        matches!(self, Reach::File(_))
    }

    /// Lets go of the file, in order.
    pub(crate) async fn close(self) {
        match self {
            Reach::File(opened) => opened.close().await,
            Reach::Url(_) => {}
        }
    }
}
