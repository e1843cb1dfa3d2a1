//! What an upgraded program would make of the tasks in flight, found out without touching any of them.

use crate::builder::{self, Builder, Source};
use crate::engine::{Engine, Shared};
use crate::env::{self, Place};
use crate::error::OpenError;
use crate::machine::Status;
use crate::registry::{Registered, Registry};
use crate::sealed::{self, Codec};
use crate::wall_clock::WallClock;
use one_task::{OneTask, Undeclared};
use outlive_storage::id::{InputId, TaskId};
use outlive_storage::row::{State, TaskNumber};
use outlive_storage::{Scan, Store, StoreError};
use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::oneshot;

mod one_task;

/// Most tasks with problems, damaged rows and kinds of undeclared steps that a [`CheckReport`] names; it counts all.
pub const CHECK_NAMED_MAX: usize = 100;
/// Most problems told of one task.
pub const TASK_PROBLEMS_MAX: usize = 16;
/// Rows read at once.
const CHUNK: usize = 100;

/// Why a task in flight would not go on in this program as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// No handler is registered under its name: it would wait. Register one, or say what the definition was called
    /// before ([`TaskDef::formerly`](crate::TaskDef::formerly)).
    NoHandler,
    /// An input is not one of its definition: its turn would be parked. Keep reading the old form.
    Input {
        /// Which one: that of the turn it is in, or one that waits.
        input_id: InputId,
        /// The type expected, and why the bytes are not one.
        expected: String,
    },
    /// The recorded result of a step is not what the program says it is, or the task is parked for it already. Keep
    /// reading the old form, or give the step another key, so that it runs again.
    Step {
        /// Its key.
        key: String,
        /// The type of the result in the program that recorded it.
        recorded: String,
        /// The type expected, and why the bytes are not one.
        expected: String,
    },
    /// Something else it needs cannot be read: a damaged entry, or what it is parked for. Restore a damaged file from a
    /// copy.
    Unreadable {
        /// What: `metadata`, for example.
        what: String,
        /// Why.
        why: String,
    },
}

/// One task in flight, as this program finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskCheck {
    /// The task.
    pub id: TaskId,
    /// Its definition's name.
    pub name: String,
    /// Where it stands.
    pub status: Status,
    /// At most [`TASK_PROBLEMS_MAX`] of what is wrong with it; nothing for a task that is ok.
    pub problems: Vec<Problem>,
}

/// Recorded steps that nobody said the type of: they are known to be JSON, and no more.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UndeclaredSteps {
    /// The definition's name.
    pub name: String,
    /// The step's key up to its value: the name to give to [`Builder::step_type`].
    pub step: String,
    /// The type of the results in the program that recorded them.
    pub recorded: String,
    /// How many there are.
    pub count: u64,
}

/// What a check found. A task with problems of several kinds is counted under each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CheckReport {
    /// Tasks in flight: those that have not ended, and whose rows can be read.
    pub tasks: u64,
    /// Of these, without a problem.
    pub ok: u64,
    /// Of these, without a handler.
    pub no_handler: u64,
    /// Of these, with an input that does not decode.
    pub input: u64,
    /// Of these, with a recorded step that does not decode.
    pub step: u64,
    /// Of these, with something else that cannot be read.
    pub unreadable: u64,
    /// Damaged rows: nobody knows whether their tasks have ended.
    pub damaged: u64,
    /// The newest tasks with problems, at most [`CHECK_NAMED_MAX`]; [`Check::each`] is told of all.
    pub problems: Vec<TaskCheck>,
    /// Which rows are damaged and what was found, at most [`CHECK_NAMED_MAX`].
    pub damaged_rows: Vec<StoreError>,
    /// Recorded steps whose types were not said, by definition and step; at most [`CHECK_NAMED_MAX`] kinds.
    pub undeclared: Vec<UndeclaredSteps>,
}

impl CheckReport {
    /// Whether every task in flight would go on.
    pub fn is_ok(&self) -> bool {
        self.ok == self.tasks && self.damaged == 0
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CheckReport {
            tasks,
            ok,
            no_handler,
            input,
            step,
            unreadable,
            damaged,
            ..
        } = self;
        write!(
            f,
            "{tasks} tasks in flight: {ok} ok, {no_handler} without a handler, {input} with an input and {step} with a \
             recorded step that does not decode, {unreadable} otherwise unreadable; {damaged} damaged rows"
        )
    }
}

/// Why there is no report. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The engine would not open; the error inside says what to do.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The engine has stopped. Check its builder instead.
    #[error("the engine has stopped; check its builder instead")]
    ShuttingDown,
    /// The store cannot answer; the error inside says what to do.
    #[error(transparent)]
    Store(#[from] StoreError),
}

type Each = Box<dyn FnMut(&TaskCheck) + Send>;
type Checked = Result<CheckReport, CheckError>;

