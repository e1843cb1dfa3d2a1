//! `asks` and `answer`: what handlers ask people.

use crate::app::App;
use crate::error::CliError;
use crate::exit::Exit;
use crate::find::Care;
use crate::input;
use crate::output::{Form, Rows, Tone};
use crate::reach::Call;
use crate::view::ago;
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  outlive asks
  outlive asks refund-17 -o json")]
pub(crate) struct Asks {
    /// Of this task alone, by its id or the beginning of it
    id: Option<String>,
    /// Of this session
    #[arg(long, conflicts_with = "id")]
    session: Option<String>,
    /// Most that are listed
    #[arg(short = 'n', long, default_value_t = 100)]
    limit: usize,
    /// Goes on where a page ended: its `next`
    #[arg(long)]
    cursor: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  outlive answer refund-17 approve true
  outlive answer refund-17 approve amount:=90 note='as agreed' --digest 4f0c
With --digest the answer is for the question that was read, and for no other. An answer counts once: the same one again \
is no error.")]
pub(crate) struct Answer {
    /// The task, by its id
    id: String,
    /// The key of the question
    key: String,
    /// The answer, as the input of `outlive start`
    #[arg(required = true, allow_negative_numbers = true)]
    answer: Vec<String>,
    /// Only if this is what is asked: the digest of the question
    #[arg(long)]
    digest: Option<String>,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    asks: Vec<&'a RawValue>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Open {
    task_id: String,
    key: String,
    question: serde_json::Value,
    asked_at: String,
    deadline: Option<String>,
    default: Option<serde_json::Value>,
    digest: String,
}

#[derive(Serialize)]
struct Body<'a> {
    answer: &'a RawValue,
    digest: Option<&'a str>,
}

impl Asks {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, CliError> {
        let call = match &self.id {
            Some(id) => {
                let id = app.task_id(id, Care::Look).await?;
                Call::get(&["v1", "tasks", &id, "asks"])
            }
            None => Call::get(&["v1", "asks"]).query_if("session_id", self.session.as_ref()),
        };
        let call = call
            .query("limit", self.limit.to_string())
            .query_if("cursor", self.cursor);
        let answer = app.send(call).await?;
        let page: Page<'_> = answer.parsed()?;
        let mut rows = Rows::new(&[
            "TASK", "KEY", "QUESTION", "ASKED", "DEADLINE", "DEFAULT", "DIGEST",
        ]);
        for ask in &page.asks {
            match app.out.form {
                Form::Json => {}
                Form::Jsonl => app.out.json_line(ask.get())?,
                Form::Table => row(&mut rows, answer.of(ask)?),
            }
        }
        match app.out.form {
            Form::Json => app.out.json(&answer.body)?,
            Form::Jsonl => {}
            Form::Table if rows.is_empty() => app.out.note("nobody asks anything"),
            Form::Table => app.out.table(rows)?,
        }
        if let Some(next) = page.next.filter(|_| app.out.form != Form::Json) {
            app.out.note(&format!("there are more: --cursor {next}"));
        }
        Ok(Exit::Done)
    }
}

fn row(rows: &mut Rows, ask: Open) {
    let question = match ask.question {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    let default = ask.default.map(|default| default.to_string());
    rows.push([
        (Tone::Strong, ask.task_id),
        (Tone::Plain, ask.key),
        (Tone::Plain, question),
        (Tone::Faint, ago(&ask.asked_at)),
        (
            Tone::Waiting,
            ask.deadline.as_deref().map(ago).unwrap_or_default(),
        ),
        (Tone::Plain, default.unwrap_or_default()),
        (Tone::Faint, ask.digest),
    ]);
}

impl Answer {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, CliError> {
        let answer = input::value(&self.answer)?;
        let id = app.task_id(&self.id, Care::Change).await?;
        let body = Body {
            answer: &answer,
            digest: self.digest.as_deref(),
        };
        app.send(Call::post(&["v1", "tasks", &id, "asks", &self.key]).json(&body))
            .await?;
        if app.out.is_for_people() {
            app.out
                .text(Tone::Plain, &format!("{id} has its answer to {}", self.key))?;
        }
        Ok(Exit::Done)
    }
}
