//! The steps of one attempt: which keys it used, which steps are under way, what its handler waits for, and whether it is
//! to be put aside.

use crate::awaited::Awaited;
use crate::env;
use crate::machine::{TurnEnd, Wait};
use outlive_storage::row::{AskRow, StepRow};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// How long steps under way may hold up that their turn is put aside.
const ASIDE_WAIT: Duration = Duration::from_secs(5);

/// Why a step is not begun.
pub(crate) enum Unclaimed {
    /// The key was used before in this attempt.
    Duplicate,
    /// So many steps a turn does not have.
    TooMany,
}

/// What a handler waits for just now.
struct Waiting {
    number: u64,
    wait: Wait,
    /// Whether it is worth leaving memory for.
    long: bool,
}

/// What is to be done about the turn beside its handler.
pub(crate) enum Next {
    /// It is put aside.
    Aside(TurnEnd),
    /// Its handler waits while steps are under way: what it waits for is put down meanwhile.
    PutDown(Vec<Wait>),
}

#[derive(Default)]
struct State {
    keys: HashSet<Box<str>>,
    /// Steps that were begun and are neither recorded nor dropped.
    under_way: usize,
    /// Steps that pause before they are tried again.
    paused: usize,
    /// How the turn is put aside, once nothing is under way.
    aside: Option<TurnEnd>,
    waits: Vec<Waiting>,
    /// Numbers the waits.
    waited: u64,
    /// Questions of the turn that are open, as far as this attempt knows.
    asked: usize,
    /// The turn is over: a context kept beyond it records nothing.
    over: bool,
}

impl State {
    /// Whether steps have still something to do. One that pauses has: a turn that left memory meanwhile would not come
    /// back for it.
    fn is_busy(&self) -> bool {
        let paused = self.paused > 0 && !cfg!(planted = "parked_over_a_pause");
        self.under_way > 0 || paused
    }

    /// Whether the turn leaves memory: what is under way is recorded first.
    fn parks(&self) -> bool {
        let long = self.waits.iter().any(|waiting| waiting.long);
        long && (!self.is_busy() || cfg!(planted = "parked_over_a_step"))
    }

    /// Whether something is waited for that is not put down, and will not be for a while.
    fn puts_down(&self) -> bool {
        let mut waits = self.waits.iter();
        self.is_busy()
            && waits.any(|waiting| waiting.wait.is_new())
            && !cfg!(planted = "wait_beside_a_step_not_put_down")
    }
}

/// The steps of one attempt.
pub(crate) struct TurnSteps {
    state: Awaited<State>,
    /// Whether an earlier attempt recorded steps: then each is looked for before it is run.
    pub(crate) recorded: bool,
    /// A wait as long as this leaves memory; empty where none can: the call of a blocking handler cannot be dropped.
    park_after: Option<Duration>,
}

/// Held while a step pauses.
pub(crate) struct Paused(Arc<TurnSteps>);

/// Held while the handler waits.
pub(crate) struct Waits {
    steps: Arc<TurnSteps>,
    number: u64,
}

/// Held while a step is under way.
pub(crate) struct UnderWay(Arc<TurnSteps>);

impl TurnSteps {
    pub(crate) fn new(recorded: bool, park_after: Option<Duration>) -> Arc<TurnSteps> {
        Arc::new(TurnSteps {
            state: Awaited::new(State::default()),
            recorded,
            park_after,
        })
    }

    /// Whether a wait of this length leaves memory.
    pub(crate) fn is_long(&self, wait: Duration) -> bool {
        self.park_after.is_some_and(|after| wait >= after)
    }

    /// The handler waits; one `long` wait is enough for the turn to leave memory.
    pub(crate) fn wait(self: &Arc<Self>, wait: Wait, long: bool) -> Waits {
        let mut number = 0;
        self.state.change(|state| {
            state.waited += 1;
            number = state.waited;
            state.waits.push(Waiting { number, wait, long });
        });
        Waits {
            steps: Arc::clone(self),
            number,
        }
    }

    /// Takes a key for this attempt.
    pub(crate) fn claim(self: &Arc<Self>, key: &str) -> Result<UnderWay, Unclaimed> {
        let mut state = self.state.lock();
        if state.keys.len() >= StepRow::STEPS_MAX && !cfg!(planted = "steps_unbounded") {
            return Err(Unclaimed::TooMany);
        }
        if !state.keys.insert(key.into()) && !cfg!(planted = "duplicate_step_runs") {
            return Err(Unclaimed::Duplicate);
        }
        state.under_way += 1;
        Ok(UnderWay(Arc::clone(self)))
    }

