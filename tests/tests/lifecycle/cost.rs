//! What one turn of a chain costs does not depend on how many there were before.
//!
//! Counted in entries put into the file's trees and in bytes of these entries as encoded, both of which are the same to
//! the last byte. The pages written are counted too, and are not: receipts and the log of transitions grow with each
//! turn, so the trees that hold them get deeper now and then, and a deeper tree is a page more on each write.

use outlive::{Ctx, Engine, HandlerError, Reply, TaskDef};
use outlive_storage::RedbStore;
use outlive_storage::redb::RedbOptions;
use outlive_tests::home::Home;
use std::sync::Arc;

const CHAIN: TaskDef<String, String> = TaskDef::new("chain");
const TURNS: usize = 1_000;
/// How many turns are compared, from the tenth and up to the last.
const COMPARED: usize = 10;

/// What one turn wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cost {
    entries: u64,
    entry_bytes: u64,
    page_bytes: u64,
}

fn written(store: &RedbStore) -> Cost {
    Cost {
        entries: store.btree_writes(),
        entry_bytes: store.entry_bytes(),
        page_bytes: store.io().written_bytes,
    }
}

async fn chain(_: Ctx, text: String) -> Result<Reply<String>, HandlerError> {
    Ok(Reply::suspend(text, "more"))
}

/// The cost of each turn of a chain whose inputs and outputs all have this size.
async fn costs(def: TaskDef<String, String>, size: usize) -> Vec<Cost> {
    let home = Home::file();
    // What a quick repair needs is written with each commit, and grows with the file, not with the chain. With a journal the
    // pages are written now and then.
    let options = RedbOptions {
        quick_repair: false,
        journal_bytes: 0,
        ..RedbOptions::default()
    };
    let store = home.redb(options);
    let builder = Engine::on_store(Arc::<RedbStore>::clone(&store)).inline();
    let engine = builder.task(def, chain).open().await.unwrap();
    engine.recovery().await;
    let text = "x".repeat(size);
    let mut costs = Vec::with_capacity(TURNS);
    for _ in 0..TURNS {
        let before = written(&store);
        assert_eq!(engine.run(def, "the-chain", &text).await.unwrap(), text);
        let after = written(&store);
        costs.push(Cost {
            entries: after.entries - before.entries,
            entry_bytes: after.entry_bytes - before.entry_bytes,
            page_bytes: after.page_bytes - before.page_bytes,
        });
    }
    costs
}

async fn assert_level(def: TaskDef<String, String>, size: usize, entries: u64) {
    let costs = costs(def, size).await;
    let (early, late) = (costs[9], costs[TURNS - 1]);
    println!("values of {size} bytes, turn 10: {early:?}, turn {TURNS}: {late:?}");
    assert_eq!(early.entries, entries, "what a turn puts and removes");
    let compared = costs[9..9 + COMPARED]
        .iter()
        .chain(&costs[TURNS - COMPARED..]);
    for cost in compared {
        assert_eq!(cost.entries, early.entries);
        // A number below 251 takes one byte, a larger one three.
        let most = early.entry_bytes + early.entry_bytes / 8;
        assert!(cost.entry_bytes <= most, "{cost:?} after {early:?}");
    }
    let (early, late) = (early.page_bytes as f64, late.page_bytes as f64);
    assert!(late <= early * 1.5, "pages: {early} bytes, then {late}");
}

/// A resumption: row, out of `due`, into `running`, log. An end: row, back again, the turn, the receipt and its time,
/// log. Beside them, for values above one KiB: the input put and the one before the last removed, the output put.
#[tokio::test]
async fn a_turn_costs_as_much_at_turn_1000_as_at_turn_10_when_few_turns_are_kept() {
    assert_level(CHAIN.keep_turns(5), 3_000, 14).await;
}

#[tokio::test]
async fn a_turn_costs_as_much_at_turn_1000_as_at_turn_10_by_default() {
    assert_level(CHAIN, 100, 11).await;
}
