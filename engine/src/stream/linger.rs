//! Turns that have emitted something and wait for the writer: together with whatever it commits first, else briefly.

use crate::request::Request;
use crate::stream::SEGMENTS_MAX;
use crate::stream::cell::{Closed, StreamCell};
use outlive_storage::row::Micros;
use std::collections::HashMap;
use std::sync::Arc;

/// What the writer was told to come for.
#[derive(Default)]
pub(crate) struct Lingering {
    cells: Vec<Arc<StreamCell>>,
    /// By when it must have come; empty when nobody waits.
    due: Option<Micros>,
}

impl Lingering {
    /// A turn waits, until then at the latest.
    pub(crate) fn add(&mut self, cell: Arc<StreamCell>, by: Micros) {
        self.cells.push(cell);
        let earlier = self.due.map_or(by, |due| due.min(by));
        self.due = Some(earlier);
    }

    /// By when the writer must have come.
    pub(crate) fn due(&self) -> Option<Micros> {
        self.due
    }

    /// Those who ride along with a commit of these events, as events of it: as many as one commit takes beside the turns
    /// that end with it, which take all of theirs along. The others are due at once.
    pub(crate) fn riders(&mut self, batch: &[Request]) -> Vec<Request> {
        if self.cells.is_empty() {
            return Vec::new();
        }
        let ending: HashMap<*const StreamCell, usize> = (batch.iter())
            .filter_map(|request| request.draft.stream.as_ref())
            .map(|cell| (Arc::as_ptr(cell), cell.buffered()))
            .collect();
        let mut bytes: usize = ending.values().sum();
        let mut riders = Vec::new();
        let mut left = Vec::new();
        for cell in self.cells.drain(..) {
            // Taken along by the end of its turn, or by a rider before this one.
            let buffered = cell.buffered();
            if buffered == 0 {
                continue;
            }
            let ends = ending.contains_key(&Arc::as_ptr(&cell));
            let more = if ends { 0 } else { buffered };
            let full = bytes + more > SEGMENTS_MAX && bytes > 0;
            let waits = full && !cfg!(planted = "segments_over_the_bound");
            if waits || (ends && cfg!(planted = "end_leaves_items_behind")) {
                left.push(cell);
                continue;
            }
            bytes += more;
            riders.push(Request::rider(cell));
        }
        self.due = (!left.is_empty()).then_some(Micros(0));
        self.cells = left;
        riders
    }
}

/// A writer that ends, however it does, leaves nobody waiting.
impl Drop for Lingering {
    fn drop(&mut self) {
        for cell in self.cells.drain(..) {
            cell.close(Closed::Shutdown);
        }
    }
}
