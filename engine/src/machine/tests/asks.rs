//! Questions: open for exactly one answer or one expiry, and no longer than the turn that asked.

use super::enters;
use super::task::{
    PLAIN, STEERABLE, Task, cancel, delete, failed, input, question, retry, succeeded, suspended,
    terminate, us,
};
use crate::machine::{
    Aim, Asking, Effect, Event, Given, Question, Rejected, Status, TurnEnd, Unanswered, Wait,
    WaitFor,
};
use outlive_storage::commit::{Expect, Write};
use outlive_storage::row::{
    Deadline, EntryKind, EventKind, Generation, Micros, State, StepRow, StepState, WaitReason,
};

const KEY: &str = "may";

fn ask(task: &Task, until: Deadline) -> Event {
    Event::Ask(Asking {
        generation: task.row().generation,
        key: KEY.into(),
        ask: question(until),
    })
}

fn waits(until: Deadline, new: bool) -> Wait {
    Wait {
        key: KEY.into(),
        wait_for: WaitFor::Answer {
            until,
            ask: new.then(|| question(until)),
        },
        step: None,
    }
}

fn answer(value: &str) -> Event {
    Event::Answer(Given {
        key: KEY.into(),
        answer: Box::new(StepRow {
            state: StepState::Done,
            attempt: 0,
            at: Micros(0),
            type_name: "bool".into(),
            value: value.into(),
        }),
        digest: None,
        turn: None,
        if_etag: None,
    })
}

fn expires(task: &Task) -> Event {
    Event::ExpireAsk {
        generation: task.row().generation,
        key: KEY.into(),
    }
}

/// One that waits for an answer outside of memory.
fn parked(until: Deadline) -> Task {
    let mut task = Task::running(STEERABLE);
    task.end(TurnEnd::Parked(vec![waits(until, true)]));
    task
}

fn refused(task: &Task, event: Event) -> Unanswered {
    match task.refuses(event) {
        Rejected::Unanswered(why) => why,
        other => panic!("{other:?}"),
    }
}

/// What a transition records of the question, and whether that takes it from the list.
fn recorded(writes: &[Write]) -> (StepState, &[u8]) {
    let [
        Write::Step { key, step, .. },
        Write::RemoveAsk { key: gone },
    ] = writes
    else {
        panic!("{writes:?}");
    };
    assert_eq!((&**key, &**gone), (KEY, KEY));
    (step.state, &step.value)
}

#[test]
fn a_turn_that_asks_is_suspended_in_the_commit_that_lists_its_question() {
    let mut task = Task::running(PLAIN);
    task.at += 5;
    let transition = task.end(TurnEnd::Parked(vec![waits(Deadline::NEVER, true)]));
    let [Write::Step { step, .. }, Write::Ask { ask, .. }] = &transition.writes[..] else {
        panic!("{:?}", transition.writes);
    };
    let until = Deadline::NEVER;
    assert_eq!(step.state, StepState::Asked { until });
    assert_eq!(
        (ask.asked_at, ask.run, ask.turn),
        (Micros(task.at), 1, 1),
        "whoever asks does not say when"
    );
    let step = KEY.into();
    let ended = u64::MAX;
    let wait = WaitReason::Answer { step, ended, until };
    let since = Micros(task.at);
    assert_eq!(task.row().state, State::Suspended { since, wait });
    assert!(task.row().asked);
    assert_eq!(transition.effects[..], [Effect::Idle], "no time ends it");
    assert!(matches!(
        task.refuses(Event::Claim(us(1))),
        Rejected::NotDue { .. }
    ));
}

#[test]
fn the_first_of_several_waits_is_when_it_goes_on_without_an_answer() {
    let mut task = Task::running(PLAIN);
    let at = |us| Deadline::own(Micros(us));
    let (soon, late) = (at(task.at + 10), at(task.at + 20));
    let sleep = Wait {
        key: "a sleep".into(),
        wait_for: WaitFor::Time { until: soon },
        step: None,
    };
    let transition = task.end(TurnEnd::Parked(vec![waits(late, true), sleep]));
    let step = KEY.into();
    let (ended, until) = (u64::MAX, soon);
    let wait = WaitReason::Answer { step, ended, until };
    assert!(matches!(&task.row().state, State::Suspended { wait: is, .. } if *is == wait));
    let (def, at) = (task.row().def, soon.at);
    assert_eq!(transition.effects[..], [Effect::Due { def, at }]);
    task.at += 10;
    let transition = task.does(Event::Claim(us(1)));
    assert_eq!(transition.effects[..], [enters(task.row().generation.0)]);
    assert_eq!(task.row().entry, EntryKind::Resumed);
}

#[test]
fn an_answer_is_recorded_unlisted_and_wakes_the_turn_in_one_commit() {
    let mut task = parked(Deadline::NEVER);
    task.at += 7;
    let etag = task.row().etag;
    let transition = task.does(answer("true"));
    assert_eq!(transition.expect, Expect::Etag(etag));
    let digest = question(Deadline::NEVER).digest;
    assert_eq!(
        recorded(&transition.writes),
        (StepState::Answered { digest }, &b"true"[..])
    );
    assert_eq!(transition.what, Some(EventKind::Answered));
    assert_eq!(Status::of(task.row()), Status::Pending);
    let (def, at) = (task.row().def, Micros(task.at));
    assert_eq!(transition.effects[..], [Effect::Due { def, at }]);
    let same = refused(&task, answer("true"));
    assert_eq!(same, Unanswered::Before { same: true });
    let other = refused(&task, answer("false"));
    assert_eq!(other, Unanswered::Before { same: false });
    task.does(Event::Claim(us(1)));
    assert_eq!(refused(&task, answer("true")), same);
}

