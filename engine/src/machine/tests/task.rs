//! One task for the tests of the machine: what is held of it, a clock, and the counters a writer keeps.

use super::held::Held;
use crate::machine::{
    Aim, Claimant, DefLimits, Event, Named, NewInput, Now, OnConflict, Order, Parting, Rejected,
    Status, Transition, TurnEnd, Verdict, Wait, WaitFor,
};
use outlive_storage::id::{InputId, TaskId};
use outlive_storage::row::{
    AskRow, BackOff, Deadline, DefNumber, Delivery, Etag, Facts, Failure, FailureKind, Generation,
    Keep, Micros, OptionsRow, Payload, Priority, Receipt, RetryRow, State, StepRow, StepState,
    TaskRow, Times, WaitReason,
};
use std::sync::Arc;

pub(super) const DEF: DefNumber = DefNumber(1);
pub(super) const STEERABLE: DefLimits = DefLimits {
    steerable_max: Some(2),
    present: None,
};
pub(super) const PLAIN: DefLimits = DefLimits {
    steerable_max: None,
    present: None,
};
/// The delay before a second attempt.
pub(super) const BACK_OFF_US: u64 = 100;
pub(super) const KEEP_US: u64 = 5_000;
pub(super) const OPTIONS: OptionsRow = OptionsRow {
    retry: RetryRow {
        attempts_max: 2,
        initial_us: BACK_OFF_US,
        max_us: 1_000,
        back_off: BackOff::Fixed,
        jitter: false,
    },
    timeout_us: u64::MAX,
    grace_us: 10,
    cancel_grace_us: u64::MAX,
    keep: Keep::For(KEEP_US),
    keep_turns: 2,
    keep_alive_on_failure: false,
    keep_items: None,
};

pub(super) fn us(process: u128) -> Claimant {
    Claimant {
        owner: "tests".into(),
        instance: process,
    }
}

pub(super) fn id(text: &str) -> InputId {
    InputId::new(text).expect("an id")
}

/// An input whose caller chose its id; its bytes are its id.
pub(super) fn input(text: &str) -> NewInput {
    NewInput {
        id: TaskId::new("case-17").expect("an id"),
        def: DEF,
        input_id: id(text),
        input_id_given: true,
        digest: [text.as_bytes()[0]; 16],
        payload: Payload::Inline(text.into()),
        delivery: Delivery::Interrupt,
        priority: Priority::NORMAL,
        options: OPTIONS.into(),
        facts: Some(Arc::new(Facts::default())),
        start_at: None,
        on_conflict: OnConflict::Refuse,
        after: None,
        if_etag: None,
        claimant: Some(us(1)),
        parent: None,
    }
}

/// An input too large for its row.
pub(super) fn large(text: &str) -> NewInput {
    NewInput {
        payload: Payload::Stored { len: 5_000, crc: 0 },
        ..input(text)
    }
}

/// An input whose caller chose no id.
pub(super) fn anonymous(text: &str) -> NewInput {
    NewInput {
        input_id: id("generated"),
        input_id_given: false,
        ..input(text)
    }
}

pub(super) fn failure() -> Failure {
    Failure {
        kind: FailureKind::Error,
        message: "no".into(),
        chain: Vec::new(),
        attempts: 0,
    }
}

pub(super) fn failed(terminal: bool) -> TurnEnd {
    TurnEnd::Failed {
        failure: failure(),
        terminal,
        retry_after_us: None,
    }
}

pub(super) fn succeeded(text: &str) -> TurnEnd {
    TurnEnd::Succeeded(Payload::Inline(text.into()))
}

pub(super) fn suspended(text: &str) -> TurnEnd {
    TurnEnd::Suspended {
        output: Payload::Inline(text.into()),
        reason: "more".into(),
    }
}

pub(super) fn undecodable() -> TurnEnd {
    TurnEnd::Undecodable {
        what: "input".into(),
        expected: "u32".into(),
        entered: false,
    }
}

/// A handler that waits for moments, each under its key.
pub(super) fn sleeps(until: &[(&str, u64)]) -> TurnEnd {
    let wait = |(key, until): &(&str, u64)| {
        let until = Deadline::own(Micros(*until));
        Wait {
            key: (*key).into(),
            wait_for: WaitFor::Time { until },
            step: Some(Box::new(StepRow {
                state: StepState::Sleeping { until },
                attempt: 0,
                at: Micros(0),
                type_name: "()".into(),
                value: Vec::new(),
            })),
        }
    };
    TurnEnd::Parked(until.iter().map(wait).collect())
}

