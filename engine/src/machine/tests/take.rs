//! Inputs that a running turn takes: which one it gets, what is recorded, who is answered, what returns to the queue.

use super::task::{
    KEEP_US, OPTIONS, STEERABLE, Task, cancel, delete, died, every_end, failed, id, input, large,
    of, orphan, probe, recover, succeeded, suspended, terminate, undecodable, us,
};
use super::{answered, assert_nothing_changed, enters};
use crate::machine::{
    Aim, Answer, Cause, DefLimits, Effect, Event, NewInput, Overdue, Parting, Rejected, Status,
    TurnEnd, Verdict,
};
use outlive_storage::commit::Expect;
use outlive_storage::row::{
    Delivery, EventKind, Generation, Keep, Micros, OptionsRow, Receipt, Taken, TaskRow, TurnResult,
    ValueKey, ValueKind,
};

/// An input for a boundary.
fn at_boundary(text: &str) -> NewInput {
    NewInput {
        delivery: Delivery::AtBoundary,
        ..input(text)
    }
}

/// The running turn asks for an input.
fn take(task: &Task, key: &str) -> Event {
    Event::Take {
        generation: task.row().generation,
        key: key.into(),
    }
}

impl Task {
    /// The id of what the running turn gets under this key.
    #[track_caller]
    fn takes(&mut self, key: &str) -> Option<String> {
        let transition = self.does(take(self, key));
        match transition.answer {
            Answer::Taken(handed) => handed.map(|handed| handed.input_id.as_str().to_owned()),
            other => panic!("a take is answered with {other:?}"),
        }
    }

    /// A running task with these inputs for a boundary.
    fn with_inputs(texts: &[&str]) -> Task {
        let mut task = Task::running(STEERABLE);
        for text in texts {
            task.send(at_boundary(text));
        }
        task
    }

    /// The marks in the queue, by input.
    fn marks(&self) -> Vec<(&str, Option<(&str, u64)>)> {
        let inputs = self.held.inbox.iter().map(|(_, input)| {
            let mark = input.taken.as_ref();
            let mark = mark.map(|taken| (&*taken.key, taken.generation.0));
            (input.input_id.as_str(), mark)
        });
        inputs.collect()
    }

