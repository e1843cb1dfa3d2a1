//! One decision of the writer: what the machine answered, with all that comes along.

use crate::known::Live;
use crate::machine::{Answer, Effect, Effects, Event, Named, Now};
use crate::stream::cell::{Appended, StreamCell};
use outlive_storage::Write;
use outlive_storage::row::{
    EventKind, EventRow, Keep, Outcome, Payload, StreamEntry, TaskNumber, TaskRow, TurnResult,
};
use std::sync::Arc;

/// One decision.
pub(crate) struct Decided {
    pub(crate) task: TaskNumber,
    pub(crate) row: Option<Arc<TaskRow>>,
    pub(crate) answer: Answer,
    pub(crate) effects: Effects,
    pub(crate) what: Option<EventKind>,
    /// The large output of a task that is gone with its end: whoever waits gets it from here.
    pub(crate) output: Option<Vec<u8>>,
    /// The inputs that waited when the task ended.
    pub(crate) drained: Vec<Named>,
    /// Whether the task is gone with its end.
    pub(crate) ephemeral: bool,
    /// What it took out of the turn's stream.
    pub(crate) appended: Option<Appended>,
    /// Whether the task is gone with it.
    pub(crate) removed: bool,
}

/// What comes with an event beside its row.
pub(crate) struct Brought {
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) metadata: Option<Vec<u8>>,
    /// What the turn has emitted, what is to be said behind it, and whether the turn ends with that.
    pub(crate) stream: Option<(Arc<StreamCell>, Option<StreamEntry>, bool)>,
}

impl Decided {
    /// What the machine answered about a task, as the batch has left it.
    pub(crate) fn new(
        task: TaskNumber,
        (answer, effects, what): (Answer, Effects, Option<EventKind>),
        live: Option<&Live>,
    ) -> Decided {
        let mut decided = Decided {
            task,
            row: None,
            answer,
            effects,
            what,
            output: None,
            drained: Vec::new(),
            ephemeral: false,
            appended: None,
            removed: false,
        };
        let queued = live.filter(|live| !live.waiting.is_empty());
        if let Some(live) = queued.filter(|_| decided.effects.contains(&Effect::TaskEnded)) {
            let run = live.row.run;
            let inbox = live.waiting.iter();
            let inputs = inbox.map(|(_, input)| Named {
                input_id: input.input_id.clone(),
                run,
            });
            // What the last turn took is answered with its result.
            let answered: Vec<Named> = decided.answered(run).collect();
            decided.drained = inputs.filter(|input| !answered.contains(input)).collect();
        }
        decided
    }

    /// The row it is about.
    pub(crate) fn is_of(&mut self, row: Option<Arc<TaskRow>>) {
        let keep = row.as_ref().map(|row| row.options.keep);
        self.ephemeral = keep == Some(Keep::Ephemeral);
        self.row = row;
    }

    /// What the turn has emitted becomes a segment of its task's stream; old ones go where only so many items are kept.
    pub(crate) fn append(&self, beside: &mut Vec<Write>) {
        let drained = self.appended.as_ref();
        let Some(drained) = drained.and_then(|appended| appended.drained.as_ref()) else {
            return;
        };
        beside.push(Write::Segment {
            first: drained.first,
            segment: Arc::clone(&drained.segment),
        });
        let keep = self.row.as_ref().and_then(|row| row.options.keep_items);
        let below = keep.map_or(0, |keep| (drained.last() + 1).saturating_sub(keep));
        if below > 1 && !cfg!(planted = "items_never_evicted") {
            beside.push(Write::EvictSegments { below });
        }
    }

    /// The inputs whose turn it ends, in this run.
    pub(crate) fn answered(&self, run: u32) -> impl Iterator<Item = Named> {
        self.effects.iter().filter_map(move |effect| match effect {
            Effect::Answered { input_id, .. } => Some(Named {
                input_id: input_id.clone(),
                run,
            }),
            Effect::Enter { .. }
            | Effect::Due { .. }
            | Effect::Idle
            | Effect::FamilyOver
            | Effect::Woken
            | Effect::Signal(_)
            | Effect::Waiting(_)
            | Effect::Fence(_)
            | Effect::Parked { .. }
            | Effect::Withdrawn { .. }
            | Effect::TaskEnded => None,
        })
    }
}

/// Whether the event would enter a handler on behalf of the engine.
pub(crate) fn claims(event: &Event) -> bool {
    match event {
        Event::Claim(_) | Event::Recover { .. } | Event::Probe { .. } => true,
        Event::Orphan { .. }
        | Event::Lapse
        | Event::Reconsider
        | Event::Input(_)
        | Event::Resume { .. }
        | Event::Retry { .. }
        | Event::Cancel { .. }
        | Event::Terminate { .. }
        | Event::Delete { .. }
        | Event::Acquit
        | Event::End { .. }
        | Event::Stop { .. }
        | Event::Keep { .. }
        | Event::Take { .. }
        | Event::Step { .. }
        | Event::BecomeParent { .. }
        | Event::TakeOver(_)
        | Event::ChildEnded
        | Event::LetGo(_)
        | Event::Resolve { .. }
        | Event::Ask(_)
        | Event::ExpireAsk { .. }
        | Event::Answer(_)
        | Event::Expire
        | Event::ForgetInput { .. } => false,
    }
}

pub(crate) fn event_row(task: TaskNumber, row: &TaskRow, kind: EventKind, now: Now) -> EventRow {
    EventRow {
        etag: now.etag,
        task,
        id: row.id.clone(),
        def: row.def,
        at: now.at,
        kind,
        run: row.run,
        turn: row.turn,
        attempt: row.attempt,
        generation: row.generation,
    }
}

/// The result with its output in it: nobody will find it in the store.
pub(crate) fn with_output(result: TurnResult, bytes: Vec<u8>) -> TurnResult {
    let inline = Payload::Inline(bytes);
    match result {
        TurnResult::Replied {
            suspended,
            superseded,
            ..
        } => TurnResult::Replied {
            output: inline,
            suspended,
            superseded,
        },
        TurnResult::Ended(Outcome::Cancelled {
            reason,
            output: Some(_),
        }) => TurnResult::Ended(Outcome::Cancelled {
            reason,
            output: Some(inline),
        }),
        TurnResult::Ended(outcome) => TurnResult::Ended(outcome),
    }
}
