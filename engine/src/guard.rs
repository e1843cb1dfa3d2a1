//! The poison guard of one life: runs without the suspects first, then enters them in ever smaller groups.
//!
//! The machine counts deaths and says what they make of a turn. What is decided here is when suspects may run:
//!
//! 1. **Control.** Whatever is not suspected runs. A process that dies now was not killed by a suspect, so the next
//!    open drops every suspicion. Each open that finds suspects begins so, also one that goes on with what an earlier
//!    life had begun: a bisection that skipped it would take kills from outside for one death of a suspect after the
//!    other.
//! 2. **Probation.** Of the suspects with the most deaths the first half is entered. Who lives on for as long, ends, or
//!    gets on with its work is acquitted, and the next group follows. If the process dies, its members have one death
//!    more, so the next life halves them.
//! 3. **Calm.** Nobody is suspected. It costs nothing, and wakes nobody.
//!
//! Each phase is durable before anything is entered in it, because a process that dies cannot say afterwards what it did.

use crate::engine_loop::Tools;
use crate::env::micros;
use crate::flow::Kind;
use crate::machine::{Event, Verdict, would_hold_back};
use crate::recovery;
use crate::registry::Registry;
use crate::suspects::{Suspect, first_half, readable, suspects};
use crate::telemetry::{RECOVERY, STORE};
use crate::writer::Refused;
use outlive_storage::row::{DefNumber, GuardPhase, Micros, Probation, State, TaskNumber, TaskRow};
use outlive_storage::{Store, StoreError};
use std::collections::HashSet;
use std::time::Duration;

/// The shortest time without suspects, and the shortest probation.
pub(crate) const WATCH_MIN: Duration = Duration::from_secs(5);
/// The longest, however long it took the processes to die.
const WATCH_MAX: Duration = Duration::from_secs(600);
/// How many times as long as it took a process to die the others run without the suspects, and each group of suspects.
const MARGIN: u64 = 2;
/// How many times as long as that a process has lived before a suspect is entered alone, where a death decides. A process
/// that is killed from outside every now and then may live through a control start by chance, and die in the probation
/// after it; it hardly lives for so long, and dies then.
const BEFORE_ALONE: u64 = 4;

/// What the builder says about the guard.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GuardOptions {
    pub(crate) on: bool,
    /// The shortest time a suspect, or a life without suspects, is watched.
    pub(crate) floor: Duration,
}

impl Default for GuardOptions {
    fn default() -> GuardOptions {
        GuardOptions {
            on: true,
            floor: WATCH_MIN,
        }
    }
}

impl GuardOptions {
    /// The phase a life begins with: with suspects in the store none of them runs yet.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub(crate) fn first_phase(
        &self,
        store: &dyn Store,
        registry: &Registry,
    ) -> Result<GuardPhase, StoreError> {
        if !self.on {
            return Ok(GuardPhase::Calm);
        }
        let defs = registry.defs().into_iter();
        for def in defs.flat_map(|(def, _)| registry.numbers(def)) {
            if !(store.due_exactly(def, Micros::ISOLATED, None, 1)?).is_empty() {
                return Ok(GuardPhase::Control);
            }
        }
        Ok(GuardPhase::Calm)
    }
}

/// A suspect of the group on probation.
struct Member {
    task: TaskNumber,
    def: DefNumber,
    kind: Kind,
    /// The end of its probation; empty while it waits for a slot.
    until: Option<Micros>,
}

impl Member {
    fn of(suspect: &Suspect) -> Member {
        Member {
            task: suspect.task,
            def: suspect.def,
            kind: suspect.kind,
            until: None,
        }
    }
}

/// What goes on in this life.
enum Stage {
    Calm,
    /// Nothing is done before this moment.
    Control {
        until: Micros,
    },
    Probation {
        group: Vec<Member>,
        alone: bool,
    },
}

/// The guard in this life.
pub(crate) struct Guard {
    options: GuardOptions,
    stage: Stage,
    /// Since when the process has lived without dying of anything but the suspects.
    since: Micros,
    /// How long a suspect is watched: it only grows within a life.
    watch_us: u64,
    /// Suspects that cannot be entered because what belongs to them is damaged.
    left_alone: HashSet<TaskNumber>,
}

impl Guard {
    /// The guard of a life that began with this phase.
    pub(crate) fn new(options: GuardOptions, phase: GuardPhase, now: Micros) -> Guard {
        let stage = match phase {
            GuardPhase::Calm => Stage::Calm,
            GuardPhase::Control | GuardPhase::Probation => Stage::Control { until: now },
        };
        Guard {
            options,
            stage,
            since: now,
            watch_us: micros(options.floor.min(WATCH_MAX)),
            left_alone: HashSet::new(),
        }
    }

