//! `start` and `steer`: a task begins, or is given a further input.

use crate::app::App;
use crate::error::CliError;
use crate::exit::Exit;
use crate::filter::tag_of;
use crate::find::Care;
use crate::input;
use crate::reach::{Call, Opening};
use crate::verbs::result::{Wait, told};
use crate::when::{self, Towards};
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  outlive start summarize url=https://example.com/17 pages:=3 --id doc-17
  outlive start greet '\"Ada\"' --wait
  cat case.json | outlive start case - --key case-17
The id of the task is printed once its input is durable. Give every start a --key: whoever did not learn whether it arrived \
gives the same call once more, and with the key it attaches, whatever became of the first. Without one the same --id and \
input attach only while the first turn of a task that is not steerable is open: a steerable task queues the input as a \
further one, and one that has ended refuses it.
On a server only definitions that are `remote` may be started. On a file nobody runs the task: it waits for a program that \
has its handler, and has none of what only that program adds to it (options, titles, tags).")]
pub(crate) struct Start {
    /// The name of its definition
    task: String,
    /// What it is given: name=text, name:=json, @file, - for standard input, or one JSON value; null if left out
    #[arg(allow_negative_numbers = true)]
    input: Vec<String>,
    /// Its id; one is made if left out
    #[arg(long)]
    id: Option<String>,
    /// The id of the input: given again, also after a crash, it attaches to the first
    #[arg(long)]
    key: Option<String>,
    /// Only if this is the task's last input
    #[arg(long, value_name = "INPUT ID")]
    after: Option<String>,
    /// What happens where the task refuses it
    #[arg(long, value_enum, default_value_t = Conflict::Refuse)]
    on_conflict: Conflict,
    /// On a file: its definition, or the file itself, may be new
    #[arg(long)]
    new: bool,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    about: About,
}

/// What is said about a new task.
#[derive(Debug, Args)]
#[command(next_help_heading = "About the task")]
struct About {
    /// At most 256 bytes
    #[arg(long)]
    title: Option<String>,
    /// At most 1,024 bytes
    #[arg(long)]
    description: Option<String>,
    /// As key=value; as often as needed
    #[arg(long, value_name = "KEY=VALUE")]
    tag: Vec<String>,
    /// Its session
    #[arg(long)]
    session: Option<String>,
    /// 0 first to 7 last
    #[arg(long)]
    priority: Option<u8>,
    /// How failed attempts are tried again
    #[arg(long, value_enum)]
    retry: Option<Policy>,
    /// Attempts in all, counting the first; with --retry
    #[arg(long, requires = "retry")]
    attempts: Option<u32>,
    /// How long one turn may take
    #[arg(long, value_name = "TIME")]
    timeout: Option<String>,
    /// How long it is kept after its end
    #[arg(long, value_name = "TIME")]
    keep: Option<String>,
    /// Not before this moment: in 5m, 2h, a date, a time
    #[arg(long, value_name = "MOMENT")]
    at: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Conflict {
    /// It is refused
    Refuse,
    /// A task that has ended begins anew
    Restart,
    /// The answer is for the input it has
    Attach,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Policy {
    /// 3 attempts, 1 s apart and then twice as long each
    Exponential,
    /// 3 attempts, 5 s apart
    Fixed,
    /// 5 attempts, 1 s more apart each
    Linear,
    /// One attempt
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Delivery {
    /// The turn is told, and the next one begins with it
    Interrupt,
    /// The turn may take it when it likes
    AtBoundary,
    /// The next turn begins with it
    AfterTurn,
}

#[derive(Serialize)]
struct RetryBody {
    kind: Policy,
    attempts: Option<u32>,
}

/// The body of a start. What is empty is as if it were left out.
#[derive(Serialize)]
struct Body<'a> {
    task: &'a str,
    task_id: Option<&'a str>,
    input: &'a RawValue,
    after: Option<&'a str>,
    on_conflict: Conflict,
    title: Option<&'a str>,
    description: Option<&'a str>,
    tags: BTreeMap<&'a str, &'a str>,
    session_id: Option<&'a str>,
    priority: Option<u8>,
    retry: Option<RetryBody>,
    timeout_ms: Option<u64>,
    keep_ms: Option<u64>,
    start_at: Option<String>,
}

impl Start {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, CliError> {
        self.wait.check()?;
        let input = input::value(&self.input)?;
        let body = self.body(&input)?;
        let names = if self.new {
            vec![self.task.clone()]
        } else {
            Vec::new()
        };
        let opening = Opening {
            create: self.new,
            start_for_others: Some(names),
        };
        let call = Call::post(&["v1", "tasks"]).json(&body);
        let call = call.header_if("idempotency-key", self.key.clone());
        let answer = app.reach_with(opening).await?.send(call).await?;
        told(app, answer, self.wait).await
    }

    fn body<'a>(&'a self, input: &'a RawValue) -> Result<Body<'a>, CliError> {
        let about = &self.about;
        let tags: Result<BTreeMap<_, _>, _> = about.tag.iter().map(|tag| tag_of(tag)).collect();
        let at = about
            .at
            .as_deref()
            .map(|text| when::moment(text, Towards::Future));
        Ok(Body {
            task: &self.task,
            task_id: self.id.as_deref(),
            input,
            after: self.after.as_deref(),
            on_conflict: self.on_conflict,
            title: about.title.as_deref(),
            description: about.description.as_deref(),
            tags: tags?,
            session_id: about.session.as_deref(),
            priority: about.priority,
            retry: about.retry.map(|kind| RetryBody {
                kind,
                attempts: about.attempts,
            }),
            timeout_ms: millis(about.timeout.as_deref())?,
            keep_ms: millis(about.keep.as_deref())?,
            start_at: at.transpose()?,
        })
    }
}

fn millis(text: Option<&str>) -> Result<Option<u64>, CliError> {
    let length = text.map(when::length).transpose()?;
    let whole = |length: Duration| u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
    Ok(length.map(whole))
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  outlive steer chat-3 text='a shorter one, please'
  outlive steer chat-3 @more.json --delivery after-turn --wait
It resumes a task that waits for an input; one that runs takes it if its definition is steerable. On a file nobody knows \
whether it is, so there a task that does not wait for an input refuses it.")]
pub(crate) struct Steer {
    /// The task, by its id
    id: String,
    /// What it is given, as for `outlive start`
    #[arg(allow_negative_numbers = true)]
    input: Vec<String>,
    /// How it comes to a turn that runs
    #[arg(long, value_enum, default_value_t = Delivery::Interrupt)]
    delivery: Delivery,
    /// The id of the input: given again, it attaches to the first
    #[arg(long)]
    key: Option<String>,
    /// Only if this is the task's last input
    #[arg(long, value_name = "INPUT ID")]
    after: Option<String>,
    #[command(flatten)]
    wait: Wait,
}

#[derive(Serialize)]
struct InputBody<'a> {
    input: &'a RawValue,
    delivery: Delivery,
    after: Option<&'a str>,
}

impl Steer {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, CliError> {
        self.wait.check()?;
        let input = input::value(&self.input)?;
        let opening = Opening {
            create: false,
            start_for_others: Some(Vec::new()),
        };
        app.reach_with(opening).await?;
        let id = app.task_id(&self.id, Care::Change).await?;
        let body = InputBody {
            input: &input,
            delivery: self.delivery,
            after: self.after.as_deref(),
        };
        let call = Call::post(&["v1", "tasks", &id, "inputs"]).json(&body);
        let answer = app
            .send(call.header_if("idempotency-key", self.key))
            .await?;
        told(app, answer, self.wait).await
    }
}
