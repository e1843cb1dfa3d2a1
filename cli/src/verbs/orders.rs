//! `cancel`, `terminate`, `retry`, `rm`, `resume`: what tasks are told.

use crate::app::App;
use crate::error::CliError;
use crate::exit::Exit;
use crate::filter::{Target, Which};
use crate::find::Care;
use crate::output::{Form, Tone};
use crate::reach::{Answer, Call};
use crate::verbs::result::{Wait, told};
use crate::view::Task;
use clap::Args;
use serde_json::json;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  outlive cancel doc-17 --reason 'not needed any more'
  outlive cancel --task summarize --status pending -y
A task that runs is told, and may end cleanly; one that waits ends at once.")]
pub(crate) struct Cancel {
    /// Kept with the task
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  outlive terminate doc-17 --reason 'it hangs'
Its handler is dropped at once, and the task never runs again unless it is retried.")]
pub(crate) struct Terminate {
    /// Kept with the task
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  outlive retry doc-17
  outlive retry --task summarize --since 1d -y
A task that failed, was cancelled or terminated gets a further run with the same input, and keeps the steps that are \
recorded. One that is quarantined is released.")]
pub(crate) struct Retry {
    /// Forgets the steps that are recorded
    #[arg(long)]
    from_start: bool,
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  outlive rm doc-17
  outlive rm --status completed --until 30d -y
The task, and all that belongs to it, is gone; its id is free. One that runs is removed with --force alone.")]
pub(crate) struct Rm {
    /// Also those that run: they are stopped first
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  outlive resume chat-3
A task that waits for an input is entered once more, with the bytes of its last one.")]
pub(crate) struct Resume {
    /// The task, by its id
    id: String,
    /// The id of the new input: given again, it attaches to the first
    #[arg(long)]
    key: Option<String>,
    #[command(flatten)]
    wait: Wait,
}

impl Cancel {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, CliError> {
        let words = ("cancel", "is cancelled, or told to end");
        end(app, &self.which, words, &self.reason).await
    }
}

impl Terminate {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, CliError> {
        let words = ("terminate", "is terminated");
        end(app, &self.which, words, &self.reason).await
    }
}

impl Retry {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, CliError> {
        let body = json!({"from_start": self.from_start});
        let call =
            |of: &Target| of.unchanged(Call::post(&["v1", "tasks", &of.id, "retry"]).json(&body));
        let fit = |task: &Task| match &task.outcome {
            Some(outcome) => outcome.kind != "succeeded",
            None => task.waits_for() == Some("quarantined"),
        };
        each(app, &self.which, ("retry", "is tried again"), fit, call).await
    }
}

impl Rm {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, CliError> {
        let force = self.force;
        let call = |of: &Target| {
            let call = Call::delete(&["v1", "tasks", &of.id]);
            of.unchanged(call.query_if("force", force.then_some("true")))
        };
        let fit = |task: &Task| force || task.status != "in_progress";
        each(app, &self.which, ("remove", "is removed"), fit, call).await
    }
}

impl Resume {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, CliError> {
        let id = app.task_id(&self.id, Care::Change).await?;
        let call = Call::post(&["v1", "tasks", &id, "resume"]);
        let key = self.key.filter(|_| !cfg!(planted = "cli_key_dropped"));
        let answer = app.send(call.header_if("idempotency-key", key)).await?;
        told(app, answer, self.wait).await
    }
}

fn is_open(task: &Task) -> bool {
    task.status != "completed"
}

/// Ends tasks: what is asked for is also the last part of its path.
async fn end(
    app: &App,
    which: &Which,
    words: (&str, &str),
    reason: &str,
) -> Result<Exit, CliError> {
    let body = json!({"reason": reason});
    let call = |of: &Target| Call::post(&["v1", "tasks", &of.id, words.0]).json(&body);
    each(app, which, words, is_open, call).await
}

/// Orders one task after the other. What is refused is told, and the others are ordered all the same.
async fn each(
    app: &App,
    which: &Which,
    (what, done): (&str, &str),
    fit: impl Fn(&Task) -> bool,
    call: impl Fn(&Target) -> Call,
) -> Result<Exit, CliError> {
    let targets = which.settled(app, what, fit).await?;
    let alone = targets.len() == 1;
    let mut exit = Exit::Done;
    let mut untold = None;
    for target in targets {
        let ordered = match target {
            Ok(target) => {
                let answer = app.send(call(&target)).await;
                answer.map(|answer| (target.id, answer))
            }
            Err(error) => Err(error),
        };
        match ordered {
            Ok((id, answer)) => {
                // A reader that goes has not called off what was agreed to.
                if let Err(error) = tell(app, (&id, done), &answer) {
                    if cfg!(planted = "cli_stops_with_its_reader") {
                        return Err(error);
                    }
                    untold.get_or_insert(error);
                }
            }
            Err(error) if alone => return Err(error),
            Err(error) => {
                let failed = app.failed(&error);
                if exit == Exit::Done {
                    exit = failed;
                }
            }
        }
    }
    match untold {
        Some(error) if error.exit() != Exit::Done => Err(error),
        Some(_) | None => Ok(exit),
    }
}

fn tell(app: &App, (id, done): (&str, &str), answer: &Answer) -> Result<(), CliError> {
    match (app.out.form, answer.body.is_empty()) {
        (Form::Table, _) => app.out.text(Tone::Plain, &format!("{id} {done}")),
        (Form::Json, _) => app.out.json(&answer.body),
        (Form::Jsonl, true) => app.out.json_line(&json!({"task_id": id}).to_string()),
        (Form::Jsonl, false) => app.out.json_line(&String::from_utf8_lossy(&answer.body)),
    }
}
