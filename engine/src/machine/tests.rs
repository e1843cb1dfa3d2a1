//! The decision table as sentences: what each event makes of each state. The walk tests that no order of them breaks a law.

mod task;

use super::{
    Accepted, Answer, Effect, Event, NewInput, Rejected, Status, Transition, TurnAnswer, TurnEnd,
};
use outlive_storage::commit::{Expect, Write};
use outlive_storage::row::{
    DefNumber, EntryKind, Etag, Generation, Micros, Outcome, Payload, Receipt, State, ValueKey,
    ValueKind, WaitReason,
};
use task::{DEF, PLAIN, STEERABLE, TASK, Task, failed, id, input, succeeded, undecodable, us};

#[track_caller]
fn assert_accepted(transition: &Transition, how: Accepted, text: &str) {
    let input_id = id(text);
    assert_eq!(transition.answer, Answer::Accepted { how, input_id });
    let writes = transition.row.is_some() || !transition.writes.is_empty();
    assert_eq!(
        writes,
        how != Accepted::Attached,
        "only an attach writes nothing"
    );
}

#[test]
fn a_start_with_a_slot_claims_in_its_own_commit() {
    let mut task = Task::none(PLAIN);
    let transition = task.send(input("a"));
    assert_accepted(&transition, Accepted::Started, "a");
    assert_eq!(transition.expect, Expect::Absent);
    assert_eq!(transition.effects, [Effect::Enter(Generation(1))]);
    let row = task.row();
    assert_eq!((row.turn, row.attempt, row.entry), (1, 1, EntryKind::Fresh));
}

#[test]
fn a_start_without_a_slot_is_due_at_once() {
    let mut task = Task::none(PLAIN);
    let waiting = NewInput {
        claimant: None,
        ..input("a")
    };
    let transition = task.send(waiting);
    let at = Micros(10_000);
    assert_eq!(transition.effects, [Effect::Due { def: DEF, at }]);
    assert_eq!((task.row().attempt, task.row().generation.0), (0, 0));
    let transition = task.does(Event::Claim(us(1)));
    assert_eq!(transition.effects, [Effect::Enter(Generation(2))]);
    assert_eq!(
        (task.row().attempt, task.row().entry),
        (1, EntryKind::Fresh)
    );
}

#[test]
fn nothing_but_an_input_finds_an_absent_task() {
    let task = Task::none(PLAIN);
    let generation = Generation(1);
    let end = Event::End {
        generation,
        end: failed(true),
        claimant: us(1),
    };
    let events = [
        Event::Claim(us(1)),
        Event::Recover(us(1)),
        Event::Orphan(us(1)),
        Event::Reconsider,
        end,
    ];
    for event in events {
        assert_eq!(task.refuses(event), Rejected::NotFound);
    }
}

#[test]
fn an_id_of_another_definition_is_told() {
    let task = Task::running(STEERABLE);
    let other = NewInput {
        def: DefNumber(2),
        ..input("b")
    };
    let told = task.refuses_input(other);
    assert_eq!(told, Rejected::OtherDefinition { def: DEF });
}

#[test]
fn a_known_input_id_attaches_in_every_state() {
    let mut task = Task::running(STEERABLE);
    task.send(input("b"));
    assert_accepted(&task.send(input("a")), Accepted::Attached, "a");
    assert_accepted(&task.send(input("b")), Accepted::Attached, "b");
    task.end(succeeded("1"));
    assert_accepted(&task.send(input("a")), Accepted::Attached, "a");
    task.end(undecodable());
    assert_accepted(&task.send(input("b")), Accepted::Attached, "b");
    task.does(Event::Reconsider);
    task.does(Event::Claim(us(1)));
    task.end(succeeded("2"));
    for text in ["a", "b"] {
        assert_accepted(&task.send(input(text)), Accepted::Attached, text);
    }
}