/// A check under way; awaiting it gives the report. Nothing changes: no task is claimed, recovered or written.
///
/// It walks over the file page by page and holds one task in memory at a time, so that a million of them are no matter.
/// Each is checked as of its own moment.
#[must_use = "nothing is checked until it is awaited"]
pub struct Check {
    target: Target,
    each: Option<Each>,
}

/// What is checked.
enum Target {
    /// A place nobody has open, as the program of this builder.
    Builder(Result<Unopened, OpenError>),
    /// The store of a running engine.
    Engine(Arc<Shared>),
}

/// What a builder would open.
struct Unopened {
    source: Source,
    place: Place,
    registered: Vec<Registered>,
    codec: Codec,
}

/// The handlers there are.
enum Program {
    /// Their names have no numbers yet.
    Unopened(Vec<Registered>),
    Open(Arc<Registry>),
}

impl Program {
    fn registry(&mut self, store: &dyn Store) -> Result<Arc<Registry>, StoreError> {
        let registry = match self {
            Program::Open(registry) => return Ok(Arc::clone(registry)),
            Program::Unopened(registered) => {
                let registered = std::mem::take(registered);
                if cfg!(planted = "check_defines_names") {
                    let names: Vec<_> = registered.iter().map(|one| one.name).collect();
                    store.define(&names)?;
                }
                Arc::new(Registry::unopened(registered, store.definitions()?))
            }
        };
        *self = Program::Open(Arc::clone(&registry));
        Ok(registry)
    }
}

impl Builder {
    /// Says of each task in flight whether this program could go on with it, before it takes any work: for an upgrade.
    /// The file is opened under its lock and closed again; nothing is claimed or recovered, and no task, nor anything that
    /// is said of it, is written. After a crash the file itself may be repaired, as by any open. A file that is not there
    /// is not created: nothing is in flight.
    ///
    /// What is checked: that a handler is registered; that inputs, also those that wait, are what it takes; that the
    /// results of recorded steps are what [`Builder::step_type`] says of them. A step of which nothing was said is known
    /// to be JSON; [`CheckReport::undeclared`] has its name and the type it was recorded as. What a handler reads by
    /// itself ([`Ctx::previous_input`](crate::Ctx::previous_input), for example) is its own business.
    ///
    /// ```
    /// # use outlive::{Ctx, Engine, HandlerError, TaskDef, ValueType};
    /// # const REPORT: TaskDef<Vec<String>, usize> = TaskDef::new("report");
    /// # async fn report(_: Ctx, urls: Vec<String>) -> Result<usize, HandlerError> { Ok(urls.len()) }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("tasks.redb");
    /// let builder = Engine::builder(&path)
    ///     .task(REPORT, report)
    ///     .step_type(REPORT, "fetch", ValueType::of::<String>());
    /// let report = builder.check().each(|task| println!("{}: {:?}", task.id, task.problems)).await?;
    /// println!("{report}");
    /// if report.is_ok() {
    ///     let engine = builder.open().await?;
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Awaited, [`CheckError`]: what to do is in each variant.
    pub fn check(&self) -> Check {
        let program = self.validate().map(|()| Unopened {
            source: self.source.clone(),
            place: self.place,
            registered: self.handlers.clone(),
            codec: self.codec.clone(),
        });
        Check {
            target: Target::Builder(program),
            each: None,
        }
    }
}

impl Engine {
    /// As [`Builder::check`], for what is in flight in this engine now. Turns go on meanwhile.
    ///
    /// # Errors
    /// Awaited, [`CheckError`]: what to do is in each variant.
    pub fn check(&self) -> Check {
        Check {
            target: Target::Engine(Arc::clone(self.shared())),
            each: None,
        }
    }
}

impl Check {
    /// Called for each task in flight, newest first, also for those that are ok; on the thread of the check.
    pub fn each(mut self, each: impl FnMut(&TaskCheck) + Send + 'static) -> Self {
        self.each = Some(Box::new(each));
        self
    }

    async fn run(self) -> Checked {
        match self.target {
            Target::Builder(program) => {
                let Unopened {
                    source,
                    place,
                    registered,
                    codec,
                } = program?;
                if is_missing(&source) {
                    return Ok(CheckReport::default());
                }
                let now = env::Clock::new(place, &WallClock::new()).now();
                let opened = builder::open_store(source, place, env::fresh_instance(), now);
                let (store, _) = opened.await?;
                let store = sealed::looked_into(store, codec)?;
                let checking = Checking::new(Program::Unopened(registered), self.each);
                checking.run(place, move || Some(Arc::clone(&store))).await
            }
            Target::Engine(shared) => {
                let dispatcher = &shared.dispatcher;
                let place = dispatcher.reader.place();
                let program = Program::Open(Arc::clone(&dispatcher.registry));
                let checking = Checking::new(program, self.each);
                let reader = Arc::clone(&dispatcher.reader);
                let store = move || reader.hold().and_then(|hold| hold.store());
                let checked = checking.run(place, store).await;
                if let Err(CheckError::Store(error)) = &checked
                    && !matches!(error, StoreError::Full)
                {
                    // As after any read: the engine must not look alive on it.
                    dispatcher.writer.fail(error.clone());
                }
                checked
            }
        }
    }
}

