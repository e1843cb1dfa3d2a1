//! What the store was seen to take: each commit is held against what was there before, as it takes place.
//!
//! It knows nothing of the engine but its rows. What callers and handlers are told is held against it elsewhere.

mod inputs;
mod rows;

use outlive_storage::id::InputId;
use outlive_storage::row::{
    EventKind, Family, Fate, InputRow, LifeRow, Receipt, StepState, StreamEntry, TaskNumber,
    TaskRow,
};
use outlive_storage::{Applied, Commit, Conflict, MemStore, Store, Write};
use std::collections::{BTreeMap, HashMap};

/// How a life of the engine came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LifeEnd {
    /// It has not, or it died.
    Died,
    /// It was stopped in order, and could say so.
    Stopped,
}

/// A task at one moment.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its row.
    pub row: TaskRow,
    /// Its inputs that wait or are taken.
    pub queue: Vec<(u64, InputRow)>,
    /// The last entry of its stream.
    pub stream: u64,
}

/// All that was committed.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The highest etag.
    pub etag: u64,
    /// The highest generation.
    pub generation: u64,
    /// Every claim that was committed, and whose it is.
    pub claims: HashMap<u64, TaskNumber>,
    /// The child of each turn that begins with these bytes.
    pub children: HashMap<(Family, [u8; 16]), TaskNumber>,
    /// Every input that was accepted: of a task, by its id.
    pub accepted: HashMap<(TaskNumber, InputId), Accepted>,
    /// The numbers that an id has had, and under which its inputs were accepted.
    pub numbers: BTreeMap<String, Vec<TaskNumber>>,
    /// Recorded steps: the task, the turn over all runs, the key.
    pub steps: HashMap<(TaskNumber, u64, Box<str>), Vec<u8>>,
    /// Etags of the events that were committed, and their tasks.
    pub events: BTreeMap<u64, (TaskNumber, EventKind)>,
    /// Lives, by their instances.
    pub lives: HashMap<u128, LifeEnd>,
    /// Ids whose removal somebody asked for; whether also while they run.
    pub removals: HashMap<String, bool>,
    /// What the wall clock shows, in microseconds.
    pub wall_us: u64,
}

/// An accepted input.
#[derive(Debug, Clone, Default)]
pub struct Accepted {
    /// The turns it began: run and turn.
    pub turns: Vec<(u32, u32)>,
    /// What became of it, once that is for good.
    pub fate: Option<Receipt>,
}

/// What is wrong, in words.
pub type Findings = Vec<String>;

impl Ledger {
    /// The tasks of a batch, before it.
    pub fn before(&self, batch: &[Commit], truth: &MemStore) -> BTreeMap<TaskNumber, Seen> {
        let tasks = batch.iter().map(|commit| commit.task);
        tasks
            .filter_map(|task| Some((task, look(truth, task)?)))
            .collect()
    }

    /// Takes a batch down that is in the store, and says what is wrong with it.
    pub fn after(
        &mut self,
        batch: &[Commit],
        answers: &[Result<Applied, Conflict>],
        before: &BTreeMap<TaskNumber, Seen>,
        truth: &MemStore,
    ) -> Findings {
        let mut wrong = Findings::new();
        let (etag, generation) = (self.etag, self.generation);
        for (commit, answer) in batch.iter().zip(answers) {
            if answer.is_err() {
                wrong.push(format!("the only writer was refused: {commit:?}"));
                continue;
            }
            let pre = before.get(&commit.task);
            self.accepts(commit);
            let post = look(truth, commit.task);
            self.written(commit, pre, post.as_ref(), &mut wrong);
            if let Some(post) = &post {
                rows::check(pre, post, (etag, generation), &self.lives, &mut wrong);
                inputs::check(self, commit.task, pre, post, truth, &mut wrong);
                inputs::spares_the_queue(commit, pre, post, truth, &mut wrong);
                self.claimed(commit.task, post);
                self.child(commit.task, post, &mut wrong);
            } else {
                self.removed(commit, pre, &mut wrong);
            }
            self.events_of(commit, etag, &mut wrong);
        }
        wrong
    }

    fn claimed(&mut self, task: TaskNumber, post: &Seen) {
        self.etag = self.etag.max(post.row.etag.0);
        self.generation = self.generation.max(post.row.generation.0);
        if rows::runs(&post.row) {
            self.claims.insert(post.row.generation.0, task);
        }
    }

    /// A turn starts each of its children once, however often it is entered.
    fn child(&mut self, task: TaskNumber, post: &Seen, wrong: &mut Findings) {
        let Some(parent) = &post.row.parent else {
            return;
        };
        let of = (parent.family, post.row.input_digest);
        let first = *self.children.entry(of).or_insert(task);
        if first != task && post.row.run == 1 {
            wrong.push(format!(
                "{first:?} and {task:?} are one child of {parent:?}"
            ));
        }
    }

