//! What a start, a run and a resumption do in each state a task can be in, and what they leave alone.

mod attach;
mod ended;
mod further;
mod preconditions;
mod reopened;
mod resume;

use outlive::{
    Builder, Ctx, Engine, HandlerError, Run, Snapshot, StartError, Status, TaskDef, TaskId,
    WaitReason,
};
use outlive_storage::row::{Etag, EventRow, RunRow, TaskRow};
use outlive_storage::{MemStore, Scan, Store};
use outlive_tests::faulty::Faulty;
use outlive_tests::play::{Act, MISREAD, PLAY, Play, STEERED, ask, held, say, until};
use std::future::{IntoFuture, pending};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The task of every test.
pub(crate) const ID: &str = "the-task";
/// The id of its first input.
pub(crate) const FIRST: &str = "first";
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
/// Both ways to register the handler: one input at a time, and steerable.
pub(crate) const DEFS: [Def; 2] = [PLAY, STEERED];
/// Takes the only slot.
const OCCUPIES: TaskDef<(), ()> = TaskDef::new("occupies");

pub(crate) type Def = TaskDef<Act, String>;

/// Where the task stands before the call under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stand {
    /// Pending: no slot is free.
    Slot,
    /// Pending: for a later moment.
    Delayed,
    /// Pending: its first attempt failed.
    BackOff,
    /// A turn runs.
    InProgress,
    /// Its second turn runs.
    LaterTurn,
    /// Suspended, waits for an input.
    ForInput,
    /// Suspended, waits for a program that can read its input.
    Parked,
    Succeeded,
    Failed,
    Cancelled,
    Terminated,
}

pub(crate) use Stand::*;

pub(crate) const PENDING: [Stand; 3] = [Slot, Delayed, BackOff];
pub(crate) const COMPLETED: [Stand; 4] = [Succeeded, Failed, Cancelled, Terminated];
pub(crate) const ALL: [Stand; 11] = [
    Slot, Delayed, BackOff, InProgress, LaterTurn, ForInput, Parked, Succeeded, Failed, Cancelled,
    Terminated,
];

impl Stand {
    pub(crate) fn status(self) -> Status {
        match self {
            Slot | Delayed | BackOff => Status::Pending,
            InProgress | LaterTurn => Status::InProgress,
            ForInput | Parked => Status::Suspended,
            Succeeded | Failed | Cancelled | Terminated => Status::Completed,
        }
    }

    /// Whether this is what such a task waits for.
    pub(crate) fn waits_for(self, wait: Option<&WaitReason>) -> bool {
        match self {
            Slot => wait == Some(&WaitReason::Slot),
            Delayed => wait == Some(&WaitReason::Delayed),
            BackOff => wait == Some(&WaitReason::BackOff),
            ForInput => matches!(wait, Some(WaitReason::Input { .. })),
            Parked => matches!(wait, Some(WaitReason::Undecodable { .. })),
            InProgress | LaterTurn | Succeeded | Failed | Cancelled | Terminated => wait.is_none(),
        }
    }

    /// What the task's first input asks for.
    pub(crate) fn act(self) -> Act {
        match self {
            BackOff => Act::FailFor("once".to_owned(), HOUR.as_millis() as u64),
            InProgress => held(say("first")),
            LaterTurn | ForInput => ask("first"),
            Failed => Act::Never("broken".to_owned()),
            Slot | Delayed | Parked | Succeeded | Cancelled | Terminated => say("first"),
        }
    }

    /// Whether its first turn was entered before the call under test.
    pub(crate) fn entries(self) -> usize {
        match self {
            Slot | Delayed | Parked | Cancelled | Terminated => 0,
            BackOff | InProgress | ForInput | Succeeded | Failed => 1,
            LaterTurn => 2,
        }
    }
}

/// An engine with one task that stands as wanted.
pub(crate) struct World {
    mem: Arc<MemStore>,
    faulty: Arc<Faulty>,
    pub(crate) engine: Engine,
    pub(crate) play: Play,
    pub(crate) def: Def,
}

/// All that a call may have changed.
#[derive(Debug, PartialEq)]
pub(crate) struct Picture {
    rows: Vec<TaskRow>,
    waiting: u64,
    runs: Vec<RunRow>,
    log: Vec<EventRow>,
}

fn engine_on(store: Arc<dyn Store>, play: &Play, def: Def) -> Builder {
    let occupies = |_: Ctx, ()| pending::<Result<(), HandlerError>>();
    Engine::on_store(store)
        .inline()
        .task(def, play.handler())
        .task(OCCUPIES, occupies)
}

impl World {
    /// An engine without tasks.
    pub(crate) async fn empty(def: Def) -> World {
        World::with_slots(def, 8).await
    }

