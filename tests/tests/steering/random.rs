//! Random schedules of inputs, takes, withdrawals, ends and restarts, each held against a simple reference.
//!
//! A failing schedule is made as short as it gets and printed, with the seed that makes it again. `PROPTEST_CASES` says how
//! many are played (256).

use crate::{AGENT, ID, Turn, World, in_time};
use outlive::{
    ControlError, Delivery, HandlerError, InputStatus, OnConflict, ResultError, Run, StartError,
};
use proptest::prelude::*;
use proptest::sample::Index;

/// Inputs that may wait on the task.
const QUEUE: usize = 9;
const ATTEMPTS: u32 = 3;
const KEYS: [&str; 3] = ["k0", "k1", "k2"];

#[derive(Debug, Clone)]
enum Op {
    Send(Delivery),
    Take(usize),
    /// A take whose future is dropped when its event is on its way.
    DroppedTake(usize),
    Withdraw(Index),
    Reply,
    Suspend,
    Fail,
    FailForGood,
    GiveUp,
    Terminate,
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let delivery = prop_oneof![
        1 => Just(Delivery::Interrupt),
        3 => Just(Delivery::AtBoundary),
        1 => Just(Delivery::AfterTurn),
    ];
    prop_oneof![
        8 => delivery.prop_map(Op::Send),
        6 => (0..KEYS.len()).prop_map(Op::Take),
        1 => (0..KEYS.len()).prop_map(Op::DroppedTake),
        2 => any::<Index>().prop_map(Op::Withdraw),
        2 => Just(Op::Reply),
        1 => Just(Op::Suspend),
        2 => Just(Op::Fail),
        1 => Just(Op::FailForGood),
        1 => Just(Op::GiveUp),
        1 => Just(Op::Terminate),
        2 => Just(Op::Reopen),
    ]
}

/// Which turn: its run, and its number in it.
type Place = (u32, u32);

/// Where an input is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    /// In the queue.
    Waits,
    /// In the queue, and taken by an attempt of the open turn.
    Taken {
        key: usize,
        attempt: u64,
        missed: bool,
    },
    /// The open turn began with it.
    Open,
    /// Its turn is over, and this is what its caller is told.
    Over(Place, Option<usize>, Answer),
    Withdrawn,
    TaskEnded,
}

/// What a caller is told of a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    Output(String),
    Failed,
    Cancelled,
    Terminated,
    TaskEnded,
}

/// How the only task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Absent,
    Runs,
    Waits,
    Ended,
}

/// The reference: inputs in the order of their acceptance, and one turn.
struct Reference {
    fates: Vec<(String, Delivery, Fate)>,
    phase: Phase,
    place: Place,
    failures: u32,
    /// Counts the entries of the handler.
    attempt: u64,
    /// Keys that this attempt has used up.
    used: Vec<usize>,
}

impl Reference {
    fn new() -> Reference {
        Reference {
            fates: Vec::new(),
            phase: Phase::Absent,
            place: (1, 0),
            failures: 0,
            attempt: 0,
            used: Vec::new(),
        }
    }

    fn positions(&self, like: impl Fn(&Fate) -> bool) -> Vec<usize> {
        let fates = self.fates.iter().enumerate();
        let found = fates.filter(|(_, (_, _, fate))| like(fate));
        found.map(|(position, _)| position).collect()
    }

    fn waiting(&self) -> Vec<usize> {
        self.positions(|fate| *fate == Fate::Waits)
    }

    fn enter(&mut self) {
        self.attempt += 1;
        self.used.clear();
        self.phase = Phase::Runs;
    }

    fn begin(&mut self, position: usize) {
        self.fates[position].2 = Fate::Open;
        self.place.1 += 1;
        self.failures = 0;
        self.enter();
    }

