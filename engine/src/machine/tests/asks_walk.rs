//! A walk over every state that a turn with a question can reach: asked, answered, expired, waited for in memory and
//! outside of it, while processes die, turns are ended from outside, inputs come, and workers are late.

use super::held::Held;
use super::task::{
    STEERABLE, cancel, delete, failed, input, question, recover, retry, succeeded, terminate, us,
};
use crate::machine::{
    Aim, Asking, Event, Given, Now, Parting, Question, TurnEnd, Verdict, Wait, WaitFor,
    turn_is_open,
};
use outlive_storage::commit::Write;
use outlive_storage::row::{
    Deadline, Etag, Generation, Micros, State, StepRow, StepState, TaskRow, Timeline, Times,
    WaitReason,
};
use std::collections::{BTreeSet, HashSet, VecDeque};

const KEY: &str = "may";
/// There are two moments: before the question's deadline, and at it.
const BEFORE: Micros = Micros(1_000);
const AT: Micros = Micros(2_000);
/// Every state is moved to this etag and this claim, so that the walk has an end.
const ETAG: Etag = Etag(10);
const CLAIM: Generation = Generation(2);
const TURNS_MAX: u64 = 2;
const RUNS_MAX: u32 = 2;
const CRASHES_MAX: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq)]
struct World {
    now: Micros,
    held: Held,
    /// Whether somebody who lists the open questions is shown it.
    listed: bool,
    /// Whether the handler of the claim knows what came of it: it does not wait for that.
    knows: bool,
}

impl World {
    fn question(&self) -> Option<&Question> {
        self.held.questions.get(KEY)
    }

    fn is_open(&self) -> bool {
        matches!(self.question(), Some(Question::Open(_)))
    }

    fn generation(&self) -> Generation {
        self.held.row.as_ref().map_or(CLAIM, |row| row.generation)
    }

    /// What states that differ in nothing that decides have in common.
    fn normal(mut self) -> World {
        let Some(row) = &mut self.held.row else {
            return self;
        };
        row.etag = ETAG;
        row.timeline = Timeline::default();
        (row.created_at, row.updated_at) = (BEFORE, BEFORE);
        if row.generation > Generation(0) {
            row.generation = CLAIM;
        }
        match &mut row.state {
            State::InProgress {
                lease, started_at, ..
            } => (lease.generation, *started_at) = (CLAIM, BEFORE),
            State::Suspended { since, .. } => *since = BEFORE,
            State::Completed { at, expires_at, .. } => (*at, *expires_at) = (BEFORE, AT),
            State::Pending { .. } => {}
        }
        // What is only kept decides nothing here.
        self.held.turns.clear();
        self.held.runs.clear();
        for (_, listed) in self.held.receipts.values_mut() {
            *listed = listed.map(|_| AT);
        }
        self
    }

    fn within(&self) -> bool {
        self.held.row.as_ref().is_none_or(|row| {
            row.turns_total <= TURNS_MAX && row.run <= RUNS_MAX && row.crashes <= CRASHES_MAX
        })
    }
}

fn answers(value: &str) -> Event {
    Event::Answer(Given {
        key: KEY.into(),
        answer: Box::new(StepRow {
            state: StepState::Done,
            attempt: 0,
            at: Micros(0),
            type_name: "bool".into(),
            value: value.into(),
        }),
        digest: None,
        turn: None,
        if_etag: None,
    })
}

/// The handler waits for the answer outside of memory; it may have put the question down before.
fn waits(world: &World) -> TurnEnd {
    let until = Deadline::own(AT);
    let ask = world.question().is_none().then(|| question(until));
    TurnEnd::Parked(vec![Wait {
        key: KEY.into(),
        wait_for: WaitFor::Answer { until, ask },
        step: None,
    }])
}

/// What is tried in a state, whether it fits or not.
fn events(world: &World) -> Vec<Event> {
    let mut events = vec![
        Event::Input(input("a")),
        Event::Input(input("b")),
        Event::Claim(us(1)),
        recover(2, Parting::Died, Verdict::Off),
        answers("true"),
        answers("false"),
        cancel(Aim::Task, "enough"),
        terminate(Aim::Task),
        retry(),
        delete(true),
    ];
    let held = world.generation().0;
    for generation in [held.saturating_sub(1), held, held + 1].map(Generation) {
        let mut ends = vec![succeeded("x"), failed(true)];
        ends.extend((!world.knows).then(|| waits(world)));
        events.extend(ends.into_iter().map(|end| Event::End {
            generation,
            end,
            claimant: us(1),
            missed: Vec::new(),
        }));
        // A handler asks once: what it finds under the key is its question.
        events.extend(world.question().is_none().then(|| {
            Event::Ask(Asking {
                generation,
                key: KEY.into(),
                ask: question(Deadline::own(AT)),
            })
        }));
        let key = KEY.into();
        events.push(Event::ExpireAsk { generation, key });
    }
    events
}

