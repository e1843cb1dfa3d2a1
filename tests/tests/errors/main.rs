//! Every error of every call, once; and that nothing was written where nothing should be.

mod calls;
mod open;
#[cfg(unix)]
mod read_only;
mod store;

use outlive::{Builder, Ctx, HandlerError, TaskDef};

pub(crate) const TASK: TaskDef<u32, u32> = TaskDef::new("task");

/// The builder with a handler that ends well.
pub(crate) fn with_task(builder: Builder) -> Builder {
    builder.task(TASK, |_: Ctx, n| async move { Ok::<_, HandlerError>(n) })
}
