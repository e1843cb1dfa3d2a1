//! The callers of the simulation: they follow the script and note what they are told, and when that left the engine.

use super::backup;
use super::branch::{Branch, Issued};
use super::disk::{Entry, Journal, SimDisk};
use super::facts::{Fact, What};
use super::handler::{BRIEF, CHAT, Job, Line, PLAIN, World};
use super::script::{Call, Def, Group, Script};
use super::witness::Witness;
use outlive::{
    Accepted, ControlError, Engine, InputId, OnConflict, Outcome, ReenterError, ResultError, Run,
    Start, StartError, TaskDef, TaskId,
};
use outlive_storage::{RedbStore, Store};
use parking_lot::Mutex;
use std::future::{Future, IntoFuture};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;
use tokio::task::JoinSet;

/// How long a caller waits for an answer to an input.
const PATIENCE: Duration = Duration::from_secs(40);
/// How long any other call may take.
const NEVER: Duration = Duration::from_secs(600);

/// What one life did.
#[derive(Debug, Default)]
pub struct Lived {
    /// Its calls, those of the lives before it among them.
    pub calls: Vec<Issued>,
    /// Backups that were compared.
    pub backups: u64,
    /// Files that were made small.
    pub compactions: u64,
    /// Retries that opened a further run.
    pub retries: u64,
    /// Starts that opened one.
    pub restarts: u64,
    /// What went wrong.
    pub violations: Vec<String>,
}

/// The definition of a task.
pub fn def_of(def: Def) -> TaskDef<Job, Line, String> {
    match def {
        Def::Plain => PLAIN,
        Def::Chat => CHAT,
        Def::Brief => BRIEF,
    }
}

/// An engine on the disk, with whatever is noted.
///
/// # Errors
/// Why it does not open.
pub async fn open(
    branch: &Branch,
    disk: &SimDisk,
    journal: &Journal,
    world: &World,
) -> Result<(Engine, Arc<Witness>), String> {
    let store = RedbStore::on_medium(Arc::new(disk.clone()), branch.options(), 1);
    let store = store.map_err(|error| format!("the store does not open: {error:?}"))?;
    let store = Witness::new(store, journal);
    let of_engine: Arc<dyn Store> = Arc::clone(&store) as _;
    let builder = world.act_in(Engine::on_store(of_engine).inline().owner("simulation"));
    let engine = builder.open().await;
    let engine = engine.map_err(|error| format!("the engine does not open: {error:?}"))?;
    Ok((engine, store))
}

