//! What a verb has found out: names and values for people, one object for programs.

use crate::app::App;
use crate::error::CliError;
use crate::output::{Rows, Tone};
use jiff::Timestamp;
use serde_json::{Map, Value};

/// Most lines of a list that people are shown.
const SHOWN_MAX: usize = 20;

/// Names and values, in the order in which people read them.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    said: Vec<(&'static str, Tone, Value)>,
    lists: Vec<(&'static str, Tone, Vec<Line>)>,
}

/// One of a list: for programs, and for people.
#[derive(Debug)]
pub(crate) struct Line {
    value: Value,
    text: String,
}

impl Line {
    pub(crate) fn new(value: Value, text: impl Into<String>) -> Line {
        let text = text.into();
        Line { value, text }
    }

    /// The same for both.
    pub(crate) fn text(text: String) -> Line {
        Line::new(Value::from(text.clone()), text)
    }
}

impl Facts {
    /// One value; without a word to people where it is none.
    pub(crate) fn say(&mut self, name: &'static str, value: impl Into<Value>) -> &mut Facts {
        self.say_in(Tone::Plain, name, value)
    }

    /// One value in a colour.
    pub(crate) fn say_in(
        &mut self,
        tone: Tone,
        name: &'static str,
        value: impl Into<Value>,
    ) -> &mut Facts {
        self.said.push((name, tone, value.into()));
        self
    }

    /// Some lines.
    pub(crate) fn list(&mut self, name: &'static str, tone: Tone, lines: Vec<Line>) -> &mut Facts {
        self.lists.push((name, tone, lines));
        self
    }

    /// Says all of it.
    ///
    /// # Errors
    /// [`CliError::Output`].
    pub(crate) fn tell(self, app: &App) -> Result<(), CliError> {
        if !app.out.is_for_people() {
            let lists = self.lists.into_iter().map(|(name, _, lines)| {
                (
                    name.to_owned(),
                    lines.into_iter().map(|line| line.value).collect(),
                )
            });
            let said = self
                .said
                .into_iter()
                .map(|(name, _, value)| (name.to_owned(), value));
            let all: Map<String, Value> = said.chain(lists).collect();
            return app.out.json_line(&Value::Object(all).to_string());
        }
        let mut rows = Rows::new(&[]);
        for (name, tone, value) in &self.said {
            if !value.is_null() {
                rows.pair(&name.replace('_', " "), (*tone, &text(value)));
            }
        }
        for (name, tone, lines) in &self.lists {
            for (n, line) in lines.iter().take(SHOWN_MAX).enumerate() {
                let name = match n {
                    0 => name.replace('_', " "),
                    _ => String::new(),
                };
                rows.pair(&name, (*tone, &line.text));
            }
            if let Some(more) = lines.len().checked_sub(SHOWN_MAX + 1) {
                let more = format!("and {} more: -o json has them", more + 1);
                rows.pair("", (Tone::Faint, &more));
            }
        }
        app.out.table(rows)
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(text).collect();
            values.join(", ")
        }
        Value::Null => "-".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

/// A moment as the API tells it.
pub(crate) fn moment(us: u64) -> Option<String> {
    let us = i64::try_from(us).ok()?;
    Some(Timestamp::from_microsecond(us).ok()?.to_string())
}

/// So many of something, whose name takes an s.
pub(crate) fn counted(count: u64, name: &str) -> String {
    match count {
        1 => format!("1 {name}"),
        count => format!("{count} {name}s"),
    }
}

/// A number of bytes as people say it.
pub(crate) fn bytes(bytes: u64) -> String {
    const STEP: f64 = 1024.0;
    let mut size = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if size < STEP {
            return match unit {
                "B" => format!("{bytes} B"),
                unit => format!("{size:.1} {unit}"),
            };
        }
        size /= STEP;
    }
    format!("{size:.1} TiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_told_in_the_largest_unit_that_fits() {
        for (n, said) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (3 << 29, "1.5 GiB"),
        ] {
            assert_eq!(bytes(n), said);
        }
        assert!(bytes(u64::MAX).ends_with(" TiB"));
    }

    #[test]
    fn a_moment_is_told_as_the_api_tells_it() {
        assert_eq!(moment(0).as_deref(), Some("1970-01-01T00:00:00Z"));
        assert_eq!(moment(u64::MAX), None);
    }
}
