//! Tasks that outlive their process.
//!
//! An async function registered with outlive runs to its end although the process is killed at any instant: its
//! state is in one file, and a restart recovers it in milliseconds. A handler is entered **at least once**:
//! after a crash it may run again, and is told so by [`Entry::Recovered`].
//!
//! Without default features only [`machine`] is built: the pure core, which needs neither a runtime nor a store.

pub mod machine;

#[cfg(feature = "runtime")]
mod batch;
#[cfg(feature = "runtime")]
mod builder;
#[cfg(feature = "runtime")]
mod commits;
#[cfg(feature = "runtime")]
mod ctx;
#[cfg(feature = "runtime")]
mod def;
#[cfg(feature = "runtime")]
mod engine;
#[cfg(feature = "runtime")]
mod engine_loop;
#[cfg(feature = "runtime")]
mod env;
#[cfg(feature = "runtime")]
mod error;
#[cfg(feature = "runtime")]
mod flow;
#[cfg(feature = "runtime")]
mod handler;
#[cfg(feature = "runtime")]
mod hub;
#[cfg(feature = "runtime")]
mod live;
#[cfg(feature = "runtime")]
mod reader;
#[cfg(feature = "runtime")]
mod recovery;
#[cfg(feature = "runtime")]
mod registry;
#[cfg(feature = "runtime")]
mod retry_policy;
#[cfg(feature = "runtime")]
mod run;
#[cfg(feature = "runtime")]
mod snapshot;
#[cfg(feature = "runtime")]
mod start;
#[cfg(feature = "runtime")]
mod trace;
#[cfg(feature = "runtime")]
mod turn;
#[cfg(feature = "runtime")]
mod value;
#[cfg(feature = "runtime")]
mod writer;

pub use machine::{Accepted, Status};
pub use outlive_storage::StoreError;
pub use outlive_storage::id::{InputId, InvalidId, TaskId};
pub use outlive_storage::row::{Failure, FailureKind, WaitReason};

#[cfg(feature = "runtime")]
pub use builder::Builder;
#[cfg(feature = "runtime")]
pub use ctx::{Ctx, Entry};
#[cfg(feature = "runtime")]
pub use def::{STEERABLE_DEFAULT, TaskDef};
#[cfg(feature = "runtime")]
pub use engine::{Engine, ShutdownReport};
#[cfg(feature = "runtime")]
pub use error::{AttachError, GetError, OpenError, ResultError, RunError, StartError};
#[cfg(feature = "runtime")]
pub use flow::{MAX_BLOCKING, MAX_RUNNING};
#[cfg(feature = "runtime")]
pub use handler::{Handler, HandlerError, Reply};
#[cfg(feature = "runtime")]
pub use recovery::RecoveryReport;
#[cfg(feature = "runtime")]
pub use retry_policy::{InvalidRetry, RetryPolicy};
#[cfg(feature = "runtime")]
pub use run::{Outcome, Run};
#[cfg(feature = "runtime")]
pub use snapshot::{Cursor, Ended, List, Snapshot};
#[cfg(feature = "runtime")]
pub use start::{NewTaskId, Start};
#[cfg(feature = "runtime")]
pub use value::{VALUE_MAX, ValueError};
