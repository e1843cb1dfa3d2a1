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
    /// The input cannot be read by this program.
    Parked { what: Box<str>, expected: Box<str> },
}

type Waiters = Vec<(InputId, oneshot::Sender<Told>)>;

#[derive(Default)]
struct Entry {
    /// The input of the turn that runs in this process: its end will pass through here.
    running: Option<InputId>,
    waiters: Waiters,
}

impl Entry {
    /// From here on a new waiter finds what became of the input in the store: nothing will pass for it any more.
    fn turn_over(&mut self, input_id: &InputId) -> Waiters {
        if !cfg!(planted = "answered_turn_still_runs") {
            self.running = None;
        }
        let waiters = std::mem::take(&mut self.waiters);
        let (told, left) = waiters.into_iter().partition(|(id, _)| id == input_id);
        self.waiters = left;
        told
    }
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

    /// The turn of this input ended.
    pub(crate) fn answer(&self, task: TaskNumber, input_id: &InputId, answer: &TurnAnswer) {
        let told = self.take(task, |entry| entry.turn_over(input_id));
        for (_, waiter) in told {
            // A waiter that left needs no answer: it is in the store.
            let _ = waiter.send(Told::Answer(answer.clone()));
        }
    }

    /// The input's turn is parked.
    pub(crate) fn parked(
        &self,
        task: TaskNumber,
        input_id: &InputId,
        what: Box<str>,
        expected: Box<str>,
    ) {
        let told = self.take(task, |entry| entry.turn_over(input_id));
        for (_, waiter) in told {
            let (what, expected) = (what.clone(), expected.clone());
            let _ = waiter.send(Told::Parked { what, expected });
        }
        self.leave(task);
    }

    /// The task does not run for now; those who wait go on waiting.
    pub(crate) fn idle(&self, task: TaskNumber) {
        self.take(task, |entry| {
            entry.running = None;
            Waiters::new()
        });
        self.leave(task);
    }

    /// What the task's turn came to could not be kept: those who wait must look into the store.
    pub(crate) fn doubt(&self, task: TaskNumber) {
        drop(self.take(task, |entry| {
            entry.running = None;
            std::mem::take(&mut entry.waiters)
        }));
        self.leave(task);
    }

    /// The task ended: inputs that still waited get no turn.
    pub(crate) fn ended(&self, task: TaskNumber) {
        for (_, waiter) in self.take(task, |entry| std::mem::take(&mut entry.waiters)) {
            let _ = waiter.send(Told::TaskEnded);
        }
        self.leave(task);
    }

    fn take(&self, task: TaskNumber, take: impl FnOnce(&mut Entry) -> Waiters) -> Waiters {
        let mut entries = self.entries.lock();
        let entry = entries.as_mut().and_then(|entries| entries.get_mut(&task));
        entry.map(take).unwrap_or_default()
    }

    /// The engine stopped: every waiter's channel closes.
    pub(crate) fn close(&self) {
        drop(self.entries.lock().take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outlive_storage::row::Failure;
    use outlive_storage::row::FailureKind;

    fn failed() -> TurnAnswer {
        TurnAnswer::Failed(Failure {
            kind: FailureKind::Error,
            message: "no".into(),
            chain: Vec::new(),
            attempts: 1,
        })
    }

    fn input(id: &str) -> InputId {
        InputId::new(id).expect("an id")
    }

    /// A caller that began to wait between "this input is answered" and "the task ended" trusted the turn that had
    /// just ended, never looked into the store, and was told that the task had ended without it.
    #[test]
    fn who_waits_after_the_answer_looks_into_the_store() {
        let hub = Arc::new(Hub::new());
        hub.running(TaskNumber(1), &input("a"));
        hub.answer(TaskNumber(1), &input("a"), &failed());
        let waiting = hub.wait(TaskNumber(1), &input("a")).expect("open");
        assert!(!waiting.will_pass);
    }

    #[test]
    fn who_waits_for_the_running_input_is_told() {
        let hub = Arc::new(Hub::new());
        hub.running(TaskNumber(1), &input("a"));
        let mut waiting = hub.wait(TaskNumber(1), &input("a")).expect("open");
        assert!(waiting.will_pass);
        hub.answer(TaskNumber(1), &input("a"), &failed());
        assert!(matches!(waiting.told.try_recv(), Ok(Told::Answer(_))));
    }

    #[test]
    fn who_leaves_is_forgotten() {
        let hub = Arc::new(Hub::new());
        drop(hub.wait(TaskNumber(1), &input("a")));
        assert!(hub.entries.lock().as_ref().is_some_and(HashMap::is_empty));
    }
}
