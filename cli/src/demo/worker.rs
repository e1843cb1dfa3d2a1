//! The process that does the work: an ordinary program with one task.

use super::STAGES;
use super::part::Told;
use crate::error::CliError;
use crate::exit::Exit;
use outlive::{
    Ctx, Delivery, Engine, Entry, Handler, HandlerError, Reply, StepOptions, StreamEvent, TaskDef,
};
use serde::{Deserialize, Serialize};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::io::AsyncBufReadExt;

const STORY: TaskDef<Order, String, String> = TaskDef::new("story").steerable(8);
/// The id of the task.
pub(super) const ID: &str = "the-task";
/// How long a stage takes.
const WORK: Duration = Duration::from_millis(250);
/// What the stages do.
const WORK_OF: [&str; STAGES as usize] = [
    "fetch the pages",
    "read them",
    "sort out doubles",
    "ask the first model",
    "ask the second model",
    "compare the answers",
    "draft",
    "check the figures",
    "shorten",
    "translate",
    "proofread",
    "hand over",
];

/// What the task is given: first its work, then words of whoever watches.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Order {
    Begin,
    Word(String),
}

/// Where the tasks are.
pub(super) fn store(directory: &Path) -> PathBuf {
    directory.join("demo.redb")
}

/// Where stages write down that they run: what happens outside of the task, and cannot be taken back.
pub(super) fn effects(directory: &Path) -> PathBuf {
    directory.join("effects.txt")
}

/// Does the work, or dies in the midst of a stage.
pub(super) async fn run(directory: &Path, dies_at: Option<u32>) -> Result<Exit, CliError> {
    let handler = Stages {
        effects: effects(directory).into(),
        dies_at,
    };
    let failed = |error: String| CliError::System {
        what: "the demonstration has failed".to_owned(),
        error: io::Error::other(error),
    };
    let began = Instant::now();
    let engine = Engine::builder(store(directory))
        .handler(STORY, handler)
        .open()
        .await;
    let engine = engine.map_err(|error| failed(error.to_string()))?;
    say(&Told::Opened {
        us: u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
    });
    // The same call in both lives: the second finds the task that is there.
    let run = engine
        .start(STORY, ID, &Order::Begin)
        .input_id("begin")
        .await;
    let run = run.map_err(|error| failed(error.to_string()))?;
    let words = tokio::spawn(listen(engine.clone()));
    let output = run
        .result()
        .await
        .map_err(|error| failed(error.to_string()))?;
    say(&Told::Done { output });
    let mut stream = engine
        .stream(STORY, ID, 0)
        .await
        .map_err(|error| failed(error.to_string()))?;
    while let Some(event) = stream.next().await {
        let event = event.map_err(|error| failed(error.to_string()))?;
        if let StreamEvent::Item { item: text, .. } = event {
            say(&Told::Item { text });
        }
    }
    words.abort();
    engine.shutdown(Duration::from_secs(1)).await;
    Ok(Exit::Done)
}

/// Hands on what it is told.
async fn listen(engine: Engine) {
    let mut lines = tokio::io::BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(word)) = lines.next_line().await {
        let order = Order::Word(word);
        let handed = engine.start(STORY, ID, &order);
        // A task that has ended takes no word any more.
        let _ = handed.delivery(Delivery::AtBoundary).await;
    }
}

fn say(told: &Told) {
    if let Ok(line) = serde_json::to_string(told) {
        // Without whoever listens there is nothing to be shown.
        let _ = writeln!(io::stdout(), "{line}");
        let _ = io::stdout().flush();
    }
}

/// The handler.
#[derive(Clone)]
struct Stages {
    effects: Arc<Path>,
    dies_at: Option<u32>,
}

impl Handler<Order, String, String> for Stages {
    async fn run(&self, ctx: Ctx<String>, order: Order) -> Result<Reply<String>, HandlerError> {
        if let Order::Word(word) = order {
            // A word that came too late to be taken becomes a turn of its own.
            return Ok(Reply::output(format!("too late for {word:?}")));
        }
        let again = matches!(ctx.entry(), Entry::Recovered { .. });
        say(&Told::Entered { again });
        let mut heard = Vec::new();
        for n in 1..=STAGES {
            self.stage(&ctx, n).await?;
            let key = format!("after stage {n:02}");
            if let Some(taken) = ctx.inbox().take::<Order>(&key).await?
                && let Order::Word(word) = taken.input
            {
                say(&Told::Taken {
                    after: n,
                    word: word.clone(),
                });
                heard.push(word);
            }
        }
        let heard = heard.join(", ");
        Ok(Reply::output(format!(
            "{STAGES} stages are done; heard: {heard}"
        )))
    }
}

impl Stages {
    /// One stage: a step, which runs once and is found again afterwards.
    async fn stage(&self, ctx: &Ctx<String>, n: u32) -> Result<(), HandlerError> {
        let ran = Arc::new(AtomicBool::new(false));
        let key = match cfg!(planted = "demo_runs_stages_again") {
            true => format!("stage {n:02} of {}", std::process::id()),
            false => format!("stage {n:02}"),
        };
        let what = ctx.step_with(key, StepOptions::new(), |step| {
            let (stages, ran) = (self.clone(), Arc::clone(&ran));
            async move {
                ran.store(true, Ordering::SeqCst);
                let what = WORK_OF[n as usize - 1].to_owned();
                stages.note("begun", n)?;
                tokio::time::sleep(WORK / 2).await;
                if stages.dies_at == Some(n) {
                    die();
                }
                tokio::time::sleep(WORK / 2).await;
                stages.note("done", n)?;
                let emitted = step.emit(format!("stage {n}: {what}")).await;
                emitted.map_err(io::Error::other)?;
                Ok::<_, io::Error>(what)
            }
        });
        let what = what.await?;
        let ran = ran.load(Ordering::SeqCst);
        say(&Told::Stage { n, what, ran });
        Ok(())
    }

    fn note(&self, what: &str, n: u32) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.effects)?;
        file.write_all(format!("{what} {n} {}\n", std::process::id()).as_bytes())
    }
}

/// As `kill -9` does it: no destructor, no signal handler, no flush.
fn die() -> ! {
    #[cfg(unix)]
    {
        use rustix::process::{Signal, getpid, kill_process};
        // Where it is refused, what follows does as well.
        let _ = kill_process(getpid(), Signal::KILL);
    }
    std::process::abort()
}
