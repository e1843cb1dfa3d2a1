//! A file with something of everything in it, and handlers that know what they must be given.

use outlive::{
    Accepted, Ask, Builder, Ctx, Engine, HandlerError, Index, Reply, Run, TaskDef, TaskOptions,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// Every task of the file is one of these.
pub const JOB: TaskDef<Job, String, String> = TaskDef::new("job")
    .steerable(8)
    .index(&[Index::Session, Index::Tag("part")]);
/// Started by parents.
pub const CHILD: TaskDef<Job, String, String> = TaskDef::new("child");

/// What the text of a child's input is made of, in place of the input's id.
pub const OF_CHILD: &str = "c";

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Returns a short text.
    Short,
    /// Returns a text that lies beside its row, as does its input.
    Long,
    /// Emits, records steps, keeps metadata, and ends.
    Rich,
    /// Replies and waits for more.
    Chat,
    /// Asks, and waits for the answer.
    Asks,
    /// Fails for good.
    Fails,
    /// Is due in ten days.
    Later,
    /// Records, emits, and runs until it is let go.
    Runs,
    /// Starts children that run, and waits for them.
    Parent,
}

impl Kind {
    /// In turn.
    pub const ALL: [Kind; 9] = [
        Kind::Short,
        Kind::Long,
        Kind::Rich,
        Kind::Chat,
        Kind::Asks,
        Kind::Fails,
        Kind::Later,
        Kind::Runs,
        Kind::Parent,
    ];

    /// Whether it is at work when the file is taken, so that an open goes on with it.
    pub fn is_at_work(self) -> bool {
        match self {
            Kind::Runs | Kind::Parent => true,
            Kind::Short
            | Kind::Long
            | Kind::Rich
            | Kind::Chat
            | Kind::Asks
            | Kind::Fails
            | Kind::Later => false,
        }
    }
}

/// An input. Its text follows from the task and the input's id, so that a handler knows whether it is the right one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    kind: Kind,
    text: String,
}

/// The text of a task and one of its inputs.
pub fn text(kind: Kind, id: &str, input_id: &str) -> String {
    let once = format!("{kind:?} {id} {input_id} ");
    match kind {
        Kind::Long => once.repeat(120),
        Kind::Short
        | Kind::Rich
        | Kind::Chat
        | Kind::Asks
        | Kind::Fails
        | Kind::Later
        | Kind::Runs
        | Kind::Parent => once.repeat(4),
    }
}

/// What an input of a task must be answered with.
pub fn answer(kind: Kind, id: &str, input_id: &str) -> String {
    format!("done {}", text(kind, id, input_id))
}

/// An input of a task.
pub fn job(kind: Kind, id: &str, input_id: &str) -> Job {
    let text = text(kind, id, input_id);
    Job { kind, text }
}

/// What the handlers of one engine share.
#[derive(Clone)]
pub struct Stage {
    /// Where those wait that run.
    open: watch::Sender<bool>,
    /// How many came to where they wait.
    came: Arc<AtomicU64>,
    /// What a handler was given that it must never be given.
    wrong: Arc<Mutex<Vec<String>>>,
}

impl Default for Stage {
    fn default() -> Stage {
        Stage {
            open: watch::Sender::new(false),
            came: Arc::default(),
            wrong: Arc::default(),
        }
    }
}

impl Stage {
    /// Lets go whoever runs.
    pub fn let_go(&self) {
        self.open.send_replace(true);
    }

    /// How many came to where they wait.
    pub fn came(&self) -> u64 {
        self.came.load(Ordering::SeqCst)
    }

    /// What a handler was given that it must never be given.
    pub fn wrong(&self) -> Vec<String> {
        self.wrong.lock().clone()
    }

    fn check(&self, ctx: &Ctx<String>, job: &Job) {
        // A child's input has an id of the engine's.
        let input_id = match ctx.name() {
            "child" => OF_CHILD,
            _ => ctx.input_id().as_str(),
        };
        let expected = text(job.kind, ctx.id().as_str(), input_id);
        if job.text != expected {
            let found = format!("{} was given {:?}", ctx.id(), job.text);
            self.wrong.lock().push(found);
        }
    }

