//! Steering: how inputs come to a task that has a turn, what that turn takes of them, and what becomes of each.
//!
//! The handlers of these tests do nothing of their own: each turn is handed to the test, which ends it.

mod answers;
mod deliveries;
mod field_bugs;
mod random;
mod receipts;
mod refusals;
mod takes;

use outlive::{
    Builder, Ctx, Delivery, Engine, HandlerError, InputStatus, Reply, Run, Snapshot, StartError,
    Status, TaskDef,
};
use outlive_storage::MemStore;
use outlive_tests::gate::until;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc, oneshot};

/// Takes nine further inputs; a failed attempt is followed by two others, a second each later.
pub(crate) const AGENT: TaskDef<String, String> = TaskDef::new("agent").steerable(9).retry(
    outlive::RetryPolicy::fixed()
        .attempts(3)
        .initial(Duration::from_secs(1))
        .jitter(false),
);
/// The task of nearly every test.
pub(crate) const ID: &str = "a";
/// Far longer than anything here takes: with a paused clock a wait without end is over at once.
const NEVER: Duration = Duration::from_secs(30 * 24 * 3600);

type End = Result<Reply<String>, HandlerError>;

/// A turn that runs: its handler waits for the test to end it.
pub(crate) struct Turn {
    pub(crate) ctx: Ctx,
    pub(crate) input: String,
    end: oneshot::Sender<End>,
}

impl Turn {
    /// The handler returns this.
    pub(crate) fn end(self, end: End) {
        // A handler that is gone needs no end.
        let _ = self.end.send(end);
    }

    pub(crate) fn reply(self, output: &str) {
        self.end(Ok(Reply::output(output.to_owned())));
    }

    pub(crate) fn suspend(self, output: &str) {
        self.end(Ok(Reply::suspend(output.to_owned(), "more")));
    }

    pub(crate) fn fail(self) {
        self.end(Err("once more".into()));
    }

    pub(crate) fn fail_for_good(self) {
        self.end(Err(HandlerError::terminal("no")));
    }

    /// What the turn gets under a key.
    pub(crate) async fn takes(&self, key: &str) -> Option<String> {
        let taken = self.ctx.inbox().take::<String>(key).await;
        taken.expect("a take that fits").map(|taken| taken.input)
    }

    /// The inputs that wait.
    pub(crate) async fn pending(&self) -> Vec<String> {
        let pending = self.ctx.pending_inputs::<String>().await;
        let pending = pending.expect("they can be read").into_iter();
        pending.map(|pending| pending.input).collect()
    }
}

/// A store, and the turns that run on it; engines come and go.
pub(crate) struct World {
    pub(crate) store: Arc<MemStore>,
    pub(crate) engine: Engine,
    turns: Arc<Mutex<mpsc::UnboundedReceiver<Turn>>>,
    entering: mpsc::UnboundedSender<Turn>,
}

impl World {
    pub(crate) async fn new() -> World {
        let (entering, turns) = mpsc::unbounded_channel();
        let store = Arc::new(MemStore::new());
        let engine = open(&store, AGENT, &entering).await;
        World {
            store,
            engine,
            turns: Arc::new(Mutex::new(turns)),
            entering,
        }
    }

    /// The process is gone, and another one goes on with what is left.
    pub(crate) async fn reopen(&mut self) {
        self.engine.shutdown(Duration::ZERO).await;
        self.engine = open(&self.store, AGENT, &self.entering).await;
    }

    /// The next turn that is entered.
    pub(crate) async fn turn(&self) -> Turn {
        let mut turns = self.turns.lock().await;
        in_time(turns.recv()).await.expect("a turn")
    }

    /// Starts or steers; the input's id is its text.
    pub(crate) async fn try_send(
        &self,
        text: &str,
        delivery: Delivery,
    ) -> Result<Run<String>, StartError> {
        let start = self.engine.start(AGENT, ID, &text.to_owned());
        start.input_id(text).delivery(delivery).await
    }

    pub(crate) async fn send(&self, text: &str, delivery: Delivery) -> Run<String> {
        let sent = self.try_send(text, delivery).await;
        sent.expect("an input that is accepted")
    }

    pub(crate) async fn at_boundary(&self, text: &str) -> Run<String> {
        self.send(text, Delivery::AtBoundary).await
    }

    /// A further handle to an input that was accepted, as another caller would get it.
    pub(crate) async fn handle(&self, text: &str) -> Run<String> {
        let run = self.send(text, Delivery::Interrupt).await;
        assert_eq!(run.accepted(), Some(outlive::Accepted::Attached), "{text}");
        run
    }

    pub(crate) async fn status(&self, text: &str) -> InputStatus {
        self.engine.input(ID, text).await.expect("it is known")
    }

    /// Waits until the task stands so.
    pub(crate) async fn comes_to(&self, status: Status) {
        until(async || self.task().await.status == status).await;
    }

    pub(crate) async fn task(&self) -> Snapshot {
        self.engine
            .get(ID)
            .await
            .unwrap()
            .expect("the task is there")
    }
}

/// Opens an engine whose turns are handed to the test.
async fn open(
    store: &Arc<MemStore>,
    def: TaskDef<String, String>,
    entering: &mpsc::UnboundedSender<Turn>,
) -> Engine {
    let builder = Engine::on_store(Arc::<MemStore>::clone(store)).inline();
    let engine = handed(builder, def, entering).open().await.unwrap();
    engine.recovery().await;
    engine
}

pub(crate) fn handed(
    builder: Builder,
    def: TaskDef<String, String>,
    entering: &mpsc::UnboundedSender<Turn>,
) -> Builder {
    let entering = entering.clone();
    builder.task(def, move |ctx: Ctx, input: String| {
        let entering = entering.clone();
        async move {
            let (end, ended) = oneshot::channel();
            let _ = entering.send(Turn { ctx, input, end });
            match ended.await {
                Ok(end) => end,
                // The test forgot the turn, so it never ends.
                Err(_) => std::future::pending().await,
            }
        }
    })
}

/// The answer; a caller that is never answered fails here instead of hanging.
pub(crate) async fn in_time<T>(waiting: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(NEVER, waiting);
    waited.await.expect("an answer")
}

/// The output an input is answered with.
pub(crate) async fn output(run: &Run<String>) -> String {
    in_time(run.result()).await.expect("an output")
}

pub(crate) fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}
