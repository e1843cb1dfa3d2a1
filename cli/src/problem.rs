//! The problem documents that the API answers with.

use crate::exit::Exit;
use serde::Deserialize;

/// A problem as the API tells it (RFC 9457), with the fields that decide something here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Problem {
    pub(crate) status: u16,
    /// Stays the same over versions.
    pub(crate) code: String,
    pub(crate) title: String,
    pub(crate) detail: Option<String>,
    pub(crate) hint: Option<String>,
    /// The task it is about.
    pub(crate) task_id: Option<String>,
    /// How that task stands.
    pub(crate) task_status: Option<String>,
    /// The name of a definition.
    pub(crate) task: Option<String>,
    /// What of a task cannot be read: `input`, for example.
    pub(crate) what: Option<String>,
    /// The type it was read as, and why it is none.
    pub(crate) expected: Option<String>,
}

impl Problem {
    /// The problem in a body; one that is not of the API is told by its status.
    pub(crate) fn of(status: u16, body: &[u8]) -> Problem {
        let told: Option<Problem> = serde_json::from_slice(body).ok();
        let mut problem = told
            .filter(|told| !told.code.is_empty())
            .unwrap_or_else(|| {
                let title = format!("the answer was {status}, and is none of this API");
                Problem {
                    title,
                    code: "not_this_api".to_owned(),
                    ..Problem::default()
                }
            });
        problem.status = status;
        problem
    }

    /// What happened, in words.
    pub(crate) fn words(&self) -> &str {
        self.detail.as_deref().unwrap_or(&self.title)
    }

    /// With which status the program ends.
    pub(crate) fn exit(&self) -> Exit {
        // What is wrong with the store is told by a code, as its status is that of many things.
        match self.code.as_str() {
            "corrupt" | "key_missing" | "too_new" | "store_failed" | "store_full"
            | "store_replaced" | "store_malformed" => return Exit::Store,
            "not_this_api" => return Exit::Unreachable,
            // Its task waits, for another input or another program.
            "undecodable" if !cfg!(planted = "cli_unreadable_is_wrong_use") => {
                return Exit::Suspended;
            }
            _ => {}
        }
        match self.status {
            404 | 410 => Exit::NotFound,
            409 | 412 => Exit::Conflict,
            400 | 413 | 414 | 415 | 422 => Exit::Usage,
            408 | 421 | 429 | 502 | 503 | 504 => Exit::Unreachable,
            _ => Exit::Other,
        }
    }
}
