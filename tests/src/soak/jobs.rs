//! What the callers of the soak have under way, over restarts, and what they expect.

use super::work::{BLOCKING, CHAT, FAMILY, KEEP, NAP, TURNS, WORK, World, items, mixed, sum};
use crate::shown::{Seen, shown};
use outlive::{
    Accepted, AttachError, ControlError, Engine, GetError, ResultError, StartError, StreamError,
    TaskDef,
};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Jobs that nobody waits for at present, at most; a caller takes one of these before a new one then.
const WAITING_MAX: usize = 128;
/// Who comes back later than this does not ask: the answer must come while the task is kept.
const LATE: Duration = Duration::from_secs(20);
/// A job that has no answer for so long hangs.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Work,
    Chat,
    Nap,
    Family,
    Blocking,
}

impl Kind {
    fn of(n: u64) -> Kind {
        match mixed(n, 1) % 10 {
            0 => Kind::Family,
            1 => Kind::Blocking,
            2 | 3 => Kind::Nap,
            4..=6 => Kind::Chat,
            _ => Kind::Work,
        }
    }
}

/// One task, from its first start to the check of its end.
#[derive(Debug, Clone, Copy)]
pub struct Job {
    n: u64,
    kind: Kind,
    /// The input that comes next; only chains have more than one.
    input: u64,
    /// When it was acknowledged last: it is kept for some time after its end, and not for ever.
    acknowledged: Option<Instant>,
}

/// Whether a job is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Came {
    Done,
    /// The engine stopped first.
    Stopped,
    /// Its caller does not wait: another one will, later.
    Left,
    /// Nobody came for so long that it may be removed by now: a machine with too much to do is no fault of the engine's.
    Late,
}

/// A job in the hands of a caller: when that goes, however it goes, the job waits for another one.
struct Taken<'a> {
    jobs: &'a Jobs,
    job: Job,
    is_done: bool,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.jobs.waiting.lock().push_back(self.job);
        }
    }
}

/// All jobs, and what was counted.
#[derive(Debug, Default)]
pub struct Jobs {
    next: AtomicU64,
    waiting: Mutex<VecDeque<Job>>,
    /// No new ones are made.
    pub closing: AtomicBool,
    /// Ended and checked.
    pub done: AtomicU64,
    /// Acknowledged, and not there later.
    pub lost: AtomicU64,
    /// Outputs and items that are not what was asked for, and errors that nobody can explain.
    pub wrong: AtomicU64,
    /// Given up, for it may have been removed before anybody came back.
    pub late: AtomicU64,
    /// Streams read from their beginning to their end.
    pub streams: AtomicU64,
}

impl Jobs {
    /// One caller, until the engine stops, or nothing is left to do.
    pub async fn call(&self, engine: &Engine, world: &World) {
        while let Some(mut taken) = self.take() {
            let under_way = self.carry_on(engine, &mut taken.job);
            let came = tokio::time::timeout(PATIENCE, under_way).await;
            let came = came.unwrap_or_else(|_| {
                self.wrong(&format!("{:?} has no answer", taken.job));
                Came::Done
            });
            match came {
                Came::Done => {
                    taken.is_done = true;
                    world.checked(taken.job.n);
                    self.done.fetch_add(1, Ordering::Relaxed);
                }
                Came::Late => {
                    taken.is_done = true;
                    world.checked(taken.job.n);
                    self.late.fetch_add(1, Ordering::Relaxed);
                }
                Came::Left => {}
                Came::Stopped => return,
            }
        }
    }

