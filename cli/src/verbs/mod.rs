//! The verbs: each a file with its grammar, its request, and what people are shown of the answer.

pub(crate) mod ls;

use crate::app::App;
use crate::args::Verb;
use crate::error::CliError;
use crate::exit::Exit;

/// Carries a verb out.
pub(crate) async fn run(verb: Verb, app: &App) -> Result<Exit, CliError> {
    match verb {
        Verb::Ls(ls) => ls.run(app).await,
    }
}
