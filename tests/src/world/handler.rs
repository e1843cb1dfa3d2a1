//! The handler of every definition: it does what its input says, and looks at the store while it does.

use super::faults::FaultStore;
use super::scene::World;
use super::script::{Act, End, Item, LEAF, Move, Told};
use super::trace::named;
use super::witness::Place;
use outlive::{
    Ask, Child, Ctx, HandlerError, Reconciled, Reply, RetryPolicy, StepError, StepOptions,
};
use outlive_storage::Store;
use outlive_storage::row::{StepState, TaskNumber, TaskRow, ValueKey, ValueKind};
use std::sync::Arc;
use std::time::Duration;

/// The reason of a task that [`End::Suspend`] suspended.
pub const MORE: &str = "more";
/// The answer to a question that nobody answers in time.
pub const DEFAULT: u64 = 7;
/// What the keys of steps begin with whose handler can find out what became of them.
pub const SURE: &str = "sure";
/// The key of the metadata that handlers count in.
const COUNT: &str = "count";

type Ended = Result<Reply<Told>, HandlerError>;

/// One entry of a handler.
struct Entered {
    world: Arc<World>,
    ctx: Ctx<Item>,
    /// Its task, and the turn over all runs under which its steps are recorded.
    task: (TaskNumber, u64),
    children: Vec<Child<Told>>,
    told: Told,
}

/// Held by a handler for as long as it lives.
struct Guard(Arc<World>, String);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.state.lock().witness.leave(&self.1);
    }
}

/// What a handler does that is entered in this life of the engine.
pub async fn act(life: Arc<FaultStore>, world: Arc<World>, ctx: Ctx<Item>, act: Act) -> Ended {
    let id = ctx.id().to_string();
    let alone = world.state.lock().witness.enter(&id);
    let _guard = Guard(Arc::clone(&world), id.clone());
    let mut entered = Entered::new(world, ctx, alone);
    for one in &act.moves {
        if let Move::Die(deaths) = one
            && entered.ctx.crashes() < *deaths
        {
            entered.die(&life).await;
        }
        if entered.ctx.is_shutting_down() {
            entered.ctx.exit_for_recovery().await?;
        }
        entered.go_on(one).await?;
    }
    entered.end(act.end)
}

impl Entered {
    fn new(world: Arc<World>, ctx: Ctx<Item>, alone: bool) -> Entered {
        let id = ctx.id();
        let number = world.truth.find(id).ok().flatten();
        let row = number.and_then(|number| world.truth.get(number).ok().flatten());
        {
            let mut state = world.state.lock();
            state.counts.entries += 1;
            state.trace.line(format_args!(
                "enter {} run {} turn {} attempt {} crashes {} generation {} {:?} {}",
                named(id.as_str()),
                ctx.run(),
                ctx.turn(),
                ctx.attempt(),
                ctx.crashes(),
                ctx.generation(),
                ctx.entry(),
                named(ctx.input_id().as_str()),
            ));
            if !alone {
                state.wrong(format!("two handlers of {} run at once", id.as_str()));
            }
            if !state.ledger.claims.contains_key(&ctx.generation()) {
                state.wrong(format!("{} is entered on no claim", id.as_str()));
            }
        }
        // A task that was removed since keeps no record of what its handler still does.
        let task = match (number, row) {
            (Some(number), Some(row)) => (number, row.steps_of),
            _ => (TaskNumber(0), 0),
        };
        let told = Told {
            input: ctx.input_id().to_string(),
            run: ctx.run(),
            turn: ctx.turn(),
            got: Vec::new(),
            taken: Vec::new(),
            generation: ctx.generation(),
            emitted: 0,
        };
        let entered = Entered {
            world,
            ctx,
            task,
            children: Vec::new(),
            told,
        };
        entered.finds_what_was_kept();
        entered
    }

    /// The row, as long as the task is this entry's.
    fn row(&self) -> Option<TaskRow> {
        let row = self.world.truth.get(self.task.0).ok().flatten()?;
        (row.generation.0 == self.ctx.generation()).then_some(row)
    }

    fn wrong(&self, what: String) {
        self.world.state.lock().wrong(what);
    }

    async fn die(&self, life: &FaultStore) {
        {
            let mut state = self.world.state.lock();
            state.counts.crashes += 1;
            state.trace.line(format_args!("poison"));
        }
        life.kill();
        std::future::pending().await
    }

