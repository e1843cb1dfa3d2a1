//! A task in a store, what processes see of it, and what they decide on that.

use crate::events::{DEF, TICK_US, input_id};
use outlive::machine::{self, DefLimits, Event, FamilyView, Now, Rejected, View};
use outlive_storage::id::TaskId;
use outlive_storage::row::{
    Etag, EventRow, Generation, InputRow, Micros, Receipt, RunRow, TaskNumber, TaskRow, Times,
    TurnRow, ValueKey, ValueKind,
};
use outlive_storage::{Commit, Conflict, Scan, Store, Write};
use std::collections::VecDeque;

const LIMITS: DefLimits = DefLimits {
    steerable_max: Some(2),
    present: None,
};

/// What a process saw of the task.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seen {
    pub(crate) task: TaskNumber,
    pub(crate) row: Option<TaskRow>,
    pub(crate) waiting: VecDeque<(u64, InputRow)>,
}

/// Everything the store holds of the task besides its row.
#[derive(Debug, PartialEq)]
pub(crate) struct Rest {
    pub(crate) found: Option<TaskNumber>,
    running: usize,
    due: Vec<TaskNumber>,
    expired: Vec<TaskNumber>,
    receipts: Vec<Option<Receipt>>,
    values: Vec<Option<Vec<u8>>>,
    turns: Vec<Option<TurnRow>>,
    runs: Vec<RunRow>,
    log: Vec<EventRow>,
}

/// A task in a store, and the values not given out yet.
pub(crate) struct World<S> {
    pub(crate) store: S,
    pub(crate) task: TaskNumber,
    pub(crate) next: u64,
}

impl<S: Store> World<S> {
    pub(crate) fn new(store: S) -> World<S> {
        assert_eq!(store.define(&["task"]), Ok(vec![DEF]));
        let (task, next) = (TaskNumber(1), 1);
        World { store, task, next }
    }

    pub(crate) fn look(&self) -> Seen {
        Seen {
            task: self.task,
            row: self.store.get(self.task).unwrap(),
            waiting: self.store.inputs(self.task, 10).unwrap().into(),
        }
    }

    /// What the machine makes of an event for one who saw this, as a writer would put it down.
    pub(crate) fn decide(&mut self, seen: &Seen, event: Event) -> Result<Commit, Rejected> {
        let named = event.named_input();
        let receipt = named.and_then(|named| self.store.receipt(seen.task, named).unwrap());
        let view = View {
            task: seen.task,
            row: seen.row.as_ref(),
            inbox: &seen.waiting,
            receipt: receipt.as_ref(),
            question: None,
            family: FamilyView::default(),
            limits: LIMITS,
        };
        let times = Times::still(Micros(self.next * TICK_US));
        let now = Now::new(times, Etag(self.next), Generation(self.next));
        self.next += 1;
        let value_key = event.value_key(seen.task, view.row);
        let reports = matches!(event, Event::End { .. } | Event::Keep { .. });
        let transition = machine::step(&view, event, now)?;
        let mut writes: Vec<Write> = transition.row.into_iter().map(Write::Row).collect();
        // The output of a turn, and the metadata that come with its end or by themselves.
        let metadata = key(seen.task, ValueKind::Metadata, 0);
        for key in value_key.into_iter().chain(reports.then_some(metadata)) {
            let bytes = format!("of {}", self.next).into_bytes();
            writes.push(Write::Value { key, bytes });
        }
        writes.extend(transition.writes);
        Ok(Commit {
            task: seen.task,
            expect: transition.expect,
            writes,
        })
    }

    pub(crate) fn commit(&self, commit: Commit) -> Result<(), Conflict> {
        let mut answers = self.store.commit(&[commit]).unwrap();
        answers.remove(0).map(drop)
    }

    /// Something that happens to the task as it is.
    #[track_caller]
    pub(crate) fn happens(&mut self, event: Event) {
        let seen = self.look();
        let commit = self.decide(&seen, event).expect("it fits the state");
        self.commit(commit).expect("nobody was faster");
    }

    pub(crate) fn generation(&self) -> u64 {
        self.look().row.expect("a task").generation.0
    }

    pub(crate) fn rest(&self) -> Rest {
        let late = Micros(1 << 40);
        let receipts = ["first", "second", "other", "another", "resumed"];
        let values = [ValueKind::Input, ValueKind::Output, ValueKind::Metadata];
        let value = |kind| (0..3).map(move |index| (kind, index));
        let store = &self.store;
        let running = store.scan(Scan::Running, None, 10).unwrap();
        Rest {
            found: store.find(&TaskId::new("a").unwrap()).unwrap(),
            running: running.rows.len(),
            due: store.due(DEF, Times::still(late), 10).unwrap().ready,
            expired: store.expired(late, 10).unwrap(),
            receipts: receipts
                .map(|text| store.receipt(self.task, &input_id(text)).unwrap())
                .into(),
            values: values
                .into_iter()
                .flat_map(value)
                .map(|(kind, index)| store.value(key(self.task, kind, index)).unwrap())
                .collect(),
            turns: (0..3)
                .map(|slot| store.turn(self.task, slot).unwrap())
                .collect(),
            runs: store.runs(self.task).unwrap(),
            log: store.events(Etag(0), 100).unwrap().events,
        }
    }
}

fn key(task: TaskNumber, kind: ValueKind, index: u64) -> ValueKey {
    ValueKey { task, kind, index }
}
