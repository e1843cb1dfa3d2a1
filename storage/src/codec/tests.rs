//! The bytes on disk: golden, checked, and never read as something else.

use super::*;
use crate::conformance::rows::{
    ask_row, ended, event, input, input_id, isolated, life, moved, pending, run_row, running,
    segment, step_row, turn_row, undecodable,
};
use crate::row::{
    CancelRow, CancelScope, Delivery, EventKind, Facts, Failure, FailureKind, Guard, GuardPhase,
    Mark, Outcome, ParentRow, Payload, PreviousInput, Probation, Receipt, State, StepState, Taken,
    TurnResult, ValueKey, ValueKind, WaitReason,
};
use std::sync::Arc;

/// One line per entry: its name and its bytes in hex. These files must be readable for ever.
const GOLDEN: &str = include_str!("golden.txt");
const TASK: TaskNumber = TaskNumber(10);
const IN: Slot<'static> = Slot::Input(TASK, 1);
const OF: Slot<'static> = Slot::Receipt(TASK, "first");
const AT: Slot<'static> = Slot::Value(ValueKey {
    task: TASK,
    kind: ValueKind::Output,
    index: 1,
});
const TURN: Slot<'static> = Slot::Turn(TASK, 5);
const RUN: Slot<'static> = Slot::Run(TASK, 2);
const SEGMENT: Slot<'static> = Slot::Segment(TASK, 3);
const STEP: Slot<'static> = Slot::Step(TASK, 5, "fetch");
const ASK: Slot<'static> = Slot::Ask(TASK, "delete");
const EVENT: Slot<'static> = Slot::Event(Etag(11));
const LIFE: Slot<'static> = Slot::Life(3, 7);

fn failure() -> Failure {
    Failure {
        kind: FailureKind::Panic,
        message: "it broke".into(),
        chain: vec!["because".into()],
        attempts: 3,
    }
}

/// A row with no empty field.
fn full() -> TaskRow {
    let mut row = running(&pending(10, "doc-17"), 16, 7);
    (row.steered, row.chained) = (true, true);
    (row.inputs_waiting, row.inputs_taken) = (2, 1);
    row.guard = Guard {
        deaths: 2,
        alone: 1,
        probation: Probation::Group,
    };
    row.last_input_id = Some(input_id("last"));
    row.previous = Some(PreviousInput {
        seq: 3,
        payload: Payload::Inline(b"2".to_vec()),
    });
    row.cancel = Some(CancelRow {
        scope: CancelScope::Turn,
        reason: "enough".into(),
        at: Micros(250),
    });
    let family = Family {
        task: TaskNumber(4),
        turn: 9,
    };
    row.parent = Some(ParentRow {
        family,
        id: row.id.clone(),
        detached: true,
    });
    row.has_children = true;
    row.deadline = Deadline::own(Micros(9_000));
    row.last_failure = Some(failure());
    row.facts = Arc::new(Facts {
        title: Some("Title".into()),
        description: Some("What it does".into()),
        tags: vec![("team".into(), "blue".into())],
        session: Some("s-1".into()),
        traceparent: Some("00-1-2-01".into()),
        labels: vec!["big".into(), "red".into()],
        ..Facts::clone(&row.facts)
    });
    row.timeline = vec![Mark {
        at: Micros(10),
        turn: 1,
        what: EventKind::Started,
    }]
    .into();
    row
}

fn rows() -> Vec<(&'static str, TaskRow)> {
    let row = pending(10, "doc-17");
    let failed = State::Completed {
        at: Micros(9),
        outcome: Outcome::Failed(failure()),
        expires_at: Micros(900),
    };
    let parked = State::Suspended {
        since: Micros(1),
        wait: WaitReason::WaitingHandler,
    };
    let due = |line| State::Pending {
        due_at: Deadline {
            line,
            at: Micros(700),
        },
        wait: WaitReason::BackOff,
    };
    let (life, ahead_us) = (9, -5_000_000);
    let jump = Line::Jump { life, ahead_us };
    let mut stored = running(&row, 11, 7);
    stored.input = Payload::Stored { len: 5000, crc: 0 };
    vec![
        ("row.pending", row.clone()),
        ("row.in_progress", stored),
        ("row.suspended", moved(&row, 12, parked)),
        ("row.undecodable", moved(&row, 13, undecodable())),
        ("row.completed", moved(&row, 14, ended(Micros::NEVER))),
        ("row.failed", moved(&row, 15, failed)),
        ("row.full", full()),
        ("row.isolated", moved(&row, 17, isolated())),
        ("row.delayed", moved(&row, 18, due(Line::Wall))),
        ("row.backing_off", moved(&row, 19, due(jump))),
    ]
}

