//! The two that need no other crate: outlive itself with default settings, and the store it is built on without it.

use outlive::{Ctx, Engine, HandlerError, TaskDef};
use outlive_benches::{Failed, process, raw};
use outlive_peers::{Case, Peer, Told, cpu};

const NO_OP: TaskDef<u32, u32> = TaskDef::new("no-op");

/// outlive, with default settings.
#[derive(Debug, Clone)]
pub(crate) struct Outlive(Engine);

impl Peer for Outlive {
    async fn open(case: &Case) -> Result<Self, Failed> {
        let engine = Engine::builder(case.directory.join("outlive.redb"))
            .task(NO_OP, |_: Ctx, input| async move {
                Ok::<_, HandlerError>(input)
            })
            .open()
            .await?;
        engine.recovery().await;
        Ok(Self(engine))
    }

    async fn one(&self, caller: usize) -> Result<(), Failed> {
        self.0.run(NO_OP, (), &(caller as u32)).await?;
        Ok(())
    }

    async fn settings(&self) -> Result<String, Failed> {
        Ok("redb 4, two commits per task, each one record of the journal and one sync, quick-repair on: all defaults".to_owned())
    }
}

/// redb alone: operations a second, as many in a commit as there are callers.
pub(crate) fn raw(case: &Case) -> Result<Told, Failed> {
    let (path, load) = (case.directory.join("raw.redb"), case.load);
    let began = cpu();
    let per_second =
        raw::operations_per_second(&path, load.callers as u64, load.warm_up, load.measured)?;
    let operations = per_second * (load.warm_up + load.measured).as_secs_f64();
    Ok(Told {
        per_second,
        cpu_us: (cpu() - began).as_secs_f64() * 1e6 / operations.max(1.0),
        peak_mib: process::now()?.peak_mib,
        settings: "redb 4, each commit synced, quick-repair on".to_owned(),
        ..Told::default()
    })
}
