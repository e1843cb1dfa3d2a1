//! Where an application's tasks are kept when it does not care: in its own directory among the platform's for data.

use crate::builder::Builder;
use crate::engine::Engine;
use etcetera::base_strategy::{BaseStrategy, choose_native_strategy};
use outlive_storage::redb::create_private_directory;
use std::path::{Path, PathBuf};

/// The file in the application's directory.
const FILE: &str = "tasks.redb";
/// Longest application id, in bytes: file systems allow names of 255.
const APPLICATION_MAX: usize = 128;
/// Names that Windows keeps for devices, whatever follows after a dot.
const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];
/// As [`DEVICES`], when one digit follows.
const NUMBERED_DEVICES: [&str; 2] = ["com", "lpt"];

/// Why there is no directory for an application's tasks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataDirError {
    /// The id is not one: give a reversed domain name of the application, as `com.example.tool`. Nothing was created.
    #[error(
        "{given:?} is not the id of an application: two or more parts of A-Z a-z 0-9 _ and -, joined by dots, as in com.example.tool"
    )]
    Application {
        /// What was given.
        given: String,
    },
    /// The user has no home directory, as some services do: give a path to [`Engine::builder`]. Nothing was created.
    #[error("the user has no home directory; give Engine::builder a path")]
    NoHome,
    /// The directory cannot be created: mend the cause, or give a path to [`Engine::builder`].
    #[error("{} cannot be created ({error}); mend the cause, or give Engine::builder a path", path.display())]
    Create {
        /// The directory.
        path: PathBuf,
        /// The system's refusal.
        error: std::io::Error,
    },
}

impl Engine {
    /// An engine on the file `tasks.redb` in the application's own directory, which is created, for its user alone, when
    /// it is missing. `application` is its reversed domain name: two or more parts of `A-Za-z0-9_-`, joined by dots, at
    /// most 128 bytes.
    ///
    /// | Platform | Directory |
    /// |---|---|
    /// | Linux and other Unix | `$XDG_DATA_HOME/com.example.tool`, by default `~/.local/share/com.example.tool` |
    /// | macOS | `~/Library/Application Support/com.example.tool` |
    /// | Windows | `%LOCALAPPDATA%\com.example.tool`: a file that a process locks must not roam |
    ///
    /// ```no_run
    /// # use outlive::{Ctx, Engine, HandlerError, TaskDef};
    /// # const ECHO: TaskDef<u32, u32> = TaskDef::new("echo");
    /// # async fn echo(_: Ctx, n: u32) -> Result<u32, HandlerError> { Ok(n) }
    /// # async fn open() -> Result<(), Box<dyn std::error::Error>> {
    /// let engine = Engine::open_default("com.example.tool")?.task(ECHO, echo).open().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`DataDirError`]: what to do is in each variant.
    pub fn open_default(application: &str) -> Result<Builder, DataDirError> {
        let path = directory(application, base())?;
        match create_private_directory(&path) {
            Ok(()) => Ok(Engine::builder(path.join(FILE))),
            Err(error) => Err(DataDirError::Create { path, error }),
        }
    }
}

/// The platform's directory for data that belongs to this machine.
fn base() -> Option<PathBuf> {
    let strategy = choose_native_strategy().ok()?;
    if cfg!(windows) {
        // What is called a cache there is the local directory; the one for data roams.
        return Some(strategy.cache_dir());
    }
    Some(strategy.data_dir())
}

fn directory(application: &str, base: Option<PathBuf>) -> Result<PathBuf, DataDirError> {
    if !is_application(application) {
        let given = application.to_owned();
        return Err(DataDirError::Application { given });
    }
    // A home that is no absolute path would mean a different directory wherever the program is started.
    let base = base.filter(|base| Path::is_absolute(base));
    Ok(base.ok_or(DataDirError::NoHome)?.join(application))
}

fn is_application(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    let mut parts = id.split('.');
    let first = parts.clone().next().unwrap_or_default().to_lowercase();
    let numbered = first.strip_suffix(|c: char| c.is_ascii_digit());
    let numbered = numbered.is_some_and(|stem| NUMBERED_DEVICES.contains(&stem));
    let device = numbered || DEVICES.contains(&&*first);
    let well_formed = parts.all(|part| !part.is_empty() && part.bytes().all(allowed));
    let option = id.starts_with('-');
    well_formed && id.contains('.') && id.len() <= APPLICATION_MAX && !device && !option
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_is_a_reversed_domain_name() {
        let long = format!("com.{}", "a".repeat(124));
        for good in ["com.example.tool", "a.b", "org.Some_Body.my-tool2", &long] {
            assert!(is_application(good), "{good}");
        }
        let too_long = format!("{long}a");
        let bad = [
            "",
            "tool",
            ".",
            "..",
            "com.",
            ".com",
            "a..b",
            "../x.y",
            "a/b.c",
            "a\\b.c",
            "com.exa mple",
            "com.example\0",
            "-a.b",
            "con.example",
            "COM1.example",
            "nul.x",
            "käse.de",
            &too_long,
        ];
        for bad in bad {
            assert!(!is_application(bad), "{bad:?}");
            let base = Some(PathBuf::from("/somewhere"));
            let refused = directory(bad, base);
            assert!(matches!(refused, Err(DataDirError::Application { given }) if given == bad));
        }
    }

    #[test]
    fn a_home_that_is_none_is_told() {
        for base in [None, Some(PathBuf::from(".local/share"))] {
            let refused = directory("com.example.tool", base);
            assert!(matches!(refused, Err(DataDirError::NoHome)));
        }
    }
}
