//! The three places where settings are said, and which of them counts.

use super::{NAMES, Origin, Setting, SettingsError};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The setting that names the file; it is not in it.
const CONFIG: &str = "config";

/// What was said, and where.
pub(super) struct Sources {
    /// By name; the first place that says something.
    said: BTreeMap<String, (String, Origin)>,
}

impl Sources {
    /// `own` are names of the program's, beside the server's.
    pub(super) fn read(
        own: &[&'static str],
        flags: Vec<(String, String)>,
        environment: &impl Fn(&str) -> Option<String>,
    ) -> Result<Sources, SettingsError> {
        let names = [&NAMES, own].concat();
        let mut said = BTreeMap::new();
        let mut config = None;
        for (name, value) in flags {
            // A flag is written with a dash between its words.
            let name = name.replace('-', "_");
            match name.as_str() {
                CONFIG => config = Some(value),
                _ if !names.contains(&name.as_str()) => {
                    let origin = Origin::Flag;
                    return Err(SettingsError::Unknown { name, origin });
                }
                _ => _ = said.insert(name, (value, Origin::Flag)),
            }
        }
        let of_environment = |name: &str| {
            let variable = format!("OUTLIVE_{}", name.to_ascii_uppercase());
            let value = environment(&variable)?;
            Some((value, Origin::Environment(variable)))
        };
        for name in &names {
            if let Some(value) = of_environment(name) {
                said.entry((*name).to_owned()).or_insert(value);
            }
        }
        let config = config.or_else(|| of_environment(CONFIG).map(|(path, _)| path));
        if let Some(path) = config.filter(|path| !path.is_empty()) {
            for (name, value) in lines(&PathBuf::from(path), &names)? {
                said.entry(name).or_insert(value);
            }
        }
        Ok(Sources { said })
    }

    /// What was said of a setting, as it was said.
    pub(super) fn text(&self, name: &str) -> Option<Setting<String>> {
        let (value, origin) = self.said.get(name).cloned()?;
        Some(Setting { value, origin })
    }

    /// A setting, parsed.
    pub(super) fn setting<T>(
        &self,
        name: &'static str,
        default: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Setting<T>, SettingsError> {
        let said = self.said.get(name).cloned();
        let (text, origin) = said.unwrap_or_else(|| (default.to_owned(), Origin::Default));
        match parse(&text) {
            Ok(value) => Ok(Setting { value, origin }),
            Err(why) => Err(SettingsError::Invalid {
                name,
                value: text,
                origin,
                why,
            }),
        }
    }

    /// A token: from the environment alone, for a flag is in the list of processes, and a file is read by others. Its text
    /// is in no error.
    pub(super) fn secret<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<Option<T>, String>,
    ) -> Result<Setting<Option<T>>, SettingsError> {
        let Some((text, origin)) = self.said.get(name).cloned() else {
            return Ok(Setting {
                value: None,
                origin: Origin::Default,
            });
        };
        let hidden = matches!(origin, Origin::Environment(_));
        if !hidden && !cfg!(planted = "server_token_by_flag") {
            return Err(SettingsError::Exposed { name, origin });
        }
        match parse(&text) {
            Ok(value) => Ok(Setting { value, origin }),
            Err(why) => Err(SettingsError::Invalid {
                name,
                value: "(a token)".to_owned(),
                origin,
                why,
            }),
        }
    }
}

type Said = (String, (String, Origin));

/// The lines of a file: `name = value`, empty ones, and those that begin with `#`.
fn lines(path: &Path, names: &[&str]) -> Result<Vec<Said>, SettingsError> {
    let text = std::fs::read_to_string(path).map_err(|error| SettingsError::File {
        path: path.to_owned(),
        why: error.to_string(),
    })?;
    let mut said = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=').ok_or(SettingsError::Line {
            path: path.to_owned(),
            line: at + 1,
        })?;
        let (name, value) = (name.trim().to_owned(), value.trim().to_owned());
        let origin = Origin::File(path.to_owned());
        if !names.contains(&name.as_str()) {
            return Err(SettingsError::Unknown { name, origin });
        }
        said.push((name, (value, origin)));
    }
    Ok(said)
}
