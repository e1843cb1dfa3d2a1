//! The pure core: what an event makes of a row, with no clock, no chance and no I/O.
//!
//! [`step`] is the only place that decides about a task. It uses the plain data of `outlive-storage` and
//! `std`, so that a simulator, a test and the writer ask the very same function.

mod after;
mod answer;
mod ask;
mod cancel;
mod change;
mod end;
mod event;
mod family;
mod finish;
mod guard;
mod inbox;
mod next_turn;
mod park;
mod retry;
mod start;
mod steps;
mod turn;
mod view;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod walk;

pub use answer::{
    Accepted, Answer, Cause, Effect, Effects, Handed, Recovered, Rejected, Status, Transition,
    Unanswered,
};
pub use ask::Question;
pub use event::{
    Aim, Asking, Claimant, Event, Given, Named, NewInput, NewParent, OnConflict, Order, Overdue,
    ParentOver, Parting, Resolution, TurnEnd, Verdict, Wait, WaitFor,
};
pub use finish::turn_is_open;
pub use guard::{ALONE_DEATHS, SUSPECT_DEATHS, would_hold_back};
pub use retry::{delay_us, spread};
pub use view::{DefLimits, FamilyView, Now, View};

use outlive_storage::row::TaskRow;

/// What `event` makes of the task in `view`.
///
/// The answer is a whole [`Transition`] (row, further writes, effects) or a [`Rejected`], which changes nothing.
/// There is no wildcard: a new state or event does not compile until every pair is decided.
///
/// # Errors
/// [`Rejected`]: the event does not fit the task as it is; the variant says how the task stands.
pub fn step(view: &View<'_>, event: Event, now: Now) -> Result<Transition, Rejected> {
    match view.row {
        Some(row) => present(view, row, event, now),
        None => absent(view, event, now),
    }
}

fn present(view: &View<'_>, row: &TaskRow, event: Event, now: Now) -> Result<Transition, Rejected> {
    match event {
        Event::Input(input) => start::further_input(view, row, input, now),
        Event::Resume {
            input_id,
            if_etag,
            claimant,
        } => after::resume(view, row, (input_id, if_etag, claimant), now),
        Event::Retry {
            if_etag,
            from_start,
            claimant,
        } => after::retry(view, row, (from_start, if_etag, claimant), now),
        Event::Resolve {
            key,
            resolution,
            if_etag,
        } => steps::resolve(view, row, (key, resolution, if_etag), now),
        Event::Cancel(order) => cancel::cancel(view, row, order, now),
        Event::Terminate(order) => cancel::terminate(view, row, order, now),
        Event::Delete { force, if_etag } => after::delete(view, row, force, if_etag),
        Event::Acquit => guard::acquit(row, now),
        Event::Expire => after::expire(row, now),
        Event::ForgetInput {
            input_id,
            listed_at,
        } => after::forget_input(view, row, (input_id, listed_at), now),
        Event::Claim(claimant) => turn::claim(view, row, claimant, now),
        Event::Recover {
            claimant,
            parting,
            verdict,
        } => turn::recover(view, row, (claimant, parting, verdict).into(), now),
        Event::Orphan {
            claimant,
            parting,
            verdict,
        } => turn::orphan(view, row, (claimant, parting, verdict).into(), now),
        Event::Lapse => turn::lapse(view, row, now),
        Event::Reconsider => turn::reconsider(row, now),
        Event::Probe { claimant, alone } => guard::probe(view, row, (claimant, alone), now),
        Event::End {
            generation,
            end,
            claimant,
            missed,
        } => end::end(view, row, generation, (end, claimant, missed), now),
        Event::Take { generation, key } => inbox::take(view, row, (generation, key), now),
        Event::Stop { generation, why } => cancel::stop(view, row, (generation, why), now),
        Event::Keep { generation } => change::keep(row, generation),
        Event::Step {
            generation,
            key,
            step,
        } => steps::record(row, generation, (key, step), now),
        Event::Ask(asking) => ask::ask(row, asking, now),
        Event::ExpireAsk { generation, key } => ask::expire(view, row, (generation, key), now),
        Event::Answer(given) => ask::answer(view, row, given, now),
        Event::BecomeParent { generation } => family::becomes_parent(row, generation, now),
        Event::TakeOver(parent) => family::taken_over(view, row, parent, now),
        Event::ChildEnded => Ok(family::child_ended(view, row, now)),
        Event::LetGo(told) => family::let_go(view, row, told, now),
    }
}

/// No such task: only an input begins one.
fn absent(view: &View<'_>, event: Event, now: Now) -> Result<Transition, Rejected> {
    match event {
        Event::Input(input) => start::new_task(view, input, now),
        Event::End { .. }
        | Event::Stop { .. }
        | Event::Keep { .. }
        | Event::Take { .. }
        | Event::Step { .. }
        | Event::BecomeParent { .. }
        | Event::Ask(_)
        | Event::ExpireAsk { .. } => Err(Rejected::LeaseLost),
        Event::Resume { .. }
        | Event::Retry { .. }
        | Event::Resolve { .. }
        | Event::Answer(_)
        | Event::Cancel(_)
        | Event::Terminate(_)
        | Event::Delete { .. }
        | Event::Claim(_)
        | Event::Recover { .. }
        | Event::Orphan { .. }
        | Event::Lapse
        | Event::Reconsider
        | Event::Probe { .. }
        | Event::Acquit
        | Event::TakeOver(_)
        | Event::ChildEnded
        | Event::LetGo(_)
        | Event::Expire
        | Event::ForgetInput { .. } => Err(Rejected::NotFound),
    }
}