    async fn with_slots(def: Def, slots: usize) -> World {
        let mem = Arc::new(MemStore::new());
        let (faulty, play) = (Faulty::on(&mem), Play::default());
        let store = Arc::<Faulty>::clone(&faulty);
        let builder = engine_on(store, &play, def).max_running(slots);
        let engine = builder.open().await.expect("it opens");
        engine.recovery().await;
        World {
            mem,
            faulty,
            engine,
            play,
            def,
        }
    }

    /// An engine whose task stands so; its first input has the id [`FIRST`].
    pub(crate) async fn of(stand: Stand, def: Def) -> World {
        let slots = if stand == Slot { 1 } else { 8 };
        let world = World::with_slots(def, slots).await;
        world.bring(stand).await;
        until(&world.engine, ID, |task| {
            task.status == stand.status() && stand.waits_for(task.wait.as_ref())
        })
        .await;
        assert_eq!(world.play.seen.len(), stand.entries(), "{stand:?}");
        world
    }

    async fn bring(&self, stand: Stand) {
        let engine = &self.engine;
        if stand == Parked {
            let unreadable = engine.start(MISREAD, ID, &7).input_id(FIRST);
            unreadable.await.expect("accepted");
            return;
        }
        if stand == Slot {
            engine
                .start(OCCUPIES, "occupies", &())
                .await
                .expect("it starts");
        }
        let start = engine.start(self.def, ID, &stand.act()).input_id(FIRST);
        let start = match stand {
            Delayed | Cancelled | Terminated => start.start_in(HOUR),
            Slot | BackOff | InProgress | LaterTurn | ForInput | Parked | Succeeded | Failed => {
                start
            }
        };
        let run = start.await.expect("accepted");
        match stand {
            Slot | Delayed | BackOff | Parked => {}
            InProgress => self.play.gate.came(1).await,
            LaterTurn => {
                run.result().await.expect("its first turn ends");
                let second = engine.start(self.def, ID, &held(say("second")));
                second.input_id("second").await.expect("accepted");
                self.play.gate.came(1).await;
            }
            ForInput | Succeeded | Failed => drop(run.result().await),
            Cancelled => engine.cancel(ID, "not needed").await.expect("it ends"),
            Terminated => engine.terminate(ID, "stop it").await.expect("it ends"),
        }
    }

    pub(crate) async fn task(&self) -> Snapshot {
        let found = self.engine.get(ID).await.expect("the store answers");
        found.expect("there is such a task")
    }

    /// The whole store as far as tasks are concerned.
    pub(crate) fn picture(&self) -> Picture {
        let all = self.mem.scan(Scan::All, None, 1024).expect("it answers");
        let found = all.rows.into_iter().map(|found| found.row.expect("whole"));
        let number = self.mem.find(&TaskId::new(ID).expect("an id"));
        let number = number.expect("it answers");
        let runs = number.map(|task| self.mem.runs(task).expect("it answers"));
        let inbox = number.map(|task| self.mem.inbox(task).expect("it answers"));
        let log = self.mem.events(Etag(0), 1024).expect("it answers");
        Picture {
            rows: found.collect(),
            waiting: inbox.map_or(0, |inbox| inbox.len),
            runs: runs.unwrap_or_default(),
            log: log.events,
        }
    }

    /// The answer to a call that may write nothing: whatever it would write fails, and the store is as before.
    pub(crate) async fn unwritten<T>(&self, call: impl IntoFuture<Output = T>) -> T {
        let before = (
            self.picture(),
            self.task_if_any().await,
            self.play.seen.len(),
        );
        self.faulty.fail_before_commit.store(true, Ordering::SeqCst);
        let answer = call.into_future().await;
        self.faulty
            .fail_before_commit
            .store(false, Ordering::SeqCst);
        let after = (
            self.picture(),
            self.task_if_any().await,
            self.play.seen.len(),
        );
        assert_eq!(before, after, "nothing was to be written");
        answer
    }

    async fn task_if_any(&self) -> Option<Snapshot> {
        self.engine.get(ID).await.expect("the store answers")
    }

    /// What the handler has been entered with, in order.
    pub(crate) fn acts(&self) -> Vec<Act> {
        let seen = self.play.seen.take();
        seen.into_iter().map(|seen| seen.act).collect()
    }
}

/// Requires a conflict that says how the task stands, and in which version.
pub(crate) async fn assert_conflict(
    world: &World,
    answer: Result<Run<String>, StartError>,
    stand: Stand,
) {
    match answer {
        Err(StartError::Conflict {
            id,
            status,
            reason,
            etag,
        }) => {
            assert_eq!((id.as_str(), status), (ID, stand.status()), "{stand:?}");
            assert!(stand.waits_for(reason.as_ref()), "{stand:?}: {reason:?}");
            let task = world.task_if_any().await.expect("the task is there");
            assert_eq!(etag, task.etag, "{stand:?}");
        }
        other => panic!("{stand:?}: {other:?}"),
    }
}