    /// Which input a key gets.
    fn takes(&self, key: usize) -> Option<usize> {
        let under = |fate: &Fate| matches!(fate, Fate::Taken { key: by, .. } if *by == key);
        if let Some(recorded) = self.positions(under).first() {
            return Some(*recorded);
        }
        let attempt = self.attempt;
        let left_over =
            |fate: &Fate| matches!(fate, Fate::Taken { attempt: by, .. } if *by != attempt);
        if !self.positions(left_over).is_empty() {
            return None;
        }
        let oldest = *self.waiting().first()?;
        (self.fates[oldest].1 == Delivery::AtBoundary).then_some(oldest)
    }

    fn take(&mut self, key: usize, missed: bool) -> Option<usize> {
        let taken = self.takes(key)?;
        let attempt = self.attempt;
        self.fates[taken].2 = Fate::Taken {
            key,
            attempt,
            missed,
        };
        Some(taken)
    }

    /// Closes the turn; what waits by then is what it did not take.
    fn close(&mut self, answer: impl Fn() -> Answer, missed_count: bool) -> bool {
        let (place, attempt) = (self.place, self.attempt);
        let mine = |fate: &Fate| match fate {
            Fate::Taken {
                attempt: by,
                missed,
                ..
            } => *by == attempt && (missed_count || !missed),
            _ => false,
        };
        let followed = self.positions(|fate| match fate {
            Fate::Waits => true,
            Fate::Taken { .. } => !mine(fate),
            _ => false,
        });
        let followed = !followed.is_empty();
        for (_, _, fate) in &mut self.fates {
            let is_mine = mine(fate);
            let step = match fate {
                Fate::Open => None,
                Fate::Taken { key, .. } if is_mine => Some(*key),
                Fate::Taken { .. } => {
                    *fate = Fate::Waits;
                    continue;
                }
                _ => continue,
            };
            *fate = Fate::Over(place, step, answer());
        }
        followed
    }

    fn next(&mut self) {
        match self.waiting().first() {
            Some(oldest) => self.begin(*oldest),
            None => self.phase = Phase::Waits,
        }
    }

    fn end_task(&mut self) {
        for (_, _, fate) in &mut self.fates {
            if *fate == Fate::Waits {
                *fate = Fate::TaskEnded;
            }
        }
        self.phase = Phase::Ended;
    }

    fn status(&self, position: usize) -> InputStatus {
        let named = |step: &Option<usize>| step.map(|key| KEYS[key].to_owned());
        let (run, turn) = self.place;
        match &self.fates[position].2 {
            Fate::Waits => {
                let waiting = self.waiting();
                let ahead = waiting.iter().filter(|before| **before < position);
                InputStatus::Queued {
                    ahead: ahead.count() as u64,
                }
            }
            Fate::Taken { key, .. } => InputStatus::InTurn {
                run,
                turn,
                step: named(&Some(*key)),
            },
            Fate::Open => InputStatus::InTurn {
                run,
                turn,
                step: None,
            },
            Fate::Over((run, turn), step, _) => InputStatus::Consumed {
                run: *run,
                turn: *turn,
                step: named(step),
            },
            Fate::Withdrawn => InputStatus::Withdrawn {
                reason: "no".to_owned(),
            },
            Fate::TaskEnded => InputStatus::TaskEnded,
        }
    }

    fn answer(&self, position: usize) -> Answer {
        match &self.fates[position].2 {
            Fate::Over(_, _, answer) => answer.clone(),
            Fate::Withdrawn => Answer::Cancelled,
            Fate::TaskEnded => Answer::TaskEnded,
            open => panic!("{open:?} has no answer"),
        }
    }
}

/// The engine and the reference, side by side.
struct Pair {
    world: World,
    turn: Option<Turn>,
    reference: Reference,
    /// The handles of the first callers.
    handles: Vec<Run<String>>,
}

impl Pair {
    /// The reference says that a handler is entered.
    async fn entered(&mut self) {
        if self.reference.phase == Phase::Runs {
            let turn = self.world.turn().await;
            let own = self.reference.positions(|fate| *fate == Fate::Open);
            assert_eq!(turn.input, self.reference.fates[own[0]].0);
            let place = (turn.ctx.run(), turn.ctx.turn());
            assert_eq!(place, self.reference.place);
            let interrupts =
                |position: &usize| self.reference.fates[*position].1 == Delivery::Interrupt;
            let interrupted = self.reference.waiting().iter().any(interrupts);
            assert_eq!(turn.ctx.cause().is_some(), interrupted, "the signal");
            self.turn = Some(turn);
        }
    }