/// One life of the callers and their engine, of so many groups of calls.
///
/// # Errors
/// Why it came to an end before its time.
pub async fn live(
    branch: &Branch,
    (disk, journal): (&SimDisk, &Journal),
    script: &mut Script,
    groups: u64,
) -> Result<Lived, String> {
    let world = World::new(branch.past.clone(), journal);
    let (mut engine, mut store) = open(branch, disk, journal, &world).await?;
    let callers = Callers {
        journal: journal.clone(),
        world: world.clone(),
        calls: Arc::new(Mutex::new(branch.calls.clone())),
        violations: Arc::default(),
        retries: Arc::default(),
        restarts: Arc::default(),
    };
    let (mut backups, mut compactions) = (0, 0);
    let mut plan = branch.plan();
    let again = branch.unanswered();
    callers.make(&engine, again).await;
    for _ in 0..groups {
        match script.next(&plan) {
            Group::Calls(calls) => {
                let mut numbers = Vec::new();
                for call in calls {
                    plan.add(&call);
                    numbers.push(callers.issue(call));
                }
                callers.make(&engine, numbers).await;
            }
            Group::Wait(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Group::Backup => {
                backup::compare(store.inner(), &Branch::given(&callers.calls.lock()))?;
                backups += 1;
            }
            group @ (Group::Reopen | Group::Compact) => {
                engine.shutdown(Duration::ZERO).await;
                drop(engine);
                if matches!(group, Group::Compact) {
                    let compacted = store.inner().compact();
                    compacted.map_err(|error| format!("it is not made small: {error:?}"))?;
                    compactions += 1;
                }
                drop(store);
                (engine, store) = open(branch, disk, journal, &world).await?;
            }
        }
    }
    if script.chance().below(3) == 0 {
        engine.shutdown(Duration::ZERO).await;
    }
    let mut violations = callers.violations.lock().clone();
    violations.extend(world.violations());
    let calls = callers.calls.lock().clone();
    let retries = callers.retries.load(Ordering::Relaxed);
    let restarts = callers.restarts.load(Ordering::Relaxed);
    Ok(Lived {
        calls,
        backups,
        compactions,
        retries,
        restarts,
        violations,
    })
}

/// Those who call.
#[derive(Debug, Clone)]
struct Callers {
    journal: Journal,
    world: World,
    calls: Arc<Mutex<Vec<Issued>>>,
    violations: Arc<Mutex<Vec<String>>>,
    retries: Arc<AtomicU64>,
    restarts: Arc<AtomicU64>,
}

impl Callers {
    /// Notes that a call is made.
    fn issue(&self, call: Call) -> usize {
        let mut calls = self.calls.lock();
        calls.push(Issued {
            at: self.journal.len(),
            call: Arc::new(call),
            answered: None,
        });
        calls.len() - 1
    }

    /// Makes calls beside each other, and waits for all of them.
    async fn make(&self, engine: &Engine, numbers: Vec<usize>) {
        let mut under_way = JoinSet::new();
        for number in numbers {
            let call = Arc::clone(&self.calls.lock()[number].call);
            let (callers, engine) = (self.clone(), engine.clone());
            under_way.spawn(async move {
                let made = callers.call(&engine, &call);
                if tokio::time::timeout(NEVER, made).await.is_err() {
                    callers.violated(format!("{call:?} is not answered"));
                }
                callers.calls.lock()[number].answered = Some(callers.journal.len());
            });
        }
        while let Some(made) = under_way.join_next().await {
            if let Err(panic) = made {
                self.violated(format!("a caller's task ended: {panic}"));
            }
        }
    }

    fn violated(&self, what: String) {
        self.violations.lock().push(what);
    }

    fn told(&self, since: usize, task: &str, what: What) {
        let task = TaskId::new(task).expect("an id");
        let fact = Fact { task, what };
        self.journal.add(Entry::Told { since, fact });
    }

    async fn call(&self, engine: &Engine, call: &Call) {
        match call {
            Call::Start {
                task,
                def,
                job,
                delivery,
                again,
            } => {
                let on_conflict = if *again {
                    self.anew(task);
                    OnConflict::Restart
                } else {
                    OnConflict::Refuse
                };
                let start = engine.start(def_of(*def), task, job);
                let start = start.delivery(*delivery).on_conflict(on_conflict);
                self.start(start, (task, *def), &job.label).await;
            }
            Call::Hear { task, input } => self.hear(engine, task, input).await,
            Call::Cancel(task) => {
                let (told, since) = watched(&self.journal, engine.cancel(task, "enough")).await;
                self.ordered(told, (since, task), What::Cancelled);
            }
            Call::Retry(task, def) => {
                self.anew(task);
                let order = engine.retry(def_of(*def), task);
                let (told, since) = watched(&self.journal, order).await;
                match told {
                    Ok(run) => {
                        self.retries.fetch_add(1, Ordering::Relaxed);
                        self.told(since, task, What::Retried { run: run.run() });
                    }
                    Err(ReenterError::Control(
                        ControlError::Conflict { .. } | ControlError::NotFound(_),
                    )) => {}
                    Err(error) => self.violated(format!("a retry of {task}: {error:?}")),
                }
            }
            Call::Delete(task) => {
                self.journal.add(Entry::MayGo(task.as_str().into()));
                let order = engine.delete(task).force();
                let (told, since) = watched(&self.journal, order).await;
                self.ordered(told, (since, task), What::Removed);
            }
            Call::Withdraw { task, input } => {
                let order = Box::pin(engine.withdraw(task, input, "not needed"));
                let (told, since) = watched(&self.journal, order).await;
                self.ordered(told, (since, task), What::Withdrawn(id(input)));
            }
            Call::AnswerAll => self.answer_all(engine).await,
            Call::Look(task) => match engine.get(task).await {
                Ok(Some(seen)) => {
                    let (etag, generation) = (seen.etag, seen.generation);
                    let since = self.journal.len();
                    self.told(since, task, What::Seen { etag, generation });
                }
                Ok(None) => {}
                Err(error) => self.violated(format!("{task} cannot be looked at: {error:?}")),
            },
        }
    }

    /// What was told of a task may not hold from here on.
    fn anew(&self, task: &str) {
        self.world.anew(task);
        self.journal.add(Entry::Anew(task.into()));
    }

    async fn start(&self, start: Start<Line, String>, (task, kind): (&str, Def), label: &str) {
        if kind == Def::Brief {
            self.journal.add(Entry::MayGo(task.into()));
        }
        let (told, since) = watched(&self.journal, start.input_id(label)).await;
        let what = match told {
            Ok(run) => {
                let restarted = run.accepted() == Some(Accepted::Restarted);
                self.restarts
                    .fetch_add(u64::from(restarted), Ordering::Relaxed);
                What::Accepted(id(label))
            }
            Err(StartError::Conflict { .. } | StartError::SteeringQueueFull { .. }) => {
                What::Refused(id(label))
            }
            Err(error) => return self.violated(format!("{task} does not start: {error:?}")),
        };
        self.told(since, task, what);
    }

    fn ordered<T>(&self, told: Result<T, ControlError>, (since, task): (usize, &str), what: What) {
        match told {
            Ok(_) => self.told(since, task, what),
            Err(ControlError::Conflict { .. } | ControlError::NotFound(_)) => {}
            Err(error) => self.violated(format!("{what:?} of {task}: {error:?}")),
        }
    }

    async fn hear(&self, engine: &Engine, task: &str, input: &str) {
        let known = self
            .calls
            .lock()
            .iter()
            .find_map(|issued| match &*issued.call {
                Call::Start { def, job, .. } if job.label == input => Some((*def, job.clone())),
                _ => None,
            });
        // A start of one that is gone would begin it anew.
        let Some((kind, job)) = known.filter(|(kind, _)| *kind != Def::Brief) else {
            return;
        };
        if engine.input(task, input).await.is_err() {
            return;
        }
        let run = engine.start(def_of(kind), task, &job).input_id(input).await;
        let run = match run {
            Ok(run) if run.accepted() == Some(Accepted::Attached) => run,
            other => {
                let accepted = other.map(|run| run.accepted());
                return self.violated(format!("{input} of {task} is not found: {accepted:?}"));
            }
        };
        if let Ok(told) = tokio::time::timeout(PATIENCE, outcome(&run)).await {
            let (since, input) = (self.journal.len(), id(input));
            self.told(since, task, What::Answered { input, told });
        }
    }

    async fn answer_all(&self, engine: &Engine) {
        let open = match engine.asks().await {
            Ok(list) => list.asks,
            Err(error) => return self.violated(format!("the questions: {error:?}")),
        };
        for ask in open {
            let answer = engine.answer(&ask.id, &ask.key, &7_u64).to(&ask);
            let (told, since) = watched(&self.journal, answer).await;
            if told.is_ok() {
                let (turn, key) = (ask.turn, ask.key.clone());
                self.told(since, ask.id.as_str(), What::AskAnswered { turn, key });
            }
        }
    }
}

fn id(input: &str) -> InputId {
    InputId::new(input).expect("an id")
}

/// The answer to an input, as text.
pub async fn outcome(run: &Run<Line, String>) -> String {
    match run.outcome().await {
        Ok(Outcome::Completed { output, .. }) => text(&output, false),
        Ok(Outcome::Suspended { output, .. }) => text(&output, true),
        Err(ResultError::Failed(failure)) => format!("failed: {}", failure.message),
        Err(ResultError::Cancelled { reason }) => format!("cancelled: {reason}"),
        Err(ResultError::Conflict { .. }) => "its task has ended".to_owned(),
        Err(other) => format!("{other:?}"),
        Ok(other) => format!("{other:?}"),
    }
}

/// An output, as text.
fn text(line: &Line, suspended: bool) -> String {
    let line = serde_json::to_string(line).expect("a line has a JSON form");
    format!("suspended: {suspended}, {line}")
}

/// Notes when a future is woken.
struct Woken {
    journal: Journal,
    at: AtomicUsize,
    waker: Mutex<Waker>,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.at.store(self.journal.len(), Ordering::SeqCst);
        self.waker.lock().wake_by_ref();
    }
}

/// The answer to a call, and the line of the journal at which it left the engine: a caller on another thread would have
/// had it then, whenever this one comes to it.
async fn watched<F: IntoFuture>(journal: &Journal, call: F) -> (F::Output, usize) {
    let mut call = pin!(call.into_future());
    let woken = Arc::new(Woken {
        journal: journal.clone(),
        at: AtomicUsize::new(usize::MAX),
        waker: Mutex::new(Waker::noop().clone()),
    });
    let told = std::future::poll_fn(|context| {
        *woken.waker.lock() = context.waker().clone();
        let waker = Waker::from(Arc::clone(&woken));
        call.as_mut().poll(&mut Context::from_waker(&waker))
    });
    let told = told.await;
    let at = woken.at.load(Ordering::SeqCst);
    (told, at.min(journal.len()))
}
