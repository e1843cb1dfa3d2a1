//! What a journal says, and what it does not.

use super::*;
use crate::codec::tests::assert_golden;
use crate::commit::{Expect, Write};
use crate::conformance::rows::{
    ask_row, by_etag, commit, event, input, input_id, moved, pending, removal, run_row, segment,
    start, step_row, turn_row, undecodable,
};
use crate::row::{Family, Fate, Generation, Micros, TaskNumber, ValueKey, ValueKind};

fn shape() -> Shape {
    Shape::new(64 << 10, 7)
}

/// The journal of these batches, and the mark behind each.
fn written(batches: &[Vec<Commit>]) -> (Vec<u8>, Vec<Mark>) {
    let (mut journal, mut marks) = (Vec::new(), vec![Mark::default()]);
    let mut record_bytes = Vec::new();
    for batch in batches {
        let mark = marks[marks.len() - 1];
        let commits: Vec<&Commit> = batch.iter().collect();
        let next = record(shape(), mark, &commits, &mut record_bytes).unwrap();
        marks.push(next.expect("room"));
        journal.truncate(mark.at as usize);
        journal.extend_from_slice(&record_bytes);
    }
    journal.resize(shape().journal as usize, 0);
    (journal, marks)
}

fn started(number: u64) -> Vec<Commit> {
    vec![start(&pending(number, &format!("task-{number}")))]
}

fn others() -> Vec<Write> {
    let family = Family {
        task: TaskNumber(4),
        turn: 2,
    };
    vec![
        Write::Step {
            turn: 1,
            key: "k".into(),
            step: step_row("result").into(),
        },
        Write::RemoveStep {
            turn: 1,
            key: "k".into(),
        },
        Write::ForgetSteps { turn: 1 },
        Write::Ask {
            key: "k".into(),
            ask: ask_row("?").into(),
        },
        Write::RemoveAsk { key: "k".into() },
        Write::RemoveAsks,
        Write::Run(run_row(2).into()),
        Write::Segment {
            first: 3,
            segment: segment(3, 2).into(),
        },
        Write::EvictSegments { below: 3 },
        Write::ChildEnded(family),
        Write::FamilyOver {
            turn: 1,
            fate: Fate::Cancelled {
                reason: "enough".into(),
            },
        },
        Write::Event(event(11, 10, 300).into()),
    ]
}

/// One of each change there is.
fn every_write() -> Vec<Commit> {
    let row = pending(10, "a");
    let key = ValueKey {
        task: TaskNumber(10),
        kind: ValueKind::Input,
        index: 3,
    };
    let input_id = || input_id("in");
    let first = vec![
        Write::Row(moved(&row, 11, undecodable()).into()),
        Write::Value {
            key,
            bytes: b"value".to_vec(),
        },
        Write::RemoveValue(key),
        Write::PushInput {
            seq: 5,
            input: input("in"),
        },
        Write::PopInput { seq: 5 },
        Write::KeepReceipt {
            input_id: input_id(),
            listed_at: Micros(1),
            until: Micros(2),
        },
        Write::RemoveReceipt {
            input_id: input_id(),
            listed_at: Micros(2),
        },
        Write::Turn {
            slot: 1,
            turn: turn_row(1).into(),
        },
    ];
    let writes = first.into_iter().chain(others());
    vec![
        start(&row),
        by_etag(10, 10, &row),
        commit(10, Expect::Lease(Generation(7)), writes.collect()),
        removal(10, 11),
    ]
}

#[test]
fn a_record_has_its_golden_bytes_and_says_what_was_written() {
    let batch = every_write();
    let (journal, marks) = written(std::slice::from_ref(&batch));
    let body_len = Head::of(shape(), &journal).unwrap().body_len;
    assert_golden("journal.record", &journal[..HEAD_LEN + body_len]);
    assert!(journal[HEAD_LEN + body_len..].iter().all(|byte| *byte == 0));
    let behind = behind(shape(), Mark::default(), &journal);
    let expected = Behind {
        batches: vec![(marks[1], batch)],
        broken: None,
    };
    assert_eq!(behind, expected);
}

#[test]
fn a_mark_is_what_was_put_or_nothing() {
    let mark = Mark {
        seq: 1 << 40,
        at: 3 << 12,
        chain: 0xdead_beef,
    };
    assert_eq!(Mark::of_bits(mark.to_bits()), Some(mark));
    for bit in 0..128 {
        assert_eq!(Mark::of_bits(mark.to_bits() ^ 1 << bit), None, "bit {bit}");
    }
}

