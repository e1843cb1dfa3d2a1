//! `serve`: the file over HTTP.

use crate::app::App;
use crate::error::CliError;
use crate::exit::Exit;
use crate::reach::opened_to_serve;
use crate::settings::OWN;
use clap::Args;
use outlive_server::{Settings, serve};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  outlive serve --store tasks.redb --listen unix:/run/user/1000/outlive/tasks.sock
  outlive serve --listen 0.0.0.0:7420 --token-file token
It serves the tasks and runs none: it has no handlers, so nothing can be started through it, and what is due waits for the \
program that has them. That program can serve its own tasks, with outlive_server::serve.
--token-file is where the hash of the token is kept; where there is no such file it is made, and the token told once.")]
pub(crate) struct Serve {
    /// Addresses, or unix:/path/of/a/socket, between commas (OUTLIVE_LISTEN)
    #[arg(long)]
    listen: Option<String>,
    /// Hosts to answer for beside this machine's (OUTLIVE_HOSTS)
    #[arg(long)]
    hosts: Option<String>,
    /// Origins of pages that may send requests (OUTLIVE_ORIGINS)
    #[arg(long)]
    origins: Option<String>,
    /// Connections at once (OUTLIVE_CONNECTIONS)
    #[arg(long)]
    connections: Option<usize>,
    /// Streams of one caller at once (OUTLIVE_STREAMS)
    #[arg(long)]
    streams: Option<usize>,
    /// The file may be missing: it is made
    #[arg(long)]
    new: bool,
}

impl Serve {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, CliError> {
        let path = app.file()?;
        let flags = [
            ("listen", self.listen),
            ("hosts", self.hosts),
            ("origins", self.origins),
            ("connections", self.connections.map(|most| most.to_string())),
            ("streams", self.streams.map(|most| most.to_string())),
            ("token_file", app.token_file.clone()),
            ("config", app.config.clone()),
        ];
        let flags = flags
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        let settings = Settings::beside(&OWN, flags, |name| std::env::var(name).ok())?;
        let engine = opened_to_serve(path, self.new).await?;
        serve(engine, &settings).await?;
        Ok(Exit::Done)
    }
}
