//! The life of a turn: claimed, recovered, ended.

use super::answer::{Answer, Effect, Rejected, Transition, TurnAnswer};
use super::event::{Claimant, TurnEnd};
use super::retry::delay_us;
use super::view::{Now, View};
use outlive_storage::commit::{Expect, Write};
use outlive_storage::row::{
    EntryKind, Failure, InputRow, Lease, Micros, Outcome, Payload, Receipt, State, TaskRow,
    ValueKey, ValueKind, WaitReason,
};

/// The lease of a claim made now. On an exclusive store it does not expire: the file's lock stands for it.
pub(super) fn lease(claimant: Claimant, now: Now) -> Lease {
    Lease {
        owner: claimant.owner,
        instance: claimant.instance,
        generation: now.generation,
        expires_at: Micros::NEVER,
    }
}

/// A due task gets a slot. The attempt is counted here, durably, before the handler runs.
pub(super) fn claim(
    view: &View<'_>,
    row: &TaskRow,
    due_at: Micros,
    claimant: Claimant,
    now: Now,
) -> Result<Transition, Rejected> {
    if due_at > now.at && !cfg!(planted = "claim_before_due") {
        return Err(Rejected::NotDue { due_at });
    }
    let mut next = changed(row, now);
    // An attempt the process died in was counted when it was claimed; going on with it is not another one.
    if row.entry != EntryKind::Recovered || cfg!(planted = "recovered_claim_charged") {
        next.attempt += 1;
    }
    enter(&mut next, claimant, now);
    Ok(by_others(
        view,
        row,
        next,
        vec![Effect::Enter(now.generation)],
    ))
}

/// The process that ran the turn is gone: it is entered again, without a charge to its retry budget.
pub(super) fn recover(
    view: &View<'_>,
    row: &TaskRow,
    held: &Lease,
    claimant: Claimant,
    now: Now,
) -> Result<Transition, Rejected> {
    if held.instance == claimant.instance && !cfg!(planted = "recovery_adopts_own") {
        return Err(Rejected::wrong_state(row));
    }
    let mut next = died_in(row, now);
    enter(&mut next, claimant, now);
    Ok(by_others(
        view,
        row,
        next,
        vec![Effect::Enter(now.generation)],
    ))
}

/// As [`recover`], but nobody here can run it: it waits for a program that can.
pub(super) fn orphan(
    view: &View<'_>,
    row: &TaskRow,
    held: &Lease,
    claimant: Claimant,
    now: Now,
) -> Result<Transition, Rejected> {
    if held.instance == claimant.instance && !cfg!(planted = "orphan_adopts_own") {
        return Err(Rejected::wrong_state(row));
    }
    let mut next = died_in(row, now);
    next.state = State::Pending {
        due_at: now.at,
        wait: WaitReason::WaitingHandler,
    };
    Ok(by_others(view, row, next, Vec::new()))
}

/// What could not be read is tried once more.
pub(super) fn reconsider(
    view: &View<'_>,
    row: &TaskRow,
    wait: &WaitReason,
    now: Now,
) -> Result<Transition, Rejected> {
    if !matches!(wait, WaitReason::Undecodable { .. }) {
        return Err(Rejected::wrong_state(row));
    }
    let mut next = changed(row, now);
    next.state = State::Pending {
        due_at: now.at,
        wait: WaitReason::Slot,
    };
    let due = Effect::Due {
        def: row.def,
        at: now.at,
    };
    Ok(by_others(view, row, next, vec![due]))
}

/// The worker reports the end of its turn; its claim was checked.
pub(super) fn end(
    view: &View<'_>,
    row: &TaskRow,
    end: TurnEnd,
    claimant: Claimant,
    now: Now,
) -> Result<Transition, Rejected> {
    match end {
        TurnEnd::Succeeded(output) => Ok(succeed(view, row, output, claimant, now)),
        TurnEnd::Failed {
            failure,
            terminal,
            retry_after_us,
        } => {
            let failure = Failure {
                attempts: row.attempt,
                ..failure
            };
            let spent =
                row.attempt >= row.retry.attempts_max && !cfg!(planted = "retry_over_budget");
            if terminal || spent {
                return Ok(fail(row, failure, now));
            }
            Ok(back_off(view, row, failure, retry_after_us, now))
        }
        TurnEnd::Undecodable { what, expected } => Ok(park(row, what, expected, now)),
    }
}

fn succeed(
    view: &View<'_>,
    row: &TaskRow,
    output: Payload,
    claimant: Claimant,
    now: Now,
) -> Transition {
    match view.inbox_head {
        Some((seq, input)) if !cfg!(planted = "completion_ignores_queue") => {
            next_turn(view, row, output, (seq, input), claimant, now)
        }
        Some(_) | None => {
            let answer = TurnAnswer::Output {
                payload: output.clone(),
                turn: row.turn,
                superseded: false,
            };
            complete(row, Outcome::Succeeded(output), answer, now)
        }
    }
}

/// An input waits: the end of this turn and the start of the next are one commit.
fn next_turn(
    view: &View<'_>,
    row: &TaskRow,
    output: Payload,
    (seq, input): (u64, &InputRow),
    claimant: Claimant,
    now: Now,
) -> Transition {
    let next = on_next_input(row, (seq, input), claimant, now);
    let answered = Receipt::Answered {
        turn: row.turn,
        output: output.clone(),
    };
    let mut writes = vec![
        Write::PopInput { seq },
        Write::Receipt {
            input_id: row.input_id.clone(),
            receipt: answered,
        },
        Write::Receipt {
            input_id: input.input_id.clone(),
            receipt: Receipt::Turn { turn: next.turn },
        },
    ];
    if let Payload::Stored { .. } = row.input {
        let key = ValueKey {
            task: view.task,
            kind: ValueKind::Input,
            index: if cfg!(planted = "next_turn_removes_its_own_value") {
                seq
            } else {
                row.input_seq
            },
        };
        writes.push(Write::RemoveValue(key));
    }
    let answer = TurnAnswer::Output {
        payload: output,
        turn: row.turn,
        superseded: true,
    };
    let answered_id = if cfg!(planted = "answered_with_next_inputs_id") {
        &input.input_id
    } else {
        &row.input_id
    };
    let effects = vec![
        Effect::Answered {
            input_id: answered_id.clone(),
            answer,
        },
        Effect::Enter(now.generation),
    ];
    Transition {
        writes,
        ..by_worker(row, next, effects)
    }
}