#[test]
fn a_restarted_batch_attaches_by_equal_bytes() {
    let mut task = Task::running(PLAIN);
    let again = NewInput {
        input_id: id("generated"),
        input_id_given: false,
        ..input("a")
    };
    assert_accepted(&task.send(again.clone()), Accepted::Attached, "a");
    task.end(failed(false));
    assert_accepted(&task.send(again.clone()), Accepted::Attached, "a");
    let other = NewInput {
        digest: [9; 16],
        ..again
    };
    let (status, wait) = (Status::Pending, Some(WaitReason::BackOff));
    assert_eq!(
        task.refuses_input(other),
        Rejected::Conflict { status, wait }
    );
}

#[test]
fn equal_bytes_for_a_steerable_task_are_a_new_input() {
    let mut task = Task::running(STEERABLE);
    let again = NewInput {
        input_id: id("generated"),
        input_id_given: false,
        ..input("a")
    };
    assert_accepted(&task.send(again), Accepted::Queued, "generated");
}

#[test]
fn another_input_for_a_running_task_that_is_not_steerable_conflicts() {
    let task = Task::running(PLAIN);
    let (status, wait) = (Status::InProgress, None);
    assert_eq!(
        task.refuses_input(input("b")),
        Rejected::Conflict { status, wait }
    );
}

#[test]
fn a_parked_task_that_is_not_steerable_conflicts_with_its_wait() {
    let mut task = Task::running(PLAIN);
    task.end(undecodable());
    let wait = Some(WaitReason::Undecodable {
        what: "input".into(),
        expected: "u32".into(),
    });
    let status = Status::Suspended;
    assert_eq!(
        task.refuses_input(input("b")),
        Rejected::Conflict { status, wait }
    );
}

#[test]
fn a_steerable_task_queues_while_it_runs_backs_off_or_is_parked() {
    let mut running = Task::running(STEERABLE);
    assert_accepted(&running.send(input("b")), Accepted::Queued, "b");
    assert_eq!(running.receipt("b"), Some(&Receipt::Queued { seq: 1 }));
    let mut backing_off = Task::running(STEERABLE);
    backing_off.end(failed(false));
    assert_accepted(&backing_off.send(input("b")), Accepted::Queued, "b");
    let mut parked = Task::running(STEERABLE);
    parked.end(undecodable());
    assert_accepted(&parked.send(input("b")), Accepted::Queued, "b");
    assert_eq!(Status::of(parked.row()), Status::Suspended);
}

#[test]
fn a_full_queue_refuses_and_says_its_bound() {
    let mut task = Task::running(STEERABLE);
    task.send(input("b"));
    task.send(input("c"));
    assert_eq!(
        task.refuses_input(input("d")),
        Rejected::QueueFull { max: 2 }
    );
}

#[test]
fn an_ended_task_takes_no_input() {
    for (limits, end) in [(PLAIN, succeeded("1")), (STEERABLE, failed(true))] {
        let mut task = Task::running(limits);
        task.end(end);
        let (status, wait) = (Status::Completed, None);
        assert_eq!(
            task.refuses_input(input("b")),
            Rejected::Conflict { status, wait }
        );
    }
}

#[test]
fn success_with_an_empty_queue_ends_the_task_and_starts_its_retention() {
    let mut task = Task::running(STEERABLE);
    let transition = task.end(succeeded("1"));
    assert_eq!(transition.expect, Expect::Lease(Generation(1)));
    let payload = Payload::Inline("1".into());
    let answer = TurnAnswer::Output {
        payload: payload.clone(),
        turn: 1,
        superseded: false,
    };
    let input_id = id("a");
    let answered = Effect::Answered { input_id, answer };
    assert_eq!(transition.effects, [answered, Effect::TaskEnded]);
    let ended = State::Completed {
        at: Micros(10_000),
        outcome: Outcome::Succeeded(payload),
        expires_at: Micros(15_000),
    };
    assert_eq!(task.row().state, ended);
}

