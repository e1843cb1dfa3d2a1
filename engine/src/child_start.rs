//! Starts of tasks by a handler: recorded steps, whose replay finds the same tasks.

use crate::child::Child;
use crate::child_door::{Wish, begin, derived};
use crate::ctx::Ctx;
use crate::def::TaskDef;
use crate::error::StartError;
use crate::facts::Said;
use crate::one_step::OneStep;
use crate::options::TaskOptions;
use crate::step::{Reconciled, StepCtx, StepError, StepOptions};
use crate::step_key::StepKey;
use crate::value::{self, ValueError};
use outlive_storage::row::StepState;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashSet;
use std::future::{Future, IntoFuture, Ready};
use std::marker::PhantomData;
use std::pin::Pin;

/// Starts of [`Ctx::start_many`] that are under way at once.
const MANY_UNDER_WAY: usize = 256;

/// Most children that one step starts: their handles, of which the longest takes some 400 bytes, must fit a step.
pub const CHILDREN_AT_ONCE: usize = 20_000;

/// Why a child was not started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChildStartError {
    /// Its start was refused; nothing was recorded. The error inside says what to do.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The handles of so many children take more room than a step may: start them in several steps.
    #[error("the handles of so many children are too large for a step ({0}); use several")]
    Handles(ValueError),
    /// So many children are not started by one step: start them in several. None was started.
    #[error("one step starts at most {max} children; use several")]
    TooManyAtOnce {
        /// The limit, [`CHILDREN_AT_ONCE`].
        max: usize,
    },
    /// The turn has as many steps as it may: start several children with one
    /// ([`Ctx::start_many`](crate::Ctx::start_many)).
    #[error("a turn has at most {max} steps; start several children with one")]
    TooMany {
        /// The limit.
        max: usize,
    },
    /// The turn is over, or its claim is no longer the task's. End the work.
    #[error("the turn is over; end the work")]
    TurnOver,
}

impl From<StepError<ChildStartError>> for ChildStartError {
    fn from(error: StepError<ChildStartError>) -> ChildStartError {
        match error {
            StepError::Failed { error, .. } => error,
            StepError::Result(error) => ChildStartError::Handles(error),
            StepError::TooMany { max } => ChildStartError::TooMany { max },
            StepError::TurnOver | StepError::TimedOut { .. } | StepError::InsideRuntime => {
                ChildStartError::TurnOver
            }
        }
    }
}

/// No start can be asked what became of it: its ids say so.
type NoReconcile<T, S> = fn(StepCtx<S>) -> Ready<Result<Reconciled<T>, ChildStartError>>;

/// The start of a child under way: options first, then awaited. Dropping it unawaited starts nothing.
///
/// What is said here replaces what the definition says. The session is the parent's unless said otherwise, and so is the
/// owner.
///
/// ```
/// use outlive::{Ctx, HandlerError, TaskDef};
/// const AUDIT: TaskDef<String, ()> = TaskDef::new("audit");
/// async fn pay(ctx: Ctx, order: String) -> Result<(), HandlerError> {
///     let audit = ctx.start("audit", AUDIT, &order).id(format!("audit-{order}")).detached().tag("order", &order).await?;
///     ctx.outcome("audited", &audit).await?;
///     Ok(())
/// }
/// ```
#[must_use = "a start does nothing until it is awaited"]
pub struct ChildStart<O, S = ()> {
    ctx: Ctx<S>,
    key: StepKey,
    input: Result<Vec<u8>, ValueError>,
    wish: Wish,
    output: PhantomData<fn() -> O>,
}

