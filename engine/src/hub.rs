//! Who waits for which answer. Waiters are told only what is durable.

use crate::machine::Named;
use crate::word::Word;
use foldhash::{HashMap, HashMapExt};
use outlive_storage::row::{Payload, TaskNumber, TurnResult};
use parking_lot::Mutex;
use smallvec::SmallVec;
use std::sync::Arc;
use tokio::sync::oneshot;

/// How the turn of an input ended.
#[derive(Debug, Clone)]
pub(crate) struct Answered {
    /// The turn, from 1.
    pub(crate) turn: u32,
    pub(crate) result: TurnResult,
}

/// What a waiter is told.
#[derive(Debug, Clone)]
pub(crate) enum Told {
    /// The input's turn ended.
    Answer(Answered),
    /// Its caller took the input back.
    Withdrawn(Box<str>),
    /// The task ended before the input got a turn.
    TaskEnded,
    /// The input cannot be read by this program.
    Parked { what: Box<str>, expected: Box<str> },
}

impl Told {
    /// Whether the large output, if there is one, comes along.
    fn is_whole(&self) -> bool {
        match self {
            Told::Answer(answered) => !answered.result.output().is_some_and(Payload::is_stored),
            Told::Withdrawn(_) | Told::TaskEnded | Told::Parked { .. } => true,
        }
    }
}

/// As a rule one waits for a task.
type Waiters = SmallVec<[(Named, oneshot::Sender<Told>); 1]>;

#[derive(Default)]
struct Entry {
    /// The input of the turn that runs in this process: its end will pass through here.
    running: Option<Named>,
    waiters: Waiters,
    /// Inputs of a task that is gone with its end: who holds a handle finds the answer here, for the store forgets it.
    expected: Vec<Expected>,
}

/// The answer to an input, for those who hold a handle and may ask later.
struct Expected {
    named: Named,
    handles: usize,
    told: Option<Told>,
}

impl Entry {
    fn expected(&mut self, named: &Named) -> Option<&mut Expected> {
        let mut expected = self.expected.iter_mut();
        expected.find(|expected| expected.named == *named)
    }

    /// The first word on an input is the last. A word without its large output is none: the store has it, or somebody
    /// brings it.
    fn keep(&mut self, named: &Named, told: Told) {
        let whole = told.is_whole() || cfg!(planted = "answer_kept_without_output");
        if let Some(expected) = self.expected(named).filter(|_| whole) {
            expected.told.get_or_insert(told);
        }
    }

    fn is_empty(&self) -> bool {
        self.waiters.is_empty() && self.running.is_none() && self.expected.is_empty()
    }

    /// From here on a new waiter finds what became of the input in the store: nothing will pass for it any more.
    fn turn_over(&mut self, named: &Named) -> Waiters {
        if !cfg!(planted = "answered_turn_still_runs") {
            self.running = None;
        }
        self.take(named)
    }

    fn take(&mut self, named: &Named) -> Waiters {
        // As a rule all wait for one input.
        if self.waiters.iter().all(|(waiting, _)| waiting == named) {
            return std::mem::take(&mut self.waiters);
        }
        let waiters = std::mem::take(&mut self.waiters);
        let (told, left) = waiters
            .into_iter()
            .partition(|(waiting, _)| waiting == named);
        self.waiters = left;
        told
    }
}

#[derive(Default)]
pub(crate) struct Hub {
    /// `None` once the engine stopped: waiting is over for everybody.
    entries: Mutex<Option<HashMap<TaskNumber, Entry>>>,
}

/// Held by a handle to an input of a task that is gone with its end.
pub(crate) struct Expecting {
    hub: Arc<Hub>,
    task: TaskNumber,
    named: Named,
}

impl Drop for Expecting {
    fn drop(&mut self) {
        let mut entries = self.hub.entries.lock();
        let entry = entries
            .as_mut()
            .and_then(|entries| entries.get_mut(&self.task));
        if let Some(entry) = entry {
            if let Some(expected) = entry.expected(&self.named) {
                expected.handles -= 1;
            }
            entry.expected.retain(|expected| expected.handles > 0);
        }
        drop(entries);
        self.hub.leave(self.task);
    }
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

