//! Batches whose commit failed, until it is known what became of them, and what waits for room.

use super::Batcher;
use crate::held::Held;
use crate::writer::Message;
use outlive_storage::row::Micros;

impl Batcher {
    /// Keeps what could not be committed, and tries at once to settle it. False: the writer must end.
    pub(super) fn hold(&mut self, held: Held) -> bool {
        tracing::warn!(target: "outlive::store", error = %held.error(), "the store failed; it is opened again");
        self.poison.doubt(held.pending());
        self.held = Some(held);
        if cfg!(planted = "failed_commit_ends_all") {
            return self.settle(true);
        }
        self.settle(false)
    }

    /// There is no room for what is put off, not even to read: it is tried again later. The writer goes on.
    pub(super) fn wait_for_room(&mut self) -> bool {
        tracing::debug!(target: "outlive::store", "there is no room; what is asked for waits");
        self.poison.set_full(true);
        self.held = Some(Held::nothing(self.clock.own()));
        true
    }

    /// What was not decided for want of room, in its order, once.
    pub(crate) fn put_off(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.put_off)
    }

    /// When the held batch is to be settled next; `None` when none is held.
    pub(crate) fn held_until(&self) -> Option<Micros> {
        self.held.as_ref().map(Held::next_at)
    }

    /// Tries once more to settle the held batch, for the last time if the engine stops. False: the writer must end.
    pub(crate) fn settle(&mut self, is_last: bool) -> bool {
        let Some(mut held) = self.held.take() else {
            return true;
        };
        match held.try_once(&*self.store, &self.clock) {
            Ok(results) => {
                self.poison.settled();
                let (pending, commits) = held.into_parts();
                self.committed(pending, &commits, results)
            }
            Err(_) if held.is_refusable(&*self.store) => {
                // What was decided for these callers never was: whoever comes next is told what the store says.
                self.known.forget_all();
                self.poison.settled();
                held.refuse();
                true
            }
            Err(error) => {
                let goes_on = held.goes_on(self.clock.own(), self.patience);
                if is_last || !goes_on {
                    return self.fail(held.into_parts().0, error);
                }
                self.poison.set_full(held.is_full());
                self.held = Some(held);
                true
            }
        }
    }
}