#[test]
fn an_answer_that_comes_before_the_wait_is_not_waited_for() {
    let mut task = Task::running(PLAIN);
    task.does(ask(&task.clone(), Deadline::NEVER));
    let transition = task.does(answer("true"));
    assert_eq!(transition.effects[..], [Effect::Woken]);
    task.end(TurnEnd::Parked(vec![waits(Deadline::NEVER, false)]));
    assert_eq!(Status::of(task.row()), Status::Pending, "it is due at once");
    task.does(Event::Claim(us(1)));
}

#[test]
fn an_answer_to_another_question_or_on_another_version_is_refused() {
    let task = parked(Deadline::NEVER);
    let with = |digest: Option<&str>, etag| {
        let mut event = answer("true");
        if let Event::Answer(given) = &mut event {
            (given.digest, given.if_etag) = (digest.map(Into::into), etag);
        }
        event
    };
    let digest = question(Deadline::NEVER).digest_text();
    let told = refused(&task, with(Some("0"), None));
    let expected: Box<str> = digest.clone().into();
    assert_eq!(told, Unanswered::OtherQuestion { digest: expected });
    let stale = outlive_storage::row::Etag(1);
    assert!(matches!(
        task.refuses(with(Some(&digest), Some(stale))),
        Rejected::PreconditionFailed { .. }
    ));
    let mut task = task;
    let etag = task.row().etag;
    task.does(with(Some(&digest), Some(etag)));
}

#[test]
fn of_an_answer_and_an_expiry_exactly_one_counts() {
    let until = Deadline::own(Micros(Task::running(PLAIN).at + 10));
    let mut late = parked(until);
    late.at += 9;
    let mut early = late.clone();
    early.does(answer("true"));
    late.at += 1;
    assert_eq!(refused(&late, answer("true")), Unanswered::TooLate);
    late.does(Event::Claim(us(1)));
    assert_eq!(refused(&late, answer("true")), Unanswered::TooLate);
    let transition = late.does(expires(&late.clone()));
    let digest = question(until).digest;
    assert_eq!(
        recorded(&transition.writes),
        (StepState::Expired { digest }, &b"false"[..]),
        "the default"
    );
    assert_eq!(transition.what, Some(EventKind::AskExpired));
    assert_eq!(refused(&late, answer("true")), Unanswered::TooLate);
    // The answer was first: the expiry changes nothing.
    early.at += 5;
    early.does(Event::Claim(us(1)));
    let transition = early.does(expires(&early.clone()));
    assert_eq!((transition.writes, transition.row), (vec![], None));
    assert_eq!(
        early.held.questions[KEY],
        Question::Answered(b"true".to_vec())
    );
}

#[test]
fn a_question_does_not_expire_before_its_time_nor_under_a_lost_claim() {
    let mut task = Task::running(PLAIN);
    let until = Deadline::own(Micros(task.at + 10));
    task.does(ask(&task.clone(), until));
    let due_at = until.at;
    assert_eq!(
        task.refuses(expires(&task.clone())),
        Rejected::NotDue { due_at }
    );
    let generation = Generation(u64::MAX);
    let key: Box<str> = KEY.into();
    let stale = [
        Event::ExpireAsk {
            generation,
            key: key.clone(),
        },
        Event::Ask(Asking {
            generation,
            key,
            ask: question(until),
        }),
    ];
    for event in stale {
        assert_eq!(task.refuses(event), Rejected::LeaseLost);
    }
}

#[test]
fn every_end_of_a_turn_withdraws_what_it_asked() {
    let asking = || {
        let mut task = Task::running(STEERABLE);
        task.does(ask(&task.clone(), Deadline::NEVER));
        task
    };
    let mut ends = vec![];
    for end in [succeeded("1"), suspended("1"), failed(true)] {
        let mut task = asking();
        ends.push((task.end(end), task));
    }
    for event in [terminate(Aim::Task), cancel(Aim::Task, "enough")] {
        let mut task = parked(Deadline::NEVER);
        ends.push((task.does(event), task));
    }
    let mut followed = asking();
    followed.send(input("b"));
    ends.push((followed.end(succeeded("1")), followed));
    for (transition, task) in ends {
        let withdrawn = transition
            .writes
            .iter()
            .filter(|write| **write == Write::RemoveAsks);
        assert_eq!(withdrawn.count(), 1, "{:?}", transition.writes);
        assert!(!task.row().asked);
        assert_eq!(refused(&task, answer("true")), Unanswered::NotAsked);
    }
    let transition = parked(Deadline::NEVER).does(delete(false));
    assert_eq!(transition.writes, [Write::RemoveTask]);
    // Whoever never asked pays nothing.
    let transition = Task::running(PLAIN).end(succeeded("1"));
    assert!(!transition.writes.contains(&Write::RemoveAsks));
}

#[test]
fn an_error_leaves_the_question_open_and_a_retry_of_an_ended_run_does_not() {
    let mut task = Task::running(PLAIN);
    task.does(ask(&task.clone(), Deadline::NEVER));
    let mut failing = task.clone();
    failing.end(failed(false));
    assert!(failing.row().asked);
    let transition = failing.does(answer("true"));
    assert_eq!(transition.effects[..], [], "it backs off all the same");
    task.end(failed(true));
    task.does(retry());
    assert!(!task.row().asked);
    assert_eq!(refused(&task, answer("true")), Unanswered::NotAsked);
}

#[test]
fn what_is_no_task_is_not_answered() {
    let task = Task::none(PLAIN);
    assert_eq!(task.refuses(answer("true")), Rejected::NotFound);
}
