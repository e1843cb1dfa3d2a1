//! One task in flight: whether what its next turn needs is there and can be read.

use super::{CHECK_NAMED_MAX, Problem, TASK_PROBLEMS_MAX};
use crate::metadata::MetadataCell;
use crate::registry::{Registered, Registry};
use outlive_storage::id::InputId;
use outlive_storage::row::{
    Payload, State, StepRow, StepState, TaskNumber, TaskRow, ValueKey, ValueKind, WaitReason,
};
use outlive_storage::store::PAGE_MAX;
use outlive_storage::{Store, StoreError};
use serde::de::IgnoredAny;
use std::collections::BTreeMap;

/// Steps read at once: each may have 10 MiB.
const STEPS_READ: usize = 16;

/// Steps of one name and one type, of which nothing was said.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Undeclared {
    pub(super) name: String,
    pub(super) step: String,
    pub(super) recorded: String,
}

/// One task, and what was found of it.
pub(super) struct OneTask<'a> {
    store: &'a dyn Store,
    registry: &'a Registry,
    task: TaskNumber,
    row: &'a TaskRow,
    pub(super) problems: Vec<Problem>,
}

impl<'a> OneTask<'a> {
    pub(super) fn new(
        store: &'a dyn Store,
        registry: &'a Registry,
        (task, row): (TaskNumber, &'a TaskRow),
    ) -> OneTask<'a> {
        OneTask {
            store,
            registry,
            task,
            row,
            problems: Vec::new(),
        }
    }

    /// Looks at everything the turn is entered with.
    ///
    /// # Errors
    /// [`StoreError`] when the store answers nothing any more; what is damaged is a problem of the task.
    pub(super) fn look(
        &mut self,
        undeclared: &mut BTreeMap<Undeclared, u64>,
    ) -> Result<(), StoreError> {
        let Some(registered) = self.registry.get(self.row.def) else {
            self.note(Problem::NoHandler);
            return Ok(());
        };
        let row = self.row;
        let input = (row.input_seq, &row.input, &row.input_id);
        self.input(registered, input, true)?;
        let waiting = self.store.inputs(self.task, PAGE_MAX);
        for (seq, input) in self.read("waiting inputs", waiting)?.unwrap_or_default() {
            // As what a taken one is read is the handler's word.
            let typed = input.taken.is_none();
            self.input(registered, (seq, &input.payload, &input.input_id), typed)?;
        }
        if let Some(previous) = &row.previous {
            self.bytes("previous input", previous.seq, &previous.payload)?;
        }
        self.metadata()?;
        let stream = self.store.stream_end(self.task);
        self.read("stream", stream)?;
        // The turn that follows a suspension begins without those of the one before.
        let waits = match &row.state {
            State::Suspended {
                wait: WaitReason::Input { .. },
                ..
            } => true,
            State::Pending { .. }
            | State::InProgress { .. }
            | State::Suspended { .. }
            | State::Completed { .. } => false,
        };
        if !waits || cfg!(planted = "old_steps_checked") {
            self.steps(registered, undeclared)?;
        }
        self.parked();
        Ok(())
    }

    fn note(&mut self, problem: Problem) {
        if self.problems.len() < TASK_PROBLEMS_MAX {
            self.problems.push(problem);
        }
    }

