//! What each table says, held against the others. It has so many lines because every table has its look here.

use super::tally::{Tally, opened, undecoded};
use crate::codec;
use crate::due::DueKey;
use crate::header::{Entry, Header};
use crate::id::{InputId, TaskId};
use crate::receipt::KeptReceipt;
use crate::redb::batch::Bytes;
use crate::redb::report::{Findings, TableCount, Wrong};
use crate::redb::seal;
use crate::redb::tables::{
    ASKS, BY_DEFINITION, BY_LABEL, CHILDREN, DEFINITIONS, DUE, ETAGS, EVENTS, EXPIRY,
    FAMILIES_OVER, GARBAGE, GENERATIONS, IDS, INDEXES, INPUTS, LIVES, META, OLD_STEPS,
    RECEIPT_EXPIRY, RECEIPTS, RUNNING, RUNS, STEPS, STREAM, TASKS, TURNS, VALUES, WAKES,
};
use crate::row::{
    AskRow, DefNumber, Etag, EventRow, InputRow, LifeRow, Payload, RunRow, SegmentRow, State,
    TaskNumber, TaskRow, TurnRow, ValueKey, ValueKind,
};
use crate::sealed::{is_name_or_mark, may_be};
use crate::slot::Slot;
use crate::store::Counters;
use redb::{Key, ReadOnlyTable, ReadTransaction, Value};
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

type Of<K, V> = Option<ReadOnlyTable<K, V>>;

/// The tables that others are held against, and what was found.
pub(super) struct Book<'t> {
    txn: &'t ReadTransaction,
    counters: Counters,
    tally: Tally,
    names: HashSet<DefNumber>,
    look_up: LookUp,
}