    /// What is said of a task beside its row.
    fn written(
        &mut self,
        commit: &Commit,
        pre: Option<&Seen>,
        post: Option<&Seen>,
        wrong: &mut Findings,
    ) {
        let task = commit.task;
        let mut last = pre.map_or(0, |pre| pre.stream);
        for write in &commit.writes {
            match write {
                Write::Step { turn, key, step } => {
                    let place = (task, *turn, key.clone());
                    let known = self.steps.get(&place);
                    if known.is_some_and(|known| *known != step.value) {
                        wrong.push(format!("step {key} of {task:?} was recorded twice"));
                    }
                    if step.state == StepState::Done {
                        self.steps.insert(place, step.value.clone());
                    }
                }
                Write::RemoveStep { turn, key } => {
                    let known = self.steps.remove(&(task, *turn, key.clone()));
                    wrong.extend(known.map(|_| format!("step {key} of {task:?} was forgotten")));
                }
                Write::ForgetSteps { turn } => {
                    self.steps
                        .retain(|(of, at, _), _| (of, at) != (&task, turn));
                    let open = post.is_some_and(|post| rows::is_open_turn(&post.row, *turn));
                    if open {
                        wrong.push(format!("steps of the open turn of {task:?} were forgotten"));
                    }
                }
                Write::Segment { first, segment } => {
                    if *first != last + 1 {
                        wrong.push(format!("{task:?} emitted {first} after {last}"));
                    }
                    last = segment.last(*first);
                    for entry in &segment.entries {
                        let StreamEntry::Kept { step } = entry else {
                            continue;
                        };
                        let mut known = self.steps.keys();
                        let now = commit
                            .writes
                            .iter()
                            .any(|write| matches!(write, Write::Step { key, .. } if key == step));
                        if !now && !known.any(|(of, _, key)| *of == task && key == step) {
                            wrong.push(format!("{step} of {task:?} is kept, and not recorded"));
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn events_of(&mut self, commit: &Commit, before: u64, wrong: &mut Findings) {
        for write in &commit.writes {
            let Write::Event(event) = write else { continue };
            let known = self.events.insert(event.etag.0, (commit.task, event.kind));
            if known.is_some() || event.etag.0 <= before {
                wrong.push(format!("etag {} was given twice", event.etag.0));
            }
            self.etag = self.etag.max(event.etag.0);
        }
    }

    /// A task is gone: somebody asked for it, or its time has come, or it was to go with its end.
    fn removed(&mut self, commit: &Commit, pre: Option<&Seen>, wrong: &mut Findings) {
        self.steps.retain(|(of, ..), _| *of != commit.task);
        let Some(pre) = pre else { return };
        let row = &pre.row;
        let asked = self.removals.get(row.id.as_str()).copied();
        let may = match rows::expiry(row) {
            // An ephemeral task goes with its end, which its row does not tell.
            None => rows::is_ephemeral(row) || asked.is_some_and(|force| force || !rows::runs(row)),
            Some(expires_us) => asked.is_some() || expires_us <= self.wall_us,
        };
        if !may && !self.moves_on(commit, row) {
            wrong.push(format!(
                "{} was removed, and nobody asked for it: {:?} at {}",
                row.id.as_str(),
                row.state,
                self.wall_us
            ));
        }
    }

    /// What is written of inputs and claims, also where nothing of it is left by the end of the batch.
    fn accepts(&mut self, commit: &Commit) {
        let task = commit.task;
        for write in &commit.writes {
            let input = match write {
                Write::Row(row) => {
                    let numbers = self.numbers.entry(row.id.to_string()).or_default();
                    if !numbers.contains(&task) {
                        numbers.push(task);
                    }
                    self.generation = self.generation.max(row.generation.0);
                    self.claims.insert(row.generation.0, task);
                    &row.input_id
                }
                Write::PushInput { input, .. } => &input.input_id,
                _ => continue,
            };
            self.accepted.entry((task, input.clone())).or_default();
        }
    }

    /// It moved on, to where it may be removed, and was, in one batch.
    fn moves_on(&self, commit: &Commit, row: &TaskRow) -> bool {
        // A removal alone writes no row.
        let mut writes = commit.writes.iter();
        let moved = writes.any(|write| matches!(write, Write::Row(_)));
        moved && self.removals.contains_key(row.id.as_str())
    }

    /// A life of the engine was put down.
    pub fn life(&mut self, life: &LifeRow) {
        let end = match life.stopped_at {
            Some(_) => LifeEnd::Stopped,
            None => LifeEnd::Died,
        };
        self.lives.insert(life.instance, end);
    }

    /// Whether an input of a task of this id was ever accepted.
    pub fn knows(&self, id: &str, input: &InputId) -> bool {
        let numbers = self.numbers.get(id).into_iter().flatten();
        let mut known = numbers.map(|number| self.accepted.contains_key(&(*number, input.clone())));
        known.any(|known| known)
    }
}

/// A task as it is in the store.
pub fn look(truth: &MemStore, task: TaskNumber) -> Option<Seen> {
    // The store in memory answers every read.
    let row = truth.get(task).ok().flatten()?;
    let queue = truth.inputs(task, 100).unwrap_or_default();
    let stream = truth.stream_end(task).ok().flatten();
    Some(Seen {
        row,
        queue,
        stream: stream.map_or(0, |end| end.last),
    })
}

/// What a turn's end says to its children; for the trace.
pub fn fate_of(commit: &Commit) -> Option<&Fate> {
    commit.writes.iter().find_map(|write| match write {
        Write::FamilyOver { fate, .. } => Some(fate),
        _ => None,
    })
}