    fn counts(&self) -> (u64, u64) {
        (self.row().inputs_waiting, self.row().inputs_taken)
    }
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn in_turn(step: &str) -> Receipt {
    Receipt::Turn {
        run: 1,
        turn: 1,
        total: 1,
        step: Some(step.into()),
    }
}

#[test]
fn a_take_marks_the_input_where_it_stands_and_tells_the_count() {
    let mut task = Task::with_inputs(&["b", "c"]);
    let transition = task.does(take(&task, "k"));
    assert_eq!(transition.expect, Expect::Lease(Generation(1)));
    assert_eq!(transition.what, Some(EventKind::InputTaken));
    assert_eq!(transition.effects[..], [Effect::Waiting(1)]);
    assert_eq!(task.marks(), [("b", Some(("k", 1))), ("c", None)]);
    assert_eq!(task.counts(), (1, 1));
    // What waits, waits: only the end of the turn says more.
    assert_eq!(task.receipt("b"), Some(&Receipt::Queued { seq: 1 }));
}

#[test]
fn inputs_are_taken_in_the_order_of_their_acceptance() {
    let mut task = Task::with_inputs(&["b", "c"]);
    let taken = ["1", "2", "3"].map(|key| task.takes(key));
    assert_eq!(taken, [some("b"), some("c"), None]);
}

#[test]
fn an_input_of_another_delivery_is_neither_taken_nor_overtaken() {
    for delivery in [Delivery::Interrupt, Delivery::AfterTurn] {
        let mut task = Task::running(STEERABLE);
        let mut other = input("b");
        other.delivery = delivery;
        task.send(other);
        task.send(at_boundary("c"));
        let before = task.clone();
        assert_eq!(task.takes("k"), None);
        assert_nothing_changed(&before, &task, "where nothing is taken nothing is recorded");
    }
}

#[test]
fn only_what_interrupts_signals_and_only_a_turn_that_runs() {
    for (delivery, signals) in [
        (Delivery::Interrupt, true),
        (Delivery::AtBoundary, false),
        (Delivery::AfterTurn, false),
    ] {
        let mut task = Task::running(STEERABLE);
        let transition = task.send(NewInput {
            delivery,
            ..input("b")
        });
        let signal = transition.effects.contains(&Effect::Signal(Cause::Steered));
        assert_eq!(signal, signals, "{delivery:?}");
        assert_eq!(transition.effects[0], Effect::Waiting(1), "{delivery:?}");
    }
}

/// A handler entered for the second of three inputs was told at once to give way, although the third had been given for
/// after its turn.
#[test]
fn a_turn_begins_with_the_signal_set_only_when_something_interrupts_it() {
    for (delivery, steered) in [
        (Delivery::Interrupt, true),
        (Delivery::AtBoundary, false),
        (Delivery::AfterTurn, false),
    ] {
        let mut task = Task::running(STEERABLE);
        task.send(input("b"));
        task.send(NewInput {
            delivery,
            ..input("c")
        });
        let generation = Generation(4);
        let entered = Effect::Enter {
            generation,
            steered,
        };
        let drained = task.end(succeeded("1")).effects.pop();
        assert_eq!(drained, Some(entered), "{delivery:?}: from the queue");
        let mut entries = vec![task.does(died(2)).effects.pop()];
        task.end(failed(false));
        task.at += 1_000;
        entries.push(task.does(Event::Claim(us(2))).effects.pop());
        for entry in entries {
            let is = matches!(entry, Some(Effect::Enter { steered: is, .. }) if is == steered);
            assert!(is, "{delivery:?}: {entry:?}");
        }
    }
    let mut suspect = Task::isolated(STEERABLE);
    suspect.send(input("b"));
    let entered = suspect.does(probe(9, false)).effects.pop();
    assert!(matches!(entered, Some(Effect::Enter { steered: true, .. })));
}

#[test]
fn the_same_key_gets_the_same_input_in_a_later_attempt_and_takes_over_its_mark() {
    let mut task = Task::with_inputs(&["b", "c"]);
    assert_eq!(task.takes("1"), some("b"));
    task.does(died(2));
    let etag = task.row().etag;
    let transition = task.does(take(&task, "1"));
    assert!(transition.row.is_none() && transition.what.is_none());
    assert_eq!(transition.expect, Expect::Lease(task.row().generation));
    assert_eq!(task.row().etag, etag, "a record does not move the row");
    let generation = task.row().generation.0;
    assert_eq!(task.marks()[0], ("b", Some(("1", generation))));
    // Asked once more it is answered once more: what reached the handler its process knows.
    let before = task.clone();
    assert_eq!(task.takes("1"), some("b"));
    assert_nothing_changed(&before, &task, "the mark is its own already");
}

/// An attempt that was entered again after a crash asked at an earlier boundary first, found an input there that its
/// former self had not seen, and worked on it before the one it had worked on.
#[test]
fn nothing_new_is_taken_before_what_was_recorded_is_taken_again() {
    let mut task = Task::with_inputs(&["b", "c"]);
    assert_eq!(task.takes("2"), some("b"));
    task.does(died(2));
    let taken = ["1", "2", "3"].map(|key| task.takes(key));
    assert_eq!(taken, [None, some("b"), some("c")]);
}

#[test]
fn a_lost_claim_takes_nothing() {
    let mut task = Task::with_inputs(&["b"]);
    let stale = take(&task, "k");
    task.does(died(2));
    assert_eq!(task.refuses(stale.clone()), Rejected::LeaseLost);
    task.end(succeeded("1"));
    assert_eq!(task.refuses(stale.clone()), Rejected::LeaseLost);
    task.does(terminate(Aim::Task));
    assert_eq!(task.refuses(stale.clone()), Rejected::LeaseLost);
    task.does(delete(false));
    assert_eq!(task.refuses(stale), Rejected::LeaseLost);
}

#[test]
fn a_turn_takes_so_many_and_no_more() {
    let mut task = Task::with_inputs(&["b"]);
    if let Some(row) = &mut task.held.row {
        row.inputs_taken = TaskRow::TAKEN_MAX;
    }
    let max = TaskRow::TAKEN_MAX;
    assert_eq!(task.refuses(take(&task, "k")), Rejected::TakenFull { max });
    // Where nothing could be taken, nothing is refused.
    task.send(input("c"));
    task.does(cancel(of("b"), "no"));
    assert_eq!(task.takes("k"), None);
}

/// Every way in which a turn that took inputs ends for good, by whomever.
fn every_end_of_a_turn(took: &Task) -> Vec<(&'static str, Task)> {
    let ended = |name, end| {
        let mut task = took.clone();
        task.end(end);
        (name, task)
    };
    let after = |name, events: Vec<Event>| {
        let mut task = took.clone();
        for event in events {
            task.does(event);
        }
        (name, task)
    };
    let generation = took.row().generation;
    let why = Overdue::CancelIgnored;
    let stop = Event::Stop { generation, why };
    let mut backing_off = took.clone();
    backing_off.end(failed(false));
    backing_off.does(cancel(of("a"), "enough"));
    vec![
        ended("replied", succeeded("1")),
        ended("suspended", suspended("1")),
        ended("failed", failed(true)),
        ended("gave up", TurnEnd::Cancelled),
        after("terminated", vec![terminate(Aim::Task)]),
        after("cancel ignored", vec![cancel(of("a"), "enough"), stop]),
        after(
            "died with a cancel",
            vec![cancel(of("a"), "enough"), died(2)],
        ),
        after(
            "orphaned with a cancel",
            vec![cancel(Aim::Task, "enough"), orphan(2, Parting::Died)],
        ),
        ("cancelled in its back-off", backing_off),
    ]
}

#[test]
fn what_a_turn_took_ends_with_it_however_it_ends() {
    let mut took = Task::with_inputs(&["b", "c"]);
    took.takes("1");
    took.takes("2");
    for (end, task) in every_end_of_a_turn(&took) {
        assert!(task.held.inbox.is_empty(), "{end}");
        assert_eq!(task.counts(), (0, 0), "{end}");
        assert_eq!(task.receipt("b"), Some(&in_turn("1")), "{end}");
        assert_eq!(task.receipt("c"), Some(&in_turn("2")), "{end}");
        assert_eq!(task.listed("b"), Some(Micros(10_000 + KEEP_US)), "{end}");
        assert_eq!(task.held.turns[&1].input_id, id("a"), "{end}: its result");
        assert_eq!(task.row().turn, 1, "{end}: no turn of their own");
    }
}

#[test]
fn the_callers_of_what_a_turn_took_are_answered_with_its_result() {
    let mut task = Task::with_inputs(&["b", "c"]);
    task.takes("1");
    let result = TurnResult::Replied {
        output: outlive_storage::row::Payload::Inline("1".into()),
        suspended: None,
        superseded: true,
    };
    let told = ["a", "b"].map(|text| answered(text, 1, result.clone()));
    let transition = task.end(succeeded("1"));
    let [first, second] = told;
    assert_eq!(transition.effects[..], [first, second, enters(5)]);
    assert_eq!(task.row().input_id, id("c"), "what it did not take follows");
}

#[test]
fn a_removed_task_answers_the_callers_of_what_its_turn_took() {
    let mut task = Task::with_inputs(&["b"]);
    task.takes("1");
    let transition = task.does(delete(true));
    let told = |text: &str| {
        let mut effects = transition.effects.iter();
        effects.any(
            |effect| matches!(effect, Effect::Answered { input_id, .. } if *input_id == id(text)),
        )
    };
    assert!(told("a") && told("b"), "{:?}", transition.effects);
}

#[test]
fn a_gone_ephemeral_task_has_answered_what_its_turn_took() {
    let ephemeral = OptionsRow {
        keep: Keep::Ephemeral,
        ..OPTIONS
    };
    let mut task = Task::running_with(STEERABLE, ephemeral);
    task.send(at_boundary("b"));
    task.takes("1");
    let transition = task.end(succeeded("1"));
    let told = ["a", "b"].map(|text| answered(text, 1, super::replied("1")));
    assert_eq!(transition.effects[..2], told);
}

#[test]
fn what_a_later_attempt_did_not_take_again_is_the_head_of_the_queue() {
    let mut task = Task::with_inputs(&["b", "c"]);
    task.takes("1");
    task.takes("2");
    task.does(died(2));
    task.send(input("d"));
    task.takes("2");
    let transition = task.end(succeeded("1"));
    assert_eq!(task.row().input_id, id("b"), "it is the oldest");
    assert_eq!(task.receipt("c"), Some(&in_turn("2")));
    assert_eq!(task.marks(), [("d", None)]);
    let interrupted = Effect::Enter {
        generation: task.row().generation,
        steered: true,
    };
    assert_eq!(transition.effects.last(), Some(&interrupted));
}

#[test]
fn what_several_attempts_left_waits_again_in_its_order_and_its_callers_wait_on() {
    let mut task = Task::with_inputs(&["b", "c"]);
    task.takes("1");
    task.takes("2");
    task.does(died(2));
    let transition = task.end(suspended("1"));
    assert_eq!(task.row().input_id, id("b"));
    assert_eq!(task.marks(), [("c", None)]);
    assert_eq!(task.counts(), (1, 0));
    assert_eq!(task.receipt("c"), Some(&Receipt::Queued { seq: 2 }));
    let answered = |effect: &&Effect| matches!(effect, Effect::Answered { .. });
    assert_eq!(transition.effects.iter().filter(answered).count(), 1);
    // The end of the task tells those that wait again as all others.
    task.end(failed(true));
    assert_eq!(task.receipt("c"), Some(&Receipt::TaskEnded));
}

#[test]
fn an_attempt_that_ends_no_turn_keeps_what_was_taken() {
    let attempts: [fn(&mut Task); 5] = [
        |task| drop(task.end(failed(false))),
        |task| drop(task.end(undecodable())),
        |task| drop(task.does(died(2))),
        |task| drop(task.does(recover(2, Parting::Stopped, Verdict::Count))),
        |task| drop(task.does(orphan(2, Parting::Died))),
    ];
    for attempt in attempts {
        let mut task = Task::with_inputs(&["b"]);
        task.takes("1");
        attempt(&mut task);
        assert_eq!(task.marks(), [("b", Some(("1", 1)))]);
        assert_eq!(task.counts(), (0, 1));
    }
}

#[test]
fn a_taken_input_cannot_be_taken_back() {
    let mut task = Task::with_inputs(&["b"]);
    task.takes("1");
    let conflict = Rejected::Conflict {
        status: Status::InProgress,
        etag: task.row().etag,
        wait: None,
    };
    let queued = |text| Aim::Queued(id(text));
    for aim in [of("b"), queued("b"), queued("a")] {
        assert_eq!(task.refuses(cancel(aim.clone(), "no")), conflict);
    }
    assert_eq!(task.refuses(terminate(of("b"))), conflict);
    let unknown = task.refuses(cancel(queued("z"), "no"));
    assert_eq!(unknown, Rejected::NotFound);
}

#[test]
fn a_withdrawal_is_for_what_waits_and_never_ends_a_turn() {
    let mut task = Task::with_inputs(&["b"]);
    let queued = Aim::Queued(id("b"));
    let transition = task.does(cancel(queued.clone(), "no"));
    assert_eq!(transition.what, Some(EventKind::InputWithdrawn));
    assert_eq!(task.does(cancel(queued, "again")).answer, Answer::Done);
    let own = cancel(Aim::Queued(id("a")), "no");
    assert!(matches!(task.refuses(own), Rejected::Conflict { .. }));
    assert_eq!(task.row().cancel, None);
}

/// A handler dropped the future of a take, as `select!` does, when its input had been marked: the end of the turn then
/// consumed an input that nobody had seen.
#[test]
fn what_did_not_reach_the_handler_is_not_its_turns() {
    for end in every_end() {
        let mut task = Task::with_inputs(&["b", "c"]);
        task.takes("1");
        task.takes("2");
        let before = task.clone();
        let ending = Event::End {
            generation: task.row().generation,
            end: end.clone(),
            claimant: us(1),
            missed: vec!["2".into(), "3".into()],
        };
        task.does(ending);
        match end {
            TurnEnd::Failed {
                terminal: false, ..
            }
            | TurnEnd::Held(_)
            | TurnEnd::Parked(_)
            | TurnEnd::Undecodable { .. } => assert_eq!(task.marks(), before.marks()),
            TurnEnd::Failed { terminal: true, .. } => {
                assert_eq!(task.receipt("c"), Some(&Receipt::TaskEnded));
            }
            TurnEnd::Succeeded(_) | TurnEnd::Suspended { .. } | TurnEnd::Cancelled => {
                assert_eq!(task.receipt("b"), Some(&in_turn("1")));
                assert_eq!(task.row().input_id, id("c"));
            }
        }
    }
}

#[test]
fn a_turn_that_took_inputs_leaves_none_of_their_values_behind() {
    let mut task = Task::running(STEERABLE);
    task.send(NewInput {
        delivery: Delivery::AtBoundary,
        ..large("b")
    });
    let key = ValueKey {
        task: super::held::TASK,
        kind: ValueKind::Input,
        index: 1,
    };
    task.takes("1");
    assert!(task.held.values.contains_key(&key), "the turn reads it");
    task.end(suspended("1"));
    assert!(!task.held.values.contains_key(&key));
    let previous = task.row().previous.clone();
    assert_eq!(previous, None, "the input before is the turn's own");
}

#[test]
fn the_bound_of_the_queue_is_for_what_waits() {
    let one = DefLimits {
        steerable_max: Some(1),
        present: None,
    };
    let mut task = Task::with_inputs(&["b"]);
    task.limits = one;
    task.takes("1");
    task.send(at_boundary("c"));
    assert_eq!(
        task.refuses_input(at_boundary("d")),
        Rejected::QueueFull { max: 1 }
    );
    // What is put back was accepted: both wait, beyond the bound, and neither is lost.
    task.does(died(2));
    task.end(failed(false));
    task.does(cancel(of("a"), "enough"));
    assert_eq!(task.row().input_id, id("b"));
    assert_eq!(task.marks(), [("c", None)]);
}

#[test]
fn a_mark_names_its_key_and_its_claim() {
    let mut task = Task::with_inputs(&["b"]);
    task.takes("a boundary");
    let taken = Some(Taken {
        key: "a boundary".into(),
        generation: Generation(1),
    });
    assert_eq!(task.held.inbox[0].1.taken, taken);
}
