//! What is tried in every state of the walk, whether it fits or not.

use super::model::{Model, Reason, Rules, STEP, aside, id};
use super::world::World;
use crate::machine::{
    Aim, Claimant, Event, Named, NewInput, OnConflict, Order, Overdue, Parting, Resolution,
    TurnEnd, Verdict, Wait, WaitFor,
};
use outlive_storage::id::TaskId;
use outlive_storage::row::{
    BackOff, Deadline, DefNumber, Delivery, Etag, Facts, Failure, FailureKind, Generation, Keep,
    Micros, OptionsRow, Payload, Priority, RetryRow, StepRow, StepState,
};
use std::sync::Arc;

pub(super) const DEF: DefNumber = DefNumber(1);
const OTHER_DEF: DefNumber = DefNumber(2);
/// The etag of every state, which the next transition must exceed.
pub(super) const ETAG: Etag = Etag(10);
pub(super) const BACK_OFF_US: u64 = 50;
/// What a failure may ask for instead.
const RETRY_AFTER_US: u64 = 7;
/// How far in the future a delayed start is.
const DELAY_US: u64 = 30;
/// How long a handler sleeps: longer than some time-outs.
pub(super) const SLEEP_US: u64 = 45;
/// By how much a clock is set back.
pub(super) const STEP_US: u64 = 1_000;
/// The process that holds the claims, and the one that finds it dead.
pub(super) const INSTANCES: [u128; 2] = [0xa, 0xb];

/// The keys a turn takes inputs under.
pub(super) const KEYS: [&str; 2] = ["k0", "k1"];

/// One thing to try.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "there are few at a time")]
pub(super) enum Op {
    Send(Event),
    /// Time passes: to just before something becomes due, then to when it is.
    Tick,
    /// Somebody sets the clock back.
    StepBack,
}

/// All of them for a state.
pub(super) fn all(world: &World) -> Vec<Op> {
    let model = &world.model;
    let mut events = inputs(model, world.now);
    events.extend(orders(world));
    events.extend(by_the_engine(world));
    events.extend(resolutions());
    // One generation more than was ever given: nobody may end what was not claimed.
    for generation in 1..=model.given + 1 {
        events.extend(by_a_worker(model, Generation(generation), world.now));
    }
    let mut ops: Vec<Op> = events.into_iter().map(Op::Send).collect();
    if model.next_moment().is_some_and(|due| due > world.now) {
        ops.push(Op::Tick);
    }
    // A clock that was set back once is no other one when it was set back twice.
    let deadline = model.turn.deadline.filter(|_| model.runs_now());
    if deadline.is_some_and(|deadline| deadline.0 <= world.now.0 + model.rules.timeout_us) {
        ops.push(Op::StepBack);
    }
    ops
}

/// Every known input once more, a new one, and what is like them in all but one respect.
fn inputs(model: &Model, now: Micros) -> Vec<Event> {
    let rules = model.rules;
    let new = model.inputs.len();
    let of = |position, like| input(rules, position, like);
    // One that was forgotten would be a new one: the model names inputs by their positions.
    let known = (0..new).filter(|position| model.position(&id(*position)).is_some());
    let mut inputs: Vec<NewInput> = known.map(|position| of(position, position)).collect();
    // The same id with other bytes is still the same input: the id is the key.
    inputs.extend((new > 0).then(|| of(model.turn.input, new)));
    // Equal bytes under another id are another input.
    inputs.extend((new > 0).then(|| of(new, model.turn.input)));
    // Without an id of its caller: equal to the first input, to the latest, and to none.
    for like in [0, model.turn.input, new] {
        inputs.push(NewInput {
            input_id_given: false,
            ..of(new, like)
        });
    }
    let plain = of(new, new);
    for on_conflict in [OnConflict::Refuse, OnConflict::Restart, OnConflict::Attach] {
        for claimant in [None, Some(claimant(INSTANCES[0]))] {
            inputs.push(NewInput {
                on_conflict,
                claimant,
                ..plain.clone()
            });
        }
        let late = plain.clone();
        inputs.push(NewInput {
            on_conflict,
            start_at: Some(Deadline::own(now.plus(DELAY_US))),
            claimant: Some(claimant(INSTANCES[0])),
            ..late
        });
    }
    for if_etag in [ETAG, Etag(ETAG.0 - 1)] {
        inputs.push(NewInput {
            if_etag: Some(if_etag),
            ..plain.clone()
        });
    }
    for after in new.saturating_sub(2)..=new {
        inputs.push(NewInput {
            after: Some(id(after)),
            ..plain.clone()
        });
    }
    // Every one may be taken or not; whatever may not be taken is told, or not, in turns.
    if rules.deliveries {
        let other = [Delivery::Interrupt, Delivery::AfterTurn][new % 2];
        for delivery in [Delivery::AtBoundary, other] {
            inputs.push(NewInput {
                delivery,
                ..plain.clone()
            });
        }
    }
    inputs.push(NewInput {
        facts: None,
        ..plain.clone()
    });
    // The walk's own definition is the one that starts the task.
    inputs.extend((new > 0).then_some(NewInput {
        def: OTHER_DEF,
        ..plain
    }));
    inputs.into_iter().map(Event::Input).collect()
}

