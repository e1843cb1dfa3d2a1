//! Metrics in the text format of Prometheus: the server's own, the engine's state, and what the program adds.

use crate::state::App;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;
use outlive::Health;
use std::fmt::Write;
use std::sync::atomic::Ordering;

/// One metric: its name, its kind, what it is.
fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn gauge(text: &mut String, name: &str, help: &str, value: u64) {
    head(text, name, "gauge", help);
    let _ = writeln!(text, "{name} {value}");
}

/// The metrics of the server and of its engine.
#[utoipa::path(
    get, path = "/metrics", tag = "engine",
    responses((status = 200, content_type = "text/plain"))
)]
pub(crate) async fn metrics(State(app): State<App>) -> impl IntoResponse {
    let mut text = String::with_capacity(2048);
    of_server(&mut text, &app);
    of_engine(&mut text, &app);
    if let Some(render) = &app.options.metrics {
        text.push_str(&render());
    }
    let form = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, form)], text)
}

fn of_server(text: &mut String, app: &App) {
    let counters = &app.counters;
    let name = "outlive_http_answers_total";
    head(
        text,
        name,
        "counter",
        "Answers by the class of their status.",
    );
    for (class, count) in counters.answers().into_iter().enumerate() {
        let _ = writeln!(text, "{name}{{class=\"{}xx\"}} {count}", class + 1);
    }
    let help = "Requests being answered.";
    gauge(
        text,
        "outlive_http_requests_under_way",
        help,
        counters.under_way(),
    );
    let streams = counters.streams.load(Ordering::Relaxed);
    gauge(text, "outlive_http_streams", "Streams followed.", streams);
    let name = "outlive_http_slow_readers_total";
    head(
        text,
        name,
        "counter",
        "Clients of streams dropped because they did not read.",
    );
    let _ = writeln!(text, "{name} {}", counters.slow.load(Ordering::Relaxed));
}

fn of_engine(text: &mut String, app: &App) {
    let about = app.engine.about();
    let up = matches!(about.health, Health::Running | Health::Recovering);
    gauge(
        text,
        "outlive_engine_up",
        "Whether the engine takes work.",
        up.into(),
    );
    let name = "outlive_engine_handlers";
    head(text, name, "gauge", "Handlers that run, and that may.");
    for (kind, handlers) in [("async", about.handlers), ("blocking", about.blocking)] {
        let (running, allowed) = (handlers.running, handlers.allowed);
        let _ = writeln!(text, "{name}{{kind=\"{kind}\",what=\"running\"}} {running}");
        let _ = writeln!(text, "{name}{{kind=\"{kind}\",what=\"allowed\"}} {allowed}");
    }
    let name = "outlive_engine_stream_bytes";
    head(text, name, "gauge", "What streams hold in memory.");
    let _ = writeln!(text, "{name}{{what=\"emitted\"}} {}", about.streams.emitted);
    let _ = writeln!(
        text,
        "{name}{{what=\"followed\"}} {}",
        about.streams.followed
    );
    let help = "The position of the newest transition.";
    gauge(text, "outlive_engine_last_event", help, about.last_event);
}
