//! The server as a program runs it: sockets, the engine's life, and an orderly end.

mod accept;
mod connection;
mod crowd;
mod signals;
mod socket;
mod timed;

use crate::limits::Limits;
use crate::options::Options;
use crate::router::closable;
use crate::settings::{Listen, Settings};
use crate::token::{Access, Token, TokenFileError};
use accept::Serving;
use axum::Router;
use crowd::Crowd;
use outlive::{Engine, ShutdownReport};
use signals::Signals;
use socket::Socket;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The status of a process that a second signal ends.
const AT_ONCE: i32 = 130;

/// Why nothing is served. The engine goes on, and is the caller's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Others than programs on this machine could reach it, and no token is required: set `token_file` or `OUTLIVE_TOKEN`,
    /// or listen on a loopback address.
    #[error(
        "{listen} can be reached from elsewhere, so a token is needed: set token_file or OUTLIVE_TOKEN, or listen on a loopback address"
    )]
    TokenNeeded {
        /// Where it was to listen.
        listen: Listen,
    },
    /// The address cannot be listened at: end what uses it, or take another one.
    #[error("cannot listen at {listen} ({error}); end what uses it, or take another one")]
    Bind {
        /// Where it was to listen.
        listen: Listen,
        /// Why it cannot.
        error: io::Error,
    },
    /// Others may enter the directory of the socket: take their rights away (`chmod 700`), or name another one.
    #[error(
        "others may enter {directory}; take their rights away (chmod 700), or name another one"
    )]
    ExposedDirectory {
        /// The directory.
        directory: PathBuf,
    },
    /// The file of the token cannot be used; the error inside says what to do.
    #[error(transparent)]
    Token(#[from] TokenFileError),
    /// The system gives no signals: run it where it does.
    #[error("the system gives no signals: {0}")]
    Signals(io::Error),
}

/// A server that listens and does not answer yet.
///
/// ```
/// # use outlive::Engine;
/// use outlive_server::{Server, Settings};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let engine = Engine::in_memory().open().await?;
/// let settings = Settings::resolve_with([("listen", "127.0.0.1:0")], |_| None)?;
/// let server = Server::bind(engine, &settings).await?;
/// println!("{}", server.addresses()[0]);
/// let report = server.run(async {}).await; // until this future resolves
/// assert_eq!(report.still_running, 0);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Server {
    engine: Engine,
    sockets: Vec<Socket>,
    options: Options,
    grace: Duration,
    new_token: Option<String>,
}

impl Server {
    /// Binds the addresses of the settings. From here on connections are taken, and wait until [`Server::run`].
    ///
    /// # Errors
    /// [`ServeError`]: what to do is in each variant.
    pub async fn bind(engine: Engine, settings: &Settings) -> Result<Server, ServeError> {
        Server::bind_with(engine, settings, Options::new()).await
    }

    /// As [`Server::bind`], with options over which the settings come: bounds, or metrics of the program's own.
    ///
    /// # Errors
    /// As [`Server::bind`].
    pub async fn bind_with(
        engine: Engine,
        settings: &Settings,
        options: Options,
    ) -> Result<Server, ServeError> {
        let (options, new_token) = with_settings(options, settings)?;
        let listen = &settings.listen.value;
        let open = listen.iter().find(|listen| !listen.is_local());
        if let Some(listen) = open
            && options.tokens.is_empty()
            && !cfg!(planted = "server_open_to_all")
        {
            let listen = listen.clone();
            return Err(ServeError::TokenNeeded { listen });
        }
        Ok(Server {
            engine,
            sockets: socket::bind_all(listen).await?,
            options,
            grace: settings.grace.value,
            new_token,
        })
    }

    /// Where it listens, with the ports it was given.
    pub fn addresses(&self) -> Vec<Listen> {
        self.sockets.iter().map(Socket::address).collect()
    }

    /// The token that was made because `token_file` named a file that was not there: shown here, and never again.
    pub fn new_token(&self) -> Option<&str> {
        self.new_token.as_deref()
    }

    /// Answers until `stop` resolves; then ends in order, and the engine with it: `/readyz` says 503, streams end with the
    /// wish to come back, handlers have the grace of the settings to end, and the connections are closed.
    pub async fn run(self, stop: impl Future<Output = ()>) -> ShutdownReport {
        let addresses = self.sockets.iter().map(Socket::address);
        let urls: Vec<String> = addresses.map(|address| address.url()).collect();
        if !cfg!(planted = "server_hides_where_it_is") {
            self.engine.reached_at(&urls);
        }
        let (closing, is_closing) = watch::channel(false);
        let (closed, is_closed) = watch::channel(false);
        let limits: Limits = self.options.limits.clone();
        let router: Router = closable(self.engine.clone(), self.options, is_closing);
        let serving = Arc::new(Serving {
            crowd: Arc::new(Crowd::new(limits.connections)),
            router,
            limits,
            closed: is_closed,
        });
        let sockets = self.sockets.into_iter();
        let accepts = sockets.map(|socket| tokio::spawn(accept::all(socket, Arc::clone(&serving))));
        let accepts: Vec<_> = accepts.collect();
        stop.await;
        tracing::info!(target: "outlive::http", "closing");
        closing.send_replace(true);
        let report = self.engine.shutdown(self.grace).await;
        closed.send_replace(true);
        for accept in accepts {
            // One that panicked has ended, too.
            let _ = accept.await;
        }
        report
    }
}

/// The options with what the settings say over them, and a token that was made just now.
fn with_settings(
    mut options: Options,
    settings: &Settings,
) -> Result<(Options, Option<String>), ServeError> {
    for listen in &settings.listen.value {
        options.hosts.extend(listen.host());
    }
    for host in &settings.hosts.value {
        options = options.host(host);
    }
    for origin in &settings.origins.value {
        options = options.origin(origin);
    }
    if let Some(token) = &settings.token.value {
        options = options.token(token.clone(), Access::All);
    }
    if let Some(token) = &settings.read_token.value {
        options = options.token(token.clone(), Access::Read);
    }
    options.limits.connections = settings.connections.value;
    options.limits.streams = settings.streams.value;
    let Some(path) = &settings.token_file.value else {
        return Ok((options, None));
    };
    let (token, secret) = Token::install(path)?;
    Ok((options.token(token, Access::All), secret))
}

/// Serves an engine until SIGTERM, SIGINT or Ctrl-C, then ends as [`Server::run`] does; a second signal ends the process at
/// once, with the status 130, and loses nothing that was acknowledged.
///
/// It says on standard error where it listens, and, once, the token it made.
///
/// # Errors
/// [`ServeError`]: what to do is in each variant.
pub async fn serve(engine: Engine, settings: &Settings) -> Result<ShutdownReport, ServeError> {
    let signals = Signals::listen().map_err(ServeError::Signals)?;
    let server = Server::bind(engine, settings).await?;
    for address in server.addresses() {
        match address {
            Listen::Tcp(address) => eprintln!("outlive-server: listening at http://{address}"),
            Listen::Unix(path) => eprintln!("outlive-server: listening at {}", path.display()),
        }
    }
    if let Some(token) = server.new_token() {
        eprintln!("outlive-server: the token, told this once: {token}");
    }
    let (first, second) = (signals.clone(), signals);
    tokio::select! {
        biased;
        report = server.run(first.nth(1)) => Ok(report),
        () = second.nth(2) => std::process::exit(AT_ONCE),
    }
}
