//! One life: an engine from its open to its end, and what callers do with it.

use super::calls::{self, Answer, Call};
use super::dice::Dice;
use super::faults::FaultStore;
use super::handler;
use super::plan::{Given, Happening, Op, Planner, Settings};
use super::scene::World;
use super::script::{CHAIN, CHAT, FLEETING, LEAF, SOLO};
use super::settle;
use outlive::{Builder, ControlError, Engine, OpenError};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// Nobody waits so long for the answer to a call.
const NEVER: Duration = Duration::from_secs(300);
/// A task of this id is never there.
const NOBODY: &str = "nobody";

/// How one life came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Another one follows.
    Next,
    /// Everything has come to its end, or something is wrong.
    Over,
}

/// Who says what happens.
#[derive(Debug)]
pub(super) enum Plot {
    /// Chance does.
    ByChance(Planner),
    /// It is written down.
    Written(Vec<Happening>),
}

/// What outlives every engine beside the world.
pub(super) struct Play {
    settings: Settings,
    plot: Plot,
    calls: Arc<Mutex<Vec<Call>>>,
    done: u64,
    /// For what is decided beside the plot.
    dice: Dice,
}

fn builder(world: &Arc<World>, settings: &Settings, store: &Arc<FaultStore>) -> Builder {
    let handler = || {
        let (world, store) = (Arc::clone(world), Arc::clone(store));
        move |ctx, act| handler::act(Arc::clone(&store), Arc::clone(&world), ctx, act)
    };
    Engine::on_store(Arc::<FaultStore>::clone(store))
        .inline()
        .wall_clock(&world.wall)
        .owner("world")
        .max_running(settings.max_running)
        .park_after(settings.park_after)
        .poison_guard(settings.guard)
        .log_events(settings.log)
        .task(SOLO, handler())
        .task(CHAT, handler())
        .task(CHAIN, handler())
        .task(FLEETING, handler())
        .task(LEAF, handler())
}

/// One engine, on one life's store.
pub(super) async fn live(world: &Arc<World>, play: &mut Play, store: &Arc<FaultStore>) -> End {
    let opened = builder(world, &play.settings, store).open().await;
    let engine = match opened {
        Ok(engine) => engine,
        Err(OpenError::Store(_)) => return End::Next,
        Err(other) => {
            world
                .state
                .lock()
                .wrong(format!("it does not open: {other:?}"));
            return End::Over;
        }
    };
    if play.dice.percent(30) {
        engine.recovery().await;
    }
    play.ask_again(world, &engine).await;
    while play.done < play.settings.steps {
        if world.is_broken() {
            return End::Over;
        }
        play.done += 1;
        world.state.lock().counts.steps += 1;
        if play.happens(world, &engine, store).await {
            return End::Next;
        }
        if play.seems_dead() && is_dead(&engine).await {
            let mut state = world.state.lock();
            state.trace.line(format_args!("the engine is dead"));
            if !store.stayed_shut() {
                state.wrong("an engine stopped over what had passed at once".to_owned());
            }
            return End::Next;
        }
    }
    world.state.lock().faults.rest();
    if is_dead(&engine).await {
        return End::Next;
    }
    play.all_answered(world).await;
    // What had failed by then may have ended it afterwards, at something nobody called for.
    if is_dead(&engine).await || play.calls.lock().iter().any(Call::is_open) {
        return End::Next;
    }
    let given = play.given();
    settle::settle(world, &engine, &given).await;
    engine.shutdown(Duration::ZERO).await;
    End::Over
}

/// Whether the engine takes nothing any more.
async fn is_dead(engine: &Engine) -> bool {
    match engine.cancel(NOBODY, "to see whether it lives").await {
        Err(ControlError::NotFound(_)) => false,
        Ok(()) | Err(_) => true,
    }
}

impl Play {
    /// What happens in the world of a seed.
    pub(super) fn new(seed: u64, settings: Settings, plot: Plot) -> Play {
        Play {
            settings,
            plot,
            calls: Arc::default(),
            done: 0,
            dice: Dice::of(seed, 4),
        }
    }

    /// All inputs that callers gave.
    pub(super) fn given(&self) -> Vec<Given> {
        let calls = self.calls.lock();
        let given = calls.iter().flat_map(|call| call.op.given());
        given.cloned().collect()
    }

    fn next(&mut self) -> Happening {
        match &mut self.plot {
            Plot::ByChance(planner) => planner.happens(),
            Plot::Written(happenings) => happenings[self.done as usize - 1].clone(),
        }
    }