    /// A step that was begun goes on.
    pub(crate) fn again(self: &Arc<Self>) -> UnderWay {
        self.state.lock().under_way += 1;
        UnderWay(Arc::clone(self))
    }

    /// So many questions of the turn are open when it is entered.
    pub(crate) fn found_open(&self, questions: usize) {
        self.state.lock().asked = questions;
    }

    /// A further question, if the turn may have one.
    pub(crate) fn asks(&self) -> bool {
        let mut state = self.state.lock();
        if state.asked >= AskRow::OPEN_MAX && !cfg!(planted = "questions_unbounded") {
            return false;
        }
        state.asked += 1;
        true
    }

    /// A question of the turn is not open any more.
    pub(crate) fn is_answered(&self) {
        let mut state = self.state.lock();
        state.asked = state.asked.saturating_sub(1);
    }

    /// A step pauses before its next try: a turn that is put aside for good does not wait for that.
    pub(crate) fn pause(self: &Arc<Self>) -> Paused {
        self.state.lock().paused += 1;
        Paused(Arc::clone(self))
    }

    /// Asks for the turn to be put aside; the first word counts.
    pub(crate) fn put_aside(&self, end: TurnEnd) {
        self.state.change(|state| {
            state.aside.get_or_insert(end);
        });
    }

    /// Resolves when something is to be done about the turn beside its handler.
    pub(crate) async fn next(&self) -> Next {
        self.state
            .until(|state| state.aside.is_some() || state.parks() || state.puts_down())
            .await;
        {
            let mut state = self.state.lock();
            if state.aside.is_none() && state.parks() {
                let waits = state.waits.iter().map(|waiting| waiting.wait.clone());
                return Next::Aside(TurnEnd::Parked(waits.collect()));
            }
            if state.aside.is_none() {
                let waits = state.waits.iter_mut();
                let put_down = waits.filter_map(|waiting| waiting.wait.take_new());
                return Next::PutDown(put_down.collect());
            }
        }
        Next::Aside(self.set_aside().await)
    }

    /// Resolves with how the turn is put aside, when no step is under way any more: what was done is recorded first. Not
    /// every step comes to its end then: one may contain the step that waits for this, or is not polled any more. They
    /// have [`ASIDE_WAIT`], and are dropped like in a crash.
    async fn set_aside(&self) -> TurnEnd {
        let quiet =
            |state: &State| state.under_way == 0 || cfg!(planted = "parked_over_running_steps");
        tokio::select! {
            biased;
            () = self.state.until(quiet) => {}
            () = env::sleep(ASIDE_WAIT), if !cfg!(planted = "parked_when_quiet_alone") => {}
        }
        let aside = self.state.lock().aside.take();
        // INVARIANT: it was there, and is taken nowhere else.
        aside.expect("how the turn is put aside")
    }

    /// Whether the turn is over.
    pub(crate) fn is_over(&self) -> bool {
        self.state.lock().over
    }

    /// Nothing is recorded any more.
    pub(crate) fn end(&self) {
        self.state.change(|state| state.over = true);
    }

    /// Resolves when the turn is over.
    pub(crate) async fn ended(&self) {
        self.state.until(|state| state.over).await;
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        self.0.state.change(|state| state.paused -= 1);
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.steps
            .state
            .change(|state| state.waits.retain(|waiting| waiting.number != self.number));
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.state.change(|state| state.under_way -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_has_so_many_steps_and_no_more() {
        let steps = TurnSteps::new(false, None);
        for step in 0..StepRow::STEPS_MAX {
            assert!(steps.claim(&step.to_string()).is_ok());
        }
        assert!(matches!(steps.claim("more"), Err(Unclaimed::TooMany)));
    }

    /// What is dropped before it is recorded is not under way any more.
    #[tokio::test]
    async fn a_turn_is_put_aside_when_nothing_is_under_way() {
        let steps = TurnSteps::new(false, None);
        let under_way = steps.claim("slow").ok();
        steps.put_aside(TurnEnd::Cancelled);
        let mut aside = Box::pin(steps.next());
        tokio::select! {
            biased;
            _ = &mut aside => panic!("a step is under way"),
            () = tokio::task::yield_now() => {}
        }
        drop(under_way);
        assert!(matches!(aside.await, Next::Aside(TurnEnd::Cancelled)));
    }
}