    async fn go_on(&mut self, one: &Move) -> Result<(), HandlerError> {
        match one {
            Move::Step(key) => self.step(*key, 0).await?,
            Move::Flaky(key, fails) => self.step(*key, *fails).await?,
            Move::Once(key, asks) => self.once(*key, *asks).await?,
            Move::Emit(items, durably) => self.emit(*items, *durably).await?,
            Move::Keep(durably) => self.keep(*durably).await?,
            Move::Pause(ms) => tokio::time::sleep(Duration::from_millis(*ms)).await,
            Move::Sleep(key, secs) => {
                let key = format!("sleep{key}");
                self.ctx.sleep(key, Duration::from_secs(*secs)).await?;
            }
            Move::Ask(key, secs) => self.ask(*key, *secs).await?,
            Move::Child(key, act, detached) => {
                let start = self.ctx.start(format!("child{key}"), LEAF, act);
                let start = if *detached { start.detached() } else { start };
                self.children.push(start.await?);
            }
            Move::Join(key) => {
                let ended = self.ctx.all(format!("join{key}"), &self.children).await?;
                let succeeded = ended.iter().filter(|ended| ended.is_ok());
                self.told.got.push(succeeded.count() as u64);
            }
            Move::Take(key) => {
                let taken = self.ctx.inbox().take::<Act>(&format!("take{key}")).await?;
                let taken = taken.map(|taken| taken.input_id.to_string());
                self.told.taken.extend(taken);
            }
            Move::Yield(secs) => {
                let limit = Duration::from_secs(*secs);
                // Nobody need steer it.
                let _ = tokio::time::timeout(limit, self.ctx.cancelled()).await;
                let causes = self.ctx.cause();
                if causes.is_some_and(|causes| causes.cancel_requested().is_some()) {
                    return Err(HandlerError::cancelled());
                }
            }
            Move::FailUntil(attempt) if self.ctx.attempt() <= *attempt => {
                return Err("once more".into());
            }
            Move::FailUntil(_) | Move::Die(_) => {}
        }
        Ok(())
    }

    fn place(&self, key: &str) -> Place {
        (self.task.0, self.task.1, key.to_owned())
    }

    /// A step begins to run: it may not be recorded yet.
    fn runs(&self, place: &Place) -> u64 {
        let current = self.row().is_some();
        let mut state = self.world.state.lock();
        let known = (place.0, place.1, Box::from(&*place.2));
        if current && state.ledger.steps.contains_key(&known) {
            state.wrong(format!("step {place:?} is recorded, and runs again"));
        }
        state
            .trace
            .line(format_args!("run {} of {:?}", place.2, place.0));
        state.witness.run(place.clone())
    }

    /// A step came to something: that is recorded, and the same for every attempt.
    fn came_to(&mut self, place: Place, serial: u64) {
        let current = self.row().is_some();
        let mut state = self.world.state.lock();
        let known = (place.0, place.1, Box::from(&*place.2));
        let recorded = state.ledger.steps.get(&known).map(Vec::as_slice);
        let recorded = recorded == Some(serial.to_string().as_bytes());
        if current && !recorded {
            state.wrong(format!(
                "{place:?} came to {serial}, and is not recorded so"
            ));
        }
        let before = *state.witness.told.entry(place.clone()).or_insert(serial);
        if current && before != serial {
            state.wrong(format!("{place:?} came to {before} and to {serial}"));
        }
        drop(state);
        self.told.got.push(serial);
    }

    async fn step(&mut self, key: u32, fails: u32) -> Result<(), HandlerError> {
        let key = format!("step{key}");
        let place = self.place(&key);
        let retry = RetryPolicy::fixed().initial(Duration::from_millis(300));
        let options = StepOptions::new().retry(retry);
        let this = &*self;
        let here = &place;
        let got = this.ctx.step_with(key, options, |step| async move {
            let serial = this.runs(here);
            // No number of its own: it belongs to the step, and not to what its turn emits.
            let (generation, count) = (this.ctx.generation(), 0);
            // It is the step's, and nobody's if that fails.
            let _ = step.emit(Item { generation, count }).await;
            if step.attempt() <= fails {
                return Err("not yet");
            }
            Ok(serial)
        });
        let serial = got.await.map_err(failed)?;
        self.came_to(place, serial);
        Ok(())
    }

    /// A step that may run once; what became of it is known to the world, if its handler may ask.
    async fn once(&mut self, key: u32, asks: bool) -> Result<(), HandlerError> {
        // Nobody need be asked what became of one whose handler can find out.
        let key = format!("{}{key}", if asks { SURE } else { "once" });
        let place = self.place(&key);
        let this = &*self;
        let here = &place;
        let run = |_| async move {
            this.begun(here);
            Ok::<_, &str>(this.runs(here))
        };
        let reconcile = |_| async move {
            let state = this.world.state.lock();
            let last = state.witness.ran.get(here).and_then(|ran| ran.last());
            Ok(match last {
                _ if !asks => Reconciled::Unknown,
                Some(serial) => Reconciled::Done(*serial),
                None => Reconciled::NotDone,
            })
        };
        let options = StepOptions::new().once();
        let got = this.ctx.step_reconciled(key, options, run, reconcile);
        let serial = got.await.map_err(failed)?;
        self.came_to(place, serial);
        Ok(())
    }

