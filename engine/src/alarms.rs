//! Alarms: the moments at which running turns become overdue, kept by the engine so that no handler can hold them up.
//!
//! They are moments of the engine's own time: no jump of the wall clock moves them.

use crate::env::{self, Clock};
use crate::live::LiveTable;
use crate::machine::{Event, Overdue};
use crate::request::Draft;
use crate::writer::{Origin, Target, Writer};
use outlive_storage::row::{Deadline, Generation, Micros, TaskNumber, TaskRow, Times};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// The longest sleep while an alarm is set: where the monotonic clock goes on in a suspend and the runtime's timers do not,
/// the resume is noticed within this.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// What an alarm is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ring {
    /// The turn's time is up: its handler is told.
    TimeOut { grace_us: u64 },
    /// Its grace is over, too: it is stopped.
    TimedOut,
    /// A cancelled turn did not end in its grace.
    CancelIgnored,
}

type Key = (Micros, TaskNumber, Generation, Ring);

/// The alarms of all running turns.
#[derive(Default)]
pub(crate) struct Alarms {
    set: Mutex<BTreeMap<Key, ()>>,
    changed: Notify,
}

/// The alarms of one turn, taken back when it ends.
pub(crate) struct Watched {
    alarms: Arc<Alarms>,
    task: TaskNumber,
    generation: Generation,
    keys: Mutex<Vec<Key>>,
}

impl Alarms {
    /// Watches a turn that is entered, if it has a deadline: that stands in its row.
    pub(crate) fn watch(
        self: &Arc<Self>,
        task: TaskNumber,
        row: &TaskRow,
        generation: Generation,
        times: Times,
    ) -> Option<Arc<Watched>> {
        if row.deadline == Deadline::NEVER || cfg!(planted = "time_out_forgotten") {
            return None;
        }
        let watched = self.silent(task, generation);
        let grace_us = row.options.grace_us;
        let at = if cfg!(planted = "alarm_on_another_line") {
            row.deadline.at
        } else {
            times.in_own_time(row.deadline)
        };
        watched.set(at, Ring::TimeOut { grace_us });
        Some(watched)
    }

    /// For a turn that has no alarm yet.
    pub(crate) fn silent(
        self: &Arc<Self>,
        task: TaskNumber,
        generation: Generation,
    ) -> Arc<Watched> {
        Arc::new(Watched {
            alarms: Arc::clone(self),
            task,
            generation,
            keys: Mutex::new(Vec::new()),
        })
    }

    /// Rings until the engine stops; the alarms of turns that end are gone by then.
    pub(crate) async fn run(&self, live: &Arc<LiveTable>, writer: &Writer, clock: Clock) {
        loop {
            let changed = self.changed.notified();
            let now = clock.own();
            for (key, ()) in self.due(now) {
                self.ring(key, now, live, writer).await;
            }
            let next = self.set.lock().keys().next().map(|(at, ..)| *at);
            let pause = next.map(|at| {
                let wait = Duration::from_micros(at.0.saturating_sub(now.0).saturating_add(1));
                env::until_due(wait, SLEEP_MAX)
            });
            let slept = async {
                match pause {
                    Some(pause) => env::sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = changed => {}
                () = slept => {}
            }
        }
    }

    /// Takes what is due.
    fn due(&self, now: Micros) -> BTreeMap<Key, ()> {
        let mut set = self.set.lock();
        let first_later = (
            Micros(now.0 + 1),
            TaskNumber(0),
            Generation(0),
            Ring::TimeOut { grace_us: 0 },
        );
        let later = set.split_off(&first_later);
        std::mem::replace(&mut *set, later)
    }

    async fn ring(&self, key: Key, now: Micros, live: &Arc<LiveTable>, writer: &Writer) {
        let (at, task, generation, ring) = key;
        let why = match ring {
            Ring::TimeOut { grace_us } => {
                // Told first; who has gone in between needs no second alarm. The grace begins with the word: the time of
                // a recovered turn may have gone by long before it was entered again.
                if let Some(watched) = live.time_out(task, generation) {
                    let told_at = if cfg!(planted = "grace_from_the_deadline") {
                        at
                    } else {
                        now
                    };
                    watched.set(told_at.plus(grace_us), Ring::TimedOut);
                }
                return;
            }
            Ring::TimedOut => Overdue::TimedOut,
            Ring::CancelIgnored => Overdue::CancelIgnored,
        };
        let draft = Draft::bare(Target::Number(task), Event::Stop { generation, why });
        // A refusal means that the turn has ended, or that the engine stops: both need no stop.
        if let Ok(answer) = writer.send(Origin::Engine, draft).await {
            drop(answer);
        }
    }
}

impl Watched {
    /// A cancelled turn has this long to end.
    pub(crate) fn stop_after_cancel(&self, at: Micros) {
        self.set(at, Ring::CancelIgnored);
    }

    fn set(&self, at: Micros, ring: Ring) {
        let key = (at, self.task, self.generation, ring);
        self.keys.lock().push(key);
        self.alarms.set.lock().insert(key, ());
        self.alarms.changed.notify_one();
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let keys = std::mem::take(&mut *self.keys.lock());
        if keys.is_empty() {
            return;
        }
        let mut set = self.alarms.set.lock();
        for key in keys {
            set.remove(&key);
        }
    }
}
