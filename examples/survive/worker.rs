//! The process that is killed: opens the store, starts the task that starts all others, waits for the end.
//!
//! It keeps no notes of its own. After a kill it does the same again from the top, and the store tells the
//! difference: what has ended is attached to, what was running is entered again, what waited still waits.

use crate::Failure;
use crate::journal::{self, Ended, Message};
use crate::report::{self, Facts, Report};
use outlive::{Ctx, Engine, Entry, Handler, HandlerError, Reply, TaskDef};
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const FILE: TaskDef<String, Facts> = TaskDef::new("file");
const COLLECT: TaskDef<usize, String> = TaskDef::new("collect");

/// The id of the one task that collects.
pub(crate) const COLLECT_ID: &str = "collect";

/// Files measured at once.
const AT_ONCE: usize = 16;

/// The first argument of the process that works.
const HIDDEN: &str = "--work";

/// What a working process is told.
pub(crate) struct Job {
    /// The directory the report is about.
    pub(crate) root: PathBuf,
    /// The JSON list of its files. It is made once, so that every process works on the same.
    pub(crate) list: PathBuf,
    /// The engine's file.
    pub(crate) store: PathBuf,
}

impl Job {
    pub(crate) fn from_args() -> Option<Job> {
        let mut args = std::env::args_os().skip(1);
        args.next().filter(|first| first == HIDDEN)?;
        let mut path = || args.next().map(PathBuf::from);
        Some(Job {
            root: path()?,
            list: path()?,
            store: path()?,
        })
    }

    pub(crate) fn args(&self) -> [OsString; 4] {
        let Job { root, list, store } = self;
        [HIDDEN.into(), root.into(), list.into(), store.into()]
    }

    pub(crate) fn report(&self) -> PathBuf {
        self.store.with_extension("report")
    }
}

/// A path is no valid id, its hash is.
pub(crate) fn task_id(path: &str) -> String {
    report::hex(&Sha256::digest(path)[..16])
}

#[tokio::main]
pub(crate) async fn work(job: Job) -> Result<(), Failure> {
    let files: Arc<Vec<String>> = Arc::new(serde_json::from_slice(&std::fs::read(&job.list)?)?);
    let collect = Collect {
        files: Arc::clone(&files),
        report: job.report(),
    };
    let root = job.root;
    let engine = Engine::builder(job.store)
        .blocking(FILE, move |ctx, path| file(&ctx, &root.join(path)))
        .handler(COLLECT, collect)
        .max_blocking(AT_ONCE)
        .open()
        .await?;

    let recovery = engine.recovery().await;
    journal::say(&Message::Recovered {
        found: recovery.found,
        dispatched: recovery.dispatched,
        took_us: recovery.took_us,
    });
    say_what_ended(&engine).await?;

    // An input id makes a second start harmless whatever became of the first.
    let run = engine
        .start(COLLECT, COLLECT_ID, &files.len())
        .input_id("once")
        .await?;
    run.result().await?;
    journal::say(&Message::Acknowledged {
        id: COLLECT_ID.to_owned(),
    });
    for path in files.iter() {
        let run = engine.attach(FILE, task_id(path)).await?;
        run.result().await?;
        journal::say(&Message::Acknowledged {
            id: run.id().to_string(),
        });
    }
    say_what_ended(&engine).await?;
    engine.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

/// The blocking handler. Reading again what it has read before does no harm, so it need not look at its entry.
fn file(ctx: &Ctx, path: &Path) -> Result<Facts, HandlerError> {
    say_entered(ctx, false);
    // A file that was listed and cannot be read now will hardly come back: no further attempt.
    let facts = report::measure(path).map_err(|error| {
        HandlerError::terminal(format!("{} cannot be read: {error}", path.display()))
    })?;
    say_left(ctx);
    Ok(facts)
}

/// The async handler, which has state: it starts a task per file, and waits for them outside of memory.
struct Collect {
    files: Arc<Vec<String>>,
    report: PathBuf,
}

impl Handler<usize, String> for Collect {
    /// Returns the SHA-256 of the report it wrote.
    async fn run(&self, ctx: Ctx, _files: usize) -> Result<Reply<String>, HandlerError> {
        if matches!(ctx.entry(), Entry::Recovered { .. }) {
            journal::say(&Message::EnteredAgain);
        }
        let files = self.files.iter();
        let starts = files.map(|path| ctx.start(path, FILE, path).id(task_id(path)));
        let measured = ctx.start_all("files", starts).await?;
        ctx.all_ended("measured", &measured).await?;
        say_entered(&ctx, true);
        let mut report = Report::default();
        for (path, file) in self.files.iter().zip(&measured) {
            report.add(path, ctx.child_result(file).await?);
        }
        let text = report.text();
        write_whole(&self.report, text.as_bytes())?;
        say_left(&ctx);
        Ok(report::hex(&Sha256::digest(text)).into())
    }
}

/// Entered again after a kill, it leaves the same file: never half of one, never two.
fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let draft = path.with_extension("draft");
    let mut file = std::fs::File::create(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(draft, path)
}

fn say_entered(ctx: &Ctx, waited: bool) {
    journal::say(&Message::Entered {
        id: ctx.id().to_string(),
        generation: ctx.generation(),
        crashes: ctx.crashes(),
        recovered: matches!(ctx.entry(), Entry::Recovered { .. }),
        waited,
    });
}

fn say_left(ctx: &Ctx) {
    journal::say(&Message::Left {
        id: ctx.id().to_string(),
    });
}

/// Tells every record of an ended task, as the store has it.
async fn say_what_ended(engine: &Engine) -> Result<(), Failure> {
    let mut after = None;
    loop {
        let page = engine.list_all().after(after).limit(500).await?;
        if let Some(damaged) = page.damaged.first() {
            return Err(format!("a damaged row: {damaged}").into());
        }
        for task in page.tasks {
            let Some(ended) = task.ended else { continue };
            journal::say(&Message::Ended(Ended {
                id: task.id.to_string(),
                succeeded: ended == outlive::Ended::Succeeded,
                etag: task.etag,
                generation: task.generation,
                crashes: task.crashes,
                run: task.run,
                turn: task.turn,
                attempt: task.attempt,
            }));
        }
        after = page.next;
        if after.is_none() {
            journal::say(&Message::EndedTold);
            return Ok(());
        }
    }
}
