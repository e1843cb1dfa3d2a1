//! The names under which the engine tells what it does, to `tracing` and to `metrics`: stable, and all in one place.
//!
//! # Events and spans, by `tracing`
//!
//! | Target | What | Level | Fields |
//! |---|---|---|---|
//! | [`ENGINE`] | event `engine.open`: once, when an engine is open | info | `version`, `file`, `format`, `size_bytes`, `instance`, `owner`, `created`, `clean`, `repaired`, `took_us` |
//! | [`ENGINE`] | event `clock.jump`: the wall clock was set, or the machine slept; durations are not moved by it | warn | `jumped_us` |
//! | [`RECOVERY`] | event `recovery.scan`: once, when all that ran before is entered again | info | `found`, `dispatched`, `waiting_handler`, `isolated`, `cancelled`, `quarantined`, `took_us` |
//! | [`RECOVERY`] | events `guard.control`, `guard.probation`: suspected turns are held back, and entered apart | warn | `suspects`, `until_us` |
//! | [`RECOVERY`] | event `guard.calm`: nobody is suspected any more | info | |
//! | [`TASK`] | event `task`: for each transition, once it is durable | info | `id`, `name`, `task`, `what`, `status`, `detail`, `run`, `turn`, `attempt`, `crashes`, `generation`, `etag` |
//! | [`TASK`] | span [`ATTEMPT`]: around each call of a handler | info | `id`, `name`, `run`, `turn`, `attempt`, `entry`, `generation`, `traceparent` |
//! | [`TASK`] | event `sink.failed`: a task's sink gave an error or panicked, and is dropped | warn | `id`, `what`, `error` |
//! | [`TASK`] | event `sink.passed_over`: an item that cannot be read was not given to the task's sink | warn | `id`, `error` |
//! | [`ENGINE`], [`STORE`], [`TASK`] | what went wrong | warn, error | `error`, and what it is about |
//!
//! `file` is empty for an engine in memory; `clean` says that the life before this one ended in order, or that there was
//! none; `entry` is `fresh`, `resumed`, `retried` or `recovered`; `traceparent` is there when the start that created
//! the task brought one. Whatever a handler tells while it runs is inside its span, also on the thread of a blocking
//! handler.
//!
//! # Metrics, by the `metrics` facade
//!
//! With the feature `metrics`, to whichever recorder the program installs:
//!
//! | Name | Kind | Labels | What |
//! |---|---|---|---|
//! | [`STARTED`] | counter | `name` | runs of tasks begun: starts, restarts, retries after an end |
//! | [`ENDED`] | counter | `name`, `outcome` | runs ended: `succeeded`, `failed`, `cancelled`, `terminated`, `timed_out` |
//! | [`RECOVERED`] | counter | `name` | turns entered again because their process was gone |
//! | [`RETRIED`] | counter | `name` | failed attempts that another one follows |
//! | [`RUNNING`] | gauge | `name` | handlers that run |
//! | [`TURN_SECONDS`] | histogram | `name` | from the claim of an attempt to the end of its handler, crashes in between included |
//! | [`COMMIT_SECONDS`] | histogram | | a commit of the store, with its sync |
//!
//! `name` is that of the definition. Runs, turns and attempts are counted once it is durable.

/// The target of what concerns the engine as a whole.
pub const ENGINE: &str = "outlive::engine";
/// The target of the start-up scan.
pub const RECOVERY: &str = "outlive::recovery";
/// The target of what concerns one task.
pub const TASK: &str = "outlive::task";
/// The target of what concerns the store.
pub const STORE: &str = "outlive::store";
/// The name of the span around each call of a handler.
pub const ATTEMPT: &str = "outlive.attempt";

/// Counts runs begun.
pub const STARTED: &str = "outlive_runs_started_total";
/// Counts runs ended.
pub const ENDED: &str = "outlive_runs_ended_total";
/// Counts turns entered again after their process was gone.
pub const RECOVERED: &str = "outlive_turns_recovered_total";
/// Counts failed attempts that another one follows.
pub const RETRIED: &str = "outlive_attempts_retried_total";
/// How many handlers run.
pub const RUNNING: &str = "outlive_handlers_running";
/// How long turns take, in seconds.
pub const TURN_SECONDS: &str = "outlive_turn_seconds";
/// How long commits take, in seconds.
pub const COMMIT_SECONDS: &str = "outlive_commit_seconds";
