//! `result`: what a task's turn returned, and the wait for it.

use crate::app::App;
use crate::error::CliError;
use crate::exit::Exit;
use crate::find::Care;
use crate::output::{Form, Tone};
use crate::reach::{Answer, Call};
use crate::settings::quoted;
use crate::view::{Ended, Explanation, Started};
use crate::when;
use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::time::Duration;
use tokio::time::Instant;

/// The longest wait that one request asks for; the server gives no more.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// How long to wait before a server that does not answer any more is asked again.
const PAUSE: Duration = Duration::from_secs(1);
/// The status of an answer that says: not yet.
const NOT_YET: u16 = 202;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  outlive result doc-17 --timeout 5m > summary.json
  outlive result doc-17 -o json
The output is printed as it is stored, byte for byte. The status tells how the turn ended: 0 succeeded, 5 failed or \
terminated, 6 cancelled, 7 suspended until an input (also where its value cannot be read), 124 not yet: it runs, sleeps, or \
waits for an answer. On a file nobody runs the task meanwhile, so there is no wait.")]
pub(crate) struct ResultOf {
    /// The task, by its id or the beginning of it
    id: String,
    /// Of this input, instead of the last one
    #[arg(long, value_name = "ID")]
    input: Option<String>,
    /// Waits no longer than this; 0 does not wait at all
    #[arg(long, value_name = "TIME")]
    timeout: Option<String>,
}

impl ResultOf {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, CliError> {
        let timeout = self.timeout.as_deref().map(when::length).transpose()?;
        let id = app.task_id(&self.id, Care::Look).await?;
        let answer = waited(app, &id, self.input.as_deref(), timeout).await?;
        shown(app, &answer)
    }
}

/// Whether a start waits for the end.
#[derive(Debug, Clone, Args)]
pub(crate) struct Wait {
    /// Waits for the result, and ends as `outlive result` does
    #[arg(short, long)]
    wait: bool,
    /// With --wait: no longer than this
    #[arg(long, value_name = "TIME", requires = "wait")]
    wait_timeout: Option<String>,
}

impl Wait {
    /// As the grammar has it.
    ///
    /// # Errors
    /// [`CliError::Usage`] for what is no time.
    pub(crate) fn check(&self) -> Result<(), CliError> {
        self.wait_timeout
            .as_deref()
            .map_or(Ok(()), |text| when::length(text).map(drop))
    }
}

/// Tells of an input that was accepted: its task's id, or the whole answer; with the result, where that is waited for.
pub(crate) async fn told(app: &App, answer: Answer, wait: Wait) -> Result<Exit, CliError> {
    if answer.status != NOT_YET {
        return shown(app, &answer);
    }
    let started: Started = answer.parsed()?;
    if wait.wait {
        let timeout = wait.wait_timeout.as_deref().map(when::length).transpose()?;
        app.out
            .note(&format!("{}: {}", started.task_id, started.words()));
        let answer = waited(app, &started.task_id, Some(&started.input_id), timeout).await?;
        return shown(app, &answer);
    }
    match app.out.form {
        Form::Json => app.out.json(&answer.body)?,
        Form::Jsonl => app.out.json_line(&String::from_utf8_lossy(&answer.body))?,
        Form::Table => {
            app.out.text(Tone::Plain, &started.task_id)?;
            app.out.note(&started.words());
        }
    }
    if app.reach().await?.is_file() && app.out.is_for_people() {
        app.out
            .note("nobody runs it here: it waits for a program that has its handler");
    }
    Ok(Exit::Done)
}

/// Waits for the end of a turn.
async fn waited(
    app: &App,
    id: &str,
    input: Option<&str>,
    timeout: Option<Duration>,
) -> Result<Answer, CliError> {
    let reach = app.reach().await?;
    // What nobody runs does not end; and nobody can, as long as the file is held here.
    let timeout = if reach.is_file() {
        Some(Duration::ZERO)
    } else {
        timeout
    };
    let until =
        timeout.map(|timeout| Instant::now() + timeout.min(Duration::from_secs(u32::MAX.into())));
    let left = || until.map(|until| until.saturating_duration_since(Instant::now()));
    let mut is_lost = false;
    loop {
        let wait = left().unwrap_or(WAIT_MAX).min(WAIT_MAX);
        let call = Call::get(&["v1", "tasks", id, "result"]).query_if("input_id", input);
        let call = call.header("prefer", format!("wait={}", wait.as_secs()));
        let pause = match reach.send(call).await {
            Ok(answer) if answer.status != NOT_YET => return Ok(answer),
            Ok(answer) if left().is_some_and(|left| left.is_zero()) => {
                return Err(not_yet(app, id, &answer).await?);
            }
            // A wait is told in whole seconds; what is less is waited for here.
            Ok(_) if wait < PAUSE => wait,
            Ok(_) => Duration::ZERO,
            // It has answered before, so it may come back; the task goes on with it.
            Err(error) if error.exit() == Exit::Unreachable && !reach.is_file() => {
                if left().is_some_and(|left| left.is_zero()) {
                    return Err(error);
                }
                if !std::mem::replace(&mut is_lost, true) {
                    app.out.note(&format!("{error}; trying again"));
                }
                wait.min(PAUSE)
            }
            Err(error) => return Err(error),
        };
        tokio::time::sleep(pause).await;
    }
}

async fn not_yet(app: &App, id: &str, answer: &Answer) -> Result<CliError, CliError> {
    let started = answer.parsed::<Started>();
    let status = started.map_or_else(|_| "?".to_owned(), |started| started.status);
    let what = format!("{id} has no result yet: it is {status}");
    let why = app.send(Call::get(&["v1", "tasks", id, "explain"])).await?;
    if let Some(key) = why.parsed::<Explanation>()?.asked() {
        return Ok(CliError::TimedOut {
            what: format!("{what} and waits for an answer"),
            hint: format!("it goes on with {}", answer_to(app, id, key)),
            next: format!("asks {}", quoted(id)),
        });
    }
    let hint = match app.reach().await?.is_file() {
        true => "nobody runs it here: the program that has its handler does",
        false => "the task goes on; ask again",
    };
    Ok(CliError::TimedOut {
        what,
        hint: hint.to_owned(),
        next: format!("explain {id}"),
    })
}

/// The call that answers what a task asks.
pub(crate) fn answer_to(app: &App, id: &str, key: &str) -> String {
    let (at, id, key) = (app.settings.flags(), quoted(id), quoted(key));
    format!("outlive{at} answer {id} {key} VALUE")
}

/// The result of an input, with its output as it came.
#[derive(Deserialize)]
struct Outcome<'a> {
    task_id: String,
    outcome: Ended,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
}

fn shown(app: &App, answer: &Answer) -> Result<Exit, CliError> {
    let outcome: Outcome<'_> = answer.parsed()?;
    match (app.out.form, outcome.output) {
        (Form::Json, _) => app.out.json(&answer.body)?,
        (Form::Jsonl, _) => app.out.json_line(&String::from_utf8_lossy(&answer.body))?,
        (Form::Table, Some(output)) => app.out.json(output.get().as_bytes())?,
        (Form::Table, None) => {}
    }
    let exit = outcome.outcome.exit();
    if exit != Exit::Done {
        app.out
            .note(&format!("{} {}", outcome.task_id, outcome.outcome.words()));
    }
    Ok(exit)
}
