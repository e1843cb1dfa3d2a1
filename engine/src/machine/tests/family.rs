//! A turn with its children: born under its claim, counted, told when it is over.

use super::task::{
    OPTIONS, PLAIN, STEERABLE, Task, cancel, failed, input, succeeded, suspended, terminate, us,
};
use crate::machine::{
    Accepted, Aim, Answer, Effect, Event, FamilyView, NewInput, NewParent, Now, ParentOver,
    Rejected, Transition, TurnEnd, View, Wait, WaitFor, step,
};
use outlive_storage::commit::Write;
use outlive_storage::row::{
    Deadline, Etag, EventKind, Family, Fate, Generation, Keep, Micros, OptionsRow, ParentRow,
    State, TaskNumber, TaskRow, Times, WaitReason,
};
use smallvec::smallvec;
use std::collections::VecDeque;

const CHILD: TaskNumber = TaskNumber(70);

/// A parent whose turn is about to start children.
fn parent() -> Task {
    let mut task = Task::running(PLAIN);
    let generation = task.row().generation;
    task.does(Event::BecomeParent { generation });
    task
}

fn family(task: &Task) -> Family {
    task.row().family(super::held::TASK)
}

fn new_parent(task: &Task) -> NewParent {
    NewParent {
        row: ParentRow {
            family: family(task),
            id: task.row().id.clone(),
            detached: false,
        },
        generation: task.row().generation,
    }
}

/// What the machine makes of an event on the row of a child, whose parent stands so.
fn asked(
    row: Option<&TaskRow>,
    event: Event,
    parent: Option<&TaskRow>,
) -> Result<Transition, Rejected> {
    let view = View {
        task: CHILD,
        row,
        inbox: &VecDeque::new(),
        receipt: None,
        question: None,
        family: FamilyView { parent, ended: 0 },
        limits: PLAIN,
    };
    let at = Times::still(Micros(20_000));
    step(&view, event, Now::new(at, Etag(900), Generation(900)))
}

fn start(parent: NewParent, options: OptionsRow) -> Event {
    Event::Input(NewInput {
        parent: Some(parent.into()),
        options: options.into(),
        ..input("child")
    })
}

/// The row of a running child.
fn child(parent: &Task, detached: bool, options: OptionsRow) -> TaskRow {
    let mut new = new_parent(parent);
    new.row.detached = detached;
    let started = asked(None, start(new, options), Some(parent.row()));
    TaskRow::clone(&started.expect("it starts").row.expect("a row"))
}

fn let_go(family: Family, reason: Option<&str>) -> Event {
    Event::LetGo(ParentOver {
        family,
        reason: reason.map(Box::from),
        instance: us(1).instance,
    })
}

fn ended(row: &TaskRow) -> Transition {
    let end = Event::End {
        generation: row.generation,
        end: succeeded("1"),
        claimant: us(1),
        missed: Vec::new(),
    };
    asked(Some(row), end, None).expect("it ends")
}

fn over(transition: &Transition) -> Option<&Fate> {
    transition.writes.iter().find_map(|write| match write {
        Write::FamilyOver { fate, .. } => Some(fate),
        _ => None,
    })
}

fn waits(ended: u64) -> TurnEnd {
    let key = "all".into();
    TurnEnd::Parked(vec![Wait {
        key,
        wait_for: WaitFor::Children { ended },
        step: None,
    }])
}

/// What the machine makes of an event when so many ends are counted.
fn counted(task: &Task, ended: u64, event: Event) -> Transition {
    let family = FamilyView {
        parent: None,
        ended,
    };
    let view = View {
        task: super::held::TASK,
        row: Some(task.row()),
        inbox: &VecDeque::new(),
        receipt: None,
        question: None,
        family,
        limits: PLAIN,
    };
    let at = Times::still(Micros(20_000));
    let now = Now::new(at, Etag(900), Generation(900));
    step(&view, event, now).expect("it fits")
}

