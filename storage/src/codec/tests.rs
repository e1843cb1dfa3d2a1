//! The bytes on disk: golden, checked, and never read as something else.

use super::*;
use crate::conformance::rows::{ended, input, moved, pending, running, undecodable};
use crate::row::{Failure, FailureKind, Outcome, Payload, State, ValueKey, ValueKind, WaitReason};

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

fn rows() -> Vec<(&'static str, TaskRow)> {
    let row = pending(10, "doc-17");
    let failure = Failure {
        kind: FailureKind::Panic,
        message: "it broke".into(),
        chain: vec!["because".into()],
        attempts: 3,
    };
    let failed = State::Completed {
        at: Micros(9),
        outcome: Outcome::Failed(failure),
        expires_at: Micros(900),
    };
    let parked = State::Suspended {
        since: Micros(1),
        wait: WaitReason::WaitingHandler,
    };
    let mut stored = running(&row, 11, 7);
    stored.input = Payload::Stored { len: 5000 };
    vec![
        ("row.pending", row.clone()),
        ("row.in_progress", stored),
        ("row.suspended", moved(&row, 12, parked)),
        ("row.undecodable", moved(&row, 13, undecodable())),
        ("row.completed", moved(&row, 14, ended(Micros::NEVER))),
        ("row.failed", moved(&row, 15, failed)),
    ]
}

fn receipts() -> Vec<(&'static str, Receipt)> {
    vec![
        ("receipt.queued", Receipt::Queued { seq: 4 }),
        ("receipt.turn", Receipt::Turn { turn: 2 }),
        (
            "receipt.answered",
            Receipt::Answered {
                turn: 3,
                output: Payload::Inline(b"1".to_vec()),
            },
        ),
        ("receipt.task_ended", Receipt::TaskEnded),
    ]
}

fn encoded(row: &TaskRow) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_row(TASK, row, &mut bytes).unwrap();
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

#[track_caller]
fn assert_golden(name: &str, bytes: &[u8]) {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
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
        assert_eq!(decode_row(TASK, &golden(name)), Ok(row.clone()));
        assert_eq!(header(TASK, &golden(name)), Ok(Header::of(&row)));
    }
}

#[test]
fn other_entries_have_their_golden_bytes() {
    let mut bytes = Vec::new();
    encode_input(IN, &input("x"), &mut bytes).unwrap();
    assert_golden("input", &bytes);
    assert_eq!(decode_input(IN, &bytes), Ok(input("x")));
    for (name, receipt) in receipts() {
        encode_receipt(OF, &receipt, &mut bytes).unwrap();
        assert_golden(name, &bytes);
        assert_eq!(decode_receipt(OF, &bytes), Ok(receipt));
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

#[test]
fn a_flipped_bit_is_never_an_input_a_receipt_or_a_value() {
    let mut bytes = Vec::new();
    encode_input(IN, &input("x"), &mut bytes).unwrap();
    assert_damage_is_refused(&bytes, |bytes| decode_input(IN, bytes));
    for (_, receipt) in receipts() {
        encode_receipt(OF, &receipt, &mut bytes).unwrap();
        assert_damage_is_refused(&bytes, |bytes| decode_receipt(OF, bytes));
    }
    encode_value(AT, b"[1]", &mut bytes).unwrap();
    assert_damage_is_refused(&bytes, |bytes| decode_value(AT, bytes));
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
    let answer = encode_row(TASK, &row, &mut Vec::new());
    assert!(matches!(answer, Err(StoreError::Malformed { .. })));
}
