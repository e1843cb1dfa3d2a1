//! durare, over a pool that is told to sync each commit: its own has `synchronous` NORMAL, which syncs none in WAL mode.
//!
//! Otherwise the pool is set as durare sets its own. The caller awaits the workflow's task, which answers after the commit
//! of its result: nothing is polled.

use durare::{DurableContext, DurableEngine, SqliteProvider, WorkflowOptions};
use outlive_benches::Failed;
use outlive_peers::{Case, Peer, Pragmas, measure};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use std::sync::Arc;
use std::time::Duration;

/// As many as in the pool that it makes for itself.
const CONNECTIONS: u32 = 5;
/// As long as in the pool that it makes for itself.
const BUSY: Duration = Duration::from_secs(5);
const NO_OP: &str = "no_op";

#[derive(Clone)]
struct Durare {
    engine: Arc<DurableEngine>,
    pool: SqlitePool,
}

impl Peer for Durare {
    async fn open(case: &Case) -> Result<Self, Failed> {
        let options = SqliteConnectOptions::new()
            .filename(case.directory.join("durare.db"))
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY);
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS)
            .connect_with(options)
            .await?;
        let provider = Arc::new(SqliteProvider::from_pool(pool.clone()));
        let mut builder = DurableEngine::builder(provider);
        builder.register(
            NO_OP,
            |_: DurableContext, input: u32| async move { Ok(input) },
        );
        let engine = builder.build().await?;
        engine.launch().await?;
        Ok(Self {
            engine: Arc::new(engine),
            pool,
        })
    }

    async fn one(&self, caller: usize) -> Result<(), Failed> {
        let started =
            self.engine
                .start::<u32, u32>(NO_OP, caller as u32, WorkflowOptions::default());
        started.await?.await?;
        Ok(())
    }

    async fn settings(&self) -> Result<String, Failed> {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(self.pool.acquire().await?);
        }
        let mut told = Vec::new();
        for connection in &mut connections {
            let journal = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut **connection);
            let journal = journal.await?;
            let level = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut **connection);
            told.push(Pragmas::new(journal, level.await?));
        }
        let version = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&self.pool);
        // The pool has no connection to spare before those above are given back.
        drop(connections);
        let version: String = version.await?;
        Ok(format!("SQLite {version}, {}", Pragmas::of_pool(&told)))
    }
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let case = Case::from_arguments()?.ok_or("it is run by `peers`")?;
    print!("{}", measure::<Durare>(&case).await?);
    Ok(())
}