fn receipts() -> Vec<(&'static str, KeptReceipt)> {
    let turn = |step: Option<&str>| Receipt::Turn {
        run: 1,
        turn: 2,
        total: 5,
        step: step.map(Into::into),
    };
    let withdrawn = Receipt::Withdrawn {
        reason: "changed my mind".into(),
    };
    let kept = |receipt, listed_at: Option<u64>| KeptReceipt {
        receipt,
        listed_at: listed_at.map(Micros),
    };
    vec![
        ("receipt.queued", kept(Receipt::Queued { seq: 4 }, None)),
        ("receipt.turn", kept(turn(None), Some(900))),
        ("receipt.taken", kept(turn(Some("file-3")), Some(900))),
        ("receipt.withdrawn", kept(withdrawn, Some(900))),
        ("receipt.task_ended", kept(Receipt::TaskEnded, Some(900))),
    ]
}

fn inputs() -> Vec<(&'static str, InputRow)> {
    let taken = InputRow {
        delivery: Delivery::AtBoundary,
        taken: Some(Taken {
            key: "file-3".into(),
            generation: Generation(7),
        }),
        ..input("x")
    };
    let after = InputRow {
        delivery: Delivery::AfterTurn,
        ..input("x")
    };
    vec![
        ("input", input("x")),
        ("input.taken", taken),
        ("input.after_turn", after),
    ]
}

fn turns() -> Vec<(&'static str, TurnRow)> {
    let ended = TurnRow {
        result: TurnResult::Ended(Outcome::Failed(failure())),
        ..turn_row(7)
    };
    vec![("turn.replied", turn_row(5)), ("turn.ended", ended)]
}

fn lives() -> Vec<(&'static str, LifeRow)> {
    let stopped = LifeRow {
        phase: GuardPhase::Probation,
        stopped_at: Some(Micros(200)),
        ..life(7, 100)
    };
    vec![("life", life(7, 100)), ("life.stopped", stopped)]
}

fn encoded(row: &TaskRow) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_row(TASK, (&Header::of(row), row), &mut bytes).unwrap();
    bytes
}

fn golden(name: &str) -> Vec<u8> {
    let line = GOLDEN
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let hex = line.unwrap_or_default().as_bytes();
    hex.chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// Puts down what is written now; only before the first release.
fn bless(name: &str, hex: &str) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/codec/golden.txt");
    let text = std::fs::read_to_string(path).unwrap();
    let line = format!("{name} {hex}");
    let other = |old: &&str| old.split(' ').next() != Some(name);
    let mut lines: Vec<&str> = text.lines().filter(other).collect();
    lines.push(&line);
    lines.sort_unstable();
    std::fs::write(path, lines.join("\n") + "\n").unwrap();
}

#[track_caller]
pub(crate) fn assert_golden(name: &str, bytes: &[u8]) {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    if std::env::var_os("OUTLIVE_BLESS").is_some() {
        return bless(name, &hex);
    }
    assert_eq!(
        golden(name),
        bytes,
        "the format changed; version 1 must stay readable. Now:\n{name} {hex}"
    );
}

#[test]
fn rows_have_their_golden_bytes() {
    for (name, row) in rows() {
        assert_golden(name, &encoded(&row));
        let bytes = encoded(&row);
        assert_eq!(decode_row(TASK, &bytes), Ok(row.clone()));
        assert_eq!(header(TASK, &bytes), Ok(Header::of(&row)));
    }
}

/// Writes an entry as its golden bytes say, and reads those.
#[track_caller]
fn assert_entry<E: Entry + PartialEq + std::fmt::Debug>(name: &str, slot: Slot<'_>, entry: E) {
    let mut bytes = Vec::new();
    encode(slot, &entry, &mut bytes).unwrap();
    assert_golden(name, &bytes);
    assert_eq!(decode(slot, &bytes), Ok(entry));
}

