//! The signals that end a server, counted.

use std::io;
use tokio::sync::watch;

/// How many came.
#[derive(Debug, Clone)]
pub(crate) struct Signals(watch::Receiver<u32>);

impl Signals {
    /// From here on they end the process no more by themselves.
    pub(crate) fn listen() -> io::Result<Signals> {
        let (count, came) = watch::channel(0);
        let mut source = Source::new()?;
        tokio::spawn(async move {
            while !count.is_closed() && source.next().await {
                count.send_modify(|count| *count += 1);
            }
        });
        Ok(Signals(came))
    }

    /// Resolves when so many came.
    pub(crate) async fn nth(mut self, number: u32) {
        if self.0.wait_for(|count| *count >= number).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(unix)]
struct Source {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Source {
    fn new() -> io::Result<Source> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Source {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> bool {
        tokio::select! {
            biased;
            came = self.terminate.recv() => came.is_some(),
            came = self.interrupt.recv() => came.is_some(),
        }
    }
}

#[cfg(not(unix))]
struct Source;

#[cfg(not(unix))]
impl Source {
    fn new() -> io::Result<Source> {
        Ok(Source)
    }

    async fn next(&mut self) -> bool {
        tokio::signal::ctrl_c().await.is_ok()
    }
}