/// Opening it would create it.
fn is_missing(source: &Source) -> bool {
    match source {
        Source::Memory | Source::Store(_) => false,
        #[cfg(feature = "redb")]
        Source::File(path, _) => std::fs::symlink_metadata(path)
            .is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound),
    }
}

impl IntoFuture for Check {
    type Output = Checked;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").finish_non_exhaustive()
    }
}

/// How far a check has come.
struct Checking {
    program: Program,
    each: Option<Each>,
    after: Option<TaskNumber>,
    report: CheckReport,
    undeclared: BTreeMap<Undeclared, u64>,
}

impl Checking {
    fn new(program: Program, each: Option<Each>) -> Checking {
        Checking {
            program,
            each,
            after: None,
            report: CheckReport::default(),
            undeclared: BTreeMap::new(),
        }
    }

    /// Page by page, on a thread of its own, for it reads and runs code of the user's; inline, where it is awaited.
    async fn run(
        mut self,
        place: Place,
        store: impl Fn() -> Option<Arc<dyn Store>> + Send + 'static,
    ) -> Checked {
        if place == Place::Inline {
            while self.page(&store)? {
                tokio::task::yield_now().await;
            }
            return Ok(self.reported());
        }
        let (sender, checked) = oneshot::channel();
        env::thread("outlive-check", move || {
            let walk = || {
                // Nobody waits for it any more: the file is let go of.
                while !sender.is_closed() && self.page(&store)? {}
                Ok(self.reported())
            };
            let checked = catch_unwind(AssertUnwindSafe(walk));
            // The file is free when the report is out.
            drop(store);
            let _ = sender.send(checked);
        })
        .map_err(OpenError::Thread)?;
        match checked.await {
            Ok(Ok(checked)) => checked,
            Ok(Err(panic)) => resume_unwind(panic),
            // INVARIANT: the thread sends before it ends, whatever panics.
            Err(_) => Err(CheckError::ShuttingDown),
        }
    }

    /// Whether there is more.
    fn page(&mut self, store: &impl Fn() -> Option<Arc<dyn Store>>) -> Result<bool, CheckError> {
        let store = store().ok_or(CheckError::ShuttingDown)?;
        let registry = self.program.registry(&*store)?;
        let page = store.scan(Scan::All, self.after, CHUNK)?;
        for found in page.rows {
            self.after = Some(found.task);
            let row = match found.row {
                Ok(row) => row,
                Err(error) => {
                    self.damaged(error);
                    continue;
                }
            };
            if matches!(row.state, State::Completed { .. }) && !cfg!(planted = "ended_checked") {
                continue;
            }
            let mut one = OneTask::new(&*store, &registry, (found.task, &row));
            one.look(&mut self.undeclared)?;
            let problems = one.problems;
            self.count(TaskCheck {
                name: registry.name(row.def).to_owned(),
                status: Status::of(&row),
                id: row.id,
                problems,
            });
        }
        Ok(page.next.is_some())
    }

    fn damaged(&mut self, error: StoreError) {
        self.report.damaged += 1;
        if self.report.damaged_rows.len() < CHECK_NAMED_MAX {
            self.report.damaged_rows.push(error);
        }
    }

    fn count(&mut self, task: TaskCheck) {
        let report = &mut self.report;
        let has = |is_so: fn(&Problem) -> bool| u64::from(task.problems.iter().any(is_so));
        report.tasks += 1;
        report.ok += u64::from(task.problems.is_empty());
        report.no_handler += has(|problem| matches!(problem, Problem::NoHandler));
        report.input += has(|problem| matches!(problem, Problem::Input { .. }));
        report.step += has(|problem| matches!(problem, Problem::Step { .. }));
        report.unreadable += has(|problem| matches!(problem, Problem::Unreadable { .. }));
        if let Some(each) = &mut self.each {
            each(&task);
        }
        let room = report.problems.len() < CHECK_NAMED_MAX || cfg!(planted = "check_unbounded");
        if !task.problems.is_empty() && room {
            report.problems.push(task);
        }
    }

    fn reported(&mut self) -> CheckReport {
        let undeclared = std::mem::take(&mut self.undeclared).into_iter();
        let named = |(steps, count): (Undeclared, u64)| UndeclaredSteps {
            name: steps.name,
            step: steps.step,
            recorded: steps.recorded,
            count,
        };
        self.report.undeclared = undeclared.map(named).collect();
        std::mem::take(&mut self.report)
    }
}
