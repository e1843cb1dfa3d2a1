//! The due tasks of a definition, also those that were started under its former names.

use crate::engine_loop::Tools;
use outlive_storage::row::{DefNumber, Micros, Place, TaskNumber, Times};
use outlive_storage::{Due, StoreError};

/// As [`Store::due`](outlive_storage::Store::due) says it of one number, over all numbers of a definition; `def` is its
/// present one.
///
/// # Errors
/// [`StoreError`] when the store cannot be read.
pub(crate) fn of_all_numbers(
    tools: &Tools,
    (def, times): (DefNumber, Times),
    limit: usize,
) -> Result<Due, StoreError> {
    let numbers = tools.registry.numbers(def);
    if let [only] = numbers[..] {
        return tools.store.due(only, times, limit);
    }
    let mut all = Due {
        ready: Vec::new(),
        wait_us: None,
    };
    let mut sources = 0;
    for number in numbers {
        let due = tools.store.due(number, times, limit)?;
        sources += usize::from(!due.ready.is_empty());
        all.wait_us = [all.wait_us, due.wait_us].into_iter().flatten().min();
        all.ready.extend(due.ready);
    }
    // Each number's are in order by themselves. The order among two is in the rows alone: that costs a read each, and
    // only as long as tasks of both names are due.
    if sources > 1 && !cfg!(planted = "renamed_out_of_order") {
        let mut keyed = Vec::with_capacity(all.ready.len());
        for task in all.ready {
            keyed.push((rank(tools, task)?, task));
        }
        keyed.sort();
        all.ready = keyed.into_iter().map(|(_, task)| task).collect();
    }
    all.ready.truncate(limit);
    Ok(all)
}

/// Where a due task stands among the others: by priority, then time. One that moved on meanwhile, or whose row is damaged,
/// comes first: its claim tells.
fn rank(tools: &Tools, task: TaskNumber) -> Result<(u8, Micros), StoreError> {
    let row = match tools.store.get(task) {
        Ok(row) => row,
        Err(error) if error.is_of_one_entry() => None,
        Err(error) => return Err(error),
    };
    let rank = row.map(|row| match row.place() {
        Place::Due(due) => (row.priority.rank(), due.at),
        Place::Running | Place::Ended(_) | Place::Kept => (0, Micros(0)),
    });
    Ok(rank.unwrap_or((0, Micros(0))))
}
