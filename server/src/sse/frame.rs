//! One event on the wire, in the form of the HTML standard.

use crate::problem::Problem;
use serde::Serialize;
use std::time::Duration;

/// What a client is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame(pub(crate) Vec<u8>);

impl Frame {
    /// An event of this name. What the client last saw the id of is what it names when it comes back.
    pub(crate) fn event(id: &str, event: &str, data: &impl Serialize) -> Frame {
        let data = serde_json::to_vec(data).unwrap_or_default();
        let mut bytes = format!("id: {id}\nevent: {event}\n").into_bytes();
        // JSON that is kept as it was given may have line breaks between its tokens; within a string it has none.
        for line in data.split(|byte| *byte == b'\n') {
            bytes.extend_from_slice(b"data: ");
            bytes.extend(line.iter().map(|byte| match byte {
                b'\r' => b' ',
                byte => *byte,
            }));
            bytes.push(b'\n');
        }
        bytes.push(b'\n');
        Frame(bytes)
    }

    /// A problem on the way, told without an id: the place of the client stays what it was.
    pub(crate) fn problem(problem: &Problem) -> Frame {
        let document = problem.document("stream");
        Frame(format!("event: problem\ndata: {document}\n\n").into_bytes())
    }

    /// After how long the client is to come back when the connection ends.
    pub(crate) fn retry(after: Duration) -> Frame {
        Frame(format!("retry: {}\n\n", after.as_millis()).into_bytes())
    }

    /// Nothing but a sign of life.
    pub(crate) fn keep_alive() -> Frame {
        Frame(b": keep-alive\n\n".to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::value::RawValue;

    #[test]
    fn line_breaks_of_a_value_break_no_frame() {
        let raw = RawValue::from_string("{\"a\":\r\n 1.50}".to_owned()).unwrap();
        let frame = Frame::event("7", "item", &raw);
        let text = String::from_utf8(frame.0).unwrap();
        assert_eq!(text, "id: 7\nevent: item\ndata: {\"a\": \ndata:  1.50}\n\n");
    }
}