#[test]
fn a_child_begins_only_under_the_claim_of_the_turn_that_starts_it() {
    let parent = parent();
    let new = new_parent(&parent);
    let begins = |parent: Option<&TaskRow>| asked(None, start(new.clone(), OPTIONS), parent);
    let started = begins(Some(parent.row())).expect("it starts");
    let row = started.row.expect("a row");
    assert_eq!(row.parent, Some(new.row.clone()));
    let mut over = parent.clone();
    over.end(succeeded("1"));
    assert_eq!(begins(Some(over.row())), Err(Rejected::LeaseLost));
    assert_eq!(begins(None), Err(Rejected::LeaseLost));
    let mut next = new.clone();
    next.row.family.turn += 1;
    let of_next_turn = asked(None, start(next, OPTIONS), Some(parent.row()));
    assert_eq!(of_next_turn, Err(Rejected::LeaseLost));
}

#[test]
fn a_start_of_a_child_never_joins_another_task() {
    let (parent, other) = (parent(), Task::ended(STEERABLE, suspended("1")));
    let joins = asked(
        Some(other.row()),
        start(new_parent(&parent), OPTIONS),
        Some(parent.row()),
    );
    assert!(matches!(joins, Err(Rejected::Conflict { .. })));
}

#[test]
fn the_end_of_a_child_is_counted_and_it_is_kept_for_its_parent() {
    let parent = parent();
    for keep in [Keep::For(1), Keep::Ephemeral] {
        let row = child(&parent, false, OptionsRow { keep, ..OPTIONS });
        let end = ended(&row);
        assert!(end.writes.contains(&Write::ChildEnded(family(&parent))));
        assert!(!end.writes.contains(&Write::RemoveTask));
        let State::Completed { expires_at, .. } = end.row.as_ref().expect("a row").state else {
            panic!("it has ended");
        };
        assert_eq!(expires_at, Micros::NEVER);
        let told = asked(end.row.as_deref(), let_go(family(&parent), Some("x")), None);
        let told = told.expect("it is told");
        match keep {
            Keep::Ephemeral => assert_eq!(told.writes, [Write::RemoveTask]),
            _ => {
                let row = told.row.expect("a row");
                assert_eq!(row.parent, None);
                let expires = Micros(20_001);
                assert!(
                    matches!(row.state, State::Completed { expires_at, .. } if expires_at == expires)
                );
            }
        }
    }
}

#[test]
fn a_child_is_cancelled_with_its_parent_unless_it_is_detached_and_told_once() {
    let parent = parent();
    for (detached, reason, cancelled) in [
        (false, Some("enough"), true),
        (true, Some("enough"), false),
        (false, None, false),
    ] {
        let row = child(&parent, detached, OPTIONS);
        let told = asked(Some(&row), let_go(family(&parent), reason), None);
        let after = told.expect("it is told").row.expect("a row");
        assert_eq!(
            (after.cancel.is_some(), after.parent.is_none()),
            (cancelled, true)
        );
        let again = asked(Some(&after), let_go(family(&parent), reason), None);
        assert_eq!(again.expect("nothing").row, None);
    }
}

#[test]
fn a_turn_that_is_over_tells_its_children_how() {
    let reason = || Box::from("enough");
    let cancelled = Fate::Cancelled { reason: reason() };
    let mut done = parent();
    assert_eq!(over(&done.end(succeeded("1"))), Some(&Fate::Alone));
    let mut failing = parent();
    assert_eq!(over(&failing.end(failed(true))), Some(&Fate::Alone));
    let mut retried = parent();
    assert_eq!(over(&retried.end(failed(false))), None, "it goes on");
    assert!(retried.row().has_children);
    let mut stopped = parent();
    let stop = stopped.does(terminate(Aim::Task));
    assert!(matches!(over(&stop), Some(Fate::Cancelled { .. })));
    assert!(stop.effects.contains(&Effect::FamilyOver));
    let mut told = parent();
    told.does(cancel(Aim::Task, "enough"));
    assert_eq!(over(&told.end(TurnEnd::Cancelled)), Some(&cancelled));
    let mut childless = Task::running(PLAIN);
    assert_eq!(over(&childless.end(succeeded("1"))), None);
}

#[test]
fn the_next_turn_has_no_children_yet() {
    let mut chain = Task::running(STEERABLE);
    let generation = chain.row().generation;
    chain.does(Event::BecomeParent { generation });
    chain.send(input("b"));
    let end = chain.end(succeeded("1"));
    assert_eq!(over(&end), Some(&Fate::Alone));
    assert!(!chain.row().has_children);
}