/// The row once the oldest waiting input has become its turn's.
fn on_next_input(
    row: &TaskRow,
    (seq, input): (u64, &InputRow),
    claimant: Claimant,
    now: Now,
) -> TaskRow {
    let mut next = changed(row, now);
    next.turn += 1;
    next.attempt = if cfg!(planted = "next_turn_keeps_attempts") {
        row.attempt
    } else {
        1
    };
    next.crashes = 0;
    next.last_failure = None;
    next.entry = EntryKind::Resumed;
    next.input_id = input.input_id.clone();
    next.input_seq = seq;
    next.input_digest = input.digest;
    next.input = input.payload.clone();
    let mut lease = lease(claimant, now);
    if cfg!(planted = "next_turn_keeps_generation") {
        lease.generation = row.generation;
    }
    next.generation = lease.generation;
    next.state = State::InProgress {
        lease,
        started_at: now.at,
    };
    next
}

fn fail(row: &TaskRow, failure: Failure, now: Now) -> Transition {
    let answer = TurnAnswer::Failed(failure.clone());
    complete(row, Outcome::Failed(failure), answer, now)
}

fn complete(row: &TaskRow, outcome: Outcome, answer: TurnAnswer, now: Now) -> Transition {
    let mut next = changed(row, now);
    let expires_at = if row.keep_us == u64::MAX {
        Micros::NEVER
    } else {
        now.at.plus(row.keep_us)
    };
    next.last_failure = None;
    next.state = State::Completed {
        at: now.at,
        outcome,
        expires_at,
    };
    let effects = vec![
        Effect::Answered {
            input_id: row.input_id.clone(),
            answer,
        },
        Effect::TaskEnded,
    ];
    by_worker(row, next, effects)
}

/// The worker is free during the back-off; the time is in the row, so a crash keeps it.
fn back_off(
    view: &View<'_>,
    row: &TaskRow,
    failure: Failure,
    retry_after_us: Option<u64>,
    now: Now,
) -> Transition {
    let delay =
        retry_after_us.unwrap_or_else(|| delay_us(&row.retry, view.task, row.turn, row.attempt));
    let due_at = now.at.plus(delay);
    let mut next = changed(row, now);
    next.entry = EntryKind::Retried;
    next.last_failure = Some(failure);
    next.state = State::Pending {
        due_at,
        wait: WaitReason::BackOff,
    };
    by_worker(
        row,
        next,
        vec![Effect::Due {
            def: row.def,
            at: due_at,
        }],
    )
}

fn park(row: &TaskRow, what: Box<str>, expected: Box<str>, now: Now) -> Transition {
    let mut next = changed(row, now);
    // The handler was not entered, so the claim's attempt is given back.
    if row.entry != EntryKind::Recovered && !cfg!(planted = "park_charges_attempt") {
        next.attempt = next.attempt.saturating_sub(1);
    }
    let parked = Effect::Parked {
        input_id: row.input_id.clone(),
        what: what.clone(),
        expected: expected.clone(),
    };
    next.state = State::Suspended {
        since: now.at,
        wait: WaitReason::Undecodable { what, expected },
    };
    by_worker(row, next, vec![parked])
}

fn died_in(row: &TaskRow, now: Now) -> TaskRow {
    let mut next = changed(row, now);
    next.crashes = next.crashes.saturating_add(1);
    next.entry = EntryKind::Recovered;
    if cfg!(planted = "crash_charges_attempt") {
        next.attempt += 1;
    }
    next
}

fn enter(next: &mut TaskRow, claimant: Claimant, now: Now) {
    let mut lease = lease(claimant, now);
    if cfg!(planted = "generation_from_lease") {
        lease.generation = outlive_storage::row::Generation(next.generation.0.max(1));
    }
    // A crash does not move the start of the attempt.
    let started_at = match next.state {
        State::InProgress { started_at, .. } => started_at,
        State::Pending { .. } | State::Suspended { .. } | State::Completed { .. } => now.at,
    };
    next.generation = lease.generation;
    next.state = State::InProgress { lease, started_at };
}

fn changed(row: &TaskRow, now: Now) -> TaskRow {
    let mut next = row.clone();
    next.etag = now.etag;
    next.updated_at = now.at;
    next
}

/// What a running turn writes names its generation.
fn by_worker(row: &TaskRow, next: TaskRow, effects: Vec<Effect>) -> Transition {
    Transition {
        expect: if cfg!(planted = "end_names_etag") {
            Expect::Etag(row.etag)
        } else {
            Expect::Lease(row.generation)
        },
        row: Some(Box::new(next)),
        writes: Vec::new(),
        answer: Answer::Done,
        effects,
    }
}

/// What everybody else writes names the etag it was decided on.
fn by_others(view: &View<'_>, row: &TaskRow, next: TaskRow, effects: Vec<Effect>) -> Transition {
    debug_assert!(view.row.is_some());
    Transition {
        expect: Expect::Etag(row.etag),
        row: Some(Box::new(next)),
        writes: Vec::new(),
        answer: Answer::Done,
        effects,
    }
}
