//! Damages a file again and again and requires that nothing wrong is ever told of it: `damage [N]`.
//!
//! Without an argument it is damaged 500 times. `OUTLIVE_SEED` repeats the damages of an earlier run, `OUTLIVE_TASKS` says
//! how many tasks the file has (400). `OUTLIVE_WORLD` is a directory in which the file is kept, and from which it is taken when
//! it is there; `OUTLIVE_ONLY` does the damage of this number alone, as it was done in a run of the same seed and file.

use outlive_tests::damage::campaign::Campaign;
use std::env;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

const DAMAGES_DEFAULT: u64 = 500;
const TASKS_DEFAULT: usize = 400;
/// Noteworthy damages that are printed.
const PRINTED_MAX: usize = 400;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let damages = env::args()
        .nth(1)
        .map_or(Ok(DAMAGES_DEFAULT), |n| n.parse())?;
    let seed = match env::var("OUTLIVE_SEED") {
        Ok(seed) => seed.parse()?,
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64,
    };
    let tasks = env::var("OUTLIVE_TASKS").map_or(Ok(TASKS_DEFAULT), |n| n.parse())?;
    println!("seed {seed}");
    let only: Option<u64> = match env::var("OUTLIVE_ONLY") {
        Ok(only) => Some(only.parse()?),
        Err(_) => None,
    };
    let place = env::var_os("OUTLIVE_WORLD").map(PathBuf::from);
    let campaign = Campaign::kept(tasks, place.as_deref());
    let began = Instant::now();
    let numbers = only.map_or(0..damages, |only| only..only + 1);
    let mut printed = 0;
    let counts = campaign.run(numbers, seed, |example| {
        printed += 1;
        if printed <= PRINTED_MAX {
            println!("{}", example.chars().take(1200).collect::<String>());
        }
    });
    println!("{:.1} s", began.elapsed().as_secs_f64());
    println!("{counts}");
    if counts.is_good() {
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}
