//! Rows put into a store by hand, made from one that an engine has written.

use outlive::{Ctx, Engine, HandlerError, TaskDef};
use outlive_storage::row::{
    Deadline, Micros, Payload, State, TaskNumber, TaskRow, ValueKey, ValueKind, WaitReason,
};
use outlive_storage::{Commit, Expect, MemStore, Scan, Store, Write};
use std::sync::Arc;
use std::time::Duration;

/// A task that waits for its moment, as its start leaves it: number 1, first definition of its store.
///
/// # Panics
/// When an engine in memory does not do as it is asked.
pub fn template() -> TaskRow {
    const LATER: TaskDef<u32, u32> = TaskDef::new("later");
    let store = Arc::new(MemStore::new());
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let later = |_: Ctx, n| async move { Ok::<_, HandlerError>(n) };
        let builder = Engine::on_store(Arc::<MemStore>::clone(&store)).inline();
        let engine = builder.task(LATER, later).open().await.expect("it opens");
        let start = engine.start(LATER, "a", &1);
        let start = start.start_in(Duration::from_secs(1));
        start.await.expect("it starts");
    });
    let mut page = store.scan(Scan::All, None, 1).expect("a page");
    page.rows.remove(0).row.expect("the row")
}

/// A task of this name, due at once, whose input is these bytes, whatever they are.
///
/// # Panics
/// When the store does not do as it is asked.
pub fn due(store: &dyn Store, template: &TaskRow, name: &str, input: &[u8]) {
    let mut row = template.clone();
    row.def = store.define(&[name]).expect("a definition")[0];
    row.state = State::Pending {
        due_at: Deadline::wall(Micros(1)),
        wait: WaitReason::Slot,
    };
    let task = TaskNumber(row.etag.0);
    let mut writes = Vec::new();
    row.input = if input.len() <= Payload::INLINE_MAX {
        Payload::Inline(input.to_vec())
    } else {
        let key = ValueKey {
            task,
            kind: ValueKind::Input,
            index: row.input_seq,
        };
        let bytes = input.to_vec();
        writes.push(Write::Value { key, bytes });
        Payload::stored(input)
    };
    writes.insert(0, Write::Row(Arc::new(row)));
    let expect = Expect::Absent;
    let commit = Commit {
        task,
        expect,
        writes,
    };
    let answers = store.commit(&[commit]).expect("a commit");
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}
