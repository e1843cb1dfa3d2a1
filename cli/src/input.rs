//! Values as they are written on a command line: `k=v`, `k:=json`, `@file`, `-`, or JSON.

use crate::error::CliError;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::io::Read;

/// Largest value that is read: what the engine takes, and a byte more, so that it says what is too large.
const VALUE_MAX: u64 = 10 * 1024 * 1024 + 1;
/// Deepest nesting of keys.
const KEY_DEPTH_MAX: usize = 32;
const HINT: &str =
    "give name=text, name:=json, @file, - for standard input, or one JSON value such as '\"text\"'";

/// The value that the words say; `null` where there are none. JSON that was given as such is passed on byte for byte.
///
/// # Errors
/// [`CliError::Usage`] for words that are no value, and for a file that cannot be read; [`CliError::System`] where standard
/// input cannot.
pub(crate) fn value(words: &[String]) -> Result<Box<RawValue>, CliError> {
    match words {
        [] => Ok(RawValue::NULL.to_owned()),
        [word] if pair(word).is_none() => single(word),
        words => {
            let mut object = Map::new();
            for word in words {
                let wrong = || CliError::usage(format!("{word:?} is no name=text"), HINT);
                let (path, value) = pair(word).ok_or_else(wrong)?;
                put(&mut object, path, read(value)?, word)?;
            }
            // An object has a JSON form.
            serde_json::value::to_raw_value(&object)
                .map_err(|error| CliError::usage(error.to_string(), HINT))
        }
    }
}

/// What stands behind the name of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said<'a> {
    Text(&'a str),
    Json(&'a str),
}

/// `name=text` or `name:=json`; nothing where it is neither.
fn pair(word: &str) -> Option<(&str, Said<'_>)> {
    let (name, value) = word.split_once('=')?;
    let (name, said) = match name.strip_suffix(':') {
        Some(name) => (name, Said::Json(value)),
        None => (name, Said::Text(value)),
    };
    let first = name.chars().next()?;
    let is_name = first.is_alphanumeric() || first == '_';
    let goes_on = |c: char| c.is_alphanumeric() || "_-.".contains(c);
    (is_name && name.chars().all(goes_on)).then_some((name, said))
}

fn read(said: Said<'_>) -> Result<Value, CliError> {
    match said {
        Said::Text(text) => match text.strip_prefix('@') {
            Some(path) => Ok(Value::String(file(path)?)),
            None => Ok(Value::String(text.to_owned())),
        },
        Said::Json(json) => {
            let text = match json.strip_prefix('@') {
                Some(path) => file(path)?,
                None => json.to_owned(),
            };
            serde_json::from_str(&text).map_err(|error| not_json(&text, &error))
        }
    }
}

fn single(word: &str) -> Result<Box<RawValue>, CliError> {
    let text = match (word, word.strip_prefix('@')) {
        ("-", _) => standard_input()?,
        (_, Some(path)) => file(path)?,
        (word, None) => word.to_owned(),
    };
    RawValue::from_string(text.trim().to_owned()).map_err(|error| not_json(&text, &error))
}

/// Puts a value under its path: `a.b` is `b` in `a`.
fn put(
    object: &mut Map<String, Value>,
    path: &str,
    value: Value,
    word: &str,
) -> Result<(), CliError> {
    let twice = || {
        let what = format!("{word:?} says once more what is said already");
        CliError::usage(what, "say each name once")
    };
    let parts: Vec<&str> = path.split('.').collect();
    if parts.len() > KEY_DEPTH_MAX || parts.iter().any(|part| part.is_empty()) {
        return Err(CliError::usage(format!("{path:?} is no name"), HINT));
    }
    let (last, outer) = parts.split_last().ok_or_else(twice)?;
    let mut inner = object;
    for part in outer {
        let next = inner
            .entry(*part)
            .or_insert_with(|| Value::Object(Map::new()));
        inner = next.as_object_mut().ok_or_else(twice)?;
    }
    match inner.insert((*last).to_owned(), value) {
        Some(_) => Err(twice()),
        None => Ok(()),
    }
}

fn not_json(text: &str, error: &serde_json::Error) -> CliError {
    let begin: String = text.chars().take(40).collect();
    CliError::usage(format!("{begin:?} is no JSON: {error}"), HINT)
}

fn file(path: &str) -> Result<String, CliError> {
    let failed = |error: std::io::Error| {
        let what = format!("{path} cannot be read: {error}");
        CliError::usage(
            what,
            "behind @ stands the path of a file with text in UTF-8",
        )
    };
    if path == "-" {
        return standard_input();
    }
    let file = std::fs::File::open(path).map_err(failed)?;
    whole(file).map_err(failed)
}

fn standard_input() -> Result<String, CliError> {
    let failed = |error| CliError::System {
        what: "standard input cannot be read".into(),
        error,
    };
    whole(std::io::stdin().lock()).map_err(failed)
}

fn whole(from: impl Read) -> std::io::Result<String> {
    let mut text = String::new();
    from.take(VALUE_MAX).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(words: &[&str]) -> Option<String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        value(&words).ok().map(|value| value.get().to_owned())
    }

    #[test]
    fn words_are_the_value_they_say() {
        let table: [(&[&str], &str); 8] = [
            (&[], "null"),
            (&["name=Ada"], r#"{"name":"Ada"}"#),
            (&["n:=17", "ok:=true"], r#"{"n":17,"ok":true}"#),
            (&["a.b=1", "a.c:=[2]"], r#"{"a":{"b":"1","c":[2]}}"#),
            (&[r#"{"a" : 1.50}"#], r#"{"a" : 1.50}"#),
            (&[r#""a=b""#], r#""a=b""#),
            (&["url=http://x/?a=b"], r#"{"url":"http://x/?a=b"}"#),
            (&["-1.5e3"], "-1.5e3"),
        ];
        for (words, json) in table {
            assert_eq!(said(words).as_deref(), Some(json), "{words:?}");
        }
    }

    #[test]
    fn what_is_no_value_is_refused() {
        let table: [&[&str]; 7] = [
            &["text"],
            &["a=1", "text"],
            &["a=1", "a=2"],
            &["a=1", "a.b=2"],
            &["a..b=1"],
            &["n:=text"],
            &["@/there/is/no/such/file"],
        ];
        for words in table {
            assert_eq!(said(words), None, "{words:?}");
        }
    }
}
