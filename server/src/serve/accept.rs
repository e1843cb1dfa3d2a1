//! Takes connections from one socket, each into a task of its own, until the server is closed.

use super::connection::answer;
use super::crowd::Crowd;
use super::socket::Socket;
use crate::limits::Limits;
use axum::Router;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long a socket rests that gives no connection: the system has no more files to give, for example.
const AFTER_ERROR: Duration = Duration::from_millis(50);
/// How long connections have to end when the server is closed.
const LINGER: Duration = Duration::from_secs(1);

/// What the connections of a server share.
pub(crate) struct Serving {
    pub(crate) crowd: Arc<Crowd>,
    pub(crate) router: Router,
    pub(crate) limits: Limits,
    /// Whether connections are to end.
    pub(crate) closed: watch::Receiver<bool>,
}

impl Serving {
    pub(crate) async fn closed(&self) {
        // A server that is gone has closed, too.
        let _ = self.closed.clone().wait_for(|closed| *closed).await;
    }
}

pub(crate) async fn all(socket: Socket, serving: Arc<Serving>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = serving.closed() => break,
            Some(_) = connections.join_next() => continue,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok(io) => {
                // One too many is closed without a word: whoever fills the house is told nothing.
                if let Some(seat) = serving.crowd.admit() {
                    connections.spawn(answer(io, Arc::clone(&serving), seat));
                }
            }
            Err(error) => {
                tracing::warn!(target: "outlive::http", %error, "no connection was taken");
                tokio::time::sleep(AFTER_ERROR).await;
            }
        }
    }
    drop(socket);
    let ended = async { while connections.join_next().await.is_some() {} };
    // What has not ended by then is dropped with the set.
    let _ = tokio::time::timeout(LINGER, ended).await;
}
