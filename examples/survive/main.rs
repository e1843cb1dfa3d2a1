//! A report over a directory, built by durable tasks while the process that builds it is killed again and again.
//!
//! ```text
//! cargo run --release --example survive -- [DIR] [--kills N] [--seed N]
//! ```
//!
//! One durable task starts a child per file, which measures it, and collects their results into a report. This program
//! runs that work twice, each time in a process of its own: once undisturbed, and once under SIGKILL, started again
//! after each kill. Both reports must be the same bytes, and what the processes said on the way (kept here, where
//! no kill reaches it) must agree with what the store recorded.

mod files;
mod journal;
mod parent;
mod report;
mod rng;
mod worker;

use parent::{Kills, Supervisor};
use rng::Rng;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// What any part of this program fails with.
type Failure = Box<dyn Error>;

const USAGE: &str = "usage: survive [DIR] [--kills N] [--seed N]";

/// What the user asked for.
struct Wish {
    root: PathBuf,
    kills: u32,
    seed: u64,
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let done = match worker::Job::from_args() {
        Some(job) => worker::work(job),
        None => wish().and_then(|wish| survive(&wish)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("survive: {error}");
            ExitCode::FAILURE
        }
    }
}

fn wish() -> Result<Wish, Failure> {
    let mut wish = Wish {
        root: PathBuf::from("."),
        kills: 5,
        seed: rng::fresh_seed(),
    };
    let mut args = std::env::args_os().skip(1);
    while let Some(arg) = args.next() {
        let mut number = || args.next()?.to_str()?.parse::<u64>().ok();
        match arg.to_str() {
            Some("--kills") => wish.kills = number().ok_or(USAGE)?.try_into()?,
            Some("--seed") => wish.seed = number().ok_or(USAGE)?,
            Some(option) if option.starts_with('-') => return Err(USAGE.into()),
            _ => wish.root = PathBuf::from(arg),
        }
    }
    Ok(wish)
}

fn survive(wish: &Wish) -> Result<(), Failure> {
    let found = files::find(&wish.root)?;
    println!("{}: {found}", wish.root.display());
    if found.files.is_empty() {
        return Err(format!("there is no file to read in {}", wish.root.display()).into());
    }
    let work = tempfile::Builder::new().prefix("survive-").tempdir()?;
    let compared = compare(wish, &found, work.path());
    if compared.is_err() {
        let kept = work.keep();
        eprintln!("the stores and reports are kept in {}", kept.display());
    }
    compared
}

fn compare(wish: &Wish, found: &files::Found, work: &Path) -> Result<(), Failure> {
    let list = work.join("files.json");
    std::fs::write(&list, serde_json::to_vec(&found.files)?)?;
    let job = |store: &str| worker::Job {
        root: wish.root.clone(),
        list: list.clone(),
        store: work.join(store),
    };

    println!("\nundisturbed:");
    let began = Instant::now();
    let calm = job("undisturbed.redb");
    Supervisor::new(&calm, &found.files, Kills::none()).run()?;
    println!("  done in {:.1} s", began.elapsed().as_secs_f64());

    println!("\nunder SIGKILL (seed {}):", wish.seed);
    let began = Instant::now();
    let killed = job("killed.redb");
    let kills = Kills::some(wish.kills, Rng::new(wish.seed));
    let tally = Supervisor::new(&killed, &found.files, kills).run()?;
    let again = tally.ran_again;
    println!(
        "  done in {:.1} s; {again} of the handlers entered had been entered before",
        began.elapsed().as_secs_f64()
    );

    let report = std::fs::read(calm.report())?;
    if report != std::fs::read(killed.report())? {
        return Err(differ(found));
    }
    println!("\n{}", report::head(&String::from_utf8(report)?));
    println!(
        "survived {} kills ({} with a handler running): reports identical, {} results, each recorded once",
        tally.kills, tally.kills_with_handler, tally.results
    );
    Ok(())
}

/// Two reports differ for a good reason only if the files did.
fn differ(found: &files::Found) -> Failure {
    match found.changed().as_slice() {
        [] => "the reports differ, although no file changed".into(),
        changed => format!(
            "the reports differ, and so do files that something else changed meanwhile ({}); try again",
            changed.join(", ")
        )
        .into(),
    }
}
