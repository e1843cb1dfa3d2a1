//! The actors: a handler that does as its input says, and a caller that remembers what it was told.

use outlive::{
    Builder, Ctx, Ended, HandlerError, Outcome, Reply, ResultError, RetryPolicy, Run, TaskDef,
};
use outlive_tests::gate::{Drops, Notes};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

use crate::script::{Broken, SCRIPT, Step};

pub(crate) const ACT: TaskDef<Act, Line> = TaskDef::new("act").steerable(9).retry(
    RetryPolicy::fixed()
        .attempts(3)
        .initial(Duration::from_secs(10))
        .jitter(false),
);

/// What a turn does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Act {
    /// Replies.
    Say,
    /// Replies and waits for more.
    Ask,
    /// Waits until it is steered, then as `Ask`.
    AskWhenSteered,
    /// Takes an input at a boundary, waits until it is steered, then as `Ask`.
    TakeAndAsk,
    /// Waits until it is cancelled, and agrees.
    Obey,
    /// Fails in the first attempt, then as `Say`.
    SayAtLast,
    /// Fails for good.
    Fail,
    /// Keeps metadata, makes it durable, then as `Obey`.
    Keep,
    /// Waits for ever.
    Wait,
}

/// What a turn replies. No two entries of a handler reply the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    act: Act,
    input: String,
    turn: u32,
    serial: u64,
}

/// One entry of a handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entered {
    pub(crate) task: String,
    pub(crate) run: u32,
    pub(crate) turn: u32,
    pub(crate) attempt: u32,
    pub(crate) generation: u64,
}

/// Where handlers act. Clones are the same stage; each life of the engine has a curtain of its own.
#[derive(Debug, Clone)]
pub(crate) struct Stage {
    pub(crate) entered: Notes<Entered>,
    /// Tasks whose metadata is durable.
    pub(crate) kept: Notes<()>,
    serial: Arc<AtomicU64>,
    curtain: watch::Sender<bool>,
    came: Arc<AtomicU64>,
    gone: Drops,
}

impl Default for Stage {
    fn default() -> Self {
        Stage {
            entered: Notes::default(),
            kept: Notes::default(),
            serial: Arc::default(),
            curtain: watch::Sender::new(false),
            came: Arc::default(),
            gone: Drops::default(),
        }
    }
}

impl Stage {
    /// The same stage, on which nobody acts before the curtain is up.
    pub(crate) fn next_life(&self, up: bool) -> Stage {
        Stage {
            kept: Notes::default(),
            curtain: watch::Sender::new(up),
            ..self.clone()
        }
    }

    /// The curtain goes up.
    pub(crate) fn begin(&self) {
        self.curtain.send_replace(true);
    }

    /// Waits until whoever acted has left.
    pub(crate) async fn end(&self) {
        while (self.gone.count() as u64) < self.came.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) fn act_in(&self, builder: Builder) -> Builder {
        let stage = self.clone();
        builder.task(ACT, move |ctx: Ctx, act| {
            let stage = stage.clone();
            stage.came.fetch_add(1, Ordering::SeqCst);
            let guard = stage.gone.guard();
            async move {
                let _guard = guard;
                stage.act(&ctx, act).await
            }
        })
    }

    async fn act(&self, ctx: &Ctx, act: Act) -> Result<Reply<Line>, HandlerError> {
        self.entered.add(Entered {
            task: ctx.id().to_string(),
            run: ctx.run(),
            turn: ctx.turn(),
            attempt: ctx.attempt(),
            generation: ctx.generation(),
        });
        let mut curtain = self.curtain.subscribe();
        curtain.wait_for(|up| *up).await?;
        let line = Line {
            act,
            input: ctx.input_id().to_string(),
            turn: ctx.turn(),
            serial: self.serial.fetch_add(1, Ordering::SeqCst),
        };
        match act {
            Act::Say => Ok(Reply::output(line)),
            Act::Ask => Ok(Reply::suspend(line, "more")),
            Act::AskWhenSteered => {
                ctx.cancelled().await;
                Ok(Reply::suspend(line, "more"))
            }
            Act::TakeAndAsk => {
                self.take(ctx).await;
                ctx.cancelled().await;
                Ok(Reply::suspend(line, "more"))
            }
            Act::Obey => self.obey(ctx).await,
            Act::SayAtLast if ctx.attempt() == 1 => Err("once more".into()),
            Act::SayAtLast => Ok(Reply::output(line)),
            Act::Fail => Err(HandlerError::terminal("no")),
            Act::Keep => {
                ctx.metadata().set("stage", "kept")?;
                // An engine that cannot keep it is dead, and so is whoever waits for it.
                if ctx.flush_metadata().await.is_ok() {
                    self.kept.add(());
                }
                self.obey(ctx).await
            }
            Act::Wait => std::future::pending().await,
        }
    }