fn input(rules: Rules, position: usize, like: usize) -> NewInput {
    NewInput {
        id: TaskId::new("walked").expect("an id"),
        def: DEF,
        input_id: id(position),
        input_id_given: true,
        digest: [u8::try_from(like).expect("few inputs"); 16],
        payload: payload(position),
        delivery: Delivery::Interrupt,
        priority: Priority::NORMAL,
        options: options(rules).into(),
        facts: Some(Arc::new(Facts::default())),
        start_at: None,
        on_conflict: OnConflict::Refuse,
        after: None,
        if_etag: None,
        claimant: None,
        parent: None,
    }
}

pub(super) fn options(rules: Rules) -> OptionsRow {
    OptionsRow {
        retry: RetryRow {
            attempts_max: rules.attempts_max,
            initial_us: BACK_OFF_US,
            max_us: BACK_OFF_US,
            back_off: BackOff::Fixed,
            jitter: false,
        },
        timeout_us: rules.timeout_us,
        grace_us: 1,
        cancel_grace_us: 1,
        keep: rules.keep_us.map_or(Keep::Ephemeral, Keep::For),
        keep_turns: rules.keep_turns,
        keep_alive_on_failure: rules.keep_alive,
        keep_items: None,
    }
}

/// Every second input is too large for a row.
pub(super) fn payload(position: usize) -> Payload {
    if position % 2 == 1 {
        let len = 2_000 + position as u64;
        return Payload::Stored { len, crc: 0 };
    }
    Payload::Inline(vec![u8::try_from(position).expect("few inputs")])
}

/// What the handler returns in a turn; two of three outputs are too large for a row, so that in a slot a large one
/// follows a large one, and a small one.
pub(super) fn output(total: u64) -> Payload {
    if total.is_multiple_of(3) {
        return Payload::Inline(total.to_string().into_bytes());
    }
    Payload::Stored {
        len: 3_000 + total,
        crc: 0,
    }
}

/// How the handler fails.
pub(super) fn failure(attempts: u32) -> Failure {
    Failure {
        kind: FailureKind::Error,
        message: "no".into(),
        chain: Vec::new(),
        attempts,
    }
}

pub(super) fn claimant(instance: u128) -> Claimant {
    Claimant {
        owner: "walk".into(),
        instance,
    }
}

/// What people and programs ask of a task.
fn orders(world: &World) -> Vec<Event> {
    let new = world.model.inputs.len();
    let stale = Some(Etag(ETAG.0 - 1));
    let mut events = Vec::new();
    for (if_etag, claimant) in [
        (None, None),
        (Some(ETAG), Some(claimant(INSTANCES[0]))),
        (stale, None),
    ] {
        let (first, second) = (claimant.clone(), claimant);
        events.push(Event::Resume {
            input_id: id(new),
            if_etag,
            claimant: first,
        });
        events.push(Event::Retry {
            if_etag,
            from_start: false,
            claimant: second,
        });
        for force in [false, true] {
            events.push(Event::Delete { force, if_etag });
        }
        events.extend(ends_from_outside(&Aim::Task, Reason::First, if_etag));
    }
    events.extend(ends_from_outside(&Aim::Task, Reason::Second, None));
    // One that was never accepted is among them, and one of the run before.
    let run = world.model.turn.run;
    let earlier = (run > 1).then(|| (world.model.turn.input, run - 1));
    for (position, run) in (0..=new).map(|position| (position, run)).chain(earlier) {
        let input_id = id(position);
        let aim = Aim::Input(Named { input_id, run });
        events.extend(ends_from_outside(&aim, Reason::First, None));
        let aim = Aim::Queued(id(position));
        events.extend(ends_from_outside(&aim, Reason::First, None));
    }
    events
}

/// By the process that holds the claim, if one does, and by one that comes after it.
fn ends_from_outside(aim: &Aim, reason: Reason, if_etag: Option<Etag>) -> [Event; 3] {
    let order = |reason: Reason, instance| Order {
        aim: aim.clone(),
        reason: reason.text(),
        if_etag,
        instance,
    };
    [
        Event::Cancel(order(reason, INSTANCES[0])),
        Event::Cancel(order(reason, INSTANCES[1])),
        Event::Terminate(order(Reason::First, INSTANCES[0])),
    ]
}

