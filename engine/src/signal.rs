//! What a running handler is told: the causes for which it may want to end, and the signal they set.

use crate::awaited::Awaited;
use crate::machine::Cause;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::task::AbortHandle;

/// Why a turn may want to end. Causes add up within a turn, and each is visible before [`Ctx::cancelled`] resolves.
///
/// All but the shutdown set the cancel signal: what is left of a turn when the engine stops is recovered at the next
/// open, so a shutdown alone is no reason to give up.
///
/// ```
/// use outlive::{Ctx, HandlerError};
/// async fn crawl(ctx: Ctx, pages: Vec<String>) -> Result<usize, HandlerError> {
///     for (read, _page) in pages.iter().enumerate() {
///         match ctx.cause() {
///             Some(causes) if causes.cancel_requested().is_some() => return Err(HandlerError::cancelled()),
///             Some(causes) if causes.timed_out() => return Ok(read), // what there is, within the grace
///             _ => {}
///         }
///     }
///     Ok(pages.len())
/// }
/// ```
///
/// [`Ctx::cancelled`]: crate::Ctx::cancelled
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Causes {
    shutdown: bool,
    cancel: Option<Box<str>>,
    timed_out: bool,
    steered: bool,
    lease_lost: bool,
}

impl Causes {
    /// The engine is shutting down.
    pub fn shutdown(&self) -> bool {
        self.shutdown
    }

    /// Somebody asked for the end of the task or of this turn: the reason given.
    pub fn cancel_requested(&self) -> Option<&str> {
        self.cancel.as_deref()
    }

    /// The turn has taken as long as it may: it has the definition's grace to end.
    pub fn timed_out(&self) -> bool {
        self.timed_out
    }

    /// A further input waits that interrupts: the next turn begins with it when this one ends.
    pub fn steered(&self) -> bool {
        self.steered
    }

    /// The claim is no longer the task's: whatever this turn still does is not recorded.
    pub fn lease_lost(&self) -> bool {
        self.lease_lost
    }

    /// Whether the cancel signal is set.
    fn signalled(&self) -> bool {
        self.cancel.is_some() || self.timed_out || self.steered || self.lease_lost
    }

    fn any(&self) -> bool {
        self.signalled() || self.shutdown
    }
}

impl fmt::Display for Causes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cancel = self.cancel.as_ref().map(|why| format!("cancelled ({why})"));
        let told = |set: bool, text: &str| set.then(|| text.to_owned());
        let causes = [
            told(self.shutdown, "shutdown"),
            cancel,
            told(self.timed_out, "timed out"),
            told(self.steered, "steered"),
            told(self.lease_lost, "lease lost"),
        ];
        let causes: Vec<String> = causes.into_iter().flatten().collect();
        f.write_str(&causes.join(", "))
    }
}

/// What is told of one claim.
struct State {
    causes: Causes,
    /// The handler left its turn to the next open.
    left: bool,
    /// Counts what came that the handler may wait for.
    woken: u64,
    /// How its call can be stopped, once it has started.
    call: Option<AbortHandle>,
    /// Its call is stopped, or will be when it starts.
    stopped: bool,
}

/// The causes of one claim, as its handler and the engine share them.
pub(crate) struct Signal {
    state: Awaited<State>,
    /// How many inputs wait, as of the last commit.
    waiting: AtomicU64,
}

/// Follows what comes that the handler may wait for.
pub(crate) struct Wakes {
    signal: Arc<Signal>,
    seen: u64,
}

impl Wakes {
    /// Resolves once something has come since the last time.
    pub(crate) async fn changed(&mut self) {
        let state = &self.signal.state;
        state.until(|state| state.woken != self.seen).await;
        self.seen = state.lock().woken;
    }
}

impl Signal {
    /// What is known when the turn is entered.
    pub(crate) fn new(steered: bool, waiting: u64) -> Signal {
        let causes = Causes {
            steered,
            ..Causes::default()
        };
        Signal {
            state: Awaited::new(State {
                causes,
                left: false,
                woken: 0,
                call: None,
                stopped: false,
            }),
            waiting: AtomicU64::new(waiting),
        }
    }

    /// The call has started, and can be stopped so.
    pub(crate) fn stoppable(&self, call: AbortHandle) {
        let mut state = self.state.lock();
        if state.stopped && !cfg!(planted = "stopped_on_the_way_runs") {
            drop(state);
            return call.abort();
        }
        state.call = Some(call);
    }

    /// Whether the call is not to start any more.
    pub(crate) fn is_stopped(&self) -> bool {
        self.state.lock().stopped
    }

    /// Drops the call, now or when it starts, without telling it anything.
    pub(crate) fn stop(&self) {
        let call = {
            let mut state = self.state.lock();
            state.stopped = true;
            state.call.take()
        };
        if let Some(call) = call {
            call.abort();
        }
    }

    /// Something came that the handler may wait for.
    pub(crate) fn wake(&self) {
        self.state.change(|state| state.woken += 1);
    }

    /// Follows such things from now on.
    pub(crate) fn wakes(self: &Arc<Self>) -> Wakes {
        Wakes {
            seen: self.state.lock().woken,
            signal: Arc::clone(self),
        }
    }

    /// So many inputs wait now.
    pub(crate) fn wait_for(&self, inputs: u64) {
        if !cfg!(planted = "count_stands_still") {
            self.waiting.store(inputs, Ordering::Relaxed);
        }
    }

    /// How many inputs wait.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// A cause the machine decided on.
    pub(crate) fn tell(&self, cause: Cause) {
        self.add(|causes| match cause {
            Cause::CancelRequested { reason } => causes.cancel = Some(reason),
            Cause::Steered => causes.steered = true,
        });
    }

    pub(crate) fn time_out(&self) {
        self.add(|causes| causes.timed_out = true);
    }

    pub(crate) fn lose_lease(&self) {
        self.add(|causes| causes.lease_lost = true);
    }

    fn add(&self, change: impl FnOnce(&mut Causes)) {
        if cfg!(planted = "cause_not_told") {
            return;
        }
        self.state.change(|state| change(&mut state.causes));
    }

    /// The causes so far, or none.
    pub(crate) fn causes(&self, shutdown: bool) -> Option<Causes> {
        let causes = Causes {
            shutdown,
            ..self.state.lock().causes.clone()
        };
        causes.any().then_some(causes)
    }

    /// Whether the claim was taken away.
    pub(crate) fn is_lost(&self) -> bool {
        self.state.lock().causes.lease_lost
    }

    /// Resolves once the cancel signal is set.
    pub(crate) async fn cancelled(&self) {
        self.state.until(|state| state.causes.signalled()).await;
    }

    /// The handler leaves its turn to the next open.
    pub(crate) fn leave(&self) {
        self.state.change(|state| state.left = true);
    }

    /// Resolves once the handler has left.
    pub(crate) async fn left(&self) {
        self.state.until(|state| state.left).await;
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signal")
            .field(&self.state.lock().causes)
            .finish()
    }
}
