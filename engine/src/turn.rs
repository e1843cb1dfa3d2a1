//! Enters handlers and carries the end of their turns back to the writer.

use crate::ctx::CtxCore;
use crate::env::{Spawner, micros};
use crate::flow::{Slot, Slots};
use crate::handler::{CallError, CallFuture, CallResult, Erased, HandlerError};
use crate::hub::Hub;
use crate::live::{LiveTable, Occupied};
use crate::machine::{Claimant, Event, TurnEnd};
use crate::reader::{ReadError, Reader};
use crate::registry::Registry;
use crate::value;
use crate::writer::{Draft, Origin, Target, Writer};
use outlive_storage::row::{
    Failure, FailureKind, Generation, Payload, TaskNumber, TaskRow, ValueKey, ValueKind,
};
use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;
use tokio::sync::{oneshot, watch};

/// A committed claim, ready to enter its handler.
pub(crate) struct Entered {
    pub(crate) task: TaskNumber,
    pub(crate) row: Arc<TaskRow>,
    pub(crate) generation: Generation,
}

/// Enters handlers, each on the caller's runtime.
pub(crate) struct Dispatcher {
    pub(crate) registry: Arc<Registry>,
    pub(crate) slots: Arc<Slots>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) writer: Arc<Writer>,
    pub(crate) reader: Arc<Reader>,
    pub(crate) spawner: Spawner,
    pub(crate) claimant: Claimant,
    pub(crate) live: Arc<LiveTable>,
    pub(crate) stopping: watch::Sender<bool>,
}

impl Dispatcher {
    /// Whether the engine claims nothing any more.
    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Wakes the engine loop: something will be due.
    pub(crate) fn wake(&self) {
        self.slots.wake.notify_one();
    }

    /// Nothing can be committed any more: handlers are told as at a shutdown, their turns are recovered later.
    pub(crate) fn writer_ended(&self) {
        self.stopping.send_replace(true);
        self.wake();
    }

    /// Enters the handler of a committed claim, after a former call for the same id has ended.
    pub(crate) fn enter(self: &Arc<Self>, entered: Entered, slot: Slot) {
        // A turn not entered stays in progress and is recovered at the next open.
        let Some(store) = self.reader.store().filter(|_| !self.is_stopping()) else {
            return;
        };
        let dispatcher = Arc::clone(self);
        self.live.occupy(entered.task, move |mut occupied| {
            occupied.hold(store);
            let seat = occupied.seat();
            let live = Arc::clone(&dispatcher.live);
            let spawner = dispatcher.spawner.clone();
            let unfinished = Unfinished(Some(Arc::clone(&dispatcher)));
            let abort = spawner.spawn(async move {
                dispatcher.work(entered, slot, occupied).await;
                unfinished.finish();
            });
            live.abortable(seat, abort);
        });
    }

    async fn work(self: Arc<Self>, entered: Entered, slot: Slot, occupied: Occupied) {
        let (end, value) = self.call(&entered).await;
        let event = Event::End {
            generation: entered.generation,
            end,
            claimant: self.claimant.clone(),
        };
        let draft = Draft {
            target: Target::Number(entered.task),
            event,
            value,
            slot: Some(slot),
        };
        let sent = self.writer.send(Origin::Engine, draft).await;
        // The end is on its way in order, so the id may be entered again: the next turn comes after it.
        drop(occupied);
        let answered = match sent {
            Ok(answer) => answer.await,
            Err(refused) => Err(refused),
        };
        if let Err(refused) = answered {
            tracing::warn!(
                target: "outlive::task",
                id = %entered.row.id,
                generation = entered.generation.0,
                ?refused,
                "the end of a turn was not taken"
            );
        }
    }

    /// Calls the handler; whatever it does, this returns how the turn ended and the value to keep.
    async fn call(&self, entered: &Entered) -> (TurnEnd, Option<Vec<u8>>) {
        let Some(registered) = self.registry.get(entered.row.def) else {
            return (
                undecodable("handler", "a registered handler of this name".to_owned()),
                None,
            );
        };
        let input = match self.input(entered).await {
            Ok(input) => input,
            Err(unreadable) => return (undecodable("input", unreadable), None),
        };
        let core = Arc::new(CtxCore {
            task: entered.task,
            row: Arc::clone(&entered.row),
            name: registered.name.into(),
            generation: entered.generation,
            shutdown: self.stopping.subscribe(),
        });
        let called = match &registered.handler {
            Erased::Async(call) => caught(call(core, input)).await,
            Erased::Blocking(call) => self.call_blocking(Arc::clone(call), core, input).await,
        };
        match called {
            Ok(Ok(output)) => {
                let (payload, value) = value::split(output);
                (TurnEnd::Succeeded(payload), value)
            }
            Ok(Err(CallError::Undecodable { what, expected })) => {
                (undecodable(what, expected), None)
            }
            Ok(Err(CallError::Failed(error))) => (failed(error), None),
            Ok(Err(CallError::Output(message))) => {
                (ended_badly(FailureKind::Output, message, true), None)
            }
            Err(panic) => (ended_badly(FailureKind::Panic, panic, false), None),
        }
    }