#[test]
fn what_lies_behind_a_mark_is_read_from_there() {
    let batches = [started(10), started(20), started(30)];
    let (journal, marks) = written(&batches);
    for (at, mark) in marks.iter().enumerate() {
        let found = behind(shape(), *mark, &journal);
        let read: Vec<_> = found.batches.into_iter().map(|(_, batch)| batch).collect();
        assert_eq!((read.as_slice(), found.broken), (&batches[at..], None));
    }
    assert_eq!(first(shape(), &journal), Some(Mark::default()));
}

#[test]
fn a_last_record_of_which_a_bit_is_wrong_was_never_written() {
    let batches = [started(10), started(20)];
    let (whole, marks) = written(&batches);
    let last = marks[1].at as usize;
    let body_len = Head::of(shape(), &whole[last..]).unwrap().body_len;
    for at in last..last + HEAD_LEN + body_len {
        let mut journal = whole.clone();
        journal[at] ^= 0x10;
        let found = behind(shape(), Mark::default(), &journal);
        assert_eq!((found.batches.len(), found.broken), (1, None), "byte {at}");
    }
}

#[test]
fn a_record_that_others_follow_and_that_cannot_be_read_is_damage() {
    let batches = [started(10), started(20), started(30)];
    let (whole, marks) = written(&batches);
    for damaged in [0, marks[1].at as usize + HEAD_LEN] {
        let mut journal = whole.clone();
        journal[damaged] ^= 0x10;
        let found = behind(shape(), Mark::default(), &journal);
        assert_eq!(found.broken, Some(Broken::Gap));
        let before = usize::from(damaged > 0);
        assert_eq!(found.batches.len(), before);
        let later = beyond(shape(), &found, Mark::default(), &journal);
        assert_eq!(later, batches[before + 1..]);
    }
}

/// Which batch lies behind a record says the record, and not only its place.
#[test]
fn a_record_follows_only_the_one_it_was_written_after() {
    let (other, _) = written(&[started(10), started(20), started(30)]);
    let (mut journal, marks) = written(&[started(11)]);
    let at = marks[1].at as usize;
    journal[at..].copy_from_slice(&other[at..]);
    // The batch that was number 2 before, and failed, is not what follows the new number 1.
    let found = behind(shape(), Mark::default(), &journal);
    assert_eq!(found.batches.len(), 1);
}

#[test]
fn what_is_left_of_an_earlier_round_is_not_read() {
    let (mut journal, marks) = written(&[started(10), started(20), started(30)]);
    let rewound = marks[3].rewound();
    assert_eq!(behind(shape(), rewound, &journal).batches, []);
    let batch = started(40);
    let mut next = Vec::new();
    let mark = record(shape(), rewound, &[&batch[0]], &mut next).unwrap();
    journal[..next.len()].copy_from_slice(&next);
    let found = behind(shape(), rewound, &journal);
    let expected = Behind {
        batches: vec![(mark.unwrap(), batch)],
        broken: None,
    };
    assert_eq!(found, expected);
}

#[test]
fn a_record_of_another_file_is_none() {
    let (journal, _) = written(&[started(10)]);
    let other = Shape::new(64 << 10, 8);
    let found = behind(other, Mark::default(), &journal);
    assert_eq!((found.batches.len(), found.broken), (0, None));
}

#[test]
fn a_batch_without_room_has_no_record() {
    let batch = started(10);
    let mut bytes = Vec::new();
    let small = Shape::new(4096, 7);
    let first = record(small, Mark::default(), &[&batch[0]], &mut bytes).unwrap();
    let first = first.expect("room for one");
    assert_eq!(record(small, first, &[&batch[0]], &mut bytes), Ok(None));
    assert!(
        record(small, first.rewound(), &[&batch[0]], &mut bytes).is_ok_and(|mark| mark.is_some())
    );
}

#[test]
fn a_record_of_another_version_is_told() {
    let (mut journal, _) = written(&[started(10)]);
    journal[2] += 1;
    let crc = head_crc(shape(), &journal[..24]);
    journal[24..28].copy_from_slice(&crc.to_le_bytes());
    let found = behind(shape(), Mark::default(), &journal);
    assert_eq!(found.broken, Some(Broken::Unread));
}
