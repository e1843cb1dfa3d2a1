//! The outside log: what was asked, acknowledged, entered and returned, in the order in which it happened.
//!
//! Each line is one `write(2)` to a file that is only appended to, so a killed process leaves whole lines, and the
//! order of the lines is the order of the events that wrote them.

use super::owners::{Owners, Said};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

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
    /// A start whose commit failed: nobody knows whether it happened.
    Unknown(Key),
    /// The function of a step runs.
    Ran {
        /// The task.
        id: String,
        /// The step.
        step: u64,
    },
    /// A step is recorded, or was found so.
    Recorded {
        /// The task.
        id: String,
        /// The step.
        step: u64,
        /// Its result, another one each time it runs.
        value: u64,
    },
    /// An item is durable.
    Emitted {
        /// The task.
        id: String,
        /// Its number in the stream.
        sequence: u64,
        /// The item.
        item: u64,
    },
    /// A handler has started a child, or found it.
    Child {
        /// The child.
        id: String,
    },
    /// A handler was given the end of a child.
    ChildEnded {
        /// The child.
        id: String,
    },
    /// An answer to a question was acknowledged.
    Answered {
        /// The task that asked.
        id: String,
        /// The answer.
        value: u64,
    },
    /// A handler was given an answer.
    Heard {
        /// The task that asked.
        id: String,
        /// The answer.
        value: u64,
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
            Line::Unknown(Key { id, input }) => format!("U {id} {input}\n"),
            Line::Ran { id, step } => format!("S {id} {step}\n"),
            Line::Recorded { id, step, value } => format!("K {id} {step} {value}\n"),
            Line::Emitted { id, sequence, item } => format!("I {id} {sequence} {item}\n"),
            Line::Child { id } => format!("C {id}\n"),
            Line::ChildEnded { id } => format!("Y {id}\n"),
            Line::Answered { id, value } => format!("W {id} {value}\n"),
            Line::Heard { id, value } => format!("V {id} {value}\n"),
        }
    }

    /// Reads a line back; `None` for anything else.
    pub fn parse(text: &str) -> Option<Line> {
        let words: Vec<&str> = text.split(' ').collect();
        let key = |id: &str, input: &str| Key {
            id: id.to_owned(),
            input: input.to_owned(),
        };
        let number = |word: &str| word.parse().ok();
        Some(match words[..] {
            ["B", life] => Line::Began(number(life)?),
            ["T", id, input] => Line::Told(key(id, input)),
            ["A", id, input] => Line::Acknowledged(key(id, input)),
            ["X", id, input] => Line::Refused(key(id, input)),
            ["U", id, input] => Line::Unknown(key(id, input)),
            ["E", id, input, generation, entry] => Line::Entered {
                key: key(id, input),
                generation: number(generation)?,
                entry: entry.to_owned(),
            },
            ["D", generation] => Line::Left {
                generation: number(generation)?,
            },
            ["R", id, input, output] => Line::Returned {
                key: key(id, input),
                output: number(output)?,
            },
            ["S", id, step] => Line::Ran {
                id: id.to_owned(),
                step: number(step)?,
            },
            ["K", id, step, value] => Line::Recorded {
                id: id.to_owned(),
                step: number(step)?,
                value: number(value)?,
            },
            ["I", id, sequence, item] => Line::Emitted {
                id: id.to_owned(),
                sequence: number(sequence)?,
                item: number(item)?,
            },
            ["C", id] => Line::Child { id: id.to_owned() },
            ["Y", id] => Line::ChildEnded { id: id.to_owned() },
            ["W", id, value] => Line::Answered {
                id: id.to_owned(),
                value: number(value)?,
            },
            ["V", id, value] => Line::Heard {
                id: id.to_owned(),
                value: number(value)?,
            },
            _ => return None,
        })
    }
}

/// The end of the log that is written to.
#[derive(Debug)]
pub struct Log {
    file: File,
    /// Where each entry of a handler is told as well, by the process that has the file.
    owners: Option<Arc<Owners>>,
}

impl Log {
    /// Opens the log for appending.
    ///
    /// # Errors
    /// The system's answer.
    pub fn append(path: &Path) -> io::Result<Log> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        Ok(Log { file, owners: None })
    }

    /// Tells there, too, that this process acts as the owner of the file.
    #[must_use]
    pub fn of(mut self, owners: &Arc<Owners>) -> Log {
        self.owners = Some(Arc::clone(owners));
        self
    }

    /// Writes one line with one call.
    ///
    /// # Panics
    /// When the line is not written whole: a log with a gap proves nothing.
    pub fn write(&self, line: &Line) {
        if let (Line::Entered { .. }, Some(owners)) = (line, &self.owners) {
            owners.say(Said::Acts);
        }
        write_whole(&self.file, &line.text());
    }
}

/// Writes a line with one call to the system.
///
/// # Panics
/// When it is not written whole.
pub(super) fn write_whole(mut file: &File, text: &str) {
    let written = file.write(text.as_bytes());
    assert!(
        written.as_ref().is_ok_and(|written| *written == text.len()),
        "the log is not whole: {written:?}"
    );
}
