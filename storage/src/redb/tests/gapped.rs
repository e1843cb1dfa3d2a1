//! What is saved of a file of whose journal one record is lost: everything but what that record alone had.

use super::shape::{BLOCK, Shape};
use super::*;
use crate::commit::{Commit, Write};
use crate::conformance::rows::{ask_row, event, input, input_id, removal, step_row, turn_row};
use crate::row::{
    AskRow, Deadline, Micros, Payload, Receipt, State, StepRow, StepState, TaskRow, TurnRow,
    ValueKey, ValueKind, WaitReason,
};

const NOW: u64 = 7_000;

/// What a salvage made of a file.
struct Saved {
    _directory: TempDir,
    path: PathBuf,
    report: SalvageReport,
    store: RedbStore,
}

/// Makes commits, each one record of the journal, loses some of these and saves what is left after a crash.
fn saved(commits: Vec<Commit>, lost: &[usize]) -> Saved {
    saved_of(commits, |bytes| {
        for record in lost {
            let at = (Shape::JOURNAL_AT + *record as u64 * BLOCK) as usize;
            bytes[at..at + BLOCK as usize].fill(0);
        }
    })
}

fn saved_of(commits: Vec<Commit>, damage: impl FnOnce(&mut [u8])) -> Saved {
    let (directory, path) = place();
    let store = open(&path).unwrap();
    store.define(&["job"]).unwrap();
    for commit in commits {
        one(&store, commit).unwrap();
    }
    let mut bytes = fs::read(&path).unwrap();
    drop(store);
    damage(&mut bytes);
    let [damaged, path] = ["damaged", "saved"].map(|name| directory.path().join(name));
    fs::write(&damaged, bytes).unwrap();
    let report = salvage(&damaged, &path, 0x5a, NOW).unwrap();
    let found = verify(&path, 2, 0).unwrap();
    let is_told = |what: &Finding| report.findings.named().contains(what);
    assert!(found.findings.named().iter().all(is_told), "{found:?}");
    assert_eq!(found.pages, PageCheck::Whole);
    let store = open(&path).unwrap();
    Saved {
        _directory: directory,
        path,
        report,
        store,
    }
}

impl Saved {
    /// Commits that were done as they were, were taken, and were not done.
    fn journal(&self) -> (u64, u64, u64) {
        let JournalSaved {
            done,
            taken,
            refused,
            is_broken,
        } = self.report.journal;
        assert!(is_broken);
        (done, taken, refused)
    }

    fn lost(&self, table: &str) -> u64 {
        let mut tables = self.report.tables.iter();
        tables.find(|saved| saved.table == table).unwrap().lost
    }

    fn is_told(&self, table: &str, what: Wrong) -> bool {
        let named = self.report.findings.named();
        named
            .iter()
            .any(|finding| finding.table == table && finding.what == what)
    }
}

fn with(row: &TaskRow, expect: Expect, more: Vec<Write>) -> Commit {
    let mut writes = vec![put(row)];
    writes.extend(more);
    commit(10, expect, writes)
}

fn step(key: &str) -> Write {
    Write::Step {
        turn: 1,
        key: key.into(),
        step: step_row("result").into(),
    }
}

fn lease() -> Expect {
    Expect::Lease(Generation(10))
}

/// Start, claim, a step, the end: four records.
fn of_one_task() -> (Vec<Commit>, TaskRow) {
    let first = pending(10, "a");
    let claimed = running(&first, 11, 10);
    let last = moved(&claimed, 12, ended(Micros(500)));
    let commits = vec![
        start(&first),
        by_etag(10, 10, &claimed),
        commit(10, lease(), vec![step("s")]),
        with(&last, lease(), vec![Write::Event(event(12, 10, 300))]),
    ];
    (commits, last)
}

/// Whatever was lost before it, the last row of a task is the task: every later commit of one was refused, because the one
/// before it was not there.
#[test]
fn the_last_row_of_a_task_is_saved_whichever_of_its_records_is_lost() {
    for (lost, counts) in [
        (vec![0], (2, 1, 0)),
        (vec![1], (1, 2, 0)),
        (vec![0, 1], (0, 2, 0)),
        (vec![0, 1, 2], (0, 1, 0)),
    ] {
        let (commits, last) = of_one_task();
        let other = pending(20, "b");
        let saved = saved(commits.into_iter().chain([start(&other)]).collect(), &lost);
        let (done, taken, refused) = counts;
        assert_eq!(saved.journal(), (done + 1, taken, refused), "{lost:?}");
        assert_eq!(get(&saved.store, 10).as_ref(), Some(&last), "{lost:?}");
        assert_eq!(get(&saved.store, 20), Some(other));
        let step = saved.store.step(TaskNumber(10), 1, "s").unwrap();
        assert_eq!(step.is_some(), !lost.contains(&2), "{lost:?}");
    }
}