    /// Before anything is claimed: drops the suspicions that the last life has disproved, or that nobody looks into.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub(crate) async fn begin(&mut self, tools: &Tools) -> Result<(), StoreError> {
        let disproved = tools.lives.last_died_in() == Some(GuardPhase::Control)
            && !cfg!(planted = "suspicions_kept");
        if self.options.on && !disproved {
            return Ok(());
        }
        recovery::send_to_all(tools, Micros::ISOLATED, || Event::Acquit).await?;
        let whole = !tools.is_stopping();
        if whole && let Stage::Control { .. } = self.stage {
            // A writer that has ended stops the engine by itself.
            let _ = self.calm(tools).await;
        }
        Ok(())
    }

    /// What the guard says about a turn that ran in the life of this instance.
    ///
    /// While suspects are on probation a death is theirs. Counted against whatever ran beside them, it would make
    /// suspects of bystanders in the few lives it takes to find the one.
    pub(crate) fn verdict(&self, row: &TaskRow, instance: u128, tools: &Tools) -> Verdict {
        if !self.options.on && !cfg!(planted = "guard_stays_on") {
            return Verdict::Off;
        }
        match tools.lives.died_in(instance) {
            Some(GuardPhase::Control) if !cfg!(planted = "control_death_counts") => {
                Verdict::Innocent
            }
            Some(GuardPhase::Probation)
                if row.guard.probation == Probation::No && !cfg!(planted = "bystanders_count") =>
            {
                Verdict::Innocent
            }
            Some(GuardPhase::Calm | GuardPhase::Control | GuardPhase::Probation) | None => {
                Verdict::Count
            }
        }
    }

    /// Whether this turn of a process that is gone will be held back.
    pub(crate) fn suspects(&self, row: &TaskRow, tools: &Tools) -> bool {
        let State::InProgress { lease, .. } = &row.state else {
            return false;
        };
        let parting = tools.lives.parting(lease.instance);
        let verdict = self.verdict(row, lease.instance, tools);
        let own = lease.instance == tools.claimant.instance;
        !own && would_hold_back(row, parting, verdict)
    }

    /// Before turns that are suspected are recovered: the phase is written before they are, so that no claim of this life
    /// is ever older than the knowledge of them. Afterwards everybody who is held back is looked at anew.
    pub(crate) async fn hold_back(&mut self, tools: &Tools) {
        let now = tools.clock.own();
        match self.stage {
            // They are found when the group is through.
            Stage::Probation { .. } => {}
            Stage::Control { .. } => self.stage = Stage::Control { until: now },
            Stage::Calm => {
                // A writer that has ended writes nothing of the recovery either.
                if self.without_suspects(now, tools).await {
                    self.since = now;
                }
            }
        }
    }

    /// Whoever waits for a slot to be on probation in.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = (Kind, DefNumber)> {
        let group = match &self.stage {
            Stage::Calm | Stage::Control { .. } => &[][..],
            Stage::Probation { group, .. } => &group[..],
        };
        let waiting = group.iter().filter(|member| member.until.is_none());
        waiting.map(|member| (member.kind, member.def))
    }

    /// Goes on as far as it can at this moment. Answers when there is more to do; nothing while nobody is suspected.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub(crate) async fn go_on(&mut self, tools: &Tools) -> Result<Option<Micros>, StoreError> {
        while !tools.is_stopping() {
            match &mut self.stage {
                Stage::Calm => return Ok(None),
                Stage::Control { until } if tools.clock.own() < *until => return Ok(Some(*until)),
                Stage::Control { .. } => {}
                Stage::Probation { group, alone } => {
                    let unreadable = enter(group, *alone, self.watch_us, tools).await;
                    self.left_alone.extend(unreadable);
                    let ends = watch(group, tools).await?;
                    if !group.is_empty() {
                        return Ok(ends);
                    }
                }
            }
            let mut suspects = suspects(tools)?;
            suspects.retain(|suspect| !self.left_alone.contains(&suspect.task));
            if !self.next_group(suspects, tools).await {
                break;
            }
        }
        Ok(None)
    }

    /// Puts the next group on probation, or goes on without suspects until the process has lived long enough for it.
    /// False: the writer has ended.
    async fn next_group(&mut self, mut suspects: Vec<Suspect>, tools: &Tools) -> bool {
        let Some(fatal_us) = suspects.iter().map(|suspect| suspect.fatal_us).max() else {
            return self.calm(tools).await;
        };
        if cfg!(planted = "suspects_never_probed") {
            return self.calm(tools).await;
        }
        let (most, held_back) = (micros(WATCH_MAX), suspects.len());
        let fatal_us = if cfg!(planted = "fatal_life_ignored") {
            0
        } else {
            fatal_us
        };
        self.watch_us = self.watch_us.max(fatal_us.saturating_mul(MARGIN).min(most));
        let group = first_half(&mut suspects);
        let alone = group.len() == 1;
        let times = if alone && !cfg!(planted = "entered_alone_too_early") {
            BEFORE_ALONE
        } else {
            1
        };
        let ready = self
            .since
            .plus(self.watch_us.saturating_mul(times).min(most));
        if tools.clock.own() < ready && !cfg!(planted = "control_start_skipped") {
            tracing::warn!(
                target: RECOVERY,
                suspects = held_back,
                until_us = ready.0,
                "guard.control"
            );
            return self.without_suspects(ready, tools).await;
        }
        self.probation(group, alone, tools).await
    }

    async fn probation(&mut self, group: &[Suspect], alone: bool, tools: &Tools) -> bool {
        let phase = if cfg!(planted = "probation_forgotten") {
            GuardPhase::Control
        } else {
            GuardPhase::Probation
        };
        if !tools.writer.enter_phase(phase).await {
            return false;
        }
        tracing::warn!(
            target: RECOVERY,
            suspects = group.len(),
            until_us = tools.clock.own().plus(self.watch_us).0,
            "guard.probation"
        );
        let group = group.iter().map(Member::of).collect();
        self.stage = Stage::Probation { group, alone };
        true
    }

    async fn without_suspects(&mut self, until: Micros, tools: &Tools) -> bool {
        let told = match self.stage {
            Stage::Control { .. } => true,
            Stage::Calm | Stage::Probation { .. } => {
                tools.writer.enter_phase(GuardPhase::Control).await
            }
        };
        if told {
            self.stage = Stage::Control { until };
        }
        told
    }

    async fn calm(&mut self, tools: &Tools) -> bool {
        let told = tools.writer.enter_phase(GuardPhase::Calm).await;
        if told {
            tracing::info!(target: RECOVERY, "guard.calm");
            self.stage = Stage::Calm;
        }
        told
    }
}

