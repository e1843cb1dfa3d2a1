//! What the writer writes beside batches: the life of its engine, the phase of the poison guard, and the store's upkeep.

use super::Batcher;
use crate::failpoint::{self, Failpoint};
use crate::writer::{Message, PhaseChange, Upkeep};
use outlive_storage::StoreError;
use outlive_storage::row::LifeRow;

impl Batcher {
    /// The engine stops in order: what still runs is nobody's fault, and the next open knows.
    pub(crate) fn stopped(&self) {
        if self.poison.get().is_some() || cfg!(planted = "stop_looks_like_death") {
            return;
        }
        let Some(life) = self.life else { return };
        let life = LifeRow {
            stopped_at: Some(self.clock.now()),
            ..life
        };
        failpoint::reach(Failpoint::StopUnsaid);
        if let Err(error) = self.store.put_life(&life) {
            tracing::warn!(target: "outlive::store", %error, "the next open takes this stop for a death");
        }
        failpoint::reach(Failpoint::StopSaid);
    }

    /// Removes what nobody needs any more. False: the store failed, the writer must end.
    pub(crate) fn tidy(&mut self, upkeep: Upkeep) -> bool {
        let Upkeep { kept, limit, reply } = upkeep;
        let more = match self.store.tidy(kept, limit) {
            Ok(more) => more,
            Err(error) if error.is_of_one_entry() => {
                tracing::error!(target: "outlive::store", %error, "upkeep passes over an entry");
                false
            }
            // Without room nothing can be removed either; the sweeper comes again.
            Err(StoreError::Full) => false,
            Err(error) => return self.fail(Vec::new(), error),
        };
        // A sweeper that is gone sweeps on at the next open.
        let _ = reply.send(more);
        true
    }

    /// Puts down the phase of the poison guard, or puts that off until there is room. False: the store failed, the writer
    /// must end.
    pub(crate) fn enter_phase(&mut self, change: PhaseChange) -> bool {
        let PhaseChange { phase, reply } = change;
        let life = self.life.map(|life| LifeRow { phase, ..life });
        let put = life.map_or(Ok(()), |life| self.store.put_life(&life));
        match put {
            Ok(()) => {}
            Err(StoreError::Full) if !cfg!(planted = "full_disk_ends_at_a_phase") => {
                // Who enters a phase waits for it, but not in an engine that stops.
                if self.dispatcher.is_stopping() || self.poison.get().is_some() {
                    return true;
                }
                self.put_off
                    .push(Message::Phase(PhaseChange { phase, reply }));
                return self.wait_for_room();
            }
            Err(error) => return self.fail(Vec::new(), error),
        }
        self.life = life;
        // A guard that is gone enters nothing.
        let _ = reply.send(());
        true
    }
}
