//! The engine on what a crash has left: it recovers, and works until everything rests.

use super::branch::Branch;
use super::caller::{def_of, outcome};
use super::disk::Journal;
use super::dump::Dump;
use super::facts::What;
use super::handler::{End, Job, Line, PLAIN, World};
use super::script::{Def, Known};
use super::witness::Witness;
use outlive::{Accepted, Engine, InputId, InputStatus, RecoveryReport, Status, WaitReason};
use outlive_storage::{RedbStore, Store};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a recovery, an answer, may take on the clock of the simulation.
const NEVER: Duration = Duration::from_secs(3_600);
/// How long the engine works after a recovery in which it crashes once more.
const WHILE: Duration = Duration::from_secs(3);
/// Between two looks whether everything rests, and how many looks there are.
const LOOK: Duration = Duration::from_secs(5);
const LOOKS: usize = 500;

/// What a crash has left, opened.
pub struct Opened<'a> {
    /// What is known.
    pub branch: &'a Branch,
    /// What the store said.
    pub dump: &'a Dump,
    /// Where to note what the engine does.
    pub journal: &'a Journal,
}

/// A runtime of this thread whose clock stands still, and that is not before this moment.
///
/// # Panics
/// When the system refuses one.
pub fn run<T>(from: Option<tokio::time::Instant>, work: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let now = tokio::time::Instant::now();
        if let Some(ahead) = from.and_then(|from| from.checked_duration_since(now)) {
            tokio::time::advance(ahead).await;
        }
        work.await
    })
}

impl Opened<'_> {
    /// The engine recovers; if it `settles` it works until everything rests, and if its writes are noted, for a while.
    /// How long the recovery took.
    ///
    /// # Errors
    /// What is not as it must be.
    pub fn recover(
        &self,
        store: RedbStore,
        settles: bool,
        noted: bool,
    ) -> Result<Duration, String> {
        let store: Arc<dyn Store> = if noted {
            Witness::new(store, self.journal)
        } else {
            Arc::new(store)
        };
        run(self.branch.now, self.work(store, settles, noted))
    }

    async fn work(
        &self,
        store: Arc<dyn Store>,
        settles: bool,
        noted: bool,
    ) -> Result<Duration, String> {
        let world = World::new(self.branch.past.clone(), self.journal);
        let began = Instant::now();
        let engine = Engine::on_store(Arc::clone(&store)).inline();
        let engine = world.act_in(engine).open().await;
        let engine = engine.map_err(|error| format!("the engine does not open: {error:?}"))?;
        let report = tokio::time::timeout(NEVER, engine.recovery()).await;
        let report = report.map_err(|_| "the recovery does not end")?;
        let took = began.elapsed();
        self.moved_on(&*store, report)?;
        self.all_listed(&engine).await?;
        if settles {
            self.settle(&engine).await?;
            engine.shutdown(Duration::ZERO).await;
            drop(engine);
            self.rests(&*store)?;
        } else if noted {
            tokio::time::sleep(WHILE).await;
        }
        match world.violations() {
            violations if violations.is_empty() => Ok(took),
            violations => Err(format!("{violations:?}")),
        }
    }

    /// What ran when the process died is entered again, held back, or ended by what was on record.
    fn moved_on(&self, store: &dyn Store, report: RecoveryReport) -> Result<(), String> {
        for task in &self.dump.running {
            let before = &self.dump.tasks[task].row;
            let row = store.get(*task).map_err(|error| format!("{error:?}"))?;
            if row.is_some_and(|row| row.etag == before.etag) {
                return Err(format!("{} was not recovered: {report:?}", before.id));
            }
        }
        let running = self.dump.running.len() as u64;
        if report.found > running {
            return Err(format!("{running} tasks ran, and {report:?}"));
        }
        Ok(())
    }

    async fn all_listed(&self, engine: &Engine) -> Result<(), String> {
        let list = engine.list_all().limit(500).await;
        let list = list.map_err(|error| format!("the list: {error:?}"))?;
        for whole in self.dump.tasks.values() {
            let id = &whole.row.id;
            let is_listed = list.tasks.iter().any(|task| task.id == *id);
            if !is_listed && !self.branch.may_be_gone.contains(id.as_str()) {
                return Err(format!("{id} is not listed"));
            }
        }
        Ok(())
    }

    /// Until everything rests; then each input has the answer that its caller was told, or else the one the script says.
    async fn settle(&self, engine: &Engine) -> Result<(), String> {
        let mut looks = 0;
        while let Some(task) = unfinished(engine).await? {
            looks += 1;
            if looks > LOOKS {
                return Err(format!("never rests: {task}"));
            }
            answer_all(engine).await?;
            tokio::time::sleep(LOOK).await;
        }
        for (task, known) in &self.branch.plan().0 {
            for job in &known.inputs {
                self.input(engine, (task, known), job).await?;
            }
        }
        // A recovery that crashed within may have started one before.
        let id = format!("afterwards-{}", self.branch.lives);
        let job = Job {
            label: id.clone(),
            acts: Vec::new(),
            end: End::Say,
            output: 0,
            pad: String::new(),
        };
        let run = engine.start(PLAIN, id, &job).await;
        let run = run.map_err(|error| format!("nothing starts any more: {error:?}"))?;
        let line = run.result().await;
        line.map(drop)
            .map_err(|error| format!("nothing ends any more: {error:?}"))
    }

    async fn input(
        &self,
        engine: &Engine,
        (task, known): (&str, &Known),
        job: &Job,
    ) -> Result<(), String> {
        let label = &job.label;
        let facts = self.branch.facts.iter();
        let facts = facts.filter(|fact| fact.task.as_str() == task);
        let is = |input: &InputId| input.as_str() == label;
        let mut of_input = facts.clone();
        let accepted = of_input.any(|fact| matches!(&fact.what, What::Accepted(id) if is(id)));
        let mut answers = facts.filter_map(|fact| match &fact.what {
            What::Answered { input, told } if is(input) => Some(told),
            _ => None,
        });
        let told_before = answers.next();
        let status = match engine.input(task, label).await {
            Ok(status) => status,
            Err(_) if !accepted || self.branch.may_be_gone.contains(task) => return Ok(()),
            Err(error) => return Err(format!("{label} of {task} was accepted, and is {error:?}")),
        };
        match status {
            InputStatus::Consumed { .. }
            | InputStatus::Withdrawn { .. }
            | InputStatus::TaskEnded => {}
            open => return Err(format!("{label} of {task} is {open:?} for ever")),
        }
        // A start of one that is gone by now would begin it anew.
        if known.def == Def::Brief {
            return Ok(());
        }
        let start = engine.start(def_of(known.def), task, job).input_id(label);
        let run = start
            .await
            .map_err(|error| format!("{label} of {task}: {error:?}"))?;
        if run.accepted() != Some(Accepted::Attached) {
            return Err(format!("{label} of {task} is {:?}", run.accepted()));
        }
        let told = tokio::time::timeout(NEVER, outcome(&run)).await;
        let told = told.map_err(|_| format!("{label} of {task} is never answered"))?;
        if told_before.is_some_and(|before| *before != told) {
            return Err(format!(
                "{label} of {task}: {told_before:?}, and then {told:?}"
            ));
        }
        expected(&told, known, job).map_err(|why| format!("{label} of {task}: {told} {why}"))
    }

    fn rests(&self, store: &dyn Store) -> Result<(), String> {
        let given = Branch::given(&self.branch.calls);
        let dump = Dump::of(store, &given).map_err(|error| format!("{error:?} at rest"))?;
        let contradictions = dump.contradictions();
        if contradictions.is_empty() {
            return Ok(());
        }
        Err(format!("at rest {contradictions:?}"))
    }
}

