//! One connection from its first byte to its last.

use super::accept::Serving;
use super::crowd::{Busy, Seat};
use super::timed::{Io, Timed};
use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use tower::ServiceExt;

/// The smallest buffer that the protocol's own library takes.
const BUFFER_MIN: usize = 8 * 1024;

/// Answers what is asked on it, until it ends, takes too long, makes room for another one, or the server closes.
pub(crate) async fn answer(io: Box<dyn Io>, serving: Arc<Serving>, seat: Seat) {
    let limits = &serving.limits;
    let timed = Timed::new(io, Arc::clone(&seat.conn), limits);
    let (router, conn) = (serving.router.clone(), Arc::clone(&seat.conn));
    let service = service_fn(move |request: Request<Incoming>| {
        let (router, busy) = (router.clone(), conn.begin());
        async move {
            let response = router.oneshot(request.map(Body::new)).await?;
            let while_sent = |body| WhileSent { body, _busy: busy };
            Ok::<Response<WhileSent>, std::convert::Infallible>(response.map(while_sent))
        }
    });
    let connection = http1::Builder::new()
        .max_buf_size(limits.header_bytes.max(BUFFER_MIN))
        // Times are the connection's own, which tells a head from a pause. This one is never the first to come: with it
        // the connection is looked at again when a request was answered, and its pause begins.
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle_time + limits.header_time)
        .serve_connection(TokioIo::new(timed), service);
    let mut connection = pin!(connection);
    tokio::select! {
        biased;
        // Nobody hears of an error but the client, which has gone.
        _ = connection.as_mut() => return,
        () = seat.conn.told_to_leave() => return,
        () = serving.closed() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

/// A body on its way: the connection is busy until it has gone.
struct WhileSent {
    body: Body,
    _busy: Busy,
}

impl HttpBody for WhileSent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
