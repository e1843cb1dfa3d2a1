//! Waits of a handler for the tasks it started: outside of memory, and woken once.
//!
//! A wait reads how many ends of the turn's children are counted, then looks at those it is for. Each that has not ended
//! by then will be counted after that number, so a wait for all of `n` unfinished ones is over no sooner than `n` further
//! ends are counted. Others may be among these: then it looks, and waits, again.

use crate::child::{Child, ChildError, ChildOf};
use crate::ctx::{Ctx, CtxCore};
use crate::look::lost_output;
use crate::machine::{Event, NewParent, Rejected};
use crate::one_step::OneStep;
use crate::reader::ReadError;
use crate::request::Draft;
use crate::step::{StepError, StepOptions};
use crate::step_key::StepKey;
use crate::value;
use crate::writer::{Origin, Refused, Target};
use outlive_storage::row::{
    Etag, Family, Micros, Outcome, ParentRow, State, StepState, TaskNumber, TaskRow, ValueKey,
    ValueKind,
};
use outlive_storage::{Store, StoreError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashSet;
use std::convert::Infallible;
use std::future::Future;

/// Rows looked at in one read.
const PAGE: usize = 256;

impl From<StepError<Infallible>> for ChildError {
    fn from(error: StepError<Infallible>) -> ChildError {
        match error {
            StepError::Failed { error, .. } => match error {},
            StepError::Result(_) => ChildError::TooLarge,
            StepError::TooMany { max } => ChildError::TooMany { max },
            StepError::TurnOver | StepError::TimedOut { .. } | StepError::InsideRuntime => {
                ChildError::TurnOver
            }
        }
    }
}

/// How many ends a wait needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    All,
    One,
}

/// What a look at children found.
#[derive(Default, Clone)]
struct Looked {
    /// Each once, however often it was given.
    unfinished: HashSet<TaskNumber>,
    /// Those of the unfinished that are nobody's children, or those of an earlier turn.
    strays: Vec<ChildOf>,
    /// The first that ended: when, and which.
    first: Option<(Micros, usize)>,
}

impl<S> Ctx<S> {
    /// Waits for the end of a child, through crashes, and outside of memory: the handler's slot is free meanwhile, and it
    /// is entered again from the top, as [`Entry::Resumed`](crate::Entry::Resumed), when the child has ended. In a
    /// blocking handler, and inside a step, the wait keeps its slot, which the child may need. What the child came to is recorded as the result of a step. While others of
    /// the turn's children run, their ends may enter the handler early, to wait again: wait for many with [`Ctx::all`].
    ///
    /// A child ends when its task has ended. One that is suspended for a further input has not, and the output of one
    /// that had several turns is that of the last.
    ///
    /// ```
    /// use outlive::{ChildError, Ctx, HandlerError, TaskDef};
    /// const FETCH: TaskDef<String, String> = TaskDef::new("fetch");
    /// async fn read(ctx: Ctx, url: String) -> Result<usize, HandlerError> {
    ///     let page = ctx.start("page", FETCH, &url).await?;
    ///     match ctx.outcome("fetched", &page).await {
    ///         Ok(text) => Ok(text.len()),
    ///         Err(ChildError::Failed(_)) => Ok(0),
    ///         Err(error) => Err(error.into()),
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// [`ChildError`]: what became of the child, which is recorded; or why it cannot be waited for.
    pub async fn outcome<O>(
        &self,
        key: impl Into<StepKey>,
        child: &Child<O>,
    ) -> Result<O, ChildError>
    where
        O: Serialize + DeserializeOwned + Send,
    {
        let step = OneStep::begin::<Infallible>(self, key.into(), StepOptions::new()).await?;
        if let Some(known) = known(&step).await? {
            return known;
        }
        let child = child.of();
        wait(self, &step, &[child], Need::All).await?;
        let result = result(&self.core, child.task).await;
        if !is_final(&result) {
            return result;
        }
        record(&step, result).await?
    }

