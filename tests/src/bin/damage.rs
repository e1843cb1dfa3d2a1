//! Damages a file again and again and requires that nothing wrong is ever told of it: `damage [N]`.
//!
//! Without an argument it is damaged 500 times. `OUTLIVE_SEED` repeats the damages of an earlier run, `OUTLIVE_TASKS` says
//! how many tasks the file has (400).

use outlive_tests::damage::campaign::Campaign;
use std::env;
use std::error::Error;
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

const DAMAGES_DEFAULT: u64 = 500;
const TASKS_DEFAULT: usize = 400;
/// Noteworthy damages that are printed.
const PRINTED_MAX: usize = 60;

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
    let campaign = Campaign::new(tasks);
    let began = Instant::now();
    let counts = campaign.run(damages, seed);
    for example in counts.examples.iter().take(PRINTED_MAX) {
        println!("{}", example.chars().take(1200).collect::<String>());
    }
    println!("{:.1} s", began.elapsed().as_secs_f64());
    println!("{counts}");
    if counts.is_good() {
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}
