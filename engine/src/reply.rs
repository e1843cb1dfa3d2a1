//! Where the word goes on what an event came to.

use crate::writer::{Refused, Told};
use outlive_storage::row::{Generation, TaskRow};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Who is told what an event came to.
pub(crate) enum Reply {
    /// Nobody: it was sent by the writer itself, or its sender was told before.
    Nobody,
    /// Its sender, who waits for it.
    Sender(oneshot::Sender<Told>),
    /// The log, and only of a refusal: the worker whose turn has ended has nothing left to do, and to wake it for a word
    /// that it does not need costs more than the word.
    Log {
        row: Arc<TaskRow>,
        generation: Generation,
    },
}

impl Reply {
    pub(crate) fn tell(self, told: Told) {
        match self {
            Reply::Nobody => {}
            // A sender that left loses nothing: what it asked for is durable, and what was refused it asks for again.
            Reply::Sender(sender) => drop(sender.send(told)),
            Reply::Log { row, generation } => {
                if let Err(refused) = told {
                    untaken(&row, generation, &refused);
                }
            }
        }
    }
}

/// Says that the end of a turn came to nothing.
pub(crate) fn untaken(row: &TaskRow, generation: Generation, refused: &Refused) {
    tracing::warn!(
        target: "outlive::task",
        id = %row.id,
        generation = generation.0,
        ?refused,
        "the end of a turn was not taken"
    );
}
