//! A file with tasks in every state, looked at by itself or through a server of this process.

use crate::program::{Ran, run};
use outlive::{Ask, Builder, Ctx, Engine, HandlerError, Reply, ShutdownReport, TaskDef};
use outlive_server::{Listen, Server, Settings};
use outlive_tests::http::Client;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) type Raw = Box<RawValue>;

/// Answers with the very bytes it was given.
pub(crate) const BYTES: TaskDef<Raw, Raw> = TaskDef::new("bytes").remote();
/// Does what its input says.
pub(crate) const WORK: TaskDef<Act, String, Raw> = TaskDef::new("work").remote();
/// Nobody starts it from outside.
pub(crate) const HIDDEN: TaskDef<(), ()> = TaskDef::new("hidden");

/// Text that takes over a terminal, wherever it is shown as it is.
pub(crate) const HOSTILE: &str = "a\u{1b}[2J\u{1b}]0;owned\u{7}\r\u{9b}31m\u{202e}b";

/// What a turn does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Act {
    Say(String),
    Fail(String),
    Suspend(String),
    Ask(String),
    Emit(u64),
    /// Ends when it is told to.
    Hold,
}

async fn work(ctx: Ctx<Raw>, act: Act) -> Result<Reply<String>, HandlerError> {
    match act {
        Act::Say(text) => Ok(Reply::from(text)),
        Act::Fail(message) => Err(HandlerError::terminal(message)),
        Act::Suspend(reason) => Ok(Reply::suspend(String::from("so far"), reason)),
        Act::Ask(question) => {
            let agreed: bool = ctx.ask("agree", Ask::new(question)).await?;
            Ok(Reply::from(agreed.to_string()))
        }
        Act::Emit(to) => {
            for n in 1..=to {
                ctx.emit(RawValue::from_string(format!("{{\"n\": {n}.0}}"))?)
                    .await?;
            }
            Ok(Reply::from(String::new()))
        }
        Act::Hold => {
            ctx.cancelled().await;
            Err(HandlerError::cancelled())
        }
    }
}

/// The program whose tasks these are.
pub(crate) fn tasks(path: &Path) -> Builder {
    let builder = Engine::builder(path).owner("program");
    builder
        .task(BYTES, |_: Ctx, bytes| async move {
            Ok::<Raw, HandlerError>(bytes)
        })
        .task(WORK, work)
        .task(
            HIDDEN,
            |_: Ctx, ()| async move { Ok::<(), HandlerError>(()) },
        )
}

pub(crate) fn raw(text: &str) -> Raw {
    RawValue::from_string(text.to_owned()).expect("JSON")
}

/// A directory with a file of tasks.
pub(crate) struct World {
    directory: TempDir,
}

impl World {
    /// With nothing in it.
    pub(crate) fn empty() -> World {
        World {
            directory: tempfile::tempdir().expect("a directory"),
        }
    }

    /// With tasks of which none goes on by itself.
    pub(crate) async fn filled() -> World {
        let world = World::empty();
        let engine = tasks(&world.path()).open().await.expect("it opens");
        let output = raw(r#"{"b": 1.50, "a": "\u001b"}"#);
        let done = engine.start(BYTES, "done-1", &output).title(HOSTILE);
        done.await
            .expect("started")
            .outcome()
            .await
            .expect("it ends");
        let act = |act: &Act, id: &'static str| engine.start(WORK, id, act);
        let bad = act(&Act::Fail(HOSTILE.into()), "bad-1")
            .await
            .expect("started");
        bad.outcome().await.expect_err("it fails");
        let chat = act(&Act::Suspend(HOSTILE.into()), "chat-1")
            .await
            .expect("started");
        chat.outcome().await.expect("it suspends");
        let emits = act(&Act::Emit(3), "emits").await.expect("started");
        emits.outcome().await.expect("it ends");
        act(&Act::Ask(HOSTILE.into()), "asks-1")
            .await
            .expect("started");
        while engine.asks().await.expect("asks").asks.is_empty() {
            tokio::task::yield_now().await;
        }
        let day = Duration::from_secs(86_400);
        for id in ["later-1", "later-2", "gone-1"] {
            let later = act(&Act::Say("late".into()), id).start_in(day);
            later
                .tag("team", "red")
                .session("s-1")
                .await
                .expect("started");
        }
        engine.cancel("gone-1", HOSTILE).await.expect("cancelled");
        engine.shutdown(Duration::ZERO).await;
        world
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("tasks.redb")
    }

    /// Calls the program on the file.
    pub(crate) async fn file(&self, args: &[&str]) -> Ran {
        run(self.directory(), args).await
    }

    /// Serves the file, with its handlers, at an address of this machine.
    pub(crate) async fn served(&self) -> Served {
        self.served_for(None).await
    }

    /// As [`World::served`], for those who have the token alone.
    pub(crate) async fn served_for(&self, token: Option<&str>) -> Served {
        let engine = tasks(&self.path()).open().await.expect("it opens");
        let token = token.map(str::to_owned);
        let settings = Settings::resolve_with([("listen", "127.0.0.1:0")], |name| {
            token.clone().filter(|_| name == "OUTLIVE_TOKEN")
        });
        let settings = settings.expect("settings");
        let server = Server::bind(engine.clone(), &settings)
            .await
            .expect("it listens");
        let Listen::Tcp(address) = server.addresses()[0].clone() else {
            panic!("an address");
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let run = server.run(async { drop(stopped.await) });
        Served {
            engine,
            url: format!("http://{address}"),
            client: Client::new(address),
            directory: self.directory().to_owned(),
            stop,
            served: tokio::spawn(run),
        }
    }
}

/// A file that is served.
pub(crate) struct Served {
    pub(crate) engine: Engine,
    pub(crate) url: String,
    pub(crate) client: Client,
    directory: PathBuf,
    stop: oneshot::Sender<()>,
    served: JoinHandle<ShutdownReport>,
}

impl Served {
    /// Calls the program with the server's address.
    pub(crate) async fn call(&self, args: &[&str]) -> Ran {
        let args = [&["--url", self.url.as_str()], args].concat();
        run(&self.directory, &args).await
    }

    pub(crate) async fn end(self) {
        drop(self.stop);
        self.served.await.expect("it ends");
    }
}