    /// What may run once is put down before it runs, and has not run yet.
    fn begun(&self, place: &Place) {
        if self.row().is_none() {
            return;
        }
        let step = self.world.truth.step(place.0, place.1, &place.2);
        let begun = step.ok().flatten().map(|step| step.state);
        let mut state = self.world.state.lock();
        if begun != Some(StepState::Begun) {
            state.wrong(format!("{place:?} runs, and is {begun:?}"));
        }
        if state.witness.ran.contains_key(place) {
            state.wrong(format!("{place:?} may run once, and runs twice"));
        }
    }

    async fn emit(&mut self, items: u32, durably: bool) -> Result<(), HandlerError> {
        for _ in 1..items {
            let item = self.item();
            self.ctx.emit(item).await?;
        }
        let item = self.item();
        if !durably {
            self.ctx.emit(item).await?;
            return Ok(());
        }
        let sequence = self.ctx.emit_durable(item.clone()).await?;
        let end = self.world.truth.stream_end(self.task.0).ok().flatten();
        if self.row().is_some() && end.is_none_or(|end| end.last < sequence) {
            self.wrong(format!(
                "item {sequence} of {:?} is not durable",
                self.task.0
            ));
        }
        Ok(())
    }

    fn item(&mut self) -> Item {
        self.told.emitted += 1;
        Item {
            generation: self.ctx.generation(),
            count: self.told.emitted,
        }
    }

    async fn keep(&mut self, durably: bool) -> Result<(), HandlerError> {
        let count = self.ctx.metadata().increment(COUNT, 1)?;
        if !durably {
            return Ok(());
        }
        self.ctx.flush_metadata().await?;
        if let Some(row) = self.row() {
            let stored = stored_count(&self.world, self.task.0);
            if stored.is_none_or(|stored| stored < count) {
                self.wrong(format!("{count} of {:?} is not durable", self.task.0));
            }
            let mut state = self.world.state.lock();
            let kept = (u64::from(row.run), count);
            state.witness.kept.insert(self.task.0, kept);
        }
        Ok(())
    }

    /// What was said to be durable of the metadata is there, as long as the run is the same.
    fn finds_what_was_kept(&self) {
        let found = self.ctx.metadata().get::<i64>(COUNT).ok().flatten();
        let mut state = self.world.state.lock();
        let kept = state.witness.kept.get(&self.task.0).copied();
        if let Some((run, count)) = kept
            && run == u64::from(self.ctx.run())
            && found.is_none_or(|found| found < count)
        {
            let number = self.task.0;
            state.wrong(format!("{number:?} had kept {count} and finds {found:?}"));
        }
    }

    async fn ask(&mut self, key: u32, secs: Option<u64>) -> Result<(), HandlerError> {
        let key = format!("ask{key}");
        let place = self.place(&key);
        let ask = Ask::new(&key);
        let ask = match secs {
            Some(secs) => ask
                .deadline(Duration::from_secs(secs))
                .default_answer(&DEFAULT),
            None => ask,
        };
        let answer = self.ctx.ask::<u64>(key, ask).await?;
        let current = self.row().is_some();
        let mut state = self.world.state.lock();
        let acknowledged = state.witness.answers.get(&place).copied();
        if current && acknowledged.is_some_and(|acknowledged| acknowledged != answer) {
            state.wrong(format!(
                "{place:?} was answered {acknowledged:?} and got {answer}"
            ));
        }
        drop(state);
        self.told.got.push(answer);
        Ok(())
    }

    fn end(self, end: End) -> Ended {
        match end {
            End::Reply => Ok(Reply::output(self.told)),
            End::Suspend => Ok(Reply::suspend(self.told, MORE)),
            End::Fail => Err(HandlerError::terminal("for good")),
            // A panic without the hook, which would print each.
            End::Panic => std::panic::resume_unwind(Box::new("as its script says".to_owned())),
            End::Agree => Err(HandlerError::cancelled()),
        }
    }
}

/// What the store has of a task's count.
fn stored_count(world: &World, task: TaskNumber) -> Option<i64> {
    let (kind, index) = (ValueKind::Metadata, 0);
    let bytes = world.truth.value(ValueKey { task, kind, index }).ok()??;
    let map: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
    map["default"][COUNT].as_i64()
}

fn failed(error: StepError<&str>) -> HandlerError {
    HandlerError::from(error.to_string())
}
