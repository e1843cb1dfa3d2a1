//! The latest transitions of one task, in its row.

use crate::row::Mark;
use serde::{Deserialize, Deserializer, Serialize};
use smallvec::SmallVec;
use std::ops::Deref;

/// The latest transitions of a task, oldest first.
///
/// Nearly every task has two, its start and its end: they lie in the row itself and take no memory of their own.
///
/// ```
/// use outlive_storage::row::{EventKind, Mark, Micros, Timeline};
/// let mut timeline = Timeline::default();
/// timeline.push(Mark { at: Micros(17), turn: 1, what: EventKind::Started });
/// assert_eq!(timeline.last().map(|mark| mark.at), Some(Micros(17)));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Timeline(SmallVec<[Mark; 2]>);

impl Timeline {
    /// Adds the latest one. How many there may be is for the caller to see to.
    pub fn push(&mut self, mark: Mark) {
        self.0.push(mark);
    }

    /// Drops the oldest one, if there is one.
    pub fn forget_oldest(&mut self) {
        if !self.0.is_empty() {
            self.0.remove(0);
        }
    }
}

impl Deref for Timeline {
    type Target = [Mark];

    fn deref(&self) -> &[Mark] {
        &self.0
    }
}

impl From<Vec<Mark>> for Timeline {
    fn from(marks: Vec<Mark>) -> Timeline {
        Timeline(SmallVec::from_vec(marks))
    }
}

impl<'de> Deserialize<'de> for Timeline {
    /// By way of a list: that one does not believe a length before it has seen the entries.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Timeline, D::Error> {
        let marks = Vec::<Mark>::deserialize(from)?;
        Ok(Timeline(SmallVec::from_slice(&marks)))
    }
}
