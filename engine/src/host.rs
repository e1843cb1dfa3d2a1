//! What a turn has of the engine it runs in.

use crate::env::{Clock, Spawner};
use crate::reader::Reader;
use crate::turn::Dispatcher;
use crate::writer::Writer;
use std::sync::{Arc, Weak};
use tokio::sync::watch;

/// One for all turns: each that took these parts for itself would count them all, in memory that all threads write to.
pub(crate) struct Host {
    pub(crate) writer: Arc<Writer>,
    pub(crate) reader: Arc<Reader>,
    pub(crate) clock: Clock,
    /// Where handlers run: blocking ones wait with it.
    pub(crate) runtime: Spawner,
    /// Set when the engine stops.
    pub(crate) shutdown: watch::Receiver<bool>,
    /// The way to start tasks. A context that is kept beyond its engine keeps no part of that.
    pub(crate) dispatcher: Weak<Dispatcher>,
}

impl Host {
    /// Of this engine.
    pub(crate) fn of(dispatcher: &Arc<Dispatcher>) -> Host {
        Host {
            writer: Arc::clone(&dispatcher.writer),
            reader: Arc::clone(&dispatcher.reader),
            clock: dispatcher.clock.clone(),
            runtime: dispatcher.spawner.clone(),
            shutdown: dispatcher.stopping.subscribe(),
            dispatcher: Arc::downgrade(dispatcher),
        }
    }
}
