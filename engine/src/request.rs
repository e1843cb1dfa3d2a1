//! Events on their way to the writer, with what comes along.

use crate::flow::Slot;
use crate::machine::Event;
use crate::reply::Reply;
use crate::stream::cell::StreamCell;
use crate::stream::sink::Brought;
use crate::writer::{Origin, Room, Target};
use outlive_storage::row::{StreamEntry, TaskNumber};
use std::sync::Arc;

/// One event on its way to the writer, with the room it takes.
///
/// It goes there as it is and not in a box: the writer would give the memory of each back to the thread that made it, and wait
/// for that thread whenever it asks for memory itself.
pub(crate) struct Request {
    pub(crate) draft: Draft,
    pub(crate) reply: Reply,
    pub(crate) origin: Origin,
    room: Option<Room>,
}

impl Request {
    /// The room it took.
    pub(crate) fn into_room(self) -> Option<Room> {
        self.room
    }

    pub(crate) fn new(draft: Draft, room: Room, reply: Reply) -> Request {
        Request {
            draft,
            reply,
            origin: room.origin,
            room: Some(room),
        }
    }

    /// Children of the task end in the batch at hand.
    pub(crate) fn child_ended(parent: TaskNumber) -> Request {
        Request {
            draft: Draft::bare(Target::Number(parent), Event::ChildEnded),
            reply: Reply::Nobody,
            origin: Origin::Engine,
            room: None,
        }
    }

    /// What a turn has emitted, in a commit that others asked for or that nobody did.
    pub(crate) fn rider(cell: Arc<StreamCell>) -> Request {
        let event = Event::Keep {
            generation: cell.generation,
        };
        let bare = Draft::bare(Target::Number(cell.task), event);
        Request {
            draft: Draft {
                stream: Some(cell),
                ..bare
            },
            reply: Reply::Nobody,
            origin: Origin::Engine,
            room: None,
        }
    }
}

/// An event before it has found room.
///
/// It is moved several times, and most of the time that takes: what is seldom there is in boxes.
pub(crate) struct Draft {
    pub(crate) target: Target,
    pub(crate) event: Event,
    /// The value that does not fit the row: the input's or the output's bytes.
    pub(crate) value: Option<Vec<u8>>,
    /// All metadata of the task, when a running turn has changed it.
    pub(crate) metadata: Option<Vec<u8>>,
    /// What the turn has emitted goes along.
    pub(crate) stream: Option<Arc<StreamCell>>,
    /// What is said in the stream when the event is carried out, and only then.
    pub(crate) mark: Option<Box<StreamEntry>>,
    /// Taken along, so that a claim cannot lose its slot between commit and entry.
    pub(crate) slot: Option<Slot>,
    /// Taken along to the turn that a call begins.
    pub(crate) sink: Option<Box<Brought>>,
}

impl Draft {
    /// An event that carries nothing.
    pub(crate) fn bare(target: Target, event: Event) -> Draft {
        Draft {
            target,
            event,
            value: None,
            metadata: None,
            stream: None,
            mark: None,
            slot: None,
            sink: None,
        }
    }

    /// Bytes that come with it.
    pub(crate) fn size(&self) -> usize {
        let of_step = if cfg!(planted = "step_results_unbounded") {
            0
        } else {
            self.event.step_bytes()
        };
        let values = [&self.value, &self.metadata];
        of_step + values.into_iter().flatten().map(Vec::len).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Resolution;
    use outlive_storage::row::{Generation, Micros, StepRow, StepState};

    /// Results of steps took no room: thousands of the largest ones waited at once.
    #[test]
    fn the_result_of_a_step_takes_room() {
        let step = || {
            Box::new(StepRow {
                state: StepState::Done,
                attempt: 1,
                at: Micros(1),
                type_name: Box::default(),
                value: vec![0; 1_000_000],
            })
        };
        let recorded = Event::Step {
            generation: Generation(1),
            key: "a".into(),
            step: Some(step()),
        };
        let resolved = Event::Resolve {
            key: "a".into(),
            resolution: Resolution::Done(step()),
            if_etag: None,
        };
        for event in [recorded, resolved] {
            let draft = Draft::bare(Target::Number(TaskNumber(1)), event);
            assert_eq!(draft.size(), 1_000_000);
        }
    }
}
