//! The log of transitions of the whole store, as server-sent events.

use crate::api::answer::Answer;
use crate::caller::Caller;
use crate::names::name;
use crate::params::Params;
use crate::problem::Problem;
use crate::sse::frame::Frame;
use crate::sse::position::Position;
use crate::sse::pump::{self, Next, Source};
use crate::state::App;
use crate::times;
use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use outlive::{Engine, Events, EventsError, Fault, LogItem, StoreError};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

/// The data of `event: transition`.
#[derive(Serialize, ToSchema)]
pub(crate) struct TransitionView {
    task_id: String,
    task: String,
    /// What happened.
    what: String,
    run: u32,
    turn: u32,
    attempt: u32,
    generation: u64,
    /// The etag it gave the task: the position in the log.
    etag: String,
    at: String,
}

/// Follows every committed transition of every task, in the order of their commits, from the oldest that is kept or from
/// behind the one that is named. Each has its position as `id`; `gap` says that some are not there any more.
#[utoipa::path(
    get, path = "/v1/events", tag = "streams",
    params(
        ("Last-Event-ID" = Option<String>, Header),
        ("last_event_id" = Option<String>, Query),
        ("after" = Option<String>, Query, description = "the position to go on behind"),
    ),
    responses(
        (status = 200, body = TransitionView, content_type = "text/event-stream"),
        (status = 400), (status = 404), (status = 429),
    )
)]
pub(crate) async fn follow(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    mut params: Params,
    headers: HeaderMap,
) -> Answer {
    let position = Position::of(&headers, &mut params)?;
    params.end()?;
    if app.is_closing() {
        return Ok(pump::come_back(&app));
    }
    if !app.engine.about().logs_events {
        return Err(Fault::NotLogged.into());
    }
    let permit = app.streams.take(&caller.name)?;
    let source = Log {
        engine: app.engine.clone(),
        events: app.engine.events(Some(position.after)),
    };
    Ok(pump::respond(app, source, permit))
}

struct Log {
    engine: Engine,
    events: Events,
}

impl Source for Log {
    async fn next(&mut self) -> Next {
        match self.events.next().await {
            Ok(item) => Next::Event(told(item)),
            Err(EventsError::ShuttingDown) => Next::Interrupted,
            Err(EventsError::Store(StoreError::Corrupt { table, key })) => {
                // The position of a damaged entry is its key: it is passed over, and told as missing.
                let Ok(until) = key.parse::<u64>() else {
                    let error = StoreError::Corrupt { table, key };
                    return Next::Last(Frame::problem(&Fault::Store(error).into()));
                };
                self.events = self.engine.events(Some(until));
                Next::Event(gap(until))
            }
            Err(error) => Next::Last(Frame::problem(&Problem::from(error))),
        }
    }
}

fn gap(until: u64) -> Frame {
    Frame::event(
        &until.to_string(),
        "gap",
        &json!({"until": until.to_string()}),
    )
}

fn told(item: LogItem) -> Frame {
    match item {
        LogItem::Event(event) => {
            let view = TransitionView {
                what: name(&event.what),
                run: event.run,
                turn: event.turn,
                attempt: event.attempt,
                generation: event.generation,
                etag: event.etag.to_string(),
                at: times::text(event.at_us),
                task: event.name,
                task_id: event.id.to_string(),
            };
            Frame::event(&view.etag, "transition", &view)
        }
        LogItem::Gap { until } => gap(until),
        // INVARIANT: this crate and the engine are released together.
        other => gap(other.etag()),
    }
}
