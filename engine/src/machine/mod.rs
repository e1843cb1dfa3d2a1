//! The pure core: what an event makes of a row, with no clock, no chance and no I/O.
//!
//! [`step`] is the only place that decides about a task. It uses the plain data of `outlive-storage` and
//! `std`, so that a simulator, a test and the writer ask the very same function.

mod answer;
mod event;
mod retry;
mod start;
mod turn;
mod view;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod walk;

pub use answer::{Accepted, Answer, Effect, Rejected, Status, Transition, TurnAnswer};
pub use event::{Claimant, Event, NewInput, TurnEnd};
pub use retry::{delay_us, spread};
pub use view::{DefLimits, Now, View};

use outlive_storage::row::State;

/// What `event` makes of the task in `view`.
///
/// The answer is a whole [`Transition`] (row, further writes, effects) or a [`Rejected`], which changes nothing.
/// There is no wildcard: a new state or event does not compile until every pair is decided.
///
/// # Errors
/// [`Rejected`]: the event does not fit the task as it is; the variant says how the task stands.
pub fn step(view: &View<'_>, event: Event, now: Now) -> Result<Transition, Rejected> {
    let Some(row) = view.row else {
        return match event {
            Event::Input(input) => Ok(start::new_task(view, *input, now)),
            Event::Claim(_)
            | Event::Recover(_)
            | Event::Orphan(_)
            | Event::Reconsider
            | Event::End { .. } => Err(Rejected::NotFound),
        };
    };
    match (&row.state, event) {
        (_, Event::Input(input)) => start::further_input(view, row, input, now),

        (State::Pending { due_at, .. }, Event::Claim(claimant)) => {
            turn::claim(view, row, *due_at, claimant, now)
        }
        (State::InProgress { .. }, Event::Claim(_))
        | (State::Suspended { .. }, Event::Claim(_))
        | (State::Completed { .. }, Event::Claim(_)) => Err(Rejected::wrong_state(row)),

        (State::InProgress { lease, .. }, Event::Recover(claimant)) => {
            turn::recover(view, row, lease, claimant, now)
        }
        (State::Pending { .. }, Event::Recover(_))
        | (State::Suspended { .. }, Event::Recover(_))
        | (State::Completed { .. }, Event::Recover(_)) => Err(Rejected::wrong_state(row)),

        (State::InProgress { lease, .. }, Event::Orphan(claimant)) => {
            turn::orphan(view, row, lease, claimant, now)
        }
        (State::Pending { .. }, Event::Orphan(_))
        | (State::Suspended { .. }, Event::Orphan(_))
        | (State::Completed { .. }, Event::Orphan(_)) => Err(Rejected::wrong_state(row)),

        (State::Suspended { wait, .. }, Event::Reconsider) => {
            turn::reconsider(view, row, wait, now)
        }
        (State::Pending { .. }, Event::Reconsider)
        | (State::InProgress { .. }, Event::Reconsider)
        | (State::Completed { .. }, Event::Reconsider) => Err(Rejected::wrong_state(row)),

        (
            State::InProgress { lease, .. },
            Event::End {
                generation,
                end,
                claimant,
            },
        ) => {
            if lease.generation != generation && !cfg!(planted = "stale_end_accepted") {
                return Err(Rejected::LeaseLost);
            }
            turn::end(view, row, end, claimant, now)
        }
        (State::Pending { .. }, Event::End { .. })
        | (State::Suspended { .. }, Event::End { .. })
        | (State::Completed { .. }, Event::End { .. }) => Err(Rejected::LeaseLost),
    }
}
