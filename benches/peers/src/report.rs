//! What the rounds saw, as Markdown: one table for the README, one with everything, and the settings in force.

use crate::programs::Programs;
use crate::{CALLERS, ROUNDS, Rounds};
use outlive_benches::host;
use outlive_benches::numbers::{grouped, median};
use outlive_peers::Told;
use std::time::Duration;

/// Operations that the raw store is given where a task has two: its start, and its completion.
const PER_TASK: f64 = 2.0;

pub(crate) fn print(peers: &[Rounds], programs: &Programs, sync_ms: f64, measured: Duration) {
    println!("{}", host::machine());
    println!("- command: `cargo run --release --manifest-path benches/peers/Cargo.toml`");
    println!(
        "- medians of {ROUNDS} interleaved rounds of {measured:?} each, each measurement a process of its own on a new file"
    );
    println!("- the disk's append of 4 KiB with fdatasync: p50 {sync_ms:.3} ms\n");
    summary(peers, programs);
    ratios(peers);
    details(peers);
    println!();
    for peer in peers {
        let settings = peer.seen.iter().flatten().next().map(|told| &told.settings);
        let settings = settings.map_or("nothing measured", |settings| settings);
        println!("- {}: {settings}", peer.peer);
        for (at, callers) in CALLERS.into_iter().enumerate() {
            let stalled = peer.seen[at].iter().filter(|told| told.stalled).count();
            if stalled > 0 {
                println!(
                    "  - **stalled** at {callers} callers in {stalled} of {} rounds: calls had no answer and were given up",
                    peer.seen[at].len()
                );
            }
        }
        if let Some(missing) = &peer.missing {
            println!("  - **not measured throughout**: {missing}");
        }
    }
}

/// For the README.
fn summary(peers: &[Rounds], programs: &Programs) {
    println!("| | tasks/s, 1 caller | 64 | 512 | p50 / p99 ms at 64 | CPU µs per task at 64 |");
    println!("|---|---:|---:|---:|---:|---:|");
    for peer in peers {
        let version = programs.version(peer.peer).unwrap_or_default();
        let name = if peer.is_raw() {
            format!("redb {version} alone, operations, of which a task is two")
        } else {
            format!("{} {version}", peer.peer)
        };
        let rates: Vec<_> = (0..CALLERS.len())
            .map(|at| peer.shown(at, |told| Some(told.per_second), grouped))
            .collect();
        println!(
            "| {name} | {} | {} | {} |",
            rates.join(" | "),
            peer.latencies(1),
            peer.shown(1, |told| Some(told.cpu_us), grouped),
        );
    }
}

/// outlive against each other one, as the median of the ratios of the rounds.
fn ratios(peers: &[Rounds]) {
    let Some(outlive) = peers.iter().find(|peer| peer.peer == "outlive") else {
        return;
    };
    println!("\n| outlive against | 1 | 64 | 512 |\n|---|---:|---:|---:|");
    for peer in peers.iter().filter(|peer| peer.peer != "outlive") {
        let factor = if peer.is_raw() { PER_TASK } else { 1.0 };
        let cells = (0..CALLERS.len()).map(|at| {
            let pairs = outlive.seen[at].iter().zip(&peer.seen[at]);
            let ratios: Vec<_> = pairs
                .map(|(own, other)| own.per_second * factor / other.per_second)
                .collect();
            if ratios.is_empty() {
                return "–".to_owned();
            }
            format!("{:.2}", median(ratios))
        });
        println!(
            "| {} | {} |",
            peer.peer,
            cells.collect::<Vec<_>>().join(" | ")
        );
    }
    println!(
        "\nA task is two durable operations; the raw store's are single ones, so against it two per task are counted."
    );
}

fn details(peers: &[Rounds]) {
    println!(
        "\n| | callers | tasks/s | lowest – highest | p50 ms | p99 ms | CPU µs per task | peak MiB |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|");
    for peer in peers {
        for (at, callers) in CALLERS.into_iter().enumerate() {
            let rates = || peer.seen[at].iter().map(|told| told.per_second);
            let lowest = rates().fold(f64::INFINITY, f64::min);
            let highest = rates().fold(0.0, f64::max);
            let span = if peer.seen[at].is_empty() {
                "–".to_owned()
            } else {
                format!("{} – {}", grouped(lowest), grouped(highest))
            };
            println!(
                "| {} | {callers} | {} | {span} | {} | {} | {} | {} |",
                peer.peer,
                peer.shown(at, |told| Some(told.per_second), grouped),
                peer.shown(at, |told| told.p50_ms, fine),
                peer.shown(at, |told| told.p99_ms, fine),
                peer.shown(at, |told| Some(told.cpu_us), grouped),
                peer.shown(at, |told| Some(told.peak_mib), grouped),
            );
        }
    }
}

fn fine(value: f64) -> String {
    format!("{value:.2}")
}

impl Rounds {
    fn is_raw(&self) -> bool {
        self.peer == "raw"
    }

    /// The median of a figure, or a dash where there is none: a round without one counts as the worst.
    fn shown(
        &self,
        at: usize,
        figure: impl Fn(&Told) -> Option<f64>,
        show: impl Fn(f64) -> String,
    ) -> String {
        let rounds = &self.seen[at];
        let middle = median(
            rounds
                .iter()
                .map(|told| figure(told).unwrap_or(f64::INFINITY)),
        );
        if rounds.is_empty() || middle.is_infinite() {
            return "–".to_owned();
        }
        show(middle)
    }

    fn latencies(&self, at: usize) -> String {
        let p50 = self.shown(at, |told| told.p50_ms, fine);
        let p99 = self.shown(at, |told| told.p99_ms, fine);
        format!("{p50} / {p99}")
    }
}
