//! The run itself: start every case, wait, try again what the infrastructure broke, write down what came of it.
//!
//! It keeps no notes of how far it got. Started again after a kill it does the same from the top, and the store tells
//! the difference.

use crate::Failure;
use crate::case::{self, Case, Question};
use crate::results::{self, Line, Status, Summary};
use crate::service::{Outage, Service, Try};
use indicatif::{ProgressBar, ProgressStyle};
use outlive::{Ctx, Engine, HandlerError, ResultError, RetryPolicy, Run, StartError, TaskDef};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::path::PathBuf;
use std::time::Duration;
use tokio::task::JoinSet;

/// An infrastructure error is tried again at once, twice. A model that says nothing for a minute is one, too.
const CASE: TaskDef<Question, Verdict> = TaskDef::new("case")
    .retry(
        RetryPolicy::exponential()
            .attempts(3)
            .initial(Duration::from_millis(20)),
    )
    .timeout(Duration::from_secs(60))
    .keep_forever();

/// How often a case is run when the infrastructure failed it: once more, when all others are through.
const RUNS_MAX: u32 = 2;

/// What the user asked for.
pub(crate) struct Job {
    pub(crate) cases: Option<PathBuf>,
    /// Holds the store, the ledger and the results.
    pub(crate) out: PathBuf,
    pub(crate) model: String,
    pub(crate) at_once: usize,
}

impl Job {
    pub(crate) fn ledger(&self) -> PathBuf {
        self.out.join("ledger.jsonl")
    }

    pub(crate) fn results(&self) -> PathBuf {
        self.out.join("results.jsonl")
    }
}

/// The model's answer, judged. A wrong answer is a result, not an error.
#[derive(Debug, Serialize, Deserialize)]
struct Verdict {
    passed: bool,
    answer: String,
}

async fn judge(service: Service, ctx: Ctx, question: Question) -> Result<Verdict, HandlerError> {
    let this = Try {
        run: ctx.run(),
        attempt: ctx.attempt(),
    };
    // The id of the task is the idempotency key: it is the same after every crash and in every run.
    let asked = service.ask(ctx.id().as_str(), &question, this).await;
    let answer = asked.map_err(|outage| match outage {
        Outage::Overloaded(delay) => HandlerError::from(outage).retry_after(delay),
        Outage::Down | Outage::Ledger(_) => outage.into(),
    })?;
    let passed = answer == question.case.expected;
    Ok(Verdict { passed, answer })
}

#[tokio::main]
pub(crate) async fn run(job: &Job) -> Result<(), Failure> {
    std::fs::create_dir_all(&job.out)?;
    let cases = cases(job)?;
    let service = Service::open(&job.ledger())?;
    let engine = Engine::builder(job.out.join("store.redb"))
        .task(CASE, move |ctx, question| {
            judge(service.clone(), ctx, question)
        })
        .title_by(CASE, |question, _| {
            Ok::<_, Infallible>(question.case.name.clone())
        })
        .max_running(job.at_once)
        .open()
        .await?;

    let runs = start_all(&engine, &cases, &job.model).await?;
    let bar = bar(runs.len() as u64);
    let mut ended = wait_for(runs, &bar).await?;
    let broken = again(&engine, &ended).await?;
    bar.inc_length(broken.len() as u64);
    for settled in wait_for(broken, &bar).await? {
        let index = settled.index;
        ended[index] = settled;
    }
    bar.finish_and_clear();

    let mut lines = Vec::new();
    for (case, settled) in cases.iter().zip(ended) {
        lines.push(settled.line(case).await?);
    }
    engine.shutdown(Duration::from_secs(5)).await;
    results::write(&job.results(), &lines)?;
    print!("{}", Summary::of(cases.iter().zip(&lines)));
    Ok(())
}

fn cases(job: &Job) -> Result<Vec<Case>, Failure> {
    if let Some(path) = &job.cases {
        return case::read(path);
    }
    let path = job.out.join("cases.jsonl");
    case::make(&path)?;
    case::read(&path)
}

/// A case under way: its place in the file of cases, and its task.
type Started = (usize, Run<Verdict>);

/// Starts a task per case, in a few commits. One that runs or waits takes the same question as what it is; one that
/// has ended refuses it and is attached to.
async fn start_all(engine: &Engine, cases: &[Case], model: &str) -> Result<Vec<Started>, Failure> {
    let mut tasks = Vec::new();
    for case in cases {
        let (case, model) = (case.clone(), model.to_owned());
        let question = Question { case, model };
        tasks.push((question.id()?, question));
    }
    let mut runs = Vec::new();
    let mut done = 0;
    for (index, started) in engine.start_many(CASE, tasks).await.into_iter().enumerate() {
        let run = match started {
            Ok(run) => run,
            Err(StartError::Conflict { id, .. }) => {
                done += 1;
                engine.attach(CASE, id).await?
            }
            Err(error) => return Err(error.into()),
        };
        runs.push((index, run));
    }
    let running = engine.recovery().await.found;
    eprintln!(
        "{done} of {} cases were done before, {running} were running",
        runs.len()
    );
    Ok(runs)
}

/// On a terminal a bar on standard error, elsewhere nothing.
fn bar(cases: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} cases, {eta} left");
    let bar = ProgressBar::new(cases);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// A case that is through.
struct Settled {
    index: usize,
    run: Run<Verdict>,
    /// The verdict, or why the infrastructure gave none.
    verdict: Result<Verdict, String>,
}

/// Waits for all, in whatever order they end.
async fn wait_for(runs: Vec<Started>, bar: &ProgressBar) -> Result<Vec<Settled>, Failure> {
    let mut waiting = JoinSet::new();
    for (index, run) in runs {
        waiting.spawn(async move { (index, run.result().await, run) });
    }
    let mut ended = Vec::new();
    while let Some(joined) = waiting.join_next().await {
        let (index, result, run) = joined?;
        let verdict = match result {
            Ok(verdict) => Ok(verdict),
            Err(ResultError::Failed(failure)) => Err(failure.message.into()),
            Err(ResultError::Terminated {
                reason,
                timed_out: true,
            }) => Err(reason.into()),
            // Nothing about the case: the store, or this program itself.
            Err(error) => return Err(error.into()),
        };
        ended.push(Settled {
            index,
            run,
            verdict,
        });
        bar.inc(1);
    }
    ended.sort_unstable_by_key(|settled| settled.index);
    Ok(ended)
}

/// Runs once more what the infrastructure failed, now that it has had time to recover.
async fn again(engine: &Engine, ended: &[Settled]) -> Result<Vec<Started>, Failure> {
    let mut runs = Vec::new();
    for settled in ended.iter().filter(|settled| settled.verdict.is_err()) {
        let task = settled.run.refresh().await?;
        if task.run < RUNS_MAX {
            let run = engine.retry(CASE, settled.run.id()).await?;
            runs.push((settled.index, run));
        }
    }
    Ok(runs)
}

impl Settled {
    async fn line(self, case: &Case) -> Result<Line, Failure> {
        let task = self.run.refresh().await?;
        let (status, said) = match self.verdict {
            Ok(Verdict {
                passed: true,
                answer,
            }) => (Status::Passed, answer),
            Ok(Verdict {
                passed: false,
                answer,
            }) => (Status::Failed, answer),
            Err(error) => (Status::InfrastructureError, error),
        };
        Ok(Line {
            name: case.name.clone(),
            id: task.id.to_string(),
            status,
            said,
            expected: case.expected.clone(),
            attempts: task.attempt,
            runs: task.run,
        })
    }
}
