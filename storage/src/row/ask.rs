//! Questions of handlers that nobody has answered yet.

use crate::row::{Deadline, Micros};
use serde::{Deserialize, Serialize};

/// One open question of a task's turn; in `asks`, under its task and its key. Put when it is asked, removed with its
/// answer, with its expiry, and with the end of its turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskRow {
    /// The question as JSON.
    #[serde(with = "super::bytes::user")]
    pub question: Vec<u8>,
    /// The JSON schema of the answer, as the handler gave it; empty when it gave none.
    #[serde(with = "super::bytes::maybe")]
    pub schema: Option<Vec<u8>>,
    /// The answer that counts when nobody has given one in time, as JSON; empty when the handler is told of the expiry.
    #[serde(with = "super::bytes::maybe")]
    pub default: Option<Vec<u8>>,
    /// The first 16 bytes of the SHA-256 of the question, its schema and the action it is about.
    #[serde(with = "super::bytes::digest")]
    pub digest: [u8; 16],
    /// The type of the answer in the program that asked, for people.
    pub type_name: Box<str>,
    /// When it was asked.
    pub asked_at: Micros,
    /// From when on no answer is taken; [`Deadline::NEVER`] without such a moment.
    pub deadline: Deadline,
    /// The run that asked.
    pub run: u32,
    /// Its turn.
    pub turn: u32,
}

impl AskRow {
    /// Most open questions of one task.
    pub const OPEN_MAX: usize = 100;

    /// The digest as it is shown: 32 hexadecimal digits.
    pub fn digest_text(&self) -> String {
        self.digest
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Bytes of its values.
    pub fn size(&self) -> usize {
        let others = [&self.schema, &self.default];
        self.question.len() + others.into_iter().flatten().map(Vec::len).sum::<usize>()
    }
}
