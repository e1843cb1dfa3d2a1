//! Where the word goes on what an event came to.

use crate::hub::{self, Hub};
use crate::machine::Answer;
use crate::word::Word;
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
    /// Its sender, who waits for the answer to its input before it looks at the word.
    Waiter {
        sender: oneshot::Sender<Told>,
        waiter: oneshot::Sender<hub::Told>,
    },
    /// The log, and only of a refusal: the worker whose turn has ended has nothing left to do, and to wake it for a word
    /// that it does not need costs more than the word.
    Log {
        row: Arc<TaskRow>,
        generation: Generation,
    },
}

impl Reply {
    /// The word on what is durable. Who waits for the answer gets a place among the waiters.
    pub(crate) fn settle(self, told: Told, hub: &Hub, say: impl FnOnce(Word)) {
        let (sender, waiter) = match self {
            Reply::Waiter { sender, waiter } => (sender, waiter),
            Reply::Sender(sender) => return say(Word::Came(sender, told)),
            Reply::Nobody | Reply::Log { .. } => return self.tell(told),
        };
        let accepted = match &told {
            Ok(settled) => match &settled.answer {
                Answer::Accepted { named, .. } => Some((settled.task, named.clone())),
                Answer::Recovered(_) | Answer::Taken(_) | Answer::Done => None,
            },
            Err(_) => None,
        };
        // Before it has a place: who gives up finds out here which one to leave.
        let _ = sender.send(told);
        if let Some((task, named)) = accepted {
            hub.attend(task, named, waiter);
        }
    }

    pub(crate) fn tell(self, told: Told) {
        match self {
            Reply::Nobody => {}
            // A sender that left loses nothing: what it asked for is durable, and what was refused it asks for again.
            Reply::Sender(sender) => drop(sender.send(told)),
            // The word first: it is looked at when the waiter is dropped.
            Reply::Waiter { sender, waiter } => {
                let _ = sender.send(told);
                drop(waiter);
            }
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