    async fn send(&mut self, delivery: Delivery) {
        let text = format!("i{}", self.handles.len());
        let start = self.world.engine.start(AGENT, ID, &text);
        let start = start.input_id(text.as_str()).delivery(delivery);
        let sent = start.on_conflict(OnConflict::Restart).await;
        let queues = self.reference.phase == Phase::Runs;
        if queues && self.reference.waiting().len() >= QUEUE {
            let full = matches!(sent, Err(StartError::SteeringQueueFull { max: 9 }));
            return assert!(full, "the queue is full");
        }
        self.handles.push(sent.expect("it is accepted"));
        self.reference.fates.push((text, delivery, Fate::Waits));
        if queues {
            return;
        }
        if self.reference.phase == Phase::Ended {
            self.reference.place = (self.reference.place.0 + 1, 0);
        }
        self.reference.begin(self.handles.len() - 1);
        self.entered().await;
    }

    async fn take(&mut self, key: usize) {
        let Some(turn) = &self.turn else { return };
        if self.reference.used.contains(&key) {
            return;
        }
        let expected = self.reference.take(key, false);
        if expected.is_some() {
            self.reference.used.push(key);
        }
        let expected = expected.map(|position| self.reference.fates[position].0.clone());
        assert_eq!(turn.takes(KEYS[key]).await, expected, "{}", KEYS[key]);
    }

    async fn take_and_drop(&mut self, key: usize) {
        let Some(turn) = &self.turn else { return };
        if self.reference.used.contains(&key) {
            return;
        }
        let inbox = turn.ctx.inbox();
        let mut take = Box::pin(inbox.take::<String>(KEYS[key]));
        std::future::poll_fn(|context| {
            use std::task::Poll;
            assert!(take.as_mut().poll(context).is_pending());
            Poll::Ready(())
        })
        .await;
        drop(take);
        // What comes after it in the same order is durable, so the take is.
        turn.ctx
            .metadata()
            .set("n", self.reference.attempt)
            .unwrap();
        turn.ctx.metadata().increment("fence", 1).unwrap();
        turn.ctx.flush_metadata().await.unwrap();
        self.reference.take(key, true);
    }

    async fn withdraw(&mut self, which: &Index) {
        if self.handles.is_empty() {
            return;
        }
        let position = which.index(self.handles.len());
        let text = self.reference.fates[position].0.clone();
        let told = self.world.engine.withdraw(ID, &text, "no").await;
        match self.reference.fates[position].2 {
            Fate::Waits => {
                told.expect("it waits");
                self.reference.fates[position].2 = Fate::Withdrawn;
            }
            Fate::Withdrawn => told.expect("it is withdrawn"),
            Fate::Taken { .. } | Fate::Open | Fate::Over(..) | Fate::TaskEnded => {
                assert!(
                    matches!(told, Err(ControlError::Conflict { .. })),
                    "{told:?}"
                );
            }
        }
    }

    async fn end(&mut self, op: &Op) {
        let Some(turn) = self.turn.take() else { return };
        let output = format!("output of {:?}", self.reference.place);
        let replied = || Answer::Output(output.clone());
        match op {
            Op::Reply => {
                turn.reply(&output);
                if self.reference.close(replied, false) {
                    self.reference.next();
                } else {
                    self.reference.end_task();
                }
            }
            Op::Suspend => {
                turn.suspend(&output);
                self.reference.close(replied, false);
                self.reference.next();
            }
            Op::GiveUp => {
                turn.end(Err(HandlerError::cancelled()));
                if self.reference.close(|| Answer::Cancelled, false) {
                    self.reference.next();
                } else {
                    self.reference.end_task();
                }
            }
            Op::Fail if self.reference.failures + 1 < ATTEMPTS => {
                turn.fail();
                self.reference.failures += 1;
                self.reference.enter();
            }
            Op::Fail | Op::FailForGood => {
                turn.fail_for_good();
                self.reference.close(|| Answer::Failed, false);
                self.reference.end_task();
            }
            _ => {
                self.world.engine.terminate(ID, "enough").await.unwrap();
                self.reference.close(|| Answer::Terminated, true);
                self.reference.end_task();
            }
        }
        self.entered().await;
    }