    /// Calls that nobody answered are made again, with the same ids.
    async fn ask_again(&mut self, world: &Arc<World>, engine: &Engine) {
        let open: Vec<usize> = {
            let calls = self.calls.lock();
            let open = calls.iter().enumerate().filter(|(_, call)| call.is_open());
            open.map(|(at, _)| at).collect()
        };
        for at in open {
            self.doubts(at);
            make(world, engine, &self.calls, at).await;
        }
    }

    /// A call was perhaps carried out, and perhaps not.
    fn doubts(&self, at: usize) {
        let mut calls = self.calls.lock();
        let call = &mut calls[at];
        call.doubtful |= call.answer != Some(Answer::Stopped);
    }

    /// One step. True when the life is over with it.
    async fn happens(
        &mut self,
        world: &Arc<World>,
        engine: &Engine,
        store: &Arc<FaultStore>,
    ) -> bool {
        let happening = self.next();
        {
            let mut state = world.state.lock();
            state
                .trace
                .line(format_args!("happens {}", told(&happening)));
        }
        match happening {
            Happening::Call(op, awaited) => self.call(world, engine, op, awaited).await,
            Happening::Pass(ms) => {
                // What is written down reckons with all of it, also when somebody dies meanwhile.
                let whole = u64::from(matches!(self.plot, Plot::Written(_)));
                self.done -= whole;
                tokio::time::sleep(Duration::from_millis(ms)).await;
                self.done += whole;
            }
            Happening::Breathe(often) => {
                for _ in 0..often {
                    tokio::task::yield_now().await;
                }
            }
            Happening::Jump(secs) if secs < 0 => {
                world
                    .wall
                    .jump_back(Duration::from_secs(secs.unsigned_abs()));
            }
            Happening::Jump(secs) => {
                world
                    .wall
                    .jump_ahead(Duration::from_secs(secs.unsigned_abs()));
            }
            Happening::Die => {
                world.state.lock().counts.crashes += 1;
                store.kill();
                std::future::pending().await
            }
            Happening::Stop(grace) => {
                world.state.lock().counts.stops += 1;
                engine.shutdown(Duration::from_millis(grace)).await;
                return true;
            }
        }
        false
    }

    async fn call(&mut self, world: &Arc<World>, engine: &Engine, op: Op, awaited: bool) {
        let at = {
            let mut calls = self.calls.lock();
            calls.push(Call::new(op));
            calls.len() - 1
        };
        let (calls, world, engine) = (Arc::clone(&self.calls), Arc::clone(world), engine.clone());
        let made = tokio::spawn(async move { make(&world, &engine, &calls, at).await });
        if awaited {
            // Whether it was answered is seen later.
            let _ = made.await;
        }
    }

    /// Whether somebody was told that the engine takes nothing any more.
    fn seems_dead(&self) -> bool {
        let calls = self.calls.lock();
        let mut calls = calls.iter();
        calls.any(|call| matches!(call.answer, Some(Answer::Unknown | Answer::Stopped)))
    }

    /// Every call of this life is answered in time.
    async fn all_answered(&self, world: &World) {
        for _ in 0..100 {
            let open = self.calls.lock().iter().any(|call| call.answer.is_none());
            if !open {
                return;
            }
            tokio::time::sleep(NEVER / 100).await;
        }
        let calls = self.calls.lock();
        let open = calls.iter().find(|call| call.answer.is_none());
        world.state.lock().wrong(format!("nobody answers {open:?}"));
    }
}

/// Makes one call, and keeps its answer.
async fn make(world: &Arc<World>, engine: &Engine, calls: &Mutex<Vec<Call>>, at: usize) {
    let mut call = calls.lock()[at].clone();
    call.answer = None;
    calls.lock()[at].answer = None;
    world.state.lock().witness.gives(&call.op);
    let answer = calls::make(world, engine, &mut call).await;
    {
        let mut state = world.state.lock();
        state.trace.line(format_args!("answered {at}: {answer:?}"));
        if matches!(answer, Answer::Done(_)) {
            state.counts.acknowledged += 1;
        }
        let answered = matches!(answer, Answer::Done(_) | Answer::Refused(_));
        if answered && call.doubtful {
            state.counts.resolved += 1;
        }
        if let Answer::Refused(why) = &answer
            && why.starts_with("unexpected")
        {
            state.wrong(format!("{:?}: {why}", call.op));
        }
    }
    call.answer = Some(answer);
    calls.lock()[at] = call;
}

/// A step in the story.
fn told(happening: &Happening) -> String {
    match happening {
        Happening::Call(op, awaited) => format!("{op:?} {awaited}"),
        other => format!("{other:?}"),
    }
}