#[test]
fn what_hangs_on_a_task_of_which_no_row_is_left_is_counted_as_refused() {
    let (mut commits, _) = of_one_task();
    commits.truncate(3);
    commits.push(start(&pending(20, "b")));
    let saved = saved(commits, &[0, 1]);
    assert_eq!(saved.journal(), (1, 0, 1));
    assert_eq!(get(&saved.store, 10), None);
}

#[test]
fn of_two_tasks_with_one_id_the_later_one_is_saved() {
    for later_is_lost in [false, true] {
        let mut commits = vec![start(&pending(10, "a")), removal(10, 10)];
        commits.extend([start(&pending(20, "a")), start(&pending(30, "b"))]);
        let next = moved(&pending(20, "a"), 21, ended(Micros(500)));
        commits.push(by_etag(20, 20, &next));
        let lost = if later_is_lost { vec![1, 2] } else { vec![1] };
        let saved = saved(commits, &lost);
        assert_eq!(get(&saved.store, 10), None);
        assert_eq!(get(&saved.store, 20), Some(next));
        let journal = if later_is_lost { (2, 1, 0) } else { (4, 0, 0) };
        assert_eq!(saved.journal(), journal);
    }
}

#[test]
fn a_removal_of_what_is_lost_leaves_nothing() {
    let commits = vec![
        start(&pending(10, "a")),
        commit(10, Expect::Etag(Etag(10)), vec![step("s")]),
        removal(10, 10),
        start(&pending(20, "b")),
    ];
    let saved = saved(commits, &[0]);
    assert_eq!(saved.journal(), (1, 2, 0));
    assert_eq!(saved.store.step(TaskNumber(10), 1, "s").unwrap(), None);
}

/// A task with an input that waits, which becomes the input of its second turn, and then a third turn: four records.
fn of_inputs() -> Vec<Commit> {
    let first = pending(10, "a");
    let mut waits = moved(&first, 11, first.state.clone());
    (waits.inputs_accepted, waits.inputs_waiting) = (2, 1);
    let push = Write::PushInput {
        seq: 1,
        input: input("second"),
    };
    let mut second = moved(&waits, 12, first.state.clone());
    (second.turn, second.turns_total, second.inputs_waiting) = (2, 2, 0);
    (second.input_id, second.input_seq) = (input_id("second"), 1);
    let mut third = moved(&second, 13, first.state.clone());
    (third.turn, third.turns_total, third.inputs_accepted) = (3, 3, 3);
    (third.input_id, third.input_seq) = (input_id("third"), 2);
    let turn = Write::Turn {
        slot: 2,
        turn: Box::new(TurnRow {
            input_id: input_id("second"),
            ..turn_row(2)
        }),
    };
    vec![
        start(&first),
        with(
            &waits,
            Expect::Etag(Etag(10)),
            vec![push, receipt("second", Receipt::Queued { seq: 1 })],
        ),
        with(
            &second,
            Expect::Etag(Etag(11)),
            vec![Write::PopInput { seq: 1 }, receipt("second", of_turn(2))],
        ),
        with(&third, Expect::Etag(Etag(12)), vec![turn]),
        by_etag(10, 13, &moved(&third, 14, first.state.clone())),
    ]
}

fn receipt(id: &str, receipt: Receipt) -> Write {
    Write::Receipt {
        input_id: input_id(id),
        receipt,
        expires_at: None,
    }
}

fn of_turn(turn: u32) -> Receipt {
    Receipt::Turn {
        run: 1,
        turn,
        total: u64::from(turn),
        step: None,
    }
}

/// A turn may take an input beside its own: then no row says that it is over, but for how many wait.
#[test]
fn an_input_that_was_consumed_comes_to_no_further_turn() {
    let mut of_take = of_inputs();
    of_take.truncate(2);
    let waits = of_take[1].writes[0].row().unwrap().clone();
    let mut over = moved(&waits, 12, waits.state.clone());
    over.inputs_waiting = 0;
    let pop = Write::PopInput { seq: 1 };
    of_take.push(with(&over, Expect::Etag(Etag(11)), vec![pop]));
    of_take.push(by_etag(10, 12, &moved(&over, 13, over.state.clone())));
    for commits in [of_inputs(), of_take] {
        let saved = saved(commits, &[2]);
        assert_eq!(saved.store.inputs(TaskNumber(10), 10).unwrap(), []);
        assert_eq!(get(&saved.store, 10).unwrap().inputs_waiting, 0);
    }
}

