//! What a store holds of one task, for the tests of the machine: it takes transitions as the writer and a store would.

use crate::machine::{
    DefLimits, Event, FamilyView, Now, Question, Rejected, Transition, TurnEnd, View, step,
};
use outlive_storage::commit::{Expect, Write};
use outlive_storage::id::InputId;
use outlive_storage::row::{
    InputRow, Micros, Payload, Receipt, RunRow, State, StepRow, StepState, TaskNumber, TaskRow,
    TurnRow, ValueKey, ValueKind,
};
use std::collections::{BTreeMap, VecDeque};

pub(in crate::machine) const TASK: TaskNumber = TaskNumber(7);

/// The row of a task and all that hangs on it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::machine) struct Held {
    pub(in crate::machine) row: Option<TaskRow>,
    pub(in crate::machine) inbox: VecDeque<(u64, InputRow)>,
    /// With the moment each is listed under.
    pub(in crate::machine) receipts: BTreeMap<InputId, (Receipt, Option<Micros>)>,
    /// The large values, each with its length.
    pub(in crate::machine) values: BTreeMap<ValueKey, u64>,
    /// By slot.
    pub(in crate::machine) turns: BTreeMap<u64, TurnRow>,
    pub(in crate::machine) runs: Vec<RunRow>,
    /// What is known of the questions of the turn, by key.
    pub(in crate::machine) questions: BTreeMap<Box<str>, Question>,
}

impl Held {
    /// Shows the machine what a writer would.
    pub(in crate::machine) fn ask(
        &self,
        event: Event,
        limits: DefLimits,
        now: Now,
    ) -> Result<Transition, Rejected> {
        let row = self.row.as_ref();
        // A writer does not look for receipts that cannot be there.
        let several = row.is_some_and(|row| row.inputs_accepted > 1 || row.run > 1);
        let named = event.named_input().filter(|_| several);
        let receipt = named.and_then(|input_id| self.receipts.get(input_id));
        let question = event.named_question();
        let view = View {
            task: TASK,
            row,
            inbox: &self.inbox,
            receipt: receipt.map(|(receipt, _)| receipt),
            question: question.and_then(|key| self.questions.get(key)),
            family: FamilyView::default(),
            limits: row.map(|_| limits).unwrap_or_default(),
        };
        step(&view, event, now)
    }

    /// Does what the writer and a store do; or says what they would refuse.
    pub(in crate::machine) fn apply(
        &mut self,
        event: &Event,
        transition: &Transition,
    ) -> Result<(), String> {
        if !self.meets(&transition.expect) {
            return Err(format!("a store refuses {:?}", transition.expect));
        }
        let removes = transition.writes.contains(&Write::RemoveTask);
        if transition.what.is_some() != (removes || transition.row.is_some()) {
            return Err("what changes a task has its line in the log, and nothing else has".into());
        }
        if let Some(next) = &transition.row {
            let key = event.value_key(TASK, self.row.as_ref());
            if let (Some(key), Some(len)) = (key, brought(event)) {
                self.values.insert(key, len);
            }
            if let Some(before) = &self.row {
                follows(before, next)?;
            }
            self.row = Some(TaskRow::clone(next));
        }
        for write in &transition.writes {
            if !self.question(write) || !self.write(write) {
                return Err(format!("{write:?} does not fit the store"));
            }
        }
        if removes {
            *self = Held::default();
        }
        Ok(())
    }

    pub(in crate::machine) fn meets(&self, expect: &Expect) -> bool {
        match (expect, &self.row) {
            (Expect::Absent, row) => row.is_none(),
            (Expect::Etag(etag), Some(row)) => row.etag == *etag,
            (Expect::Lease(generation), Some(row)) => {
                matches!(row.state, State::InProgress { .. }) && row.generation == *generation
            }
            (Expect::Etag(_) | Expect::Lease(_), None) => false,
        }
    }

    fn steps_of(&self) -> u64 {
        self.row.as_ref().map_or(0, |row| row.steps_of)
    }

    /// What a write tells of questions. False for what the order of things would not allow.
    fn question(&mut self, write: &Write) -> bool {
        match write {
            Write::Step { key, step, .. } => {
                if let Some(known) = known(step) {
                    self.questions.insert(key.clone(), known);
                }
            }
            Write::ForgetSteps { .. } => self.questions.clear(),
            Write::Ask { key, ask } => {
                let open = Question::Open(ask.clone());
                self.questions.insert(key.clone(), open);
            }
            // What came of it is known by its step.
            Write::RemoveAsk { key } => {
                return !matches!(self.questions.get(key), None | Some(Question::Open(_)));
            }
            Write::RemoveAsks => {
                self.questions
                    .retain(|_, question| !matches!(question, Question::Open(_)));
            }
            _ => {}
        }
        true
    }

