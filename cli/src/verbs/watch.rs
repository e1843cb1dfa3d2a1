//! `watch`: what a task emits, or what happens to all tasks, as it comes.

use crate::app::App;
use crate::error::CliError;
use crate::exit::Exit;
use crate::find::Care;
use crate::output::{Form, Tone};
use crate::reach::sse::Event;
use crate::reach::{Call, Follow};
use crate::view::Ended;
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  outlive watch doc-17
  outlive watch doc-17 --items > items.jsonl
  outlive watch --from start -o jsonl
With an id: the task's stream, from its beginning to its end, and the status of that end (0, 5, 6, 7). Without one: every \
transition of every task, from now on. When the connection ends it is made again, and each event comes once. On a file \
nobody adds to it meanwhile, so it ends with what there is.
With -o json and jsonl each line is {\"id\", \"event\", \"data\"}, the data as the API sent it.")]
pub(crate) struct Watch {
    /// The task, by its id or the beginning of it
    id: Option<String>,
    /// Behind this event: its number, `start`, or (without a task) `now`
    #[arg(long, value_name = "PLACE")]
    from: Option<String>,
    /// The items alone, each on a line, as they are stored
    #[arg(long, requires = "id")]
    items: bool,
}

#[derive(Deserialize)]
struct Store {
    last_event: u64,
}

#[derive(Deserialize)]
struct Transition {
    task_id: String,
    task: String,
    what: String,
    turn: u32,
    attempt: u32,
    at: String,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    item: &'a RawValue,
}

#[derive(Deserialize)]
struct End {
    outcome: Ended,
}

/// An event as a line.
#[derive(Serialize)]
struct Line<'a> {
    id: Option<&'a str>,
    event: &'a str,
    data: &'a RawValue,
}

impl Watch {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, CliError> {
        let reach = app.reach().await?;
        let call = match &self.id {
            Some(id) => {
                let id = app.task_id(id, Care::Look).await?;
                let from = self.from.as_deref().filter(|from| *from != "start");
                Call::get(&["v1", "tasks", &id, "stream"]).query_if("after", from)
            }
            None => Call::get(&["v1", "events"]).query_if("after", self.begin(app).await?),
        };
        let lost = |error: &CliError| app.out.note(&format!("{error}; trying again"));
        let mut follow = Follow::new(reach, call, lost);
        let mut exit = Exit::Done;
        while let Some(event) = follow.next().await? {
            self.show(app, &event)?;
            if event.name == "end" && self.id.is_some() {
                exit =
                    serde_json::from_str::<End>(&event.data).map_or(exit, |end| end.outcome.exit());
                return Ok(exit);
            }
        }
        if reach.is_file() && app.out.is_for_people() {
            app.out
                .note("that is all there is so far; nobody works on it here");
        }
        Ok(exit)
    }

    /// The event to begin behind, in the log of the whole store.
    async fn begin(&self, app: &App) -> Result<Option<String>, CliError> {
        let now = if app.reach().await?.is_file() {
            "start"
        } else {
            "now"
        };
        match self.from.as_deref().unwrap_or(now) {
            "start" => Ok(None),
            "now" => {
                let store: Store = app.send(Call::get(&["v1", "store"])).await?.parsed()?;
                Ok(Some(store.last_event.to_string()))
            }
            place => Ok(Some(place.to_owned())),
        }
    }

    fn show(&self, app: &App, event: &Event) -> Result<(), CliError> {
        if self.items {
            return match serde_json::from_str::<Item<'_>>(&event.data) {
                Ok(item) if event.name == "item" => app.out.json_line(item.item.get()),
                Ok(_) | Err(_) => Ok(()),
            };
        }
        match app.out.form {
            Form::Table => for_people(app, event),
            Form::Json | Form::Jsonl => {
                let data: &RawValue = match serde_json::from_str(&event.data) {
                    Ok(data) => data,
                    Err(_) => RawValue::NULL,
                };
                let (id, event) = (event.id.as_deref(), event.name.as_str());
                // A line of ours has a JSON form.
                let line = serde_json::to_string(&Line { id, event, data }).unwrap_or_default();
                app.out.json_line(&line)
            }
        }
    }
}

fn for_people(app: &App, event: &Event) -> Result<(), CliError> {
    let data = event.data.as_str();
    match event.name.as_str() {
        "item" => match serde_json::from_str::<Item<'_>>(data) {
            Ok(item) => app.out.text(Tone::Plain, &one_line(item.item.get())),
            Err(_) => app.out.text(Tone::Bad, &one_line(data)),
        },
        "transition" => match serde_json::from_str::<Transition>(data) {
            Ok(told) => app.out.text(tone(&told.what), &told.words()),
            Err(_) => app.out.text(Tone::Bad, &one_line(data)),
        },
        "end" => match serde_json::from_str::<End>(data) {
            Ok(end) => app
                .out
                .text(end.outcome.tone(), &format!("-- {}", end.outcome.words())),
            Err(_) => app.out.text(Tone::Bad, &one_line(data)),
        },
        // What a step has emitted and keeps was shown when it came.
        "kept" => Ok(()),
        "gap" => app.out.text(Tone::Waiting, "-- some are not kept any more"),
        "reset" => {
            let what = "-- an attempt ended: of what it emitted, what a step keeps counts";
            app.out.text(Tone::Faint, what)
        }
        name => app
            .out
            .text(Tone::Faint, &format!("-- {name} {}", one_line(data))),
    }
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

impl Transition {
    fn words(&self) -> String {
        let Transition {
            task_id,
            task,
            what,
            turn,
            attempt,
            at,
        } = self;
        let at = at.split_once('.').map_or(at.as_str(), |(whole, _)| whole);
        format!("{at}  {task_id}  {task}  {what} (turn {turn}, attempt {attempt})")
    }
}

fn tone(what: &str) -> Tone {
    match what {
        "succeeded" => Tone::Good,
        "failed" | "terminated" | "quarantined" | "timed_out" => Tone::Bad,
        "claimed" | "recovered" => Tone::Busy,
        "suspended" | "parked" => Tone::Waiting,
        _ => Tone::Plain,
    }
}