    /// Keeps the answer to an input of a task that is gone with its end, for as long as this is held. Asked for before
    /// the turn can end. `None` once the engine stopped.
    pub(crate) fn expect(self: &Arc<Self>, task: TaskNumber, named: &Named) -> Option<Expecting> {
        if cfg!(planted = "ephemeral_answer_lost") {
            return None;
        }
        let mut entries = self.entries.lock();
        let entry = entries.as_mut()?.entry(task).or_default();
        match entry.expected(named) {
            Some(expected) => expected.handles += 1,
            None => entry.expected.push(Expected {
                named: named.clone(),
                handles: 1,
                told: None,
            }),
        }
        Some(Expecting {
            hub: Arc::clone(self),
            task,
            named: named.clone(),
        })
    }

    /// Waits for the answer to an input. `None` once the engine stopped.
    pub(crate) fn wait(self: &Arc<Self>, task: TaskNumber, named: &Named) -> Option<Waiting> {
        let (sender, told) = oneshot::channel();
        let mut entries = self.entries.lock();
        let entry = entries.as_mut()?.entry(task).or_default();
        let kept = entry.expected(named);
        let kept = kept.and_then(|expected| expected.told.clone());
        let will_pass = kept.is_some() || entry.running.as_ref() == Some(named);
        match kept {
            Some(told) => drop(sender.send(told)),
            None => entry.waiters.push((named.clone(), sender)),
        }
        Some(Waiting {
            told,
            will_pass,
            hub: Arc::clone(self),
            task,
        })
    }

    /// Takes a waiter for the answer to an input whose turn runs, so that it will pass. Any other one is let go: it must
    /// look into the store before it waits.
    pub(crate) fn attend(&self, task: TaskNumber, named: Named, waiter: oneshot::Sender<Told>) {
        let mut entries = self.entries.lock();
        let entry = entries.as_mut().and_then(|entries| entries.get_mut(&task));
        let runs = |entry: &&mut Entry| {
            entry.running.as_ref() == Some(&named) || cfg!(planted = "waits_for_an_answer_gone_by")
        };
        let gone = waiter.is_closed() && !cfg!(planted = "who_gave_up_has_a_place");
        let Some(entry) = entry.filter(runs).filter(|_| !gone) else {
            drop(entries);
            drop(waiter);
            return;
        };
        entry.waiters.push((named, waiter));
    }

    /// Somebody stopped waiting for the task.
    pub(crate) fn leave(&self, task: TaskNumber) {
        let mut entries = self.entries.lock();
        let Some(entries) = entries.as_mut() else {
            return;
        };
        let Some(entry) = entries.get_mut(&task) else {
            return;
        };
        entry.waiters.retain(|(_, waiter)| !waiter.is_closed());
        if entry.is_empty() {
            entries.remove(&task);
        }
    }

    /// A turn of the task begins in this process, on this input.
    pub(crate) fn running(&self, task: TaskNumber, named: &Named) {
        if let Some(entries) = self.entries.lock().as_mut() {
            entries.entry(task).or_default().running = Some(named.clone());
        }
    }

    /// The turn of this input ended: who waits is to be told.
    pub(crate) fn answer(
        &self,
        task: TaskNumber,
        named: &Named,
        answer: Answered,
        mut tell: impl FnMut(Word),
    ) {
        let mut waiters = self.take(task, |entry| {
            if !entry.expected.is_empty() {
                entry.keep(named, Told::Answer(answer.clone()));
            }
            entry.turn_over(named)
        });
        // The last one is given the answer itself.
        let last = waiters.pop();
        for (_, waiter) in waiters {
            tell(Word::Answer(waiter, Told::Answer(answer.clone())));
        }
        if let Some((_, waiter)) = last {
            tell(Word::Answer(waiter, Told::Answer(answer)));
        }
        // A task that waits for days keeps no place here.
        self.leave(task);
    }

