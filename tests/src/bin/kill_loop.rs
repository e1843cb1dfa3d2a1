//! Kills a working process again and again and requires that nothing it had acknowledged is lost: `kill_loop [KILLS]`.
//!
//! Each process has another one beside it that wants the same file: it must be refused, with the name of the one that has
//! the file, and gets it when that one is killed; also where that one is only stopped for a while. Without an argument
//! `OUTLIVE_KILLS` says how often (50). `OUTLIVE_SEED` repeats the moments of an earlier run, as far as the system's
//! scheduling lets it.

use outlive_tests::chance::Chance;
use outlive_tests::kill::{child, oracle::Oracle, owners::Watch};
use std::env;
use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where the child finds its directory; its life is in [`LIFE`].
const DIRECTORY: &str = "OUTLIVE_KILL_DIRECTORY";
const LIFE: &str = "OUTLIVE_KILL_LIFE";
/// What the life begins with that is not killed.
const LAST: &str = "last-";

const KILLS_DEFAULT: u64 = 50;
/// Kills on one file: then everything on it ends and is checked, and another one begins, so that a long run takes no
/// longer for each kill than a short one.
const KILLS_OF_A_FILE: u64 = 100;
/// From this many kills on, the shares below must be reached.
const KILLS_FOR_SHARES: u64 = 50;
const WITH_HANDLER_PERCENT: u64 = 50;
const BETWEEN_PERCENT: u64 = 5;
/// The longest life, counted from the end of its listing.
const LIFE_MAX_MS: u64 = 150;
/// Every so many lives one is killed while it opens, this many milliseconds after it could at the latest.
const EARLY_EVERY: u64 = 8;
const EARLY_MAX_MS: u64 = 30;
/// Every so many lives one is stopped for a while, and goes on.
const STOPPED_EVERY: u64 = 6;
/// How often the other process is refused the file meanwhile.
#[cfg(target_os = "linux")]
const REFUSED_MEANWHILE: usize = 3;
/// A process that says nothing for so long hangs. On a busy machine a turn may die often enough to be suspected, and is
/// then held back for as long as it takes to find out that it is innocent.
const SILENCE_MAX: Duration = Duration::from_secs(150);
#[cfg(target_os = "linux")]
const LOOK_EVERY: Duration = Duration::from_millis(1);

type Failed = Box<dyn Error + Send + Sync>;

