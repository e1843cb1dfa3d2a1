//! The stream of a task, as server-sent events: replayed from any number on, then live, with one end.

use crate::api::answer::{Answer, Path};
use crate::caller::Caller;
use crate::params::Params;
use crate::problem::Problem;
use crate::raw::Raw;
use crate::sse::frame::Frame;
use crate::sse::position::{self, Position};
use crate::sse::pump::{self, Next, Source};
use crate::state::App;
use crate::view::EndedView;
use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use outlive::{Fault, Status, StoreError, StreamError, StreamEvent, TaskStream};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

/// The data of `event: item`.
#[derive(Serialize, ToSchema)]
pub(crate) struct ItemView {
    sequence: u64,
    run: u32,
    turn: u32,
    attempt: u32,
    /// The key of the step that emitted it.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<String>,
    /// The item, as it is kept.
    #[schema(value_type = serde_json::Value)]
    item: Raw,
}

/// Follows the stream of a task. Each event has its sequence number as `id`; `item` brings an item, `reset` abandons those
/// of an earlier attempt, `kept` says which step's stay, `gap` that some are not there any more, `end` how the run ended.
/// A client that comes back with the id of the last event it saw goes on behind it, and is answered with 204 when that was
/// the end.
#[utoipa::path(
    get, path = "/v1/tasks/{id}/stream", tag = "streams",
    params(
        ("id" = String, Path),
        ("Last-Event-ID" = Option<String>, Header),
        ("last_event_id" = Option<String>, Query),
        ("after" = Option<String>, Query, description = "the sequence number to go on behind"),
    ),
    responses(
        (status = 200, body = ItemView, content_type = "text/event-stream"), (status = 204),
        (status = 400), (status = 404), (status = 429),
    )
)]
pub(crate) async fn follow(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path([id]): Path<1>,
    mut params: Params,
    headers: HeaderMap,
) -> Answer {
    let position = Position::of(&headers, &mut params)?;
    params.end()?;
    if app.is_closing() {
        return Ok(pump::come_back(&app));
    }
    let run = match app
        .engine
        .attach_untyped::<Raw, Raw>(id)
        .await
        .map_err(Fault::from)
    {
        Ok(run) => run,
        Err(Fault::ShuttingDown) => return Ok(pump::come_back(&app)),
        Err(fault) => return Err(fault.into()),
    };
    let mut source = Items {
        stream: run.stream(position.after),
        ahead: None,
        live: true,
    };
    if position.saw_end && run.status().await? == Status::Completed {
        match source.next().await {
            // It ends where the client has seen it end.
            Next::Last(_) if !cfg!(planted = "server_end_again") => {
                return Ok(StatusCode::NO_CONTENT.into_response());
            }
            next => source.ahead = Some(next),
        }
    }
    let permit = app.streams.take(&caller.name)?;
    Ok(pump::respond(app, source, permit))
}

/// The events of one stream.
struct Items {
    stream: TaskStream<Raw>,
    /// What was looked at already.
    ahead: Option<Next>,
    live: bool,
}

impl Source for Items {
    async fn next(&mut self) -> Next {
        if let Some(next) = self.ahead.take() {
            return next;
        }
        if !self.live {
            return Next::Interrupted;
        }
        match self.stream.next().await {
            Some(Ok(event)) => told(event),
            Some(Err(error)) => self.failed(error),
            None => Next::Interrupted,
        }
    }
}

impl Items {
    fn failed(&mut self, error: StreamError) -> Next {
        let goes_on = match &error {
            StreamError::Undecodable { .. } => true,
            StreamError::Store(error) => is_passed_over(error),
            StreamError::ShuttingDown => return Next::Interrupted,
            // INVARIANT: this crate and the engine are released together.
            StreamError::Gone { .. } | _ => false,
        };
        let frame = Frame::problem(&Problem::from(error));
        if goes_on {
            return Next::Event(frame);
        }
        self.live = false;
        Next::Last(frame)
    }
}

/// Whether the reader goes on behind what cannot be read.
fn is_passed_over(error: &StoreError) -> bool {
    error.is_of_one_entry()
}

fn told(event: StreamEvent<Raw>) -> Next {
    let id = event.sequence().to_string();
    match event {
        StreamEvent::Item {
            sequence,
            run,
            turn,
            attempt,
            step,
            item,
            ..
        } => {
            let step = step.map(String::from);
            let view = ItemView {
                sequence,
                run,
                turn,
                attempt,
                step,
                item,
            };
            Next::Event(Frame::event(&id, "item", &view))
        }
        StreamEvent::Reset {
            sequence,
            run,
            turn,
            attempt,
            step,
            all,
            ..
        } => {
            let data = json!({
                "sequence": sequence, "run": run, "turn": turn, "attempt": attempt,
                "step": step, "all": all,
            });
            Next::Event(Frame::event(&id, "reset", &data))
        }
        StreamEvent::Kept { sequence, step, .. } => {
            let data = json!({"sequence": sequence, "step": step});
            Next::Event(Frame::event(&id, "kept", &data))
        }
        StreamEvent::Gap { until, .. } => {
            Next::Event(Frame::event(&id, "gap", &json!({"until": until})))
        }
        StreamEvent::End {
            sequence, ended, ..
        } => {
            let outcome = EndedView::from(&ended);
            let data = json!({"sequence": sequence, "outcome": outcome});
            Next::Last(Frame::event(&position::end(sequence), "end", &data))
        }
        // INVARIANT: this crate and the engine are released together.
        _ => Next::Interrupted,
    }
}