    /// What was read; a damaged entry is noted.
    fn read<T>(
        &mut self,
        what: &str,
        read: Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        match read {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_of_one_entry() && !cfg!(planted = "damage_stops_check") => {
                self.note(Problem::Unreadable {
                    what: what.to_owned(),
                    why: error.to_string(),
                });
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn bytes(
        &mut self,
        what: &str,
        seq: u64,
        payload: &Payload,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let key = ValueKey {
            task: self.task,
            kind: ValueKind::Input,
            index: seq,
        };
        let found = self.store.bytes(key, payload);
        let found = self.read(what, found)?;
        if matches!(found, Some(None)) {
            self.note(Problem::Unreadable {
                what: what.to_owned(),
                why: "its bytes are not in the store".to_owned(),
            });
        }
        Ok(found.flatten())
    }

    fn input(
        &mut self,
        registered: &Registered,
        (seq, payload, input_id): (u64, &Payload, &InputId),
        typed: bool,
    ) -> Result<(), StoreError> {
        let Some(bytes) = self.bytes("input", seq, payload)? else {
            return Ok(());
        };
        let checked = match typed {
            true => registered.input.check(&bytes),
            false => is_json(&bytes),
        };
        if let Err(expected) = checked
            && !cfg!(planted = "inputs_unchecked")
        {
            let input_id = input_id.clone();
            self.note(Problem::Input { input_id, expected });
        }
        Ok(())
    }

    fn metadata(&mut self) -> Result<(), StoreError> {
        let key = ValueKey {
            task: self.task,
            kind: ValueKind::Metadata,
            index: 0,
        };
        let found = self.store.value(key);
        let Some(Some(bytes)) = self.read("metadata", found)? else {
            return Ok(());
        };
        if let Err(error) = MetadataCell::decode(&bytes) {
            self.note(Problem::Unreadable {
                what: "metadata".to_owned(),
                why: error.to_string(),
            });
        }
        Ok(())
    }

    fn steps(
        &mut self,
        registered: &Registered,
        undeclared: &mut BTreeMap<Undeclared, u64>,
    ) -> Result<(), StoreError> {
        let mut after: Option<Box<str>> = None;
        loop {
            let turn = self.row.steps_of;
            let page = (self.store).steps(self.task, turn, after.as_deref(), STEPS_READ);
            // Beyond a damaged one nothing is found: its neighbours are not looked at.
            let Some(page) = self.read("steps", page)? else {
                return Ok(());
            };
            for (key, step) in &page {
                self.step(registered, (key, step), undeclared);
            }
            if page.len() < STEPS_READ {
                return Ok(());
            }
            after = page.into_iter().next_back().map(|(key, _)| key);
        }
    }

    fn step(
        &mut self,
        registered: &Registered,
        (key, step): (&str, &StepRow),
        undeclared: &mut BTreeMap<Undeclared, u64>,
    ) {
        match step.state {
            StepState::Done | StepState::Answered { .. } => {}
            StepState::Begun
            | StepState::Sleeping { .. }
            | StepState::Asked { .. }
            | StepState::Expired { .. } => return,
        }
        let declared = registered.step_type(key);
        let checked = match declared {
            Some(declared) => declared.check(&step.value),
            None => match self.parked_for() {
                Some((parked, expected)) if parked == key => Err(expected.to_owned()),
                Some(_) | None => is_json(&step.value),
            },
        };
        if declared.is_none() {
            let kind = Undeclared {
                name: registered.name.to_owned(),
                step: key.split('(').next().unwrap_or(key).to_owned(),
                recorded: step.type_name.to_string(),
            };
            let room = undeclared.len() < CHECK_NAMED_MAX || undeclared.contains_key(&kind);
            if room {
                *undeclared.entry(kind).or_default() += 1;
            }
        }
        if let Err(expected) = checked
            && !cfg!(planted = "steps_unchecked")
        {
            self.note(Problem::Step {
                key: key.to_owned(),
                recorded: step.type_name.to_string(),
                expected,
            });
        }
    }

    /// The key of the step the task is parked for, and what was expected.
    fn parked_for(&self) -> Option<(&'a str, &'a str)> {
        let (what, expected) = undecodable(&self.row.state)?;
        Some((what.strip_prefix("step ")?, expected))
    }

    /// A task that is parked for an input its turn took: as what that is read is known to its handler alone, so what it
    /// was parked for still holds. Whatever else it may be parked for was looked at again.
    fn parked(&mut self) {
        if let Some((what, expected)) = undecodable(&self.row.state)
            && what == "taken input"
        {
            self.note(Problem::Unreadable {
                what: what.to_owned(),
                why: expected.to_owned(),
            });
        }
    }
}

fn undecodable(state: &State) -> Option<(&str, &str)> {
    match state {
        State::Suspended {
            wait: WaitReason::Undecodable { what, expected },
            ..
        } => Some((what, expected)),
        State::Pending { .. }
        | State::InProgress { .. }
        | State::Suspended { .. }
        | State::Completed { .. } => None,
    }
}

fn is_json(bytes: &[u8]) -> Result<(), String> {
    let read = serde_json::from_slice::<IgnoredAny>(bytes);
    read.map(drop).map_err(|error| format!("JSON: {error}"))
}
