//! What became of one input: asked for by its id, and taken back by it.

use crate::control::{self, reason};
use crate::engine::{Engine, Shared};
use crate::error::ControlError;
use crate::input_error::InputError;
use crate::machine::{self, Aim, Event, turn_is_open};
use crate::writer::Target;
use outlive_storage::id::{InputId, TaskId};
use outlive_storage::row::{Receipt, TaskNumber, TaskRow};
use outlive_storage::store::PAGE_MAX;
use outlive_storage::{Store, StoreError};
use serde::Serialize;

/// Where an accepted input stands. Each one ends as consumed by one turn, or as one of the last two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum InputStatus {
    /// It waits for a turn of its own, or to be taken. Left by the end of a turn, a take, or a withdrawal.
    Queued {
        /// How many inputs wait before it.
        ahead: u64,
    },
    /// The task's open turn works on it, or will when it is entered. Left by the end of the turn; an input that the turn
    /// took and did not take again after a crash or an error is queued again then.
    InTurn {
        /// The run.
        run: u32,
        /// The turn of the run.
        turn: u32,
        /// The key under which the turn [took](crate::Inbox::take) it; `None` when the turn began with it.
        step: Option<String>,
    },
    /// The turn it had is over.
    Consumed {
        /// The run.
        run: u32,
        /// The turn of the run.
        turn: u32,
        /// The key under which the turn [took](crate::Inbox::take) it; `None` when the turn began with it.
        step: Option<String>,
    },
    /// Its caller took it back before a turn had it.
    Withdrawn {
        /// The reason given.
        reason: String,
    },
    /// Its task ended before a turn had it.
    TaskEnded,
}

impl Engine {
    /// What became of an input, also long after its turn and from another process. An input of the last turns is known
    /// for as long as its task is kept; of a living task's older ones for as long as an ended task would be.
    ///
    /// ```
    /// # use outlive::{Ctx, Engine, HandlerError, InputStatus, TaskDef};
    /// # const ECHO: TaskDef<u32, u32> = TaskDef::new("echo");
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let engine = Engine::in_memory().task(ECHO, |_: Ctx, n| async move { Ok::<_, HandlerError>(n) }).open().await?;
    /// engine.start(ECHO, "a", &1).input_id("order-1").await?.await?;
    /// let consumed = InputStatus::Consumed { run: 1, turn: 1, step: None };
    /// assert_eq!(engine.input("a", "order-1").await?, consumed);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`InputError`]: what to do is in each variant.
    pub async fn input(
        &self,
        id: impl AsRef<str>,
        input_id: impl AsRef<str>,
    ) -> Result<InputStatus, InputError> {
        let (id, input_id) = (TaskId::new(id)?, InputId::new(input_id)?);
        let wanted = id.clone();
        let find = move |store: &dyn Store| store.find(&wanted);
        let found = self.shared().dispatcher.reader.read(find).await;
        match found.map_err(InputError::from_read)? {
            Some(task) => self.shared().input(task, id, input_id).await,
            None => Err(InputError::NotFound { id, input_id }),
        }
    }

    /// Takes an input back that no turn has yet. Durable when this returns: no turn will have it, and whoever waits for
    /// its result gets `Cancelled` with the reason, of which 1,024 bytes are kept. A second withdrawal changes nothing.
    ///
    /// # Errors
    /// [`ControlError`]; `Conflict` when a turn began with it or took it: cancel that turn by the input's handle, or the
    /// task. `NotFound` when the task does not know it.
    pub async fn withdraw(
        &self,
        id: impl AsRef<str>,
        input_id: impl AsRef<str>,
        why: impl Into<String>,
    ) -> Result<(), ControlError> {
        let (id, input_id) = (TaskId::new(id)?, InputId::new(input_id)?);
        let order = Event::Cancel(machine::Order {
            aim: Aim::Queued(input_id),
            reason: reason(why),
            if_etag: None,
            instance: self.shared().dispatcher.claimant.instance,
        });
        control::order(self.shared(), Target::Id(id.clone()), id, order).await
    }
}

impl Shared {
    /// What became of an input of the task of this number.
    pub(crate) async fn input(
        &self,
        task: TaskNumber,
        id: TaskId,
        input_id: InputId,
    ) -> Result<InputStatus, InputError> {
        let wanted = input_id.clone();
        let read = move |store: &dyn Store| look(store, task, &wanted);
        let found = self.dispatcher.reader.read(read).await;
        let found = found.map_err(InputError::from_read)?;
        found.ok_or(InputError::NotFound { id, input_id })
    }
}

/// Rows, receipts and queue are read one after the other; where the task moved on in between they are read again.
fn look(
    store: &dyn Store,
    task: TaskNumber,
    input_id: &InputId,
) -> Result<Option<InputStatus>, StoreError> {
    loop {
        let Some(row) = store.get(task)? else {
            return Ok(None);
        };
        let status = look_once(store, (task, &row), input_id)?;
        let again = store.get(task)?;
        if again.is_some_and(|again| again.etag == row.etag) {
            return Ok(status);
        }
    }
}

fn look_once(
    store: &dyn Store,
    (task, row): (TaskNumber, &TaskRow),
    input_id: &InputId,
) -> Result<Option<InputStatus>, StoreError> {
    let (run, turn, step) = (row.run, row.turn, None);
    if row.input_id == *input_id {
        return Ok(Some(match turn_is_open(row) {
            true => InputStatus::InTurn { run, turn, step },
            false => InputStatus::Consumed { run, turn, step },
        }));
    }
    let Some(receipt) = store.receipt(task, input_id)? else {
        return Ok(None);
    };
    Ok(Some(match receipt {
        Receipt::Queued { seq } => return queued(store, (task, row), seq),
        Receipt::Turn {
            run, turn, step, ..
        } => InputStatus::Consumed {
            run,
            turn,
            step: step.map(String::from),
        },
        Receipt::Withdrawn { reason } => InputStatus::Withdrawn {
            reason: reason.into(),
        },
        Receipt::TaskEnded => InputStatus::TaskEnded,
        // INVARIANT: this crate and the storage crate are released together.
        other => unreachable!("a receipt this version does not know: {other:?}"),
    }))
}

/// An input in the queue: it waits, or the open turn has taken it.
fn queued(
    store: &dyn Store,
    (task, row): (TaskNumber, &TaskRow),
    seq: u64,
) -> Result<Option<InputStatus>, StoreError> {
    let mut ahead = 0;
    for (at, input) in store.inputs(task, PAGE_MAX)? {
        if at == seq {
            return Ok(Some(match input.taken {
                Some(taken) if !cfg!(planted = "taken_input_shown_queued") => InputStatus::InTurn {
                    run: row.run,
                    turn: row.turn,
                    step: Some(taken.key.into()),
                },
                Some(_) | None => InputStatus::Queued { ahead },
            }));
        }
        ahead += u64::from(input.taken.is_none());
    }
    // It left the queue since its receipt was read, so the row has changed and all is read again.
    Ok(None)
}
