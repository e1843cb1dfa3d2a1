//! The engine itself: its definitions, its store, its version.

use crate::api::answer::{Answer, json};
use crate::params::Params;
use crate::state::App;
use axum::extract::State;
use outlive::{Definition, EVENTS_KEPT, HandlersRunning, Health, RecoveryReport};
use serde::Serialize;
use utoipa::ToSchema;

/// A definition whose handler is registered.
#[derive(Serialize, ToSchema)]
pub(crate) struct TypeView {
    task: &'static str,
    /// Whether it takes inputs from outside.
    remote: bool,
    /// How many inputs may wait while a turn runs; empty when it takes none.
    steerable_max: Option<u64>,
    concurrency: Option<usize>,
    live_items: bool,
    blocking: bool,
}

impl From<&Definition> for TypeView {
    fn from(definition: &Definition) -> TypeView {
        TypeView {
            task: definition.name,
            remote: definition.is_remote,
            steerable_max: definition.steerable_max,
            concurrency: definition.concurrency,
            live_items: definition.live_items,
            blocking: definition.is_blocking,
        }
    }
}

/// The registered definitions, by name.
#[derive(Serialize, ToSchema)]
pub(crate) struct TypesView {
    task_types: Vec<TypeView>,
}

/// The definitions whose handlers are registered.
#[utoipa::path(get, path = "/v1/task-types", tag = "engine", responses((status = 200, body = TypesView)))]
pub(crate) async fn types(State(app): State<App>, params: Params) -> Answer {
    params.end()?;
    let task_types = app.definitions.iter().map(TypeView::from).collect();
    Ok(json(&TypesView { task_types }))
}

/// How many handlers run, and how many may.
#[derive(Serialize, ToSchema)]
pub(crate) struct HandlersView {
    running: usize,
    allowed: usize,
}

impl From<HandlersRunning> for HandlersView {
    fn from(handlers: HandlersRunning) -> HandlersView {
        HandlersView {
            running: handlers.running,
            allowed: handlers.allowed,
        }
    }
}

/// What the start-up scan found and did.
#[derive(Serialize, ToSchema)]
pub(crate) struct RecoveryView {
    found: u64,
    dispatched: u64,
    waiting_handler: u64,
    cancelled: u64,
    isolated: u64,
    quarantined: u64,
    took_ms: u64,
}

impl From<RecoveryReport> for RecoveryView {
    fn from(report: RecoveryReport) -> RecoveryView {
        RecoveryView {
            found: report.found,
            dispatched: report.dispatched,
            waiting_handler: report.waiting_handler,
            cancelled: report.cancelled,
            isolated: report.isolated,
            quarantined: report.quarantined,
            took_ms: report.took_us / 1000,
        }
    }
}

/// The engine and its store at the moment. Where the file lies is told to nobody.
#[derive(Serialize, ToSchema)]
pub(crate) struct StoreView {
    /// `running`, `recovering`, `shutting_down` or `failed`.
    health: &'static str,
    /// The format of the file; zero without one.
    format: u32,
    owner: String,
    session_id: Option<String>,
    /// Names this open of the store.
    instance: String,
    handlers: HandlersView,
    blocking_handlers: HandlersView,
    /// Bytes of stream items that are not durable yet.
    stream_emitted_bytes: usize,
    /// Bytes of stream items kept for readers.
    stream_followed_bytes: usize,
    logs_events: bool,
    /// The newest position of `/v1/events`.
    last_event: u64,
    /// How many transitions the log keeps.
    events_kept: u64,
    /// Empty while the start-up scan goes on.
    recovery: Option<RecoveryView>,
}

/// The health of an engine on the wire.
pub(crate) fn health(health: &Health) -> &'static str {
    match health {
        Health::Running => "running",
        Health::Recovering => "recovering",
        Health::ShuttingDown => "shutting_down",
        Health::Failed(_) => "failed",
        // INVARIANT: this crate and the engine are released together.
        _ => "unknown",
    }
}

/// The engine and its store at the moment.
#[utoipa::path(get, path = "/v1/store", tag = "engine", responses((status = 200, body = StoreView)))]
pub(crate) async fn store(State(app): State<App>, params: Params) -> Answer {
    params.end()?;
    let about = app.engine.about();
    Ok(json(&StoreView {
        health: health(&about.health),
        format: about.format,
        owner: about.owner,
        session_id: about.session,
        instance: format!("{:032x}", about.instance),
        handlers: about.handlers.into(),
        blocking_handlers: about.blocking.into(),
        stream_emitted_bytes: about.streams.emitted,
        stream_followed_bytes: about.streams.followed,
        logs_events: about.logs_events,
        last_event: about.last_event,
        events_kept: EVENTS_KEPT,
        recovery: about.recovery.map(RecoveryView::from),
    }))
}

/// Which versions answer.
#[derive(Serialize, ToSchema)]
pub(crate) struct VersionView {
    name: &'static str,
    version: &'static str,
    engine: &'static str,
}

/// The versions of the server and of the engine.
#[utoipa::path(get, path = "/version", tag = "engine", responses((status = 200, body = VersionView)))]
pub(crate) async fn version(State(app): State<App>, params: Params) -> Answer {
    params.end()?;
    Ok(json(&VersionView {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        engine: app.engine.about().version,
    }))
}