#[test]
fn success_with_a_waiting_input_begins_the_next_turn_in_one_commit() {
    let mut task = Task::running(STEERABLE);
    task.send(input("b"));
    let transition = task.end(succeeded("1"));
    let output = Payload::Inline("1".into());
    let answer = TurnAnswer::Output {
        payload: output.clone(),
        turn: 1,
        superseded: true,
    };
    let input_id = id("a");
    let answered = Effect::Answered { input_id, answer };
    assert_eq!(transition.effects, [answered, Effect::Enter(Generation(3))]);
    assert_eq!(
        task.receipt("a"),
        Some(&Receipt::Answered { turn: 1, output })
    );
    assert_eq!(task.receipt("b"), Some(&Receipt::Turn { turn: 2 }));
    let row = task.row();
    assert_eq!(
        (row.turn, row.attempt, row.entry),
        (2, 1, EntryKind::Resumed)
    );
    assert_eq!((&row.input_id, row.generation), (&id("b"), Generation(3)));
    assert!(task.inbox.is_empty());
}

#[test]
fn the_next_turn_removes_the_large_input_it_replaces() {
    let mut task = Task::none(STEERABLE);
    let payload = Payload::Stored { len: 5000 };
    task.send(NewInput {
        payload,
        ..input("a")
    });
    task.send(input("b"));
    let transition = task.end(succeeded("1"));
    let key = ValueKey {
        task: TASK,
        kind: ValueKind::Input,
        index: 0,
    };
    assert!(transition.writes.contains(&Write::RemoveValue(key)));
}

#[test]
fn a_failure_backs_off_then_ends_when_the_budget_is_spent() {
    let mut task = Task::running(PLAIN);
    let transition = task.end(failed(false));
    let at = Micros(10_100);
    assert_eq!(transition.effects, [Effect::Due { def: DEF, at }]);
    let interim = task.row().last_failure.as_ref();
    assert_eq!(interim.map(|failure| failure.attempts), Some(1));
    let early = task.refuses(Event::Claim(us(1)));
    assert_eq!(early, Rejected::NotDue { due_at: at });
    task.at = at.0;
    task.does(Event::Claim(us(1)));
    assert_eq!(
        (task.row().attempt, task.row().entry),
        (2, EntryKind::Retried)
    );
    task.end(failed(false));
    let State::Completed {
        outcome: Outcome::Failed(failure),
        ..
    } = &task.row().state
    else {
        panic!("not failed: {:?}", task.row().state);
    };
    assert_eq!(failure.attempts, 2);
}

#[test]
fn a_failure_may_ask_for_its_own_delay() {
    let mut task = Task::running(PLAIN);
    let TurnEnd::Failed { failure, .. } = failed(false) else {
        unreachable!("a failure")
    };
    task.end(TurnEnd::Failed {
        failure,
        terminal: false,
        retry_after_us: Some(77),
    });
    let (due_at, wait) = (Micros(10_077), WaitReason::BackOff);
    assert_eq!(task.row().state, State::Pending { due_at, wait });
}

#[test]
fn a_terminal_failure_ends_the_task_over_its_queue() {
    let mut task = Task::running(STEERABLE);
    task.send(input("b"));
    let transition = task.end(failed(true));
    assert_eq!(Status::of(task.row()), Status::Completed);
    assert_eq!(transition.effects.last(), Some(&Effect::TaskEnded));
    assert_eq!(task.receipt("b"), Some(&Receipt::Queued { seq: 1 }));
}

#[test]
fn a_park_gives_the_attempt_back_and_is_looked_at_once_more() {
    let mut task = Task::running(PLAIN);
    let transition = task.end(undecodable());
    assert!(matches!(transition.effects[..], [Effect::Parked { .. }]));
    assert_eq!(task.row().attempt, 0);
    let at = Micros(10_000);
    let transition = task.does(Event::Reconsider);
    assert_eq!(transition.effects, [Effect::Due { def: DEF, at }]);
    task.does(Event::Claim(us(1)));
    assert_eq!(
        (task.row().attempt, task.row().entry),
        (1, EntryKind::Fresh)
    );
}

#[test]
fn a_recovery_is_counted_apart_and_not_charged() {
    let mut task = Task::running(PLAIN);
    let State::InProgress { started_at, .. } = task.row().state else {
        panic!("not running")
    };
    task.at += 500;
    let transition = task.does(Event::Recover(us(2)));
    assert_eq!(transition.effects, [Effect::Enter(Generation(2))]);
    assert_eq!(transition.expect, Expect::Etag(Etag(1)));
    let row = task.row();
    assert_eq!((row.attempt, row.crashes), (1, 1));
    assert_eq!(row.entry, EntryKind::Recovered);
    let State::InProgress {
        started_at: since,
        lease,
    } = &row.state
    else {
        panic!("not running")
    };
    assert_eq!((*since, lease.instance), (started_at, 2));
}

