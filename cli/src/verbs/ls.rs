//! `ls`: the tasks, newest first.

use crate::app::App;
use crate::error::CliError;
use crate::exit::Exit;
use crate::facts::counted;
use crate::filter::{Filter, PAGE_MAX};
use crate::output::{Form, Rows, Tone};
use crate::view::{Task, ago};
use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  outlive ls --status suspended --since 2h
  outlive ls --task summarize --tag customer=17 -n 500 -o jsonl
With -o json it is one page, as the API answers it; go on with --cursor and its `next`.")]
pub(crate) struct Ls {
    /// Most that are listed; with -o json, most of one page
    #[arg(short = 'n', long, default_value_t = 100)]
    limit: usize,
    /// Goes on where a page ended: its `next`
    #[arg(long)]
    cursor: Option<String>,
    #[command(flatten, next_help_heading = "Conditions")]
    filter: Filter,
}

/// A page, each task as it came.
#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    tasks: Vec<&'a RawValue>,
    #[serde(default)]
    damaged: usize,
    next: Option<String>,
}

impl Ls {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, CliError> {
        if app.out.form == Form::Json {
            let call = self.filter.call(self.limit, self.cursor.as_deref())?;
            app.out.json(&app.send(call).await?.body)?;
            return Ok(Exit::Done);
        }
        let mut rows = Rows::new(&["ID", "TASK", "STATUS", "AGE", "TITLE"]);
        let (mut left, mut cursor, mut damaged) = (self.limit, self.cursor.clone(), 0);
        while left > 0 {
            let call = self.filter.call(left.min(PAGE_MAX), cursor.as_deref())?;
            let answer = app.send(call).await?;
            let page: Page<'_> = answer.parsed()?;
            left = left.saturating_sub(page.tasks.len());
            damaged += page.damaged;
            for task in &page.tasks {
                match app.out.form {
                    Form::Json | Form::Jsonl => app.out.json_line(task.get())?,
                    Form::Table => row(&mut rows, &answer.of(task)?),
                }
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        if app.out.is_for_people() && !rows.is_empty() {
            app.out.table(rows)?;
        }
        if damaged > 0 {
            let rows = counted(damaged as u64, "damaged row");
            let at = app.settings.flags();
            app.out.note(&format!(
                "passed over: {rows}; `outlive{at} store verify` says which"
            ));
        }
        if let Some(next) = cursor {
            app.out.note(&format!(
                "there may be more: -n {}, or --cursor {next}",
                self.limit * 10
            ));
        }
        Ok(Exit::Done)
    }
}

fn row(rows: &mut Rows, task: &Task) {
    rows.push([
        (Tone::Strong, task.task_id.clone()),
        (Tone::Plain, task.task.clone()),
        task.standing(),
        (Tone::Faint, ago(&task.created_at)),
        (Tone::Plain, task.title.clone().unwrap_or_default()),
    ]);
}