    /// Waits for the ends of all these children and gives what each came to, in order; see [`Ctx::outcome`]. Given all
    /// children of the turn that still run, the handler is woken once, however many they are, and the task's row is not
    /// written before. Given only some, ends of the others may wake it early: it looks, and waits again.
    ///
    /// What they came to is not recorded once more: it is read from their rows, which stay until the turn is over. An
    /// ended task does not change, so every attempt of the turn reads the same, unless somebody retries or deletes a child
    /// meanwhile. For more outputs than memory holds there are [`Ctx::all_ended`] and [`Ctx::child_result`].
    ///
    /// # Errors
    /// [`ChildError`]: why they cannot be waited for.
    pub fn all<'c, O>(
        &self,
        key: impl Into<StepKey>,
        children: impl IntoIterator<Item = &'c Child<O>>,
    ) -> impl Future<Output = Result<Vec<Result<O, ChildError>>, ChildError>>
    where
        O: DeserializeOwned + Send + 'static,
    {
        let children: Vec<ChildOf> = children.into_iter().map(Child::of).collect();
        // Here and not in the future, which would not be `Send` with an iterator over what a handler borrows.
        let key = key.into();
        async move {
            self.all_of(key, &children).await?;
            let mut results = Vec::with_capacity(children.len());
            for child in children {
                results.push(result(&self.core, child.task).await);
            }
            Ok(results)
        }
    }

    /// As [`Ctx::all`], and gives nothing: for outputs that are read one by one.
    ///
    /// # Errors
    /// As [`Ctx::all`].
    pub fn all_ended<'c, O: 'static>(
        &self,
        key: impl Into<StepKey>,
        children: impl IntoIterator<Item = &'c Child<O>>,
    ) -> impl Future<Output = Result<(), ChildError>> {
        let children: Vec<ChildOf> = children.into_iter().map(Child::of).collect();
        let key = key.into();
        async move { self.all_of(key, &children).await }
    }

    async fn all_of(&self, key: StepKey, children: &[ChildOf]) -> Result<(), ChildError> {
        let step = OneStep::begin::<Infallible>(self, key, StepOptions::new()).await?;
        wait(self, &step, children, Need::All).await.map(drop)
    }

    /// What a child that has ended came to, as its row says now: not recorded, and without a wait.
    ///
    /// # Errors
    /// [`ChildError`]; `Unfinished` when it has not ended.
    pub async fn child_result<O: DeserializeOwned>(
        &self,
        child: &Child<O>,
    ) -> Result<O, ChildError> {
        result(&self.core, child.of().task).await
    }

    /// Waits until one of these children has ended, and gives its place among them and what it came to: of several that
    /// have ended the one that ended first. That is recorded as the result of a step: each attempt of the turn gets the
    /// same. The others go on; see [`Ctx::outcome`].
    ///
    /// # Errors
    /// [`ChildError`]: why they cannot be waited for.
    pub fn any<'c, O>(
        &self,
        key: impl Into<StepKey>,
        children: impl IntoIterator<Item = &'c Child<O>>,
    ) -> impl Future<Output = Result<(usize, Result<O, ChildError>), ChildError>>
    where
        O: Serialize + DeserializeOwned + Send + 'static,
    {
        let children: Vec<ChildOf> = children.into_iter().map(Child::of).collect();
        let key = key.into();
        async move { self.any_of(key, &children).await }
    }

    async fn any_of<O>(
        &self,
        key: StepKey,
        children: &[ChildOf],
    ) -> Result<(usize, Result<O, ChildError>), ChildError>
    where
        O: Serialize + DeserializeOwned + Send + 'static,
    {
        let step = OneStep::begin::<Infallible>(self, key, StepOptions::new()).await?;
        if let Some((task, found)) = known::<(u64, Result<O, ChildError>), S>(&step).await? {
            let place = children.iter().position(|child| child.task.0 == task);
            return Ok((place.ok_or(ChildError::Nobody)?, found));
        }
        let first = wait(self, &step, children, Need::One).await?;
        let place = first.ok_or(ChildError::Nobody)?;
        let task = children[place].task;
        let found = result(&self.core, task).await;
        if !is_final(&found) {
            return Ok((place, found));
        }
        let (_, found) = record(&step, (task.0, found)).await?;
        Ok((place, found))
    }
}