    /// The input was taken back.
    pub(crate) fn withdrawn(&self, task: TaskNumber, named: &Named, reason: &str) {
        let told = self.take(task, |entry| {
            entry.keep(named, Told::Withdrawn(reason.into()));
            entry.take(named)
        });
        for (_, waiter) in told {
            let _ = waiter.send(Told::Withdrawn(reason.into()));
        }
        self.leave(task);
    }

    /// The input's turn is parked.
    pub(crate) fn parked(
        &self,
        task: TaskNumber,
        named: &Named,
        what: Box<str>,
        expected: Box<str>,
    ) {
        let told = self.take(task, |entry| entry.turn_over(named));
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

    /// The task ended: these inputs still waited, and get no turn. Nobody else is told: a further run may have begun in
    /// the very batch of the end.
    pub(crate) fn ended(&self, task: TaskNumber, drained: &[Named]) {
        for named in drained {
            let told = self.take(task, |entry| {
                entry.keep(named, Told::TaskEnded);
                entry.take(named)
            });
            for (_, waiter) in told {
                let _ = waiter.send(Told::TaskEnded);
            }
        }
        self.leave(task);
    }

    /// Whether somebody wants to be told of this input.
    pub(crate) fn is_awaited(&self, task: TaskNumber, named: &Named) -> bool {
        let mut entries = self.entries.lock();
        let entry = entries.as_mut().and_then(|entries| entries.get_mut(&task));
        entry.is_some_and(|entry| {
            entry.expected(named).is_some()
                || entry.waiters.iter().any(|(waiting, _)| waiting == named)
        })
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
    use outlive_storage::id::InputId;
    use outlive_storage::row::{Failure, FailureKind, Outcome};
    use tokio::sync::oneshot::error::TryRecvError;

    fn failed() -> Answered {
        let failure = Failure {
            kind: FailureKind::Error,
            message: "no".into(),
            chain: Vec::new(),
            attempts: 1,
        };
        Answered {
            turn: 1,
            result: TurnResult::Ended(Outcome::Failed(failure)),
        }
    }

    fn input(id: &str) -> Named {
        Named {
            input_id: InputId::new(id).expect("an id"),
            run: 1,
        }
    }

    /// A caller that began to wait between "this input is answered" and "the task ended" trusted the turn that had
    /// just ended, never looked into the store, and was told that the task had ended without it.
    #[test]
    fn who_waits_after_the_answer_looks_into_the_store() {
        let hub = Arc::new(Hub::new());
        hub.running(TaskNumber(1), &input("a"));
        hub.answer(TaskNumber(1), &input("a"), failed(), Word::say);
        let waiting = hub.wait(TaskNumber(1), &input("a")).expect("open");
        assert!(!waiting.will_pass);
    }

    #[test]
    fn who_waits_for_the_running_input_is_told() {
        let hub = Arc::new(Hub::new());
        hub.running(TaskNumber(1), &input("a"));
        let mut waiting = hub.wait(TaskNumber(1), &input("a")).expect("open");
        assert!(waiting.will_pass);
        hub.answer(TaskNumber(1), &input("a"), failed(), Word::say);
        assert!(matches!(waiting.told.try_recv(), Ok(Told::Answer(_))));
    }

    #[test]
    fn a_task_whose_turn_is_over_keeps_no_place() {
        let hub = Arc::new(Hub::new());
        hub.running(TaskNumber(1), &input("a"));
        hub.answer(TaskNumber(1), &input("a"), failed(), Word::say);
        assert!(hub.entries.lock().as_ref().is_some_and(HashMap::is_empty));
    }

    /// The end of a task that is gone with it could pass between the answer to its start and the first wait for its
    /// result, which then was nowhere.
    #[test]
    fn who_holds_a_handle_is_told_later() {
        let hub = Arc::new(Hub::new());
        let handles = [(); 2].map(|()| hub.expect(TaskNumber(1), &input("a")).expect("open"));
        let other = hub.expect(TaskNumber(1), &input("b")).expect("open");
        hub.answer(TaskNumber(1), &input("a"), failed(), Word::say);
        hub.ended(TaskNumber(1), &[input("b")]);
        for _ in 0..2 {
            let mut waiting = hub.wait(TaskNumber(1), &input("a")).expect("open");
            assert!(waiting.will_pass);
            assert!(matches!(waiting.told.try_recv(), Ok(Told::Answer(_))));
        }
        let mut waiting = hub.wait(TaskNumber(1), &input("b")).expect("open");
        assert!(matches!(waiting.told.try_recv(), Ok(Told::TaskEnded)));
        drop((handles, other, waiting));
        assert!(hub.entries.lock().as_ref().is_some_and(HashMap::is_empty));
    }

    /// A further run that began in the batch of an end was told that the task had ended before its input had a turn.
    #[test]
    fn an_end_tells_only_those_whose_inputs_it_drained() {
        let hub = Arc::new(Hub::new());
        let mut drained = hub.wait(TaskNumber(1), &input("a")).expect("open");
        let mut of_the_next_run = hub.wait(TaskNumber(1), &input("b")).expect("open");
        hub.ended(TaskNumber(1), &[input("a")]);
        assert!(matches!(drained.told.try_recv(), Ok(Told::TaskEnded)));
        assert!(of_the_next_run.told.try_recv().is_err(), "it still waits");
    }

    /// An answer without its large output was kept, handed out for ever, and the store never asked.
    #[test]
    fn an_answer_without_its_large_output_is_not_kept() {
        let hub = Arc::new(Hub::new());
        let _handle = hub.expect(TaskNumber(1), &input("a")).expect("open");
        let result = TurnResult::Replied {
            output: Payload::Stored { len: 5000, crc: 0 },
            suspended: Some("more".into()),
            superseded: false,
        };
        let stored = Answered { turn: 1, result };
        hub.answer(TaskNumber(1), &input("a"), stored, Word::say);
        let waiting = hub.wait(TaskNumber(1), &input("a")).expect("open");
        assert!(!waiting.will_pass, "the store is asked");
    }

    #[test]
    fn who_is_attended_to_while_the_input_runs_is_told() {
        let hub = Hub::new();
        hub.running(TaskNumber(1), &input("a"));
        let (waiter, mut told) = oneshot::channel();
        hub.attend(TaskNumber(1), input("a"), waiter);
        hub.answer(TaskNumber(1), &input("a"), failed(), Word::say);
        assert!(matches!(told.try_recv(), Ok(Told::Answer(_))));
    }

    /// An input that was queued, or whose answer has passed, is not the one that runs.
    #[test]
    fn who_waits_for_another_input_than_the_running_one_is_sent_to_the_store() {
        let hub = Hub::new();
        hub.running(TaskNumber(1), &input("b"));
        let (waiter, mut told) = oneshot::channel();
        hub.attend(TaskNumber(1), input("a"), waiter);
        assert_eq!(told.try_recv().err(), Some(TryRecvError::Closed));
    }

    #[test]
    fn who_has_given_up_gets_no_place() {
        let hub = Hub::new();
        hub.running(TaskNumber(1), &input("a"));
        let (waiter, told) = oneshot::channel();
        drop(told);
        hub.attend(TaskNumber(1), input("a"), waiter);
        let entries = hub.entries.lock();
        let waiters = entries
            .as_ref()
            .map(|entries| entries[&TaskNumber(1)].waiters.len());
        assert_eq!(waiters, Some(0));
    }

    #[test]
    fn who_leaves_is_forgotten() {
        let hub = Arc::new(Hub::new());
        drop(hub.wait(TaskNumber(1), &input("a")));
        assert!(hub.entries.lock().as_ref().is_some_and(HashMap::is_empty));
    }
}