#[test]
fn other_entries_have_their_golden_bytes() {
    for (name, input) in inputs() {
        assert_entry(name, IN, input);
    }
    for (name, receipt) in receipts() {
        assert_entry(name, OF, receipt);
    }
    for (name, turn) in turns() {
        assert_entry(name, TURN, turn);
    }
    assert_entry("run", RUN, run_row(2));
    assert_entry("segment", SEGMENT, segment(3, 3));
    assert_entry("ask", ASK, ask_row("?"));
    assert_entry("event", EVENT, event(11, 10, 300));
    for (name, life) in lives() {
        assert_entry(name, LIFE, life);
    }
    let mut bytes = Vec::new();
    for (name, state) in [
        ("step", StepState::Done),
        ("step.begun", StepState::Begun),
        (
            "step.sleeping",
            StepState::Sleeping {
                until: Deadline::wall(Micros(900)),
            },
        ),
        (
            "step.asked",
            StepState::Asked {
                until: Deadline::wall(Micros(900)),
            },
        ),
        ("step.answered", StepState::Answered { digest: [9; 16] }),
        ("step.expired", StepState::Expired { digest: [9; 16] }),
    ] {
        let step = StepRow {
            state,
            ..step_row("[1]")
        };
        encode_step(STEP, &step, &mut bytes).unwrap();
        assert_golden(name, &bytes);
        assert_eq!(decode_step(STEP, &bytes), Ok(step));
    }
    encode_value(AT, b"[1]", &mut bytes).unwrap();
    assert_golden("value", &bytes);
    assert_eq!(decode_value(AT, &bytes), Ok(b"[1]".to_vec()));
}

/// Gives each flipped and each shortened form of `bytes` to `read`, which must refuse it.
#[track_caller]
fn assert_damage_is_refused<T: std::fmt::Debug>(bytes: &[u8], read: impl Fn(&[u8]) -> Result<T>) {
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let answer = read(&damaged);
        let refused = matches!(
            answer,
            Err(StoreError::Corrupt { .. } | StoreError::TooNew { .. })
        );
        assert!(refused, "bit {bit} gave {answer:?}");
    }
    for len in 0..bytes.len() {
        assert!(
            read(&bytes[..len]).is_err(),
            "the first {len} bytes were accepted"
        );
    }
    let longer = [bytes, &[0]].concat();
    assert!(read(&longer).is_err(), "a byte too many was accepted");
}

#[test]
fn a_flipped_bit_is_never_a_row() {
    for (_, row) in rows() {
        assert_damage_is_refused(&encoded(&row), |bytes| decode_row(TASK, bytes));
    }
}