/// Every way in which a handler's turn ends.
pub(super) fn every_end() -> Vec<TurnEnd> {
    vec![
        succeeded("2"),
        suspended("2"),
        failed(false),
        failed(true),
        TurnEnd::Cancelled,
        undecodable(),
        sleeps(&[("s", 1_000_000)]),
    ]
}

pub(super) fn recover(process: u128, parting: Parting, verdict: Verdict) -> Event {
    Event::Recover {
        claimant: us(process),
        parting,
        verdict,
    }
}

pub(super) fn orphan(process: u128, parting: Parting) -> Event {
    Event::Orphan {
        claimant: us(process),
        parting,
        verdict: Verdict::Off,
    }
}

/// A question that is open until then, with a default.
pub(super) fn question(until: Deadline) -> Box<AskRow> {
    Box::new(AskRow {
        question: b"\"may I?\"".to_vec(),
        schema: None,
        default: Some(b"false".to_vec()),
        digest: [9; 16],
        type_name: "bool".into(),
        asked_at: Micros(0),
        deadline: until,
        run: 0,
        turn: 0,
    })
}

/// Its process died and another one finds it.
pub(super) fn died(process: u128) -> Event {
    recover(process, Parting::Died, Verdict::Count)
}

pub(super) fn probe(process: u128, alone: bool) -> Event {
    Event::Probe {
        claimant: us(process),
        alone,
    }
}

pub(super) fn cancel(aim: Aim, reason: &str) -> Event {
    cancel_by(1, aim, reason)
}

pub(super) fn cancel_by(process: u128, aim: Aim, reason: &str) -> Event {
    Event::Cancel(Order {
        aim,
        reason: reason.into(),
        if_etag: None,
        instance: process,
    })
}

pub(super) fn terminate(aim: Aim) -> Event {
    Event::Terminate(Order {
        aim,
        reason: "stop it".into(),
        if_etag: None,
        instance: 1,
    })
}

pub(super) fn delete(force: bool) -> Event {
    Event::Delete {
        force,
        if_etag: None,
    }
}

pub(super) fn retry() -> Event {
    Event::Retry {
        if_etag: None,
        from_start: false,
        claimant: Some(us(1)),
    }
}

pub(super) fn resume(text: &str) -> Event {
    Event::Resume {
        input_id: id(text),
        if_etag: None,
        claimant: Some(us(1)),
    }
}

/// For the input of this name, in the first run.
pub(super) fn of(text: &str) -> Aim {
    of_run(text, 1)
}

pub(super) fn of_run(text: &str, run: u32) -> Aim {
    let input_id = id(text);
    Aim::Input(Named { input_id, run })
}

/// One task, a clock, and the counters a writer keeps.
#[derive(Clone)]
pub(super) struct Task {
    pub(super) held: Held,
    pub(super) limits: DefLimits,
    /// The engine's own time.
    pub(super) at: u64,
    /// How far the wall clock has jumped in this life.
    pub(super) ahead_us: i64,
    pub(super) life: u64,
    count: u64,
}

impl Task {
    pub(super) fn none(limits: DefLimits) -> Task {
        Task {
            held: Held::default(),
            limits,
            at: 10_000,
            ahead_us: 0,
            life: 1,
            count: 0,
        }
    }

    /// In its first turn, with input `a`, claimed by process 1 under generation 1.
    #[track_caller]
    pub(super) fn running(limits: DefLimits) -> Task {
        Task::running_with(limits, OPTIONS)
    }

    #[track_caller]
    pub(super) fn running_with(limits: DefLimits, options: OptionsRow) -> Task {
        let mut task = Task::none(limits);
        task.send(NewInput {
            options: options.into(),
            ..input("a")
        });
        task
    }

    /// Due at once, with nobody to run it.
    #[track_caller]
    pub(super) fn due(limits: DefLimits, options: OptionsRow) -> Task {
        let mut task = Task::none(limits);
        task.send(NewInput {
            options: options.into(),
            claimant: None,
            ..input("a")
        });
        task
    }

    /// As [`Task::running`], with a time-out of this many microseconds.
    #[track_caller]
    pub(super) fn timed(limits: DefLimits, timeout_us: u64) -> Task {
        let options = OptionsRow {
            timeout_us,
            ..OPTIONS
        };
        Task::running_with(limits, options)
    }

    /// After an event on a running task.
    #[track_caller]
    pub(super) fn after(limits: DefLimits, event: Event) -> Task {
        let mut task = Task::running(limits);
        task.does(event);
        task
    }

    /// After the end of its first turn.
    #[track_caller]
    pub(super) fn ended(limits: DefLimits, end: TurnEnd) -> Task {
        let mut task = Task::running(limits);
        task.end(end);
        task
    }

