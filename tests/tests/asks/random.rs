//! Random schedules of questions, answers, time, ends and restarts, beside a small reference that says what must come of
//! them.
//!
//! A failing schedule is made as short as it gets and printed, with the seed that makes it again.

use super::{ID, NO_GRACE, TASK, World};
use outlive::{AnswerError, Ask, AskError, Ctx, Engine, HandlerError, Status, TaskDef};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::future::{Future, IntoFuture};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// How long the first deadline is away, and how far time goes in one step: none of these meets a deadline within minutes.
const HOUR: Duration = Duration::from_secs(60 * 60);
const STEP: Duration = Duration::from_secs(25 * 60);
/// Cases of a run; `PROPTEST_CASES` does not change it, for a schedule takes hours of the paused clock.
const CASES: u32 = 64;
const KEYS: [&str; 3] = ["free", "default", "bare"];
const CHAIN: TaskDef<u32, String> = TASK.steerable(3);

/// Asks three questions at once: one waits for ever, one has a default after an hour, one expires after two.
async fn asks_three(_: World, ctx: Ctx, _: u32) -> Result<String, HandlerError> {
    let free = ctx.ask::<u32>("free", Ask::new("free?"));
    let default = Ask::new("default?").deadline(HOUR).default_answer(&1000);
    let default = ctx.ask::<u32>("default", default);
    let bare = ctx.ask::<u32>("bare", Ask::new("bare?").deadline(2 * HOUR));
    let (free, default, bare) = tokio::join!(free, default, bare);
    let bare = match bare {
        Ok(bare) => bare.to_string(),
        Err(AskError::Expired) => "none".to_owned(),
        Err(error) => return Err(error.into()),
    };
    Ok(format!("{} {} {bare}", free?, default?))
}

#[derive(Debug, Clone)]
enum Op {
    /// With the digest of this question, or of another one.
    Answer {
        key: usize,
        meant: bool,
    },
    /// The process dies while the answer is on its way.
    AnswerAndDie {
        key: usize,
        polls: usize,
    },
    Wait,
    Interrupt,
    Cancel,
    Retry,
    Die,
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0..KEYS.len();
    prop_oneof![
        4 => (key.clone(), prop::bool::weighted(0.8)).prop_map(|(key, meant)| Op::Answer { key, meant }),
        3 => (key, 0..3_usize).prop_map(|(key, polls)| Op::AnswerAndDie { key, polls }),
        3 => Just(Op::Wait),
        1 => Just(Op::Interrupt),
        1 => Just(Op::Cancel),
        2 => Just(Op::Retry),
        1 => Just(Op::Die),
    ]
}

/// What a question is, and what came of it.
#[derive(Debug, Clone, PartialEq)]
enum Fate {
    Open { asked: Duration },
    Answered(u32),
    Expired,
    Withdrawn,
}

/// What must be so.
#[derive(Debug)]
struct Reference {
    fates: BTreeMap<&'static str, Fate>,
    queued: u32,
    /// What the task ended with; none as long as it lives, `None` in it for a cancel.
    ended: Option<Option<String>>,
    now: Duration,
}

impl Reference {
    fn begin(&mut self, asked: Duration) {
        self.fates = KEYS.map(|key| (key, Fate::Open { asked })).into();
    }

    fn open(&self) -> Vec<&'static str> {
        let open = |key: &&str| matches!(self.fates[key], Fate::Open { .. });
        let mut open: Vec<_> = KEYS.into_iter().filter(open).collect();
        open.sort_unstable();
        open
    }

    /// Time has passed, or something was answered.
    fn settle(&mut self) {
        // A turn that an expiry ends has ended then, and not when somebody looks.
        let mut since = None;
        for (key, fate) in &mut self.fates {
            let limit = match *key {
                "free" => continue,
                "default" => HOUR,
                _ => 2 * HOUR,
            };
            if let Fate::Open { asked } = fate
                && self.now >= *asked + limit
            {
                since = since.max(Some(*asked + limit));
                *fate = Fate::Expired;
            }
        }
        let told = |key: &str| match &self.fates[key] {
            Fate::Answered(value) => Some(value.to_string()),
            Fate::Expired if key == "default" => Some("1000".to_owned()),
            Fate::Expired => Some("none".to_owned()),
            Fate::Open { .. } | Fate::Withdrawn => None,
        };
        let all: Option<Vec<String>> = KEYS.into_iter().map(told).collect();
        let Some(all) = all.filter(|_| self.ended.is_none()) else {
            return;
        };
        if self.queued > 0 {
            self.queued -= 1;
            self.begin(since.unwrap_or(self.now));
        } else {
            self.ended = Some(Some(all.join(" ")));
        }
    }

    fn cancel(&mut self) {
        if self.ended.is_some() {
            return;
        }
        (self.ended, self.queued) = (Some(None), 0);
        for fate in self.fates.values_mut() {
            if matches!(fate, Fate::Open { .. }) {
                *fate = Fate::Withdrawn;
            }
        }
    }

    fn retry(&mut self) {
        if self.ended != Some(None) {
            return;
        }
        self.ended = None;
        let asked = self.now;
        for fate in self.fates.values_mut() {
            if *fate == Fate::Withdrawn {
                *fate = Fate::Open { asked };
            }
        }
    }
}

struct Pair {
    world: World,
    engine: Option<Engine>,
    reference: Reference,
    began: tokio::time::Instant,
    said: u32,
}

