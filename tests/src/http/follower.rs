//! A client of server-sent events, as the HTML standard has it.

use super::Connection;
use serde_json::Value;
use std::collections::VecDeque;
use std::io;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// The id that was named last.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its data.
    pub data: String,
}

impl Event {
    /// Its data as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).expect("the data is JSON")
    }
}

/// Reads events from a connection.
#[derive(Debug)]
pub struct Follower {
    connection: Connection,
    text: String,
    ready: VecDeque<Event>,
    last_id: String,
    /// Lines that say nothing, by which a stream shows that it lives.
    pub comments: usize,
    /// After how many milliseconds to come back.
    pub retry: Option<u64>,
}

impl Follower {
    pub(super) fn new(connection: Connection) -> Follower {
        Follower {
            connection,
            text: String::new(),
            ready: VecDeque::new(),
            last_id: String::new(),
            comments: 0,
            retry: None,
        }
    }

    /// The next event; nothing when the server ends the stream.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn next(&mut self) -> io::Result<Option<Event>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            let Some(chunk) = self.connection.chunk().await? else {
                return Ok(None);
            };
            self.text.push_str(&String::from_utf8_lossy(&chunk));
            while let Some(at) = self.text.find("\n\n") {
                let block: String = self.text.drain(..at + 2).collect();
                self.take(&block);
            }
        }
    }

    /// Waits for a sign of life that is no event.
    ///
    /// # Errors
    /// When the connection breaks, or ends.
    pub async fn comment(&mut self) -> io::Result<()> {
        let before = self.comments;
        while self.comments == before {
            let chunk = self.connection.chunk().await?;
            let chunk = chunk.ok_or(io::ErrorKind::UnexpectedEof)?;
            self.comments += String::from_utf8_lossy(&chunk)
                .lines()
                .filter(|line| line.starts_with(':'))
                .count();
        }
        Ok(())
    }

    /// Every event up to one of this name, with it.
    ///
    /// # Errors
    /// When the connection breaks, or ends before.
    pub async fn until(&mut self, name: &str) -> io::Result<Vec<Event>> {
        let mut events = Vec::new();
        loop {
            let event = self.next().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let last = event.name == name;
            events.push(event);
            if last {
                return Ok(events);
            }
        }
    }

    fn take(&mut self, block: &str) {
        let (mut name, mut data) = (None, Vec::new());
        for line in block.lines() {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "" => self.comments += 1,
                "id" => self.last_id = value.to_owned(),
                "event" => name = Some(value.to_owned()),
                "data" => data.push(value.to_owned()),
                "retry" => self.retry = value.parse().ok(),
                _ => {}
            }
        }
        if data.is_empty() {
            return;
        }
        self.ready.push_back(Event {
            id: self.last_id.clone(),
            name: name.unwrap_or_else(|| "message".to_owned()),
            data: data.join("\n"),
        });
    }
}