#[test]
fn a_process_never_recovers_its_own_turn() {
    let task = Task::running(PLAIN);
    let status = Status::InProgress;
    for event in [Event::Recover(us(1)), Event::Orphan(us(1))] {
        assert_eq!(task.refuses(event), Rejected::WrongState { status });
    }
}

#[test]
fn an_orphan_waits_for_its_handler_and_its_claim_is_not_charged() {
    let mut task = Task::running(PLAIN);
    let transition = task.does(Event::Orphan(us(2)));
    assert!(transition.effects.is_empty(), "there is nobody to wake");
    let (due_at, wait) = (Micros(10_000), WaitReason::WaitingHandler);
    assert_eq!(task.row().state, State::Pending { due_at, wait });
    task.does(Event::Claim(us(3)));
    let row = task.row();
    assert_eq!((row.attempt, row.crashes), (1, 1));
    assert_eq!(row.entry, EntryKind::Recovered);
}

#[test]
fn a_recovered_turn_that_fails_has_used_one_attempt() {
    let mut task = Task::running(PLAIN);
    task.does(Event::Recover(us(2)));
    task.end(failed(false));
    task.at += 100;
    task.does(Event::Claim(us(2)));
    assert_eq!((task.row().attempt, task.row().crashes), (2, 1));
    assert_eq!(task.row().entry, EntryKind::Retried);
}

#[test]
fn a_stale_worker_changes_nothing_in_any_state() {
    let stale = |end| Event::End {
        generation: Generation(1),
        end,
        claimant: us(1),
    };
    let mut recovered = Task::running(STEERABLE);
    recovered.does(Event::Recover(us(2)));
    let mut backing_off = Task::running(STEERABLE);
    backing_off.end(failed(false));
    let mut parked = Task::running(STEERABLE);
    parked.end(undecodable());
    let mut ended = Task::running(STEERABLE);
    ended.end(succeeded("1"));
    let mut in_its_next_turn = Task::running(STEERABLE);
    in_its_next_turn.send(input("b"));
    in_its_next_turn.end(succeeded("1"));
    for task in [recovered, backing_off, parked, ended, in_its_next_turn] {
        for end in [succeeded("2"), failed(false), failed(true), undecodable()] {
            assert_eq!(task.refuses(stale(end)), Rejected::LeaseLost);
        }
    }
}

#[test]
fn an_event_that_does_not_fit_says_how_the_task_stands() {
    let running = Task::running(PLAIN);
    let mut backing_off = Task::running(PLAIN);
    backing_off.end(failed(false));
    let mut parked = Task::running(PLAIN);
    parked.end(undecodable());
    let mut ended = Task::running(PLAIN);
    ended.end(succeeded("1"));
    let claim = || Event::Claim(us(2));
    let recover = || Event::Recover(us(2));
    let orphan = || Event::Orphan(us(2));
    let unfit = [
        (&running, vec![claim(), Event::Reconsider]),
        (&backing_off, vec![recover(), orphan(), Event::Reconsider]),
        (&parked, vec![claim(), recover(), orphan()]),
        (
            &ended,
            vec![claim(), recover(), orphan(), Event::Reconsider],
        ),
    ];
    for (task, events) in unfit {
        let status = Status::of(task.row());
        for event in events {
            assert_eq!(task.refuses(event), Rejected::WrongState { status });
        }
    }
}

#[test]
fn the_next_turn_begins_with_a_clean_budget() {
    let mut task = Task::running(STEERABLE);
    task.does(Event::Recover(us(2)));
    task.end(failed(false));
    task.send(input("b"));
    task.at += 100;
    task.does(Event::Claim(us(1)));
    task.end(succeeded("1"));
    let row = task.row();
    assert_eq!((row.turn, row.attempt, row.crashes), (2, 1, 0));
    assert_eq!(row.last_failure, None);
}
