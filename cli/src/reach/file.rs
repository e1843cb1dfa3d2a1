//! A file opened in this process, by an engine without handlers, and asked through the router of the server.

use super::{Body, BoxError, Call};
use crate::error::CliError;
use http_body_util::BodyExt;
use hyper::Response;
use outlive::sealed::{KEY_VARIABLE, Keys};
use outlive::{Builder, Engine, OpenError};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tower::ServiceExt;

/// What opening a file may do beside looking into it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Opening {
    /// Makes the file where it is missing.
    pub(crate) create: bool,
    /// Lets tasks be started that nobody runs here: those of definitions the file knows, and of these names.
    pub(crate) start_for_others: Option<Vec<String>>,
}

/// A file that is open.
pub(crate) struct Opened {
    path: PathBuf,
    engine: Engine,
}

impl Opened {
    /// Opens it. What ran in a process that died is waiting for a program with its handler afterwards, and nothing is run
    /// here.
    pub(super) async fn open(path: &Path, opening: Opening) -> Result<Opened, CliError> {
        let engine = engine_on(path, opening).await?;
        engine.recovery().await;
        Ok(Opened {
            path: path.to_owned(),
            engine,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) async fn begin(&self, call: Call) -> Result<Response<Body>, CliError> {
        let request = call
            .request("", "localhost", None)
            .map_err(|error| CliError::usage(error.to_string(), "give visible characters alone"))?;
        let router = outlive_server::router(self.engine.clone());
        // A router has no errors of its own.
        let response = match router.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        Ok(response.map(|body| body.map_err(BoxError::from).boxed_unsync()))
    }

    pub(super) async fn close(self) {
        self.engine.shutdown(Duration::ZERO).await;
    }
}

fn starting(builder: Builder, names: Vec<String>) -> Result<Builder, CliError> {
    let hint = "use 1 to 128 characters of A-Z a-z 0-9 . _ : -";
    let builder = builder.start_for_others(names);
    builder.map_err(|error| CliError::usage(error.to_string(), hint))
}

/// An engine without handlers, to be served: nothing can be started through it.
pub(crate) async fn opened_to_serve(path: &Path, create: bool) -> Result<Engine, CliError> {
    let start_for_others = cfg!(planted = "cli_serves_a_door").then(Vec::new);
    let opening = Opening {
        create,
        start_for_others,
    };
    engine_on(path, opening).await
}

/// An engine on the file. One that is sealed is opened with the keys of the environment, and so is one that is made; one
/// that is clear stays so, for opening it with keys would begin to seal it.
async fn engine_on(path: &Path, opening: Opening) -> Result<Engine, CliError> {
    let create = opening.create || cfg!(planted = "cli_makes_what_it_looks_for");
    let is_new = !path.exists();
    if is_new && !create {
        let path = path.to_owned();
        return Err(CliError::NoStore { path });
    }
    let builder = || {
        let builder = Engine::builder(path);
        match opening.start_for_others.clone() {
            Some(names) => starting(builder, names),
            None => Ok(builder),
        }
    };
    let has_keys = std::env::var_os(KEY_VARIABLE).is_some();
    let seals = has_keys && (is_new || cfg!(planted = "cli_seals_what_is_clear"));
    let opened = match seals {
        true => Err(OpenError::Sealed),
        false => builder()?.open().await,
    };
    let opened = match opened {
        Err(OpenError::Sealed) if has_keys => builder()?.payload_codec(keys()?).open().await,
        opened => opened,
    };
    opened.map_err(|error| refused(path, error))
}

/// The keys that the environment names, as for any program.
fn keys() -> Result<Keys, CliError> {
    let hint = "a key is 64 hexadecimal digits; see that all of it was copied";
    Keys::from_environment().map_err(|error| CliError::usage(error.to_string(), hint))
}

fn refused(path: &Path, error: OpenError) -> CliError {
    let path = path.to_owned();
    match error {
        OpenError::AlreadyRunning {
            pid, reached_at, ..
        } => CliError::Locked {
            path,
            pid,
            reached_at,
        },
        error => CliError::Open {
            path,
            error: Box::new(error),
        },
    }
}
