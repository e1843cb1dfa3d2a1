//! `stats`, `version` and `config`: the engine, the program and its settings.

use crate::app::App;
use crate::error::CliError;
use crate::exit::Exit;
use crate::filter::{Filter, PAGE_MAX};
use crate::output::{Form, Rows, Tone};
use crate::reach::Call;
use crate::settings::{OWN, Place};
use crate::view::Task;
use clap::{Args, ValueEnum};
use outlive_server::Settings;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  outlive stats
  outlive stats --count")]
pub(crate) struct Stats {
    /// Counts the tasks, by definition and status; it looks at every one
    #[arg(long)]
    count: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  outlive version --url http://localhost:7420")]
pub(crate) struct Version {}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  OUTLIVE_STORE=tasks.redb outlive config
What is said nearer counts: a flag, a variable OUTLIVE_NAME, a line of the file that --config or OUTLIVE_CONFIG names, the \
default.")]
pub(crate) struct Config {}

#[derive(Deserialize)]
struct Page {
    tasks: Vec<Task>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Types {
    task_types: Vec<Type>,
}

#[derive(Deserialize)]
struct Type {
    task: String,
    remote: bool,
}

impl Stats {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, CliError> {
        if self.count {
            return counted(app).await;
        }
        let store = app.send(Call::get(&["v1", "store"])).await?;
        match app.out.form {
            Form::Json => app.out.json(&store.body)?,
            Form::Jsonl => app.out.json_line(&String::from_utf8_lossy(&store.body))?,
            Form::Table => {
                let types = app.send(Call::get(&["v1", "task-types"])).await?;
                let mut rows = Rows::new(&[]);
                pairs(&mut rows, "", &store.parsed()?);
                for kind in types.parsed::<Types>()?.task_types {
                    let remote = if kind.remote {
                        "remote"
                    } else {
                        "from inside alone"
                    };
                    rows.pair(
                        "definition",
                        (Tone::Plain, &format!("{} ({remote})", kind.task)),
                    );
                }
                app.out.table(rows)?;
            }
        }
        Ok(Exit::Done)
    }
}

/// Each value under its path.
fn pairs(rows: &mut Rows, path: &str, value: &Value) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                pairs(rows, &path, value);
            }
        }
        Value::Null => {}
        Value::String(text) => rows.pair(path, (Tone::Plain, text)),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
            rows.pair(path, (Tone::Plain, &value.to_string()));
        }
    }
}

async fn counted(app: &App) -> Result<Exit, CliError> {
    let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
    let (filter, mut cursor) = (Filter::default(), None);
    loop {
        let call = filter.call(PAGE_MAX, cursor.as_deref())?;
        let page: Page = app.send(call).await?.parsed()?;
        for task in page.tasks {
            let status = task.outcome.map_or(task.status, |outcome| outcome.kind);
            *counts.entry((task.task, status)).or_default() += 1;
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let mut rows = Rows::new(&["TASK", "STATUS", "COUNT"]);
    let mut all = Vec::new();
    for ((task, status), count) in counts {
        let line = json!({"task": task, "status": status, "count": count});
        if app.out.form == Form::Jsonl {
            app.out.json_line(&line.to_string())?;
        }
        all.push(line);
        rows.push([task, status, count.to_string()].map(|cell| (Tone::Plain, cell)));
    }
    match app.out.form {
        Form::Json => app.out.json(Value::Array(all).to_string().as_bytes())?,
        Form::Jsonl => {}
        Form::Table => app.out.table(rows)?,
    }
    Ok(Exit::Done)
}

impl Version {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, CliError> {
        let own = env!("CARGO_PKG_VERSION");
        let server = match app.place() {
            Place::Url(_) => Some(app.send(Call::get(&["version"])).await?),
            Place::File(_) => None,
        };
        if app.out.is_for_people() {
            app.out.text(Tone::Plain, &format!("outlive {own}"))?;
        }
        let told = json!({"name": "outlive-cli", "version": own}).to_string();
        match (app.out.form, server) {
            (Form::Json, Some(answer)) => app.out.json(&answer.body)?,
            (Form::Json, None) => app.out.json(told.as_bytes())?,
            (Form::Jsonl, None) => app.out.json_line(&told)?,
            (Form::Jsonl, Some(answer)) => {
                app.out.json_line(&String::from_utf8_lossy(&answer.body))?;
            }
            (Form::Table, None) => {}
            (Form::Table, Some(answer)) => {
                let mut rows = Rows::new(&[]);
                pairs(&mut rows, "server", &answer.parsed()?);
                app.out.table(rows)?;
            }
        }
        Ok(Exit::Done)
    }
}

impl Config {
    pub(crate) fn run(self, app: &App) -> Result<Exit, CliError> {
        let own = &app.settings;
        let place = match &own.place.value {
            Place::File(path) => ("store", path.display().to_string()),
            Place::Url(url) => ("url", url.clone()),
        };
        let name = |value: &dyn Fn() -> Option<String>| value().unwrap_or_default();
        let form = || Some(own.form.value.to_possible_value()?.get_name().to_owned());
        let colour = || Some(own.colour.value.to_possible_value()?.get_name().to_owned());
        let mut all = vec![
            (place.0.to_owned(), place.1, own.place.origin.to_string()),
            (
                "output".to_owned(),
                name(&form),
                own.form.origin.to_string(),
            ),
            (
                "color".to_owned(),
                name(&colour),
                own.colour.origin.to_string(),
            ),
        ];
        let flags = app.config.clone().map(|path| ("config", path));
        let server = Settings::beside(&OWN, flags, |name| std::env::var(name).ok())?;
        let of_server = server.entries().into_iter();
        all.extend(
            of_server.map(|(name, value, origin)| (name.to_owned(), value, origin.to_string())),
        );
        let mut rows = Rows::new(&["SETTING", "VALUE", "FROM"]);
        let mut told = Vec::new();
        for (name, value, origin) in all {
            told.push(json!({"name": name, "value": value, "origin": origin}));
            rows.push([name, value, origin].map(|cell| (Tone::Plain, cell)));
        }
        match app.out.form {
            Form::Json => app.out.json(Value::Array(told).to_string().as_bytes())?,
            Form::Jsonl => {
                for line in told {
                    app.out.json_line(&line.to_string())?;
                }
            }
            Form::Table => app.out.table(rows)?,
        }
        Ok(Exit::Done)
    }
}
