//! `store`: what is done to a file as a whole, with no engine on it.

mod copy;
mod fault;
mod info;
mod lines;
mod look;
mod reseal;

use crate::app::App;
use crate::error::CliError;
use crate::exit::Exit;
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};

/// What is to be known of all of them.
const AFTER: &str = "\
Example:
  outlive store info tasks.redb
The file is --store FILE, OUTLIVE_STORE, or tasks.redb; most verbs take it as an argument as well.
No engine may be on it, but for `info`: a running one copies its own file with Engine::backup.
No verb writes over a file that is there, and a new file appears whole or not at all.";

#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct Store {
    #[command(subcommand)]
    verb: StoreVerb,
}

/// The file, where it is not the one of the settings.
#[derive(Debug, Args)]
struct File {
    /// The file [default: --store]
    file: Option<PathBuf>,
}

impl File {
    fn of(&self, app: &App) -> Result<PathBuf, CliError> {
        match &self.file {
            Some(file) => Ok(file.clone()),
            None => app.file().map(Path::to_owned),
        }
    }
}

#[derive(Debug, Subcommand)]
enum StoreVerb {
    /// Say what the file is: its size, its tasks, who has it
    #[command(after_help = "Example: outlive store info tasks.redb")]
    Info(File),
    /// Read all of it and say what is wrong; nothing is changed
    #[command(after_help = "Example: outlive store verify tasks.redb")]
    Verify(File),
    /// Repair what a crash has left, then verify
    #[command(after_help = "Example: outlive store repair tasks.redb")]
    Repair(File),
    /// Make it as small as what is in it
    #[command(after_help = "Example: outlive store compact tasks.redb")]
    Compact(File),
    /// Seal all that is in it under a new key
    #[command(after_help = "\
Examples:
  OUTLIVE_KEY=$NEW OUTLIVE_OLDER_KEYS=$OLD outlive store reseal tasks.redb
  outlive store reseal --key-file new.key --older-key-file old.key
A key is never an argument: whoever lists the processes of the machine reads those. The first key of a file \
that is clear seals it: without that key nothing in it can be read from then on.")]
    Reseal(reseal::Reseal),
    /// Copy it to a new file
    #[command(after_help = "Example: outlive --store tasks.redb store backup tasks.backup")]
    Backup {
        /// The new file
        to: PathBuf,
    },
    /// Make the file of a backup
    #[command(after_help = "Example: outlive --store restored.redb store restore tasks.backup")]
    Restore {
        /// The backup, which stays as it is
        from: PathBuf,
    },
    /// Make a new file of what is whole in a damaged one
    #[command(after_help = "Example: outlive --store tasks.redb store salvage saved.redb")]
    Salvage {
        /// The new file
        to: PathBuf,
    },
    /// Write all of it as lines of JSON
    #[command(after_help = "Example: outlive store export | jq 'select(.task).task.row.id'")]
    Export {
        /// The new file; - is standard output
        #[arg(default_value = "-")]
        to: PathBuf,
    },
    /// Make the file of the lines of an export
    #[command(after_help = "Example: outlive --store copy.redb store import tasks.jsonl")]
    Import {
        /// The export; - is standard input
        #[arg(default_value = "-")]
        from: PathBuf,
    },
}

impl Store {
    pub(crate) fn run(self, app: &App) -> Result<Exit, CliError> {
        // All of them read files as a whole; nothing else waits for this thread.
        tokio::task::block_in_place(|| match self.verb {
            StoreVerb::Info(file) => info::info(app, &file.of(app)?),
            StoreVerb::Verify(file) => look::verify(app, &file.of(app)?),
            StoreVerb::Repair(file) => look::repair(app, &file.of(app)?),
            StoreVerb::Compact(file) => look::compact(app, &file.of(app)?),
            StoreVerb::Reseal(args) => reseal::reseal(app, &args),
            StoreVerb::Backup { to } => copy::backup(app, (app.file()?, &to)),
            StoreVerb::Restore { from } => copy::restore(app, (&from, app.file()?)),
            StoreVerb::Salvage { to } => copy::salvage(app, (app.file()?, &to)),
            StoreVerb::Export { to } => lines::export(app, (app.file()?, &to)),
            StoreVerb::Import { from } => lines::import(app, (&from, app.file()?)),
        })
    }
}

/// Whether a path stands for standard input or output.
fn is_standard(path: &Path) -> bool {
    path.as_os_str() == "-"
}
