//! Kills a server that 64 connections write to at full speed while 32 readers follow it: `http_load [STARTS] [LIFE_MS]`.
//!
//! It goes on until so many starts (2,000) were acknowledged; each life of the server is at most so long (1,500 ms). Then
//! each acknowledged task must have ended as it must, and each reader must have seen everything once.
//! `OUTLIVE_SEED` repeats the moments of an earlier run, as far as the system's scheduling lets it.

use outlive_tests::chance::Chance;
use outlive_tests::http::Client;
use outlive_tests::load::{self, Acknowledged, Followed, MARKER, Shared, Written};
use serde_json::json;
use std::env;
use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

/// Where the child finds its directory.
const DIRECTORY: &str = "OUTLIVE_LOAD_DIRECTORY";
const WRITERS: u64 = 64;
/// Readers of the transitions of the whole store.
const OF_EVENTS: usize = 8;
/// Readers of streams, one task each.
const OF_STREAMS: usize = 24;
const STARTS_DEFAULT: u64 = 2_000;
const LIFE_MAX_MS: u64 = 1_500;
const LIFE_MIN_MS: u64 = 200;

type Failed = Box<dyn Error + Send + Sync>;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<ExitCode, Failed> {
    if let Some(directory) = env::var_os(DIRECTORY) {
        load::child::live(Path::new(&directory)).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let number = |at: usize, default: u64| match env::args().nth(at) {
        Some(given) => given.parse(),
        None => Ok(default),
    };
    let (starts, life_max_ms) = (number(1, STARTS_DEFAULT)?, number(2, LIFE_MAX_MS)?);
    let seed = match env::var("OUTLIVE_SEED") {
        Ok(seed) => seed.parse()?,
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64,
    };
    println!("seed {seed}");
    let directory = tempfile::tempdir()?;
    let (server, address) = serve(directory.path()).await?;
    let shared = Arc::new(Shared::new(address, starts));
    let client = Client::new(address);
    for n in 0..OF_STREAMS {
        let body = json!({"task": "ticks", "task_id": format!("t-{n}"), "input": null});
        client.post("/v1/tasks", body).await;
    }
    let mut readers = JoinSet::new();
    for _ in 0..OF_EVENTS {
        readers.spawn(load::events(Arc::clone(&shared)));
    }
    for n in 0..OF_STREAMS {
        readers.spawn(load::ticks(Arc::clone(&shared), format!("t-{n}")));
    }
    let began = Instant::now();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        writers.spawn(load::write(Arc::clone(&shared), writer));
    }
    let chance = Chance(seed);
    let killed = kill(&shared, directory.path(), server, chance, life_max_ms).await;
    let (server, kills) = killed?;
    let written = writers.join_all().await;
    let wrote_for = began.elapsed();
    let verified = verified(&shared, &written).await;
    for n in 0..OF_STREAMS {
        client
            .post(&format!("/v1/tasks/t-{n}/cancel"), json!({}))
            .await;
    }
    let marker = json!({"task": "work", "task_id": MARKER, "input": 0});
    client.post("/v1/tasks", marker).await;
    let followed = readers.join_all().await;
    ended(server).await?;
    judge(&shared, &written, &followed);
    Ok(report(
        &shared,
        &written,
        &followed,
        (kills, verified),
        wrote_for,
    ))
}

/// Runs the server, and waits until it listens.
async fn serve(directory: &Path) -> Result<(Child, SocketAddr), Failed> {
    let mut command = Command::new(env::current_exe()?);
    command
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let mut server = command.spawn()?;
    let says = server.stdout.take().ok_or("the server has no output")?;
    let line = BufReader::new(says).lines().next_line().await?;
    let address = line.ok_or("the server ended before it listened")?.parse()?;
    Ok((server, address))
}

/// Kills the server again and again until there are enough starts. The last one lives.
async fn kill(
    shared: &Shared,
    directory: &Path,
    mut server: Child,
    mut chance: Chance,
    life_max_ms: u64,
) -> Result<(Child, u64), Failed> {
    let mut kills = 0;
    loop {
        let life = LIFE_MIN_MS + chance.below(life_max_ms.saturating_sub(LIFE_MIN_MS));
        tokio::time::sleep(Duration::from_millis(life)).await;
        if shared.is_enough() {
            return Ok((server, kills));
        }
        server.kill().await?;
        kills += 1;
        server = serve(directory).await?.0;
    }
}

/// Tells the server to end, and waits until it has, in order.
async fn ended(mut server: Child) -> Result<(), Failed> {
    let pid = server
        .id()
        .and_then(|id| rustix::process::Pid::from_raw(id as i32));
    rustix::process::kill_process(pid.ok_or("no process")?, rustix::process::Signal::TERM)?;
    let status = server.wait().await?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("the server ended badly: {status}").into()),
    }
}

/// How many of the acknowledged tasks are there and ended as they must.
async fn verified(shared: &Arc<Shared>, written: &[Written]) -> u64 {
    let mut asks = JoinSet::new();
    for written in written {
        let acknowledged = written.acknowledged.clone();
        asks.spawn(load::verify(Arc::clone(shared), acknowledged));
    }
    asks.join_all().await.into_iter().sum()
}

/// Each reader of transitions saw each acknowledged task begin and end.
fn judge(shared: &Shared, written: &[Written], followed: &[Followed]) {
    let all: Acknowledged = written
        .iter()
        .flat_map(|one| one.acknowledged.clone())
        .collect();
    for reader in followed.iter().filter(|reader| !reader.started.is_empty()) {
        let missed = all
            .keys()
            .find(|id| !reader.started.contains(*id) || !reader.succeeded.contains(*id));
        if let Some(id) = missed {
            shared.violation(format!("a reader has not seen all of {id}"));
        }
    }
}

fn report(
    shared: &Shared,
    written: &[Written],
    followed: &[Followed],
    (kills, verified): (u64, u64),
    wrote_for: Duration,
) -> ExitCode {
    let violations = shared.violations();
    for what in &violations {
        println!("violation: {what}");
    }
    let mut took: Vec<Duration> = written.iter().flat_map(|one| one.took.clone()).collect();
    took.sort();
    let at = |share: usize| {
        took.get(took.len() * share / 100)
            .copied()
            .unwrap_or_default()
    };
    let acknowledged = shared.acknowledged();
    let again: u64 = written.iter().map(|one| one.again).sum();
    let events: u64 = followed.iter().map(|one| one.events).sum();
    let broken: u64 = followed.iter().map(|one| one.broken).sum();
    println!(
        "http_load: {WRITERS} connections, {} readers, {kills} kills in {:.1} s: {acknowledged} starts acknowledged, {} \
         lost, {again} sent again; {events} events read over {broken} broken connections, none missing or twice; p50 \
         {:.1} ms, p99 {:.1} ms; {} violations",
        OF_EVENTS + OF_STREAMS,
        wrote_for.as_secs_f64(),
        acknowledged - verified,
        at(50).as_secs_f64() * 1000.0,
        at(99).as_secs_f64() * 1000.0,
        violations.len(),
    );
    // A server that nothing happened to shows nothing.
    if kills == 0 {
        println!("nothing was killed: ask for more starts, or for shorter lives");
    }
    match violations.is_empty() && verified == acknowledged && kills > 0 {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
