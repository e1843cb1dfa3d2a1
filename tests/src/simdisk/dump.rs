//! Everything a store answers, so that two stores can be compared.

use outlive_storage::id::{InputId, TaskId};
use outlive_storage::row::{
    AskRow, DefNumber, Etag, Family, Fate, IndexRow, InputRow, LifeRow, Micros, Payload, Place,
    Receipt, RunRow, State, StepRow, TaskNumber, TaskRow, Times, TurnRow, ValueKey, ValueKind,
    WaitReason,
};
use outlive_storage::store::PAGE_MAX;
use outlive_storage::{EventPage, ExpiredReceipt, Scan, Segment, Store, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::ops::Bound;

/// How far back the log of transitions is read, in etags.
const LOG: u64 = 48;

/// The ids of the inputs somebody gave to a task, by its id.
pub type Given = BTreeMap<String, BTreeSet<InputId>>;

/// One task, with whatever hangs on it.
#[derive(Debug, PartialEq)]
pub struct Whole {
    /// Its row.
    pub row: TaskRow,
    /// What waits, and what the open turn has taken.
    pub inputs: Vec<(u64, InputRow)>,
    /// What became of the inputs that were given.
    pub receipts: Vec<(InputId, Option<Receipt>)>,
    /// The turns that are kept.
    pub turns: Vec<TurnRow>,
    /// The steps of the open turn, or of the last one.
    pub steps: Vec<(Box<str>, StepRow)>,
    /// The stream.
    pub segments: Vec<Segment>,
    /// Large values, by their kind and number.
    pub values: Vec<(ValueKind, u64, Option<Vec<u8>>)>,
    runs: Vec<RunRow>,
    ended_children: u64,
    children: Vec<TaskNumber>,
}

/// A store as a whole.
#[derive(Debug, PartialEq, Default)]
pub struct Dump {
    /// The tasks.
    pub tasks: BTreeMap<TaskNumber, Whole>,
    /// Under which numbers they are found by their ids.
    ids: Vec<Option<TaskNumber>>,
    /// The claimed ones.
    pub running: Vec<TaskNumber>,
    definitions: Vec<(DefNumber, Box<str>)>,
    listed: Vec<(DefNumber, Vec<TaskNumber>)>,
    due: Vec<(DefNumber, Vec<TaskNumber>)>,
    expired: Vec<TaskNumber>,
    expired_receipts: Vec<ExpiredReceipt>,
    asks: Vec<(TaskNumber, Box<str>, AskRow)>,
    families_over: Vec<(Family, Fate)>,
    events: EventPage,
    lives: Vec<LifeRow>,
    indexes: Vec<IndexRow>,
}

impl Whole {
    fn of(store: &dyn Store, task: TaskNumber, row: TaskRow, given: &Given) -> Found<Whole> {
        let mut turns = Vec::new();
        if row.turns_total > 1 {
            for total in 1..=row.turns_total {
                turns.extend(store.turn(task, row.slot_of(total))?);
            }
        } else {
            turns.extend(store.turn(task, row.slot())?);
        }
        let mut receipts = Vec::new();
        for input in given.get(row.id.as_str()).into_iter().flatten() {
            receipts.push((input.clone(), store.receipt(task, input)?));
        }
        let inputs = match row.inputs_waiting + row.inputs_taken {
            0 => Vec::new(),
            _ => store.inputs(task, PAGE_MAX)?,
        };
        let mut whole = Whole {
            receipts,
            turns,
            inputs,
            steps: store.steps(task, row.steps_of, None, PAGE_MAX)?,
            segments: store.segments(task, 0, usize::MAX)?,
            values: Vec::new(),
            runs: store.runs(task)?,
            ended_children: 0,
            children: Vec::new(),
            row,
        };
        if whole.row.has_children {
            let family = whole.row.family(task);
            whole.ended_children = store.ended_children(family)?;
            whole.children = store.children(family, None, PAGE_MAX)?;
        }
        for (kind, index) in whole.stored() {
            let key = ValueKey { task, kind, index };
            whole.values.push((kind, index, store.value(key)?));
        }
        Ok(whole)
    }

    /// The large values that its rows name.
    fn stored(&self) -> Vec<(ValueKind, u64)> {
        let row = &self.row;
        let mut stored = vec![(ValueKind::Metadata, 0)];
        if row.input.is_stored() {
            stored.push((ValueKind::Input, row.input_seq));
        }
        if let Some(previous) = &row.previous
            && previous.payload.is_stored()
        {
            stored.push((ValueKind::Input, previous.seq));
        }
        let waiting = self
            .inputs
            .iter()
            .filter(|(_, input)| input.payload.is_stored());
        stored.extend(waiting.map(|(seq, _)| (ValueKind::Input, *seq)));
        let is_stored = |output: Option<&Payload>| output.is_some_and(Payload::is_stored);
        let turns = self
            .turns
            .iter()
            .filter(|turn| is_stored(turn.result.output()));
        stored.extend(turns.map(|turn| (ValueKind::Output, row.slot_of(turn.total))));
        stored.push((ValueKind::Output, row.slot()));
        stored
    }

    /// Whether the input of the row is still worked on: its turn runs, or waits to go on.
    pub fn is_open(&self) -> bool {
        match &self.row.state {
            State::InProgress { .. } | State::Pending { .. } => true,
            State::Suspended { wait, .. } => !matches!(wait, WaitReason::Input { .. }),
            State::Completed { .. } => false,
        }
    }

    /// What became of an input, where it is known.
    pub fn receipt(&self, input: &InputId) -> Option<&Receipt> {
        let mut receipts = self.receipts.iter();
        let found = receipts.find(|(id, _)| id == input)?;
        found.1.as_ref()
    }

    /// Whether the task knows the input.
    pub fn knows(&self, input: &InputId) -> bool {
        self.row.input_id == *input || self.receipt(input).is_some()
    }
}

type Found<T> = Result<T, StoreError>;

impl Dump {
    /// Asks the store everything.
    ///
    /// # Errors
    /// The first answer that is none: a row that is damaged, or a store that fails.
    pub fn of(store: &dyn Store, given: &Given) -> Found<Dump> {
        let mut dump = Dump {
            definitions: store.definitions()?,
            lives: store.lives()?,
            indexes: store.indexes()?,
            families_over: store.families_over(None, PAGE_MAX)?,
            expired: store.expired(Micros(u64::MAX - 3), PAGE_MAX)?,
            expired_receipts: store.expired_receipts(Micros(u64::MAX - 3), PAGE_MAX)?,
            ..Dump::default()
        };
        let mut newest = 0;
        for found in store.scan(Scan::All, None, PAGE_MAX)?.rows {
            let row = found.row?;
            newest = newest.max(row.etag.0);
            dump.ids.push(store.find(&row.id)?);
            let whole = Whole::of(store, found.task, row, given)?;
            dump.tasks.insert(found.task, whole);
        }
        dump.events = store.events(Etag(newest.saturating_sub(LOG)), PAGE_MAX)?;
        let numbers = |scan| -> Found<Vec<TaskNumber>> {
            let page = store.scan(scan, None, PAGE_MAX)?;
            Ok(page.rows.iter().map(|found| found.task).collect())
        };
        dump.running = numbers(Scan::Running)?;
        let times = Times::still(Micros(u64::MAX));
        for (def, _) in dump.definitions.clone() {
            dump.listed.push((def, numbers(Scan::Definition(def))?));
            let mut due = store.due(def, times, PAGE_MAX)?.ready;
            for at in [Micros::ISOLATED, Micros::AT_OPEN, Micros::NEVER] {
                due.extend(store.due_exactly(def, at, None, PAGE_MAX)?);
            }
            dump.due.push((def, due));
        }
        for found in store.asks(Bound::Unbounded, PAGE_MAX)? {
            dump.asks.push((found.task, found.key, found.ask?));
        }
        Ok(dump)
    }

    /// The task of this id.
    pub fn task(&self, id: &TaskId) -> Option<&Whole> {
        // Newest first: an id that was free and taken again is on two rows at no time.
        self.tasks.values().rev().find(|whole| whole.row.id == *id)
    }

    /// What of the indexes and the rows does not fit together.
    pub fn contradictions(&self) -> Vec<String> {
        let mut found = Vec::new();
        let numbers: Vec<TaskNumber> = self.tasks.keys().rev().copied().collect();
        if self.ids != numbers.iter().copied().map(Some).collect::<Vec<_>>() {
            found.push(format!("ids lead to {:?}, not to {numbers:?}", self.ids));
        }
        for (number, whole) in &self.tasks {
            let count = |list: &[TaskNumber]| list.iter().filter(|at| *at == number).count();
            let everywhere = |lists: &[(DefNumber, Vec<TaskNumber>)]| -> usize {
                lists.iter().map(|(_, list)| count(list)).sum()
            };
            let places = (
                count(&self.running),
                everywhere(&self.due),
                count(&self.expired),
            );
            let expected = match whole.row.place() {
                Place::Running => (1, 0, 0),
                Place::Due(_) => (0, 1, 0),
                Place::Ended(_) => (0, 0, 1),
                Place::Kept => (0, 0, 0),
            };
            let id = &whole.row.id;
            if places != expected {
                found.push(format!(
                    "{id} is {places:?} times in running, due and expiry, not {expected:?}"
                ));
            }
            if everywhere(&self.listed) != 1 {
                found.push(format!("{id} is not listed once under its definition"));
            }
            let waiting = whole
                .inputs
                .iter()
                .filter(|(_, input)| input.taken.is_none());
            if waiting.count() as u64 != whole.row.inputs_waiting {
                found.push(format!("{id} counts other inputs than wait"));
            }
            found.extend(whole.gaps().map(|gap| format!("{id}: {gap}")));
        }
        let places: usize = self.due.iter().map(|(_, list)| list.len()).sum();
        let unfinished = |whole: &&Whole| matches!(whole.row.place(), Place::Due(_));
        if places != self.tasks.values().filter(unfinished).count() {
            found.push(format!(
                "{places} tasks are due, which is more than there are"
            ));
        }
        found
    }

    /// Where two stores differ first.
    pub fn difference(&self, other: &Dump) -> Option<String> {
        fn of<T: PartialEq + Debug>(what: &str, a: &T, b: &T) -> Option<String> {
            (a != b).then(|| format!("{what}: {a:?} is not {b:?}"))
        }
        let missing = |here: &Dump, there: &Dump, side: &str| {
            let missing = there
                .tasks
                .keys()
                .find(|task| !here.tasks.contains_key(task));
            missing.map(|task| format!("{} is {side}", there.tasks[task].row.id))
        };
        let tasks = || {
            self.tasks
                .iter()
                .find_map(|(number, whole)| whole.difference(other.tasks.get(number)?))
        };
        missing(self, other, "missing")
            .or_else(|| missing(other, self, "too many"))
            .or_else(tasks)
            .or_else(|| of("ids", &self.ids, &other.ids))
            .or_else(|| of("running", &self.running, &other.running))
            .or_else(|| of("definitions", &self.definitions, &other.definitions))
            .or_else(|| of("listed", &self.listed, &other.listed))
            .or_else(|| of("due", &self.due, &other.due))
            .or_else(|| of("expired", &self.expired, &other.expired))
            .or_else(|| of("receipts", &self.expired_receipts, &other.expired_receipts))
            .or_else(|| of("asks", &self.asks, &other.asks))
            .or_else(|| of("families", &self.families_over, &other.families_over))
            .or_else(|| of("events", &self.events, &other.events))
            .or_else(|| of("lives", &self.lives, &other.lives))
            .or_else(|| of("indexes", &self.indexes, &other.indexes))
    }
}

impl Whole {
    fn gaps(&self) -> impl Iterator<Item = String> {
        let mut next = 1;
        let mut gaps = Vec::new();
        for segment in &self.segments {
            match &segment.row {
                Ok(row) => {
                    if segment.first != next {
                        gaps.push(format!("a segment at {}, not at {next}", segment.first));
                    }
                    next = row.last(segment.first) + 1;
                }
                Err(error) => gaps.push(format!("{error}")),
            }
        }
        gaps.into_iter()
    }

    fn difference(&self, other: &Whole) -> Option<String> {
        if self == other {
            return None;
        }
        let id = &self.row.id;
        if self.row != other.row {
            return Some(format!("{id}: {:?} is not {:?}", self.row, other.row));
        }
        let parts = [
            ("inputs", self.inputs == other.inputs),
            ("receipts", self.receipts == other.receipts),
            ("turns", self.turns == other.turns),
            ("steps", self.steps == other.steps),
            ("stream", self.segments == other.segments),
            ("values", self.values == other.values),
            ("runs", self.runs == other.runs),
        ];
        let differ = parts
            .iter()
            .filter(|(_, same)| !same)
            .map(|(name, _)| *name);
        Some(format!("{id} differs in {:?}", differ.collect::<Vec<_>>()))
    }
}
