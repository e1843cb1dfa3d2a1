//! The server that is killed: at the address of its former life, on the file of it.

use outlive::{Ctx, Engine, HandlerError, TaskDef};
use outlive_server::{Server, Settings};
use std::error::Error;
use std::path::Path;
use std::time::Duration;

/// Answers with its input.
pub const WORK: TaskDef<u64, u64> = TaskDef::new("work").remote();
/// Emits numbers until it is cancelled.
pub const TICKS: TaskDef<(), (), u64> = TaskDef::new("ticks").remote();

/// The file in which the address is kept.
const ADDRESS: &str = "address";
const TICK: Duration = Duration::from_millis(10);

async fn ticks(ctx: Ctx<u64>, (): ()) -> Result<(), HandlerError> {
    for n in 0.. {
        ctx.emit(n).await?;
        tokio::select! {
            biased;
            () = ctx.cancelled() => break,
            () = tokio::time::sleep(TICK) => {}
        }
    }
    Err(HandlerError::cancelled())
}

/// Says where it serves, on its output, and serves until it is killed or told to end.
///
/// # Errors
/// The first thing that failed.
pub async fn live(directory: &Path) -> Result<(), Box<dyn Error + Send + Sync>> {
    let builder = Engine::builder(directory.join("tasks.redb"))
        .task(WORK, |_: Ctx, n| async move { Ok::<u64, HandlerError>(n) })
        .task(TICKS, ticks);
    let engine = builder.open().await?;
    let file = directory.join(ADDRESS);
    let listen = std::fs::read_to_string(&file);
    let listen = listen.unwrap_or_else(|_| "127.0.0.1:0".to_owned());
    let settings =
        Settings::resolve_with([("listen", listen), ("streams", "64".into())], |_| None)?;
    let server = Server::bind(engine, &settings).await?;
    let address = server.addresses()[0].to_string();
    std::fs::write(&file, &address)?;
    println!("{address}");
    let mut ends = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    server.run(async { _ = ends.recv().await }).await;
    Ok(())
}