    /// Held back by the poison guard after three deaths.
    #[track_caller]
    pub(super) fn isolated(limits: DefLimits) -> Task {
        let mut task = Task::running(limits);
        for process in [2, 3, 4] {
            task.does(died(process));
        }
        task
    }

    /// Killed its process alone, twice.
    #[track_caller]
    pub(super) fn quarantined(limits: DefLimits) -> Task {
        let mut task = Task::isolated(limits);
        for process in [5, 6] {
            task.does(probe(process, true));
            task.does(died(process + 1));
        }
        task
    }

    /// One in each state there is, and several where the state has several kinds; named.
    pub(super) fn in_every_state(limits: DefLimits) -> Vec<(&'static str, Task)> {
        let mut delayed = Task::none(limits);
        delayed.send(NewInput {
            start_at: Some(Deadline::own(Micros(1_000_000))),
            ..input("a")
        });
        let due = Task::due(limits, OPTIONS);
        vec![
            ("due", due),
            ("delayed", delayed),
            ("running", Task::running(limits)),
            ("backing off", Task::ended(limits, failed(false))),
            ("orphaned", Task::after(limits, orphan(2, Parting::Died))),
            ("isolated", Task::isolated(limits)),
            ("waiting for an input", Task::ended(limits, suspended("1"))),
            ("sleeping", Task::ended(limits, sleeps(&[("s", 1_000_000)]))),
            ("undecodable", Task::ended(limits, undecodable())),
            ("quarantined", Task::quarantined(limits)),
            ("succeeded", Task::ended(limits, succeeded("1"))),
            ("failed", Task::ended(limits, failed(true))),
            ("cancelled", Task::ended(limits, TurnEnd::Cancelled)),
            ("terminated", Task::after(limits, terminate(Aim::Task))),
        ]
    }

    #[track_caller]
    pub(super) fn send(&mut self, input: NewInput) -> Transition {
        self.does(Event::Input(input))
    }

    /// The worker of the present claim reports the end of its turn.
    #[track_caller]
    pub(super) fn end(&mut self, end: TurnEnd) -> Transition {
        let event = self.ending(end);
        self.does(event)
    }

    #[track_caller]
    pub(super) fn ending(&self, end: TurnEnd) -> Event {
        Event::End {
            generation: self.row().generation,
            end,
            claimant: us(1),
            missed: Vec::new(),
        }
    }

    /// Carries the event out.
    #[track_caller]
    pub(super) fn does(&mut self, event: Event) -> Transition {
        let transition = self.asks(event.clone()).expect("an event that fits");
        self.count += 1;
        self.held
            .apply(&event, &transition)
            .expect("a transition that fits");
        transition
    }

    /// Asks without doing.
    pub(super) fn asks(&self, event: Event) -> Result<Transition, Rejected> {
        let (etag, generation) = (Etag(self.count + 1), Generation(self.count + 1));
        let own = Micros(self.at);
        let times = Times {
            wall: Micros(self.at.saturating_add_signed(self.ahead_us)),
            life: self.life,
            ahead_us: self.ahead_us,
            ..Times::still(own)
        };
        let now = Now::new(times, etag, generation);
        self.held.ask(event, self.limits, now)
    }

    #[track_caller]
    pub(super) fn refuses(&self, event: Event) -> Rejected {
        self.asks(event).expect_err("an event that does not fit")
    }

    #[track_caller]
    pub(super) fn refuses_input(&self, input: NewInput) -> Rejected {
        self.refuses(Event::Input(input))
    }

    #[track_caller]
    /// The refusal of what does not fit a task that stands like this.
    pub(super) fn conflict(&self, status: Status, wait: Option<WaitReason>) -> Rejected {
        let etag = self.row().etag;
        Rejected::Conflict { status, wait, etag }
    }

    pub(super) fn row(&self) -> &TaskRow {
        self.held.row.as_ref().expect("a task")
    }

    /// When the present attempt was claimed.
    #[track_caller]
    pub(super) fn started_at(&self) -> Micros {
        let State::InProgress { started_at, .. } = self.row().state else {
            panic!("not running: {:?}", self.row().state);
        };
        started_at
    }

    pub(super) fn receipt(&self, text: &str) -> Option<&Receipt> {
        let found = self.held.receipts.get(&id(text));
        found.map(|(receipt, _)| receipt)
    }

    /// The moment an input's receipt is listed under.
    pub(super) fn listed(&self, text: &str) -> Option<Micros> {
        let found = self.held.receipts.get(&id(text));
        found.and_then(|(_, listed)| *listed)
    }
}
