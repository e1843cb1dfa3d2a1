//! The settings of the command line: by flag, else by environment, else from a file, else the default.

use crate::error::CliError;
use crate::output::{Colour, Form};
use clap::ValueEnum;
use outlive_server::{Origin, Setting, Settings};
use std::path::PathBuf;

/// The names, in the file and, as `OUTLIVE_STORE`, in the environment.
pub(crate) const OWN: [&str; 4] = ["store", "url", "output", "color"];
/// The file of a program that does not care.
const STORE: &str = "tasks.redb";

/// Where the tasks are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// In this file, which nobody else has open.
    File(PathBuf),
    /// With a server: `http://host:port` or `unix:/path`.
    Url(String),
}

/// What each verb needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Own {
    pub(crate) place: Setting<Place>,
    pub(crate) form: Setting<Form>,
    pub(crate) colour: Setting<Colour>,
}

impl Own {
    /// Reads them.
    pub(crate) fn resolve(flags: Vec<(&'static str, String)>) -> Result<Own, CliError> {
        let environment = |name: &str| {
            let value = std::env::var(name).ok();
            value.filter(|value| !value.is_empty())
        };
        let said = Settings::own(&OWN, flags, environment)?;
        Ok(Own {
            place: place(said.get("store"), said.get("url")),
            form: chosen("output", said.get("output"), Form::Table)?,
            colour: chosen("color", said.get("color"), Colour::Auto)?,
        })
    }

    /// The flags that name the same place in another call.
    pub(crate) fn flags(&self) -> String {
        match (&self.place.value, &self.place.origin) {
            (Place::Url(url), Origin::Flag) => format!(" --url {}", quoted(url)),
            (Place::File(path), Origin::Flag) => {
                format!(" --store {}", quoted(&path.display().to_string()))
            }
            // It is in the environment, in the file, or the default of the next call, too.
            (Place::Url(_) | Place::File(_), _) => String::new(),
        }
    }
}

/// The one that was said nearer to the call; of two that were said at the same place the server, as it has the file.
fn place(store: Option<&Setting<String>>, url: Option<&Setting<String>>) -> Setting<Place> {
    let at_file = |said: &Setting<String>| Setting {
        value: Place::File(PathBuf::from(&said.value)),
        origin: said.origin.clone(),
    };
    let at_url = |said: &Setting<String>| Setting {
        value: Place::Url(said.value.clone()),
        origin: said.origin.clone(),
    };
    match (store, url) {
        (Some(store), Some(url))
            if nearness(&store.origin) < nearness(&url.origin)
                && !cfg!(planted = "cli_farther_place_counts") =>
        {
            at_file(store)
        }
        (_, Some(url)) => at_url(url),
        (Some(store), None) => at_file(store),
        (None, None) => Setting {
            value: Place::File(PathBuf::from(STORE)),
            origin: Origin::Default,
        },
    }
}

fn nearness(origin: &Origin) -> u8 {
    match origin {
        Origin::Flag => 0,
        Origin::Environment(_) => 1,
        Origin::File(_) => 2,
        // INVARIANT: this crate and the server's are released together, and there are no further ones.
        Origin::Default | _ => 3,
    }
}

fn chosen<T: ValueEnum>(
    name: &str,
    said: Option<&Setting<String>>,
    default: T,
) -> Result<Setting<T>, CliError> {
    let Some(said) = said else {
        return Ok(Setting {
            value: default,
            origin: Origin::Default,
        });
    };
    let value = T::from_str(&said.value, true).map_err(|_| {
        let all = T::value_variants()
            .iter()
            .filter_map(ValueEnum::to_possible_value);
        let all: Vec<String> = all.map(|value| value.get_name().to_owned()).collect();
        let what = format!("{:?} is no {name} ({})", said.value, said.origin);
        CliError::usage(what, format!("it is {}", all.join(", ")))
    })?;
    Ok(Setting {
        value,
        origin: said.origin.clone(),
    })
}

/// As a shell takes it for one word.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,[]".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(value: &str, origin: Origin) -> Setting<String> {
        Setting {
            value: value.to_owned(),
            origin,
        }
    }

    #[test]
    fn the_place_that_is_said_nearer_counts() {
        let (file, url) = (Place::File("a".into()), Place::Url("b".to_owned()));
        let variable = || Origin::Environment("X".to_owned());
        let store = said("a", Origin::Flag);
        assert_eq!(
            place(Some(&store), Some(&said("b", variable()))).value,
            file
        );
        let store = said("a", variable());
        assert_eq!(place(Some(&store), Some(&said("b", variable()))).value, url);
        assert_eq!(place(None, None).value, Place::File(STORE.into()));
    }

    #[test]
    fn a_word_of_the_shell_stays_one() {
        assert_eq!(quoted("a/b.redb"), "a/b.redb");
        assert_eq!(quoted("a b'c"), r"'a b'\''c'");
    }
}
