//! Turns on each planted bug in turn and requires that its named test fails: `planted [NAME..]`.
//!
//! A list in `tests/planted/*.txt` holds one bug per line, `name<TAB>arguments of cargo test`. The arguments must pass with
//! at least one test while no bug is planted, and must fail by a test while theirs is; a build that breaks catches nothing.
//!
//! All of them are in one build, of a copy of the workspace that asks the environment which one is planted. Where that does
//! not catch a bug, it is built alone before anything is said of it: cargo is given this program as the wrapper of the
//! compiler, under a file name of its own for each bug. Cargo keeps what differs in its wrapper apart, so only the crates of
//! this workspace are built per bug, and their dependencies once.

use outlive_tests::tree::{self, CHOSEN};
use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Tests that take longer have hung: a test that hangs catches nothing.
const RUN_MAX: Duration = Duration::from_secs(600);
/// A build takes as long as the machine is busy.
const BUILD_MAX: Duration = Duration::from_secs(3600);
const POLL: Duration = Duration::from_millis(50);
/// The directories of the copy with all bugs, and of what is built of it.
const TREE: &str = "tree";
const BUILT: &str = "built";
/// The directory of the wrappers, by which this program knows that it is one.
const WRAPPERS: &str = "planted-rustc";

struct Bug {
    name: String,
    args: String,
}

/// What is built, and with which bug.
#[derive(Clone, Copy)]
enum Build<'a> {
    /// The copy with all bugs, of which this one is planted when its tests run.
    Chosen(Option<&'a str>),
    /// The workspace itself with the bug of this wrapper, if there is one.
    Alone(Option<&'a Path>),
}

/// What a run of `cargo test` came to.
#[derive(Clone, Copy, PartialEq)]
enum Outcome {
    Passed,
    NoTest,
    TestFailed,
    Broken,
    Hung,
}

impl Outcome {
    fn reason(self) -> &'static str {
        match self {
            Self::Passed => "its tests pass",
            Self::NoTest => "no test is selected",
            Self::TestFailed => "a test fails",
            Self::Broken => "it ended without a failed test: a build error, or an abort",
            Self::Hung => "it hung and was ended",
        }
    }
}

fn main() -> io::Result<ExitCode> {
    let program = env::current_exe()?;
    if program.parent().is_some_and(|dir| dir.ends_with(WRAPPERS)) {
        return compile(&program);
    }
    let wanted: Vec<String> = env::args().skip(1).collect();
    let bugs = listed(&wanted)?;
    if let Some(name) = wanted
        .iter()
        .find(|name| bugs.iter().all(|bug| bug.name != **name))
    {
        eprintln!("no planted bug is named {name}; tests/planted/*.txt lists them");
        return Ok(ExitCode::from(2));
    }
    check(&bugs, &program)
}