fn main() -> Result<ExitCode, Failed> {
    if let Some(directory) = env::var_os(DIRECTORY) {
        let life = env::var(LIFE)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_time()
            .build()?;
        return runtime.block_on(async {
            match life.strip_prefix(LAST) {
                Some(life) => child::finish(directory.into(), life.parse()?).await?,
                None => child::live(directory.into(), life.parse()?).await?,
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
    let mut parent = Parent {
        directory: PathBuf::new(),
        oracle: Oracle::default(),
        watch: Watch::default(),
        owners_read: 0,
        chance: Chance(seed),
        life: 0,
        stopped: 0,
        largest: 0,
    };
    parent.run(kills)
}

struct Parent {
    directory: PathBuf,
    oracle: Oracle,
    watch: Watch,
    /// How much of the log of the owners was read.
    owners_read: u64,
    chance: Chance,
    /// The life that has the file, or is the next to have it.
    life: u64,
    /// How often a process was stopped for a while.
    stopped: u64,
    /// The largest file, in bytes.
    largest: u64,
}

impl Parent {
    fn run(&mut self, kills: u64) -> Result<ExitCode, Failed> {
        let began = Instant::now();
        let mut left = kills;
        while left > 0 && self.oracle.counts.violations() == 0 {
            let kills = left.min(KILLS_OF_A_FILE);
            left -= kills;
            let directory = tempfile::tempdir()?;
            self.directory = directory.path().to_owned();
            self.owners_read = 0;
            self.oracle.begins_anew();
            self.watch.begins_anew();
            self.file(kills)?;
            let bytes = std::fs::metadata(child::file(&self.directory))?.len();
            self.largest = self.largest.max(bytes);
        }
        Ok(self.report(began.elapsed()))
    }

    /// Kills so often on one file, then lets everything on it end.
    fn file(&mut self, kills: u64) -> Result<(), Failed> {
        let mut process = self.spawn(self.life, "")?;
        for killed in 1..=kills {
            let other = self.one_life(process, killed < kills)?;
            self.life += 1;
            if self.oracle.counts.violations() > 0 {
                println!("a violation in life {}; the run ends here", self.life - 1);
                return other.map_or(Ok(()), Process::end);
            }
            process = match other {
                Some(other) => other,
                None if killed < kills => self.spawn(self.life, "")?,
                None => break,
            };
        }
        self.last_life()?;
        self.life += 1;
        Ok(())
    }

    /// Checks what a process finds, and kills it. The one that waits for the file meanwhile, unless there is none.
    fn one_life(
        &mut self,
        mut process: Process,
        contended: bool,
    ) -> Result<Option<Process>, Failed> {
        let mut other = None;
        if self.life % EARLY_EVERY == EARLY_EVERY - 1 {
            self.sleep(EARLY_MAX_MS);
        } else {
            let listed = self.section(&mut process)?;
            self.oracle.listed(&listed);
            if contended {
                other = Some(self.spawn(self.life + 1, "")?);
            }
            self.sleep(LIFE_MAX_MS);
            if other.is_some() && self.life % STOPPED_EVERY == STOPPED_EVERY - 1 {
                #[cfg(target_os = "linux")]
                self.stop_and_go_on(&process)?;
                self.sleep(LIFE_MAX_MS / 2);
            }
        }
        if let Some(status) = process.child.try_wait()? {
            let what = format!("life {} ended by itself: {status}", self.life);
            self.oracle.wrong(&what);
        }
        self.read_owners()?;
        process.end()?;
        self.watch.dead(self.life);
        self.read_owners()?;
        self.read_log()?;
        self.oracle.killed();
        Ok(other)
    }

    /// Stops a process where it stands: it keeps the file, whoever wants it, and goes on afterwards.
    #[cfg(target_os = "linux")]
    fn stop_and_go_on(&mut self, process: &Process) -> Result<(), Failed> {
        process.signal(rustix::process::Signal::STOP)?;
        while !process.is_stopped()? {
            thread::sleep(LOOK_EVERY);
        }
        self.stopped += 1;
        let refused = self.watch.refusals_us.len() + REFUSED_MEANWHILE;
        let is_refused = |parent: &mut Parent| {
            parent.read_owners()?;
            Ok(parent.watch.refusals_us.len() >= refused)
        };
        self.until(
            is_refused,
            "the other process was not refused while one stood still",
        )?;
        let log = child::log(&self.directory, self.life);
        let before = std::fs::metadata(&log)?.len();
        process.signal(rustix::process::Signal::CONT)?;
        let goes_on = |_: &mut Parent| Ok(std::fs::metadata(&log)?.len() > before);
        self.until(goes_on, "a process that stood still did not go on")
    }

    #[cfg(target_os = "linux")]
    fn until(
        &mut self,
        is_so: impl Fn(&mut Parent) -> Result<bool, Failed>,
        else_wrong: &str,
    ) -> Result<(), Failed> {
        let began = Instant::now();
        while !is_so(self)? {
            if began.elapsed() > SILENCE_MAX {
                self.oracle.wrong(else_wrong);
                return Ok(());
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    fn sleep(&mut self, max_ms: u64) {
        thread::sleep(Duration::from_micros(self.chance.below(max_ms * 1000)));
    }

    /// Lets a process end everything.
    fn last_life(&mut self) -> Result<(), Failed> {
        let mut process = self.spawn(self.life, LAST)?;
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
        self.read_owners()?;
        self.watch.dead(self.life);
        self.read_log()
    }

    fn spawn(&mut self, life: u64, how: &str) -> Result<Process, Failed> {
        let mut child = Command::new(env::current_exe()?)
            .env(DIRECTORY, &self.directory)
            .env(LIFE, format!("{how}{life}"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        self.watch.born(life, child.id());
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

    fn read_owners(&mut self) -> Result<(), Failed> {
        let mut text = read_on(&child::owners(&self.directory), self.owners_read)?;
        // Of a line that crosses a page, the system may show the first part before the rest is written.
        text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
        self.owners_read += text.len() as u64;
        for wrong in self.watch.read(&text) {
            self.oracle.wrong(&wrong);
        }
        Ok(())
    }

    /// The log of a life that is over.
    fn read_log(&mut self) -> Result<(), Failed> {
        let text = read_on(&child::log(&self.directory, self.life), 0)?;
        self.oracle.read(&text);
        Ok(())
    }

    fn report(&mut self, took: Duration) -> ExitCode {
        let (counts, marks) = (self.oracle.counts, &self.oracle.marks);
        let refusals = &mut self.watch.refusals_us;
        refusals.sort_unstable();
        let at = |part: usize| refusals.get(part).copied().unwrap_or(0);
        println!(
            "{:.1} s, largest file {:.1} MiB, {} handlers recovered, {} of {} unanswered starts were in the file, {} wrong",
            took.as_secs_f64(),
            self.largest as f64 / 1_048_576.0,
            counts.recovered,
            counts.unanswered_kept,
            counts.unanswered,
            counts.wrong
        );
        println!(
            "{} steps recorded, {} items durable before their kill, {} streams read whole, {} answers acknowledged",
            marks.recorded, marks.durable, marks.streams, marks.answered
        );
        println!(
            "{} opens refused with the owner's process (median {} us, longest {} us), {} of {} files taken over from a killed owner, {} owners stopped for a while",
            refusals.len(),
            at(refusals.len() / 2),
            at(refusals.len().saturating_sub(1)),
            self.watch.taken_over,
            counts.kills,
            self.stopped
        );
        println!(
            "{} kills, {} with a handler running, {} between send and answer, {} acknowledged, {} lost, {} doubled, {} quarantined, {} suspected for a while, {} generation reuses",
            counts.kills,
            counts.with_handler,
            counts.between,
            counts.acknowledged,
            counts.lost,
            counts.doubled,
            counts.quarantined,
            counts.isolated,
            counts.reused
        );
        let share = |part: u64, percent: u64| part * 100 >= counts.kills * percent;
        let everything = [
            marks.recorded,
            marks.durable,
            marks.streams,
            marks.answered,
            self.watch.taken_over,
        ];
        let telling = counts.kills < KILLS_FOR_SHARES
            || share(counts.with_handler, WITH_HANDLER_PERCENT)
                && share(counts.between, BETWEEN_PERCENT)
                && everything.iter().all(|count| *count > 0)
                && (self.stopped > 0 || !cfg!(target_os = "linux"));
        if !telling {
            println!("too few kills hit something: the run proves nothing");
        }
        if counts.violations() > 0 || !telling {
            return ExitCode::FAILURE;
        }
        ExitCode::SUCCESS
    }
}

/// A file from a place on; empty where there is none: a process killed before it opened its log has none.
fn read_on(path: &Path, from: u64) -> Result<String, Failed> {
    let mut text = String::new();
    let Ok(mut file) = File::open(path) else {
        return Ok(text);
    };
    file.seek(SeekFrom::Start(from))?;
    file.read_to_string(&mut text)?;
    Ok(text)
}

struct Process {
    child: Child,
    says: mpsc::Receiver<String>,
}

impl Process {
    /// Kills it.
    fn end(mut self) -> Result<(), Failed> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    #[cfg(target_os = "linux")]
    fn signal(&self, signal: rustix::process::Signal) -> Result<(), Failed> {
        let process = rustix::process::Pid::from_child(&self.child);
        Ok(rustix::process::kill_process(process, signal)?)
    }

    /// Whether the system says that it stands still.
    #[cfg(target_os = "linux")]
    fn is_stopped(&self) -> Result<bool, Failed> {
        let status = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let state = status.rsplit(')').next();
        Ok(state.is_some_and(|state| state.trim_start().starts_with('T')))
    }
}
