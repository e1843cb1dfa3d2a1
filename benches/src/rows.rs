//! A task as the engine writes it: the event that starts it, and the one that ends it. The log of transitions is off.

use outlive::machine::{
    Claimant, DefLimits, Event, FamilyView, NewInput, Now, OnConflict, Rejected, Transition,
    TurnEnd, View, step,
};
use outlive::{InputId, InvalidId, TaskId};
use outlive_storage::Commit;
use outlive_storage::commit::Write;
use outlive_storage::row::{
    BackOff, DefNumber, Delivery, Etag, Facts, Generation, Keep, Micros, OptionsRow, Payload,
    Priority, RetryRow, TaskNumber, TaskRow, Times,
};
use std::collections::VecDeque;
use std::sync::Arc;

/// A moment near those of real rows.
const NOW: u64 = 1_700_000_000_000_000;

/// Who claims the tasks of the benchmarks.
#[must_use]
pub fn claimant() -> Claimant {
    Claimant {
        owner: "bench".into(),
        instance: 7,
    }
}

/// The number and the moment of the `number`-th transition of a file.
#[must_use]
pub fn now(number: u64) -> Now {
    let times = Times::still(Micros(NOW + number));
    Now::new(times, Etag(number), Generation(number))
}

/// The id of the task of this number. Ids are as long as generated ones and ascend.
#[must_use]
pub fn id_of(number: u64) -> String {
    format!("{number:016x}-bench-task-4567890")
}

/// The input that starts the task of this number, claimed at once.
///
/// # Errors
/// Never: its ids are well formed.
pub fn input(number: u64) -> Result<Event, InvalidId> {
    Ok(Event::Input(NewInput {
        id: TaskId::new(id_of(number))?,
        def: DefNumber(1),
        input_id: InputId::new(format!("{number:016x}-bench-call-4567890"))?,
        input_id_given: false,
        digest: [7; 16],
        payload: Payload::Inline(b"123".to_vec()),
        delivery: Delivery::Interrupt,
        priority: Priority::NORMAL,
        options: options().into(),
        facts: Some(Arc::new(Facts {
            owner: "bench".into(),
            server_version: env!("CARGO_PKG_VERSION").into(),
            ..Facts::default()
        })),
        start_at: None,
        on_conflict: OnConflict::Refuse,
        after: None,
        if_etag: None,
        claimant: Some(claimant()),
        parent: None,
    }))
}

fn options() -> OptionsRow {
    OptionsRow {
        retry: RetryRow {
            attempts_max: 3,
            initial_us: 1_000_000,
            max_us: 60_000_000,
            back_off: BackOff::Fixed,
            jitter: true,
        },
        timeout_us: u64::MAX,
        grace_us: 5_000_000,
        cancel_grace_us: u64::MAX,
        keep: Keep::For(1_000_000),
        keep_turns: 20,
        keep_alive_on_failure: false,
        keep_items: None,
    }
}

/// The end of the first turn that `row` is in.
#[must_use]
pub fn end(row: &TaskRow) -> Event {
    Event::End {
        generation: row.generation,
        end: TurnEnd::Succeeded(Payload::Inline(b"456".to_vec())),
        claimant: claimant(),
        missed: Vec::new(),
    }
}

/// What the machine makes of an event.
///
/// # Errors
/// The machine's.
pub fn decide(
    task: TaskNumber,
    row: Option<&TaskRow>,
    event: Event,
    now: Now,
) -> Result<Transition, Rejected> {
    let view = View {
        task,
        row,
        inbox: &VecDeque::new(),
        receipt: None,
        question: None,
        family: FamilyView::default(),
        limits: DefLimits::default(),
    };
    step(&view, event, now)
}

/// A transition as a commit of its task.
#[must_use]
pub fn commit(task: TaskNumber, transition: Transition) -> Commit {
    Commit {
        task,
        expect: transition.expect,
        writes: transition
            .row
            .map(Write::Row)
            .into_iter()
            .chain(transition.writes)
            .collect(),
    }
}

/// The row a commit puts, if it does.
#[must_use]
pub fn row_of(commit: &Commit) -> Option<&TaskRow> {
    commit.writes.iter().find_map(Write::row)
}

/// The starts of as many tasks as there are numbers in `numbers`.
///
/// # Panics
/// When the machine refuses a start: then the benchmark is wrong.
#[must_use]
pub fn starts(numbers: std::ops::Range<u64>) -> Vec<Commit> {
    numbers
        .map(|number| {
            let task = TaskNumber(number);
            let event = input(number).expect("the ids are well formed");
            let started = decide(task, None, event, now(number)).expect("no task is in the way");
            commit(task, started)
        })
        .collect()
}

/// The completions of started tasks; `first` is the first etag to use.
///
/// # Panics
/// When the machine refuses an end: then the benchmark is wrong.
#[must_use]
pub fn ends(starts: &[Commit], first: u64) -> Vec<Commit> {
    (first..)
        .zip(starts)
        .map(|(number, start)| {
            let row = row_of(start).expect("a start puts its row");
            let ended = decide(start.task, Some(row), end(row), now(number))
                .expect("the turn runs under this generation");
            commit(start.task, ended)
        })
        .collect()
}