#[test]
fn a_turn_that_waits_for_children_is_woken_when_as_many_are_counted_and_not_before() {
    let mut task = parent();
    let key = "all".into();
    let parked = counted(&task, 2, task.ending(waits(3)));
    let row = parked.row.expect("a row");
    let wait = WaitReason::Children {
        step: key,
        ended: 3,
        until: outlive_storage::row::Deadline::NEVER,
    };
    assert!(matches!(&row.state, State::Suspended { wait: is, .. } if *is == wait));
    let come = counted(&task, 3, task.ending(waits(3)));
    let due = |row: &TaskRow| {
        matches!(
            row.state,
            State::Pending {
                wait: WaitReason::Slot,
                ..
            }
        )
    };
    assert!(come.row.is_some_and(|row| due(&row)), "it has come already");
    task.held.row = Some(TaskRow::clone(&row));
    assert_eq!(counted(&task, 2, Event::ChildEnded).row, None);
    let woken = counted(&task, 3, Event::ChildEnded);
    assert_eq!(woken.what, Some(EventKind::Woken));
    assert!(woken.row.is_some_and(|row| due(&row)));
}

#[test]
fn a_running_turn_is_told_of_each_end_and_its_row_stays() {
    let told = counted(&parent(), 1, Event::ChildEnded);
    assert_eq!((told.row, told.effects), (None, smallvec![Effect::Woken]));
}

#[test]
fn a_task_that_is_nobodys_child_is_taken_over_by_who_waits_for_it() {
    let parent = parent();
    let alone = TaskRow {
        parent: None,
        ..child(&parent, false, OPTIONS)
    };
    let take =
        |row: &TaskRow, new: NewParent| asked(Some(row), Event::TakeOver(new), Some(parent.row()));
    let taken = take(&alone, new_parent(&parent)).expect("it is taken over");
    let taken = taken.row.expect("a row");
    assert_eq!(taken.parent, Some(new_parent(&parent).row));
    let again = take(&taken, new_parent(&parent));
    assert_eq!(again.expect("nothing").row, None);
    let mut of_another = TaskRow::clone(&taken);
    if let Some(parent) = &mut of_another.parent {
        parent.family.task = TaskNumber(99);
    }
    let refused = take(&of_another, new_parent(&parent));
    assert!(matches!(refused, Err(Rejected::Conflict { .. })));
}

/// A start whose step was not recorded is made again in a further run, when its task is nobody's child any more.
#[test]
fn a_start_that_finds_its_task_astray_makes_it_the_turns_child() {
    let parent = parent();
    let again = |row: &TaskRow| {
        let event = start(new_parent(&parent), OPTIONS);
        asked(Some(row), event, Some(parent.row())).expect("it attaches")
    };
    let own = child(&parent, false, OPTIONS);
    assert_eq!(again(&own).row, None, "it is already");
    let astray = TaskRow {
        parent: None,
        ..own.clone()
    };
    let found = again(&astray);
    assert_eq!(found.row.expect("a row").parent, own.parent);
    let how = Accepted::Attached;
    assert!(matches!(found.answer, Answer::Accepted { how: is, .. } if is == how));
}

#[test]
fn a_question_is_not_disturbed_by_ends_that_nobody_waits_for() {
    let mut parent = parent();
    let until = Deadline::NEVER;
    let ask = |wait_for| Wait {
        key: "k".into(),
        wait_for,
        step: None,
    };
    let mut both = parent.clone();
    parent.end(TurnEnd::Parked(vec![ask(WaitFor::Answer {
        until,
        ask: None,
    })]));
    assert_eq!(counted(&parent, 5, Event::ChildEnded).row, None);
    both.end(TurnEnd::Parked(vec![
        ask(WaitFor::Answer { until, ask: None }),
        ask(WaitFor::Children { ended: 3 }),
    ]));
    assert_eq!(counted(&both, 2, Event::ChildEnded).row, None);
    assert!(counted(&both, 3, Event::ChildEnded).row.is_some());
}