/// Puts one event to the machine. `None`: it is refused, as it may be.
fn after(world: &World, event: &Event) -> Option<World> {
    let claim = Generation(world.generation().0 + 1);
    let now = Now::new(Times::still(world.now), Etag(ETAG.0 + 1), claim);
    let transition = world.held.ask(event.clone(), STEERABLE, now).ok()?;
    let mut after = world.clone();
    after
        .held
        .apply(event, &transition)
        .expect("a store takes it");
    for write in &transition.writes {
        match write {
            Write::Ask { .. } => after.listed = true,
            Write::RemoveAsk { .. } | Write::RemoveAsks | Write::RemoveTask => after.listed = false,
            _ => {}
        }
    }
    let entered = transition
        .effects
        .iter()
        .any(|effect| matches!(effect, crate::machine::Effect::Enter { .. }));
    let expired = matches!(event, Event::ExpireAsk { .. });
    if entered || expired {
        after.knows = after.question().is_some() && !after.is_open();
    }
    laws(world, event, &after);
    Some(after)
}

#[track_caller]
fn laws(before: &World, event: &Event, after: &World) {
    let told = |law: &str| format!("{law}: {event:?}\nfrom {before:#?}\nto {after:#?}");
    let row = after.held.row.as_ref();
    assert_eq!(
        after.listed,
        after.is_open(),
        "{}",
        told("what is open is listed")
    );
    let open = row.is_some_and(turn_is_open);
    assert!(
        open || !after.is_open(),
        "{}",
        told("a question is no older than its turn")
    );
    if let Some(State::Suspended {
        wait: WaitReason::Answer { .. },
        ..
    }) = row.map(|row| &row.state)
    {
        assert!(
            after.is_open(),
            "{}",
            told("who waits for an answer may get one")
        );
    }
    match event {
        Event::Answer(given) => {
            let in_time = before.is_open() && before.now < AT;
            assert!(in_time, "{}", told("only what is open is answered"));
            let recorded = Question::Answered(given.answer.value.clone());
            assert_eq!(after.question(), Some(&recorded));
            let goes_on = row.is_some_and(|row| match &row.state {
                State::InProgress { woken, .. } => *woken,
                State::Pending { .. } => true,
                State::Suspended { .. } | State::Completed { .. } => false,
            });
            assert!(goes_on, "{}", told("who is answered goes on"));
        }
        Event::ExpireAsk { .. } if before.is_open() => {
            assert!(
                before.now >= AT,
                "{}",
                told("a question has its whole time")
            );
        }
        _ => {}
    }
    // What came of it stays for as long as anybody may ask, and is never another thing.
    let decided = before.question().filter(|_| !before.is_open());
    let turn = |held: &Held| held.row.as_ref().map(|row| (row.run, row.turns_total));
    if decided.is_some() && turn(&before.held) == turn(&after.held) && open {
        assert_eq!(after.question(), decided, "{}", told("an answer stays"));
    }
    stale_changes_nothing(before, event, &told);
}

fn stale_changes_nothing(before: &World, event: &Event, told: &dyn Fn(&str) -> String) {
    let (Event::End { generation, .. } | Event::ExpireAsk { generation, .. }) = event else {
        return;
    };
    let runs = |row: &TaskRow| matches!(row.state, State::InProgress { .. });
    let holds = before
        .held
        .row
        .as_ref()
        .is_some_and(|row| runs(row) && row.generation == *generation);
    assert!(holds, "{}", told("a late worker changes nothing"));
}

#[test]
fn a_question_is_answered_once_or_expires_in_every_order_of_events() {
    let begins = World {
        now: BEFORE,
        held: Held::default(),
        listed: false,
        knows: false,
    };
    let mut next = VecDeque::from([begins]);
    // By what decides: a hash of all that is held would have to be written for it alone.
    let mut known = HashSet::new();
    let (mut transitions, mut refusals) = (0, 0);
    let mut kinds = BTreeSet::new();
    while let Some(world) = next.pop_front() {
        if !known.insert(format!("{world:?}")) {
            continue;
        }
        for event in events(&world) {
            match after(&world, &event) {
                None => refusals += 1,
                Some(after) => {
                    transitions += 1;
                    kinds.insert(format!("{:?}", std::mem::discriminant(&event)));
                    if after.within() {
                        next.push_back(after.normal());
                    }
                }
            }
        }
        if world.now < AT {
            next.push_back(World { now: AT, ..world });
        }
    }
    let states = known.len();
    println!("{states} states, {transitions} transitions, {refusals} refusals");
    assert_eq!(
        kinds.len(),
        11,
        "an event that never changes anything is not walked"
    );
    assert!(
        states >= 3_400 && transitions >= 22_000,
        "the walk has shrunk"
    );
}
