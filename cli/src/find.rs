//! The task that is meant by an id, or by its beginning.

use crate::app::App;
use crate::error::{CANDIDATES_MAX, CliError};
use crate::exit::Exit;
use crate::reach::Call;
use serde::Deserialize;

/// How sure the caller must be of the task.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Care {
    /// It is looked at: a beginning that only one id has will do.
    Look,
    /// It is changed: the whole id. A call that is given twice must not find another task the second time, whose id begins
    /// with that of the one that is gone.
    Change,
}

#[derive(Deserialize)]
struct Ids {
    task_ids: Vec<String>,
}

impl App {
    /// The id of the task that is meant.
    ///
    /// # Errors
    /// [`CliError::Refused`] where there is none; [`CliError::Ambiguous`], [`CliError::NotWhole`].
    pub(crate) async fn task_id(&self, given: &str, care: Care) -> Result<String, CliError> {
        if given.is_empty() {
            return Err(CliError::usage(
                "an id is not empty",
                "see which tasks there are: outlive ls",
            ));
        }
        let none = match self.send(Call::get(&["v1", "tasks", given])).await {
            Ok(_) => return Ok(given.to_owned()),
            Err(error) if error.exit() == Exit::NotFound => error,
            Err(error) => return Err(error),
        };
        let mut begin = self.ids(given, CANDIDATES_MAX).await?;
        match (begin.len(), care) {
            (0, _) => Err(none),
            (1, Care::Look) => {
                let id = begin.remove(0);
                if !cfg!(planted = "cli_takes_another_silently") {
                    self.out.note(&format!("{given} is taken for {id}"));
                }
                Ok(id)
            }
            (1, Care::Change) if cfg!(planted = "cli_prefix_will_do") => Ok(begin.remove(0)),
            (1, Care::Change) => {
                let (prefix, id) = (given.to_owned(), begin.remove(0));
                Err(CliError::NotWhole { prefix, id })
            }
            (_, Care::Look | Care::Change) => {
                let prefix = given.to_owned();
                Err(CliError::Ambiguous {
                    prefix,
                    candidates: begin,
                })
            }
        }
    }

    /// Ids that begin so, in their order.
    pub(crate) async fn ids(&self, prefix: &str, limit: usize) -> Result<Vec<String>, CliError> {
        let call = Call::get(&["v1", "task-ids"]).query("prefix", prefix);
        let answer = self.send(call.query("limit", limit.to_string())).await?;
        Ok(answer.parsed::<Ids>()?.task_ids)
    }
}
