//! Calls of handlers: whatever they do, panics included, stays inside the task.

use crate::ctx::CtxCore;
use crate::env;
use crate::flow::Slot;
use crate::handler::CallResult;
use crate::turn::Dispatcher;
use parking_lot::Mutex;
use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use tokio::sync::oneshot;

type BlockingCall = Arc<dyn Fn(Arc<CtxCore>, Vec<u8>) -> CallResult + Send + Sync>;

/// A slot that is free when all who share it have let go, or when one of them has taken it on.
pub(crate) type SharedSlot = Arc<Mutex<Option<Slot>>>;

impl Dispatcher {
    /// Calls a blocking handler on a thread of its own.
    pub(crate) async fn call_blocking(
        &self,
        call: BlockingCall,
        (core, slot): (Arc<CtxCore>, SharedSlot),
        input: Vec<u8>,
    ) -> Result<CallResult, String> {
        let (sender, result) = oneshot::channel();
        let holds_file = self.reader.hold();
        let blocked = self.live.blocking(core.row.id.clone());
        self.spawner.spawn_blocking(move || {
            // A call that waited for a thread until its turn was given up is not made any more.
            if sender.is_closed() {
                return;
            }
            let called = catch_unwind(AssertUnwindSafe(|| {
                env::on_blocking_thread(|| call(core, input))
            }));
            drop(holds_file);
            drop(blocked);
            // A thread whose turn was given up keeps its slot until here.
            drop(slot);
            let _ = sender.send(called.map_err(text_of));
        });
        match result.await {
            Ok(called) => called,
            // Its runtime is going away: the turn stays in progress and is recovered at the next open.
            Err(_) => std::future::pending().await,
        }
    }
}

/// Polls a future of the user's to its end and drops it, keeping panics of both inside the task.
pub(crate) async fn caught<T>(
    future: Pin<Box<dyn Future<Output = T> + Send + '_>>,
) -> Result<T, String> {
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
pub(crate) fn text_of(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        // Whoever panics while a panic is put away is not asked a third time.
        std::mem::forget(again);
    }
    text.unwrap_or_else(|| "a panic without a text".to_owned())
}
