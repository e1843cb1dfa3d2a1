//! A server on a free port of this machine, with the tasks of these tests.

use outlive::{Ask, Builder, Ctx, Engine, HandlerError, Reply, ShutdownReport, TaskDef};
use outlive_server::{Listen, Options, Server, Settings};
use outlive_tests::gate::Gate;
use outlive_tests::http::{Client, Event, Reply as Answer};
use outlive_tests::play::{Act, PLAY, Play};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::net::SocketAddr;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

type Raw = Box<RawValue>;

/// Does what its input says; takes further inputs.
pub(crate) const STEER: TaskDef<Act, String> = TaskDef::new("steer").steerable(2).remote();
/// Answers with the very bytes it was given.
pub(crate) const BYTES: TaskDef<Raw, Raw> = TaskDef::new("bytes").remote();
/// Nobody starts it from outside.
pub(crate) const HIDDEN: TaskDef<(), ()> = TaskDef::new("hidden");
/// Emits numbers.
pub(crate) const COUNT: TaskDef<Count, (), Raw> = TaskDef::new("count").remote();
/// Emits numbers, of which few are kept.
pub(crate) const FEW: TaskDef<Count, (), Raw> = TaskDef::new("few").keep_items(2).remote();
/// Asks before it goes on.
pub(crate) const ASKER: TaskDef<(), bool> = TaskDef::new("asker").remote();

/// What [`COUNT`] does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Count {
    /// Up to this number.
    pub(crate) to: u64,
    /// Then it waits at the gate, and emits as many once more.
    #[serde(default)]
    pub(crate) hold: bool,
    /// Bytes of each item beside its number.
    #[serde(default)]
    pub(crate) bytes: usize,
}

async fn count(ctx: Ctx<Raw>, count: Count, gate: Gate) -> Result<(), HandlerError> {
    let filling = "x".repeat(count.bytes);
    for n in 1..=count.to {
        emit(&ctx, n, &filling).await?;
    }
    if !count.hold {
        return Ok(());
    }
    gate.arrive();
    gate.pass().await;
    for n in count.to + 1..=count.to * 2 {
        emit(&ctx, n, &filling).await?;
    }
    Ok(())
}

async fn emit(ctx: &Ctx<Raw>, n: u64, filling: &str) -> Result<(), HandlerError> {
    // No other program would write a number so: it comes through as it is.
    let item = RawValue::from_string(format!("{{\"n\": {n}.0, \"x\":\"{filling}\"}}"))?;
    ctx.emit(item).await?;
    Ok(())
}

/// A server and what it serves.
pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) play: Play,
    pub(crate) client: Client,
    pub(crate) gate: Gate,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<ShutdownReport>,
    _directory: TempDir,
}

/// The tasks of these tests.
pub(crate) fn tasks(builder: Builder, play: &Play, gate: &Gate) -> Builder {
    let counting = |gate: Gate| move |ctx: Ctx<Raw>, input: Count| count(ctx, input, gate.clone());
    builder
        .task(PLAY.remote(), play.handler())
        .task(STEER, play.handler())
        .task(BYTES, |_: Ctx, value: Raw| async move {
            Ok::<_, HandlerError>(Reply::from(value))
        })
        .task(
            HIDDEN,
            |_: Ctx, ()| async move { Ok::<_, HandlerError>(()) },
        )
        .task(COUNT, counting(gate.clone()))
        .task(FEW, counting(gate.clone()))
        .task(ASKER, |ctx: Ctx, ()| async move {
            let ask = Ask::new("go on?").options([true, false]);
            Ok::<bool, HandlerError>(ctx.ask("may go", ask).await?)
        })
}

impl World {
    pub(crate) async fn open() -> World {
        World::with(Options::new(), &[]).await
    }

    /// With options, and settings over them.
    pub(crate) async fn with(options: Options, settings: &[(&str, &str)]) -> World {
        let directory = tempfile::tempdir().expect("a directory");
        let (play, gate) = (Play::default(), Gate::closed());
        let builder = Engine::builder(directory.path().join("tasks.redb"));
        let opened = tasks(builder, &play, &gate).open().await;
        let engine = opened.expect("the engine opens");
        // Before it a start waits behind what might have run before.
        engine.recovery().await;
        let mut flags = vec![("listen", "127.0.0.1:0")];
        flags.extend(settings);
        let settings = Settings::resolve_with(flags, |_| None).expect("the settings are right");
        let server = Server::bind_with(engine.clone(), &settings, options).await;
        let server = server.expect("the server listens");
        let address = address(&server);
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(server.run(async move { _ = stopped.await }));
        World {
            engine,
            play,
            client: Client::new(address),
            gate,
            stop: Some(stop),
            served,
            _directory: directory,
        }
    }

    /// Starts a task of the play.
    pub(crate) async fn play(&self, id: &str, act: Act) -> Answer {
        let body = serde_json::json!({"task": "play", "task_id": id, "input": act});
        self.client.post("/v1/tasks", body).await
    }

    /// Tells the server to end.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
    }

    /// Waits until it has.
    pub(crate) async fn stopped(mut self) -> ShutdownReport {
        self.stop();
        self.served.await.expect("the server ends")
    }
}

pub(crate) fn address(server: &Server) -> SocketAddr {
    match server.addresses().first() {
        Some(Listen::Tcp(address)) => *address,
        other => panic!("it listens at {other:?}"),
    }
}

/// The numbers of the items among events.
pub(crate) fn numbers(events: &[Event]) -> Vec<u64> {
    let items = events.iter().filter(|event| event.name == "item");
    let numbers = items.map(|event| event.json()["item"]["n"].as_f64());
    // Whole and small, as they were emitted.
    numbers.map(|n| n.expect("a number") as u64).collect()
}
