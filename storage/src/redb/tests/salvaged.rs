//! What is saved of values that were written over: the last ones, or none.

use super::*;
use crate::commit::Write;
use crate::conformance::rows::labelled;
use crate::row::{ValueKey, ValueKind};

const CHATS: u64 = 40;
const TURNS: u64 = 4;
const LEN: usize = 3_000;
/// How redb begins a page.
const LEAF: u8 = 1;
const BRANCH: u8 = 2;

fn key(chat: u64) -> ValueKey {
    ValueKey {
        task: TaskNumber(chat),
        kind: ValueKind::Output,
        index: 0,
    }
}

/// As long at each turn.
fn output(chat: u64, turn: u64) -> Vec<u8> {
    let mut output = vec![turn as u8; LEN];
    output[0] = chat as u8;
    output
}

/// A closed file of chats that keep the output of their last turn.
fn chats(path: &Path) {
    // Each turn is to lie in the database, and not only the last one.
    let options = RedbOptions {
        journal_bytes: 0,
        ..RedbOptions::default()
    };
    let store = RedbStore::open(path, options, 1, 0).unwrap();
    store.define(&["chat"]).unwrap();
    for chat in 1..=CHATS {
        let row = labelled(chat, &format!("chat-{chat:02}"), &[]);
        one(&store, start(&row)).unwrap();
    }
    for turn in 1..=TURNS {
        for chat in 1..=CHATS {
            let value = Write::Value {
                key: key(chat),
                bytes: output(chat, turn),
            };
            one(&store, commit(chat, Expect::Etag(Etag(chat)), vec![value])).unwrap();
        }
    }
}

/// Two versions of an output are both whole, and nothing in them says which is the last: salvage took the one that lay
/// first in the file, and said that nothing was lost.
#[test]
fn an_output_of_an_earlier_turn_is_never_saved_as_the_last_one() {
    let (directory, path) = place();
    chats(&path);
    let bytes = fs::read(&path).unwrap();
    let [damaged, saved] = ["damaged", "saved"].map(|name| directory.path().join(name));
    let mut missing_of = [0, 0];
    for page in 1..bytes.len() / 4_096 {
        let kind = bytes[page * 4_096];
        if kind != BRANCH && kind != LEAF {
            continue;
        }
        let mut image = bytes.clone();
        image[page * 4_096..(page + 1) * 4_096].fill(0);
        fs::write(&damaged, &image).unwrap();
        let _ = fs::remove_file(&saved);
        let report = salvage(&damaged, &saved, 2, 0).unwrap();
        if report.found == FoundBy::ByPages {
            // All of it is of an earlier moment, and that is told.
            continue;
        }
        let store = open(&saved).unwrap();
        let mut missing = 0;
        for chat in 1..=CHATS {
            match store.value(key(chat)) {
                Ok(Some(found)) => assert!(
                    found == output(chat, TURNS),
                    "page {page}: chat {chat} has the output of turn {}",
                    found[1]
                ),
                Ok(None) | Err(_) => missing += 1,
            }
        }
        let told = report.lost() > 0 && !report.findings.is_empty();
        assert!(
            missing == 0 || told,
            "page {page}: {missing} missing, {report:?}"
        );
        missing_of[usize::from(kind == BRANCH)] += missing;
    }
    assert!(
        missing_of.iter().all(|missing| *missing > 0),
        "{missing_of:?}"
    );
}
