//! Who waits for which answer. Waiters are told only what is durable.

use crate::machine::TurnAnswer;
use outlive_storage::id::InputId;
use outlive_storage::row::TaskNumber;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::oneshot;

/// What a waiter is told.
#[derive(Debug, Clone)]
pub(crate) enum Told {
    /// The input's turn ended.
    Answer(TurnAnswer),
    /// The task ended before the input got a turn.
    TaskEnded,
}

#[derive(Default)]
struct Entry {
    /// The input of the turn that runs in this process: its end will pass through here.
    running: Option<InputId>,
    waiters: Vec<(InputId, oneshot::Sender<Told>)>,
}

#[derive(Default)]
pub(crate) struct Hub {
    /// `None` once the engine stopped: waiting is over for everybody.
    entries: Mutex<Option<HashMap<TaskNumber, Entry>>>,
}

/// A place in the queue of waiters, given up when dropped.
pub(crate) struct Waiting {
    pub(crate) told: oneshot::Receiver<Told>,
    /// False: the answer may already be in the store, so look there before waiting.
    pub(crate) will_pass: bool,
    hub: Arc<Hub>,
    task: TaskNumber,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.told.close();
        self.hub.leave(self.task);
    }
}

impl Hub {
    pub(crate) fn new() -> Hub {
        Hub {
            entries: Mutex::new(Some(HashMap::new())),
        }
    }

    /// Waits for the answer to an input. `None` once the engine stopped.
    pub(crate) fn wait(self: &Arc<Self>, task: TaskNumber, input_id: &InputId) -> Option<Waiting> {
        let (sender, told) = oneshot::channel();
        let mut entries = self.entries.lock();
        let entry = entries.as_mut()?.entry(task).or_default();
        entry.waiters.push((input_id.clone(), sender));
        let will_pass = entry.running.as_ref() == Some(input_id);
        Some(Waiting {
            told,
            will_pass,
            hub: Arc::clone(self),
            task,
        })
    }

    /// Somebody stopped waiting for the task.
    fn leave(&self, task: TaskNumber) {
        let mut entries = self.entries.lock();
        let Some(entries) = entries.as_mut() else {
            return;
        };
        let Some(entry) = entries.get_mut(&task) else {
            return;
        };
        entry.waiters.retain(|(_, waiter)| !waiter.is_closed());
        if entry.waiters.is_empty() && entry.running.is_none() {
            entries.remove(&task);
        }
    }

    /// A turn of the task begins in this process, on this input.
    pub(crate) fn running(&self, task: TaskNumber, input_id: &InputId) {
        if let Some(entries) = self.entries.lock().as_mut() {
            entries.entry(task).or_default().running = Some(input_id.clone());
        }
    }

    /// The turn is over and no other follows at once.
    pub(crate) fn idle(&self, task: TaskNumber) {
        let mut entries = self.entries.lock();
        let Some(entries) = entries.as_mut() else {
            return;
        };
        let Some(entry) = entries.get_mut(&task) else {
            return;
        };
        entry.running = None;
        if entry.waiters.is_empty() {
            entries.remove(&task);
        }
    }

    /// The turn of this input ended.
    pub(crate) fn answer(&self, task: TaskNumber, input_id: &InputId, answer: &TurnAnswer) {
        let told = self.take(task, |waited| waited == input_id);
        for waiter in told {
            // A waiter that left needs no answer: it is in the store.
            let _ = waiter.send(Told::Answer(answer.clone()));
        }
    }

    /// The task ended: inputs that still waited get no turn.
    pub(crate) fn ended(&self, task: TaskNumber) {
        for waiter in self.take(task, |_| true) {
            let _ = waiter.send(Told::TaskEnded);
        }
        self.idle(task);
    }

    fn take(
        &self,
        task: TaskNumber,
        mine: impl Fn(&InputId) -> bool,
    ) -> Vec<oneshot::Sender<Told>> {
        let mut entries = self.entries.lock();
        let Some(entry) = entries.as_mut().and_then(|entries| entries.get_mut(&task)) else {
            return Vec::new();
        };
        let (taken, left) = std::mem::take(&mut entry.waiters)
            .into_iter()
            .partition(|(id, _)| mine(id));
        entry.waiters = left;
        let taken: Vec<(InputId, oneshot::Sender<Told>)> = taken;
        taken.into_iter().map(|(_, waiter)| waiter).collect()
    }

    /// The engine stopped: every waiter's channel closes.
    pub(crate) fn close(&self) {
        drop(self.entries.lock().take());
    }
}