    /// The engine's handlers.
    pub fn on(&self, builder: Builder) -> Builder {
        let (job, child) = (self.clone(), self.clone());
        builder
            .task(JOB, move |ctx, input| job.clone().act(ctx, input))
            .task(CHILD, move |ctx, input| child.clone().act(ctx, input))
    }

    async fn act(self, ctx: Ctx<String>, job: Job) -> Result<Reply<String>, HandlerError> {
        self.check(&ctx, &job);
        let answer = format!("done {}", job.text);
        match job.kind {
            Kind::Short | Kind::Long | Kind::Later => {}
            Kind::Chat => return Ok(Reply::suspend(answer, "more")),
            Kind::Fails => return Err(HandlerError::terminal(answer)),
            Kind::Rich => record(&ctx).await?,
            Kind::Asks => {
                let said: String = ctx.ask("may", Ask::new("may I?")).await?;
                return Ok(Reply::output(said));
            }
            Kind::Runs => {
                record(&ctx).await?;
                self.wait().await;
            }
            Kind::Parent => self.parent(&ctx).await?,
        }
        Ok(Reply::output(answer))
    }

    async fn wait(&self) {
        self.came.fetch_add(1, Ordering::SeqCst);
        let mut open = self.open.subscribe();
        // The stage outlives its handlers.
        let _ = open.wait_for(|open| *open).await;
    }

    async fn parent(&self, ctx: &Ctx<String>) -> Result<(), HandlerError> {
        let mut children = Vec::new();
        for key in ["first", "second"] {
            let id = format!("{}.{key}", ctx.id());
            let input = job(Kind::Runs, &id, OF_CHILD);
            children.push(ctx.start(key, CHILD, &input).id(id.as_str()).await?);
        }
        for result in ctx.all("both", &children).await? {
            if let Err(error) = result {
                self.wrong.lock().push(format!("{}: {error}", ctx.id()));
            }
        }
        Ok(())
    }
}

/// Something of what hangs on a task.
async fn record(ctx: &Ctx<String>) -> Result<(), HandlerError> {
    for key in ["one", "two", "three"] {
        let recorded = format!("{key} of {}", ctx.id());
        let result: String = ctx
            .step(key, || async { Ok::<_, std::io::Error>(recorded.clone()) })
            .await?;
        if result != recorded {
            return Err(HandlerError::terminal(format!(
                "a step of another: {result}"
            )));
        }
        ctx.emit_durable(format!("item {recorded}")).await?;
    }
    ctx.metadata().set("of", ctx.id().as_str())?;
    ctx.flush_metadata().await?;
    Ok(())
}

/// What was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// Its id.
    pub id: String,
    /// What it does.
    pub kind: Kind,
    /// Whether a parent started it.
    pub is_child: bool,
}

/// A file, as two copies of its bytes, and what it must say.
pub struct World {
    /// Everything that is there, in the order in which it was started.
    pub tasks: Vec<Started>,
    /// The file as a killed process leaves it.
    pub killed: Vec<u8>,
    /// The file after a stop in order.
    pub stopped: Vec<u8>,
    /// The last transition in the log of these files.
    pub last_etag: u64,
    /// The file as a process that was killed halfway would have left it.
    pub before: Vec<u8>,
    /// When the files were taken, in microseconds: a later time in them is of an engine that was opened on them since.
    pub taken_us: u64,
}

impl World {
    /// What a task of this file does.
    pub fn kind_of(&self, id: &str) -> Option<Kind> {
        let task = self.tasks.iter().find(|task| task.id == id);
        task.map(|task| task.kind)
    }

