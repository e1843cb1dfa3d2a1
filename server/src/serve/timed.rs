//! A connection on which everything has its time: a head, a pause, a write that is taken.

use super::crowd::Conn;
use crate::limits::Limits;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Bytes both ways.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

type Timer = Option<Pin<Box<Sleep>>>;

/// What is read.
#[derive(PartialEq)]
enum Reading {
    /// The head of a request, which has begun to come.
    Head,
    /// Nothing, yet.
    Pause,
}

/// The connection with its times. They count while no request is being answered: a body has a time of its own, and a
/// stream goes on as long as it is read.
pub(crate) struct Timed {
    io: Box<dyn Io>,
    conn: Arc<Conn>,
    header_time: Duration,
    idle_time: Duration,
    write_time: Duration,
    reading: Reading,
    read_timer: Timer,
    write_timer: Timer,
}

impl Timed {
    pub(crate) fn new(io: Box<dyn Io>, conn: Arc<Conn>, limits: &Limits) -> Timed {
        Timed {
            io,
            conn,
            header_time: limits.header_time,
            idle_time: limits.idle_time,
            write_time: limits.write_time,
            // Who connects has something to ask.
            reading: Reading::Head,
            read_timer: Some(Box::pin(sleep(limits.header_time))),
            write_timer: None,
        }
    }

    /// Bytes have come.
    fn has_read(&mut self) {
        if !self.conn.is_busy() && self.reading == Reading::Pause {
            self.reading = Reading::Head;
            self.read_timer = Some(Box::pin(sleep(self.header_time)));
        }
    }

    /// None have come. Whether it is time to give up.
    fn waits(&mut self, context: &mut Context<'_>) -> bool {
        if self.conn.is_busy() {
            self.reading = Reading::Pause;
            self.read_timer = None;
            return false;
        }
        let idle = self.idle_time;
        let timer = self.read_timer.get_or_insert_with(|| Box::pin(sleep(idle)));
        timer.as_mut().poll(context).is_ready() && !cfg!(planted = "server_head_without_end")
    }

    /// A write, or that it takes too long.
    fn written<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.write_timer = None;
            return written;
        }
        let time = self.write_time;
        let timer = self
            .write_timer
            .get_or_insert_with(|| Box::pin(sleep(time)));
        match timer.as_mut().poll(context) {
            Poll::Ready(()) if !cfg!(planted = "server_write_without_end") => {
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            Poll::Ready(()) | Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Timed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.io).poll_read(context, buffer) {
            Poll::Ready(Ok(())) => {
                if buffer.filled().len() > before {
                    self.has_read();
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending if self.waits(context) => {
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for Timed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        self.written(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(context);
        self.written(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        self.written(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
