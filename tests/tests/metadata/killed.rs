//! What a flush acknowledged is there after a real kill.

use crate::{TASK, in_time};
use outlive::{Ctx, Engine, Entry, HandlerError};
use outlive_tests::process::{self, Other};
use std::path::Path;

/// Flushes before it says a number, one after the other; what it finds when it is recovered is its output.
async fn open(path: &Path) -> Engine {
    let builder = Engine::builder(path).task(TASK, |ctx: Ctx, _| async move {
        let metadata = ctx.metadata();
        if let Entry::Recovered { .. } = ctx.entry() {
            return Ok(metadata.get("n")?.unwrap_or(0));
        }
        loop {
            let n = metadata.increment("n", 1)?;
            ctx.flush_metadata().await?;
            // A flush that is not told to anybody may be lost; this one is told.
            process::say(&n.to_string());
        }
        #[allow(unreachable_code)] // It says what the loop never returns.
        Ok::<u32, HandlerError>(0)
    });
    builder.open().await.unwrap()
}

/// Not a test of its own: the process that is killed between two flushes, or in one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(path) = process::path() else {
        return;
    };
    let engine = open(&path).await;
    engine.start(TASK, "a", &1).await.unwrap();
    process::wait_for_end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_flush_that_returned_is_lost_to_a_kill() {
    for round in 0..3 {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tasks.redb");
        let mut killed = Other::test("killed::child", &path);
        let mut told = 0;
        while told < 5 + round * 10 {
            told = killed.word().expect("it runs").parse().unwrap();
        }
        killed.kill();

        let engine = open(&path).await;
        let run = engine.attach(TASK, "a").await.unwrap();
        let found = in_time(run.result()).await.unwrap();
        assert!(found >= told, "round {round}: told {told}, found {found}");
        engine.shutdown(std::time::Duration::from_secs(1)).await;
    }
}
