//! What a router is made with: whom it answers, whom it believes, and its bounds.

use crate::limits::Limits;
use crate::token::{Access, Token};
use std::fmt;
use std::sync::Arc;

/// Makes the text of metrics; see [`Options::metrics`].
pub(crate) type Render = Arc<dyn Fn() -> String + Send + Sync>;

/// The options of a router. The default answers requests for `localhost`, `127.0.0.1` and `[::1]`, on any port, and asks
/// for no token.
///
/// ```
/// use outlive_server::{Access, Options, Token};
/// let token: Token = "correct-horse-battery-staple-32-or-more".parse()?;
/// let options = Options::new().host("tasks.example").token(token, Access::All);
/// # Ok::<(), outlive_server::InvalidToken>(())
/// ```
#[derive(Clone)]
#[must_use = "options do nothing before a router is made with them"]
pub struct Options {
    pub(crate) hosts: Vec<String>,
    pub(crate) any_host: bool,
    pub(crate) origins: Vec<String>,
    pub(crate) tokens: Vec<(Token, Access)>,
    pub(crate) limits: Limits,
    pub(crate) metrics: Option<Render>,
}

impl Options {
    /// The default options.
    pub fn new() -> Options {
        let hosts = ["localhost", "127.0.0.1", "[::1]"];
        Options {
            hosts: hosts.map(str::to_owned).to_vec(),
            any_host: false,
            origins: Vec::new(),
            tokens: Vec::new(),
            limits: Limits::default(),
            metrics: None,
        }
    }

    /// Answers requests for this host as well, on any port: a name or an address, IPv6 in brackets. A request for any
    /// other is answered with 421, so that no name that somebody else points at this machine reaches it.
    pub fn host(mut self, name: impl Into<String>) -> Options {
        self.hosts.push(name.into().to_ascii_lowercase());
        self
    }

    /// Answers requests for any host: for a router behind a proxy that checks it.
    pub fn any_host(mut self) -> Options {
        self.any_host = true;
        self
    }

    /// Lets pages of this origin (`https://tasks.example`) send requests, beside those of the server's own. No CORS headers
    /// are sent for it: it is for a proxy that changes the host.
    pub fn origin(mut self, origin: impl Into<String>) -> Options {
        self.origins.push(origin.into().to_ascii_lowercase());
        self
    }

    /// Requires a token of each request but `/livez` and `/readyz`: this one, or another that is given here. Its SHA-256 is
    /// kept, and nothing else of it.
    pub fn token(mut self, token: Token, access: Access) -> Options {
        self.tokens.push((token, access));
        self
    }

    /// The bounds.
    pub fn limits(mut self, limits: Limits) -> Options {
        self.limits = limits;
        self
    }

    /// Adds a text to `/metrics`, in the format of Prometheus: what the program's own recorder has, for example, which
    /// counts the engine's measures ([`outlive::telemetry`]).
    pub fn metrics(mut self, render: impl Fn() -> String + Send + Sync + 'static) -> Options {
        self.metrics = Some(Arc::new(render));
        self
    }
}

impl Default for Options {
    fn default() -> Options {
        Options::new()
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("hosts", &self.hosts)
            .field("any_host", &self.any_host)
            .field("origins", &self.origins)
            .field("tokens", &self.tokens.len())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