impl Pair {
    fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("an engine is open")
    }

    async fn reopen(&mut self) {
        if let Some(engine) = self.engine.take() {
            engine.shutdown(NO_GRACE).await;
        }
        self.engine = Some(self.world.open_as(CHAIN, asks_three).await);
    }

    async fn step(&mut self, op: &Op) {
        self.said += 1;
        match op {
            Op::Answer { key, meant } => self.answer(KEYS[*key], *meant).await,
            Op::AnswerAndDie { key, polls } => self.answer_and_die(KEYS[*key], *polls).await,
            Op::Wait => tokio::time::sleep(STEP).await,
            Op::Interrupt => {
                let taken = self.engine().start(CHAIN, ID, &self.said).await.is_ok();
                let may = self.reference.ended.is_none() && self.reference.queued < 3;
                assert_eq!(taken, may);
                self.reference.queued += u32::from(may);
            }
            Op::Cancel => {
                let told = self.engine().cancel(ID, "enough").await;
                assert_eq!(told.is_ok(), self.reference.ended.is_none());
                self.reference.cancel();
            }
            Op::Retry => {
                let told = self.engine().retry(CHAIN, ID).await;
                assert_eq!(told.is_ok(), self.reference.ended == Some(None));
                self.reference.retry();
            }
            Op::Die => self.reopen().await,
        }
        // What is due comes within a second.
        tokio::time::sleep(Duration::from_secs(3)).await;
        self.reference.now = self.began.elapsed();
        self.reference.settle();
    }

    async fn answer(&mut self, key: &'static str, meant: bool) {
        let digest = Ask::new(format!("{key}?")).digest();
        let other = Ask::new("another one").digest();
        let answer = self.engine().answer(ID, key, &self.said);
        let told = answer.digest(if meant { digest } else { other }).await;
        let fate = self.reference.fates.get_mut(key).expect("one of three");
        match (&*fate, told) {
            (Fate::Open { .. }, Ok(())) if meant => *fate = Fate::Answered(self.said),
            (Fate::Open { .. }, Err(AnswerError::DigestMismatch { .. })) if !meant => {}
            (Fate::Answered(_), Err(AnswerError::AlreadyAnswered { same: false, .. })) => {}
            (Fate::Expired, Err(AnswerError::Expired { .. })) => {}
            (Fate::Withdrawn, Err(AnswerError::NotAsked { .. })) => {}
            (fate, told) => panic!("{key} is {fate:?}, and {told:?}"),
        }
    }

    /// Whether it was taken is seen afterwards; where that was said, it was.
    async fn answer_and_die(&mut self, key: &'static str, polls: usize) {
        let was_open = self.reference.open().contains(&key);
        let turn = self.turn().await;
        let mut told = None;
        {
            let mut answer = pin!(self.engine().answer(ID, key, &self.said).into_future());
            for _ in 0..polls {
                if told.is_none()
                    && let Poll::Ready(ready) = futures_poll(answer.as_mut()).await
                {
                    told = Some(ready);
                }
                tokio::task::yield_now().await;
            }
        }
        self.reopen().await;
        let steps = self.engine().steps(ID).await.expect("the steps");
        let recorded = steps.iter().find(|step| step.key == key);
        let recorded = recorded.and_then(|step| step.result.clone());
        // The last answer begins the next turn, in which nothing of it is left.
        let taken = recorded.is_some_and(|value| value == self.said.to_string())
            || self.turn().await > turn;
        if let Some(Ok(())) = told {
            assert!(taken, "{key}: it was accepted");
        }
        assert!(was_open || !taken, "{key} was not open");
        if taken {
            self.reference.fates.insert(key, Fate::Answered(self.said));
        }
    }

    async fn turn(&self) -> u32 {
        let task = self.engine().get(ID).await.expect("the task");
        task.expect("it is there").turn
    }

    async fn compare(&self) {
        let open = self.engine().asks().await.expect("the list").asks;
        let keys: Vec<&str> = open.iter().map(|ask| &*ask.key).collect();
        assert_eq!(keys, self.reference.open(), "{:?}", self.reference);
        let task = self.engine().get(ID).await.unwrap().expect("it is there");
        let status = match &self.reference.ended {
            Some(_) => Status::Completed,
            None => Status::Suspended,
        };
        assert_eq!(task.status, status, "{task:?}");
        if let Some(Some(output)) = &self.reference.ended {
            assert_eq!(task.output, Some(output.clone().into()));
        }
    }
}

/// Polls once.
async fn futures_poll<F: Future>(mut future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}

async fn play(ops: &[Op]) {
    let world = World::new();
    let engine = world.open_as(CHAIN, asks_three).await;
    engine.start(CHAIN, ID, &0).await.expect("it starts");
    let mut reference = Reference {
        fates: BTreeMap::new(),
        queued: 0,
        ended: None,
        now: Duration::ZERO,
    };
    reference.begin(Duration::ZERO);
    let mut pair = Pair {
        world,
        engine: Some(engine),
        reference,
        began: tokio::time::Instant::now(),
        said: 0,
    };
    tokio::time::sleep(Duration::from_secs(3)).await;
    pair.compare().await;
    for op in ops {
        pair.step(op).await;
        pair.compare().await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]
    #[test]
    fn every_question_ends_where_the_reference_says(ops in prop::collection::vec(op(), 1..24)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(play(&ops));
    }
}
