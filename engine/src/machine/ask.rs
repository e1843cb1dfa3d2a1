//! Questions of a handler: asked, answered once or expired, and withdrawn with the turn that asked.
//!
//! Which of an answer and an expiry comes first is decided here alone: the question is open for exactly one of them.

use super::answer::{Effects, Rejected, Transition, Unanswered};
use super::change::{by_others, by_worker, changed, check_etag, held, kept, nothing, written};
use super::event::{Asking, Given};
use super::park::wake;
use super::steps::written_step;
use super::view::{Now, View};
use outlive_storage::commit::Write;
use outlive_storage::row::{AskRow, EventKind, Generation, StepRow, StepState, TaskRow};

/// What is known of the question an event names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Nobody has answered it yet.
    Open(Box<AskRow>),
    /// It was answered, with these bytes.
    Answered(Vec<u8>),
    /// Nobody answered it in time.
    Expired,
}

/// A question is put down while its turn runs.
pub(super) fn ask(row: &TaskRow, asking: Asking, now: Now) -> Result<Transition, Rejected> {
    held(row, asking.generation)?;
    let mut next = changed(row, now);
    let writes = asked(row, &mut next, (asking.key, asking.ask), now).into();
    Ok(Transition {
        writes,
        ..written(by_worker(row), next, EventKind::Asked, Effects::new())
    })
}

/// What puts a question down: its step, by which its turn finds it again, and what lists it.
pub(super) fn asked(
    row: &TaskRow,
    next: &mut TaskRow,
    (key, mut ask): (Box<str>, Box<AskRow>),
    now: Now,
) -> [Write; 2] {
    next.asked = true;
    (ask.asked_at, ask.run, ask.turn) = (now.at, row.run, row.turn);
    let until = ask.deadline;
    let step = StepRow {
        state: StepState::Asked { until },
        attempt: 0,
        at: now.at,
        type_name: ask.type_name.clone(),
        value: Vec::new(),
    };
    let step = written_step(row, key.clone(), Some(Box::new(step)), now);
    [step, Write::Ask { key, ask }]
}

/// Somebody answers: in one commit the answer is recorded, the question is no longer listed, and its turn goes on.
pub(super) fn answer(
    view: &View<'_>,
    row: &TaskRow,
    given: Given,
    now: Now,
) -> Result<Transition, Rejected> {
    let ask = match view.question {
        Some(Question::Open(ask)) => ask,
        Some(Question::Answered(_)) if cfg!(planted = "answer_again_is_taken") => {
            return Ok(nothing(row));
        }
        Some(Question::Answered(value)) => {
            let same = *value == given.answer.value;
            return Err(Rejected::Unanswered(Unanswered::Before { same }));
        }
        Some(Question::Expired) => return Err(Rejected::Unanswered(Unanswered::TooLate)),
        None => return Err(Rejected::Unanswered(Unanswered::NotAsked)),
    };
    check_etag(row, given.if_etag)?;
    let digest: Box<str> = ask.digest_text().into();
    let of_turn = given.turn.is_none_or(|turn| turn == (ask.run, ask.turn))
        || cfg!(planted = "answer_for_another_turn");
    let meant = given.digest.is_none_or(|meant| meant == digest) && of_turn;
    if !meant && !cfg!(planted = "any_question_answered") {
        return Err(Rejected::Unanswered(Unanswered::OtherQuestion { digest }));
    }
    if is_over(ask, now) && !cfg!(planted = "late_answer_taken") {
        return Err(Rejected::Unanswered(Unanswered::TooLate));
    }
    let mut next = changed(row, now);
    let woken = if cfg!(planted = "answer_wakes_nobody") {
        None
    } else {
        wake(&mut next, now)
    };
    let state = StepState::Answered { digest: ask.digest };
    let answer = StepRow {
        state,
        ..*given.answer
    };
    Ok(Transition {
        writes: closed(row, given.key, answer, now),
        ..written(
            by_others(row),
            next,
            EventKind::Answered,
            woken.into_iter().collect(),
        )
    })
}

/// The turn that asked has come to the question after its deadline: its default counts from now on, or that it has none.
pub(super) fn expire(
    view: &View<'_>,
    row: &TaskRow,
    (generation, key): (Generation, Box<str>),
    now: Now,
) -> Result<Transition, Rejected> {
    held(row, generation)?;
    // Somebody was faster, and the turn reads what is recorded.
    let Some(Question::Open(ask)) = view.question else {
        return Ok(kept(row, generation));
    };
    if !is_over(ask, now) && !cfg!(planted = "question_expires_early") {
        let due_at = ask.deadline.at;
        return Err(Rejected::NotDue { due_at });
    }
    let expired = StepRow {
        state: StepState::Expired { digest: ask.digest },
        attempt: 0,
        at: now.at,
        type_name: ask.type_name.clone(),
        value: ask.default.clone().unwrap_or_default(),
    };
    Ok(Transition {
        writes: closed(row, key, expired, now),
        ..written(
            by_worker(row),
            changed(row, now),
            EventKind::AskExpired,
            Effects::new(),
        )
    })
}

fn is_over(ask: &AskRow, now: Now) -> bool {
    now.times.reached(ask.deadline)
}

/// The question is not open any more, and this is what came of it.
fn closed(row: &TaskRow, key: Box<str>, step: StepRow, now: Now) -> Vec<Write> {
    let recorded = written_step(row, key.clone(), Some(Box::new(step)), now);
    let remove = Write::RemoveAsk { key };
    let listed = cfg!(planted = "answered_question_stays_listed");
    std::iter::once(recorded)
        .chain((!listed).then_some(remove))
        .collect()
}

/// The turn is over: nobody waits for the answers to what it asked any more.
pub(super) fn withdraw(row: &TaskRow, next: &mut TaskRow) -> Option<Write> {
    next.asked = false;
    let asked = row.asked && !cfg!(planted = "question_outlives_turn");
    asked.then_some(Write::RemoveAsks)
}
