//! Kills a working process again and again and requires that nothing it had acknowledged is lost: `kill_loop [KILLS]`.
//!
//! Without an argument `OUTLIVE_KILLS` says how often (50). `OUTLIVE_SEED` repeats the moments of an earlier run, as
//! far as the system's scheduling lets it.

use outlive_tests::chance::Chance;
use outlive_tests::kill::{child, oracle::Oracle};
use std::env;
use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where the child finds its directory; its life is in [`LIFE`].
const DIRECTORY: &str = "OUTLIVE_KILL_DIRECTORY";
const LIFE: &str = "OUTLIVE_KILL_LIFE";
/// The life that is not killed.
const LAST: &str = "last";

const KILLS_DEFAULT: u64 = 50;
/// From this many kills on, the shares below must be reached.
const KILLS_FOR_SHARES: u64 = 50;
const WITH_HANDLER_PERCENT: u64 = 50;
const BETWEEN_PERCENT: u64 = 5;
/// The longest life, counted from the end of its listing.
const LIFE_MAX_MS: u64 = 150;
/// Every so many lives one is killed while it opens, this many milliseconds after it was born at the latest.
const EARLY_EVERY: u64 = 8;
const EARLY_MAX_MS: u64 = 30;
/// A process that says nothing for so long hangs.
const SILENCE_MAX: Duration = Duration::from_secs(30);

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
                child::finish(directory.into(), u64::MAX).await?;
            } else {
                child::live(directory.into(), life.parse()?).await?;
            }
            Ok(ExitCode::SUCCESS)
        });
    }
    let kills = match env::args()
        .nth(1)
        .or_else(|| env::var("OUTLIVE_KILLS").ok())
    {
        Some(kills) => kills.parse()?,
        None => KILLS_DEFAULT,
    };
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
    };
    parent.run(kills)
}

struct Parent<'a> {
    directory: &'a Path,
    oracle: Oracle,
    /// How much of the log the oracle has seen.
    log_read: u64,
    chance: Chance,
}

impl Parent<'_> {
    fn run(&mut self, kills: u64) -> Result<ExitCode, Failed> {
        let began = Instant::now();
        for life in 0..kills {
            self.one_life(life)?;
            if self.oracle.counts.violations() > 0 {
                println!("a violation in life {life}; the run ends here");
                break;
            }
        }
        let killed_for = began.elapsed();
        if self.oracle.counts.violations() == 0 {
            self.last_life()?;
        }
        let bytes = std::fs::metadata(child::file(self.directory))?.len();
        Ok(self.report(killed_for, bytes))
    }

    /// Runs a process, checks what it finds, and kills it.
    fn one_life(&mut self, life: u64) -> Result<(), Failed> {
        let mut process = self.spawn(&life.to_string())?;
        if life % EARLY_EVERY == EARLY_EVERY - 1 {
            thread::sleep(Duration::from_micros(
                self.chance.below(EARLY_MAX_MS * 1000),
            ));
        } else {
            let listed = self.section(&mut process)?;
            self.oracle.listed(&listed);
            thread::sleep(Duration::from_micros(self.chance.below(LIFE_MAX_MS * 1000)));
        }
        if let Some(status) = process.child.try_wait()? {
            self.oracle
                .wrong(&format!("life {life} ended by itself: {status}"));
        }
        process.child.kill()?;
        process.child.wait()?;
        self.read_log()?;
        self.oracle.killed();
        Ok(())
    }

    /// Lets a process end everything.
    fn last_life(&mut self) -> Result<(), Failed> {
        let mut process = self.spawn(LAST)?;
        let listed = self.section(&mut process)?;
        self.oracle.listed(&listed);
        let ended = self.section(&mut process)?;
        self.oracle.finished(&ended);
        self.oracle.ended(&ended);
        let status = process.child.wait()?;
        if !status.success() {
            self.oracle
                .wrong(&format!("the last life ended with {status}"));
        }
        self.read_log()
    }

    fn spawn(&self, life: &str) -> Result<Process, Failed> {
        let mut child = Command::new(env::current_exe()?)
            .env(DIRECTORY, self.directory)
            .env(LIFE, life)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let says = child.stdout.take().ok_or("the child has no output")?;
        let (sender, lines) = mpsc::channel();
        // Ends with the process.
        thread::spawn(move || {
            let lines = BufReader::new(says).lines();
            lines
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        Ok(Process { child, says: lines })
    }

    /// What the process says up to the next empty line.
    fn section(&mut self, process: &mut Process) -> Result<Vec<String>, Failed> {
        let mut lines = Vec::new();
        loop {
            match process.says.recv_timeout(SILENCE_MAX) {
                Ok(line) if line.is_empty() => return Ok(lines),
                Ok(line) => lines.push(line),
                Err(silent) => {
                    self.oracle
                        .wrong(&format!("a process did not say all it had to: {silent}"));
                    process.child.kill()?;
                    return Ok(lines);
                }
            }
        }
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

    fn report(&self, killed_for: Duration, bytes: u64) -> ExitCode {
        let counts = self.oracle.counts;
        println!(
            "{:.1} s of kills, file {:.1} MiB, {} handlers recovered, {} of {} unanswered starts were in the file, {} wrong",
            killed_for.as_secs_f64(),
            bytes as f64 / 1_048_576.0,
            counts.recovered,
            counts.unanswered_kept,
            counts.unanswered,
            counts.wrong
        );
        println!(
            "{} kills, {} with a handler running, {} between send and answer, {} acknowledged, {} lost, {} doubled, {} generation reuses",
            counts.kills,
            counts.with_handler,
            counts.between,
            counts.acknowledged,
            counts.lost,
            counts.doubled,
            counts.reused
        );
        let share = |part: u64, percent: u64| part * 100 >= counts.kills * percent;
        let telling = counts.kills < KILLS_FOR_SHARES
            || share(counts.with_handler, WITH_HANDLER_PERCENT)
                && share(counts.between, BETWEEN_PERCENT);
        if !telling {
            println!("too few kills hit something: the run proves nothing");
        }
        if counts.violations() > 0 || !telling {
            return ExitCode::FAILURE;
        }
        ExitCode::SUCCESS
    }
}

struct Process {
    child: Child,
    says: mpsc::Receiver<String>,
}
