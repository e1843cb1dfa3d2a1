//! `outlive`: one binary to run, watch, repair and show durable tasks.
//!
//! Each verb on tasks is a request of the HTTP API, whether a server answers it or an engine that this process opens on the
//! file; so it is written once, and `-o json` is what HTTP would have said.

mod app;
mod args;
mod completions;
mod confirm;
mod demo;
mod doctor;
mod error;
mod exit;
mod facts;
mod filter;
mod find;
mod input;
mod output;
mod panics;
mod problem;
mod progress;
mod reach;
mod safe;
mod settings;
mod store;
mod top;
mod verbs;
mod view;
mod when;

use app::App;
use args::Args;
use error::CliError;
use std::process::ExitCode;

fn main() -> ExitCode {
    panics::quiet();
    panics::told(run)
}

fn run() -> ExitCode {
    completions::answer();
    let args = Args::read();
    log(args.verbose());
    let app = match App::new(&args) {
        Ok(app) => app,
        Err(error) => return app::early(&error).into(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let what = "the program's threads cannot be started".to_owned();
            return app.failed(&CliError::System { what, error }).into();
        }
    };
    let exit = runtime.block_on(async {
        let done = verbs::run(args.verb, &app).await;
        let exit = done.unwrap_or_else(|error| app.failed(&error));
        app.close().await;
        exit
    });
    // A read of standard input that nobody waits for any more would keep the process.
    runtime.shutdown_background();
    exit.into()
}

/// What the engine and the server have to say goes to standard error: errors alone, unless more is asked for.
fn log(verbose: u8) {
    let asked = std::env::var("OUTLIVE_LOG").ok();
    let level = match verbose {
        0 => "error",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = tracing_subscriber::EnvFilter::new(asked.as_deref().unwrap_or(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        // Its own complaint of an output that takes nothing is a panic, in the midst of the engine.
        .log_internal_errors(false)
        .init();
}
