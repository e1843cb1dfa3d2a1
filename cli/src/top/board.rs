//! What is on the screen: rows, counts and rates of the last look, the row that is chosen, the filter, and what is told.

use super::fetch::Seen;
use super::keys::Key;
use crate::error::CliError;
use crate::output::Tone;
use crate::safe;
use crate::settings::Place;
use crate::view::{Task, ago};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Rows that a page key moves by.
const PAGE: usize = 10;
/// Longest filter, in characters.
const FILTER_MAX: usize = 64;
/// Rates are of the last minute.
const RATE_OF: SignedDuration = SignedDuration::from_secs(60);

/// What a key asks for beyond the board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Done {
    Nothing,
    Quit,
    Explain(String),
}

/// One row, fit for a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) task: String,
    pub(super) standing: (Tone, String),
    pub(super) turn: String,
    pub(super) attempt: String,
    pub(super) age: String,
    pub(super) title: String,
    /// What runs comes first, what has ended last.
    rank: u8,
}

/// How many tasks stand how, and how many began and ended in the last minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    pub(super) in_progress: usize,
    pub(super) pending: usize,
    pub(super) suspended: usize,
    pub(super) ended: usize,
    pub(super) failed: usize,
    pub(super) begun_lately: usize,
    pub(super) ended_lately: usize,
}

/// The board.
pub(super) struct Board {
    pub(super) place: String,
    pub(super) seen: Seen,
    pub(super) counts: Counts,
    rows: Vec<Row>,
    pub(super) chosen: usize,
    pub(super) filter: String,
    /// The filter is being typed.
    pub(super) types: bool,
    /// What is told over the rows, until a key is pressed.
    pub(super) told: Option<String>,
    /// Why the last look failed, and since when nothing was seen.
    pub(super) trouble: Option<(String, Instant)>,
    last: Instant,
}

impl Board {
    pub(super) fn new(place: Place, first: Seen) -> Board {
        let place = match place {
            Place::File(path) => path.display().to_string(),
            Place::Url(url) => url,
        };
        let now = Instant::now();
        let mut board = Board {
            place: safe::line(&place).into_owned(),
            seen: Seen::default(),
            counts: Counts::default(),
            rows: Vec::new(),
            chosen: 0,
            filter: String::new(),
            types: false,
            told: None,
            trouble: None,
            last: now,
        };
        board.see(Ok(first), now);
        board
    }

    /// Takes a look in; of one that failed the reason, over what was seen before.
    pub(super) fn see(&mut self, seen: Result<Seen, CliError>, now: Instant) {
        match seen {
            Ok(seen) => {
                let chosen = self.shown().get(self.chosen).map(|row| row.id.clone());
                self.counts = counts(&seen, Timestamp::now());
                self.rows = seen.tasks.iter().map(row).collect();
                self.rows.sort_by_key(|row| row.rank);
                self.seen = seen;
                self.trouble = None;
                self.last = now;
                // The one that was chosen stays so, wherever it has moved to.
                let again = chosen.and_then(|id| self.shown().iter().position(|row| row.id == id));
                self.chosen = again.unwrap_or(self.chosen);
                self.clamp();
            }
            Err(error) => {
                let why = safe::line(&error.to_string()).into_owned();
                self.trouble = Some((why, self.last));
            }
        }
    }

    /// The rows that the filter lets through.
    pub(super) fn shown(&self) -> Vec<&Row> {
        let wanted = self.filter.to_lowercase();
        let fits = |row: &&Row| {
            let has = |text: &str| text.to_lowercase().contains(&wanted);
            wanted.is_empty()
                || has(&row.id)
                || has(&row.task)
                || has(&row.standing.1)
                || has(&row.title)
        };
        self.rows.iter().filter(fits).collect()
    }

    /// Says what was asked about a task.
    pub(super) fn explained(&mut self, said: Result<String, CliError>) {
        let words = said.unwrap_or_else(|error| error.to_string());
        self.told = Some(safe::lines(&words).into_owned());
    }

    /// A key was pressed.
    pub(super) fn press(&mut self, key: Key) -> Done {
        match key {
            Key::Break => return Done::Quit,
            Key::Resized => return Done::Nothing,
            _ if self.told.take().is_some() => return Done::Nothing,
            _ if self.types => self.type_filter(key),
            Key::Char('q') | Key::Escape if self.filter.is_empty() => return Done::Quit,
            Key::Char('q') => return Done::Quit,
            Key::Escape => self.filter.clear(),
            Key::Char('/') => self.types = true,
            Key::Up | Key::Char('k') => self.chosen = self.chosen.saturating_sub(1),
            Key::Down | Key::Char('j') => self.chosen += 1,
            Key::PageUp => self.chosen = self.chosen.saturating_sub(PAGE),
            Key::PageDown => self.chosen += PAGE,
            Key::Home => self.chosen = 0,
            Key::End => self.chosen = usize::MAX,
            Key::Enter => {
                if let Some(row) = self.shown().get(self.chosen) {
                    return Done::Explain(row.id.clone());
                }
            }
            Key::Backspace | Key::Char(_) => {}
        }
        self.clamp();
        Done::Nothing
    }

    fn type_filter(&mut self, key: Key) {
        match key {
            Key::Enter => self.types = false,
            Key::Escape => {
                self.filter.clear();
                self.types = false;
            }
            Key::Backspace => drop(self.filter.pop()),
            Key::Char(c) if self.filter.chars().count() < FILTER_MAX && !c.is_control() => {
                self.filter.push(c);
            }
            Key::Char(_)
            | Key::Up
            | Key::Down
            | Key::PageUp
            | Key::PageDown
            | Key::Home
            | Key::End
            | Key::Break
            | Key::Resized => {}
        }
    }

    fn clamp(&mut self) {
        let last = self.shown().len().saturating_sub(1);
        self.chosen = self.chosen.min(last);
    }
}

fn row(task: &Task) -> Row {
    let safe = |text: &str| safe::line(text).into_owned();
    let (tone, standing) = task.standing();
    let rank = match task.status.as_str() {
        "in_progress" => 0,
        "suspended" => 1,
        "pending" => 2,
        _ => 3,
    };
    Row {
        id: safe(&task.task_id),
        task: safe(&task.task),
        standing: (tone, safe(&standing)),
        turn: task.turn.to_string(),
        attempt: task.attempt.to_string(),
        age: ago(&task.since),
        title: safe(task.title.as_deref().unwrap_or_default()),
        rank,
    }
}

fn counts(seen: &Seen, now: Timestamp) -> Counts {
    let lately = |moment: &str| {
        let at = moment.parse::<Timestamp>();
        at.is_ok_and(|at| now.duration_since(at) <= RATE_OF)
    };
    let mut counts = Counts::default();
    for task in &seen.tasks {
        counts.begun_lately += usize::from(lately(&task.created_at));
        match task.status.as_str() {
            "in_progress" => counts.in_progress += 1,
            "pending" => counts.pending += 1,
            "suspended" => counts.suspended += 1,
            _ => {
                counts.ended += 1;
                counts.ended_lately += usize::from(lately(&task.since));
                let kind = task.outcome.as_ref().map(|outcome| outcome.kind.as_str());
                counts.failed += usize::from(matches!(kind, Some("failed" | "terminated")));
            }
        }
    }
    counts
}
