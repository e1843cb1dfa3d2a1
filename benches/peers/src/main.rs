//! outlive beside the other embedded engines, and beside redb alone: the same work, interleaved in rounds of one run.
//!
//! The work is a task that does nothing, from start to durable completion, for 1, 64 and 512 callers, each with one task
//! under way. Every measurement is a process of its own on a new file; in each round all of them take turns, because
//! only ratios of one interleaved run mean anything. One command, about three minutes after the build:
//!
//! ```sh
//! # Needs a C compiler and the headers of OpenSSL. Names choose peers: outlive effectum durare duroxide apalis-sqlite raw
//! cargo run --release --manifest-path benches/peers/Cargo.toml
//! ```
//!
//! It prints two tables in Markdown and the settings in force. `OUTLIVE_BENCH_SECONDS` is the length of one measurement,
//! `OUTLIVE_BENCH_DIR` chooses the disk. A peer whose program does not build, or that does not answer, is told as such.

mod own;
mod programs;
mod report;

use outlive_benches::callers::Load;
use outlive_benches::numbers::median;
use outlive_benches::{Failed, disk, host};
use outlive_peers::{Case, Told, measure};
use programs::Programs;
use std::fs::File;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

const ROUNDS: usize = 5;
const CALLERS: [usize; 3] = [1, 64, 512];
/// How long a process may take beyond its measurement: a peer that does not answer within is stopped.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the rounds saw of one peer, for each number of callers.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    peer: &'static str,
    seen: [Vec<Told>; CALLERS.len()],
    /// Why a measurement is missing.
    missing: Option<String>,
}

fn main() -> ExitCode {
    let ran = match Case::from_arguments() {
        Ok(Some(case)) => own(&case),
        // Names of peers are no case.
        Ok(None) | Err(_) => every_peer(),
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            eprintln!("{failed}");
            ExitCode::FAILURE
        }
    }
}

/// Measures one of the two that are part of this program.
fn own(case: &Case) -> Result<(), Failed> {
    let told = match case.peer.as_str() {
        "raw" => own::raw(case)?,
        _ => tokio::runtime::Runtime::new()?.block_on(measure::<own::Outlive>(case))?,
    };
    print!("{told}");
    Ok(())
}

fn every_peer() -> Result<(), Failed> {
    let programs = Programs::build(&std::env::args().skip(1).collect::<Vec<_>>())?;
    let measured = host::measurement();
    let mut peers: Vec<_> = programs
        .peers()
        .map(|peer| Rounds {
            peer,
            missing: programs.unbuilt(peer),
            ..Rounds::default()
        })
        .collect();
    let mut syncs_ms = Vec::new();
    for round in 0..ROUNDS {
        let directory = tempfile::tempdir_in(host::directory())?;
        syncs_ms.push(median(disk::syncs_ms(directory.path(), measured / 4)?));
        for (at, callers) in CALLERS.into_iter().enumerate() {
            // Each round begins with another one, so that a drift of the machine favours none.
            for turn in 0..peers.len() {
                let count = peers.len();
                let rounds = &mut peers[(round + turn) % count];
                if rounds.missing.is_none() {
                    match one(&programs, rounds.peer, callers, measured) {
                        Ok(told) => rounds.seen[at].push(told),
                        Err(failed) => rounds.missing = Some(failed.to_string()),
                    }
                }
            }
        }
        eprintln!("round {} of {ROUNDS}", round + 1);
    }
    report::print(&peers, &programs, median(syncs_ms), measured);
    Ok(())
}

/// One measurement, in a process and a directory of its own.
fn one(
    programs: &Programs,
    peer: &'static str,
    callers: usize,
    measured: Duration,
) -> Result<Told, Failed> {
    let directory = tempfile::tempdir_in(host::directory())?;
    let case = Case {
        peer: peer.to_owned(),
        load: Load {
            callers,
            warm_up: measured / 5,
            measured,
        },
        directory: directory.path().to_owned(),
    };
    let printed = directory.path().join("printed");
    let errors = directory.path().join("errors");
    let mut process = Command::new(programs.path(peer))
        .args(case.arguments())
        .stdout(File::create(&printed)?)
        .stderr(File::create(&errors)?)
        .spawn()?;
    let end = Instant::now() + case.load.warm_up + measured + PATIENCE;
    let ended = loop {
        if let Some(ended) = process.try_wait()? {
            break ended;
        }
        if Instant::now() > end {
            process.kill()?;
            process.wait()?;
            return Err(format!("no answer within {PATIENCE:?} at {callers} callers").into());
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    if !ended.success() {
        return Err(format!("{ended} at {callers} callers: {}", last_line(&errors)).into());
    }
    std::fs::read_to_string(printed)?.parse()
}

fn last_line(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().last().unwrap_or_default().to_owned()
}
