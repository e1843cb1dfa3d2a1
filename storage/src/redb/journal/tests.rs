//! What a journal says, and what it does not.

use super::*;
use crate::codec::tests::assert_golden;
use crate::commit::{Expect, Write};
use crate::conformance::differential::Chance;
use crate::conformance::rows::{
    ask_row, by_etag, commit, event, input, input_id, moved, pending, removal, run_row, segment,
    start, step_row, turn_row, undecodable,
};
use crate::row::{Family, Fate, Generation, Micros, Payload, TaskNumber, ValueKey, ValueKind};

fn shape() -> Shape {
    Shape::new(64 << 10, 7)
}

/// The journal of these batches, and the mark behind each.
fn written(batches: &[Vec<Commit>]) -> (Vec<u8>, Vec<Mark>) {
    let mut journal = vec![0; shape().journal as usize];
    let mut marks = vec![Mark::default()];
    for batch in batches {
        let reached = marks[marks.len() - 1];
        let next = put(&mut journal, (reached, marks[0]), batch);
        marks.push(next.expect("room"));
    }
    (journal, marks)
}

/// Writes a record into a journal, if there is room.
fn put(journal: &mut [u8], marks: (Mark, Mark), batch: &[Commit]) -> Option<Mark> {
    let shape = Shape::new(journal.len() as u32, 7);
    let commits: Vec<&Commit> = batch.iter().collect();
    let mut bytes = Vec::new();
    let Placed { at: from, next, .. } = record(shape, marks, &commits, &mut bytes).unwrap()?;
    journal[from as usize..][..bytes.len()].copy_from_slice(&bytes);
    Some(next)
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
        Write::Event(event(11, 10, 300)),
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
        let later: Vec<_> = later.into_iter().map(|(_, batch)| batch).collect();
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
    // The database has all of it, and so much of the journal is taken that the next one goes to the beginning.
    let durable = Mark {
        at: shape().journal,
        ..marks[3]
    };
    assert_eq!(behind(shape(), durable, &journal).batches, []);
    // Nor one that would follow by its checksum, and does not by its number.
    let later = Mark {
        seq: 7,
        ..Mark::default()
    };
    assert_eq!(behind(shape(), later, &journal).batches, []);
    let batch = started(40);
    let next = put(&mut journal, (durable, durable), &batch).expect("room");
    assert_eq!(next.at, BLOCK as u32);
    let found = behind(shape(), durable, &journal);
    let expected = Behind {
        batches: vec![(next, batch)],
        broken: None,
    };
    assert_eq!(found, expected);
    assert_eq!(first(shape(), &journal).map(|first| first.seq), Some(1));
}

/// Of a batch of so many bytes or a little more.
fn large(number: u64, bytes: usize) -> Vec<Commit> {
    let mut row = pending(number, "large");
    row.input = Payload::Inline(vec![7; bytes]);
    vec![start(&row)]
}

/// Whatever the sizes of the records, and however far the database lags behind: what it does not have is never written over.
#[test]
fn a_record_goes_where_no_other_is_that_the_database_does_not_have() {
    let mut chance = Chance::of(11);
    let shape = Shape::new(12 * BLOCK as u32, 7);
    let mut journal = vec![0; shape.journal as usize];
    // What is behind the mark of the database, with the mark behind each.
    let mut behind_it: std::collections::VecDeque<(Mark, Vec<Commit>)> = Default::default();
    let (mut reached, mut durable) = (Mark::default(), Mark::default());
    let (mut refused, mut wrapped) = (0, 0);
    for number in 1..3_000 {
        let blocks = chance.below(if number % 5 == 0 { 12 } else { 4 }) as usize;
        let batch = large(number, blocks * BLOCK as usize);
        match put(&mut journal, (reached, durable), &batch) {
            Some(next) => {
                wrapped += usize::from(next.at < reached.at);
                reached = next;
                behind_it.push_back((next, batch));
                assert!(between(shape, (durable, reached)) <= u64::from(shape.journal));
            }
            None => {
                refused += 1;
                // The database itself makes it durable, and then has all there is.
                if chance.below(3) == 0 {
                    behind_it.clear();
                    reached = reached.rewound();
                    durable = reached;
                }
            }
        }
        let found = behind(shape, durable, &journal);
        assert_eq!(found.broken, None, "record {number}");
        assert_eq!(
            found.batches,
            Vec::from(behind_it.clone()),
            "record {number}"
        );
        // The database gets some of it, and more when there was no room.
        for _ in 0..chance.below(4) {
            if let Some((mark, _)) = behind_it.pop_front() {
                durable = mark;
            }
        }
    }
    assert!(
        refused > 100 && wrapped > 300,
        "{refused} refused, {wrapped} wrapped"
    );
}

#[test]
fn a_damaged_record_is_told_wherever_the_later_ones_lie() {
    let shape = Shape::new(4 * BLOCK as u32, 7);
    let mut journal = vec![0; shape.journal as usize];
    let start = Mark {
        seq: 8,
        at: 3 * BLOCK as u32,
        chain: 1,
    };
    let damaged = put(&mut journal, (start, start), &started(10)).expect("room");
    let later = put(&mut journal, (damaged, start), &started(20)).expect("room");
    assert_eq!((damaged.at, later.at), (4 * BLOCK as u32, BLOCK as u32));
    journal[3 * BLOCK as usize + HEAD_LEN] ^= 1;
    let found = behind(shape, start, &journal);
    assert_eq!((found.batches.len(), found.broken), (0, Some(Broken::Gap)));
    assert_eq!(beyond(shape, &found, start, &journal), [(10, started(20))]);
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
    let mut journal = vec![0; BLOCK as usize];
    let none = Mark::default();
    let first = put(&mut journal, (none, none), &started(10)).expect("room for one");
    assert_eq!(put(&mut journal, (first, none), &started(20)), None);
    // The database has it: its place is free.
    assert!(put(&mut journal, (first, first), &started(20)).is_some());
    assert_eq!(put(&mut journal, (first, first), &large(30, 5_000)), None);
}

/// The database would refuse it, after it was acknowledged.
#[test]
fn a_batch_that_may_be_too_large_for_the_database_has_no_record() {
    let mut journal = vec![0; 32 << 20];
    let none = Mark::default();
    assert!(put(&mut journal, (none, none), &large(10, 4_000_000)).is_some());
    assert_eq!(
        put(&mut journal, (none, none), &large(10, codec::BODY_MAX)),
        None
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
