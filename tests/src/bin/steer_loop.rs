//! Kills a program that steers tasks, and requires that each accepted input is consumed once and in order:
//! `steer_loop [INPUTS] [LIFE_MS]`.
//!
//! It goes on until so many inputs (2,000) were accepted, each process for so long at most (500 ms after its open); then one
//! process works off what waits and tells of each.
//! `OUTLIVE_SEED` repeats the moments of an earlier run, as far as the system's scheduling lets it.

use outlive_tests::chance::Chance;
use outlive_tests::steer::{child, oracle::Oracle};
use std::env;
use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where the child finds its directory; its life is in [`LIFE`].
const DIRECTORY: &str = "OUTLIVE_STEER_DIRECTORY";
const LIFE: &str = "OUTLIVE_STEER_LIFE";
/// The life that is not killed.
const LAST: &str = "last";

const INPUTS_DEFAULT: u64 = 2_000;
/// The longest life, counted from its open, unless the call says another.
const LIFE_MAX_MS: u64 = 500;
/// Every so many lives one is killed while it opens.
const EARLY_EVERY: u64 = 8;
const EARLY_MAX_MS: u64 = 30;
/// Lives without a further input: nothing goes on.
const IDLE_LIVES_MAX: u64 = 50;

type Failed = Box<dyn Error + Send + Sync>;

fn main() -> Result<ExitCode, Failed> {
    if let Some(directory) = env::var_os(DIRECTORY) {
        let life = env::var(LIFE)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_time()
            .build()?;
        return runtime.block_on(async {
            if life == LAST {
                child::finish(directory.into()).await?;
            } else {
                child::live(directory.into()).await?;
            }
            Ok(ExitCode::SUCCESS)
        });
    }
    let number = |at: usize, default: u64| match env::args().nth(at) {
        Some(given) => given.parse(),
        None => Ok(default),
    };
    let (inputs, life_max_ms) = (number(1, INPUTS_DEFAULT)?, number(2, LIFE_MAX_MS)?);
    let seed = match env::var("OUTLIVE_SEED") {
        Ok(seed) => seed.parse()?,
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64,
    };
    println!("seed {seed}");
    let directory = tempfile::tempdir()?;
    let mut parent = Parent {
        directory: directory.path(),
        oracle: Oracle::default(),
        log_read: 0,
        chance: Chance(seed),
        life_max_ms,
    };
    parent.run(inputs)
}

struct Parent<'a> {
    directory: &'a Path,
    oracle: Oracle,
    /// How much of the log the oracle has seen.
    log_read: u64,
    chance: Chance,
    life_max_ms: u64,
}

impl Parent<'_> {
    fn run(&mut self, inputs: u64) -> Result<ExitCode, Failed> {
        let began = Instant::now();
        let (mut kills, mut idle) = (0, 0);
        while self.oracle.counts.accepted < inputs && self.oracle.counts.violations() == 0 {
            let before = self.oracle.counts.accepted;
            self.one_life(kills)?;
            kills += 1;
            idle = if self.oracle.counts.accepted > before {
                0
            } else {
                idle + 1
            };
            if idle > IDLE_LIVES_MAX {
                return Err("no life accepts anything any more".into());
            }
        }
        let killed_for = began.elapsed();
        self.last_life()?;
        Ok(self.report(kills, killed_for))
    }

    /// Runs a process, and kills it.
    fn one_life(&mut self, life: u64) -> Result<(), Failed> {
        let mut process = self.spawn(&life.to_string())?;
        let says = process.stdout.take().ok_or("the child has no output")?;
        if life % EARLY_EVERY == EARLY_EVERY - 1 {
            thread::sleep(Duration::from_micros(
                self.chance.below(EARLY_MAX_MS * 1000),
            ));
        } else {
            let mut line = String::new();
            BufReader::new(says).read_line(&mut line)?;
            thread::sleep(Duration::from_micros(
                self.chance.below(self.life_max_ms * 1000),
            ));
        }
        if let Some(status) = process.try_wait()? {
            self.oracle
                .wrong(&format!("life {life} ended by itself: {status}"));
        }
        process.kill()?;
        process.wait()?;
        self.read_log()
    }

    /// Lets a process end everything.
    fn last_life(&mut self) -> Result<(), Failed> {
        let mut process = self.spawn(LAST)?;
        let says = process.stdout.take().ok_or("the child has no output")?;
        let lines: Vec<String> = BufReader::new(says).lines().collect::<Result<_, _>>()?;
        let status = process.wait()?;
        if !status.success() {
            self.oracle
                .wrong(&format!("the last life ended with {status}"));
        }
        self.oracle.finished(&lines);
        Ok(())
    }

    fn spawn(&self, life: &str) -> Result<Child, Failed> {
        let child = Command::new(env::current_exe()?)
            .env(DIRECTORY, self.directory)
            .env(LIFE, life)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        Ok(child)
    }

    fn read_log(&mut self) -> Result<(), Failed> {
        let mut text = String::new();
        // A process killed before it opened its log has none.
        let Ok(mut log) = File::open(child::log(self.directory)) else {
            return Ok(());
        };
        log.seek(SeekFrom::Start(self.log_read))?;
        log.read_to_string(&mut text)?;
        self.log_read += text.len() as u64;
        self.oracle.read(&text);
        Ok(())
    }

    fn report(&self, kills: u64, killed_for: Duration) -> ExitCode {
        let counts = self.oracle.counts;
        println!(
            "{:.1} s of kills; {} consumed as a turn's own, {} taken at a boundary, {} withdrawn, {} without an answer were there",
            killed_for.as_secs_f64(),
            counts.own,
            counts.taken,
            counts.withdrawn,
            counts.unanswered_kept,
        );
        println!(
            "{kills} kills, {} inputs accepted, {} lost, {} doubled, {} out of order, {} wrong",
            counts.accepted, counts.lost, counts.doubled, counts.disordered, counts.wrong
        );
        let telling = counts.own > 0 && counts.taken > 0 && counts.withdrawn > 0;
        if !telling {
            println!("not every way of an input was gone: the run proves nothing");
        }
        if counts.violations() > 0 || !telling {
            return ExitCode::FAILURE;
        }
        ExitCode::SUCCESS
    }
}