/// What an earlier attempt recorded.
async fn known<T: DeserializeOwned, S>(step: &OneStep<'_, S>) -> Result<Option<T>, ChildError> {
    let Some(known) = step.known::<Infallible>().await? else {
        return Ok(None);
    };
    if known.state != StepState::Done {
        let mistaken = step.mistaken::<T, Infallible>("the end of a child", known.state);
        return Ok(Some(mistaken.await?));
    }
    Ok(Some(step.replayed::<T, Infallible>(&known).await?))
}

/// Whether it is what became of the child, for ever; anything else may read differently next time, and is not recorded.
fn is_final<O>(found: &Result<O, ChildError>) -> bool {
    match found {
        Ok(_)
        | Err(
            ChildError::Failed(_)
            | ChildError::Cancelled { .. }
            | ChildError::Terminated { .. }
            | ChildError::Gone,
        ) => true,
        Err(
            ChildError::Damaged { .. }
            | ChildError::Undecodable { .. }
            | ChildError::Unfinished
            | ChildError::OfAnother
            | ChildError::Nobody
            | ChildError::TooLarge
            | ChildError::TooMany { .. }
            | ChildError::TurnOver,
        ) => false,
    }
}

/// Records what was found.
async fn record<T: Serialize, S>(step: &OneStep<'_, S>, found: T) -> Result<T, ChildError> {
    Ok(step.record::<T, Infallible>(found, 1).await?)
}

/// Waits for children; of those that have ended, the place of the one that ended first.
async fn wait<S>(
    ctx: &Ctx<S>,
    step: &OneStep<'_, S>,
    children: &[ChildOf],
    need: Need,
) -> Result<Option<usize>, ChildError> {
    let core = &ctx.core;
    loop {
        // Both before the look: what ends after it is counted after this number, and tells.
        let wakes = core.signal.wakes();
        let family = core.row.family(core.task);
        let ended = ended(core, family).await?;
        let looked = look(core, family, children).await?;
        let enough = looked.unfinished.is_empty() || (need == Need::One && looked.first.is_some());
        if enough || cfg!(planted = "join_does_not_wait") {
            return Ok(looked.first.map(|(_, place)| place));
        }
        if !looked.strays.is_empty() {
            take_over(core, &looked.strays).await?;
            continue;
        }
        let further = match need {
            Need::All => looked.unfinished.len() as u64,
            Need::One => 1,
        };
        let further = if cfg!(planted = "join_waits_for_one_more") {
            further + 1
        } else {
            further
        };
        step.wait_for_children::<Infallible>(ended + further, wakes)
            .await?;
    }
}

async fn ended(core: &CtxCore, family: Family) -> Result<u64, ChildError> {
    let read = core
        .host
        .reader
        .read_on(move |store| store.ended_children(family));
    or_over(core, read.await).await
}

/// How these children stand, page by page.
async fn look(core: &CtxCore, family: Family, children: &[ChildOf]) -> Result<Looked, ChildError> {
    let mut looked = Looked::default();
    for (page, first) in children.chunks(PAGE).zip((0..).step_by(PAGE)) {
        let page = page.to_vec();
        let read = core.host.reader.read_on(move |store| {
            let mut looked = looked.clone();
            for (child, place) in page.iter().zip(first..) {
                looked.see(store.get(child.task), (*child, place), family)?;
            }
            Ok(looked)
        });
        looked = or_over(core, read.await).await?;
    }
    Ok(looked)
}

impl Looked {
    fn see(
        &mut self,
        row: Result<Option<TaskRow>, StoreError>,
        (child, place): (ChildOf, usize),
        family: Family,
    ) -> Result<(), StoreError> {
        let ended_at = match row {
            Ok(Some(row)) => match row.state {
                State::Completed { at, .. } => Some(at),
                State::Pending { .. } | State::InProgress { .. } | State::Suspended { .. } => {
                    let parent = row.parent.map(|parent| parent.family);
                    if parent != Some(family) {
                        self.strays.push(child);
                    }
                    None
                }
            },
            // Nothing more is to be expected of it.
            Ok(None) => Some(Micros(0)),
            Err(error) if error.is_of_one_entry() => Some(Micros(0)),
            Err(error) => return Err(error),
        };
        let Some(at) = ended_at else {
            if cfg!(planted = "child_given_twice_counted_twice") {
                self.unfinished
                    .insert(TaskNumber(u64::MAX - self.unfinished.len() as u64));
            }
            self.unfinished.insert(child.task);
            return Ok(());
        };
        if self.first.is_none_or(|first| (at, place) < first) {
            self.first = Some((at, place));
        }
        Ok(())
    }
}

