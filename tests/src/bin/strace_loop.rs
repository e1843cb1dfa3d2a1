//! Kills a program exactly at its N-th call to the system, and lets its N-th call fail, for every N, by `strace`:
//! `strace_loop [EVERY]`.
//!
//! With an argument only each so many N are taken. Whatever happens, what was acknowledged is there afterwards, what was
//! refused is not, and what is unknown is settled by asking again with the same ids. Where there is no `strace`, or it may
//! not trace, the program says so and proves nothing.

use outlive_tests::kill::short::{self, Came, Place};
use outlive_tests::kill::{child, oracle::Oracle};
use std::env;
use std::error::Error;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::Instant;

/// Where the child finds its directory, and what it is to do.
const DIRECTORY: &str = "OUTLIVE_STRACE_DIRECTORY";
const PART: &str = "OUTLIVE_STRACE_PART";
const INLINE: &str = "inline";
const THREADS: &str = "threads";
const LAST: &str = "last";

/// How the short run says that it ended.
const THROUGH: i32 = 0;
const NOT_OPENED: i32 = 10;
const STORE_FAILED: i32 = 11;
const HANGS: i32 = 12;

/// How a program ends that could not be loaded: the call that failed was not its own.
const NOT_LOADED: i32 = 127;

/// Where the files go if it is there: a kill or an error is the same on any disk, and a sync takes no time here.
const MEMORY: &str = "/dev/shm";

/// A campaign that has not come to its end by then never will.
const CALLS_MAX: u64 = 5000;

type Failed = Box<dyn Error + Send + Sync>;

