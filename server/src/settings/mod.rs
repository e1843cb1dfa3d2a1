//! The settings of a server: by flag, else by environment, else from a file, else the default, each with where it came from.

mod listen;
mod sources;

use crate::limits::Limits;
use crate::token::{InvalidToken, Token};
pub use listen::{InvalidListen, Listen};
use sources::Sources;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Where the value of a setting came from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// A flag of the call.
    Flag,
    /// This variable of the environment.
    Environment(String),
    /// This file.
    File(PathBuf),
    /// Nobody said anything.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag => f.write_str("flag"),
            Origin::Environment(name) => f.write_str(name),
            Origin::File(path) => write!(f, "{}", path.display()),
            Origin::Default => f.write_str("default"),
        }
    }
}

/// A value, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Where it came from.
    pub origin: Origin,
}

/// Why settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// There is no setting of this name: correct it, or remove it.
    #[error("there is no setting {name:?} ({origin})")]
    Unknown {
        /// The name.
        name: String,
        /// Where it was said.
        origin: Origin,
    },
    /// The value is not one: correct it.
    #[error("{value:?} is no {name} ({origin}): {why}")]
    Invalid {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// Where it was said.
        origin: Origin,
        /// What is wrong with it.
        why: String,
    },
    /// A token is said where others can read it: give it by the environment, or use `token_file`.
    #[error("{name} may not be a flag or in a file ({origin}); use the environment, or token_file")]
    Exposed {
        /// The setting.
        name: &'static str,
        /// Where it was said.
        origin: Origin,
    },
    /// The file of the settings cannot be read: name another one, or none.
    #[error("{path} cannot be read: {why}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A line of the file is not `name = value`: correct it.
    #[error("line {line} of {path} is not `name = value`")]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
}

/// The settings of [`serve`](crate::serve()).
///
/// | Name | Default | What |
/// |---|---|---|
/// | `listen` | `127.0.0.1:7420,[::1]:7420` | addresses, or `unix:/path/of/a/socket` |
/// | `hosts` | | hosts to answer for beside the loopback's and those in `listen` |
/// | `origins` | | origins of pages that may send requests, beside the server's own |
/// | `token`, `read_token` | | a token that may do all, or look; by the environment alone |
/// | `token_file` | | where the hash of a token is, and is put when there is none |
/// | `grace` | `25` | seconds that handlers have to end at a shutdown |
/// | `connections` | `256` | [`Limits::connections`] |
/// | `streams` | `32` | [`Limits::streams`] |
///
/// Each may be a flag of the caller's, a variable of the environment (`OUTLIVE_LISTEN`), or a line `listen = ..` of the file
/// that `config` (or `OUTLIVE_CONFIG`) names; the first that says something counts.
///
/// ```
/// use outlive_server::{Origin, Settings};
/// let settings = Settings::resolve_with([("listen", "127.0.0.1:0")], |name| {
///     (name == "OUTLIVE_GRACE").then(|| "5".to_owned())
/// })?;
/// assert_eq!(settings.listen.origin, Origin::Flag);
/// assert_eq!(settings.grace.value.as_secs(), 5);
/// assert!(settings.to_string().contains("grace = 5 (OUTLIVE_GRACE)"));
/// # Ok::<(), outlive_server::SettingsError>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// Where to listen.
    pub listen: Setting<Vec<Listen>>,
    /// Hosts to answer for.
    pub hosts: Setting<Vec<String>>,
    /// Origins of pages that may send requests.
    pub origins: Setting<Vec<String>>,
    /// A token that may do everything.
    pub token: Setting<Option<Token>>,
    /// A token that may look.
    pub read_token: Setting<Option<Token>>,
    /// Where the hash of a token that may do everything is.
    pub token_file: Setting<Option<PathBuf>>,
    /// How long handlers have to end at a shutdown.
    pub grace: Setting<Duration>,
    /// Connections at once.
    pub connections: Setting<usize>,
    /// Streams of one caller at once.
    pub streams: Setting<usize>,
}

