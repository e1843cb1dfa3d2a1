//! A stream of events that is followed over the ends of its connections: each event once, in order.

use super::sse::{Event, Parser, Read};
use super::{Body, Call, Reach};
use crate::error::CliError;
use crate::exit::Exit;
use crate::problem::Problem;
use http_body_util::BodyExt;
use std::collections::VecDeque;
use std::time::Duration;

/// How long to wait before a connection is tried again, until the server says something else.
const RETRY: Duration = Duration::from_millis(250);
/// The longest of such waits.
const RETRY_MAX: Duration = Duration::from_secs(5);
/// On a file nobody adds to a stream: when nothing more comes for so long, that is all there is.
const QUIET: Duration = Duration::from_secs(1);
/// The status of an answer that says that its reader has seen the end.
const SEEN_THE_END: u16 = 204;

/// A reader of one stream.
pub(crate) struct Follow<'a> {
    reach: &'a Reach,
    call: Call,
    /// The place of the last event that was given.
    last: Option<String>,
    connection: Option<(Body, Parser)>,
    read: VecDeque<Event>,
    retry: Duration,
    /// Whether anybody has ever answered: from then on nobody who does not is given up.
    was_reached: bool,
    /// The problem this connection told, unless it told more.
    problem: Option<Problem>,
    /// Told once for each loss.
    lost: Box<dyn Fn(&CliError) + Send + Sync + 'a>,
}

impl<'a> Follow<'a> {
    /// Follows what `call` asks for; `lost` is told of connections that are tried again.
    pub(crate) fn new(
        reach: &'a Reach,
        call: Call,
        lost: impl Fn(&CliError) + Send + Sync + 'a,
    ) -> Follow<'a> {
        Follow {
            reach,
            call,
            last: None,
            connection: None,
            read: VecDeque::new(),
            retry: RETRY,
            was_reached: false,
            problem: None,
            lost: Box::new(lost),
        }
    }

    /// The next event; nothing at the end of the stream, or where a file has no more.
    ///
    /// # Errors
    /// [`CliError::Unreachable`] where nobody has answered yet; [`CliError::Refused`].
    pub(crate) async fn next(&mut self) -> Result<Option<Event>, CliError> {
        loop {
            if let Some(event) = self.read.pop_front() {
                if event.id.is_some() && !cfg!(planted = "cli_forgets_its_place") {
                    self.last.clone_from(&event.id);
                }
                return Ok(Some(event));
            }
            if self.connection.is_none() && !self.connected().await? {
                return Ok(None);
            }
            let quiet = self.reach.is_file().then_some(QUIET);
            match self.more(quiet).await {
                More::Bytes => {}
                More::Quiet => return Ok(None),
                More::Ended => {
                    self.connection = None;
                    if let Some(problem) = self.problem.take() {
                        return Err(problem.into());
                    }
                    if self.reach.is_file() {
                        return Ok(None);
                    }
                    tokio::time::sleep(self.retry).await;
                }
            }
        }
    }

    /// Asks for what comes behind the last event. False: there is nothing behind it.
    async fn connected(&mut self) -> Result<bool, CliError> {
        let mut wait = self.retry;
        let mut told = false;
        loop {
            let call = self
                .call
                .clone()
                .header_if("last-event-id", self.last.clone());
            let error = match self.reach.begin(call).await {
                Ok(response) if response.status().as_u16() == SEEN_THE_END => return Ok(false),
                Ok(response) => {
                    self.was_reached = true;
                    self.connection = Some((response.into_body(), Parser::default()));
                    return Ok(true);
                }
                Err(error) => error,
            };
            if !self.was_reached || error.exit() != Exit::Unreachable {
                return Err(error);
            }
            if !std::mem::replace(&mut told, true) {
                (self.lost)(&error);
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RETRY_MAX);
        }
    }

    async fn more(&mut self, quiet: Option<Duration>) -> More {
        let Some((body, parser)) = &mut self.connection else {
            return More::Ended;
        };
        let frame = match quiet {
            None => body.frame().await,
            Some(quiet) => match tokio::time::timeout(quiet, body.frame()).await {
                Ok(frame) => frame,
                Err(_) => return More::Quiet,
            },
        };
        // A connection that breaks off is as one that ends: what it brought is whole.
        let Some(Ok(frame)) = frame else {
            return More::Ended;
        };
        let Some(bytes) = frame.data_ref() else {
            return More::Bytes;
        };
        let Ok(read) = parser.take(bytes) else {
            return More::Ended;
        };
        for read in read {
            match read {
                Read::Retry(ms) => self.retry = Duration::from_millis(ms).min(RETRY_MAX),
                Read::Event(event) => {
                    self.problem = None;
                    if event.id.is_none() && event.name == "problem" {
                        self.problem = Some(Problem::of(0, event.data.as_bytes()));
                    }
                    self.read.push_back(event);
                }
            }
        }
        More::Bytes
    }
}

/// What came of a connection.
enum More {
    Bytes,
    /// Nothing for a while.
    Quiet,
    Ended,
}