/// What a turn of an earlier run started becomes this turn's: else nobody would count its end.
async fn take_over(core: &CtxCore, strays: &[ChildOf]) -> Result<(), ChildError> {
    crate::child_door::mark_or_over(core).await?;
    for stray in strays {
        let row = ParentRow {
            family: core.row.family(core.task),
            id: core.row.id.clone(),
            detached: stray.detached,
        };
        let parent = NewParent {
            row,
            generation: core.generation,
        };
        let draft = Draft::bare(Target::Number(stray.task), Event::TakeOver(parent));
        match core.host.writer.ask(Origin::Engine, draft).await {
            // It was removed, or is damaged: the next look sees that.
            Ok(_) | Err(Refused::Unreadable(_) | Refused::Rejected(Rejected::NotFound)) => {}
            Err(Refused::Rejected(Rejected::Conflict { .. })) => return Err(ChildError::OfAnother),
            Err(Refused::Rejected(_) | Refused::Unknown(_) | Refused::Stopped(_)) => {
                return over(core).await;
            }
        }
    }
    Ok(())
}

/// What a child came to, as its row says.
async fn result<O: DeserializeOwned>(core: &CtxCore, task: TaskNumber) -> Result<O, ChildError> {
    let read = core.host.reader.read_on(move |store| outcome(store, task));
    let bytes = or_over(core, read.await).await??;
    value::decode(&bytes).map_err(|error| ChildError::Undecodable {
        expected: format!("{}: {error}", std::any::type_name::<O>()).into(),
    })
}

/// What became of the child: the output's bytes, or why there are none.
type Came = Result<Vec<u8>, ChildError>;

/// # Errors
/// [`StoreError`] when the store cannot be read; damage is the child's alone.
fn outcome(store: &dyn Store, task: TaskNumber) -> Result<Came, StoreError> {
    match came_to(store, task) {
        Err(error) if error.is_of_one_entry() => Ok(Err(ChildError::Damaged {
            damage: error.to_string().into(),
        })),
        came => came,
    }
}

fn came_to(store: &dyn Store, task: TaskNumber) -> Result<Came, StoreError> {
    let Some(row) = store.get(task)? else {
        return Ok(Err(ChildError::Gone));
    };
    let (etag, index) = (row.etag, row.slot());
    let State::Completed { outcome, .. } = row.state else {
        return Ok(Err(ChildError::Unfinished));
    };
    Ok(match outcome {
        Outcome::Succeeded(payload) => {
            let kind = ValueKind::Output;
            match store.bytes(ValueKey { task, kind, index }, &payload)? {
                Some(bytes) => Ok(bytes),
                None if is_as_it_was(store, task, etag)? => return Err(lost_output(task, index)),
                None => return came_to(store, task),
            }
        }
        Outcome::Failed(failure) => Err(ChildError::Failed(failure)),
        Outcome::Cancelled { reason, .. } => Err(ChildError::Cancelled { reason }),
        Outcome::Terminated { reason, timed_out } => {
            Err(ChildError::Terminated { reason, timed_out })
        }
        // INVARIANT: this crate and the storage crate are released together.
        other => unreachable!("an outcome this version does not know: {other:?}"),
    })
}

fn is_as_it_was(store: &dyn Store, task: TaskNumber, etag: Etag) -> Result<bool, StoreError> {
    Ok(store.get(task)?.is_some_and(|row| row.etag == etag))
}

/// What was read; an engine that stops drops this turn.
async fn or_over<T>(core: &CtxCore, read: Result<T, ReadError>) -> Result<T, ChildError> {
    match read {
        Ok(read) => Ok(read),
        Err(ReadError::Store(_) | ReadError::Stopped) => over(core).await,
    }
}

async fn over<T>(core: &CtxCore) -> Result<T, ChildError> {
    core.steps.ended().await;
    Err(ChildError::TurnOver)
}