    async fn reopen(&mut self) {
        self.turn = None;
        self.world.reopen().await;
        // A handle is of an engine: callers come back with their ids.
        for position in 0..self.handles.len() {
            let text = &self.reference.fates[position].0;
            self.handles[position] = self.world.handle(text).await;
        }
        if self.reference.phase == Phase::Runs {
            self.reference.enter();
        }
        self.entered().await;
    }

    async fn step(&mut self, op: &Op) {
        match op {
            Op::Send(delivery) => self.send(*delivery).await,
            Op::Take(key) => self.take(*key).await,
            Op::DroppedTake(key) => self.take_and_drop(*key).await,
            Op::Withdraw(which) => self.withdraw(which).await,
            Op::Reopen => self.reopen().await,
            Op::Reply | Op::Suspend | Op::Fail | Op::FailForGood | Op::GiveUp | Op::Terminate => {
                self.end(op).await
            }
        }
    }

    /// Everything that can be asked says what the reference says.
    async fn compare(&self) {
        if self.turn.is_none() {
            // The end of the turn is on its way.
            let rests = async || {
                let task = self.world.engine.get(ID).await.unwrap();
                task.is_none_or(|task| task.status != outlive::Status::InProgress)
            };
            outlive_tests::gate::until(rests).await;
        }
        for (position, (text, ..)) in self.reference.fates.iter().enumerate() {
            let status = self.world.status(text).await;
            assert_eq!(status, self.reference.status(position), "{text}");
        }
        let Some(turn) = &self.turn else { return };
        let waiting = self.reference.waiting().into_iter();
        let waiting: Vec<String> = waiting
            .map(|position| self.reference.fates[position].0.clone())
            .collect();
        assert_eq!(turn.ctx.pending_count(), waiting.len() as u64);
        assert_eq!(turn.pending().await, waiting);
    }

    /// Ends what is open, and asks for every answer: by the first handle, and by another one after a restart.
    async fn finish(mut self) {
        while self.turn.is_some() {
            self.end(&Op::Reply).await;
        }
        self.compare().await;
        for position in 0..self.handles.len() {
            let told = in_time(self.handles[position].result()).await;
            self.assert_told(position, told);
        }
        self.world.reopen().await;
        for position in 0..self.handles.len() {
            let text = self.reference.fates[position].0.clone();
            let told = in_time(self.world.handle(&text).await.result()).await;
            self.assert_told(position, told);
        }
    }

    fn assert_told(&self, position: usize, told: Result<String, ResultError>) {
        let text = &self.reference.fates[position].0;
        let told = match told {
            Ok(output) => Answer::Output(output),
            Err(ResultError::Failed(_)) => Answer::Failed,
            Err(ResultError::Cancelled { .. }) => Answer::Cancelled,
            Err(ResultError::Terminated { .. }) => Answer::Terminated,
            Err(ResultError::Conflict { .. }) => Answer::TaskEnded,
            Err(other) => panic!("{text}: {other:?}"),
        };
        assert_eq!(told, self.reference.answer(position), "{text}");
    }
}

async fn play(ops: &[Op]) {
    let mut pair = Pair {
        world: World::new().await,
        turn: None,
        reference: Reference::new(),
        handles: Vec::new(),
    };
    for op in ops {
        pair.step(op).await;
        pair.compare().await;
    }
    pair.finish().await;
}

proptest! {
    #[test]
    fn every_input_ends_where_the_reference_says(ops in prop::collection::vec(op(), 1..48)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(play(&ops));
    }
}
