//! Plays whole worlds by seed on all cores: `simulate [SEEDS]`, 10,000 unless told otherwise; `simulate SEEDS first` goes no
//! further than to the first world in which something is wrong.
//!
//! `OUTLIVE_SEED=n` plays the world of one seed and prints its story.

use outlive_tests::world::{Counts, Report, play};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// Worlds unless told otherwise.
const SEEDS: u64 = 10_000;

fn main() -> ExitCode {
    if let Some(seed) = std::env::var("OUTLIVE_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
    {
        let report = play(seed, true);
        println!("{}", report.text);
        return told(&[report]);
    }
    let seeds = std::env::args().nth(1).and_then(|seeds| seeds.parse().ok());
    let seeds = seeds.unwrap_or(SEEDS);
    let first = std::env::args().nth(2).is_some_and(|word| word == "first");
    let (next, found) = (AtomicU64::new(0), AtomicBool::new(false));
    let began = Instant::now();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let reports: Vec<Report> = std::thread::scope(|scope| {
        let played = || {
            let mut reports = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds || first && found.load(Ordering::Relaxed) {
                    return reports;
                }
                let report = play(seed, false);
                found.fetch_or(report.broken.is_some(), Ordering::Relaxed);
                reports.push(report);
            }
        };
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(played)).collect();
        let ended = threads.into_iter().map(|thread| thread.join());
        ended
            .flat_map(|reports| reports.expect("a world does not panic"))
            .collect()
    });
    println!(
        "{} worlds in {:.1} s",
        reports.len(),
        began.elapsed().as_secs_f64()
    );
    told(&reports)
}

/// One line for all, and one for each world in which something is wrong.
fn told(reports: &[Report]) -> ExitCode {
    let mut broken: Vec<_> = reports
        .iter()
        .filter(|report| report.broken.is_some())
        .collect();
    broken.sort_by_key(|report| report.seed);
    for report in &broken {
        let what = report.broken.as_deref().unwrap_or_default();
        println!("OUTLIVE_SEED={}: {what}", report.seed);
    }
    let counts = reports.iter().map(|report| report.counts);
    let counts = counts.fold(Counts::default(), Counts::and);
    println!(
        "{} seeds, {} steps, {} commits, {} entries, {} writes refused, {} answers lost, {} crashes, {} stops, {} acknowledged, {} unknown answers resolved, {} violations",
        reports.len(),
        counts.steps,
        counts.commits,
        counts.entries,
        counts.refused,
        counts.lost,
        counts.crashes,
        counts.stops,
        counts.acknowledged,
        counts.resolved,
        broken.len(),
    );
    if broken.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
