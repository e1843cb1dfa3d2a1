//! `completions`: lets the shell complete verbs, flags, and the ids of the tasks there are.
//!
//! The shell calls this program for each completion. Ids come from a file that nobody has, read without being changed, or
//! from the server; whatever takes longer than a person waits for a key is given up.

use crate::app::App;
use crate::args;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::Tone;
use crate::reach::{Call, Reach};
use crate::settings::Place;
use clap::{Args, Command, ValueEnum};
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::Shells;
use outlive::store::{self, OpenError};
use serde::Deserialize;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

/// The variable by which a shell asks.
const VARIABLE: &str = "COMPLETE";
/// After this the shell is told what is known, which may be nothing.
const PATIENCE: Duration = Duration::from_millis(250);
/// Most ids that are offered.
const OFFERED_MAX: usize = 200;
/// The arguments of verbs that are ids of tasks, by their names in the grammar.
const IDS: [&str; 4] = ["id", "ids", "task_id", "task_ids"];

const AFTER: &str = "\
Examples:
  bash: echo 'source <(outlive completions bash)' >> ~/.bashrc
  zsh:  echo 'source <(outlive completions zsh)' >> ~/.zshrc
  fish: outlive completions fish > ~/.config/fish/completions/outlive.fish";

#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Shell {
    fn name(self) -> &'static str {
        match self {
            Shell::Bash => "bash",
            Shell::Zsh => "zsh",
            Shell::Fish => "fish",
        }
    }
}

impl Completions {
    pub(crate) fn run(self, app: &App) -> Result<Exit, CliError> {
        let failed = |error| CliError::System {
            what: "the completions cannot be made".to_owned(),
            error,
        };
        let mut script = Vec::new();
        let shells = Shells::builtins();
        let shell = shells.completer(self.shell.name());
        // INVARIANT: all three are among the built-in ones.
        let shell = shell.ok_or_else(|| failed(std::io::ErrorKind::Unsupported.into()))?;
        shell
            .write_registration(VARIABLE, "outlive", "outlive", "outlive", &mut script)
            .map_err(failed)?;
        let script = String::from_utf8_lossy(&script);
        app.out.text(Tone::Plain, script.trim_end())?;
        Ok(Exit::Done)
    }
}

/// Answers a shell that asks for completions, and ends the process; does nothing in any other call.
pub(crate) fn answer() {
    CompleteEnv::with_factory(grammar).var(VARIABLE).complete();
}

/// The grammar, in which ids complete.
fn grammar() -> Command {
    args::command().mut_subcommands(|verb| {
        verb.mut_args(|arg| match IDS.contains(&arg.get_id().as_str()) {
            true => arg.add(ArgValueCompleter::new(candidates)),
            false => arg,
        })
    })
}

fn candidates(begun: &OsStr) -> Vec<CompletionCandidate> {
    let Some(begun) = begun.to_str().map(str::to_owned) else {
        return Vec::new();
    };
    let words: Vec<OsString> = std::env::args_os().collect();
    let (sender, found) = mpsc::channel();
    // A thread of its own, left behind where it takes too long: the process ends with the answer.
    let asking = std::thread::Builder::new().spawn(move || {
        // Nobody waits any more where this fails.
        let _ = sender.send(ids(&place(&words), &begun));
    });
    let found = match asking {
        Ok(_) if cfg!(planted = "cli_completion_waits") => found.recv().ok(),
        Ok(_) => found.recv_timeout(PATIENCE).ok(),
        Err(_) => None,
    };
    let ids = found.unwrap_or_default().into_iter();
    ids.map(|id| CompletionCandidate::new(&*id)).collect()
}

/// Where the tasks are, by what is on the line already, else by the environment.
fn place(words: &[OsString]) -> Place {
    let said = |flag: &str| {
        let at = words.iter().position(|word| word == flag)?;
        words.get(at + 1)?.to_str().map(str::to_owned)
    };
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(url) = said("--url") {
        return Place::Url(url);
    }
    if let Some(file) = said("--store") {
        return Place::File(PathBuf::from(file));
    }
    if let Some(url) = variable("OUTLIVE_URL") {
        return Place::Url(url);
    }
    let file = variable("OUTLIVE_STORE").unwrap_or_else(|| "tasks.redb".to_owned());
    Place::File(PathBuf::from(file))
}

/// The ids that begin so, wherever they are had without a wait.
fn ids(place: &Place, begun: &str) -> Vec<Box<str>> {
    match place {
        Place::Url(url) => of_server(url, begun),
        Place::File(path) => match store::ids(path, begun, OFFERED_MAX) {
            Ok(ids) => ids,
            // Its engine is asked, where it serves its tasks.
            Err(OpenError::AlreadyRunning { reached_at, .. }) => reached_at
                .first()
                .map(|url| of_server(url, begun))
                .unwrap_or_default(),
            Err(_) => Vec::new(),
        },
    }
}

#[derive(Deserialize)]
struct Page {
    task_ids: Vec<Box<str>>,
}

/// Those of a server.
fn of_server(url: &str, begun: &str) -> Vec<Box<str>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return Vec::new();
    };
    let asked = runtime.block_on(async {
        let token = std::env::var("OUTLIVE_TOKEN").ok();
        let token = token.filter(|token| !token.is_empty());
        let place = Place::Url(url.to_owned());
        let reach = Reach::open(&place, token, Default::default()).await?;
        let call = Call::get(&["v1", "task-ids"]).query("prefix", begun);
        let call = call.query("limit", OFFERED_MAX.to_string());
        reach.send(call).await?.parsed::<Page>()
    });
    asked.map(|page| page.task_ids).unwrap_or_default()
}