#[test]
fn an_input_that_is_lost_does_not_wait_and_that_is_told() {
    let mut commits = of_inputs();
    commits.truncate(2);
    let waits = commits[1].writes[0].row().unwrap().clone();
    commits.push(by_etag(10, 11, &moved(&waits, 12, waits.state.clone())));
    let saved = saved(commits, &[1]);
    assert_eq!(get(&saved.store, 10).unwrap().inputs_waiting, 0);
    assert!(saved.is_told("pending_steering_inputs", Wrong::Damaged));
}

/// Whoever asks with its id would wait for ever.
#[test]
fn a_receipt_of_an_input_whose_turn_is_lost_says_what_is_known_or_is_told_as_lost() {
    let receipt = |saved: &Saved| {
        let found = saved.store.receipt(TaskNumber(10), &input_id("second"));
        found.unwrap()
    };
    let by_turn = saved(of_inputs(), &[2]);
    assert_eq!(receipt(&by_turn), Some(of_turn(2)));
    let mut of_row = of_inputs();
    let second = of_row[2].writes[0].row().unwrap().clone();
    of_row.truncate(3);
    of_row.push(by_etag(10, 12, &moved(&second, 13, second.state.clone())));
    let of_row = saved(of_row, &[2]);
    assert_eq!(receipt(&of_row), Some(of_turn(2)));
    let unknown = saved(of_inputs(), &[2, 3]);
    assert_eq!(receipt(&unknown), None);
    assert!(unknown.is_told("receipts", Wrong::Damaged));
}

/// A task that asks, and waits for the answer: start, question, wait.
fn of_question() -> (Vec<Commit>, TaskRow) {
    let first = pending(10, "a");
    let mut asks = running(&first, 11, 10);
    asks.asked = true;
    let ask = Write::Ask {
        key: "q".into(),
        ask: Box::new(AskRow {
            turn: 1,
            ..ask_row("may I?")
        }),
    };
    let step = StepRow {
        state: StepState::Asked {
            until: Deadline::NEVER,
        },
        ..step_row("")
    };
    let step = Write::Step {
        turn: 1,
        key: "q".into(),
        step: step.into(),
    };
    let wait = WaitReason::Answer {
        step: "q".into(),
        ended: u64::MAX,
        until: Deadline::NEVER,
    };
    let since = Micros(300);
    let waits = moved(&asks, 12, State::Suspended { since, wait });
    let commits = vec![
        start(&first),
        with(&asks, Expect::Etag(Etag(10)), vec![ask, step]),
        with(&waits, lease(), Vec::new()),
    ];
    (commits, waits)
}

#[test]
fn who_waits_for_the_answer_to_a_lost_question_is_entered_again() {
    let (commits, waits) = of_question();
    let lost = saved(commits.clone(), &[1]);
    let due_at = Deadline::at_once(Micros(NOW));
    let wait = WaitReason::Slot;
    let woken = TaskRow {
        state: State::Pending { due_at, wait },
        ..waits.clone()
    };
    assert_eq!(get(&lost.store, 10), Some(woken));
    // The question is there: it goes on waiting.
    let there = saved(commits, &[0]);
    assert_eq!(get(&there.store, 10), Some(waits));
}

#[test]
fn a_question_goes_with_its_turn_though_that_end_is_lost() {
    let (mut commits, waits) = of_question();
    let mut over = moved(&waits, 13, ended(Micros(500)));
    over.asked = false;
    commits.push(with(&over, Expect::Etag(Etag(12)), vec![Write::RemoveAsks]));
    let next = moved(&over, 14, ended(Micros(600)));
    commits.push(by_etag(10, 13, &next));
    let saved = saved(commits, &[3]);
    assert_eq!(get(&saved.store, 10), Some(next));
    assert_eq!(saved.store.ask(TaskNumber(10), "q").unwrap(), None);
}

#[test]
fn a_value_that_is_lost_beside_its_row_is_told() {
    let value = vec![7; 3_000];
    let mut first = pending(10, "a");
    first.input = Payload::stored(&value);
    let key = ValueKey {
        task: TaskNumber(10),
        kind: ValueKind::Input,
        index: 0,
    };
    let next = moved(&first, 11, first.state.clone());
    let put_value = Write::Value { key, bytes: value };
    let commits = vec![
        with(&first, Expect::Absent, vec![put_value]),
        by_etag(10, 10, &next),
    ];
    let saved = saved(commits, &[0]);
    assert_eq!(get(&saved.store, 10), Some(next));
    assert_eq!(saved.store.value(key).unwrap(), None);
    assert!(saved.is_told("tasks", Wrong::ValueMissing));
    assert_eq!(saved.lost("values"), 1);
}

#[test]
fn the_log_says_that_something_of_it_may_be_missing() {
    let (commits, _) = of_one_task();
    let saved = saved(commits, &[1]);
    let page = saved.store.events(Etag(0), 10).unwrap();
    assert!(page.trimmed >= Etag(12), "{page:?}");
}