struct LookUp {
    tasks: Of<u64, Bytes>,
    garbage: Of<u64, ()>,
    ids: Of<&'static str, (u64, u32)>,
    by_definition: Of<(u32, u64), ()>,
    by_label: Of<(u32, &'static str, u64), ()>,
    due: Of<DueKey, ()>,
    running: Of<u64, ()>,
    expiry: Of<(u64, u64), ()>,
    children: Of<(u64, u64, u64), ()>,
    values: Of<(u64, u8, u64), Bytes>,
    receipts: Of<(u64, &'static str), Bytes>,
    receipt_expiry: Of<(u64, u64, &'static str), ()>,
}

/// Whether a table has a key; a table that cannot be read has what is asked for, for it is reported as a whole.
fn has<'k, K: Key + 'static, V: Value + 'static>(
    table: &Of<K, V>,
    key: impl std::borrow::Borrow<K::SelfType<'k>>,
) -> bool {
    // A look-up may panic on pages that do not fit together; where they lie that is reported.
    table.as_ref().is_none_or(|table| {
        let found = catch_unwind(AssertUnwindSafe(|| matches!(table.get(key), Ok(None))));
        !found.unwrap_or(false)
    })
}

impl<'t> Book<'t> {
    pub(super) fn new(txn: &'t ReadTransaction, counters: Counters) -> Book<'t> {
        Book {
            txn,
            counters,
            tally: Tally::default(),
            names: HashSet::new(),
            look_up: LookUp {
                tasks: opened(txn, TASKS),
                garbage: opened(txn, GARBAGE),
                ids: opened(txn, IDS),
                by_definition: opened(txn, BY_DEFINITION),
                by_label: opened(txn, BY_LABEL),
                due: opened(txn, DUE),
                running: opened(txn, RUNNING),
                expiry: opened(txn, EXPIRY),
                children: opened(txn, CHILDREN),
                values: opened(txn, VALUES),
                receipts: opened(txn, RECEIPTS),
                receipt_expiry: opened(txn, RECEIPT_EXPIRY),
            },
        }
    }

    pub(super) fn done(self) -> (Vec<TableCount>, Findings) {
        (self.tally.tables, self.tally.findings)
    }

    /// Reads every table.
    pub(super) fn look_over(&mut self) {
        self.definitions();
        self.tasks();
        self.listed_tasks();
        self.listed_places();
        self.values_and_inputs();
        self.receipts();
        self.turns();
        self.stream_and_questions();
        self.families();
        self.of_the_file();
    }

    fn definitions(&mut self) {
        let names = &mut self.names;
        let of = (DEFINITIONS, "definitions");
        self.tally.each(self.txn, of, |name, sealed, findings| {
            match seal::open_name(name, sealed) {
                Ok(number) if is_name_or_mark(name) => {
                    // Two names of one number would give tasks to the wrong handler.
                    let is_first = names.insert(DefNumber(number));
                    stray_unless(is_first, "definitions", name, findings)
                }
                Ok(_) | Err(_) => {
                    findings.add("definitions", name.escape_debug(), Wrong::Damaged);
                    false
                }
            }
        });
    }

    fn tasks(&mut self) {
        let (look_up, names, counters) = (&self.look_up, &self.names, self.counters);
        let of = (TASKS, "tasks");
        self.tally.each(self.txn, of, |number, bytes, findings| {
            let task = TaskNumber(number);
            match codec::decode_row(task, bytes) {
                Ok(row) => {
                    look_up.check_row(task, &row, findings);
                    if !names.contains(&row.def) {
                        let table = "definitions";
                        findings.add("tasks", number, Wrong::NotListed { table });
                    }
                    let etag = row.etag.max(Etag(number));
                    if etag > counters.etag || row.generation > counters.generation {
                        findings.add("tasks", number, Wrong::AboveCounter);
                    }
                    true
                }
                Err(error) => {
                    findings.add("tasks", number, undecoded(&error));
                    false
                }
            }
        });
    }

    /// The indexes that a task keeps from its start to its removal.
    fn listed_tasks(&mut self) {
        let look_up = &self.look_up;
        let of = (IDS, "ids");
        self.tally.each(self.txn, of, |id, sealed, findings| {
            let shown = id.escape_debug();
            match seal::open_id(id, sealed) {
                Ok(number) if TaskId::new(id).is_ok() => {
                    let right = look_up.says(number, |row| row.id.as_str() == id);
                    stray_unless(right, "ids", shown, findings)
                }
                Ok(_) | Err(_) => {
                    findings.add("ids", shown, Wrong::Damaged);
                    false
                }
            }
        });
        let of = (BY_DEFINITION, "by_definition");
        self.tally
            .each(self.txn, of, |(def, number), (), findings| {
                let right = look_up.says(number, |row| row.def.0 == def);
                stray_unless(
                    right,
                    "by_definition",
                    format_args!("{def}/{number}"),
                    findings,
                )
            });
        let of = (BY_LABEL, "by_label");
        self.tally
            .each(self.txn, of, |(def, label, number), (), findings| {
                let right = look_up.says(number, |row| {
                    row.def.0 == def && row.facts.labels.iter().any(|has| **has == *label)
                });
                let key = format_args!("{def}/{}/{number}", label.escape_debug());
                stray_unless(right, "by_label", key, findings)
            });
    }

    /// The indexes between which a task moves.
    fn listed_places(&mut self) {
        let look_up = &self.look_up;
        self.tally
            .each(self.txn, (DUE, "due"), |key, (), findings| {
                let right = look_up.stands(key.5, Entry::Due(key));
                stray_unless(right, "due", format_args!("{key:?}"), findings)
            });
        let of = (RUNNING, "running");
        self.tally.each(self.txn, of, |number, (), findings| {
            let right = look_up.stands(number, Entry::Running(number));
            stray_unless(right, "running", number, findings)
        });
        let of = (EXPIRY, "expiry");
        self.tally.each(self.txn, of, |key, (), findings| {
            let right = look_up.stands(key.1, Entry::Expiry(key));
            stray_unless(right, "expiry", format_args!("{key:?}"), findings)
        });
        let of = (GARBAGE, "garbage");
        self.tally.each(self.txn, of, |number, (), findings| {
            let right = !look_up.is_there(number);
            stray_unless(right, "garbage", number, findings)
        });
    }

    fn values_and_inputs(&mut self) {
        let look_up = &self.look_up;
        let of = (VALUES, "values");
        self.tally.each(self.txn, of, |key, bytes, findings| {
            let (number, kind, index) = key;
            let task = TaskNumber(number);
            let Some(kind) = ValueKind::of_byte(kind) else {
                findings.add("values", format_args!("{key:?}"), Wrong::Damaged);
                return false;
            };
            let slot = Slot::Value(ValueKey { task, kind, index });
            look_up.hangs(slot, task, codec::decode_value(slot, bytes), findings)
        });
        let of = (INPUTS, "pending_steering_inputs");
        self.tally
            .each(self.txn, of, |(number, seq), bytes, findings| {
                let task = TaskNumber(number);
                let slot = Slot::Input(task, seq);
                let input = codec::decode::<InputRow>(slot, bytes);
                if let Ok(input) = &input {
                    let key = ValueKey {
                        task,
                        kind: ValueKind::Input,
                        index: seq,
                    };
                    if !look_up.has_value(key, &input.payload) {
                        findings.add(slot.table(), slot, Wrong::ValueMissing);
                    }
                }
                look_up.hangs(slot, task, input, findings)
            });
    }

    fn receipts(&mut self) {
        let look_up = &self.look_up;
        let of = (RECEIPTS, "receipts");
        self.tally
            .each(self.txn, of, |(number, input_id), bytes, findings| {
                let task = TaskNumber(number);
                let slot = Slot::Receipt(task, input_id);
                let kept = codec::decode::<KeptReceipt>(slot, bytes);
                if let Ok(KeptReceipt {
                    listed_at: Some(at),
                    ..
                }) = &kept
                    && !has(&look_up.receipt_expiry, (at.0, number, input_id))
                {
                    let table = "receipt_expiry";
                    findings.add("receipts", slot, Wrong::NotListed { table });
                }
                look_up.hangs(slot, task, kept, findings)
            });
        let of = (RECEIPT_EXPIRY, "receipt_expiry");
        self.tally
            .each(self.txn, of, |(at, number, input_id), (), findings| {
                let key = format_args!("{at}/{number}/{}", input_id.escape_debug());
                if InputId::new(input_id).is_err() {
                    findings.add("receipt_expiry", key, Wrong::Damaged);
                    return false;
                }
                let receipt = Slot::Receipt(TaskNumber(number), input_id);
                let found = look_up.receipts.as_ref().map(|table| {
                    let found = table.get((number, input_id)).ok().flatten()?;
                    codec::decode::<KeptReceipt>(receipt, found.value()).ok()
                });
                // A table that cannot be read is reported as a whole.
                let right = found.is_none_or(|found| {
                    found.is_some_and(|kept| kept.listed_at.is_some_and(|listed| listed.0 == at))
                });
                stray_unless(right, "receipt_expiry", key, findings)
            });
    }

    fn turns(&mut self) {
        let look_up = &self.look_up;
        let of = (TURNS, "turns");
        self.tally
            .each(self.txn, of, |(number, at), bytes, findings| {
                let task = TaskNumber(number);
                let slot = Slot::Turn(task, at);
                let decoded = codec::decode::<TurnRow>(slot, bytes);
                let output = decoded.as_ref().ok().and_then(|turn| turn.result.output());
                if output.is_some_and(|output| !look_up.has_output(task, at, output)) {
                    findings.add(slot.table(), slot, Wrong::ValueMissing);
                }
                look_up.hangs(slot, task, decoded, findings)
            });
        let of = (STEPS, "steps");
        self.tally
            .each(self.txn, of, |(number, turn, key), bytes, findings| {
                let task = TaskNumber(number);
                let slot = Slot::Step(task, turn, key);
                look_up.hangs(slot, task, codec::decode_step(slot, bytes), findings)
            });
        let of = (RUNS, "runs");
        self.tally
            .each(self.txn, of, |(number, place), bytes, findings| {
                let task = TaskNumber(number);
                let slot = Slot::Run(task, place);
                look_up.hangs(slot, task, codec::decode::<RunRow>(slot, bytes), findings)
            });
        let of = (OLD_STEPS, "old_steps");
        self.tally.each(self.txn, of, |_, (), _| true);
    }

    fn stream_and_questions(&mut self) {
        let look_up = &self.look_up;
        let of = (STREAM, "stream");
        self.tally
            .each(self.txn, of, |(number, first), bytes, findings| {
                let task = TaskNumber(number);
                let slot = Slot::Segment(task, first);
                look_up.hangs(
                    slot,
                    task,
                    codec::decode::<SegmentRow>(slot, bytes),
                    findings,
                )
            });
        if cfg!(planted = "verify_skips_a_table") {
            return;
        }
        let of = (ASKS, "asks");
        self.tally
            .each(self.txn, of, |(number, key), bytes, findings| {
                let task = TaskNumber(number);
                let slot = Slot::Ask(task, key);
                look_up.hangs(slot, task, codec::decode::<AskRow>(slot, bytes), findings)
            });
    }

    fn families(&mut self) {
        let look_up = &self.look_up;
        let of = (CHILDREN, "children");
        self.tally.each(self.txn, of, |key, (), findings| {
            let (parent, turn, child) = key;
            let right = look_up.says(child, |row| {
                let family = row.parent.as_ref().map(|parent| parent.family);
                family.is_some_and(|family| (family.task.0, family.turn) == (parent, turn))
            });
            stray_unless(right, "children", format_args!("{key:?}"), findings)
        });
        // Parents may be gone before their children were told.
        self.tally.each(self.txn, (WAKES, "wakes"), |_, _, _| true);
        let of = (FAMILIES_OVER, "families_over");
        self.tally.each(self.txn, of, |_, _, _| true);
    }

    fn of_the_file(&mut self) {
        let counters = self.counters;
        let of = (EVENTS, "events");
        self.tally.each(self.txn, of, |etag, bytes, findings| {
            let slot = Slot::Event(Etag(etag));
            match codec::decode::<EventRow>(slot, bytes) {
                Ok(_) if Etag(etag) > counters.etag => {
                    findings.add("events", etag, Wrong::AboveCounter);
                    true
                }
                Ok(_) => true,
                Err(error) => {
                    findings.add("events", etag, undecoded(&error));
                    false
                }
            }
        });
        let of = (LIVES, "lives");
        self.tally
            .each(self.txn, of, |(position, instance), bytes, findings| {
                let slot = Slot::Life(position, instance);
                let life = codec::decode::<LifeRow>(slot, bytes);
                if let Err(error) = &life {
                    findings.add("lives", slot, undecoded(error));
                }
                life.is_ok()
            });
        let of = (INDEXES, "indexes");
        self.tally.each(self.txn, of, |(def, by), from, findings| {
            if from > counters.etag.0.saturating_add(1) {
                let key = format_args!("{def}/{}", by.escape_debug());
                findings.add("indexes", key, Wrong::AboveCounter);
            }
            true
        });
        self.tally.each(self.txn, (ETAGS, "etags"), |_, _, _| true);
        let of = (GENERATIONS, "lease_generations");
        self.tally.each(self.txn, of, |_, _, _| true);
        self.tally.each(self.txn, (META, "meta"), |_, _, _| true);
    }
}

fn stray_unless(
    right: bool,
    table: &'static str,
    key: impl std::fmt::Display,
    findings: &mut Findings,
) -> bool {
    if !right {
        findings.add(table, key, Wrong::Stray);
    }
    right
}

impl LookUp {
    fn is_there(&self, number: u64) -> bool {
        has(&self.tasks, number)
    }

    /// Whether the row of a task says so. One that cannot be read is reported where it lies, and contradicts nobody.
    fn says(&self, number: u64, says: impl FnOnce(&TaskRow) -> bool) -> bool {
        let Some(tasks) = &self.tasks else {
            return true;
        };
        let said = catch_unwind(AssertUnwindSafe(|| match tasks.get(number) {
            Ok(Some(bytes)) => {
                codec::decode_row(TaskNumber(number), bytes.value()).map_or(true, |row| says(&row))
            }
            Ok(None) => false,
            Err(_) => true,
        }));
        said.unwrap_or(true)
    }

    fn stands(&self, number: u64, entry: Entry) -> bool {
        self.says(number, |row| {
            Header::of(row).entry(TaskNumber(number)) == Some(entry)
        })
    }

    fn check_row(&self, task: TaskNumber, row: &TaskRow, findings: &mut Findings) {
        let mut missing = |there: bool, table: &'static str| {
            if !there {
                findings.add("tasks", task.0, Wrong::NotListed { table });
            }
        };
        let found = self.ids.as_ref().map(|ids| {
            let found = ids.get(row.id.as_str()).ok().flatten();
            found.map(|found| found.value().0)
        });
        missing(found.is_none_or(|found| found == Some(task.0)), "ids");
        missing(
            has(&self.by_definition, (row.def.0, task.0)),
            "by_definition",
        );
        for label in &row.facts.labels {
            missing(
                has(&self.by_label, (row.def.0, &**label, task.0)),
                "by_label",
            );
        }
        let header = Header::of(row);
        match header.entry(task) {
            Some(Entry::Due(key)) => missing(has(&self.due, key), "due"),
            Some(Entry::Running(key)) => missing(has(&self.running, key), "running"),
            Some(Entry::Expiry(key)) => missing(has(&self.expiry, key), "expiry"),
            None => {}
        }
        if let Some(family) = header.family {
            let key = (family.task.0, family.turn, task.0);
            missing(has(&self.children, key), "children");
        }
        let input = ValueKey {
            task,
            kind: ValueKind::Input,
            index: row.input_seq,
        };
        let is_there = match &row.state {
            State::Completed { outcome, .. } => {
                (outcome.output()).is_none_or(|output| self.has_output(task, row.slot(), output))
            }
            State::Pending { .. } | State::InProgress { .. } | State::Suspended { .. } => {
                self.has_value(input, &row.input)
            }
        };
        if !is_there {
            findings.add("tasks", task.0, Wrong::ValueMissing);
        }
    }

    fn has_output(&self, task: TaskNumber, slot: u64, output: &Payload) -> bool {
        let (kind, index) = (ValueKind::Output, slot);
        self.has_value(ValueKey { task, kind, index }, output)
    }

    /// Whether a value that may lie beside its row is there, and the one that the row names.
    fn has_value(&self, key: ValueKey, payload: &Payload) -> bool {
        let (true, Some(values)) = (payload.is_stored(), &self.values) else {
            return true;
        };
        let found = values.get((key.task.0, key.kind.byte(), key.index));
        match found {
            // One that cannot be read is reported where it lies.
            Ok(Some(bytes)) => codec::decode_value(Slot::Value(key), bytes.value())
                .map_or(true, |value| may_be(payload, &value)),
            Ok(None) => false,
            Err(_) => true,
        }
    }

    /// Of an entry that hangs on a task: whether it is whole.
    fn hangs<T>(
        &self,
        slot: Slot<'_>,
        task: TaskNumber,
        decoded: Result<T, crate::store::StoreError>,
        findings: &mut Findings,
    ) -> bool {
        if let Err(error) = decoded {
            findings.add(slot.table(), slot, undecoded(&error));
            return false;
        }
        if !self.is_there(task.0) && !has(&self.garbage, task.0) {
            findings.add(slot.table(), slot, Wrong::NoTask);
        }
        true
    }
}
