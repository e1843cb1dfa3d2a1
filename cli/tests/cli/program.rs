//! The binary: called, with nothing of this environment, and how it ended.

use serde_json::Value;
use std::path::Path;
use std::process::{Output, Stdio};
use tokio::process::{Child, Command};

/// What a call said, and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn of(output: Output) -> Ran {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// Its output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// Its error as JSON, as `-o json` tells it.
    #[track_caller]
    pub(crate) fn told(&self) -> Value {
        let line = self.err.lines().last().unwrap_or_default();
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    #[track_caller]
    pub(crate) fn ended(self, code: i32) -> Ran {
        assert_eq!(self.code, code, "{self:?}");
        self
    }
}

/// A call in this directory.
pub(crate) fn call(directory: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outlive"));
    for (name, _) in std::env::vars() {
        if name.starts_with("OUTLIVE_") || name == "NO_COLOR" || name == "CLICOLOR_FORCE" {
            command.env_remove(name);
        }
    }
    command.current_dir(directory).args(args);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Calls it, and waits for its end.
pub(crate) async fn run(directory: &Path, args: &[&str]) -> Ran {
    let output = call(directory, args).output().await;
    Ran::of(output.expect("the program runs"))
}

/// Calls it; what it says is read while it runs.
pub(crate) fn begun(directory: &Path, args: &[&str]) -> Child {
    let mut command = call(directory, args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the program runs")
}