    async fn call_blocking(
        &self,
        call: Arc<dyn Fn(Arc<CtxCore>, Vec<u8>) -> CallResult + Send + Sync>,
        core: Arc<CtxCore>,
        input: Vec<u8>,
    ) -> Result<CallResult, String> {
        let (sender, result) = oneshot::channel();
        let holds_file = self.reader.store();
        let blocked = self.live.blocking(core.task);
        self.spawner.spawn_blocking(move || {
            // A call that waited for a thread until its turn was given up is not made any more.
            if sender.is_closed() {
                return;
            }
            let called = catch_unwind(AssertUnwindSafe(|| call(core, input)));
            drop(holds_file);
            drop(blocked);
            let _ = sender.send(called.map_err(text_of));
        });
        match result.await {
            Ok(called) => called,
            // Its runtime is going away: the turn stays in progress and is recovered at the next open.
            Err(_) => std::future::pending().await,
        }
    }

    async fn input(&self, entered: &Entered) -> Result<Vec<u8>, String> {
        match &entered.row.input {
            Payload::Inline(bytes) => Ok(bytes.clone()),
            Payload::Stored { .. } => {
                let key = ValueKey {
                    task: entered.task,
                    kind: ValueKind::Input,
                    index: entered.row.input_seq,
                };
                match self.reader.read(move |store| store.value(key)).await {
                    Ok(Some(bytes)) => Ok(bytes),
                    Ok(None) => Err("its bytes, which are not in the store".to_owned()),
                    Err(ReadError::Store(error)) => Err(error.to_string()),
                    Err(ReadError::Stopped) => std::future::pending().await,
                }
            }
        }
    }
}

/// A handler dropped before its end, by anybody but the engine, lost its runtime: that counts as a shutdown, since
/// whatever is claimed from now on would be dropped as well.
struct Unfinished(Option<Arc<Dispatcher>>);

impl Unfinished {
    /// The turn's end was sent.
    fn finish(mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let Some(dispatcher) = self.0.take() else {
            return;
        };
        if !dispatcher.is_stopping() {
            tracing::warn!(target: "outlive::engine", "the runtime of the handlers is gone; the engine stops");
            dispatcher.stopping.send_replace(true);
            dispatcher.writer.stop();
        }
    }
}

/// Polls a handler's future to its end and drops it, keeping panics of both inside the task.
async fn caught(future: CallFuture) -> Result<CallResult, String> {
    let mut future = Some(future);
    let polled = poll_fn(|context| {
        let Some(running) = future.as_mut() else {
            return Poll::Pending;
        };
        match catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(result)) => Poll::Ready(Ok(result)),
            Err(panic) => Poll::Ready(Err(text_of(panic))),
        }
    })
    .await;
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(future)));
    match dropped {
        Ok(()) => polled,
        Err(panic) => polled.and(Err(text_of(panic))),
    }
}

/// The text of a panic. Its payload is the user's, and may panic once more when it is dropped.
fn text_of(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        // Whoever panics while a panic is put away is not asked a third time.
        std::mem::forget(again);
    }
    text.unwrap_or_else(|| "a panic without a text".to_owned())
}

fn undecodable(what: &str, expected: String) -> TurnEnd {
    TurnEnd::Undecodable {
        what: what.into(),
        expected: cut(expected),
    }
}

fn ended_badly(kind: FailureKind, message: String, terminal: bool) -> TurnEnd {
    let failure = Failure {
        kind,
        message: cut(message),
        chain: Vec::new(),
        attempts: 0,
    };
    TurnEnd::Failed {
        failure,
        terminal,
        retry_after_us: None,
    }
}

/// The failure as it is kept. Text, sources and drop of an error are the user's code: a panic in them is a panic.
fn failed(error: HandlerError) -> TurnEnd {
    let described = catch_unwind(AssertUnwindSafe(move || describe(&error)));
    described.unwrap_or_else(|panic| ended_badly(FailureKind::Panic, text_of(panic), false))
}

fn describe(error: &HandlerError) -> TurnEnd {
    let mut chain = Vec::new();
    let mut source = error.error().source();
    while let Some(cause) = source.filter(|_| chain.len() < Failure::CHAIN_MAX) {
        chain.push(cut(cause.to_string()));
        source = cause.source();
    }
    let message = cut(error.to_string());
    let failure = Failure {
        kind: FailureKind::Error,
        message,
        chain,
        attempts: 0,
    };
    let retry_after_us = error.delay().map(micros);
    TurnEnd::Failed {
        failure,
        terminal: error.is_terminal(),
        retry_after_us,
    }
}

/// Cuts a text to what a row keeps, at a character's edge.
fn cut(mut text: String) -> Box<str> {
    let fits = |end: &usize| text.is_char_boundary(*end);
    let end = (0..=Failure::MESSAGE_MAX.min(text.len()))
        .rev()
        .find(fits)
        .unwrap_or(0);
    text.truncate(end);
    text.into()
}