/// Refuses each damaged form of an entry, and the whole one under any of these other keys.
#[track_caller]
fn assert_entry_is_guarded<E: Entry + std::fmt::Debug>(
    slot: Slot<'_>,
    entry: &E,
    others: &[Slot<'_>],
) {
    let mut bytes = Vec::new();
    encode(slot, entry, &mut bytes).unwrap();
    assert_damage_is_refused(&bytes, |bytes| decode::<E>(slot, bytes));
    for other in others {
        let answer = decode::<E>(*other, &bytes);
        assert!(
            matches!(answer, Err(StoreError::Corrupt { .. })),
            "{other} gave {answer:?}"
        );
    }
}

#[test]
fn a_flipped_bit_is_never_an_entry_and_no_entry_is_another_keys() {
    let other = TaskNumber(11);
    let of_others = [Slot::Input(TASK, 2), Slot::Input(other, 1)];
    for (_, input) in inputs() {
        assert_entry_is_guarded(IN, &input, &of_others);
    }
    let of_others = [Slot::Receipt(TASK, "second"), Slot::Receipt(other, "first")];
    for (_, receipt) in receipts() {
        assert_entry_is_guarded(OF, &receipt, &of_others);
    }
    for (_, turn) in turns() {
        assert_entry_is_guarded(TURN, &turn, &[Slot::Turn(TASK, 6), Slot::Turn(other, 5)]);
    }
    let of_others = [Slot::Run(TASK, 3), Slot::Run(other, 2)];
    assert_entry_is_guarded(RUN, &run_row(2), &of_others);
    let of_others = [Slot::Segment(TASK, 4), Slot::Segment(TaskNumber(11), 3)];
    assert_entry_is_guarded(SEGMENT, &segment(3, 3), &of_others);
    let of_others = [
        Slot::Ask(TASK, "deletes"),
        Slot::Ask(TaskNumber(11), "delete"),
    ];
    assert_entry_is_guarded(ASK, &ask_row("?"), &of_others);
    assert_entry_is_guarded(EVENT, &event(11, 10, 300), &[Slot::Event(Etag(12))]);
    for (_, life) in lives() {
        assert_entry_is_guarded(LIFE, &life, &[Slot::Life(4, 7), Slot::Life(3, 8)]);
    }
}

#[test]
fn a_flipped_bit_is_never_a_step_and_no_step_is_another_keys() {
    let mut bytes = Vec::new();
    encode_step(STEP, &step_row("[1]"), &mut bytes).unwrap();
    assert_damage_is_refused(&bytes, |bytes| decode_step(STEP, bytes));
    for other in [
        Slot::Step(TASK, 6, "fetch"),
        Slot::Step(TASK, 5, "fetcher"),
        Slot::Step(TaskNumber(11), 5, "fetch"),
    ] {
        assert!(decode_step(other, &bytes).is_err(), "{other}");
    }
}

#[test]
fn a_flipped_bit_is_never_a_value() {
    let mut bytes = Vec::new();
    encode_value(AT, b"[1]", &mut bytes).unwrap();
    assert_damage_is_refused(&bytes, |bytes| decode_value(AT, bytes));
}

#[test]
fn an_entry_of_one_kind_is_never_one_of_another() {
    let mut bytes = Vec::new();
    encode(TURN, &turn_row(5), &mut bytes).unwrap();
    assert!(decode::<crate::row::RunRow>(TURN, &bytes).is_err());
    assert!(decode::<InputRow>(TURN, &bytes).is_err());
    assert!(decode::<SegmentRow>(TURN, &bytes).is_err());
    assert!(decode_value(TURN, &bytes).is_err());
}

#[test]
fn an_entry_under_another_key_is_refused() {
    let bytes = encoded(&pending(10, "a"));
    assert!(matches!(
        decode_row(TaskNumber(11), &bytes),
        Err(StoreError::Corrupt { table: "tasks", .. })
    ));
    assert!(matches!(
        header(TaskNumber(11), &bytes),
        Err(StoreError::Corrupt { table: "tasks", .. })
    ));
}

#[test]
fn a_newer_format_is_told_from_damage() {
    let mut bytes = encoded(&pending(10, "a"));
    bytes[2] = VERSION + 1;
    let too_new = StoreError::TooNew {
        table: "tasks",
        found: VERSION + 1,
        supported: VERSION,
    };
    assert_eq!(decode_row(TASK, &bytes), Err(too_new));
}

#[test]
fn a_header_of_another_row_is_refused() {
    let (row, other) = (encoded(&pending(10, "a")), encoded(&pending(11, "a")));
    assert_eq!(row.len(), other.len());
    let mixed = [&other[..HEADER_LEN], &row[HEADER_LEN..]].concat();
    assert!(matches!(
        decode_row(TASK, &mixed),
        Err(StoreError::Corrupt { .. })
    ));
}

#[test]
fn a_row_of_more_than_the_limit_is_malformed() {
    let mut row = pending(10, "a");
    row.input = Payload::Inline(vec![0; BODY_MAX]);
    let answer = encode_row(TASK, (&Header::of(&row), &row), &mut Vec::new());
    assert!(matches!(answer, Err(StoreError::Malformed { .. })));
}

/// bincode counts each number as eight bytes when it reads: what could be written could not be read.
#[test]
fn the_largest_row_that_can_be_written_can_be_read() {
    let mut row = pending(10, "a");
    row.input = Payload::Inline(Vec::new());
    let encoded = |row: &TaskRow| {
        let mut bytes = Vec::new();
        encode_row(TASK, (&Header::of(row), row), &mut bytes).map(|()| bytes)
    };
    let empty = encoded(&row).unwrap().len() - HEADER_LEN - CRC_LEN;
    // Its length takes five bytes, and not one.
    row.input = Payload::Inline(vec![7; BODY_MAX - empty - 4]);
    let largest = encoded(&row).unwrap();
    assert_eq!(largest.len() - HEADER_LEN - CRC_LEN, BODY_MAX);
    assert_eq!(decode_row(TASK, &largest).unwrap(), row);
    row.input = Payload::Inline(vec![7; BODY_MAX - empty - 3]);
    assert!(matches!(encoded(&row), Err(StoreError::Malformed { .. })));
}

/// It would be a row that nobody can read.
#[cfg(feature = "redb")]
#[test]
fn a_row_without_a_body_is_malformed() {
    let row = pending(10, "a");
    let answer = append_row_of(TASK, (&Header::of(&row), &[]), &mut Vec::new());
    assert!(matches!(answer, Err(StoreError::Malformed { .. })));
}