    /// Fills a file with so many tasks in a directory.
    ///
    /// # Panics
    /// When an engine does not do as it must.
    pub async fn build(directory: &Path, count: usize) -> World {
        let path = directory.join("world.redb");
        let stage = Stage::default();
        let engine = stage
            .on(Engine::builder(&path))
            .open()
            .await
            .expect("opens");
        let mut before = Vec::new();
        for n in 0..count {
            let (id, kind) = nth(n);
            start(&engine, kind, &id, n).await;
            if n % 7 == 3 {
                // Leaves what is no more on pages that are free.
                let gone = format!("gone{n:05}");
                start(&engine, Kind::Long, &gone, n).await;
                engine.delete(&gone).force().await.expect("deleted");
            }
            if n == count / 2 {
                before = std::fs::read(&path).expect("the file");
            }
        }
        let tasks = tasks(count);
        settle(&engine, &stage, &tasks).await;
        let last_etag = super::trial::log(&engine, u64::MAX).await.into_keys().max();
        let killed = std::fs::read(&path).expect("the file");
        let taken_us = super::trial::now_us();
        engine.shutdown(Duration::ZERO).await;
        drop(engine);
        let stopped = std::fs::read(&path).expect("the file");
        World {
            tasks,
            killed,
            stopped,
            last_etag: last_etag.expect("a log"),
            before,
            taken_us,
        }
    }
}

/// The id of a task, and what it does.
fn nth(n: usize) -> (String, Kind) {
    let kind = Kind::ALL[n % Kind::ALL.len()];
    // Most have ended; few are at work.
    let kind = match kind.is_at_work() && n > 10 * Kind::ALL.len() {
        true => Kind::Short,
        false => kind,
    };
    (format!("t{n:05}"), kind)
}

/// Everything that is there when so many were started.
pub(super) fn tasks(count: usize) -> Vec<Started> {
    let mut tasks = Vec::new();
    for (id, kind) in (0..count).map(nth) {
        if kind == Kind::Parent {
            for key in ["first", "second"] {
                tasks.push(Started {
                    id: format!("{id}.{key}"),
                    kind: Kind::Runs,
                    is_child: true,
                });
            }
        }
        let is_child = false;
        tasks.push(Started { id, kind, is_child });
    }
    tasks
}

async fn start(engine: &Engine, kind: Kind, id: &str, n: usize) {
    let begin = |input_id: &str| {
        let starting = engine.start(JOB, id, &job(kind, id, input_id));
        starting.input_id(input_id)
    };
    let mut first = begin("i0")
        .session(format!("s{}", n % 5))
        .tag("part", format!("p{}", n % 3));
    if kind == Kind::Later {
        first = first.start_in(Duration::from_secs(10 * 24 * 3600));
    }
    if n % 11 == 5 {
        first = first.options(TaskOptions::new().keep_forever());
    }
    let run: Run<String, String> = first.await.expect("started");
    match kind {
        Kind::Short | Kind::Long | Kind::Rich => {
            assert_eq!(run.result().await.expect("ends"), answer(kind, id, "i0"));
        }
        Kind::Fails => assert!(run.result().await.is_err(), "it fails"),
        Kind::Chat => {
            run.result().await.expect("replies");
            for input_id in ["i1", "i2"] {
                begin(input_id)
                    .await
                    .expect("resumed")
                    .result()
                    .await
                    .expect("replies");
            }
        }
        Kind::Runs => {
            for input_id in ["i1", "i2"] {
                let run = begin(input_id).delivery(outlive::Delivery::AfterTurn);
                let accepted = run.await.expect("queued").accepted();
                assert!(matches!(accepted, Some(Accepted::Queued)), "{accepted:?}");
            }
        }
        Kind::Asks | Kind::Later | Kind::Parent => {}
    }
}

/// Waits until whoever is at work has come to where it waits.
async fn settle(engine: &Engine, stage: &Stage, tasks: &[Started]) {
    let running = tasks.iter().filter(|task| task.kind == Kind::Runs).count() as u64;
    crate::gate::until(async || stage.came() >= running).await;
    for task in tasks {
        let waits = matches!(task.kind, Kind::Asks | Kind::Parent);
        if waits {
            crate::gate::until(async || {
                let seen = engine.get(&task.id).await.expect("a look");
                seen.is_some_and(|seen| seen.status == outlive::Status::Suspended)
            })
            .await;
        }
    }
    assert_eq!(stage.wrong(), Vec::<String>::new());
}