/// What becomes of the N-th call.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// The process is killed at it.
    Kill,
    /// It fails with this error.
    Error(&'static str),
    /// It fails with this error, and so do all later ones.
    ErrorFrom(&'static str),
}

/// All N of one call, one fault, and one way to run.
struct Campaign {
    part: &'static str,
    call: &'static str,
    fault: Fault,
    /// After the fault the process is killed at this call of another kind, if it comes to it.
    then: Option<(&'static str, u64)>,
}

const CAMPAIGNS: &[Campaign] = &[
    at(INLINE, "fdatasync", Fault::Kill),
    at(INLINE, "pwrite64", Fault::Kill),
    at(INLINE, "fsync", Fault::Kill),
    at(INLINE, "ftruncate", Fault::Kill),
    at(INLINE, "linkat", Fault::Kill),
    at(INLINE, "unlink", Fault::Kill),
    at(THREADS, "fdatasync", Fault::Kill),
    at(THREADS, "pwrite64", Fault::Kill),
    at(INLINE, "fdatasync", Fault::Error("EIO")),
    at(INLINE, "fsync", Fault::Error("EIO")),
    at(INLINE, "pwrite64", Fault::Error("EIO")),
    at(INLINE, "pread64", Fault::Error("EIO")),
    at(INLINE, "ftruncate", Fault::Error("ENOSPC")),
    at(INLINE, "fdatasync", Fault::ErrorFrom("EIO")),
    at(INLINE, "pwrite64", Fault::ErrorFrom("EIO")),
    at(INLINE, "pread64", Fault::ErrorFrom("EIO")),
    at(INLINE, "pwrite64", Fault::ErrorFrom("ENOSPC")),
    then(INLINE, "fdatasync", ("rename", 1)),
    // Two syncs are those of the creation.
    then(INLINE, "fdatasync", ("fsync", 3)),
    at(THREADS, "fdatasync", Fault::Error("EIO")),
    at(THREADS, "pwrite64", Fault::Error("EIO")),
    at(THREADS, "pwrite64", Fault::ErrorFrom("ENOSPC")),
];

const fn at(part: &'static str, call: &'static str, fault: Fault) -> Campaign {
    let then = None;
    Campaign {
        part,
        call,
        fault,
        then,
    }
}

/// A call that fails, and a kill while the failure is mended.
const fn then(part: &'static str, call: &'static str, kill: (&'static str, u64)) -> Campaign {
    Campaign {
        then: Some(kill),
        ..at(part, call, Fault::Error("EIO"))
    }
}

fn main() -> Result<ExitCode, Failed> {
    if let Some(directory) = env::var_os(DIRECTORY) {
        return run_part(Path::new(&directory), &env::var(PART)?);
    }
    let every: u64 = env::args().nth(1).map_or(Ok(1), |every| every.parse())?;
    if let Some(why) = cannot_trace() {
        println!("not run: {why}");
        return Ok(ExitCode::SUCCESS);
    }
    let began = Instant::now();
    let mut counts = Counts::default();
    for campaign in CAMPAIGNS {
        campaign.run(every.max(1), &mut counts)?;
    }
    println!("{:.1} s", began.elapsed().as_secs_f64());
    Ok(counts.report())
}

/// In the traced process, or in the one that looks afterwards.
fn run_part(directory: &Path, part: &str) -> Result<ExitCode, Failed> {
    let place = match part {
        INLINE => Place::Inline,
        THREADS => Place::Threads,
        _ => {
            let runtime = tokio::runtime::Runtime::new()?;
            runtime.block_on(child::finish(directory.to_owned(), 1))?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    let code = match short::run(directory, place)? {
        Came::Through => THROUGH,
        Came::NotOpened => NOT_OPENED,
        Came::Failed => STORE_FAILED,
        Came::Hangs => HANGS,
    };
    Ok(ExitCode::from(code as u8))
}

fn directory() -> std::io::Result<tempfile::TempDir> {
    if Path::new(MEMORY).is_dir() {
        return tempfile::tempdir_in(MEMORY);
    }
    tempfile::tempdir()
}

/// Why nothing can be traced here.
fn cannot_trace() -> Option<String> {
    let tried = Command::new("strace")
        .args(["-f", "-qq", "-e", "trace=fdatasync", "true"])
        .stderr(Stdio::piped())
        .output();
    match tried {
        Err(error) => Some(format!("strace: {error}")),
        Ok(output) if !output.status.success() => {
            let said = String::from_utf8_lossy(&output.stderr);
            Some(format!("strace may not trace: {}", said.trim()))
        }
        Ok(_) => None,
    }
}

/// strace ends as the one it traced.
#[cfg(unix)]
fn is_killed(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    status.signal() == Some(rustix::process::Signal::KILL.as_raw())
}

#[cfg(not(unix))]
fn is_killed(_: ExitStatus) -> bool {
    false
}

/// What was counted over all campaigns.
#[derive(Debug, Default)]
struct Counts {
    /// Runs that were killed.
    killed: u64,
    /// Runs in which a call failed.
    failed: u64,
    /// Of these, runs that were through all the same.
    through: u64,
    /// Of these, runs that could not open the file.
    not_opened: u64,
    acknowledged: u64,
    unknown: u64,
    unanswered: u64,
    lost: u64,
    doubled: u64,
    present: u64,
    wrong: u64,
}

impl Campaign {
    /// Runs for each N until a run makes fewer calls.
    fn run(&self, every: u64, counts: &mut Counts) -> Result<(), Failed> {
        let (mut number, mut hit) = (1, 0);
        while number < CALLS_MAX {
            let directory = directory()?;
            let trace = directory.path().join("trace");
            let status = self.traced(directory.path(), &trace, number)?;
            let told = std::fs::read_to_string(&trace)?;
            let is_hit = match self.fault {
                Fault::Kill => is_killed(status),
                Fault::Error(_) | Fault::ErrorFrom(_) => told.contains("(INJECTED)"),
            };
            if is_hit && status.code() == Some(NOT_LOADED) {
                number += 1;
                continue;
            }
            if !is_hit {
                if status.code() != Some(THROUGH) {
                    return Err(format!("{self}: an undisturbed run ended with {status}").into());
                }
                break;
            }
            hit += 1;
            self.judge(directory.path(), (number, status), counts)?;
            number += every;
        }
        println!("{self}: {hit} runs");
        Ok(())
    }

    fn traced(&self, directory: &Path, trace: &Path, number: u64) -> Result<ExitStatus, Failed> {
        let call = self.call;
        let inject = match self.fault {
            Fault::Kill => format!("inject={call}:signal=SIGKILL:when={number}"),
            Fault::Error(error) => format!("inject={call}:error={error}:when={number}"),
            Fault::ErrorFrom(error) => format!("inject={call}:error={error}:when={number}+"),
        };
        // Faster, but then strace sends no signals.
        let fast = match (self.fault, self.then) {
            (Fault::Error(_) | Fault::ErrorFrom(_), None) => Some("--seccomp-bpf"),
            (Fault::Kill, _) | (_, Some(_)) => None,
        };
        let (mut traced, mut injected) = (format!("trace={call}"), vec!["-e".to_owned(), inject]);
        if let Some((then, number)) = self.then {
            traced = format!("{traced},{then}");
            let kill = format!("inject={then}:signal=SIGKILL:when={number}");
            injected.extend(["-e".to_owned(), kill]);
        }
        let status = Command::new("strace")
            .args(["-f", "-qq"])
            .args(fast)
            .arg("-o")
            .arg(trace)
            .args(["-e", &traced])
            .args(injected)
            .arg(env::current_exe()?)
            .env(DIRECTORY, directory)
            .env(PART, self.part)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        Ok(status)
    }

    /// Opens what was left behind, undisturbed, and compares it with what was said.
    fn judge(
        &self,
        directory: &Path,
        (number, status): (u64, ExitStatus),
        counts: &mut Counts,
    ) -> Result<(), Failed> {
        let mut oracle = Oracle::default();
        if is_killed(status) {
            counts.killed += 1;
        } else {
            counts.failed += 1;
            let code = status.code();
            counts.through += u64::from(code == Some(THROUGH));
            counts.not_opened += u64::from(code == Some(NOT_OPENED));
            let known = matches!(code, Some(THROUGH | NOT_OPENED | STORE_FAILED));
            if !known {
                oracle.wrong(&format!("the run ended with {status}"));
            }
        }
        let log = child::log(directory, 0);
        if log.exists() {
            oracle.read(&std::fs::read_to_string(log)?);
        }
        oracle.killed();
        let looked = Command::new(env::current_exe()?)
            .env(DIRECTORY, directory)
            .env(PART, LAST)
            .stdin(Stdio::null())
            .output()?;
        let said = String::from_utf8(looked.stdout)?;
        let lines: Vec<String> = said.lines().map(str::to_owned).collect();
        let mut sections = lines.split(String::is_empty);
        let mut section = || sections.next().unwrap_or_default();
        oracle.listed(section());
        let ended = section();
        oracle.finished(ended);
        oracle.ended(ended);
        if !looked.status.success() {
            let error = String::from_utf8_lossy(&looked.stderr).into_owned();
            oracle.wrong(&format!("nothing can be looked at: {error}"));
        }
        oracle.read(&std::fs::read_to_string(child::log(directory, 1))?);
        if oracle.counts.violations() > 0 {
            println!("{self}: the violations above are of call {number}");
        }
        counts.add(&oracle);
        Ok(())
    }
}

impl std::fmt::Display for Campaign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (part, call) = (self.part, self.call);
        match self.fault {
            Fault::Kill => write!(f, "{part}, killed at each {call}")?,
            Fault::Error(error) => write!(f, "{part}, {error} from each {call}")?,
            Fault::ErrorFrom(error) => write!(f, "{part}, {error} from each {call} on")?,
        }
        match self.then {
            Some((then, number)) => write!(f, ", then killed at {then} {number}"),
            None => Ok(()),
        }
    }
}

impl Counts {
    fn add(&mut self, oracle: &Oracle) {
        let counts = oracle.counts;
        self.acknowledged += counts.acknowledged;
        self.unknown += counts.unknown;
        self.unanswered += counts.unanswered;
        self.lost += counts.lost;
        self.doubled += counts.doubled;
        self.present += counts.present;
        self.wrong += counts.wrong + counts.reused + counts.quarantined;
    }

    fn report(&self) -> ExitCode {
        println!(
            "{} kills and {} failed calls by strace ({} runs through all the same, {} without an open file), {} acknowledged, {} lost, {} doubled, {} refused but present, {} unknown and {} unanswered of which {} were not settled",
            self.killed,
            self.failed,
            self.through,
            self.not_opened,
            self.acknowledged,
            self.lost,
            self.doubled,
            self.present,
            self.unknown,
            self.unanswered,
            self.wrong
        );
        let telling = self.killed > 0 && self.failed > 0 && self.acknowledged > 0;
        if !telling {
            println!("nothing was hit: the run proves nothing");
        }
        if !telling || self.lost + self.doubled + self.present + self.wrong > 0 {
            return ExitCode::FAILURE;
        }
        ExitCode::SUCCESS
    }
}
