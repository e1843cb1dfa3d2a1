//! Where a reader was: the id of the last event it saw.

use crate::params::{Params, invalid};
use crate::problem::Problem;
use axum::http::{HeaderMap, HeaderName};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// What follows the sequence number in the id of the end: a reader that names it has seen everything.
const END: &str = ".end";

/// The place behind which a reader goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    /// The last sequence number it saw; zero before the first.
    pub(crate) after: u64,
    /// Whether it saw the end, too.
    pub(crate) saw_end: bool,
}

impl Position {
    /// By the header `Last-Event-ID`, which a client sends when it comes back; else by the parameter of the same meaning;
    /// else by `after`; else from the beginning.
    pub(crate) fn of(headers: &HeaderMap, params: &mut Params) -> Result<Position, Problem> {
        let header = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok());
        let header = header.filter(|id| !id.is_empty()).map(str::to_owned);
        let header = header.filter(|_| !cfg!(planted = "server_last_event_id_ignored"));
        let last = params.one("last_event_id")?.filter(|id| !id.is_empty());
        let after = params.one("after")?;
        let begin = Position {
            after: 0,
            saw_end: false,
        };
        let given = header.or(last).or(after);
        given.map_or(Ok(begin), |given| Position::parse(&given))
    }

    fn parse(text: &str) -> Result<Position, Problem> {
        let (number, saw_end) = match text.strip_suffix(END) {
            Some(number) => (number, true),
            None => (text, false),
        };
        let after = number
            .parse()
            .map_err(|_| invalid("last_event_id", "it is none of ours"))?;
        Ok(Position { after, saw_end })
    }
}

/// The id of the end of a stream, whose last event has this number.
pub(crate) fn end(sequence: u64) -> String {
    format!("{sequence}{END}")
}
