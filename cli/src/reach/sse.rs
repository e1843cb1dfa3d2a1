//! Server-sent events, read as they come, in the form of the HTML standard.

/// Longest event that is read: an item of 256 KiB, escaped, and its frame.
const EVENT_MAX: usize = 4 * 1024 * 1024;

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its place; empty for what has none.
    pub(crate) id: Option<String>,
    pub(crate) name: String,
    pub(crate) data: String,
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Read {
    Event(Event),
    /// After how many milliseconds to come back when the connection ends.
    Retry(u64),
}

/// What has come and is not whole yet.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    bytes: Vec<u8>,
    event: Event,
    has_data: bool,
}

/// An event that is longer than any of this API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLong;

impl Parser {
    /// Takes what came, and gives what is whole.
    ///
    /// # Errors
    /// [`TooLong`].
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<Vec<Read>, TooLong> {
        self.bytes.extend_from_slice(bytes);
        let mut read = Vec::new();
        let mut from = 0;
        while let Some(length) = self.bytes[from..].iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&self.bytes[from..from + length]).into_owned();
            from += length + 1;
            read.extend(self.line(line.strip_suffix('\r').unwrap_or(&line)));
        }
        self.bytes.drain(..from);
        match self.bytes.len().max(self.event.data.len()) > EVENT_MAX {
            true => Err(TooLong),
            false => Ok(read),
        }
    }

    fn line(&mut self, line: &str) -> Option<Read> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return std::mem::take(&mut self.has_data).then_some(Read::Event(event));
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.event.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.event.name),
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
                self.has_data = true;
            }
            "retry" => return value.parse().ok().map(Read::Retry),
            // A comment, or what is not known yet.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_however_they_are_cut() {
        let text =
            b": alive\n\nid: 7\nevent: item\ndata: {\"a\":\ndata:  1}\n\nretry: 250\n\ndata: x\n\n";
        let whole = Parser::default().take(text).unwrap();
        assert_eq!(whole.len(), 3);
        let item = Event {
            id: Some("7".to_owned()),
            name: "item".to_owned(),
            data: "{\"a\":\n 1}".to_owned(),
        };
        assert_eq!(whole[0], Read::Event(item));
        assert_eq!(whole[1], Read::Retry(250));
        for size in 1..10 {
            let mut parser = Parser::default();
            let parts = text
                .chunks(size)
                .flat_map(|part| parser.take(part).unwrap());
            assert_eq!(parts.collect::<Vec<_>>(), whole, "in parts of {size}");
        }
    }

    #[test]
    fn an_event_without_an_end_is_not_kept_for_ever() {
        let mut parser = Parser::default();
        let line = vec![b'x'; 1024 * 1024];
        let taken = (0..5).map(|_| parser.take(&line));
        assert!(taken.into_iter().any(|taken| taken == Err(TooLong)));
    }
}