impl<S> Ctx<S> {
    /// Starts a task as a child of this turn: a recorded step. When the turn is entered again, also after a crash in the
    /// middle of the start, the same task is found. Its id is given ([`ChildStart::id`]) or made of the parent's and the
    /// key. It runs as any task does; a handler that waits for it ([`Ctx::outcome`], [`Ctx::all`]) frees its slot
    /// meanwhile, so that even an engine with one slot gets through.
    ///
    /// The child belongs to the turn: see [`Child`]. When the turn is cancelled or terminated, its task deleted, or it takes longer
    /// than it may, its children are cancelled, unless they are [`detached`](ChildStart::detached). When it ends otherwise they go
    /// on alone.
    ///
    /// The key is that of a step: see [`Ctx::step`], also for what using one twice leads to.
    ///
    /// # Errors
    /// Of the future: [`ChildStartError`]; a start that is refused is not recorded.
    pub fn start<I: Serialize, O, T>(
        &self,
        key: impl Into<StepKey>,
        def: TaskDef<I, O, T>,
        input: &I,
    ) -> ChildStart<O, S> {
        ChildStart {
            ctx: self.clone(),
            key: key.into(),
            input: value::encode("input", input),
            wish: wish(def),
            output: PhantomData,
        }
    }

    /// Starts many children as one recorded step: each has a key of its own among them, by which a replay that was
    /// interrupted half-way finds it. When this returns, all are started, and their handles are recorded in one commit,
    /// in the order given. Using one key twice puts the task aside, as for steps.
    ///
    /// ```
    /// use outlive::{Ctx, HandlerError, TaskDef};
    /// const CASE: TaskDef<u32, bool> = TaskDef::new("case");
    /// async fn benchmark(ctx: Ctx, cases: u32) -> Result<u32, HandlerError> {
    ///     let cases = (0..cases).map(|case| (("case", case), case));
    ///     let cases = ctx.start_many("cases", CASE, cases).await?;
    ///     let passed = ctx.all("ended", &cases).await?;
    ///     Ok(passed.into_iter().filter(|passed| *passed == Ok(true)).count() as u32)
    /// }
    /// ```
    ///
    /// # Errors
    /// [`ChildStartError`]; those that were started before the one that was refused run, and are found again by the next
    /// attempt.
    pub fn start_many<I, O, T, K, B>(
        &self,
        key: impl Into<StepKey>,
        def: TaskDef<I, O, T>,
        children: impl IntoIterator<Item = (K, B)>,
    ) -> impl Future<Output = Result<Vec<Child<O>>, ChildStartError>>
    where
        I: Serialize,
        K: Into<StepKey>,
        B: std::borrow::Borrow<I>,
    {
        let children = children.into_iter();
        let start = |(key, input): (K, B)| self.start(key, def, input.borrow());
        let starts: Vec<ChildStart<O, S>> =
            children.take(CHILDREN_AT_ONCE + 1).map(start).collect();
        self.start_all(key.into(), starts)
    }

    /// As [`Ctx::start_many`], with options of its own for each: what is given are starts that are not awaited, each with
    /// its key among them.
    ///
    /// ```
    /// use outlive::{Ctx, HandlerError, TaskDef};
    /// const CASE: TaskDef<u32, bool> = TaskDef::new("case");
    /// async fn benchmark(ctx: Ctx, cases: u32) -> Result<(), HandlerError> {
    ///     let cases = (0..cases).map(|case| ctx.start(("case", case), CASE, &case).id(format!("case-{case}")));
    ///     let cases = ctx.start_all("cases", cases).await?;
    ///     Ok(ctx.all_ended("ended", &cases).await?)
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`Ctx::start_many`].
    pub fn start_all<O>(
        &self,
        key: impl Into<StepKey>,
        children: impl IntoIterator<Item = ChildStart<O, S>>,
    ) -> impl Future<Output = Result<Vec<Child<O>>, ChildStartError>> {
        // Here and not in the future, which would not be `Send` with an iterator over what a handler borrows.
        let most = CHILDREN_AT_ONCE + 1;
        let encoded = children.into_iter().take(most).map(|start| {
            let ChildStart {
                key, input, wish, ..
            } = start;
            Ok((key, input.map_err(StartError::from)?, wish))
        });
        let encoded: Result<Vec<_>, StartError> = encoded.collect();
        let key = key.into();
        async move { self.start_encoded(key, encoded?).await }
    }

    async fn start_encoded<O>(
        &self,
        key: StepKey,
        children: Vec<(StepKey, Vec<u8>, Wish)>,
    ) -> Result<Vec<Child<O>>, ChildStartError> {
        check_count(children.len())?;
        let mut keys = HashSet::new();
        let mut all = children.iter().map(|(key, ..)| key.as_str());
        let twice = all.find(|key| !keys.insert(*key));
        let step = OneStep::begin(self, key.clone(), StepOptions::new()).await?;
        if let Some(twice) = twice {
            return Ok(step.used_twice(twice).await?);
        }
        let core = &self.core;
        let (key, children) = (&key, &children);
        let start = |_| async move {
            let mut started = Vec::with_capacity(children.len());
            for page in children.chunks(MANY_UNDER_WAY) {
                let mut under_way = Vec::with_capacity(page.len());
                for (child, input, wish) in page {
                    let named = derived(core, key, Some(child));
                    under_way.push(begin(core, named, input.clone(), wish.clone()).await?);
                }
                for one in under_way {
                    started.push(one.answered(core).await?);
                }
            }
            Ok(started)
        };
        recorded(&step, start).await
    }
}

