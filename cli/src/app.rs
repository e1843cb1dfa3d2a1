//! What every verb works with: the settings, the output, and the way to the tasks.

use crate::args::Args;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{Colour, Form, Output};
use crate::reach::{Answer, Call, Opening, Reach};
use crate::settings::{Own, Place};
use std::path::Path;
use tokio::sync::OnceCell;

/// Largest file of a token that is read.
const TOKEN_FILE_MAX: u64 = 4096;
/// What the server's own file of a token begins with: it holds a hash, by which nobody gets in.
const HASHED: &str = "sha256:";

/// One call of the program.
pub(crate) struct App {
    pub(crate) settings: Own,
    pub(crate) out: Output,
    /// The file of settings, where one was named.
    pub(crate) config: Option<String>,
    /// The file of a token: what is in it is for the verb to say.
    pub(crate) token_file: Option<String>,
    /// Opened by the first who asks for it.
    reach: OnceCell<Reach>,
}

impl App {
    pub(crate) fn new(args: &Args) -> Result<App, CliError> {
        let settings = Own::resolve(args.flags())?;
        Ok(App {
            out: Output::new(settings.form.value, settings.colour.value),
            settings,
            config: args.place.config.clone(),
            token_file: args.place.token_file.clone(),
            reach: OnceCell::new(),
        })
    }

    /// Where the tasks are.
    pub(crate) fn place(&self) -> &Place {
        &self.settings.place.value
    }

    /// The file of the tasks, for verbs that work on a file alone.
    ///
    /// # Errors
    /// [`CliError::Usage`] where a server was named.
    pub(crate) fn file(&self) -> Result<&Path, CliError> {
        match self.place() {
            Place::File(path) => Ok(path),
            Place::Url(url) => {
                let what = format!("this is done to a file, and {url} is a server");
                Err(CliError::usage(
                    what,
                    "stop the program that has the file, and give --store FILE",
                ))
            }
        }
    }

    /// The way to the tasks; the first call opens it.
    pub(crate) async fn reach(&self) -> Result<&Reach, CliError> {
        self.reach_with(Opening::default()).await
    }

    /// As [`App::reach`], where opening the file may do more.
    pub(crate) async fn reach_with(&self, opening: Opening) -> Result<&Reach, CliError> {
        let open = || async move { Reach::open(self.place(), self.token()?, opening).await };
        self.reach.get_or_try_init(open).await
    }

    /// The token for the server.
    fn token(&self) -> Result<Option<String>, CliError> {
        match &self.token_file {
            Some(path) => token_of(Path::new(path)).map(Some),
            None => Ok(std::env::var("OUTLIVE_TOKEN")
                .ok()
                .filter(|token| !token.is_empty())),
        }
    }

    /// Sends a request.
    pub(crate) async fn send(&self, call: Call) -> Result<Answer, CliError> {
        self.reach().await?.send(call).await
    }

    /// Tells what went wrong.
    pub(crate) fn failed(&self, error: &CliError) -> Exit {
        self.out.error(error, &self.settings.flags())
    }

    /// Lets go of the file.
    pub(crate) async fn close(self) {
        if let Some(reach) = self.reach.into_inner() {
            reach.close().await;
        }
    }
}

/// Tells of an error before anything else is known.
pub(crate) fn early(error: &CliError) -> Exit {
    Output::new(Form::Table, Colour::Auto).error(error, "")
}

fn token_of(path: &Path) -> Result<String, CliError> {
    use std::io::Read;
    let failed = |error: std::io::Error| {
        let what = format!("the token in {} cannot be read: {error}", path.display());
        let hint =
            "--token-file names a file with the token alone; OUTLIVE_TOKEN gives the token itself";
        CliError::usage(what, hint)
    };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(TOKEN_FILE_MAX)
        .read_to_string(&mut text)
        .map_err(failed)?;
    let token = text.trim();
    if token.starts_with(HASHED) && !cfg!(planted = "cli_takes_a_hash_for_a_token") {
        return Err(CliError::usage(
            format!(
                "{} holds the hash of a token, as the server keeps it",
                path.display()
            ),
            "the token itself was told when the server made that file; put it into a file of its own",
        ));
    }
    Ok(token.to_owned())
}