impl Settings {
    /// Reads them: the given flags, the environment of the process, and the file that one of them names.
    ///
    /// # Errors
    /// [`SettingsError`]: what to do is in each variant.
    pub fn resolve<N: Into<String>, V: Into<String>>(
        flags: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Settings, SettingsError> {
        Settings::resolve_with(flags, |name| std::env::var(name).ok())
    }

    /// As [`Settings::resolve`], with an environment of the caller's.
    ///
    /// # Errors
    /// As [`Settings::resolve`].
    pub fn resolve_with<N: Into<String>, V: Into<String>>(
        flags: impl IntoIterator<Item = (N, V)>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Settings, SettingsError> {
        Settings::beside(&[], flags, environment)
    }

    /// As [`Settings::resolve_with`], for a program that has settings of its own in the same places: these names are
    /// passed over. [`Settings::own`] has their values.
    ///
    /// # Errors
    /// As [`Settings::resolve`].
    pub fn beside<N: Into<String>, V: Into<String>>(
        own: &[&'static str],
        flags: impl IntoIterator<Item = (N, V)>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Settings, SettingsError> {
        let sources = Sources::read(own, pairs(flags), &environment)?;
        let limits = Limits::default();
        let secret = |text: &str| {
            text.parse()
                .map(Some)
                .map_err(|why: InvalidToken| why.to_string())
        };
        let number = |text: &str| text.parse().map_err(|_| "give a number".to_owned());
        let seconds = |text: &str| {
            text.parse()
                .map(Duration::from_secs)
                .map_err(|_| "give seconds".to_owned())
        };
        let names = |text: &str| Ok(list(text));
        Ok(Settings {
            listen: sources.setting("listen", listen::DEFAULT, Listen::list)?,
            hosts: sources.setting("hosts", "", names)?,
            origins: sources.setting("origins", "", names)?,
            token: sources.secret("token", secret)?,
            read_token: sources.secret("read_token", secret)?,
            token_file: sources.setting("token_file", "", |text| {
                Ok((!text.is_empty()).then(|| PathBuf::from(text)))
            })?,
            grace: sources.setting("grace", "25", seconds)?,
            connections: sources.setting("connections", &limits.connections.to_string(), number)?,
            streams: sources.setting("streams", &limits.streams.to_string(), number)?,
        })
    }
}

impl Settings {
    /// What was said of settings that are a program's own, by their names, from the same places; those that nobody said
    /// anything of are left out. The values of the server's settings are not looked at.
    ///
    /// ```
    /// use outlive_server::{Origin, Settings};
    /// let own = Settings::own(&["store"], [("store", "tasks.redb")], |_| None)?;
    /// assert_eq!((own["store"].value.as_str(), &own["store"].origin), ("tasks.redb", &Origin::Flag));
    /// # Ok::<(), outlive_server::SettingsError>(())
    /// ```
    ///
    /// # Errors
    /// [`SettingsError`]: what to do is in each variant.
    pub fn own<N: Into<String>, V: Into<String>>(
        own: &[&'static str],
        flags: impl IntoIterator<Item = (N, V)>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<BTreeMap<&'static str, Setting<String>>, SettingsError> {
        let sources = Sources::read(own, pairs(flags), &environment)?;
        Ok(own
            .iter()
            .filter_map(|name| Some((*name, sources.text(name)?)))
            .collect())
    }
}

fn pairs<N: Into<String>, V: Into<String>>(
    flags: impl IntoIterator<Item = (N, V)>,
) -> Vec<(String, String)> {
    let flags = flags.into_iter();
    flags
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

/// The parts of a text between commas.
fn list(text: &str) -> Vec<String> {
    let parts = text.split(',').map(str::trim);
    parts
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

impl Settings {
    /// Each setting: its name, its value as it may be shown, and where it came from. A token is said to be set, and no
    /// more.
    pub fn entries(&self) -> Vec<(&'static str, String, &Origin)> {
        let listen: Vec<String> = self.listen.value.iter().map(Listen::to_string).collect();
        let file = self
            .token_file
            .value
            .as_ref()
            .map(|path| path.display().to_string());
        let set = |token: &Option<Token>| if token.is_some() { "(set)" } else { "" }.to_owned();
        vec![
            ("listen", listen.join(","), &self.listen.origin),
            ("hosts", self.hosts.value.join(","), &self.hosts.origin),
            (
                "origins",
                self.origins.value.join(","),
                &self.origins.origin,
            ),
            ("token", set(&self.token.value), &self.token.origin),
            (
                "read_token",
                set(&self.read_token.value),
                &self.read_token.origin,
            ),
            (
                "token_file",
                file.unwrap_or_default(),
                &self.token_file.origin,
            ),
            (
                "grace",
                self.grace.value.as_secs().to_string(),
                &self.grace.origin,
            ),
            (
                "connections",
                self.connections.value.to_string(),
                &self.connections.origin,
            ),
            (
                "streams",
                self.streams.value.to_string(),
                &self.streams.origin,
            ),
        ]
    }
}

impl fmt::Display for Settings {
    /// One line for each: `name = value (where it came from)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value, origin) in self.entries() {
            writeln!(f, "{name} = {value} ({origin})")?;
        }
        Ok(())
    }
}

/// The names there are, and `config`, which names a file.
const NAMES: [&str; 9] = [
    "listen",
    "hosts",
    "origins",
    "token",
    "read_token",
    "token_file",
    "grace",
    "connections",
    "streams",
];

impl FromStr for Listen {
    type Err = InvalidListen;

    fn from_str(text: &str) -> Result<Listen, InvalidListen> {
        Listen::parse(text)
    }
}