    /// False for what a store, or the order of things, would not allow.
    fn write(&mut self, write: &Write) -> bool {
        match write {
            // The writer puts these.
            Write::Row(_) | Write::Value { .. } | Write::Event(_) => return false,
            Write::RemoveValue(key) => {
                let there = self.values.remove(key).is_some();
                // The slot of a turn is swept whether something is in it or not.
                return key.task == TASK && (there || key.kind == ValueKind::Output);
            }
            Write::PushInput { seq, input } => {
                let mut inbox = self.inbox.iter_mut();
                if let Some((_, there)) = inbox.find(|(waiting, _)| waiting == seq) {
                    // Only the mark of an input that waits ever changes.
                    let same = there.input_id == input.input_id && there != input;
                    *there = input.clone();
                    return same;
                }
                let ascends = self.inbox.back().is_none_or(|(last, _)| last < seq);
                self.inbox.push_back((*seq, input.clone()));
                return ascends;
            }
            Write::PopInput { seq } => {
                let before = self.inbox.len();
                self.inbox.retain(|(waiting, _)| waiting != seq);
                return self.inbox.len() + 1 == before;
            }
            Write::Receipt {
                input_id,
                receipt,
                expires_at,
            } => {
                let kept = (receipt.clone(), *expires_at);
                self.receipts.insert(input_id.clone(), kept);
            }
            Write::KeepReceipt {
                input_id,
                listed_at,
                until,
            } => {
                if let Some((_, listed)) = self.receipts.get_mut(input_id)
                    && *listed == Some(*listed_at)
                {
                    *listed = Some(*until);
                }
            }
            Write::RemoveReceipt {
                input_id,
                listed_at,
            } => self.remove_receipt(input_id, *listed_at),
            Write::Turn { slot, turn } => {
                self.turns.insert(*slot, TurnRow::clone(turn));
            }
            // The machine writes nothing of a stream: that is the writer's.
            Write::Segment { .. } | Write::EvictSegments { .. } => unreachable!("{write:?}"),
            // Steps decide nothing: which they are is the handler's. Whose they are is the row's word.
            Write::Step { turn, .. } | Write::RemoveStep { turn, .. } => {
                return self.steps_of() == *turn;
            }
            Write::ForgetSteps { turn } => return self.steps_of() > *turn,
            Write::Ask { .. } | Write::RemoveAsk { .. } | Write::RemoveAsks => {}
            Write::Run(run) => self.runs.push(RunRow::clone(run)),
            Write::ChildEnded(_) | Write::FamilyOver { .. } | Write::RemoveTask => {}
        }
        true
    }
}

impl Held {
    fn remove_receipt(&mut self, input_id: &InputId, listed_at: Micros) {
        let listed = self.receipts.get(input_id).and_then(|(_, listed)| *listed);
        if listed == Some(listed_at) {
            self.receipts.remove(input_id);
        }
    }
}

/// What a step tells of a question that is not open any more.
fn known(step: &StepRow) -> Option<Question> {
    match step.state {
        StepState::Answered { .. } => Some(Question::Answered(step.value.clone())),
        StepState::Expired { .. } => Some(Question::Expired),
        StepState::Begun
        | StepState::Done
        | StepState::Sleeping { .. }
        | StepState::Asked { .. } => None,
    }
}

/// The length of the large value that comes with an event.
fn brought(event: &Event) -> Option<u64> {
    let payload = match event {
        Event::Input(input) => &input.payload,
        Event::End {
            end: TurnEnd::Succeeded(output) | TurnEnd::Suspended { output, .. },
            ..
        } => output,
        _ => return None,
    };
    match payload {
        Payload::Stored { len, .. } => Some(*len),
        Payload::Inline(_) => None,
    }
}

/// What a store requires of a row that replaces another one.
fn follows(before: &TaskRow, after: &TaskRow) -> Result<(), String> {
    if let State::InProgress { lease, .. } = &after.state
        && lease.generation != after.generation
    {
        return Err("a running row's generation is not its lease's".into());
    }
    let grows = after.etag > before.etag
        && after.generation >= before.generation
        && after.run >= before.run
        && after.turns_total >= before.turns_total;
    if !grows {
        return Err("an etag, a generation or a count does not grow".into());
    }
    let same = (&after.id, after.def, &after.facts, after.created_at)
        == (&before.id, before.def, &before.facts, before.created_at);
    if !same {
        return Err("a row becomes that of another task".into());
    }
    Ok(())
}