/// Enters every member of the group that finds a slot. Answers who cannot be read.
async fn enter(
    group: &mut Vec<Member>,
    alone: bool,
    watch_us: u64,
    tools: &Tools,
) -> Vec<TaskNumber> {
    let mut entering = Vec::new();
    for member in group.iter().filter(|member| member.until.is_none()) {
        let Ok(slot) = tools.slots.take(member.kind, member.def) else {
            continue;
        };
        let claimant = tools.claimant.clone();
        let event = Event::Probe { claimant, alone };
        let sent = tools.send(member.task, event, Some(slot)).await;
        entering.push((member.task, sent));
    }
    let (mut gone, mut unreadable) = (HashSet::new(), Vec::new());
    let mut entered = HashSet::new();
    for (task, sent) in entering {
        let told = match sent {
            Ok(answer) => answer.await,
            Err(refused) => Err(refused),
        };
        match told {
            Ok(_) => {
                entered.insert(task);
            }
            Err(refused) => {
                gone.insert(task);
                if let Refused::Unreadable(error) = refused {
                    tracing::error!(target: STORE, task = task.0, %error, "a suspect is left alone");
                    unreadable.push(task);
                }
            }
        }
    }
    let until = tools.clock.own().plus(watch_us);
    // One that was not entered was released, cancelled or removed in between, or cannot be read.
    group.retain(|member| !gone.contains(&member.task));
    for member in group
        .iter_mut()
        .filter(|member| entered.contains(&member.task))
    {
        member.until = Some(until);
    }
    unreadable
}

/// Lets go who has ended or got on with its work, acquits who has lived long enough. Answers when the next one will have;
/// the engine loop, which sleeps for a second at most while a moment is known, looks here more often than that.
async fn watch(group: &mut Vec<Member>, tools: &Tools) -> Result<Option<Micros>, StoreError> {
    let now = tools.clock.own();
    // First: where they cannot all be read, the group stays as it is.
    let rows = group.iter().map(|member| match member.until {
        Some(_) => readable(member.task, tools),
        None => Ok(None),
    });
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    let mut acquitted = Vec::new();
    let mut left = Vec::with_capacity(group.len());
    for (member, row) in group.drain(..).zip(rows) {
        let Some(until) = member.until else {
            left.push(member);
            continue;
        };
        let over = row.is_none_or(|row| row.guard.probation == Probation::No);
        if over && !cfg!(planted = "probation_outlasts_its_turn") {
            continue;
        }
        if now < until {
            left.push(member);
            continue;
        }
        acquitted.push(tools.send(member.task, Event::Acquit, None).await);
    }
    for answer in acquitted.into_iter().flatten() {
        // Who ended in between needs no acquittal.
        let _ = answer.await;
    }
    *group = left;
    Ok(group.iter().filter_map(|member| member.until).min())
}
