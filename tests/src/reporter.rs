//! A program whose tasks emit one item with each recorded step, served at one address in all its lives: to be killed while
//! somebody follows it.

use crate::process::{self, Other};
use outlive::{Ctx, Engine, HandlerError, StepOptions, TaskDef};
use outlive_server::{Listen, Server, Settings};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// The file in which the address is kept from one life to the next.
const ADDRESS: &str = "address";

/// Reports so many steps, by their numbers from 1.
pub const REPORT: TaskDef<u64, u64, u64> = TaskDef::new("report").remote();

async fn report(ctx: Ctx<u64>, steps: u64, pause: Duration) -> Result<u64, HandlerError> {
    for n in 1..=steps {
        let step = ctx.step_with(("part", n), StepOptions::new(), async |step| {
            step.emit(n).await?;
            tokio::time::sleep(pause).await;
            Ok::<u64, HandlerError>(n)
        });
        step.await?;
    }
    Ok(steps)
}

/// Serves until it is killed, in the process that [`begun`] began, at the address of the life before; does nothing in any
/// other. Each step takes `pause`, so that there is something to kill.
///
/// # Panics
/// When it cannot serve.
pub async fn serve(pause: Duration) {
    let Some(directory) = process::path() else {
        return;
    };
    let handler = move |ctx, steps| report(ctx, steps, pause);
    let engine = Engine::builder(directory.join("tasks.redb")).task(REPORT, handler);
    let engine = engine.open().await.expect("the engine opens");
    let file = directory.join(ADDRESS);
    let before = std::fs::read_to_string(&file).ok();
    let listen = before.unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let settings = Settings::resolve_with([("listen", listen)], |_| None).expect("settings");
    let server = Server::bind(engine, &settings).await.expect("it listens");
    std::fs::write(&file, server.addresses()[0].to_string()).expect("it is written");
    process::say("serves");
    server.run(std::future::pending()).await;
}

/// Begins a life of the program in this directory, by the test of this name, which calls [`serve`]. It serves when this
/// returns.
///
/// # Panics
/// When it does not.
pub fn begun(test: &str, directory: &Path) -> (Other, SocketAddr) {
    let mut program = Other::test(test, directory);
    assert_eq!(program.word().as_deref(), Some("serves"));
    let address = std::fs::read_to_string(directory.join(ADDRESS)).expect("an address");
    match address.parse() {
        Ok(Listen::Tcp(address)) => (program, address),
        other => panic!("it serves at {other:?}"),
    }
}
