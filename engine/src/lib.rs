//! Tasks that outlive their process.
//!
//! An async function registered with outlive runs to its end although the process is killed at any instant: its
//! state is in one file, and a restart recovers it, as a rule within milliseconds. A handler is entered **at least once**:
//! after a crash it may run again, and is told so by [`Entry::Recovered`].
//!
//! Begin with [`TaskDef`] (a name with types), [`Engine::builder`] and [`Builder::task`] (a handler), [`Engine::start`] (an
//! input), [`Run`] (its answer) and [`Ctx`] (what a handler can do). Features: `runtime` and `redb` by default; `seal`, `metrics`,
//! `testing`.
//!
//! Without default features only [`machine`] is built: the pure core, which needs neither a runtime nor a store.

pub mod machine;
#[cfg(feature = "redb")]
pub mod store;
#[cfg(feature = "runtime")]
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;

#[cfg(feature = "runtime")]
mod about;
#[cfg(feature = "runtime")]
mod alarms;
#[cfg(feature = "runtime")]
mod alike;
#[cfg(feature = "runtime")]
mod answer_ask;
#[cfg(feature = "runtime")]
mod answered;
#[cfg(feature = "runtime")]
mod ask;
#[cfg(feature = "runtime")]
mod asking;
#[cfg(feature = "runtime")]
mod asks;
#[cfg(feature = "runtime")]
mod awaited;
#[cfg(feature = "runtime")]
mod batch;
#[cfg(feature = "runtime")]
mod blocking;
#[cfg(feature = "runtime")]
mod blocking_step;
#[cfg(feature = "runtime")]
mod builder;
#[cfg(feature = "runtime")]
mod call;
#[cfg(feature = "runtime")]
mod check;
#[cfg(feature = "runtime")]
mod child;
#[cfg(feature = "runtime")]
mod child_door;
#[cfg(feature = "runtime")]
mod child_start;
#[cfg(feature = "runtime")]
mod children;
#[cfg(feature = "runtime")]
mod commits;
#[cfg(feature = "runtime")]
mod company;
#[cfg(feature = "runtime")]
mod control;
#[cfg(feature = "runtime")]
mod crew;
#[cfg(feature = "runtime")]
mod ctx;
#[cfg(feature = "redb")]
mod data_dir;
#[cfg(feature = "runtime")]
mod decision;
#[cfg(feature = "runtime")]
mod def;
#[cfg(feature = "runtime")]
mod due;
#[cfg(feature = "runtime")]
mod ended;
#[cfg(feature = "runtime")]
mod engine;
#[cfg(feature = "runtime")]
mod engine_loop;
#[cfg(feature = "runtime")]
mod env;
#[cfg(feature = "runtime")]
mod errand;
#[cfg(feature = "runtime")]
mod error;
#[cfg(feature = "runtime")]
mod explain;
#[cfg(feature = "runtime")]
mod facts;
#[cfg(feature = "runtime")]
mod failpoint;
#[cfg(feature = "runtime")]
mod families;
#[cfg(feature = "runtime")]
mod fault;
#[cfg(feature = "runtime")]
mod feed;
#[cfg(feature = "runtime")]
mod flow;
#[cfg(feature = "runtime")]
mod follower;
#[cfg(feature = "runtime")]
mod gather;
#[cfg(feature = "runtime")]
mod guard;
#[cfg(feature = "runtime")]
mod handler;
#[cfg(feature = "runtime")]
mod held;
#[cfg(feature = "runtime")]
mod hold;
#[cfg(feature = "runtime")]
mod host;
#[cfg(feature = "runtime")]
mod hub;
#[cfg(feature = "runtime")]
mod inbox;
#[cfg(feature = "runtime")]
mod indexes;
#[cfg(feature = "runtime")]
mod input_error;
#[cfg(feature = "runtime")]
mod join;
#[cfg(feature = "runtime")]
mod known;
#[cfg(feature = "runtime")]
mod length;
#[cfg(feature = "runtime")]
mod list;
#[cfg(feature = "runtime")]
mod live;
#[cfg(feature = "runtime")]
mod lives;
#[cfg(feature = "runtime")]
mod look;
#[cfg(feature = "runtime")]
mod mailbox;
#[cfg(feature = "runtime")]
mod metadata;
#[cfg(feature = "runtime")]
mod meter;
#[cfg(feature = "runtime")]
mod one_step;
#[cfg(feature = "runtime")]
mod options;
#[cfg(feature = "runtime")]
mod outcome;
#[cfg(feature = "runtime")]
mod overdue;
#[cfg(feature = "runtime")]
mod park;
#[cfg(feature = "runtime")]
mod parked;
#[cfg(feature = "runtime")]
mod patient;
#[cfg(feature = "runtime")]
mod pending;
#[cfg(feature = "runtime")]
mod poison;
#[cfg(feature = "runtime")]
mod questions;
#[cfg(feature = "runtime")]
mod reader;
#[cfg(feature = "runtime")]
mod receipt;
#[cfg(feature = "runtime")]
mod recovery;
#[cfg(feature = "runtime")]
mod registry;
#[cfg(feature = "runtime")]
mod relay;
#[cfg(feature = "runtime")]
mod reply;
#[cfg(feature = "runtime")]
mod request;
#[cfg(feature = "runtime")]
mod resolve;
#[cfg(feature = "runtime")]
mod retry_policy;
#[cfg(feature = "runtime")]
mod run;
#[cfg(feature = "runtime")]
pub mod sealed;
#[cfg(feature = "runtime")]
mod secret;
#[cfg(feature = "runtime")]
mod signal;
#[cfg(feature = "runtime")]
mod sleep;
#[cfg(feature = "runtime")]
mod snapshot;
#[cfg(feature = "runtime")]
mod span;
#[cfg(feature = "runtime")]
mod start;
#[cfg(feature = "runtime")]
mod start_many;
#[cfg(feature = "runtime")]
mod startable;
#[cfg(feature = "runtime")]
mod step;
#[cfg(feature = "runtime")]
mod step_key;
#[cfg(feature = "runtime")]
mod stopping;
#[cfg(feature = "runtime")]
mod stream;
#[cfg(feature = "runtime")]
mod suspects;
#[cfg(feature = "runtime")]
mod sweep;
#[cfg(feature = "runtime")]
mod trace;
#[cfg(feature = "runtime")]
mod turn;
#[cfg(feature = "runtime")]
mod turn_steps;
#[cfg(feature = "runtime")]
mod untyped;
#[cfg(feature = "runtime")]
mod value;
#[cfg(feature = "runtime")]
mod value_type;
#[cfg(feature = "runtime")]
// Its name is public where tests may move it.
#[cfg_attr(not(feature = "testing"), allow(unreachable_pub))]
mod wall_clock;
#[cfg(feature = "runtime")]
mod watch;
#[cfg(feature = "runtime")]
mod word;
#[cfg(feature = "runtime")]
mod writer;