    fn take(&self) -> Option<Taken<'_>> {
        let closing = self.closing.load(Ordering::Relaxed);
        let is_full = self.waiting() > WAITING_MAX;
        let job = if closing || is_full {
            self.waiting.lock().pop_front()?
        } else {
            let n = self.next.fetch_add(1, Ordering::Relaxed);
            Job {
                n,
                kind: Kind::of(n),
                input: 0,
                acknowledged: None,
            }
        };
        Some(Taken {
            jobs: self,
            job,
            is_done: false,
        })
    }

    /// How many wait for somebody.
    pub fn waiting(&self) -> usize {
        self.waiting.lock().len()
    }

    async fn carry_on(&self, engine: &Engine, job: &mut Job) -> Came {
        let n = job.n;
        match job.kind {
            Kind::Work => self.input(engine, WORK, job, (n, n + 3)).await,
            Kind::Nap => self.input(engine, NAP, job, (n, n)).await,
            Kind::Family => self.input(engine, FAMILY, job, (n, sum(n))).await,
            Kind::Blocking => self.input(engine, BLOCKING, job, (n, n)).await,
            Kind::Chat => {
                while job.input < TURNS {
                    let given = n * TURNS + job.input;
                    let came = self.input(engine, CHAT, job, (given, given)).await;
                    if came != Came::Done {
                        return came;
                    }
                    (job.input, job.acknowledged) = (job.input + 1, None);
                }
                Came::Done
            }
        }
    }

    /// Gives an input, which has been given before where it was acknowledged, and checks its output.
    async fn input<S: 'static>(
        &self,
        engine: &Engine,
        def: TaskDef<u64, u64, S>,
        job: &mut Job,
        (given, expected): (u64, u64),
    ) -> Came {
        if job.acknowledged.is_some_and(|at| at.elapsed() > LATE) {
            return Came::Late;
        }
        let id = format!("{}-{}", def.name(), job.n);
        let start = engine.start(def, id.as_str(), &given);
        let run = match start.input_id(job.input.to_string()).await {
            Ok(run) => run,
            Err(StartError::ShuttingDown) => return Came::Stopped,
            Err(error) => return self.odd(job, &error),
        };
        let is_kept = job.acknowledged.is_some_and(|at| at.elapsed() < KEEP);
        if is_kept && run.accepted() != Some(Accepted::Attached) {
            self.lost.fetch_add(1, Ordering::Relaxed);
            println!(
                "VIOLATION lost: {job:?} was acknowledged and is {:?}",
                run.accepted()
            );
        }
        let is_new = job.acknowledged.replace(Instant::now()).is_none();
        if is_new && mixed(job.n, 2).is_multiple_of(4) {
            return Came::Left;
        }
        match run.result().await {
            Ok(output) if output == expected => {}
            Ok(output) => self.wrong(&format!("{job:?} came to {output} instead of {expected}")),
            Err(ResultError::ShuttingDown) => return Came::Stopped,
            Err(error) => return self.odd(job, &error),
        }
        if job.kind == Kind::Work && mixed(job.n, 3).is_multiple_of(2) {
            return self.read(engine, &id, job).await;
        }
        Came::Done
    }

    /// Reads the stream of an ended task: what its steps and its last attempt emitted, once and in order.
    async fn read(&self, engine: &Engine, id: &str, job: &Job) -> Came {
        let mut stream = match engine.stream(WORK, id, 0).await {
            Ok(stream) => stream,
            Err(AttachError::Get(GetError::ShuttingDown)) => return Came::Stopped,
            Err(error) => return self.odd(job, &error),
        };
        let mut seen = Vec::new();
        while let Some(event) = stream.next().await {
            match event {
                Ok(event) => seen.extend(Seen::of(event)),
                Err(StreamError::ShuttingDown) => return Came::Stopped,
                Err(error) => return self.odd(job, &error),
            }
        }
        self.streams.fetch_add(1, Ordering::Relaxed);
        match shown(&seen) {
            Ok(shown) if (&shown.kept, &shown.open) == (&items().0, &items().1) => {}
            other => self.wrong(&format!("the stream of {job:?} shows {other:?}")),
        }
        Came::Done
    }

    fn odd(&self, job: &Job, error: &dyn std::error::Error) -> Came {
        self.wrong(&format!("{job:?}: {error}"));
        Came::Done
    }

    fn wrong(&self, what: &str) {
        println!("VIOLATION wrong: {what}");
        self.wrong.fetch_add(1, Ordering::Relaxed);
    }

    /// Looks at whatever comes, beside the callers: lists, explains, and asks for what is not there.
    pub async fn look(self: Arc<Self>, engine: Engine) {
        loop {
            let listed = match engine.list_all().limit(50).await {
                Ok(listed) => listed,
                Err(GetError::ShuttingDown) => return,
                Err(error) => return self.wrong(&format!("a list: {error}")),
            };
            for task in listed.tasks.iter().take(5) {
                match engine.explain(task.id.as_str()).await {
                    Ok(_) => {}
                    Err(GetError::ShuttingDown) => return,
                    Err(error) => return self.wrong(&format!("an explanation: {error}")),
                }
            }
            match engine.cancel("nobody", "for nothing").await {
                Err(ControlError::NotFound(_)) => {}
                Err(ControlError::ShuttingDown) => return,
                other => return self.wrong(&format!("a cancel of nobody: {other:?}")),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
