//! `show` and `explain`: one task, with all that is known of it, and why it stands where it stands.

use crate::app::App;
use crate::error::CliError;
use crate::exit::Exit;
use crate::find::Care;
use crate::output::{Form, Rows, Tone};
use crate::reach::{Answer, Call};
use crate::settings::quoted;
use crate::verbs::result::answer_to;
use crate::view::{Ended, Explanation, Task, ago};
use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;

/// So much of a value is shown among other things.
const VALUE_SHOWN: usize = 200;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  outlive show doc-17
  outlive show 0192 --steps")]
pub(crate) struct Show {
    /// The task, by its id or the beginning of it
    id: String,
    #[command(flatten)]
    part: Part,
}

/// What of a task.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct Part {
    /// The recorded steps of its latest turn instead
    #[arg(long)]
    steps: bool,
    /// The inputs that wait instead
    #[arg(long)]
    inputs: bool,
    /// Its earlier runs instead
    #[arg(long)]
    history: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  outlive explain doc-17
Says what the task waits for, since when, and what would make it go on.")]
pub(crate) struct Explain {
    /// The task, by its id or the beginning of it
    id: String,
}

#[derive(Deserialize)]
struct Line {
    at: String,
    turn: u32,
    what: String,
}

/// What a task has beside the fields that lists show.
#[derive(Deserialize)]
struct Beside<'a> {
    #[serde(borrow)]
    output: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
    timeline: Vec<Line>,
}

#[derive(Deserialize)]
struct Step<'a> {
    key: String,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    at: String,
    attempt: u32,
    sleeps_until: Option<String>,
}

#[derive(Deserialize)]
struct Input {
    input_id: String,
    delivery: String,
    accepted_at: String,
    size: u64,
    taken: Option<String>,
}

#[derive(Deserialize)]
struct Run {
    run: u32,
    turns: u32,
    outcome: Ended,
    ended_at: String,
}

#[derive(Deserialize)]
struct Steps<'a> {
    #[serde(borrow)]
    steps: Vec<Step<'a>>,
}

#[derive(Deserialize)]
struct Inputs {
    inputs: Vec<Input>,
}

#[derive(Deserialize)]
struct History {
    runs: Vec<Run>,
}

/// How people are shown a part of a task.
type Shown = fn(&App, &Answer) -> Result<(), CliError>;

impl Show {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, CliError> {
        let id = app.task_id(&self.id, Care::Look).await?;
        let of = |part: &str| Call::get(&["v1", "tasks", &id, part]);
        let (call, shown): (Call, Shown) = match self.part {
            Part { steps: true, .. } => (of("steps"), steps),
            Part { inputs: true, .. } => (of("inputs"), inputs),
            Part { history: true, .. } => (of("history"), history),
            Part { .. } => (Call::get(&["v1", "tasks", &id]), task),
        };
        let answer = app.send(call).await?;
        match app.out.form {
            Form::Json => app.out.json(&answer.body)?,
            Form::Jsonl => app.out.json_line(&String::from_utf8_lossy(&answer.body))?,
            Form::Table => shown(app, &answer)?,
        }
        Ok(Exit::Done)
    }
}

impl Explain {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, CliError> {
        let id = app.task_id(&self.id, Care::Look).await?;
        let answer = app
            .send(Call::get(&["v1", "tasks", &id, "explain"]))
            .await?;
        match app.out.form {
            Form::Json => app.out.json(&answer.body)?,
            Form::Jsonl => app.out.json_line(&String::from_utf8_lossy(&answer.body))?,
            Form::Table => {
                let why: Explanation = answer.parsed()?;
                app.out.text(Tone::Plain, &why.words)?;
                if let Some(key) = why.asked() {
                    let (at, id) = (app.settings.flags(), &why.task_id);
                    app.out.note(&format!("hint:  {}", answer_to(app, id, key)));
                    app.out
                        .note(&format!("next:  outlive{at} asks {}", quoted(id)));
                }
            }
        }
        Ok(Exit::Done)
    }
}

