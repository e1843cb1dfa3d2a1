//! What people, engines and workers may send: also everything that somebody may send too late.

use outlive::machine::{
    Aim, Claimant, Event, Named, NewInput, OnConflict, Order, Overdue, Parting, TurnEnd, Verdict,
};
use outlive_storage::id::{InputId, TaskId};
use outlive_storage::row::{
    BackOff, DefNumber, Delivery, Facts, Failure, FailureKind, Generation, Keep, Micros,
    OptionsRow, Payload, Priority, RetryRow,
};
use std::sync::Arc;

pub(crate) const DEF: DefNumber = DefNumber(1);
/// The process whose worker is left behind, and the one that took over.
pub(crate) const FIRST: u128 = 1;
pub(crate) const SECOND: u128 = 2;
/// How far a decision moves the clock.
pub(crate) const TICK_US: u64 = 1_000;
/// A turn's time, and how long an ended task is kept; in ticks, so that a test may wait for them.
pub(crate) const TIMEOUT_TICKS: u64 = 1_000;
pub(crate) const KEEP_TICKS: u64 = 1_000;

pub(crate) fn claimant(instance: u128) -> Claimant {
    Claimant {
        owner: "owner".into(),
        instance,
    }
}

pub(crate) fn input_id(text: &str) -> InputId {
    InputId::new(text).unwrap()
}

pub(crate) fn input(text: &str, on_conflict: OnConflict) -> Event {
    let retry = RetryRow {
        attempts_max: 3,
        initial_us: 10,
        max_us: 10,
        back_off: BackOff::Fixed,
        jitter: false,
    };
    Event::Input(NewInput {
        id: TaskId::new("a").unwrap(),
        def: DEF,
        input_id: input_id(text),
        input_id_given: true,
        digest: [7; 16],
        payload: Payload::Inline(b"1".to_vec()),
        delivery: Delivery::Interrupt,
        priority: Priority::NORMAL,
        options: Arc::new(OptionsRow {
            retry,
            timeout_us: TIMEOUT_TICKS * TICK_US,
            grace_us: 0,
            cancel_grace_us: 0,
            keep: Keep::For(KEEP_TICKS * TICK_US),
            keep_turns: 2,
            keep_alive_on_failure: false,
            keep_items: None,
        }),
        facts: Some(Arc::new(Facts::default())),
        start_at: None,
        on_conflict,
        after: None,
        if_etag: None,
        claimant: None,
        parent: None,
    })
}

/// An input that a running turn may take.
pub(crate) fn at_boundary(text: &str) -> Event {
    let mut event = input(text, OnConflict::Refuse);
    if let Event::Input(input) = &mut event {
        input.delivery = Delivery::AtBoundary;
    }
    event
}

pub(crate) fn end(generation: u64, end: TurnEnd) -> Event {
    Event::End {
        generation: Generation(generation),
        end,
        claimant: claimant(FIRST),
        missed: Vec::new(),
    }
}

pub(crate) fn stop(generation: u64, why: Overdue) -> Event {
    let generation = Generation(generation);
    Event::Stop { generation, why }
}

/// An output too large for a row, so that a stale end would leave it behind.
pub(crate) fn succeeded() -> TurnEnd {
    TurnEnd::Succeeded(Payload::Stored { len: 5, crc: 0 })
}

pub(crate) fn suspended() -> TurnEnd {
    TurnEnd::Suspended {
        output: Payload::Stored { len: 5, crc: 0 },
        reason: "more".into(),
    }
}

pub(crate) fn failed(terminal: bool) -> TurnEnd {
    let failure = Failure {
        kind: FailureKind::Error,
        message: "no".into(),
        chain: Vec::new(),
        attempts: 0,
    };
    TurnEnd::Failed {
        failure,
        terminal,
        retry_after_us: None,
    }
}

pub(crate) fn undecodable() -> TurnEnd {
    TurnEnd::Undecodable {
        what: "input".into(),
        expected: "a number".into(),
        entered: false,
    }
}

pub(crate) fn recover(instance: u128, parting: Parting, verdict: Verdict) -> Event {
    Event::Recover {
        claimant: claimant(instance),
        parting,
        verdict,
    }
}

pub(crate) fn orphan(instance: u128) -> Event {
    Event::Orphan {
        claimant: claimant(instance),
        parting: Parting::Died,
        verdict: Verdict::Count,
    }
}

pub(crate) fn probe() -> Event {
    Event::Probe {
        claimant: claimant(SECOND),
        alone: true,
    }
}

fn order(aim: Aim) -> Order {
    Order {
        aim,
        reason: "enough".into(),
        if_etag: None,
        instance: FIRST,
    }
}

/// The input of this id, in the first run.
pub(crate) fn of(text: &str) -> Aim {
    let (input_id, run) = (input_id(text), 1);
    Aim::Input(Named { input_id, run })
}

pub(crate) fn cancel(aim: Aim) -> Event {
    Event::Cancel(order(aim))
}

pub(crate) fn terminate() -> Event {
    Event::Terminate(order(Aim::Task))
}

pub(crate) fn delete() -> Event {
    Event::Delete {
        force: true,
        if_etag: None,
    }
}

pub(crate) fn retry() -> Event {
    Event::Retry {
        if_etag: None,
        from_start: false,
        claimant: Some(claimant(SECOND)),
    }
}

/// Everything the worker of a claim can still report, and the alarms that watch it.
pub(crate) fn by_the_worker(generation: u64) -> Vec<Event> {
    let ends = [
        succeeded(),
        suspended(),
        failed(false),
        failed(true),
        TurnEnd::Cancelled,
        undecodable(),
    ];
    let mut events: Vec<Event> = ends.into_iter().map(|how| end(generation, how)).collect();
    let whys = [Overdue::TimedOut, Overdue::CancelIgnored];
    events.extend(whys.map(|why| stop(generation, why)));
    let generation = Generation(generation);
    events.push(Event::Keep { generation });
    events.push(take(generation.0));
    events
}

pub(crate) fn take(generation: u64) -> Event {
    Event::Take {
        generation: Generation(generation),
        key: "a boundary".into(),
    }
}

/// Everything a process may send that decided on a row it saw.
pub(crate) fn everything(generation: u64) -> Vec<Event> {
    let mut events = by_the_worker(generation);
    for instance in [FIRST, SECOND] {
        events.push(Event::Claim(claimant(instance)));
        events.push(recover(instance, Parting::Died, Verdict::Count));
        events.push(recover(instance, Parting::Stopped, Verdict::Innocent));
        events.push(orphan(instance));
    }
    events.extend([
        Event::Lapse,
        Event::Reconsider,
        Event::Acquit,
        Event::Expire,
        probe(),
        input("other", OnConflict::Refuse),
        input("another", OnConflict::Restart),
        Event::Resume {
            input_id: input_id("resumed"),
            if_etag: None,
            claimant: None,
        },
        retry(),
        cancel(Aim::Task),
        cancel(of("first")),
        cancel(of("second")),
        terminate(),
        delete(),
        Event::ForgetInput {
            input_id: input_id("first"),
            listed_at: Micros(1),
        },
    ]);
    events
}
