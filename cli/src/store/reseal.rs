//! `store reseal`: every value of a file sealed anew under the current key.

use super::File;
use super::fault::{Live, of_open, of_store, word};
use super::look::named;
use crate::app::App;
use crate::error::CliError;
use crate::exit::Exit;
use crate::facts::Facts;
use crate::output::Tone;
use crate::progress::Bar;
use clap::{Args, ValueHint};
use outlive::sealed::{KEY_VARIABLE, Key, Keys, OLDER_KEYS_VARIABLE};
use outlive::store::{self, ResealError, ResealReport};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Largest file of a key that is read, in bytes.
const KEY_FILE_MAX: u64 = 4096;
/// What whoever gave a wrong key is told.
const HINT: &str =
    "a key is 64 hexadecimal digits, alone in its file; see that all of it was copied";

/// What it takes. A key itself is never an argument: whoever lists the processes of the machine reads those.
#[derive(Debug, Args)]
pub(super) struct Reseal {
    #[command(flatten)]
    file: File,
    /// A file with the new key, 64 hexadecimal digits; the keys in the environment are older ones then
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    key_file: Option<PathBuf>,
    /// A file with a key that values may be sealed under until now; can be given again for a further one
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    older_key_file: Vec<PathBuf>,
}

pub(super) fn reseal(app: &App, args: &Reseal) -> Result<Exit, CliError> {
    let path = args.file.of(app)?;
    let (current, older) = keys(args)?;
    let id: String = current
        .id()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let keys = older.into_iter().fold(Keys::new(current), Keys::older);
    let bar = Bar::of_bytes("reseal");
    let report = store::reseal_watched(&path, keys, &bar.watch());
    bar.done();
    let report = report.map_err(|error| match error {
        ResealError::Open(error) => of_open(&path, Live::IsStopped, error),
        ResealError::Store(error) => of_store(&path, &error),
        // INVARIANT: the library and this crate are released together.
        error => CliError::usage(error.to_string(), HINT),
    })?;
    tell(app, (&path, id), &report)
}

/// The current key and the older ones: files first, then the environment.
fn keys(args: &Reseal) -> Result<(Key, Vec<Key>), CliError> {
    let named = args.key_file.as_deref().map(of_file).transpose()?;
    let mut older = Vec::new();
    for path in &args.older_key_file {
        older.push(of_file(path)?);
    }
    let set = of_variable(KEY_VARIABLE)?;
    older.extend(of_variable(OLDER_KEYS_VARIABLE)?);
    let mut all = named.into_iter().chain(set);
    let Some(current) = all.next() else {
        let what =
            format!("no key is given: {KEY_VARIABLE} is not set, and there is no --key-file");
        return Err(CliError::usage(what, HINT));
    };
    older.extend(all);
    Ok((current, older))
}

/// The key in a file. Neither it nor what else was there is told.
fn of_file(path: &Path) -> Result<Key, CliError> {
    let failed = |error: &dyn std::fmt::Display| {
        let what = format!("the key in {} cannot be read: {error}", path.display());
        CliError::usage(what, HINT)
    };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| failed(&error))?;
    let read = file.take(KEY_FILE_MAX).read_to_string(&mut text);
    read.map_err(|error| failed(&error))?;
    text.parse().map_err(|_| failed(&"there is no key in it"))
}

/// The keys in a variable, separated by commas; none where it is not set.
fn of_variable(name: &'static str) -> Result<Vec<Key>, CliError> {
    let malformed = || CliError::usage(format!("{name} holds no key"), HINT);
    let Some(text) = std::env::var_os(name) else {
        return Ok(Vec::new());
    };
    let text = text.into_string().map_err(|_| malformed())?;
    let texts = text.split(',').filter(|text| !text.trim().is_empty());
    texts
        .map(|text| text.parse().map_err(|_| malformed()))
        .collect()
}

fn tell(app: &App, (path, key): (&Path, String), report: &ResealReport) -> Result<Exit, CliError> {
    let left = report.unreadable.total();
    let mut facts = Facts::default();
    facts
        .say("key", key)
        .say_in(Tone::Good, "resealed", report.resealed)
        .say("current", report.current)
        .say_in(
            match left {
                0 => Tone::Good,
                _ => Tone::Bad,
            },
            "unreadable",
            left,
        )
        .list("findings", Tone::Bad, named(&report.unreadable));
    facts.tell(app)?;
    if !report.is_whole() && !cfg!(planted = "cli_half_resealed_is_done") {
        app.out.note(
            "what could not be opened is as it was: give its key as an older one, or keep it for as long as the file",
        );
        app.out
            .note(&format!("outlive store verify {}", word(path)));
        return Ok(Exit::Store);
    }
    app.out.note(
        "the file needs no other key any more; what was sealed under older ones goes from its unused pages with:",
    );
    app.out
        .note(&format!("outlive store compact {}", word(path)));
    Ok(Exit::Done)
}
