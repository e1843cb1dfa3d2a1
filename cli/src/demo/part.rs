//! The process that does the work, as the demonstration sees it: lines that it says, and words that it is told.

use crate::error::CliError;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// What the process says, a line each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Told {
    /// The file is open.
    Opened { us: u64 },
    /// The handler is entered; again, where it ran when its process died.
    Entered { again: bool },
    /// A stage is done: by this process, or long ago.
    Stage { n: u32, what: String, ran: bool },
    /// It took what it was told.
    Taken { after: u32, word: String },
    /// The task has ended.
    Done { output: String },
    /// An item of its stream, read afterwards.
    Item { text: String },
}

/// The process.
pub(super) struct Part {
    child: Child,
    words: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

fn failed(error: io::Error) -> CliError {
    CliError::System {
        what: "the process that does the work cannot be had".to_owned(),
        error,
    }
}

impl Part {
    /// Starts this program once more, as the one that works.
    pub(super) fn begin(directory: &Path, dies_at: Option<u32>) -> Result<Part, CliError> {
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.arg("demo").arg("--worker").arg(directory);
        if let Some(stage) = dies_at {
            command.arg("--dies-at").arg(stage.to_string());
        }
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut child = child.map_err(failed)?;
        let (Some(words), Some(lines)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed(io::ErrorKind::BrokenPipe.into()));
        };
        Ok(Part {
            child,
            words,
            lines: BufReader::new(lines).lines(),
        })
    }

    pub(super) fn pid(&self) -> String {
        let pid = self.child.id();
        pid.map_or_else(|| "?".to_owned(), |pid| format!("pid {pid}"))
    }

    /// What it says next; `None` when it has ended.
    pub(super) async fn next(&mut self) -> Result<Option<Told>, CliError> {
        let Some(line) = self.lines.next_line().await.map_err(failed)? else {
            return Ok(None);
        };
        let told = serde_json::from_str(&line);
        told.map(Some).map_err(|error| failed(error.into()))
    }

    /// Says a word to it.
    pub(super) async fn say(&mut self, word: &str) -> Result<(), CliError> {
        let line = format!("{word}\n");
        self.words
            .write_all(line.as_bytes())
            .await
            .map_err(failed)?;
        self.words.flush().await.map_err(failed)
    }

    /// Waits until it is gone; the signal by which it was killed, if it was.
    pub(super) async fn ended(mut self) -> Result<Option<i32>, CliError> {
        drop(self.words);
        let status = self.child.wait().await.map_err(failed)?;
        #[cfg(unix)]
        return Ok(std::os::unix::process::ExitStatusExt::signal(&status));
        #[cfg(not(unix))]
        return Ok(status.code());
    }
}
