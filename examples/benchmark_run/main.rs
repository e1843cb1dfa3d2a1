//! A long benchmark run that may be killed whenever somebody likes, and goes on where it was.
//!
//! ```text
//! cargo run --release --example benchmark_run -- run [--cases FILE] [--out DIR] [--model NAME] [--at-once N]
//! cargo run --release --example benchmark_run        # shows it: the same, while it is killed and started again
//! ```
//!
//! `run` is the program somebody with a benchmark writes: it reads cases from a JSONL file (without one it makes a few
//! hundred), puts each to the model under test, and writes `results.jsonl` and a summary. Each case is one durable
//! task whose id is a hash of the case and of the configuration: what is done is not done again, and a changed
//! configuration runs anew. Press Ctrl-C at any time, or pull the plug, and start it again.

mod case;
mod ledger;
mod model;
mod results;
mod run;
mod service;
mod show;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

/// What any part of this program fails with.
type Failure = Box<dyn Error>;

const USAGE: &str =
    "usage: benchmark_run [run [--cases FILE] [--out DIR] [--model NAME] [--at-once N]]";

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let mut args = std::env::args().skip(1);
    let done = match args.next().as_deref() {
        None => show::show(),
        Some("run") => job(args).and_then(|job| run::run(&job)),
        Some(_) => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("benchmark_run: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What the user asked for.
fn job(mut args: impl Iterator<Item = String>) -> Result<run::Job, Failure> {
    let mut job = run::Job {
        cases: None,
        out: PathBuf::from("benchmark"),
        model: "parrot-1".to_owned(),
        at_once: 8,
    };
    while let Some(option) = args.next() {
        let value = args.next().ok_or(USAGE)?;
        match option.as_str() {
            "--cases" => job.cases = Some(value.into()),
            "--out" => job.out = value.into(),
            "--model" => job.model = value,
            "--at-once" => job.at_once = value.parse()?,
            _ => return Err(USAGE.into()),
        }
    }
    Ok(job)
}
