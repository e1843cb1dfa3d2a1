//! Crashes a whole engine after every call of its simulated disk, and requires that nothing acknowledged is lost:
//! `crash_sim [IMAGES]`, by default 100,000.
//!
//! A failure prints its seed and its point: `OUTLIVE_SEED=.. OUTLIVE_POINT=.. crash_sim` tries that image alone. Without a
//! point the whole history of the seed is tried. `OUTLIVE_FIRST` is the first seed, 1 where nothing is said: with what a
//! campaign prints as its last one, and one more, the next campaign goes on.

use outlive_tests::simdisk::run::{Counts, Share, history};
use parking_lot::Mutex;
use std::env;
use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

const IMAGES_DEFAULT: u64 = 100_000;

fn main() -> Result<ExitCode, Box<dyn Error + Send + Sync>> {
    let images = match env::args().nth(1) {
        Some(images) => images.parse()?,
        None => IMAGES_DEFAULT,
    };
    let mut share = Share::campaign(images);
    share.only = env::var("OUTLIVE_POINT").ok();
    let seed = match env::var("OUTLIVE_SEED") {
        Ok(seed) => Some(seed.parse()?),
        Err(_) => None,
    };
    let first = match env::var("OUTLIVE_FIRST") {
        Ok(first) => first.parse()?,
        Err(_) => 1,
    };
    let seeds = Arc::new(AtomicU64::new(first));
    let began = Instant::now();
    let counts = match seed {
        Some(seed) => history(seed, &share),
        None => campaign(images, &seeds, &share),
    };
    for what in &counts.shown {
        println!("VIOLATION {what}");
    }
    println!(
        "{:?}; {} writes, {} told, {} backups, {} compactions, {} images with a write nobody was told of, {} read as a whole, {:.0} s",
        counts.kinds,
        counts.writes,
        counts.facts,
        counts.backups,
        counts.compactions,
        counts.unanswered,
        counts.repaired,
        began.elapsed().as_secs_f64()
    );
    println!("{counts}");
    if seed.is_none() {
        println!("seeds {first} to {}", seeds.load(Ordering::Relaxed) - 1);
    }
    Ok(if counts.violations == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// These seeds one after the other, on each core, until there were so many images.
fn campaign(images: u64, seeds: &Arc<AtomicU64>, share: &Share) -> Counts {
    let total = Arc::new(Mutex::new(Counts::default()));
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let workers = (0..cores).map(|_| {
        let (total, seeds, share) = (Arc::clone(&total), Arc::clone(seeds), share.clone());
        thread::spawn(move || {
            while total.lock().images < images {
                let counts = history(seeds.fetch_add(1, Ordering::Relaxed), &share);
                total.lock().add(counts);
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        if worker.join().is_err() {
            total.lock().violated("a worker", "panicked");
        }
    }
    std::mem::take(&mut *total.lock())
}
