//! The outside log of the steering run: which inputs were told of, accepted and withdrawn, in the order of the calls.
//!
//! Each line is one `write(2)` to a file that is only appended to, so a killed process leaves whole lines.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// One input: its task, and its number among the inputs its caller gave to that task.
pub type Key = (usize, u64);

/// One event of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// An input is about to be given.
    Told,
    /// It was accepted.
    Accepted,
    /// It is about to be taken back.
    TakingBack,
    /// It was taken back.
    TakenBack,
    /// It could not be taken back.
    Kept,
}

const LETTERS: [(What, &str); 5] = [
    (What::Told, "T"),
    (What::Accepted, "A"),
    (What::TakingBack, "V"),
    (What::TakenBack, "W"),
    (What::Kept, "K"),
];

/// Reads a line back; `None` for anything else.
pub fn parse(line: &str) -> Option<(What, Key)> {
    let mut words = line.split(' ');
    let letter = words.next()?;
    let (what, _) = LETTERS.into_iter().find(|(_, known)| *known == letter)?;
    let task = words.next()?.parse().ok()?;
    Some((what, (task, words.next()?.parse().ok()?)))
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
    pub fn write(&self, what: What, (task, number): Key) {
        let found = LETTERS.into_iter().find(|(known, _)| *known == what);
        let letter = found.map_or("?", |(_, letter)| letter);
        let text = format!("{letter} {task} {number}\n");
        let written = (&self.0).write(text.as_bytes());
        assert!(
            written.as_ref().is_ok_and(|written| *written == text.len()),
            "the log is not whole: {written:?}"
        );
    }
}