/// A step that was begun, or done with this result.
fn step(value: &str) -> Box<StepRow> {
    let state = match value.is_empty() {
        true => StepState::Begun,
        false => StepState::Done,
    };
    Box::new(StepRow {
        state,
        attempt: 0,
        at: Micros(0),
        type_name: "u32".into(),
        value: value.into(),
    })
}

/// Somebody says what became of a step: of the one that is waited for, if any is, and of another one.
fn resolutions() -> Vec<Event> {
    let of = |key: &str, resolution| Event::Resolve {
        key: key.into(),
        resolution,
        if_etag: None,
    };
    vec![
        of(STEP, Resolution::Done(step("1"))),
        of(STEP, Resolution::NotDone),
        of(STEP, Resolution::Failed(failure(0))),
        of("other", Resolution::NotDone),
    ]
}

/// What the engine's own scans and loops send.
fn by_the_engine(world: &World) -> Vec<Event> {
    let mut events = vec![
        Event::Claim(claimant(INSTANCES[0])),
        Event::Lapse,
        Event::Reconsider,
        Event::Acquit,
        Event::Expire,
    ];
    for instance in INSTANCES {
        let found = [
            (Parting::Died, Verdict::Count),
            (Parting::Died, Verdict::Innocent),
            (Parting::Died, Verdict::Off),
            (Parting::Stopped, Verdict::Count),
        ];
        for (parting, verdict) in found {
            events.push(Event::Recover {
                claimant: claimant(instance),
                parting,
                verdict,
            });
            events.push(Event::Orphan {
                claimant: claimant(instance),
                parting,
                verdict,
            });
        }
    }
    for alone in [false, true] {
        events.push(Event::Probe {
            claimant: claimant(INSTANCES[0]),
            alone,
        });
    }
    for position in 0..=world.model.inputs.len() {
        let input_id = id(position);
        let listed = world.held.receipts.get(&input_id);
        let listed_at = listed.and_then(|(_, listed)| *listed);
        events.push(Event::ForgetInput {
            input_id,
            listed_at: listed_at.unwrap_or(Micros(1)),
        });
    }
    events
}

/// A handler that waits for the nearer of two moments.
fn sleeps(now: Micros) -> TurnEnd {
    let to = |key: &str, us| {
        let until = Deadline::own(now.plus(us));
        let state = StepState::Sleeping { until };
        let wait_for = WaitFor::Time { until };
        Wait {
            key: key.into(),
            wait_for,
            step: Some(Box::new(StepRow { state, ..*step("") })),
        }
    };
    TurnEnd::Parked(vec![to("later", SLEEP_US + 1), to(STEP, SLEEP_US)])
}

/// What the worker of a claim may report, be it the present one or not.
fn by_a_worker(model: &Model, generation: Generation, now: Micros) -> Vec<Event> {
    let failed = |terminal, retry_after_us| TurnEnd::Failed {
        failure: failure(0),
        terminal,
        retry_after_us,
    };
    let output = output(model.turn.total);
    let mut ends = vec![
        TurnEnd::Succeeded(output.clone()),
        TurnEnd::Suspended {
            output,
            reason: "more".into(),
        },
        failed(false, None),
        failed(false, Some(RETRY_AFTER_US)),
        failed(true, None),
        TurnEnd::Cancelled,
        TurnEnd::Held(aside(false)),
        TurnEnd::Held(aside(true)),
        TurnEnd::Undecodable {
            what: "input".into(),
            expected: "u32".into(),
            entered: false,
        },
    ];
    ends.extend(model.rules.sleeps.then(|| sleeps(now)));
    let takes = model.rules.deliveries;
    let mut events = Vec::new();
    for end in ends {
        // What the handler did not get although it was handed out is not its turn's, however that ends.
        for missed in [Vec::new(), vec![KEYS[0].into()]] {
            if missed.is_empty() || takes {
                events.push(Event::End {
                    generation,
                    end: end.clone(),
                    claimant: claimant(INSTANCES[0]),
                    missed,
                });
            }
        }
    }
    let keys = if takes { &KEYS[..] } else { &KEYS[..1] };
    events.extend(keys.iter().map(|key| Event::Take {
        generation,
        key: (*key).into(),
    }));
    for why in [Overdue::TimedOut, Overdue::CancelIgnored] {
        events.push(Event::Stop { generation, why });
    }
    events.push(Event::Keep { generation });
    for step in [Some(step("1")), Some(step("")), None] {
        let key = STEP.into();
        events.push(Event::Step {
            generation,
            key,
            step,
        });
    }
    events
}