fn wish<I, O, T>(def: TaskDef<I, O, T>) -> Wish {
    Wish {
        def: def.name(),
        id: None,
        options: def.options.task,
        said: Said::default(),
        detached: false,
    }
}

impl<O, S> ChildStart<O, S> {
    /// The id of the task. The rules of ids hold. An id that belongs to another task is refused with
    /// [`StartError::Conflict`], or `OtherDefinition`: a child is never joined to a task that is there already. Give
    /// another id.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.wish.id = Some(id.into());
        self
    }

    /// It goes on when the turn that starts it is cancelled.
    pub fn detached(mut self) -> Self {
        self.wish.detached = true;
        self
    }

    /// The options of this task, where they say something.
    pub fn options(mut self, options: TaskOptions) -> Self {
        self.wish.options = self.wish.options.and(options);
        self
    }

    /// The session of this task instead of its parent's. The rules of ids hold.
    pub fn session(mut self, session: impl Into<String>) -> Self {
        self.wish.said.session = Some(session.into());
        self
    }

    /// The title of this task, at most 256 bytes.
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.wish.said.title = Some(title.into());
        self
    }

    /// The description of this task, at most 1,024 bytes.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.wish.said.description = Some(description.into());
        self
    }

    /// A tag of this task, as [`Start::tag`](crate::Start::tag) says.
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.wish.said.tags.push((key.into(), value.into()));
        self
    }
}

impl<O: 'static, S: 'static> IntoFuture for ChildStart<O, S> {
    type Output = Result<Child<O>, ChildStartError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let ChildStart {
                ctx, key, input, ..
            } = self;
            let (core, wish) = (&ctx.core, &self.wish);
            let input = &input.map_err(StartError::from)?;
            let step = OneStep::begin(&ctx, key.clone(), StepOptions::new()).await?;
            let key = &key;
            let start = |_| async move {
                let named = derived(core, key, None);
                let begun = begin(core, named, input.clone(), wish.clone()).await?;
                begun.answered(core).await
            };
            recorded(&step, start).await
        })
    }
}

fn check_count(children: usize) -> Result<(), ChildStartError> {
    let max = CHILDREN_AT_ONCE;
    if children > max && !cfg!(planted = "children_at_once_unbounded") {
        return Err(ChildStartError::TooManyAtOnce { max });
    }
    Ok(())
}

/// What the step recorded, or what `start` comes to, which is recorded then.
async fn recorded<T, S, F, Fut>(step: &OneStep<'_, S>, start: F) -> Result<T, ChildStartError>
where
    T: Serialize + DeserializeOwned + Send,
    F: FnMut(StepCtx<S>) -> Fut + Send,
    Fut: Future<Output = Result<T, ChildStartError>> + Send,
{
    match step.known().await? {
        Some(known) if known.state == StepState::Done => Ok(step.replayed(&known).await?),
        Some(known) => Ok(step.mistaken("the start of a child", known.state).await?),
        None => Ok(step.run(start, None::<NoReconcile<T, S>>, false).await?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Their handles would have been found too large when all of them ran.
    #[test]
    fn so_many_children_are_started_at_once_and_no_more() {
        assert!(check_count(CHILDREN_AT_ONCE).is_ok());
        let max = CHILDREN_AT_ONCE;
        let refused = check_count(max + 1);
        assert!(matches!(refused, Err(ChildStartError::TooManyAtOnce { max: is }) if is == max));
    }
}
