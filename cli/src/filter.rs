//! Which tasks are meant: conditions that all must hold, and tasks by their ids.

use crate::app::App;
use crate::confirm::Yes;
use crate::error::CliError;
use crate::facts::counted;
use crate::find::Care;
use crate::reach::Call;
use crate::view::Task;
use crate::when::{self, Towards};
use clap::Args;
use serde::Deserialize;

/// Most tasks of one request.
pub(crate) const PAGE_MAX: usize = 500;
/// Most tasks that one batch may mean.
const BATCH_MAX: usize = 100_000;
/// So many are named in a question.
const NAMED: usize = 3;
/// How a task can stand.
const STATUSES: [&str; 4] = ["pending", "in_progress", "suspended", "completed"];

/// Conditions. All that are given must hold.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Filter {
    /// Of this definition
    #[arg(long, value_name = "NAME")]
    task: Option<String>,
    /// pending, in_progress, suspended or completed
    #[arg(long)]
    status: Option<String>,
    /// Of this session
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Of this owner
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
    /// With this tag, as key=value; as often as needed
    #[arg(long, value_name = "KEY=VALUE")]
    tag: Vec<String>,
    /// Created at this moment or later: 2h, "2h ago", a date, a time
    #[arg(long, value_name = "MOMENT")]
    since: Option<String>,
    /// Created before this moment
    #[arg(long, value_name = "MOMENT")]
    until: Option<String>,
    /// Those that wait for a person
    #[arg(long)]
    parked: bool,
}

impl Filter {
    /// Whether nothing is said.
    fn is_empty(&self) -> bool {
        let texts = [
            &self.task,
            &self.status,
            &self.session,
            &self.owner,
            &self.since,
            &self.until,
        ];
        texts.iter().all(|text| text.is_none()) && self.tag.is_empty() && !self.parked
    }

    /// The request for a page.
    pub(crate) fn call(&self, limit: usize, cursor: Option<&str>) -> Result<Call, CliError> {
        let moment = |text: &Option<String>| {
            text.as_deref()
                .map(|text| when::moment(text, Towards::Past))
                .transpose()
        };
        if let Some(status) = self.status.as_deref().filter(|at| !STATUSES.contains(at)) {
            let what = format!("{status:?} is no status of a task");
            let hint = "it is pending, in_progress, suspended or completed (and how one ended: outlive show ID)";
            return Err(CliError::usage(what, hint));
        }
        let mut call = Call::get(&["v1", "tasks"])
            .query("limit", limit.to_string())
            .query_if("task", self.task.as_ref())
            .query_if("status", self.status.as_ref())
            .query_if("session_id", self.session.as_ref())
            .query_if("owner", self.owner.as_ref())
            .query_if("created_from", moment(&self.since)?)
            .query_if("created_to", moment(&self.until)?)
            .query_if("parked", self.parked.then_some("true"))
            .query_if("cursor", cursor);
        for tag in &self.tag {
            let (key, value) = tag_of(tag)?;
            call = call.query("tag", format!("{key}:{value}"));
        }
        Ok(call)
    }
}

/// The key and the value of a tag.
///
/// # Errors
/// [`CliError::Usage`] where it has no `=`.
pub(crate) fn tag_of(text: &str) -> Result<(&str, &str), CliError> {
    text.split_once('=')
        .ok_or_else(|| CliError::usage(format!("{text:?} is no tag"), "give it as key=value"))
}

/// A page of tasks.
#[derive(Deserialize)]
struct Page {
    tasks: Vec<Task>,
    next: Option<String>,
}

/// The tasks an order is for.
#[derive(Debug, Clone, Args)]
pub(crate) struct Which {
    /// The tasks, by their ids
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    pub(crate) yes: Yes,
    /// All tasks that it can be done to
    #[arg(long, conflicts_with = "ids", help_heading = "Instead of ids")]
    all: bool,
    // The last, as is this struct where it is flattened: what follows a heading is below it.
    #[command(flatten, next_help_heading = "Instead of ids")]
    filter: Filter,
}

/// A task that an order is for.
pub(crate) struct Target {
    pub(crate) id: String,
    /// As it was when it was found by what it is: changed since, it may not be meant any more.
    pub(crate) etag: Option<String>,
}

impl Target {
    fn whatever(id: String) -> Target {
        Target { id, etag: None }
    }

    /// The call, for the task as it was found: what has been started anew since is not removed.
    pub(crate) fn unchanged(&self, call: Call) -> Call {
        call.header_if("if-match", self.etag.clone())
    }

    fn as_seen(task: Task) -> Target {
        let etag = format!("\"{}\"", task.etag);
        Target {
            id: task.task_id,
            etag: Some(etag),
        }
    }
}

impl Which {
    /// The tasks, once somebody has agreed to a batch; in the place of an id that is none, why. Of what a filter finds, those
    /// that are `fit`.
    ///
    /// # Errors
    /// [`CliError::Usage`] where no tasks are named; [`CliError::NotConfirmed`]; where nobody can be asked for them.
    pub(crate) async fn settled(
        &self,
        app: &App,
        what: &str,
        fit: impl Fn(&Task) -> bool,
    ) -> Result<Vec<Result<Target, CliError>>, CliError> {
        let by_filter = self.all || !self.filter.is_empty();
        if by_filter != self.ids.is_empty() {
            let hint = "give ids, or --all, or conditions such as --task and --status";
            return Err(CliError::usage(format!("which tasks are to {what}?"), hint));
        }
        // What is wrong with the way to the tasks is no fault of an id.
        app.reach().await?;
        let mut settled = Vec::new();
        for id in &self.ids {
            match app.task_id(id, Care::Change).await {
                Err(error) if !error.is_of_one_task() || cfg!(planted = "cli_one_stops_all") => {
                    return Err(error);
                }
                found => settled.push(found.map(Target::whatever)),
            }
        }
        if by_filter {
            let found = found(app, &self.filter, fit).await?;
            settled.extend(found.into_iter().map(Ok));
        }
        if by_filter && settled.is_empty() {
            app.out.note("no task is to be found for that");
        }
        let ids: Vec<&str> = settled
            .iter()
            .filter_map(|found| Some(found.as_ref().ok()?.id.as_str()))
            .collect();
        let is_batch = by_filter || settled.len() > 1;
        if is_batch && !ids.is_empty() {
            let named = ids[..ids.len().min(NAMED)].join(", ");
            let more = if ids.len() > NAMED { ", .." } else { "" };
            let count = counted(ids.len() as u64, "task");
            self.yes.to(&format!("{what} {count} ({named}{more})"))?;
        }
        Ok(settled)
    }
}

async fn found(
    app: &App,
    filter: &Filter,
    fit: impl Fn(&Task) -> bool,
) -> Result<Vec<Target>, CliError> {
    let (mut targets, mut cursor) = (Vec::new(), None);
    loop {
        let page: Page = app
            .send(filter.call(PAGE_MAX, cursor.as_deref())?)
            .await?
            .parsed()?;
        let fitting = page.tasks.into_iter().filter(|task| fit(task));
        targets.extend(fitting.map(Target::as_seen));
        if targets.len() > BATCH_MAX {
            let what = format!("that are more than {BATCH_MAX} tasks");
            return Err(CliError::usage(
                what,
                "narrow it down, for example with --until",
            ));
        }
        cursor = page.next;
        if cursor.is_none() {
            return Ok(targets);
        }
    }
}