/// All of a young file lies in its journal, whose records are told from others by what the head of the file says.
#[test]
fn what_only_the_journal_has_is_saved_without_the_head_of_the_file() {
    let (commits, last) = of_one_task();
    let saved = saved_of(commits, |bytes| bytes[..512].fill(0));
    let journal = saved.report.journal;
    assert_eq!((journal.done, journal.is_broken), (4, false));
    assert_eq!(get(&saved.store, 10), Some(last));
    assert_eq!(saved.report.lost(), 0);
}

/// Nothing says any more how far the database is in its journal.
fn lose_mark(bytes: &mut [u8]) {
    let name = tables::JOURNALLED.as_bytes();
    let at = |bytes: &[u8]| bytes.windows(name.len()).position(|at| at == name);
    while let Some(at) = at(bytes) {
        bytes[at] ^= 1;
    }
}

/// A step and an item of a stream give no etag: those that only the journal had were left out, without a word, where nothing said
/// how far the database was, although all commits behind them were done.
#[test]
fn what_gives_no_etag_is_saved_of_a_file_that_has_lost_its_mark() {
    for is_followed in [true, false] {
        let (directory, path) = place();
        let store = open(&path).unwrap();
        store.define(&["job"]).unwrap();
        let first = pending(10, "a");
        let claimed = running(&first, 11, 10);
        one(&store, start(&first)).unwrap();
        one(&store, by_etag(10, 10, &claimed)).unwrap();
        store.settle().unwrap();
        one(&store, commit(10, lease(), vec![step("s")])).unwrap();
        if is_followed {
            one(&store, start(&pending(20, "b"))).unwrap();
        }
        let mut bytes = fs::read(&path).unwrap();
        drop(store);
        lose_mark(&mut bytes);
        let [damaged, path] = ["damaged", "saved"].map(|name| directory.path().join(name));
        fs::write(&damaged, bytes).unwrap();
        let report = salvage(&damaged, &path, 0x5a, NOW).unwrap();
        let JournalSaved { done, refused, .. } = report.journal;
        assert_eq!((done, refused), (1 + u64::from(is_followed), 0));
        let mut named = report.findings.named().iter();
        assert!(named.any(|found| found.table == "meta" && found.what == Wrong::Damaged));
        let steps = report.tables.iter().find(|saved| saved.table == "steps");
        assert_eq!(steps.map(|steps| (steps.saved, steps.lost)), Some((1, 0)));
    }
}

/// Where nothing says any more how far the database is, older records are there, and between them and the last ones is no gap.
#[test]
fn what_is_left_of_earlier_rounds_is_not_told_as_a_gap() {
    let options = RedbOptions {
        journal_bytes: 5 * BLOCK as u32,
        ..RedbOptions::default()
    };
    let (directory, path) = place();
    let store = RedbStore::open(&path, options, 0xabc, 17).unwrap();
    store.define(&["job"]).unwrap();
    let mut rows = Vec::new();
    for number in 1..=9 {
        let mut row = pending(number, &format!("task-{number}"));
        // Of two blocks each: the third of them does not fit before the end, where an old one stays.
        let len = if (6..9).contains(&number) { 5_000 } else { 10 };
        row.input = Payload::Inline(vec![7; len]);
        one(&store, start(&row)).unwrap();
        if number < 9 {
            store.settle().unwrap();
        }
        rows.push(row);
    }
    let mut bytes = fs::read(&path).unwrap();
    drop(store);
    lose_mark(&mut bytes);
    let [damaged, path] = ["damaged", "saved"].map(|name| directory.path().join(name));
    fs::write(&damaged, bytes).unwrap();
    let report = salvage(&damaged, &path, 0x5a, NOW).unwrap();
    assert!(!report.journal.is_broken, "{report:?}");
    let JournalSaved {
        done,
        taken,
        refused,
        ..
    } = report.journal;
    assert_eq!((done, taken, refused), (1, 0, 0));
    let saved = open(&path).unwrap();
    for (number, row) in (1..).zip(rows) {
        assert_eq!(get(&saved, number), Some(row));
    }
}

/// The salvaged file is one like any other.
#[test]
fn a_task_goes_on_after_a_gap() {
    let (commits, last) = of_one_task();
    let saved = saved(commits, &[1]);
    let next = moved(&last, 5_000_000_000, ended(Micros(900)));
    one(&saved.store, by_etag(10, 12, &next)).unwrap();
    one(&saved.store, removal(10, 5_000_000_000)).unwrap();
    drop(saved.store);
    assert!(verify(&saved.path, 2, 0).unwrap().is_whole());
}