    /// Waits at its boundary until there is an input to take.
    async fn take(&self, ctx: &Ctx) {
        loop {
            match ctx.inbox().take::<Act>("a boundary").await {
                Ok(Some(_)) => return,
                Ok(None) => tokio::time::sleep(Duration::from_millis(500)).await,
                // An engine that cannot keep it is dead, and so is whoever waits for it.
                Err(_) => std::future::pending().await,
            }
        }
    }

    async fn obey(&self, ctx: &Ctx) -> Result<Reply<Line>, HandlerError> {
        while ctx
            .cause()
            .is_none_or(|causes| causes.cancel_requested().is_none())
        {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Err(HandlerError::cancelled())
    }
}

/// What a caller was told of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    Line { line: Line, suspended: bool },
    Error(String),
}

impl Told {
    /// What is the same however often the handler was entered.
    pub(crate) fn without_serial(&self) -> String {
        match self {
            Told::Line { line, suspended } => {
                let Line {
                    act, input, turn, ..
                } = line;
                // The script's own ids are short, those that are made for it are long.
                let input = if input.len() < 3 {
                    input
                } else {
                    "a fresh input"
                };
                format!("{act:?} for {input} in turn {turn}, suspended: {suspended}")
            }
            Told::Error(error) => error.clone(),
        }
    }
}

/// How a task ended, without its texts.
pub(crate) fn kind_of(ended: &Ended) -> &'static str {
    match ended {
        Ended::Succeeded => "succeeded",
        Ended::Failed(_) => "failed",
        Ended::Cancelled { .. } => "cancelled",
        Ended::Terminated {
            timed_out: false, ..
        } => "terminated",
        Ended::Terminated {
            timed_out: true, ..
        } => "timed out",
        // The enum may grow; a new end is not one of this script's.
        other => panic!("{other:?}"),
    }
}

/// Who plays the script: it outlives every engine.
#[derive(Debug, Default)]
pub(crate) struct Caller {
    /// The first call that was not answered yet.
    pub(crate) at: usize,
    /// How often it was made.
    pub(crate) tries: u32,
    /// What was told, by the call that asked.
    pub(crate) told: BTreeMap<String, Told>,
    /// Etags that a call decided on, by the call.
    pub(crate) decided_on: BTreeMap<usize, u64>,
    /// Etag and generation of each task when it was last looked at.
    pub(crate) seen: BTreeMap<String, (u64, u64)>,
}

impl Caller {
    /// The call it is at.
    pub(crate) fn step(&self) -> Option<&'static Step> {
        SCRIPT.get(self.at)
    }

    /// Waits for the answer to an input; it must be what was told before, if something was.
    pub(crate) async fn hear(&mut self, name: String, run: &Run<Line>) -> Result<(), Broken> {
        self.heard(name, run.outcome().await)
    }

    /// An input was answered.
    pub(crate) fn heard(
        &mut self,
        name: String,
        outcome: Result<Outcome<Line>, ResultError>,
    ) -> Result<(), Broken> {
        let told = match outcome {
            Ok(outcome) => Told::Line {
                suspended: outcome.is_suspended(),
                line: outcome.into_output(),
            },
            Err(ResultError::Store(_) | ResultError::ShuttingDown) => return Err(Broken::Unknown),
            Err(ResultError::Failed(failure)) => {
                Told::Error(format!("failed: {}", failure.message))
            }
            Err(ResultError::Cancelled { reason }) => Told::Error(format!("cancelled: {reason}")),
            Err(ResultError::Terminated { timed_out, .. }) => {
                Told::Error(format!("terminated, timed out: {timed_out}"))
            }
            Err(ResultError::Conflict { .. }) => Told::Error("task ended".to_owned()),
            Err(other) => panic!("{name}: {other:?}"),
        };
        let before = self
            .told
            .entry(name.clone())
            .or_insert_with(|| told.clone());
        assert_eq!(*before, told, "{name} is answered twice, and not alike");
        Ok(())
    }
}