fn task(app: &App, answer: &Answer) -> Result<(), CliError> {
    let (task, beside): (Task, Beside<'_>) = (answer.parsed()?, answer.parsed()?);
    let mut rows = Rows::new(&[]);
    let mut text = |name: &str, value: &str| rows.pair(name, (Tone::Plain, value));
    text("task", &task.task_id);
    text("definition", &task.task);
    let (tone, standing) = task.standing();
    rows.pair("status", (tone, &standing));
    let mut text = |name: &str, value: Option<&str>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            rows.pair(name, (Tone::Plain, value));
        }
    };
    text(
        "outcome",
        task.outcome.as_ref().map(Ended::words).as_deref(),
    );
    text("waits for", task.waits_for_words().as_deref());
    text(
        "last error",
        task.error.as_ref().map(|error| error.words()).as_deref(),
    );
    text("cancel asked", task.cancel_requested.as_deref());
    text("title", task.title.as_deref());
    text("description", task.description.as_deref());
    let tags: Vec<String> = task
        .tags
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    text("tags", Some(&tags.join(" ")));
    text("session", task.session_id.as_deref());
    text("owner", Some(&task.owner));
    text("parent", task.parent.as_deref());
    let turn = format!(
        "run {}, turn {}, attempt {}",
        task.run, task.turn, task.attempt
    );
    text("is in", Some(&turn));
    if task.crashes > 0 {
        text("crashes", Some(&task.crashes.to_string()));
    }
    text("last input", Some(&task.last_input_id));
    if task.inputs_waiting > 0 {
        text("inputs waiting", Some(&task.inputs_waiting.to_string()));
    }
    for (name, moment) in [
        ("created", Some(&task.created_at)),
        ("since", Some(&task.since)),
        ("due", task.due_at.as_ref()),
        ("deadline", task.deadline_at.as_ref()),
        ("kept until", task.expires_at.as_ref()),
    ] {
        let told = moment.map(|moment| format!("{moment} ({})", ago(moment)));
        text(name, told.as_deref());
    }
    text("etag", Some(&task.etag));
    text("metadata", beside.metadata.map(short).as_deref());
    text("output", beside.output.map(short).as_deref());
    app.out.table(rows)?;
    let mut lines = Rows::new(&["WHEN", "TURN", "WHAT"]);
    for line in beside.timeline {
        let cells = [ago(&line.at), line.turn.to_string(), line.what];
        lines.push(cells.map(|cell| (Tone::Plain, cell)));
    }
    app.out.text(Tone::Plain, "")?;
    app.out.table(lines)
}

fn steps(app: &App, answer: &Answer) -> Result<(), CliError> {
    let mut rows = Rows::new(&["STEP", "ATTEMPT", "AGE", "RESULT"]);
    for step in answer.parsed::<Steps<'_>>()?.steps {
        let result = match (step.result, step.sleeps_until) {
            (Some(result), _) => short(result),
            (None, Some(until)) => format!("sleeps until {until}"),
            (None, None) => String::new(),
        };
        let cells = [step.key, step.attempt.to_string(), ago(&step.at), result];
        rows.push(cells.map(|cell| (Tone::Plain, cell)));
    }
    listed(app, rows, "no step is recorded in its latest turn")
}

fn inputs(app: &App, answer: &Answer) -> Result<(), CliError> {
    let mut rows = Rows::new(&["INPUT", "DELIVERY", "AGE", "BYTES", "TAKEN AS"]);
    for input in answer.parsed::<Inputs>()?.inputs {
        let taken = input.taken.unwrap_or_default();
        let (age, size) = (ago(&input.accepted_at), input.size.to_string());
        let cells = [input.input_id, input.delivery, age, size, taken];
        rows.push(cells.map(|cell| (Tone::Plain, cell)));
    }
    listed(app, rows, "no input waits")
}

fn history(app: &App, answer: &Answer) -> Result<(), CliError> {
    let mut rows = Rows::new(&["RUN", "TURNS", "ENDED", "OUTCOME"]);
    for run in answer.parsed::<History>()?.runs {
        rows.push([
            (Tone::Plain, run.run.to_string()),
            (Tone::Plain, run.turns.to_string()),
            (Tone::Plain, ago(&run.ended_at)),
            (run.outcome.tone(), run.outcome.words()),
        ]);
    }
    listed(app, rows, "this is its first run")
}

/// A table; or, where there is nothing in it, why.
fn listed(app: &App, rows: Rows, nothing: &str) -> Result<(), CliError> {
    if rows.is_empty() {
        app.out.note(nothing);
        return Ok(());
    }
    app.out.table(rows)
}

/// A value, as far as there is room for it.
fn short(value: &RawValue) -> String {
    let text = value.get();
    match text.char_indices().nth(VALUE_SHOWN) {
        Some((at, _)) => format!("{}.. ({} bytes)", &text[..at], text.len()),
        None => text.to_owned(),
    }
}
