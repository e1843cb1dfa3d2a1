//! The outside log: what was asked, acknowledged, entered and returned, in the order in which it happened.
//!
//! Each line is one `write(2)` to a file that is only appended to, so a killed process leaves whole lines, and the
//! order of the lines is the order of the events that wrote them.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// One input of one task.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The task's id.
    pub id: String,
    /// The input's id.
    pub input: String,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A process begins; lives count from 0.
    Began(u64),
    /// A start is about to be called.
    Told(Key),
    /// The start was acknowledged.
    Acknowledged(Key),
    /// The start was refused: nothing happened.
    Refused(Key),
    /// A handler was entered.
    Entered {
        /// What it works on.
        key: Key,
        /// Its claim.
        generation: u64,
        /// Why it was entered.
        entry: String,
    },
    /// A handler is about to return.
    Left {
        /// Its claim.
        generation: u64,
    },
    /// A caller has the result.
    Returned {
        /// Of which input.
        key: Key,
        /// The hash of the output.
        output: u64,
    },
}

impl Line {
    fn text(&self) -> String {
        match self {
            Line::Began(life) => format!("B {life}\n"),
            Line::Told(Key { id, input }) => format!("T {id} {input}\n"),
            Line::Acknowledged(Key { id, input }) => format!("A {id} {input}\n"),
            Line::Refused(Key { id, input }) => format!("X {id} {input}\n"),
            Line::Entered {
                key: Key { id, input },
                generation,
                entry,
            } => format!("E {id} {input} {generation} {entry}\n"),
            Line::Left { generation } => format!("D {generation}\n"),
            Line::Returned {
                key: Key { id, input },
                output,
            } => format!("R {id} {input} {output}\n"),
        }
    }

    /// Reads a line back; `None` for anything else.
    pub fn parse(text: &str) -> Option<Line> {
        let mut words = text.split(' ');
        let mut word = || words.next().map(str::to_owned);
        let kind = word()?;
        let mut key = || {
            Some(Key {
                id: word()?,
                input: word()?,
            })
        };
        Some(match kind.as_str() {
            "B" => Line::Began(word()?.parse().ok()?),
            "T" => Line::Told(key()?),
            "A" => Line::Acknowledged(key()?),
            "X" => Line::Refused(key()?),
            "E" => Line::Entered {
                key: key()?,
                generation: word()?.parse().ok()?,
                entry: word()?,
            },
            "D" => Line::Left {
                generation: word()?.parse().ok()?,
            },
            "R" => Line::Returned {
                key: key()?,
                output: word()?.parse().ok()?,
            },
            _ => return None,
        })
    }
}

/// The end of the log that is written to.
#[derive(Debug)]
pub struct Log(File);

impl Log {
    /// Opens the log for appending.
    ///
    /// # Errors
    /// The system's answer.
    pub fn append(path: &Path) -> io::Result<Log> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        Ok(Log(file))
    }

    /// Writes one line with one call.
    ///
    /// # Panics
    /// When the line is not written whole: a log with a gap proves nothing.
    pub fn write(&self, line: &Line) {
        let text = line.text();
        let written = (&self.0).write(text.as_bytes());
        assert!(
            written.as_ref().is_ok_and(|written| *written == text.len()),
            "the log is not whole: {written:?}"
        );
    }
}
