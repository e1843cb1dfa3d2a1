//! Writes the events of a source to one client, and holds no more for it than a few frames.
//!
//! A client that does not read is dropped, and loses nothing: everything is in the store, and it comes back with the id of
//! the last event it saw.

use crate::sse::frame::Frame;
use crate::sse::permits::Permit;
use crate::state::App;
use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;

/// Chunks that wait for a client at most.
const CHUNKS: usize = 4;
/// A chunk that is so long is sent before more is asked for.
const CHUNK_BYTES: usize = 32 * 1024;

/// Nobody waits so long.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// What a source has to say next.
pub(crate) enum Next {
    /// One more event.
    Event(Frame),
    /// The last one.
    Last(Frame),
    /// Nothing more from this process: the client shall come back.
    Interrupted,
}

/// Where events come from. Dropping the future loses nothing.
pub(crate) trait Source: Send + 'static {
    fn next(&mut self) -> impl Future<Output = Next> + Send;
}

/// Answers with the events of the source, until it has no more, or the client or the server goes.
pub(crate) fn respond(app: App, source: impl Source, permit: Permit) -> Response {
    let (sender, receiver) = mpsc::channel(CHUNKS);
    tokio::spawn(async move {
        app.counters.streams.fetch_add(1, Ordering::Relaxed);
        let mut pump = Pump { app, sender };
        pump.run(source).await;
        pump.app.counters.streams.fetch_sub(1, Ordering::Relaxed);
        drop(permit);
    });
    framed(Body::from_stream(Chunks(receiver)))
}

/// Answers with the request to come back: an event source takes any other status for the end of everything.
pub(crate) fn come_back(app: &App) -> Response {
    let (sender, receiver) = mpsc::channel(1);
    // There is room for the one.
    let _ = sender.try_send(Frame::retry(app.options.limits.retry).0.into());
    framed(Body::from_stream(Chunks(receiver)))
}

fn framed(body: Body) -> Response {
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream"),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // A proxy that collects would make a stream a lump.
        (
            HeaderName::from_static("x-accel-buffering"),
            HeaderValue::from_static("no"),
        ),
    ];
    (headers, body).into_response()
}

struct Pump {
    app: App,
    sender: mpsc::Sender<Bytes>,
}

/// Whether there is anybody to go on for.
#[derive(PartialEq)]
enum Client {
    There,
    Gone,
}

impl Pump {
    async fn run(&mut self, mut source: impl Source) {
        let limits = self.app.options.limits.clone();
        let mut chunk = Frame::retry(limits.retry).0;
        loop {
            if self.send(std::mem::take(&mut chunk)).await == Client::Gone {
                return;
            }
            let app = &self.app;
            let next = tokio::select! {
                biased;
                () = self.sender.closed() => return,
                () = app.closed() => Some(Next::Interrupted),
                next = source.next() => Some(next),
                () = tokio::time::sleep(limits.keep_alive) => None,
            };
            let more = match next {
                None => {
                    chunk = Frame::keep_alive().0;
                    true
                }
                Some(next) => gathered(next, &mut source, &mut chunk, &limits.retry).await,
            };
            if !more {
                self.send(chunk).await;
                return;
            }
        }
    }

    /// Hands the chunk on, as soon as there is room; for a client that makes none it is dropped.
    async fn send(&self, chunk: Vec<u8>) -> Client {
        let slow = match cfg!(planted = "server_slow_reader_kept") {
            true => FOR_EVER,
            false => self.app.options.limits.slow_reader,
        };
        let sent = tokio::time::timeout(slow, self.sender.send(chunk.into())).await;
        match sent {
            Ok(Ok(())) => Client::There,
            Ok(Err(_)) => Client::Gone,
            Err(_) => {
                self.app.counters.slow.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(target: "outlive::http", "a client that does not read is dropped");
                Client::Gone
            }
        }
    }
}

/// Takes what is there at once into one chunk. False: it was the last.
async fn gathered(
    first: Next,
    source: &mut impl Source,
    chunk: &mut Vec<u8>,
    retry: &Duration,
) -> bool {
    let mut next = Some(first);
    while let Some(found) = next.take() {
        match found {
            Next::Event(frame) => chunk.extend_from_slice(&frame.0),
            Next::Last(frame) => {
                chunk.extend_from_slice(&frame.0);
                return false;
            }
            Next::Interrupted => {
                chunk.extend_from_slice(&Frame::retry(*retry).0);
                return false;
            }
        }
        if chunk.len() < CHUNK_BYTES {
            next = ready(source.next()).await;
        }
    }
    true
}

/// What a future gives without a wait.
async fn ready<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|context| {
        Poll::Ready(match future.as_mut().poll(context) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        })
    })
    .await
}

/// The chunks as a body.
struct Chunks(mpsc::Receiver<Bytes>);

impl Stream for Chunks {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(Ok))
    }
}