/// Whether the answer is what the script says.
fn expected(told: &str, known: &Known, job: &Job) -> Result<(), &'static str> {
    let holds = |is_so: bool, why| if is_so { Ok(()) } else { Err(why) };
    if let Some(line) = told.strip_prefix("suspended: ") {
        let (suspended, line) = line.split_once(", ").ok_or("is no answer")?;
        let line: Line = serde_json::from_str(line).map_err(|_| "is no output")?;
        // A turn answers for what it took.
        let turn = if known.def == Def::Chat {
            known.inputs.iter().find(|job| job.label == line.label)
        } else {
            Some(job).filter(|job| job.label == line.label)
        };
        let turn = turn.ok_or("answers another input")?;
        holds(line.pad.len() == turn.output, "is cut")?;
        let ends = if suspended == "true" {
            End::Suspend
        } else {
            End::Say
        };
        return holds(turn.end == ends, "ends otherwise");
    }
    match told {
        "failed: as it was told" => holds(job.end == End::Fail, "does not fail"),
        "cancelled: enough" | "its task has ended" => holds(known.cancelled, "was not cancelled"),
        "cancelled: not needed" => {
            holds(known.withdrawn.contains(&job.label), "was not taken back")
        }
        _ => Err("is no answer"),
    }
}

/// A task that has something to do.
async fn unfinished(engine: &Engine) -> Result<Option<String>, String> {
    let list = engine.list_all().limit(500).await;
    let list = list.map_err(|error| format!("the list: {error:?}"))?;
    if let Some(damaged) = list.damaged.first() {
        return Err(format!("damaged: {damaged:?}"));
    }
    let mut tasks = list.tasks.into_iter();
    let task = tasks.find(|task| match task.status {
        Status::Completed => false,
        Status::Suspended => !matches!(task.wait, Some(WaitReason::Input { .. })),
        Status::Pending | Status::InProgress => true,
    });
    Ok(task.map(|task| format!("{task:?}")))
}

async fn answer_all(engine: &Engine) -> Result<(), String> {
    let open = engine.asks().await;
    let open = open.map_err(|error| format!("the questions: {error:?}"))?;
    for ask in open.asks {
        // It may have expired in between.
        let _ = engine.answer(&ask.id, &ask.key, &7_u64).to(&ask).await;
    }
    Ok(())
}
