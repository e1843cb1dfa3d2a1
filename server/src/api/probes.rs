//! What an orchestrator asks: does the process live, and does it take work.

use crate::state::App;
use axum::extract::State;
use axum::http::StatusCode;
use outlive::Health;

/// 200 as long as the process answers at all.
#[utoipa::path(get, path = "/livez", tag = "engine", responses((status = 200)))]
pub(crate) async fn live() -> &'static str {
    "ok\n"
}

/// 200 while it takes work, else 503; one line for each check.
#[utoipa::path(get, path = "/readyz", tag = "engine", responses((status = 200), (status = 503)))]
pub(crate) async fn ready(State(app): State<App>) -> (StatusCode, String) {
    let health = app.engine.health();
    let (store, engine) = match &health {
        Health::Running => ("ok", "ok"),
        // It takes calls; what ran before is being entered again beside them.
        Health::Recovering => ("ok", "ok, recovering"),
        Health::ShuttingDown => ("ok", "shutting down"),
        Health::Failed(_) => ("failed", "stopped"),
        // INVARIANT: this crate and the engine are released together.
        _ => ("unknown", "unknown"),
    };
    let closing = app.is_closing() && !cfg!(planted = "server_ready_while_closing");
    let server = if closing { "closing" } else { "ok" };
    let well = matches!(health, Health::Running | Health::Recovering) && !closing;
    let status = match well {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let lines = format!("server: {server}\nengine: {engine}\nstore: {store}\n");
    (status, lines)
}