pub use machine::{Accepted, OnConflict, Status};
pub use outlive_storage::id::{InputId, InvalidId, TaskId};
pub use outlive_storage::row::{Delivery, EventKind, Failure, FailureKind, WaitReason};
pub use outlive_storage::{StoreError, StoreErrorKind};

#[cfg(feature = "runtime")]
pub use about::{About, Definition, HandlersRunning, Health};
#[cfg(feature = "runtime")]
pub use answer_ask::{AnswerAsk, AnswerError};
#[cfg(feature = "runtime")]
pub use ask::{ASK_MAX, ASKS_MAX, Ask, AskError};
#[cfg(feature = "runtime")]
pub use asks::{AskCursor, AskList, AskListing, OpenAsk};
#[cfg(feature = "runtime")]
pub use blocking::{BlockingEngine, BlockingError};
#[cfg(feature = "runtime")]
pub use builder::Builder;
#[cfg(feature = "runtime")]
pub use check::{
    CHECK_NAMED_MAX, Check, CheckError, CheckReport, Problem, TASK_PROBLEMS_MAX, TaskCheck,
    UndeclaredSteps,
};
#[cfg(feature = "runtime")]
pub use child::{Child, ChildError};
#[cfg(feature = "runtime")]
pub use child_start::{CHILDREN_AT_ONCE, ChildStart, ChildStartError};
#[cfg(feature = "runtime")]
pub use control::{Delete, Order, Reenter};
#[cfg(feature = "runtime")]
pub use ctx::{Ctx, Entry};
#[cfg(feature = "redb")]
pub use data_dir::DataDirError;
#[cfg(feature = "runtime")]
pub use def::{FORMER_NAMES_MAX, Index, STEERABLE_DEFAULT, STEERABLE_MAX, TaskDef};
#[cfg(feature = "runtime")]
pub use engine::{Engine, ShutdownReport};
#[cfg(feature = "runtime")]
pub use env::InsideRuntime;
#[cfg(feature = "runtime")]
pub use error::{
    AttachError, ControlError, FlushError, GetError, NotShuttingDown, OpenError, ReenterError,
    ResultError, RunError, StartError,
};
#[cfg(feature = "runtime")]
pub use explain::{Explanation, Release, WaitsFor};
#[cfg(feature = "runtime")]
pub use facts::{
    DESCRIPTION_MAX, FactsError, RESERVED_PREFIX, TAG_KEY_MAX, TAG_VALUE_MAX, TAGS_MAX, TASK_TAG,
    TITLE_MAX,
};
#[cfg(feature = "runtime")]
pub use fault::Fault;
#[cfg(feature = "runtime")]
pub use feed::{EVENTS_KEPT, EVENTS_KEPT_FOR, Events, EventsError, LogEvent, LogItem};
#[cfg(feature = "runtime")]
pub use flow::{MAX_BLOCKING, MAX_RUNNING};
#[cfg(feature = "runtime")]
pub use handler::{Handler, HandlerError, Reply};
#[cfg(feature = "runtime")]
pub use inbox::{Inbox, PendingInput, TAKE_KEY_MAX, TAKEN_MAX, TakenInput};
#[cfg(feature = "runtime")]
pub use input_error::{InputError, PendingError, TakeError};
#[cfg(feature = "runtime")]
pub use list::{Cursor, InvalidCursor, LIST_LIMIT, LIST_MAX, LIST_TIME, List, Listing};
#[cfg(feature = "runtime")]
pub use metadata::{METADATA_DEPTH_MAX, METADATA_KEY_MAX, METADATA_MAX, Metadata, MetadataError};
#[cfg(feature = "runtime")]
pub use options::{GRACE, KEEP, KEEP_TURNS, TaskOptions};
#[cfg(feature = "runtime")]
pub use outcome::Outcome;
#[cfg(feature = "runtime")]
pub use receipt::InputStatus;
#[cfg(feature = "runtime")]
pub use recovery::RecoveryReport;
#[cfg(feature = "runtime")]
pub use resolve::{Resolution, Resolve, ResolveError, Step};
#[cfg(feature = "runtime")]
pub use retry_policy::{InvalidRetry, RetryPolicy};
#[cfg(feature = "runtime")]
pub use run::Run;
#[cfg(feature = "runtime")]
pub use secret::Secret;
#[cfg(feature = "runtime")]
pub use signal::Causes;
#[cfg(feature = "runtime")]
pub use sleep::{PARK_AFTER, SleepError};
#[cfg(feature = "runtime")]
pub use snapshot::{Ended, MetadataMap, PastRun, Snapshot, Source, TimelineEntry};
#[cfg(feature = "runtime")]
pub use start::{NewTaskId, Start};
#[cfg(feature = "runtime")]
pub use step::{Reconciled, STEPS_MAX, StepCtx, StepError, StepOptions};
#[cfg(feature = "runtime")]
pub use step_key::StepKey;
#[cfg(feature = "runtime")]
pub use stream::emit::EmitError;
#[cfg(feature = "runtime")]
pub use stream::reader::{StreamError, StreamEvent, TaskStream};
#[cfg(feature = "runtime")]
pub use stream::sink::{SinkEnd, SinkError, StreamSink};
#[cfg(feature = "runtime")]
pub use stream::{
    ITEM_MAX, STREAM_BUFFER, STREAM_BUFFERS, STREAM_MAX, STREAM_READER_MAX, StreamMemory,
};
#[cfg(feature = "runtime")]
pub use untyped::WaitingInput;
#[cfg(feature = "runtime")]
pub use value::{VALUE_DEPTH_MAX, VALUE_MAX, ValueError};
#[cfg(feature = "runtime")]
pub use value_type::ValueType;
#[cfg(feature = "runtime")]
pub use watch::Watch;
