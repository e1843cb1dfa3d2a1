//! One task for the tests of the machine: its row, its queue, and the counters a writer keeps.

use crate::machine::{
    Claimant, DefLimits, Event, NewInput, Now, Rejected, Transition, TurnEnd, View, step,
};
use outlive_storage::commit::Write;
use outlive_storage::id::{InputId, TaskId};
use outlive_storage::row::{
    BackOff, DefNumber, Etag, Failure, FailureKind, Generation, InputRow, Micros, Payload,
    Priority, Receipt, RetryRow, TaskNumber, TaskRow,
};

pub(super) const TASK: TaskNumber = TaskNumber(7);
pub(super) const DEF: DefNumber = DefNumber(1);
pub(super) const STEERABLE: DefLimits = DefLimits {
    steerable_max: Some(2),
};
pub(super) const PLAIN: DefLimits = DefLimits {
    steerable_max: None,
};

pub(super) fn us(process: u128) -> Claimant {
    Claimant {
        owner: "tests".into(),
        instance: process,
    }
}

pub(super) fn id(text: &str) -> InputId {
    InputId::new(text).expect("an id")
}

/// An input whose caller chose its id; its bytes are its id.
pub(super) fn input(text: &str) -> NewInput {
    NewInput {
        id: TaskId::new("case-17").expect("an id"),
        def: DEF,
        input_id: id(text),
        input_id_given: true,
        digest: [text.as_bytes()[0]; 16],
        payload: Payload::Inline(text.into()),
        priority: Priority::NORMAL,
        retry: RetryRow {
            attempts_max: 2,
            initial_us: 100,
            max_us: 1000,
            back_off: BackOff::Fixed,
            jitter: false,
        },
        keep_us: 5000,
        owner: "tests".into(),
        claimant: Some(us(1)),
    }
}

pub(super) fn failed(terminal: bool) -> TurnEnd {
    TurnEnd::Failed {
        failure: Failure {
            kind: FailureKind::Error,
            message: "no".into(),
            chain: Vec::new(),
            attempts: 0,
        },
        terminal,
        retry_after_us: None,
    }
}

pub(super) fn succeeded(text: &str) -> TurnEnd {
    TurnEnd::Succeeded(Payload::Inline(text.into()))
}

pub(super) fn undecodable() -> TurnEnd {
    TurnEnd::Undecodable {
        what: "input".into(),
        expected: "u32".into(),
    }
}

/// One task with its queue, and the counters a writer keeps.
pub(super) struct Task {
    row: Option<TaskRow>,
    pub(super) inbox: Vec<(u64, InputRow)>,
    receipts: Vec<(InputId, Receipt)>,
    limits: DefLimits,
    pub(super) at: u64,
    count: u64,
}

impl Task {
    pub(super) fn none(limits: DefLimits) -> Task {
        Task {
            row: None,
            inbox: Vec::new(),
            receipts: Vec::new(),
            limits,
            at: 10_000,
            count: 0,
        }
    }

    /// In its first turn, claimed by process 1 under generation 1.
    #[track_caller]
    pub(super) fn running(limits: DefLimits) -> Task {
        let mut task = Task::none(limits);
        task.send(input("a"));
        task
    }

    #[track_caller]
    pub(super) fn send(&mut self, input: NewInput) -> Transition {
        self.does(Event::Input(Box::new(input)))
    }

    #[track_caller]
    pub(super) fn end(&mut self, end: TurnEnd) -> Transition {
        let generation = self.row().generation;
        self.does(Event::End {
            generation,
            end,
            claimant: us(1),
        })
    }

    /// Carries the event out.
    #[track_caller]
    pub(super) fn does(&mut self, event: Event) -> Transition {
        let transition = self.asks(event).expect("an event that fits");
        self.count += 1;
        if let Some(row) = &transition.row {
            self.row = Some(TaskRow::clone(row));
        }
        for write in &transition.writes {
            match write {
                Write::PushInput { seq, input } => self.inbox.push((*seq, input.clone())),
                Write::PopInput { seq } => self.inbox.retain(|(waiting, _)| waiting != seq),
                Write::Receipt { input_id, receipt } => {
                    self.receipts.retain(|(known, _)| known != input_id);
                    self.receipts.push((input_id.clone(), receipt.clone()));
                }
                Write::Row(_) | Write::Value { .. } | Write::RemoveValue(_) => {}
            }
        }
        transition
    }

    /// Asks without doing.
    pub(super) fn asks(&self, event: Event) -> Result<Transition, Rejected> {
        let receipt = match &event {
            Event::Input(input) => self.receipt(input.input_id.as_str()),
            _ => None,
        };
        let view = View {
            task: TASK,
            row: self.row.as_ref(),
            inbox_len: self.inbox.len() as u64,
            inbox_head: self.inbox.first().map(|(seq, input)| (*seq, input)),
            receipt,
            limits: self.limits,
        };
        let now = Now {
            at: Micros(self.at),
            etag: Etag(self.count + 1),
            generation: Generation(self.count + 1),
        };
        step(&view, event, now)
    }

    #[track_caller]
    pub(super) fn refuses(&self, event: Event) -> Rejected {
        self.asks(event).expect_err("an event that does not fit")
    }

    #[track_caller]
    pub(super) fn refuses_input(&self, input: NewInput) -> Rejected {
        self.refuses(Event::Input(Box::new(input)))
    }

    #[track_caller]
    pub(super) fn row(&self) -> &TaskRow {
        self.row.as_ref().expect("a task")
    }

    pub(super) fn receipt(&self, text: &str) -> Option<&Receipt> {
        let found = self
            .receipts
            .iter()
            .find(|(known, _)| known.as_str() == text);
        found.map(|(_, receipt)| receipt)
    }
}
