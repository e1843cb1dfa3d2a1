//! Tasks of several paths as one list, newest first: a renamed definition has a path for each of its numbers.

use super::{CHUNK, LIST_MAX, Path, Stretch};
use outlive_storage::row::TaskNumber;
use outlive_storage::{Found, Store, StoreError};
use std::collections::VecDeque;

/// One path, and what was read of it.
struct Lane<'a> {
    path: &'a Path,
    /// Read so far.
    at: Option<TaskNumber>,
    rows: VecDeque<Found>,
    through: bool,
}

/// The paths of one list, beside each other.
pub(super) struct Lanes<'a> {
    store: &'a dyn Store,
    lanes: Vec<Lane<'a>>,
    /// Rows read for this page.
    pub(super) read: usize,
}

impl<'a> Lanes<'a> {
    pub(super) fn new(
        store: &'a dyn Store,
        paths: &'a [Path],
        after: Option<TaskNumber>,
    ) -> Lanes<'a> {
        let lane = |path| Lane {
            path,
            at: after,
            rows: VecDeque::new(),
            through: false,
        };
        Lanes {
            store,
            lanes: paths.iter().map(lane).collect(),
            read: 0,
        }
    }

    /// Reads on wherever nothing is left and there is more: only then is the newest of all lanes known.
    pub(super) fn fill(&mut self) -> Result<(), StoreError> {
        let chunk = CHUNK.div_ceil(self.lanes.len().max(1));
        for lane in &mut self.lanes {
            while lane.rows.is_empty() && !lane.through {
                let room = LIST_MAX.saturating_sub(self.read).clamp(1, chunk);
                self.read += lane.read_on(self.store, room)?;
            }
        }
        Ok(())
    }

    /// The newest task that is left.
    pub(super) fn newest(&mut self) -> Option<Found> {
        let next = |lane: &Lane<'_>| lane.rows.front().map(|found| found.task);
        let lane = if cfg!(planted = "renamed_list_unmerged") {
            self.lanes.iter_mut().find(|lane| next(lane).is_some())
        } else {
            self.lanes.iter_mut().max_by_key(|lane| next(lane))
        };
        lane.and_then(|lane| lane.rows.pop_front())
    }

    /// Whether there are no more tasks.
    pub(super) fn are_through(&self) -> bool {
        let mut lanes = self.lanes.iter();
        lanes.all(|lane| lane.through && lane.rows.is_empty())
    }

    /// Whether some lane has to be read on before the newest is known.
    pub(super) fn is_one_drained(&self) -> bool {
        let mut lanes = self.lanes.iter();
        lanes.any(|lane| !lane.through && lane.rows.is_empty())
    }
}

impl Lane<'_> {
    /// Reads a page of its stretch; answers how many rows it was.
    fn read_on(&mut self, store: &dyn Store, room: usize) -> Result<usize, StoreError> {
        let Stretch { scan, floor } = self.path.stretch(self.at);
        let page = store.scan(scan, self.at, room)?;
        let above = |found: &Found| floor.is_none_or(|floor| found.task >= floor);
        let mut through = page.next.is_none();
        for found in page.rows {
            if !above(&found) {
                through = true;
                break;
            }
            self.at = Some(found.task);
            self.rows.push_back(found);
        }
        match (through, floor) {
            (true, None) => self.through = true,
            // The older ones are found by the next stretch.
            (true, Some(floor)) => self.at = Some(floor),
            (false, _) => {}
        }
        Ok(self.rows.len())
    }
}