/// Stands in for the compiler: passes everything on, and the bug of this file's name besides.
fn compile(program: &Path) -> io::Result<ExitCode> {
    let mut args = env::args_os().skip(1);
    let compiler = args.next().unwrap_or_else(|| OsString::from("rustc"));
    let name = program.file_stem().unwrap_or_default().to_string_lossy();
    let status = Command::new(compiler)
        .args(args)
        .args(["--cfg", &format!("planted=\"{name}\"")])
        .status()?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn check(bugs: &[Bug], program: &Path) -> io::Result<ExitCode> {
    let target = target_dir();
    let wrappers = target.join(WRAPPERS);
    fs::create_dir_all(&wrappers)?;
    let built = target.parent().unwrap_or(&target);
    tree::copy(&root(), &target.join(TREE), built)?;
    let mut passed = 0;
    let mut uncaught = Vec::new();
    let mut unplanted = BTreeMap::new();
    for bug in bugs {
        let build = Build::Chosen(Some(&bug.name));
        let passes = passes(bug, &target, Build::Chosen(None), &mut unplanted)?;
        if passes && cargo_test(&bug.args, &target, &bug.name, build)? == Outcome::TestFailed {
            println!("caught     {}", bug.name);
            passed += 1;
        } else {
            uncaught.push(bug);
        }
    }
    let mut unplanted = BTreeMap::new();
    for bug in uncaught {
        let wrapper = wrappers.join(format!("{}{}", bug.name, env::consts::EXE_SUFFIX));
        fs::copy(program, &wrapper)?;
        let (when, outcome) = match passes(bug, &target, Build::Alone(None), &mut unplanted)? {
            false => ("without the bug, ", unplanted[bug.args.as_str()]),
            true => {
                let build = Build::Alone(Some(&wrapper));
                ("", cargo_test(&bug.args, &target, &bug.name, build)?)
            }
        };
        if when.is_empty() && outcome == Outcome::TestFailed {
            println!("caught     {} (built alone)", bug.name);
            passed += 1;
            continue;
        }
        let (name, args, reason) = (&bug.name, &bug.args, outcome.reason());
        println!("NOT CAUGHT {name}: {when}{reason} (cargo test {args})");
    }
    let failed = bugs.len() - passed;
    println!("{passed} passed, {failed} failed");
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Whether the tests of a bug pass while none is planted; each arguments are tried once.
fn passes<'b>(
    bug: &'b Bug,
    target: &Path,
    build: Build<'_>,
    known: &mut BTreeMap<&'b str, Outcome>,
) -> io::Result<bool> {
    let outcome = match known.get(bug.args.as_str()) {
        Some(outcome) => *outcome,
        None => cargo_test(&bug.args, target, "unplanted", build)?,
    };
    known.insert(&bug.args, outcome);
    Ok(outcome == Outcome::Passed)
}

/// Runs `cargo test` with the given arguments; what it prints stays in a log beside the build.
fn cargo_test(args: &str, target: &Path, log_name: &str, build: Build<'_>) -> io::Result<Outcome> {
    let log_path = target.join(format!("{log_name}.log"));
    let log = File::create(&log_path)?;
    // The build apart, so that the tests alone have the time of the tests.
    let run = |flag: Option<&str>, longest| {
        let mut command = cargo(args, target, build);
        command.args(flag);
        command.stdout(log.try_clone()?).stderr(log.try_clone()?);
        finish(group(&mut command).spawn()?, longest)
    };
    match run(Some("--no-run"), BUILD_MAX)? {
        None => return Ok(Outcome::Hung),
        Some(false) => return Ok(Outcome::Broken),
        Some(true) => {}
    }
    let Some(success) = run(None, RUN_MAX)? else {
        return Ok(Outcome::Hung);
    };
    let output = String::from_utf8_lossy(&fs::read(&log_path)?).into_owned();
    let test_failed = output
        .lines()
        .any(|line| line.starts_with("test result: FAILED"));
    Ok(match (success, test_failed, tests_passed(&output)) {
        (true, _, 0) => Outcome::NoTest,
        (true, ..) => Outcome::Passed,
        (false, true, _) => Outcome::TestFailed,
        (false, false, _) => Outcome::Broken,
    })
}

/// Cargo with these arguments, the bug planted in what it builds or in what it runs.
fn cargo(args: &str, target: &Path, build: Build<'_>) -> Command {
    // Each in a directory of its own: cargo would take what it has built of the one for the other's.
    let (place, target) = match build {
        Build::Chosen(_) => (target.join(TREE), target.join(BUILT)),
        Build::Alone(_) => (root(), target.to_owned()),
    };
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command
        .arg("test")
        .args(args.split_whitespace())
        .current_dir(place)
        .stdin(Stdio::null());
    // Symbols and incremental state would be kept once per bug, and nobody debugs these builds.
    command
        .env("CARGO_TARGET_DIR", target)
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("CARGO_INCREMENTAL", "0");
    command
        .env("CARGO_TERM_COLOR", "never")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove(CHOSEN);
    match build {
        Build::Chosen(Some(name)) => drop(command.env(CHOSEN, name)),
        Build::Alone(Some(wrapper)) => drop(command.env("RUSTC_WORKSPACE_WRAPPER", wrapper)),
        Build::Chosen(None) | Build::Alone(None) => {}
    }
    command
}

/// Waits for the run; `None` if it had to be ended.
fn finish(mut run: Child, longest: Duration) -> io::Result<Option<bool>> {
    let started = Instant::now();
    while started.elapsed() < longest {
        if let Some(status) = run.try_wait()? {
            return Ok(Some(status.success()));
        }
        thread::sleep(POLL);
    }
    end_group(&mut run)?;
    run.wait()?;
    Ok(None)
}

/// Gives the run a process group of its own, so that a hung test ends together with its cargo.
#[cfg(unix)]
fn group(command: &mut Command) -> &mut Command {
    use std::os::unix::process::CommandExt;
    command.process_group(0)
}

#[cfg(not(unix))]
fn group(command: &mut Command) -> &mut Command {
    command
}

#[cfg(unix)]
fn end_group(run: &mut Child) -> io::Result<()> {
    let group = rustix::process::Pid::from_child(run);
    Ok(rustix::process::kill_process_group(
        group,
        rustix::process::Signal::KILL,
    )?)
}

#[cfg(not(unix))]
fn end_group(run: &mut Child) -> io::Result<()> {
    run.kill()
}

/// The sum over the lines `test result: ok. N passed; ..`.
fn tests_passed(output: &str) -> u64 {
    let results = output
        .lines()
        .filter_map(|line| line.strip_prefix("test result: ok. "));
    results
        .filter_map(|line| line.split(' ').next()?.parse::<u64>().ok())
        .sum()
}

/// The bugs of every list, or the wanted ones among them.
fn listed(wanted: &[String]) -> io::Result<Vec<Bug>> {
    let entries = fs::read_dir(root().join("tests/planted"))?.collect::<io::Result<Vec<_>>>()?;
    let mut paths: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    let mut bugs = Vec::new();
    for path in paths {
        let list = fs::read_to_string(&path)?;
        for line in list
            .lines()
            .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        {
            let Some((name, args)) = line.split_once('\t') else {
                return Err(io::Error::other(format!(
                    "{}: no tab between name and arguments: {line}",
                    path.display()
                )));
            };
            bugs.push(Bug {
                name: name.to_owned(),
                args: args.trim().to_owned(),
            });
        }
    }
    bugs.retain(|bug| wanted.is_empty() || wanted.contains(&bug.name));
    Ok(bugs)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests lie one below the root")
        .to_owned()
}

/// Builds with a planted bug stay apart from the ones somebody uses.
fn target_dir() -> PathBuf {
    let usual =
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    root().join(usual).join("planted")
}
