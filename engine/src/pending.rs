//! One event of a batch, between its decision and its answer.

use crate::decision::Decided;
use crate::flow::Slot;
use crate::machine::{Accepted, Answer, Effects, Named, Status};
use crate::reply::Reply;
use crate::stream::Streams;
use crate::stream::cell::{Appended, Closed};
use crate::stream::pump::Pumps;
use crate::stream::sink::Brought;
use crate::stream::tail::Standing;
use crate::writer::{Origin, Refused, Settled, Stop, Told};
use outlive_storage::StoreError;
use outlive_storage::row::{EventKind, TaskNumber, TaskRow};
use std::sync::Arc;

/// What is told and done once the batch is durable.
pub(crate) struct Pending {
    pub(crate) reply: Reply,
    pub(crate) origin: Origin,
    pub(crate) told: Told,
    pub(crate) ephemeral: bool,
    pub(crate) task: TaskNumber,
    pub(crate) row: Option<Arc<TaskRow>>,
    pub(crate) effects: Effects,
    pub(crate) what: Option<EventKind>,
    pub(crate) output: Option<Vec<u8>>,
    pub(crate) drained: Vec<Named>,
    pub(crate) slot: Option<Slot>,
    /// What it took out of the turn's stream.
    appended: Option<Appended>,
    /// Whether the task is gone with it.
    removed: bool,
    /// The sink that the call brought.
    sink: Option<Box<Brought>>,
}

impl Pending {
    /// An event that is carried out.
    pub(crate) fn decided(
        decided: Decided,
        (reply, origin): (Reply, Origin),
        (slot, sink): (Option<Slot>, Option<Box<Brought>>),
    ) -> Pending {
        Pending {
            reply,
            origin,
            told: Ok(Settled {
                task: decided.task,
                answer: decided.answer,
                expecting: None,
            }),
            ephemeral: decided.ephemeral,
            task: decided.task,
            row: decided.row,
            effects: decided.effects,
            what: decided.what,
            output: decided.output,
            drained: decided.drained,
            slot,
            appended: decided.appended,
            removed: decided.removed,
            sink,
        }
    }

    /// An event that changes nothing.
    pub(crate) fn refused(
        refused: Refused,
        (reply, origin): (Reply, Origin),
        slot: Option<Slot>,
    ) -> Pending {
        Pending {
            reply,
            origin,
            told: Err(refused),
            ephemeral: false,
            task: TaskNumber(0),
            row: None,
            effects: Effects::new(),
            what: None,
            output: None,
            drained: Vec::new(),
            slot,
            appended: None,
            removed: false,
            sink: None,
        }
    }

    /// The word on it and who is told, once: nobody is told what is left.
    pub(crate) fn word(&mut self) -> (Reply, Told) {
        let said = Err(Refused::Stopped(Stop::Shutdown));
        let reply = std::mem::replace(&mut self.reply, Reply::Nobody);
        (reply, std::mem::replace(&mut self.told, said))
    }

    /// Nothing of its task was written, for the task is damaged.
    pub(crate) fn refuse(&mut self, error: &StoreError) {
        self.told = Err(Refused::Unreadable(error.clone()));
        self.effects.clear();
        self.row = None;
        if let Some(appended) = self.appended.take() {
            appended.refuse(Closed::Store(error.clone()));
        }
    }

    /// A caller has waited long enough for a commit that is still tried: it learns that the outcome is unknown. What asked
    /// from within the engine waits on.
    pub(crate) fn leave(&mut self, error: &StoreError) {
        match self.origin {
            Origin::Engine => {}
            Origin::Caller => {
                let reply = std::mem::replace(&mut self.reply, Reply::Nobody);
                reply.tell(Err(Refused::Unknown(error.clone())));
            }
        }
    }

    /// Nothing of the batch was written.
    pub(crate) fn refuse_all(mut self, error: &StoreError) {
        self.refuse(error);
        self.reply.tell(self.told);
    }

    /// The commit failed: it may or may not have happened.
    pub(crate) fn fail(self, error: &StoreError) {
        if let Some(appended) = self.appended {
            appended.refuse(Closed::Store(error.clone()));
        }
        self.reply.tell(Err(Refused::Unknown(error.clone())));
    }

    /// The sink that a call brought waits for the turn the call begins. One whose task ended before is of no use.
    fn bring(&mut self, pumps: &Pumps) {
        let ended = self.what.is_some()
            && self
                .row
                .as_ref()
                .is_some_and(|row| Status::of(row) == Status::Completed);
        if ended {
            drop(pumps.take(self.task));
        }
        let begins = match &self.told {
            Ok(settled) => match &settled.answer {
                Answer::Accepted { how, .. } => match how {
                    Accepted::Started | Accepted::Resumed | Accepted::Restarted => true,
                    Accepted::Queued | Accepted::Attached => false,
                },
                Answer::Recovered(_) | Answer::Taken(_) | Answer::Done => false,
            },
            Err(_) => false,
        };
        if let Some(sink) = self.sink.take().filter(|_| begins) {
            pumps.bring(self.task, *sink);
        }
    }

    /// Those who follow the task's stream are shown what is durable now, and who emitted it is told.
    pub(crate) fn show(&mut self, streams: &Streams) {
        self.bring(&streams.pumps);
        let standing = self.what.and(self.row.clone()).map(|row| {
            if !self.removed {
                return Standing::Row(row);
            }
            if cfg!(planted = "removal_untold") {
                return Standing::Unknown;
            }
            Standing::Removed(Some(row))
        });
        let appended = self.appended.take();
        let drained = appended.as_ref();
        let drained = drained.and_then(|appended| appended.drained.as_ref());
        let segment = drained.map(|drained| (drained.first, &drained.segment));
        if segment.is_some() || standing.is_some() {
            streams.tails.passed(self.task, segment, standing);
        }
        match (appended, &self.told) {
            (Some(appended), Ok(_)) => appended.settle(),
            (Some(appended), Err(refused)) => appended.refuse(refused.into()),
            (None, _) => {}
        }
    }
}
