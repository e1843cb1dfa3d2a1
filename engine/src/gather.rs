//! What waits for the writer, taken up to the bounds of one batch.

use crate::request::Request;
use crate::stream::linger::Lingering;
use crate::stream::{SEGMENTS_MAX, STREAM_BUFFER};
use crate::writer::{Message, PhaseChange, Upkeep};

/// Most events in one batch.
const BATCH_EVENTS_MAX: usize = 1024;
/// Most bytes of values in one batch; a larger event goes alone.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Events for one commit.
pub(crate) struct Gathered {
    pub(crate) requests: Vec<Request>,
    /// What comes after them.
    pub(crate) then: Option<Then>,
}

/// What is not part of a batch.
pub(crate) enum Then {
    Phase(PhaseChange),
    Upkeep(Upkeep),
    Stop,
}

/// Takes what waits, up to the bounds of a batch, into a list that is empty. Turns that have emitted something linger.
pub(crate) fn gather(
    first: Option<Message>,
    mut more: impl FnMut() -> Option<Message>,
    lingering: &mut Lingering,
    requests: Vec<Request>,
) -> Gathered {
    let mut gathered = Gathered {
        requests,
        then: None,
    };
    let (mut bytes, mut emitted) = (0, 0);
    let mut next = first.or_else(&mut more);
    while let Some(message) = next {
        match message {
            Message::Stop => {
                gathered.then = Some(Then::Stop);
                break;
            }
            Message::Phase(change) => {
                gathered.then = Some(Then::Phase(change));
                break;
            }
            Message::Upkeep(upkeep) => {
                gathered.then = Some(Then::Upkeep(upkeep));
                break;
            }
            Message::Event(request) => {
                bytes += request.draft.size();
                emitted += request
                    .draft
                    .stream
                    .as_ref()
                    .map_or(0, |cell| cell.buffered());
                gathered.requests.push(request);
            }
            Message::Stream(cell, by) => lingering.add(cell, by),
        }
        let full = bytes >= BATCH_BYTES_MAX || emitted >= SEGMENTS_MAX - STREAM_BUFFER;
        if gathered.requests.len() >= BATCH_EVENTS_MAX || full {
            break;
        }
        next = more();
    }
    gathered
}
