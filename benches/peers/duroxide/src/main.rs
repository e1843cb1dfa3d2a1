//! duroxide, told to sync each commit: it sets `PRAGMA synchronous = WAL`, which SQLite takes as NORMAL, and that syncs none
//! in WAL mode.
//!
//! It runs one orchestration at once and looks for the next every millisecond. With two at once some fail, because their
//! transactions read before they write: "database is locked". The caller waits with its own call, which looks after 5 ms,
//! 10 ms and so on up to 100 ms.

use duroxide::providers::TagFilter;
use duroxide::providers::sqlite::SqliteProvider;
use duroxide::runtime::registry::ActivityRegistry;
use duroxide::runtime::{Runtime, RuntimeOptions};
use duroxide::{Client, OrchestrationContext, OrchestrationRegistry, OrchestrationStatus};
use outlive_benches::Failed;
use outlive_peers::{Case, Peer, Pragmas, measure};
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// As many as its pool has, which cannot be told another number.
const CONNECTIONS: usize = 5;
/// How often it looks for work; its default is 100 ms.
const LOOK: Duration = Duration::from_millis(1);
/// Longer than a measurement: what is late or stalls is for [`measure`] to tell.
const WAIT: Duration = Duration::from_secs(600);
const NO_OP: &str = "no_op";

#[derive(Clone)]
struct Duroxide {
    client: Client,
    store: Arc<SqliteProvider>,
    numbers: Arc<AtomicU64>,
    _runtime: Arc<Runtime>,
}

/// Sets each connection of its pool to sync each commit, and reads back what is in force.
async fn sync_each_commit(store: &SqliteProvider) -> Result<String, Failed> {
    let pool = store.get_pool();
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(pool.acquire().await?);
    }
    let mut told = Vec::new();
    for connection in &mut connections {
        let full = sqlx::query("PRAGMA synchronous = FULL").execute(&mut **connection);
        full.await?;
        let journal = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut **connection);
        let journal = journal.await?;
        let level = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut **connection);
        told.push(Pragmas::new(journal, level.await?));
    }
    Ok(Pragmas::of_pool(&told))
}

impl Peer for Duroxide {
    async fn open(case: &Case) -> Result<Self, Failed> {
        let path = case.directory.join("duroxide.db");
        // It opens files, and makes none.
        File::create(&path)?;
        let url = format!("sqlite:{}", path.display());
        let store = Arc::new(SqliteProvider::new(&url, None).await?);
        sync_each_commit(&store).await?;
        let orchestrations = OrchestrationRegistry::builder()
            .register(NO_OP, |_: OrchestrationContext, input: String| async move {
                Ok(input)
            })
            .build();
        let options = RuntimeOptions {
            dispatcher_min_poll_interval: LOOK,
            orchestration_concurrency: 1,
            // There are no activities to look for.
            worker_concurrency: 1,
            worker_tag_filter: TagFilter::None,
            ..RuntimeOptions::default()
        };
        let activities = ActivityRegistry::builder().build();
        let runtime =
            Runtime::start_with_options(store.clone(), activities, orchestrations, options);
        Ok(Self {
            client: Client::new(store.clone()),
            _runtime: runtime.await,
            store,
            numbers: Arc::default(),
        })
    }

    async fn one(&self, _caller: usize) -> Result<(), Failed> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed).to_string();
        let started = self
            .client
            .start_orchestration(&number, NO_OP, number.clone());
        started.await?;
        match self.client.wait_for_orchestration(&number, WAIT).await? {
            OrchestrationStatus::Completed { .. } => Ok(()),
            other => Err(format!("{number} ended as {other:?}").into()),
        }
    }

    async fn settings(&self) -> Result<String, Failed> {
        let pragmas = sync_each_commit(&self.store).await?;
        let version =
            sqlx::query_scalar("SELECT sqlite_version()").fetch_one(self.store.get_pool());
        let version: String = version.await?;
        Ok(format!(
            "SQLite {version}, {pragmas}, one orchestration at once, looks for work every {LOOK:?}"
        ))
    }
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let case = Case::from_arguments()?.ok_or("it is run by `peers`")?;
    print!("{}", measure::<Duroxide>(&case).await?);
    Ok(())
}
